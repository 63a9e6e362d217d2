"""The form of a journal's files: segments, which are a header and records. Knows how they lie, and writes nothing."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from io import FileIO
    from pathlib import Path

PAYLOAD_MAX: Final = 1 << 30  # bytes; no event needs more, and a damaged length can claim no more

# A segment: magic, version, three zero bytes, writer id (ASCII, padded with zeros), segment number, number of
# its first record, 28 zero bytes; then records; then zeros, or the end of the file.
SEGMENT_HEADER: Final = struct.Struct("<4sB3x16sIQ28x")
MAGIC: Final = b"OSJL"
VERSION: Final = 1
SEGMENT_PREFIX: Final = "segment."
# A record: length of the payload, kind, a zero byte, attempt, number; the payload; the low 32 bits of the
# xxh3_64 of all that. Kind 0 is the end of the records: zeros are no record.
RECORD_HEADER: Final = struct.Struct("<IBxHQ")
HEADER_SIZE: Final = RECORD_HEADER.size
CHECK_SIZE: Final = 4
FRAME_SIZE: Final = HEADER_SIZE + CHECK_SIZE
ALIVE: Final = "alive"  # the file by which others see that a writer lives


class Record(NamedTuple):
    """One record. A named tuple, because a journal is read a hundred thousand at a time."""

    number: int
    kind: int
    attempt: int
    payload: bytes


class Header(NamedTuple):
    """Whose segment it is, and the number of its first record."""

    writer: bytes
    first: int


def header_of(file: FileIO, segment: int) -> Header | None:
    """Read the header of a segment; None when it is not that of this segment in every bit."""
    data = file.read(SEGMENT_HEADER.size)
    if len(data) != SEGMENT_HEADER.size:
        return None
    magic, version, padded, number, first = SEGMENT_HEADER.unpack(data)
    if (magic, version, number) != (MAGIC, VERSION, segment) or first == 0:
        return None
    if SEGMENT_HEADER.pack(magic, version, padded, number, first) != data:  # what has to be zero is not
        return None
    return Header(padded.rstrip(b"\0"), first)


def segments_of(folder: Path) -> list[tuple[int, str]]:
    """The segments of a journal by number, each with its path."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    found = []
    for name in names:
        digits = name[len(SEGMENT_PREFIX) :]
        if name.startswith(SEGMENT_PREFIX) and len(digits) == 8 and digits.isascii() and digits.isdigit():
            found.append((int(digits), os.path.join(folder, name)))
    return sorted(found)
