"""Bytes -> cut points: FastCDC (Xia et al., IEEE TPDS 2020), normalised chunking level 1, 32 / 128 / 512 KiB.

Where a file is cut is a representation: it decides what is shared between versions, never what a file's id is.
"""

from __future__ import annotations

from collections.abc import Iterator
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


def cut(window: memoryview, *, last: bool) -> Iterator[memoryview]:
    """The chunks at the start of `window`, in order.

    When more bytes are to follow (`last` is false) the end of the window is no cut point: what is left, at most
    CHUNK_MAX bytes, must be given again before the bytes that follow.
    """
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
