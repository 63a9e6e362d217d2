"""What the roots of a store reach: all of it read and found, or the collection is refused."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
import orjson

from objstore import layout
from objstore.columns import Column
from objstore.errors import StoreError
from objstore.graph import Node
from objstore.heads import Head, Heads, Table, living
from objstore.inventory import Changed, Inventory, Links

_T = TypeVar("_T")

_NAMED: Final = 3  # objects that a refusal names


class Refused(Exception):
    """Something that has to be known is not: nothing may be deleted."""


class Missing(Refused):
    """An object that is needed is in no pack, or heads are nowhere: perhaps not yet, or not any more."""


def check_format(root: Path) -> None:
    """Refuse a store with features that this version does not know: they may be roots of another sort."""
    try:
        features = orjson.loads((root / layout.FORMAT_FILE).read_bytes())["features"]
        known = layout.FEATURES
        unknown = [ascii(name)[1:-1] for part in known for name in features[part] if name not in known[part]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Refused(f"the file {layout.FORMAT_FILE} cannot be read: {error}") from error
    if unknown:
        raise Refused(f"this store needs {', '.join(unknown):.200}: update this program")


def guarded(read: Callable[[Path], _T], root: Path) -> _T:
    """What `read` gives. Raises Refused where it cannot be read."""
    try:
        return read(root)
    except Changed:
        raise
    except (OSError, StoreError) as error:
        raise Refused(f"{error}: run fsck --heal") from error


def living_heads(root: Path) -> tuple[list[Head], dict[str, Table]]:
    """The living heads of all files and all tables, and these. Raises StoreError where one cannot be read."""
    for name in layout.UNION:
        if os.path.lexists(root / name) and not (root / name).is_dir():
            raise StoreError(f"{name} is no folder")
    heads = Heads(root)
    found = heads.all()
    tables = heads.tables()
    for table in tables.values():  # those, too, that another covers: more heads can only keep more
        for head in table.heads:
            found.setdefault(head.key, []).append(head)
    for where, what in heads.damaged.items():
        raise StoreError(f"{where} is damaged: {what}")
    return [head for each in found.values() for head in living(each)], tables


def reach(inventory: Inventory, links: Links, nodes: list[Node], heads: list[Head]) -> Column:
    """What the roots reach; all of it has to be there."""
    found = inventory.find(node[1] for node in nodes)
    absent = [nodes[place] for place in np.flatnonzero(found < 0).tolist()]
    if absent:
        names = {head.id: " / ".join(head.commit.path) for head in heads}
        kind, object_id = absent[0]
        raise Missing(
            f"{kind.name.lower()} {object_id} is missing, which {names.get(object_id, 'a running task')} needs: "
            "run fsck --heal"
        )
    reached = links.reach(found)
    broken = [number for number in links.absent if reached[number]]
    if broken:
        gone = [str(object_id) for number in broken for object_id in links.absent[number]]
        touched = _touched(inventory, links, set(broken), heads)
        raise Missing(f"missing, and needed by {touched}: {few(gone)}: run fsck --heal")
    return reached


def _touched(inventory: Inventory, links: Links, broken: Collection[int], heads: list[Head]) -> str:
    """The paths of the heads that reach one of these objects."""
    paths = []
    for head in heads:
        reached = links.reach(inventory.find([head.id]))
        if reached[list(broken)].any():
            paths.append(" / ".join(head.commit.path))
    return few(paths) or "a running task"


def check_sound(inventory: Inventory, links: Links, needed: Column) -> None:
    """Raise Refused where what a needed object names cannot be read."""
    broken = [number for number in links.damaged if needed[number]]
    if broken:
        what = [f"{inventory.id(number)} ({links.damaged[number]})" for number in broken]
        raise Refused(f"damaged, so that what it names is not known: {few(what)}: run fsck --heal")


def few(texts: list[str]) -> str:
    """The first few of them, and how many more there are."""
    more = f" and {len(texts) - _NAMED} more" if len(texts) > _NAMED else ""
    return ", ".join(texts[:_NAMED]) + more
