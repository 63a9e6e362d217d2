"""One pack, checked byte by byte: its stored bytes against what its footer pins, its objects against their ids.

Reads only, and knows nothing of other packs: whether a chunk list makes up its blob is not asked here.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from xxhash import xxh3_64_intdigest

from objstore import layout
from objstore.errors import StoreError, Unsupported
from objstore.frame import HEADER_SIZE
from objstore.ids import Kind, ObjectId
from objstore.pack import (
    FrameEntry,
    Frames,
    ObjectEntry,
    footer_frames,
    objects_in,
    open_frame,
)
from objstore.reading import read_at
from objstore.records import check_record

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

_OBJECT: Final = struct.Struct("<32sIIQ")  # an object in a footer
_BLOCK: Final = 4 * layout.MIB  # bytes of frames read at once: past it a disk is no faster, and six are held
_THREADS: Final = 2
_AHEAD: Final = 2 * _THREADS  # blocks under way

Part = tuple[ObjectEntry, bytes]  # an object and its content


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one frame. `ids`: the objects of which this copy cannot be used.

    lone: the frame is sound, and only that object is not what its id says; alien: nothing is damaged, a newer version
    of the program wrote it.
    """

    frame: int
    offset: int
    what: str
    kind: Kind
    ids: tuple[ObjectId, ...]
    lone: bool = False
    alien: bool = False


class Contents:
    """What a pack holds, by its footer's bytes: 60 bytes an object, where a parsed footer takes 250.

    Raises Corrupt or Unsupported for bytes that are no footer.
    """

    def __init__(self, footer: bytes) -> None:
        import numpy as np

        from objstore import columns

        _, rows = columns.parse(footer)
        self.frames = footer_frames(footer)
        self._footer = footer
        self._start = len(footer) - len(rows) * _OBJECT.size
        # By their places in the frames; an empty one comes first.
        self._order = np.lexsort((rows["size"], rows["offset"], rows["frame"])).astype(np.uint32)
        ends = np.cumsum([0, *(frame.objects for frame in self.frames)])
        self._ends: list[int] = ends.tolist()

    @property
    def size(self) -> int:
        """Bytes of the frames."""
        return self.frames.size

    def inside(self, number: int) -> list[ObjectEntry]:
        """The objects of a frame, in their order in its content."""
        rows = self._order[self._ends[number] : self._ends[number + 1]].tolist()
        found = (_OBJECT.unpack_from(self._footer, self._start + row * _OBJECT.size) for row in rows)
        return [ObjectEntry(ObjectId(raw), frame, offset, size) for raw, frame, offset, size in found]

    def ids(self) -> Iterator[bytes]:
        """The ids of all objects, sorted."""
        for at in range(self._start, len(self._footer), _OBJECT.size):
            yield self._footer[at : at + 32]


class Scrubber:
    """Checks packs, large ones by two threads. Use as a context manager."""

    def __init__(self, *, content: bool) -> None:
        self._content = content
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> Scrubber:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def faults(self, fd: int, contents: Contents, step: Callable[[int], None]) -> Iterator[Fault]:
        """What is wrong with the frames of an open pack, in their order; `step(bytes)` tells how far it is.

        Raises OSError when the file cannot be read.
        """
        blocks = list(_blocks(contents.frames))
        if len(blocks) < 2:
            for first, last in blocks:
                yield from self._block(fd, contents, first, last)
                step(_size(contents, first, last))
            return
        waiting: deque[tuple[Future[list[Fault]], int]] = deque()
        for first, last in blocks:
            if len(waiting) == _AHEAD:
                yield from _next(waiting, step)
            task = self._threads().submit(self._block, fd, contents, first, last)
            waiting.append((task, _size(contents, first, last)))
        while waiting:
            yield from _next(waiting, step)

    def _threads(self) -> ThreadPoolExecutor:
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(_THREADS)
        return self._pool

    def _block(self, fd: int, contents: Contents, first: int, last: int) -> list[Fault]:
        start = contents.frames[first].offset
        data = memoryview(read_at(fd, start, _size(contents, first, last)))
        found: list[Fault] = []
        for number in range(first, last):
            frame = contents.frames[number]
            stored = data[frame.offset - start : frame.offset - start + frame.size]
            if self._content:
                inside = contents.inside(number)
                found += (fault for fault, _ in examine(number, frame, inside, stored) if fault)
            elif what := _scrub(frame, stored):
                ids = tuple(entry.id for entry in contents.inside(number))
                found.append(Fault(number, frame.offset, what, frame.header.kind, ids))
        return found


def _next(waiting: deque[tuple[Future[list[Fault]], int]], step: Callable[[int], None]) -> list[Fault]:
    task, size = waiting.popleft()
    found = task.result()
    step(size)
    return found


def _scrub(frame: FrameEntry, data: memoryview) -> str:
    """Only what is fast: why the bytes are not those that were written, or ""."""
    if len(data) != frame.size or data[:HEADER_SIZE] != frame.header.pack():
        return "its header is not what the footer says"
    return "its checksum does not fit" if xxh3_64_intdigest(data) != frame.xxh3 else ""


def examine(
    number: int, frame: FrameEntry, inside: list[ObjectEntry], data: bytes | memoryview
) -> Iterator[tuple[Fault | None, Part | None]]:
    """Decode a frame and hash its objects: for each a fault, or the object and its content.

    A frame that cannot be decoded is one fault. Of a chunk list the content is the list's own bytes, which are not
    proved to make up the blob.
    """
    try:
        raw = open_frame(frame, bytes(data), inside)
    except StoreError as error:
        ids, alien = tuple(entry.id for entry in inside), isinstance(error, Unsupported)
        yield Fault(number, frame.offset, str(error), frame.header.kind, ids, alien=alien), None
        return
    for entry, content, wrong in objects_in(frame, inside, raw):
        what, ids = wrong or _unreadable(frame.header.kind, content), (entry.id,)
        if what:
            what = f"object {entry.id} {what}"
            yield Fault(number, frame.offset, what, frame.header.kind, ids, lone=True), None
        else:
            yield None, (entry, content)


def _unreadable(kind: Kind, content: bytes) -> str:
    """Why an object cannot be read as one of its kind, or ""."""
    try:
        check_record(kind, content)
    except StoreError as error:
        return f"cannot be read: {error}"
    return ""


def _blocks(frames: Frames) -> Iterator[tuple[int, int]]:
    """Runs of frames, as (first, one behind the last), of about 4 MiB each."""
    first = size = 0
    for number in range(len(frames)):
        start, end = frames.span(number)
        if size and size + end - start > _BLOCK:
            yield first, number
            first, size = number, 0
        size += end - start
    if size:
        yield first, len(frames)


def _size(contents: Contents, first: int, last: int) -> int:
    return contents.frames.span(last - 1)[1] - contents.frames.span(first)[0]
