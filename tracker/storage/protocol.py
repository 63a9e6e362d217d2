"""The one shape of a place: files by relative POSIX names. Raises RemoteError, and NotFound for what is not there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

PIECE: Final = 1 << 20  # bytes that are read and sent at once
TIMEOUT: Final = 30.0  # seconds without a byte after which a server is given up
CONNECT: Final = 5.0  # seconds that a server may take to answer at all
RETRIES: Final = 2  # times that a request is sent again


@dataclass(frozen=True, slots=True)
class Entry:
    """A file in a place: its name there, its bytes (-1: not told), when it was changed (seconds since the epoch)."""

    name: str
    size: int
    time: float = 0.0


class Place(Protocol):
    """A folder, a bucket's prefix, a web server's path."""

    def put(self, name: str, pieces: Iterable[bytes], size: int | None = None) -> None:
        """Write a file, which appears whole or not at all where the place can do that; an existing one is replaced."""

    def get(self, name: str) -> Iterator[bytes]:
        """A file's content piece by piece. Raises NotFound, when it is asked for the first."""

    def head(self, name: str) -> Entry:
        """What is known of a file. Raises NotFound."""

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """The files whose names begin with `prefix`, sorted. Raises RemoteError where a place cannot tell."""

    def delete(self, name: str) -> None:
        """Remove a file; one that is not there is no error."""
