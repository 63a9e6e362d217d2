"""What a remote is believed to hold: the objects of packs that its tables claim, never because a head names them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import orjson

from objstore.errors import StoreError
from objstore.frame import Encoding
from objstore.ids import ObjectId
from objstore.pack import Footer
from objstore.sync.shown import Shown

_NOTE: Final = "proved"


class Claims:
    """The objects in the remote's packs: of those that tables claim, and of those that lie there unclaimed."""

    def __init__(self, shown: Shown) -> None:
        self.whole: set[ObjectId] = set()  # with their content
        self._lists: set[ObjectId] = set()  # as a list of chunks, which lie somewhere else
        self._unclaimed: dict[ObjectId, str] = {}
        self._footers: dict[str, bytes] = {}
        for pack_id, data in shown.claimed().items():
            footer = shown.footer(pack_id, data)
            if footer is not None:
                self._add(footer)

    def __contains__(self, object_id: object) -> bool:
        return object_id in self.whole or object_id in self._lists

    def add_unclaimed(self, shown: Shown) -> None:
        """List what lies there unclaimed: a copier or an interrupted push brought it, and this push may claim it."""
        for pack_id, data in shown.others():
            footer = Footer.decode(data)
            self._footers[pack_id] = data
            for entry in footer.objects:
                if entry.id not in self:
                    self._unclaimed[entry.id] = pack_id
            self._add(footer)

    def relied_on(self, reached: Iterable[ObjectId]) -> dict[str, bytes]:
        """The unclaimed packs that hold something reached, with their footers."""
        packs = {self._unclaimed[i] for i in reached if i in self._unclaimed}
        return {pack_id: self._footers[pack_id] for pack_id in sorted(packs)}

    def _add(self, footer: Footer) -> None:
        for entry in footer.objects:
            is_list = footer.frames[entry.frame].header.encoding is Encoding.LIST
            (self._lists if is_list else self.whole).add(entry.id)


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
