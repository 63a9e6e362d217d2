"""zstd as the store uses it: what is compressed is proved by decoding it, and no declared size is trusted."""

from __future__ import annotations

import threading
from typing import Final

import zstandard

from objstore import layout
from objstore.errors import Corrupt

BINARY_LEVEL: Final = 1
TEXT_LEVEL: Final = 3  # a fifth smaller than level 1 on text; on numbers no smaller, and half as fast
_WINDOW_MAX: Final = 8 * layout.MIB  # a frame that asks for more memory is refused
_STEP: Final = 256 * layout.KIB


def compress(raw: bytes | memoryview, level: int) -> bytes:
    """One zstd frame, proved by decoding it again. Raises Corrupt when the two differ."""
    stored = squeeze(raw, level)
    whole = bytes(raw)  # bytes compare 20 times as fast as a memoryview does
    if decompress(stored, len(whole)) != whole:
        raise Corrupt(
            "zstd returned other bytes than it was given: nothing was stored, check this machine's memory"
        )
    return stored


def squeeze(raw: bytes | memoryview, level: int) -> bytes:
    """One zstd frame that nobody has proved yet."""
    return _tools().compressor(level).compress(raw)


def decompress(stored: bytes | memoryview, limit: int) -> bytes:
    """Decode one zstd frame of at most `limit` bytes of content; its declared size is never trusted. Raises Corrupt."""
    out: list[bytes] = []
    room = limit
    try:
        with _tools().decompressor.stream_reader(stored, read_across_frames=False) as reader:
            while room >= 0:
                part = reader.read(min(_STEP, room + 1))
                if not part:
                    return out[0] if len(out) == 1 else b"".join(out)
                room -= len(part)
                out.append(part)
    except zstandard.ZstdError as error:
        raise Corrupt(f"a zstd frame is damaged: {error}") from error
    raise Corrupt(f"a zstd frame holds more than the {limit} bytes it may")


def decompress_into(stored: bytes | memoryview, out: memoryview) -> int:
    """Decode one zstd frame into memory that is there; returns the bytes written. Raises Corrupt for more of them."""
    size = 0
    try:
        with _tools().decompressor.stream_reader(stored, read_across_frames=False) as reader:
            while size < len(out) and (count := reader.readinto(out[size:])):
                size += count
            if reader.read(1):
                raise Corrupt(f"a zstd frame holds more than the {len(out)} bytes it may")
    except zstandard.ZstdError as error:
        raise Corrupt(f"a zstd frame is damaged: {error}") from error
    return size


class _Tools(threading.local):
    """zstd contexts: costly to make and not safe to share between threads."""

    def __init__(self) -> None:
        self._compressors: dict[int, zstandard.ZstdCompressor] = {}
        self.decompressor = zstandard.ZstdDecompressor(max_window_size=_WINDOW_MAX)

    def compressor(self, level: int) -> zstandard.ZstdCompressor:
        if level not in self._compressors:
            self._compressors[level] = zstandard.ZstdCompressor(level=level)
        return self._compressors[level]


_local: _Tools | None = None


def _tools() -> _Tools:
    global _local
    if _local is None:
        _local = _Tools()
    return _local
