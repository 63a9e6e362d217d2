"""Files that are open while they are read, which packs there are, and the one lock of all readers."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

from objstore import layout
from objstore.reading import open_regular

# One for all stores, since a fork must find it free: a thread that is not in the child may hold the parent's.
_guard = threading.RLock()


def _free_guard() -> None:
    global _guard
    _guard = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_free_guard)


def guard() -> threading.RLock:
    """The lock under which what is known of packs changes. Ask anew each time: a fork replaces it."""
    return _guard


class OpenFile:
    """A descriptor that lasts as long as somebody reads by it: closed too early, its number may be another file's."""

    __slots__ = ("fd",)

    def __init__(self, path: Path) -> None:
        self.fd = open_regular(path)

    def __del__(self) -> None:
        if hasattr(self, "fd"):  # opening may have failed
            os.close(self.fd)


def pack_files(root: Path) -> Iterator[str]:
    """The ids in the names of the pack files below a store, or below what has the form of one, in no order."""
    base = root / layout.PACKS
    try:
        shelves = os.listdir(base)
    except (FileNotFoundError, NotADirectoryError):  # fsck names the latter
        return
    for shelf in shelves:
        try:
            names = os.listdir(base / shelf)
        except (NotADirectoryError, FileNotFoundError):
            continue
        for name in names:
            pack_id = layout.parse_pack_name(name)
            if pack_id is not None and pack_id[:2] == shelf:
                yield pack_id
