"""PatchedMatplotlib, which integrations switch off before they report by themselves."""

from __future__ import annotations

from tracker.sdk import frameworks


class PatchedMatplotlib:
    """The capture of matplotlib."""

    @classmethod
    def update_current_task(cls, task: object, **_: object) -> None:
        """None takes the capture out of the running task; with a task nothing is done: `Task.init` put it in."""
        if task is None:
            frameworks.switch_off("matplotlib")
