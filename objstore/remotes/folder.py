"""A remote in a folder: a local disk, a mounted share, a stick. What is pushed there is a store like any other.

A folder that is not there has vanished, or is not mounted: it is never made in passing, only where `create` asks.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from objstore import layout
from objstore.errors import Corrupt, InvalidName, NotFound, RemoteError
from objstore.reading import open_regular
from objstore.remotes import Listed, check_name, check_prefix, check_range

_DEPTH_MAX = 16  # of folders in a listing: a store has three, and a link may lead in a circle


class FolderRemote:
    """The folder at a path or a `file:///…` URL; with `create` it is made now, for a remote that is being added."""

    def __init__(self, where: str | Path, *, create: bool = False) -> None:
        self.root = where if isinstance(where, Path) else _path(where)
        self.url = self.root.absolute().as_uri()
        if create:
            with self._errors("the folder"):
                self.root.mkdir(parents=True, exist_ok=True)

    def list(self, prefix: str) -> Iterator[Listed]:
        """See `objstore.remotes.Lists`. Names come in ascending order: `refs/` is read before `refs.packed/`.

        So a head that is folded into a table meanwhile is seen in one place or in both.
        """
        folder, _, start = check_prefix(prefix).rpartition("/")
        return self._walk(folder, start, 0)

    def get(self, name: str, limit: int = layout.TABLE_MAX) -> bytes:
        """See `objstore.remotes.Gets`."""
        with self._reading(name) as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise RemoteError(f"{self.url}: {name} has more than the {limit} bytes expected")
        return data

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """See `objstore.remotes.Ranges`."""
        check_range(offset, length)
        with self._reading(name) as file:
            file.seek(offset)
            return file.read(min(length, max(0, os.fstat(file.fileno()).st_size - offset)))

    def put(self, name: str, source: bytes | Path) -> None:
        """See `objstore.remotes.Puts`: a temporary file, fsync, rename, fsync of the folders whose names changed."""
        target = self.root / check_name(name)
        if isinstance(source, bytes):
            with self._errors(name):
                self._put(target, [source])
            return
        with source.open("rb") as file:
            with self._errors(name):
                self._put(target, iter(lambda: file.read(layout.MIB), b""))

    def delete(self, name: str) -> None:
        """See `objstore.remotes.Deletes`."""
        target = self.root / check_name(name)
        with self._errors(name):
            self._there()
            try:
                target.unlink()
            except (FileNotFoundError, NotADirectoryError):
                return
            _fsync(target.parent)

    # --- on the disk ---------------------------------------------------------------------------------------------

    def _put(self, target: Path, pieces: Iterable[bytes]) -> None:
        self._there()
        (self.root / layout.TMP).mkdir(exist_ok=True)
        part = self.root / layout.TMP / secrets.token_hex(16)
        try:
            with part.open("xb") as file:
                file.writelines(pieces)
                file.flush()
                os.fsync(file.fileno())
            changed = _make(target.parent)
            part.rename(target)
            for folder in (target.parent, *changed):
                _fsync(folder)
        except BaseException:
            part.unlink(missing_ok=True)
            raise

    def _walk(self, folder: str, start: str, depth: int) -> Iterator[Listed]:
        with self._errors(folder or "the folder"):
            self._there()
            found = sorted(_entries(self.root / folder), key=lambda entry: entry.name)
        for entry in found:
            name = f"{folder}/{entry.name}" if folder else entry.name
            if not entry.name.startswith(start) or name == layout.TMP or not _is_name(name):
                continue  # tmp/ holds what is half put; other tools' odd names are none of ours
            with self._errors(name):
                is_folder, size = entry.is_dir(), _size(entry)
            if is_folder and depth < _DEPTH_MAX:
                yield from self._walk(name, "", depth + 1)
            elif size is not None:
                yield Listed(name, size)

    def _there(self) -> None:
        """Raise RemoteError when the folder itself is gone: else an unmounted disk would look like an empty remote."""
        if not self.root.is_dir():
            raise RemoteError(f"{self.url}: the folder is not there: is its disk mounted?")

    @contextmanager
    def _reading(self, name: str) -> Iterator[BinaryIO]:
        with self._errors(name):
            try:
                fd = open_regular(self.root / check_name(name))
            except (FileNotFoundError, NotADirectoryError, Corrupt) as error:
                self._there()
                raise NotFound(f"{self.url} has no {name}") from error
            with os.fdopen(fd, "rb") as file:
                yield file

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        """What the file system refuses becomes a RemoteError that names the folder and the file."""
        try:
            yield
        except RemoteError:
            raise  # an OSError by birth, and named already
        except OSError as error:
            raise RemoteError(f"{self.url}: {what}: {error.strerror or error}") from error


def _path(where: str) -> Path:
    if "://" not in where and not where.startswith("file:"):
        return Path(where)
    from urllib.parse import unquote, urlsplit

    url = urlsplit(where)
    if url.scheme != "file" or url.netloc not in ("", "localhost") or not url.path.startswith("/"):
        raise InvalidName(f"{where!r} is no folder: give a path or file:///path")
    return Path(unquote(url.path))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except (FileNotFoundError, NotADirectoryError):
        return []  # no file begins with that prefix, or its folder was removed since it was listed


def _is_name(name: str) -> bool:
    try:
        check_name(name)
    except InvalidName:
        return False
    return True


def _size(entry: os.DirEntry[str]) -> int | None:
    """The size of a regular file in bytes; None for anything else: a pipe would be waited for when it is read."""
    try:
        status = entry.stat()
    except FileNotFoundError:
        return None  # removed since it was listed
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _make(folder: Path) -> list[Path]:
    """Create `folder` and what is missing above it; returns the folders whose names that changed."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for made in reversed(missing):
        made.mkdir(exist_ok=True)
    return [made.parent for made in missing]


def _fsync(folder: Path) -> None:
    """Make names durable: a rename is only as durable as its folder."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
