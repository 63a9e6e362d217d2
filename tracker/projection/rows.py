"""Writes what is known of a thing into the tables, and takes it out again."""

from __future__ import annotations

import array
import sqlite3
from collections.abc import Iterable
from typing import Any, Final

import zstandard

from tracker.projection.facts import Facts, number
from tracker.projection.schema import METRIC, PARAM, RUNTIME, SINGLE, SYSTEM_TAG, TAG, VALUES

_INT_MAX: Final = 2**63 - 1
_FACTS_MAX: Final = 1 << 30  # bytes of one thing's facts
_BATCH: Final = 50_000  # rows that are written together
_WIDTHS: Final = {"tag": 2, "param": 4, "metric": 6}  # columns of the tables of values
_TIMES: Final = ("started", "completed", "status_changed")
_MORE: Final = (
    "host",
    "comment",
    "status_reason",
    "status_message",
    "framework",
    "task",
    "script.repository",
    "script.branch",
    "script.commit",
    "script.entry_point",
    "script.working_dir",
)


class Writer:
    """Puts things into the tables of one connection; who calls it has begun a transaction, and flushes in the end.

    empty: there is nothing in the tables yet that could have to be replaced.
    """

    def __init__(self, connection: sqlite3.Connection, *, empty: bool = False) -> None:
        self._connection = connection
        self._empty = empty
        self._waiting: dict[str, list[tuple[Any, ...]]] = {table: [] for table in _WIDTHS}
        self._names: dict[tuple[int, str], int] = {}
        self._pack = zstandard.ZstdCompressor(level=1).compress

    def put(self, key: str, found: Facts, heads: bytes = b"") -> None:
        """A thing as it is now, in place of what it was."""
        if not self._empty:
            self.remove(key)
        row, texts = found.row, found.texts
        cursor = self._connection.execute(
            f"INSERT INTO thing VALUES (NULL{', ?' * 17})",
            (
                key,
                found.kind,
                int(found.deleted),
                heads,
                row.name,
                row.project,
                row.status,
                row.type,
                texts.get("user", ""),
                texts.get("parent", ""),
                _whole(row.created),
                *(_whole(found.times.get(name, 0)) for name in _TIMES[:2]),
                _whole(row.updated),
                _whole(found.times.get(_TIMES[2], 0)),
                min(row.iteration, _INT_MAX),
                None if row.progress is None else min(row.progress, _INT_MAX),
            ),
        )
        n = cursor.lastrowid or 0
        names = [] if found.deleted else self._values(n, found)
        ids = [text for linked in found.models.values() for pair in linked.items() for text in pair]
        self._connection.execute(
            f"INSERT INTO more VALUES (?{', ?' * 14})",
            (
                n,
                *(texts.get(name, "") for name in _MORE),
                "\n".join(ids),
                array.array("Q", names).tobytes(),
                self._pack(found.encode()),
            ),
        )

    def _values(self, n: int, found: Facts) -> list[int]:
        """The rows of a thing's tags, parameters and metrics; returns the ids of their names."""
        row = found.row
        tags = [self._name(TAG, tag) for tag in row.tags]
        tags += [self._name(SYSTEM_TAG, tag) for tag in found.system_tags]
        given = ((PARAM, row.params), (RUNTIME, found.runtime))
        params = [
            (self._name(section, name), n, number(text), text)
            for section, values in given
            for name, text in values.items()
        ]
        metrics = [
            (self._name(METRIC, name), n, m.last, m.min, m.max, min(m.count, _INT_MAX))
            for name, m in row.metrics.items()
        ]
        metrics += [(self._name(SINGLE, name), n, v, v, v, 1) for name, v in row.singles.items()]
        self._waiting["tag"] += [(name, n) for name in tags]
        self._waiting["param"] += params
        self._waiting["metric"] += metrics
        if len(self._waiting["param"]) + len(self._waiting["metric"]) > _BATCH:
            self.flush()
        return [*tags, *(each[0] for each in params), *(each[0] for each in metrics)]

    def flush(self) -> None:
        """Write what waits, in the order of the tables: of many things at once that is quicker."""
        for table, values in self._waiting.items():
            if values:
                marks = ", ".join("?" * _WIDTHS[table])
                values.sort(key=lambda row: row[:2])
                self._connection.executemany(f"INSERT INTO {table} VALUES ({marks})", values)
                values.clear()

    def _name(self, section: int, text: str) -> int:
        known = self._names.get((section, text))
        if known is None:
            at = (section, text)
            row = self._connection.execute(
                "SELECT id FROM name WHERE section = ? AND text = ?", at
            ).fetchone()
            if row is None:
                cursor = self._connection.execute("INSERT INTO name VALUES (NULL, ?, ?)", at)
                row = (cursor.lastrowid,)
            known = self._names[at] = int(row[0])
        return known

    def remove(self, key: str) -> None:
        """Nothing is known of a thing any more."""
        self.flush()
        execute = self._connection.execute
        execute("DELETE FROM damaged WHERE key = ?", (key,))
        found = execute("SELECT n, names FROM thing JOIN more USING (n) WHERE key = ?", (key,)).fetchone()
        if found is None:
            execute("DELETE FROM thing WHERE key = ?", (key,))
            return
        n, names = found[0], array.array("Q", found[1])
        execute("DELETE FROM thing WHERE n = ?", (n,))
        execute("DELETE FROM more WHERE n = ?", (n,))
        for name in names:
            self._forget(name, n)

    def _forget(self, name: int, n: int) -> None:
        """One value less; of the last one the name goes, too, so that nobody is offered it."""
        execute = self._connection.execute
        row = execute("SELECT section, text FROM name WHERE id = ?", (name,)).fetchone()
        if row is None:
            return
        table = VALUES[row[0]]
        execute(f"DELETE FROM {table} WHERE name = ? AND task = ?", (name, n))
        if execute(f"SELECT 1 FROM {table} WHERE name = ? LIMIT 1", (name,)).fetchone() is None:
            execute("DELETE FROM name WHERE id = ?", (name,))
            self._names.pop((row[0], row[1]), None)

    def put_damaged(self, key: str, what: str, heads: bytes = b"") -> None:
        """A thing that cannot be read."""
        self.remove(key)
        self._connection.execute("INSERT INTO damaged VALUES (?, ?)", (key, what))


def unpack(blobs: Iterable[Any]) -> list[Facts]:
    """Facts as `Writer.put` stored them. Raises zstandard.ZstdError, KeyError, TypeError, ValueError."""
    decompress = zstandard.ZstdDecompressor().decompress
    return [Facts.decode(decompress(blob, max_output_size=_FACTS_MAX)) for blob in blobs]


def _whole(value: int) -> int | None:
    return min(value, _INT_MAX) or None
