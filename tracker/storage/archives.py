"""Archives into folders and folders into zips. A hostile archive is refused: its names, kinds, sizes and number count.

Never extracts over what is there, follows no link, makes no device, and stops once more comes out than was promised.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Final

from objstore.records import check_checkout_name
from tracker.errors import BadValue

ENTRIES_MAX: Final = 1_000_000  # files of one archive
RATIO_MAX: Final = 1100  # bytes out for each byte of the archive; deflate itself reaches 1032
FREE: Final = 64 << 20  # bytes that any archive may become: a small one of zeros is no attack
_PIECE: Final = 1 << 20

# What the two modules raise on bytes that are no archive, is encrypted, or has a file where it has a folder, too.
_UNREADABLE: Final = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    FileExistsError,
    NotADirectoryError,
)

Source = tuple[
    str, bool, int, Callable[[], Iterable[bytes]]
]  # name, whether it can be run, bytes, its content


def is_archive(path: Path) -> bool:
    """Whether its name says that it is a zip, tgz or tar.gz, and its first bytes agree."""
    name = path.name.lower()
    if name.endswith(".zip"):
        return zipfile.is_zipfile(path)
    return name.endswith((".tgz", ".tar.gz")) and tarfile.is_tarfile(path)


def unpack(path: Path, target: Path) -> None:
    """Extract an archive into a new folder, which appears whole or not at all. Raises BadValue for a hostile one."""
    part = target.with_name(f".{secrets.token_hex(8)}.part")
    part.mkdir(parents=True)
    try:
        _fill(path, part)
        part.rename(target)
    except _UNREADABLE as error:
        raise BadValue(f"{path} cannot be extracted: {error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _fill(path: Path, folder: Path) -> None:
    left = max(FREE, path.stat().st_size * RATIO_MAX)
    seen: set[str] = set()
    entries = _of_zip(path) if path.name.lower().endswith(".zip") else _of_tar(path)
    for name, runs, content in entries:
        target = folder.joinpath(*_parts(path, name))
        if content is None:
            target.mkdir(parents=True, exist_ok=True)
            continue
        folded = unicodedata.normalize("NFC", str(target)).casefold()
        if folded in seen or len(seen) >= ENTRIES_MAX:
            raise BadValue(f"{path} has {name!r} twice, or too many files: it is not extracted")
        seen.add(folded)
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as out:
            while piece := content.read(_PIECE):
                left -= len(piece)
                if left < 0:
                    raise BadValue(
                        f"{path} becomes more than {RATIO_MAX} times its size: it is not extracted"
                    )
                out.write(piece)
        if runs:
            target.chmod(target.stat().st_mode | 0o111)


def _parts(path: Path, name: str) -> list[str]:
    """The folders and the file of a name, none of which may lead anywhere else."""
    bare = name.rstrip("/")
    try:
        return [check_checkout_name(part) for part in bare.removeprefix("./").split("/")]
    except ValueError as error:
        raise BadValue(f"{path} has a file {name!r} that could land outside: it is not extracted") from error


_Found = Iterator[tuple[str, bool, IO[bytes] | None]]


def _of_zip(path: Path) -> _Found:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.is_dir():
                yield info.filename, False, None
                continue
            kind = (info.external_attr >> 16) & 0o170000
            if kind not in (0, 0o100000):
                raise BadValue(f"{path} has {info.filename!r}, which is no file: it is not extracted")
            with archive.open(info) as content:
                yield info.filename, bool((info.external_attr >> 16) & 0o111), content


def _of_tar(path: Path) -> _Found:
    with tarfile.open(path) as archive:
        for info in archive:
            if info.isdir():
                if info.name not in (".", "./"):
                    yield info.name, False, None
                continue
            content = archive.extractfile(info) if info.isfile() else None
            if content is None:
                raise BadValue(f"{path} has {info.name!r}, which is no file: it is not extracted")
            yield info.name, bool(info.mode & 0o111), content


def zipped(sources: Iterable[Source]) -> Iterator[bytes]:
    """A zip piece by piece: names sorted, no times, no compression, so that the same files make the same bytes."""
    sink: Any = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for name, runs, size, read in sorted(sources, key=lambda source: source[0].encode()):
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.create_system = 3  # Unix, wherever it is made
            info.external_attr = (0o100755 if runs else 0o100644) << 16
            info.file_size = size
            with archive.open(info, "w", force_zip64=size >= 1 << 31) as out:
                for piece in read():
                    out.write(piece)
                    yield sink.take()
            yield sink.take()
    yield sink.take()


class _Sink:
    """What a zip is written to: cannot be rewound, so that no part of it has to wait for another."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def take(self) -> bytes:
        """What was written since it was last asked."""
        data, self._parts = b"".join(self._parts), []
        return data


def files_of(folder: Path) -> Iterator[Source]:
    """The files of a folder as a zip takes them; links are left out."""
    for root, folders, names in os.walk(folder):
        folders.sort()
        for name in names:
            path = Path(root, name)
            if path.is_file() and not path.is_symlink():
                status = path.stat()
                yield (
                    path.relative_to(folder).as_posix(),
                    bool(status.st_mode & 0o111),
                    status.st_size,
                    _reader(path),
                )


def _reader(path: Path) -> Callable[[], Iterator[bytes]]:
    def read() -> Iterator[bytes]:
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                yield piece

    return read
