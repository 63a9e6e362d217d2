"""What a damaged pack or table still holds: all that can be read out of it and hashes right, footer or no footer.

Reads only. Nothing that the file says of itself is believed; rows of a damaged footer are only guesses to be hashed.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from objstore import layout
from objstore.errors import StoreError
from objstore.frame import HEADER_SIZE, MAGIC, Encoding, FrameHeader, decode
from objstore.heads import Head
from objstore.ids import Kind, ObjectId, hash_object
from objstore.pack import trailer_size
from objstore.publish import encode_group
from objstore.reading import read_at
from objstore.records import ChunkList, check_record
from objstore.scrub import Contents, examine
from objstore.zstd import decompress

_FOOTER_MAGIC: Final = b"OSPF\x01\0\0\0"
_TRAILER_MAGIC: Final = b"OSPE"
_COUNTS: Final = struct.Struct("<II")
_OBJECT: Final = struct.Struct("<32sIIQ")
_FOOTER_SIZE: Final = 16  # bytes of a footer before its frames
_FRAME_SIZE: Final = 64  # bytes of a frame in it; the second u64 is the payload's size
_STORED: Final = struct.Struct("<Q")
_TABLE_SIZE: Final = 20  # bytes of a table before its info
_HEAD: Final = struct.Struct("<16s32sQI")
_WINDOW: Final = 4 * layout.MIB  # bytes searched at a time

Rows = dict[
    int, list[tuple[ObjectId, int, int]]
]  # offset of a frame in the file -> (id, offset, size) inside


@dataclass(frozen=True, slots=True)
class Piece:
    """A frame that can be written as it is, with the ids of its objects, to which they hash.

    proved: an id that was written down says so. Else the ids are only what the bytes hash to, which may be damaged
    and still look well, as a record with another digit does; or it is a chunk list. Such a piece is of use to whoever
    looks for that id, and to nobody else.
    """

    header: FrameHeader
    stored: bytes | memoryview
    inside: list[tuple[ObjectId, int]]
    proved: bool = True

    @property
    def is_list(self) -> bool:
        """Whether it is a chunk list."""
        return self.header.encoding is Encoding.LIST


def pieces(fd: int, footer: Contents | None) -> Iterator[Piece]:
    """The sound objects of an open pack file, in their order. Raises OSError when the file cannot be read at all.

    footer: the pack's true one, where it is known; else what is left of the one in the file has to do.
    """
    if footer is not None:
        return _by_footer(fd, footer)
    size, rows = os.fstat(fd).st_size, Rows()
    with suppress(OSError):  # a bad sector there: then the frames have to do
        rows = _rows(fd, size)
    return _by_frames(fd, size, rows)


# --- with a footer ---------------------------------------------------------------------------------------------------


def _by_footer(fd: int, footer: Contents) -> Iterator[Piece]:
    for number, frame in enumerate(footer.frames):
        inside = footer.inside(number)
        try:
            data = read_at(fd, frame.offset, frame.size)
        except OSError:
            continue  # a bad sector: what else the file has is not lost with it
        found = list(examine(number, frame, inside, data))
        parts = [part for _, part in found if part]
        # A frame of a newer version is not read here, but pinned: it is carried along as it is.
        if len(parts) == len(inside) or any(fault and fault.alien for fault, _ in found):
            yield Piece(frame.header, data[HEADER_SIZE:], [(entry.id, entry.size) for entry in inside])
        else:
            yield from _encoded(frame.header.kind, [(entry.id, content) for entry, content in parts])


def _encoded(kind: Kind, group: list[tuple[ObjectId, bytes]], *, proved: bool = True) -> Iterator[Piece]:
    for object_id, content in group:
        for header, stored, inside in encode_group(kind, [(object_id, content)]):
            yield Piece(header, stored, inside, proved)


# --- without one -----------------------------------------------------------------------------------------------------


def _by_frames(fd: int, size: int, rows: Rows) -> Iterator[Piece]:
    """Frame after frame by their headers; behind one that is damaged, from the next place where one begins."""
    at = 0
    while at < size:
        try:
            header = FrameHeader.parse(read_at(fd, at, HEADER_SIZE))
            stored = read_at(fd, at + HEADER_SIZE, header.stored_size)
            yield from _open(header, stored, rows.get(at, []))
            at += HEADER_SIZE + header.stored_size
        except (StoreError, OSError):
            at = _find(fd, MAGIC, at + 1, size)


def _open(header: FrameHeader, stored: bytes, rows: list[tuple[ObjectId, int, int]]) -> Iterator[Piece]:
    """What a frame holds that can be told by hashing it. Raises StoreError for one that cannot be decoded."""
    raw = decode(header, stored)
    if header.encoding is Encoding.LIST:
        if ChunkList.decode(raw).size == header.raw_size:
            yield from (Piece(header, stored, [(object_id, size)], False) for object_id, _, size in rows[:1])
        return
    if (group := _guessed(header.kind, raw, rows)) and sum(len(content) for _, content in group) == len(raw):
        yield Piece(header, stored, [(object_id, len(content)) for object_id, content in group])
    elif group:
        yield from _encoded(header.kind, group)
    else:
        yield from _encoded(header.kind, _split(header.kind, raw), proved=False)


def _guessed(kind: Kind, raw: bytes, rows: list[tuple[ObjectId, int, int]]) -> list[tuple[ObjectId, bytes]]:
    found, end = [], 0
    for object_id, offset, size in sorted(rows, key=lambda row: row[1:]):
        content = raw[offset : offset + size]
        if offset >= end and hash_object(kind, content) == object_id and _is_readable(kind, content):
            found.append((object_id, content))
            end = offset + size
    return found


def _split(kind: Kind, raw: bytes) -> list[tuple[ObjectId, bytes]]:
    """The objects of a frame of which nothing is known: one blob, or records, which show where they end."""
    parts = [raw] if kind is Kind.BLOB else list(_records(raw))
    return [(hash_object(kind, part), part) for part in parts if _is_readable(kind, part)]


def _records(raw: bytes) -> Iterator[bytes]:
    try:
        text = raw.decode("latin-1")  # one character a byte, so that positions are those of the bytes
        at, read = 0, json.JSONDecoder().raw_decode
        while at < len(text):
            _, end = read(text, at)
            yield raw[at:end]
            at = end
    except (ValueError, RecursionError):
        yield raw  # a page of a chunk list


def _is_readable(kind: Kind, content: bytes) -> bool:
    try:
        check_record(kind, content)
    except StoreError:
        return False
    return True


def _find(fd: int, magic: bytes, start: int, size: int) -> int:
    """Where `magic` comes next in the file; its size when it does not."""
    while start < size:
        try:
            data = read_at(fd, start, _WINDOW)
        except OSError:
            start += _WINDOW
            continue
        if (found := data.find(magic)) >= 0:
            return start + found
        if len(data) < _WINDOW:
            break
        start += _WINDOW - len(magic)
    return size


def _rows(fd: int, size: int) -> Rows:
    """What a damaged footer may still say, unchecked."""
    start = _footer_start(fd, size)
    data = read_at(fd, start, min(max(0, size - trailer_size() - start), layout.FOOTER_MAX))
    if len(data) < _FOOTER_SIZE:
        return {}
    frames, objects = _COUNTS.unpack_from(data, 8)
    room = len(data) - _FOOTER_SIZE
    if frames * _FRAME_SIZE > room or (room - frames * _FRAME_SIZE) % _OBJECT.size:
        frames = (
            max(0, room - objects * _OBJECT.size) // _FRAME_SIZE
        )  # the one count is damaged, the other may not be
    offsets, at = [], 0
    for number in range(frames):
        offsets.append(at)
        at += HEADER_SIZE + _STORED.unpack_from(data, _FOOTER_SIZE + number * _FRAME_SIZE + 16)[0]
    found: Rows = {}
    table = memoryview(data)[_FOOTER_SIZE + frames * _FRAME_SIZE :]
    for raw_id, frame, offset, length in _OBJECT.iter_unpack(
        table[: len(table) // _OBJECT.size * _OBJECT.size]
    ):
        if frame < len(offsets):
            found.setdefault(offsets[frame], []).append((ObjectId(raw_id), offset, length))
    return found


def _footer_start(fd: int, size: int) -> int:
    tail = read_at(fd, max(0, size - trailer_size()), trailer_size())
    if len(tail) == trailer_size():
        start = size - trailer_size() - int.from_bytes(tail[:4], "little")
        if start >= 0 and (tail[4:] == _TRAILER_MAGIC or read_at(fd, start, 8) == _FOOTER_MAGIC):
            return start
    return _find(fd, _FOOTER_MAGIC, 0, size)


# --- heads -----------------------------------------------------------------------------------------------------------


def heads_of_table(data: bytes, where: str) -> tuple[list[Head], list[tuple[str, ObjectId]]]:
    """Of a damaged table, the heads that can still be read and hash right; and of the others (key, commit id).

    What is damaged in a row may be the id itself: it names nothing then.
    """
    try:
        info_size, count, _ = struct.unpack_from("<III", data, 8)
        start = _TABLE_SIZE + info_size
        rows = list(_HEAD.iter_unpack(data[start : start + count * _HEAD.size]))
        raw = _decoded_heads(data, start + count * _HEAD.size)
    except (struct.error, ValueError):
        return [], []
    heads: list[Head] = []
    names: list[tuple[str, ObjectId]] = []
    for key, commit_id, offset, length in rows:
        head = Head(key.hex(), ObjectId(commit_id), raw[offset : offset + length], where)
        try:
            head.commit  # noqa: B018  reading it is the check
        except StoreError:
            names.append((head.key, head.id))
        else:
            heads.append(head)
    return heads, names


def _decoded_heads(data: bytes, start: int) -> bytes:
    """The heads in a table, whose size is not known since the record that says it may be damaged; or nothing."""
    try:
        return decompress(data[start:], layout.HEADS_MAX)
    except StoreError:
        return b""
