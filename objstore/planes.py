"""Bytes of numbers, grouped by their place in the number: exponents compress where whole floats do not.

Knows arrays of items of 2, 4 or 8 bytes, each plane raw or zstd; what the items mean it never asks.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from objstore import layout
from objstore.errors import Corrupt
from objstore.scratch import Scratch
from objstore.zstd import BINARY_LEVEL, decompress_into, squeeze

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Bytes = npt.NDArray[np.uint8]

SIZES: Final = (2, 4, 8)  # bytes of an item
_PLANE: Final = struct.Struct("<B3sI")
_ZERO: Final = bytes(3)
_scratch: Final = Scratch(2 * layout.FRAME_RAW_MAX)
_RAW: Final = 0
_ZSTD: Final = 1


def estimate(samples: Sequence[bytes], size: int) -> tuple[float, tuple[bool, ...]]:
    """What share of its size content like `samples` would take in planes, and which planes are worth compressing.

    Each sample begins at a multiple of `size` bytes from the start of the content.
    """
    total, kept, worth = 0, 0, []
    for plane in range(size):
        part = b"".join(sample[plane::size] for sample in samples)
        stored = len(squeeze(part, BINARY_LEVEL))
        worth.append(stored < len(part) * layout.SAVES)
        kept += stored if worth[-1] else len(part)
        total += len(part)
    return kept / total, tuple(worth)


def encode(raw: bytes | memoryview, size: int, phase: int, worth: Sequence[bool]) -> bytes:
    """The payload for content whose first byte is at `phase` in an item of `size` bytes.

    `worth` says of the plane that begins at byte 0, 1, … of the content whether to try compression. What was
    compressed is proved by decoding all of it again: raises Corrupt when the two differ.
    """
    import numpy as np

    content = np.frombuffer(raw, np.uint8)
    parts: list[bytes] = []
    for number in range(size):
        start = (number - phase) % size
        plane = content[start::size].tobytes()
        stored, codec = plane, _RAW
        if worth[start] and plane:
            squeezed = squeeze(plane, BINARY_LEVEL)
            if len(squeezed) < len(plane) * layout.SAVES:
                stored, codec = squeezed, _ZSTD
        parts += [_PLANE.pack(codec, _ZERO, len(stored)), stored]
    payload = b"".join(parts)
    if not np.array_equal(_ungroup(payload, len(content), size, phase), content):
        raise Corrupt(
            "content in planes decodes to other bytes: nothing was stored, check this machine's memory"
        )
    return payload


def decode(stored: bytes | memoryview, raw_size: int, size: int, phase: int) -> bytes:
    """The content of a payload. Raises Corrupt."""
    return _ungroup(stored, raw_size, size, phase).tobytes()


def _buffers(size: int) -> tuple[Bytes, memoryview]:
    """Room for the content of a payload, and for half of it as one plane; good until this thread decodes the next."""
    import numpy as np

    room = _scratch.take(size + (size + 1) // 2)
    return np.frombuffer(room, np.uint8, size), room[size:]


def _ungroup(stored: bytes | memoryview, raw_size: int, size: int, phase: int) -> Bytes:
    import numpy as np

    planes, at, view = [], 0, memoryview(stored)
    for number in range(size):
        # Before any memory is taken for the content: a payload that lies about itself costs nothing.
        if len(view) - at < _PLANE.size:
            raise Corrupt("a plane is cut short")
        codec, zero, length = _PLANE.unpack_from(view, at)
        at += _PLANE.size
        start = (number - phase) % size
        planes.append((start, codec, view[at : at + length]))
        at += length
        expected = len(range(start, raw_size, size))
        if codec > _ZSTD or zero != _ZERO or (codec == _RAW and length != expected):
            raise Corrupt("a plane is not as its header says")
    if at != len(view):
        raise Corrupt("the planes of a frame do not fill it")
    content, decoded = _buffers(raw_size)
    for start, codec, part in planes:
        plane, expected = part, len(range(start, raw_size, size))
        if codec == _ZSTD:
            plane = decoded[: decompress_into(part, decoded[:expected])]
        if len(plane) != expected:
            raise Corrupt(f"a plane holds {len(plane)} of its {expected} bytes")
        content[start::size] = np.frombuffer(plane, np.uint8)
    return content
