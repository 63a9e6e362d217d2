"""Files and folders in, files and folders out. Checkout trusts no name: it works over directory descriptors only."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from operator import attrgetter
from pathlib import Path

from objstore import layout, trees
from objstore.containers import regions
from objstore.errors import Conflict, Corrupt, InvalidName, StoreError
from objstore.ids import Kind, ObjectId, hash_object
from objstore.objects import Objects
from objstore.publish import Transaction
from objstore.records import Mode, Tree, TreeEntry, check_name, pages
from objstore.statcache import Known, StatCache, spots_of

Progress = Callable[[int, int], None]  # (bytes written, bytes in all)

_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe that took the file's place must not be waited for
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


# --- in ------------------------------------------------------------------------------------------------------------


def put_file(transaction: Transaction, path: Path, *, force: bool = False) -> tuple[ObjectId, int]:
    """Store a file's content; returns (blob id, bytes). Memory stays bounded, whatever the size.

    A file that looks as it did when this host last stored it, and has the same bytes in a few places, is not read
    again; `force` reads it all the same. Raises OSError, and StoreError for sockets, devices and pipes.
    """
    source = Path(os.path.abspath(path))
    status = os.stat(source)
    if not stat.S_ISREG(status.st_mode) or status.st_size < layout.STAT_SPOTS_MIN:
        return _Intake(transaction, source, None).read("", str(source))[1:]  # quicker than to remember it

    def take(intake: _Intake) -> tuple[ObjectId, int]:
        known = intake.unchanged("", status, str(source))
        return (known, status.st_size) if known else intake.read("", str(source))[1:]

    return _remembering(transaction, source, force, take)


def put_folder(transaction: Transaction, path: Path, *, force: bool = False) -> tuple[ObjectId, int]:
    """Store a folder as a tree; returns (tree id, bytes of content below it).

    Symbolic links are stored as their target's text and never followed; mtime and owner are left out. Files that have
    not changed are not read again, as in `put_file`; of small ones a random sample is. Raises InvalidName for a name
    that is not UTF-8, StoreError for sockets, devices and pipes.
    """
    source = Path(os.path.abspath(path))

    def take(intake: _Intake) -> tuple[ObjectId, int]:
        with _descriptor(source, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) as fd:
            return put_tree(transaction, intake.folder(fd, "", 0))

    return _remembering(transaction, source, force, take)


def put_tree(transaction: Transaction, entries: list[TreeEntry]) -> tuple[ObjectId, int]:
    """Store entries, in any order, as one tree, paged where there are more than 10,000; returns (tree id, bytes)."""
    entries = sorted(entries, key=lambda e: e.name.encode())
    if len(entries) > layout.TREE_PAGE_MAX:
        names = (hash_object(Kind.BLOB, e.name.encode()) for e in entries)
        cut = pages(entries, names, layout.TREE_PAGE_MAX)
        parts = [(page[0].name, *put_tree(transaction, page)) for page in cut]
        return put_tree(transaction, [TreeEntry(name, Mode.PAGE, i, n) for name, i, n in parts])
    tree = Tree(tuple(entries))
    return transaction.put(Kind.TREE, tree.encode()), tree.size


class _Altered(Exception):
    """A file looks as it did and holds something else: its times lie, and so may those of the others."""


def _remembering(
    transaction: Transaction,
    source: Path,
    force: bool,
    take: Callable[[_Intake], tuple[ObjectId, int]],
) -> tuple[ObjectId, int]:
    """What `take` stores, with what is known of `source`; without, once that has proved wrong."""
    try:
        with StatCache(transaction.root, source, forget=force) as cache:
            return take(_Intake(transaction, source, cache))
    except _Altered:
        with StatCache(transaction.root, source, forget=True) as cache:
            return take(_Intake(transaction, source, cache))


class _Intake:
    """The files of one source on their way in, each read, or known to be what it was."""

    def __init__(self, transaction: Transaction, source: Path, cache: StatCache | None) -> None:
        self._transaction = transaction
        self._source = source
        self._cache = cache
        self._sample = cache.sample(layout.STAT_SAMPLE) if cache else frozenset()
        self._here = transaction.rely_all(cache.blobs()) if cache else set()

    def folder(self, fd: int, prefix: str, depth: int) -> list[TreeEntry]:
        """Store what is in an open folder, whose files' names begin with `prefix`; returns its entries."""
        if depth > layout.DEPTH_MAX:
            raise StoreError(f"{self._source / prefix}: folders are nested deeper than {layout.DEPTH_MAX}")
        with os.scandir(fd) as found:
            # By code points, which is the order of their UTF-8 too.
            items = sorted(found, key=attrgetter("name"))
        return [self._entry(item, fd, prefix, depth) for item in items]

    def _entry(self, item: os.DirEntry[str], folder: int, prefix: str, depth: int) -> TreeEntry:
        item_name = check_name(item.name)
        name = prefix + item_name
        if item.is_file(follow_symlinks=False):
            if self._cache is not None and name in self._cache:
                status = item.stat(follow_symlinks=False)
                known = self.unchanged(name, status, item_name, folder)
                if known:
                    return TreeEntry(item_name, _mode(status), known, status.st_size)
            return TreeEntry(item_name, *self.read(name, item_name, folder))
        if item.is_dir(follow_symlinks=False):
            with _opened(item_name, folder) as below:
                entries = self.folder(below, f"{name}/", depth + 1)
            return TreeEntry(item_name, Mode.TREE, *put_tree(self._transaction, entries))
        if item.is_symlink():
            target = os.fsencode(os.readlink(item_name, dir_fd=folder))
            return TreeEntry(item_name, Mode.LINK, self._transaction.put(Kind.BLOB, target), len(target))
        raise self._no_file(name)

    def unchanged(
        self, name: str, status: os.stat_result, path: str, folder: int | None = None
    ) -> ObjectId | None:
        """The blob of a file that is what it was, and is in the store; None to read it. Raises _Altered."""
        assert self._cache is not None
        known = self._cache.find(name, status)
        if known is None or known.object_id not in self._here:
            return None
        if known.spots or name in self._sample:
            with _opened_file(path, folder) as fd:
                # Asked again, of the open file: a network file system may have answered from memory before.
                if self._cache.find(name, os.fstat(fd)) is None:
                    return None
                if not _is(known, fd):
                    raise _Altered
        self._cache.keep(name)
        return known.object_id

    def read(self, name: str, path: str, folder: int | None = None) -> tuple[Mode, ObjectId, int]:
        """Store a file; returns its mode, blob and bytes."""
        if folder is None and not stat.S_ISREG(os.stat(path).st_mode):
            raise self._no_file(name)  # before it is opened, which alone sets some devices going
        with _opened_file(path, folder) as fd:
            before = os.fstat(fd)
            if not stat.S_ISREG(before.st_mode):
                raise self._no_file(name)
            object_id, size = _store(self._transaction, fd, before.st_size)
            if self._cache is not None and size == before.st_size:
                self._cache.add(name, before, os.fstat(fd), object_id, spots_of(fd, size))
        return _mode(before), object_id, size

    def _no_file(self, name: str) -> Exception:
        path = self._source / name
        if path.is_dir():
            return IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        return StoreError(f"{path} is not a file, a folder or a link: leave it out")


def _opened_file(path: str, folder: int | None) -> AbstractContextManager[int]:
    """A file of a folder, where a link that has just taken its place is not followed; or a file that was named."""
    return _descriptor(path, _READ if folder is None else _READ | os.O_NOFOLLOW, folder)


def _mode(status: os.stat_result) -> Mode:
    return Mode.EXEC if status.st_mode & 0o111 else Mode.FILE


def _is(known: Known, fd: int) -> bool:
    """Whether an open file has the bytes that it is known to have: all of a small one, of a large one a few places."""
    if known.spots:
        return spots_of(fd, known.size) == known.spots
    return hash_object(Kind.BLOB, os.read(fd, known.size + 1)) == known.object_id


class _Open:
    """What an open file gives, after what was read of it already."""

    __slots__ = ("_begun", "_fd")

    def __init__(self, fd: int, begun: bytes = b"") -> None:
        self._fd, self._begun = fd, memoryview(begun)

    def readinto(self, buffer: memoryview, /) -> int:
        if not self._begun:
            return os.readv(self._fd, [buffer])
        size = min(len(self._begun), len(buffer))
        buffer[:size] = self._begun[:size]
        self._begun = self._begun[size:]
        return size


def _store(transaction: Transaction, fd: int, size: int) -> tuple[ObjectId, int]:
    """Store what an open file gives: `size` bytes, if it has not changed since and is none that a kernel makes up."""
    if size > layout.BLOB_MAX:
        return transaction.put_stream(_Open(fd), regions(fd, size))
    first = os.read(fd, size + 1)
    more = os.read(fd, 1) if len(first) <= size else b""
    if len(first) <= size and not more:
        return transaction.put(Kind.BLOB, first), len(first)
    return transaction.put_stream(_Open(fd, first + more))


# --- out -----------------------------------------------------------------------------------------------------------


def list_tree(objects: Objects, tree_id: ObjectId) -> list[TreeEntry]:
    """The entries of one folder, its pages joined. Raises NotFound, Corrupt."""
    return list(trees.entries(objects, tree_id))


def get_file(objects: Objects, blob_id: ObjectId, target: Path, progress: Progress | None = None) -> None:
    """Write a blob to `target`, which appears whole and verified or not at all; an existing file is replaced.

    A copy, never a link into the store. Not durable on return: it can be made again. Raises NotFound, Corrupt,
    Conflict for a device, pipe or socket, OSError.
    """
    check_target(target)
    size = objects.size(blob_id)
    _check_room(target, size)
    told = _Told(size, progress)
    part = _beside(target)
    try:
        with part.open("xb") as file:
            for piece in objects.stream(blob_id):
                file.write(piece)
                told.add(len(piece))
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def checkout(objects: Objects, tree_id: ObjectId, target: Path, progress: Progress | None = None) -> None:
    """Write a tree to `target`, which must not exist and appears whole and verified or not at all.

    Raises InvalidName for names that could leave the folder, that some file system cannot hold, or that two entries
    share under case folding or NFC; and for links that point outside. Not durable on return: it can be made again.
    """
    if os.path.lexists(target):
        raise InvalidName(f"{target} is there already: name a new folder")
    size = trees.survey(objects, tree_id).size
    _check_room(target, size)
    part = _beside(target)
    part.mkdir()
    try:
        fd = os.open(part, _FOLDER)
        try:
            _fill(objects, tree_id, fd, 0, _Told(size, progress))
        finally:
            os.close(fd)
        part.rename(target)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)  # over descriptors, so no link is followed
        raise


def check_target(target: Path) -> None:
    """Raise Conflict for a device, pipe or socket, or a link to one: a new file of its name would take its place."""
    with suppress(OSError):
        mode = target.stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise Conflict(f"{target} is a device, pipe or socket: name a file")


def _check_room(target: Path, size: int) -> None:
    """Raise the error of a full disk before it is full of a part of what cannot be there."""
    try:
        room = os.statvfs(target.parent)
    except (OSError, AttributeError):
        return
    if room.f_blocks and size > room.f_bfree * room.f_frsize:  # some network file systems know of no blocks
        free = room.f_bfree * room.f_frsize
        raise OSError(
            errno.ENOSPC, f"No space left: {size} bytes do not fit where {free} are free", str(target)
        )


class _Told:
    """How many bytes of content were written, for whoever wants to know."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._done, self._total, self._progress = 0, total, progress

    def add(self, count: int) -> None:
        """Say that so many more are written."""
        if self._progress is not None:
            self._done += count
            self._progress(self._done, self._total)


def _beside(target: Path) -> Path:
    """A new name in the same folder; not made from the target's, which may be as long as names can be."""
    return target.with_name(f".{secrets.token_hex(8)}.part")


def check_checkout(objects: Objects, tree_id: ObjectId) -> None:
    """Raise InvalidName or Corrupt, as `checkout` would, where a tree cannot be written to a folder."""
    trees.survey(objects, tree_id)


def _fill(objects: Objects, tree_id: ObjectId, folder: int, depth: int, told: _Told) -> int:
    """Write the entries of a surveyed tree into an open folder; returns the bytes of content below it."""
    total = 0
    for entry in trees.entries(objects, tree_id):
        size = _make(objects, entry, folder, depth, told)
        if size != entry.size:
            raise Corrupt(f"{entry.name!r} has {size} bytes, not the {entry.size} that its tree says")
        total += size
    return total


def _make(objects: Objects, entry: TreeEntry, folder: int, depth: int, told: _Told) -> int:
    if entry.mode is Mode.TREE:
        os.mkdir(entry.name, dir_fd=folder)
        with _opened(entry.name, folder) as below:
            return _fill(objects, entry.id, below, depth + 1, told)
    if entry.mode is Mode.LINK:
        target, _ = trees.safe_target(objects, entry, depth)
        os.symlink(target, entry.name, dir_fd=folder)
        return len(os.fsencode(target))
    return _write(objects, entry, folder, told)


def _opened(name: str, folder: int) -> AbstractContextManager[int]:
    return _descriptor(name, _FOLDER, folder)


@contextmanager
def _descriptor(path: str | Path, flags: int, folder: int | None = None, mode: int = 0o666) -> Iterator[int]:
    fd = os.open(path, flags, mode, dir_fd=folder)
    try:
        yield fd
    finally:
        os.close(fd)


def _write(objects: Objects, entry: TreeEntry, folder: int, told: _Told) -> int:
    mode = 0o777 if entry.mode is Mode.EXEC else 0o666
    size = 0
    with _descriptor(entry.name, _CREATE, folder, mode) as fd:
        for piece in objects.stream(entry.id):
            size += len(piece)
            if size > entry.size:  # it may go on for petabytes
                raise Corrupt(
                    f"{entry.name!r} goes on, and has not the {entry.size} bytes that its tree says"
                )
            rest = memoryview(piece)
            while rest:  # a disk that is nearly full may take a part
                rest = rest[os.write(fd, rest) :]
            told.add(len(piece))
    return size
