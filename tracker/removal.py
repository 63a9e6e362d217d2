"""Deleting tasks, or models that no task needs any more, and bringing them back. A deletion is a commit; `gc` frees
what it cut off.

Refuses to delete what is running. What is deleted stays known by its last commit, so that no copy revives it.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from objstore import layout as store_layout
from objstore import trash
from objstore.errors import Ambiguous, Conflict, NotFound, StoreError
from objstore.heads import Head
from objstore.ids import Kind, ObjectId
from tracker import layout, roots
from tracker.errors import CorruptRecord, UsageError
from tracker.reader import read_state
from tracker.state import deletion, merge, restoration, reversion

if TYPE_CHECKING:
    from objstore.graph import Node
    from objstore.remotes import Source
    from objstore.store import Store
    from tracker.reader import Thing
    from tracker.workspace import Workspace

_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True)
class Removal:
    """What a deletion takes: things (what was asked for, then models that go along); models that stay, since another
    task uses them as input; and the stored bytes that nothing else needs.
    """

    things: tuple[Thing, ...]
    kept: tuple[Thing, ...]
    size: int


def foresee(workspace: Workspace, keys: Sequence[str]) -> Removal:
    """What deleting these tasks and models would take: with a task go its output models, and its input models whose own
    task is deleted; but none that another task uses.

    Raises Conflict where a task is running, and for a model that has a task that lives, or is used by one.
    """
    things = workspace.things()
    open_ = {thing.key: thing for thing in _unconfirmed(workspace, things)}
    things |= open_
    doomed = [things[key] for key in dict.fromkeys(keys)]
    for thing in doomed:
        if thing.alive:
            raise Conflict(f"task {thing.key} is running: end it first")
        if thing.state.kind == layout.MODEL:
            _check_unneeded(thing, things, keys)
    models = [
        thing
        for thing in things.values()
        if thing.state.kind == layout.MODEL
        and thing.key not in keys
        and (thing.key in open_ or not thing.state.get("deleted"))
        and _goes_along(thing, things, doomed)
    ]
    used = {model for user in _users(things, keys) for model in user.state.section("model/input")}
    taken = (*doomed, *(model for model in models if model.key not in used))
    return Removal(taken, tuple(model for model in models if model.key in used), _size(workspace, taken))


def _users(things: Mapping[str, Thing], keys: Sequence[str]) -> Iterator[Thing]:
    """What lives, and goes on living without the things of these ids."""
    return (thing for thing in things.values() if thing.key not in keys and not thing.state.get("deleted"))


def _goes_along(model: Thing, things: Mapping[str, Thing], doomed: Iterable[Thing]) -> bool:
    """Whether a model was made by what is deleted here, or only served it, since its own task is gone already."""
    maker = str(model.state.get("task", ""))
    orphan = maker in things and bool(things[maker].state.get("deleted"))
    return any(
        maker == task.key or (orphan and model.key in task.state.section("model/input")) for task in doomed
    )


def _check_unneeded(model: Thing, things: Mapping[str, Thing], keys: Sequence[str]) -> None:
    """Raise Conflict for a model that is not to be deleted by itself."""
    maker = str(model.state.get("task", ""))
    for user in _users(things, keys):
        if user.key == maker:
            raise Conflict(f"model {model.key} is an output of task {maker}: delete that, and it goes along")
        if model.key in user.state.section("model/input"):
            raise Conflict(f"task {user.key} has model {model.key} as input: delete that task first")


def delete(workspace: Workspace, things: Iterable[Thing]) -> None:
    """Delete tasks and models: each gets a commit that says so, confirmed for this place.

    Raises OSError; StoreError where the disk is full: to delete the same things again then does the rest.
    """
    # Models first: a task that is left can be asked for again, and they go along with it.
    for thing in sorted(things, key=lambda thing: thing.state.kind == layout.TASK):
        try:
            _delete(workspace, thing)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            raise StoreError(
                f"{error.strerror}: {thing.state.kind} {thing.key} could not be deleted, which itself takes a few KiB. "
                f"Remove {workspace.root / store_layout.CACHE}, which is derived, or have `tracker gc --now` free what "
                "nothing needs; then delete again"
            ) from error


def _delete(workspace: Workspace, thing: Thing) -> None:
    store = workspace.store
    heads = store.heads.of(thing.key)
    came_deleted = len(heads) == 1 and heads[0].commit.deleted  # from elsewhere; it is confirmed below
    if not came_deleted:
        workspace.edit(thing.key, deletion, kind=thing.state.kind)
    gone = [str(head.id) for head in store.heads.of(thing.key) if head.commit.deleted]
    trash.confirm(store.root, gone)


def restore(
    workspace: Workspace, key: str, sources: Sequence[Source] = (), commit: str | None = None
) -> list[str]:
    """Bring back a deleted task with its models, out of the trash where they are there already, else from `sources`.

    Only objects are taken from those: it does not matter whether the task is deleted there, too. `commit` is one that
    the task must have had, or it stays deleted. Returns the ids of what is back. Raises UsageError where it is not
    deleted, NotFound where its content or the commit is gone, RemoteError.
    """
    thing = workspace.thing(key)
    if not thing.state.get("deleted"):
        raise UsageError(f"{thing.state.kind} {key} is not deleted")
    task = _bring_back(workspace, key, sources, commit)
    back = [key]
    things = workspace.things()
    for model in (*task.state.section("model/output"), *task.state.section("model/input")):
        if model in things and things[model].state.get("deleted"):
            with suppress(NotFound):  # then the task says that its model is not there
                _bring_back(workspace, model, sources)
                back.append(model)
    return back


def revert(workspace: Workspace, key: str, prefix: str) -> str:
    """Make a task what it was at one of its earlier commits, given by its id or the beginning of it; returns that id.

    That is an edit like any other: what it is now stays in its history. Raises NotFound for no commit of this task,
    Ambiguous, Conflict where it runs.
    """
    thing = workspace.thing(key)
    if thing.alive:
        raise Conflict(f"task {key} is running: end it first")
    commit = _commit(workspace, thing, prefix)
    before = read_state(workspace.store, _head(workspace.store, key, ObjectId.parse(commit)).commit)
    now = thing.state
    workspace.edit(key, {**reversion(now, before), **(restoration() if now.get("deleted") else {})})
    return commit


def _commit(workspace: Workspace, thing: Thing, prefix: str) -> str:
    """The one commit of a task that is in this store and begins like that."""
    found = sorted(str(commit) for commit in _ancestors(workspace, thing) if str(commit).startswith(prefix))
    if len(found) > 1:
        raise Ambiguous(prefix, found)
    if not found:
        raise NotFound(
            f"task {thing.key} has no commit {prefix} here: `tracker log {thing.key[:12]}` lists them"
        )
    return found[0]


def _ancestors(workspace: Workspace, thing: Thing) -> set[ObjectId]:
    """The commits of a task that are in this store."""
    found: dict[ObjectId, Head] = {head.id: head for head in thing.heads}
    waiting = list(found.values())
    while waiting:
        for parent in waiting.pop().commit.parents:
            if parent not in found:
                with suppress(NotFound):
                    found[parent] = _head(workspace.store, thing.key, parent)
                    waiting.append(found[parent])
    return set(found)


def unconfirmed(workspace: Workspace) -> list[Thing]:
    """What was deleted elsewhere and keeps its room here until the deletion is repeated."""
    return _unconfirmed(workspace, workspace.things())


def _unconfirmed(workspace: Workspace, things: Mapping[str, Thing]) -> list[Thing]:
    confirmed = trash.confirmed(workspace.root)
    return [
        _as_it_was(workspace, thing)
        for thing in things.values()
        if thing.state.get("deleted")
        and not all(head.commit.deleted and str(head.id) in confirmed for head in thing.heads)
    ]


def _as_it_was(workspace: Workspace, thing: Thing) -> Thing:
    """A thing of whose deletion only the commit came, with what the commits before it say, where those are here."""
    store = workspace.store
    known = [thing.state]
    for head in thing.heads:
        if head.commit.deleted and not store.objects.has(head.commit.state):
            for parent in head.commit.parents:
                with suppress(StoreError, CorruptRecord):
                    known.append(read_state(store, _head(store, thing.key, parent).commit))
    return replace(thing, state=merge(known)) if len(known) > 1 else thing


def _bring_back(
    workspace: Workspace, key: str, sources: Sequence[Source], commit: str | None = None
) -> Thing:
    store = workspace.store
    gone = [head for head in store.heads.of(key) if head.commit.deleted]
    states: list[Node] = [(Kind.TREE, head.commit.state) for head in gone]
    parents: list[Node] = [
        (Kind.COMMIT, parent) for parent in dict.fromkeys(p for head in gone for p in head.commit.parents)
    ]
    _seek(store, [*states, *parents], sources)
    whole = _rescued(store, states)
    before = [_head(store, key, parent[1]) for parent in parents if _rescued(store, [parent])]
    if not whole and not before:
        if sources:
            where = "this store, nor where it was looked for"
            raise NotFound(f"{key} was deleted, and its content is no longer in {where}: name another place")
        raise NotFound(
            f"{key} was deleted, and its content is no longer in this store: fetch it from a remote, a store or a "
            f"bundle that still has it: `tracker restore {key[:12]} --from …`"
        )
    if commit is not None:
        _commit(workspace, workspace.thing(key), commit)
    workspace.edit(key, restoration(), kind=workspace.thing(key).state.kind, onto=before)
    # Once more: a collector that had read the heads before this one came may have set something aside since.
    _rescued(store, [(Kind.COMMIT, head.id) for head in store.heads.of(key)])
    trash.forget(store.root, [str(head.id) for head in gone])
    return workspace.thing(key)


def _seek(store: Store, nodes: Sequence[Node], sources: Sequence[Source]) -> None:
    """Fetch what of these is neither in the store nor in its trash, with all that it reaches."""
    from objstore.sync import fetch

    for source in sources:
        missing = [node for node in nodes if not _rescued(store, [node])]
        if missing:
            fetch(store.root, store.objects, source, missing)


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
    others += roots.readable(store)[0]
    nodes = roots.of_heads(store, (head for key in live.keys() & gone for head in live[key]))
    return measure(workspace.root, {"gone": nodes}, others).shares["gone"].unique
