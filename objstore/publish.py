"""The one way into a store: objects into packs, packs made durable and visible, then the heads that need them.

A crash at any point leaves the old heads with all that they reach; what was not yet named by a head is garbage.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from io import BytesIO
from itertools import chain
from pathlib import Path
from types import TracebackType

from objstore import layout, trash
from objstore.chunker import Region
from objstore.errors import StoreError
from objstore.frame import FrameHeader, encode
from objstore.ids import Kind, ObjectId, hash_object
from objstore.large import LargeBlob, Source, fill
from objstore.objects import Objects
from objstore.pack import PackWriter
from objstore.records import Commit

_IN_HAND_MAX = 16 * layout.MIB  # bytes of content kept until the heads are there, should a collector take it
_IN_HAND_EACH = 256  # bytes that an object costs besides

Encoded = list[tuple[FrameHeader, bytes | memoryview, list[tuple[ObjectId, int]]]]


class _Group:
    """Small objects of one kind that will share a frame."""

    __slots__ = ("members", "size")

    def __init__(self) -> None:
        self.members: list[tuple[ObjectId, bytes]] = []
        self.size = 0


class Transaction:
    """Objects and heads that become visible together. Use as a context manager: it publishes on a clean exit.

    An error of the disk, above all one from fsync, ends it for good: nothing of it becomes a head, and it must be
    begun anew. Not for use by several threads at once.

    What is stored already is relied on instead of being stored again. Whatever a collector does meanwhile, no head is
    left behind whose objects are gone: before the heads and after them each pack that was relied on is looked for.
    """

    def __init__(self, root: Path, objects: Objects) -> None:
        self._root = root
        self._objects = objects
        self._groups: dict[Kind, _Group] = {}
        self._staged: set[ObjectId] = set()
        self._waiting: set[ObjectId] = set()  # staged, and in no published pack yet
        self._relied: dict[str, set[ObjectId]] = {}  # by the pack that had a sound copy
        self._in_hand: dict[ObjectId, tuple[Kind, bytes]] = {}  # to be put again, while memory allows
        self._in_hand_size = 0
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

    @property
    def root(self) -> Path:
        """The store's folder."""
        return self._root

    # --- putting -------------------------------------------------------------------------------------------------

    def has(self, object_id: ObjectId) -> bool:
        """Whether this transaction holds the object, or the store does in a sound copy, on which it relies from now.

        A copy counts as sound when its stored bytes have their checksum, which is looked at once: who stores content
        again whose copy is damaged puts a good one beside it. May be asked by several threads at once.
        """
        return object_id in self._staged or self._is_stored(object_id)

    def _is_stored(self, object_id: ObjectId) -> bool:
        pack_id = self._objects.sound(object_id)
        if pack_id is None:
            return False
        self._relied.setdefault(pack_id, set()).add(object_id)
        return True

    def rely(self, object_id: ObjectId) -> bool:
        """Whether the object is here, with all its chunks; if so, the transaction sees to it that it stays.

        By the index alone: no stored byte is read.
        """
        found = self._objects.holder(object_id)
        if found is None:
            return False
        pack_id, is_list = found
        if is_list and not self._rely_on_chunks(object_id):
            return False
        self._relied.setdefault(pack_id, set()).add(object_id)
        return True

    def _rely_on_chunks(self, object_id: ObjectId) -> bool:
        places = self._objects.locate(object_id)
        if not places or not self._objects.complete(object_id):
            return False
        top = self._objects.list_of(places[0])
        pages = top.items if top is not None and top.level else ()
        for part_id, _ in chain(pages, self._objects.chunks(places[0])):
            found = self._objects.holder(part_id)
            if found is None:
                return False
            self._relied.setdefault(found[0], set()).add(part_id)
        return True

    def rely_all(self, object_ids: Iterable[ObjectId]) -> set[ObjectId]:
        """Those of many objects on which the transaction can rely, and does from now."""
        return {object_id for object_id in sorted(object_ids) if self.rely(object_id)}

    def put(self, kind: Kind, raw: bytes) -> ObjectId:
        """Store one object of at most 8 MiB (records: 16 MiB) and return its id; one that is there costs nothing."""
        self._check_going_on()
        object_id = hash_object(kind, raw)
        if self.has(object_id):
            self._keep_in_hand(object_id, kind, raw)
            return object_id
        limit = layout.BLOB_MAX if kind is Kind.BLOB else layout.RECORD_MAX
        if len(raw) > limit:
            raise StoreError(f"one {kind.name.lower()} of {len(raw)} bytes is over the limit of {limit}")
        self._add(object_id, kind, raw)
        return object_id

    def put_bytes(self, data: bytes) -> ObjectId:
        """Store a blob of any size that is in memory."""
        if len(data) <= layout.BLOB_MAX:
            return self.put(Kind.BLOB, data)
        return self.put_stream(BytesIO(data))[0]

    def put_stream(self, source: Source, regions: Sequence[Region] = ()) -> tuple[ObjectId, int]:
        """Store what a source gives until it ends, as one blob; returns (id, bytes).

        `regions` are arrays of numbers in it, sorted: a large blob is cut where they begin and end. Memory stays under
        a few dozen MiB, whatever the size. What the source raises is passed on, and leaves the transaction as it was.
        """
        self._check_going_on()
        first = memoryview(bytearray(layout.BLOB_MAX + 1))
        size = fill(source, first)
        if size <= layout.BLOB_MAX:
            return self.put(Kind.BLOB, bytes(first[:size])), size
        blob = LargeBlob(self)
        try:
            blob_id = blob.ingest(first, source, regions)
            self.settle(chunk_id for chunk_id, _ in blob.chunks)
            with self.ends_when_failed():
                self._end_large(blob, blob_id)
        except BaseException:
            blob.discard()
            raise
        self._staged |= blob.new
        self._staged.add(blob_id)
        return blob_id, sum(size for _, size in blob.chunks)

    def _end_large(self, blob: LargeBlob, blob_id: ObjectId) -> None:
        if self.has(blob_id) and self.rely(blob_id):
            blob.finish()
            return
        encoded = blob.add_list(blob_id)
        blob.finish()
        self._objects.trust_list(blob_id, encoded)

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

    def _add(self, object_id: ObjectId, kind: Kind, raw: bytes) -> None:
        group = self._groups.get(kind)
        if group is not None and group.size + len(raw) > layout.GROUP_RAW_MAX:
            self._flush(kind)
            group = None
        if group is None:
            group = self._groups[kind] = _Group()
        self._staged.add(object_id)
        self._waiting.add(object_id)
        self._keep_in_hand(object_id, kind, raw)
        group.members.append((object_id, raw))
        group.size += len(raw)
        if group.size >= layout.GROUP_RAW_MAX:
            self._flush(kind)

    def _keep_in_hand(self, object_id: ObjectId, kind: Kind, raw: bytes) -> None:
        size = len(raw) + _IN_HAND_EACH
        if object_id not in self._in_hand and self._in_hand_size + size <= _IN_HAND_MAX:
            self._in_hand[object_id] = kind, raw
            self._in_hand_size += size

    def _flush(self, kind: Kind) -> None:
        group = self._groups.pop(kind, None)
        if group is None:
            return
        with self.ends_when_failed():
            if self._small is None:
                self._small = self.writer()
            for header, stored, members in encode_group(kind, group.members):
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
            self.finish(writer)

    def writer(self) -> PackWriter:
        """A new pack."""
        return PackWriter(temporary(self._root))

    def finish(self, writer: PackWriter) -> None:
        """Make a pack durable and visible. Raises OSError: then it is discarded, and the transaction is over."""
        with self.ends_when_failed():
            pack_id = publish_pack(self._root, self._objects, writer)
        ids = writer.ids
        self._waiting -= ids
        # Nothing names it before the heads do: until then a collector may take it as well as any other.
        self._relied.setdefault(pack_id, set()).update(ids)

    # --- ending --------------------------------------------------------------------------------------------------

    def publish(self) -> None:
        """Make the packs durable, then the heads. Raises OSError when the disk refuses; then nothing became a head."""
        self._check_going_on()
        with self.ends_when_failed():
            self._flush_all()
            if self._commits:
                self._assure(young=True)
                publish_heads(self._root, self._commits, self._assure)
        self._over = True

    def _assure(self, *, young: bool = False) -> None:
        """See to it that all that was relied on is still in the store. Raises StoreError when some of it is gone.

        `young` makes its packs young for a collector: one that has not looked at their age yet leaves them alone.
        """
        gone = [pack_id for pack_id in self._relied if not _is_there(self._root, pack_id, young=young)]
        if not gone:
            return
        self._objects.refresh()
        for pack_id in gone:
            ids = self._relied.pop(pack_id)
            missing = [i for i in ids if not self._is_stored(i)]
            if missing and trash.put_back(self._root, layout.pack_path(pack_id)):
                fsync_folder((self._root / layout.pack_path(pack_id)).parent)
                self._objects.refresh()
                missing = [i for i in missing if not self._is_stored(i)]
            self._put_again(missing)

    def _put_again(self, missing: list[ObjectId]) -> None:
        for object_id in missing:
            if object_id not in self._in_hand:
                raise StoreError(
                    f"object {object_id} was collected as garbage while a transaction relied on it: "
                    "nothing was published, store it again"
                )
            self._add(object_id, *self._in_hand[object_id])
        self._flush_all()

    def discard(self) -> None:
        """Forget everything that is not durable yet."""
        self._over = True
        if self._small is not None:
            self._small.discard()
            self._small = None


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


def publish_heads(root: Path, commits: Iterable[Commit], check: Callable[[], None] | None = None) -> None:
    """Write head files and make them durable; after an error, of `check` too, none of them is left.

    Their objects must be durable. `check` is called when the heads are there.
    """
    publish_files(root, [head_file(commit) for commit in commits], check)


def head_file(commit: Commit) -> tuple[str, bytes]:
    """The name below the store of a commit's head file, and its content."""
    raw = commit.encode()
    commit_id = hash_object(Kind.COMMIT, raw)
    return layout.head_path(layout.label(commit.path), commit.key, str(commit_id)), raw


def publish_bytes(root: Path, name: str, data: bytes) -> None:
    """Write a small file under its final name, whole or not at all, and durable on return."""
    publish_files(root, [(name, data)])


def publish_files(
    root: Path, contents: list[tuple[str, bytes]], check: Callable[[], None] | None = None
) -> None:
    """Write small files, pairs of (name, content), durably and all or none. Raises OSError, and what `check` raises."""
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
        if check is not None:
            check()
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


def _is_there(root: Path, pack_id: str, *, young: bool) -> bool:
    """Whether a pack is in its place; `young`: it is given the time of now, where this user may do that."""
    path = root / layout.pack_path(pack_id)
    try:
        if young:
            with suppress(PermissionError):
                os.utime(path)
                return True
        os.stat(path)
    except FileNotFoundError:
        return False
    return True


def move_into_place(root: Path, path: Path, name: str) -> None:
    """Rename a durable file to `name` below the store, and make the name durable: the folder is fsynced too."""
    for folder in _place(root, path, name):
        fsync_folder(folder)


def _place(root: Path, path: Path, name: str) -> list[Path]:
    """Rename a file to `name` below the store; returns the folders whose names changed."""
    target = root / name
    while True:
        made = _make_folders(target.parent)
        try:
            os.rename(path, target)
        except FileNotFoundError:
            if not path.exists():
                raise
            continue  # a collector removed the folder while it was empty
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
