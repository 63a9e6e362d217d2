"""Which files are as they were when they were last stored, so that they need not be read again.

One small file below cache/stat/ for each path that was stored. It belongs to one host and may be deleted, damaged or
replaced at any time: then files are read again. It says what a file's content was, never that a store holds it.
"""

from __future__ import annotations

import os
import secrets
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple

from xxhash import xxh3_64_digest, xxh3_64_intdigest

from objstore import layout
from objstore.ids import SIZE, ObjectId, hash_bytes

_HEAD: Final = struct.Struct(
    "<8s8sII"
)  # magic, checksum of what follows, bytes of the origin, number of rows
_MAGIC: Final = b"OSSTAT1\n"
_STAT: Final = struct.Struct("<QqqQQ")  # size, mtime, ctime, inode, device
_ROW: Final = struct.Struct(f"<{_STAT.size}s{SIZE}sQ")  # stat, blob id, spots
_64_BITS: Final = (1 << 64) - 1

_SPOT_SIZE: Final = 4 * layout.KIB
_SPOTS_MIN: Final = 2
_SPOTS_MAX: Final = 8
_COARSE: Final = (
    10_000_000  # a time that is a multiple of so many nanoseconds comes from a clock that is no finer
)


class Known(NamedTuple):
    """What a file was when it was stored; `spots` as `spots_of` gave it then."""

    object_id: ObjectId
    size: int
    spots: int


class StatCache:
    """The files of one stored path, by their names below it ("" for itself): as they were, and as they are found now.

    Use as a context manager: what was found is kept for the next time on a clean exit. Where nothing can be written,
    or `forget` is set, nothing is known.
    """

    def __init__(self, root: Path, source: Path, *, forget: bool = False) -> None:
        """For the absolute path `source` and the store at `root`."""
        self._origin = _origin(source)
        self._path = root / layout.STAT_CACHE / _name(self._origin)
        self._part, self._taken = _begin(root)
        self._rewrite = False
        names, self._rows = ([], b"") if forget or self._part is None else _read(self._path, self._origin)
        self._known = {name: at * _ROW.size for at, name in enumerate(names)}
        self._found: dict[str, bytes] = {}

    def __enter__(self) -> StatCache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._part is None:
            return
        # A cache that cannot be written is none, and breaks nothing.
        with suppress(OSError):
            if kind is None and (self._rewrite or len(self._found) != len(self._known)):
                self._save(self._part)
        with suppress(OSError):
            self._part.unlink(missing_ok=True)

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def find(self, name: str, status: os.stat_result) -> Known | None:
        """What a file was, if it looks as it did: the same size, times, inode and device. Else None."""
        at = self._known.get(name)
        if at is None:
            return None
        if not self._rows.startswith(_stat(status), at):
            return None
        _, object_id, spots = _ROW.unpack_from(self._rows, at)
        return Known(ObjectId(object_id), status.st_size, spots)

    def blobs(self) -> Iterator[ObjectId]:
        """What all known files were."""
        return (ObjectId(object_id) for _, object_id, _ in _ROW.iter_unpack(self._rows))

    def keep(self, name: str) -> None:
        """Note that a known file is what it was."""
        at = self._known[name]
        self._found[name] = self._rows[at : at + _ROW.size]

    def add(
        self, name: str, before: os.stat_result, after: os.stat_result, object_id: ObjectId, spots: int
    ) -> None:
        """Note what a file held that was read between two looks at it, if a later change is sure to show."""
        self._rewrite = True
        same = _stat(before) == _stat(after)
        # Nothing is known by a size of 0: the files of /proc have it, whatever is in them.
        if same and before.st_size and self._settled(before) and len(self._found) < layout.STAT_ROWS_MAX:
            self._found[name] = _ROW.pack(_stat(before), object_id, spots)

    def sample(self, count: int) -> frozenset[str]:
        """So many of the known names, others each time."""
        # Not the generator that a training may have seeded.
        return frozenset(secrets.SystemRandom().sample(list(self._known), min(count, len(self._known))))

    def _settled(self, status: os.stat_result) -> bool:
        """Whether the file's last change is so old that another one has other times (git's rule for racy entries)."""
        coarse = status.st_ctime_ns % _COARSE == 0
        margin = layout.STAT_MARGIN_COARSE if coarse else layout.STAT_MARGIN
        return max(status.st_mtime_ns, status.st_ctime_ns) < self._taken - margin

    def _save(self, part: Path) -> None:
        if not self._found:
            self._path.unlink(missing_ok=True)
            return
        body = b"".join((self._origin, *self._found.values(), "\0".join(self._found).encode()))
        head = _HEAD.pack(_MAGIC, xxh3_64_digest(body), len(self._origin), len(self._found))
        part.write_bytes(head + body)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if not self._path.exists():
            _make_room(self._path.parent)
        # No fsync: what a power cut leaves has another checksum, and is not believed.
        part.replace(self._path)


def originals(root: Path) -> Iterator[tuple[ObjectId, Path]]:
    """Blobs that were stored from files of this host, and these files; they may have changed since, or gone."""
    folder = root / layout.STAT_CACHE
    with suppress(OSError):
        for name in sorted(os.listdir(folder)):
            origin = _load(folder / name)[0]
            host, _, source = origin.partition(b"\0")
            if host != _host() or _name(origin) != name:
                continue
            files, rows = _read(folder / name, origin)
            for file, (_, object_id, _) in zip(files, _ROW.iter_unpack(rows), strict=True):
                yield ObjectId(object_id), Path(os.fsdecode(source), file)


def spots_of(fd: int, size: int) -> int:
    """A checksum of 2 to 8 places of 4 KiB, spread evenly from the start of an open file to its end.

    0 for a file under 64 KiB: to look at a few of those whole costs no more. Raises OSError.
    """
    if size < layout.STAT_SPOTS_MIN:
        return 0
    steps = min(max(_SPOTS_MIN, size // layout.MIB), _SPOTS_MAX) - 1
    places = ((size - _SPOT_SIZE) * step // steps for step in range(steps + 1))
    return xxh3_64_intdigest(b"".join(os.pread(fd, _SPOT_SIZE, place) for place in places))


def _stat(status: os.stat_result) -> bytes:
    return _STAT.pack(
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_ino & _64_BITS,
        status.st_dev & _64_BITS,
    )


# --- the file ------------------------------------------------------------------------------------------------------


def _host() -> bytes:
    return os.fsencode(os.uname().nodename) if hasattr(os, "uname") else b""


def _origin(source: Path) -> bytes:
    """What a cache is about. Its host too: on another one the same path, inode and device are another file."""
    return _host() + b"\0" + os.fsencode(source)


def _name(origin: bytes) -> str:
    return hash_bytes(origin)[:16].hex()


def _begin(root: Path) -> tuple[Path | None, int]:
    """A new file to write to, and the time now: by the store's file system or by this host, whichever is behind."""
    part = root / layout.TMP / secrets.token_hex(16)
    try:
        part.parent.mkdir(exist_ok=True)
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except OSError:
        return None, 0
    try:
        return part, min(os.fstat(fd).st_mtime_ns, time.time_ns())
    finally:
        os.close(fd)


def _load(path: Path) -> tuple[bytes, int, bytes]:
    """The origin in a cache's file, the number of its rows, and these with the names; all empty for garbage."""
    try:
        with path.open("rb") as file:
            data = file.read(layout.STAT_CACHE_MAX)
        magic, checksum, origin, rows = _HEAD.unpack_from(data)
    except (OSError, struct.error):
        return b"", 0, b""
    body = data[_HEAD.size :]
    if magic != _MAGIC or checksum != xxh3_64_digest(body):
        return b"", 0, b""
    return body[:origin], rows, body[origin:]


def _read(path: Path, origin: bytes) -> tuple[list[str], bytes]:
    """The names that a cache holds, and their rows one behind another."""
    about, count, rest = _load(path)
    end = count * _ROW.size
    names = rest[end:].decode(errors="replace").split("\0") if count else []
    if about != origin or len(names) != count or len(set(names)) != count:
        return [], b""
    return names, rest[:end]


def _make_room(folder: Path) -> None:
    """Remove the oldest quarter of the caches when there are too many."""
    names = os.listdir(folder)
    if len(names) < layout.STAT_CACHES_MAX:
        return
    ages = sorted((os.stat(folder / name).st_mtime_ns, name) for name in names)
    for _, name in ages[: len(ages) // 4 + 1]:
        (folder / name).unlink(missing_ok=True)
