"""Brings the tables up to date with the heads: reads the state of what is new, and nothing else.

What was seen is one note: the names of all head files and tables. While it is what is listed, nothing is read at all.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import orjson

from objstore.errors import StoreError
from objstore.heads import Head, living
from objstore.ids import Kind, ObjectId
from objstore.store import Store
from tracker.errors import CorruptRecord
from tracker.projection.facts import facts
from tracker.projection.rows import Writer
from tracker.reader import read_state
from tracker.state import merge

_SEEN: Final = "seen"
_ID: Final = 32  # bytes

Told = Callable[[int, int], None]  # how many states were read, and of how many


@dataclass(frozen=True, slots=True)
class Listing:
    """The names of all heads: loose ones with the key and the commit each is named for, and tables."""

    loose: dict[str, tuple[str, str]]
    tables: frozenset[str]

    @classmethod
    def of(cls, store: Store) -> Listing:
        """What is there now. Loose heads are listed first: a fold moves them in that order."""
        loose = store.heads.names()
        return cls(loose, frozenset(store.heads.table_ids()))

    def record(self, damaged: Iterable[str]) -> bytes:
        """What to remember: all but what could not be read, so that it is tried again."""
        bad = set(damaged)
        tables = [t for t in sorted(self.tables) if not any(t in where for where in bad)]
        return orjson.dumps([sorted(self.loose.keys() - bad), tables])


def seen(connection: sqlite3.Connection) -> tuple[frozenset[str], frozenset[str]]:
    """The head files and tables that the tables are up to date with."""
    row = connection.execute("SELECT value FROM note WHERE what = ?", (_SEEN,)).fetchone()
    if row is None:
        return frozenset(), frozenset()
    loose, tables = orjson.loads(row[0])
    return frozenset(loose), frozenset(tables)


def is_fresh(connection: sqlite3.Connection, listing: Listing) -> bool:
    """Whether nothing has to be read."""
    if seen(connection) != (frozenset(listing.loose), listing.tables):
        return False
    return connection.execute("SELECT 1 FROM damaged LIMIT 1").fetchone() is None


def refresh(connection: sqlite3.Connection, store: Store, told: Told | None = None) -> dict[str, str]:
    """Bring the tables up to date, in one transaction; returns what could not be read, and why.

    Raises sqlite3.Error, OSError.
    """
    with _transaction(connection):
        listing = Listing.of(store)  # again: another process may have seen later heads meanwhile
        if is_fresh(connection, listing):
            return {}
        before_loose, before_tables = seen(connection)
        pass_ = _Pass(connection, store, listing, told)
        if listing.tables == before_tables:
            pass_.some(before_loose)
        else:
            pass_.whole()
        pass_.flush()
        unread = dict(store.heads.damaged)
        note = (_SEEN, listing.record(unread))
        connection.execute("INSERT OR REPLACE INTO note VALUES (?, ?)", note)
        return unread


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.rollback()
        raise
    connection.execute("COMMIT")


class _Pass:
    """One refresh."""

    def __init__(
        self, connection: sqlite3.Connection, store: Store, listing: Listing, told: Told | None
    ) -> None:
        self._connection = connection
        self._store = store
        self._listing = listing
        empty = connection.execute("SELECT 1 FROM thing LIMIT 1").fetchone() is None
        self._writer = Writer(connection, empty=empty)
        self._told = told

    def flush(self) -> None:
        """Write what waits to be written."""
        self._writer.flush()

    def whole(self) -> None:
        """Compare all heads with what is known: the tables of heads are not the same."""
        known = dict(self._connection.execute("SELECT key, heads FROM thing"))
        every = self._store.heads.live().items()
        changed = {key: heads for key, heads in every if known.pop(key, None) != _ids(heads)}
        for key in known:
            self._writer.remove(key)
        # In the order in which they were stored, what lies together is decompressed together.
        for done, (key, heads) in enumerate(sorted(changed.items(), key=lambda item: _stamp(item[1]))):
            self._read(key, heads)
            if self._told is not None:
                self._told(done + 1, len(changed))

    def some(self, before: frozenset[str]) -> None:
        """Look at the things of which head files came or went, and at those that could not be read before."""
        from objstore.layout import parse_head_name

        loose = self._listing.loose
        keys = {loose[where][0] for where in loose.keys() - before}
        gone = [
            found for where in before - loose.keys() if (found := parse_head_name(where.rpartition("/")[2]))
        ]
        lost = {key for key, commit in gone if bytes.fromhex(commit) in _split(self._known(key))}
        damaged = {row[0] for row in self._connection.execute("SELECT key FROM damaged")}
        for key in sorted(keys | lost | damaged):
            heads = self._of(key, in_tables=key in lost or key in damaged)
            if not heads:
                self._writer.remove(key)
            elif heads and (key in damaged or _ids(heads) != self._known(key)):
                self._read(key, heads)

    def _of(self, key: str, *, in_tables: bool) -> list[Head]:
        """The living heads of one thing, without reading a table of heads unless it must."""
        heads = self._store.heads
        if in_tables:
            return heads.of(key)
        found = [heads.at(where, *name) for where, name in self._listing.loose.items() if name[0] == key]
        sound = heads.sound(head for head in found if head is not None)
        try:
            sound += commits(self._store, key, self._known(key), {head.id for head in sound})
            return living(sound)
        except StoreError:
            return heads.of(key)

    def _known(self, key: str) -> bytes:
        row = self._connection.execute("SELECT heads FROM thing WHERE key = ?", (key,)).fetchone()
        return b"" if row is None else bytes(row[0])

    def _read(self, key: str, heads: list[Head]) -> None:
        try:
            state = merge(read_state(self._store, head.commit) for head in heads)
            self._writer.put(key, facts(key, state), _ids(heads))
        except (StoreError, CorruptRecord, OSError) as error:
            self._writer.put_damaged(key, str(error))


def commits(store: Store, key: str, ids: bytes, but: Iterable[Any] = ()) -> list[Head]:
    """Heads by their commits' ids, as the packs have them. Raises StoreError."""
    wanted = [each for each in _split(ids) if each not in but]
    read = store.objects.read
    return [Head(key, ObjectId(i), read(ObjectId(i), Kind.COMMIT), f"commit {i.hex()}") for i in wanted]


def _stamp(heads: Iterable[Head]) -> int:
    try:
        return max(head.commit.stamp for head in heads)
    except StoreError:
        return 0  # the same error comes again where it is told


def _ids(heads: Iterable[Head]) -> bytes:
    return b"".join(sorted(head.id for head in heads))


def _split(ids: bytes) -> list[bytes]:
    return [ids[at : at + _ID] for at in range(0, len(ids), _ID)]
