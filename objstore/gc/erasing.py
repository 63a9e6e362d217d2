"""Takes objects out of a store at once and for good: whatever holds them, in packs/ or the trash, is written anew
without them.

Erases nothing that a root reaches: who wants something gone sees to it first that nothing names it any more. Run again
after a crash it goes on where it was.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from objstore import layout, trash
from objstore.columns import Column
from objstore.disclaim import Claims, disclaim
from objstore.errors import Conflict, Corrupt, NotFound, ReadOnly, StoreError
from objstore.gc.collecting import Roots
from objstore.gc.needed import Refused, check_format, check_sound, guarded, living_heads, reach
from objstore.gc.report import Amount
from objstore.graph import Node
from objstore.heads import Head, Table
from objstore.ids import Kind, ObjectId
from objstore.inventory import Changed, Holding, Inventory, Links, PackFile, pack_files
from objstore.leftovers import clock, sweep
from objstore.publish import fsync_folder
from objstore.rewrite import rewrite

_TRIES: Final = 10  # rounds, while other processes move packs or merge what they had read before
_DAMAGED: Final = "damaged"  # the folder in trash/<epoch>/ of files that nobody can read whole


@dataclass(frozen=True, slots=True)
class Erased:
    """What was done. deleted: files that held what had to go; written: packs made of what else was in them.

    needed: of the objects that were asked for, those that something reaches, which stay; unfinished: files in tmp/ that
    are too young to be taken for leftovers, so that a writer may still be at them.
    """

    deleted: Amount = field(default_factory=Amount)
    written: Amount = field(default_factory=Amount)
    needed: frozenset[ObjectId] = frozenset()
    unfinished: int = 0


class Relations:
    """All objects of a store, those in its trash among them, and what names what: a look at one moment.

    Raises Corrupt where a pack cannot be read, so that what it holds is not known; OSError.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        for _ in range(_TRIES):
            try:
                self.inventory = Inventory.load(root, with_trash=True)
                for name, what in self.inventory.damaged.items():
                    raise Corrupt(f"{name} cannot be read: {what}: run fsck --heal")
                self.links = Links(self.inventory)
            except Changed:
                continue
            return
        raise StoreError("other processes moved packs again and again: try it later")

    def resolve(self, prefix: str) -> list[ObjectId]:
        """The objects whose hex id begins with `prefix`, sorted."""
        low = bytes.fromhex(prefix.ljust(64, "0"))
        words = np.frombuffer(low, ">u8").astype(np.uint64)
        ids = self.inventory.ids
        at = int(np.searchsorted(ids[:, 0], words[0]))
        found = []
        while at < len(ids):
            each = self.inventory.id(at)
            if str(each).startswith(prefix):
                found.append(each)
            elif str(each) > prefix.ljust(64, "f"):
                break
            at += 1
        return sorted(found)

    def has(self, object_id: ObjectId) -> bool:
        """Whether a pack holds it, be it in the trash."""
        return bool(self._numbers([object_id]).size)

    def namers(self, ids: Iterable[ObjectId]) -> list[ObjectId]:
        """All that names one of these directly."""
        return self._ids(self.links.naming(self._numbers(ids)))

    def below(self, ids: Iterable[ObjectId]) -> list[ObjectId]:
        """These, as far as they are here, and all that they reach."""
        found = self.links.reach(self._numbers(ids))
        return self._ids(np.flatnonzero(found))

    def leaves(self, ids: Iterable[ObjectId]) -> list[ObjectId]:
        """Those of these that name nothing."""
        numbers = self._numbers(ids)
        return self._ids(numbers[~self.links.names_others(numbers)])

    def _numbers(self, ids: Iterable[ObjectId]) -> Column:
        found = self.inventory.find(ids)
        return found[found >= 0]

    def _ids(self, numbers: Column) -> list[ObjectId]:
        return [self.inventory.id(number) for number in numbers.tolist()]


def erase(root: Path, ids: Collection[ObjectId], *, roots: Roots = tuple) -> Erased:
    """Take these objects out of all packs, the trash included, but for those that living heads or `roots` reach.

    Also removes damaged files that lie in the trash, since nobody can tell what they hold, and what writers have left
    unfinished an hour ago. Raises ReadOnly; Conflict where one came to be needed meanwhile; Corrupt and StoreError
    where what something needs is damaged or missing, so that nobody knows what is needed: nothing was erased then;
    OSError.
    """
    if not os.access(root, os.W_OK):
        raise ReadOnly(f"{root} cannot be written by this user: nothing was erased")
    # What names others goes last: after a crash it still tells what is left of what it is made of.
    relations = Relations(root)
    leaves = relations.leaves(ids)
    first = _until_gone(root, leaves, roots)
    named = set(leaves)
    rest = [each for each in ids if relations.has(each) and each not in named]
    then = _until_gone(root, rest, roots)
    deleted = Amount.of(_remove_damaged(root))
    sweep(root, clock(root, dry_run=False), layout.GRACE_NOW)
    return Erased(
        first.deleted + then.deleted + deleted,
        first.written + then.written,
        first.needed | then.needed,
        _count(root / layout.TMP),
    )


def _until_gone(root: Path, ids: Collection[ObjectId], roots: Roots) -> Erased:
    """Look again until nothing of it is found: another process may have copied a pack that it had read before."""
    deleted, written = Amount(), Amount()
    if not ids:
        return Erased()
    for _ in range(_TRIES):
        try:
            check_format(root)
            done = _Erasure(root, ids, roots).run()
        except Changed:
            continue
        except Refused as refusal:
            raise StoreError(f"nothing was erased, since what is needed is not known: {refusal}") from None
        deleted, written = deleted + done.deleted, written + done.written
        if not done.deleted.files:
            return Erased(deleted, written, done.needed)
    raise StoreError("other processes moved packs again and again: run it again later")


class _Erasure:
    """One look at everything, and what is taken out by it."""

    def __init__(self, root: Path, ids: Collection[ObjectId], roots: Roots) -> None:
        self._root = root
        self._ids = ids
        self._roots = roots
        self._clock = int(clock(root, dry_run=False))
        self._written: list[int] = []

    def run(self) -> Erased:
        nodes, heads, tables = self._read_roots()
        relations = Relations(self._root)
        inventory = relations.inventory
        asked = np.zeros(inventory.count, np.bool_)
        found = inventory.find(self._ids)
        asked[found[found >= 0]] = True
        needed = self._needed(relations, nodes, heads)
        doomed = asked & ~needed
        stay = frozenset(inventory.id(number) for number in np.flatnonzero(asked & needed).tolist())
        holders = [h for h in inventory.holdings if doomed[inventory.of(h)].any()]
        if not holders:
            return Erased(needed=stay)
        files = self._files(holders)
        made = {}
        here = inventory.has(inventory.packs())
        for holding in holders:
            rows = inventory.of(holding)
            kept = ~doomed[rows]
            # A pack in the trash is written anew only for what nothing else holds: where a run was killed, all of it
            # lies in a new pack already.
            is_done = holding.file.epoch is not None and here[rows][kept].all()
            if kept.any() and not is_done and (new := self._without(holding, kept)) is not None:
                made[holding.file.id] = new
        self._give_up(holders, made, heads, Claims.of(tables))
        for file in files:
            if file.epoch is None:
                trash.set_aside(self._root, file.name, self._clock)
        self._look_again(nodes, files, [inventory.id(number) for number in np.flatnonzero(doomed).tolist()])
        sizes = [size for file in self._files(holders) if (size := self._delete(file)) is not None]
        return Erased(Amount.of(sizes), Amount.of(self._written), stay)

    def _read_roots(self) -> tuple[frozenset[Node], list[Head], dict[str, Table]]:
        more = list(self._roots())
        heads, tables = guarded(living_heads, self._root)
        return frozenset([*((Kind.COMMIT, head.id) for head in heads), *more]), heads, tables

    def _needed(self, relations: Relations, nodes: Iterable[Node], heads: list[Head]) -> Column:
        """What the roots reach; and of deleted things what a restore would bring back, as far as it is there."""
        inventory, links = relations.inventory, relations.links
        needed = reach(inventory, links, list(nodes), heads)
        check_sound(inventory, links, needed)
        gone = [head.commit for head in heads if head.commit.deleted]
        found = inventory.find(i for commit in gone for i in (commit.state, *commit.parents))
        return links.reach(found[found >= 0], needed)

    def _files(self, holders: list[Holding]) -> list[PackFile]:
        """All files of these packs: one may lie in the trash several times, and in packs/ besides."""
        wanted = {holding.file.id for holding in holders}
        return [file for file in pack_files(self._root) if file.id in wanted]

    def _without(self, holding: Holding, kept: Column) -> tuple[str, bytes] | None:
        """The id and footer of a new pack with what else was in an old one; None for damaged ones in the trash."""
        try:
            pack_id, size, footer = rewrite(self._root, holding.file, kept)
        except FileNotFoundError as error:
            raise Changed(f"{holding.file.name} went while it was read") from error
        except Corrupt as error:
            if holding.file.epoch is not None:
                return None  # it is waiting to be deleted, and nothing needs it
            raise Corrupt(
                f"{holding.file.name} is damaged, so that it cannot be written anew without what has to go: run "
                f"fsck --heal, then this again: {error}"
            ) from error
        self._written.append(size)
        return pack_id, footer

    def _give_up(
        self, holders: list[Holding], made: dict[str, tuple[str, bytes]], heads: list[Head], claims: Claims
    ) -> None:
        """Let no table claim the old packs, and the claimed ones' successors be claimed instead."""
        claimed = {h.file.id for h in holders} & claims.packs()
        if not claimed:
            return
        taken = dict(made[pack_id] for pack_id in claimed if pack_id in made)
        if disclaim(self._root, claims, heads, claimed, taken, float(self._clock)):
            raise Changed("a table came meanwhile that claims what has to go")

    def _look_again(self, before: frozenset[Node], files: list[PackFile], doomed: list[ObjectId]) -> None:
        """Put all back where somebody has come to need what is to go, since the roots were read: as gc does."""
        nodes, heads, _ = self._read_roots()
        if nodes <= before:
            return
        relations = Relations(self._root)
        needed = self._needed(relations, nodes, heads)
        found = relations.inventory.find(doomed)
        if needed[found[found >= 0]].any():
            for file in files:
                if file.epoch is None:
                    trash.put_back(self._root, file.name)
                    fsync_folder((self._root / file.name).parent)
            raise Conflict("something came to need what was to be erased meanwhile: run it again")

    def _delete(self, file: PackFile) -> int | None:
        path = self._root / file.name
        if file.epoch is None:
            raise Changed(f"{file.name} is back in its place")
        try:
            path.unlink()
        except FileNotFoundError:
            return None
        fsync_folder(path.parent)
        return file.size


def _remove_damaged(root: Path) -> list[int]:
    """Delete the files that were set aside because they are damaged; their sizes."""
    sizes = []
    for epoch in trash.epochs(root):
        base = root / layout.TRASH / str(epoch) / _DAMAGED
        for folder, _, names in os.walk(base):
            sizes += [os.lstat(os.path.join(folder, name)).st_size for name in names]
        shutil.rmtree(base, ignore_errors=True)
    return sizes


def _count(folder: Path) -> int:
    try:
        return len(os.listdir(folder))
    except (FileNotFoundError, NotFound):
        return 0
