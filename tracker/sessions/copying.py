"""A task out of a session of this program under another id, or as the continuation of a task.

It is made in a store of its own beside the session, and comes from there in one pull: all of it, or nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from objstore.ids import ObjectId
from objstore.remotes.folder import FolderRemote
from objstore.store import Store
from tracker import layout, scalars, seal
from tracker.errors import BadValue
from tracker.package_data import template_dir
from tracker.reader import Reader
from tracker.records import Entry, Ref, Segment, State
from tracker.sessions.target import ORIGIN, OWN, continued, digest, next_attempt

if TYPE_CHECKING:
    from objstore.bundle import Bundle
    from tracker.workspace import Workspace

_OUTPUT: Final = "model/output/"
_STEPS: Final = 2**63  # iterations are 64 bits wide
# What says how the run in the session went, which says nothing of the task that it continues.
_PASSING: Final = frozenset(
    (
        *("status_message", "progress", "published", "parent", "queue"),
        *("cut", "deleted", "initial_iteration", "system_tag/development", "system_tag/archived"),
    )
)
_PASSING_BELOW: Final = ("attempt/", "hidden/", "health/", "queue/", _OUTPUT)


class Copy:
    """One task and its models on their way from `bundle` to the id `key`. salt: what makes one more of them another."""

    def __init__(
        self,
        workspace: Workspace,
        bundle: Bundle,
        folder: Path,
        task: str,
        key: str,
        content: str,
        salt: str,
    ) -> None:
        self.workspace, self.task, self.key, self.content, self.salt = workspace, task, key, content, salt
        self.store = Store.create(folder / layout.STORE, template_dir())
        self.store.unbundle(bundle)
        self.things = Reader(self.store).things()

    def run(self, previous: str | None, offset: int) -> None:
        """Make it and fetch it. Raises BadValue, UsageError, TaskNotFound, Corrupt, OSError."""
        before = continued(self.workspace, previous)[0] if previous else None
        state = self.things[self.task].state
        now = time.time_ns() // 1000
        self.stamp = state.stamp if before is None else max(now, 1 + before.stamp)
        self.continues, self.offset = before is not None, offset
        self.earlier = next_attempt(before) - 1  # attempts, before those of the session
        wanted = {self.key, *state.section("model/input")}
        with self.store.begin() as self.transaction:
            keys = self._continuation(state) if before else dict(state.keys)
            keys.update(self._attempts(state))
            keys.update(self._links(state))
            keys[ORIGIN + self.content] = self._said({"system": "tracker", "id": self.task})
            segments = self._segments(state.reports if before else state.segments)
            self._commit(self.key, replace(state, keys=keys, segments=segments))
            for model in self._models(state):
                wanted.add(self._model_key(model))
                self._commit_model(model, before)
        self.workspace.store.pull(FolderRemote(self.store.root), wanted)
        self.store.close()

    def _commit(self, key: str, state: State) -> None:
        covers = {self._writer(""): 1, **{segment.writer: segment.last for segment in state.segments}}
        seal.commit_state(self.store, self.transaction, key, state, [], covers)

    # --- keys --------------------------------------------------------------------------------------------------------

    def _said(self, value: Any) -> Entry:
        return Entry(value, self.stamp, self._writer(""))

    def _continuation(self, state: State) -> dict[str, Entry]:
        """What a task that goes on takes over, all of it said now."""
        found = {
            name: entry.value
            for name, entry in state.keys.items()
            if entry.value is not None
            and name not in OWN
            and name not in _PASSING
            and not name.startswith(_PASSING_BELOW)
        }
        reason = f"continued by the session of task {self.task}"
        found |= {"status": "completed", "status_reason": reason}
        return {name: self._said(value) for name, value in found.items()}

    def _attempts(self, state: State) -> Iterator[tuple[str, Entry]]:
        """The attempts of the session, after those of the task that it continues, with the steps that they began at."""
        for number, value in state.section("attempt").items():
            if not number.isdecimal() or not isinstance(value, Mapping):
                continue
            shifted = {**value, "from": self._step(value["from"])} if "from" in value else dict(value)
            name = f"attempt/{int(number) + self.earlier}"
            if self.continues:
                first = {"reason": "resume"} if shifted.get("reason") == "init" else {}
                yield name, self._said({**shifted, **first})
            else:
                yield name, replace(state.keys[name], value=shifted)

    def _links(self, state: State) -> Iterator[tuple[str, Entry]]:
        """The output models by the ids that they get; those that they had are not this task's."""
        for model in self._models(state):
            entry = state.keys[_OUTPUT + model]
            yield _OUTPUT + model, replace(entry, value=None)
            yield _OUTPUT + self._model_key(model), entry

    # --- models ------------------------------------------------------------------------------------------------------

    def _models(self, state: State) -> list[str]:
        return [key for key in state.section("model/output") if key in self.things]

    def _model_key(self, model: str) -> str:
        return digest(self.key, self.content, self.salt, model)

    def _commit_model(self, model: str, before: State | None) -> None:
        state = self.things[model].state
        keys = {**state.keys, "task": self._said(self.key)}
        if before is not None:
            keys["project"] = self._said(before.get("project", ""))
        weights = state.get("weights")
        if isinstance(weights, Mapping) and isinstance(weights.get("iteration"), int):
            shifted = {**weights, "iteration": self._step(weights["iteration"])}
            keys["weights"] = replace(state.keys["weights"], value=shifted)
        self._commit(
            self._model_key(model), replace(state, keys=keys, segments=self._segments(state.segments))
        )

    # --- reports -----------------------------------------------------------------------------------------------------

    def _writer(self, writer: str) -> str:
        """Who says here what a process said there: of one task nobody may speak twice under one name."""
        return digest(self.key, self.content, self.salt, writer)[: layout.WRITER_SIZE]

    def _segments(self, segments: Sequence[Segment]) -> tuple[Segment, ...]:
        return tuple(map(self._segment, segments))

    def _segment(self, segment: Segment) -> Segment:
        if self.continues:
            number = segment.attempt + self.earlier
            segment = replace(segment, writer=self._writer(segment.writer), attempt=number)
        if not self.offset:
            return segment
        return replace(
            segment,
            scalars=tuple(map(self._shifted, segment.scalars)),
            plots=tuple({**plot, "iteration": self._step(plot["iteration"])} for plot in segment.plots),
            samples=tuple({**each, "iteration": self._step(each["iteration"])} for each in segment.samples),
        )

    def _shifted(self, chunk: Mapping[str, Any]) -> dict[str, Any]:
        """A chunk of series whose points lie `offset` later."""
        import numpy as np

        data = self.store.objects.read(ObjectId.parse(Ref.parse(chunk["$ref"]).id), limit=scalars.DECODED_MAX)
        found = []
        for each in scalars.decode(data):
            if len(each.steps):
                self._step(int(each.steps.min()))
                self._step(int(each.steps.max()))
            found.append(replace(each, steps=each.steps + np.int64(self.offset)))
        encoded = scalars.encode(found)
        ref = Ref("blob", str(self.transaction.put_bytes(encoded)), len(encoded))
        return {
            **chunk,
            "$ref": str(ref),
            "series": [[each.title, each.series, scalars.summarise(each)] for each in found],
        }

    def _step(self, step: Any) -> int:
        if isinstance(step, bool) or not isinstance(step, int):
            raise BadValue(f"iteration {step!r:.80} of the session is no whole number: it is damaged")
        moved = step + self.offset
        if not -_STEPS <= moved < _STEPS:
            raise BadValue(f"iteration {step} and the offset {self.offset} are more than 64 bits")
        return moved
