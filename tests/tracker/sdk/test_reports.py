"""Reading reports back in ClearML's shapes."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import pytest

from tracker import Task

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
    ("most", "x"), [(0, list(range(10))), (10, list(range(10))), (4, [0, 3, 6, 9]), (1, [0])]
)
def test_samples_are_spread_evenly(task: Task, most: int, x: list[int]) -> None:
    """First and last included; 0 is all of them."""
    for iteration in range(10):
        task.get_logger().report_scalar("t", "s", float(iteration), iteration)
    found = task.get_reported_scalars(max_samples=most)["t"]["s"]
    assert (found["x"], found["y"]) == (x, [float(n) for n in x])


def test_console_comes_in_the_order_of_time(task: Task, reopened: Reopen) -> None:
    """The last lines, oldest first."""
    for n in range(5):
        task.get_logger().report_text(f"line {n}", print_console=False)
    found = reopened(task)
    assert found.get_reported_console_output() == ["line 4"]
    assert found.get_reported_console_output(number_of_reports=2) == ["line 3", "line 4"]
    assert found.get_reported_console_output(99) == [f"line {n}" for n in range(5)]
    assert found.get_reported_console_output(0) == []
