"""One pack file: frames that touch, then a footer that pins every byte of them, then 8 bytes to find the footer.

Knows one file at a time; which packs there are, and where an object is, is `objects`.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedWriter, FileIO
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

from xxhash import xxh3_64, xxh3_64_intdigest

from objstore import layout
from objstore.errors import Corrupt, StoreError, Unsupported
from objstore.frame import HEADER_SIZE, Encoding, FrameHeader
from objstore.ids import Kind, ObjectId, hash_bytes, hash_object

if TYPE_CHECKING:
    from typing_extensions import Buffer

_FOOTER: Final = struct.Struct("<4sB3sII")
_FRAME: Final = struct.Struct("<BBBBIQQQ32s")
_OBJECT: Final = struct.Struct("<32sIIQ")
_TRAILER: Final = struct.Struct("<I4s")
_FOOTER_MAGIC: Final = b"OSPF"
_TRAILER_MAGIC: Final = b"OSPE"
_NO_PIN: Final = bytes(32)
_ZERO: Final = bytes(3)


@dataclass(frozen=True, slots=True)
class FrameEntry:
    """A frame as the footer pins it: its header again, how many objects it holds, and two checksums.

    xxh3 is over header and payload; pin is BLAKE3 of the payload, or 32 zero bytes for a raw frame, whose payload
    is its one object's content and so pinned by that id.
    """

    header: FrameHeader
    objects: int
    xxh3: int
    pin: bytes
    offset: int

    @property
    def size(self) -> int:
        """Bytes of the pack it takes."""
        return HEADER_SIZE + self.header.stored_size


@dataclass(frozen=True, slots=True)
class ObjectEntry:
    """Where an object's content lies: `size` bytes at `offset` of the content of frame number `frame`."""

    id: ObjectId
    frame: int
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Footer:
    """What a pack holds. Its encoded bytes hash to the pack's id."""

    frames: tuple[FrameEntry, ...]
    objects: tuple[ObjectEntry, ...]

    def encode(self) -> bytes:
        """Head, frames in file order, objects sorted by id."""
        parts = [_FOOTER.pack(_FOOTER_MAGIC, 1, _ZERO, len(self.frames), len(self.objects))]
        for f in self.frames:
            h = f.header
            parts.append(
                _FRAME.pack(
                    h.kind, h.encoding, *h.parameters, f.objects, h.raw_size, h.stored_size, f.xxh3, f.pin
                )
            )
        parts += [_OBJECT.pack(o.id, o.frame, o.offset, o.size) for o in self.objects]
        return b"".join(parts)

    @classmethod
    def decode(cls, data: bytes) -> Footer:
        """Parse and check. Raises Corrupt or Unsupported."""
        frames = footer_frames(data)
        split = _FOOTER.size + len(frames) * _FRAME.size
        objects = tuple(
            ObjectEntry(ObjectId(i), f, o, n) for i, f, o, n in _OBJECT.iter_unpack(memoryview(data)[split:])
        )
        _check(frames, objects)
        return cls(frames, objects)

    @property
    def frames_size(self) -> int:
        """Bytes of frames before the footer."""
        return self.frames[-1].offset + self.frames[-1].size if self.frames else 0

    def kind(self, entry: ObjectEntry) -> Kind:
        """The kind of one of its objects."""
        return self.frames[entry.frame].header.kind


def footer_counts(data: bytes) -> tuple[int, int]:
    """How many frames and objects a footer's bytes claim, which fits their length. Raises Corrupt or Unsupported."""
    if len(data) < _FOOTER.size:
        raise Corrupt("a pack footer is cut short")
    if len(data) > layout.FOOTER_MAX:
        raise Corrupt(f"a pack footer of {len(data)} bytes is over the limit of {layout.FOOTER_MAX}")
    magic, version, zero, n_frames, n_objects = _FOOTER.unpack_from(data)
    if magic != _FOOTER_MAGIC or zero != _ZERO:
        raise Corrupt("no pack footer here")
    if version != 1:
        raise Unsupported(f"a pack footer of version {version}: a newer version of the program wrote it")
    if len(data) != _FOOTER.size + n_frames * _FRAME.size + n_objects * _OBJECT.size:
        raise Corrupt("a pack footer's length is not what its counts say")
    return n_frames, n_objects


def footer_frames(data: bytes) -> tuple[FrameEntry, ...]:
    """The frames in a footer's bytes, in file order. Raises Corrupt or Unsupported."""
    n_frames, _ = footer_counts(data)
    return tuple(_frames(memoryview(data)[_FOOTER.size : _FOOTER.size + n_frames * _FRAME.size]))


def _frames(data: memoryview) -> Iterator[FrameEntry]:
    offset = 0
    for kind, encoding, first, second, objects, raw, stored, xxh3, pin in _FRAME.iter_unpack(data):
        header = FrameHeader.of(kind, encoding, (first, second), raw, stored)
        if (encoding == Encoding.RAW) != (pin == _NO_PIN):
            raise Corrupt("a frame is pinned in the wrong way")
        if objects == 0 or (objects != 1 and encoding in (Encoding.RAW, Encoding.LIST)):
            raise Corrupt("a frame holds an impossible number of objects")
        yield FrameEntry(header, objects, xxh3, pin, offset)
        offset += HEADER_SIZE + stored


def _check(frames: tuple[FrameEntry, ...], objects: tuple[ObjectEntry, ...]) -> None:
    counts = [0] * len(frames)
    filled = [0] * len(frames)
    for o in objects:
        if o.frame >= len(frames) or o.offset + o.size > frames[o.frame].header.raw_size:
            raise Corrupt(f"object {o.id} lies outside its frame")
        counts[o.frame] += 1
        filled[o.frame] += o.size
    for f, count, size in zip(frames, counts, filled, strict=True):
        if count != f.objects or size != f.header.raw_size:
            raise Corrupt("a frame's objects do not fill it")
    for a, b in pairwise(objects):
        # Nearly all differ in their ids: only then are no tuples made.
        if a.id >= b.id and (a.id, a.frame, a.offset) > (b.id, b.frame, b.offset):
            raise Corrupt("a pack footer's objects are not in order")


@dataclass(frozen=True, slots=True)
class SealedFrame:
    """A frame ready to be written: its header and payload, its checksums, and its members as (id, bytes of content)."""

    header: FrameHeader
    stored: bytes | memoryview
    members: Sequence[tuple[ObjectId, int]]
    xxh3: int
    pin: bytes


def seal_frame(
    header: FrameHeader, stored: bytes | memoryview, members: Sequence[tuple[ObjectId, int]]
) -> SealedFrame:
    """Compute what a footer pins a frame with. `members` stand in their order in the content."""
    check = xxh3_64(header.pack())
    check.update(stored)
    pin = _NO_PIN if header.encoding is Encoding.RAW else hash_bytes(stored)
    return SealedFrame(header, stored, members, check.intdigest(), pin)


class _OwnFile(FileIO):
    """A file that only the process that made it writes to.

    A forked child has a copy of the buffer before it, which Python flushes when the child ends: into the very file that
    the parent goes on writing.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "xb")
        self.process = os.getpid()

    def write(self, data: Buffer, /) -> int:
        """Write, but in a child."""
        return super().write(data) if self.process == os.getpid() else memoryview(data).nbytes


class PackWriter:
    """Writes one pack into a new file at `path`; nothing is durable or visible before `finish` and a rename.

    A forked child can do no harm to it, and has no use of it: there, writing and finishing raise StoreError.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._raw = _OwnFile(path)
        self._file = BufferedWriter(self._raw, layout.MIB)
        self._frames: list[FrameEntry] = []
        self._objects: list[tuple[ObjectId, int, int, int]] = []  # as in an ObjectEntry
        self.size = 0

    def add(
        self, header: FrameHeader, stored: bytes | memoryview, members: Sequence[tuple[ObjectId, int]]
    ) -> None:
        """Append a frame that holds `members`, pairs of (id, bytes of content) in their order in the content."""
        self.write(seal_frame(header, stored, members))

    def write(self, frame: SealedFrame) -> None:
        """Append a frame. Raises StoreError where it would need a longer footer than readers accept; see `full`."""
        if self._footer_size + _FRAME.size + len(frame.members) * _OBJECT.size > layout.FOOTER_MAX:
            raise StoreError(f"a pack of {len(self._objects)} objects can take no more: begin another")
        self._check_own()
        number, offset = len(self._frames), 0
        for object_id, size in frame.members:
            self._objects.append((object_id, number, offset, size))
            offset += size
        self._file.write(frame.header.pack())
        self._file.write(frame.stored)
        self._frames.append(FrameEntry(frame.header, len(frame.members), frame.xxh3, frame.pin, self.size))
        self.size += HEADER_SIZE + len(frame.stored)

    @property
    def full(self) -> bool:
        """Whether the pack is to be finished: it is as long as packs should be, or its footer is."""
        return self.size >= layout.PACK_TARGET or self.footer_full

    @property
    def footer_full(self) -> bool:
        """Whether it holds about as many objects as one footer can list."""
        return self._footer_size >= layout.FOOTER_FULL

    @property
    def _footer_size(self) -> int:
        return _FOOTER.size + len(self._frames) * _FRAME.size + len(self._objects) * _OBJECT.size

    @property
    def empty(self) -> bool:
        """Whether no frame has been added."""
        return not self._frames

    @property
    def ids(self) -> set[ObjectId]:
        """The objects added so far."""
        return {entry[0] for entry in self._objects}

    def finish(self) -> tuple[str, Footer]:
        """Write the footer, fsync, close; returns the pack's id (64 hex digits) and footer.

        An error from fsync is final: the kernel may have dropped the pages, so the file must be thrown away.
        """
        self._check_own()
        self._objects.sort()
        footer = Footer(tuple(self._frames), tuple(ObjectEntry(*row) for row in self._objects))
        data = footer.encode()
        self._file.write(data + _TRAILER.pack(len(data), _TRAILER_MAGIC))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return hash_bytes(data).hex(), footer

    def discard(self) -> None:
        """Close and remove the unfinished file."""
        try:
            with suppress(OSError):  # closing flushes, and the disk that refused a write refuses this one too
                self._file.close()
        finally:
            if self._raw.process == os.getpid():  # else it is the parent's, who goes on with it
                self.path.unlink(missing_ok=True)

    def _check_own(self) -> None:
        if self._raw.process != os.getpid():
            raise StoreError("this pack was begun before a fork, by the parent: begin a new transaction here")


def footer_bytes(fd: int, pack_id: str) -> tuple[bytes, int]:
    """The footer of an open pack, not parsed but hashing to `pack_id`, and the file's size. Raises Corrupt."""
    size = os.fstat(fd).st_size
    if size < _TRAILER.size + _FOOTER.size:
        raise Corrupt(f"pack {pack_id} is cut short ({size} bytes)")
    length, magic = _TRAILER.unpack(os.pread(fd, _TRAILER.size, size - _TRAILER.size))
    if magic != _TRAILER_MAGIC or not _FOOTER.size <= length <= min(size - _TRAILER.size, layout.FOOTER_MAX):
        raise Corrupt(f"pack {pack_id} is cut short or damaged at its end")
    data = os.pread(fd, length, size - _TRAILER.size - length)
    if hash_bytes(data).hex() != pack_id:
        raise Corrupt(f"pack {pack_id} has a footer that is not the one its name stands for")
    return data, size


def read_footer(fd: int, pack_id: str) -> Footer:
    """The footer of an open pack, if it hashes to `pack_id` and fits the file. Raises Corrupt or Unsupported."""
    data, size = footer_bytes(fd, pack_id)
    footer = Footer.decode(data)
    if footer.frames_size + len(data) + _TRAILER.size != size:
        raise Corrupt(f"pack {pack_id} is {size} bytes long, which is not what its footer says")
    return footer


def pack_bytes(frames: bytes, footer: bytes) -> bytes:
    """A whole pack file from its frames and its footer."""
    return frames + footer + _TRAILER.pack(len(footer), _TRAILER_MAGIC)


def trailer_size() -> int:
    """Bytes after the footer."""
    return _TRAILER.size


def parse_trailer(data: bytes) -> int:
    """The footer's length in the last bytes of a pack. Raises Corrupt."""
    if len(data) != _TRAILER.size:
        raise Corrupt("a pack is cut short")
    length, magic = _TRAILER.unpack(data)
    if magic != _TRAILER_MAGIC or not _FOOTER.size <= length <= layout.FOOTER_MAX:
        raise Corrupt("a pack is cut short or damaged at its end")
    return int(length)


def check_frame(entry: FrameEntry, data: bytes, members: list[ObjectEntry]) -> None:
    """Check a frame's stored bytes (header and payload) against the footer, not its content. Raises Corrupt."""
    if len(data) != entry.size or data[:HEADER_SIZE] != entry.header.pack():
        raise Corrupt("a frame's header is not what the footer says")
    payload = memoryview(data)[HEADER_SIZE:]
    if entry.header.encoding is Encoding.RAW:
        if hash_object(entry.header.kind, payload) != members[0].id:
            raise Corrupt("a raw frame's bytes are not those of its object")
    elif hash_bytes(payload) != entry.pin:
        raise Corrupt("a frame's stored bytes are not those that the footer pins")
    if xxh3_64_intdigest(data) != entry.xxh3:
        raise Corrupt("a frame's scrub checksum does not fit")
