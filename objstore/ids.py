"""Object ids: BLAKE3-256 of the raw content, under a context of the object's kind. Never of how it is stored."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from blake3 import blake3

from objstore import layout
from objstore.errors import InvalidName


class Kind(IntEnum):
    """What an object is; the number is the byte on disk."""

    BLOB = 0
    TREE = 1
    CHUNKS = 2
    COMMIT = 3


# Blobs hash plainly, so `b3sum file` is the id of a file's content. The other kinds hash under a context of their
# own (BLAKE3 derive_key mode), else a blob whose bytes are a valid tree would be that tree.
CONTEXTS: Final[dict[Kind, str | None]] = {
    Kind.BLOB: None,
    Kind.TREE: "objstore 2026-11-23 tree v1",
    Kind.CHUNKS: "objstore 2026-11-23 chunk list v1",
    Kind.COMMIT: "objstore 2026-11-23 commit v1",
}

SIZE: Final = 32


class ObjectId(bytes):
    """The 32 bytes of an id; `str()` gives its 64 lower-case hex digits."""

    __slots__ = ()

    def __new__(cls, value: bytes) -> ObjectId:
        """Take 32 bytes for an id. Raises InvalidName for any other number of them."""
        if len(value) != SIZE:
            raise InvalidName(f"an object id has {SIZE} bytes, not {len(value)}")
        return super().__new__(cls, value)

    @classmethod
    def parse(cls, text: str) -> ObjectId:
        """The id that 64 lower-case hex digits spell. Raises InvalidName for anything else."""
        if not layout.is_hex_id(text):
            raise InvalidName(f"{text!r:.1000} is not an object id: 64 lower-case hex digits")
        return bytes.__new__(cls, bytes.fromhex(text))  # of 32 bytes: no need to count them

    def __str__(self) -> str:
        return self.hex()

    def __repr__(self) -> str:
        return f"ObjectId({self.hex()})"


class Hasher:
    """The id of content that arrives in pieces."""

    __slots__ = ("_hash",)

    def __init__(self, kind: Kind = Kind.BLOB, *, threads: int = 1) -> None:
        context = CONTEXTS[kind]
        self._hash = (
            blake3(max_threads=threads)
            if context is None
            else blake3(derive_key_context=context, max_threads=threads)
        )

    def update(self, data: bytes | memoryview) -> None:
        """Add the next piece."""
        self._hash.update(data)

    def id(self) -> ObjectId:
        """The id of all pieces so far."""
        return ObjectId(self._hash.digest())


def hash_object(kind: Kind, data: bytes | memoryview) -> ObjectId:
    """The id of `data` as an object of `kind`."""
    if kind is Kind.BLOB:
        return ObjectId(blake3(data).digest())
    hasher = Hasher(kind)
    hasher.update(data)
    return hasher.id()


def hash_bytes(data: bytes | memoryview) -> bytes:
    """Plain BLAKE3-256 of bytes that are no object: a footer, a table, stored bytes."""
    return blake3(data).digest()
