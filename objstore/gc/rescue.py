"""Packs put back out of the trash, since something needs what they hold."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Final

from objstore import layout, trash
from objstore.columns import Column
from objstore.errors import Corrupt, NotFound, StoreError
from objstore.gc.needed import few
from objstore.gc.report import Amount
from objstore.graph import Node
from objstore.inventory import Changed, Inventory, Links, PackFile
from objstore.publish import fsync_folder

_TRIES: Final = 10  # rounds that begin anew because other processes moved packs meanwhile


def rescue(root: Path, nodes: Collection[Node]) -> Amount:
    """Put back from the trash the packs that hold what `nodes` reach and no other pack has; durable on return.

    Raises NotFound where something is in no pack at all, Corrupt where what it names cannot be read; OSError.
    """
    for _ in range(_TRIES):
        with suppress(Changed):
            inventory = Inventory.load(root, with_trash=True)
            links = Links(inventory)
            found = inventory.find(node[1] for node in nodes)
            needed = links.reach(found[found >= 0])
            gone = [str(node[1]) for node, number in zip(nodes, found.tolist(), strict=True) if number < 0]
            gone += [str(i) for number, ids in links.absent.items() if needed[number] for i in ids]
            if gone:
                raise NotFound(f"in no pack of this store, nor in its trash: {few(gone)}")
            for number, what in links.damaged.items():
                if needed[number]:
                    raise Corrupt(f"{inventory.id(number)} cannot be read: {what}: run fsck --heal")
            if (needed & ~inventory.has([*inventory.packs(), *inventory.aside()])).any():
                continue
            return Amount.of(bring_back(root, file) for file in packs_to_rescue(inventory, needed))
    raise StoreError("other processes moved packs again and again: try it later")


def packs_to_rescue(inventory: Inventory, needed: Column) -> list[PackFile]:
    """Packs in the trash that hold what is needed and no pack in packs/ has, those first that were set aside last."""
    lacking = needed & ~inventory.has(inventory.packs())
    found = []
    for holding in inventory.aside():
        numbers = inventory.of(holding)
        if lacking[numbers].any():
            lacking[numbers] = False
            found.append(holding.file)
    return found


def bring_back(root: Path, file: PackFile) -> int:
    """Move a pack back to where it is read; durably. Its bytes. Raises Changed, OSError."""
    target = root / layout.pack_path(file.id)
    if not trash.move(root / file.name, target) and not target.exists():
        raise Changed(f"{file.name} is gone since it was listed")
    fsync_folder(target.parent)
    fsync_folder(target.parent.parent)
    return file.size
