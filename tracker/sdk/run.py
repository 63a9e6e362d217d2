"""One process's part in a running task, from start to end: recorder, captures, exit. Task is its face."""

from __future__ import annotations

import getpass
import os
import platform
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tracker import layout
from tracker import recorder as recording
from tracker.errors import RecordingFault
from tracker.recorder import Recorder
from tracker.records import Entry
from tracker.sdk import offline
from tracker.sdk.abort import Abort, Watch
from tracker.sdk.exits import ExitWatch, Outcome
from tracker.sdk.identity import OWNER, RUN_TASK, TASK_ID
from tracker.sdk.proposals import Proposals
from tracker.state import attempt

if TYPE_CHECKING:
    from tracker.capture import Capture
    from tracker.records import State
    from tracker.sdk.earlier import Beginning
    from tracker.sdk.models.outputs import OutputModel
    from tracker.workspace import Workspace

Undo = Callable[[], None]
# What a task that is begun anew keeps: what it is called and filed under, and its history.
_STAYS = frozenset(("name", "project", "type", "created", "parent", "cut"))
_STAYS_BELOW = ("tag/", "system_tag/", "attempt/", "hidden/")
OFFSET = "initial_iteration"


class Run:
    """Recorder, captures and exit watch of one task in this process."""

    def __init__(self, workspace: Workspace, beginning: Beginning) -> None:
        known = beginning.thing.state.keys if beginning.thing else {}
        self.workspace = workspace
        self.identity = identity = beginning.identity
        self.beginning = beginning
        attempts = [int(number) for name in known if (number := name.removeprefix("attempt/")).isdecimal()]
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
        self.publishes = False  # when it ends as completed
        self.on_abort: Abort | None = None
        self._pid = os.getpid()
        self._error: Exception | None = None
        self.captures = Proposals(self.recorder)
        self.captured: frozenset[str] = frozenset()
        self.weights: dict[str, OutputModel] = {}  # by file, as frameworks and the script have stored them
        self.read: dict[str, object] = {}  # what was read by frameworks, and what it was then
        self.asked_for = False  # by Task.current_task in a child process that has not called Task.init yet
        self.offline = identity.owner and offline.is_on()  # the task leaves a session when it ends
        self._undo: list[Undo] = []
        self._finished = False
        self._lock = threading.Lock()

    def begin(self, values: Iterable[tuple[str, Any]]) -> None:
        """Record the first keys, or expect the owner to; make child processes part of the run; watch this one's end."""
        offset = self.beginning.offset
        for key, value in values:
            if not self.identity.owner:
                self.recorder.keys.setdefault(key, Entry(value, 0, ""))
            elif key != "created" or self.recorder.get("created") is None:
                self.recorder.set(key, value)
        if self.identity.owner:
            start = {"reason": self.beginning.reason, **({"from": offset} if offset else {})}
            self.recorder.set(f"attempt/{self.attempt}", start)
            if offset or self.recorder.get(OFFSET):
                self.recorder.set(OFFSET, offset or 0)
            self.recorder.watch = Watch(self).look
        self.recorder.offset = int(self.recorder.get(OFFSET, 0)) if offset is None else offset
        self._own_environment()
        self._undo.append(ExitWatch(self.finish).install())

    def shift(self, offset: int) -> None:
        """Add `offset` to each iteration from now on; what earlier attempts have from there on is repeated."""
        self.recorder.offset = offset
        self.recorder.set(OFFSET, offset)
        start = {"reason": self.beginning.reason, **({"from": offset} if offset else {})}
        if self.identity.owner:
            self.recorder.set(f"attempt/{self.attempt}", start)

    def begin_anew(self) -> None:
        """Hide what this run and those before it have reported and made; it goes on as the next attempt."""
        from tracker import seal, statuses

        self.recorder.begin_anew()
        self.recorder.set(
            "status", "in_progress"
        )  # or the writer that has ended would seem to be the run's owner
        seal.seal(self.workspace.store, self.identity.key)  # what was is a commit of its own
        self.attempt += 1
        state = self.workspace.thing(self.identity.key).state
        now = time.time_ns() // 1000
        changes = dict.fromkeys(statuses.outcome(state.keys), None)
        before = replace(state, segments=tuple(s for s in state.segments if s.writer != self.recorder.writer))
        for key, value in {**changes, **attempt(before, "reset", hide=True), "progress": 0}.items():
            self.recorder.set(key, value)
        for key, value in statuses.change("in_progress", now).items():
            self.recorder.set(key, value)
        self.recorder.offset = 0

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

    def capture(self, captures: Iterable[str | Capture]) -> None:
        """Install captures; a fault in one switches that one off."""
        from tracker import capture

        chosen = {each if isinstance(each, str) else each.name: each for each in captures}
        self.replays_arguments &= not self.identity.owner and "argparse" in chosen
        if not self.identity.owner:
            chosen = {name: each for name, each in chosen.items() if name == "console"}
        if chosen:
            self._undo.append(self.captures.install(capture.install_all, list(chosen.values())))
            self.captured = frozenset(chosen)

    def before_end(self, call: Undo) -> None:
        """Have something done before the journal is closed: what was called last comes first."""
        self._undo.append(call)

    def capture_parser(self, parser: Any) -> None:
        """Record what one parser parses, where not all of them are watched anyway."""
        if "argparse" in self.captured:
            return
        from tracker.capture.argparse_ import ArgparseCapture

        self._undo.append(ArgparseCapture(only=parser).install(self.captures))

    def finish(self, outcome: Outcome) -> None:
        """End this process's part: undo the captures, set the status if it is ours, close, seal.

        Waits at most `close_timeout` seconds; what is not sealed by then the next process seals. Never raises but
        KeyboardInterrupt, and RecordingFault where `strict` asks for it.
        """
        with self._lock:
            if self._finished:
                return
            self._finished = True
        if outcome.sudden:  # what the script reports until the end strikes is nobody's loss
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
            if self.recorder.get("status") == "in_progress":  # else somebody else has decided
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
        from tracker.statuses import change

        now = time.time_ns() // 1000
        changes = change(outcome.status, now, outcome.reason, outcome.message)
        if self.publishes and outcome.status == "completed":
            changes |= change("published", now, outcome.reason, outcome.message)
        for key, value in changes.items():
            self.recorder.set(key, value)

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
    beginning: Beginning, project: str, name: str, kind: str, tags: Iterable[str]
) -> list[tuple[str, Any]]:
    """What a run's owner records at once: first that it runs, so that even a run killed in its first millisecond is
    one that was aborted.
    """
    now = time.time_ns() // 1000
    user, host = user_and_host()
    started = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
    running = [("status", "in_progress"), ("started", now), ("user", user), ("host", host)]
    called = [("name", name), ("project", project), ("type", kind), ("created", now)]
    described = [
        ("comment", f"Auto-generated at {started} UTC by {user}@{host}"),
        ("system_tag/development", True),
        ("progress", 0),
        *((f"tag/{tag}", True) for tag in tags),
    ]
    before = beginning.thing.state if beginning.thing else None
    if before is None or before.get("name") is None:
        return [running[0], *called, *running[1:], *described]
    ended = [
        (key, None) for key in ("completed", "status_reason", "status_message") if before.get(key) is not None
    ]
    if beginning.reason == "reuse":
        return [*running, *described, *_wiped(before, {key for key, _ in described})]
    # The name, project, type and tags that it has by now are its own, whatever the script calls it.
    return [*running, *ended, *(described[3:] if beginning.reason == "continue" else ())]


def _wiped(before: State, new: set[str]) -> list[tuple[str, Any]]:
    """The keys by which a task is begun anew: what it has said so far is gone from it, but not from its history."""
    again = {*_STAYS, *new, "status", "started", "user", "host"}
    gone = [
        (key, None)
        for key, entry in before.keys.items()
        if entry.value is not None and key not in again and not key.startswith(_STAYS_BELOW)
    ]
    hidden = [
        (key, value)
        for key, value in attempt(before, "reuse", hide=True).items()
        if key.startswith("hidden/")
    ]
    return [*gone, *hidden]


def user_and_host() -> tuple[str, str]:
    """Who runs this, and where."""
    return _user(), platform.node()


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return str(os.getuid()) if hasattr(os, "getuid") else "unknown"
