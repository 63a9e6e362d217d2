"""A place in the file system. Refuses names that lead out of its folder."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from objstore.errors import InvalidName, NotFound, RemoteError
from tracker.storage.protocol import PIECE, Entry


class FolderPlace:
    """Files below a folder, which is made with the first of them."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, name: str, pieces: Iterable[bytes], size: int | None = None) -> None:
        """Write beside its name, sync, rename: the local file that it was made of may be deleted afterwards."""
        path = self._path(name)
        with _told(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f".{secrets.token_hex(8)}.part")
            try:
                with part.open("xb") as file:
                    for piece in pieces:
                        file.write(piece)
                    file.flush()
                    os.fsync(file.fileno())
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
            _sync(path.parent)

    def get(self, name: str) -> Iterator[bytes]:
        """The file in pieces of 1 MiB."""
        path = self._path(name)
        with _told(path), path.open("rb") as file:
            while piece := file.read(PIECE):
                yield piece

    def head(self, name: str) -> Entry:
        """Of a file; a folder is none."""
        path = self._path(name)
        with _told(path):
            status = path.stat()
        if not path.is_file():
            raise NotFound(f"{path} is no file")
        return Entry(name, status.st_size, status.st_mtime)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Links to folders are not followed."""
        found = []
        for folder, _, names in os.walk(self._root):
            for each in names:
                name = Path(folder, each).relative_to(self._root).as_posix()
                if name.startswith(prefix):
                    found.append(name)
        for name in sorted(found):
            try:
                yield self.head(name)
            except NotFound:  # removed meanwhile, or a socket
                continue

    def delete(self, name: str) -> None:
        """The file; its folder stays."""
        path = self._path(name)
        with _told(path):
            path.unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        parts = name.split("/")
        if any(part in ("", ".", "..") or "\0" in part for part in parts):
            raise InvalidName(f"{name!r} is no name of a file below {self._root}")
        return self._root.joinpath(*parts)


def _sync(folder: Path) -> None:
    """A rename is only durable once its folder is."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(f"{path} is not there") from error
    except OSError as error:
        raise RemoteError(f"{path}: {error.strerror or error}") from error
