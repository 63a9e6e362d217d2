"""What a store remembers of a remote, below its `cache/`: derived, so to delete it costs requests and never data."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from objstore import layout
from objstore.ids import hash_bytes


class Cache:
    """What is remembered of one remote. A note that cannot be written is only not remembered.

    Without a store (root None) nothing is: what is looked at once, such as a bundle, leaves no trace.
    """

    def __init__(self, root: Path | None, url: str) -> None:
        base = Path(os.devnull) if root is None else root  # no file can be made below a file
        self.folder = base / layout.CACHE / "remotes" / hash_bytes(url.encode()).hex()[:32]

    def read(self, name: str) -> bytes | None:
        """A note, or None."""
        try:
            return (self.folder / name).read_bytes()
        except OSError:
            return None

    def write(self, name: str, data: bytes) -> None:
        """Write a note, whole or not at all. Not durable: what a crash takes is asked for again."""
        path = self.folder / name
        part = path.with_name(f"{path.name[:32]}.{secrets.token_hex(4)}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(data)
            part.replace(path)
        except OSError:
            return  # a store on a full or read-only disk can be pushed all the same

    def names(self, folder: str) -> list[str]:
        """The notes in a folder."""
        try:
            return os.listdir(self.folder / folder)
        except OSError:
            return []

    def remove(self, name: str) -> None:
        """Forget a note."""
        try:
            (self.folder / name).unlink(missing_ok=True)
        except OSError:
            return

    def keep(self, folder: str, wanted: Iterable[str]) -> None:
        """Forget a folder's notes, but for the wanted ones."""
        for name in set(self.names(folder)) - set(wanted):
            self.remove(f"{folder}/{name}")
