"""All heads of a store's folder, files and tables, as one. Nothing here is overwritten, locked or removed."""

from __future__ import annotations

import os
from collections.abc import ItemsView, Iterable, Iterator, Mapping, ValuesView
from itertools import chain, pairwise
from pathlib import Path
from typing import BinaryIO, Final

from objstore import layout
from objstore.errors import Corrupt, StoreError
from objstore.heads.head import Head, living
from objstore.heads.table import PackedHeads, Table, uncovered
from objstore.ids import ObjectId
from objstore.reading import open_regular

_TRIES: Final = 16  # listings, when tables vanish between being listed and being read


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
    return os.fdopen(open_regular(path), "rb")


def _listing(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []
