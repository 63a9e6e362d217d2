"""Tables stay tables: every source, read back as a frame, and shown as one."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker import Task, UsageError
from tracker.sdk import tables

pd = pytest.importorskip("pandas", reason="tables come back as DataFrames")

Reopen = Callable[[Task], Task]


def frame() -> Any:
    """Several types, an index of its own, gaps."""
    return pd.DataFrame(
        {"n": [1, 2, 3], "x": [0.5, math.nan, math.inf], "s": ["a", None, "é"]}, index=["p", "q", "r"]
    )


def test_frame_comes_back_as_it_was(task: Task, reopened: Reopen) -> None:
    """Types, index, NaN and infinities; shown with the index in front and gaps as "nan"."""
    task.get_logger().report_table(
        "t", "s", 3, frame(), extra_layout={"height": 90}, extra_data={"columnwidth": [1]}
    )
    for found in (task, reopened(task)):
        (table,) = found.plots("t", "s")
        assert (table.kind, table.iteration, table.file) == ("table", 3, "t_s.parquet")
        pd.testing.assert_frame_equal(table.frame(), frame())
        assert table.get().equals(table.frame())
        figure = table.figure()
        assert figure["layout"] == {"title": {"text": "s"}, "height": 90}
        (trace,) = figure["data"]
        assert (trace["type"], trace["columnwidth"]) == ("table", [1])
        assert trace["header"]["values"] == [[""], ["n"], ["x"], ["s"]]
        assert trace["cells"]["values"] == [
            ["p", "q", "r"],
            [1, 2, 3],
            [0.5, "nan", "inf"],
            ["a", "nan", "é"],
        ]
    (event,) = reopened(task).get_reported_plots()
    assert '"type":"table"' in event["plot_str"]


def test_rows_come_back_as_they_were(task: Task, reopened: Reopen) -> None:
    """The first is the header; without pandas, too."""
    rows = [["a", "b"], [1, math.nan], [None, "x"], [np.float32(0.5), True]]
    log = task.get_logger()
    log.report_table("t", "rows", 1, rows)
    log.report_table("t", "array", 1, np.array([["a", "b"], ["c", "d"]]))
    log.report_table("t", "empty", 1, [])
    found = reopened(task)
    (table,) = found.plots("t", "rows")
    back = table.rows()
    assert math.isnan(back[1].pop())
    assert back == [["a", "b"], [1], [None, "x"], [0.5, True]]
    assert list(table.frame().columns) == ["a", "b"]
    assert table.figure()["data"][0]["cells"]["values"] == [[1, "nan", 0.5], ["nan", "x", True]]
    assert found.plots("t", "array")[0].rows() == [["a", "b"], ["c", "d"]]
    assert found.plots("t", "empty")[0].frame().empty


def test_csv_file_is_kept_byte_for_byte(task: Task, tmp_path: Path, reopened: Reopen) -> None:
    """By its path or a URL of it; the first column is the index."""
    path = tmp_path / "some table.csv"
    path.write_bytes(b"id,x\r\np,1\r\nq,\r\n")
    log = task.get_logger()
    log.report_table("t", "path", csv=path)
    log.report_table("t", "text", csv=str(path))
    log.report_table("t", "url", url=path.as_uri())
    for table in reopened(task).plots():
        assert table.read() == path.read_bytes()
        assert table.frame().index.tolist() == ["p", "q"]
        assert table.figure()["data"][0]["header"]["values"] == [["id"], ["x"]]
        assert table.figure()["data"][0]["cells"]["values"] == [["p", "q"], [1.0, "nan"]]


def test_missing_csv_costs_a_warning(task: Task, said: Callable[[], list[str]]) -> None:
    """And that table only."""
    task.get_logger().report_table("t", "s", csv="nowhere.csv")
    (line,) = said()
    assert "the table 't' / 's' was not recorded" in line
    assert task.plots() == []


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        ({}, UsageError, "exactly one of table_plot, csv, url"),
        ({"table_plot": [["a"]], "csv": "x"}, UsageError, "exactly one"),
        ({"table_plot": 3}, ValueError, "a DataFrame, or rows"),
        ({"table_plot": ["text"]}, ValueError, "a DataFrame, or rows"),
        ({"table_plot": [["a", "b"], [1]]}, ValueError, "one length"),
    ],
)
def test_wrong_tables_are_refused(task: Task, given: Any, kind: type[Exception], message: str) -> None:
    """At the call."""
    with pytest.raises(kind, match=message):
        task.get_logger().report_table("t", "s", **given)
    assert task.plots() == []


def test_a_plot_is_no_table(task: Task) -> None:
    """The error says what it is."""
    task.get_logger().report_matrix("t", "s", [[1]])
    with pytest.raises(ValueError, match="no table but of kind plot"):
        task.plots()[0].frame()


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
COLUMNS = st.one_of(
    st.lists(st.floats(), min_size=3, max_size=3),
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=3, max_size=3),
    st.lists(st.none() | TEXTS, min_size=3, max_size=3),
    st.lists(st.booleans(), min_size=3, max_size=3),
    st.lists(st.datetimes(), min_size=3, max_size=3).map(lambda times: np.array(times, "datetime64[us]")),
)


@given(st.dictionaries(TEXTS, COLUMNS, max_size=4), st.sampled_from([None, ["p", "q", "r"], [2, 0, 1]]))
def test_any_frame_comes_back(columns: dict[str, Any], index: list[Any] | None) -> None:
    """Of plain columns, with every type."""
    pytest.importorskip("pyarrow", reason="types of columns are kept in parquet")
    given_ = pd.DataFrame(columns, index=index if columns else None)
    table = tables.of("name", given_)
    pd.testing.assert_frame_equal(tables.frame(table.data, table.file), given_)
    assert len(table.header) == len(table.columns)


CELLS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()


@given(st.integers(1, 3).flatmap(lambda n: st.lists(st.lists(CELLS, min_size=n, max_size=n), max_size=4)))
def test_any_rows_come_back(rows: list[list[Any]]) -> None:
    """Bit for bit; half characters spelled out."""
    back = tables.rows(tables.of("name", rows).data)
    assert repr(back) == repr([[_kept(cell) for cell in row] for row in rows])


def _kept(cell: Any) -> Any:
    return cell.encode("utf-8", "backslashreplace").decode() if isinstance(cell, str) else cell
