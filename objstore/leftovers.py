"""Files of a store that are no packs in use: what lies in the trash, what writers and copiers left, empty folders.

Says and removes what is old; what of it may be deleted is decided by `gc`. Knows the file system's own time.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from objstore import layout, trash
from objstore.inventory import pack_files


@dataclass(frozen=True, slots=True)
class Item:
    """A file, or a journal's folder, in the trash. since: when it came there, or changed, seconds since the epoch."""

    name: str
    size: int
    since: float
    is_folder: bool = False


def in_trash(root: Path) -> list[Item]:
    """All that the trash holds, and the packs that were hidden because there was no room for it."""
    found = [
        Item(f.name, f.size, f.changed)
        for f in pack_files(root)
        if f.epoch is not None and f.name.startswith(layout.PACKS)
    ]
    for epoch in trash.epochs(root):
        base = root / layout.TRASH / str(epoch)
        journals = {folder for key in _entries(base / layout.LIVE) for folder in _entries(key)}
        for folder in sorted(journals):
            with suppress(FileNotFoundError):
                since = max(epoch, _changed(folder.lstat()))
                size = sum(path.lstat().st_size for path in _entries(folder))
                found.append(Item(os.path.relpath(folder, root), size, since, is_folder=True))
        for path in _files(base):
            if path.parent not in journals:
                with suppress(FileNotFoundError):
                    status = path.lstat()
                    name = os.path.relpath(path, root)
                    found.append(Item(name, status.st_size, max(epoch, _changed(status))))
    return found


def sweep(root: Path, now: float, stale: float) -> list[int]:
    """Remove what writers and copiers left unfinished, and notes of the cache that nobody has use of; their sizes."""
    old = [(path, stale) for path in _entries(root / layout.TMP)]
    for base in layout.UNION:
        old += [(path, stale) for path in _files(root / base) if _is_leftover(path.name)]
    old += [(path, stale) for path in _files(root / layout.CACHE) if path.name.endswith(".part")]
    old += [(path, layout.CACHE_STALE) for path in _files(root / layout.CACHE / "stat")]
    return [size for path, age in old if (size := remove_old(path, now - age)) is not None]


def _is_leftover(name: str) -> bool:
    return (name.startswith(".") and layout.parse_hidden_name(name) is None) or name.endswith(".part")


def remove_old(path: Path, before: float) -> int | None:
    """Remove a file or folder that has not changed since; its bytes, None where it stays."""
    try:
        status = path.lstat()
        if _changed(status) > before:
            return None
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    except OSError:
        return None  # somebody else removed it, or owns it: it will be there the next time
    return status.st_size


def remove_empty(root: Path, before: float) -> None:
    """Remove folders that hold nothing: any in the trash, and others that have not changed since.

    Who makes one to put a file into it, and finds it gone, makes it again.
    """
    for epoch in trash.epochs(root):
        for folder, _, _ in os.walk(root / layout.TRASH / str(epoch), topdown=False):
            with suppress(OSError):
                os.rmdir(folder)
    for base in (layout.PACKS, layout.REFS):
        for path in _entries(root / base):
            with suppress(OSError):
                if _changed(path.lstat()) <= before:
                    os.rmdir(path)


def _files(base: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(base):
        yield from (Path(folder, name) for name in names)


def _entries(folder: Path) -> list[Path]:
    with suppress(FileNotFoundError, NotADirectoryError):
        return sorted(folder.iterdir())
    return []


def _changed(status: os.stat_result) -> float:
    return max(status.st_mtime, status.st_ctime)


def clock(root: Path, *, dry_run: bool) -> float:
    """The time by which the store's file system stamps its files, in seconds: a host's own may be days off."""
    folder = root / layout.TMP
    if dry_run:
        return time.time()
    try:
        folder.mkdir(exist_ok=True)
        path = folder / secrets.token_hex(16)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except OSError:  # full: its folder can be touched without room for anything
        os.utime(root)
        return root.stat().st_mtime
    try:
        return os.fstat(fd).st_mtime
    finally:
        os.close(fd)
        path.unlink(missing_ok=True)
