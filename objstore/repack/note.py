"""What one look at a store's files remembers for the next, and that only one process looks at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from objstore import layout
from objstore.publish import temporary

_NOTE: Final = f"{layout.CACHE}/repack"
_LOCK: Final = f"{layout.CACHE}/repack.lock"


@dataclass(slots=True)
class Note:
    """What the last look has found. In cache/: without it everything is looked at again.

    packs: how many there were; again: when to look again though nothing new came, seconds since 1970, 0 for never;
    waiting: packs that others make redundant, and since when that was known; alone: packs that cannot be merged, with
    size and mtime in ns; aside: what was put into the trash, as `<epoch>/<name>`.
    """

    packs: int = 0
    again: float = 0.0
    waiting: dict[str, float] = field(default_factory=dict)
    alone: dict[str, list[int]] = field(default_factory=dict)
    aside: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, root: Path) -> Note:
        """That of a store; an empty one where there is none, or none that can be read."""
        try:
            found: dict[str, Any] = orjson.loads((root / _NOTE).read_bytes())
            return cls(
                packs=int(found["packs"]),
                again=float(found["again"]),
                waiting={str(pack_id): float(since) for pack_id, since in found["waiting"].items()},
                alone={str(pack_id): [int(n) for n in mark] for pack_id, mark in found["alone"].items()},
                aside=[name for name in found["aside"] if _is_aside(name)],
            )
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return cls()

    def write(self, root: Path) -> None:
        """Not durable: what a crash takes is found out again."""
        data = {"packs": self.packs, "again": self.again, "waiting": self.waiting}
        data |= {"alone": self.alone, "aside": self.aside}
        part = temporary(root)
        try:
            part.write_bytes(orjson.dumps(data))
            part.replace(root / _NOTE)
        except OSError:
            with suppress(OSError):
                part.unlink(missing_ok=True)


def _is_aside(name: object) -> bool:
    """Whether a note's entry is a pack or table in the trash: a note is no reason to remove anything else."""
    epoch, _, place = str(name).partition("/")
    base = place.rpartition("/")[2]
    pack_id, table_id = layout.parse_pack_name(base), layout.parse_table_name(base)
    places = [layout.pack_path(pack_id)] if pack_id else [layout.table_path(table_id)] if table_id else []
    return epoch.isdecimal() and place in places


@contextmanager
def alone(root: Path) -> Iterator[bool]:
    """Whether no other process is at it. Only saves work: where there are no locks, the answer is yes."""
    try:
        import fcntl  # not filelock: to import that takes longer than most calls of this module

        (root / layout.CACHE).mkdir(exist_ok=True)
        fd = os.open(root / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except (ImportError, OSError):
        yield True
        return
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        except OSError:
            pass
        yield True
    finally:
        os.close(fd)


def file_system_now(root: Path) -> float:
    """The time by the clock that stamps the store's files, seconds since 1970."""
    path = temporary(root)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC)
    try:
        return os.fstat(fd).st_mtime
    finally:
        os.close(fd)
        path.unlink()
