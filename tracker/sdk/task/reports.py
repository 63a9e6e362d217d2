"""Task, reports: its logger, and what was reported read back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tracker.errors import BadValue, UsageError
from tracker.sdk.task.core import Core

if TYPE_CHECKING:
    from tracker.sdk.logger import Logger


class Reports(Core):
    """Scalars, plots, samples and console, in and out."""

    def get_logger(self) -> Logger:
        """The logger of this task. Raises UsageError for a task that does not run in this process."""
        from tracker.sdk.logger import Logger

        if self._logger is None:
            if self._run is None:
                raise UsageError(
                    f"task {self._key} does not run in this process: nothing can be reported to it"
                )
            self._logger = Logger(self, self._run.recorder)
        return self._logger

    @property
    def logger(self) -> Logger:
        """The same."""
        return self.get_logger()

    @property
    def captures_console(self) -> bool:
        """Whether what is printed is recorded."""
        return self._run is not None and "console" in self._run.captured

    def get_last_iteration(self) -> int:
        """The greatest iteration reported; 0 if there is none."""
        from tracker.sdk import reports

        return reports.last_iteration(self._fresh().state)

    def get_initial_iteration(self) -> int:
        """What is added to each iteration that is reported: 0, or where a run goes on that was continued."""
        return int(self._state.get("initial_iteration", 0))

    def set_initial_iteration(self, offset: int = 0) -> int:
        """Add `offset` to each iteration from now on, never to single values; returns it. Raises BadValue."""
        if not isinstance(offset, int) or isinstance(offset, bool):
            raise BadValue(f"an iteration offset is a whole number, not {offset!r}")
        if self._run is None:
            self.set_key("initial_iteration", offset)
        else:
            self._run.shift(offset)
        return offset

    def get_reported_scalars(
        self, max_samples: int = 0, x_axis: str = "iter"
    ) -> dict[str, dict[str, dict[str, Any]]]:
        """`{title: {series: {"name", "x": [...], "y": [...]}}}`, single values left out.

        x_axis: iter, timestamp (milliseconds) or iso_time, else BadValue. Of points with one iteration the last counts.
        `max_samples` > 0 keeps that many a series, spread evenly; 0 keeps all.
        """
        from tracker.sdk import reports

        return reports.scalars(self._workspace, self._fresh(), max_samples, x_axis)

    def get_last_scalar_metrics(self) -> dict[str, dict[str, dict[str, float]]]:
        """`{title: {series: {"last", "min", "max"}}}`, with the single values under `Summary`."""
        from tracker.sdk import reports

        thing = self._fresh()
        return reports.last_metrics(thing.state, lambda ref: self._workspace.read(thing, ref))

    def get_reported_single_values(self) -> dict[str, float]:
        """Name to value."""
        from tracker.sdk import reports

        return reports.single_values(self._state)

    def get_reported_single_value(self, name: str) -> float | None:
        """One single value; None if there is none of that name."""
        return self.get_reported_single_values().get(name)

    def get_reported_console_output(self, number_of_reports: int = 1) -> list[str]:
        """The last lines of the console, oldest first."""
        from tracker.sdk import reports

        if not isinstance(number_of_reports, int) or number_of_reports < 0:
            raise BadValue(f"number_of_reports {number_of_reports!r}: a whole number is expected")
        lines = reports.console(self._workspace, self._fresh())
        return lines[max(0, len(lines) - number_of_reports) :]
