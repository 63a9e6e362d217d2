"""One pack file: frames that touch, then a footer that pins every byte of them, then 8 bytes to find the footer.

Knows one file at a time; which packs there are, and where an object is, is `objects`.
"""

from __future__ import annotations

import os
import struct
from array import array
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedWriter, FileIO
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Final, overload

from xxhash import xxh3_64, xxh3_64_intdigest

from objstore import layout
from objstore.errors import Corrupt, StoreError, Unsupported
from objstore.frame import HEADER_SIZE, Encoding, FrameHeader, check_header, decode
from objstore.ids import Kind, ObjectId, hash_bytes, hash_object
from objstore.records import ChunkList

if TYPE_CHECKING:
    from typing_extensions import Buffer

_FOOTER: Final = struct.Struct("<4sB3sII")
_FRAME: Final = struct.Struct("<BBBBIQQQ32s")
_OBJECT: Final = struct.Struct("<32sIIQ")
_SORTED: Final = struct.Struct(">32sIIQ")  # the same, as bytes that sort as their numbers do
_TRAILER: Final = struct.Struct("<I4s")
_FOOTER_MAGIC: Final = b"OSPF"
_TRAILER_MAGIC: Final = b"OSPE"
_NO_PIN: Final = bytes(32)
_ZERO: Final = bytes(3)
_RAW: Final = int(Encoding.RAW)
_LIST: Final = int(Encoding.LIST)
_LONE: Final = (_RAW, _LIST)  # of one object each
_KINDS: Final = tuple(Kind)


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


class Frames(Sequence[FrameEntry]):
    """The frames of a footer, made as they are asked for: each takes 72 bytes, and as a FrameEntry 400."""

    __slots__ = ("_ends", "_rows")

    def __init__(self, rows: bytes | memoryview) -> None:
        """`rows`: 64 bytes a frame, that have been checked."""
        self._rows = memoryview(rows)
        self._ends = array("Q", accumulate(HEADER_SIZE + row[6] for row in _FRAME.iter_unpack(self._rows)))

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> FrameEntry: ...
    @overload
    def __getitem__(self, index: slice) -> list[FrameEntry]: ...
    def __getitem__(self, index: int | slice) -> FrameEntry | list[FrameEntry]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        row = _FRAME.unpack_from(self._rows, number * _FRAME.size)
        return _frame(row, self._ends[number - 1] if number else 0)

    def __iter__(self) -> Iterator[FrameEntry]:
        start = 0
        for row, end in zip(_FRAME.iter_unpack(self._rows), self._ends, strict=True):
            yield _frame(row, start)
            start = end

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Frames) and self._rows == other._rows

    __hash__ = None  # type: ignore[assignment]  # as every sequence that may be equal to another

    def span(self, number: int) -> tuple[int, int]:
        """Where a frame begins and ends in the pack: what is asked of all frames at once."""
        return self._ends[number - 1] if number else 0, self._ends[number]

    def kind(self, number: int) -> Kind:
        """The kind of a frame's objects, without making the rest of it."""
        return _KINDS[self._rows[number * _FRAME.size]]

    def is_list(self, number: int) -> bool:
        """Whether a frame is a chunk list, without making the rest of it."""
        return self._rows[number * _FRAME.size + 1] == _LIST

    @property
    def size(self) -> int:
        """Bytes of the pack that all of them take."""
        return self._ends[-1] if self._ends else 0


def _frame(row: tuple[int, int, int, int, int, int, int, int, bytes], offset: int) -> FrameEntry:
    kind, encoding, first, second, objects, raw, stored, xxh3, pin = row
    return FrameEntry(
        FrameHeader.of(kind, encoding, (first, second), raw, stored), objects, xxh3, pin, offset
    )


class Entries(Sequence[ObjectEntry]):
    """The objects of a footer, made as they are asked for: each takes 48 bytes, and as an ObjectEntry 250."""

    __slots__ = ("_rows",)

    def __init__(self, rows: bytes | memoryview) -> None:
        """`rows`: 48 bytes an object, sorted."""
        self._rows = memoryview(rows)

    def __len__(self) -> int:
        return len(self._rows) // _OBJECT.size

    @overload
    def __getitem__(self, index: int) -> ObjectEntry: ...
    @overload
    def __getitem__(self, index: slice) -> list[ObjectEntry]: ...
    def __getitem__(self, index: int | slice) -> ObjectEntry | list[ObjectEntry]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        row = _OBJECT.unpack_from(self._rows, range(len(self))[index] * _OBJECT.size)
        return ObjectEntry(ObjectId(row[0]), *row[1:])

    def __iter__(self) -> Iterator[ObjectEntry]:
        for object_id, frame, offset, size in self.rows():
            yield ObjectEntry(ObjectId(object_id), frame, offset, size)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Entries) and self._rows == other._rows

    __hash__ = None  # type: ignore[assignment]  # as every sequence that may be equal to another

    def rows(self) -> Iterator[tuple[bytes, int, int, int]]:
        """As plain (id, frame, offset, size): what is asked of all objects at once."""
        return _OBJECT.iter_unpack(self._rows)


class Footer:
    """What a pack holds, kept as its encoded bytes, which hash to the pack's id; it must not be changed."""

    __slots__ = ("_data", "frames", "objects")

    def __init__(self, frames: Sequence[FrameEntry], objects: Sequence[ObjectEntry]) -> None:
        """Takes frames in file order, and objects sorted by id, frame and offset; checks neither."""
        parts = [_FOOTER.pack(_FOOTER_MAGIC, 1, _ZERO, len(frames), len(objects))]
        for f in frames:
            h = f.header
            parts.append(
                _FRAME.pack(
                    h.kind, h.encoding, *h.parameters, f.objects, h.raw_size, h.stored_size, f.xxh3, f.pin
                )
            )
        parts += [_OBJECT.pack(o.id, o.frame, o.offset, o.size) for o in objects]
        self._take(b"".join(parts))

    def _take(self, data: bytes) -> None:
        self._data = data
        _, _, _, n_frames, _ = _FOOTER.unpack_from(data)
        split = _FOOTER.size + n_frames * _FRAME.size
        self.frames = Frames(memoryview(data)[_FOOTER.size : split])
        self.objects = Entries(memoryview(data)[split:])

    @classmethod
    def _of(cls, data: bytes) -> Footer:
        found = cls.__new__(cls)
        found._take(data)
        return found

    def encode(self) -> bytes:
        """Head, frames in file order, objects sorted by id."""
        return self._data

    @classmethod
    def decode(cls, data: bytes) -> Footer:
        """Parse and check. Raises Corrupt or Unsupported."""
        raws, counts = _checked_frames(data)
        split = _FOOTER.size + len(raws) * _FRAME.size
        _check_objects(memoryview(data)[split:], raws, counts)
        return cls._of(data)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Footer) and self._data == other._data

    def __hash__(self) -> int:
        return hash(self._data)

    @property
    def frames_size(self) -> int:
        """Bytes of frames before the footer."""
        return self.frames.size

    def kind(self, entry: ObjectEntry) -> Kind:
        """The kind of one of its objects."""
        return self.frames.kind(entry.frame)


class Members:
    """Per frame of a footer its objects, in their order in the content: 4 bytes an object."""

    __slots__ = ("_entries", "_order", "_starts")

    def __init__(self, footer: Footer) -> None:
        self._entries = footer.objects
        counts = array("I", bytes(4 * (len(footer.frames) + 1)))
        for _, frame, _, _ in self._entries.rows():
            counts[frame + 1] += 1
        self._starts = array("I", accumulate(counts))
        self._order = array("I", bytes(4 * len(self._entries)))
        free = array("I", self._starts)
        for row, (_, frame, _, _) in enumerate(self._entries.rows()):
            self._order[free[frame]] = row
            free[frame] += 1

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, number: int) -> list[ObjectEntry]:
        rows = self._order[self._starts[number] : self._starts[number + 1]]
        # One that is empty comes before what begins where it does.
        return sorted((self._entries[row] for row in rows), key=lambda entry: (entry.offset, entry.size))

    def __iter__(self) -> Iterator[list[ObjectEntry]]:
        return (self[number] for number in range(len(self)))


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


def footer_frames(data: bytes) -> Frames:
    """The frames in a footer's bytes, in file order. Raises Corrupt or Unsupported."""
    n_frames = len(_checked_frames(data)[0])
    return Frames(memoryview(data)[_FOOTER.size : _FOOTER.size + n_frames * _FRAME.size])


def _checked_frames(data: bytes) -> tuple[array[int], array[int]]:
    """Per frame in a footer's bytes the bytes of its content and how many objects it holds, all of it checked."""
    n_frames, _ = footer_counts(data)
    rows = memoryview(data)[_FOOTER.size : _FOOTER.size + n_frames * _FRAME.size]
    raws, counts = array("Q"), array("I")
    for kind, encoding, first, second, objects, raw, stored, _, pin in _FRAME.iter_unpack(rows):
        check_header(kind, encoding, first, second, raw, stored)
        if (encoding == _RAW) != (pin == _NO_PIN):
            raise Corrupt("a frame is pinned in the wrong way")
        if objects != 1 and (objects == 0 or encoding in _LONE):
            raise Corrupt("a frame holds an impossible number of objects")
        raws.append(raw)
        counts.append(objects)
    return raws, counts


def _check_objects(rows: memoryview, raws: array[int], counts: array[int]) -> None:
    missing, space, frames = array("I", counts), array("Q", raws), len(raws)
    last: tuple[bytes, int, int, int] = (b"", 0, 0, 0)
    for row in _OBJECT.iter_unpack(rows):
        object_id, frame, offset, size = row
        if frame >= frames or offset + size > raws[frame]:
            raise Corrupt(f"object {object_id.hex()} lies outside its frame")
        # Nearly all differ in their ids: only then are no tuples made.
        if object_id <= last[0] and last[:3] > row[:3]:
            raise Corrupt("a pack footer's objects are not in order")
        if not missing[frame] or size > space[frame]:
            raise Corrupt("a frame's objects do not fill it")
        missing[frame] -= 1
        space[frame] -= size
        last = row
    if any(missing) or any(space):
        raise Corrupt("a frame's objects do not fill it")


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
        self._frames = bytearray()
        self._objects = bytearray()  # as _SORTED
        self.size = 0

    def add(
        self, header: FrameHeader, stored: bytes | memoryview, members: Sequence[tuple[ObjectId, int]]
    ) -> None:
        """Append a frame that holds `members`, pairs of (id, bytes of content) in their order in the content."""
        self.write(seal_frame(header, stored, members))

    def write(self, frame: SealedFrame) -> None:
        """Append a frame. Raises StoreError where it would need a longer footer than readers accept; see `full`."""
        if self._footer_size + _FRAME.size + len(frame.members) * _OBJECT.size > layout.FOOTER_MAX:
            count = len(self._objects) // _OBJECT.size
            raise StoreError(f"a pack of {count} objects can take no more: begin another")
        self._check_own()
        number, offset = len(self._frames) // _FRAME.size, 0
        for object_id, size in frame.members:
            self._objects += _SORTED.pack(object_id, number, offset, size)
            offset += size
        self._file.write(frame.header.pack())
        self._file.write(frame.stored)
        h, count = frame.header, len(frame.members)
        self._frames += _FRAME.pack(
            h.kind, h.encoding, *h.parameters, count, h.raw_size, h.stored_size, frame.xxh3, frame.pin
        )
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
        return _FOOTER.size + len(self._frames) + len(self._objects)

    @property
    def empty(self) -> bool:
        """Whether no frame has been added."""
        return not self._frames

    @property
    def ids(self) -> set[ObjectId]:
        """The objects added so far."""
        return {ObjectId(row[0]) for row in _SORTED.iter_unpack(self._objects)}

    def finish(self) -> tuple[str, Footer]:
        """Write the footer, fsync, close; returns the pack's id (64 hex digits) and footer.

        An error from fsync is final: the kernel may have dropped the pages, so the file must be thrown away.
        """
        size = _OBJECT.size
        rows = sorted(bytes(self._objects[at : at + size]) for at in range(0, len(self._objects), size))
        head = _FOOTER.pack(_FOOTER_MAGIC, 1, _ZERO, len(self._frames) // _FRAME.size, len(rows))
        objects = b"".join(_OBJECT.pack(*_SORTED.unpack(row)) for row in rows)
        data = b"".join((head, self._frames, objects))
        footer = Footer._of(data)
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
    check_length(pack_id, footer.frames_size, len(data), size)
    return footer


def check_length(pack_id: str, frames: int, footer: int, size: int) -> None:
    """Raise Corrupt for a pack of `size` bytes that is not as long as its frames and its footer are."""
    if frames + footer + _TRAILER.size != size:
        raise Corrupt(f"pack {pack_id} is {size} bytes long, which is not what its footer says")


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


def open_frame(entry: FrameEntry, data: bytes, members: list[ObjectEntry]) -> bytes:
    """What a frame holds, if its stored bytes are those of the footer: its content, of a chunk list the list's bytes.

    Such a list has the length that it should; what its chunks make up is not asked. Raises Corrupt, Unsupported.
    """
    check_frame(entry, data, members)
    raw = decode(entry.header, data[HEADER_SIZE:])
    if entry.header.encoding is Encoding.LIST and ChunkList.decode(raw).size != members[0].size:
        raise Corrupt(f"the chunk list of {members[0].id} has not the length its frame says")
    return raw


def objects_in(
    entry: FrameEntry, members: list[ObjectEntry], raw: bytes
) -> Iterator[tuple[ObjectEntry, bytes, str]]:
    """The objects of an opened frame, each with its content and what is wrong with it, "" where nothing is.

    The one object of a chunk list comes with the list's bytes, which prove nothing.
    """
    if entry.header.encoding is Encoding.LIST:
        yield members[0], raw, ""
        return
    at = 0
    for member in members:
        content = raw[member.offset : member.offset + member.size]
        # A raw frame's only object was hashed with the frame.
        right = entry.header.encoding is Encoding.RAW or hash_object(entry.header.kind, content) == member.id
        fault = "overlaps another one" if member.offset != at else "" if right else "is not what its id says"
        yield member, content, fault
        at += member.size


def check_content(entry: FrameEntry, data: bytes, members: list[ObjectEntry]) -> bytes:
    """Check all of a frame, and each of its objects against its id; returns and raises what `open_frame` does."""
    raw = open_frame(entry, data, members)
    for member, _, fault in objects_in(entry, members, raw):
        if fault:
            raise Corrupt(f"object {member.id} {fault}")
    return raw
