"""Journals: one folder per writing process, where every event lies before the call that reports it returns.

A returned append survives SIGKILL. Nothing is made durable unless asked, nothing is repaired or rewritten, no
folder is shared by two writers, and a reader yields no record that fails a check. What a payload means is not
known here.
"""

from __future__ import annotations

import errno
import os
import struct
import sys
import threading
import time
from contextlib import suppress
from io import FileIO
from mmap import mmap
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from xxhash import xxh3_64_digest

from objstore.errors import Conflict

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAYLOAD_MAX: Final = 1 << 30  # bytes; no event needs more, and a damaged length can claim no more
SEGMENT_SIZE: Final = 4 << 20  # bytes; 60,000 scalars between two pauses of about 0.1 ms
FIRST_SEGMENT_SIZE: Final = 256 << 10  # bytes; most runs are small, and pay for the blocks they allocate
BEAT_SECONDS: Final = 30.0  # how often `beat` is to be called
SILENCE_SECONDS: Final = 600.0  # without a heartbeat, after which a writer on another host is taken for dead
BIRTH_SECONDS: Final = 60.0  # in which a writer that has made its folder says who it is, if it lives

# A segment: magic, version, three zero bytes, writer id (ASCII, padded with zeros), segment number, number of
# its first record, 28 zero bytes; then records; then zeros, or the end of the file.
_SEGMENT_HEADER: Final = struct.Struct("<4sB3x16sIQ28x")
_MAGIC: Final = b"OSJL"
_VERSION: Final = 1
_SEGMENT_PREFIX: Final = "segment."
# A record: length of the payload, kind, a zero byte, attempt, number; the payload; the low 32 bits of the
# xxh3_64 of all that. Kind 0 is the end of the records: zeros are no record.
_RECORD_HEADER: Final = struct.Struct("<IBxHQ")
_pack_header = _RECORD_HEADER.pack  # bound once, for the quick path
_HEADER_SIZE: Final = _RECORD_HEADER.size
_CHECK_SIZE: Final = 4
_FRAME_SIZE: Final = _HEADER_SIZE + _CHECK_SIZE

_ALIVE: Final = "alive"
_ALIVE_MAX: Final = 4096  # bytes of the alive file that are looked at
_WINDOW: Final = 256 << 10  # bytes read at once
_BEHIND: Final = 4 << 20  # bytes behind damage that are looked at for more records
_LOST_MOST: Final = 64  # records damaged in a row behind which one that is whole is still found
_TOUCH: Final = 128 << 10  # bytes faulted in together: 0.1 ms every 2,000 records, instead of 3 µs every 60
_FIRST_TOUCH: Final = 16 << 10  # bytes; enough for a run of a few events
_MADV_POPULATE_WRITE: Final = 23  # Linux 5.14; the mmap module does not name it
_CREATE: Final = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)

# struct flock in native layout, and which of its five fields is l_type.
_FLOCK: Final[dict[str, tuple[str, int]]] = {"linux": ("hhqqi", 0), "darwin": ("qqihh", 3)}

# POSIX drops all of a process's locks on a file when that process closes any descriptor of it. So this
# process never opens an alive file of its own a second time: it knows them by (device, inode), whatever path
# they are asked for by.
_own: set[tuple[int, int]] = set()
_own_guard = threading.RLock()


def _forget_own() -> None:
    """In a forked child: the alive files are the parent's, and a thread that is not here may hold the guard."""
    global _own_guard
    _own_guard = threading.RLock()
    _own.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_own)


class Record(NamedTuple):
    """One record. A named tuple, because a journal is read a hundred thousand at a time."""

    number: int
    kind: int
    attempt: int
    payload: bytes


class Summary(NamedTuple):
    """What a journal holds, and what of it cannot be read."""

    writer: str  # the id in the segments' headers; "" when there is no readable segment
    first: int  # number of the first record; more than 1: earlier segments are gone. 0: there is no record
    records: int  # how many can be read, from `first` on without a gap
    last: int  # number of the last of them; 0: there is none
    torn: int  # bytes behind the last valid record of a segment, up to its last non-zero one
    missing: tuple[tuple[int, int], ...]  # ranges (first, last) of segment numbers that have no file
    unread: tuple[int, ...]  # segments that lie behind damage or a gap, or have a damaged header

    @property
    def intact(self) -> bool:
        """Whether every byte that was ever written here is a record that can be read."""
        return not (self.torn or self.missing or self.unread)


class JournalWriter:
    """The journal of this process, in a folder of its own that is made at the first append.

    `writer` is 1 to 16 ASCII characters. `attempt` (0 to 65535) is stamped on each record and may be set
    between appends. `segment_size` is in bytes; a record that needs more gets a segment that is large enough.
    `mapped=False` makes each append one plain write instead of a copy into a mapped file. It is for file
    systems that may need new blocks to write the same block again (btrfs, zfs, f2fs, bcachefs), where a full
    disk would otherwise be a SIGBUS, and for network ones. Where mapping proves impossible the writer turns
    to plain writes by itself.

    Threads may share a writer. A forked child may not use its parent's: there, call `abandon` and make
    another.
    """

    __slots__ = (
        "_alive",
        "_at",
        "_capacity",
        "_closed",
        "_fd",
        "_folder",
        "_lock",
        "_map",
        "_mapped",
        "_next",
        "_opening",
        "_ready",
        "_segment",
        "_segment_size",
        "_synced",
        "_unsynced_folders",
        "_writer",
        "attempt",
    )

    def __init__(
        self,
        folder: Path,
        writer: str,
        *,
        attempt: int = 1,
        segment_size: int = SEGMENT_SIZE,
        mapped: bool = True,
    ) -> None:
        if not (writer.isascii() and writer.isprintable() and 1 <= len(writer) <= 16):
            raise ValueError(f"writer id {writer!r}: give 1 to 16 printable ASCII characters")
        self._folder = folder = folder.absolute()  # a script may change its working directory
        self._writer = writer.encode("ascii")
        self.attempt = attempt
        self._segment_size = segment_size
        self._mapped = mapped and sys.platform != "win32"
        self._lock = threading.RLock()
        self._alive = _Alive(folder)
        self._next = 1  # number of the next record
        self._segment = 0  # number of the open segment
        self._map: mmap | None = None
        self._fd = -1
        self._at = 0  # where the next record goes
        self._ready = 0  # how far the quick path may write: 0 when there is no map
        self._capacity = 0
        self._opening = False
        self._closed = False
        self._synced = 1  # the first segment that may have undurable bytes
        self._unsynced_folders: list[Path] = []

    def append(self, kind: int, payload: bytes) -> int:
        """Add a record and return its number: 1, 2, 3 and so on without a gap.

        Once this has returned, the record survives the death of the process, but not yet that of the machine.
        `kind` is 1 to 255, `payload` up to 1 GiB. After an OSError (no space, no quota, read-only, …) nothing
        was added and no number used; the same call may succeed later. Raises Conflict when the folder is
        another writer's, ValueError when the journal is closed or an argument is out of range. A signal
        handler or finalizer that interrupts an append may itself append; only while a segment is being opened
        does it get EBUSY.
        """
        with self._lock:
            while True:
                number = self._next
                size = len(payload)
                try:
                    body = _pack_header(size, kind, self.attempt, number) + payload
                except struct.error as error:
                    raise ValueError(
                        f"a record of kind {kind}, attempt {self.attempt} and {size} bytes: the limits are kind 1 "
                        f"to 255, attempt 0 to 65535 and {PAYLOAD_MAX} bytes"
                    ) from error
                # The digest is big-endian: backwards from its end are the low 32 bits, little-endian. Cheaper
                # than masking and packing the integer.
                record = body + xxh3_64_digest(body)[:3:-1]
                start = self._at
                end = start + size + _FRAME_SIZE
                # A call above may have run a signal handler or a finalizer that appended: then begin again. Python
                # runs those after calls and jumps, and from here to the return, if all is true, there are none.
                if end <= self._ready and kind and self._next == number and self._at == start:
                    self._map[start:end] = record  # type: ignore[index]  # _ready is 0 without a map
                    self._at = end
                    self._next = number + 1
                    return number
                if self._append_slowly(number, kind, record):
                    return number

    @property
    def last(self) -> int:
        """Number of the last record that was added; 0 before the first."""
        with self._lock:
            return self._next - 1

    def beat(self) -> None:
        """Tell other hosts that this writer lives: to be called every BEAT_SECONDS.

        Does nothing before the first append. Raises FileNotFoundError when somebody moved the folder away.
        """
        self._alive.beat()

    def sync(self) -> int:
        """Make all that was added durable; returns the number of the last record for which that is now true.

        Other threads can append meanwhile. Raises OSError when the storage does.
        """
        with self._lock:
            last, current, folders = self._next - 1, self._segment, self._unsynced_folders
            segments = range(self._synced, current + 1)
            if self._map is not None and sys.platform != "linux":
                # Linux finds the dirty pages of a map when the file is synced; POSIX does not promise that.
                self._map.flush()
        for segment in segments:
            try:
                # By a descriptor of its own: an append that opens the next segment may close the writer's.
                _fsync(self._segment_path(segment))
            except FileNotFoundError:
                if segment == current:
                    raise  # an earlier one may have been sealed and removed
        if segments and os.name != "nt":
            for folder in (str(self._folder), *map(str, folders)):
                _fsync(folder)
        with self._lock:
            self._synced = max(self._synced, current)
            if self._unsynced_folders is folders:
                self._unsynced_folders = []
        return last

    def close(self) -> None:
        """Cut the last segment to its records, and let go of the lock. A second call does nothing."""
        with self._lock:
            if not self._closed:
                self._closed = True
                area, fd, at = self._map, self._fd, self._at
                self._detach()
                _retire(area, fd, at)
                self._alive.close()

    def abandon(self) -> None:
        """In a forked child: let go of the parent's journal without changing it. This object is then closed.

        POSIX locks belong to a process: the child never had the parent's, and closing its copy of the
        descriptor leaves the parent's in place. (In the parent itself that would drop the lock: there, use
        `close`.)
        """
        # The old lock may be held by a thread that was not forked along, and so for ever.
        self._lock = threading.RLock()
        self._closed = True
        area, fd = self._map, self._fd
        self._detach()
        self._segment, self._next = 0, 1
        if area is not None:
            area.close()
        if fd >= 0:
            os.close(fd)
        self._alive.close()

    def _append_slowly(self, number: int, kind: int, record: bytes) -> bool:
        """What an append is not spared now and then. False: let it try again from the beginning."""
        size = len(record)
        if self._closed:
            raise ValueError(f"the journal in {self._folder} is closed")
        if self._opening:
            raise OSError(
                errno.EBUSY, "interrupted by this append, a segment is being opened", str(self._folder)
            )
        if kind == 0:
            raise ValueError("kind 0 marks the end of the records: give a kind of 1 to 255")
        if size > PAYLOAD_MAX + _FRAME_SIZE:
            raise ValueError(
                f"a payload of {size - _FRAME_SIZE} bytes: the limit is {PAYLOAD_MAX}; store it as an object"
            )
        end = self._at + size
        if end > self._capacity or (self._map is not None and not self._touch(self._map, end)):
            self._open_segment(size)
        return self._map is None and self._write(number, record)

    def _touch(self, area: mmap, end: int) -> bool:
        """Let the quick path write up to `end`. False where it would meet a SIGBUS: on a full copy-on-write disk."""
        if end > self._ready:
            try:
                self._ready = _fault_in(area, self._ready, -(-end // _TOUCH) * _TOUCH)
            except OSError:
                self._mapped = False
                return False
        return True

    def _write(self, number: int, record: bytes) -> bool:
        """Add a record by a plain write. False when an append that interrupted this one took the number."""
        fd, start = self._fd, self._at
        end = start + len(record)
        # As in `append`: from this comparison to the write nothing comes between. The place and the number are taken
        # first, so that a signal handler that runs as soon as the write returns appends behind it.
        if self._next == number and self._at == start:
            self._at = end
            self._next = number + 1
            try:
                done = _pwrite(fd, record, start)
                if start + done < end:
                    _write_all(fd, record[done:], start + done)
            except BaseException as error:
                # An interruption may strike after the last byte; an error of the system never does.
                if fd == self._fd and (isinstance(error, OSError) or os.fstat(fd).st_size < end):
                    self._at, self._next = start, number
                    with suppress(
                        OSError
                    ):  # what stays fails its checksum, and the next record overwrites it
                        os.ftruncate(fd, start)
                raise
            return True
        return False

    def _open_segment(self, size: int) -> None:
        """Go over to a new segment with room for a record of `size` bytes; after an error all is as it was."""
        # An append that interrupts this must not take the number that the header says comes first.
        ready = self._ready
        self._opening, self._ready = True, 0
        try:
            self._claim()
            segment = self._segment + 1
            usual = min(FIRST_SEGMENT_SIZE, self._segment_size) if segment == 1 else self._segment_size
            capacity = max(usual, _SEGMENT_HEADER.size + size)
            area, fd, new_ready = self._begin_segment(segment, capacity)
        except BaseException:
            self._opening, self._ready = False, 0 if self._closed else ready
            raise
        old_area, old_fd, old_at = self._map, self._fd, self._at
        self._map, self._fd, self._segment, self._capacity = area, fd, segment, capacity
        self._at, self._ready, self._opening = _SEGMENT_HEADER.size, new_ready, False
        _retire(old_area, old_fd, old_at)

    def _begin_segment(self, segment: int, capacity: int) -> tuple[mmap | None, int, int]:
        """Create a segment; returns its map (None for plain writes), its descriptor, and how far it is ready."""
        header = _SEGMENT_HEADER.pack(_MAGIC, _VERSION, self._writer, segment, self._next)
        path = self._segment_path(segment)
        fd = os.open(path, _CREATE | os.O_TRUNC, 0o666)
        try:
            area, ready = _map(fd, capacity) if self._mapped else (None, 0)
            if area is None:
                self._mapped = False
                os.ftruncate(fd, 0)  # the attempt to allocate may have left something
                _write_all(fd, header, 0)
            else:
                area[: len(header)] = header
            if self._closed:
                raise ValueError(f"the journal in {self._folder} was closed meanwhile")
        except BaseException:
            os.close(fd)
            with suppress(OSError):  # an empty segment is no harm, and the next try takes it over
                os.unlink(path)
            raise
        return area, fd, ready

    def _claim(self) -> None:
        """Make the folder, and be its writer."""
        if not self._alive.claimed:
            missing = [self._folder]
            while not missing[-1].parent.exists():
                missing.append(missing[-1].parent)
            self._folder.mkdir(parents=True, exist_ok=True)
            self._unsynced_folders = [*self._unsynced_folders, *(folder.parent for folder in missing)]
            if _segments(self._folder):
                raise _belongs_to_another(self._folder)
        self._alive.claim()

    def _segment_path(self, segment: int) -> str:
        return os.path.join(self._folder, f"{_SEGMENT_PREFIX}{segment:08d}")

    def _detach(self) -> None:
        self._map, self._fd = None, -1
        self._at = self._ready = self._capacity = 0


class _Alive:
    """The file by which others see that a writer lives: open, and locked, from the first append to the end."""

    __slots__ = ("_fd", "_folder", "_key", "_path", "_written")

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = os.path.join(folder, _ALIVE)
        self._fd = -1
        self._key = (0, 0)
        self._written = False

    @property
    def claimed(self) -> bool:
        return self._fd >= 0

    def claim(self) -> None:
        """Create and lock the file, and say in it who writes; after an OSError, go on where that stopped."""
        if self._written:
            return
        with _own_guard:
            if self._fd < 0:
                try:
                    self._fd = os.open(self._path, _CREATE | os.O_EXCL, 0o666)
                except FileExistsError:
                    raise _belongs_to_another(self._folder) from None
                status = os.fstat(self._fd)
                self._key = (status.st_dev, status.st_ino)
                _own.add(self._key)
        _write_all(self._fd, _introduction(locked=_lock(self._fd)), 0)
        self._written = True

    def beat(self) -> None:
        if self._fd >= 0:
            os.utime(self._path)  # with no times given, a network file system takes those of its server

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with _own_guard:
                try:
                    os.close(fd)
                finally:
                    _own.discard(self._key)


def _belongs_to_another(folder: Path) -> Conflict:
    return Conflict(f"{folder} is another writer's journal: give this writer a folder of its own")


def _introduction(*, locked: bool) -> bytes:
    import json

    host, boot = _whereabouts()
    fields = {"host": host, "boot": boot, "pid": os.getpid(), "started": time.time(), "locked": locked}
    return json.dumps(fields).encode()


def _lock(fd: int) -> bool:
    """Whether the file is now locked; on some file systems nothing can be: there the heartbeat has to do."""
    if sys.platform == "win32":
        return False
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _map(fd: int, size: int) -> tuple[mmap | None, int]:
    """Allocate and map a new file, and tell how far the map is ready; (None, 0) where that cannot be done.

    Raises OSError when there is no room for it.
    """
    try:
        _allocate(fd, size)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EINVAL):
            return None, 0
        raise
    try:
        area = mmap(fd, size)
        return area, _fault_in(area, 0, _FIRST_TOUCH)
    except OSError:
        return None, 0


def _allocate(fd: int, size: int) -> None:
    """Give a file its blocks now: a store into a map that finds the disk full is a SIGBUS, and ends the process."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, 0, size)
        return
    zeros = bytes(min(size, 1 << 20))
    for start in range(0, size, len(zeros)):
        _write_all(fd, zeros[: size - start], start)


def _fault_in(area: mmap, start: int, end: int) -> int:
    """Make the pages of a map writable now from `start`, where a page begins, to `end`; returns where that ends.

    Raises OSError where a store would be a SIGBUS.
    """
    if sys.platform == "linux":
        end = min(end, len(area))
        try:
            area.madvise(_MADV_POPULATE_WRITE, start, end - start)
        except OSError as error:
            if error.errno == errno.EFAULT:
                raise
        else:
            return end
    return len(area)  # page by page, as they are touched


if sys.platform == "win32":

    def _pwrite(fd: int, data: bytes, at: int) -> int:
        os.lseek(fd, at, os.SEEK_SET)
        return os.write(fd, data)

else:
    _pwrite = os.pwrite


def _write_all(fd: int, data: bytes, at: int) -> None:
    done = _pwrite(fd, data, at)
    while done < len(data):  # a full disk takes a part, and only then says that it is full
        done += _pwrite(fd, data[done:], at + done)


def _retire(area: mmap | None, fd: int, used: int) -> None:
    """Close a segment behind its last record."""
    if area is not None:
        area.close()
    if fd >= 0:
        with suppress(OSError):  # zeros end the records as well as the end of the file does
            os.ftruncate(fd, used)
        os.close(fd)


def _fsync(path: str) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def read(folder: Path, after: int = 0) -> Iterator[Record]:
    """The records whose number is greater than `after`, in order and without a gap.

    Ends quietly at the first record that is torn, damaged or missing, so what comes is always a part, from
    `after` on, of what was written; `scan` tells why it ended. The writer may be appending meanwhile. A
    folder that is not there has no records. Raises OSError when a file cannot be read.
    """
    segments = _segments(folder)
    reader = _Reader(after)
    for segment, path in segments[_segment_with(segments, after + 1) :]:
        yield from reader.records(segment, path)
        if reader.stopped:
            return


def scan(folder: Path) -> Summary:
    """Read all that is there, from the lowest segment on, and tell what could not be read and why.

    While the writer is appending, a record that is half written counts as torn. Raises OSError when a file
    cannot be read.
    """
    segments = _segments(folder)
    reader = _Reader(0)
    first = torn = 0
    unread: tuple[int, ...] = ()
    for place, (segment, path) in enumerate(segments):
        for record in reader.records(segment, path):
            first = first or record.number
        if not reader.stopped:
            torn += _bytes_behind(path, reader.end)
            continue
        # The last segment may be one that its writer has created and not yet begun.
        if segment != segments[-1][0] or _bytes_behind(path, 0):
            unread = tuple(number for number, _ in segments[place:])
        break
    last = reader.expected - 1 if first else 0
    writer = reader.writer.decode("ascii", "replace")
    return Summary(writer, first, last - first + 1 if first else 0, last, torn, _missing(segments), unread)


def goes_on(folder: Path) -> bool:
    """Whether more was written behind the last record that can be read: then it is damage that ends the journal there.

    Else a writer that died in the middle of an append has left the beginning of a record, or nothing at all. Judges
    the last segment; what is wrong with an earlier one, `scan` tells. Raises OSError when a file cannot be read.
    """
    reader, path = _Reader(0), ""
    for segment, path in _segments(folder):
        for _ in reader.records(segment, path):
            pass
        if reader.stopped:
            return True
    if not path:
        return False
    with FileIO(path) as file:
        file.seek(reader.end)
        data = file.read(_BEHIND)
    return _was_whole(data) or any(
        _is_record(data, at, number)
        for number in range(reader.expected + 1, reader.expected + _LOST_MOST)
        for at in _places(data, number)
    )


def holds(folder: Path, after: int) -> bool:
    """Whether a whole record with one of the next numbers after `after` lies in a segment, be it readable or not.

    Looks at every byte, for a journal that is known to be damaged. Raises OSError when a file cannot be read.
    """
    for _, path in _segments(folder):
        with FileIO(path) as file:
            data = file.readall()
        if any(
            _is_record(data, at, number)
            for number in range(after + 1, after + 1 + _LOST_MOST)
            for at in _places(data, number)
        ):
            return True
    return False


def _was_whole(data: bytes) -> bool:
    """Whether the record at the start of `data`, which cannot be read, was written to its end: to its checksum."""
    if len(data) < _FRAME_SIZE:
        return False
    end = _HEADER_SIZE + _RECORD_HEADER.unpack_from(data)[0]
    if data[end : end + _CHECK_SIZE].strip(b"\0"):
        return True
    used = len(data.rstrip(b"\0"))  # its length may be what is damaged: then it fits once that is put right
    for length in range(max(0, used - _FRAME_SIZE), used - _FRAME_SIZE + _CHECK_SIZE):
        body = length.to_bytes(4, "little") + data[4 : _HEADER_SIZE + length]
        if xxh3_64_digest(body)[:3:-1] == data[len(body) : len(body) + _CHECK_SIZE]:
            return True
    return False


def _places(data: bytes, number: int) -> Iterator[int]:
    """Where a record with this number may begin."""
    wanted = number.to_bytes(8, "little")
    at = data.find(wanted, 8)
    while at >= 0:
        yield at - 8
        at = data.find(wanted, at + 1)


def _is_record(data: bytes, at: int, number: int) -> bool:
    if at + _FRAME_SIZE > len(data):
        return False
    length, kind, _, found = _RECORD_HEADER.unpack_from(data, at)
    check = at + _HEADER_SIZE + length
    body = data[at:check]
    return kind > 0 and found == number and xxh3_64_digest(body)[:3:-1] == data[check : check + _CHECK_SIZE]


class _Reader:
    """Follows the records of one writer through its segments."""

    __slots__ = ("_after", "end", "expected", "stopped", "writer")

    def __init__(self, after: int) -> None:
        self._after = after
        self.expected = 0  # number of the next record; 0 before the first segment
        self.writer = b""
        self.stopped = False  # the segment does not go on where the one before ended
        self.end = 0  # where the valid records of the segment end

    def records(self, segment: int, path: str) -> Iterator[Record]:
        """The records of one segment; sets `stopped` when it is not the one that belongs here."""
        try:
            file = FileIO(path)
        except FileNotFoundError:  # taken away since it was listed
            self.stopped = True
            return
        with file:
            header = _header(file, segment)
            self.stopped = header is None or (
                self.expected > 0 and (header.first != self.expected or header.writer != self.writer)
            )
            if header is not None and not self.stopped:
                self.expected, self.writer = header.first, header.writer
                yield from self._frames(file)

    def _frames(self, file: FileIO) -> Iterator[Record]:
        """The valid records from the position of `file` on; holds a window or a record of it, whichever is more."""
        unpack, digest, new, after = _RECORD_HEADER.unpack_from, xxh3_64_digest, tuple.__new__, self._after
        number = self.expected
        size = os.fstat(file.fileno()).st_size
        base = file.tell()  # where `data` begins in the file
        data = b""
        at = 0
        try:
            while True:
                have, wanted = len(data), _FRAME_SIZE
                while have - at >= _FRAME_SIZE:
                    length, kind, attempt, found = unpack(data, at)
                    check = at + _HEADER_SIZE + length
                    end = check + _CHECK_SIZE
                    if kind == 0 or found != number or length > PAYLOAD_MAX or base + end > size:
                        return
                    if end > have:
                        wanted = length + _FRAME_SIZE
                        break
                    body = data[at:check]
                    if number > after and digest(body)[:3:-1] != data[check:end]:
                        return
                    number += 1
                    at = end
                    if found > after:
                        yield new(Record, (found, kind, attempt, body[_HEADER_SIZE:]))
                data = data[at:]
                base += at
                at = 0
                room = size - base - len(data)  # a length is believed only as far as there are bytes for it
                more = file.read(min(max(_WINDOW, wanted - len(data)), max(room, 0)))
                if not more:
                    return
                data += more
        finally:
            self.expected, self.end = number, base + at


class _Header(NamedTuple):
    writer: bytes
    first: int


def _header(file: FileIO, segment: int) -> _Header | None:
    """Read the header of a segment; None when it is not that of this segment in every bit."""
    data = file.read(_SEGMENT_HEADER.size)
    if len(data) != _SEGMENT_HEADER.size:
        return None
    magic, version, padded, number, first = _SEGMENT_HEADER.unpack(data)
    if (magic, version, number) != (_MAGIC, _VERSION, segment) or first == 0:
        return None
    if _SEGMENT_HEADER.pack(magic, version, padded, number, first) != data:  # what has to be zero is not
        return None
    return _Header(padded.rstrip(b"\0"), first)


def _segments(folder: Path) -> list[tuple[int, str]]:
    """The segments of a journal by number, each with its path."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    found = []
    for name in names:
        digits = name[len(_SEGMENT_PREFIX) :]
        if name.startswith(_SEGMENT_PREFIX) and len(digits) == 8 and digits.isascii() and digits.isdigit():
            found.append((int(digits), os.path.join(folder, name)))
    return sorted(found)


def _segment_with(segments: list[tuple[int, str]], number: int) -> int:
    """Where in the list the segment is that has or will have a record; the end of the list when none can.

    Looks from the newest back, since whoever follows a journal asks for its end.
    """
    for place in range(len(segments) - 1, -1, -1):
        segment, path = segments[place]
        with suppress(FileNotFoundError), FileIO(path) as file:
            header = _header(file, segment)
            if header is not None and header.first <= number:
                return place
    return len(segments)


def _missing(segments: list[tuple[int, str]]) -> tuple[tuple[int, int], ...]:
    ranges = []
    expected = 1
    for segment, _ in segments:
        if segment > expected:
            ranges.append((expected, segment - 1))
        expected = segment + 1
    return tuple(ranges)


def _bytes_behind(path: str, start: int) -> int:
    """How many bytes there are from `start` to the last one that is not zero."""
    behind = 0
    with suppress(FileNotFoundError), FileIO(path) as file:
        at = file.seek(start)
        while data := file.read(_WINDOW):
            if used := len(data.rstrip(b"\0")):
                behind = at + used - start
            at += len(data)
    return behind


def liveness(folder: Path, now: float | None = None) -> Literal["alive", "dead", "unknown"]:
    """Whether the writer of a journal still lives.

    A lock that is held is alive. One that is free is dead on the writer's own host, whatever has booted
    since; elsewhere, or where nothing can be locked, ten minutes without a heartbeat are dead, and less is
    unknown. A folder whose alive file is absent or empty is dead when it has not changed for a minute. `now`,
    in seconds since the epoch by the clock of the folder's file system, is asked of that file system when it
    is not given. Neither the alive file nor its times are changed, and read access is enough.
    """
    with _own_guard:
        try:
            path = os.path.join(folder, _ALIVE)
            status = os.stat(path)
            if (status.st_dev, status.st_ino) in _own:
                return "alive"
            fd = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return _never_introduced(folder, now)
        except OSError:
            return "unknown"
        try:
            held = _is_locked(fd)
            introduction = os.read(fd, _ALIVE_MAX)
        except OSError:
            return "unknown"
        finally:
            os.close(fd)
    if held:
        return "alive"
    if not introduction:
        return _never_introduced(folder, now)
    host, boot, locked = _introduced(introduction)
    here, this_boot = _whereabouts()
    rebooted = bool(boot and this_boot) and boot != this_boot
    if host == here and (rebooted or (locked and held is False)):
        return "dead"
    return "dead" if _clock(folder, now) - status.st_mtime > SILENCE_SECONDS else "unknown"


def _never_introduced(folder: Path, now: float | None) -> Literal["dead", "unknown"]:
    """The verdict on a writer that died, or still is, between making its folder and saying who it is."""
    try:
        changed = os.stat(folder).st_mtime
    except OSError:
        return "unknown"
    # Not by the file system's clock: asking it would itself change the folder.
    return "dead" if (time.time() if now is None else now) - changed > BIRTH_SECONDS else "unknown"


def _is_locked(fd: int) -> bool | None:
    """Whether another process holds the lock; None where that cannot be told."""
    if sys.platform == "win32":
        return None
    try:
        if sys.platform not in _FLOCK:
            fcntl.lockf(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)  # closing the file gives it back
            return False
        layout, kind = _FLOCK[sys.platform]
        fields = [0] * 5  # the whole file, from its start
        fields[kind] = fcntl.F_WRLCK
        # F_GETLK only asks: it works on a read-only file, and cannot get in the way of the writer.
        answer = fcntl.fcntl(fd, fcntl.F_GETLK, struct.pack(layout, *fields))
        return bool(struct.unpack(layout, answer)[kind] != fcntl.F_UNLCK)
    except OSError as error:
        return True if error.errno in (errno.EACCES, errno.EAGAIN) else None


def _introduced(data: bytes) -> tuple[object, object, bool]:
    """Host, boot and whether a lock was taken, by an alive file; of a damaged one nothing is believed."""
    import json

    try:
        fields = json.loads(data)
        return fields["host"], fields["boot"], fields["locked"] is True
    except (ValueError, KeyError, TypeError, RecursionError):
        return None, None, False


def _whereabouts() -> tuple[str, str]:
    """This host's name, and an id of its boot ("" where the system has none that a file tells)."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = file.read().strip()
    except OSError:
        boot = ""
    if hasattr(os, "uname"):
        return os.uname().nodename, boot
    return os.environ.get("COMPUTERNAME", ""), boot


def _clock(folder: Path, now: float | None) -> float:
    """The time by which the file system stamps its files; this host's where nothing can be written."""
    if now is not None:
        return now
    path = os.path.join(folder, f".clock.{os.getpid()}.{time.monotonic_ns()}")
    try:
        fd = os.open(path, _CREATE | os.O_EXCL, 0o666)
    except OSError:
        return time.time()
    try:
        return os.fstat(fd).st_mtime
    finally:
        os.close(fd)
        with suppress(OSError):
            os.unlink(path)
