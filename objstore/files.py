"""Files and folders in, files and folders out. Checkout trusts no name: it works over directory descriptors only."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from objstore import layout
from objstore.errors import Corrupt, InvalidName, StoreError
from objstore.ids import Kind, ObjectId, hash_object
from objstore.objects import Objects
from objstore.publish import Transaction
from objstore.records import Mode, Tree, TreeEntry, check_checkout_name, check_name, collision_key, pages

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


def list_tree(objects: Objects, tree_id: ObjectId, depth: int = 0) -> list[TreeEntry]:
    """The entries of one folder, its pages joined. Raises NotFound, Corrupt."""
    if depth > layout.DEPTH_MAX:
        raise Corrupt(f"tree {tree_id} is paged deeper than {layout.DEPTH_MAX}")
    entries = Tree.decode(objects.read(tree_id, Kind.TREE, limit=layout.RECORD_MAX)).entries
    if not (entries and entries[0].mode is Mode.PAGE):
        return list(entries)
    found: list[TreeEntry] = []
    for page in entries:
        below = list_tree(objects, page.id, depth + 1)
        # Pages that begin as they are named and follow one another name no page twice, else a few could list for ever.
        if (
            not below
            or below[0].name != page.name
            or (found and found[-1].name.encode() >= page.name.encode())
        ):
            raise Corrupt(f"a page of tree {tree_id} is not what the tree says")
        found += below
    return found


def get_file(objects: Objects, blob_id: ObjectId, target: Path) -> None:
    """Write a blob to `target`, which appears whole and verified or not at all; an existing file is replaced."""
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


def _beside(target: Path) -> Path:
    """A new name in the same folder; not made from the target's, which may be as long as names can be."""
    return target.with_name(f".{secrets.token_hex(8)}.part")


def _fill(objects: Objects, tree_id: ObjectId, folder: int, depth: int) -> int:
    """Write the entries of a tree into an open folder; returns the bytes of content below it."""
    if depth > layout.DEPTH_MAX:
        raise Corrupt(f"trees are nested deeper than {layout.DEPTH_MAX}")
    seen: dict[str, str] = {}
    total = 0
    for entry in list_tree(objects, tree_id):
        name = check_checkout_name(entry.name)
        twin = seen.setdefault(collision_key(name), name)
        if twin != name:
            raise InvalidName(f"{name!r} and {twin!r} are one name on some file systems")
        size = _make(objects, entry, folder, depth)
        if size != entry.size:
            raise Corrupt(f"{name!r} has {size} bytes, not the {entry.size} that its tree says")
        total += size
    return total


def _make(objects: Objects, entry: TreeEntry, folder: int, depth: int) -> int:
    if entry.mode is Mode.TREE:
        os.mkdir(entry.name, dir_fd=folder)
        with _opened(entry.name, folder) as below:
            return _fill(objects, entry.id, below, depth + 1)
    if entry.mode is Mode.LINK:
        target = _safe_target(objects, entry, depth)
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
        return file.tell()


def _safe_target(objects: Objects, entry: TreeEntry, depth: int) -> str:
    """A link's target, if it stays inside the checkout whatever the other entries are."""
    target = os.fsdecode(objects.read(entry.id, limit=4096))
    parts = target.split("/")
    ups = sum(part == ".." for part in parts)
    leading = all(part == ".." for part in parts[:ups])
    strange = not target or target.startswith("/") or any(c in target for c in "\0\\:")
    if strange or not leading or ups > depth:
        raise InvalidName(f"the link {entry.name!r} points to {target!r}, outside of its folder")
    return target
