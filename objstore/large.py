"""One large blob on its way in: cut, hashed, encoded by a thread a core while the next bytes are read, and packed.

Knows chunks, frames and packs; what becomes of a finished pack, and which chunks are here already, it is told.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from objstore import layout
from objstore.chunker import Cutter, Piece, Region
from objstore.frame import Encoding, as_it_is, encode, encode_list
from objstore.ids import Hasher, Kind, ObjectId, hash_object
from objstore.pack import PackWriter, SealedFrame, seal_frame
from objstore.records import ChunkList, pages

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

WINDOW = 4 * layout.MIB  # bytes read at a time
_THREADS = min(os.cpu_count() or 1, 8)
_AHEAD = 4 * _THREADS  # pieces of work, of up to 1 MiB each, that wait to be done or to be written

T = TypeVar("T")


class Source(Protocol):
    """What bytes are read from: a file opened without a buffer, io.BytesIO."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Put the next bytes into `buffer`; returns how many, 0 at the end."""
        ...


class Shelf(Protocol):
    """What a large blob needs of the transaction that it belongs to."""

    def has(self, object_id: ObjectId) -> bool:
        """Whether an object is here already and sound, asked by several threads at once."""
        ...

    def ends_when_failed(self) -> AbstractContextManager[None]:
        """Whatever is raised within ends the transaction."""
        ...

    def writer(self) -> PackWriter:
        """A new pack."""
        ...

    def finish(self, writer: PackWriter) -> None:
        """Make a pack durable and visible, perhaps in a thread of its own; a failure ends the transaction."""
        ...


@dataclass(frozen=True, slots=True)
class _Run:
    """Neighbouring chunks: their bytes, where in the file these begin, the size of each, and of the numbers in them."""

    data: memoryview
    offset: int
    sizes: tuple[int, ...]
    item_size: int


@dataclass(frozen=True, slots=True)
class _Encoded:
    """What became of a run: all its chunks in order, and frames of those that are new."""

    chunks: list[tuple[ObjectId, int]]
    frames: list[SealedFrame]


class LargeBlob:
    """The ingest of one blob over 8 MiB. Memory stays under a few dozen MiB, whatever the size."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._writer: PackWriter | None = None
        self._unfinished: deque[_Due[None]] = deque()
        self._lock = threading.Lock()
        self.chunks: list[tuple[ObjectId, int]] = []
        self.new: set[ObjectId] = set()  # what the packs of this blob hold

    def ingest(self, first: memoryview, source: Source, regions: Sequence[Region]) -> ObjectId:
        """Cut and store the chunks of `first` and what `source` gives after it; returns the id of the whole."""
        windows = _Windows(source, first)
        # One thread reads ahead, and one waits for the disk.
        with _Workers(_THREADS) as encoders, _Workers(1) as reader, _Workers(1) as finisher:
            try:
                self._chunks(_Threads(encoders, reader, finisher), windows, Cutter(regions))
            finally:
                self._settle()
        return windows.whole.id()

    def add_list(self, blob_id: ObjectId) -> bytes:
        """Store the list that makes the chunks one blob, behind them; returns the list's own bytes."""
        top = ChunkList(0, tuple(self.chunks))
        if len(self.chunks) > layout.LIST_PAGE_MAX:
            pieces = pages(self.chunks, (i for i, _ in self.chunks), layout.LIST_PAGE_MAX)
            top = ChunkList(1, tuple(self._add_page(ChunkList(0, tuple(piece))) for piece in pieces))
        encoded = top.encode()
        size = sum(size for _, size in self.chunks)
        self._write(seal_frame(*encode_list(encoded, size), [(blob_id, size)]))
        return encoded

    def finish(self) -> None:
        """Make the last pack durable and visible. Raises OSError."""
        writer, self._writer = self._writer, None
        if writer is not None:
            self._shelf.finish(writer)

    def discard(self) -> None:
        """Remove what is not finished."""
        if self._writer is not None:
            self._writer.discard()

    def _chunks(self, threads: _Threads, windows: _Windows, cutter: Cutter) -> None:
        waiting: deque[tuple[_Due[_Encoded], _Window]] = deque()

        def take() -> None:
            due, of = waiting.popleft()
            self._take(due.result(), threads.finisher)
            if not waiting or waiting[0][1] is not of:
                windows.free(of)

        ahead = threads.reader.submit(windows.next)
        window = ahead.result()
        while True:
            ahead = threads.reader.submit(windows.next)
            view, done, last = window.view(), 0, window.last
            for run in _runs(view, cutter.cut(view, last=last)):
                waiting.append((threads.encoders.submit(self._encode, run), window))
                done += len(run.data)
                while len(waiting) > _AHEAD:
                    take()
            if last:
                break
            following = ahead.result()
            following.prepend(view[done:])
            window = following
        while waiting:
            take()

    def _encode(self, run: _Run) -> _Encoded:
        chunks: list[tuple[ObjectId, int]] = []
        frames: list[SealedFrame] = []
        begin = at = 0  # the new chunks that wait for their frame are those between the two
        members: list[tuple[ObjectId, int]] = []
        for size in run.sizes:
            chunk_id = hash_object(Kind.BLOB, run.data[at : at + size])
            chunks.append((chunk_id, size))
            if self._claim(chunk_id):
                members.append((chunk_id, size))
            else:
                frames += _encode_neighbours(run, begin, members)
                begin, members = at + size, []
            at += size
        frames += _encode_neighbours(run, begin, members)
        return _Encoded(chunks, frames)

    def _claim(self, chunk_id: ObjectId) -> bool:
        """Whether the chunk is nowhere yet, and this call's caller is the one to store it."""
        if self._shelf.has(chunk_id):
            return False
        with self._lock:
            if chunk_id in self.new:
                return False
            self.new.add(chunk_id)
            return True

    def _take(self, done: _Encoded, finisher: _Workers) -> None:
        self.chunks += done.chunks
        for frame in done.frames:
            self._write(frame)
            if self._writer is not None and self._writer.full:
                writer, self._writer = self._writer, None
                self._unfinished.append(finisher.submit(self._shelf.finish, writer))
                if len(self._unfinished) > 1:  # a disk slower than all else: let it catch up
                    self._unfinished.popleft().result()

    def _settle(self) -> None:
        """Wait for the packs on their way. Raises what made one of them fail."""
        while self._unfinished:
            self._unfinished.popleft().result()

    def _write(self, frame: SealedFrame) -> None:
        with self._shelf.ends_when_failed():
            if self._writer is None:
                self._writer = self._shelf.writer()
            self._writer.write(frame)

    def _add_page(self, page: ChunkList) -> tuple[ObjectId, int]:
        raw = page.encode()
        page_id = hash_object(Kind.CHUNKS, raw)
        if self._claim(page_id):
            # Here, before the list in this pack or an earlier one: a crash leaves no list without its pages.
            self._write(seal_frame(*encode(Kind.CHUNKS, raw), [(page_id, len(raw))]))
        return page_id, page.size


class _Due(Generic[T]):
    """The result of a piece of work that may still be going on."""

    def __init__(self, wait: Callable[[], T]) -> None:
        self.result = wait


class _Workers:
    """Threads; where none can start any more, at the interpreter's end, their work is done at once."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> _Workers:
        with suppress(RuntimeError):  # what its import does is refused at the interpreter's end
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(self._count)
        return self

    def __exit__(self, *error: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def submit(self, work: Callable[..., T], *arguments: Any) -> _Due[T]:
        """Begin a piece of work."""
        if self._pool is not None:
            with suppress(RuntimeError):
                return _Due(self._pool.submit(work, *arguments).result)
        done = work(*arguments)
        return _Due(lambda: done)


@dataclass(frozen=True, slots=True)
class _Threads:
    """Who encodes chunks, who reads ahead, and who finishes packs."""

    encoders: _Workers
    reader: _Workers
    finisher: _Workers


class _Window:
    """Some bytes of a file, with room before them for what is left of those that came before."""

    __slots__ = ("_buffer", "_end", "_start", "last")

    def __init__(self, buffer: memoryview, start: int, end: int, *, last: bool) -> None:
        self._buffer, self._start, self._end, self.last = buffer, start, end, last

    def view(self) -> memoryview:
        return self._buffer[self._start : self._end]

    def prepend(self, rest: memoryview) -> None:
        self._buffer[self._start - len(rest) : self._start] = rest
        self._start -= len(rest)


class _Windows:
    """A file's bytes in windows, and the hash of all. Buffers are used again: fresh memory costs a fault a page."""

    def __init__(self, source: Source, first: memoryview) -> None:
        self._source = source
        self._first: memoryview | None = first
        self._free: deque[memoryview] = deque()
        self.whole = Hasher()

    def next(self) -> _Window:
        if self._first is not None:
            window, self._first = _Window(self._first, 0, len(self._first), last=False), None
        else:
            buffer = self._free.popleft() if self._free else memoryview(bytearray(layout.CHUNK_MAX + WINDOW))
            size = fill(self._source, buffer[layout.CHUNK_MAX :])
            end = layout.CHUNK_MAX + size
            window = _Window(buffer, layout.CHUNK_MAX, end, last=size < WINDOW)
        self.whole.update(window.view())
        return window

    def free(self, window: _Window) -> None:
        """Take back the buffer of a window that nobody reads any more."""
        if len(window._buffer) == layout.CHUNK_MAX + WINDOW:
            self._free.append(window._buffer)


def fill(source: Source, buffer: memoryview) -> int:
    """Read until `buffer` is full or the source has ended; returns the bytes read."""
    size = 0
    while size < len(buffer) and (count := source.readinto(buffer[size:])):
        size += count
    return size


def _runs(window: memoryview, pieces: Iterator[Piece]) -> Iterator[_Run]:
    """Neighbours that may share a frame: of one item size, 1 MiB at most."""
    start = end = offset = item_size = 0
    sizes: list[int] = []
    for piece in pieces:
        size = len(piece.data)
        if sizes and (end - start + size > layout.FRAME_RAW_MAX or piece.item_size != item_size):
            yield _Run(window[start:end], offset, tuple(sizes), item_size)
            start, sizes = end, []
        if not sizes:
            offset, item_size = piece.offset, piece.item_size
        sizes.append(size)
        end += size
    if sizes:
        yield _Run(window[start:end], offset, tuple(sizes), item_size)


def _encode_neighbours(run: _Run, begin: int, members: list[tuple[ObjectId, int]]) -> list[SealedFrame]:
    """Chunks that follow one another from byte `begin` of a run: one compressed frame, or a raw one each."""
    if not members:
        return []
    raw = run.data[begin : begin + sum(size for _, size in members)]
    header, stored = encode(Kind.BLOB, raw, item=run.item_size, offset=run.offset + begin)
    if header.encoding is not Encoding.RAW:
        return [seal_frame(header, stored, members)]
    frames, at = [], 0
    for chunk_id, size in members:
        frames.append(seal_frame(*as_it_is(Kind.BLOB, raw[at : at + size]), [(chunk_id, size)]))
        at += size
    return frames
