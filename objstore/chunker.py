"""Bytes -> cut points: FastCDC (Xia et al., IEEE TPDS 2020), normalised chunking level 1, 32 / 128 / 512 KiB.

Where a file is cut is a representation: it decides what is shared between versions, never what a file's id is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from objstore import layout

if TYPE_CHECKING:
    from pyfastcdc import FastCDC


@dataclass(frozen=True, slots=True)
class Region:
    """Bytes `start` to `end` of a file: one array of numbers of `item_size` bytes; 0: nobody knows, 1: no numbers."""

    start: int
    end: int
    item_size: int = 0


@dataclass(frozen=True, slots=True)
class Piece:
    """A chunk, where in its file it begins, and the size of the numbers in it as `Region` has it."""

    data: memoryview
    offset: int
    item_size: int


class Cutter:
    """Cuts a file that comes in windows, anew at the start and the end of each region.

    So an array that is in two files is cut alike in both, whatever stands before it. `regions` are sorted and do not
    overlap.
    """

    def __init__(self, regions: Sequence[Region] = ()) -> None:
        self._at = 0  # where in the file the next window begins
        # Stretches of the file from one cut to the next, as (end, item); the last has no end.
        self._ahead: list[tuple[int | None, int]] = []
        before = 0
        for region in regions:
            if region.start > before:
                self._ahead.append((region.start, 0))
            self._ahead.append((region.end, region.item_size))
            before = region.end
        self._ahead.append((None, 0))
        self._ahead.reverse()

    def cut(self, window: memoryview, *, last: bool) -> Iterator[Piece]:
        """The chunks at the start of `window`, in order.

        When more bytes are to follow (`last` is false) the end of the window is no cut point: what is left, at most
        CHUNK_MAX bytes, must be given again before the bytes that follow.
        """
        start = 0
        while start < len(window):
            end, item = self._ahead[-1]
            stop = len(window) if end is None else min(len(window), end - self._at)
            whole = last or (end is not None and end - self._at <= len(window))
            for chunk in cut(window[start:stop], last=whole):
                yield Piece(chunk, self._at + start, item)
                start += len(chunk)
            if start < stop:
                break
            if end is not None and self._at + start == end:
                self._ahead.pop()
        self._at += start


def cut(window: memoryview, *, last: bool) -> Iterator[memoryview]:
    """The chunks at the start of `window`; but for `last`, what may begin a longer one is left out, see `Cutter`."""
    end = len(window)
    offset = 0
    for chunk in _cutter().cut_buf(window):
        if not last and end - offset < layout.CHUNK_MAX:
            return
        yield window[offset : offset + chunk.length]
        offset += chunk.length


@cache
def _cutter() -> FastCDC:
    # Imported here: most processes never cut anything, and it is the slowest import of the store.
    from pyfastcdc import FastCDC

    return FastCDC(
        layout.CHUNK_AVG, min_size=layout.CHUNK_MIN, max_size=layout.CHUNK_MAX, normalized_chunking=1
    )
