"""One file of the index: rows of 72 bytes sorted by id, in blocks that are checked as they are read.

Knows rows, not packs: which of them may be believed is `catalog`. Reads without numpy and without mapping anything.
"""

from __future__ import annotations

import os
import struct
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from xxhash import xxh3_64_intdigest

from objstore.errors import Corrupt
from objstore.ids import SIZE
from objstore.index.opened import OpenFile

# Native order: the file never leaves its place, and on another machine its magic number is another.
ROW: Final = struct.Struct("=32sIIIIQQQ")
PLACE: Final = struct.Struct("=IIIIQQQ")  # a row less its id
BLOCK_ROWS: Final = 64
BLOCK: Final = BLOCK_ROWS * ROW.size
PACK: Final = struct.Struct("=32sQQ")  # id, bytes of the file, rows
TRAILER: Final = struct.Struct(
    "=QQIIQ"
)  # magic, rows, packs, power of the filter, xxh3 of the tables and all that
MAGIC: Final = 0x4F53_4958_0000_0001  # "OSIX", version 1
POWER_MIN: Final = 10
POWER_MAX: Final = 25  # of the bits of a filter: 4 MiB; with more rows it only sorts out fewer of the misses
_STEP: Final = 64  # blocks read at a time when many are
_KEPT_MAX: Final = 256  # blocks kept of one segment: 1.5 MiB


class Broken(Exception):
    """A segment is not what it should be, or cannot be read: it is to be thrown away."""

    def __init__(self, segment: Segment, what: str) -> None:
        super().__init__(what)
        self.segment = segment


class PackRow(NamedTuple):
    """A pack that a segment has all rows of: its id in hex, the bytes of its file, how many rows."""

    id: str
    size: int
    rows: int


def filter_power(rows: int) -> int:
    """The power of two of bits for a filter that lets one miss in eight pass."""
    return min(max((8 * rows - 1).bit_length(), POWER_MIN), POWER_MAX)


def word(object_id: bytes) -> int:
    """The first 8 bytes of an id as a number, by which rows are found."""
    return int.from_bytes(object_id[:8], "big")


class Segment:
    """Sorted rows, in a file or in memory, with what it takes to find one by reading one block.

    live: for each pack, 0 when its rows do not count, 1 when they do but the pack was not looked at, 2 when it was.
    """

    __slots__ = (
        "_bits",
        "_file",
        "_firsts",
        "_kept",
        "_memory",
        "_shift",
        "_sums",
        "live",
        "packs",
        "path",
        "rows",
    )

    def __init__(self, source: Path | bytes, trailer: bytes, tables: bytes, file: OpenFile | None) -> None:
        _, self.rows, packs, power, _ = TRAILER.unpack(trailer)
        self.path = source if isinstance(source, Path) else None
        self._memory = source if isinstance(source, bytes) else None
        self._file = file
        view = memoryview(tables)
        at = packs * PACK.size
        self.packs = [PackRow(i.hex(), size, rows) for i, size, rows in PACK.iter_unpack(view[:at])]
        self.live = bytearray(packs)
        blocks = -(-self.rows // BLOCK_ROWS)
        self._firsts, self._sums = array("Q"), array("Q")
        self._firsts.frombytes(view[at : at + 8 * blocks])
        self._sums.frombytes(view[at + 8 * blocks : at + 16 * blocks])
        self._bits = bytes(view[at + 16 * blocks :])
        self._kept: dict[
            int, bytes
        ] = {}  # blocks that were read: who asks for many ids reads few of them twice
        self._shift = 64 - power

    @classmethod
    def load(cls, path: Path) -> Segment:
        """Open a file. Raises Corrupt where it is not a whole segment, OSError."""
        file = OpenFile(path)
        size = os.fstat(file.fd).st_size
        trailer = os.pread(file.fd, TRAILER.size, max(size - TRAILER.size, 0))
        if len(trailer) != TRAILER.size:
            raise Corrupt(f"{path} is cut short")
        magic, rows, packs, power, digest = TRAILER.unpack(trailer)
        length = size - TRAILER.size - rows * ROW.size
        expected = packs * PACK.size + -(-rows // BLOCK_ROWS) * 16 + (1 << min(power, 64)) // 8
        if magic != MAGIC or not POWER_MIN <= power <= POWER_MAX or length != expected:
            raise Corrupt(f"{path} is no segment of this version")
        tables = os.pread(file.fd, length, rows * ROW.size)
        if xxh3_64_intdigest(tables + trailer[:-8]) != digest:
            raise Corrupt(f"{path} is damaged")
        return cls(path, trailer, tables, file)

    def close(self) -> None:
        """Close the file; it is opened again when it is needed."""
        self._file = None

    @property
    def useful(self) -> int:
        """Rows of packs that count."""
        return sum(pack.rows for pack, live in zip(self.packs, self.live, strict=True) if live)

    @property
    def firsts(self) -> array[int]:
        """The word of each block's first row."""
        return self._firsts

    def may_hold(self, number: int) -> bool:
        """Whether a row with this word may be here; false is certain."""
        bit = number >> self._shift
        return bool(self._bits[bit >> 3] >> (bit & 7) & 1)

    def find(self, object_id: bytes, number: int) -> list[bytes]:
        """The places of all rows with this id, whose word is `number`. Raises Broken."""
        bit = number >> self._shift
        if not self._bits[bit >> 3] >> (bit & 7) & 1:
            return []
        first = bisect_left(self._firsts, number)
        data = self._blocks(first - 1 if first else 0, bisect_right(self._firsts, number, first))
        found = []
        at = data.find(object_id)
        while at >= 0:
            if at % ROW.size == 0:
                found.append(data[at + SIZE : at + ROW.size])
            at = data.find(object_id, at + 1)
        return found

    def between(self, low: int, high: int) -> bytes:
        """Whole blocks with all rows whose words are from `low` up to, not with, `high`. Raises Broken."""
        first = bisect_left(self._firsts, low)
        return self._blocks(first - 1 if first else 0, bisect_left(self._firsts, high))

    def scan(self, low: int, high: int) -> Iterator[tuple[bytes, bytes]]:
        """The (id, place) of the rows with words from `low` to `high`, and some before and after. Raises Broken."""
        first = bisect_left(self._firsts, low)
        last = bisect_right(self._firsts, high)
        for start in range(first - 1 if first else 0, last, _STEP):
            data = self._blocks(start, min(start + _STEP, last))
            for at in range(0, len(data), ROW.size):
                yield data[at : at + SIZE], data[at + SIZE : at + ROW.size]

    def _blocks(self, first: int, last: int) -> bytes:
        if first >= last:
            return b""
        if last - first == 1 and (kept := self._kept.get(first)) is not None:
            return kept
        start, end = first * BLOCK, min(last * BLOCK, self.rows * ROW.size)
        if self._memory is not None:
            return self._memory[start:end]
        try:
            file = self._file or self._open()  # held here, or a thread that closes it would take it away
            data = os.pread(file.fd, end - start, start)
        except (OSError, Corrupt) as error:
            raise Broken(self, f"{self.path} cannot be read: {error}") from error
        if len(data) != end - start:
            raise Broken(self, f"{self.path} is cut short")
        if last - first == 1:
            sound = xxh3_64_intdigest(data) == self._sums[first]
            if sound:
                if len(self._kept) >= _KEPT_MAX:
                    self._kept.clear()
                self._kept[first] = data
        else:
            view = memoryview(data)
            sound = all(
                xxh3_64_intdigest(view[at : at + BLOCK]) == self._sums[first + at // BLOCK]
                for at in range(0, len(data), BLOCK)
            )
        if not sound:
            raise Broken(self, f"{self.path} is damaged")
        return data

    def _open(self) -> OpenFile:
        assert self.path is not None
        file = self._file = OpenFile(self.path)
        return file
