"""Files and folders in, files and folders out. Checkout trusts no name: it works over directory descriptors only."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from objstore import layout, trees
from objstore.errors import Corrupt, InvalidName, StoreError
from objstore.ids import Kind, ObjectId, hash_object
from objstore.objects import Objects
from objstore.publish import Transaction
from objstore.records import Mode, Tree, TreeEntry, check_name, pages

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


# --- in ------------------------------------------------------------------------------------------------------------


def put_file(transaction: Transaction, path: Path) -> tuple[ObjectId, int]:
    """Store a file's content; returns (blob id, bytes). Memory stays bounded, whatever the size."""
    with path.open("rb", buffering=0) as file:
        return transaction.put_stream(file)


def put_folder(transaction: Transaction, path: Path) -> tuple[ObjectId, int]:
    """Store a folder as a tree; returns (tree id, bytes of content below it).

    Symbolic links are stored as their target's text and never followed; mtime and owner are left out. Raises
    InvalidName for a name that is not UTF-8, StoreError for sockets, devices and pipes.
    """
    return put_tree(transaction, _scan(transaction, path, 0))


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


def _scan(transaction: Transaction, path: Path, depth: int) -> list[TreeEntry]:
    if depth > layout.DEPTH_MAX:
        raise StoreError(f"{path}: folders are nested deeper than {layout.DEPTH_MAX}")
    with os.scandir(path) as found:
        return [_entry(transaction, item, depth) for item in sorted(found, key=lambda i: os.fsencode(i.name))]


def _entry(transaction: Transaction, item: os.DirEntry[str], depth: int) -> TreeEntry:
    name, path = check_name(item.name), Path(item.path)
    if item.is_symlink():
        target = os.fsencode(os.readlink(path))
        return TreeEntry(name, Mode.LINK, transaction.put(Kind.BLOB, target), len(target))
    if item.is_dir(follow_symlinks=False):
        return TreeEntry(name, Mode.TREE, *put_tree(transaction, _scan(transaction, path, depth + 1)))
    mode = item.stat(follow_symlinks=False).st_mode
    if not stat.S_ISREG(mode):
        raise StoreError(f"{path} is not a file, a folder or a link: leave it out")
    return TreeEntry(name, Mode.EXEC if mode & 0o111 else Mode.FILE, *put_file(transaction, path))


# --- out -----------------------------------------------------------------------------------------------------------


def list_tree(objects: Objects, tree_id: ObjectId) -> list[TreeEntry]:
    """The entries of one folder, its pages joined. Raises NotFound, Corrupt."""
    return list(trees.entries(objects, tree_id))


def get_file(objects: Objects, blob_id: ObjectId, target: Path) -> None:
    """Write a blob to `target`, which appears whole and verified or not at all; an existing file is replaced."""
    _check_room(target, objects.size(blob_id))
    part = _beside(target)
    try:
        with part.open("xb") as file:
            for piece in objects.stream(blob_id):
                file.write(piece)
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def checkout(objects: Objects, tree_id: ObjectId, target: Path) -> None:
    """Write a tree to `target`, which must not exist and appears whole and verified or not at all.

    Raises InvalidName for names that could leave the folder, that some file system cannot hold, or that two entries
    share under case folding or NFC; and for links that point outside.
    """
    if os.path.lexists(target):
        raise InvalidName(f"{target} is there already: name a new folder")
    _check_room(target, trees.survey(objects, tree_id).size)
    part = _beside(target)
    part.mkdir()
    try:
        fd = os.open(part, _FOLDER)
        try:
            _fill(objects, tree_id, fd, 0)
        finally:
            os.close(fd)
        part.rename(target)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)  # over descriptors, so no link is followed
        raise


def _check_room(target: Path, size: int) -> None:
    """Raise the error of a full disk before it is full of a part of what cannot be there."""
    try:
        room = os.statvfs(target.parent)
    except (OSError, AttributeError):
        return
    if room.f_blocks and size > room.f_bfree * room.f_frsize:  # some network file systems know of no blocks
        free = room.f_bfree * room.f_frsize
        raise OSError(errno.ENOSPC, f"{size} bytes do not fit where {free} are free", str(target))


def _beside(target: Path) -> Path:
    """A new name in the same folder; not made from the target's, which may be as long as names can be."""
    return target.with_name(f".{secrets.token_hex(8)}.part")


def _fill(objects: Objects, tree_id: ObjectId, folder: int, depth: int) -> int:
    """Write the entries of a surveyed tree into an open folder; returns the bytes of content below it."""
    total = 0
    for entry in trees.entries(objects, tree_id):
        size = _make(objects, entry, folder, depth)
        if size != entry.size:
            raise Corrupt(f"{entry.name!r} has {size} bytes, not the {entry.size} that its tree says")
        total += size
    return total


def _make(objects: Objects, entry: TreeEntry, folder: int, depth: int) -> int:
    if entry.mode is Mode.TREE:
        os.mkdir(entry.name, dir_fd=folder)
        with _opened(entry.name, folder) as below:
            return _fill(objects, entry.id, below, depth + 1)
    if entry.mode is Mode.LINK:
        target, _ = trees.safe_target(objects, entry, depth)
        os.symlink(target, entry.name, dir_fd=folder)
        return len(os.fsencode(target))
    return _write(objects, entry, folder)


@contextmanager
def _opened(name: str, folder: int) -> Iterator[int]:
    fd = os.open(name, _FOLDER, dir_fd=folder)
    try:
        yield fd
    finally:
        os.close(fd)


def _write(objects: Objects, entry: TreeEntry, folder: int) -> int:
    fd = os.open(entry.name, _CREATE, 0o777 if entry.mode is Mode.EXEC else 0o666, dir_fd=folder)
    with os.fdopen(fd, "wb") as file:
        for piece in objects.stream(entry.id):
            file.write(piece)
            if file.tell() > entry.size:  # it may go on for petabytes
                raise Corrupt(
                    f"{entry.name!r} goes on, and has not the {entry.size} bytes that its tree says"
                )
        return file.tell()
