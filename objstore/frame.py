"""Content <-> its stored representation: one frame, self-describing, never trusted before the content hashes right.

A frame holds one object, or a group of neighbouring objects of one kind, as header and payload. How it is encoded is
free to change and never part of an id. Pure: bytes in, bytes out.
"""

from __future__ import annotations

import struct
import threading
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import zstandard

from objstore import layout
from objstore.errors import Corrupt, Unsupported
from objstore.ids import Kind


class Encoding(IntEnum):
    """How a frame's payload stands for its content; the number is the byte on disk."""

    RAW = 0  # the content of exactly one object
    ZSTD = 1  # one zstd frame of the content
    PLANES = 2  # bytes grouped by item size: specified in docs/format.md, not yet written
    LIST = 3  # a chunk list of one blob; parameter 0: the list is raw (0) or one zstd frame (1)


MAGIC: Final = b"OSF\x01"
_HEADER: Final = struct.Struct("<4sBBBBQQ")
HEADER_SIZE: Final = _HEADER.size

_PROBES: Final = 3
_PROBE_SIZE: Final = 8 * layout.KIB
_SAVES: Final = 0.95  # stored raw when compression saves less than 5 %: reading raw is six times as fast
_TEXT_LEVEL: Final = 3
_BINARY_LEVEL: Final = 1
_WINDOW_MAX: Final = 1 << 27  # of zstd, bytes; a frame that asks for more is refused
_STEP: Final = 256 * layout.KIB


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """What stands before a payload: 24 bytes, little-endian."""

    kind: Kind
    encoding: Encoding
    parameters: tuple[int, int]
    raw_size: int
    stored_size: int

    def __post_init__(self) -> None:
        # Also when it is made to be written: a frame that no reader accepts would take its whole pack with it.
        self._check()

    def pack(self) -> bytes:
        """The 24 bytes."""
        return _HEADER.pack(
            MAGIC, self.kind, self.encoding, *self.parameters, self.raw_size, self.stored_size
        )

    @classmethod
    def parse(cls, data: bytes | memoryview) -> FrameHeader:
        """Read the 24 bytes. Raises Corrupt, or Unsupported for a newer version or encoding."""
        if len(data) < HEADER_SIZE:
            raise Corrupt("a frame header is cut short")
        magic, kind, encoding, first, second, raw_size, stored_size = _HEADER.unpack_from(data)
        if magic[:3] != MAGIC[:3]:
            raise Corrupt("no frame begins here")
        if magic != MAGIC:
            raise Unsupported(f"a frame of version {magic[3]}: a newer version of the program wrote it")
        return cls.of(kind, encoding, (first, second), raw_size, stored_size)

    @classmethod
    def of(cls, kind: int, encoding: int, parameters: tuple[int, int], raw: int, stored: int) -> FrameHeader:
        """A header from plain numbers, checked. Raises Corrupt or Unsupported."""
        try:
            known = Kind(kind), Encoding(encoding)
        except ValueError as error:
            raise Unsupported(f"a frame of an unknown kind or encoding: {error}") from error
        return cls(*known, parameters, raw, stored)

    def _check(self) -> None:
        whole = self.encoding is Encoding.LIST
        if not _parameters_known(self.encoding, *self.parameters):
            raise Unsupported(f"a {self.encoding.name} frame with the parameters {self.parameters}")
        if whole and self.kind is not Kind.BLOB:
            raise Corrupt(f"a frame claims to be the chunk list of a {self.kind.name.lower()}")
        if self.raw_size > (layout.RAW_MAX if whole else layout.BLOB_MAX * 2):
            raise Corrupt(f"a frame claims {self.raw_size} bytes of content")
        if self.encoding is Encoding.RAW and self.raw_size != self.stored_size:
            raise Corrupt("a raw frame's two sizes differ")
        if self.stored_size > layout.RECORD_MAX + layout.KIB:
            raise Corrupt(f"a frame claims {self.stored_size} stored bytes")
        if not whole and self.raw_size > (self.stored_size + 64) * layout.RATIO_MAX:
            raise Corrupt("a frame claims to expand beyond what any content does")


def _parameters_known(encoding: Encoding, first: int, second: int) -> bool:
    if encoding is Encoding.PLANES:
        return first in (2, 4, 8) and second < first
    return second == 0 and first <= (encoding is Encoding.LIST)


def encode(kind: Kind, raw: bytes | memoryview) -> tuple[FrameHeader, bytes | memoryview]:
    """Represent content as the better of raw and zstd.

    A few KiB are compressed first: content that saves less than 5 % there is stored raw. What was compressed is
    decoded again and compared, since a compressor's bug must never cost the only copy.
    """
    if not raw or not _worth_it(raw):
        return _raw(kind, raw)
    level = _BINARY_LEVEL if len(raw) > layout.GROUP_RAW_MAX and _is_binary(raw) else _TEXT_LEVEL
    stored = compress(raw, level)
    if len(stored) >= len(raw) * _SAVES:
        return _raw(kind, raw)
    return FrameHeader(kind, Encoding.ZSTD, (0, 0), len(raw), len(stored)), stored


def encode_list(encoded_list: bytes, size: int) -> tuple[FrameHeader, bytes]:
    """Represent a blob of `size` bytes as its chunk list, itself compressed where that helps."""
    stored = compress(encoded_list, _TEXT_LEVEL)
    if len(stored) >= len(encoded_list) * _SAVES:
        return FrameHeader(Kind.BLOB, Encoding.LIST, (0, 0), size, len(encoded_list)), encoded_list
    return FrameHeader(Kind.BLOB, Encoding.LIST, (1, 0), size, len(stored)), stored


def decode(header: FrameHeader, stored: bytes) -> bytes:
    """The content in a payload: all of it, or for a chunk list the list's own bytes. Raises Corrupt, Unsupported."""
    if len(stored) != header.stored_size:
        raise Corrupt(f"a frame has {len(stored)} of its {header.stored_size} stored bytes")
    if header.encoding is Encoding.RAW:
        return stored
    if header.encoding is Encoding.ZSTD:
        raw = decompress(stored, header.raw_size)
        if len(raw) != header.raw_size:
            raise Corrupt(f"a frame holds {len(raw)} of its {header.raw_size} bytes")
        return raw
    if header.encoding is Encoding.LIST:
        return decompress(stored, layout.RECORD_MAX) if header.parameters[0] else stored
    raise Unsupported(f"frames with the encoding {header.encoding.name} cannot be read by this version")


def compress(raw: bytes | memoryview, level: int) -> bytes:
    """One zstd frame, proved by decoding it again. Raises Corrupt when the two differ."""
    stored = _tools().compressor(level).compress(raw)
    whole = bytes(raw)  # bytes compare 20 times as fast as a memoryview does
    if decompress(stored, len(whole)) != whole:
        raise Corrupt(
            "zstd returned other bytes than it was given: nothing was stored, check this machine's memory"
        )
    return stored


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


def _raw(kind: Kind, raw: bytes | memoryview) -> tuple[FrameHeader, bytes | memoryview]:
    return FrameHeader(kind, Encoding.RAW, (0, 0), len(raw), len(raw)), raw


def _samples(raw: bytes | memoryview) -> list[bytes]:
    view = memoryview(raw)
    if len(view) <= _PROBES * _PROBE_SIZE:
        return [bytes(view)]
    last = len(view) - _PROBE_SIZE
    return [bytes(view[at : at + _PROBE_SIZE]) for at in (0, last // 2, last)]


def _worth_it(raw: bytes | memoryview) -> bool:
    sample = b"".join(_samples(raw))
    return len(_tools().compressor(_BINARY_LEVEL).compress(sample)) < len(sample) * _SAVES


def _is_binary(raw: bytes | memoryview) -> bool:
    return any(b"\0" in part for part in _samples(raw))


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
