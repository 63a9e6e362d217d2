"""Where a session goes: the task that it continues, or an id of its own; and how a task remembers what went into it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from objstore.heads import Head
from tracker import layout, seal
from tracker.errors import BadValue, UsageError
from tracker.reader import Reader
from tracker.records import State
from tracker.state import merge

if TYPE_CHECKING:
    from tracker.workspace import Workspace

ORIGIN: Final = "session/"  # + content: the key by which a task remembers what was imported into it
# What a continued task keeps of its own.
OWN: Final = frozenset(("name", "project", "type", "comment", "created", "started"))


@dataclass(frozen=True, slots=True)
class Imported:
    """The task that a session is in. known: it was there before; left_out: what was not taken, and how much of it."""

    key: str
    session: str
    known: bool = False
    left_out: Mapping[str, int] | None = None


def digest(*parts: str) -> str:
    """The id that these texts make, the same everywhere."""
    text = "\0".join(parts).encode("utf-8", "surrogatepass")
    return blake2b(text, digest_size=16, person=b"tracker session").hexdigest()


def continued(workspace: Workspace, previous: str) -> tuple[State, list[Head]]:
    """The state of a task that a session shall continue, sealed, and its heads.

    Raises TaskNotFound; BadValue for what is no task; UsageError for a task that still runs or is published.
    """
    seal.seal(workspace.store, previous)
    thing = workspace.thing(previous)
    if thing.state.kind != layout.TASK:
        raise BadValue(f"{previous} is a {thing.state.kind}, and only a task can be continued")
    if thing.alive:
        raise UsageError(f"task {previous} still runs: import the session into it once it has ended")
    if thing.state.get("status") == "published":
        raise UsageError(
            f"task {previous} is published and takes no more: import the session as its own task"
        )
    heads = workspace.store.heads.of(previous)
    return merge(map(Reader(workspace.store).state, heads)), list(heads)


def next_attempt(before: State | None) -> int:
    """The number of the attempt that follows those of a task."""
    begun = before.section("attempt") if before else {}
    return 1 + max((int(number) for number in begun if number.isdecimal()), default=0)


def taken(workspace: Workspace, session_id: str, content: str, derived: str) -> str | None:
    """The task that a session went into, or that has the id made for it. Raises UsageError where that is deleted."""
    for key, thing in workspace.things().items():
        if thing.state.kind != layout.TASK or (key != derived and thing.state.get(ORIGIN + content) is None):
            continue
        if not thing.state.get("deleted"):
            return key
        if key == derived:
            raise UsageError(
                f"session {session_id} was imported as task {key}, which was deleted: `tracker restore {key[:8]}` "
                "brings it back, importing it --again makes another"
            )
    return None
