"""The tables of `cache/index.sqlite`, how its file is opened, made and thrown away.

One row a thing in `thing`; values by (name, task), so that all values of one parameter or metric lie side by side and a
query reads those that it names and no others. Nothing here is a record: the file can be made again from the heads.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

VERSION: Final = 1  # of the tables; a file with another one is made again
WAIT: Final = 120.0  # seconds for which a process waits until another has finished writing
_SIDE_FILES: Final = ("", "-wal", "-shm", "-journal")

# Sections of `name`: what a name is the name of.
TAG, SYSTEM_TAG, PARAM, RUNTIME, METRIC, SINGLE = range(6)

TABLES: Final = """
CREATE TABLE note (what TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;
CREATE TABLE name (id INTEGER PRIMARY KEY, section INTEGER, text TEXT, UNIQUE (section, text));
CREATE TABLE thing (
    n INTEGER PRIMARY KEY, key TEXT UNIQUE, kind TEXT, deleted INTEGER, heads BLOB, name TEXT, project TEXT,
    status TEXT, type TEXT, user TEXT, parent TEXT, created INTEGER, started INTEGER, completed INTEGER,
    updated INTEGER, status_changed INTEGER, iteration INTEGER, progress INTEGER
);
CREATE TABLE more (
    n INTEGER PRIMARY KEY, host TEXT, comment TEXT, status_reason TEXT, status_message TEXT, framework TEXT, task TEXT,
    repository TEXT, branch TEXT, commit_id TEXT, entry_point TEXT, working_dir TEXT, models TEXT, names BLOB,
    facts BLOB
);
CREATE TABLE tag (name INTEGER, task INTEGER, PRIMARY KEY (name, task)) WITHOUT ROWID;
CREATE TABLE param (name INTEGER, task INTEGER, number REAL, text TEXT, PRIMARY KEY (name, task)) WITHOUT ROWID;
CREATE TABLE metric (
    name INTEGER, task INTEGER, last REAL, min REAL, max REAL, count INTEGER, PRIMARY KEY (name, task)
) WITHOUT ROWID;
CREATE TABLE damaged (key TEXT PRIMARY KEY, what TEXT) WITHOUT ROWID;
"""
VALUES: Final = {
    TAG: "tag",
    SYSTEM_TAG: "tag",
    PARAM: "param",
    RUNTIME: "param",
    METRIC: "metric",
    SINGLE: "metric",
}


class _Connection(sqlite3.Connection):
    """Closes itself: a workspace has no end, and Python 3.13 warns of connections that nobody has closed."""

    def __del__(self) -> None:
        with suppress(sqlite3.Error):  # of one that could not be opened
            self.close()


def connect(path: Path | None) -> sqlite3.Connection:
    """A connection to a file that has the tables, or to new ones in memory. Raises sqlite3.Error where it has not."""
    if path is None:
        connection = _open(":memory:")
        connection.executescript(TABLES)
        return connection
    uri = f"{path.absolute().as_uri()}?mode=rw"
    connection = _open(uri, uri=True)
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version != VERSION:
            raise sqlite3.DatabaseError(f"the tables are of version {version}")
        # The system, not the process, may lose what was committed last: then it is found out, and read again.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA cache_size = -65536")
        connection.execute("PRAGMA temp_store = MEMORY")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _open(place: str, *, uri: bool = False) -> sqlite3.Connection:
    return sqlite3.connect(
        place, timeout=WAIT, isolation_level=None, check_same_thread=False, factory=_Connection, uri=uri
    )


def start(folder: Path) -> tuple[Path, sqlite3.Connection]:
    """A new file of another name, to be filled by one process and then put in place. Raises OSError, sqlite3.Error."""
    path = folder / f"index.{secrets.token_hex(6)}.part"
    connection = _open(str(path))
    connection.execute("PRAGMA page_size = 8192")
    connection.execute("PRAGMA journal_mode = OFF")
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA cache_size = -262144")
    connection.executescript(TABLES)
    connection.execute(f"PRAGMA user_version = {VERSION}")
    return path, connection


def finish(part: Path, connection: sqlite3.Connection, path: Path) -> None:
    """Put a filled file in place of whatever is there. The lock has to be held. Raises OSError, sqlite3.Error."""
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    remove(path)  # a log that belongs to another file would be replayed into this one
    os.replace(part, path)


def remove(path: Path) -> None:
    """Take a file away with all that belongs to it. Who has it open goes on reading what it was."""
    for end in _SIDE_FILES:
        with suppress(FileNotFoundError):
            os.unlink(f"{path}{end}")


def sweep(folder: Path) -> None:
    """Remove files that a process began to fill a day ago."""
    with suppress(OSError):
        for part in folder.glob("index.*.part*"):
            if time.time() - part.stat().st_mtime > 86_400:
                part.unlink()


def identity(path: Path) -> tuple[int, int] | None:
    """Which file is there; None for none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """While this runs, no other process changes the file. Raises TimeoutError, OSError."""
    try:
        import fcntl  # not filelock: to import that takes longer than a refresh
    except ImportError:
        yield  # where there is none, SQLite's own lock has to do
        return
    fd = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        until, pause = time.monotonic() + WAIT, 0.001
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise TimeoutError(f"{path} is being written for {WAIT:g} seconds") from None
                time.sleep(pause)
                pause = min(0.05, 2 * pause)
        yield
    finally:
        os.close(fd)
