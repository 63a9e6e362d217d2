"""A URL -> its place. A text without a scheme is a path. Opens no connection before something is asked of the place."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from tracker.errors import BadValue

if TYPE_CHECKING:
    from tracker.storage.protocol import Place

BUCKETS: Final = ("s3", "gs", "az", "azure")
WEB: Final = ("http", "https")
_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)


def scheme_of(url: str) -> str:
    """A URL's scheme in lower case; "file" of a path. Raises BadValue for one that is not known."""
    match = _SCHEME.match(url)
    scheme = match[1].lower() if match else "file"
    if scheme not in ("file", *BUCKETS, *WEB):
        raise BadValue(
            f"{url!r}: {scheme}:// is not known here: a path, file://, {'://, '.join((*BUCKETS, *WEB))}://"
        )
    return scheme


def normalised(url: str | os.PathLike[str]) -> str:
    """A destination as it is kept: a path as file:///path, without a slash at its end. Raises BadValue."""
    text = os.fspath(url).strip()
    if not text:
        raise BadValue("a destination cannot be empty: name a folder or a URL")
    if scheme_of(text) == "file":
        return local_path(text).as_uri()
    return _bare(text)


def _bare(url: str) -> str:
    """A URL without slashes at its end."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rstrip('/')}"


def local_path(url: str) -> Path:
    """The absolute path of a file:// URL or a path."""
    if _SCHEME.match(url):
        parts = urlsplit(url)
        if parts.netloc not in ("", "localhost"):
            raise BadValue(f"{url} names another machine: file:///PATH has three slashes")
        # urlsplit would cut a name at "?" or "#", which a path may hold and as_uri spells out
        return Path(os.path.abspath(unquote(parts.path)))
    return Path(os.path.abspath(os.path.expanduser(url)))


def is_local(url: str) -> bool:
    """Whether a URL is a path on this machine."""
    return scheme_of(url) == "file"


def place_at(url: str) -> Place:
    """The place that a URL names as a folder. Raises BadValue, ModuleNotFoundError."""
    scheme = scheme_of(url)
    if scheme in BUCKETS:
        from tracker.storage.bucket import BucketPlace

        return BucketPlace(_bare(url))
    if scheme in WEB:
        from tracker.storage.web import WebPlace

        return WebPlace(url)
    from tracker.storage.folder import FolderPlace

    return FolderPlace(local_path(url))


def file_at(url: str) -> tuple[Place, str]:
    """The place and the name of the file that a URL names. Raises BadValue where it names none."""
    if is_local(url):
        path = local_path(url)
        url, name = str(path.parent), path.name
        if not name:
            raise BadValue(f"{url!r} names no file")
        return place_at(url), name
    query = ""
    if scheme_of(url) in WEB and "?" in url:
        url, _, query = url.partition("?")
    folder, _, name = url.rstrip("/").rpartition("/")
    if not name or folder.endswith(":/"):
        raise BadValue(f"{url!r} names no file: a name has to follow the server or bucket")
    return place_at(folder), f"{name}?{query}" if query else name
