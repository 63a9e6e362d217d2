"""Logger: ClearML's report methods. Each checks its arguments and hands one event to the recorder."""

from __future__ import annotations

import operator
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tracker.errors import BadValue

if TYPE_CHECKING:
    from tracker.recorder import Recorder
    from tracker.sdk.task.reports import Reports


class Logger:
    """Reports of one task. Get it from `task.get_logger()` or `Logger.current_logger()`."""

    def __init__(self, task: Reports, recorder: Recorder) -> None:
        self._task = task
        self._recorder = recorder
        self._scalar = recorder.scalar

    @classmethod
    def current_logger(cls) -> Logger | None:
        """The logger of the process's task; None without one."""
        from tracker.sdk.task import Task

        task = Task.current_task()
        return task.get_logger() if task else None

    def report_scalar(self, title: str, series: str, value: float, iteration: int | None = None) -> None:
        """One point of a series. NaN and infinities are kept. Raises TypeError, ValueError for what is no number."""
        if title.__class__ is not str or series.__class__ is not str:
            title, series = _text("title", title), _text("series", series)
        try:
            number = float(value)
        except (TypeError, ValueError) as error:
            raise BadValue(f"{title}/{series}: {value!r:.80} is no number") from error
        self._scalar(title, series, number, 0 if iteration is None else iteration)

    def report_single_value(self, name: str, value: float) -> None:
        """One number that belongs to the run as a whole; a later one replaces it."""
        from tracker.scalars import number_to_json

        record = {"value": number_to_json(float(value)), "time": time.time_ns() // 1000}
        self._recorder.set(f"single/{_text('name', name)}", record)

    def report_text(self, msg: str, level: int = 20, print_console: bool = True) -> None:
        """A message for the console log, and for the console."""
        text = str(msg)
        if print_console:
            print(text, flush=True)  # noqa: T201 - what the caller asked for
        if not (print_console and self._task.captures_console):
            for line in text.splitlines() or [""]:
                self._recorder.text("log", line)

    def report_confusion_matrix(
        self,
        title: str,
        series: str,
        matrix: Any,
        iteration: int | None = None,
        xaxis: str | None = None,
        yaxis: str | None = None,
        xlabels: Sequence[str] | None = None,
        ylabels: Sequence[str] | None = None,
        yaxis_reversed: bool = False,
        comment: str | None = None,
        extra_layout: Mapping[str, Any] | None = None,
    ) -> None:
        """A matrix as a heat map with its numbers. `matrix` is 2-D: rows of numbers, or an ndarray."""
        rows = _rows(matrix)
        trace: dict[str, Any] = {"type": "heatmap", "z": rows, "texttemplate": "%{z}"}
        if xlabels is not None:
            trace["x"] = [str(label) for label in xlabels]
        if ylabels is not None:
            trace["y"] = [str(label) for label in ylabels]
        layout: dict[str, Any] = {
            "title": {"text": f"{series} ({comment})" if comment else series},
            "xaxis": {"title": {"text": xaxis or ""}},
            "yaxis": {
                "title": {"text": yaxis or ""},
                **({"autorange": "reversed"} if yaxis_reversed else {}),
            },
            **(extra_layout or {}),
        }
        self._plot(title, series, iteration, {"data": [trace], "layout": layout})

    def report_plotly(self, title: str, series: str, figure: Any, iteration: int | None = None) -> None:
        """A plotly Figure, or its dict. A figure that cannot be written as JSON costs that figure only."""
        if not isinstance(figure, Mapping) and not hasattr(figure, "to_plotly_json"):
            raise BadValue(f"a plotly Figure or a dict is expected, not {type(figure).__name__}")
        names = _text("title", title), _text("series", series), _step(iteration)
        try:
            found = _titled(figure, series)
        except Exception as error:  # a figure is the user's object, and may raise anything
            self._recorder.lose_plot(title, series, error)
            if self._recorder.config.strict:
                raise
            return
        self._recorder.plot(*names, found)

    def flush(self, wait: bool = False) -> bool:
        """True: a report that has returned is already kept."""
        return True

    def _plot(self, title: str, series: str, iteration: int | None, figure: Mapping[str, Any]) -> None:
        self._recorder.plot(_text("title", title), _text("series", series), _step(iteration), figure)


def _titled(figure: Any, series: str) -> dict[str, Any]:
    """A plotly figure as a dict, its layout's title replaced by the series, as ClearML does."""
    found = dict(figure) if isinstance(figure, Mapping) else figure.to_plotly_json()
    layout: Any = found.get("layout")
    if hasattr(layout, "to_plotly_json"):
        layout = layout.to_plotly_json()
    found["layout"] = {**(layout if isinstance(layout, Mapping) else {}), "title": {"text": series}}
    return found


def _step(iteration: Any) -> int:
    """An iteration as a number; None is 0. Raises BadValue."""
    try:
        found = 0 if iteration is None else operator.index(iteration)
    except TypeError:
        found = 1 << 63
    if not -(1 << 63) <= found < 1 << 63:
        raise BadValue(f"iteration {iteration!r}: a whole number of 64 bits is expected")
    return found


def _text(what: str, value: object) -> str:
    if not isinstance(value, str):
        raise BadValue(f"{what} must be text, not {type(value).__name__}")
    return str(value)


def _rows(matrix: Any) -> list[list[Any]]:
    if hasattr(matrix, "to_numpy"):  # a DataFrame, which would list its columns' names
        matrix = matrix.to_numpy()
    try:
        rows = matrix.tolist() if hasattr(matrix, "tolist") else [list(row) for row in matrix]
    except TypeError:
        rows = None
    if not isinstance(rows, list) or not rows or not all(isinstance(row, list) for row in rows):
        raise BadValue("the matrix must have two dimensions: rows of numbers")
    if not rows[0] or any(len(row) != len(rows[0]) for row in rows):
        raise BadValue("the matrix must have rows of one length")
    strange = next((cell for row in rows for cell in row if not hasattr(cell, "__float__")), None)
    if strange is not None:
        raise BadValue(f"the matrix must hold numbers, not {strange!r}")
    return rows
