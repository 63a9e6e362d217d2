"""The process's main task: one slot with a lock. Not a ContextVar, since a new thread starts with an empty context."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tracker.sdk.task import Task

lock = threading.RLock()
_task: Task | None = None
_inits = 0


def get() -> Task | None:
    """The main task, if there is one."""
    return _task


def put(task: Task | None) -> None:
    """Make `task` the main task, or none."""
    global _task, _inits
    with lock:
        _task = task
        _inits += task is not None


def begin_anew() -> None:
    """Count the next main task as this process's first: the one that it was started for."""
    global _inits
    _inits = 0


def ordinal() -> int:
    """How many main tasks this process has had so far."""
    return _inits
