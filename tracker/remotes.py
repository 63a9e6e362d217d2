"""The store's remotes: named in its config.toml, and opened from there.

Knows folders only so far; every other kind of URL is refused with one line. Opens no workspace.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from objstore import layout as store_layout
from objstore.errors import Conflict, NotFound
from tracker import config
from tracker.errors import BadValue

if TYPE_CHECKING:
    from objstore.remotes.folder import FolderRemote

ORIGIN: Final = "origin"  # what a clone calls the store that it came from
_NAME: Final = re.compile(r"[a-z0-9_-]+")
_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_LATER: Final = ("s3", "gs", "az", "http", "https")
_HOST: Final = re.compile(r"[^/\\:]{2,}:")  # scp's host:path; one letter is a Windows drive


# --- in the settings -------------------------------------------------------------------------------------------------


def configured(root: Path) -> dict[str, str]:
    """Name to URL of the remotes of the store at `root`, the default one first. Raises BadValue for a damaged file."""
    found: dict[str, str] = {}
    for name, entry in _tables(root).items():
        if not isinstance(entry, dict) or not isinstance(entry.get("url"), str):
            raise BadValue(
                f'{_settings(root)}: [remote.{name}] has no url = "…": add it, or remove the section'
            )
        found[name] = entry["url"]
    return found


def add(root: Path, name: str, url: str) -> str:
    """Name a remote in the settings of the store at `root`, make its folder if there is none; returns the URL as kept.

    A relative path is taken from the working directory and kept relative to the folder that the store lies in.
    Raises BadValue, Conflict (the name is taken, or the folder holds something else), RemoteError, OSError.
    """
    if not _NAME.fullmatch(name):
        raise BadValue(f"{name!r} cannot name a remote: use the letters a-z, digits, - and _")
    known = configured(root)
    if name in known:
        raise Conflict(
            f"there is a remote {name} already, {known[name]}: take another name, or edit {_settings(root)}"
        )
    kept = _kept(root, url)
    folder = _folder(root, kept)
    _check_target(root, folder)
    open_remote(root, kept, create=True)
    _write(root, name, kept)
    return kept


def choose(root: Path, name: str | None) -> tuple[str, str]:
    """(name, URL) of a remote by name, or of the default one: the first in the settings. Raises NotFound."""
    known = configured(root)
    if not known:
        raise NotFound("this store has no remote yet: tracker remote add NAME FOLDER")
    if name is None:
        return next(iter(known.items()))
    if name not in known:
        raise NotFound(f"there is no remote named {name!r}: this store has {', '.join(known)}")
    return name, known[name]


def _settings(root: Path) -> Path:
    return root / store_layout.CONFIG_FILE


def _tables(root: Path) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        found = tomllib.loads(_settings(root).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadValue(f"{_settings(root)} is not valid TOML: {error}") from error
    remotes = found.get("remote", {})
    if not isinstance(remotes, dict):
        raise BadValue(f"{_settings(root)}: remote is no table: write [remote.NAME]")
    return remotes


def _write(root: Path, name: str, url: str) -> None:
    """Add a section to the settings, whose comments and order stay as they are."""
    import tomlkit

    path = _settings(root)
    document = tomlkit.parse(path.read_text(encoding="utf-8")) if path.exists() else tomlkit.document()
    entry = tomlkit.table()
    entry["url"] = url
    if "remote" not in document:
        document["remote"] = tomlkit.table(is_super_table=True)
    document["remote"][name] = entry
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        part.write_text(tomlkit.dumps(document), encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


# --- URLs ------------------------------------------------------------------------------------------------------------


def open_remote(root: Path, url: str, *, create: bool = False) -> FolderRemote:
    """The remote behind a URL as it is kept in the settings of the store at `root`; with `create` it is made.

    Raises BadValue for what this version has no remote for.
    """
    from objstore.remotes.folder import FolderRemote

    return FolderRemote(_folder(root, url), create=create)


def is_store(folder: Path) -> bool:
    """Whether the folder has what a store, or a copy of its shared part, is made of."""
    return any((folder / part).exists() for part in (store_layout.FORMAT_FILE, *store_layout.UNION))


def parse(url: str) -> Path:
    """The folder that a path or file:// URL names. Raises BadValue for any other sort of URL."""
    if not url:
        raise BadValue("a remote needs a folder: give a path or file:///path")
    scheme = _SCHEME.match(url)
    if scheme and scheme[1].lower() in _LATER:
        raise BadValue(
            f"{scheme[0]}… is not supported by this version, which has folders only: give a path or file:///path"
        )
    if scheme and scheme[1].lower() == "file":
        from urllib.parse import unquote, urlsplit

        parts = urlsplit(url)
        if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
            raise BadValue(f"{url!r} names no folder of this machine: write file:///path, with three slashes")
        return Path(unquote(parts.path))
    if scheme or (_HOST.match(url) and not os.path.lexists(url)):
        raise BadValue(f"{url!r} is no folder: give a path (with a colon in it: ./{url}) or file:///path")
    return Path(os.path.expanduser(url))


def _kept(root: Path, url: str) -> str:
    """A URL as it is written down: paths are relative to the store's parent where they were given relative."""
    folder = parse(url)
    if folder.is_absolute():
        return url if _SCHEME.match(url) else str(config.store_in(folder))
    kept = Path(os.path.relpath(config.store_in(folder).absolute(), root.absolute().parent)).as_posix()
    return f"./{kept}" if _HOST.match(kept) else kept


def _folder(root: Path, url: str) -> Path:
    # Not resolved: `..` is meant by the path as it is written, and that is where the pair was put side by side.
    return Path(os.path.normpath(root.absolute().parent / parse(url)))


def _check_target(root: Path, folder: Path) -> None:
    """Raise Conflict for a folder into which no store should be pushed."""
    if folder.exists() and root.exists() and folder.samefile(root):
        raise Conflict(f"{folder} is this very store: name another folder")
    if folder.exists() and not folder.is_dir():
        raise Conflict(f"{folder} is a file: name a folder")
    if folder.is_dir() and any(folder.iterdir()) and not is_store(folder):
        raise Conflict(f"{folder} has other things in it and is no store: name an empty or a new folder")
