"""One process's part in a running task, from start to end: recorder, captures, exit. Task is its face."""

from __future__ import annotations

import getpass
import os
import platform
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from tracker import layout
from tracker import recorder as recording
from tracker.errors import RecordingFault
from tracker.recorder import Recorder
from tracker.records import Entry
from tracker.sdk import offline
from tracker.sdk.exits import ExitWatch, Outcome
from tracker.sdk.identity import OWNER, RUN_TASK, TASK_ID, Identity
from tracker.sdk.proposals import Proposals

if TYPE_CHECKING:
    from tracker.workspace import Workspace

Undo = Callable[[], None]
FINAL = ("completed", "failed", "stopped", "published", "closed")


class Run:
    """Recorder, captures and exit watch of one task in this process."""

    def __init__(self, workspace: Workspace, identity: Identity) -> None:
        known = workspace.known(identity.key) if identity.shared else {}
        self.workspace = workspace
        self.identity = identity
        self.resumed = "name" in known
        attempts = [int(name.partition("/")[2]) for name in known if name.startswith("attempt/")]
        self.attempt = max(attempts, default=0) + identity.owner or 1
        self.recorder = Recorder(
            workspace.root,
            identity.key,
            workspace.config,
            attach=workspace.attach,
            roll=self._roll,
            known=known,
            attempt=self.attempt,
        )
        self.recorder.replays = identity.runs
        self.replays_arguments = identity.runs  # by the early tap, where no capture does it
        if workspace.fallback_for == workspace.root:
            self.recorder.warned.add("fault")  # that nothing is recorded was said already
        self._pid = os.getpid()
        self._error: Exception | None = None
        self.captures = Proposals(self.recorder)
        self.captured: frozenset[str] = frozenset()
        self.offline = identity.owner and offline.is_on()  # the task leaves a session when it ends
        self._undo: list[Undo] = []
        self._finished = False
        self._lock = threading.Lock()

    def begin(self, values: Iterable[tuple[str, Any]]) -> None:
        """Record the first keys, or expect the owner to; make child processes part of the run; watch this one's end."""
        for key, value in values:
            if not self.identity.owner:
                self.recorder.keys.setdefault(key, Entry(value, 0, ""))
            elif key != "created" or not self.resumed:
                self.recorder.set(key, value)
        if self.identity.owner:
            reason = "resume" if self.resumed else "init"
            self.recorder.set(f"attempt/{self.attempt}", {"reason": reason})
        self._own_environment()
        self._undo.append(ExitWatch(self.finish).install())

    def _own_environment(self) -> None:
        """Tell child processes which run they are part of."""
        before = {name: os.environ.get(name) for name in (TASK_ID, OWNER, RUN_TASK, "TRACKER_DIR")}
        if self.identity.runs:
            os.environ[RUN_TASK] = self.identity.key
        os.environ[TASK_ID] = self.identity.key
        os.environ[OWNER] = str(os.getpid()) if self.identity.owner else "0"  # no process has that id
        os.environ["TRACKER_DIR"] = str(self.workspace.root.absolute())

        def undo() -> None:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value

        self._undo.append(undo)

    def capture(self, names: Iterable[str]) -> None:
        """Install the named captures; a fault in one switches that one off."""
        from tracker import capture

        chosen = frozenset(names)
        self.replays_arguments &= not self.identity.owner and "argparse" in chosen
        if not self.identity.owner:
            chosen &= {"console"}
        if chosen:
            self._undo.append(self.captures.install(capture.install_all, chosen))
            self.captured = chosen

    def before_end(self, call: Undo) -> None:
        """Have something done before the journal is closed: what was called last comes first."""
        self._undo.append(call)

    def capture_parser(self, parser: Any) -> None:
        """Record what one parser parses, where not all of them are watched anyway."""
        if "argparse" in self.captured:
            return
        from tracker.capture.argparse_ import ArgparseCapture

        self._undo.append(ArgparseCapture(only=parser).install(self.recorder))

    def finish(self, outcome: Outcome) -> None:
        """End this process's part: undo the captures, set the status if it is ours, close, seal.

        Waits at most `close_timeout` seconds; what is not sealed by then the next process seals. Never raises but
        KeyboardInterrupt, and RecordingFault where `strict` asks for it.
        """
        with self._lock:
            if self._finished:
                return
            self._finished = True
        if outcome.reason.startswith("Signal "):
            # The script goes on for the moments until the signal strikes: what it reports then is nobody's loss.
            self.recorder.warned.add("closed")
        try:
            # The status first, since it takes no time, and a second Ctrl-C may cut off all that follows.
            self._decide(outcome)
            self._uninstall()
            self._close_within(self.workspace.config.close_timeout)
        except KeyboardInterrupt:
            self.recorder.warn("close", "interrupted while closing: the next process seals the rest")
            raise
        if self.offline and os.getpid() == self._pid:
            offline.leave(self.workspace, self.identity.key)
        if self._error is not None and self.workspace.config.strict:
            raise RecordingFault(f"the run could not be closed: {self._error}") from self._error

    def _decide(self, outcome: Outcome) -> None:
        """Set the final status, if it is this process's to set. A forked child has a copy of all this, but no say."""
        if not self.identity.owner or os.getpid() != self._pid:
            return
        try:
            self.recorder.retry()
            if self.recorder.get("status") not in FINAL:
                self.set_status(outcome)
        except Exception as error:  # noqa: BLE001 - see _close
            self._blame(error)

    def _close_within(self, seconds: float) -> None:
        long = self.recorder.size() > layout.LONG
        worker = threading.Thread(target=self._close, name="tracker-close", daemon=True)
        try:
            worker.start()
        except RuntimeError:  # Python 3.12 starts no thread once the interpreter ends
            self._close()
            return
        worker.join(min(seconds, layout.QUICK) if long else seconds)
        if worker.is_alive() and not long:
            self.recorder.warn("close", "closing took too long: the next process seals the rest")

    def _close(self) -> None:
        try:
            self.recorder.close()
            recording.forget(self.recorder)
            self._seal()
            self.workspace.tidy()
            self.workspace.store.close()
        except Exception as error:  # noqa: BLE001 - nothing at the end of a training may break its exit code
            self._blame(error)

    def _blame(self, error: Exception) -> None:
        self._error = error
        topic = "fault" if isinstance(error, OSError) else "close"  # of a full disk one warning is enough
        self.recorder.warn(topic, f"the run is kept in its journal and not sealed yet: {error}")

    def set_status(self, outcome: Outcome) -> None:
        """Record how the run ended."""
        if outcome.status == "completed":
            self.recorder.set("progress", 100)
        self.recorder.set("status_reason", outcome.reason)
        self.recorder.set("status_message", outcome.message)
        self.recorder.set("completed", time.time_ns() // 1000)
        self.recorder.set("status", outcome.status)

    def _roll(self, writer: str) -> None:
        from tracker import seal

        seal.seal(self.workspace.store, self.identity.key, own=writer, rolling=True)

    def _seal(self) -> None:
        from tracker import seal

        if self.identity.owner or seal.owner_gone(self.workspace.store, self.identity.key):
            seal.seal(self.workspace.store, self.identity.key, own=self.recorder.writer)

    def _uninstall(self) -> None:
        while self._undo:
            undo = self._undo.pop()
            try:
                undo()
            except Exception as error:  # noqa: BLE001 - see _close
                self.recorder.warn("undo", f"a capture could not be undone: {error}")


def first_keys(
    identity: Identity, project: str, name: str, kind: str, tags: Iterable[str]
) -> list[tuple[str, Any]]:
    """What a new run's owner records at once: first that it runs, so that even a run killed in its first millisecond
    is one that was aborted.
    """
    now = time.time_ns() // 1000
    user, host = _user(), platform.node()
    started = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
    return [
        ("status", "in_progress"),
        ("name", name),
        ("project", project),
        ("type", kind),
        ("created", now),
        ("started", now),
        ("user", user),
        ("host", host),
        ("comment", f"Auto-generated at {started} UTC by {user}@{host}"),
        ("system_tag/development", True),
        ("progress", 0),
        *((f"tag/{tag}", True) for tag in tags),
    ]


def keys_again() -> list[tuple[str, Any]]:
    """What the owner records at once of a task that it runs again: what it is called, and its tags, stay."""
    return [
        ("status", "in_progress"),
        ("status_reason", ""),
        ("status_message", ""),
        ("started", time.time_ns() // 1000),
        ("completed", None),
        ("user", _user()),
        ("host", platform.node()),
        ("progress", 0),
    ]


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return str(os.getuid()) if hasattr(os, "getuid") else "unknown"
