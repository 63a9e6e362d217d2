"""One piece of a capture's work off the caller's thread, with a bounded wait for it.

It never forks, and it holds a fork of the user's back while it imports: a child that was born in the middle of an
import in another thread would wait for ever when it imports the same module.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from importlib import import_module
from typing import Generic, TypeVar

from tracker.capture.protocol import Guard

_T = TypeVar("_T")

_FORK_WAITS = 5.0
"""Seconds that a fork waits for our imports at most; they take a tenth of one, minutes on a sick file system."""

PATIENCE = 10.0
"""Seconds that ending a job waits for it by default."""


class Job(Generic[_T]):
    """Runs `read()` in a thread of its own, then `deliver` with what it returned, unless it has been given up."""

    def __init__(self, guard: Guard, read: Callable[[], _T], deliver: Callable[[_T], None]) -> None:
        self._guard = guard
        self._read = read
        self._deliver = deliver
        self._given_up = False
        self._waited_in_vain = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begins. Where the system grants no further thread, the work is done at once, in this one."""
        thread = threading.Thread(target=self._run, name=f"tracker-{self._guard.name}", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            self._run()
        else:
            self._thread = thread

    def wait(self, timeout: float) -> bool:
        """Whether the work is done, waiting for it at most `timeout` seconds."""
        thread = self._thread
        if thread is None or thread is threading.current_thread():
            return True
        thread.join(max(0.0, timeout))
        self._waited_in_vain = thread.is_alive()
        return not self._waited_in_vain

    @property
    def ended(self) -> bool:
        """Whether `end` has been called."""
        return self._given_up

    def end(self) -> bool:
        """Waits PATIENCE seconds, or none where a wait has been in vain before, then gives the work up: nothing is
        delivered any more. Whether the work was done."""
        done = self.wait(0.0 if self._waited_in_vain else PATIENCE)
        self._given_up = True
        return done

    def _run(self) -> None:
        self._guard.run(self._work)

    def _work(self) -> None:
        result = self._read()
        if not self._given_up:
            self._deliver(result)


_importing = threading.Lock()
_fork = threading.local()


def import_undisturbed(*modules: str) -> None:
    """Imports modules in an order, with no fork of this process in between."""
    with _importing:
        for module in modules:
            import_module(module)


def _before_fork() -> None:
    _fork.held = _importing.acquire(timeout=_FORK_WAITS)


def _after_fork_in_parent() -> None:
    if _fork.held:
        _importing.release()


def _after_fork_in_child() -> None:
    global _importing
    if _fork.held:
        _importing.release()
    else:
        _importing = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
