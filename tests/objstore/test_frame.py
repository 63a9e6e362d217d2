"""Frames: content comes back bit for bit, and a hostile one is refused before it costs memory."""

from __future__ import annotations

import contextlib
import random
import struct
import tracemalloc

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from objstore import layout, zstd
from objstore.errors import Corrupt, StoreError, Unsupported
from objstore.frame import (
    HEADER_SIZE,
    Encoding,
    FrameHeader,
    decode,
    encode,
    encode_list,
)
from objstore.ids import Kind
from objstore.zstd import compress, decompress

MIB = layout.MIB
contents = (
    st.binary(max_size=2000)
    | st.binary(min_size=1, max_size=8).map(lambda part: part * 4000)
    | st.integers(0, 99).map(lambda seed: random.Random(seed).randbytes(70_000))
)


def header(
    kind: int, encoding: int, first: int, second: int, raw: int, stored: int, magic: bytes = b"OSF\x01"
) -> bytes:
    """A frame header with any numbers in it."""
    return struct.pack("<4sBBBBQQ", magic, kind, encoding, first, second, raw, stored)


@settings(deadline=None)
@given(st.sampled_from(Kind), contents, st.booleans())
def test_content_survives_its_frame(kind: Kind, raw: bytes, as_view: bool) -> None:
    """Whatever the encoding, decoding gives the content; the header says what is there."""
    head, stored = encode(kind, memoryview(raw) if as_view else raw)
    assert FrameHeader.parse(head.pack()) == head
    assert (head.kind, head.raw_size, head.stored_size) == (kind, len(raw), len(stored))
    assert decode(head, bytes(stored)) == raw
    assert len(stored) <= len(raw)


def test_what_compresses_is_compressed_and_what_does_not_is_raw() -> None:
    """Raw when zstd would save less than 5 %: reading it is several times as fast."""
    noise = random.Random(1).randbytes(300_000)
    barely = noise[:290_000] + bytes(10_000)
    assert encode(Kind.BLOB, b"text " * 1000)[0].encoding is Encoding.ZSTD
    assert encode(Kind.BLOB, b"")[0].encoding is Encoding.RAW
    assert encode(Kind.BLOB, noise)[0].encoding is Encoding.RAW
    assert encode(Kind.BLOB, barely)[0].encoding is Encoding.RAW
    assert encode(Kind.BLOB, bytes(1000))[0].encoding is Encoding.ZSTD


@settings(deadline=None)
@given(contents.filter(len))
def test_a_chunk_list_survives_its_frame(encoded_list: bytes) -> None:
    """Decoding a list frame gives the list's bytes; its raw size is that of the file, not of the list."""
    head, stored = encode_list(encoded_list, 123456789)
    assert (head.kind, head.encoding, head.raw_size) == (Kind.BLOB, Encoding.LIST, 123456789)
    assert decode(FrameHeader.parse(head.pack()), stored) == encoded_list


@given(st.binary(max_size=40) | st.binary(max_size=40).map(lambda rest: b"OSF\x01" + rest))
def test_an_arbitrary_header_raises_only_declared_errors(data: bytes) -> None:
    """A header is read or refused; what is read is written as it was."""
    try:
        head = FrameHeader.parse(data)
    except (Corrupt, Unsupported):
        return
    assert head.pack() == data[:HEADER_SIZE]


@given(st.lists(st.integers(0, 5), min_size=4, max_size=4), st.integers(0, 1 << 62), st.integers(0, 1 << 62))
def test_a_header_never_claims_more_than_the_limits(small: list[int], raw: int, stored: int) -> None:
    """Whoever reads by a parsed header needs no check of its own before it allocates."""
    try:
        head = FrameHeader.parse(header(small[0], small[1], small[2], small[3], raw, stored))
    except (Corrupt, Unsupported):
        return
    assert head.stored_size <= layout.RECORD_MAX + layout.KIB
    assert head.raw_size <= (layout.RAW_MAX if head.encoding is Encoding.LIST else 2 * layout.BLOB_MAX)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (header(0, 0, 0, 0, 5, 5)[:-1], Corrupt),
        (header(0, 0, 0, 0, 5, 5, b"OSX\x01"), Corrupt),
        (header(0, 0, 0, 0, 5, 5, b"OSF\x02"), Unsupported),
        (header(9, 0, 0, 0, 5, 5), Unsupported),
        (header(0, 9, 0, 0, 5, 5), Unsupported),
        (header(0, 0, 0, 0, 5, 6), Corrupt),
        (header(0, 0, 1, 0, 5, 5), Unsupported),
        (header(0, 1, 0, 1, 5, 5), Unsupported),
        (header(0, 3, 2, 0, 5, 5), Unsupported),
        (header(0, 2, 3, 0, 5, 5), Unsupported),
        (header(0, 2, 4, 4, 5, 5), Unsupported),
        (header(1, 3, 0, 0, 5, 5), Corrupt),
        (header(0, 1, 0, 0, 2 * layout.BLOB_MAX + 1, 9999), Corrupt),
        (header(0, 1, 0, 0, 9_000_000, 20), Corrupt),
        (header(0, 3, 0, 0, 9_000_000_000, 1 << 40), Corrupt),
        (header(0, 3, 0, 0, layout.RAW_MAX + 1, 20), Corrupt),
    ],
)
def test_a_header_with_a_fault_is_refused(data: bytes, error: type[StoreError]) -> None:
    """Each rule, and Unsupported for what a later version may mean."""
    with pytest.raises(error):
        FrameHeader.parse(data)


def test_a_frame_that_no_reader_accepts_is_not_written() -> None:
    """One bad header would make its whole pack unreadable, so it is refused while it is made."""
    with pytest.raises(Corrupt):
        FrameHeader(Kind.BLOB, Encoding.ZSTD, (0, 0), 2 * layout.BLOB_MAX + 1, 1000)


def test_sizes_must_be_as_the_header_says() -> None:
    """Stored bytes and content, neither more nor fewer."""
    head, stored = encode(Kind.BLOB, b"text " * 1000)
    for wrong in (bytes(stored)[:-1], bytes(stored) + b"\0", b""):
        with pytest.raises(Corrupt):
            decode(head, wrong)
    for wrong in (b"1234", b"123456"):
        with pytest.raises(Corrupt):
            decode(FrameHeader(Kind.BLOB, Encoding.RAW, (0, 0), 5, 5), wrong)
    for claimed in (4999, 5001):
        with pytest.raises(Corrupt):
            decode(FrameHeader(Kind.BLOB, Encoding.ZSTD, (0, 0), claimed, len(stored)), bytes(stored))


@given(st.binary(max_size=100) | st.binary(max_size=100).map(lambda rest: b"\x28\xb5\x2f\xfd" + rest))
def test_arbitrary_zstd_bytes_raise_only_corrupt(data: bytes) -> None:
    """The decoder's own errors do not get out."""
    with contextlib.suppress(Corrupt):
        assert len(decompress(data, 1000)) <= 1000


@settings(deadline=None)
@given(st.integers(0, 9999), st.integers(1, 255))
def test_a_damaged_zstd_frame_gives_at_most_its_limit(where: int, mask: int) -> None:
    """With a byte changed it is refused, or gives something that the id will refuse; never more than it may."""
    stored = bytearray(compress(b"some text, " * 3000, 3))
    stored[where % len(stored)] ^= mask
    with contextlib.suppress(Corrupt):
        assert len(decompress(bytes(stored), 33_000)) <= 33_000


def test_a_bomb_is_refused_before_it_unfolds() -> None:
    """8 KiB that unfold to 256 MiB, with the size declared and not: memory stays near the limit."""
    zeros = bytes(MIB)
    declared = zstandard.ZstdCompressor().compress(bytes(256 * MIB))
    streaming = zstandard.ZstdCompressor().compressobj()
    hidden = b"".join(streaming.compress(zeros) for _ in range(256)) + streaming.flush()
    assert len(declared) < 10_000
    for bomb in (declared, hidden):
        tracemalloc.start()
        with pytest.raises(Corrupt, match="more than"):
            decompress(bomb, 2 * MIB)
        assert tracemalloc.get_traced_memory()[1] < 6 * MIB
        tracemalloc.stop()


def test_a_declared_size_is_not_trusted() -> None:
    """A frame of 13 bytes that declares a terabyte is refused, and none of it allocated."""
    with pytest.raises(Corrupt):
        decompress(b"\x28\xb5\x2f\xfd\xe0" + (1 << 40).to_bytes(8, "little"), 1000)


def test_a_compressors_bug_never_costs_the_content(monkeypatch: pytest.MonkeyPatch) -> None:
    """What zstd returns is decoded and compared before it is kept."""
    zstd._tools().compressor(3)  # so that there is one to replace

    class Broken:
        def compress(self, data: bytes) -> bytes:
            return zstandard.ZstdCompressor().compress(bytes(data)[:-1] + b"\xff")

    monkeypatch.setitem(zstd._tools()._compressors, 3, Broken())
    with pytest.raises(Corrupt, match="nothing was stored"):
        encode(Kind.BLOB, b"text " * 1000)
