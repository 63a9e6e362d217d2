"""Reports as ClearML's logger takes them: what is stored of each, and what a figure may be."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import orjson
import pytest

from tests.scripts import Scripts
from tracker import Task
from tracker.records import Ref
from tracker.sdk.logger import Logger

Reopen = Callable[[Task], Task]


def plots(task: Task) -> list[tuple[str, str, int, Any]]:
    """(title, series, iteration, figure) of each plot of a stored task."""
    thing = task.workspace.thing(task.id)
    return [
        (
            p["title"],
            p["series"],
            p["iteration"],
            orjson.loads(task.workspace.read(thing, Ref.parse(p["$ref"]))),
        )
        for segment in thing.state.segments
        for p in segment.plots
    ]


def test_scalars_keep_every_bit(task: Task, reopened: Reopen) -> None:
    """Numbers of any library, NaN and infinities, negative iterations; None is iteration 0."""
    log = task.get_logger()
    for iteration, value in enumerate(
        [1, True, np.float32(0.5), np.int64(2), "3.5", math.nan, math.inf, -0.0]
    ):
        log.report_scalar("t", "s", value, np.int64(iteration - 2))
    log.report_scalar("t", "none", 1.0)
    log.report_scalar("t", "none", 2.0, None)
    log.report_scalar("t", "true", 1.0, True)
    found = reopened(task).get_reported_scalars()["t"]
    assert found["s"]["x"] == [-2, -1, 0, 1, 2, 3, 4, 5]
    y = found["s"]["y"]
    assert y[:5] == [1.0, 1.0, 0.5, 2.0, 3.5]
    assert math.isnan(y[5])
    assert y[6] == math.inf
    assert math.copysign(1, y[7]) == -1
    assert (found["none"]["x"], found["none"]["y"]) == ([0], [2.0])
    assert found["true"]["x"] == [1]


def test_any_text_is_a_title(task: Task, reopened: Reopen) -> None:
    """Empty, with slashes and dots, a subclass of str, half a character."""

    class Title(str):
        __slots__ = ()

    for title in ("", "a/b", "..", "é 🐈", Title("sub"), "\udcff"):
        task.get_logger().report_scalar(title, title, 1.0, 1)
    assert list(reopened(task).get_reported_scalars()) == ["", "a/b", "..", "é 🐈", "sub", "\\udcff"]


def test_single_values_replace_each_other(task: Task, reopened: Reopen) -> None:
    """The last one counts; they are no scalars."""
    log = task.get_logger()
    for value in (1.0, 2.0):
        log.report_single_value("accuracy", value)
    log.report_single_value("loss", math.nan)
    log.report_single_value("worst", -math.inf)
    for found in (task, reopened(task)):
        singles = found.get_reported_single_values()
        assert (singles["accuracy"], singles["worst"], list(singles)) == (
            2.0,
            -math.inf,
            ["accuracy", "loss", "worst"],
        )
        assert math.isnan(singles["loss"])
        assert found.get_reported_single_value("accuracy") == 2.0
        assert found.get_reported_single_value("nothing") is None
        assert found.get_reported_scalars() == {}
        assert found.get_last_scalar_metrics()["Summary"]["accuracy"] == {"last": 2.0, "min": 2.0, "max": 2.0}


def test_text_is_recorded_once(task: Task, reopened: Reopen, capsys: pytest.CaptureFixture[str]) -> None:
    """Shown on the console unless asked not to, and recorded in either case; lines apart."""
    log = task.get_logger()
    log.report_text("shown\ntwice")
    log.report_text("silent", print_console=False)
    log.report_text("", level=40, print_console=False)
    log.report_text(cast("Any", 5), print_console=False)
    assert capsys.readouterr().out == "shown\ntwice\n"
    assert reopened(task).console() == ["shown", "twice", "silent", "", "5"]


def test_text_that_the_console_capture_sees_is_not_recorded_twice(tmp_path: Any) -> None:
    """With everything on, as a user has it."""
    scripts = Scripts(tmp_path)
    result = scripts.run(
        """
        from tracker import Task
        task = Task.init("sdk", "console", auto_connect_frameworks={"detect_repository": False})
        task.get_logger().report_text("reported")
        print("printed")
        task.get_logger().report_text("silent", print_console=False)
        """
    )
    assert result.out.splitlines() == ["reported", "printed"]
    lines = scripts.ask("answer = Task.get_tasks()[0].console()")
    assert [line for line in lines if "task id=" not in line] == ["reported", "printed", "silent"]


def test_confusion_matrix_is_a_heat_map(task: Task, reopened: Reopen) -> None:
    """With labels, axes, comment and the caller's own layout on top."""
    log = task.get_logger()
    log.report_confusion_matrix(
        "confusion",
        "test",
        np.array([[1, 2], [3, 4]]),
        iteration=3,
        xaxis="predicted",
        yaxis="true",
        xlabels=cast("Any", ["a", 1]),
        ylabels=["a", "b"],
        yaxis_reversed=True,
        comment="final",
        extra_layout={"width": 300},
    )
    log.report_confusion_matrix("confusion", "list", [(1.5, 2), (3, math.nan)])
    first, second = plots(reopened(task))
    assert first == (
        "confusion",
        "test",
        3,
        {
            "data": [
                {
                    "type": "heatmap",
                    "z": [[1, 2], [3, 4]],
                    "texttemplate": "%{z}",
                    "x": ["a", "1"],
                    "y": ["a", "b"],
                }
            ],
            "layout": {
                "title": {"text": "test (final)"},
                "xaxis": {"title": {"text": "predicted"}},
                "yaxis": {"title": {"text": "true"}, "autorange": "reversed"},
                "width": 300,
            },
        },
    )
    assert second[2] == 0
    assert second[3]["data"][0]["z"] == [[1.5, 2], [3, "nan"]]


def test_confusion_matrix_takes_a_frame(task: Task, reopened: Reopen) -> None:
    """Its numbers, not the names of its columns."""
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    task.get_logger().report_confusion_matrix("t", "s", pd.DataFrame({"cat": [1, 2], "dog": [3, 4]}))
    assert plots(reopened(task))[0][3]["data"][0]["z"] == [[1, 3], [2, 4]]


def test_figures_of_plotly(task: Task, reopened: Reopen) -> None:
    """A Figure, its dict, arrays inside; the series becomes the title, and the caller's object stays as it was."""
    go = pytest.importorskip("plotly.graph_objects", reason="plotly is not installed")
    figure = go.Figure(
        go.Scatter(x=np.arange(4)[::2], y=[1.0, math.nan]), layout={"title": "mine", "width": 50}
    )
    given = {"data": [{"y": np.array([[1, 2], [3, 4]]).T}], "layout": {"height": 7}}
    log = task.get_logger()
    log.report_plotly("t", "figure", figure, 1)
    log.report_plotly("t", "dict", given)
    log.report_plotly("t", "no layout", {"data": []}, iteration=np.int64(2))
    log.report_plotly("t", "mixed", {"data": [figure.data[0]], "layout": figure.layout}, 3)
    assert figure.layout.title.text == "mine"
    assert given["layout"] == {"height": 7}
    found = {series: (iteration, figure) for _, series, iteration, figure in plots(reopened(task))}
    assert [iteration for iteration, _ in found.values()] == [1, 0, 2, 3]
    for series, (_, stored) in found.items():
        assert stored["layout"]["title"] == {"text": series}
    assert found["figure"][1]["layout"]["width"] == 50
    assert found["dict"][1]["data"][0]["y"] == [[1, 3], [2, 4]]
    assert found["mixed"][1]["data"][0]["y"] == [1.0, "nan"]


class Broken:
    """A figure whose own code fails."""

    def to_plotly_json(self) -> dict[str, Any]:
        raise RuntimeError("no renderer")


BROKEN = [{"data": [object()]}, {"data": [2**70]}, {"data": b"x"}, Broken(), {"data": [Broken()]}]


def test_broken_figure_costs_itself(task: Task, reopened: Reopen, said: Callable[[], list[str]]) -> None:
    """One warning for all of them, and what is reported before and after is kept."""
    log = task.get_logger()
    for n, figure in enumerate(BROKEN):
        log.report_plotly("t", f"good {n}", {"data": []}, n)
        log.report_plotly("t", f"broken {n}", figure, n)
        log.report_scalar("t", "s", 1.0, n)
    (line,) = said()
    assert line.startswith("tracker: the plot 't' / 'broken 0' was not recorded: ")
    found = reopened(task)
    assert [series for _, series, _, _ in plots(found)] == [f"good {n}" for n in range(len(BROKEN))]
    assert found.get_last_iteration() == len(BROKEN) - 1


def test_strict_makes_a_broken_figure_an_error(
    start: Callable[..., Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them, and what comes after is recorded."""
    monkeypatch.setenv("TRACKER_STRICT", "true")
    log = start().get_logger()
    for figure in BROKEN:
        with pytest.raises((TypeError, RuntimeError)):
            log.report_plotly("t", "broken", figure, 1)
    log.report_plotly("t", "good", {"data": []}, 1)


def test_logger_is_the_tasks(task: Task) -> None:
    """One of it, also as the current one; flushing has nothing to wait for."""
    assert task.get_logger() is task.logger is Logger.current_logger()
    assert task.get_logger().flush()
    assert task.flush(wait_for_uploads=True)
