"""What every chapter of Task stands on: which task it is, its state as it stands, and the one way to change it."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from tracker import layout
from tracker.errors import BadValue, RecordingFault, UsageError
from tracker.notice import say

# The rest is imported where it is used: `import tracker` has to cost next to nothing.
if TYPE_CHECKING:
    from tracker.reader import Thing
    from tracker.recorder import Recorder
    from tracker.records import State
    from tracker.sdk.logger import Logger
    from tracker.sdk.run import Run
    from tracker.workspace import Workspace

Made = TypeVar("Made", bound="Core")


class Core:
    """A task of a store, running in this process or not."""

    def __init__(self, *given: Any, **named: Any) -> None:
        raise UsageError("Task() is not called directly: use Task.init, Task.get_task or Task.get_tasks")

    _workspace: Workspace
    _key: str
    _run: Run | None
    _thing: Thing | None
    _logger: Logger | None
    _publishes: bool

    @classmethod
    def _make(
        cls: type[Made], workspace: Workspace, key: str, run: Run | None = None, thing: Thing | None = None
    ) -> Made:
        task = object.__new__(cls)
        task._workspace, task._key, task._run, task._thing, task._logger = workspace, key, run, thing, None
        task._publishes = False
        return task

    @property
    def id(self) -> str:
        """32 hex digits."""
        return self._key

    task_id = id

    def reload(self) -> None:
        """Read what others have changed meanwhile."""
        if self._run is not None:
            self._run.recorder.learn(self._workspace.known(self._key))
        else:
            self._thing = self._workspace.thing(self._key)

    @property
    def _state(self) -> State:
        if self._run is not None:
            from tracker.records import State

            return State(layout.TASK, self._run.recorder.snapshot())
        if self._thing is None:
            self._thing = self._workspace.thing(self._key)
        return self._thing.state

    @property
    def workspace(self) -> Workspace:
        """The store that the task is in, opened."""
        return self._workspace

    def _fresh(self) -> Thing:
        return self._workspace.thing(self._key)

    @property
    def runs_here(self) -> bool:
        """Whether this process records the task."""
        return self._run is not None

    def get_record(self, key: str) -> Any:
        """The value of one key of the task's record; None where it is not set."""
        return self._state.get(key)

    @property
    def recorder(self) -> Recorder | None:
        """What records the task in this process; None where it does not run here."""
        return self._run.recorder if self._run else None

    def attach(self, data: bytes) -> str:
        """Store content for this task; returns its "$ref". Raises OSError."""
        return self._run.recorder.attach(data) if self._run else self._workspace.attach(data)

    def wait_for_uploads(self) -> bool:
        """Wait for copies under way; whether all have come or failed."""
        return True

    def sync(self) -> bool:
        """Make all that was recorded so far durable; whether that worked."""
        return self._run is None or self._run.recorder.sync()

    def set_key(self, key: str, value: Any) -> None:
        """Set one key of the task's record; None removes it."""
        self._set_all({key: value})

    def amend(self, key: str, value: Any) -> None:
        """The same of what a task has made, over or not: an artifact is deleted, or its copy has arrived."""
        if self._run is not None:
            self._run.recorder.set(key, value)
        else:
            self._commit({key: value})

    def _set_all(self, changes: Mapping[str, Any]) -> None:
        if self._run is not None:
            for key, value in changes.items():
                self._run.recorder.set(key, value)
        elif changes and self._may_edit(changes):
            self._commit(changes)

    def _commit(self, changes: Mapping[str, Any]) -> None:
        """Change a task that does not run here, whatever its status allows."""
        self._workspace.edit(self._key, changes)
        self._thing = None

    def _may_edit(self, keys: Iterable[str]) -> bool:
        """Whether a task that does not run here takes these changes; of what it has made it only says that it does not.

        Raises BadValue for a task that is over: what a run was made of stays as it was.
        """
        from tracker import statuses

        status = str(self._fresh().state.get("status", "created"))
        refused = statuses.refused(status, keys)
        if not refused:
            return True
        message = (
            f"task {self._key} is {status}: {', '.join(sorted(refused)[:10])} cannot be changed any more"
        )
        if statuses.are_outputs(refused):
            self.fault(message, None)
            return False
        raise BadValue(f"{message}; clone it, or reset it")

    def fault(self, message: str, error: Exception | None) -> None:
        """Something was not recorded: one warning, of a full disk one in all; or with `strict` the error."""
        if error is not None and self._workspace.config.strict:
            raise error if isinstance(error, RecordingFault) else RecordingFault(message) from error
        if self._run is None:
            say(message)
        else:
            from objstore.errors import ReadOnly

            refused = isinstance(error, RecordingFault | ReadOnly) or getattr(error, "errno", 0) in _REFUSALS
            self._run.recorder.warn("fault" if refused else message, message)


# What a store says that can take nothing now; the errors of a file that is to be stored are others.
_REFUSALS = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EROFS)
