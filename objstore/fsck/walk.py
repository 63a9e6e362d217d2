"""From heads to all they reach, each object once; remembers what is hurt, and what leads there."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from objstore.errors import NotFound, StoreError
from objstore.fsck.report import Damage, Progress, nowhere
from objstore.graph import Node, edges
from objstore.heads import Head
from objstore.ids import Kind, ObjectId
from objstore.objects import Location, Objects

_STEP: Final = 1000  # objects between two calls of progress
_MISSING: Final = "is missing, though a head or a journal refers to it"


class Walk:
    """From heads to all they reach, each object once. Keeps what is `hurt`, and what leads there, nothing else."""

    def __init__(self, objects: Objects, damage: Damage, progress: Progress | None = None) -> None:
        self.hurt: dict[Node, str] = {}  # what is missing or damaged, and why
        self.absent: set[Node] = set()  # those of them of which no copy is here
        self._objects = objects
        self._damage = damage
        self._progress = progress or nowhere
        self._seen = {kind: IdSet() for kind in Kind}
        self._count = 0
        self._named: dict[
            Node, list[Node | Head]
        ] = {}  # of what is hurt or reaches something hurt: who names it

    def follow(self, heads: list[Head]) -> None:
        """Walk from these heads; what was walked already is not walked again."""
        for head in heads:
            root = (Kind.COMMIT, head.id)
            self.descend(root)
            if root in self._named:
                self._named[root].append(head)

    def descend(self, root: Node) -> None:
        """Walk from one object."""
        stack = [(root, iter(below), below)] if (below := self._enter(root)) is not None else []
        while stack:
            node, left, children = stack[-1]
            for child in left:
                if (below := self._enter(child)) is not None:
                    stack.append((child, iter(below), below))
                    break
            else:
                stack.pop()
                self._leave(node, children)

    def reaches_hurt(self, root: Node) -> bool:
        """Whether something hurt was found at or below an object that was walked."""
        return root in self._named

    def above(self, node: Node) -> tuple[list[tuple[tuple[str, ...], str]], frozenset[ObjectId]]:
        """The (path, key) of the things whose heads reach a hurt object, and the objects in between."""
        things: set[tuple[tuple[str, ...], str]] = set()
        stack, seen = [node], {node}
        while stack:
            for above in self._named.get(stack.pop(), ()):
                if isinstance(above, Head):
                    things.add((above.commit.path, above.key))
                elif above not in seen:
                    seen.add(above)
                    stack.append(above)
        return sorted(things), frozenset(object_id for _, object_id in seen)

    def _enter(self, node: Node) -> list[Node] | None:
        """What an object names; None when there is nothing to go on with."""
        kind, object_id = node
        if not self._seen[kind].add(object_id):
            return None
        self._count += 1
        if self._count % _STEP == 0:
            self._progress("objects", self._count, 0)
        below, why = self._below(node)
        if why:
            self.hurt[node] = why
            self._named[node] = []
            return None
        return below

    def _leave(self, node: Node, children: list[Node]) -> None:
        # All below is walked by now: nothing reaches itself, since an id holds the hash of what it names.
        for child in dict.fromkeys(children):
            if child in self._named:
                self._named[child].append(node)
                self._named.setdefault(node, [])

    def _below(self, node: Node) -> tuple[list[Node], str]:
        kind, object_id = node
        places = self._damage.sound(self._objects, object_id)
        if not places and object_id in self._damage.suspects:
            return [], self._damage.suspects[object_id][1]
        if not places:
            self.absent.add(node)
            return [], _MISSING
        try:
            if kind is Kind.BLOB and self._is_whole(places):
                return [], ""
            return edges(self._objects, node), ""
        except NotFound:
            self.absent.add(node)
            return [], _MISSING
        except StoreError:
            what = kind.name.lower()
            return [], f"cannot be read as a {what}, though it is referred to as one"

    def _is_whole(self, places: list[Location]) -> bool:
        """Whether one of several copies of a blob needs nothing that is not here: then no other matters."""
        if any(place.kind is Kind.BLOB and not place.is_list for place in places):
            return True
        for place in places if len(places) > 1 else ():
            with suppress(StoreError):
                if all(self._damage.sound(self._objects, i) for i, _ in self._objects.chunks(place)):
                    return True
        return False


class IdSet:
    """A set of object ids in 40 bytes each, where Python's own takes 150: a store may hold millions."""

    __slots__ = ("_shelves", "_size")

    _TAIL: Final = 30  # bytes of an id behind the two that choose its shelf

    def __init__(self) -> None:
        self._shelves: dict[bytes, bytearray] = {}
        self._size = 0

    def add(self, object_id: bytes) -> bool:
        """Take an id in; whether it is new."""
        shelf, tail = self._shelves.get(object_id[:2]), object_id[2:]
        if shelf is None:
            self._shelves[object_id[:2]] = bytearray(tail)
        elif self._is_on(shelf, tail):
            return False
        else:
            shelf += tail
        self._size += 1
        return True

    def __contains__(self, object_id: bytes) -> bool:
        shelf = self._shelves.get(object_id[:2])
        return shelf is not None and self._is_on(shelf, object_id[2:])

    def __len__(self) -> int:
        return self._size

    def _is_on(self, shelf: bytearray, tail: bytes) -> bool:
        at = shelf.find(tail)
        while at % self._TAIL and at > 0:  # the end of one id and the beginning of the next
            at = shelf.find(tail, at + 1)
        return at >= 0
