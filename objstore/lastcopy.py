"""Whether what is to be deleted for good has a sound copy elsewhere: looked at on the disk, not only in footers.

Reads the frames of such objects only that are needed and are in what is to go. Writes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from xxhash import xxh3_64_intdigest

from objstore import columns
from objstore.columns import Column, header_of, offsets_of
from objstore.errors import Corrupt, Unsupported
from objstore.frame import HEADER_SIZE
from objstore.ids import ObjectId
from objstore.inventory import Changed, Holding, Inventory, PackFile


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
    lacking = np.zeros(inventory.count, np.bool_)
    for _, holding in known:
        numbers = inventory.of(holding)
        lacking[numbers[needed[numbers]]] = True
    for holding in staying:
        if not lacking.any():
            break
        numbers = inventory.of(holding)
        if lacking[numbers].any():
            lacking[numbers[_sound(inventory.root, holding.file, lacking[numbers])]] = False
    found = LastCopies()
    for file, holding in known:
        numbers = inventory.of(holding)
        if lacking[numbers].any():
            saved = numbers[_sound(inventory.root, file, lacking[numbers])]
            if len(saved):
                lacking[saved] = False
                found.sound.append((file, _ids(inventory, saved)))
    for file, holding in known:
        numbers = inventory.of(holding)
        if lacking[numbers].any():
            found.damaged.append((file, _ids(inventory, numbers[lacking[numbers]])))
    return found


def _ids(inventory: Inventory, numbers: Column) -> list[ObjectId]:
    return [inventory.id(number) for number in np.unique(numbers).tolist()]


def _sound(root: Path, file: PackFile, wanted: Column) -> Column:
    """Per row of a pack's footer, whether it is `wanted` and its frame is stored as the footer says."""
    try:
        frames, objects = columns.read(root / file.name, file.id)
        fd = os.open(root / file.name, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise Changed(f"{file.name} is gone since it was listed") from error
    except (Corrupt, Unsupported):
        return np.zeros(len(wanted), np.bool_)
    whole = np.zeros(len(frames), np.bool_)
    offsets = offsets_of(frames)
    try:
        for number in np.unique(objects["frame"][wanted]).tolist():
            whole[number] = _is_whole(fd, frames[number], int(offsets[number]))
    finally:
        os.close(fd)
    sound: Column = wanted & whole[objects["frame"]]
    return sound


def _is_whole(fd: int, frame: Column, offset: int) -> bool:
    size = HEADER_SIZE + int(frame["stored"])
    try:
        data = os.pread(fd, size, offset)
    except OSError:
        return False  # a bad block
    return (
        len(data) == size
        and data[:HEADER_SIZE] == header_of(frame).pack()
        and xxh3_64_intdigest(data) == int(frame["xxh3"])
    )
