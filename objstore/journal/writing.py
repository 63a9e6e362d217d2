"""Appending to a journal: every event lies there before the call that reports it returns."""

from __future__ import annotations

import errno
import os
import struct
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from xxhash import xxh3_64_digest

from objstore.journal.alive import Alive, belongs_to_another
from objstore.journal.files import CREATE, fault_in, fsync, map_new, pwrite, retire, write_all
from objstore.journal.form import (
    FRAME_SIZE,
    MAGIC,
    PAYLOAD_MAX,
    RECORD_HEADER,
    SEGMENT_HEADER,
    SEGMENT_PREFIX,
    VERSION,
    segments_of,
)

if TYPE_CHECKING:
    from mmap import mmap
    from pathlib import Path

SEGMENT_SIZE: Final = 4 << 20  # bytes; 60,000 scalars between two pauses of about 0.1 ms
FIRST_SEGMENT_SIZE: Final = 256 << 10  # bytes; most runs are small, and pay for the blocks they allocate
_TOUCH: Final = 128 << 10  # bytes faulted in together: 0.1 ms every 2,000 records, instead of 3 µs every 60
_pack_header = RECORD_HEADER.pack  # bound once, for the quick path


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
        self._alive = Alive(folder)
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
                end = start + size + FRAME_SIZE
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
                fsync(self._segment_path(segment))
            except FileNotFoundError:
                if segment == current:
                    raise  # an earlier one may have been sealed and removed
        if segments and os.name != "nt":
            for folder in (str(self._folder), *map(str, folders)):
                fsync(folder)
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
                retire(area, fd, at)
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
        if size > PAYLOAD_MAX + FRAME_SIZE:
            raise ValueError(
                f"a payload of {size - FRAME_SIZE} bytes: the limit is {PAYLOAD_MAX}; store it as an object"
            )
        end = self._at + size
        if end > self._capacity or (self._map is not None and not self._touch(self._map, end)):
            self._open_segment(size)
        return self._map is None and self._write(number, record)

    def _touch(self, area: mmap, end: int) -> bool:
        """Let the quick path write up to `end`. False where it would meet a SIGBUS: on a full copy-on-write disk."""
        if end > self._ready:
            try:
                self._ready = fault_in(area, self._ready, -(-end // _TOUCH) * _TOUCH)
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
                done = pwrite(fd, record, start)
                if start + done < end:
                    write_all(fd, record[done:], start + done)
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
            capacity = max(usual, SEGMENT_HEADER.size + size)
            area, fd, new_ready = self._begin_segment(segment, capacity)
        except BaseException:
            self._opening, self._ready = False, 0 if self._closed else ready
            raise
        old_area, old_fd, old_at = self._map, self._fd, self._at
        self._map, self._fd, self._segment, self._capacity = area, fd, segment, capacity
        self._at, self._ready, self._opening = SEGMENT_HEADER.size, new_ready, False
        retire(old_area, old_fd, old_at)

    def _begin_segment(self, segment: int, capacity: int) -> tuple[mmap | None, int, int]:
        """Create a segment; returns its map (None for plain writes), its descriptor, and how far it is ready."""
        header = SEGMENT_HEADER.pack(MAGIC, VERSION, self._writer, segment, self._next)
        path = self._segment_path(segment)
        fd = os.open(path, CREATE | os.O_TRUNC, 0o666)
        try:
            area, ready = map_new(fd, capacity) if self._mapped else (None, 0)
            if area is None:
                self._mapped = False
                os.ftruncate(fd, 0)  # the attempt to allocate may have left something
                write_all(fd, header, 0)
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
            if segments_of(self._folder):
                raise belongs_to_another(self._folder)
        self._alive.claim()

    def _segment_path(self, segment: int) -> str:
        return os.path.join(self._folder, f"{SEGMENT_PREFIX}{segment:08d}")

    def _detach(self) -> None:
        self._map, self._fd = None, -1
        self._at = self._ready = self._capacity = 0
