"""The tasks that journals tell of, folded on top of what their heads say, without listing all other heads."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping

from objstore.errors import StoreError
from objstore.heads import Head
from tracker.deltas import Journal
from tracker.projection.refresh import commits
from tracker.reader import Reader, Thing


class _Sealed(Mapping[str, Thing]):
    """Things by key as their heads say, each read when it is asked for."""

    def __init__(self, reader: Reader, connection: sqlite3.Connection) -> None:
        self._reader = reader
        self._connection = connection
        self._found: dict[str, Thing | None] = {}

    def heads(self, key: str) -> list[Head]:
        """The living heads of one."""
        row = self._connection.execute("SELECT heads FROM thing WHERE key = ?", (key,)).fetchone()
        try:
            return commits(self._reader.store, key, bytes(row[0])) if row else []
        except StoreError:
            return self._reader.store.heads.of(key)

    def __getitem__(self, key: str) -> Thing:
        if key not in self._found:
            heads = self.heads(key)
            self._found[key] = self._reader.sealed({key: heads}).get(key) if heads else None
        thing = self._found[key]
        if thing is None:
            raise KeyError(key)
        return thing

    def __iter__(self) -> Iterator[str]:
        return (row[0] for row in self._connection.execute("SELECT key FROM thing"))

    def __len__(self) -> int:
        return int(self._connection.execute("SELECT count(*) FROM thing").fetchone()[0])


def folded(
    reader: Reader, connection: sqlite3.Connection, waiting: Mapping[str, list[Journal]]
) -> dict[str, Thing]:
    """What the journals make of their tasks, and of the models of those, by key."""
    sealed, found = _Sealed(reader, connection), dict[str, Thing]()
    for key, sources in waiting.items():
        found.update(reader.with_journals(sealed, sealed.heads(key), key, sources))
    return found
