"""How the process ends, and what that makes of the task's status. Chains to every handler that was there before."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Outcome:
    """A final status with its reason and message; sudden: the script goes on for the moments until a signal strikes."""

    status: str
    reason: str = ""
    message: str = ""
    sudden: bool = False


class ExitWatch:
    """Calls `finish(outcome)` once when the process ends in any way that Python can see."""

    def __init__(self, finish: Callable[[Outcome], None]) -> None:
        self._finish = finish
        self._pid = os.getpid()
        self._outcome: Outcome | None = None
        self._exit: SystemExit | None = None
        self._interrupted = False
        self._undo: list[Callable[[], None]] = []
        self._signals: list[Callable[[], None]] = []

    def install(self) -> Callable[[], None]:
        """Watch from now on; returns what puts the very objects back that were there."""
        _watching.append(self)
        self._undo.append(lambda: _watching.remove(self))
        atexit.register(self._at_exit)
        self._undo.append(lambda: atexit.unregister(self._at_exit))
        self._hook("excepthook", self._excepthook(sys.excepthook))
        self._hook("exit", self._exit_with(sys.exit))
        if threading.current_thread() is threading.main_thread():
            self._signal(signal.SIGTERM)
            if _kills(_PREEMPTS):
                self._signal(_PREEMPTS)
        return self.uninstall

    def uninstall(self) -> None:
        """Put back what was there, where nobody has put something else since."""
        while self._undo:
            self._undo.pop()()

    # --- hooks -------------------------------------------------------------------------------------------------------

    def _hook(self, name: str, ours: Any) -> None:
        before = getattr(sys, name)
        setattr(sys, name, ours)

        def undo() -> None:
            if getattr(sys, name) is ours:
                setattr(sys, name, before)

        self._undo.append(undo)

    def _excepthook(self, before: Callable[..., Any]) -> Callable[..., Any]:
        def excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
            if hasattr(sys, "ps1"):
                pass  # at a prompt, where the session goes on
            elif issubclass(kind, KeyboardInterrupt):
                self._interrupted = kind is KeyboardInterrupt
                self._outcome = Outcome("stopped", "interrupted: SIGINT", "KeyboardInterrupt")
            else:
                self._outcome = Outcome(
                    "failed", f"Exception {kind.__name__}", f"{kind.__name__}: {error}"[:4000]
                )
            before(kind, error, trace)

        return excepthook

    def _exit_with(self, before: Callable[..., Any]) -> Callable[..., Any]:
        def exit(status: Any = None, /) -> Any:
            try:
                before(status)
            except SystemExit as error:
                self._exit = error
                raise

        return exit

    def _signal(self, number: int) -> None:
        before = signal.getsignal(number)
        if before is None or before is signal.SIG_IGN:
            return  # not Python's to replace, or ignored on purpose

        def handler(signum: int, frame: FrameType | None) -> None:
            if os.getpid() != self._pid:  # a forked child, such as a pool's worker: the run is its parent's
                _pass_on(before, signum, frame)
                return
            self._outcome = _ended_by(signum)
            if callable(before):
                before(signum, frame)
                return
            # As if nobody had caught it: a second signal kills at once, and so does this one when the run is closed.
            # In a thread, since the handler may have interrupted a report half-way, which must end before the close.
            signal.signal(signum, signal.SIG_DFL)
            threading.Thread(target=self._die, args=(signum,), name="tracker-exit").start()

        signal.signal(number, handler)

        def undo() -> None:
            if threading.current_thread() is threading.main_thread() and signal.getsignal(number) is handler:
                signal.signal(number, before)

        self._undo.append(undo)
        self._signals.append(undo)

    def signals_back(self) -> None:
        """In a forked child, whose end is not the run's: what was there before us."""
        for undo in self._signals:
            undo()

    def _die(self, signum: int) -> None:
        try:
            self._end()
        finally:
            os.kill(os.getpid(), signum)

    # --- the end -----------------------------------------------------------------------------------------------------

    def _at_exit(self) -> None:
        if os.getpid() == self._pid:
            with suppress(KeyboardInterrupt):  # the second Ctrl-C: leave at once
                self._end()
            if self._interrupted:
                # Python ends by SIGINT where that is what its last piece of compiled text ended with. Closing has run
                # such pieces (every dataclass is one), so here is another.
                with suppress(KeyboardInterrupt):
                    exec("raise KeyboardInterrupt")

    def _end(self) -> None:
        self._finish(self._outcome or self._exit_outcome() or Outcome("completed"))

    def _exit_outcome(self) -> Outcome | None:
        """What `sys.exit` left behind, if nobody caught it."""
        error = self._exit
        if error is None or error.code in (None, 0, False) or not _unhandled(error):
            return None
        if isinstance(error.code, int):
            return Outcome("failed", f"exit code {error.code}", f"sys.exit({error.code})")
        return Outcome("failed", "exit code 1", str(error.code)[:4000])


# A signal that reaches a forked child before Python is ready in it is forgotten there, if it is Python's to handle: a
# pool that ends a worker at once would then wait for it forever. So the child is born with the signal blocked, gets
# back what was there before us, and only then takes what has come meanwhile.
_watching: list[ExitWatch] = []
_mask = threading.local()


def _before_fork() -> None:
    if _watching:
        _mask.before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])


def _after_fork_in_parent() -> None:
    if (before := getattr(_mask, "before", None)) is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        _mask.before = None


def _after_fork_in_child() -> None:
    for watch in _watching:
        watch.signals_back()
    _after_fork_in_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child
    )


_PREEMPTS: Final = getattr(
    signal, "SIGUSR1", signal.SIGTERM
)  # what clusters send ahead of taking a machine away


def _ended_by(number: int) -> Outcome:
    """A signal's end: Slurm sends SIGTERM when it takes the job's place away, and ahead of that SIGUSR1."""
    name = f"Signal {signal.Signals(number).name}"
    if (number == _PREEMPTS != signal.SIGTERM) or "SLURM_JOB_ID" in os.environ:
        return Outcome("stopped", "preempted", name, sudden=True)
    return Outcome("stopped", name, sudden=True)


def _kills(number: int) -> bool:
    """Whether a signal would end this process now: no handler has it, be it one that Python does not know of.

    faulthandler, for one, is asked for tracebacks by SIGUSR1.
    """
    if number == signal.SIGTERM or signal.getsignal(number) is not signal.SIG_DFL:
        return False
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            caught = next((line.split()[1] for line in file if line.startswith("SigCgt:")), "0")
        return not int(caught, 16) >> (number - 1) & 1
    except (OSError, ValueError):
        return True


def _pass_on(before: Any, signum: int, frame: FrameType | None) -> None:
    """Do what would have been done without us."""
    if callable(before):
        before(signum, frame)
    else:
        signal.signal(signum, signal.SIG_DFL)
        os.kill(os.getpid(), signum)


def _unhandled(error: SystemExit) -> bool:
    """Whether an exception left the program.

    The outermost frame in its traceback is the last that caught it, or the module's. When that frame ended by
    returning, the exception stayed there; when by anything else, it went on.
    """
    from opcode import opname

    trace = error.__traceback__
    if trace is None:
        return False
    frame = trace.tb_frame
    return not opname[frame.f_code.co_code[frame.f_lasti]].startswith("RETURN")
