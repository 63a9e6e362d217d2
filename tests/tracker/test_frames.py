"""The answer as a table: typed columns, frames, HTML that runs nothing."""

from __future__ import annotations

import math
import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest

import tracker
from tests.tracker.projection.conftest import fresh, put, state
from tracker.errors import BadValue, MissingPackage
from tracker.filters import BadQuery
from tracker.frames import Result

EVIL = "<script>alert('x')</script>&\""
MICROSECONDS = 1_704_067_200_000_000


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three tasks with values of all sorts, in a store of the test's own."""
    monkeypatch.chdir(tmp_path)
    keys = {"project": "p", "status": "completed", "type": "training", "created": MICROSECONDS}

    def params(**values: str) -> dict[str, object]:
        return {f"param/Args/{name}": {"value": text} for name, text in values.items()}

    put(
        fresh(tmp_path).store,
        [
            state(
                {
                    **keys,
                    "name": "one",
                    "tag/a": True,
                    "tag/b": True,
                    **params(lr="0.1", n="3", id="007", on="True"),
                },
                {("val", "acc"): (0.5, 0.1, 0.9)},
                stamp=MICROSECONDS + 3,
            ),
            state(
                {**keys, "name": EVIL, f"tag/{EVIL}": True, **params(lr="1e-3", n="4", id="8", on=EVIL)},
                {("val", "acc"): ("nan", "inf", "-inf")},
                stamp=MICROSECONDS + 2,
            ),
            state({"name": "three", "single/f1": {"value": 0.25}}, stamp=MICROSECONDS + 1),
        ],
    )


COLUMNS = ["name", "tags", "created", "params.Args/lr", "params.Args/n", "Args/id", "params.Args/on"]
COLUMNS += ["metrics.val/acc", "val/acc.max", "f1", "iteration", "progress"]


def test_columns_have_the_type_of_what_is_in_them() -> None:
    """Parameters are numbers where all of them are, and text where a number would lose something."""
    result = tracker.query(columns=COLUMNS)
    assert [(each.name, each.kind) for each in result.table] == [
        ("name", "text"),
        ("tags", "texts"),
        ("created", "time"),
        ("params.Args/lr", "number"),
        ("params.Args/n", "integer"),
        ("Args/id", "text"),
        ("params.Args/on", "text"),
        ("metrics.val/acc", "number"),
        ("val/acc.max", "number"),
        ("f1", "number"),
        ("iteration", "integer"),
        ("progress", "integer"),
    ]
    first, second, third = result
    assert first == {
        "name": "one",
        "tags": ["a", "b"],
        "created": datetime(2024, 1, 1, tzinfo=timezone.utc),
        "params.Args/lr": 0.1,
        "params.Args/n": 3,
        "Args/id": "007",
        "params.Args/on": "True",
        "metrics.val/acc": 0.5,
        "val/acc.max": 0.9,
        "f1": None,
        "iteration": 3,
        "progress": None,
    }
    assert math.isnan(second["metrics.val/acc"])
    assert second["val/acc.max"] == -math.inf
    assert (third["f1"], third["created"]) == (0.25, None)


def test_all_that_tasks_have_is_there_by_default() -> None:
    """Fields first, then parameters, then metrics and single values."""
    result = tracker.query()
    assert result.columns[:4] == ["id", "name", "project", "status"]
    assert result.columns[-6:] == [
        "params.Args/id",
        "params.Args/lr",
        "params.Args/n",
        "params.Args/on",
        "metrics.f1",
        "metrics.val/acc",
    ]
    assert (len(result), result.total, len(result.ids)) == (3, 3, 3)
    assert [row["name"] for row in result[:1]] == ["one"]
    assert repr(tracker.query(limit=1)).startswith("<1 of 3 tasks: id, name")


def test_frames_hold_the_same_values() -> None:
    """pandas, polars, pyarrow; and an Arrow stream for all others."""
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    result = tracker.query(columns=COLUMNS)
    table = result.to_arrow()
    assert table.column_names == COLUMNS
    assert table.schema.field("created").type == pa.timestamp("us", "UTC")
    assert table.column("tags").to_pylist() == [["a", "b"], [EVIL], []]
    frame = result.to_pandas()
    assert list(frame.columns) == COLUMNS
    assert frame["created"].dtype == "datetime64[us, UTC]"
    assert frame["params.Args/n"].tolist() == [3, 4, pd.NA]
    assert frame["Args/id"].tolist()[:2] == ["007", "8"]
    other = result.to_polars()
    assert other.schema["created"] == pl.Datetime("us", "UTC")
    assert other["params.Args/lr"].to_list() == [0.1, 0.001, None]
    assert math.isnan(other["metrics.val/acc"][1])
    assert pl.from_arrow(pa.table(result)).columns == COLUMNS  # type: ignore[union-attr]  # a frame, of a table


def test_an_empty_answer_is_an_empty_frame() -> None:
    """With its columns."""
    result = tracker.query("tags:none", columns=["name", "created", "metrics.val/acc"])
    assert (len(result), result.total) == (0, 0)
    assert result.to_pandas().shape == (0, 3)
    assert result.to_polars().shape == (0, 3)
    assert result.to_arrow().num_rows == 0
    assert "<table>" in result._repr_html_()


@pytest.mark.parametrize(
    ("module", "call", "extra"),
    [("pandas", "to_pandas", "pandas"), ("polars", "to_polars", "polars"), ("pyarrow", "to_arrow", "arrow")],
)
def test_a_missing_package_is_named_with_its_extra(
    module: str, call: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An ImportError that says what to install."""
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        MissingPackage, match=rf"{call}\(\) needs {module}: pip install 'dottracker\[{extra}\]'"
    ):
        getattr(tracker.query(), call)()


def test_html_is_escaped() -> None:
    """Names, tags, parameters, and names of columns."""
    text = tracker.query()._repr_html_()
    assert "<script" not in text
    assert "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;&amp;&quot;" in text
    put(fresh(Path("other")).store, [state({"name": "x", f"param/{EVIL}/x": {"value": "1"}})])
    from tracker.projection import Query
    from tracker.workspace import Workspace

    other = Result(Workspace.open(Path("other/.tracker")).projection.find(Query()))
    assert "<script" not in other._repr_html_()


def test_errors_say_what_is_wrong() -> None:
    """A query, a sort key, a column, a limit."""
    with pytest.raises(BadQuery, match="did you mean Args/lr"):
        tracker.query("Args/l<1")
    with pytest.raises(BadValue, match="no task has a value named 'acc': did you mean val/acc"):
        tracker.query(sort="-acc")
    with pytest.raises(BadValue, match="no task listed has a value named 'nam': did you mean name"):
        tracker.query(columns=["nam"])
    with pytest.raises(BadValue, match="limit is -1"):
        tracker.query(limit=-1)


def test_sorts_by_several_keys() -> None:
    """The first counts most; NaN and what is missing comes last, be it down or up."""
    for sort, expected in (
        ("val/acc", ["one", EVIL, "three"]),
        (["-val/acc", "name"], ["one", EVIL, "three"]),
        (["-f1", "name"], ["three", EVIL, "one"]),
        ("-val/acc.min", [EVIL, "one", "three"]),
    ):
        assert [row["name"] for row in tracker.query(sort=sort)] == expected
