"""Sessions of this program: a folder, and a zip of it beside it, with one bundle that holds a task and its models.

Taken in as the task that it is; or, where that is asked for, as another one, or as the continuation of one.
"""

from __future__ import annotations

import secrets
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from objstore import layout as store_layout
from tracker import layout
from tracker.errors import BadValue, UsageError
from tracker.sessions.copying import Copy
from tracker.sessions.members import BUNDLE, Members
from tracker.sessions.target import ORIGIN, Imported, digest, taken

if TYPE_CHECKING:
    from objstore.bundle import Bundle
    from tracker.workspace import Workspace

_MODELS = ("model/input/", "model/output/")


def write(workspace: Workspace, key: str, folder: Path) -> Path:
    """Leave a sealed task as a session in `folder`, which is made; returns the zip beside it. Raises OSError."""
    keys = {key}
    for name in workspace.thing(key).state.keys:
        keys.update(name.removeprefix(start) for start in _MODELS if name.startswith(start))
    folder.mkdir(parents=True, exist_ok=True)
    workspace.store.bundle(folder / BUNDLE, keys, force=True)
    target = folder.with_name(f"{folder.name}.zip")
    part = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:  # a bundle is packed already
            archive.write(folder / BUNDLE, BUNDLE)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return target


def take_in(workspace: Workspace, found: Members, previous: str | None, offset: int, again: bool) -> Imported:
    """Take a session in; see `import_session`. Raises BadValue, UsageError, TaskNotFound, Corrupt, OSError."""
    content = found.digest()  # every byte is checked before any is copied
    with _scratch(workspace) as folder:
        bundle = _bundle(found, folder)
        task = _task(bundle, found)
        if previous == task:
            if offset or again:
                raise UsageError(f"{found.where} is task {task} itself, which cannot be its own continuation")
            previous = None
        if previous is None and not (offset or again):
            return _as_it_is(workspace, bundle, task, content)
        salt = secrets.token_hex(16) if again else ""
        key = previous or digest(task, content, str(offset), salt)
        if not again and _has(workspace, key, content):
            return Imported(key, task, known=True)
        Copy(workspace, bundle, folder, task, key, content, salt).run(previous, offset)
        return Imported(key, task)


def _as_it_is(workspace: Workspace, bundle: Bundle, task: str, content: str) -> Imported:
    """The task under its own id, united with what of it is here: a later session of it may have more."""
    thing = workspace.things().get(task)
    here = thing is not None and not thing.state.get("deleted")
    key = task if here else taken(workspace, task, content, task)
    if key in (None, task):
        workspace.store.unbundle(bundle)
    return Imported(key or task, task, known=key is not None)


def _bundle(found: Members, folder: Path) -> Bundle:
    from objstore.bundle import Bundle

    with found.open(BUNDLE) as source, (folder / BUNDLE).open("wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
    return Bundle.open([folder / BUNDLE])


def _task(bundle: Bundle, found: Members) -> str:
    tasks = [head.key for head in bundle.heads() if head.commit.path[:1] == (layout.TASK,)]
    if len(set(tasks)) != 1:
        raise BadValue(
            f"{found.where} holds {len(tasks)} tasks, and a session holds one: "
            "`tracker bundle unbundle` takes in bundles"
        )
    return tasks[0]


def _has(workspace: Workspace, key: str, content: str) -> bool:
    """Whether a session went into this task before."""
    thing = workspace.things().get(key)
    return thing is not None and thing.state.get(ORIGIN + content) is not None


@contextmanager
def _scratch(workspace: Workspace) -> Iterator[Path]:
    folder = workspace.root / store_layout.TMP / secrets.token_hex(16)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
