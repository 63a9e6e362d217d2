"""Columnar scalars: bit-exact round trips, small files, bounded decoding, and summaries that merge in any grouping.

`tests/golden/scalars-v1.tscl` is a file of version 1 as it was first written. A reader must give its points for ever.
Only for a new version of the format write one beside it, from the root of the repository, and add its sum below:
`PYTHONPATH=. python tests/tracker/test_scalars.py tests/golden/scalars-vN.tscl`. The old one stays as it is.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import math
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tracker import scalars
from tracker.errors import CorruptRecord
from tracker.scalars import (
    CorruptScalars,
    Series,
    Summary,
    decode,
    decode_one,
    encode,
    merge_summaries,
    number_from_json,
    number_to_json,
    summarise,
)

GOLDEN = Path(__file__).parent.parent / "golden" / "scalars-v1.tscl"
GOLDEN_SHA256 = "b7c179312f1b325224964f1cfd33ae26928ed27d18649f296937968bf3f5b47b"

I64_MIN, I64_MAX = -(2**63), 2**63 - 1
int64s = st.one_of(st.integers(I64_MIN, I64_MAX), st.integers(-3, 3), st.sampled_from([I64_MIN, I64_MAX]))
words = st.one_of(
    st.integers(0, 2**64 - 1),  # any payload of a NaN, any subnormal
    st.sampled_from(
        [0x7FF0000000000001, 0xFFF8000000000000, 0x7FF0000000000000, 0xFFF0000000000000, 1 << 63, 0, 1]
    ),
)
titles = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def make(title: str, name: str, points: list[tuple[int, int, int]]) -> Series:
    """A series from (step, time, bits of the value)."""
    return Series(
        title,
        name,
        np.array([point[0] for point in points], np.int64),
        np.array([point[1] for point in points], np.int64),
        np.array([point[2] for point in points], np.uint64).view(np.float64),
    )


def bits(series: Series) -> tuple[str, str, bytes, bytes, bytes]:
    """All of a series, comparable: NaN equals NaN of the same payload and nothing else."""
    return (
        series.title,
        series.series,
        series.steps.astype("<i8").tobytes(),
        series.times.astype("<i8").tobytes(),
        series.values.astype("<f8").tobytes(),
    )


def loop(count: int, values: NDArray[np.float64], name: str = "loss", seed: int = 0) -> Series:
    """What a training loop of about 100 µs a step reports."""
    random = np.random.default_rng(seed)
    times = 1_760_000_000_000_000 + np.cumsum((100 + random.exponential(10, count)).astype(np.int64))
    return Series("train", name, np.arange(count), times, values)


def golden_series() -> list[Series]:
    """The points of the golden file, by integer arithmetic that no library version can change."""
    awkward = [
        (5, 1_760_000_000_000_000, 0x7FF0000000000001),
        (5, 1_760_000_000_000_000, 0xFFF8DEADBEEF0001),
        (3, 1_759_999_999_999_999, 0x7FF0000000000000),
        (I64_MIN, I64_MAX, 0xFFF0000000000000),
        (I64_MAX, I64_MIN, 0x8000000000000000),
    ]
    state, noise = 1, []
    for _ in range(500):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        noise.append(state)
    start = struct.unpack("<Q", struct.pack("<d", 1.0))[0]
    return [
        make("awkward", "NaN, inf, -0.0", awkward),
        make("", "", []),
        make(
            "train",
            "δ loss",
            [(i, 1_760_000_000_000_000 + 997 * i, start - i * i * 2**29) for i in range(2000)],
        ),
        make("train", "noise", [(2 * i, i, word) for i, word in enumerate(noise)]),
        make("train", "short", [(i, 10 * i, start) for i in range(7)]),
    ]


# --- round trips ------------------------------------------------------------------------------------------------


@given(
    st.dictionaries(
        st.tuples(titles, titles), st.lists(st.tuples(int64s, int64s, words), max_size=40), max_size=6
    ),
    st.integers(1, 60),
)
@settings(max_examples=150, deadline=None)
def test_any_points_come_back_bit_for_bit(
    chosen: dict[tuple[str, str], list[tuple[int, int, int]]], repeat: int
) -> None:
    """Steps, times and values of any bits, in shared groups and in groups of their own, survive."""
    series = [make(*name, points * repeat) for name, points in chosen.items()]
    data = encode(series)
    assert [bits(each) for each in decode(data)] == [bits(each) for each in series]
    for each in series:
        assert bits(decode_one(data, each.title, each.series)) == bits(each)


@pytest.mark.parametrize("count", [0, 1, 2, 127, 128, 129, 1023, 1024, 1025, 5000])
@pytest.mark.parametrize("kind", ["smooth", "random", "constant"])
def test_every_size_around_a_threshold_comes_back(count: int, kind: str) -> None:
    """The lengths where the writer changes its ways (alone, blocks, sample) are no special case for a reader."""
    steps = np.arange(count)
    values = {
        "smooth": np.exp(-steps / 1000),
        "random": np.random.default_rng(0).standard_normal(count),
        "constant": np.full(count, 0.1),
    }[kind]
    series = [loop(count, values, f"s{index}", index) for index in range(3)]
    assert [bits(each) for each in decode(encode(series))] == [bits(each) for each in series]


def test_strided_and_big_endian_columns_are_stored_by_value() -> None:
    """Views into other arrays, and arrays of a foreign byte order, mean the numbers that they show."""
    steps = np.arange(600)[::-2]
    values = np.linspace(0, 1, 300).astype(">f8")
    decoded = decode(encode([Series("t", "s", steps, steps[:], values)]))[0]
    assert decoded.steps.tolist() == steps.tolist()
    assert decoded.values.tolist() == values.tolist()


def test_decoded_columns_have_the_promised_types() -> None:
    """Callers rely on int64 steps and times and float64 values."""
    decoded = decode(encode([loop(3, np.ones(3))]))[0]
    names = [column.dtype.name for column in (decoded.steps, decoded.times, decoded.values)]
    assert names == ["int64", "int64", "float64"]


def test_many_short_series_share_groups_of_bounded_size() -> None:
    """Reading one short series must not mean decoding thousands."""
    series = [loop(100, np.arange(100.0), f"s{index}", index) for index in range(200)]
    data = encode(series)
    groups = header_of(data)["groups"]
    assert max(sum(name[2] for name in group["series"]) for group in groups) <= 4096
    assert len(groups) <= 6
    assert bits(decode_one(data, "train", "s150")) == bits(series[150])


def test_a_series_that_is_absent_is_a_key_error() -> None:
    """The answer to a wrong name is not an empty series."""
    with pytest.raises(KeyError, match="no series 'train' / 'acc'"):
        decode_one(encode([loop(3, np.ones(3))]), "train", "acc")


@pytest.mark.parametrize(
    ("series", "complaint"),
    [
        ([loop(3, np.ones(2))], "3 steps, 3 times and 2 values"),
        ([loop(3, np.ones(3)), loop(3, np.ones(3))], "given twice"),
        ([Series("t", "s", np.ones(2), np.ones(2, int), np.ones(2))], "float64, 1-d: not 1-d <i8"),
        ([Series("t", "s", np.ones(2, "u8"), np.ones(2, int), np.ones(2))], "uint64"),
        ([Series("t", "s", np.ones((2, 2), int), np.ones((2, 2), int), np.ones((2, 2)))], "2-d"),
        ([loop(1, np.ones(1), "\ud800")], "not text"),
    ],
)
def test_what_cannot_be_stored_exactly_is_refused(series: list[Series], complaint: str) -> None:
    """No silent cast, cut or loss; the text says which series and why."""
    with pytest.raises(ValueError, match=complaint):
        encode(series)


# --- size -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "most"),
    [("exp", 4.0), ("float32", 4.0), ("constant", 1.0), ("random", 10.0), ("any bits", 10.0)],
)
def test_a_point_takes_few_bytes(kind: str, most: float) -> None:
    """The format's budget: 4 bytes a point on smooth data, 10 on random doubles, steps and times included."""
    count, random = 10_000, np.random.default_rng(0)
    decay = np.exp(-np.arange(count) / 1000)
    values = {
        "exp": decay,
        "float32": decay.astype(np.float32).astype(np.float64),
        "constant": np.full(count, 0.3),
        "random": random.standard_normal(count),
        "any bits": random.integers(0, 2**64, count, np.uint64).view(np.float64),
    }[kind]
    assert len(encode([loop(count, values)])) / count <= most


def test_ten_series_of_ten_points_take_little() -> None:
    """A short run's overhead is bounded: under 1.5 KB even for values that do not compress."""
    random = np.random.default_rng(0)
    series = [loop(10, random.standard_normal(10), f"series {index}", index) for index in range(10)]
    assert len(encode(series)) < 1500


# --- the format -------------------------------------------------------------------------------------------------


def header_of(data: bytes) -> Any:
    """The header's JSON, read by the table in the docstring of the module."""
    length = struct.unpack_from("<I", data, 8)[0]
    return json.loads(data[12 : 12 + length])


def by_hand(groups: Any, *columns: bytes) -> bytes:
    """A file built from the documented table, without the module."""
    header = (
        groups if isinstance(groups, bytes) else orjson.dumps({"groups": groups}, option=orjson.OPT_SORT_KEYS)
    )
    return b"TSCL\x01\0\0\0" + struct.pack("<I", len(header)) + header + b"".join(columns)


def planes(numbers: list[int]) -> bytes:
    """Byte 0 of every word, then byte 1, …"""
    packed = [struct.pack("<Q", number % 2**64) for number in numbers]
    return b"".join(bytes(word[index] for word in packed) for index in range(8))


def test_a_file_built_by_hand_from_the_documented_table_decodes() -> None:
    """Orders, planes, codecs and sharing mean what the table says, not what the writer happens to do."""
    one, two = (struct.unpack("<Q", struct.pack("<d", value))[0] for value in (1.0, -2.5))
    steps = planes([10, 5, 0, -20])  # order 2 of 10, 25, 40, 35
    times = zstandard.compress(planes([7, -1, 2, 2]))  # order 1 of 7, 6, 8, 10
    values = planes([one, two, two, one])
    columns = [[2, 0, len(steps)], [1, 1, len(times)], [0, 0, len(values)]]
    series = [["t", "a", 3], ["t", "none", 0], ["t", "b", 1]]
    data = by_hand([{"columns": columns, "series": series, "future": True}], steps, times, values)
    a, none, b = decode(data)
    assert (a.steps.tolist(), a.times.tolist(), a.values.tolist()) == (
        [10, 25, 40],
        [7, 6, 8],
        [1.0, -2.5, -2.5],
    )
    assert (none.steps.tolist(), none.values.tolist()) == ([], [])
    assert (b.steps.tolist(), b.times.tolist(), b.values.tolist()) == ([35], [10], [1.0])


def test_what_is_written_is_the_documented_table_byte_for_byte() -> None:
    """One point compresses to nothing smaller, so every byte of its file is known."""
    data = encode([make("t", "s", [(1, 2, 0x0102030405060708)])])
    header = b'{"groups":[{"columns":[[0,0,8],[0,0,8],[0,0,8]],"series":[["t","s",1]]}]}'
    columns = (b"\x01" + bytes(7), b"\x02" + bytes(7), bytes([8, 7, 6, 5, 4, 3, 2, 1]))
    assert data == by_hand(header, *columns)


def test_yesterdays_file_decodes() -> None:
    """The golden file is what it was, and its points are what they were."""
    data = GOLDEN.read_bytes()
    assert hashlib.sha256(data).hexdigest() == GOLDEN_SHA256
    assert [bits(each) for each in decode(data)] == [bits(each) for each in golden_series()]


# --- hostile bytes ----------------------------------------------------------------------------------------------


SMALL = encode(golden_series())


def test_every_truncation_is_noticed() -> None:
    """Any strict prefix, and any byte too many, is refused."""
    assert issubclass(CorruptScalars, CorruptRecord)
    for length in itertools.chain(range(400), range(400, len(SMALL), 37)):
        with pytest.raises(CorruptScalars):
            decode(SMALL[:length])
    with pytest.raises(CorruptScalars, match="the columns end at byte"):
        decode(SMALL + b"\0")


@given(st.lists(st.tuples(st.integers(0, len(SMALL) - 1), st.integers(1, 255)), min_size=1, max_size=4))
@settings(max_examples=300, deadline=None)
def test_flipped_bits_raise_nothing_but_corrupt_scalars(flips: list[tuple[int, int]]) -> None:
    """Damage gives other numbers or CorruptScalars, never another exception."""
    data = bytearray(SMALL)
    for position, mask in flips:
        data[position] ^= mask
    with contextlib.suppress(CorruptScalars):
        decode(bytes(data))


@given(st.binary(max_size=200), st.booleans())
@settings(max_examples=200, deadline=None)
def test_arbitrary_bytes_raise_only_corrupt_scalars(noise: bytes, framed: bool) -> None:
    """Neither noise nor noise behind a valid prefix gets past the checks."""
    data = by_hand(noise) if framed else noise
    with pytest.raises(CorruptScalars):
        decode(data)


json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**64 - 1),
        st.floats(allow_nan=False),
        st.text(max_size=3),
    ),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["columns", "series"]), inner)
    ),
    max_leaves=12,
)


@given(json_values, st.binary(max_size=64))
@settings(max_examples=300, deadline=None)
def test_any_json_in_the_header_raises_only_corrupt_scalars(groups: object, body: bytes) -> None:
    """A header of the wrong shape is refused by the shape, not by an accident further on."""
    try:
        data = by_hand(orjson.dumps({"groups": groups}), body)
    except orjson.JSONEncodeError:
        return
    with contextlib.suppress(CorruptScalars):
        decode(data)


def group(count: object, *columns: list[int]) -> list[dict[str, object]]:
    """One group with one series."""
    return [{"columns": list(columns), "series": [["t", "s", count]]}]


EMPTY = [0, 0, 0]


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"TSCL\x02\0\0\0" + bytes(4), "version 1"),
        (b"TSCL\x01\0\0\x01" + bytes(4), "version 1"),
        (b"TSCL\x01\0\0\0\xff\xff\xff\xff", "a header of 4294967295 bytes"),
        (by_hand(b"[" * 100_000), "a header of"),
        (by_hand(b"[" * 10_000), "not JSON"),
        (by_hand(b'{"groups":{}}'), "no list 'groups'"),
        (by_hand(group(2**31 + 1, EMPTY, EMPTY, EMPTY)), "a count is 2147483649"),
        (by_hand(group(-1, EMPTY, EMPTY, EMPTY)), "a count is -1"),
        (by_hand(group(True, EMPTY, EMPTY, EMPTY)), "a count is True"),
        (by_hand(group(1.0, EMPTY, EMPTY, EMPTY)), "a count is 1.0"),
        (by_hand(group(2**30, EMPTY, EMPTY, EMPTY)), "more than the limit"),
        (by_hand(group(1, EMPTY, EMPTY, EMPTY)), "a raw column of 1 words is 0 bytes"),
        (by_hand(group(0, EMPTY, EMPTY)), "2 columns"),
        (by_hand(group(0, EMPTY, EMPTY, [4, 0, 0])), "an order is 4"),
        (by_hand(group(0, EMPTY, EMPTY, [0, 2, 0])), "a codec is 2"),
        (by_hand(group(0, EMPTY, EMPTY, [0, 0, -8])), "a stored length is -8"),
        (by_hand(group(0, EMPTY, EMPTY, [0, 0])), "a column is"),
        (by_hand(group(0, EMPTY, EMPTY, [0, 0, 8])), "the columns end at"),
        (by_hand(group(0, EMPTY, EMPTY, EMPTY) * 2), "given twice"),
        (by_hand([{"columns": [EMPTY] * 3, "series": [["t", 1, 0]]}]), "a series is"),
    ],
)
def test_a_false_claim_is_named(data: bytes, complaint: str) -> None:
    """Each claim of prefix and header is checked, and the text says which one is false."""
    with pytest.raises(CorruptScalars, match=complaint):
        decode(data)


def in_zstd(count: int, frame: bytes) -> bytes:
    """A file whose steps are that frame."""
    return by_hand(
        group(count, [0, 1, len(frame)], [0, 0, 8 * count], [0, 0, 8 * count]), frame, bytes(16 * count)
    )


@pytest.mark.parametrize(
    ("frame", "complaint"),
    [
        (zstandard.compress(bytes(1 << 24)), "8 bytes and more, not 8"),
        (zstandard.compress(bytes(7)), "7 bytes, not 8"),
        (zstandard.compress(bytes(8))[:-6], "2 bytes, not 8"),
        (b"\x28\xb5\x2f\xfd\xe0" + b"\xff" * 8 + b"\x01\0\0", "broken"),  # one segment of 2^64 - 1 bytes
        (b"not zstd", "broken"),
    ],
)
def test_a_zstd_frame_is_believed_in_nothing(frame: bytes, complaint: str) -> None:
    """A frame that holds more, or less, or claims more than the header allows is stopped at the header's count."""
    with pytest.raises(CorruptScalars, match=complaint):
        decode(in_zstd(1, frame))


def test_a_frame_with_a_large_window_is_refused() -> None:
    """The window is memory that a reader would have to give before the first byte."""
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=27)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    frame = stream.compress(bytes(8)) + stream.flush()
    with pytest.raises(CorruptScalars, match="broken"):
        decode(in_zstd(1, frame))


def test_the_limit_counts_all_series_before_any_is_decoded() -> None:
    """Points over all groups are bounded, at the exact byte."""
    data = encode([loop(200, np.ones(200), "a"), loop(300, np.ones(300), "b")])
    assert len(decode(data, limit=500 * scalars.POINT_SIZE)) == 2
    with pytest.raises(CorruptScalars, match="500 points need 12000 bytes"):
        decode(data, limit=500 * scalars.POINT_SIZE - 1)
    with pytest.raises(CorruptScalars, match="500 points"):
        decode_one(data, "train", "a", limit=200 * scalars.POINT_SIZE)


# --- summaries --------------------------------------------------------------------------------------------------


@given(st.floats(allow_nan=True))
def test_a_number_survives_json(value: float) -> None:
    """Finite numbers keep their sign and bits; the others are spelled out, never null."""
    back = number_from_json(orjson.loads(orjson.dumps(number_to_json(value))))
    assert math.isnan(back) if math.isnan(value) else struct.pack("<d", back) == struct.pack("<d", value)


@pytest.mark.parametrize("value", [None, "NaN", "1.0", True, [], {}])
def test_what_is_no_number_is_refused(value: object) -> None:
    """Only the spellings that are written are read."""
    with pytest.raises(CorruptScalars):
        number_from_json(value)


def test_a_summary_says_what_was_reported_last_not_what_is_greatest() -> None:
    """`last` follows the order of the reports, even when steps and clock go back."""
    series = Series("t", "s", np.array([9, 1, 4]), np.array([50, 60, 55]), np.array([3.0, np.nan, 2.0]))
    assert summarise(series) == {
        "count": 3,
        "first_step": 9,
        "first_time": 50,
        "last_step": 4,
        "last_time": 55,
        "min_step": 1,
        "max_step": 9,
        "last": 2.0,
        "min": 2.0,
        "max": 3.0,
    }


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([math.nan], ("nan", "nan", "nan")),
        ([math.nan, 1.0], (1.0, 1.0, 1.0)),
        ([math.inf, math.nan], ("nan", "inf", "inf")),
        ([-math.inf, 5.0, math.inf], ("inf", "-inf", "inf")),
    ],
)
def test_a_summary_ignores_nan_unless_there_is_nothing_else(
    values: list[float], expected: tuple[object, object, object]
) -> None:
    """One NaN does not hide a series' range; a series of NaN says so."""
    summary = summarise(loop(len(values), np.array(values)))
    assert (summary["last"], summary["min"], summary["max"]) == expected
    assert orjson.loads(orjson.dumps(summary)) == summary


def test_a_series_without_points_has_no_summary() -> None:
    """There is no last value to invent."""
    with pytest.raises(ValueError, match="no points"):
        summarise(loop(0, np.ones(0)))


def exactly(summary: Summary) -> str:
    """Comparable to the sign of a zero."""
    return repr(sorted(summary.items()))


@given(
    st.lists(
        st.tuples(st.integers(-5, 5), st.sampled_from([0.0, -0.0, 1.5, -2.0, math.nan, math.inf, -math.inf])),
        min_size=3,
        max_size=12,
    ),
    st.data(),
)
@settings(max_examples=200, deadline=None)
def test_merging_parts_in_any_grouping_gives_the_summary_of_the_whole(
    points: list[tuple[int, float]], data: st.DataObject
) -> None:
    """Consecutive ranges with rising times: (a b) c, a (b c) and the summary of everything are one."""
    cuts = sorted(data.draw(st.sets(st.integers(1, len(points) - 1), min_size=2, max_size=2)))
    steps = np.array([step for step, _ in points])
    times = np.arange(len(points))
    values = np.array([value for _, value in points])
    whole = Series("t", "s", steps, times, values)
    a, b, c = (
        summarise(Series("t", "s", steps[part], times[part], values[part]))
        for part in (slice(0, cuts[0]), slice(*cuts), slice(cuts[1], None))
    )
    expected = exactly(summarise(whole))
    assert exactly(merge_summaries(merge_summaries(a, b), c)) == expected
    assert exactly(merge_summaries(a, merge_summaries(b, c))) == expected
    assert (
        exactly(merge_summaries(c, merge_summaries(a, b))) == expected
    )  # the times, not the arguments, decide


def test_ranges_of_one_moment_follow_their_order_as_arguments() -> None:
    """Within one microsecond and step only the caller knows which range came first."""
    a, b = (
        summarise(Series("t", "s", np.array([1]), np.array([1]), np.array([value]))) for value in (1.0, 2.0)
    )
    assert merge_summaries(a, b)["last"] == 2.0
    assert merge_summaries(b, a)["last"] == 1.0


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(encode(golden_series()))
