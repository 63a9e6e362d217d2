"""Reading a journal, while it is written or after: no record is given that fails a check, and nothing is repaired."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from io import FileIO
from typing import TYPE_CHECKING, Final, NamedTuple

from xxhash import xxh3_64_digest

from objstore.journal.form import (
    CHECK_SIZE,
    FRAME_SIZE,
    HEADER_SIZE,
    PAYLOAD_MAX,
    RECORD_HEADER,
    Record,
    header_of,
    segments_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_WINDOW: Final = 256 << 10  # bytes read at once
_BEHIND: Final = 4 << 20  # bytes behind damage that are looked at for more records
_LOST_MOST: Final = 64  # records damaged in a row behind which one that is whole is still found


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


def read(folder: Path, after: int = 0) -> Iterator[Record]:
    """The records whose number is greater than `after`, in order and without a gap.

    Ends quietly at the first record that is torn, damaged or missing, so what comes is always a part, from
    `after` on, of what was written; `scan` tells why it ended. The writer may be appending meanwhile. A
    folder that is not there has no records. Raises OSError when a file cannot be read.
    """
    segments = segments_of(folder)
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
    segments = segments_of(folder)
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
    for segment, path in segments_of(folder):
        for _ in reader.records(segment, path):
            pass
        if reader.stopped:
            return True
    if not path:
        return False
    with _file(path) as file:
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
    for _, path in segments_of(folder):
        with _file(path) as file:
            data = file.readall()
        if any(
            _is_record(data, at, number)
            for number in range(after + 1, after + 1 + _LOST_MOST)
            for at in _places(data, number)
        ):
            return True
    return False


def _file(path: str) -> FileIO:
    """A segment to read. Raises OSError for what is no regular file: a pipe of that name would be waited for."""
    file = FileIO(path, opener=_open)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "no regular file", path)
    return file


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _was_whole(data: bytes) -> bool:
    """Whether the record at the start of `data`, which cannot be read, was written to its end: to its checksum."""
    if len(data) < FRAME_SIZE:
        return False
    end = HEADER_SIZE + RECORD_HEADER.unpack_from(data)[0]
    if data[end : end + CHECK_SIZE].strip(b"\0"):
        return True
    used = len(data.rstrip(b"\0"))  # its length may be what is damaged: then it fits once that is put right
    for length in range(max(0, used - FRAME_SIZE), used - FRAME_SIZE + CHECK_SIZE):
        body = length.to_bytes(4, "little") + data[4 : HEADER_SIZE + length]
        if xxh3_64_digest(body)[:3:-1] == data[len(body) : len(body) + CHECK_SIZE]:
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
    if at + FRAME_SIZE > len(data):
        return False
    length, kind, _, found = RECORD_HEADER.unpack_from(data, at)
    check = at + HEADER_SIZE + length
    body = data[at:check]
    return kind > 0 and found == number and xxh3_64_digest(body)[:3:-1] == data[check : check + CHECK_SIZE]


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
            file = _file(path)
        except FileNotFoundError:  # taken away since it was listed
            self.stopped = True
            return
        with file:
            header = header_of(file, segment)
            self.stopped = header is None or (
                self.expected > 0 and (header.first != self.expected or header.writer != self.writer)
            )
            if header is not None and not self.stopped:
                self.expected, self.writer = header.first, header.writer
                yield from self._frames(file)

    def _frames(self, file: FileIO) -> Iterator[Record]:
        """The valid records from the position of `file` on; holds a window or a record of it, whichever is more."""
        unpack, digest, new, after = RECORD_HEADER.unpack_from, xxh3_64_digest, tuple.__new__, self._after
        number = self.expected
        size = os.fstat(file.fileno()).st_size
        base = file.tell()  # where `data` begins in the file
        data = b""
        at = 0
        try:
            while True:
                have, wanted = len(data), FRAME_SIZE
                while have - at >= FRAME_SIZE:
                    length, kind, attempt, found = unpack(data, at)
                    check = at + HEADER_SIZE + length
                    end = check + CHECK_SIZE
                    if kind == 0 or found != number or length > PAYLOAD_MAX or base + end > size:
                        return
                    if end > have:
                        wanted = length + FRAME_SIZE
                        break
                    body = data[at:check]
                    if number > after and digest(body)[:3:-1] != data[check:end]:
                        return
                    number += 1
                    at = end
                    if found > after:
                        yield new(Record, (found, kind, attempt, body[HEADER_SIZE:]))
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


def _segment_with(segments: list[tuple[int, str]], number: int) -> int:
    """Where in the list the segment is that has or will have a record; the end of the list when none can.

    Looks from the newest back, since whoever follows a journal asks for its end.
    """
    for place in range(len(segments) - 1, -1, -1):
        segment, path = segments[place]
        with suppress(FileNotFoundError), _file(path) as file:
            header = header_of(file, segment)
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
    with suppress(FileNotFoundError), _file(path) as file:
        at = file.seek(start)
        while data := file.read(_WINDOW):
            if used := len(data.rstrip(b"\0")):
                behind = at + used - start
            at += len(data)
    return behind
