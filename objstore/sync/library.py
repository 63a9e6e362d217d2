"""Where a remote has an object: an index of its packs, read as far as it is needed, and what proved to be wrong."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterator
from itertools import chain
from typing import Final

from objstore import layout
from objstore.ids import IdTable, Kind, ObjectId
from objstore.pack import Footer, FrameEntry, Members, ObjectEntry
from objstore.sync.shown import Shown

Place = tuple[str, int]  # pack id, number of a frame in it
_NONE: Final = 0xFFFF_FFFF  # no further row


class Library:
    """The frames that hold an object, those of claimed packs first. Unclaimed packs are listed when it comes to it.

    here: packs of the store that pulls, whose footers need not be fetched. An object takes 65 bytes, and its
    rows in the footers.
    """

    def __init__(self, shown: Shown, here: Collection[str]) -> None:
        self._shown = shown
        claimed = shown.claimed()
        self._claimed = claimed.keys()
        self._unread = chain(claimed.items(), shown.others(here))
        self._ids = IdTable()
        # Per object the rows of its first and its last copy; per copy its pack, its frame, and the row of the next.
        self._first, self._last = array("I"), array("I")
        self._pack, self._frame, self._next = array("I"), array("I"), array("I")
        self._packs: list[str] = []
        self._spoilt: set[Place] = set()
        self.footers: dict[str, Footer] = {}
        self._members: dict[str, Members] = {}
        self.damaged: dict[str, str] = {}

    def find(self, object_id: ObjectId) -> Place | None:
        """A copy that has not turned out to be damaged, those in claimed packs first."""
        while True:
            for place in self._places(object_id):
                if place not in self._spoilt:
                    return place
            if not self._read():
                return None

    def is_claimed(self, object_id: ObjectId) -> bool:
        """Whether a pack that a table claims holds a sound copy."""
        place = self.find(object_id)
        return place is not None and place[0] in self._claimed

    def frame(self, place: Place) -> FrameEntry:
        """The frame at a place."""
        return self.footers[place[0]].frames[place[1]]

    def kind(self, place: Place) -> Kind:
        """The kind of the objects at a place."""
        return self.footers[place[0]].frames.kind(place[1])

    def is_list(self, place: Place) -> bool:
        """Whether the frame at a place is a chunk list."""
        return self.footers[place[0]].frames.is_list(place[1])

    def inside(self, place: Place) -> list[ObjectEntry]:
        """The objects in the frame at a place, in their order in the content."""
        if place[0] not in self._members:
            self._members[place[0]] = Members(self.footers[place[0]])
        return self._members[place[0]][place[1]]

    def is_sound(self, place: Place) -> bool:
        """Whether nothing is known against it."""
        return place not in self._spoilt

    def spoil(self, place: Place, what: str) -> None:
        """Note that a frame is damaged."""
        self._spoilt.add(place)
        self.damaged.setdefault(layout.pack_path(place[0]), what)

    def spoil_pack(self, pack_id: str, what: str) -> None:
        """Note that a pack cannot be read at all."""
        self.damaged[layout.pack_path(pack_id)] = what
        self._spoilt.update((pack_id, number) for number in range(len(self.footers[pack_id].frames)))

    def _read(self) -> bool:
        for pack_id, data in self._unread:
            footer = self._shown.footer(pack_id, data)
            if footer is None:
                continue
            self.footers[pack_id] = footer
            self._take(pack_id, footer)
            return True
        return False

    def _take(self, pack_id: str, footer: Footer) -> None:
        pack = len(self._packs)
        self._packs.append(pack_id)
        for object_id, frame, _, _ in footer.objects.rows():
            number, row = self._ids.add(object_id), len(self._next)
            self._pack.append(pack)
            self._frame.append(frame)
            self._next.append(_NONE)
            if number == len(self._first):
                self._first.append(row)
                self._last.append(row)
            else:
                self._next[self._last[number]] = row
                self._last[number] = row

    def _places(self, object_id: ObjectId) -> Iterator[Place]:
        number = self._ids.find(object_id)
        row = self._first[number] if number >= 0 else _NONE
        while row != _NONE:
            yield self._packs[self._pack[row]], self._frame[row]
            row = self._next[row]
