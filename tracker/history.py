"""A task's history: its commits, and what each changed against its parents.

Pure: it opens nothing; commits and states are read by the caller's functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tracker.errors import CorruptRecord
from tracker.index import reading, whole
from tracker.records import State
from tracker.state import merge

if TYPE_CHECKING:
    from objstore.ids import ObjectId
    from objstore.records import Commit


@dataclass(frozen=True, slots=True)
class Step:
    """One commit of a task, and what it changed against its parents.

    time: its stamp, microseconds since the epoch; writers: how many processes have had a part so far; absent: parents
    that are not in this store; points, lines, plots: reported since; error: why the state cannot be read, if so.
    """

    commit: str
    time: int
    generation: int
    writers: int
    parents: tuple[str, ...]
    absent: tuple[str, ...]
    status: str = ""
    deleted: bool = False
    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    points: int = 0
    lines: int = 0
    plots: int = 0
    error: str = ""


def history(
    heads: Iterable[tuple[ObjectId, Commit]],
    read_commit: Callable[[ObjectId], Commit | None],
    read_state: Callable[[Commit], State],
) -> list[Step]:
    """The commits that heads reach, newest first; a child never comes after its parents.

    `read_commit` gives None for one that is not in the store; `read_state` may raise CorruptRecord.
    """
    commits: dict[ObjectId, Commit | None] = dict(heads)
    waiting = [commit for commit in commits.values() if commit]
    while waiting:
        for parent in waiting.pop().parents:
            if parent not in commits:
                commits[parent] = found = read_commit(parent)
                waiting += [found] if found else []
    present = {commit_id: commit for commit_id, commit in commits.items() if commit}
    # A stamp is at least its parents', and of equal ones the generation decides.
    order = sorted(present, key=lambda i: (-present[i].stamp, -present[i].generation, str(i)))
    return [_step(commit_id, present, read_state) for commit_id in order]


def unsealed(before: State, after: State) -> Step | None:
    """What journals hold beyond the heads, as a step without a commit; None when that is nothing.

    Raises CorruptRecord for a record that no version of this program writes.
    """
    with reading("this task"):
        step = _compared(Step("", after.stamp, 0, 0, (), ()), before, after)
    if step.added or step.changed or step.removed or step.points or step.lines or step.plots:
        return step
    return None


def _step(
    commit_id: ObjectId, commits: Mapping[ObjectId, Commit], read_state: Callable[[Commit], State]
) -> Step:
    commit = commits[commit_id]
    plain = Step(
        commit=str(commit_id),
        time=commit.stamp,
        generation=commit.generation,
        writers=len({writer.partition(".")[0] for writer in commit.covers}),
        parents=tuple(map(str, commit.parents)),
        absent=tuple(str(parent) for parent in commit.parents if parent not in commits),
        deleted=commit.deleted,
    )
    try:
        after = read_state(commit)
        before = [read_state(commits[parent]) for parent in commit.parents if parent in commits]
        with reading(commit.key):
            return _compared(plain, merge(before) if before else State(after.kind), after)
    except CorruptRecord as error:
        return replace(plain, error=str(error))


def _compared(step: Step, before: State, after: State) -> Step:
    old = {key: entry.value for key, entry in before.keys.items() if entry.value is not None}
    new = {key: entry.value for key, entry in after.keys.items() if entry.value is not None}
    counts = [now - then for now, then in zip(_reported(after), _reported(before), strict=True)]
    return replace(
        step,
        status=str(after.get("status", "")),
        added=tuple(sorted(new.keys() - old.keys())),
        changed=tuple(sorted(key for key in new.keys() & old.keys() if new[key] != old[key])),
        removed=tuple(sorted(old.keys() - new.keys())),
        points=counts[0],
        lines=counts[1],
        plots=counts[2],
    )


def _reported(state: State) -> tuple[int, int, int]:
    """All that was ever reported, also what a later attempt hides: a reset takes nothing away."""
    series = (each for segment in state.segments for chunk in segment.scalars for each in chunk["series"])
    points = sum(whole(summary["count"]) for _, _, summary in series)
    lines = sum(whole(chunk["lines"]) for segment in state.segments for chunk in segment.console)
    return points, lines, sum(len(segment.plots) for segment in state.segments)
