"""Object ids: BLAKE3-256 of the raw content, under a context of the object's kind. Never of how it is stored."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
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


class IdTable:
    """Distinct ids, numbered as they come: 42 bytes each, where a set of them takes 150."""

    __slots__ = ("_ids", "_mask", "_slots")

    def __init__(self) -> None:
        self._ids = bytearray()
        self._slots = array("I", bytes(4 * 64))  # 1 + the number of the id that is there, 0 where none is
        self._mask = 63

    def __len__(self) -> int:
        return len(self._ids) // SIZE

    def __contains__(self, object_id: object) -> bool:
        return isinstance(object_id, bytes) and self.find(object_id) >= 0

    def __iter__(self) -> Iterator[ObjectId]:
        return (self.id(number) for number in range(len(self)))

    def id(self, number: int) -> ObjectId:
        """The id of a number."""
        return ObjectId(bytes(self._ids[number * SIZE : (number + 1) * SIZE]))

    def find(self, object_id: bytes) -> int:
        """The number of an id, or -1."""
        slots, ids, mask = self._slots, self._ids, self._mask
        at = hash(object_id) & mask  # with a seed that nobody knows: chosen ids cannot be made to meet
        while number := slots[at]:
            if ids[number * SIZE - SIZE : number * SIZE] == object_id:
                return number - 1
            at = at + 1 & mask
        return -1

    def add(self, object_id: bytes) -> int:
        """The number of an id, the next one if it is new."""
        number = self.find(object_id)
        if number < 0:
            number = len(self)
            self._ids += object_id
            if 3 * number > 2 * self._mask:
                self._grow()
            else:
                self._put(object_id, number)
        return number

    def _grow(self) -> None:
        self._mask = 2 * self._mask + 1
        self._slots = array("I", bytes(4 * (self._mask + 1)))
        for number in range(len(self)):
            self._put(bytes(self._ids[number * SIZE : (number + 1) * SIZE]), number)

    def _put(self, object_id: bytes, number: int) -> None:
        slots, at = self._slots, hash(object_id) & self._mask
        while slots[at]:
            at = at + 1 & self._mask
        slots[at] = number + 1
