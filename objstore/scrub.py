"""One pack, checked byte by byte: its stored bytes against what its footer pins, its objects against their ids.

Reads only, and knows nothing of other packs: whether a chunk list makes up its blob is not asked here.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from xxhash import xxh3_64_intdigest

from objstore import layout
from objstore.errors import Corrupt, StoreError, Unsupported
from objstore.frame import HEADER_SIZE, Encoding, decode
from objstore.ids import Kind, ObjectId, hash_object
from objstore.pack import Footer, FrameEntry, ObjectEntry, check_frame
from objstore.records import ChunkList, Commit, Tree

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

_BLOCK: Final = 4 * layout.MIB  # bytes of frames read at once: past it a disk is no faster, and six are held
_THREADS: Final = 2
_AHEAD: Final = 2 * _THREADS  # blocks under way
PARSERS: Final[dict[Kind, Callable[[bytes], object]]] = {
    Kind.TREE: Tree.decode,
    Kind.COMMIT: Commit.decode,
    Kind.CHUNKS: ChunkList.decode,
}

Part = tuple[ObjectEntry, bytes]  # an object and its content
Members = list[list[ObjectEntry]]


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


def open_regular(path: Path) -> int:
    """A descriptor to read a regular file. Raises Corrupt for anything else, OSError."""
    # Not blocking: a pipe that bears a pack's name would wait for a writer for ever.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise Corrupt("is no regular file")
    return fd


def members(footer: Footer) -> Members:
    """Per frame, its objects in their order in the content."""
    found: Members = [[] for _ in footer.frames]
    for entry in footer.objects:
        found[entry.frame].append(entry)
    for inside in found:
        inside.sort(key=lambda entry: (entry.offset, entry.size))  # an empty one comes first
    return found


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

    def faults(self, fd: int, footer: Footer, step: Callable[[int], None]) -> Iterator[Fault]:
        """What is wrong with the frames of an open pack, in their order; `step(bytes)` tells how far it is.

        Raises OSError when the file cannot be read.
        """
        inside = members(footer)
        blocks = list(_blocks(footer.frames))
        if len(blocks) < 2:
            for first, last in blocks:
                yield from self._block(fd, footer, inside, first, last)
                step(_size(footer, first, last))
            return
        waiting: deque[tuple[Future[list[Fault]], int]] = deque()
        for first, last in blocks:
            if len(waiting) == _AHEAD:
                yield from _next(waiting, step)
            task = self._threads().submit(self._block, fd, footer, inside, first, last)
            waiting.append((task, _size(footer, first, last)))
        while waiting:
            yield from _next(waiting, step)

    def _threads(self) -> ThreadPoolExecutor:
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(_THREADS)
        return self._pool

    def _block(self, fd: int, footer: Footer, inside: Members, first: int, last: int) -> list[Fault]:
        start = footer.frames[first].offset
        data = memoryview(read_at(fd, start, _size(footer, first, last)))
        found: list[Fault] = []
        for number in range(first, last):
            frame = footer.frames[number]
            stored = data[frame.offset - start : frame.offset - start + frame.size]
            if self._content:
                found += (fault for fault, _ in examine(number, frame, inside[number], stored) if fault)
            elif fault := _scrub(number, frame, inside[number], stored):
                found.append(fault)
        return found


def _next(waiting: deque[tuple[Future[list[Fault]], int]], step: Callable[[int], None]) -> list[Fault]:
    task, size = waiting.popleft()
    found = task.result()
    step(size)
    return found


def read_at(fd: int, offset: int, size: int) -> bytes:
    """`size` bytes of a file, fewer where it ends before. Raises OSError."""
    data = os.pread(fd, size, offset)
    if len(data) == size or not data:
        return data
    parts = [data]
    while (missing := size - sum(map(len, parts))) and (
        more := os.pread(fd, missing, offset + size - missing)
    ):
        parts.append(more)
    return b"".join(parts)


def _scrub(number: int, frame: FrameEntry, inside: list[ObjectEntry], data: memoryview) -> Fault | None:
    """Only what is fast: whether the bytes are those that were written."""
    if len(data) != frame.size or data[:HEADER_SIZE] != frame.header.pack():
        what = "its header is not what the footer says"
    elif xxh3_64_intdigest(data) != frame.xxh3:
        what = "its checksum does not fit"
    else:
        return None
    return Fault(number, frame.offset, what, frame.header.kind, tuple(entry.id for entry in inside))


def examine(
    number: int, frame: FrameEntry, inside: list[ObjectEntry], data: bytes | memoryview
) -> Iterator[tuple[Fault | None, Part | None]]:
    """Decode a frame and hash its objects: for each a fault, or the object and its content.

    A frame that cannot be decoded is one fault. Of a chunk list the content is the list's own bytes, which are not
    proved to make up the blob.
    """
    stored = bytes(data)
    try:
        check_frame(frame, stored, inside)
        raw = decode(frame.header, stored[HEADER_SIZE:])
        if frame.header.encoding is Encoding.LIST:
            if ChunkList.decode(raw).size != inside[0].size:
                raise Corrupt(f"the chunk list of {inside[0].id} has not the length its frame says")
            yield None, (inside[0], raw)
            return
    except StoreError as error:
        ids, alien = tuple(entry.id for entry in inside), isinstance(error, Unsupported)
        yield Fault(number, frame.offset, str(error), frame.header.kind, ids, alien=alien), None
        return
    at = 0
    for entry in inside:
        content = raw[entry.offset : entry.offset + entry.size]
        try:
            if entry.offset != at or hash_object(frame.header.kind, content) != entry.id:
                raise Corrupt("its content is not what its id says")
            if parse := PARSERS.get(frame.header.kind):
                parse(content)
        except StoreError as error:
            what = f"object {entry.id}: {error}"
            yield Fault(number, frame.offset, what, frame.header.kind, (entry.id,), lone=True), None
        else:
            yield None, (entry, content)
        at += entry.size


def _blocks(frames: tuple[FrameEntry, ...]) -> Iterator[tuple[int, int]]:
    """Runs of frames, as (first, one behind the last), of about 4 MiB each."""
    first = size = 0
    for number, frame in enumerate(frames):
        if size and size + frame.size > _BLOCK:
            yield first, number
            first, size = number, 0
        size += frame.size
    if size:
        yield first, len(frames)


def _size(footer: Footer, first: int, last: int) -> int:
    end = footer.frames[last - 1]
    return end.offset + end.size - footer.frames[first].offset
