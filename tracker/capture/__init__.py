"""What a run records by itself: one file per integration, and the one loop that installs them.

A capture sees the recorder only, never the Task; a fault in one never reaches the user's training.
"""

from __future__ import annotations

from collections.abc import Iterable
from time import monotonic

from tracker.capture.protocol import Capture, Guard, Recorder, Undo, Waitable

__all__ = ["CAPTURES", "Capture", "Guard", "Installed", "Recorder", "Undo", "install_all"]

CAPTURES: dict[str, tuple[str | None, str]] = {
    "git": (None, "tracker.capture.git:GitCapture"),
    "packages": (None, "tracker.capture.packages:PackagesCapture"),
    "argparse": ("argparse", "tracker.capture.argparse_:ArgparseCapture"),
    "click": ("click", "tracker.capture.click_:ClickCapture"),
    "absl": ("absl.flags", "tracker.capture.absl_:AbslCapture"),
    "console": (None, "tracker.capture.console:ConsoleCapture"),
    "hydra": ("hydra._internal.hydra", "tracker.capture.hydra_:HydraCapture"),
    "joblib": ("joblib", "tracker.capture.joblib_:JoblibCapture"),
    "jsonargparse": ("jsonargparse", "tracker.capture.jsonargparse_:JsonargparseCapture"),
    "lightgbm": ("lightgbm", "tracker.capture.lightgbm_:LightgbmCapture"),
    "matplotlib": ("matplotlib.figure", "tracker.capture.matplotlib_:MatplotlibCapture"),
    "pytorch": ("torch", "tracker.capture.torch_:TorchCapture"),
    "tensorboard": ("torch.utils.tensorboard.writer", "tracker.capture.tensorboard_:TensorboardCapture"),
    "tensorboardX": ("tensorboardX.writer", "tracker.capture.tensorboard_:TensorboardXCapture"),
    "xgboost": ("xgboost", "tracker.capture.xgboost_:XgboostCapture"),
}
"""The module that each capture waits for, and where it lives: "module:class", imported when it is installed."""

PATIENCE = 10.0
"""Seconds that taking the captures out waits for those at work in the background, all together."""


def install_all(recorder: Recorder, captures: Iterable[str | Capture]) -> Installed:
    """Installs captures, given by name (see CAPTURES) or as objects, in their order.

    Returns what takes them out again, last first. Raises ValueError for a name that there is no capture of; whatever
    goes wrong inside a capture is logged once and leaves that one out.
    """
    wanted = list(captures)
    for name in wanted:
        if isinstance(name, str) and name not in CAPTURES:
            known = ", ".join(sorted(CAPTURES))
            raise ValueError(f"there is no capture {name!r}; those that exist are {known}")
    installed = Installed(recorder)
    for capture in wanted:
        if isinstance(capture, str):
            guard = Guard(capture)
            module, target = CAPTURES[capture]
            loaded = guard.run(_load, target) if module is None else _Named(capture, module, target)
        else:
            guard, loaded = Guard(capture.name), capture
        if loaded is not None:
            installed.add(loaded, guard)
    return installed


def _load(target: str) -> Capture:
    from importlib import import_module

    module, _, name = target.partition(":")
    capture: Capture = getattr(import_module(module), name)()
    return capture


class _Named:
    """A capture that is imported once its module is there: a framework that nobody uses costs nothing."""

    def __init__(self, name: str, module: str, target: str) -> None:
        self.name = name
        self.module: str | None = module
        self._target = target

    def install(self, recorder: Recorder) -> Undo:
        """What the capture itself does."""
        return _load(self._target).install(recorder)


class Installed:
    """The captures of one run; calling it takes them out."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._undos: list[tuple[Guard, Undo]] = []
        self._captures: list[tuple[Guard, Capture]] = []
        self._closed = False

    def add(self, capture: Capture, guard: Guard) -> None:
        """Installs one capture as soon as the module that it waits for is there."""

        def install(_module: object = None) -> None:
            undo = guard.run(capture.install, self._recorder)
            if undo is not None:
                self._captures.append((guard, capture))
                self._undos.append((guard, undo))
                if self._closed:  # in another thread, or by the install itself
                    self._undo_all()

        if capture.module is None:
            install()
        else:
            from tracker.capture.imports import when_imported

            self._undos.append((guard, when_imported(capture.module, install)))

    def remove(self, name: str) -> None:
        """Takes one capture out, if it is in."""
        for guard, undo in [each for each in self._undos if each[0].name == name]:
            self._undos.remove((guard, undo))
            _undo(guard, undo)

    def wait(self, timeout: float) -> bool:
        """Whether all that works in the background was done within `timeout` seconds."""
        deadline = monotonic() + timeout
        waits = [(guard, capture) for guard, capture in self._captures if isinstance(capture, Waitable)]
        done = [guard.run(capture.wait, max(0.0, deadline - monotonic())) for guard, capture in waits]
        return False not in done

    def __call__(self, timeout: float = PATIENCE) -> None:
        """Ends all recording: waits at most `timeout` seconds for background work, then undoes, last first."""
        if self._closed:
            return
        self._closed = True
        self.wait(timeout)
        self._undo_all()

    def _undo_all(self) -> None:
        while self._undos:
            guard, undo = self._undos.pop()
            _undo(guard, undo)


def _undo(guard: Guard, undo: Undo) -> None:
    try:
        undo()  # also where the capture is switched off: what it replaced has to be put back
    except Exception as fault:  # noqa: BLE001 - as in Guard
        guard.trip(fault)
