"""Deleting tasks and bringing them back. A deletion is a commit; `gc` frees what it cut off.

Refuses to delete what is running. What is deleted stays known by its last commit, so that no copy revives it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from objstore import trash
from objstore.errors import Conflict, NotFound
from objstore.heads import Head
from objstore.ids import Kind
from tracker import layout, roots
from tracker.errors import UsageError
from tracker.state import deletion, restoration

if TYPE_CHECKING:
    from objstore.graph import Node
    from objstore.ids import ObjectId
    from objstore.store import Store
    from tracker.reader import Thing
    from tracker.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Removal:
    """What a deletion takes: things (tasks, then their output models); models that stay, since another task uses them
    as input; and the stored bytes that nothing else needs.
    """

    things: tuple[Thing, ...]
    kept: tuple[Thing, ...]
    size: int


def foresee(workspace: Workspace, keys: Sequence[str]) -> Removal:
    """What deleting these tasks would take. Raises Conflict where one is running."""
    things = workspace.things()
    doomed = [things[key] for key in dict.fromkeys(keys)]
    for thing in doomed:
        if thing.alive:
            raise Conflict(f"task {thing.key} is running: end it first")
    used = {
        model
        for thing in things.values()
        if thing.key not in keys and not thing.state.get("deleted")
        for model in thing.state.section("model/input")
    }
    models = [
        thing
        for thing in things.values()
        if thing.state.kind == layout.MODEL
        and thing.state.get("task") in keys
        and not thing.state.get("deleted")
    ]
    taken = (*doomed, *(model for model in models if model.key not in used))
    return Removal(taken, tuple(model for model in models if model.key in used), _size(workspace, taken))


def delete(workspace: Workspace, things: Iterable[Thing]) -> None:
    """Delete tasks and models: each gets a commit that says so, confirmed for this place. Raises OSError."""
    store = workspace.store
    for thing in things:
        heads = store.heads.of(thing.key)
        came_deleted = len(heads) == 1 and heads[0].commit.deleted  # from elsewhere; it is confirmed below
        if not came_deleted:
            workspace.edit(thing.key, deletion, kind=thing.state.kind)
        gone = [str(head.id) for head in store.heads.of(thing.key) if head.commit.deleted]
        trash.confirm(store.root, gone)


def restore(workspace: Workspace, key: str) -> list[str]:
    """Bring back a deleted task with its output models, out of the trash where they are there already.

    Returns the ids of what is back. Raises UsageError where it is not deleted, NotFound where its content is gone.
    """
    thing = workspace.thing(key)
    if not thing.state.get("deleted"):
        raise UsageError(f"{thing.state.kind} {key} is not deleted")
    task = _bring_back(workspace, key)
    back = [key]
    things = workspace.things()
    for model in task.state.section("model/output"):
        if model in things and things[model].state.get("deleted"):
            with suppress(NotFound):  # then the task says that its model is not there
                _bring_back(workspace, model)
                back.append(model)
    return back


def unconfirmed(workspace: Workspace) -> list[Thing]:
    """What was deleted elsewhere and keeps its room here until the deletion is repeated."""
    confirmed = trash.confirmed(workspace.root)
    return [
        thing
        for thing in workspace.things().values()
        if thing.state.get("deleted")
        and not all(head.commit.deleted and str(head.id) in confirmed for head in thing.heads)
    ]


def _bring_back(workspace: Workspace, key: str) -> Thing:
    store = workspace.store
    gone = [head for head in store.heads.of(key) if head.commit.deleted]
    whole = _rescued(store, [(Kind.TREE, head.commit.state) for head in gone])
    parents = dict.fromkeys(parent for head in gone for parent in head.commit.parents)
    before = [_head(store, key, parent) for parent in parents if _rescued(store, [(Kind.COMMIT, parent)])]
    if not whole and not before:
        raise NotFound(
            f"{key} was deleted, and its content is no longer in this store: pull from a store that still has it"
        )
    workspace.edit(key, restoration(), kind=workspace.thing(key).state.kind, onto=before)
    # Once more: a collector that had read the heads before this one came may have set something aside since.
    _rescued(store, [(Kind.COMMIT, head.id) for head in store.heads.of(key)])
    trash.forget(store.root, [str(head.id) for head in gone])
    return workspace.thing(key)


def _rescued(store: Store, nodes: Sequence[Node]) -> bool:
    """Whether all that these objects reach is in the store, now that what the trash had of it is back."""
    from objstore.gc import rescue

    try:
        rescue(store.root, nodes)
    except NotFound:
        return False
    store.objects.refresh()
    return True


def _head(store: Store, key: str, commit: ObjectId) -> Head:
    return Head(key, commit, store.objects.read(commit, Kind.COMMIT), f"commit {commit}")


def _size(workspace: Workspace, things: Iterable[Thing]) -> int:
    """The stored bytes that only these things need."""
    from objstore.usage import measure

    store, gone = workspace.store, {thing.key for thing in things}
    live = store.heads.live()
    others = roots.of_heads(store, (head for key in live.keys() - gone for head in live[key]))
    others += roots.of_journals(store)
    nodes = roots.of_heads(store, (head for key in live.keys() & gone for head in live[key]))
    return measure(workspace.root, {"gone": nodes}, others).shares["gone"].unique
