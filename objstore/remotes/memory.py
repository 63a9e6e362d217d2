"""A remote in memory: for tests, and to count what a sync asks of a remote. Nothing of it outlives the process."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex

from objstore import layout
from objstore.errors import NotFound, RemoteError
from objstore.remotes import Listed, check_name, check_prefix, check_range


class MemoryRemote:
    """`files` is what is there, by name, free to be tampered with; `calls` counts the verbs. Safe for many threads."""

    def __init__(self, url: str | None = None) -> None:
        self.url = url if url is not None else f"memory:{token_hex(8)}"
        self.files: dict[str, bytes] = {}
        self.calls: Counter[str] = Counter()
        self._lock = threading.Lock()

    def list(self, prefix: str) -> Iterator[Listed]:
        """See `objstore.remotes.Lists`."""
        check_prefix(prefix)
        with self._lock:
            self.calls["list"] += 1
            return iter([Listed(n, len(data)) for n, data in self.files.items() if n.startswith(prefix)])

    def get(self, name: str, limit: int = layout.TABLE_MAX) -> bytes:
        """See `objstore.remotes.Gets`."""
        data = self._read("get", name)
        if len(data) > limit:
            raise RemoteError(f"{self.url}: {name} has {len(data)} bytes, more than the {limit} expected")
        return data

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """See `objstore.remotes.Ranges`."""
        check_range(offset, length)
        return self._read("get_range", name)[offset : offset + length]

    def put(self, name: str, source: bytes | Path) -> None:
        """See `objstore.remotes.Puts`."""
        check_name(name)
        data = source.read_bytes() if isinstance(source, Path) else bytes(source)
        with self._lock:
            self.calls["put"] += 1
            self.files[name] = data

    def delete(self, name: str) -> None:
        """See `objstore.remotes.Deletes`."""
        check_name(name)
        with self._lock:
            self.calls["delete"] += 1
            self.files.pop(name, None)

    def _read(self, verb: str, name: str) -> bytes:
        check_name(name)
        with self._lock:
            self.calls[verb] += 1
            try:
                return self.files[name]
            except KeyError:
                raise NotFound(f"{self.url} has no {name}") from None
