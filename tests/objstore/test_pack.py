"""One pack file: every byte of it is pinned, and a damaged or lying one is refused."""

from __future__ import annotations

import contextlib
import os
import random
import struct
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore.errors import Corrupt, StoreError, Unsupported
from objstore.frame import Encoding, FrameHeader, encode
from objstore.ids import Kind, ObjectId, hash_bytes, hash_object
from objstore.pack import (
    Footer,
    FrameEntry,
    Members,
    ObjectEntry,
    PackWriter,
    check_content,
    check_frame,
    objects_in,
    open_frame,
    pack_bytes,
    parse_trailer,
    read_footer,
    trailer_size,
)

CONTENTS = [b"raw content: too short to compress", b"text " * 200, b"", random.Random(1).randbytes(100)]


def write(path: Path, contents: list[bytes] = CONTENTS) -> tuple[str, Footer]:
    """A pack with one frame for each content, and one frame that holds two objects."""
    writer = PackWriter(path)
    for content in contents:
        header, stored = encode(Kind.BLOB, content)
        writer.add(header, stored, [(hash_object(Kind.BLOB, content), len(content))])
    pair = [b"first of two, " * 30, b"second of two, " * 30]
    header, stored = encode(Kind.TREE, b"".join(pair))
    writer.add(header, stored, [(hash_object(Kind.TREE, part), len(part)) for part in pair])
    return writer.finish()


def read(path: Path, pack_id: str) -> dict[ObjectId, bytes]:
    """Every object in a pack, each frame checked first."""
    found = {}
    with path.open("rb") as file:
        footer = read_footer(file.fileno(), pack_id)
        for frame, members in zip(footer.frames, Members(footer), strict=True):
            raw = check_content(frame, os.pread(file.fileno(), frame.size, frame.offset), members)
            for entry in members:
                found[entry.id] = raw[entry.offset : entry.offset + entry.size]
    return found


@pytest.fixture
def pack(tmp_path: Path) -> tuple[Path, str]:
    """A small pack and its id."""
    path = tmp_path / "pack"
    return path, write(path)[0]


def test_what_was_written_is_read(pack: tuple[Path, str]) -> None:
    """Contents, several frames, and two objects in one frame."""
    found = read(*pack)
    assert [found[hash_object(Kind.BLOB, c)] for c in CONTENTS] == CONTENTS
    assert len(found) == len(CONTENTS) + 2


def test_the_id_is_the_hash_of_the_footer(pack: tuple[Path, str]) -> None:
    """And the file ends with the footer's length, so that it can be found from the end."""
    data = pack[0].read_bytes()
    length = parse_trailer(data[-trailer_size() :])
    footer = data[-trailer_size() - length : -trailer_size()]
    assert hash_bytes(footer).hex() == pack[1]
    assert pack_bytes(data[: -trailer_size() - length], footer) == data


def test_two_writers_of_the_same_objects_write_the_same_pack(tmp_path: Path) -> None:
    """Nothing of the time, the place or the process gets in."""
    assert write(tmp_path / "a") == write(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_every_changed_byte_is_noticed(pack: tuple[Path, str]) -> None:
    """Whichever byte of a pack is changed, its footer or one of its frames is refused."""
    path, pack_id = pack
    data = path.read_bytes()
    for where in range(len(data)):
        path.write_bytes(data[:where] + bytes([data[where] ^ 1 << where % 8]) + data[where + 1 :])
        with pytest.raises(StoreError):
            read(path, pack_id)


def test_every_cut_is_noticed(pack: tuple[Path, str]) -> None:
    """To whichever length a pack is cut, and whatever is added, it is refused, with its id in the message."""
    path, pack_id = pack
    data = path.read_bytes()
    for part in (*(data[:n] for n in range(len(data))), data + b"\0", b"\0" + data, data + data):
        path.write_bytes(part)
        with pytest.raises(Corrupt, match=pack_id):
            read(path, pack_id)


def test_another_pack_under_its_name_is_noticed(pack: tuple[Path, str], tmp_path: Path) -> None:
    """A sound pack is refused under a name that is not its own."""
    write(tmp_path / "other", [b"other content"])
    with pytest.raises(Corrupt, match="not the one its name stands for"):
        read(tmp_path / "other", pack[1])


def test_a_frame_is_checked_against_the_footer(pack: tuple[Path, str]) -> None:
    """Payload by its pin, header and payload by the scrub checksum; the footer is what is believed."""
    with pack[0].open("rb") as file:
        footer = read_footer(file.fileno(), pack[1])
        frame = footer.frames[1]
        data = os.pread(file.fileno(), frame.size, frame.offset)
    members = [entry for entry in footer.objects if entry.frame == 1]
    check_frame(frame, data, members)
    lying = FrameEntry(frame.header, 1, frame.xxh3 ^ 1, frame.pin, frame.offset)
    with pytest.raises(Corrupt, match="scrub"):
        check_frame(lying, data, members)
    with pytest.raises(Corrupt, match="pins"):
        check_frame(FrameEntry(frame.header, 1, frame.xxh3, bytes(31) + b"\1", 0), data, members)
    with pytest.raises(Corrupt, match="header"):
        check_frame(frame, data + b"\0", members)


@pytest.mark.parametrize("lie", ["id", "place"])
def test_an_object_of_a_sound_frame_is_checked_against_its_id(tmp_path: Path, lie: str) -> None:
    """Its neighbours are not suspected; an object may not begin where no other ends, whatever it holds there."""
    first, second = b"one and the same " * 20, b"one and the same " * 20 + b"but longer"
    writer = PackWriter(tmp_path / "pack")
    ids = [hash_object(Kind.TREE, part) for part in (first, second)]
    sizes = [len(first), len(second)]
    writer.add(*encode(Kind.TREE, first + second), list(zip(ids, sizes, strict=True)))
    pack_id, footer = writer.finish()
    (frame,), (members,) = footer.frames, Members(footer)
    with (tmp_path / "pack").open("rb") as file:
        assert read_footer(file.fileno(), pack_id) == footer
        data = file.read(frame.size)
    assert check_content(frame, data, members) == first + second
    members = [replace(members[0], id=ids[1])] if lie == "id" else [replace(members[0], offset=len(first))]
    members.append(Members(footer)[0][1])
    fault = "is not what its id says" if lie == "id" else "overlaps another one"
    with pytest.raises(Corrupt, match=f"{members[0].id} {fault}"):
        check_content(frame, data, members)
    found = list(objects_in(frame, members, open_frame(frame, data, members)))
    assert [wrong for _, _, wrong in found] == [fault, ""]
    assert found[1][1] == second


# --- footers -------------------------------------------------------------------------------------------------------

ids = st.binary(min_size=32, max_size=32).map(ObjectId)
pins = st.binary(min_size=32, max_size=32).filter(any)


@st.composite
def footers(draw: st.DrawFn) -> Footer:
    """Footers that say nothing impossible."""
    frames: list[FrameEntry] = []
    objects: list[ObjectEntry] = []
    offset = 0
    for number in range(draw(st.integers(0, 4))):
        encoding = draw(st.sampled_from([Encoding.RAW, Encoding.ZSTD, Encoding.LIST]))
        grouped = encoding is Encoding.ZSTD
        sizes = draw(st.lists(st.integers(0, 5000), min_size=1, max_size=4 if grouped else 1))
        raw = sum(sizes)
        header = FrameHeader(
            Kind.BLOB if encoding is Encoding.LIST else draw(st.sampled_from(Kind)),
            encoding,
            (0, 0),
            raw,
            raw if encoding is Encoding.RAW else draw(st.integers(0, 5000)),
        )
        pin = bytes(32) if encoding is Encoding.RAW else draw(pins)
        frames.append(FrameEntry(header, len(sizes), draw(st.integers(0, (1 << 64) - 1)), pin, offset))
        offset += frames[-1].size
        at = 0
        for size in sizes:
            objects.append(ObjectEntry(draw(ids), number, at, size))
            at += size
    return Footer(tuple(frames), tuple(sorted(objects, key=lambda o: (o.id, o.frame, o.offset))))


@given(footers())
def test_a_footer_survives_its_bytes(footer: Footer) -> None:
    """Encode and decode are inverse: 16 bytes, 64 a frame and 48 an object."""
    data = footer.encode()
    assert Footer.decode(data) == footer
    assert len(data) == 16 + 64 * len(footer.frames) + 48 * len(footer.objects)
    assert [footer.kind(entry) for entry in footer.objects] == [
        footer.frames[entry.frame].header.kind for entry in footer.objects
    ]


@given(footers())
def test_the_rows_of_a_footer_are_a_sequence(footer: Footer) -> None:
    """By number, from behind, by slice and one after another they are the same; and beyond the end there is none."""
    for rows in (footer.frames, footer.objects):
        every = list(rows)
        assert [rows[n] for n in range(len(rows))] == every
        assert [rows[n - len(rows)] for n in range(len(rows))] == every
        assert (rows[1:], rows[:-1]) == (every[1:], every[:-1])
        with pytest.raises(IndexError):
            rows[len(rows)]
    spans = [(f.offset, f.offset + f.size) for f in footer.frames]
    assert [footer.frames.span(n) for n in range(len(spans))] == spans
    assert footer.frames.size == footer.frames_size == (spans[-1][1] if spans else 0)
    for number, frame in enumerate(footer.frames):
        assert footer.frames.kind(number) is frame.header.kind
        assert footer.frames.is_list(number) == (frame.header.encoding is Encoding.LIST)


@given(footers())
def test_the_members_of_a_frame_come_in_their_order(footer: Footer) -> None:
    """Each object in one frame, one after another; an empty one before what begins where it does."""
    inside = list(Members(footer))
    assert len(inside) == len(Members(footer)) == len(footer.frames)
    assert sorted((e.id, e.frame, e.offset) for each in inside for e in each) == [
        (e.id, e.frame, e.offset) for e in footer.objects
    ]
    for number, entries in enumerate(inside):
        assert all(entry.frame == number for entry in entries)
        ends = [0, *(entry.offset + entry.size for entry in entries)]
        assert ends[:-1] == [entry.offset for entry in entries]


def test_a_footer_takes_little_more_memory_than_its_bytes() -> None:
    """Whoever moves a store holds the footers of all its packs, with the members of each frame."""
    count = 20_000
    frame = struct.pack("<BBBBIQQQ32s", 0, 1, 0, 0, 1, 300, 300, 0, b"x" * 32)
    rows = b"".join(struct.pack("<32sIIQ", n.to_bytes(32, "big"), n, 0, 300) for n in range(count))
    data = struct.pack("<4sB3sII", b"OSPF", 1, bytes(3), count, count) + frame * count + rows
    tracemalloc.start()
    footer = Footer.decode(data)
    members = Members(footer)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (len(members), members[7][0].id) == (count, footer.objects[7].id)
    assert kept < 30 * count
    assert peak < 100 * count


@given(footers(), st.data())
def test_a_damaged_footer_is_refused_or_is_another_footer(footer: Footer, data: st.DataObject) -> None:
    """Whatever one byte is changed to, no two byte strings are one footer."""
    raw = bytearray(footer.encode())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(Corrupt, Unsupported):
        assert Footer.decode(bytes(raw)).encode() == raw


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda rest: b"OSPF\x01\0\0\0" + rest))
def test_an_arbitrary_footer_raises_only_declared_errors(data: bytes) -> None:
    """A footer is read or refused."""
    with contextlib.suppress(Corrupt, Unsupported):
        assert Footer.decode(data).encode() == data


def one(objects: list[ObjectEntry], count: int | None = None, raw: int = 10) -> bytes:
    """The bytes of a footer with one compressed frame of `raw` bytes and these objects."""
    header = FrameHeader(Kind.BLOB, Encoding.ZSTD, (0, 0), raw, 8)
    frame = FrameEntry(header, len(objects) if count is None else count, 1, bytes(31) + b"\1", 0)
    return Footer((frame,), tuple(objects)).encode()


def faults() -> Iterator[tuple[str, bytes]]:
    """Footers that lie, each in one way."""
    a, b = ObjectId(bytes(32)), ObjectId(bytes(31) + b"\1")
    good = one([ObjectEntry(a, 0, 0, 4), ObjectEntry(b, 0, 4, 6)])
    assert Footer.decode(good)
    yield "cut short", good[:10]
    yield "length", good[:-1]
    yield "length", good + b"\0"
    yield "length", good[:8] + b"\xff\xff\xff\xff" + good[12:]
    yield "no pack footer", b"X" + good[1:]
    yield "no pack footer", good[:5] + b"\1" + good[6:]
    yield "order", one([ObjectEntry(b, 0, 4, 6), ObjectEntry(a, 0, 0, 4)])
    yield "order", one([ObjectEntry(a, 0, 4, 6), ObjectEntry(a, 0, 0, 4)])
    yield "outside", one([ObjectEntry(a, 1, 0, 10)])
    yield "outside", one([ObjectEntry(a, 0, 1, 10)])
    yield "outside", one([ObjectEntry(a, 0, 0, 1 << 63)])
    yield "fill", one([ObjectEntry(a, 0, 0, 9)])
    yield "fill", one([ObjectEntry(a, 0, 0, 10)], count=2)
    yield "number of objects", one([], count=0)
    yield "pinned", good[:16] + struct.pack("<B", 0) + good[17:48] + bytes(32) + good[80:]
    raw = FrameHeader(Kind.BLOB, Encoding.RAW, (0, 0), 5, 5)
    yield "pinned", Footer((FrameEntry(raw, 1, 0, b"\1" * 32, 0),), (ObjectEntry(a, 0, 0, 5),)).encode()
    yield "number of objects", Footer((FrameEntry(raw, 2, 0, bytes(32), 0),), ()).encode()


@pytest.mark.parametrize(("what", "data"), list(faults()))
def test_a_footer_with_a_fault_is_refused(what: str, data: bytes) -> None:
    """Each rule is checked when it is read, whoever wrote it."""
    with pytest.raises(Corrupt, match=what):
        Footer.decode(data)


def test_a_later_footer_is_unsupported() -> None:
    """Not damage: an older program says so."""
    with pytest.raises(Unsupported, match="version 2"):
        Footer.decode(b"OSPF\x02" + Footer((), ()).encode()[5:])


@given(st.binary(min_size=0, max_size=12))
def test_a_trailer_is_read_or_corrupt(data: bytes) -> None:
    """Its length is bounded, so a reader can allocate for it."""
    with contextlib.suppress(Corrupt):
        assert 16 <= parse_trailer(data) <= 256 << 20


def test_discarding_removes_the_file(tmp_path: Path) -> None:
    """Also when closing it fails, as on a full disk: its buffer is flushed to where nothing more goes."""
    writer = PackWriter(tmp_path / "pack")
    writer.add(*encode(Kind.BLOB, b"abc"), [(hash_object(Kind.BLOB, b"abc"), 3)])
    if Path("/dev/full").exists():
        with open("/dev/full", "wb") as full:
            os.dup2(full.fileno(), writer._file.fileno())
    writer.discard()
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_never_written_over(tmp_path: Path) -> None:
    """A writer's file is new."""
    (tmp_path / "pack").write_bytes(b"precious")
    with pytest.raises(FileExistsError):
        PackWriter(tmp_path / "pack")
    assert (tmp_path / "pack").read_bytes() == b"precious"
