"""Files, folders, wildcards, lists of files and URLs, stored as they lie there. Reads names and sizes, no content.

A text counts as a path only if something of that name is there; a Path has to name something.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from tracker.codecs.protocol import PREVIEW_MAX, Encoded, Request, Stored, file_name, media_type
from tracker.errors import BadValue

types: Final = ()  # a file has no value: the registry hands it out as it is

_PATH_MAX: Final = 2048  # characters; a longer text is never looked up, as in ClearML
_URL: Final = re.compile(r"(?:https?|s3|gs|az|azure)://\S{1,4085}", re.IGNORECASE)


def fits(value: object) -> bool:
    """Whether it is a Path, a list of them, a URL, or a text that names a file, a folder or files by a wildcard."""
    if isinstance(value, str):
        return _names_something(value) or _URL.fullmatch(value) is not None
    if isinstance(value, (list, tuple)):
        return bool(value) and all(isinstance(part, Path) for part in value)
    return isinstance(value, Path)


def encode(value: Path | str | list[Path] | tuple[Path, ...], request: Request) -> Encoded:
    """Paths, made absolute, for the store to read. Raises BadValue where nothing is there."""
    if isinstance(value, (list, tuple)):
        return _from_list(value, request)
    if isinstance(value, str) and not _names_something(value):
        return Encoded("custom", file_name(_last_part(value)), media_type(value), "", value, "url")
    path = Path(value) if isinstance(value, str) else _expanded(value)
    if os.path.isfile(path):
        return _from_file(Path(os.path.abspath(path)))
    if os.path.isdir(path):
        return _from_folder(Path(os.path.abspath(path)))
    return _from_wildcard(path, request)


def decode(stored: Stored) -> object:
    """The source: a file has no other value."""
    return stored.source


def _names_something(text: str) -> bool:
    if not text or len(text) >= _PATH_MAX:
        return False
    if os.path.isfile(text) or os.path.isdir(text):
        return True
    # A wildcard needs a folder in front: "really?" is a text, and must not start a search of the working directory.
    wild = ("*" in text or "?" in text) and "\n" not in text and len(Path(text).parts) > 1
    return wild and next(_matches(Path(text)), None) is not None


def _matches(path: Path) -> Iterator[Path]:
    """The files below the path's folder that fit its last part, in no order."""
    if not os.path.isdir(path.parent):
        return
    try:
        yield from (found for found in path.parent.rglob(path.name) if os.path.isfile(found))
    except (ValueError, NotImplementedError):
        return  # not a pattern, such as "a**b"


def _from_file(path: Path) -> Encoded:
    preview = f"{path.name} - {_size(os.path.getsize(path))}\n"
    return Encoded("custom", file_name(path.name), media_type(path.name), preview, path, "file")


def _from_folder(folder: Path) -> Encoded:
    preview = _listing(
        f"Archive content {folder.as_posix()}:\n", ((_relative(f, folder), f) for f in _below(folder))
    )
    return Encoded("archive", _zip_name(folder.name), "application/zip", preview, folder, "tree")


def _from_wildcard(path: Path, request: Request) -> Encoded:
    folder = Path(os.path.abspath(path.parent))
    found = sorted((_relative(file, folder), file) for file in _matches(folder / path.name))
    if not found:
        raise BadValue(f"artifact {request.name!r}: there is no file, folder or match of {path.as_posix()!r}")
    preview = _listing(f"Archive content {path.as_posix()}:\n", found)
    return Encoded("archive", _zip_name(folder.name), "application/zip", preview, found, "list")


def _from_list(paths: Iterable[Path], request: Request) -> Encoded:
    """The files of a list, folders in it with all their files, named from the deepest folder that has them all."""
    files: list[Path] = []
    missing: list[str] = []
    for path in paths:
        absolute = Path(os.path.abspath(_expanded(path)))
        if os.path.isfile(absolute):
            files.append(absolute)
        elif os.path.isdir(absolute):
            files.extend(_below(absolute))
        else:
            missing.append(path.as_posix())
    if not files:
        raise BadValue(
            f"artifact {request.name!r}: none of its files is there: {', '.join(missing[:8]) or 'no files'}"
        )
    common = Path(os.path.commonpath([file.parent for file in files]))
    named = sorted({_relative(file, common): file for file in files}.items())
    notice = f"artifact {request.name!r} lacks what is not there: {', '.join(missing)}" if missing else ""
    preview = _listing("Archive content:\n", named)
    return Encoded("archive", _zip_name(request.name), "application/zip", preview, named, "list", notice)


def _below(folder: Path) -> Iterator[Path]:
    """All files under a folder, each folder's sorted; links to folders are not followed."""
    for root, folders, names in os.walk(folder):
        folders.sort()
        yield from (Path(root, name) for name in sorted(names) if os.path.isfile(os.path.join(root, name)))


def _listing(head: str, files: Iterable[tuple[str, Path]]) -> str:
    """Names and sizes, up to a little more than a preview takes: a folder may have millions of files."""
    lines, length = [head], len(head)
    for name, path in files:
        lines.append(f"{name} - {_size(os.path.getsize(path))}\n")
        length += len(lines[-1])
        if length > PREVIEW_MAX:
            break
    return "".join(lines)


def _expanded(path: Path) -> Path:
    """With "~" replaced, or left alone where there is no home: Path.expanduser would raise."""
    return Path(os.path.expanduser(path))


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _zip_name(name: str) -> str:
    return file_name(name or "root", ".zip")


def _last_part(url: str) -> str:
    return re.split(r"[?#]", url, maxsplit=1)[0].rstrip("/").rpartition("/")[2]


def _size(count: int) -> str:
    """As ClearML shows it: "17 bytes", "1.5 KB"."""
    if count < 1000:
        return "1 byte" if count == 1 else f"{count} bytes"
    power = min((len(str(count)) - 1) // 3, 4)
    amount = f"{count / 1000**power:.2f}".rstrip("0").rstrip(".")
    return f"{amount} {('KB', 'MB', 'GB', 'TB')[power - 1]}"
