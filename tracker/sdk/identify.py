"""What a file or folder would be called in the store: its content's id, computed without storing anything."""

from __future__ import annotations

import os
from pathlib import Path

from objstore import files
from objstore.errors import StoreError
from objstore.ids import Hasher, Kind, ObjectId, hash_object
from objstore.records import Mode, TreeEntry, check_name


def content_id(path: Path) -> str:
    """The blob id of a file or the tree id of a folder, 64 hex digits. Raises OSError, StoreError for neither."""
    return str(_folder(path)[0] if path.is_dir() else hash_file(path))


def hash_file(path: Path) -> ObjectId:
    """A file's blob id, read in pieces on two threads."""
    if not path.is_file():
        if not path.exists():
            raise FileNotFoundError(2, os.strerror(2), str(path))
        raise StoreError(f"{path} is not a file or a folder")
    hasher = Hasher(threads=2)
    with path.open("rb") as file:
        while part := file.read(1 << 22):
            hasher.update(part)
    return hasher.id()


class _Hashing:
    """Takes the place of a transaction: names what it is given, and keeps nothing."""

    @staticmethod
    def put(kind: Kind, data: bytes) -> ObjectId:
        """The id that the object would have."""
        return hash_object(kind, data)


def _folder(path: Path) -> tuple[ObjectId, int]:
    entries = []
    for item in sorted(path.iterdir(), key=lambda each: each.name):
        name = check_name(item.name)
        if item.is_symlink():
            target = os.fsencode(os.readlink(item))
            entries.append(TreeEntry(name, Mode.LINK, hash_object(Kind.BLOB, target), len(target)))
        elif item.is_dir():
            entries.append(TreeEntry(name, Mode.TREE, *_folder(item)))
        else:
            mode = Mode.EXEC if item.stat().st_mode & 0o111 else Mode.FILE
            entries.append(TreeEntry(name, mode, hash_file(item), item.stat().st_size))
    return files.put_tree(_Hashing(), entries)  # type: ignore[arg-type]  # put is all that it calls
