"""What is known of all tasks and models, as tables that answer a query: a projection of the heads, with the journals of
running tasks laid over it. It records nothing: its file can be deleted at any time, and is made again.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cmp_to_key
from pathlib import Path
from typing import Any, TypeVar

import zstandard

from tracker import layout
from tracker.deltas import Journal, journals
from tracker.errors import BadValue, CorruptRecord
from tracker.filters.grammar import BadQuery
from tracker.filters.terms import ALL, Order, Term
from tracker.index import Row
from tracker.projection import refresh as refreshing
from tracker.projection import rows, schema, sql
from tracker.projection.facts import Facts, facts
from tracker.projection.overlay import folded
from tracker.projection.places import path_of
from tracker.projection.refresh import Listing, Told
from tracker.reader import Reader

__all__ = ["Facts", "Found", "Projection", "Query"]

_T = TypeVar("_T")

# What a file says of itself that is damaged, foreign or of another version.
_DAMAGED = (sqlite3.Error, zstandard.ZstdError, KeyError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked. text: how it was typed, for errors; limit: None for all; kind: task or model."""

    term: Term = ALL
    orders: Sequence[Order] = ()
    offset: int = 0
    limit: int | None = None
    kind: str = layout.TASK
    text: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """What fits, in order, and how many fit in all."""

    facts: list[Facts]
    total: int

    @property
    def rows(self) -> list[Row]:
        """The same as rows of a table."""
        return [each.row for each in self.facts]


@dataclass(frozen=True, slots=True)
class _Hit:
    """A task that fits: where it is, and what it is sorted by."""

    connection: sqlite3.Connection
    n: int
    key: str
    updated: int
    values: tuple[Any, ...]


class Projection:
    """The tables of one store. Several threads may ask; each question is answered from the store as it is then."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._store = reader.store
        self._connection: sqlite3.Connection | None = None
        self._path: Path | None = None
        self._file: tuple[int, int] | None = None
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._unread: dict[str, str] = {}
        self.told: Told | None = None  # is told how far reading many states is

    # --- asking ------------------------------------------------------------------------------------------------------

    def find(self, query: Query) -> Found:
        """What fits a query: last changed first where nothing else is asked. Raises BadQuery, BadValue."""
        with self._lock:
            return self._safely(lambda: self._find(query))

    def ids(self, query: Query) -> tuple[list[str], int]:
        """The ids of what fits, in order, and how many fit in all: what else is known of them is not read."""

        def ask() -> tuple[list[str], int]:
            hits, total = self._fitting(query)
            return [hit.key for hit in hits], total

        with self._lock:
            return self._safely(ask)

    def projects(self) -> set[str]:
        """The names of all projects that have a task."""
        asked = "SELECT DISTINCT project FROM thing WHERE kind = 'task' AND NOT deleted"
        with self._lock:
            return self._safely(lambda: {row[0] for c in self._current()[0] for row in c.execute(asked)})

    def names(self, *sections: int) -> list[str]:
        """The names of all tags, parameters, metrics …; see `schema`."""
        with self._lock:
            return self._safely(lambda: sql.Names(self._current()[0]).every(*sections))

    def short_length(self, keys: Iterable[str], least: int = 8) -> int:
        """How many leading characters tell these ids from all others: at least `least`."""
        with self._lock:
            return self._safely(lambda: self._short_length(list(keys), least))

    @property
    def damaged(self) -> dict[str, str]:
        """What could not be read when it was last asked, and why."""
        with self._lock:
            if self._connection is None:
                return {}
            return {**dict(self._connection.execute("SELECT key, what FROM damaged")), **self._unread}

    def _safely(self, ask: Callable[[], _T]) -> _T:
        """Ask; where the file turns out to be damaged, once more with a new one, and then with one in memory."""
        if os.getpid() != self._pid:  # a connection is not to be used, nor closed, on both sides of a fork
            self._connection, self._pid = None, os.getpid()
        for again in (self._make_again, self._use_memory):
            try:
                return ask()
            except (BadValue, CorruptRecord):
                raise
            except (*_DAMAGED, OSError):
                again()
        return ask()

    def _find(self, query: Query) -> Found:
        hits, total = self._fitting(query)
        return Found(_facts(hits), total)

    def _fitting(self, query: Query) -> tuple[list[_Hit], int]:
        connections, hidden = self._current()
        names = sql.Names(connections)
        try:
            sql.check(query.term, names)
            for order in query.orders:
                if order.field.at is not None:
                    sql.check_name(order.field, names)
        except sql.UnknownName as error:
            if query.text and error.field.at and not any(o.field is error.field for o in query.orders):
                raise BadQuery(str(error), query.text, error.field.at) from None
            raise
        hits, total = list[_Hit](), 0
        for connection in connections:
            found, count = self._hits(connection, query, hidden if connection is self._connection else ())
            hits, total = hits + found, total + count
        if len(connections) > 1:
            hits.sort(key=cmp_to_key(_comparison(query.orders)))
        end = None if query.limit is None else query.offset + query.limit
        return hits[query.offset : end], total

    def _hits(
        self, connection: sqlite3.Connection, query: Query, hidden: Iterable[str]
    ) -> tuple[list[_Hit], int]:
        """What fits in one connection, as far as it can be among what is asked for, and how much fits in all."""
        compiler = sql.Compiler(connection)
        selected, ordered = compiler.order(query.orders)
        condition = compiler.where(query.term)
        compiler.values += [query.kind]
        condition += " AND t.kind = ? AND NOT t.deleted"
        if but := list(hidden):
            compiler.values.append(sql.listed(but))
            condition += " AND t.key NOT IN (SELECT value FROM json_each(?))"
        columns = ["t.n", "t.key AS key", "t.updated AS updated", *selected]
        # What fits is looked for once, and then counted and sorted. At least one is asked for: each row has the count.
        text = (
            f"WITH fit AS (SELECT {', '.join(columns)} FROM thing t WHERE {condition}) "
            f"SELECT (SELECT count(*) FROM fit), * FROM fit ORDER BY {', '.join(ordered)} LIMIT ?"
        )
        most = -1 if query.limit is None else max(1, query.offset + query.limit)
        try:
            found = connection.execute(text, [*compiler.values, most]).fetchall()
            hits = [_Hit(connection, row[1], row[2], row[3], row[4:]) for row in found]
            return hits, found[0][0] if found else 0
        except sqlite3.OperationalError:
            if compiler.error:
                raise compiler.error[0] from None
            raise

    def _short_length(self, keys: Sequence[str], least: int) -> int:
        from tracker.index import short_length

        around = set(keys)
        for connection in self._current()[0]:
            for key in keys:
                for asked in (
                    "SELECT max(key) FROM thing WHERE key < ? AND kind = 'task' AND NOT deleted",
                    "SELECT min(key) FROM thing WHERE key > ? AND kind = 'task' AND NOT deleted",
                ):
                    around.update(connection.execute(asked, (key,)).fetchone())
        return short_length((key for key in around if key is not None), least)

    # --- as it stands ------------------------------------------------------------------------------------------------

    def _current(self) -> tuple[list[sqlite3.Connection], list[str]]:
        """Connections to ask, and the keys of which the first knows less than the others."""
        # Journals first: one that is sealed meanwhile is then found in its head.
        waiting: dict[str, list[Journal]] = {}
        for source in journals(self._store.root):
            waiting.setdefault(source.key, []).append(source)
        main = self._refreshed()
        if not waiting:
            return [main], []
        return self._overlaid(main, waiting)

    def _overlaid(
        self, main: sqlite3.Connection, waiting: Mapping[str, list[Journal]]
    ) -> tuple[list[sqlite3.Connection], list[str]]:
        things = folded(self._reader, main, waiting)
        over = schema.connect(None)
        writer = rows.Writer(over, empty=True)
        for key, thing in things.items():
            try:
                writer.put(key, facts(key, thing.state))
            except CorruptRecord as error:
                self._unread[key] = str(error)
        writer.flush()
        return [main, over], list(things)

    def _refreshed(self) -> sqlite3.Connection:
        connection = self._open()
        if refreshing.is_fresh(connection, Listing.of(self._store)):
            return connection
        if self._path is None:
            self._unread = refreshing.refresh(connection, self._store, self.told)
            return connection
        with schema.alone(self._path):
            if schema.identity(self._path) != self._file:  # another process has put a new one there
                self._close()
                connection = self._open(locked=True)
            self._unread = refreshing.refresh(connection, self._store, self.told)
        return connection

    def _open(self, *, locked: bool = False) -> sqlite3.Connection:
        if self._connection is not None and (self._path is None or schema.identity(self._path) == self._file):
            return self._connection
        self._close()
        self._path = path_of(self._store.root, read_only=self._store.read_only)
        if self._path is None:
            self._connection = schema.connect(None)
            return self._connection
        self._file = schema.identity(self._path)
        try:
            self._connection = schema.connect(self._path)
        except sqlite3.Error:
            if locked:
                self._build(self._path)
            else:
                with schema.alone(self._path):
                    self._file = schema.identity(self._path)
                    try:  # another process may have made it meanwhile
                        self._connection = schema.connect(self._path)
                    except sqlite3.Error:
                        self._build(self._path)
        assert self._connection is not None
        return self._connection

    def _build(self, path: Path) -> None:
        """Make the file, under a name of its own until it is whole. The lock is held."""
        schema.sweep(path.parent)
        part, connection = schema.start(path.parent)
        try:
            self._unread = refreshing.refresh(connection, self._store, self.told)
            schema.finish(part, connection, path)
        except BaseException:
            connection.close()
            with suppress(OSError):
                schema.remove(part)
            raise
        self._file = schema.identity(path)
        self._connection = schema.connect(path)

    def _make_again(self) -> None:
        """Throw a file away that is damaged, unless another process has done so."""
        path, file = self._path, self._file
        self._close()
        if path is None:
            return
        with suppress(OSError), schema.alone(path):
            if schema.identity(path) == file:
                schema.remove(path)

    def _use_memory(self) -> None:
        self._close()
        self._path, self._connection = None, schema.connect(None)

    def _close(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
        self._connection = None


def _facts(hits: Sequence[_Hit]) -> list[Facts]:
    """What is known of those that fit, in their order."""
    asked = "SELECT facts FROM more WHERE n = ?"
    return rows.unpack(hit.connection.execute(asked, (hit.n,)).fetchone()[0] for hit in hits)


def _comparison(orders: Sequence[Order]) -> Any:
    """The order that `sql.Compiler.order` asks SQLite for, as a comparison of two hits."""

    def compare(a: _Hit, b: _Hit) -> int:
        for order, x, y in zip(orders, a.values, b.values, strict=True):
            ranks = [2 if v is None else int(isinstance(v, str)) for v in (x, y)]
            if ranks[0] != ranks[1]:
                return ranks[0] - ranks[1]
            if x is None:
                continue
            left, right = (x.casefold(), y.casefold()) if isinstance(x, str) else (x, y)
            if left != right:
                return (1 if left > right else -1) * (-1 if order.down else 1)
        left, right = (-(a.updated or 0), a.key), (-(b.updated or 0), b.key)
        return (left > right) - (left < right)

    return compare
