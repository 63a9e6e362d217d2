"""Sessions of this program: a folder, and a zip of it beside it, with one bundle that holds a task and its models."""

from __future__ import annotations

import secrets
import shutil
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from objstore import layout as store_layout
from tracker import layout
from tracker.errors import BadValue, TaskNotFound, UsageError
from tracker.sessions.members import BUNDLE, Members

if TYPE_CHECKING:
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


def take_in(workspace: Workspace, found: Members) -> tuple[str, bool]:
    """The id of the task that a session holds, and whether it was here before. Raises BadValue, Corrupt, OSError."""
    from objstore.bundle import Bundle

    found.digest()  # every byte is checked before any is copied
    folder = workspace.root / store_layout.TMP / secrets.token_hex(16)
    folder.mkdir(parents=True)
    try:
        with found.open(BUNDLE) as source, (folder / BUNDLE).open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
        bundle = Bundle.open([folder / BUNDLE])
        tasks = [head.key for head in bundle.heads() if head.commit.path[:1] == (layout.TASK,)]
        if len(tasks) != 1:
            raise BadValue(
                f"{found.where} holds {len(tasks)} tasks, and a session holds one: "
                "`tracker bundle unbundle` takes in bundles"
            )
        known = _is_here(workspace, tasks[0])
        workspace.store.unbundle(bundle)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return tasks[0], known


def _is_here(workspace: Workspace, key: str) -> bool:
    try:
        return not workspace.thing(key).state.get("deleted")
    except TaskNotFound:
        return False


def refuse_more(where: Path, previous: str | None, offset: int, again: bool) -> None:
    """A session of this program is the task itself, of whatever name and id. Raises UsageError for other wishes."""
    if previous is not None or offset or again:
        raise UsageError(
            f"{where} is a session of this program: it is its task, under that task's own id, and neither continues "
            "another nor is there twice. To continue a task use Task.init(continue_last_task=ID) in the run"
        )
