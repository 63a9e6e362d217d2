"""Reading reports back in ClearML's shapes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest

from tracker import Task
from tracker.reported import Line, joined

Reopen = Callable[[Task], Task]


def test_of_repeated_iterations_the_last_report_counts(task: Task, reopened: Reopen) -> None:
    """Sorted by iteration, however they were reported; live and stored alike."""
    log = task.get_logger()
    for iteration, value in ((3, 1.0), (1, 2.0), (3, 3.0), (-1, 4.0), (1, 5.0)):
        log.report_scalar("t", "s", value, iteration)
    expected = {"t": {"s": {"name": "s", "x": [-1, 1, 3], "y": [4.0, 5.0, 3.0]}}}
    for found in (task, Task.get_tasks()[0], reopened(task)):
        assert found.get_reported_scalars() == expected
        assert found.get_last_iteration() == 3
        assert found.get_last_scalar_metrics() == {"t": {"s": {"last": 5.0, "min": 1.0, "max": 5.0}}}


def test_axes(task: Task, reopened: Reopen) -> None:
    """Iterations, milliseconds, or ISO times; the latter in the order of time."""
    before = time.time()
    for iteration in (2, 1):
        task.get_logger().report_scalar("t", "s", float(iteration), iteration)
        time.sleep(0.01)
    found = reopened(task)
    stamps = found.get_reported_scalars(x_axis="timestamp")["t"]["s"]
    assert stamps["y"] == [2.0, 1.0]
    assert before - 1 < stamps["x"][0] / 1000 < stamps["x"][1] / 1000 < time.time() + 1
    iso = found.get_reported_scalars(x_axis="iso_time")["t"]["s"]
    epoch, millisecond = datetime(1970, 1, 1, tzinfo=timezone.utc), timedelta(milliseconds=1)
    assert [(datetime.fromisoformat(text) - epoch) // millisecond for text in iso["x"]] == stamps["x"]
    assert datetime.fromisoformat(iso["x"][0]).tzinfo == timezone.utc


@pytest.mark.parametrize(
    ("most", "x", "y"),
    [
        (0, list(range(10)), [float(n) for n in range(10)]),
        (10, list(range(10)), [float(n) for n in range(10)]),
        (5, [0, 2, 4, 6, 8], [0.5, 2.5, 4.5, 6.5, 8.5]),
        (3, [0, 3, 6], [1.0, 4.0, 7.5]),
        (1, [0], [4.5]),
    ],
)
def test_a_sample_is_the_mean_of_its_window(task: Task, most: int, x: list[int], y: list[float]) -> None:
    """At the window's first iteration; 0 is all of them."""
    for iteration in range(10):
        task.get_logger().report_scalar("t", "s", float(iteration), iteration)
    found = task.get_reported_scalars(max_samples=most)["t"]["s"]
    assert (found["x"], found["y"]) == (x, y)


def test_console_comes_in_the_order_of_time(task: Task, reopened: Reopen) -> None:
    """All lines, or the last ones, oldest first."""
    for n in range(5):
        task.get_logger().report_text(f"line {n}", print_console=False)
    for found in (task, reopened(task)):
        assert found.console() == [f"line {n}" for n in range(5)]
        assert found.console(2) == ["line 3", "line 4"]
        assert found.console(0) == []


def test_a_report_of_the_console_is_what_one_level_said_within_a_second() -> None:
    """Neighbours only, so that the order stays; a long one is cut after a MiB."""
    second = 1_000_000
    listed = [
        Line(0, "stdout", "a", 20),
        Line(second - 1, "log", "b", 20),
        Line(second, "stdout", "c", 20),
        Line(second, "stderr", "d", 40),
        Line(second + 1, "stdout", "e", 20),
        Line(second + 2, "stdout", "f" * (1 << 20), 20),
        Line(second + 3, "stdout", "g", 20),
    ]
    assert joined(listed) == ["a\nb", "c", "d", "e", "f" * (1 << 20), "g"]
    assert joined([]) == []


def test_console_reports_of_a_task(task: Task, reopened: Reopen) -> None:
    """The last so many, oldest first; levels part them."""
    log = task.get_logger()
    for text, level in (("one", 20), ("two", 20), ("bad", 40), ("worse", 50), ("fine", 20)):
        log.report_text(text, level, print_console=False)
    found = reopened(task)
    assert found.get_reported_console_output() == ["fine"]
    assert found.get_reported_console_output(number_of_reports=2) == ["worse", "fine"]
    assert found.get_reported_console_output(99) == ["one\ntwo", "bad", "worse", "fine"]
    assert found.get_reported_console_output(0) == []


def test_all_scalars_keep_every_point_but_of_one_x_the_last(task: Task, reopened: Reopen) -> None:
    """In the order of x, on every axis."""
    log = task.get_logger()
    for iteration, value in ((3, 1.0), (1, 2.0), (3, 3.0)):
        log.report_scalar("t", "s", value, iteration)
        time.sleep(0.002)
    found = reopened(task)
    assert found.get_all_reported_scalars() == {"t": {"s": {"name": "s", "x": [1, 3], "y": [2.0, 3.0]}}}
    by_time = found.get_all_reported_scalars(x_axis="timestamp")["t"]["s"]
    assert by_time["y"] == [1.0, 2.0, 3.0]
    assert by_time["x"] == sorted(by_time["x"])
    with pytest.raises(ValueError, match="x_axis 'epoch'"):
        found.get_all_reported_scalars(x_axis="epoch")


def test_one_series_comes_as_arrays(task: Task, reopened: Reopen) -> None:
    """Every point in the order of reporting, bit for bit; an unknown name is told what there is."""
    log = task.get_logger()
    for iteration, value in ((3, 1.0), (1, math.nan), (3, -0.0)):
        log.report_scalar("train", "loss", value, iteration)
    log.report_scalar("train", "other", 9.0, 9)
    for found in (task, reopened(task)):
        series = found.scalars("train", "loss")
        assert (series.steps.dtype, series.times.dtype, series.values.dtype) == ("int64", "int64", "float64")
        assert series.steps.tolist() == [3, 1, 3]
        assert series.values.tobytes() == np.array([1.0, math.nan, -0.0]).tobytes()
        assert (np.diff(series.times) >= 0).all()
        with pytest.raises(ValueError, match="no series 'train' / 'los' was reported: there is train/loss"):
            found.scalars("train", "los")
