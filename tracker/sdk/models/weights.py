"""Weights into the store or registered, after the settings; and what can be told of them by their name alone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from objstore import files
from objstore.errors import StoreError
from tracker import layout
from tracker.errors import BadValue
from tracker.sdk import artifacts
from tracker.storage.registry import is_local, local_path

if TYPE_CHECKING:
    from tracker.sdk.task.artifacts import Outputs

_FRAMEWORKS: Final = {
    ".pt": "PyTorch",
    ".pth": "PyTorch",
    ".pkl": "ScikitLearn",
    ".joblib": "ScikitLearn",
    ".h5": "Keras",
    ".keras": "Keras",
    ".onnx": "ONNX",
    ".cbm": "CatBoost",
    ".model": "MXNet",
}


def framework_of(file: str) -> str:
    """The framework that a file's suffix suggests; empty for none."""
    return _FRAMEWORKS.get(Path(file).suffix, "")


def design(text: str | None, mapping: Mapping[str, Any] | None) -> str | dict[str, Any]:
    """A design as it is recorded. Raises BadValue unless exactly one form is given, of the right type."""
    if (text is None) == (mapping is None):
        raise BadValue("give exactly one of config_text and config_dict")
    if text is not None:
        if not isinstance(text, str):
            raise BadValue(f"config_text is text, not {type(text).__name__}")
        return text
    if not isinstance(mapping, Mapping):
        raise BadValue(f"config_dict is a dict, not {type(mapping).__name__}")
    return dict(mapping)


def checked_labels(labels: Mapping[str, int]) -> dict[str, int]:
    """Labels as they are recorded. Raises BadValue."""
    if not isinstance(labels, Mapping) or not all(
        isinstance(k, str) and isinstance(v, int) for k, v in labels.items()
    ):
        raise BadValue(f"labels are a dict of text to whole numbers, not {labels!r}")
    return dict(labels)


def measured(url: str, content: str) -> dict[str, Any]:
    """What a record says of weights that are only registered: their bytes and hash, where they lie on this machine."""
    if not content or not is_local(url):
        return {}
    path = local_path(url)
    return {"hash": content, **({"size": path.stat().st_size} if path.is_file() else {})}


def keep(task: Outputs, path: Path) -> dict[str, Any] | None:
    """Store a file or folder of weights, or register it, as the settings say; None when it could not be stored."""
    config, size = task.workspace.config, _size(path)
    if config.models_store == "register":
        return _registered(path, size)
    if 0 < config.models_max_size < size:
        task.fault(
            f"the weights {path.name} have {size} bytes, more than models.max_size: only their place is noted",
            None,
        )
        return _registered(path, size)
    try:
        return {"$ref": _store(task, path)}
    except (OSError, StoreError) as error:
        task.fault(f"the weights {path.name} were not stored: {error}", error)
        return None


def keep_files(task: Outputs, paths: Sequence[Path]) -> dict[str, Any] | None:
    """Store several files as one folder, named from the deepest folder that has them all; None when it failed."""
    common = common_folder(paths)
    pairs = [(Path(os.path.abspath(path)).relative_to(common).as_posix(), path) for path in paths]
    try:
        return {"$ref": artifacts.store_list(task.workspace, pairs)}
    except (OSError, StoreError) as error:
        task.fault(f"the weights {paths[0].name} and others were not stored: {error}", error)
        return None


def common_folder(paths: Sequence[Path]) -> Path:
    """The deepest folder that has all these files in it."""
    return Path(os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths]))


def mark(path: Path) -> object:
    """What changes when somebody writes to a file, or to any of a folder."""
    if not path.is_dir():
        return _mark(path)
    return sorted((str(each), _mark(each)) for each in path.rglob("*") if each.is_file())


def _mark(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ino


def discard(task: Outputs, marks: Mapping[Path, object]) -> bool:
    """Delete local weights whose content, and the record of it, are durable once this has synced; whether it did.

    The order is the whole point: whatever stops the process before, the file is still there. One that is not what it
    was when it was stored (`marks`) stays: its new content is nowhere else.
    """
    if not task.sync():
        return False
    for path, before in marks.items():
        try:
            if mark(path) != before:
                task.fault(
                    f"the weights {path} were changed while they were stored, and are not deleted", None
                )
                return False
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
        except OSError as error:
            task.fault(f"the weights {path} are stored, but could not be deleted: {error}", None)
            return False
    return True


def _store(task: Outputs, path: Path) -> str:
    force = task.workspace.config.force_read
    if path.is_dir():
        return task.workspace.store_with(lambda tx: files.put_folder(tx, path, force=force), "tree")
    if path.stat().st_size <= layout.INLINE_MAX:
        return task.attach(path.read_bytes())
    return task.workspace.store_with(lambda tx: files.put_file(tx, path, force=force))


def _registered(path: Path, size: int) -> dict[str, Any]:
    return {"url": Path(os.path.abspath(path)).as_uri(), "size": size}


def _size(path: Path) -> int:
    if not path.is_dir():
        return path.stat().st_size
    return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())
