"""Where known containers of tensors begin each of them: safetensors, npy, and zip with stored members (npz, torch).

What is found decides where a large file is cut, never what its id is; so nothing here is trusted, and a container that
is damaged, hostile or unknown has no regions. Reads headers only, a bounded part of them, and unpickles nothing.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from typing import Any, Final

import orjson

from objstore import layout
from objstore.chunker import Region

_ZIP_LOCAL: Final = struct.Struct("<4s22xHH")  # magic; lengths of the name and of the extra fields
_ZIP_MEMBER: Final = struct.Struct("<4s4xHH8xLLHHH8xL")  # one of the directory
_ZIP_END: Final = struct.Struct("<4s6xHLL2x")
_ZIP64_PLACE: Final = struct.Struct("<4s4xQ4x")
_ZIP64_END: Final = struct.Struct("<4s28xQQQ")
_ZIP_COMMENT_MAX: Final = 0xFFFF
_ENCRYPTED: Final = 1  # bit of a member's flags

_NPY: Final = b"\x93NUMPY"
_NPY_HEAD_MAX: Final = 64 * layout.KIB
_NPY_TYPE: Final = re.compile(rb"'descr': *'[<>|=]?([a-zA-Z])(\d+)")
# By item size; a complex number is two of half its size.
_NPY_TYPES: Final = {1: "i1 u1 b1", 2: "i2 u2 f2", 4: "i4 u4 f4 c8", 8: "i8 u8 f8 c16 M8 m8"}
_NPY_SIZES: Final = {name: size for size, names in _NPY_TYPES.items() for name in names.split()}

_INNERMOST: Final = re.compile(rb"\{[^{}]*\}")  # in a safetensors header: what is said of one tensor
_TENSOR_MAX: Final = 4 * layout.KIB  # bytes of that
_TENSOR_TYPES: Final = {
    1: "BOOL U8 I8 F8_E4M3 F8_E5M2 F8_E8M0",
    2: "U16 I16 F16 BF16",
    4: "U32 I32 F32 C64",
    8: "U64 I64 F64 C128",
}
_TENSOR_SIZES: Final = {name: size for size, names in _TENSOR_TYPES.items() for name in names.split()}


class _Unknown(Exception):
    """No container of a known kind, or one that does not hold together."""


def regions(fd: int, size: int) -> tuple[Region, ...]:
    """The tensors in an open file of `size` bytes: in order, none overlapping another, each of 32 KiB or more.

    Empty for anything that is not a sound container, whatever it holds. The descriptor's position stays where it was.
    Raises OSError when the file cannot be read.
    """
    if size < layout.CHUNK_MIN:
        return ()
    try:
        return _in_order(_find(fd, size), size)
    except _Unknown:
        return ()


def _find(fd: int, size: int) -> Iterator[Region]:
    head = _read(fd, 0, 9)
    if head.startswith(b"PK\3\4"):
        return _zip(fd, size)
    if head.startswith(_NPY):
        return iter([_npy(fd, 0, size)])
    if head.endswith(b"{"):
        return _safetensors(fd, size, int.from_bytes(head[:8], "little"))
    raise _Unknown


def _in_order(found: Iterator[Region], size: int) -> tuple[Region, ...]:
    large = [region for region in found if region.end - region.start >= layout.CHUNK_MIN]
    large.sort(key=lambda region: region.start)
    at = 0
    for region in large:
        if region.start < at or region.end > size:
            raise _Unknown
        at = region.end
    return tuple(large)


def _read(fd: int, offset: int, count: int) -> bytes:
    """Exactly so many bytes; a file may be shorter than it was a moment ago."""
    parts = []
    while count:
        part = os.pread(fd, count, offset)
        if not part:
            raise _Unknown
        parts.append(part)
        offset += len(part)
        count -= len(part)
    return b"".join(parts)


# --- safetensors ---------------------------------------------------------------------------------------------------


def _safetensors(fd: int, size: int, length: int) -> Iterator[Region]:
    """https://github.com/huggingface/safetensors: u64 length, JSON of that length, then the tensors."""
    start = 8 + length
    if not 2 <= length <= layout.CONTAINER_HEADER_MAX or start > size:
        raise _Unknown
    # Tensor by tensor: parsed as one document, 16 MiB of brackets would take half a GiB of memory.
    for number, match in enumerate(_INNERMOST.finditer(_read(fd, 8, length))):
        if number >= layout.REGIONS_MAX:
            raise _Unknown
        if match.end() - match.start() <= _TENSOR_MAX:
            yield from _tensor(match[0], start)


def _tensor(text: bytes, start: int) -> Iterator[Region]:
    try:
        said: dict[str, Any] = orjson.loads(text)
    except orjson.JSONDecodeError:
        return  # a text among the metadata that has braces in it
    place = said.get("data_offsets")
    match place:
        case None:
            return  # the metadata
        case [int(begin), int(end)]:
            yield Region(start + begin, start + end, _TENSOR_SIZES.get(str(said.get("dtype")), 0))
        case _:
            raise _Unknown


# --- npy -----------------------------------------------------------------------------------------------------------


def _npy(fd: int, start: int, end: int) -> Region:
    """https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html: all behind the header is one array."""
    head = _read(fd, start, 12)
    wide = head[6] > 1  # versions 2 and 3 have a longer length
    length = int.from_bytes(head[8:12] if wide else head[8:10], "little")
    data = start + (12 if wide else 10) + length
    if not head.startswith(_NPY) or length > _NPY_HEAD_MAX or data > end:
        raise _Unknown
    kind = _NPY_TYPE.search(_read(fd, data - length, length))
    return Region(data, end, _NPY_SIZES.get(f"{kind[1].decode()}{int(kind[2][:4])}", 0) if kind else 0)


# --- zip -----------------------------------------------------------------------------------------------------------


def _zip(fd: int, size: int) -> Iterator[Region]:
    """https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT; members that are stored as they are."""
    count, length, offset = _directory(fd, size)
    if count > layout.REGIONS_MAX or length > layout.CONTAINER_HEADER_MAX or offset + length > size:
        raise _Unknown
    directory, at = _read(fd, offset, length), 0
    for _ in range(count):
        place, at = _member(directory, at)
        if place is not None:
            yield _stored(fd, size, *place)


def _directory(fd: int, size: int) -> tuple[int, int, int]:
    """How many members the directory names, its bytes, and where it begins."""
    tail_at = max(0, size - _ZIP_END.size - _ZIP_COMMENT_MAX)
    tail = _read(fd, size - _ZIP_END.size, _ZIP_END.size)
    if not tail.startswith(b"PK\5\6"):  # then a comment follows
        tail = _read(fd, tail_at, size - tail_at)
    found = tail.rfind(b"PK\5\6")
    if found < 0 or found + _ZIP_END.size > len(tail):
        raise _Unknown
    _, count, length, offset = _ZIP_END.unpack_from(tail, found)
    if count != 0xFFFF and length != 0xFFFFFFFF and offset != 0xFFFFFFFF:
        return count, length, offset
    end_at = size - len(tail) + found
    if end_at < _ZIP64_PLACE.size:
        raise _Unknown
    magic, wide_at = _ZIP64_PLACE.unpack(_read(fd, end_at - _ZIP64_PLACE.size, _ZIP64_PLACE.size))
    if magic != b"PK\6\7":
        return count, length, offset  # there may really be 65,535 of them
    if wide_at + _ZIP64_END.size > end_at:
        raise _Unknown
    magic, count, length, offset = _ZIP64_END.unpack(_read(fd, wide_at, _ZIP64_END.size))
    if magic != b"PK\6\6":
        raise _Unknown
    return count, length, offset


def _member(directory: bytes, at: int) -> tuple[tuple[int, int] | None, int]:
    """Where a member's header begins and how many bytes it stores, if it is large and plain; where the next stands."""
    if at + _ZIP_MEMBER.size > len(directory):
        raise _Unknown
    magic, flags, method, packed, size, name, extra, comment, offset = _ZIP_MEMBER.unpack_from(directory, at)
    behind = at + _ZIP_MEMBER.size + name
    following = behind + extra + comment
    if magic != b"PK\1\2" or following > len(directory):
        raise _Unknown
    if method or flags & _ENCRYPTED:
        return None, following
    if 0xFFFFFFFF in (packed, size, offset):
        size, packed, offset = _wide(directory[behind : behind + extra], size, packed, offset)
    if packed != size:
        raise _Unknown
    return (offset, size) if size >= layout.CHUNK_MIN else None, following


def _wide(extra: bytes, *values: int) -> Iterator[int]:
    """The zip64 extra field's numbers in place of those that did not fit."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            rest = extra[at + 4 : at + 4 + length]
            for value in values:
                if value == 0xFFFFFFFF:
                    if len(rest) < 8:
                        raise _Unknown
                    value, rest = int.from_bytes(rest[:8], "little"), rest[8:]
                yield value
            return
        at += 4 + length
    raise _Unknown


def _stored(fd: int, size: int, offset: int, length: int) -> Region:
    """A member's content. The local header has extra fields of its own: torch and numpy align the data by them."""
    if offset + _ZIP_LOCAL.size > size:
        raise _Unknown
    magic, name, extra = _ZIP_LOCAL.unpack(_read(fd, offset, _ZIP_LOCAL.size))
    start = offset + _ZIP_LOCAL.size + name + extra
    end = start + length
    if magic != b"PK\3\4" or end > size:
        raise _Unknown
    if _read(fd, start, len(_NPY)) == _NPY:
        return _npy(fd, start, end)
    return Region(start, end, 0)
