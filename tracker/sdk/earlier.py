"""Whether Task.init makes a new task or goes on with an earlier one, and which. It reads, claims, and changes no task.

What was last run under a project, name and type, by this user on this machine, is remembered in the store's `cache/`:
without that a new task is made.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Final

from objstore import layout as store_layout
from objstore.errors import StoreError
from objstore.layout import is_key
from tracker import layout
from tracker.errors import BadValue, CorruptRecord, TaskNotFound, TrackerError
from tracker.notice import say
from tracker.sdk import identity
from tracker.sdk.identity import Identity

if TYPE_CHECKING:
    from tracker.config import Config
    from tracker.reader import Thing
    from tracker.workspace import Workspace

_LAST: Final = f"{store_layout.CACHE}/last"
_LAST_MOST: Final = 32  # files: a store of a thousand tasks is to be a few files
_LAST_KEPT: Final = 24
_CLAIMS: Final = f"{store_layout.CACHE}/claims"


@dataclass(frozen=True, slots=True)
class Wish:
    """What Task.init was asked for: `reuse_last_task_id` and `continue_last_task`, see there."""

    reuse: bool | str = True
    go_on: bool | str | int = False

    @property
    def offset(self) -> int | None:
        """The iteration offset that was asked for, if one was."""
        return None if isinstance(self.go_on, bool | str) else self.go_on

    @property
    def continues(self) -> bool:
        """Whether an earlier task is to be continued rather than begun anew."""
        return self.go_on is True or not isinstance(self.go_on, bool)

    @property
    def task(self) -> str | None:
        """The task that was named, if one was."""
        return next((given for given in (self.go_on, self.reuse) if isinstance(given, str)), None)


def wish(reuse: object, go_on: object) -> Wish:
    """The arguments, checked. Raises BadValue."""
    if not isinstance(reuse, bool | str | None):
        raise BadValue(f"reuse_last_task_id is {reuse!r}: True, False or a task's id is expected")
    if not isinstance(go_on, bool | str | int | None):
        raise BadValue(f"continue_last_task is {go_on!r}: True, False, a task's id or an offset is expected")
    return Wish(reuse or False, False if go_on is None or go_on == "" else go_on)


@dataclass(frozen=True, slots=True)
class Beginning:
    """How a run begins. thing: the earlier task, as it stood; offset: added to iterations, None: as the task has it.

    reason: init; resume, after a run that did not complete; join, beside others or after one that did, whose place it
    does not take; reuse; continue.
    """

    identity: Identity
    reason: str = "init"
    thing: Thing | None = None
    offset: int | None = None

    @property
    def resumes(self) -> bool:
        """Whether what was there goes on to count."""
        return self.reason in ("resume", "join", "continue")


@contextmanager
def beginning(
    workspace: Workspace, project: str, name: str, kind: str, asked: Wish, ordinal: int
) -> Iterator[Beginning]:
    """How this process's run begins; inside the block nobody else can begin the same task anew.

    Raises TaskNotFound for a task to be continued that is not there.
    """
    who = identity.of_process(project, name, ordinal, exists=lambda key: "name" in workspace.known(key))
    inherited = identity.inherited() is not None
    found: Beginning | None = None
    if who.runs:
        asked = Wish()  # which task it is, was said by who has started this process
    with _Claims(workspace) as claims:
        if asked.continues and asked.task is not None and not inherited:
            found = _named(workspace, asked.task, who)
        elif who.runs and not inherited:
            found = Beginning(who, "resume" if who.owner else "join", workspace.thing(who.key))
        elif who.shared:
            found = _shared(workspace, who)
        elif asked.continues:
            found = _find(workspace, project, name, kind, asked, claims.take, _may_go_on)
        elif asked.reuse and not workspace.config.task_no_reuse:
            found = _find(workspace, project, name, kind, asked, claims.take, _may_begin_anew)
        found = found or Beginning(who)
        yield Beginning(found.identity, found.reason, found.thing, _offset(found, asked, workspace.config))
        if found.identity.owner:
            _remember(workspace, project, name, kind, found.identity.key)


def joined(workspace: Workspace, who: Identity) -> Beginning:
    """How a process takes part in a run that another one has begun, or will."""
    return _shared(workspace, who)


# --- which task ------------------------------------------------------------------------------------------------------


def _named(workspace: Workspace, key: str, who: Identity) -> Beginning:
    """A task that the script names. The ranks of a launch all come here, and their first one is its owner."""
    thing = workspace.thing(key)
    if thing.state.kind != layout.TASK or thing.state.get("deleted"):
        raise TaskNotFound(f'Task ID "{key}" could not be found: it is deleted, or no task')
    if thing.alive and who.owner:
        say(f"task {key} still runs elsewhere, as far as can be told: both report to it")
    return Beginning(Identity(key, who.owner, who.shared), "continue", thing)


def _shared(workspace: Workspace, who: Identity) -> Beginning:
    """A task that the environment names: the first of its processes makes it."""
    try:
        thing = workspace.thing(who.key)
    except TaskNotFound:
        return Beginning(who)
    if thing.state.get("name") is None:
        return Beginning(who, "init", thing)
    again = _is_restarted() or not (thing.alive or thing.state.get("status") == "completed")
    return Beginning(who, "resume" if again else "join", thing)


def _is_restarted() -> bool:
    """Whether the launcher says that this job was taken away and starts again."""
    counts = (os.environ.get(name, "") for name in ("SLURM_RESTART_COUNT", "TORCHELASTIC_RESTART_COUNT"))
    return any(count.isdecimal() and int(count) > 0 for count in counts)


def _find(
    workspace: Workspace,
    project: str,
    name: str,
    kind: str,
    asked: Wish,
    take: Callable[[str], bool],
    fits: Callable[[Thing, float, float], bool],
) -> Beginning | None:
    """The task that was named, or ran last, where it fits and is free."""
    key = asked.task or _last(workspace, project, name, kind)
    if key is None or not is_key(key) or not take(key):
        return None
    try:
        thing = workspace.thing(key)
        state = thing.state
        same = [state.get(field) for field in ("project", "name", "type")] == [project, name, kind]
        if not same or state.kind != layout.TASK or state.get("deleted") or thing.alive:
            return None
        if not fits(thing, workspace.config.task_reuse_hours, time.time()):
            return None
        _seal(workspace, key)  # so that what it was is a commit of its own
        thing = workspace.thing(key)
    except (TrackerError, StoreError, OSError):
        return None  # what cannot be read, or sealed on a full disk, is left as it is
    return Beginning(Identity(key, True, False), "continue" if asked.continues else "reuse", thing)


def _may_go_on(thing: Thing, hours: float, now: float) -> bool:
    tags = thing.state.section("system_tag")
    status = thing.state.get("status", "created")
    return (
        "archived" not in tags and status not in ("published", "publishing") and _is_recent(thing, hours, now)
    )


def _may_begin_anew(thing: Thing, hours: float, now: float) -> bool:
    """ClearML's conditions: nothing was made that somebody may want, and it was a run like this one, not long ago."""
    state = thing.state
    return (
        _may_go_on(thing, hours, now)
        and not state.section("artifact")
        and not state.section("model/output")
        and "development" in state.section("system_tag")
        and state.get("status", "created") not in ("closed", "queued")
    )


def _is_recent(thing: Thing, hours: float, now: float) -> bool:
    ran = max(int(thing.state.get(field, 0)) for field in ("created", "started", "completed"))
    return now - ran / 1e6 < hours * 3600


def _seal(workspace: Workspace, key: str) -> None:
    from tracker import seal

    if (workspace.root / store_layout.LIVE / key).is_dir():
        seal.seal(workspace.store, key)


def _offset(found: Beginning, asked: Wish, config: Config) -> int | None:
    """What to add to iterations: what the environment says, else what was asked for, else one past the last."""
    if config.set_iteration_offset is not None:
        return config.set_iteration_offset
    if not found.resumes:
        return 0 if found.identity.owner else None
    if asked.offset is not None:
        return asked.offset
    if found.thing is not None and found.thing.alive and not found.identity.owner:
        return None  # the first process of the run has said it by now
    if not asked.continues or found.thing is None:
        # A job that was taken away and starts again counts by itself, from its last checkpoint.
        return 0 if found.identity.owner else None
    return next_iteration(found.thing)


def next_iteration(thing: Thing) -> int:
    """One past the last iteration that was reported; 0 where nothing was, or what was cannot be read."""
    from tracker import index

    try:
        with index.reading(thing.key):
            return max(
                (summary["max_step"] + 1 for summary in index.summaries(thing.state).values()), default=0
            )
    except CorruptRecord as error:
        say(f"iterations are not shifted: {error}")
        return 0


# --- what ran last ---------------------------------------------------------------------------------------------------


def _pointer(workspace: Workspace, project: str, name: str, kind: str) -> Path:
    from tracker.sdk.run import user_and_host

    text = "\0".join((*user_and_host(), project, name, kind)).encode("utf-8", "surrogatepass")
    return workspace.root / _LAST / blake2b(text, digest_size=16).hexdigest()


def _last(workspace: Workspace, project: str, name: str, kind: str) -> str | None:
    try:
        return _pointer(workspace, project, name, kind).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None


def _remember(workspace: Workspace, project: str, name: str, kind: str, key: str) -> None:
    path = _pointer(workspace, project, name, kind)
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f"{path.name}.{os.urandom(8).hex()}")
        new.write_text(key, encoding="ascii")
        new.replace(path)
        _forget_some(path.parent)


def _forget_some(folder: Path) -> None:
    """Where there are many, keep those of the last runs."""
    found = list(os.scandir(folder))
    if len(found) > _LAST_MOST:
        found.sort(key=lambda entry: entry.stat().st_mtime_ns)
        for entry in found[: len(found) - _LAST_KEPT]:
            os.unlink(entry.path)


class _Claims:
    """The right to begin a task anew, held from the look at it until its journal shows that it is taken.

    A file that only one can make. What a process leaves that dies holding it only means that a new task is made.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._folder = workspace.root / _CLAIMS
        self._held: list[Path] = []

    def __enter__(self) -> _Claims:
        return self

    def __exit__(self, *_: object) -> None:
        for path in self._held:
            with suppress(OSError):
                path.unlink()

    def take(self, key: str) -> bool:
        """Whether nobody else holds the task."""
        path = self._folder / key
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        except OSError:
            return False
        self._held.append(path)
        return True
