"""upload_artifact: encode, store, and only then record. On return the content survives the process."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from objstore.errors import InvalidName, StoreError
from objstore.records import check_checkout_name
from tracker import codecs, trust
from tracker.records import Ref
from tracker.sdk import artifacts

if TYPE_CHECKING:
    from tracker.sdk.task import Task


@dataclass(frozen=True, slots=True)
class Options:
    """upload_artifact's choices."""

    metadata: Mapping[str, Any] | None = None
    delete_after_upload: bool = False
    auto_pickle: bool | None = None
    preview: Any = None
    extension_name: str | None = None
    serialization_function: Any = None
    sort_keys: bool = True


def upload(task: Task, name: str, value: Any, options: Options) -> bool:
    """Store a value under a name; False when the store could not be written. Raises BadValue, ValueError."""
    encoded = codecs.encode(
        name,
        value,
        extension_name=options.extension_name,
        serialization_function=options.serialization_function,
        auto_pickle=options.auto_pickle is not False,
        sort_keys=options.sort_keys,
        preview=options.preview,
    )
    if encoded.notice:
        task.fault(encoded.notice, None)
    try:
        place = artifacts.store(task.workspace, task.attach, encoded)
    except (OSError, StoreError) as error:  # StoreError: a folder with a socket in it, say
        task.fault(f"artifact {name!r} was not stored: {error}", error)
        return False
    record = {
        **place,
        "type": encoded.type,
        "file": encoded.file_name,
        "content_type": encoded.content_type,
        "preview": encoded.preview,
        "metadata": {str(k): str(v) for k, v in (options.metadata or {}).items()},
        "timestamp": int(time.time()),
    }
    if encoded.kind == "bytes" and "$ref" in place:  # any of these may turn out to need unpickling
        record["mac"] = trust.sign(task.id, Ref.parse(place["$ref"]).id)
    task.set_key(f"artifact/{name}", record)
    path = Path(str(encoded.payload)) if encoded.kind in ("file", "tree") else None
    whole = encoded.kind != "tree" or _comes_back(task, name, Path(str(encoded.payload)))
    if path is not None and options.delete_after_upload and whole and task.sync():
        _delete(path)
    return True


def _comes_back(task: Task, name: str, folder: Path) -> bool:
    """Whether a folder can be written back as it is; a warning now, not when it is wanted, where it cannot."""
    root = folder.resolve()
    for below in folder.rglob("*"):
        try:
            check_checkout_name(below.name)
            if below.is_symlink() and not _stays_inside(below, root):
                raise InvalidName(
                    f"the link {below.name!r} points to {os.readlink(below)!r}, outside of the folder"
                )
        except InvalidName as error:
            task.fault(f"artifact {name!r} is stored, but cannot be written back as a folder: {error}", None)
            return False
    return True


def _stays_inside(link: Path, root: Path) -> bool:
    target = os.readlink(link)
    return not os.path.isabs(target) and Path(
        os.path.normpath(link.parent.resolve() / target)
    ).is_relative_to(root)


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
