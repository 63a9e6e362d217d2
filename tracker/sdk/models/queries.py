"""Finding models by what they are called or hold, and deleting them. Scans all models of the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from objstore.errors import Conflict, StoreError
from tracker import layout
from tracker.sdk import identify, parameters
from tracker.sdk.models.model import created, weights_hash
from tracker.storage import naming
from tracker.storage.registry import is_local, local_path

if TYPE_CHECKING:
    from tracker.reader import Thing
    from tracker.records import State
    from tracker.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Wanted:
    """What models have to be. None: anything. metadata: key to value."""

    project: str | None = None
    name: str | None = None
    tags: tuple[str, ...] = ()
    only_published: bool = False
    archived: bool = True
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def fits(self, state: State) -> bool:
        """Whether a model is that."""
        have = state.section("tag")
        wanted = [tag for tag in self.tags if not tag.startswith("-")]
        return (
            (self.project is None or state.get("project") == self.project)
            and (self.name is None or state.get("name") == self.name)
            and (not wanted or any(tag in have for tag in wanted))
            and not any(tag[1:] in have for tag in self.tags if tag.startswith("-"))
            and (not self.only_published or bool(state.get("published")))
            and (self.archived or not state.get("system_tag/archived"))
            and all(
                (state.get(f"meta/{key}") or {}).get("value") == parameters.encode(value)
                for key, value in self.metadata.items()
            )
        )


def models(workspace: Workspace) -> list[Thing]:
    """All models that are not deleted, newest first."""
    found = [
        thing
        for thing in workspace.things().values()
        if thing.state.kind == layout.MODEL and not thing.state.get("deleted")
    ]
    return sorted(found, key=lambda thing: (-created(thing), thing.key))


def find(workspace: Workspace, wanted: Wanted) -> list[Thing]:
    """The models that fit, newest first."""
    return [thing for thing in models(workspace) if wanted.fits(thing.state)]


def by_weights(workspace: Workspace, url: str, content: str = "") -> Thing | None:
    """The newest model with these weights: the same content, else the same place where a record knows no content.

    url: of the weights, or their path; content: their hash, where it is known.
    """
    found = models(workspace)
    for thing in found:
        if content and weights_hash(thing) == content:
            return thing
    for thing in found:
        weights = thing.state.get("weights") or {}
        # A place is no proof where contents can be compared: what lies there may have been overwritten since.
        if weights.get("url") == url and not (content and weights_hash(thing)):
            return thing
    return None


def content_of(url: str) -> str:
    """The content id of weights that lie on this machine; empty for others, and for what cannot be read."""
    if not is_local(url):
        return ""
    try:
        return identify.content_id(local_path(url))
    except (OSError, StoreError):
        return ""


def remove(workspace: Workspace, key: str, *, copies: bool, force: bool) -> None:
    """Delete a model, unlink it from its task, and delete its weights' copy. Raises Conflict, StoreError, OSError."""
    from tracker import removal

    thing = workspace.thing(key)
    users = [
        other for other in workspace.tasks().values() if other.state.get(f"model/input/{key}") is not None
    ]
    if users and not force:
        raise Conflict(f"task {users[0].key} has model {key} as input: force=True deletes it all the same")
    if thing.state.get("published") and not force:
        raise Conflict(f"model {key} is published: force=True deletes it all the same")
    copy = copy_of(thing)
    removal.delete(workspace, [thing])
    maker = workspace.tasks().get(str(thing.state.get("task", "")))
    if maker is not None:
        _unlink(workspace, maker.key, key)
    if copies and copy is not None:
        from tracker.storage import file_at

        place, name = file_at(copy)
        place.delete(name)


def copy_of(model: Thing) -> str | None:
    """The URL of the copy of a model's weights that its task made at its destination; None where it made none."""
    weights = model.state.get("weights") or {}
    url, file = str(weights.get("url")), str(weights.get("file", ""))
    if str(weights.get("$ref", "")).startswith("tree:"):
        file = f"{file.removesuffix('.zip')}.zip"
    return url if naming.is_copy(url, str(model.state.get("task")), "models", file) else None


def _unlink(workspace: Workspace, task: str, key: str) -> None:
    from tracker.sdk import current

    running = current.get()
    if running is not None and running.id == task and running.runs_here:
        running.set_key(f"model/output/{key}", None)
    else:
        workspace.edit(task, {f"model/output/{key}": None})
