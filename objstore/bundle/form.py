"""The bytes of a bundle: the lead of each of its files, and the index that says what lies where and what is needed.

Pure: bytes in, bytes out. Sizes and counts are checked before anything is allocated by them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from typing import Any, Final

from objstore import layout
from objstore.errors import Corrupt, InvalidName, Unsupported
from objstore.ids import Kind, ObjectId, hash_bytes
from objstore.records import canonical, check_count, parse_canonical

_LEAD: Final = struct.Struct("<4sB3sIIQQQQ32s")
LEAD_MAGIC: Final = b"OSBD"
_INDEX: Final = struct.Struct("<4sB3sIIII")
_INDEX_MAGIC: Final = b"OSBI"
_ENTRY: Final = struct.Struct("<B7s32sQQ")
_NEED: Final = struct.Struct("<32sB3sI")
_KNOWN: Final = struct.Struct("<16s32s")
_NOBODY: Final = 0xFFFF_FFFF
_ZERO: Final = bytes(3)

LEAD_SIZE: Final = _LEAD.size
TRAILER_SIZE: Final = 32  # the BLAKE3 hash of a part's payload, then its lead
INDEX_MAX: Final = (
    _INDEX.size
    + layout.BUNDLE_INFO_MAX
    + layout.BUNDLE_FILES_MAX * _ENTRY.size
    + layout.BUNDLE_ROWS_MAX * (_NEED.size + _KNOWN.size)
)


@dataclass(frozen=True, slots=True)
class Lead:
    """What stands at the beginning of each part, in bytes: which part of which bundle it is.

    number: from 1; content: of all parts' payloads together; index: of the index, at the content's end; offset,
    length: which bytes of the content are this part's payload; bundle: the hash of the index.
    """

    number: int
    count: int
    content: int
    index: int
    offset: int
    length: int
    bundle: bytes

    def encode(self) -> bytes:
        """The 80 bytes."""
        numbers = (self.number, self.count, self.content, self.index, self.offset, self.length)
        return _LEAD.pack(LEAD_MAGIC, 1, _ZERO, *numbers, self.bundle)

    @classmethod
    def decode(cls, data: bytes) -> Lead:
        """Parse and check. Raises Corrupt or Unsupported."""
        if data[:4] != LEAD_MAGIC[: len(data)]:
            raise Corrupt("it is no bundle")
        if len(data) != LEAD_SIZE:
            raise Corrupt("it is cut short")
        _, version, zero, number, count, content, index, offset, length, bundle = _LEAD.unpack(data)
        if version != 1:
            raise Unsupported(f"it has version {version}: a newer version of the program wrote it")
        lead = cls(number, count, content, index, offset, length, bundle)
        sound = (
            zero == _ZERO
            and 1 <= lead.number <= lead.count <= layout.BUNDLE_PARTS_MAX
            and _INDEX.size <= lead.index <= min(INDEX_MAX, lead.content)
            and 0 < lead.length <= lead.content - lead.offset
        )
        if not sound:
            raise Corrupt("its lead is damaged")
        return lead

    def fits(self, other: Lead) -> bool:
        """Whether both are of one bundle."""
        mine = (self.bundle, self.count, self.content, self.index)
        return mine == (other.bundle, other.count, other.content, other.index)


class Sort(IntEnum):
    """What a file in a bundle is; the number is the byte on disk."""

    FORMAT = 0
    PACK = 1
    TABLE = 2


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the store that the bundle holds: its id (64 hex digits) and which bytes of the content it is."""

    sort: Sort
    id: str
    offset: int
    size: int

    @property
    def name(self) -> str:
        """Where it belongs in a store. Made of its id: no name in a bundle is ever used as a path."""
        if self.sort is Sort.FORMAT:
            return layout.FORMAT_FILE
        return layout.pack_path(self.id) if self.sort is Sort.PACK else layout.table_path(self.id)


_SIZE_MAX: Final = {
    Sort.FORMAT: layout.FORMAT_MAX,
    Sort.PACK: layout.RAW_MAX,
    Sort.TABLE: layout.TABLE_MAX,
}


@dataclass(frozen=True, slots=True)
class Prerequisite:
    """A head that holds something a bundle leaves out: key, commit, and the path that says whose it is to people."""

    key: str
    commit: ObjectId
    path: tuple[str, ...]

    def __str__(self) -> str:
        return f"{' / '.join(self.path) or 'something'} (id {self.key}, commit {str(self.commit)[:12]})"


@dataclass(frozen=True, slots=True)
class Info:
    """The record in the index. stamp: when it was made, in microseconds since 1970; heads: how many it holds.

    since: the bundle (its id) whose content was left out, or None; named: the prerequisites that have a name.
    """

    stamp: int
    heads: int
    since: str | None = None
    named: tuple[Prerequisite, ...] = ()

    def encode(self) -> bytes:
        """A canonical record."""
        return canonical(
            {
                "heads": self.heads,
                "prerequisites": [
                    {"commit": str(p.commit), "key": p.key, "path": list(p.path)} for p in self.named
                ],
                "since": self.since,
                "stamp": self.stamp,
                "v": 1,
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> Info:
        """Parse and check. Raises Corrupt or Unsupported."""
        record = parse_canonical(data, "a bundle's record")
        try:
            if check_count(record["v"]) != 1:
                raise Unsupported("a bundle's record has a version that only a newer program knows")
            since = record["since"]
            return cls(
                check_count(record["stamp"]),
                check_count(record["heads"]),
                None if since is None else str(ObjectId.parse(since)),
                tuple(_prerequisite(p) for p in record["prerequisites"]),
            )
        except (KeyError, TypeError, AttributeError, InvalidName) as error:
            raise Corrupt(f"a bundle's record has a damaged member: {error}") from error


def _prerequisite(record: Mapping[str, Any]) -> Prerequisite:
    key, path = record["key"], record["path"]
    if not isinstance(key, str) or not layout.is_key(key) or not isinstance(path, list):
        raise TypeError(f"{key!r} is no key, or {path!r} no path")
    if not all(isinstance(part, str) for part in path):
        raise TypeError(f"{path!r} is no path")
    return Prerequisite(key, ObjectId.parse(record["commit"]), tuple(path))


@dataclass(frozen=True, slots=True)
class Index:
    """What a bundle holds, and what it rests on. The rows are kept as bytes: there may be a million of them.

    needs: the objects that are named in it and lie elsewhere; known: heads that whoever reads it is taken to have.
    """

    info: Info
    entries: tuple[Entry, ...]
    needs_rows: bytes = b""
    known_rows: bytes = b""

    @classmethod
    def of(
        cls,
        info: Info,
        entries: Iterable[Entry],
        needs: Mapping[ObjectId, tuple[Kind, int | None]],
        known: Iterable[tuple[str, ObjectId]],
    ) -> Index:
        """An index from what it is to say; `needs` gives the kind of each object, and the prerequisite by number."""
        rows = (
            _NEED.pack(i, kind, _ZERO, _NOBODY if holder is None else holder)
            for i, (kind, holder) in sorted(needs.items())
        )
        heads = (_KNOWN.pack(bytes.fromhex(key), commit) for key, commit in sorted(set(known)))
        return cls(info, tuple(entries), b"".join(rows), b"".join(heads))

    def encode(self) -> bytes:
        """The bytes whose hash is the bundle's id."""
        info = self.info.encode()
        counts = (len(self.entries), len(self.needs_rows) // _NEED.size, len(self.known_rows) // _KNOWN.size)
        rows = [_ENTRY.pack(e.sort, bytes(7), bytes.fromhex(e.id), e.offset, e.size) for e in self.entries]
        head = _INDEX.pack(_INDEX_MAGIC, 1, _ZERO, len(info), *counts)
        return b"".join((head, info, *rows, self.needs_rows, self.known_rows))

    @classmethod
    def decode(cls, data: bytes, lead: Lead) -> Index:
        """Parse and check the index of the bundle that `lead` begins. Raises Corrupt or Unsupported."""
        if not _INDEX.size <= len(data) == lead.index or hash_bytes(data) != lead.bundle:
            raise Corrupt("its index is damaged")
        magic, version, zero, n_info, n_entries, n_needs, n_known = _INDEX.unpack_from(data)
        if magic != _INDEX_MAGIC or zero != _ZERO:
            raise Corrupt("it has no index")
        if version != 1:
            raise Unsupported(f"its index has version {version}: a newer version of the program wrote it")
        if (
            n_info > layout.BUNDLE_INFO_MAX
            or n_entries > layout.BUNDLE_FILES_MAX
            or max(n_needs, n_known) > layout.BUNDLE_ROWS_MAX
        ):
            raise Corrupt(f"its index claims {n_entries} files, {n_needs} and {n_known} rows: over the limit")
        at = [_INDEX.size]
        for size in (n_info, n_entries * _ENTRY.size, n_needs * _NEED.size, n_known * _KNOWN.size):
            at.append(at[-1] + size)
        if at[-1] != len(data):
            raise Corrupt("its index is not as long as its counts say")
        info, entries, needs, known = (data[start:end] for start, end in pairwise(at))
        index = cls(Info.decode(info), tuple(_entries(entries)), needs, known)
        index._check(lead)
        return index

    def needs(self) -> Iterator[tuple[ObjectId, Kind, Prerequisite | None]]:
        """The objects that the bundle rests on, each with its kind and a head that reaches it, if that is named."""
        for object_id, kind, _, holder in _NEED.iter_unpack(self.needs_rows):
            yield ObjectId(object_id), Kind(kind), None if holder == _NOBODY else self.info.named[holder]

    def known(self) -> Iterator[tuple[str, ObjectId]]:
        """The heads, as (key, commit id), that whoever reads the bundle is taken to have."""
        for key, commit in _KNOWN.iter_unpack(self.known_rows):
            yield key.hex(), ObjectId(commit)

    def _check(self, lead: Lead) -> None:
        at = 0
        for entry in self.entries:  # files touch: else one byte could be claimed a million times
            if entry.offset != at or not 0 < entry.size <= _SIZE_MAX[entry.sort]:
                raise Corrupt("its index has a file that does not lie where the one before it ends")
            at += entry.size
        if at + lead.index != lead.content:
            raise Corrupt(f"its index lists {at} bytes of files, which is not what its lead says")
        if len({(e.sort, e.id) for e in self.entries}) != len(self.entries):
            raise Corrupt("its index lists a file twice")
        if sum(e.sort is Sort.FORMAT for e in self.entries) != 1:
            raise Corrupt("its index lists no format, or several")
        _check_rows(self.needs_rows, _NEED.size, 32)
        _check_rows(self.known_rows, _KNOWN.size, 48)
        named, kinds = len(self.info.named), {int(kind) for kind in Kind}
        for _, kind, zero, holder in _NEED.iter_unpack(self.needs_rows):
            if kind not in kinds or zero != _ZERO or not (holder < named or holder == _NOBODY):
                raise Corrupt("its index has a damaged row")


def _entries(rows: bytes) -> Iterator[Entry]:
    for sort, zero, digest, offset, size in _ENTRY.iter_unpack(rows):
        if sort not in _SIZE_MAX or zero != bytes(7):
            raise Corrupt("its index lists a file of an unknown sort")
        yield Entry(Sort(sort), digest.hex(), offset, size)


def _check_rows(rows: bytes, size: int, key: int) -> None:
    keys = (rows[at : at + key] for at in range(0, len(rows), size))
    if any(a >= b for a, b in pairwise(keys)):
        raise Corrupt("its index has rows that are not in order")
