"""A place on a web server that takes PUT and DELETE, and gives files by GET. Lists nothing: HTTP cannot."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from objstore.errors import NotFound, RemoteError
from tracker.storage.protocol import CONNECT, PIECE, RETRIES, TIMEOUT, Entry

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

_DONE = frozenset((200, 201, 202, 204))
_ABSENT = frozenset((404, 410))


class WebPlace:
    """Files below a URL. Raises ModuleNotFoundError that names the extra where urllib3 is missing."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        self._url = f"{parts.scheme}://{host}{parts.path.rstrip('/')}"  # no message shows a password
        self._pool = _pool(self._url, parts.username, parts.password)

    def put(self, name: str, pieces: Iterable[bytes], size: int | None = None) -> None:
        """One PUT, and no second try: the pieces may be there only once. Whole or not is the server's care."""
        headers = {**self._pool.headers, "Content-Type": "application/octet-stream"}
        if size is not None:
            headers["Content-Length"] = str(size)
        with self._told(name):
            answer = self._pool.request(
                "PUT",
                self._address(name),
                body=iter(pieces),
                headers=headers,
                chunked=size is None,
                retries=False,
            )
        self._check(answer, name)

    def get(self, name: str) -> Iterator[bytes]:
        """One GET; a body that ends early is an error."""
        with self._told(name):
            answer = self._pool.request("GET", self._address(name), preload_content=False)
            try:
                self._check(answer, name)
                yield from answer.stream(PIECE)
            finally:
                answer.release_conn()

    def head(self, name: str) -> Entry:
        """What the headers tell."""
        with self._told(name):
            answer = self._pool.request("HEAD", self._address(name))
        self._check(answer, name)
        size = answer.headers.get("Content-Length", "")
        changed = answer.headers.get("Last-Modified")
        try:
            time = parsedate_to_datetime(changed).timestamp() if changed else 0.0
        except ValueError:
            time = 0.0
        return Entry(name, int(size) if size.isdecimal() else -1, time)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Always RemoteError."""
        raise RemoteError(
            f"{self._url} cannot be listed: a web server tells of a file only when it is asked for it"
        )

    def delete(self, name: str) -> None:
        """One DELETE."""
        with self._told(name):
            answer = self._pool.request("DELETE", self._address(name))
        if answer.status not in _ABSENT:
            self._check(answer, name)

    def _address(self, name: str) -> str:
        return f"{self._url}/{name}" if "?" in name else f"{self._url}/{quote(name, safe='/%')}"

    def _check(self, answer: BaseHTTPResponse, name: str) -> None:
        if answer.status in _ABSENT:
            raise NotFound(f"{self._url}/{name} is not there")
        if answer.status not in _DONE:
            raise RemoteError(
                f"{self._url}/{name}: the server answered {answer.status} {answer.reason or ''}".rstrip()
            )

    @contextmanager
    def _told(self, name: str) -> Iterator[None]:
        from urllib3.exceptions import HTTPError

        try:
            yield
        except (HTTPError, OSError) as error:
            if isinstance(error, RemoteError):
                raise
            raise RemoteError(f"{self._url}/{name}: {error}") from error


def _pool(url: str, user: str | None, password: str | None) -> PoolManager:
    try:
        import urllib3
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{url} needs urllib3: pip install 'dottracker[http]'") from error
    from urllib3.util import Retry, Timeout

    options: dict[str, Any] = {
        "timeout": Timeout(CONNECT, TIMEOUT),
        "retries": Retry(RETRIES, backoff_factor=0.2),
    }
    if user is not None:
        auth = f"{unquote(user)}:{unquote(password or '')}"
        options["headers"] = urllib3.make_headers(basic_auth=auth)
    return urllib3.PoolManager(**options)
