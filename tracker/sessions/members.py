"""The files of a session, in a zip or a folder, by name. Hostile ones are refused before anything is made of them.

Nothing is ever unpacked to disk: a name is only what a file is asked for by.
"""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path
from typing import Final, cast

from objstore.ids import Hasher
from tracker.errors import BadValue

ENTRIES_MAX: Final = 200_000  # files of one session
DIRECTORY_MAX: Final = (
    64 << 20
)  # bytes of a zip's table of contents; Python keeps eight times as many in memory
RATIO_MAX: Final = 200  # bytes out for each byte of the zip, beyond
FREE: Final = 1 << 30  # bytes that any zip may become: logs and zeros pack well
BUNDLE: Final = "task.bundle"  # the one file of a session of this program
_PIECE: Final = 1 << 20
_END: Final = struct.Struct("<4s4H2LH")  # the record at the end of a zip
_LOCATOR: Final = struct.Struct("<4sLQL")
_END64: Final = struct.Struct("<4sQ2H2L4Q")
_PLAIN: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_UNREADABLE: Final = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    struct.error,
    UnicodeError,
    ValueError,
)


class Members:
    """Regular files by name, each with its size in bytes. `where` is for messages."""

    def __init__(self, where: Path, sizes: Mapping[str, int]) -> None:
        self.where = where
        self._top = _top(sizes)
        self.sizes = {name[len(self._top) :]: size for name, size in sizes.items()}

    def _open(self, name: str) -> BufferedIOBase:
        raise NotImplementedError

    @contextmanager
    def open(self, name: str) -> Iterator[BufferedIOBase]:
        """A file to read. Raises BadValue, also while it is read, where it is not what the session says it is."""
        try:
            with self._open(self._top + name) as file:
                yield file
        except BadValue:
            raise
        except _UNREADABLE as error:
            raise BadValue(f"{self.where}: {name!r:.200} is damaged: {error}") from error

    def read(self, name: str, most: int) -> bytes:
        """All of a file of at most `most` bytes. Raises BadValue."""
        if self.sizes[name] > most:
            raise BadValue(f"{self.where}: {name} has {self.sizes[name]} bytes, and {most} are the most")
        with self.open(name) as file:
            return file.read(most + 1)

    def digest(self) -> str:
        """What all of it adds up to, 64 hex digits: the same for a folder and its zip. Reads and checks all."""
        whole = Hasher()
        for name in sorted(self.sizes):
            one, size = Hasher(), 0
            with self.open(name) as file:
                while piece := file.read(_PIECE):
                    one.update(piece)
                    size += len(piece)
            if size != self.sizes[name]:
                raise BadValue(
                    f"{self.where}: {name!r:.200} has {size} bytes, and {self.sizes[name]} are promised: it is damaged"
                )
            whole.update(f"{len(name)} {name} {size} {one.id()}\n".encode("utf-8", "surrogatepass"))
        return str(whole.id())

    def close(self) -> None:
        """Let go of what is open."""


class _Folder(Members):
    def __init__(self, where: Path) -> None:
        super().__init__(where, dict(_files(where)))

    def _open(self, name: str) -> BufferedIOBase:
        descriptor = os.open(
            self.where / name, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        )
        return os.fdopen(descriptor, "rb")


class _Zip(Members):
    def __init__(self, where: Path) -> None:
        _check_directory(where)
        try:
            self._zip = zipfile.ZipFile(where)
        except _UNREADABLE as error:
            raise BadValue(f"{where} cannot be read as a zip: {error}") from error
        try:
            infos = [info for info in self._zip.infolist() if not info.is_dir()]
            _check(where, infos)
            super().__init__(where, {info.filename: info.file_size for info in infos})
        except BaseException:
            self._zip.close()
            raise

    def _open(self, name: str) -> BufferedIOBase:
        return cast(BufferedIOBase, self._zip.open(name))  # which it is, though declared as IO

    def close(self) -> None:
        self._zip.close()


@contextmanager
def opened(where: Path) -> Iterator[Members]:
    """The files of a session's folder or zip. Raises BadValue for what is neither, or what is hostile."""
    if not where.exists():
        raise BadValue(f"there is no {where}: name the zip or the folder of an offline session")
    found: Members
    if where.is_dir():
        found = _Folder(where)
    elif where.is_file():
        found = _Zip(where)
    else:
        raise BadValue(f"{where} is neither a zip nor a folder: name those of an offline session")
    try:
        yield found
    finally:
        found.close()


def _top(sizes: Mapping[str, int]) -> str:
    """The one folder that all files lie in, where somebody has packed it with them; "" where there is none."""
    tops = {name.partition("/")[0] for name in sizes}
    top = f"{next(iter(tops))}/" if len(tops) == 1 else ""
    return top if f"{top}task.json" in sizes or f"{top}{BUNDLE}" in sizes else ""


def _files(where: Path) -> Iterator[tuple[str, int]]:
    count = 0
    folders = [""]
    while folders:
        below = folders.pop()
        with os.scandir(where / below) as entries:
            for entry in entries:
                name = f"{below}{entry.name}"
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    folders.append(f"{name}/")
                    continue
                if not stat.S_ISREG(status.st_mode):
                    raise BadValue(
                        f"{where}: {name!r:.200} is a link or no plain file, which a session has none of"
                    )
                count += 1
                if count > ENTRIES_MAX:
                    raise BadValue(f"{where} has more than {ENTRIES_MAX} files: it is no session")
                yield name, status.st_size


def _check_directory(where: Path) -> None:
    """Refuse a table of contents that would take too much memory, before it is read."""
    size = where.stat().st_size
    with where.open("rb") as file:
        file.seek(max(0, size - (1 << 16) - _END.size - _LOCATOR.size))
        tail = file.read()
        at = tail.rfind(b"PK\5\6")
        if at < 0 or len(tail) - at < _END.size:
            raise BadValue(f"{where} is no zip: name the zip or the folder of an offline session")
        _, _, _, _, count, length, _, _ = _END.unpack_from(tail, at)
        locator = tail[max(0, at - _LOCATOR.size) : at]
        if locator.startswith(b"PK\6\7") and len(locator) == _LOCATOR.size:
            file.seek(min(_LOCATOR.unpack(locator)[2], size))
            found = file.read(_END64.size)
            if len(found) == _END64.size and found.startswith(b"PK\6\6"):
                count, length = max(count & 0xFFFE, _END64.unpack(found)[7]), _END64.unpack(found)[8]
        if count > ENTRIES_MAX or length > DIRECTORY_MAX:
            raise BadValue(
                f"{where} says that it has {count} files in a table of {length} bytes; a session has at most "
                f"{ENTRIES_MAX} in {DIRECTORY_MAX}"
            )
        file.seek(max(0, size - (len(tail) - at) - length - len(locator) - _END64.size))
        # The number in the end record may be a lie, and Python reads as many as there are.
        if file.read(length + len(locator) + _END64.size).count(b"PK\1\2") > ENTRIES_MAX:
            raise BadValue(f"{where} has more than {ENTRIES_MAX} files: it is no session")


def _check(where: Path, infos: list[zipfile.ZipInfo]) -> None:
    """Refuse what no session has: twice the same name, names that lead elsewhere, links, secrets, bombs."""
    names: set[str] = set()
    for info in infos:
        name = info.filename
        if name in names:
            raise BadValue(f"{where} has {name!r:.200} twice: which one is meant cannot be told")
        names.add(name)
        if reason := _hostile(info):
            raise BadValue(f"{where}: {name!r:.200} {reason}")
    total = sum(info.file_size for info in infos)
    packed = where.stat().st_size
    if total > FREE and total > RATIO_MAX * packed:
        raise BadValue(
            f"{where} has {packed} bytes and would become {total}: more than {RATIO_MAX} times as many, which looks "
            "like an attack; unpack it yourself and name the folder if it is none"
        )
    end = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        if info.header_offset < end:
            raise BadValue(f"{where}: {info.filename!r:.200} lies upon another file, as in an attack")
        end = info.header_offset + 30 + info.compress_size


def _hostile(info: zipfile.ZipInfo) -> str:
    """Why a file may not be in a session; "" where it may."""
    name, kind = info.orig_filename, stat.S_IFMT(info.external_attr >> 16)
    parts = name.replace("\\", "/").split("/")
    if "\0" in name or any(part in ("", ".", "..") for part in parts) or ":" in parts[0]:
        return "is a name that leads out of the session: it is not taken in"
    if kind not in (0, stat.S_IFREG):
        return "is a link or no plain file, which a session has none of"
    if info.flag_bits & 1:
        return "is encrypted: unpack the session yourself and name the folder"
    if info.compress_type not in _PLAIN:
        return f"is packed by method {info.compress_type}, and sessions are deflated"
    return ""
