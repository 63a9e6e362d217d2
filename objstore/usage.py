"""What takes how much room: the stored bytes that groups of roots reach, alone or together with others. Reads only."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from objstore.columns import Column
from objstore.graph import Node
from objstore.inventory import Inventory, Links, pack_files

Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Share:
    """Stored bytes that one group reaches. unique: those that no other group does, so that they go with it."""

    size: int
    unique: int
    objects: int

    @property
    def shared(self) -> int:
        """Bytes that other groups reach, too."""
        return self.size - self.unique


@dataclass(frozen=True, slots=True)
class Usage(Generic[Name]):
    """Per group its share; and of all packs, in bytes: everything, what no root reaches, what lies in the trash.

    absent: how many objects that a group names are not in the store; damaged: what could not be read, with why.
    """

    shares: Mapping[Name, Share]
    packs: int
    size: int
    dead: int
    trash: int
    absent: int
    damaged: Mapping[str, str]


def measure(
    root: Path,
    groups: Mapping[Name, Iterable[Node]],
    others: Iterable[Node] = (),
    *,
    roots: Iterable[Node] = (),
) -> Usage[Name]:
    """Measure groups of roots. What `others` reach is not unique to any group; what `roots` reach is not dead.

    An object's bytes are its parts of all packs that hold it: its share of the frames, and its rows in the footers.
    Raises OSError, Unsupported.
    """
    inventory = Inventory.load(root)
    links = Links(inventory)
    weights = np.bincount(inventory.numbers, inventory.weights, minlength=inventory.count)
    owners = np.zeros(inventory.count, np.int32)  # how many groups reach it
    mark = np.full(inventory.count, -1, np.int32)  # the last group that did
    sizes, objects, absent = [], [], 0
    for place, nodes in enumerate(groups.values()):
        found = inventory.find(node[1] for node in nodes)
        absent += int((found < 0).sum())
        reached = links.reached(found[found >= 0], mark, place)
        owners[reached] += 1
        sizes.append(float(weights[reached].sum()))
        objects.append(len(reached))
    unique = np.bincount(mark[owners == 1], weights[owners == 1], minlength=len(sizes))
    if rest := list(others):
        found = inventory.find(node[1] for node in rest)
        more = links.reach(found[found >= 0])
        again = more & (owners == 1)
        unique -= np.bincount(mark[again], weights[again], minlength=len(sizes))
        owners[more] += 1
    found = inventory.find(node[1] for node in roots)
    dead = ~links.reach(found[found >= 0], owners > 0)
    shares = {
        name: Share(round(size), max(0, round(float(alone))), count)
        for name, size, alone, count in zip(groups, sizes, unique, objects, strict=True)
    }
    return Usage(
        shares,
        len(inventory.holdings),
        sum(holding.file.size for holding in inventory.holdings),
        round(float(weights[dead].sum())),
        _trash(root),
        absent + _absent(links, owners),
        {**inventory.damaged, **{str(inventory.id(n)): w for n, w in links.damaged.items() if owners[n]}},
    )


def _absent(links: Links, owners: Column) -> int:
    return sum(len(gone) for number, gone in links.absent.items() if owners[number])


def _trash(root: Path) -> int:
    return sum(file.size for file in pack_files(root) if file.epoch is not None)
