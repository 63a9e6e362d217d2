"""Task.delete: what goes along, whom to ask, and what children of a deleted task say of their parent."""

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


def delete(workspace: Workspace, task: Thing, *, models: bool, used: bool, ask: Ask | None) -> None:
    """Delete a task; `models`: with its models, those that other tasks use only where `used` says so.

    Raises DeleteError for one that is published or runs, or where the disk refuses.
    """
    if task.state.get("status") == "published":
        raise DeleteError(f"task {task.key} is published: what is published is kept")
    try:
        found = removal.foresee(workspace, [task.key])
        doomed = [*found.things, *(found.kept if used else ())] if models else found.things[:1]
        kept = _spared(doomed, task, ask)
        removal.delete(workspace, [thing for thing in doomed if thing.key not in kept])
        for other in workspace.tasks().values():
            if other.state.get("parent") == task.key:
                workspace.edit(other.key, {"parent": f"{GONE}{task.key}"})
    except (Conflict, StoreError, OSError) as error:
        raise DeleteError(f"task {task.key} was not deleted: {error}") from error


def _spared(doomed: list[Thing] | tuple[Thing, ...], task: Thing, ask: Ask | None) -> set[str]:
    """The models that the caller wants to keep. Artifacts are the task's own, and told of all the same."""
    if ask is None:
        return set()
    for name in task.state.section("artifact"):
        ask("artifact", f"tracker://{task.key}/{name}")
    outputs = task.state.section("model/output")
    return {
        thing.key
        for thing in doomed
        if thing.state.kind == layout.MODEL
        and not ask("output_model" if thing.key in outputs else "model", f"tracker://{thing.key}")
    }
