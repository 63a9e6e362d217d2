"""Rows into segments: from footers, from what was published just now, and from older segments. Needs numpy.

Works in slices, so that memory stays small whatever the number of rows. Makes nothing durable: what a crash leaves of
a segment is told by its checksums.
"""

from __future__ import annotations

import secrets
import struct
import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from objstore import columns, layout
from objstore.frame import Encoding
from objstore.ids import hash_bytes
from objstore.index.opened import OpenFile
from objstore.index.segment import (
    BLOCK,
    MAGIC,
    PACK,
    PLACE,
    ROW,
    TRAILER,
    Broken,
    Segment,
    filter_power,
)

Rows = NDArray[np.void]
Runs = Callable[[], Iterable[Rows]]

_SLICE: Final = 65_536  # rows worked on at a time: 5 MB
_STALE: Final = 3600.0  # seconds after which an unfinished file has no writer any more
_WORDS: Final = ("a", "b", "c", "d")  # an id as four numbers
_ROW: Final = [
    *((name, ">u8") for name in _WORDS),
    ("pack", "=u4"),
    ("frame", "=u4"),
    ("offset", "=u4"),
    ("stored", "=u4"),
    ("where", "=u8"),
    ("size", "=u8"),
    ("xxh3", "=u8"),
]


# --- rows ------------------------------------------------------------------------------------------------------------


def footer_rows(frames: columns.Column, objects: columns.Column, number: int) -> Iterator[Rows]:
    """The rows of a pack, in slices, from the columns of its footer; number: what stands for the pack in them."""
    starts = columns.offsets_of(frames).astype(np.uint64)
    where = starts | frames["kind"].astype(np.uint64) << np.uint64(56)
    where |= frames["encoding"].astype(np.uint64) << np.uint64(48)
    raw = np.where(frames["encoding"] == Encoding.LIST, 0, frames["raw"]) << np.uint64(32)
    for at in range(0, len(objects), _SLICE):
        part = objects[at : at + _SLICE]
        rows: NDArray[Any] = np.zeros(len(part), np.dtype(_ROW))
        for place, word in enumerate(_WORDS):
            rows[word] = part["id"][:, place]
        rows["frame"], rows["offset"] = part["frame"], part["offset"]
        rows["pack"] = number
        of = part["frame"]
        rows["stored"], rows["where"], rows["xxh3"] = frames["stored"][of], where[of], frames["xxh3"][of]
        rows["size"] = part["size"] | raw[of]
        yield rows


def recent_rows(rows: Mapping[bytes, bytes], renumber: Sequence[int]) -> Rows:
    """The rows of a plain index, sorted; renumber: for each pack its new number, or -1 to leave its rows out."""
    size = PLACE.size
    parts = [
        key + places[at : at + size] for key, places in rows.items() for at in range(0, len(places), size)
    ]
    found: NDArray[Any] = np.frombuffer(bytearray(b"".join(parts)), np.dtype(_ROW))
    return join([_renumbered(found, renumber)])


def merged_rows(segments: Sequence[Segment], renumber: Sequence[Sequence[int]]) -> Iterator[Rows]:
    """The rows of several segments as one sorted sequence, in slices. Raises Broken."""
    firsts = np.sort(np.concatenate([np.frombuffer(s.firsts, np.uint64) for s in segments]))
    # Cut where blocks begin, so that a slice has about as many rows as any other, however the ids are spread.
    marks = np.unique(firsts[:: _SLICE // 64])[1:].tolist()
    for low, high in pairwise([0, *marks, 1 << 64]):
        parts = []
        for segment, numbers in zip(segments, renumber, strict=True):
            found: NDArray[Any] = np.frombuffer(bytearray(segment.between(low, high)), np.dtype(_ROW))
            if (found["pack"] >= len(numbers)).any():
                raise Broken(segment, f"{segment.path} names packs that it has not")
            words = found["a"]
            inside = found[(words >= low) & (words <= high - 1)]
            parts.append(_renumbered(inside, numbers))
        yield join(parts)


def _renumbered(rows: NDArray[Any], renumber: Sequence[int]) -> Rows:
    numbers = np.array(renumber, np.int64)[rows["pack"]]
    kept: NDArray[Any] = rows[numbers >= 0]
    kept["pack"] = numbers[numbers >= 0]
    return kept


def join(parts: Sequence[Rows]) -> Rows:
    """Several slices as one, sorted by id."""
    # As bytes: numpy joins numbers of another byte order by turning them round.
    rows: NDArray[Any] = np.concatenate([part.view(f"V{ROW.size}") for part in parts]).view(np.dtype(_ROW))
    words = rows["a"].astype(np.uint64)
    order = np.argsort(words, kind="stable")  # which merges runs that are sorted
    words = words[order]
    if (words[1:] == words[:-1]).any():
        order = np.lexsort([rows[name] for name in reversed(_WORDS)])
    return rows[order]


# --- files -----------------------------------------------------------------------------------------------------------


def in_memory(packs: Sequence[tuple[str, int]], runs: Runs, most: int) -> Segment:
    """A segment of these packs, pairs of (id, bytes), that lasts as long as the process; `most` rows at most."""
    out: list[bytes] = []
    tables, trailer = _encode(packs, runs(), most, lambda data: out.append(bytes(data)))
    return Segment(b"".join(out), trailer, tables, None)


def in_file(folder: Path, packs: Sequence[tuple[str, int]], runs: Runs, most: int) -> Segment:
    """The same, as a new file in `folder`. Raises OSError where that cannot be, Broken."""
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    part = folder / f"{secrets.token_hex(8)}.part"
    try:
        with part.open("xb", buffering=layout.MIB) as out:
            tables, trailer = _encode(packs, runs(), most, out.write)
            out.write(tables)
            out.write(trailer)
        file = OpenFile(part)
        # Two processes that write the same give it one name.
        path = folder / f"{hash_bytes(tables + trailer).hex()[:32]}{layout.SEGMENT_SUFFIX}"
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return Segment(path, trailer, tables, file)


def _encode(
    packs: Sequence[tuple[str, int]], runs: Iterable[Rows], most: int, put: Callable[[memoryview], object]
) -> tuple[bytes, bytes]:
    power = filter_power(most)
    bits = np.zeros(1 << power, bool)
    counts = np.zeros(len(packs), np.int64)
    firsts, sums = array("Q"), array("Q")
    rest, total = b"", 0

    def blocks(data: memoryview) -> None:
        for at in range(0, len(data), BLOCK):
            block = data[at : at + BLOCK]
            firsts.append(int.from_bytes(block[:8], "big"))
            sums.append(xxh3_64_intdigest(block))
        put(data)

    for rows in runs:
        bits[rows["a"].astype(np.uint64) >> np.uint64(64 - power)] = True
        counts += np.bincount(rows["pack"], minlength=len(packs))
        total += len(rows)
        data = memoryview(rest + rows.tobytes())
        whole = len(data) // BLOCK * BLOCK
        blocks(data[:whole])
        rest = bytes(data[whole:])
    blocks(memoryview(rest))
    tables = b"".join(
        PACK.pack(bytes.fromhex(i), size, int(n)) for (i, size), n in zip(packs, counts, strict=True)
    )
    tables += firsts.tobytes() + sums.tobytes() + np.packbits(bits, bitorder="little").tobytes()
    head = TRAILER.pack(MAGIC, total, len(packs), power, 0)[:-8]
    return tables, head + struct.pack("=Q", xxh3_64_intdigest(tables + head))


def _sweep(folder: Path) -> None:
    """Remove what writers left that were killed."""
    for path in folder.glob("*.part"):
        try:
            if time.time() - path.stat().st_mtime > _STALE:
                path.unlink()
        except OSError:
            continue
