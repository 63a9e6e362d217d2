"""Head files and head tables: which commits are the newest of their key, and which packs a remote claims.

A head file is the raw bytes of one commit, named by key and commit id. A table is one immutable file of many heads
and pack footers, named by the hash of its bytes. Nothing here is overwritten, locked or removed.
"""

from __future__ import annotations

import os
import stat
import struct
import sys
from array import array
from collections.abc import ItemsView, Iterable, Iterator, Mapping, Sequence, ValuesView
from dataclasses import dataclass, field
from itertools import accumulate, chain, pairwise
from operator import lt
from pathlib import Path
from typing import BinaryIO, Final, overload

from objstore import layout
from objstore.errors import Corrupt, InvalidName, StoreError, Unsupported
from objstore.ids import Kind, ObjectId, hash_bytes, hash_object
from objstore.records import Commit, canonical, check_count, parse_canonical
from objstore.zstd import compress, decompress

_HEAD: Final = struct.Struct("<4sB3sIII")
_MAGIC: Final = b"OSTB"
_ROW: Final = struct.Struct("<16s32sQI")
_NAME: Final = 48  # bytes of a row: key and commit id
_PACK_ROW: Final = struct.Struct("<32sI")
_LEVEL: Final = 3
_TRIES: Final = 16  # listings, when tables vanish between being listed and being read
_ZERO: Final = bytes(3)


class Head:
    """One commit that is, or was, the newest of its key. `raw` is checked against `id` when `commit` is first read.

    where: the file it was read from, for messages. Not to be changed; no frozen dataclass, since a hundred thousand are
    made to list a store.
    """

    __slots__ = ("_commit", "_raw", "id", "key", "where")

    def __init__(self, key: str, id: ObjectId, raw: bytes | PackedHeads, where: str) -> None:
        self.key = key
        self.id = id
        self.where = where
        self._raw = raw
        self._commit: Commit | None = None

    @property
    def raw(self) -> bytes:
        """The bytes of its commit, as stored. Raises Corrupt when its table cannot give them."""
        if not isinstance(self._raw, bytes):
            self._raw = self._raw.raw_of(self)
        return self._raw

    @property
    def commit(self) -> Commit:
        """The record. Raises Corrupt when the bytes are not those of `id` and `key`."""
        if self._commit is None:
            if hash_object(Kind.COMMIT, self.raw) != self.id:
                raise Corrupt(f"{self.where}: the head of {self.key} is not the commit {self.id}")
            commit = Commit.decode(self.raw)
            if commit.key != self.key:
                raise Corrupt(f"{self.where}: a commit of {commit.key} stands as a head of {self.key}")
            self._commit = commit
        return self._commit

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Head):
            return NotImplemented
        return (self.key, self.id, self.where, self.raw) == (other.key, other.id, other.where, other.raw)

    def __hash__(self) -> int:
        return hash((self.key, self.id))

    def __repr__(self) -> str:
        return f"Head({self.key}, {self.id}, {self.where})"


def covers(a: Mapping[str, int], b: Mapping[str, int]) -> bool:
    """Whether cover `a` holds all that `b` holds: no writer's number in `b` is greater than in `a`."""
    return all(a.get(writer, 0) >= number for writer, number in b.items())


def living(heads: Iterable[Head]) -> list[Head]:
    """The heads of one key that no other covers, sorted by id.

    Of two with equal cover the one of higher generation lives, then the one of smaller id: whoever asks, in whatever
    order the heads came, the answer is the same. Raises Corrupt for more diverged heads than anybody could fold.
    """
    alive: list[Head] = []
    looks, room = 0, layout.COVERS_MAX
    # Of equals the one that lives comes first, so whatever an earlier one covers is dead. Comparing with the living is
    # enough, since what killed a head covers all that it covered: a thousand old heads cost a thousand looks.
    for head in sorted({h.id: h for h in heads}.values(), key=lambda h: (-h.commit.generation, h.id)):
        mine = head.commit.covers
        cost = layout.COVERS_LOOK + len(mine)
        looks += 2 * len(alive) * cost
        room += 4 * cost  # with one or two alive any number of dead ones is sorted out
        if looks > room:
            raise Corrupt(
                f"{head.where}: {len(alive)} and more heads of {head.key} each hold what no other does, and no run "
                "diverges so far: remove those that came from elsewhere"
            )
        if not any(covers(other.commit.covers, mine) for other in alive):
            alive = [other for other in alive if not covers(mine, other.commit.covers)]
            alive.append(head)
    return sorted(alive, key=lambda h: h.id)


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


class LiveHeads(Mapping[str, list[Head]]):
    """The living heads by key. Those that are alone in a table are made when they are asked for."""

    __slots__ = ("_heads", "_rows", "_tables")

    def __init__(
        self, heads: dict[str, list[Head]], rows: dict[bytes, PackedHeads], tables: list[PackedHeads]
    ) -> None:
        self._heads = heads
        self._rows = rows  # keys (16 bytes) of the others, and which of `tables` holds each
        self._tables = tables

    def __len__(self) -> int:
        return len(self._heads) + len(self._rows)

    def __iter__(self) -> Iterator[str]:
        return chain(self._heads, (key.hex() for key in self._rows))

    def __getitem__(self, key: str) -> list[Head]:
        found = self._heads.get(key)
        if found is None and layout.is_key(key) and (table := self._rows.get(bytes.fromhex(key))):
            found = table.of(key)
        if found is None:
            raise KeyError(key)
        return found

    def pairs(self) -> Iterator[tuple[str, list[Head]]]:
        """Every key with its heads, without a search for each."""
        yield from self._heads.items()
        every = len(self._rows) == sum(map(len, self._tables))
        for table in self._tables:
            for head in table:
                if every or self._rows.get(bytes.fromhex(head.key)) is table:
                    yield head.key, [head]

    def items(self) -> ItemsView[str, list[Head]]:
        """Keys with their heads."""
        return _Items(self)

    def values(self) -> ValuesView[list[Head]]:
        """The heads of each key."""
        return _Values(self)


class _Items(ItemsView[str, list[Head]]):
    _mapping: LiveHeads

    def __iter__(self) -> Iterator[tuple[str, list[Head]]]:
        return self._mapping.pairs()


class _Values(ValuesView[list[Head]]):
    _mapping: LiveHeads

    def __iter__(self) -> Iterator[list[Head]]:
        return (heads for _, heads in self._mapping.pairs())


class Heads:
    """All heads in a store's folder. Reading caches what cannot change: files never do."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files: dict[str, Head] = {}
        self._tables: dict[str, Table] = {}  # those last seen that none covers
        self.damaged: dict[str, str] = {}  # relative path -> what is wrong with it

    def all(self) -> dict[str, list[Head]]:
        """Every head, dead ones too, by key. Lists refs/ before refs.packed/: a fold moves heads in that order."""
        self.damaged = {}
        found: dict[str, list[Head]] = {}
        for head in self.loose():
            found.setdefault(head.key, []).append(head)
        for table in self.uncovered().values():
            for head in table.heads:
                if (several := found.get(head.key)) is None:
                    found[head.key] = [head]
                else:
                    several.append(head)
        return found

    def live(self) -> LiveHeads:
        """The living heads by key; more than one where histories diverged. Damaged heads are left out and noted.

        One that is alone in a table is not even parsed, since the table's hash pins its bytes: should its writer have
        put something else there, `commit` raises Corrupt. `sound` sorts such heads out.
        """
        self.damaged = {}
        loose: dict[str, list[Head]] = {}
        for head in self.loose():
            loose.setdefault(head.key, []).append(head)
        tables = [table.packed() for table in self.uncovered().values()]
        rows: dict[bytes, PackedHeads] = {}
        several = {bytes.fromhex(key) for key in loose}
        for table in tables:
            keys = [name[:16] for name in table.names()]
            here = dict.fromkeys(keys, table)
            if len(here) < len(keys):
                several.update(a for a, b in pairwise(keys) if a == b)
            several |= here.keys() & rows.keys()
            rows.update(here)
        found: dict[str, list[Head]] = {}
        for each in several:
            rows.pop(each, None)
            key = each.hex()
            heads = [*loose.get(key, ()), *(head for table in tables for head in table.of(key))]
            if alive := self._living(heads):
                found[key] = alive
        return LiveHeads(found, rows, tables)

    def of(self, key: str) -> list[Head]:
        """The living heads of one key; of the others only names are read. Damaged ones are left out and noted."""
        loose = [head for where, found in self._listed(key) if (head := self._head(where, *found))]
        packed = [head for table in self.uncovered().values() for head in table.packed().of(key)]
        return self._living([*loose, *packed])

    def sound(self, heads: Iterable[Head]) -> list[Head]:
        """Those of `heads` whose commit can be read; the others are noted as damaged."""
        sound = []
        for head in heads:
            try:
                head.commit  # noqa: B018  reading it is the check
            except StoreError as error:
                self.damaged[head.where] = str(error)
                self._files.pop(head.where, None)  # so that a sound copy is seen once it is there
            else:
                sound.append(head)
        return sound

    def loose(self) -> list[Head]:
        """Every readable head that is a file of its own, dead ones too. What `where` names holds it."""
        seen: dict[str, Head] = {}
        for where, found in self._listed():
            if (head := self._head(where, *found)) is not None:
                seen[where] = head
        self._files = seen
        return list(seen.values())

    def names(self) -> dict[str, tuple[str, str]]:
        """Where each head is that is a file of its own, and which key and commit it is named for. Reads none."""
        return dict(self._listed())

    def at(self, where: str, key: str, commit_id: str) -> Head | None:
        """One of those that `names` lists; None where it is gone or damaged, which is noted."""
        return self._head(where, key, commit_id)

    def count_loose(self) -> int:
        """How many heads are files of their own, at most: other files in their folders are counted, too."""
        base = self._root / layout.REFS
        return sum(len(_listing(base / label)) for label in _listing(base))

    def tables(self) -> dict[str, Table]:
        """Every readable table by id, covered ones too."""
        found = self.uncovered()
        for table_id in self.table_ids():
            if table_id not in found and (table := self._read_table(table_id)) is not None:
                found[table_id] = table
        return found

    def uncovered(self) -> dict[str, Table]:
        """The readable tables that no other covers, by id. Large ones are read first: they cover small ones unread."""
        for _ in range(_TRIES):
            present = self.table_ids()
            known = {table_id: table for table_id, table in self._tables.items() if table_id in present}
            covered = {c for table in known.values() for c in table.covers}
            gone = False
            for table_id in sorted(present - known.keys() - covered, key=self._table_size, reverse=True):
                if table_id in covered:
                    continue
                if (table := self._read_table(table_id)) is not None:
                    known[table_id] = table
                    covered.update(table.covers)
                elif layout.table_path(table_id) not in self.damaged:
                    gone = True
            self._tables = uncovered(known)
            if not gone:  # else a table was folded into another one since the listing
                break
        return dict(self._tables)

    def table_ids(self) -> set[str]:
        """The tables that are there, by name only."""
        names = map(layout.parse_table_name, _listing(self._root / layout.TABLES))
        return {table_id for table_id in names if table_id is not None}

    def _table_size(self, table_id: str) -> int:
        try:
            return (self._root / layout.table_path(table_id)).stat().st_size
        except OSError:
            return 0

    def _read_table(self, table_id: str) -> Table | None:
        where = layout.table_path(table_id)
        try:
            with _opened(self._root / where) as file:
                if (size := os.fstat(file.fileno()).st_size) > layout.TABLE_MAX:
                    raise Corrupt(
                        f"table {table_id} has {size} bytes, more than the {layout.TABLE_MAX} it may"
                    )
                return Table.decode(file.read(), table_id, lazy=True)
        except FileNotFoundError:
            return None
        except (StoreError, OSError) as error:
            self.damaged[where] = str(error)
            return None

    def _living(self, heads: list[Head]) -> list[Head]:
        sound = self.sound(heads)
        try:
            return sound if len(sound) < 2 else living(sound)
        except Corrupt as error:
            self.damaged[f"{layout.REFS}, heads of {sound[0].key}"] = str(error)
            return []

    def _listed(self, key: str = "") -> Iterator[tuple[str, tuple[str, str]]]:
        """The head files (of one key) by name: where each is, and what it is named for."""
        base = self._root / layout.REFS
        for label in _listing(base):
            for name in _listing(base / label):
                if name.startswith(key) and (found := layout.parse_head_name(name)) is not None:
                    yield f"{layout.REFS}/{label}/{name}", found

    def _head(self, where: str, key: str, commit_id: str) -> Head | None:
        return self._files.get(where) or self._read(where, key, commit_id)

    def _read(self, where: str, key: str, commit_id: str) -> Head | None:
        try:
            with _opened(self._root / where) as file:
                raw = file.read(layout.RECORD_MAX + 1)
        except FileNotFoundError:
            return None  # folded away since the listing; its table is read after this
        except (Corrupt, OSError) as error:
            self.damaged[where] = str(error)
            return None
        return Head(key, ObjectId.parse(commit_id), raw, where)


def _opened(path: Path) -> BinaryIO:
    """A regular file. Not blocking: a pipe that bears a head's name would wait for a writer for ever."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
    file = os.fdopen(fd, "rb")
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        file.close()
        raise Corrupt(f"{path} is no regular file")
    return file


def _listing(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []
