"""Text to the console: levels, what is shown, what Python's logging says."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from tests.scripts import Scripts
from tracker import Logger, Task
from tracker.reported import Line, lines

Reopen = Callable[[Task], Task]


def console(task: Task) -> list[Line]:
    """The console with its levels."""
    thing = task.workspace.thing(task.id)
    return lines(thing.state, lambda ref: task.workspace.read(thing, ref))


def test_levels_are_kept(task: Task, reopened: Reopen) -> None:
    """Those of logging, and any other; 20 where none is given."""
    log = task.get_logger()
    for level in (logging.DEBUG, logging.INFO, logging.CRITICAL, -3, 32_767):
        log.report_text(f"at {level}", level, print_console=False)
    log.report_text("two\nlines", logging.WARNING, print_console=False)
    for found in (task, reopened(task)):
        assert [(line.level, line.text) for line in console(found)] == [
            (10, "at 10"),
            (20, "at 20"),
            (50, "at 50"),
            (-3, "at -3"),
            (32_767, "at 32767"),
            (30, "two"),
            (30, "lines"),
        ]


@pytest.mark.parametrize("level", ["high", 1.5, 1 << 15, -(1 << 15) - 1])
def test_what_is_no_level_is_refused(level: Any, task: Task) -> None:
    """At the call."""
    with pytest.raises(ValueError, match=r"whole number|level of Python's logging"):
        task.get_logger().report_text("x", level)
    assert console(task) == []


def test_printed_text_is_shown_once_and_recorded_with_its_level(tmp_path: Any) -> None:
    """Beside captured streams, whose levels are 20 and 40; in the order in which it was said."""
    scripts = Scripts(tmp_path)
    result = scripts.run(
        """
        import sys
        from tracker import Task
        task = Task.init("sdk", "levels", auto_connect_frameworks={"detect_repository": False})
        print("out")
        print("err", file=sys.stderr)
        task.get_logger().report_text("warned", level=30)
        print("out again")
        """
    )
    assert result.out.splitlines() == ["out", "warned", "out again"]
    found = scripts.ask(
        """
        from tracker.reported import lines
        task, = Task.get_tasks()
        thing = task.workspace.thing(task.id)
        answer = [[l.level, l.text] for l in lines(thing.state, lambda ref: task.workspace.read(thing, ref))]
        """
    )
    said = [each for each in found if "task id=" not in each[1]]
    assert said == [[20, "out"], [40, "err"], [30, "warned"], [20, "out again"]]


def test_logging_is_captured_inside_the_block(task: Task) -> None:
    """With its levels; not before, not after, and the handlers are as they were."""
    before = list(logging.getLogger().handlers)
    logger = logging.getLogger("some.library")
    logger.warning("before")
    with task.get_logger().capture_logging():
        logger.error("inside %d", 1)
        logger.warning("two\nlines")
    logger.warning("after")
    assert [(line.level, line.text) for line in console(task)] == [
        (40, "inside 1"),
        (30, "two"),
        (30, "lines"),
    ]
    assert logging.getLogger().handlers == before


def test_captured_streams_are_enough_for_logging(start: Callable[..., Task]) -> None:
    """Where the console is recorded already, nothing is recorded twice: no handler is added."""
    task = start(auto_connect_streams=True)
    before = list(logging.getLogger().handlers)
    with task.get_logger().capture_logging():
        assert logging.getLogger().handlers == before


def test_handler_goes_when_the_block_fails(task: Task) -> None:
    """The error passes."""
    before = list(logging.getLogger().handlers)
    with pytest.raises(KeyError), task.get_logger().capture_logging():
        raise KeyError("x")
    assert logging.getLogger().handlers == before


def test_chosen_numbers_replace_nan_and_infinity(task: Task, reopened: Reopen) -> None:
    """From then on, for every logger; until then, and after NaN is chosen again, they are kept."""
    log = task.get_logger()
    values = (float("nan"), float("inf"), -float("inf"), 2.0)

    def report(series: str) -> None:
        for n, value in enumerate(values):
            log.report_scalar("t", series, value, n)

    try:
        report("kept")
        Logger.set_reporting_nan_value(-1, warn_period=1)
        report("nan")
        Logger.set_reporting_inf_value(9)
        report("both")
    finally:
        Logger.set_reporting_nan_value(float("nan"))
        Logger.set_reporting_inf_value(float("inf"))
    report("again")
    found = reopened(task).get_reported_scalars()["t"]
    texts = {name: [str(y) for y in series["y"]] for name, series in found.items()}
    assert texts == {
        "kept": ["nan", "inf", "-inf", "2.0"],
        "nan": ["-1.0", "inf", "-inf", "2.0"],
        "both": ["-1.0", "9.0", "-9.0", "2.0"],
        "again": ["nan", "inf", "-inf", "2.0"],
    }


def test_settings_that_mean_nothing_here_are_taken(task: Task) -> None:
    """Periods, groups, destinations: accepted as ClearML does."""
    log = task.get_logger()
    log.set_flush_period(3.0)
    assert log.flush(wait=True)
    assert log.get_default_upload_destination() is None
    log.set_default_upload_destination("s3://bucket/there")
    assert log.get_default_upload_destination() == "s3://bucket/there"
    Logger.tensorboard_auto_group_scalars(group_scalars=True)
    Logger.tensorboard_single_series_per_graph(single_series=True)
    Logger.tensorboard_auto_group_scalars()
    Logger.tensorboard_single_series_per_graph()
