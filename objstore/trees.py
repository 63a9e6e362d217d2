"""Folders as they are stored: their entries page by page, and whether all of one may be written anywhere.

Nothing is written here. What `survey` has passed holds no name that leaves its folder and no more of them than a disk
is for; that the contents are as long as they should be is found out when they are read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Final

from objstore import layout
from objstore.errors import Corrupt, InvalidName
from objstore.ids import Kind, ObjectId
from objstore.objects import Objects
from objstore.records import Mode, Tree, TreeEntry, checkout_keys, collision_key

_LINK_MAX = 4096  # bytes of a link's target
_SPECIAL: Final = (Mode.TREE, Mode.LINK)  # entries that more is to be known of than their row


def entries(objects: Objects, tree_id: ObjectId) -> Iterator[TreeEntry]:
    """The entries of one folder, its pages joined and one of them in memory at a time. Raises NotFound, Corrupt."""
    return chain.from_iterable(_pages(objects, tree_id, 0))


def _pages(objects: Objects, tree_id: ObjectId, depth: int) -> Iterator[tuple[TreeEntry, ...]]:
    if depth > layout.DEPTH_MAX:
        raise Corrupt(f"tree {tree_id} is paged deeper than {layout.DEPTH_MAX}")
    found = Tree.decode(objects.read(tree_id, Kind.TREE, limit=layout.JSON_MAX)).entries
    if not (found and found[0].mode is Mode.PAGE):
        yield found
        return
    last = b""
    for page in found:
        inside = _pages(objects, page.id, depth + 1)
        part = next(inside)
        # Pages that begin as they are named and follow one another name no page twice, else a few could list for ever.
        if not part or part[0].name != page.name or last >= part[0].name.encode():
            raise Corrupt(f"a page of tree {tree_id} is not what the tree says")
        yield part
        for part in inside:
            yield part
        last = part[-1].name.encode()


@dataclass(frozen=True, slots=True)
class Surveyed:
    """What a tree would become. names: of files, links and folders below it; size: bytes of content, as it says.

    height: of its deepest folder above it, 0 where it has none; ups: how deep it has to lie for all its links to stay
    inside of what is written.
    """

    names: int
    size: int
    height: int
    ups: int


def survey(objects: Objects, tree_id: ObjectId) -> Surveyed:
    """Walk a tree that is to be written, before anything is.

    Raises InvalidName for names that could leave the folder, that some file system cannot hold, or that two entries
    share under case folding or NFC, and for links that point outside; Corrupt for folders nested too deep, more names
    than a checkout may have, or a folder whose size is not the sum of what is in it; NotFound.
    """
    return _Survey(objects).folder(tree_id, 0)


class _Survey:
    """Each tree is walked once, however often it is named: a few that name each other describe any number of files."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._known: dict[ObjectId, Surveyed] = {}

    def folder(self, tree_id: ObjectId, depth: int) -> Surveyed:
        found = self._known.get(tree_id)
        if found is None:
            _check_depth(depth)
            found = self._known[tree_id] = self._walk(tree_id, depth)
        _check_depth(depth + found.height)
        if found.ups > depth:
            raise InvalidName(f"a link in the folder {tree_id} points outside of what is written")
        return found

    def _walk(self, tree_id: ObjectId, depth: int) -> Surveyed:
        names = size = height = ups = 0
        seen: set[int] = set()
        for page in _pages(self._objects, tree_id, 0):
            self._take_names(tree_id, page, seen)
            names, size = names + len(page), size + sum(entry.size for entry in page)
            for entry in [entry for entry in page if entry.mode in _SPECIAL]:
                if entry.mode is Mode.LINK:
                    ups = max(ups, safe_target(self._objects, entry, depth)[1])
                    continue
                below = self.folder(entry.id, depth + 1)
                if below.size != entry.size:
                    raise Corrupt(
                        f"{entry.name!r} has {below.size} bytes, not the {entry.size} that its tree says"
                    )
                names, height = names + below.names, max(height, below.height + 1)
                ups = max(ups, below.ups - 1)
                self._refuse_many(tree_id, names)
            self._refuse_many(tree_id, names)
        return Surveyed(names, size, height, ups)

    def _refuse_many(self, tree_id: ObjectId, names: int) -> None:
        if names > layout.CHECKOUT_MAX:
            raise Corrupt(f"tree {tree_id} is of more than {layout.CHECKOUT_MAX} files: take a part of it")

    def _take_names(self, tree_id: ObjectId, page: tuple[TreeEntry, ...], seen: set[int]) -> None:
        """Check the names of a page, and that none is one of another, before or in it, on any file system."""
        names = [entry.name for entry in page]
        # Hashes, of 8 bytes and with a seed that nobody knows: a million names would take a hundred MiB more.
        hashes = list(map(hash, checkout_keys(names)))
        fresh = set(hashes)
        if len(fresh) == len(names) and seen.isdisjoint(fresh):
            seen |= fresh
            return
        for name, number in zip(names, hashes, strict=True):
            if number in seen:
                self._refuse_twins(tree_id, name)  # else two that differ were equal by chance
            seen.add(number)

    def _refuse_twins(self, tree_id: ObjectId, name: str) -> None:
        key = collision_key(name)
        for entry in entries(self._objects, tree_id):
            if entry.name == name:
                return
            if collision_key(entry.name) == key:
                raise InvalidName(f"{name!r} and {entry.name!r} are one name on some file systems")


def _check_depth(depth: int) -> None:
    if depth > layout.DEPTH_MAX:
        raise Corrupt(f"trees are nested deeper than {layout.DEPTH_MAX}")


def safe_target(objects: Objects, entry: TreeEntry, depth: int) -> tuple[str, int]:
    """A link's target, and how many folders it goes up, if it stays inside the checkout whatever the entries are.

    Raises InvalidName, NotFound, Corrupt.
    """
    target = os.fsdecode(objects.read(entry.id, limit=_LINK_MAX))
    parts = target.split("/")
    ups = sum(part == ".." for part in parts)
    leading = all(part == ".." for part in parts[:ups])
    strange = not target or target.startswith("/") or any(c in target for c in "\0\\:")
    if strange or not leading or ups > depth:
        raise InvalidName(f"the link {entry.name!r} points to {target!r}, outside of its folder")
    return target, ups
