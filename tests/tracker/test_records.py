"""Committed records: their bytes are the format, what a later version added is carried along, damage is an error.

`golden/tracker-records.txt` holds one committed record of each kind, a line each: the kind and the record. A line is
never changed; a new version of the record adds lines, which `PYTHONPATH=. python tests/tracker/test_records.py` prints.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.errors import CorruptRecord
from tracker.records import Entry, Ref, Segment, State, references

GOLDEN = Path(__file__).parents[1] / "golden" / "tracker-records.txt"

TASK = "0123456789abcdef0123456789abcdef"
WEIGHTS = f"blob:{'1b' * 32}:1024"
STAMP = 1_700_000_000_000_000
SUMMARY = {
    "count": 2,
    "first_step": 0,
    "first_time": STAMP,
    "last": 0.5,
    "last_step": 1,
    "last_time": STAMP + 1,
    "max": "inf",
    "max_step": 1,
    "min": 0.5,
    "min_step": 0,
}


def keys(values: dict[str, Any], writer: str = "00000000000000aa") -> dict[str, Entry]:
    """Entries of one writer, a microsecond apart."""
    return {key: Entry(value, STAMP + n, writer) for n, (key, value) in enumerate(values.items())}


RECORDS = {
    "task": State(
        "task",
        {
            **keys(
                {
                    "name": "digits é",
                    "project": "examples/digits",
                    "type": "training",
                    "status": "in_progress",
                    "created": STAMP,
                    "tag/best": True,
                    "tag/gone": None,
                    "param/Args/lr": {"value": "0.1", "type": "float", "description": None},
                    "single/accuracy": {"value": 0.97, "time": STAMP},
                    "single/loss": {"value": "nan", "time": STAMP},
                    "artifact/table": {
                        "$ref": f"blob:{'2c' * 32}:10",
                        "type": "dict",
                        "file": "table.json",
                        "content_type": "application/json",
                        "preview": "{}",
                        "metadata": {"rows": "1"},
                        "timestamp": 1_700_000_000,
                    },
                    "artifact/folder": {"$ref": f"tree:{'3d' * 32}:20", "type": "archive", "file": "folder"},
                    f"model/output/{'cd' * 16}": {"name": "weights"},
                    "attempt/1": {"reason": "init"},
                    "health/dropped": 3,
                    "progress": 100,
                    "runtime/x": "y",
                    "of a later version": [1, 2.5, {"a": None}],
                }
            ),
            "status": Entry("stopped", STAMP + 99, "00000000000000aa.r"),
        },
        (
            Segment(
                "00000000000000aa",
                1,
                20,
                STAMP,
                ({"$ref": f"blob:{'4e' * 32}:90", "series": [["loss", "train", SUMMARY]]},),
                ({"$ref": f"blob:{'5f' * 32}:50", "lines": 2},),
                (
                    {
                        "$ref": f"blob:{'6a' * 32}:70",
                        "title": "t",
                        "series": "s",
                        "iteration": 1,
                        "time": STAMP,
                    },
                ),
                {"of a later version": True},
            ),
            Segment("00000000000000bb", 1, 2),
        ),
        {"of a later version": {"x": 1}},
    ),
    "model": State(
        "model",
        keys(
            {
                "name": "digits",
                "project": "examples/digits",
                "task": TASK,
                "framework": "ScikitLearn",
                "comment": "",
                "labels": {"zero": 0},
                "weights": {"$ref": WEIGHTS, "file": "model.pkl", "iteration": 3},
            }
        ),
    ),
    "alias": State("alias", keys({"name": "best", "target": TASK})),
    "pin": State("pin", keys({"name": "paper", "object": {"$ref": WEIGHTS}})),
}


def test_bytes_are_the_golden_ones() -> None:
    """An older or newer version writes and reads exactly these records."""
    assert [line_of(kind) for kind in RECORDS] == GOLDEN.read_bytes().splitlines()


def line_of(kind: str) -> bytes:
    """A record as a line of the golden file."""
    return kind.encode() + b" " + RECORDS[kind].encode()


def test_golden_records_are_read() -> None:
    """Each gives the state that it was written for, unknown fields included."""
    for line in GOLDEN.read_bytes().splitlines():
        kind, _, record = line.partition(b" ")
        assert State.decode(record) == RECORDS[kind.decode()]


def test_order_of_making_does_not_show() -> None:
    """Canonical: the same state is the same bytes, and so the same object, whoever wrote it."""
    task = RECORDS["task"]
    backwards, extra = (dict(reversed(list(part.items()))) for part in (task.keys, task.extra))
    turned = State("task", backwards, task.segments, extra)
    assert turned.encode() == task.encode()


def test_reading_a_state() -> None:
    """Keys, sections, stamps; what was removed is not there."""
    task = RECORDS["task"]
    assert (task.get("status"), task.get("tag/gone"), task.get("nothing", 7)) == ("stopped", None, 7)
    assert task.get("tag/gone", "default") == "default"
    assert task.section("tag") == {"best": True}
    assert list(task.section("param")) == ["Args/lr"]
    assert task.section("par") == {}
    assert task.stamp == STAMP + 99
    assert State("task").stamp == 0


def test_every_reference_is_found() -> None:
    """Wherever it lies: gc keeps what these name, and nothing else of a task."""
    found = sorted(text.split(":")[1][:2] for text in RECORDS["task"].references())
    assert found == ["2c", "3d", "4e", "5f", "6a"]
    assert list(RECORDS["pin"].references()) == [WEIGHTS]
    later = State("task", {}, (), {"new": [{"deep": {"$ref": WEIGHTS}}]})
    assert list(later.references()) == [WEIGHTS]
    assert list(references({"$ref": 5, "a": ["$ref", WEIGHTS]})) == []


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"[]",
        b"{}",
        b"null",
        b'{"v":1,"kind":"task","keys":[],"segments":[]}',
        b'{"v":1,"kind":"task","keys":{"k":[1]},"segments":[]}',
        b'{"v":1,"kind":"task","keys":{"k":["x","w",1]},"segments":[]}',
        b'{"v":1,"kind":"task","keys":{"k":5},"segments":[]}',
        b'{"v":1,"kind":"task","keys":{},"segments":[{}]}',
        b'{"v":1,"kind":"task","keys":{},"segments":[5]}',
        b'{"v":1,"kind":"task","keys":{}}',
    ],
)
def test_damaged_record_is_refused(record: bytes) -> None:
    """Whatever is wrong with it, it is one error, and nothing of it is used."""
    with pytest.raises(CorruptRecord, match="cannot be read"):
        State.decode(record)


def test_record_of_a_later_version_is_refused_and_says_so() -> None:
    """Its fields may mean something else."""
    with pytest.raises(CorruptRecord, match="version 2: a newer version"):
        State.decode(b'{"v":2}')


@given(st.integers(0, 10**6), st.integers(0, 255))
def test_flipped_byte_is_another_state_or_an_error(place: int, byte: int) -> None:
    """Never an exception of some other sort. (Which bytes are right, the object's id says.)"""
    data = bytearray(RECORDS["task"].encode())
    data[place % len(data)] = byte
    try:
        State.decode(bytes(data))
    except CorruptRecord:
        return


def test_later_entry_wins_whatever_the_order() -> None:
    """By stamp, then writer, then value: a total order, so that every merge agrees."""
    ordered = [
        Entry("z", 1, "z"),
        Entry("b", 2, "a"),
        Entry(None, 2, "b"),
        Entry(1, 2, "b.r"),
    ]
    for (i, a), (j, b) in itertools.product(enumerate(ordered), repeat=2):
        assert a.beats(b) == (i > j)
    assert Entry(1, 1, "w").beats(Entry(2, 1, "w")) != Entry(2, 1, "w").beats(Entry(1, 1, "w"))


def test_reference_is_kind_id_and_size() -> None:
    """As text, and back."""
    ref = Ref("tree", "ab" * 32, 12)
    assert str(ref) == f"tree:{'ab' * 32}:12"
    assert Ref.parse(str(ref)) == ref


@pytest.mark.parametrize(
    "text",
    [
        "",
        "blob",
        f"blob:{'ab' * 32}",
        f"blob:{'ab' * 32}:",
        f"blob:{'ab' * 32}:-1",
        f"blob:{'ab' * 32}:²",
        f"blob:{'ab' * 31}:1",
        f"commit:{'ab' * 32}:1",
        f"blob:{'ab' * 32}:1:1",
    ],
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    """A record from outside may say anything."""
    with pytest.raises(CorruptRecord, match="not a reference"):
        Ref.parse(text)


def test_hidden_writers_do_not_count() -> None:
    """Their segments are kept, and count again when they are hidden no more."""
    segments = (Segment("a", 1, 9), Segment("b", 2, 9), Segment("c", 1, 9))
    state = State("task", keys({"hidden/a": 2, "hidden/c": None, "hidden/x": 2}), segments)
    assert state.reports == segments[1:]
    assert State.decode(state.encode()).segments == segments


if __name__ == "__main__":
    print(b"\n".join(map(line_of, RECORDS)).decode())
