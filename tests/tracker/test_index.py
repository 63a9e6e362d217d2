"""Rows of tasks: what a state becomes."""

from __future__ import annotations

import math
from typing import Any

import orjson
import pytest

from tracker import index
from tracker.errors import CorruptRecord
from tracker.index import Metric, Row
from tracker.records import Entry, Ref, Segment, State


def a_row(id_: str, **changes: Any) -> Row:
    """A row with something in every field."""
    fields: dict[str, Any] = {
        "name": "run",
        "project": "p",
        "status": "completed",
        "type": "training",
        "tags": (),
        "created": 1,
        "updated": 1,
        "iteration": 0,
        "progress": None,
        "metrics": {},
        "singles": {},
        "params": {},
    }
    return Row(id=id_, **{**fields, **changes})


def summary(last: float | str, least: float | str, most: float | str, count: int = 3) -> dict[str, object]:
    """A summary as the record has it; steps 0 to 2."""
    steps = {"first_step": 0, "last_step": 2, "min_step": 0, "max_step": 2}
    return {**steps, "first_time": 1, "last_time": 3, "count": count, "last": last, "min": least, "max": most}


def state(keys: dict[str, object], *segments: Segment) -> State:
    """A task's state; all keys set at 5 µs."""
    return State("task", {key: Entry(value, 5, "w") for key, value in keys.items()}, segments)


def test_a_row_has_what_a_table_needs_without_a_series_being_read() -> None:
    """Names from keys, values from the summaries in the segments, over all writers."""
    chunks = [
        {"$ref": "never read", "series": [["loss", "train", summary(0.5, 0.5, 2.0)]]},
        {"$ref": "never read", "series": [["loss", "train", {**summary("nan", 0.1, 1.0), "last_time": 9}]]},
    ]
    segments = [Segment(writer, 1, 9, scalars=(chunk,)) for writer, chunk in zip("ab", chunks, strict=True)]
    keys = {
        "name": "n",
        "project": "p",
        "status": "failed",
        "type": "training",
        "created": 4,
        "tag/b": True,
        "tag/a": True,
        "tag/gone": None,
        "single/f1": {"value": "inf", "time": 3},
        "param/Args/lr": {"value": "0.1", "type": "float", "description": None},
    }
    row = index.row("k" * 32, state(keys, *segments))
    assert (row.name, row.project, row.status, row.tags) == ("n", "p", "failed", ("a", "b"))
    assert (row.created, row.updated, row.iteration) == (4, 5, 2)
    assert row.singles == {"f1": math.inf}
    assert row.params == {"Args/lr": "0.1"}
    metric = row.metrics["loss/train"]
    assert math.isnan(metric.last)
    assert (metric.min, metric.max, metric.count) == (0.1, 2.0, 6)


def test_two_series_never_hide_behind_one_name() -> None:
    """`a/b` of `c` and `a` of `b/c` would both be a/b/c."""
    chunk = {
        "$ref": "",
        "series": [["a", "b/c", summary(1.0, 1.0, 1.0)], ["a/b", "c", summary(2.0, 2.0, 2.0)]],
    }
    found = index.row("", state({}, Segment("w", 1, 1, scalars=(chunk,)))).metrics
    assert {name: metric.last for name, metric in found.items()} == {"a/b/c": 1.0, "a%2Fb/c": 2.0}


@pytest.mark.parametrize(
    "keys",
    [
        {"param/x": "no mapping"},
        {"single/x": {"time": 1}},
        {"created": "yesterday"},
        {"progress": 0.5},
        {"single/x": {"value": "many"}},
    ],
)
def test_a_record_of_the_wrong_shape_is_an_error_that_costs_its_own_row_only(keys: dict[str, object]) -> None:
    """Such come from outside."""
    with pytest.raises(CorruptRecord, match="the record of bad has a field that cannot be read"):
        index.row("bad", state(keys))
    rows, damaged = index.rows({"bad": state(keys), "good": state({"name": "n"})})
    assert [row.id for row in rows] == ["good"]
    assert damaged.keys() == {"bad"}


def test_a_table_shows_the_values_that_many_rows_have() -> None:
    """More than a third of them; single values first, then the most frequent; a monitor's series never."""
    value = Metric(1.0, 1.0, 1.0, 1)
    rows = [
        a_row("a", metrics={"loss/a": value, ":monitor/cpu": value}, singles={"f1": 1.0}),
        a_row("b", metrics={"loss/a": value, "loss/b": value, ":monitor/cpu": value}, singles={"f1": 1.0}),
        a_row("c", metrics={"loss/a": value, "loss/b": value, "rare/x": value}),
    ]
    assert index.shared_values(rows, 9) == ["f1", "loss/a", "loss/b"]
    assert index.shared_values(rows, 2) == ["f1", "loss/a"]
    assert index.shared_values(rows[2:], 9) == ["loss/a", "loss/b", "rare/x"]


def test_the_end_of_a_long_console_is_had_without_reading_its_beginning() -> None:
    """Chunks are read from the last one backwards, of each segment until it has enough; time decides."""
    stored: dict[str, bytes] = {}

    def chunk(*lines: tuple[int, str]) -> dict[str, object]:
        number = f"{len(stored):064x}"
        stored[number] = b"\n".join(orjson.dumps([time, "stdout", text]) for time, text in lines) + b"\n"
        return {"$ref": str(Ref("blob", number, 1)), "lines": len(lines)}

    first = Segment("a", 1, 9, console=(chunk((1, "a1"), (2, "a2")), chunk((5, "a5"), (6, "a6"))))
    second = Segment("b", 1, 9, console=(chunk((3, "b3"), (7, "b7")),))
    read: list[str] = []

    def reading(ref: Ref) -> bytes:
        read.append(ref.id)
        return stored[ref.id]

    whole = state({}, first, second)
    assert index.console(whole, reading) == ["a1", "a2", "b3", "a5", "a6", "b7"]
    assert len(read) == 3
    read.clear()
    assert index.console(whole, reading, 2) == ["a6", "b7"]
    assert len(read) == 2
    assert index.console(whole, reading, 0) == []


def test_short_ids_are_as_long_as_it_takes_to_tell_them_apart() -> None:
    """Eight digits, until two tasks begin alike."""
    assert index.short_length([]) == index.short_length(["0" * 32]) == 8
    assert index.short_length(["0" * 32, "1" * 32, "0" * 32]) == 8
    assert index.short_length(["abcdefgh" + "0" * 24, "abcdefgh" + "1" * 24]) == 9
