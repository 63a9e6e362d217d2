"""Records what the process prints through `sys.stdout` and `sys.stderr`, line by line; the streams stay as they are.

The original is always written first, with the same bytes, results and errors. Progress bars, which go back over
their line, count as their last state. Not seen: what is written to the file descriptors past Python's streams
(child processes, C libraries), and handlers that took hold of the original stream before this was installed, such as
those of a `logging.basicConfig()` called earlier.
"""

from __future__ import annotations

import os
import re
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import get_ident
from time import monotonic
from typing import Any

from tracker.capture.protocol import Guard, Recorder, Undo

PROGRESS_EVERY = 10.0
"""Seconds between two records of a line that keeps changing in place."""

LONGEST_LINE = 64 << 10
"""Characters of an unfinished line after which it is recorded as it is."""

_TALLEST = (
    200  # lines above its own that a moving cursor comes back to; whoever goes higher repaints a whole screen
)


class ConsoleCapture:
    """Calls `recorder.text("stdout" | "stderr", line)` for every line, without its end; an unfinished one at undo.

    streams: those of "stdout" and "stderr" that are wanted.
    """

    name = "console"
    module: str | None = None

    def __init__(self, streams: Iterable[str] = ("stdout", "stderr")) -> None:
        self._streams = tuple(streams)

    def install(self, recorder: Recorder) -> Undo:
        """Puts proxies in the place of the streams. Where someone has wrapped a proxy by the time of the undo, it
        stays where it is and only passes on."""
        console = _Console(Guard(self.name), recorder)
        _register(console)
        for stream in self._streams:
            console.cover(stream)
        return console.uncover


_UNDONE: list[object] = []
"""Proxies that were taken out, kept for the life of the process: two a run."""


class _Console:
    """Both streams of one run."""

    def __init__(self, guard: Guard, recorder: Recorder) -> None:
        self._guard = guard
        self._emit = recorder.text
        self.busy: set[int] = set()
        self._covered: list[tuple[_Stream, Any, _Proxy]] = []

    def cover(self, name: str) -> None:
        original = getattr(sys, name)
        if original is None:  # a process without a console
            return
        stream = _Stream(name, self._guard, self._emit, self.busy)
        proxy = _Proxy(original, stream)
        self._covered.append((stream, original, proxy))
        setattr(sys, name, proxy)

    def uncover(self) -> None:
        while self._covered:
            stream, original, proxy = self._covered.pop()
            # Another thread may be inside print(), which on CPython only borrows sys.stdout: a proxy that was freed
            # under it would crash the process.
            _UNDONE.append(proxy)
            object.__setattr__(proxy, "_tracker_record", None)
            if getattr(sys, stream.name) is proxy:
                setattr(sys, stream.name, original)
            self._guard.run(stream.finish)

    def forget(self) -> None:
        """In a forked child: unfinished lines are the parent's, and only the forking thread goes on."""
        self.busy.clear()
        for stream, _, _ in self._covered:
            stream.forget()


class _Stream:
    """What is printed on one stream: the unfinished lines are kept per thread, so that those of two never mix."""

    __slots__ = ("_busy", "_decoders", "_emit", "_guard", "_screens", "name")

    def __init__(self, name: str, guard: Guard, emit: Callable[[str, str], None], busy: set[int]) -> None:
        self.name = name
        self._guard = guard
        self._emit = emit
        self._busy = busy
        self._screens: dict[int, _Screen] = {}
        self._decoders: dict[int, Any] = {}

    def feed(self, text: Any) -> None:
        """Takes a text that has been printed. Called at every print: no lock, no clock, no record without a line."""
        thread = get_ident()
        if thread in self._busy or not self._guard.on:  # whoever stores a line may itself print
            return
        try:
            if type(text) is not str:  # a subclass, or what else a stream of the user's has taken
                text = str(text)
            screen = self._screens.get(thread)
            if screen is None:
                screen = self._screens[thread] = _Screen()
            lines = screen.feed(text)
            if screen.moving:
                lines += screen.due(monotonic())
            if lines:
                self._record(thread, lines)
        except RecursionError:  # the user's: this line is lost, the next one need not be
            pass
        except Exception as fault:  # noqa: BLE001 - as in Guard.run, without the cost of another call
            self._guard.trip(fault)

    def feed_bytes(self, data: Any, written: object, encoding: str) -> None:
        """Takes bytes, of which the stream has accepted `written` (None: all)."""
        self._guard.run(self._decode, data, written, encoding)

    def finish(self) -> None:
        """Records the lines that are unfinished."""
        while self._screens:
            thread, screen = self._screens.popitem()
            self._record(thread, screen.finish())

    def forget(self) -> None:
        """Drops the lines that are unfinished."""
        self._screens.clear()
        self._decoders.clear()

    def _record(self, thread: int, lines: list[str]) -> None:
        self._busy.add(thread)
        try:
            for line in lines:
                self._emit(self.name, line)
        finally:
            self._busy.discard(thread)

    def _decode(self, data: Any, written: object, encoding: str) -> None:
        import codecs

        thread = get_ident()
        decoder = self._decoders.get(thread)
        if decoder is None:
            decoder = self._decoders[thread] = codecs.getincrementaldecoder(encoding)("replace")
        whole = bytes(data)
        self.feed(decoder.decode(whole[:written] if isinstance(written, int) else whole))


@contextmanager
def unrecorded() -> Iterator[None]:
    """What this thread prints inside is shown and not recorded: whoever prints it records it in a better way."""
    thread = get_ident()
    busy = [console.busy for console in _consoles if thread not in console.busy]
    for each in busy:
        each.add(thread)
    try:
        yield
    finally:
        for each in busy:
            each.discard(thread)


_consoles: weakref.WeakSet[_Console] = weakref.WeakSet()
_registered: list[bool] = []


def _register(console: _Console) -> None:
    _consoles.add(console)
    if not _registered and hasattr(os, "register_at_fork"):
        _registered.append(True)
        os.register_at_fork(after_in_child=_forget_all)


def _forget_all() -> None:
    for console in _consoles:
        console.forget()


_OWN_METHODS = frozenset(("write", "writelines", "flush", "detach"))


class _Proxy:
    """A text stream that tells what is written to it; everything else is the stream's own."""

    # In the dict: methods of this class that somebody has put another in the place of, as IPython does in each cell.
    __slots__ = (
        *("__dict__", "__weakref__"),
        *("_tracker_buffer", "_tracker_name", "_tracker_record", "_tracker_stream"),
    )

    def __init__(self, stream: Any, record: _Stream) -> None:
        put = object.__setattr__
        put(self, "_tracker_stream", stream)
        put(self, "_tracker_name", record.name)
        put(self, "_tracker_record", record)  # None: only pass on
        put(self, "_tracker_buffer", None)

    def write(self, text: Any, /) -> Any:
        result = self._tracker_stream.write(text)
        record = self._tracker_record
        if record is not None:
            record.feed(text)
        return result

    def writelines(self, lines: Iterable[Any], /) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> Any:
        return self._tracker_stream.flush()

    @property
    def buffer(self) -> Any:
        return self._tracker_over(self._tracker_stream.buffer)

    def detach(self) -> Any:
        return self._tracker_over(self._tracker_stream.detach())

    def _tracker_over(self, buffer: Any) -> Any:
        if self._tracker_record is None:
            return buffer
        covered = self._tracker_buffer
        if covered is None or covered._tracker_stream is not buffer:
            covered = _BytesProxy(buffer, self)
            object.__setattr__(self, "_tracker_buffer", covered)
        return covered

    @property  # type: ignore[misc] # isinstance(sys.stdout, io.TextIOWrapper) stays as it was
    def __class__(self) -> type:
        return type(self._tracker_stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tracker_stream, name)

    def __setattr__(self, name: str, value: object) -> None:
        if name in _OWN_METHODS:  # the stream's would call itself: what is put there calls what it found here
            object.__setattr__(self, name, value)
        else:
            setattr(self._tracker_stream, name, value)

    def __delattr__(self, name: str) -> None:
        if name in _OWN_METHODS:
            object.__delattr__(self, name)
        else:
            delattr(self._tracker_stream, name)

    def __dir__(self) -> list[str]:
        return dir(self._tracker_stream)

    def __repr__(self) -> str:
        return repr(self._tracker_stream)

    def __eq__(
        self, other: object
    ) -> bool:  # tqdm asks whether a stream that it has kept is still sys.stderr
        return other is self or other is self._tracker_stream

    def __hash__(self) -> int:
        return hash(self._tracker_stream)

    def __enter__(self) -> Any:
        self._tracker_stream.__enter__()
        return self

    def __exit__(self, *exception: Any) -> Any:
        return self._tracker_stream.__exit__(*exception)

    def __iter__(self) -> Any:
        return iter(self._tracker_stream)

    def __next__(self) -> Any:
        return next(self._tracker_stream)

    def __reduce_ex__(self, protocol: Any) -> Any:
        # As cloudpickle does it for the real streams; plain pickle refuses `sys`, as it refuses them.
        return getattr, (sys, self._tracker_name)


class _BytesProxy:
    """The binary stream below a text stream, told of in the same way."""

    __slots__ = ("_tracker_stream", "_tracker_text_proxy")

    def __init__(self, stream: Any, text_proxy: _Proxy) -> None:
        object.__setattr__(self, "_tracker_stream", stream)
        object.__setattr__(self, "_tracker_text_proxy", text_proxy)

    def write(self, data: Any, /) -> Any:
        written = self._tracker_stream.write(data)
        text_proxy = self._tracker_text_proxy
        record = text_proxy._tracker_record
        if record is not None:
            record.feed_bytes(data, written, _encoding(text_proxy))
        return written

    def writelines(self, lines: Iterable[Any], /) -> None:
        for line in lines:
            self.write(line)

    @property  # type: ignore[misc] # as above
    def __class__(self) -> type:
        return type(self._tracker_stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tracker_stream, name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._tracker_stream, name, value)

    def __repr__(self) -> str:
        return repr(self._tracker_stream)

    def __enter__(self) -> Any:
        self._tracker_stream.__enter__()
        return self

    def __exit__(self, *exception: Any) -> Any:
        return self._tracker_stream.__exit__(*exception)


def _encoding(proxy: _Proxy) -> str:
    try:
        encoding = proxy._tracker_stream.encoding
    except (AttributeError, ValueError):  # detached
        encoding = None
    return encoding if isinstance(encoding, str) else "utf-8"


def fold_lines(text: str) -> list[str]:
    r"""The lines that are left to see of a text written to a terminal, without their ends; the last may be unfinished.

    A line that is begun anew by "\r", or gone back over by "\b", counts as its last state that was not blank; what
    "\x1b[A" goes back up to is written over likewise. Colours stay. Only "\n" ends a line.
    """
    screen = _Screen()
    return screen.feed(text) + screen.finish()


_CONTROL = re.compile(r"\n|\r|\x08+|\x1b\[(\d{0,6})A|\x1b\[\d?[JK]|\x1b\[\?25[hl]")
"""What moves the cursor; erasing and hiding need no answer, since what is written next replaces what was there."""


class _Row:
    """One line of a screen. `column`: where the next text goes and all after it ends; None: at the end. `kept`: the
    last state that was not blank. `new`: changed since it was recorded."""

    __slots__ = ("column", "kept", "new", "text")

    def __init__(self, new: bool) -> None:
        self.text = ""
        self.kept = ""
        self.column: int | None = None
        self.new = new

    def write(self, text: str) -> None:
        if self.column is None:
            self.text += text
        else:
            if self.column == 0 and self.text.strip():
                self.kept = self.text
            self.text = self.text[: self.column] + text
            self.column = None
        self.new = True

    def back(self, columns: int) -> None:
        self.column = max(0, (len(self.text) if self.column is None else self.column) - columns)

    def shown(self) -> str:
        return self.text if self.text.strip() or not self.kept else self.kept


class _Screen:
    """The unfinished lines of one thread on one stream: one, or some when the cursor has been moved up."""

    __slots__ = ("_at", "_recorded", "_rows", "moving")

    def __init__(self) -> None:
        self._rows = [_Row(new=True)]
        self._at = 0
        self._recorded = 0.0
        self.moving = False
        """Whether the lines change in place."""

    def feed(self, text: str) -> list[str]:
        """The lines that this text has finished."""
        row = self._rows[-1]
        if (
            not self.moving
            and row.column is None
            and "\r" not in text
            and "\b" not in text
            and "\x1b" not in text
        ):
            return self._feed_plain(row, text)
        finished: list[str] = []
        done = 0
        for found in _CONTROL.finditer(text):
            if found.start() > done:
                self._rows[self._at].write(text[done : found.start()])
            self._obey(found, finished)
            done = found.end()
        if done < len(text):
            self._rows[self._at].write(text[done:])
        if len(self._rows[self._at].text) >= LONGEST_LINE:
            finished += self._record()
            self._begin()
        return finished

    def due(self, now: float) -> list[str]:
        """The present state of lines that change in place, where that has not been recorded for a while."""
        if not self._recorded:
            self._recorded = now
        if now - self._recorded < PROGRESS_EVERY:
            return []
        self._recorded = now
        return self._record()

    def finish(self) -> list[str]:
        """What has not been recorded yet, finished or not."""
        lines = [line for line in self._record() if line]
        self._begin()
        return lines

    def _feed_plain(self, row: _Row, text: str) -> list[str]:
        if "\n" not in text:
            row.text += text
            if len(row.text) < LONGEST_LINE:
                return []
            line, row.text = row.text, ""
            return [line]
        lines = text.split("\n")
        lines[0] = row.text + lines[0]
        row.text = lines.pop()
        return lines

    def _obey(self, found: re.Match[str], finished: list[str]) -> None:
        control = found[0]
        row = self._rows[self._at]
        if control == "\n":
            self._line_feed(finished)
        elif control == "\r":
            row.column = 0
            self.moving = True
        elif control[0] == "\b":
            row.back(len(control))
            self.moving = True
        elif control[-1] == "A":
            self._up(int(found[1] or 1))

    def _line_feed(self, finished: list[str]) -> None:
        self._at += 1
        if self._at < len(self._rows):
            self._rows[self._at].column = 0
        else:
            finished += self._record()
            self._begin()

    def _up(self, rows: int) -> None:
        self.moving = True
        self._at -= rows
        if self._at < 0:
            missing = min(-self._at, max(0, _TALLEST - len(self._rows)))
            self._rows[:0] = [_Row(new=False) for _ in range(missing)]
            self._at = 0
        self._rows[self._at].column = 0

    def _record(self) -> list[str]:
        lines = [row.shown() for row in self._rows if row.new]
        for row in self._rows:
            row.new = False
        return lines

    def _begin(self) -> None:
        self._rows = [_Row(new=True)]
        self._at = 0
        self._recorded = 0.0
        self.moving = False
