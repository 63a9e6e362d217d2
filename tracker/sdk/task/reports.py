"""Task, reports: its logger, and what was reported read back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracker.errors import BadValue, UsageError
from tracker.sdk.readings import Readings
from tracker.sdk.task.core import Core

if TYPE_CHECKING:
    from tracker.reader import Thing
    from tracker.sdk.logger import Logger


class Reports(Core, Readings):
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

    def get_reported_console_output(self, number_of_reports: int = 1) -> list[str]:
        """The last reports of the console, oldest first: each joins lines of one level that came within a second."""
        from tracker.sdk import reports

        if not isinstance(number_of_reports, int) or number_of_reports < 0:
            raise BadValue(f"number_of_reports {number_of_reports!r}: a whole number is expected")
        found = reports.console(self._workspace, self._fresh())
        return found[max(0, len(found) - number_of_reports) :]

    def console(self, last: int | None = None) -> list[str]:
        """The lines of the console, oldest first; with `last` only so many."""
        from tracker import index

        thing = self._fresh()
        return index.console(thing.state, lambda ref: self._workspace.read(thing, ref), last)

    def _fresh(self) -> Thing:
        return self._workspace.thing(self._key)
