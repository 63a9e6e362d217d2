"""Cut points: the published FastCDC, whoever computes them and however the bytes arrive."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyfastcdc.py import FastCDC as PurePython
from pyfastcdc.py.constants import GEAR

from objstore import layout
from objstore.chunker import Cutter, Region, cut
from objstore.ids import hash_bytes

KIB, MIB = layout.KIB, layout.MIB


def sample(kind: str, size: int, seed: int = 1) -> bytes:
    """`size` bytes that are random, zero, or lines of text."""
    if kind == "zeros":
        return bytes(size)
    if kind == "random":
        return random.Random(seed).randbytes(size)
    line = b"%d: the same words in every line\n"
    return b"".join(line % i for i in range(size // 30))[:size]


def lengths(data: bytes) -> list[int]:
    """The chunk lengths of data that is there as a whole."""
    return [len(chunk) for chunk in cut(memoryview(data), last=True)]


def windowed(data: bytes, sizes: list[int]) -> list[int]:
    """The chunk lengths of data that arrives in windows of these sizes, the last one over and over."""
    found: list[int] = []
    window, at, turn = b"", 0, 0
    while True:
        more = data[at : at + sizes[min(turn, len(sizes) - 1)]]
        at, turn = at + len(more), turn + 1
        chunks = [len(chunk) for chunk in cut(memoryview(window + more), last=not more)]
        window = (window + more)[sum(chunks) :]
        found += chunks
        if not more:
            return found


@pytest.mark.parametrize("kind", ["random", "zeros", "text"])
def test_cuts_are_those_of_the_pure_python_implementation(kind: str) -> None:
    """The compiled cutter and the readable one agree, so a store can be written by either."""
    data = sample(kind, 3 * MIB + 17)
    pure = PurePython(
        layout.CHUNK_AVG, min_size=layout.CHUNK_MIN, max_size=layout.CHUNK_MAX, normalized_chunking=1
    )
    assert lengths(data) == [chunk.length for chunk in pure.cut_buf(data)]


def described(data: bytes) -> list[int]:
    """The chunk lengths, by the words of docs/format.md."""
    found = []
    while data:
        h, end = 0, min(len(data), layout.CHUNK_MAX)
        looked_at = end - end % 2 if len(data) > layout.CHUNK_MIN else 0
        for at in range(layout.CHUNK_MIN, looked_at):
            h = (2 * h + GEAR[data[at]]) & 0xFFFF_FFFF_FFFF_FFFF
            if not h & (0x0000D90707537000 if at < layout.CHUNK_AVG else 0x0000D90303537000):
                end = at
                break
        found.append(end)
        data = data[end:]
    return found


@pytest.mark.parametrize("size", [MIB, MIB + 1, layout.CHUNK_MIN, 50_001])
def test_the_document_describes_the_cuts(size: int) -> None:
    """Who follows docs/format.md cuts alike; the gear table is the one that it names by its hash."""
    data = sample("random", size, 3)
    assert described(data) == lengths(data)
    table = b"".join(number.to_bytes(8, "little") for number in GEAR)
    document = (Path(__file__).parent.parent.parent / "docs" / "format.md").read_text(encoding="utf-8")
    assert hash_bytes(table).hex() in document


def test_cuts_of_known_data_are_these() -> None:
    """A different cut would store every large file anew: the numbers are part of the format."""
    assert lengths(sample("random", 2 * MIB))[:6] == [182265, 49677, 178776, 160244, 249846, 105571]
    assert lengths(bytes(2 * MIB)) == [layout.CHUNK_MAX] * 4


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["random", "zeros", "text"]),
    st.integers(0, 2 * MIB),
    st.integers(0, 99),
    st.lists(st.integers(1, MIB), min_size=1, max_size=4).map(lambda sizes: [*sizes, 300 * KIB]),
)
def test_cuts_do_not_depend_on_windows(kind: str, size: int, seed: int, sizes: list[int]) -> None:
    """However a file is read, it is cut at the same places."""
    data = sample(kind, size, seed)
    assert windowed(data, sizes) == lengths(data)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 3 * MIB), st.integers(0, 99))
def test_chunks_make_up_the_data_and_keep_the_limits(size: int, seed: int) -> None:
    """No byte is lost or repeated; only the last chunk may be short."""
    data = sample("random", size, seed)
    chunks = list(cut(memoryview(data), last=True))
    assert b"".join(chunks) == data
    assert all(layout.CHUNK_MIN <= len(chunk) <= layout.CHUNK_MAX for chunk in chunks[:-1])
    assert all(0 < len(chunk) <= layout.CHUNK_MAX for chunk in chunks[-1:])


def test_an_insertion_changes_few_chunks() -> None:
    """What a second version shares with the first is found again behind an insertion."""
    data = sample("random", 8 * MIB)
    before = set(cut(memoryview(data), last=True))
    after = set(cut(memoryview(data[: 3 * MIB] + b"inserted" + data[3 * MIB :]), last=True))
    assert 1 <= len(after - before) <= 3


def test_a_window_is_not_cut_at_its_end() -> None:
    """While more bytes are to come, what could become a longer chunk is left."""
    data = sample("random", MIB)
    assert list(cut(memoryview(data[: layout.CHUNK_MAX - 1]), last=False)) == []
    assert sum(len(c) for c in cut(memoryview(data), last=False)) > MIB - layout.CHUNK_MAX - layout.CHUNK_MAX


def pieces(data: bytes, regions: list[Region], window_size: int) -> list[tuple[int, int, int]]:
    """What a Cutter makes of data that arrives in windows: (offset, bytes, item size) of each chunk."""
    cutter, found, window, at = Cutter(regions), [], b"", 0
    while True:
        more = data[at : at + window_size]
        at += len(more)
        window += more
        chunks = [(p.offset, len(p.data), p.item_size) for p in cutter.cut(memoryview(window), last=not more)]
        window = window[sum(size for _, size, _ in chunks) :]
        found += chunks
        if not more:
            return found


def test_an_array_is_cut_alike_wherever_it_lies() -> None:
    """At its start and its end, whatever stands before and after it."""
    array = sample("random", 2 * MIB, 5)
    for before, after in ((0, 0), (1, 70_001), (333_333, 5)):
        data = bytes(before) + array + sample("random", after)
        found = pieces(data, [Region(before, before + len(array), 4)], MIB)
        inside = [size for offset, size, _ in found if before <= offset < before + len(array)]
        assert inside == lengths(array)
        assert [item for offset, _, item in found if before <= offset < before + len(array)] == [4] * len(
            inside
        )


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 3 * MIB), max_size=8, unique=True).map(sorted),
    st.sampled_from([100_000, 600_000, MIB, 4 * MIB]),
)
def test_regions_are_cut_alike_in_any_windows(marks: list[int], window_size: int) -> None:
    """All bytes once, in order, with a cut at each region's start and end; also regions that run past the end."""
    data = sample("random", 2 * MIB + 12_345)
    regions = [Region(a, b, 2) for a, b in zip(marks[::2], marks[1::2], strict=False)]
    found = pieces(data, regions, window_size)
    assert found == pieces(data, regions, len(data))
    ends = {offset + size for offset, size, _ in found}
    assert [offset for offset, _, _ in found] == [0, *sorted(ends)[:-1]]
    assert max(ends) == len(data)
    wanted = {mark for region in regions for mark in (region.start, region.end) if 0 < mark < len(data)}
    assert wanted <= ends
    assert all(size <= layout.CHUNK_MAX for _, size, _ in found)
