"""The running task from inside one process: every report becomes a journal record before the call returns.

Never raises into the caller for faults of the environment (unless `strict`), never hashes, compresses or fsyncs on
the reporting thread, and knows nothing of what a key means.
"""

from __future__ import annotations

import errno
import operator
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from orjson import Fragment

from objstore import trash
from objstore.journal import JournalWriter
from tracker import events, figures, layout
from tracker.config import Config
from tracker.errors import BadValue, RecordingFault
from tracker.mounts import file_system
from tracker.notice import say
from tracker.records import Entry, Ref, recoverer
from tracker.redaction import Lines, is_redacted, redact_bytes, redact_value
from tracker.state import join_keys

_pack_scalar = events.SCALAR_FORMAT.pack
_now = time.time_ns
_STEP_MAX = 2**63 - 1

Attach = Callable[[bytes], str]


class Recorder:
    """One process's hold on a running task.

    root: the store; key: the task's id; attach: stores content too large for the journal and returns its "$ref";
    roll: seals this writer's journal so far.
    A forked child gets a journal of its own at its first report.
    """

    def __init__(
        self,
        root: Path,
        key: str,
        config: Config,
        *,
        attach: Attach | None = None,
        roll: Callable[[str], object] | None = None,
        known: Mapping[str, Entry] | None = None,
        attempt: int = 1,
    ) -> None:
        self.root = root
        self.key = key
        self.config = config
        self.pid = os.getpid()
        self.keys: dict[str, Entry] = dict(known or {})  # the task's keys as this process knows them
        self.closed = False
        self.replays = False  # whether a stored task is run again
        self.offset = 0  # added to each iteration that is reported
        self.watch: Callable[[], None] | None = (
            None  # called about once a second, beside the reporting threads
        )
        self._attempt = attempt
        self._attach = attach
        self._roll = roll
        self._stamp = max((e.stamp for e in self.keys.values()), default=0)
        self.warned: set[str] = set()  # topics of which enough was said
        self._dropped = 0
        self._retry_at = 0.0
        self._unsaved: set[str] = set()  # keys that were set while the disk refused
        self._series: dict[tuple[str, ...], int] = {}  # (title, series), and the model where it is a model's
        self._lines: defaultdict[str, Lines] = defaultdict(Lines)
        self._guard = threading.RLock()
        self._heart = threading.Event()
        self._open()
        if hasattr(os, "register_at_fork"):
            _living.append(self)

    def _open(self) -> None:
        self.writer = os.urandom(layout.WRITER_SIZE // 2).hex()
        folder = self.root / layout.live_path(self.key, self.writer)
        mapped = file_system(self.root).partition(".")[0] not in layout.UNMAPPED
        self._journal = JournalWriter(folder, self.writer, attempt=self._attempt, mapped=mapped)
        self._append = self._journal.append
        self._beating = False
        self._declared = 0  # series numbers given out; one is never given twice
        self._rolled = 0  # number of the last event when the journal was last sealed
        self._held = 0  # bytes of content since then

    # --- reporting ---------------------------------------------------------------------------------------------------

    def scalar(self, title: str, series: str, value: float, iteration: int) -> None:
        """One point; `value` is a float. Raises BadValue for an iteration that is not a whole number of 64 bits."""
        number = self._series.get((title, series))
        if number is None:
            number = self._declare(title, series, None)
            if not number:
                return
        if self.offset:
            iteration = self.shifted(iteration)
        try:
            self._append(2, _pack_scalar(number, iteration, _now() // 1000, value))
        except Exception as error:  # noqa: BLE001 - sorted there, where it costs no point that is taken anything
            self._refused(error, iteration)

    def model_scalar(self, of: str, title: str, series: str, value: float, iteration: int) -> None:
        """One point of the model `of`."""
        number = self._series.get((title, series, of)) or self._declare(title, series, of)
        iteration = self.shifted(iteration)
        try:
            if number:
                self._append(2, _pack_scalar(number, iteration, _now() // 1000, value))
        except Exception as error:  # noqa: BLE001 - as above
            self._refused(error, iteration)

    def _refused(self, error: Exception, iteration: object) -> None:
        """A point was not taken: the journal's fault, or the iteration's."""
        if isinstance(error, OSError | ValueError):
            self._fault(error)
        elif type(error).__name__ == "error":  # struct.error: the message must say what was wrong
            raise BadValue(f"iteration {iteration!r}: a whole number of 64 bits is expected") from None
        else:
            raise error

    def shifted(self, iteration: Any) -> Any:
        """An iteration as it is recorded: moved on by the offset of a run that was continued."""
        try:
            return operator.index(iteration) + self.offset
        except TypeError:
            return iteration  # which is refused, with what was expected, where it is recorded

    def set(self, key: str, value: Any, *, of: str | None = None) -> None:
        """Set one key of the task, or of the model `of`; None removes it. Raises TypeError for what is not JSON.

        Secrets in it are left out, as they are of the console: what is recorded is kept for ever.
        """
        if self.config.redact:
            value = self._without_secrets(value, redact_value(key, value))
        with self._guard:
            stamp = self._next_stamp()
            recorded = self._emit(events.SetKey(key, value, stamp, of))
            if of is None:
                self.keys[key] = Entry(value, stamp, self.writer)
                if not recorded:
                    self._unsaved.add(key)

    def get(self, key: str, default: Any = None) -> Any:
        """A key's value as this process knows it."""
        entry = self.keys.get(key)
        return default if entry is None or entry.value is None else entry.value

    def snapshot(self) -> dict[str, Entry]:
        """The task's keys as this process knows them; threads may go on setting some."""
        with self._guard:
            return dict(self.keys)

    def learn(self, keys: Mapping[str, Entry]) -> None:
        """Take in what other processes of the run, or later edits, have set."""
        with self._guard:
            # That this very process died it knows better.
            self.keys = join_keys(
                self.keys, {k: e for k, e in keys.items() if e.writer != recoverer(self.writer)}
            )
            self._stamp = max(self._stamp, max((entry.stamp for entry in keys.values()), default=0))

    def section(self, prefix: str) -> dict[str, Any]:
        """The keys below `prefix/` that are set, without it."""
        start = f"{prefix}/"
        with self._guard:
            found = {k[len(start) :]: e.value for k, e in self.keys.items() if k.startswith(start)}
        return {k: v for k, v in found.items() if v is not None}

    def text(self, stream: str, message: str, level: int | None = None) -> None:
        """One line of the console; stream: stdout, stderr or log; level: of a line of the log, if it is not 20."""
        if self.config.redact:
            message = self._lines[stream].redact(message)
        self._emit(events.Text(stream, _now() // 1000, message, level))

    def plot(
        self,
        title: str,
        series: str,
        iteration: int,
        figure: Any,
        *,
        of: str | None = None,
        kind: str = "plot",
        content: Mapping[str, Any] | None = None,
    ) -> None:
        """One plotly figure as a JSON document; kind, content: what else it is, see `events.Plot`.

        A figure that JSON cannot hold costs that figure, not the run.
        """
        try:
            data = figures.encode(figure)
        except Exception as error:  # a figure is the user's object, and may raise anything
            self.lose_plot(title, series, error)
            if self.config.strict:
                raise
            return
        try:
            # A large one is content of its own, so that nobody has to parse it who only wants to know of it.
            kept: Any = {"$ref": self.hold(data)} if len(data) > layout.INLINE_MAX else Fragment(data)
        except RecordingFault:
            return  # which was said
        step = self.shifted(iteration)
        self._emit(events.Plot(title, series, step, _now() // 1000, kept, of, kind, content))

    def sample(
        self,
        title: str,
        series: str,
        iteration: int,
        kind: str,
        content: Mapping[str, Any],
        *,
        history: int,
        of: str | None = None,
    ) -> None:
        """One file of a moment of the run, already stored or elsewhere; see `events.Sample`."""
        step = self.shifted(iteration)
        self._emit(events.Sample(title, series, step, _now() // 1000, kind, content, history, of))

    def lose_plot(self, title: str, series: str, error: Exception) -> None:
        """Say, once, that a figure could not be read."""
        self.warn("plot", f"the plot {title!r} / {series!r} was not recorded: {' '.join(str(error).split())}")

    def attach(self, data: bytes) -> str:
        """Store content so that it survives this process; returns its "$ref".

        Up to 1 MiB travels in the journal and so shares the run's one pack; more goes to the store at once. Raises
        RecordingFault when it could not be kept: nothing may refer to it then.
        """
        if len(data) > layout.INLINE_MAX and self._attach is not None:
            return self._attach(data)
        return self.hold(data)

    def hold(self, data: bytes) -> str:
        """The same, but whatever its size it goes through the journal: without compression, and without a wait for the
        disk. It takes its room there until the run ends. Raises RecordingFault.
        """
        from objstore.ids import Kind, hash_object

        object_id = str(hash_object(Kind.BLOB, data))
        if not self._emit(events.Blob(object_id, data)):
            raise RecordingFault(f"{len(data)} bytes could not be stored: {self.root} cannot be written")
        self._held += len(data)
        return str(Ref("blob", object_id, len(data)))

    def redacted(self, data: bytes) -> bytes:
        """A text without the secrets in it, unless the settings say to keep them."""
        return self._without_secrets(data, redact_bytes(data)) if self.config.redact else data

    def _without_secrets(self, before: Any, after: Any) -> Any:
        if after != before:
            self.warn(
                "secret", "what looks like a secret is recorded as [redacted …]; redact = false keeps it"
            )
        return after

    def sync(self) -> bool:
        """Make what was reported so far survive the machine as well; whether that worked."""
        try:
            self._journal.sync()
        except OSError as error:
            self.warn("sync", f"{self.root} could not be synced: {error}")
            return False
        return True

    def size(self) -> int:
        """Bytes of this process's journal."""
        try:
            with os.scandir(self.root / layout.live_path(self.key, self.writer)) as files:
                return sum(file.stat().st_size for file in files)
        except OSError:
            return 0

    def overrides(self, section: str) -> dict[str, str] | None:
        """The values that a replayed run takes from its stored task; None for a run of its own.

        Not those whose secrets were left out: the script has the true ones.
        """
        if not self.replays:
            return None
        stored = {name: str(record["value"]) for name, record in self.section(f"param/{section}").items()}
        return {name: text for name, text in stored.items() if not is_redacted(text)}

    # --- faults ------------------------------------------------------------------------------------------------------

    def warn(self, topic: str, message: str) -> None:
        """Say something on the real stderr, once a topic."""
        if topic not in self.warned:
            self.warned.add(topic)
            say(message)

    def count(self, what: str) -> None:
        """Add one to the task's health counter `what`."""
        self.set(f"health/{what}", int(self.get(f"health/{what}", 0)) + 1)

    def _emit(self, event: events.Event) -> bool:
        """Whether the event was recorded."""
        kind, payload = events.encode(event)
        try:
            recorded = self._append(kind, payload) > 0
        except (OSError, ValueError) as error:
            self._fault(error)
            recorded = False
        if not self._beating:
            self._start_heart()
        return recorded

    def _fault(self, error: OSError | ValueError) -> None:
        """The journal refused an event: warn once, drop for 30 s, try again."""
        if isinstance(error, ValueError):
            if self.closed or not os.path.exists(self.root):
                self.warn("closed", "reports after the task was closed are not recorded")
                return
            raise error
        if (
            error.errno == errno.EBUSY
        ):  # reported by a signal handler in the midst of another report: only this is lost
            self._dropped += 1
            return
        if self.config.strict:
            raise RecordingFault(f"{self.root} refused an event of the run: {error}") from error
        self.warn("fault", f"{self.root} cannot be written ({error}); what is reported meanwhile is lost")
        self._dropped += 1
        self._retry_at = time.monotonic() + layout.RETRY
        self._append = self._dropping

    def _dropping(self, kind: int, payload: bytes) -> int:
        """Stands in for the journal while it refuses."""
        if time.monotonic() < self._retry_at:
            self._dropped += 1
            return 0
        number = self._journal.append(kind, payload)
        self._append = self._journal.append
        dropped, self._dropped = self._dropped, 0
        with self._guard:
            unsaved, self._unsaved = sorted(self._unsaved), set()
            for key in unsaved:  # what was set meanwhile still holds, and is known here
                dropped -= self._emit(events.SetKey(key, self.keys[key].value, self.keys[key].stamp))
            self.set("health/dropped", int(self.get("health/dropped", 0)) + max(dropped, 0))
        return number

    def retry(self) -> None:
        """Where the disk refused: let the next report try again rather than wait, since the run is about to end."""
        self._retry_at = 0.0

    # --- parts -------------------------------------------------------------------------------------------------------

    def _declare(self, title: str, series: str, of: str | None) -> int:
        """The number of a series; 0 when it could not be recorded, and so no point of it can be."""
        name = (title, series) if of is None else (title, series, of)
        with self._guard:
            number = self._series.get(name)
            if number is None:
                number = self._declared + 1
                if not self._emit(events.Declare(number, title, series, of)):
                    return 0
                self._declared = number
                self._series[name] = number
        return number

    def _next_stamp(self) -> int:
        self._stamp = max(_now() // 1000, self._stamp + 1)
        return self._stamp

    def _start_heart(self) -> None:
        self._beating = True
        with suppress(RuntimeError):  # while the interpreter ends none can be started, and none is needed
            threading.Thread(
                target=self._beat, args=(self._journal, self._heart), name="tracker-heartbeat", daemon=True
            ).start()

    def _beat(self, journal: JournalWriter, ended: threading.Event) -> None:
        beat = time.monotonic() + layout.HEARTBEAT
        while not ended.wait(1.0):
            if self.watch is not None:
                self.watch()
            much = journal.last - self._rolled >= layout.ROLL or self._held >= layout.ROLL_HELD
            if self._roll is not None and much:
                self._seal_so_far(self._roll)
            if time.monotonic() < beat:
                continue
            beat = time.monotonic() + layout.HEARTBEAT
            try:
                journal.beat()
            except FileNotFoundError:
                self._move_back()
            except OSError:
                continue

    def _seal_so_far(self, roll: Callable[[str], object]) -> None:
        """Seal a long run's events while it goes on. What a full disk refuses now the next turn tries again."""
        self._rolled, self._held = self._journal.last, 0
        with self._guard:
            self._series = {}  # declared again, so that what comes next can be read by itself
        try:
            roll(self.writer)
        except Exception as error:  # noqa: BLE001 - in the background of a training, and the journal has it all
            self.warn("roll", f"the run goes on unsealed: {error}")

    def _move_back(self) -> None:
        """Somebody took this writer for dead and moved its journal to the trash: it lives."""
        name = layout.live_path(self.key, self.writer)
        with suppress(OSError):
            trash.put_back(self.root, name)
            for found in trash.find(self.root, name):  # where a segment was begun anew meanwhile
                for file in found.iterdir():
                    if not (self.root / name / file.name).exists():
                        file.rename(self.root / name / file.name)

    # --- ending ------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Write the last event and close the journal. Sealing is the caller's next step. A second call does nothing."""
        with self._guard:
            if self.closed:
                return
            self.retry()
            if self._append == self._dropping:
                self.set(
                    "health/dropped", self.get("health/dropped", 0)
                )  # if it can be, this brings all up to date
            self._heart.set()
            if self._journal.last:
                self._emit(events.End())
            self.closed = True
            self._journal.close()

    def begin_anew(self) -> None:
        """Go on as another writer, in the next attempt; what was reported so far is left to one that has ended."""
        with self._guard:
            before = self._journal
            self._heart.set()
            self._heart = threading.Event()
            self._series = {}
            self._attempt += 1
            self._open()
            before.append(*events.encode(events.End()))
            before.close()

    def _reopen(self) -> None:
        """In a forked child: leave the parent's journal alone, and take one of its own at the first report."""
        self._journal.abandon()
        self._guard = threading.RLock()
        self._heart = threading.Event()
        self._series = {}
        self._unsaved, self._dropped = set(), 0
        self.pid = os.getpid()
        self._open()


_living: list[Recorder] = []


def _after_fork() -> None:
    for recorder in _living:
        if not recorder.closed:
            recorder._reopen()


def forget(recorder: Recorder) -> None:
    """A closed recorder needs no journal in forked children."""
    if recorder in _living:
        _living.remove(recorder)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
