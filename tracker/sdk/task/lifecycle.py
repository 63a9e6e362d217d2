"""Task, lifecycle: its status, who may change it, how it ends, and what ends with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from tracker.errors import BadValue, DeleteError, UsageError
from tracker.sdk import current
from tracker.sdk.task.core import Core
from tracker.statuses import TaskStatus


class Lifecycle(Core):
    """States and their changes. A change that is not legal is refused in silence unless asked otherwise."""

    DeleteError = DeleteError
    TaskStatusEnum = TaskStatus

    # --- reading -----------------------------------------------------------------------------------------------------

    @property
    def status(self) -> str:
        """created, queued, in_progress, stopped, failed, completed, published; asked of the store each time."""
        return self.get_status()

    def get_status(self) -> str:
        """The same."""
        if self._run is None or not self._run.identity.owner:  # else nobody knows it better
            self.reload()
        return str(self._state.get("status", "created"))

    def get_status_message(self) -> tuple[str, str]:
        """(status, message)."""
        return self.get_status(), str(self._state.get("status_message", ""))

    def wait_for_status(
        self,
        status: Iterable[str | TaskStatus] = ("completed", "stopped", "closed"),
        raise_on_status: Iterable[str | TaskStatus] | None = ("failed",),
        check_interval_sec: float = 60.0,
    ) -> None:
        """Return when the task has one of these statuses; raises UsageError (a RuntimeError) for one of the others."""
        wanted = {TaskStatus.parse(each) for each in _each(status)}
        fatal = {TaskStatus.parse(each) for each in _each(raise_on_status)}
        while (now := self.get_status()) not in wanted:
            if now in fatal:
                raise UsageError(f"task {self._key} is {now}: {self.get_status_message()[1] or 'no message'}")
            time.sleep(check_interval_sec)  # nobody can tell us: it may run anywhere
        self.reload()

    # --- ending a run ------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End the task as completed and seal it; the next `Task.init` makes a new one. A second call does nothing."""
        self._end("completed")

    def flush(self, wait_for_uploads: bool = False) -> bool:
        """True: a call that has returned is already kept. `wait_for_uploads`: wait for copies to `output_uri`, too."""
        if wait_for_uploads:
            self.wait_for_uploads()
        return True

    def mark_started(self, force: bool = False) -> bool:
        """Make it in_progress; whether it is."""
        return self._become("in_progress", force=force)

    def started(self, ignore_errors: bool = True, force: bool = False) -> bool:
        """The same."""
        return self._become("in_progress", force=force, ignore_errors=ignore_errors)

    def mark_completed(
        self, ignore_errors: bool = True, status_message: str | None = None, force: bool = False
    ) -> bool:
        """Make it completed: the run of this process ends. Whether it is."""
        return self._become("completed", "", status_message, force, ignore_errors)

    completed = mark_completed

    def mark_failed(
        self,
        ignore_errors: bool = True,
        status_reason: str | None = None,
        status_message: str | None = None,
        force: bool = False,
    ) -> bool:
        """Make it failed: the run of this process ends. Whether it is."""
        return self._become("failed", status_reason, status_message, force, ignore_errors)

    def mark_stopped(self, force: bool = False, status_message: str | None = None) -> bool:
        """Make it stopped: the run of this process ends, and one elsewhere within two seconds. Whether it is."""
        return self._become("stopped", "", status_message, force)

    def stopped(
        self,
        ignore_errors: bool = True,
        force: bool = False,
        status_reason: str | None = None,
        status_message: str | None = None,
    ) -> bool:
        """The same."""
        return self._become("stopped", status_reason, status_message, force, ignore_errors)

    def mark_stop_request(self, force: bool = False, status_message: str | None = None) -> bool:
        """Ask a run to end itself as stopped, after its abort callback; one that nobody runs any more is stopped.

        Whether there is, or was, anything to stop.
        """
        from tracker.sdk.abort import STOPPING

        if self._run is not None:
            return self._become("stopped", "", status_message, force)
        thing = self._fresh()
        if not thing.alive:
            return self._become("stopped", "", status_message, force)
        self._commit({"status_message": STOPPING, "status_reason": status_message or ""})
        return True

    def register_abort_callback(
        self, callback_function: Callable[[], Any] | None, callback_execution_timeout: float = 30.0
    ) -> None:
        """Have `callback_function()` called before this run ends because somebody asks it to; None: no more.

        It has `callback_execution_timeout` seconds. Raises BadValue for a timeout that is not positive, and where this
        process does not own the run.
        """
        from tracker.sdk.abort import Abort

        if self._run is None or not self._run.identity.owner:
            raise BadValue(
                f"task {self._key} is not this process's to end: register where Task.init was called"
            )
        if callback_function is None:
            self._run.on_abort = None
            return
        if not callable(callback_function):
            raise BadValue(f"an abort callback is a function, not {callback_function!r}")
        if callback_execution_timeout is None or not callback_execution_timeout > 0:
            raise BadValue(
                f"callback_execution_timeout {callback_execution_timeout!r}: more than 0 seconds are expected"
            )
        self._run.on_abort = Abort(callback_function, float(callback_execution_timeout))

    # --- publishing, archiving ---------------------------------------------------------------------------------------

    def publish(self, ignore_errors: bool = True) -> bool:
        """Make a task that is over read-only for good, and its last output model too.

        Raises BadValue for one that is neither stopped nor completed.
        """
        status = self.get_status()
        if status not in ("stopped", "completed"):
            raise BadValue(
                f"task {self._key} is {status}: only one that is stopped or completed can be published"
            )
        return self._become("published", ignore_errors=ignore_errors)

    def publish_on_completion(self, enable: bool = True) -> None:
        """Whether the task is published as soon as it is completed."""
        if self._run is not None:
            self._run.publishes = bool(enable)
        self._publishes = bool(enable)

    def set_archived(self, archive: bool) -> None:
        """Put the task away, or bring it back; nothing else of it changes."""
        self._set_all({"system_tag/archived": True if archive else None})

    def get_archived(self) -> bool:
        """Whether it is put away."""
        return "archived" in self._state.section("system_tag")

    def archive(self) -> None:
        """Put it away."""
        self.set_archived(True)

    def unarchive(self) -> None:
        """Bring it back."""
        self.set_archived(False)

    # --- starting over, deleting -------------------------------------------------------------------------------------

    def reset(self, set_started_on_success: bool = False, force: bool = False) -> bool:
        """Hide what the task has reported and made; parameters, configuration, code and input models stay.

        It is a draft then, or in_progress where `set_started_on_success` says so or it runs in this process. Nothing is
        erased: `tracker log` shows what was, `tracker restore TASK COMMIT` brings it back. A published one needs
        `force`. Whether it was done.
        """
        if self._run is not None:
            self._run.begin_anew()
            return True
        from tracker import statuses
        from tracker.state import attempt

        state = self._fresh().state
        after = "in_progress" if set_started_on_success else "created"
        if not force and not statuses.may_follow("created", str(state.get("status", "created"))):
            return False
        cleared = dict.fromkeys(statuses.outcome(state.keys), None)
        begun = attempt(state, "reset", hide=True)
        self._commit({**cleared, **begun, **statuses.change(after, time.time_ns() // 1000)})
        return True

    def delete(
        self,
        delete_artifacts_and_models: bool = True,
        skip_models_used_by_other_tasks: bool = True,
        raise_on_error: bool = False,
        callback: Callable[[str, str], bool] | None = None,
    ) -> bool:
        """Delete the task with what it made; `tracker restore` brings it back until `tracker gc` has freed its room.

        `callback(kind, uri)` is asked for each output model and artifact; where it answers falsely the model, or the
        artifact's copy at the destination, stays. `delete_artifacts_and_models=False` keeps all of these.
        False, or with `raise_on_error` DeleteError, for one that is published or still runs.
        """
        from tracker.sdk import deletion

        try:
            if self._run is not None:
                raise DeleteError(f"task {self._key} runs in this process: close it first")
            left = deletion.delete(
                self._workspace,
                self._fresh(),
                outputs=delete_artifacts_and_models,
                used=not skip_models_used_by_other_tasks,
                ask=callback,
            )
        except DeleteError as error:
            if raise_on_error:
                raise
            self.fault(str(error), None)
            return False
        self._thing = None
        for url, why in left:
            self.fault(f"the copy at {url} was not deleted: {why}", None)
        return True

    # --- the one way a status changes --------------------------------------------------------------------------------

    def _become(
        self,
        status: str,
        reason: str | None = None,
        message: str | None = None,
        force: bool = False,
        ignore_errors: bool = True,
    ) -> bool:
        from tracker import statuses

        if self._run is not None and status in statuses.FINAL:
            self._end(status, reason or "", message or "")
            return True
        before = self.get_status()
        if not force and not statuses.may_follow(status, before):
            if ignore_errors:
                return False
            raise UsageError(
                f"task {self._key} is {before} and cannot become {status}: `force=True` makes it so"
            )
        now = time.time_ns() // 1000
        changes = statuses.change(status, now, reason or "", message or "")
        if status == "completed" and self._publishes:
            changes |= statuses.change("published", now, reason or "", message or "")
        if self._run is not None:
            self._set_all(changes)
        else:
            self._commit(changes)
        if changes["status"] == "published":
            self._publish_model()
        return True

    def _publish_model(self) -> None:
        """The last output model goes with its task."""
        outputs = {
            key.rpartition("/")[2]: entry.stamp
            for key, entry in self._fresh().state.keys.items()
            if key.startswith("model/output/") and entry.value is not None
        }
        if outputs:
            from tracker import layout

            self._workspace.edit(
                max(outputs, key=outputs.__getitem__), {"published": True}, kind=layout.MODEL
            )

    def _end(self, status: str, reason: str = "", message: str = "") -> None:
        from tracker.sdk.exits import Outcome

        run = self._run
        if run is None:
            return
        try:
            run.finish(Outcome(status, reason, message))
        finally:
            with current.lock:
                if current.get() is self:
                    current.put(None)
            self._run, self._thing = None, None


def _each(statuses: Iterable[str | TaskStatus] | None) -> Iterable[str | TaskStatus]:
    return [statuses] if isinstance(statuses, str) else statuses or ()
