"""The one way into a store: objects into packs, packs made durable and visible, then the heads that need them.

A crash at any point leaves the old heads with all that they reach; what was not yet named by a head is garbage.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from objstore import layout
from objstore.chunker import cut
from objstore.errors import StoreError
from objstore.frame import FrameHeader, encode, encode_list
from objstore.ids import Hasher, Kind, ObjectId, hash_object
from objstore.objects import Objects
from objstore.pack import PackWriter
from objstore.records import ChunkList, Commit, pages

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

_WINDOW = 4 * layout.MIB  # bytes read at a time from a large file
_LARGE = layout.BLOB_MAX  # blobs above this go to packs of their own, which a deletion frees whole
_THREADS = 2

Read = Callable[[int], bytes]
Encoded = list[tuple[FrameHeader, bytes | memoryview, list[tuple[ObjectId, int]]]]


class Transaction:
    """Objects and heads that become visible together. Use as a context manager: it publishes on a clean exit.

    An error of the disk, above all one from fsync, ends it for good: nothing of it becomes a head, and it must be
    begun anew. Not for use by several threads at once.
    """

    def __init__(self, root: Path, objects: Objects) -> None:
        self._root = root
        self._objects = objects
        self._groups: dict[Kind, list[tuple[ObjectId, bytes]]] = {}
        self._staged: set[ObjectId] = set()
        self._waiting: set[ObjectId] = set()  # staged, and in no published pack yet
        self._small: PackWriter | None = None
        self._commits: list[Commit] = []
        self._over = False

    def __enter__(self) -> Transaction:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.publish()
        else:
            self.discard()

    # --- putting -------------------------------------------------------------------------------------------------

    def has(self, object_id: ObjectId) -> bool:
        """Whether the store or this transaction holds the object already."""
        return object_id in self._staged or self._objects.has(object_id)

    def put(self, kind: Kind, raw: bytes) -> ObjectId:
        """Store one object of at most 8 MiB (records: 16 MiB) and return its id; one that is there costs nothing."""
        self._check_going_on()
        object_id = hash_object(kind, raw)
        if self.has(object_id):
            return object_id
        limit = layout.BLOB_MAX if kind is Kind.BLOB else layout.RECORD_MAX
        if len(raw) > limit:
            raise StoreError(f"one {kind.name.lower()} of {len(raw)} bytes is over the limit of {limit}")
        if self._held(kind) + len(raw) > layout.GROUP_RAW_MAX:
            self._flush(kind)
        self._staged.add(object_id)
        self._waiting.add(object_id)
        self._groups.setdefault(kind, []).append((object_id, raw))
        if self._held(kind) >= layout.GROUP_RAW_MAX:
            self._flush(kind)
        return object_id

    def put_bytes(self, data: bytes) -> ObjectId:
        """Store a blob of any size that is in memory."""
        if len(data) <= layout.BLOB_MAX:
            return self.put(Kind.BLOB, data)
        view, at = memoryview(data), 0

        def read(count: int) -> bytes:
            nonlocal at
            part = bytes(view[at : at + count])
            at += len(part)
            return part

        return self.put_stream(read)[0]

    def put_stream(self, read: Read) -> tuple[ObjectId, int]:
        """Store what `read(count)` gives until it gives nothing, as one blob; returns (id, bytes).

        Memory stays under a few windows of 8 MiB, whatever the size. What `read` raises is passed on, and leaves the
        transaction as it was.
        """
        self._check_going_on()
        first = _fill(read, layout.BLOB_MAX + 1)
        if len(first) <= layout.BLOB_MAX:
            return self.put(Kind.BLOB, first), len(first)
        return _LargeBlob(self, self._root, self._objects).store(first, read)

    def commit(self, commit: Commit) -> ObjectId:
        """Store a commit and make it a head when the transaction is published."""
        commit_id = self.put(Kind.COMMIT, commit.encode())
        self._commits.append(commit)
        return commit_id

    def stage(self, object_id: ObjectId) -> None:
        """Note an object that a published pack of this transaction holds."""
        self._staged.add(object_id)

    def settle(self, needed: Iterable[ObjectId]) -> None:
        """Publish what is waiting if it has any of `needed`: a chunk list must not be there before its chunks."""
        if not self._waiting.isdisjoint(needed):
            with self.ends_when_failed():
                self._flush_all()

    @contextmanager
    def ends_when_failed(self) -> Iterator[None]:
        """Whatever is raised within ends the transaction: what it held then may be lost, so no head may follow."""
        try:
            yield
        except BaseException:
            self.discard()
            raise

    def _check_going_on(self) -> None:
        if self._over:
            raise StoreError("this transaction has failed or was published already: begin a new one")

    def _held(self, kind: Kind) -> int:
        return sum(len(raw) for _, raw in self._groups.get(kind, ()))

    def _flush(self, kind: Kind) -> None:
        group = self._groups.pop(kind, [])
        if not group:
            return
        with self.ends_when_failed():
            if self._small is None:
                self._small = PackWriter(temporary(self._root))
            for header, stored, members in encode_group(kind, group):
                self._small.add(header, stored, members)
            if self._small.full:
                self._finish_small()

    def _flush_all(self) -> None:
        for kind in list(self._groups):
            self._flush(kind)
        self._finish_small()

    def _finish_small(self) -> None:
        if self._small is not None:
            writer, self._small = self._small, None
            publish_pack(self._root, self._objects, writer)
            self._waiting -= writer.ids

    # --- ending --------------------------------------------------------------------------------------------------

    def publish(self) -> None:
        """Make the packs durable, then the heads. Raises OSError when the disk refuses; then nothing became a head."""
        self._check_going_on()
        with self.ends_when_failed():
            self._flush_all()
            publish_heads(self._root, self._commits)
        self._over = True

    def discard(self) -> None:
        """Forget everything that is not durable yet."""
        self._over = True
        if self._small is not None:
            self._small.discard()
            self._small = None


class _LargeBlob:
    """One blob over 8 MiB: cut, hashed and encoded by two threads while the next window is read."""

    def __init__(self, transaction: Transaction, root: Path, objects: Objects) -> None:
        self._transaction = transaction
        self._root = root
        self._objects = objects
        self._writer: PackWriter | None = None
        self._chunks: list[tuple[ObjectId, int]] = []
        self._new: set[ObjectId] = set()

    def store(self, first: bytes, read: Read) -> tuple[ObjectId, int]:
        from concurrent.futures import ThreadPoolExecutor

        whole = Hasher(threads=_THREADS)
        try:
            with ThreadPoolExecutor(_THREADS) as pool:
                self._ingest(pool, whole, first, read)
            blob_id, size = whole.id(), sum(n for _, n in self._chunks)
            self._transaction.settle(chunk_id for chunk_id, _ in self._chunks)
            if not self._objects.complete(blob_id):
                self._add_list(blob_id, size)
            if self._writer is not None:
                with self._transaction.ends_when_failed():
                    self._finish()
        except BaseException:
            if self._writer is not None:
                self._writer.discard()
            raise
        for chunk_id in (*self._new, blob_id):
            self._transaction.stage(chunk_id)
        return blob_id, size

    def _ingest(self, pool: ThreadPoolExecutor, whole: Hasher, first: bytes, read: Read) -> None:
        waiting: list[Future[Encoded]] = []
        window, more = first, first
        while more:
            whole.update(more)
            more = _fill(read, _WINDOW)
            window = self._window(pool, window, not more, waiting) + more
        for future in waiting:
            self._write(future.result())

    def _window(
        self, pool: ThreadPoolExecutor, window: bytes, last: bool, waiting: list[Future[Encoded]]
    ) -> bytes:
        chunks = list(cut(memoryview(window), last=last))
        ids = list(pool.map(lambda chunk: hash_object(Kind.BLOB, chunk), chunks))
        fresh = []
        for chunk_id, chunk in zip(ids, chunks, strict=True):
            self._chunks.append((chunk_id, len(chunk)))
            if chunk_id not in self._new and not self._transaction.has(chunk_id):
                self._new.add(chunk_id)
                fresh.append((chunk_id, chunk))
        submitted = [pool.submit(encode_group, Kind.BLOB, group) for group in _runs(fresh)]
        for future in waiting:
            self._write(future.result())
        waiting[:] = submitted
        return window[sum(len(chunk) for chunk in chunks) :]

    def _write(self, frames: Encoded) -> None:
        with self._transaction.ends_when_failed():
            for header, stored, members in frames:
                if self._writer is None:
                    self._writer = PackWriter(temporary(self._root))
                self._writer.add(header, stored, members)
                if self._writer.full:
                    self._finish()

    def _finish(self) -> None:
        assert self._writer is not None
        writer, self._writer = self._writer, None
        publish_pack(self._root, self._objects, writer)

    def _add_list(self, blob_id: ObjectId, size: int) -> None:
        top = ChunkList(0, tuple(self._chunks))
        if len(self._chunks) > layout.LIST_PAGE_MAX:
            pieces = pages(self._chunks, (i for i, _ in self._chunks), layout.LIST_PAGE_MAX)
            top = ChunkList(1, tuple(self._add_page(ChunkList(0, tuple(piece))) for piece in pieces))
        header, stored = encode_list(top.encode(), size)
        self._write([(header, stored, [(blob_id, size)])])

    def _add_page(self, page: ChunkList) -> tuple[ObjectId, int]:
        raw = page.encode()
        page_id = hash_object(Kind.CHUNKS, raw)
        if page_id not in self._new and not self._transaction.has(page_id):
            # Here, before the list in this pack or an earlier one: a crash leaves no list without its pages.
            self._new.add(page_id)
            self._write(encode_group(Kind.CHUNKS, [(page_id, raw)]))
        return page_id, page.size


def encode_group(kind: Kind, group: Sequence[tuple[ObjectId, bytes | memoryview]]) -> Encoded:
    """Neighbouring objects as one compressed frame, or one raw frame each where compression does not help."""
    if len(group) == 1:
        object_id, raw = group[0]
        header, stored = encode(kind, raw)
        return [(header, stored, [(object_id, len(raw))])]
    joined = b"".join(raw for _, raw in group)
    header, stored = encode(kind, joined)
    members = [(object_id, len(raw)) for object_id, raw in group]
    if header.encoding:
        return [(header, stored, members)]
    return [frame for member in group for frame in encode_group(kind, [member])]


def _runs(fresh: list[tuple[ObjectId, memoryview]]) -> list[list[tuple[ObjectId, bytes | memoryview]]]:
    runs: list[list[tuple[ObjectId, bytes | memoryview]]] = []
    room = 0
    for item in fresh:
        if len(item[1]) > room:
            runs.append([])
            room = layout.FRAME_RAW_MAX
        runs[-1].append(item)
        room -= len(item[1])
    return runs


def _fill(read: Read, count: int) -> bytes:
    parts, missing = [], count
    while missing and (part := read(missing)):
        parts.append(part)
        missing -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


# --- durable and visible -------------------------------------------------------------------------------------------


def temporary(root: Path) -> Path:
    """A new name below tmp/."""
    folder = root / layout.TMP
    folder.mkdir(exist_ok=True)
    return folder / secrets.token_hex(16)


def publish_pack(root: Path, objects: Objects, writer: PackWriter) -> str:
    """Finish a pack, move it to its place, make that durable; returns its id. Raises OSError: then it is discarded."""
    try:
        pack_id, footer = writer.finish()
        move_into_place(root, writer.path, layout.pack_path(pack_id))
    except BaseException:
        writer.discard()
        raise
    objects.add(pack_id, footer)
    return pack_id


def publish_heads(root: Path, commits: Iterable[Commit]) -> None:
    """Write head files and make them durable; after an error none of them is left. Their objects must be durable."""
    publish_files(root, [head_file(commit) for commit in commits])


def head_file(commit: Commit) -> tuple[str, bytes]:
    """The name below the store of a commit's head file, and its content."""
    raw = commit.encode()
    commit_id = hash_object(Kind.COMMIT, raw)
    return layout.head_path(layout.label(commit.path), commit.key, str(commit_id)), raw


def publish_bytes(root: Path, name: str, data: bytes) -> None:
    """Write a small file under its final name, whole or not at all, and durable on return."""
    publish_files(root, [(name, data)])


def publish_files(root: Path, contents: list[tuple[str, bytes]]) -> None:
    """Write small files, pairs of (name, content), durably and all or none. Raises OSError."""
    parts: list[Path] = []
    placed: list[tuple[Path, int]] = []
    folders: dict[Path, None] = {}
    try:
        for _, data in contents:
            parts.append(temporary(root))
            _write_durably(parts[-1], data)
        for part, (name, _) in zip(parts, contents, strict=True):
            was_there, inode = (root / name).exists(), part.stat().st_ino
            folders.update(dict.fromkeys(_place(root, part, name)))
            if not was_there:
                placed.append((root / name, inode))
        for folder in folders:
            fsync_folder(folder)
    except BaseException:
        with suppress(OSError):
            _take_back(parts, placed)
        raise


def _take_back(parts: list[Path], placed: list[tuple[Path, int]]) -> None:
    for path, inode in placed:
        if path.stat().st_ino == inode:  # else another process has put the same there, and counts on it
            path.unlink()
    for path in parts:
        path.unlink(missing_ok=True)


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def move_into_place(root: Path, path: Path, name: str) -> None:
    """Rename a durable file to `name` below the store, and make the name durable: the folder is fsynced too."""
    for folder in _place(root, path, name):
        fsync_folder(folder)


def _place(root: Path, path: Path, name: str) -> list[Path]:
    """Rename a file to `name` below the store; returns the folders whose names changed."""
    target = root / name
    made = _make_folders(target.parent)
    os.rename(path, target)
    return [target.parent, *made]


def _make_folders(folder: Path) -> list[Path]:
    """Create `folder` and what is missing above it; returns the folders whose listing that changed."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for folder in reversed(missing):
        with suppress(FileExistsError):
            os.mkdir(folder)
    return [folder.parent for folder in missing]


def fsync_folder(folder: Path) -> None:
    """Make a folder's names durable: a rename is only as durable as its folder."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
