"""Files and folders to and from places, with a cache of what was fetched. Keeps the newest of the cache, 100 files.

The cache lies in the user's cache folder: TRACKER_CACHE_DIR, CLEARML_CACHE_DIR, else XDG's. Local files are not copied.
"""

from __future__ import annotations

import fnmatch
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Final

from objstore.errors import NotFound
from tracker.codecs.protocol import file_name
from tracker.errors import BadValue
from tracker.storage import archives
from tracker.storage.protocol import PIECE, Entry
from tracker.storage.registry import file_at, is_local, local_path, place_at

CACHE_FILES: Final = 100  # files that the cache keeps, as in ClearML


def cache_home(environment: Mapping[str, str] = os.environ) -> Path:
    """Where fetched files are kept."""
    for name in ("TRACKER_CACHE_DIR", "CLEARML_CACHE_DIR"):
        if environment.get(name):
            return Path(environment[name]).absolute()
    if environment.get("XDG_CACHE_HOME"):
        return Path(environment["XDG_CACHE_HOME"], "tracker")
    home = environment.get("HOME") or environment.get("USERPROFILE")
    if home:
        return Path(home, ".cache", "tracker")
    return Path(tempfile.gettempdir(), f"tracker-{getattr(os, 'getuid', lambda: 0)()}", "cache")


def reading(path: Path) -> Iterator[bytes]:
    """A local file in pieces. Raises OSError."""
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece


def send(path: Path, url: str, tries: int = 1) -> str:
    """Copy a local file to a URL; returns the URL. Raises NotFound, RemoteError, BadValue."""
    if not path.is_file():
        raise NotFound(f"{path} is no file")
    place, name = file_at(url)
    for left in reversed(range(max(1, tries))):
        try:
            place.put(name, reading(path), path.stat().st_size)
            break
        except ConnectionError:
            if not left:
                raise
    return url


def send_folder(folder: Path, url: str, pattern: str | None = None, tries: int = 1) -> str:
    """Copy the files of a folder that fit a wildcard below a URL; returns the URL. Raises NotFound, RemoteError."""
    if not folder.is_dir():
        raise NotFound(f"{folder} is no folder")
    base = url.rstrip("/")
    for name, _, _, _ in sorted(archives.files_of(folder), key=lambda source: source[0]):
        if pattern is None or fnmatch.fnmatch(name, pattern):
            send(folder / name, f"{base}/{name}", tries)
    return url


def fetch(url: str, *, fresh: bool = False, name: str | None = None, keep: int = CACHE_FILES) -> Path:
    """A local copy of a file: of a local one itself, else cached, else fetched. Raises NotFound, RemoteError."""
    if is_local(url):
        path = local_path(url)
        if not path.exists():
            raise NotFound(f"{path} is not there")
        return path
    place, found = file_at(url)
    folder = cache_home() / "urls" / blake2b(url.encode(), digest_size=16).hexdigest()
    target = folder / file_name(name or found.partition("?")[0])
    if not fresh and target.is_file():
        with suppress(OSError):
            os.utime(folder)  # it was wanted again, so others go first
        return target
    folder.mkdir(parents=True, exist_ok=True)
    _write(target, place.get(found))
    _prune(folder.parent, keep)
    return target


def download(url: str, target: Path, *, overwrite: bool = False) -> Path:
    """Fetch a file to a path, unless it is there; whole or not at all. Raises NotFound, RemoteError."""
    if target.exists() and not overwrite:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    place, name = file_at(url)
    _write(target, place.get(name))
    return target


def download_folder(url: str, target: Path, pattern: str | None = None, *, overwrite: bool = False) -> Path:
    """Fetch the files below a URL that fit a wildcard. Raises RemoteError, BadValue for names that lead out of it."""
    place = place_at(url)
    for entry in place.list():
        if pattern is not None and not fnmatch.fnmatch(entry.name, pattern):
            continue
        path = inside(target, entry.name)
        if overwrite or not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, place.get(entry.name))
    return target


def inside(folder: Path, name: str) -> Path:
    """Where a file that a place names belongs below a folder. Raises BadValue for a name that leads elsewhere."""
    parts = name.split("/")
    if any(part in ("", ".", "..") or "\0" in part or "\\" in part for part in parts):
        raise BadValue(f"a file named {name!r} could land outside of {folder}: it is not fetched")
    return folder.joinpath(*parts)


def extracted(path: Path) -> Path:
    """The folder that an archive holds, beside it; of anything else the path itself. Raises BadValue."""
    if not path.is_file() or not archives.is_archive(path):
        return path
    status = path.stat()
    mark = f"{path.absolute()}:{status.st_size}:{status.st_mtime_ns}"
    folder = cache_home() / "extracted" / blake2b(mark.encode(), digest_size=16).hexdigest()
    target = folder / path.name.rpartition(".zip")[0] if path.name.endswith(".zip") else folder / path.stem
    if not target.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        try:
            archives.unpack(path, target)
        except FileExistsError:
            if not target.is_dir():  # else another process was faster
                raise
    return target


def listed(url: str) -> Iterator[Entry]:
    """The files below a URL, by names relative to it."""
    yield from place_at(url).list()


def _write(target: Path, pieces: Iterator[bytes]) -> None:
    part = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with part.open("xb") as file:
            for piece in pieces:
                file.write(piece)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _prune(folder: Path, keep: int) -> None:
    """Remove the cached files that were not wanted for the longest time."""
    aged: list[tuple[float, Path]] = []
    for each in folder.iterdir():
        with suppress(OSError):
            aged.append((each.stat().st_mtime, each))
    for _, each in sorted(aged, reverse=True)[keep:]:
        shutil.rmtree(each, ignore_errors=True)
