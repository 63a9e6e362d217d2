"""Where a remote has an object: an index of its packs, read as far as it is needed, and what proved to be wrong."""

from __future__ import annotations

from collections.abc import Collection
from itertools import chain

from objstore import layout
from objstore.ids import ObjectId
from objstore.pack import Footer, FrameEntry, Members, ObjectEntry
from objstore.sync.shown import Shown

Place = tuple[str, int]  # pack id, number of a frame in it


class Library:
    """The frames that hold an object, those of claimed packs first. Unclaimed packs are listed when it comes to it.

    here: packs of the store that pulls, whose footers need not be fetched.
    """

    def __init__(self, shown: Shown, here: Collection[str]) -> None:
        self._shown = shown
        claimed = shown.claimed()
        self._claimed = claimed.keys()
        self._unread = chain(claimed.items(), shown.others(here))
        self._index: dict[ObjectId, tuple[Place, ...]] = {}
        self._spoilt: set[Place] = set()
        self.footers: dict[str, Footer] = {}
        self.members: dict[str, Members] = {}
        self.damaged: dict[str, str] = {}

    def find(self, object_id: ObjectId) -> Place | None:
        """A copy that has not turned out to be damaged, those in claimed packs first."""
        while True:
            for place in self._index.get(object_id, ()):
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

    def inside(self, place: Place) -> list[ObjectEntry]:
        """The objects in the frame at a place, in their order in the content."""
        return self.members[place[0]][place[1]]

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
        self._spoilt.update((pack_id, number) for number in range(len(self.members[pack_id])))

    def _read(self) -> bool:
        for pack_id, data in self._unread:
            footer = self._shown.footer(pack_id, data)
            if footer is None:
                continue
            self.footers[pack_id], self.members[pack_id] = footer, Members(footer)
            # One tuple for all objects of a frame: of a million small ones these would be most of what is held.
            places = [((pack_id, number),) for number in range(len(footer.frames))]
            for entry in footer.objects:
                known = self._index.get(entry.id)
                self._index[entry.id] = places[entry.frame] if known is None else known + places[entry.frame]
            return True
        return False
