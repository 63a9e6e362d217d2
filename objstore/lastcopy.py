"""Whether what is to be deleted for good has a sound copy elsewhere: looked at on the disk, not only in footers.

Reads the frames of such objects only that are needed and are in what is to go. Writes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from xxhash import xxh3_64_intdigest

from objstore import columns
from objstore.columns import Column, header_of, offsets_of
from objstore.errors import Corrupt, Unsupported
from objstore.frame import HEADER_SIZE, Encoding, decode
from objstore.ids import Kind, ObjectId, hash_object
from objstore.inventory import Changed, Holding, Inventory, PackFile
from objstore.records import ChunkList


@dataclass(slots=True)
class LastCopies:
    """Packs that must not be deleted, each with the objects for whose sake.

    sound: those with a sound copy of what no pack in packs/ has sound; damaged: those with a damaged copy of what has a
    sound one nowhere.
    """

    sound: list[tuple[PackFile, list[ObjectId]]] = field(default_factory=list)
    damaged: list[tuple[PackFile, list[ObjectId]]] = field(default_factory=list)


def last_copies(
    inventory: Inventory, needed: Column, staying: Iterable[Holding], doomed: list[PackFile]
) -> LastCopies:
    """Which of the `doomed` packs, files in the trash, have what is `needed` and nothing in `staying` has sound.

    Raises Changed where a pack of `staying` is gone, OSError.
    """
    holdings = {holding.file.id: holding for holding in inventory.holdings if not holding.gone}
    known = [(file, holdings[file.id]) for file in doomed if file.id in holdings]
    kept = [(holding.file, holding) for holding in staying]
    lacking = np.zeros(inventory.count, np.bool_)
    for _, holding in known:
        numbers = inventory.of(holding)
        lacking[numbers[needed[numbers]]] = True
    # What is whole needs no chunks, and so goes first: here, and again among what is to go.
    lists = _Lists(inventory, [*kept, *known])
    for sound in (_whole, lists.sound):
        for file, holding in kept:
            _strike(inventory, file, holding, lacking, sound)
    found = LastCopies()
    for sound in (_whole, lists.sound):
        for file, holding in known:
            saved = _strike(inventory, file, holding, lacking, sound)
            if len(saved):
                found.sound.append((file, _ids(inventory, saved)))
    for file, holding in known:
        numbers = inventory.of(holding)
        if lacking[numbers].any():
            found.damaged.append((file, _ids(inventory, numbers[lacking[numbers]])))
    return found


_Copy = tuple[PackFile, Holding]
_Judge = Callable[[Path, PackFile, Column], Column]  # of a pack's rows, those wanted that are sound


def _strike(inventory: Inventory, file: PackFile, holding: Holding, lacking: Column, sound: _Judge) -> Column:
    """Take what a pack has sound off what is lacking; returns the numbers of that."""
    numbers = inventory.of(holding)
    if not lacking[numbers].any():
        return numbers[:0]
    found: Column = numbers[sound(inventory.root, file, lacking[numbers])]
    lacking[found] = False
    return found


def _ids(inventory: Inventory, numbers: Column) -> list[ObjectId]:
    return [inventory.id(number) for number in np.unique(numbers).tolist()]


def _whole(root: Path, file: PackFile, wanted: Column) -> Column:
    """Per row of a pack's footer, whether it is `wanted`, stored with its content, and as the footer says."""
    return _judged(root, file, wanted, lambda frame, data: frame["encoding"] != Encoding.LIST)


def _judged(root: Path, file: PackFile, wanted: Column, is_good: Callable[[Column, bytes], bool]) -> Column:
    """Per row of a pack's footer, whether it is `wanted` and its frame is stored as the footer says, and good."""
    try:
        frames, objects = columns.read(root / file.name, file.id)
        fd = os.open(root / file.name, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise Changed(f"{file.name} is gone since it was listed") from error
    except (Corrupt, Unsupported):
        return np.zeros(len(wanted), np.bool_)
    good = np.zeros(len(frames), np.bool_)
    offsets = offsets_of(frames)
    try:
        for number in np.unique(objects["frame"][wanted]).tolist():
            data = _stored(fd, frames[number], int(offsets[number]))
            good[number] = data is not None and is_good(frames[number], data)
    finally:
        os.close(fd)
    found: Column = wanted & good[objects["frame"]]
    return found


def _stored(fd: int, frame: Column, offset: int) -> bytes | None:
    """A frame's bytes, header and payload, or None where they are not those that were written."""
    size = HEADER_SIZE + int(frame["stored"])
    try:
        data = os.pread(fd, size, offset)
    except OSError:
        return None  # a bad block
    if (
        len(data) != size
        or data[:HEADER_SIZE] != header_of(frame).pack()
        or xxh3_64_intdigest(data) != int(frame["xxh3"])
    ):
        return None
    return data


class _Lists:
    """Judges copies that are chunk lists: such a one is sound when all pages and chunks that it names are."""

    def __init__(self, inventory: Inventory, copies: list[_Copy]) -> None:
        self._inventory = inventory
        self._copies = copies
        self._known = np.zeros(inventory.count, np.bool_)  # objects that were looked at
        self._good = np.zeros(inventory.count, np.bool_)  # those of them with a sound copy

    def sound(self, root: Path, file: PackFile, wanted: Column) -> Column:
        """Per row of a pack's footer, whether it is `wanted`, a chunk list, and all that this names is sound."""
        return _judged(root, file, wanted, self._is_good)

    def _is_good(self, frame: Column, data: bytes) -> bool:
        if frame["encoding"] != Encoding.LIST:
            return False
        try:
            top = ChunkList.decode(decode(header_of(frame), data[HEADER_SIZE:]))
            ids = {item for item, _ in top.items}
            if not self._have(ids):
                return False
            return not top.level or all(self._have(self._page(page_id)) for page_id in ids)
        except (Corrupt, Unsupported):
            return False

    def _have(self, ids: set[ObjectId]) -> bool:
        """Whether there is a sound copy, stored whole, of each."""
        numbers = self._inventory.find(ids)
        if (numbers < 0).any():
            return False
        left = np.zeros(self._inventory.count, np.bool_)
        left[numbers] = True
        left &= ~self._known
        self._known |= left
        for file, holding in self._copies:
            self._good[_strike(self._inventory, file, holding, left, _whole)] = True
        return bool(self._good[numbers].all())

    def _page(self, page_id: ObjectId) -> set[ObjectId]:
        """The chunks that a page names. Raises Corrupt where no copy of it can be read."""
        number = int(self._inventory.find([page_id])[0])
        for file, holding in self._copies:
            for row in np.flatnonzero(self._inventory.of(holding) == number).tolist():
                raw = _content(self._inventory.root / file.name, file.id, row)
                if raw is not None and hash_object(Kind.CHUNKS, raw) == page_id:
                    return {item for item, _ in ChunkList.decode(raw).items}
        raise Corrupt(f"no copy of the page {page_id} can be read")


def _content(path: Path, pack_id: str, row: int) -> bytes | None:
    """What one row of a pack's footer stands for, or None where that cannot be read. Raises Corrupt, Unsupported."""
    frames, objects = columns.read(path, pack_id)
    entry = objects[row]
    frame = frames[entry["frame"]]
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = _stored(fd, frame, int(offsets_of(frames)[entry["frame"]]))
    finally:
        os.close(fd)
    if data is None:
        return None
    return decode(header_of(frame), data[HEADER_SIZE:])[int(entry["offset"]) :][: int(entry["size"])]
