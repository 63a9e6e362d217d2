"""What a remote is believed to hold: the objects of packs that its tables claim, never because a head names them."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Final

import orjson

from objstore.errors import StoreError
from objstore.ids import IdTable, ObjectId
from objstore.pack import Footer
from objstore.sync.shown import Shown

_NOTE: Final = "proved"


_WHOLE: Final = 1  # with its content
_LIST: Final = 2  # as a list of chunks, which lie somewhere else


class Claims:
    """The objects in the remote's packs: of those that tables claim, and of those that lie there unclaimed."""

    def __init__(self, shown: Shown) -> None:
        self._ids = IdTable()
        self._how = bytearray()  # per object, as what it is there
        self._pack = array("I")  # per object that lies there unclaimed only, 1 + the number of a pack
        self._unclaimed: list[tuple[str, bytes]] = []
        for pack_id, data in shown.claimed().items():
            footer = shown.footer(pack_id, data)
            if footer is not None:
                self._add(footer, 0)

    def __contains__(self, object_id: object) -> bool:
        return object_id in self._ids

    def is_whole(self, object_id: ObjectId) -> bool:
        """Whether it lies there with its content."""
        number = self._ids.find(object_id)
        return number >= 0 and bool(self._how[number] & _WHOLE)

    def hold(self, ids: Iterable[ObjectId]) -> None:
        """Take these for objects that lie there with all that they reach."""
        for object_id in ids:
            self._note(object_id, _WHOLE, 0)

    def add_unclaimed(self, shown: Shown) -> None:
        """List what lies there unclaimed: a copier or an interrupted push brought it, and this push may claim it."""
        for pack_id, data in shown.others():
            self._unclaimed.append((pack_id, data))
            self._add(Footer.decode(data), len(self._unclaimed))

    def relied_on(self, reached: Iterable[ObjectId]) -> dict[str, bytes]:
        """The unclaimed packs that hold something reached, with their footers."""
        if not self._unclaimed:
            return {}
        numbers = (self._ids.find(object_id) for object_id in reached)
        packs = {self._pack[number] for number in numbers if number >= 0} - {0}
        return dict(sorted(self._unclaimed[pack - 1] for pack in packs))

    def _add(self, footer: Footer, pack: int) -> None:
        how = [_LIST if footer.frames.is_list(n) else _WHOLE for n in range(len(footer.frames))]
        for object_id, frame, _, _ in footer.objects.rows():
            self._note(object_id, how[frame], pack)

    def _note(self, object_id: bytes, how: int, pack: int) -> None:
        number = self._ids.add(object_id)
        if number == len(self._how):
            self._how.append(how)
            self._pack.append(pack)
        else:
            self._how[number] |= how


def proved(shown: Shown) -> set[ObjectId]:
    """The heads shown there whose whole closure lay in claimed packs once, if those packs are claimed still.

    They need not be walked again: a push with nothing new costs one listing and no reading.
    """
    try:
        note = orjson.loads(shown.cache.read(_NOTE) or b"null")
        found = {ObjectId.parse(text) for text in note["heads"]}
        packs: list[str] = note["packs"]
    except (orjson.JSONDecodeError, TypeError, KeyError, StoreError):
        return set()
    if not shown.claimed().keys() >= set(packs):
        return set()
    return found & shown.all_ids()


def note_proved(shown: Shown, heads: Iterable[ObjectId], packs: Iterable[str] = ()) -> None:
    """Note heads whose whole closure lies in the packs that tables claim there, `packs` just claimed among them."""
    claimed = sorted({*packs, *shown.claimed()})
    data = orjson.dumps({"heads": sorted(str(i) for i in heads), "packs": claimed})
    if data != shown.cache.read(_NOTE):
        shown.cache.write(_NOTE, data)
