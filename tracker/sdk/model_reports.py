"""Reports on models: metrics that belong to the model, whichever task reports them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracker.errors import UsageError
from tracker.sdk.readings import Readings
from tracker.sdk.reporter import Reporter
from tracker.sdk.sink import Sink

if TYPE_CHECKING:
    from tracker.reader import Thing
    from tracker.sdk.task import Task


class ModelReports(Reporter, Readings):
    """The report methods of a model, and what was reported of it read back.

    A report travels in the journal of a task that runs in this process: the one that makes the model, else the current
    one. UsageError without one.
    """

    _id: str
    _output: tuple[Task, Sink] | None = None

    def _reporting_task(self) -> Task | None:
        from tracker.sdk.task import Task

        return Task.current_task()

    @property
    def _sink(self) -> Sink:
        task = self._reporting_task()
        if task is None or task.recorder is None:
            raise UsageError(
                f"nothing can be reported of model {self._id}: its reports need a task that runs in this process; "
                "call Task.init first"
            )
        if (
            self._output is None
            or self._output[0] is not task
            or self._output[1].recorder is not task.recorder
        ):
            self._output = (task, Sink(task, task.recorder, self._id))
        return self._output[1]

    def _fresh(self) -> Thing:
        return self._workspace.thing(self._id)
