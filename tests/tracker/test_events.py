"""Events: their bytes are the format, every one comes back as it was, and damage is an error, never another event.

`golden/tracker-events.txt` holds the journal record of each kind of event, a line each: the name of a case below, the
record's kind, and its payload in hex. A line is never changed; a new kind of event gets a new case and line, which
`PYTHONPATH=. python tests/tracker/test_events.py` prints.
"""

from __future__ import annotations

import datetime
import decimal
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker import events
from tracker.errors import CorruptRecord
from tracker.events import Blob, Declare, End, Event, Plot, Scalar, SetKey, Text

GOLDEN = Path(__file__).parents[1] / "golden" / "tracker-events.txt"

CASES: dict[str, Event] = {
    "set": SetKey(
        "param/General/lr", {"value": "0.1", "type": "float", "description": None}, 1_700_000_000_000_001
    ),
    "set-removed": SetKey("tag/draft", None, 2),
    "set-model": SetKey("name", "weights", 3, "0123456789abcdef0123456789abcdef"),
    "series": Declare(1, "loss", "train/é"),
    "scalar": Scalar(1, -7, 1_700_000_000_000_002, 0.1),
    "scalar-negative-zero": Scalar(2**32 - 1, 2**63 - 1, -1, -0.0),
    "text": Text("stdout", 1_700_000_000_000_003, "epoch 1: höher"),
    "text-stderr": Text("stderr", 1, ""),
    "text-log": Text("log", 1, "log"),
    "plot": Plot("confusion", "test", 3, 4, {"data": [{"z": [[1, 2], [3, None]]}], "layout": {}}),
    "blob": Blob("ab" * 32, b"content"),
    "end": End(),
}


def line_of(name: str) -> str:
    """A case as a line of the golden file."""
    kind, payload = events.encode(CASES[name])
    return f"{name} {kind} {payload.hex()}"


def test_bytes_are_the_golden_ones() -> None:
    """An older or newer version writes and reads exactly these records."""
    assert [line_of(name) for name in CASES] == GOLDEN.read_text(encoding="ascii").splitlines()


def test_golden_records_are_read() -> None:
    """Each gives the event that it was written for."""
    for line in GOLDEN.read_text(encoding="ascii").splitlines():
        name, kind, payload = line.split()
        assert events.decode(int(kind), bytes.fromhex(payload)) == CASES[name]


def test_scalar_record_is_what_numpy_reads() -> None:
    """The fields that sealing takes from an array are those that reporting packs."""
    kind, payload = events.encode(CASES["scalar"])
    point = np.frombuffer(payload, np.dtype(events.SCALAR_FIELDS))[0]
    assert (kind, len(payload)) == (events.SCALAR, 28)
    assert (point["series"], point["step"], point["time"], point["value"]) == (
        1,
        -7,
        1_700_000_000_000_002,
        0.1,
    )
    assert events.SERIES_NUMBER.unpack(payload[: events.SERIES_NUMBER.size]) == (1,)


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
int64 = st.integers(-(2**63), 2**63 - 1)
json_value = st.recursive(
    st.none() | st.booleans() | int64 | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
event = st.one_of(
    st.builds(SetKey, text, json_value, st.integers(0, 2**53), st.none() | text),
    st.builds(Declare, st.integers(1, 2**32 - 1), text, text),
    st.builds(Scalar, st.integers(0, 2**32 - 1), int64, int64, st.floats(allow_nan=False)),
    st.builds(Text, st.sampled_from(events.STREAMS), int64, text),
    st.builds(Plot, text, text, int64, int64, st.dictionaries(text, json_value, max_size=3)),
    st.builds(Blob, st.binary(min_size=32, max_size=32).map(bytes.hex), st.binary(max_size=9)),
    st.just(End()),
)


@given(event)
def test_every_event_comes_back(given_: Event) -> None:
    """Through its record, equal."""
    assert events.decode(*events.encode(given_)) == given_


@pytest.mark.parametrize(
    "bits", [0x7FF8000000000000, 0x7FF0000000000001, 0xFFF8000000000123, 0xFFF0000000000000]
)
def test_every_bit_of_a_scalar_comes_back(bits: int) -> None:
    """NaN with its payload, infinities: reported is what is kept."""
    (value,) = struct.unpack("<d", bits.to_bytes(8, "little"))
    found = events.decode(*events.encode(Scalar(1, 0, 0, value)))
    assert isinstance(found, Scalar)
    assert struct.pack("<d", found.value) == bits.to_bytes(8, "little")


@given(st.integers(0, 255), st.binary(max_size=60))
def test_random_bytes_are_an_event_or_an_error(kind: int, payload: bytes) -> None:
    """Nothing else comes out of a damaged record."""
    try:
        found = events.decode(kind, payload)
    except CorruptRecord:
        return
    assert found is None or isinstance(found, Event)


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{",
        b"[]",
        b"1",
        b'"set"',
        b"{}",
        b'{"type":"set","key":"k","value":1}',
        b'{"type":"set","key":"k","value":1,"stamp":"soon"}',
        b'{"type":"set","key":"k","value":1,"stamp":1,"of":5}',
        b'{"type":"series","number":"one","title":"t","series":"s"}',
        b'{"type":"plot","title":"t","series":"s","iteration":null,"time":1,"figure":{}}',
    ],
)
def test_document_that_is_no_event_is_refused(document: bytes) -> None:
    """With a message that says which kind of record it was."""
    with pytest.raises(CorruptRecord, match="a journal event of kind 1 cannot be read"):
        events.decode(events.DOCUMENT, document)


def test_what_a_later_version_wrote_is_no_error() -> None:
    """An unknown kind of record or type of document is None, and an unknown field is passed over."""
    assert events.decode(77, b"anything") is None
    assert events.decode(events.DOCUMENT, b'{"type":"hologram"}') is None
    assert events.decode(events.DOCUMENT, b'{"type":"end","why":"later"}') == End()


def test_half_a_character_is_spelled_out() -> None:
    """Python gives file names that are not UTF-8 lone surrogates: a parameter of such a name is no reason to fail."""
    found = events.decode(*events.encode(SetKey("param/Args/\udcff", {"value": ["caf\udce9"]}, 1)))
    assert found == SetKey("param/Args/\\udcff", {"value": ["caf\\udce9"]}, 1)
    heard = events.decode(*events.encode(Text("stdout", 1, "caf\udce9")))
    assert isinstance(heard, Text)
    assert heard.message.startswith("caf")


class Frame:
    """What is not JSON but knows itself as a list, as a pandas Series does."""

    def tolist(self) -> list[float]:
        return [1.0, math.nan]


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.arange(6.0).reshape(2, 3), [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]),
        (np.arange(6.0).reshape(2, 3).T, [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]),
        (np.arange(6)[::2], [0, 2, 4]),
        (np.array(["a", "b"], dtype=object), ["a", "b"]),
        (np.array(["2024-01-01"], "datetime64[D]"), ["2024-01-01T00:00:00"]),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (Frame(), [1.0, "nan"]),
        (datetime.date(2024, 1, 2), "2024-01-02"),
        ({3: "number as key"}, {"3": "number as key"}),
        ((1, 2), [1, 2]),
        ({"b", "a"}, ["a", "b"]),
        (decimal.Decimal("0.5"), 0.5),
        (math.inf, "inf"),
        (np.array([1.0, -math.inf]), [1.0, "-inf"]),
    ],
)
def test_figure_may_hold_what_figures_are_made_of(value: Any, plain: Any) -> None:
    """Arrays in any layout, numbers of numpy, dates, numbers as keys: all become what plotly reads."""
    found = events.decode(*events.encode(Plot("t", "s", 0, 0, {"z": value})))
    assert isinstance(found, Plot)
    assert found.figure == {"z": plain}


@pytest.mark.parametrize("value", [object(), b"3", 2**70, print])
def test_figure_of_something_else_is_a_type_error(value: Any) -> None:
    """The one error that the recorder turns into the loss of that plot alone."""
    with pytest.raises(TypeError):
        events.encode(Plot("t", "s", 0, 0, {"z": value}))
    circle: dict[str, Any] = {}
    circle["self"] = circle
    with pytest.raises(TypeError):
        events.encode(Plot("t", "s", 0, 0, circle))


def test_value_that_is_not_json_is_a_type_error() -> None:
    """A key's value is the tracker's own doing: it is not bent into shape."""
    with pytest.raises(TypeError):
        events.encode(SetKey("k", object(), 1))
    assert orjson.loads(events.encode(SetKey("k", math.nan, 1))[1])["value"] is None


if __name__ == "__main__":
    print("\n".join(map(line_of, CASES)))
