"""Content <-> its stored representation: one frame, self-describing, never trusted before the content hashes right.

A frame holds one object, or a group of neighbouring objects of one kind, as header and payload. How it is encoded is
free to change and never part of an id. Pure: bytes in, bytes out.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from objstore import layout, planes
from objstore.errors import Corrupt, Unsupported
from objstore.ids import Kind
from objstore.zstd import BINARY_LEVEL, TEXT_LEVEL, compress, decompress, squeeze


class Encoding(IntEnum):
    """How a frame's payload stands for its content; the number is the byte on disk."""

    RAW = 0  # the content of exactly one object
    ZSTD = 1  # one zstd frame of the content
    PLANES = 2  # bytes grouped by their place in an item; parameters 0 and 1: item size, phase
    LIST = 3  # a chunk list of one blob; parameter 0: the list is raw (0) or one zstd frame (1)


MAGIC: Final = b"OSF\x01"
_HEADER: Final = struct.Struct("<4sBBBBQQ")
HEADER_SIZE: Final = _HEADER.size

_PROBES: Final = 3
_PROBE_SIZE: Final = 8 * layout.KIB
_PLANES_MIN: Final = (
    64 * layout.KIB
)  # bytes of content: below, the tables of each plane's code cost what it saves
_PLANES_GAIN: Final = 0.02  # of the content, that planes must save beyond plain zstd, which is faster to read


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
        check_header(self.kind, self.encoding, *self.parameters, self.raw_size, self.stored_size)

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


# Plain numbers: a footer may have 90,000 frames, and to look up an Enum costs as much as all the rest.
_RAW: Final = int(Encoding.RAW)
_LIST: Final = int(Encoding.LIST)
_BLOB: Final = int(Kind.BLOB)
_KIND_MAX: Final = int(max(Kind))
_ENCODING_MAX: Final = int(max(Encoding))
_CONTENT_MAX: Final = 2 * layout.BLOB_MAX
_STORED_MAX: Final = layout.RECORD_MAX + layout.KIB
_KNOWN: Final = frozenset(
    [
        *((int(encoding), 0, 0) for encoding in Encoding if encoding is not Encoding.PLANES),
        (_LIST, 1, 0),
        *((int(Encoding.PLANES), size, phase) for size in (2, 4, 8) for phase in range(size)),
    ]
)


def check_header(kind: int, encoding: int, first: int, second: int, raw: int, stored: int) -> None:
    """Raise Corrupt or Unsupported for numbers that no header may have."""
    if kind > _KIND_MAX or encoding > _ENCODING_MAX:
        raise Unsupported(f"a frame of an unknown kind or encoding: {kind}, {encoding}")
    if (encoding, first, second) not in _KNOWN:
        raise Unsupported(f"a {Encoding(encoding).name} frame with the parameters {(first, second)}")
    whole = encoding == _LIST
    if whole and kind != _BLOB:
        raise Corrupt(f"a frame claims to be the chunk list of a {Kind(kind).name.lower()}")
    if raw > (layout.RAW_MAX if whole else _CONTENT_MAX):
        raise Corrupt(f"a frame claims {raw} bytes of content")
    if encoding == _RAW and raw != stored:
        raise Corrupt("a raw frame's two sizes differ")
    if stored > _STORED_MAX:
        raise Corrupt(f"a frame claims {stored} stored bytes")
    if not whole and raw > (stored + 64) * layout.RATIO_MAX:
        raise Corrupt("a frame claims to expand beyond what any content does")


def encode(
    kind: Kind, raw: bytes | memoryview, *, item: int = 0, offset: int = 0
) -> tuple[FrameHeader, bytes | memoryview]:
    """Represent content as the best of raw, zstd and planes.

    A few KiB are compressed first: content that saves less than 5 % there is stored raw. `item` is the bytes of a
    number in it, 1 where it holds none, 0 where nobody knows; `offset` is where in its file the content begins. What
    was compressed is decoded again and compared, since a compressor's bug must never cost the only copy.
    """
    samples = _samples(raw)
    ratio = _plain(samples)
    found = _best_planes(samples, item, ratio) if len(raw) >= _PLANES_MIN and item != 1 else None
    if found is not None:
        size, worth = found
        return _chosen(
            kind, raw, Encoding.PLANES, planes.encode(raw, size, offset % size, worth), (size, offset % size)
        )
    if ratio >= layout.SAVES:
        return as_it_is(kind, raw)
    binary = len(raw) > layout.GROUP_RAW_MAX and _is_binary(samples)
    return _chosen(kind, raw, Encoding.ZSTD, compress(raw, BINARY_LEVEL if binary else TEXT_LEVEL), (0, 0))


def _chosen(
    kind: Kind, raw: bytes | memoryview, encoding: Encoding, stored: bytes, parameters: tuple[int, int]
) -> tuple[FrameHeader, bytes | memoryview]:
    if len(stored) >= len(raw) * layout.SAVES:
        return as_it_is(kind, raw)
    return FrameHeader(kind, encoding, parameters, len(raw), len(stored)), stored


def encode_list(encoded_list: bytes, size: int) -> tuple[FrameHeader, bytes]:
    """Represent a blob of `size` bytes as its chunk list, itself compressed where that helps."""
    stored = compress(encoded_list, TEXT_LEVEL)
    if len(stored) >= len(encoded_list) * layout.SAVES:
        return FrameHeader(Kind.BLOB, Encoding.LIST, (0, 0), size, len(encoded_list)), encoded_list
    return FrameHeader(Kind.BLOB, Encoding.LIST, (1, 0), size, len(stored)), stored


def decode(header: FrameHeader, stored: bytes | memoryview) -> bytes:
    """The content in a payload: all of it, or for a chunk list the list's own bytes. Raises Corrupt, Unsupported."""
    if len(stored) != header.stored_size:
        raise Corrupt(f"a frame has {len(stored)} of its {header.stored_size} stored bytes")
    if header.encoding is Encoding.RAW:
        return bytes(stored)
    if header.encoding is Encoding.ZSTD:
        raw = decompress(stored, header.raw_size)
        if len(raw) != header.raw_size:
            raise Corrupt(f"a frame holds {len(raw)} of its {header.raw_size} bytes")
        return raw
    if header.encoding is Encoding.LIST:
        return decompress(stored, layout.RECORD_MAX) if header.parameters[0] else bytes(stored)
    size, phase = header.parameters
    return planes.decode(stored, header.raw_size, size, phase)


def as_it_is(kind: Kind, raw: bytes | memoryview) -> tuple[FrameHeader, bytes | memoryview]:
    """Represent content as itself."""
    return FrameHeader(kind, Encoding.RAW, (0, 0), len(raw), len(raw)), raw


def _samples(raw: bytes | memoryview) -> list[bytes]:
    view = memoryview(raw)
    if len(view) <= _PROBES * _PROBE_SIZE:
        return [bytes(view)]
    last = len(view) - _PROBE_SIZE
    # At multiples of 8, so that a byte's place in its item is the same in every sample.
    return [bytes(view[at : at + _PROBE_SIZE]) for at in (0, last // 16 * 8, last // 8 * 8)]


def _plain(samples: list[bytes]) -> float:
    """The share of its size that content like `samples` takes with plain zstd; 1 for none."""
    sample = b"".join(samples)
    return len(squeeze(sample, BINARY_LEVEL)) / len(sample) if sample else 1.0


def _best_planes(samples: list[bytes], item: int, plain: float) -> tuple[int, tuple[bool, ...]] | None:
    """The item size under which planes are clearly smaller than plain zstd, and which of them to compress."""
    if not item and not _is_binary(samples):
        return None
    best, found = min(plain, 1.0) - _PLANES_GAIN, None
    for size in (item,) if item else planes.SIZES:
        ratio, worth = planes.estimate(samples, size)
        if ratio < best - (_PLANES_GAIN if found else 0):
            best, found = ratio, (size, worth)
    return found


def _is_binary(samples: list[bytes]) -> bool:
    return any(b"\0" in part for part in samples)
