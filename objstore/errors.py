"""Every error the store raises on purpose.

StoreError
├── NotFound      (KeyError)          no object, head or file has that id
├── Ambiguous     (LookupError)       a prefix fits more than one id
├── Corrupt       (ValueError)        bytes are not what their id or format says
├── Lost          (NotFound, Corrupt) no readable pack holds it, and some packs cannot be read
├── Unsupported                       a newer format or feature
├── InvalidName   (ValueError)        a name that no file system should be given
├── ReadOnly      (PermissionError)   the store can be read but not written
├── Conflict                          somebody else did it first, differently
└── RemoteError   (ConnectionError)   a remote did not do what was asked
"""

from __future__ import annotations


class StoreError(Exception):
    """The root: whatever the store refuses or cannot do, with a text that says what to do next."""

    def __str__(self) -> str:
        # KeyError, a base of NotFound, would show the repr of its argument.
        return str(self.args[0]) if self.args else type(self).__name__


class NotFound(StoreError, KeyError):
    """No object, head or file has that id."""


class Ambiguous(StoreError, LookupError):
    """A prefix fits more than one id; `candidates` lists them."""

    def __init__(self, prefix: str, candidates: list[str]) -> None:
        shown = ", ".join(candidates[:8]) + (", …" if len(candidates) > 8 else "")
        super().__init__(f"{prefix} fits {len(candidates)} ids ({shown}): give more characters")
        self.prefix = prefix
        self.candidates = candidates


class Corrupt(StoreError, ValueError):
    """Bytes are not what their id or their format says; they were not used."""


class Lost(NotFound, Corrupt):
    """No readable pack holds the object, while some packs cannot be read: it may be in one of those."""


class Unsupported(StoreError):
    """The store was written by a newer version, with something this one does not know."""


class InvalidName(StoreError, ValueError):
    """A name that could escape its folder, or that some file system cannot hold."""


class ReadOnly(StoreError, PermissionError):
    """The store can be read but not written."""


class Conflict(StoreError):
    """Something of that name is there already, with another content."""


class RemoteError(StoreError, ConnectionError):
    """A remote did not do what was asked."""
