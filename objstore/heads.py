"""Head files and head tables: which commits are the newest of their key, and which packs a remote claims.

A head file is the raw bytes of one commit, named by key and commit id. A table is one immutable file of many heads
and pack footers, named by the hash of its bytes. Nothing here is overwritten, locked or removed.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, Final

from objstore import layout
from objstore.errors import Corrupt, InvalidName, StoreError, Unsupported
from objstore.ids import Kind, ObjectId, hash_bytes, hash_object
from objstore.records import Commit, canonical, check_count, parse_canonical
from objstore.zstd import compress, decompress

_HEAD: Final = struct.Struct("<4sB3sIII")
_MAGIC: Final = b"OSTB"
_ROW: Final = struct.Struct("<16s32sQI")
_PACK_ROW: Final = struct.Struct("<32sI")
_LEVEL: Final = 3
_ZERO: Final = bytes(3)


@dataclass(frozen=True)
class Head:
    """One commit that is, or was, the newest of its key. `raw` is checked against `id` when `commit` is first read."""

    key: str
    id: ObjectId
    raw: bytes
    where: str  # the file it was read from, for messages

    @cached_property
    def commit(self) -> Commit:
        """The record. Raises Corrupt when the bytes are not those of `id` and `key`."""
        if hash_object(Kind.COMMIT, self.raw) != self.id:
            raise Corrupt(f"{self.where}: the head of {self.key} is not the commit {self.id}")
        commit = Commit.decode(self.raw)
        if commit.key != self.key:
            raise Corrupt(f"{self.where}: a commit of {commit.key} stands as a head of {self.key}")
        return commit


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

    heads: tuple[Head, ...] = ()
    packs: Mapping[str, bytes] = field(default_factory=dict)
    covers: tuple[str, ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)

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
    def decode(cls, data: bytes, table_id: str) -> Table:
        """Parse bytes that must hash to `table_id`. Raises Corrupt or Unsupported."""
        if hash_bytes(data).hex() != table_id:
            raise Corrupt(f"table {table_id} does not hold what its name stands for")
        try:
            return cls._parse(data, layout.table_path(table_id))
        except (struct.error, KeyError, TypeError, AttributeError, InvalidName) as error:
            raise Corrupt(f"table {table_id} is damaged: {error}") from error

    @classmethod
    def _parse(cls, data: bytes, where: str) -> Table:
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
        heads = _parse_heads(rows, n_heads, decompress(stored, size), size, where)
        packs = _parse_packs(data, at, n_packs, where)
        tables = tuple(str(ObjectId.parse(t)) for t in info["covers"])
        dropped = {str(ObjectId.parse(p)): check_count(n) for p, n in info["dropped"].items()}
        return cls(heads, packs, tables, dropped)


def _parse_heads(rows: bytes, count: int, raw: bytes, size: int, where: str) -> tuple[Head, ...]:
    heads, at = [], 0
    for key, commit_id, offset, length in _ROW.iter_unpack(rows):
        if offset != at:  # heads touch: else one byte could be claimed a million times
            raise Corrupt(f"{where} has a head outside its bytes")
        at += length
        heads.append(Head(key.hex(), ObjectId(commit_id), raw[offset:at], where))
    if len(heads) != count or not at == size == len(raw):
        raise Corrupt(f"{where} has {len(raw)} bytes of heads, which is not what its head says")
    if any((a.key, a.id) >= (b.key, b.id) for a, b in pairwise(heads)):
        raise Corrupt(f"{where} has heads that are not in order")
    return tuple(heads)


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


def uncovered(tables: Mapping[str, Table]) -> dict[str, Table]:
    """The tables that no other of them covers."""
    gone = {covered for table in tables.values() for covered in table.covers}
    return {table_id: table for table_id, table in tables.items() if table_id not in gone}


class Heads:
    """All heads in a store's folder. Reading caches what cannot change: files never do."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files: dict[str, Head] = {}
        self._tables: dict[str, Table] = {}
        self.damaged: dict[str, str] = {}  # relative path -> what is wrong with it

    def all(self) -> dict[str, list[Head]]:
        """Every head, dead ones too, by key. Lists refs/ before refs.packed/: a fold moves heads in that order."""
        self.damaged = {}
        found: dict[str, list[Head]] = {}
        for head in self._loose():
            found.setdefault(head.key, []).append(head)
        for table in uncovered(self.tables()).values():
            for head in table.heads:
                found.setdefault(head.key, []).append(head)
        return found

    def live(self) -> dict[str, list[Head]]:
        """The living heads by key; more than one where histories diverged. Damaged heads are left out and noted."""
        return {key: alive for key, heads in self.all().items() if (alive := self._living(heads))}

    def of(self, key: str) -> list[Head]:
        """The living heads of one key."""
        return self._living(self.all().get(key, []))

    def tables(self) -> dict[str, Table]:
        """Every readable table by id."""
        found: dict[str, Table] = {}
        for name in _listing(self._root / layout.TABLES):
            table_id = layout.parse_table_name(name)
            table = self._tables.get(table_id) or self._read_table(table_id) if table_id else None
            if table_id and table:
                found[table_id] = table
        self._tables = found
        return found

    def _read_table(self, table_id: str) -> Table | None:
        where = layout.table_path(table_id)
        try:
            with _opened(self._root / where) as file:
                if (size := os.fstat(file.fileno()).st_size) > layout.TABLE_MAX:
                    raise Corrupt(
                        f"table {table_id} has {size} bytes, more than the {layout.TABLE_MAX} it may"
                    )
                return Table.decode(file.read(), table_id)
        except FileNotFoundError:
            return None
        except (StoreError, OSError) as error:
            self.damaged[where] = str(error)
            return None

    def _living(self, heads: list[Head]) -> list[Head]:
        sound = []
        for head in heads:
            try:
                head.commit  # noqa: B018  reading it is the check
            except StoreError as error:
                self.damaged[head.where] = str(error)
                self._files.pop(head.where, None)  # so that a sound copy is seen once it is there
            else:
                sound.append(head)
        try:
            return sound if len(sound) < 2 else living(sound)
        except Corrupt as error:
            self.damaged[f"{layout.REFS}, heads of {sound[0].key}"] = str(error)
            return []

    def _loose(self) -> list[Head]:
        seen: dict[str, Head] = {}
        base = self._root / layout.REFS
        for label in _listing(base):
            for name in _listing(base / label):
                parsed = layout.parse_head_name(name)
                if parsed is None:
                    continue
                where = f"{layout.REFS}/{label}/{name}"
                head = self._files.get(where) or self._read(where, *parsed)
                if head is not None:
                    seen[where] = head
        self._files = seen
        return list(seen.values())

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
