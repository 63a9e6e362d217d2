"""Files of the shared folders, by their names: those that no reader looks at, and those that hold what they should."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from objstore import layout
from objstore.errors import StoreError
from objstore.ids import Kind, ObjectId, hash_bytes, hash_object
from objstore.reading import open_regular


def strangers(root: Path) -> Iterator[str]:
    """Files in the shared folders whose names are those of no pack, head or table; paths relative to the store."""
    for base in layout.UNION:
        for folder, folders, names in os.walk(root / base):
            folders.sort()
            place = Path(folder).relative_to(root).parts
            for name in sorted(names):
                if not name.startswith(".") and not _has_place((*place, name)):
                    yield "/".join((*place, name))


def _has_place(parts: tuple[str, ...]) -> bool:
    base, name = parts[0], parts[-1]
    if base == layout.TABLES:
        return len(parts) == 2 and layout.parse_table_name(name) is not None
    if base == layout.REFS:
        return len(parts) == 3 and layout.parse_head_name(name) is not None
    pack_id = layout.parse_pack_name(name)
    return len(parts) == 3 and pack_id is not None and parts[1] == pack_id[:2]


def is_as_named(path: Path) -> bool:
    """Whether a head file or table holds the bytes that its name stands for, so that only reading them fails."""
    head, table_id = layout.parse_head_name(path.name), layout.parse_table_name(path.name)
    try:
        fd = open_regular(path)
    except (OSError, StoreError):
        return False
    with os.fdopen(fd, "rb") as file:
        try:
            if head is not None:
                raw = file.read(layout.RECORD_MAX + 1)
                return hash_object(Kind.COMMIT, raw) == ObjectId.parse(head[1])
            size = os.fstat(fd).st_size
            return size <= layout.TABLE_MAX and hash_bytes(file.read()).hex() == table_id
        except OSError:
            return False
