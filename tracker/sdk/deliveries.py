"""Copies of artifacts and weights on their way to a task's output destination, one after another on one thread.

The content is in the store already, and is read from there: the user's file may change or go meanwhile. What fails is
one warning for all, and never the run's end.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tracker.errors import BadValue

if TYPE_CHECKING:
    from tracker.records import Ref
    from tracker.sdk.task.artifacts import Outputs

_DOWN: Final = (
    60.0  # seconds for which a destination that failed is not tried again: the script waits for it at its end
)
_BEAT: Final = 0.05


@dataclass(frozen=True, slots=True)
class Delivery:
    """One copy. url: the file at the destination; what: for the warning; done: called once it is there."""

    url: str
    what: str
    read: Callable[[], Iterable[bytes]]
    size: int | None
    done: Callable[[], None]
    tries: int = 1


class Deliveries:
    """A task's copies under way."""

    def __init__(self, task: Outputs) -> None:
        self._task = task
        self._pid = os.getpid()
        self._waiting: deque[Delivery] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._moved = time.monotonic()
        self._down: dict[str, float] = {}
        self._warned = False

    def send(self, delivery: Delivery) -> None:
        """Have a copy made in the background."""
        with self._changed:
            if os.getpid() != self._pid:  # a fork took the list along, but not the thread
                self._pid, self._thread = os.getpid(), None
                self._waiting.clear()
            self._waiting.append(delivery)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="tracker-deliveries", daemon=True)
                self._thread.start()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until all copies are made or have failed, `seconds` at most without progress; whether they have."""
        if os.getpid() != self._pid:
            return True
        self._moved = time.monotonic()
        with self._changed:
            while self._thread is not None:
                self._changed.wait(_BEAT)
                if seconds is not None and time.monotonic() - self._moved > seconds:
                    return False
        return True

    def close(self) -> None:
        """Wait at the end of a run, as long as something moves."""
        if not self.wait(self._task.workspace.config.close_timeout):
            self._say(
                f"{len(self._waiting) + 1} copies did not go to the output destination: it does not answer"
            )

    def deliver(self, delivery: Delivery) -> bool:
        """Make one copy now; whether it is there."""
        from tracker.storage import file_at

        home = delivery.url.partition("://")[2].partition("/")[0]
        if self._down.get(home, 0.0) > time.monotonic():
            self._task.count("undelivered")
            return False
        for left in reversed(range(max(1, delivery.tries))):
            try:
                place, name = file_at(delivery.url)
                place.put(name, self._noticed(delivery.read()), delivery.size)
                delivery.done()
                return True
            except Exception as error:  # noqa: BLE001 - five libraries, and nothing here may end a training
                if left:
                    continue
                self._down[home] = time.monotonic() + _DOWN
                self._say(
                    f"{delivery.what} was not copied to the output destination, the store has it: {error}"
                )
        return False

    def _noticed(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self._moved = time.monotonic()
            yield piece

    def _say(self, message: str) -> None:
        self._task.count("undelivered")
        if not self._warned:
            self._warned = True
            self._task.fault(message, None)

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._waiting:
                    self._thread = None
                    self._changed.notify_all()
                    return
                delivery = self._waiting.popleft()
            self.deliver(delivery)


def contents(task: Outputs, ref: Ref) -> tuple[Callable[[], Iterator[bytes]], int | None]:
    """What is copied of stored content, and its bytes: a file as it is, a folder as a zip, whose size is not known."""
    from tracker.sdk import artifacts

    if ref.kind == "tree":
        return lambda: artifacts.zip_of(task.workspace, ref), None
    return lambda: artifacts.pieces(task.workspace, task.workspace.thing(task.id), ref), ref.size


def destination(task: Outputs, given: Any, default: str) -> str:
    """What `output_uri` means: "" for none. Raises BadValue for a destination that cannot be written.

    None and True are the configured one, which is believed; a text is tried; False is none.
    """
    from tracker import storage

    if given is False:
        return ""
    if given is None or given is True:
        if not default:
            return ""
        try:
            return storage.normalised(default)
        except BadValue as error:
            task.fault(f"the configured default_output_uri is not used: {error}", None)
            return ""
    if not isinstance(given, (str, os.PathLike)):
        raise BadValue(f"output_uri is a URL, a path, True or False, not {given!r}")
    url = storage.normalised(given)
    _try(url)
    return url


def _try(url: str) -> None:
    """Write a file and remove it again, but for web servers, of which many take no DELETE."""
    import secrets

    from objstore.errors import StoreError
    from tracker import storage
    from tracker.storage.registry import WEB, scheme_of

    if scheme_of(url) in WEB:
        return
    name = f".tracker-{secrets.token_hex(8)}"
    try:
        place = storage.place_at(url)
        place.put(name, [b"can this be written?"], 20)
        place.delete(name)
    except (StoreError, OSError) as error:
        raise BadValue(f"output_uri {url} cannot be written: {error}") from error
