"""Task.delete: what goes along, whom to ask, and what children of a deleted task say of their parent.

A task that is restored has its content again, which the store keeps for a while, but no copies at a destination.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from objstore.errors import Conflict, StoreError
from tracker import layout, removal
from tracker.errors import DeleteError

if TYPE_CHECKING:
    from tracker.reader import Thing
    from tracker.workspace import Workspace

GONE: Final = "__DELETED__"  # before the id of a parent that was deleted

Ask = Callable[[str, str], bool]


def delete(
    workspace: Workspace, task: Thing, *, outputs: bool, used: bool, ask: Ask | None
) -> list[tuple[str, str]]:
    """Delete a task; `outputs`: with its models, those that other tasks use only where `used` says so, and all copies.

    Gives the copies that are there still: each URL, and why.

    Raises DeleteError for one that is published or runs, or where the disk refuses.
    """
    if task.state.get("status") == "published":
        raise DeleteError(f"task {task.key} is published: what is published is kept")
    try:
        found = removal.foresee(workspace, [task.key])
        doomed = [*found.things, *(found.kept if used else ())] if outputs else found.things[:1]
        kept = _spared(doomed, task, ask)
        gone = [thing for thing in doomed if thing.key not in kept]
        removal.delete(workspace, gone)
        for other in workspace.tasks().values():
            if other.state.get("parent") == task.key:
                workspace.edit(other.key, {"parent": f"{GONE}{task.key}"})
    except (Conflict, StoreError, OSError) as error:
        raise DeleteError(f"task {task.key} was not deleted: {error}") from error
    return _without_copies(task, gone, kept) if outputs else []


def _spared(doomed: list[Thing] | tuple[Thing, ...], task: Thing, ask: Ask | None) -> set[str]:
    """What the caller wants to keep: a model by its id, an artifact, of which that is its copy, by its name."""
    if ask is None:
        return set()
    artifacts = {
        name for name in task.state.section("artifact") if not ask("artifact", f"tracker://{task.key}/{name}")
    }
    outputs = task.state.section("model/output")
    return artifacts | {
        thing.key
        for thing in doomed
        if thing.state.kind == layout.MODEL
        and not ask("output_model" if thing.key in outputs else "model", f"tracker://{thing.key}")
    }


def _without_copies(task: Thing, gone: list[Thing], kept: set[str]) -> list[tuple[str, str]]:
    """Delete what went to a destination, and is not kept; gives what could not be, and why."""
    from tracker.sdk.models.queries import copy_of
    from tracker.storage import file_at, naming

    copies = [copy_of(thing) for thing in gone if thing.state.kind == layout.MODEL]
    for name, record in task.state.section("artifact").items():
        url, file = str(record.get("url", "")), str(record.get("file", ""))
        if name not in kept and naming.is_copy(url, task.key, "artifacts", name, file):
            copies.append(url)
    left = []
    for url in filter(None, copies):
        try:
            place, name = file_at(url)
            place.delete(name)
        except (OSError, StoreError, ValueError) as error:
            left.append((url, str(error)))
    return left
