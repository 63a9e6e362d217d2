"""One head: the commit that is, or was, the newest of its key; and which of several live. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from objstore import layout
from objstore.errors import Corrupt
from objstore.ids import Kind, ObjectId, hash_object
from objstore.records import Commit

if TYPE_CHECKING:
    from objstore.heads.table import PackedHeads


class Head:
    """One commit that is, or was, the newest of its key. `raw` is checked against `id` when `commit` is first read.

    where: the file it was read from, for messages. Not to be changed; no frozen dataclass, since a hundred thousand are
    made to list a store.
    """

    __slots__ = ("_commit", "_raw", "id", "key", "where")

    def __init__(self, key: str, id: ObjectId, raw: bytes | PackedHeads, where: str) -> None:
        self.key = key
        self.id = id
        self.where = where
        self._raw = raw
        self._commit: Commit | None = None

    @property
    def raw(self) -> bytes:
        """The bytes of its commit, as stored. Raises Corrupt when its table cannot give them."""
        if not isinstance(self._raw, bytes):
            self._raw = self._raw.raw_of(self)
        return self._raw

    @property
    def commit(self) -> Commit:
        """The record. Raises Corrupt when the bytes are not those of `id` and `key`."""
        if self._commit is None:
            if hash_object(Kind.COMMIT, self.raw) != self.id:
                raise Corrupt(f"{self.where}: the head of {self.key} is not the commit {self.id}")
            commit = Commit.decode(self.raw)
            if commit.key != self.key:
                raise Corrupt(f"{self.where}: a commit of {commit.key} stands as a head of {self.key}")
            self._commit = commit
        return self._commit

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Head):
            return NotImplemented
        return (self.key, self.id, self.where, self.raw) == (other.key, other.id, other.where, other.raw)

    def __hash__(self) -> int:
        return hash((self.key, self.id))

    def __repr__(self) -> str:
        return f"Head({self.key}, {self.id}, {self.where})"


def covers(a: Mapping[str, int], b: Mapping[str, int]) -> bool:
    """Whether cover `a` holds all that `b` holds: no writer's number in `b` is greater than in `a`."""
    return all(a.get(writer, 0) >= number for writer, number in b.items())


def living(heads: Iterable[Head]) -> list[Head]:
    """The heads of one key that no other covers, sorted by id.

    Of two with equal cover the one of higher generation lives, then the one of smaller id: whoever asks, in whatever
    order the heads came, the answer is the same. Raises Corrupt for more diverged heads than anybody could fold.
    """
    alive: list[Head] = []
    looks, room = 0, layout.COVERS_MAX
    # Of equals the one that lives comes first, so whatever an earlier one covers is dead. Comparing with the living is
    # enough, since what killed a head covers all that it covered: a thousand old heads cost a thousand looks.
    for head in sorted({h.id: h for h in heads}.values(), key=lambda h: (-h.commit.generation, h.id)):
        mine = head.commit.covers
        cost = layout.COVERS_LOOK + len(mine)
        looks += 2 * len(alive) * cost
        room += 4 * cost  # with one or two alive any number of dead ones is sorted out
        if looks > room:
            raise Corrupt(
                f"{head.where}: {len(alive)} and more heads of {head.key} each hold what no other does, and no run "
                "diverges so far: remove those that came from elsewhere"
            )
        if not any(covers(other.commit.covers, mine) for other in alive):
            alive = [other for other in alive if not covers(mine, other.commit.covers)]
            alive.append(head)
    return sorted(alive, key=lambda h: h.id)
