"""Where a store's files are sent to and fetched from: one small protocol, the sum of one-verb protocols.

A remote moves whole files under names such as `packs/ab/<id>.pack`. It knows nothing of what is in them, checks no
content (whoever reads does, by id) and needs no lock: a name is derived from its content or from a random id, so two
who put one name put the same bytes. Every verb may raise RemoteError (it did not work, or nobody knows whether it
did), and InvalidName for a name that `check_name` refuses.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from objstore import layout
from objstore.errors import InvalidName

NAME_MAX: Final = 1024  # bytes of a name: the limit of S3 and its kin
PART_MAX: Final = 255  # bytes between two slashes: the limit of most file systems


@dataclass(frozen=True, slots=True)
class Listed:
    """One file of a listing: its name and its bytes."""

    name: str
    size: int


class Lists(Protocol):
    """Can say what is there."""

    def list(self, prefix: str) -> Iterator[Listed]:
        """Every file whose name begins with the text `prefix`, in no promised order; none is no error.

        `refs` is the prefix of `refs/…` and of `refs.packed/…`. A file put or deleted meanwhile may be shown or not;
        a file that is half put is never shown. Errors come with the call or with any step of the iteration.
        """
        ...


class Gets(Protocol):
    """Can give a whole file."""

    def get(self, name: str, limit: int = layout.TABLE_MAX) -> bytes:
        """The file's content. Raises NotFound when it is absent, RemoteError when it has more than `limit` bytes.

        What comes back is what one put gave, whole, unless the remote is damaged or lies: the caller checks it.
        """
        ...


class Ranges(Protocol):
    """Can give a part of a file."""

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """`length` bytes at `offset`, fewer where the file ends before, never more. Raises NotFound when it is absent.

        Raises ValueError for a negative offset or length.
        """
        ...


class Puts(Protocol):
    """Can take a file."""

    def put(self, name: str, source: bytes | Path) -> None:
        """Store bytes, or the content of a local file, under `name`, durably.

        Whole or not at all: a reader never sees part of it. Putting a name again with the same content is harmless,
        so a put whose reply was lost is simply repeated. Raises OSError for a local file that cannot be opened.
        """
        ...


class Deletes(Protocol):
    """Can remove a file."""

    def delete(self, name: str) -> None:
        """Remove a file; one that is absent is no error."""
        ...


class Source(Lists, Gets, Ranges, Protocol):
    """What a pull needs: a remote that may be read only."""

    @property
    def url(self) -> str:
        """Names the remote, in messages and in the local cache. Never holds a secret."""
        ...


class Target(Source, Puts, Protocol):
    """What a push needs: nothing is overwritten and nothing deleted."""


class Remote(Target, Deletes, Protocol):
    """All verbs: what a folder, a bucket or a server of our own offers."""


def check_name(name: str) -> str:
    """Return `name` if it is safe on every remote: relative, of plain components. Raises InvalidName."""
    for part in name.split("/"):
        if part in ("", ".", "..") or "\\" in part or "\0" in part or len(_encoded(part)) > PART_MAX:
            raise InvalidName(
                f"{name!r} is no name for a remote: relative, without empty parts, '..', '\\' and NUL"
            )
    if len(_encoded(name)) > NAME_MAX:
        raise InvalidName(
            f"a name of {len(name)} characters is too long for a remote: {NAME_MAX} bytes at most"
        )
    return name


def check_prefix(prefix: str) -> str:
    """Return `prefix` if a safe name may begin with it; the empty one is that of all. Raises InvalidName."""
    folder, slash, _ = prefix.rpartition("/")
    if slash:
        check_name(folder)
    # One letter more makes a name of an unfinished last part, but not of `..`: no name begins with that part alone.
    check_name("x" if prefix.endswith("/") or not prefix else prefix)
    return prefix


def check_range(offset: int, length: int) -> None:
    """Raise ValueError for a negative offset or length."""
    if offset < 0 or length < 0:
        raise ValueError(f"{length} bytes at {offset} is no range: both numbers are 0 or more")


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InvalidName(f"{text!r} is not valid text: a name is UTF-8") from error
