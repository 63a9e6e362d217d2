"""What a check says: how much it looks at, what is wrong and what to do, and what is to be repaired."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from objstore.graph import Node
from objstore.ids import Kind, ObjectId
from objstore.objects import Location, Objects

Progress = Callable[[str, int, int], None]  # (what is done, how much of it, of how much; 0: not known)


HEAL: Final = (
    "run `fsck --heal`: it takes sound copies from other packs, the trash, remotes or your own files"
)
UPDATE: Final = "update this program: a newer version wrote it"
MOVE: Final = "move it out of the store, or give it back the name it had"
ACCESS: Final = "see to the disk, or to who may read it: nothing is known to be damaged yet"
EVENTS: Final = "seal what can be read with `tracker recover`: what lies behind the damage is nowhere else"


class Level(str, Enum):
    """How much is checked; each includes INDEX, and CONTENT is everything.

    INDEX: names, sizes, footers, heads, tables and journals. REACHABLE: that what living heads reach is there; trees
    and commits are read, other objects only looked up. CHECKSUMS: all stored bytes, by their fast checksum. CONTENT:
    all objects, decoded and hashed, and what heads reach.
    """

    INDEX = "index"
    CHECKSUMS = "checksums"
    CONTENT = "content"
    REACHABLE = "reachable"

    @property
    def _reads_packs(self) -> bool:
        return self in (Level.CHECKSUMS, Level.CONTENT)

    @property
    def _follows_heads(self) -> bool:
        return self in (Level.REACHABLE, Level.CONTENT)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: the file or object, what, the (kind, group, name) of the things it touches, what to do.

    through: the objects by which their heads reach it, for who wants to name more closely what it touches; keys: of
    the things, in the order of `touches`.
    """

    where: str
    what: str
    touches: tuple[tuple[str, ...], ...] = ()
    advice: str = ""
    through: frozenset[ObjectId] = frozenset()
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """What was checked, and what is wrong with it. objects: of readable packs, each once; size: bytes of the packs.

    notes: what may be wrong, or only the rest of work that was interrupted: commits without a head.
    """

    packs: int
    objects: int
    size: int
    heads: int
    problems: tuple[Problem, ...]
    notes: tuple[Problem, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


@dataclass
class Damage:
    """What is to be repaired; paths are relative to the store.

    packs: files that are no sound pack, and why; heads: head files and tables that are not what their names say; lost:
    objects that heads reach and of which no sound copy is here, and why; faulty: damaged frames as (pack id, frame),
    and single objects that lie as (pack id, frame, object id).
    """

    packs: dict[str, str] = field(default_factory=dict)
    heads: dict[str, str] = field(default_factory=dict)
    lost: dict[Node, str] = field(default_factory=dict)
    faulty: set[tuple[str, int] | tuple[str, int, ObjectId]] = field(default_factory=set)
    suspects: dict[ObjectId, tuple[Kind, str]] = field(
        default_factory=dict
    )  # those with a damaged copy, and why

    def has(self, place: Location) -> bool:
        """Whether this copy is damaged."""
        frame = (place.pack_id, place.entry.frame)
        return frame in self.faulty or (*frame, place.entry.id) in self.faulty

    def sound(self, objects: Objects, object_id: ObjectId) -> list[Location]:
        """The copies of an object that are not known to be damaged."""
        places = objects.locate(object_id)
        return places if object_id not in self.suspects else [p for p in places if not self.has(p)]


def nowhere(what: str, done: int, total: int) -> None:
    """Progress that nobody wants to see."""
