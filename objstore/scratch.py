"""Memory that a thread uses again for bytes that are only looked at: fresh memory costs a fault a page."""

from __future__ import annotations

import threading


class Scratch(threading.local):
    """A buffer of each thread, which keeps up to `most` bytes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept = memoryview(bytearray())

    def take(self, size: int) -> memoryview:
        """`size` bytes that hold anything, good until this thread takes the next."""
        if size > self._most:
            return memoryview(bytearray(size))
        if size > len(self._kept):
            self._kept = memoryview(bytearray(size))
        return self._kept[:size]
