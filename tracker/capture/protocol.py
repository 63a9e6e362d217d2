"""What a capture is, what it may touch, and the guard that stands between its faults and the user's training.

It knows no capture. An exception of a capture is logged once and switches that capture off; none passes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ParamSpec, Protocol, TypeVar, runtime_checkable

_P = ParamSpec("_P")
_T = TypeVar("_T")

Undo = Callable[[], None]
"""Puts back the very objects that an install replaced. Calling it again does nothing."""


class Recorder(Protocol):
    """The running task as a capture sees it. No method raises for a fault of the environment; all may be called
    from any thread."""

    def set(self, key: str, value: object) -> None:
        """Gives one key of the task's state a JSON value."""

    def text(self, stream: str, message: str) -> None:
        """Adds to the console; `stream` is "stdout", "stderr" or "log"."""

    def scalar(self, title: str, series: str, value: float, iteration: int) -> None:
        """Adds one point of a series."""

    def sample(self, title: str, series: str, data: bytes, extension: str, iteration: int) -> None:
        """Adds a picture, or a file of another type, as its extension says."""

    def histogram(
        self, title: str, series: str, counts: Sequence[float], edges: Sequence[str], iteration: int
    ) -> None:
        """Adds bars of these heights."""

    def figure(self, title: str, figure: object, *, sample: bool = False) -> None:
        """Adds a figure of matplotlib at the last iteration reported, unless it looks as it did the last time, or the
        script reports it itself; `sample`: as a picture among the debug samples.
        """

    def saved(self, path: str, framework: str) -> None:
        """A framework has written weights: an output model."""

    def loaded(self, path: str, framework: str) -> None:
        """A framework has read weights: an input model."""

    def configuration(self, name: str, text: str, kind: str) -> None:
        """Sets a configuration object."""

    def job_ended(self, problem: BaseException | None) -> None:
        """What the script had to do with this task is done, or has failed: the task ends, the process goes on."""

    def chosen(self, name: str) -> bool:
        """A choice of the script's: "group_scalars", "single_series"."""

    def attach(self, data: bytes) -> str:
        """Stores bytes and returns the text that a value's "$ref" member refers to them by."""

    def redacted(self, data: bytes) -> bytes:
        """A text without the secrets in it."""

    def overrides(self, section: str) -> dict[str, str] | None:
        """The stored parameters of a section by name, where this run replays a stored task; None otherwise."""


class Capture(Protocol):
    """One integration: what it is called, which module it waits for, and how it is put in and taken out."""

    name: str
    module: str | None
    """Install waits until this module has been imported; None: install at once."""

    def install(self, recorder: Recorder) -> Undo:
        """Begins to record and returns what ends it. Called once."""


@runtime_checkable
class Waitable(Protocol):
    """A capture that works in the background."""

    def wait(self, timeout: float) -> bool:
        """Whether its work was done within `timeout` seconds."""


class Guard:
    """The fuse of one capture: it blows at the first exception, which is logged, and stays blown.

    KeyboardInterrupt and SystemExit are the user's and pass.
    """

    __slots__ = ("name", "on")

    def __init__(self, name: str) -> None:
        self.name = name
        self.on = True

    def run(self, work: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T | None:
        """The result of `work`, or None where it failed or the fuse has blown before."""
        if not self.on:
            return None
        try:
            return work(*args, **kwargs)
        except Exception as fault:  # noqa: BLE001 - the one place that keeps captures from breaking the training
            self.trip(fault)
            return None

    def trip(self, fault: Exception) -> None:
        """Switches the capture off, and says so the first time."""
        first, self.on = self.on, False
        if first:
            log_fault(f"Recording of {self.name} is switched off for the rest of this run", fault)


def log_fault(what: str, fault: Exception) -> None:
    """One warning on the logger "tracker"; the traceback goes there at level DEBUG. Never raises."""
    import contextlib
    import logging

    with contextlib.suppress(Exception):  # a handler or filter of the user's may itself be broken
        logger = logging.getLogger("tracker")
        logger.warning("%s: %s: %s. Your script goes on.", what, type(fault).__name__, fault)
        logger.debug("%s", what, exc_info=fault)
