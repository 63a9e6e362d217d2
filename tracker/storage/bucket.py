"""A place in a bucket of S3, Google Cloud or Azure, through obstore. Credentials are the environment's, never ours."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from objstore.errors import NotFound, RemoteError
from tracker.errors import BadValue
from tracker.storage.protocol import CONNECT, PIECE, RETRIES, TIMEOUT, Entry

if TYPE_CHECKING:
    from obstore.store import ObjectStore


class BucketPlace:
    """Objects below a prefix of a bucket. url: s3://bucket/prefix, s3://host:port/bucket/prefix, gs://…, az://….

    Raises BadValue for a URL without a bucket, ModuleNotFoundError that names the extra where obstore is missing.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._store, self._prefix = _opened(url)

    def put(self, name: str, pieces: Iterable[bytes], size: int | None = None) -> None:
        """In several parts where it is large; the object appears with the last of them."""
        import obstore

        with self._told(name):
            if size is not None and size <= PIECE:
                obstore.put(self._store, self._key(name), b"".join(pieces))
            else:
                obstore.put(self._store, self._key(name), iter(pieces))

    def get(self, name: str) -> Iterator[bytes]:
        """The object as it comes."""
        import obstore

        with self._told(name):
            for piece in obstore.get(self._store, self._key(name)).stream(min_chunk_size=PIECE):
                yield bytes(piece)

    def head(self, name: str) -> Entry:
        """Of an object."""
        import obstore

        with self._told(name):
            found = obstore.head(self._store, self._key(name))
        return Entry(name, found["size"], found["last_modified"].timestamp())

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """As the bucket tells, which may be a little behind."""
        import obstore

        start = self._key(prefix)
        folder = start.rpartition("/")[0]  # buckets are asked for whole folders
        with self._told(prefix):
            found = [each for page in obstore.list(self._store, folder or None) for each in page]
        for each in sorted(found, key=lambda each: each["path"]):
            if each["path"].startswith(start):
                name = each["path"][len(self._prefix) :].lstrip("/")
                yield Entry(name, each["size"], each["last_modified"].timestamp())

    def delete(self, name: str) -> None:
        """The object."""
        import obstore

        try:
            with self._told(name):
                obstore.delete(self._store, self._key(name))
        except NotFound:
            return

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}" if self._prefix else name

    @contextmanager
    def _told(self, name: str) -> Iterator[None]:
        from obstore.exceptions import BaseError, NotFoundError

        where = f"{self._url}/{name}".rstrip("/")
        try:
            yield
        except (NotFoundError, FileNotFoundError) as error:
            raise NotFound(f"{where} is not there") from error
        except (BaseError, OSError, ValueError) as error:
            raise RemoteError(f"{where}: {_short(error)}") from error


def _short(error: Exception) -> str:
    """The first line of obstore's message, whose rest is a debug print."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _opened(url: str) -> tuple[ObjectStore, str]:
    """The store of a URL's bucket, and the prefix in it."""
    try:
        from obstore.store import from_url
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{url} needs obstore: pip install 'dottracker[s3]'") from error
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    folders = [part for part in parts.path.split("/") if part]
    if not parts.netloc:
        raise BadValue(f"{url} names no bucket: {scheme}://BUCKET/FOLDER")
    options: Any = {"connect_timeout": timedelta(seconds=CONNECT), "read_timeout": timedelta(seconds=TIMEOUT)}
    retry: Any = {"max_retries": RETRIES, "retry_timeout": timedelta(seconds=TIMEOUT)}
    config: Any = {}
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    bucket = f"{scheme}://{parts.netloc}"
    if scheme == "s3" and parts.port is not None:  # ClearML's spelling of a server of one's own
        if not folders:
            raise BadValue(f"{url} names a server and no bucket: s3://HOST:PORT/BUCKET/FOLDER")
        plain = os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true")
        endpoint = f"{'http' if plain else 'https'}://{parts.netloc}"
        bucket, folders = f"s3://{folders[0]}", folders[1:]
        config["endpoint"] = endpoint
    elif parts.hostname is not None and parts.hostname.endswith(".blob.core.windows.net"):
        if not folders:
            raise BadValue(f"{url} names an account and no container: azure://ACCOUNT.blob…/CONTAINER/FOLDER")
        bucket, folders = f"https://{parts.netloc}/{folders[0]}", folders[1:]
    elif scheme == "azure":
        bucket = f"az://{parts.netloc}"
    if endpoint.startswith("http://"):
        options["allow_http"] = True
    found: ObjectStore = from_url(bucket, config=config or None, client_options=options, retry_config=retry)
    return found, "/".join(folders)
