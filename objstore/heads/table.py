"""Head tables: many heads and pack footers in one immutable file, named by the hash of its bytes. Pure: bytes in, bytes
out.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from operator import lt
from typing import Final, overload

from objstore import layout
from objstore.errors import Corrupt, InvalidName, StoreError, Unsupported
from objstore.heads.head import Head
from objstore.ids import ObjectId, hash_bytes
from objstore.records import canonical, check_count, parse_canonical
from objstore.zstd import compress, decompress

_HEAD: Final = struct.Struct("<4sB3sIII")
_MAGIC: Final = b"OSTB"
_ROW: Final = struct.Struct("<16s32sQI")
_NAME: Final = 48  # bytes of a row: key and commit id
_PACK_ROW: Final = struct.Struct("<32sI")
_LEVEL: Final = 3
_ZERO: Final = bytes(3)


@dataclass(frozen=True)
class Table:
    """Many heads, the footers of the packs that are claimed, the tables it covers, and packs dropped since when.

    heads: sorted by key and id; packs: pack id (hex) to footer bytes; dropped: pack id to microseconds since the epoch.
    """

    heads: Sequence[Head] = ()
    packs: Mapping[str, bytes] = field(default_factory=dict)
    covers: tuple[str, ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)

    def packed(self) -> PackedHeads:
        """The heads as they lie in a table's file."""
        if isinstance(self.heads, PackedHeads):
            return self.heads
        data = self.encode()
        return Table.decode(data, hash_bytes(data).hex()).packed()

    def encode(self) -> bytes:
        """The bytes whose hash is the table's id. Raises StoreError when there is more than one table can hold."""
        heads = sorted({(h.key, h.id): h for h in self.heads}.values(), key=lambda h: (h.key, h.id))
        raw = b"".join(h.raw for h in heads)
        if len(raw) > layout.HEADS_MAX:
            raise StoreError(f"{len(heads)} heads of {len(raw)} bytes do not fit one table: write several")
        stored = compress(raw, _LEVEL)
        packs = sorted(self.packs.items())
        info = canonical(
            {
                "covers": sorted(self.covers),
                "dropped": dict(self.dropped),
                "heads_size": len(raw),
                "heads_stored": len(stored),
                "v": 1,
            }
        )
        parts = [_HEAD.pack(_MAGIC, 1, _ZERO, len(info), len(heads), len(packs)), info]
        offset = 0
        for head in heads:
            parts.append(_ROW.pack(bytes.fromhex(head.key), head.id, offset, len(head.raw)))
            offset += len(head.raw)
        parts.append(stored)
        parts += [_PACK_ROW.pack(bytes.fromhex(pack_id), len(footer)) for pack_id, footer in packs]
        parts += [footer for _, footer in packs]
        if (size := sum(map(len, parts))) > layout.TABLE_MAX:
            raise StoreError(
                f"a table of {size} bytes is over the limit of {layout.TABLE_MAX}: write several"
            )
        return b"".join(parts)

    @classmethod
    def decode(cls, data: bytes, table_id: str, *, lazy: bool = False) -> Table:
        """Parse bytes that must hash to `table_id`. Raises Corrupt or Unsupported.

        lazy: the heads' contents are decompressed when the first of them is read, which raises Corrupt then.
        """
        if hash_bytes(data).hex() != table_id:
            raise Corrupt(f"table {table_id} does not hold what its name stands for")
        try:
            table, heads = cls._parse(data, layout.table_path(table_id))
        except (struct.error, KeyError, TypeError, AttributeError, InvalidName) as error:
            raise Corrupt(f"table {table_id} is damaged: {error}") from error
        if not lazy:
            heads.unpack()
        return table

    @classmethod
    def _parse(cls, data: bytes, where: str) -> tuple[Table, PackedHeads]:
        magic, version, zero, info_size, n_heads, n_packs = _HEAD.unpack_from(data)
        if magic != _MAGIC or zero != _ZERO:
            raise Corrupt(f"{where} is not a head table")
        if version != 1:
            raise Unsupported(f"{where} has version {version}: a newer version of the program wrote it")
        at = _HEAD.size + info_size
        info = parse_canonical(data[_HEAD.size : at], where)
        rows = data[at : at + n_heads * _ROW.size]
        at += len(rows)
        size, stored = check_count(info["heads_size"]), data[at : at + check_count(info["heads_stored"])]
        at += len(stored)
        if check_count(info["v"]) != 1 or size > layout.HEADS_MAX:
            raise Corrupt(f"{where} claims {size} bytes of heads")
        _check_rows(rows, n_heads, size, where)
        heads = PackedHeads(rows, stored, size, where)
        packs = _parse_packs(data, at, n_packs, where)
        tables = tuple(str(ObjectId.parse(t)) for t in info["covers"])
        dropped = {str(ObjectId.parse(p)): check_count(n) for p, n in info["dropped"].items()}
        return cls(heads, packs, tables, dropped), heads


class PackedHeads(Sequence[Head]):
    """The heads of a table, as they lie in it: sorted by key and id, each made when it is asked for."""

    __slots__ = ("_raw", "_rows", "_size", "_stored", "_where")

    def __init__(self, rows: bytes, stored: bytes, size: int, where: str) -> None:
        self._rows = rows
        self._stored = stored
        self._size = size
        self._where = where
        self._raw: bytes | None = None

    def __len__(self) -> int:
        return len(self._rows) // _ROW.size

    @overload
    def __getitem__(self, index: int) -> Head: ...
    @overload
    def __getitem__(self, index: slice) -> list[Head]: ...
    def __getitem__(self, index: int | slice) -> Head | list[Head]:
        if isinstance(index, slice):
            return [self[row] for row in range(*index.indices(len(self)))]
        at = range(len(self))[index] * _ROW.size
        name = self._rows[at : at + _NAME]
        return Head(name[:16].hex(), ObjectId(name[16:]), self, self._where)

    def __iter__(self) -> Iterator[Head]:
        as_id, where = bytes.__new__, self._where
        for name in self.names():
            # Not by its constructor: 32 bytes they are, and the check takes longer than all else.
            yield Head(name[:16].hex(), as_id(ObjectId, name[16:]), self, where)

    @property
    def size(self) -> int:
        """Bytes of all heads together."""
        return self._size

    def names(self) -> list[bytes]:
        """The key (16 bytes) and id (32 bytes) of each, in order."""
        rows = self._rows
        return [rows[at : at + _NAME] for at in range(0, len(rows), _ROW.size)]

    def of(self, key: str) -> list[Head]:
        """The heads of one key, found by bisection."""
        wanted, found = bytes.fromhex(key), []
        for row in range(self._find(wanted), len(self)):
            if not self._rows.startswith(wanted, row * _ROW.size):
                break
            found.append(self[row])
        return found

    def raw_of(self, head: Head) -> bytes:
        """The bytes of one of them. Raises Corrupt."""
        row = self._find(bytes.fromhex(head.key) + head.id)
        *_, at, size = _ROW.unpack_from(self._rows, row * _ROW.size)
        return self.unpack()[at : at + size]

    def unpack(self) -> bytes:
        """The bytes of all of them. Raises Corrupt."""
        if self._raw is None:
            raw = decompress(self._stored, self._size)
            if len(raw) != self._size:
                raise Corrupt(
                    f"{self._where} has {len(raw)} bytes of heads, not the {self._size} it should have"
                )
            self._raw, self._stored = raw, b""
        return self._raw

    def _find(self, name: bytes) -> int:
        """The first row whose name is `name` or greater."""
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            at = middle * _ROW.size
            if self._rows[at : at + _NAME] < name:
                low = middle + 1
            else:
                high = middle
        return low


def _check_rows(rows: bytes, count: int, size: int, where: str) -> None:
    """Raise Corrupt unless there are `count` rows in order, whose heads touch and have `size` bytes together."""
    if len(rows) != count * _ROW.size:
        raise Corrupt(f"{where} is cut short")
    numbers = array("I", rows)  # of 32 bits: 15 a row, the last three its offset, in two halves, and its size
    if sys.byteorder == "big":
        numbers.byteswap()
    low, high, sizes = numbers[12::15], numbers[13::15], numbers[14::15].tolist()
    # Else one byte could be claimed a million times.
    if any(high) or low.tolist() != list(accumulate(sizes, initial=0))[:-1] or sum(sizes) != size:
        raise Corrupt(f"{where} has a head outside its bytes")
    names = [rows[at : at + _NAME] for at in range(0, len(rows), _ROW.size)]
    if not all(map(lt, names, names[1:])):
        raise Corrupt(f"{where} has heads that are not in order")


def _parse_packs(data: bytes, at: int, count: int, where: str) -> dict[str, bytes]:
    rows = list(_PACK_ROW.iter_unpack(data[at : at + count * _PACK_ROW.size]))
    at += count * _PACK_ROW.size
    packs: dict[str, bytes] = {}
    for pack_id, size in rows:
        packs[pack_id.hex()] = data[at : at + size]
        at += size
    if at != len(data) or len(rows) != count or list(packs) != sorted(packs) or len(packs) != count:
        raise Corrupt(
            f"{where} is {len(data)} bytes long or lists packs in a way that is not what its head says"
        )
    return packs


def table_sizes(data: bytes, where: str) -> tuple[int, int]:
    """How many heads a table holds, and of how many bytes, as its first KiB says: before all of it is read.

    Raises Corrupt, Unsupported.
    """
    try:
        magic, version, zero, info_size, n_heads, _ = _HEAD.unpack_from(data)
        if magic != _MAGIC or zero != _ZERO:
            raise Corrupt(f"{where} is not a head table")
        if version != 1:
            raise Unsupported(f"{where} has version {version}: a newer version of the program wrote it")
        info = parse_canonical(data[_HEAD.size : _HEAD.size + info_size], where)
        return int(n_heads), check_count(info["heads_size"])
    except (struct.error, KeyError, TypeError) as error:
        raise Corrupt(f"{where} is damaged: {error}") from error


def uncovered(tables: Mapping[str, Table]) -> dict[str, Table]:
    """The tables that no other of them covers."""
    gone = {covered for table in tables.values() for covered in table.covers}
    return {table_id: table for table_id, table in tables.items() if table_id not in gone}


def batches(heads: Iterable[Head]) -> Iterator[list[Head]]:
    """Heads in as many parts as one table each can hold."""
    batch, size = list[Head](), 0
    for head in heads:
        if batch and size + len(head.raw) > layout.HEADS_MAX:
            yield batch
            batch, size = [], 0
        batch.append(head)
        size += len(head.raw)
    if batch:
        yield batch


def latest(dropped: Mapping[str, int]) -> dict[str, int]:
    """The packs that were given up last, as many as a table remembers."""
    last = sorted(dropped.items(), key=lambda item: (-item[1], item[0]))
    return dict(last[: layout.DROPPED_MAX])
