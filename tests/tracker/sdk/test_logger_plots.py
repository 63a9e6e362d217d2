"""Each report method that draws: the figure that is stored of it, and which arguments it refuses."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tracker import Logger, Task

Reopen = Callable[[Task], Task]
POINTS = [[0, 1.5], [1, math.nan], [2, -3]]
SPACE = [[0, 1, 2], [3, 4, math.inf]]


def axis(text: str = "") -> dict[str, Any]:
    """An axis with its title."""
    return {"title": {"text": text}}


FIGURES: dict[str, tuple[Callable[[Logger], None], dict[str, Any]]] = {
    "histogram": (
        lambda log: log.report_histogram("t", "s", [1, 2], 4, ["l"], ["a", "b"], "x", "y"),
        {
            "data": [{"type": "bar", "y": [1, 2], "name": "l", "x": ["a", "b"]}],
            "layout": {"title": {"text": "s"}, "xaxis": axis("x"), "yaxis": axis("y"), "barmode": "group"},
        },
    ),
    "histogram of rows": (
        lambda log: log.report_histogram(
            "t", "s", np.eye(2), 4, labels=["l"], mode="stack", data_args={"orientation": "h"}
        ),
        {
            "data": [
                {"type": "bar", "y": [1.0, 0.0], "name": "l", "orientation": "h"},
                {"type": "bar", "y": [0.0, 1.0], "orientation": "h"},
            ],
            "layout": {"title": {"text": "s"}, "xaxis": axis(), "yaxis": axis(), "barmode": "stack"},
        },
    ),
    "vector": (
        lambda log: log.report_vector("t", "s", (3,), 4, mode="relative", extra_layout={"width": 30}),
        {
            "data": [{"type": "bar", "y": [3]}],
            "layout": {
                "title": {"text": "s"},
                "xaxis": axis(),
                "yaxis": axis(),
                "barmode": "relative",
                "width": 30,
            },
        },
    ),
    "scatter2d": (
        lambda log: log.report_scatter2d("t", "s", POINTS, 4, "x", "y", ["a", "b", "c"], "markers", "note"),
        {
            "data": [
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": "s (note)",
                    "x": [0, 1, 2],
                    "y": [1.5, "nan", -3],
                    "text": ["a", "b", "c"],
                }
            ],
            "layout": {"title": {"text": "s (note)"}, "xaxis": axis("x"), "yaxis": axis("y")},
        },
    ),
    "scatter2d of texts": (
        lambda log: log.report_scatter2d("t", "s", [["2026-01-01", 2]], 4),
        {
            "data": [{"type": "scatter", "mode": "lines", "name": "s", "x": ["2026-01-01"], "y": ["2"]}],
            "layout": {"title": {"text": "s"}, "xaxis": axis(), "yaxis": axis()},
        },
    ),
    "scatter3d": (
        lambda log: log.report_scatter3d("t", "s", np.array(SPACE), 4, "x", "y", "z", ["a", "b"], fill=True),
        {
            "data": [
                {
                    "type": "scatter3d",
                    "mode": "markers",
                    "name": "s",
                    "x": [0, 3],
                    "y": [1, 4],
                    "z": [2, "inf"],
                    "text": ["a", "b"],
                    "surfaceaxis": 1,
                }
            ],
            "layout": {
                "title": {"text": "s"},
                "scene": {"xaxis": axis("x"), "yaxis": axis("y"), "zaxis": axis("z")},
            },
        },
    ),
    "scatter3d of several": (
        lambda log: log.report_scatter3d("t", "s", [[(0, 1, 2)], [(3, 4, 5)]], 4, labels=["a"]),
        {
            "data": [
                {"type": "scatter3d", "mode": "markers", "name": "a", "x": [0], "y": [1], "z": [2]},
                {"type": "scatter3d", "mode": "markers", "name": "s 1", "x": [3], "y": [4], "z": [5]},
            ],
            "layout": {"title": {"text": "s"}, "scene": {"xaxis": axis(), "yaxis": axis(), "zaxis": axis()}},
        },
    ),
    "matrix": (
        lambda log: log.report_matrix(
            "t", "s", [[1, -math.inf]], 4, extra_layout={"texttemplate": "%{z:.1f}", "xaxis": {"side": "top"}}
        ),
        {
            "data": [{"type": "heatmap", "z": [[1, "-inf"]], "texttemplate": "%{z:.1f}"}],
            "layout": {
                "title": {"text": "s"},
                "xaxis": {"title": {"text": ""}, "side": "top"},
                "yaxis": axis(),
            },
        },
    ),
    "surface": (
        lambda log: log.report_surface(
            "t", "s", [[1, 2], [3, 4]], 4, "x", "y", "z", ["a", "b"], None, (0, 1, 2)
        ),
        {
            "data": [{"type": "surface", "z": [[1, 2], [3, 4]], "showscale": True}],
            "layout": {
                "title": {"text": "s"},
                "scene": {
                    "xaxis": {**axis("x"), "tickvals": [0, 1], "ticktext": ["a", "b"]},
                    "yaxis": axis("y"),
                    "zaxis": axis("z"),
                    "camera": {"eye": {"x": 0, "y": 1, "z": 2}},
                },
            },
        },
    ),
}


@pytest.mark.parametrize("name", FIGURES)
def test_figure_that_is_stored(name: str, task: Task, reopened: Reopen) -> None:
    """Traces, axes, labels, comment, the caller's own layout on top; numbers as they were, NaN and infinities too."""
    report, figure = FIGURES[name]
    report(task.get_logger())
    for found in (task, reopened(task)):
        (plot,) = found.plots()
        assert (plot.kind, plot.title, plot.series, plot.iteration) == ("plot", "t", "s", 4)
        assert plot.figure() == figure
        assert plot.read().decode() == plot.figure_json()
        assert plot.size == len(plot.read())


@pytest.mark.parametrize("name", FIGURES)
def test_figure_is_one_that_plotly_takes(name: str, task: Task) -> None:
    """Its own classes check every name and value."""
    go = pytest.importorskip("plotly.graph_objects", reason="plotly checks the figures")
    FIGURES[name][0](task.get_logger())
    go.Figure(task.plots()[0].figure())


def test_line_plot_has_no_series_of_its_own(task: Task, reopened: Reopen) -> None:
    """SeriesInfo and dicts, one or several; a reversed axis."""
    log = task.get_logger()
    info = Logger.SeriesInfo("first", np.array([[0, 1], [2, 3]]), labels=["p", "q"])
    log.report_line_plot(
        "t", [info, {"name": "second", "data": [(4, 5)]}], "x", "y", "markers", 4, True, "note"
    )
    log.report_line_plot("alone", info, "x", "y")
    first, second = reopened(task).plots()
    assert (first.title, first.series, first.iteration) == ("t", "", 4)
    assert first.figure() == {
        "data": [
            {
                "type": "scatter",
                "mode": "markers",
                "name": "first",
                "x": [0, 2],
                "y": [1, 3],
                "text": ["p", "q"],
            },
            {"type": "scatter", "mode": "markers", "name": "second", "x": [4], "y": [5]},
        ],
        "layout": {
            "title": {"text": "t (note)"},
            "xaxis": {**axis("x"), "autorange": "reversed"},
            "yaxis": axis("y"),
        },
    }
    assert [trace["name"] for trace in second.figure()["data"]] == ["first"]


REFUSED: dict[str, tuple[Callable[[Logger], None], type[Exception], str]] = {
    "mode": (lambda log: log.report_histogram("t", "s", [1], mode="pile"), AssertionError, "'pile'"),
    "values": (lambda log: log.report_histogram("t", "s", ["a"]), ValueError, "must hold numbers"),
    "3-d values": (lambda log: log.report_histogram("t", "s", np.ones((1, 1, 1))), ValueError, "one or two"),
    "ragged": (lambda log: log.report_matrix("t", "s", [[1], [1, 2]]), ValueError, "rows of one length"),
    "1-d matrix": (lambda log: log.report_surface("t", "s", [1, 2]), ValueError, "two dimensions"),
    "complex": (lambda log: log.report_matrix("t", "s", [[1j]]), ValueError, "must hold numbers"),
    "camera": (lambda log: log.report_surface("t", "s", [[1]], camera=(1, 2)), ValueError, "camera"),
    "three columns": (lambda log: log.report_scatter2d("t", "s", SPACE), ValueError, "n rows of 2"),
    "two columns": (lambda log: log.report_scatter3d("t", "s", POINTS), ValueError, "n rows of 3"),
    "no series": (lambda log: log.report_line_plot("t", [3], "x", "y"), ValueError, "SeriesInfo or a dict"),
    "member": (
        lambda log: log.report_line_plot("t", {"name": "n"}, "x", "y"),
        ValueError,
        "name, data and labels",
    ),
    "title": (lambda log: log.report_matrix(3, "s", [[1]]), ValueError, "title must be text"),  # type: ignore[arg-type]  # the point
    "iteration": (lambda log: log.report_matrix("t", "s", [[1]], 1.5), ValueError, "whole number"),  # type: ignore[arg-type]  # the point
}


@pytest.mark.parametrize("name", REFUSED)
def test_wrong_arguments_are_refused_at_the_call(name: str, task: Task) -> None:
    """With what was expected; nothing is stored."""
    report, kind, message = REFUSED[name]
    with pytest.raises(kind, match=message):
        report(task.get_logger())
    assert task.plots() == []


def test_numbers_of_other_libraries(task: Task) -> None:
    """Whatever has detach, cpu or to_numpy, or converts to float."""

    class Tensor:
        def detach(self) -> Tensor:
            return self

        def cpu(self) -> np.ndarray[Any, Any]:
            return np.array([[1, 2]])

    class Number:
        def __float__(self) -> float:
            return 0.5

    task.get_logger().report_matrix("t", "tensor", Tensor())
    task.get_logger().report_matrix("t", "numbers", [[Number(), True]])
    assert [plot.figure()["data"][0]["z"] for plot in task.plots()] == [[[1, 2]], [[0.5, 1.0]]]


def test_plots_in_clearmls_shape(task: Task, reopened: Reopen) -> None:
    """Of each title and series the newest iteration, or so many; of one iteration the last report."""
    log = task.get_logger()
    for iteration, value in ((0, 1), (5, 2), (5, 3), (2, 4)):
        log.report_matrix("t", "s", [[value]], iteration)
    log.report_matrix("other", "s", [[math.nan]], 1)
    found = reopened(task)
    other, newest = found.get_reported_plots()
    assert newest.keys() == {
        *("timestamp", "type", "task", "iter", "metric", "variant"),
        *("plot_str", "@timestamp", "worker", "plot_len"),
    }
    assert (newest["type"], newest["task"], newest["iter"]) == ("plot", task.id, 5)
    assert (newest["metric"], newest["variant"]) == ("t", "s")
    assert json.loads(newest["plot_str"])["data"][0]["z"] == [[3]]
    assert newest["plot_len"] == len(newest["plot_str"])
    assert newest["@timestamp"].startswith("20")
    assert json.loads(other["plot_str"])["data"][0]["z"] == [["nan"]]
    assert [e["iter"] for e in found.get_reported_plots(max_iterations=2) if e["metric"] == "t"] == [5, 2]
    assert len(found.get_reported_plots(max_iterations=99)) == 4
    for wrong in (0, -1, "all"):
        with pytest.raises(ValueError, match="max_iterations"):
            found.get_reported_plots(wrong)  # type: ignore[arg-type]  # the point


def test_large_figure_is_content_of_its_own(task: Task, reopened: Reopen) -> None:
    """Of any size, with its NaN, live and stored alike; its event stays small."""
    values = np.random.default_rng(0).normal(size=100_000)
    values[7] = math.nan
    task.get_logger().report_plotly("t", "large", {"data": [{"y": values}]}, 1)
    for found in (task, reopened(task)):
        y = found.plots()[0].figure()["data"][0]["y"]
        assert y[7] == "nan"
        assert np.array(y, dtype=float).tobytes() == values.tobytes()
