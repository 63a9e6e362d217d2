"""A request to stop, put into the store by anybody, as the run that goes on sees it: callback, status, end.

It looks once a second whether its folder was touched, in the recorder's own thread; reporting knows nothing of it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from objstore import layout as store_layout
from tracker.notice import say
from tracker.records import Entry, recoverer
from tracker.sdk import current
from tracker.sdk.exits import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tracker.sdk.run import Run

STOPPING: Final = "stopping"  # the status message by which a run is asked to stop, as ClearML has it
_KEYS: Final = ("status", "status_reason", "status_message", "completed", "started")
_EXIT_CODE: Final = 1


@dataclass(frozen=True, slots=True)
class Abort:
    """What to call before an aborted run ends, and how many seconds it has."""

    call: Callable[[], Any]
    timeout: float


class Watch:
    """The eye of one run on what others say of its status."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._pid = os.getpid()
        self._seen = 0
        self._began = run.recorder.keys["status"].stamp
        self._aborting = False

    def look(self) -> None:
        """End the run where somebody has asked for it, or has given it another status. Never raises."""
        run = self._run
        if os.getpid() != self._pid or self._aborting:  # a forked child's end is not the run's
            return
        try:
            changed = os.stat(run.workspace.root / store_layout.LIVE / run.identity.key).st_mtime_ns
            if changed == self._seen:
                return
            said = run.workspace.committed(run.identity.key)
        except Exception:  # noqa: BLE001 - beside a training; the next edit is another chance
            return
        self._seen = changed
        why = self._reason(said)
        if why:
            self._aborting = True
            run.recorder.learn({key: said[key] for key in _KEYS if key in said})
            threading.Thread(target=self._abort, args=(why,), name="tracker-abort", daemon=True).start()

    def _reason(self, said: Mapping[str, Entry]) -> str:
        status, message = said.get("status"), said.get("status_message")
        if status is not None and self._is_news(status) and status.value != "in_progress":
            return f"STATUS CHANGED TO {str(status.value).upper()}"
        if message is not None and self._is_news(message) and message.value == STOPPING:
            return "STOP REQUESTED"
        return ""

    def _is_news(self, entry: Entry) -> bool:
        own = self._run.recorder.writer
        return entry.stamp > self._began and entry.writer not in (own, recoverer(own))

    def _abort(self, why: str) -> None:
        run = self._run
        with suppress(Exception):
            run.recorder.text("log", f"### TASK STOPPED - USER ABORTED - {why} ###")
        say(f"task {run.identity.key} is aborted: {why.lower()}")
        if run.on_abort is not None:
            called = threading.Thread(
                target=_quietly, args=(run.on_abort.call,), name="tracker-abort-callback", daemon=True
            )
            called.start()
            called.join(run.on_abort.timeout)
            if called.is_alive():
                say(f"the abort callback took over {run.on_abort.timeout} s: the run ends without it")
        with suppress(Exception):
            run.finish(Outcome("stopped", "aborted by the user", "", sudden=True))
        if "ipykernel" in sys.modules or hasattr(
            sys, "ps1"
        ):  # the session is not the run's to end, but the cell is
            _leave(run)
            return
        for child in reversed(list(_descendants(os.getpid()))):
            with suppress(OSError):
                os.kill(child, signal.SIGKILL)
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
        os._exit(_EXIT_CODE)


def _leave(run: Run) -> None:
    """Let a notebook or prompt go on without the run: the next Task.init begins another."""
    import _thread

    task = current.get()
    if task is not None and task.recorder is run.recorder:
        task.mark_stopped()
    _thread.interrupt_main()  # does nothing where no cell is running: kernels ignore SIGINT then


def _quietly(call: Callable[[], Any]) -> None:
    try:
        call()
    except Exception as error:  # noqa: BLE001 - the user's, and the run ends all the same
        say(f"the abort callback failed: {type(error).__name__}: {error}")


def _descendants(pid: int) -> Iterator[int]:
    """The processes that a process has started, and those that they have, parents first; none where nothing tells."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc") else []:
        if name.isdecimal():
            with suppress(OSError, IndexError, ValueError):
                with open(f"/proc/{name}/stat", encoding="ascii", errors="replace") as file:
                    children.setdefault(int(file.read().rpartition(")")[2].split()[1]), []).append(int(name))
    waiting = [pid]
    while waiting:
        for child in children.get(waiting.pop(0), []):
            waiting.append(child)
            yield child
