"""Task, lifecycle: its status, and how it ends."""

from __future__ import annotations

from tracker.sdk import current
from tracker.sdk.task.core import Core


class Lifecycle(Core):
    """States and their changes."""

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

    def close(self) -> None:
        """End the task as completed and seal it; the next `Task.init` makes a new one. A second call does nothing."""
        self._end("completed")

    def mark_completed(self, ignore_errors: bool = True, status_message: str | None = None) -> None:
        """End a running task as completed."""
        self._end("completed", "", status_message or "")

    def mark_failed(
        self, ignore_errors: bool = True, status_reason: str | None = None, status_message: str | None = None
    ) -> None:
        """End a running task as failed."""
        self._end("failed", status_reason or "", status_message or "")

    def mark_stopped(self, force: bool = False, status_message: str | None = None) -> None:
        """End a running task as stopped."""
        self._end("stopped", "", status_message or "")

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

    def flush(self, wait_for_uploads: bool = False) -> bool:
        """True: a call that has returned is already kept. `wait_for_uploads`: wait for copies to `output_uri`, too."""
        if wait_for_uploads:
            self.wait_for_uploads()
        return True
