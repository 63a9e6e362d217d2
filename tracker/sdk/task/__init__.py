"""ClearML's Task, a file for each of its chapters."""

from __future__ import annotations

from tracker.sdk.task.task import Task

__all__ = ["Task"]
