"""A purge on remotes: what the remote lacks of the cleaned history is pushed, then its own packs are purged like any
store's.

Knows folders only, as `remotes` does. What a purge of a store does is in `purge`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from objstore.errors import ReadOnly, RemoteError
from objstore.ids import ObjectId
from objstore.store import Store
from tracker import config, remotes
from tracker import purge as purges
from tracker.errors import UsageError
from tracker.purged import Note, key_of
from tracker.workspace import Workspace

if TYPE_CHECKING:
    from objstore.gc import Erased
    from objstore.remotes.folder import FolderRemote


def chosen(workspace: Workspace, names: Sequence[str], *, all_remotes: bool) -> list[tuple[str, Workspace]]:
    """The remotes of these names, or all, each opened as the store that it is.

    Raises NotFound for an unknown name, RemoteError for one that is not there, ReadOnly for one that may not be
    written.
    """
    known = remotes.configured(workspace.root)
    wanted = list(known) if all_remotes else list(dict.fromkeys(names))
    return [(name, _opened(workspace, name, remotes.choose(workspace.root, name)[1])) for name in wanted]


def _opened(workspace: Workspace, name: str, url: str) -> Workspace:
    remote = remotes.open_remote(workspace.root, url)
    if not remote.root.is_dir():
        raise RemoteError(f"remote {name} is not there: {remote.url}: is it mounted? Nothing was purged")
    store = Store.open(remote.root)
    if not store.may_delete:
        raise ReadOnly(f"remote {name}, {remote.url}, cannot be written by this user: nothing was purged")
    return Workspace(store, config.Config())


def purge(place: Workspace, plan: purges.Plan, origin: Workspace, name: str) -> Erased:
    """Purge in one store; `name`: of the remote that it is, empty for `origin` itself. Raises as `purge.purge`."""
    if not name:
        return purges.purge(origin, plan)
    url = remotes.choose(origin.root, name)[1]
    _push_cleaned(remotes.open_remote(origin.root, url), plan, origin)
    place.store.objects.refresh()
    return purges.purge(place, purges.foresee(place, plan.id))


def _push_cleaned(remote: FolderRemote, plan: purges.Plan, origin: Workspace) -> None:
    """Let the remote have the cleaned history of what refers to the object there, where this store knows it."""
    keys = {key_of(plan.id), *(user.key for user in plan.users)} & origin.store.heads.live().keys()
    if keys:
        origin.store.push(remote, keys=keys)


def refuse_push(workspace: Workspace) -> None:
    """Raise UsageError where a push would bring back what was purged elsewhere, and is still referred to here."""
    for object_id in held(workspace):
        if purges.foresee(workspace, object_id).users:
            raise UsageError(
                f"{object_id} was purged elsewhere, and this store still refers to it: run `tracker purge "
                f"{object_id[:12]}` here first, else the push would bring it back"
            )


def held(workspace: Workspace) -> dict[str, Note]:
    """The hashes of what was purged, and lies here all the same: it came from a copy, or was purged elsewhere only."""
    objects = workspace.store.objects
    objects.refresh()
    return {each: note for each, note in workspace.purges().items() if objects.has(ObjectId.parse(each))}


def unwanted(workspace: Workspace) -> frozenset[ObjectId]:
    """What must not come along when something else is fetched: all that was purged, and what told of it."""
    return frozenset(ObjectId.parse(each) for note in workspace.purges().values() for each in note.gone)
