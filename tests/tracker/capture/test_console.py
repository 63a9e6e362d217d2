"""What a process prints, recorded line by line, with the streams unchanged for everyone who writes to them."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import os
import pickle
import re
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.capture import console as console_module
from tracker.capture.console import LONGEST_LINE, ConsoleCapture, fold_lines

if TYPE_CHECKING:
    from tests.tracker.capture.conftest import Memory, RunScript

START = 'from rec import record\nundo = record("console")\n'


class Terminal:
    """Real text streams of a process, kept in memory, and the capture upon them from `start` on. (pytest puts streams
    of its own in place between a fixture and its test.)"""

    def __init__(self, recorder: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
        self.recorder = recorder
        self.raw = io.BytesIO()
        self.stream = io.TextIOWrapper(self.raw, "utf-8", write_through=True)
        self._monkeypatch = monkeypatch
        self.undo: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Puts the streams in place and installs the capture."""
        self._monkeypatch.setattr(sys, "stdout", self.stream)
        self._monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True))
        self.undo = ConsoleCapture().install(self.recorder)

    @property
    def lines(self) -> list[str]:
        """What has been recorded of standard output."""
        return self.recorder.printed("stdout")


@pytest.fixture
def terminal(recorder: Memory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    """Streams in memory."""
    made = Terminal(recorder, monkeypatch)
    yield made
    made.undo()


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", []),
        ("a\nb\n", ["a", "b"]),
        ("a\n\nb", ["a", "", "b"]),
        ("\n", [""]),
        ("a\r\nb\r\n\r\n", ["a", "b", ""]),
        ("10%\r20%\r30%\n", ["30%"]),
        ("\r10%\r20%", ["20%"]),
        ("100%|####|\rok\n", ["ok"]),  # as ClearML: the last state, without the rest of a longer one
        ("10%\r   \r\n", ["10%"]),  # cleared: what was there last
        ("10%\r   \rdone\n", ["done"]),
        ("10%\r    indented\n", ["    indented"]),
        ("abc\b\b\bxyz\n", ["xyz"]),
        ("abc\bd\n", ["abd"]),
        ("|\b/\b-\b", ["-"]),
        ("a\b\b\b\bb\n", ["b"]),
        ("abc\b \b\n", ["ab "]),
        ("\x1b[32mgreen\x1b[0m\n", ["\x1b[32mgreen\x1b[0m"]),
        ("1\r\x1b[K2\r\x1b[2K\x1b[31m3\x1b[0m\n", ["\x1b[31m3\x1b[0m"]),
        ("\x1b[?25l1\r2\x1b[?25h\n", ["2"]),
        ("a\x0bb\x0cc\x85d\u2028e\n", ["a\x0bb\x0cc\x85d\u2028e"]),  # only \n ends a line
        ("outer 0\n\rinner 0\x1b[A\n\rinner 1\x1b[A\router 1\n\n", ["outer 0", "outer 1", "inner 1"]),
        ("one\ntwo\n\x1b[2A\rONE\n\rTWO\n", ["one", "two", "ONE", "TWO"]),
        ("a\x1b[999999Ab\n", ["b", "a"]),
        ("a\x1b[" + "9" * 5000 + "A\n", ["a\x1b[" + "9" * 5000 + "A"]),  # no control that means anything
    ],
)
def test_a_text_folds_to_what_is_left_to_see(text: str, lines: list[str]) -> None:
    """Carriage returns, backspaces, colours, and bars above bars."""
    assert fold_lines(text) == lines


@pytest.mark.parametrize("way", ["restore", "delete"])
def test_a_method_that_is_put_in_place_of_the_streams_may_call_it(terminal: Terminal, way: str) -> None:
    """As IPython 9 does for the time of each cell: what stands there before is called, once, and comes back."""
    terminal.start()
    before = sys.stdout.write
    seen: list[str] = []

    def write(text: str) -> int:
        seen.append(text)
        return before(text)

    sys.stdout.write = write  # type: ignore[method-assign]  # that is the subject
    print("inside")
    if way == "restore":
        sys.stdout.write = before  # type: ignore[method-assign]  # see above
    else:
        del sys.stdout.write
    print("after")
    terminal.undo()
    print("unrecorded")
    assert "".join(seen) == "inside\n"
    assert terminal.raw.getvalue() == b"inside\nafter\nunrecorded\n"
    assert terminal.lines == ["inside", "after"]


PIECES = st.lists(
    st.sampled_from(
        ["a", "bc", " ", "\n", "\r", "\b", "\x1b[A", "\x1b[3A", "\x1b[K", "é", "10%", "\x1b[31m"]
    ),
    max_size=30,
)


@given(PIECES)
def test_a_text_folds_alike_however_it_is_cut(pieces: list[str]) -> None:
    """print() writes a line in two parts, a progress bar in three."""
    screen = console_module._Screen()
    lines = [line for piece in pieces for line in screen.feed(piece)]
    assert lines + screen.finish() == fold_lines("".join(pieces))


@given(st.lists(st.text(st.characters(exclude_characters="\n\r\b\x1b", codec="utf-8")), min_size=1))
def test_plain_lines_come_back_as_they_are(lines: list[str]) -> None:
    """Whatever characters are in them."""
    assert fold_lines("".join(f"{line}\n" for line in lines)) == lines


@given(st.text(st.sampled_from("ab\n\r\b\x1b[A3K ")))
def test_any_text_folds(text: str) -> None:
    """No sequence of controls breaks it, and nothing is made up."""
    lines = fold_lines(text)
    assert set("".join(lines)) <= set(text)
    assert not {"\n", "\r", "\b"} & set("".join(lines))


def test_a_jump_above_the_screen_takes_no_memory() -> None:
    """A number in a text must not be believed."""
    screen = console_module._Screen()
    screen.feed("a\x1b[999999Ab")
    screen.feed("\x1b[999999Ac")
    assert len(screen._rows) <= 200


def test_a_million_updates_of_a_bar_are_one_line() -> None:
    """In time and memory that do not grow with the square."""
    screen = console_module._Screen()
    lines = [line for number in range(1_000_000) for line in screen.feed(f"\r{number}")]
    assert lines + screen.finish() == ["999999"]


def test_the_original_gets_the_same_bytes_and_the_record_the_lines(terminal: Terminal) -> None:
    """Every way to print."""
    terminal.start()
    print("one", 2, sep=" ")
    print("no end", end="")
    print()
    sys.stdout.write("written\n")
    sys.stdout.writelines(["a\n", "b\n"])
    sys.stdout.buffer.write("bÿtes\n".encode())
    sys.stdout.flush()
    sys.stderr.write("error\n")
    assert terminal.raw.getvalue().decode() == "one 2\nno end\nwritten\na\nb\nbÿtes\n"
    assert terminal.lines == ["one 2", "no end", "written", "a", "b", "bÿtes"]
    assert terminal.recorder.printed("stderr") == ["error"]


def test_results_and_errors_are_the_originals(terminal: Terminal) -> None:
    """What fails to be printed is not recorded."""
    terminal.start()
    assert sys.stdout.write("four") == 4
    assert sys.stdout.buffer.write(b"four\n") == 5
    stdout: Any = sys.stdout
    assert stdout.writelines([]) is None
    wrong: Any = b"bytes"
    with pytest.raises(TypeError, match="must be str, not bytes"):
        sys.stdout.write(wrong)
    wrong = "text"
    with pytest.raises(TypeError, match="bytes-like"):
        sys.stdout.buffer.write(wrong)
    with pytest.raises(UnicodeEncodeError):
        sys.stdout.write("\udc80\n")
    with pytest.raises(AttributeError, match=r"'_io\.TextIOWrapper' object has no attribute 'nonsense'"):
        _ = stdout.nonsense
    assert terminal.lines == ["fourfour"]


def test_everything_else_is_the_streams_own(terminal: Terminal) -> None:
    """Attributes to read, to set and to delete, types, and comparisons."""
    terminal.start()
    original: Any = terminal.stream
    proxy: Any = sys.stdout
    assert proxy is not original
    for name in ("encoding", "errors", "line_buffering", "newlines", "closed", "mode", "name"):
        assert getattr(proxy, name, None) == getattr(original, name, None)
    assert proxy.isatty() is original.isatty()
    assert proxy.writable()
    kinds = [isinstance(proxy, kind) for kind in (io.TextIOWrapper, io.IOBase, io.StringIO)]
    assert kinds == [True, True, False]
    assert isinstance(proxy.buffer, io.BytesIO)
    assert proxy.buffer is proxy.buffer
    assert proxy.buffer.getvalue() == b""
    assert repr(proxy) == repr(original)
    assert dir(proxy) == dir(original)
    assert proxy == original
    assert original == proxy
    assert {proxy: 1}[original] == 1
    assert [weakref.ref(proxy)()] == [proxy]
    proxy.mark = 1
    assert vars(original)["mark"] == 1
    del proxy.mark
    assert not hasattr(original, "mark")
    proxy.reconfigure(errors="replace")
    assert original.errors == "replace"


def test_pickling_and_copying_fail_as_they_would(terminal: Terminal) -> None:
    """A stream cannot be copied; that is no endless recursion."""
    terminal.start()
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(sys.stdout)
    with pytest.raises(TypeError, match="pickle"):
        copy.deepcopy(sys.stdout)
    cloudpickle = pytest.importorskip("cloudpickle", reason="cloudpickle is not installed")
    assert pickle.loads(cloudpickle.dumps(sys.stdout)) is sys.stdout


def test_the_file_descriptor_serves_child_processes(tmp_path: Path, run_script: RunScript) -> None:
    """`subprocess.run(..., stdout=sys.stdout)` works; what a child prints is its own affair."""
    (tmp_path / "train.py").write_text(
        START
        + "import subprocess\n"
        "print('mine', flush=True)\n"
        "subprocess.run([sys.executable, '-c', 'print(\"of the child\")'], stdout=sys.stdout, check=True)\n"
        "assert sys.stdout.fileno() == 1 and sys.stderr.fileno() == 2\n".replace(
            "subprocess.run([sys", "import sys; subprocess.run([sys"
        )
    )
    ran = run_script("train.py", cwd=tmp_path)
    assert ran.out == b"mine\nof the child\n", ran.err
    assert ran.record is not None
    assert ran.record.printed("stdout") == ["mine"]


@pytest.mark.parametrize("options", [[], ["-u"], ["-X", "utf8=0"]])
def test_a_script_prints_the_same_bytes_with_and_without(
    tmp_path: Path, run_script: RunScript, options: list[str]
) -> None:
    """Through print, logging, warnings, input, tracebacks, binary writes and wrappers; buffered or not."""
    body = (
        "import io, logging, sys, traceback, warnings\n"
        "print('plain', 'ünï', end='!\\n')\n"
        "print('partial', end='', flush=True); print(' done')\n"
        "sys.stdout.flush(); sys.stdout.buffer.write(b'raw \\xff\\n'); sys.stdout.buffer.flush()\n"
        "logging.basicConfig(); logging.warning('logged %d', 1)\n"
        "warnings.warn('warned')\n"
        "print(input('prompt> '))\n"
        "sys.stdout.write('\\r10%'); sys.stdout.write('\\r20%\\n')\n"
        "wrapper = io.TextIOWrapper(sys.stdout.buffer, encoding='latin-1', write_through=True)\n"
        "sys.stdout.flush(); wrapper.write('wräpped\\n'); wrapper.detach()\n"
        "try: 1 / 0\n"
        "except ZeroDivisionError: traceback.print_exc()\n"
        "print('to stderr', file=sys.stderr)\n"
        "raise RuntimeError('at the end')\n"
    )
    (tmp_path / "with.py").write_text(START.replace("\n", "; ") + body, "utf-8")
    (tmp_path / "without.py").write_text("pass;" + " " * len(START) + body, "utf-8")
    environment = {"PYTHONIOENCODING": "utf-8", "PYTHONUNBUFFERED": ""}
    ran = [
        run_script(*options, f"{name}.py", cwd=tmp_path, stdin=b"typed\n", environment=environment)
        for name in ("with", "without")
    ]
    assert ran[0].code == ran[1].code == 1
    assert ran[0].out == ran[1].out
    assert _without_places(ran[0].err) == _without_places(ran[1].err)
    assert ran[0].record is not None
    assert ran[0].record.printed("stdout") == [
        "plain ünï!",
        "partial done",
        "raw \ufffd",
        "prompt> typed",
        "20%",
        "wr\ufffdpped",
    ]
    errors = ran[0].record.printed("stderr")
    assert "WARNING:root:logged 1" in errors
    assert "ZeroDivisionError: division by zero" in errors
    assert errors[-1] == "RuntimeError: at the end"  # the very traceback that ends the process


def _without_places(text: bytes) -> bytes:
    text = text.replace(b"without.py", b"with.py")
    return b"\n".join(
        line for line in text.split(b"\n") if b"warnings.warn" not in line and b"with.py" not in line
    )


def test_a_process_without_streams_is_no_fault(
    recorder: Memory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """pythonw, and some daemons, have None there."""
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", None)
        undo = ConsoleCapture().install(recorder)
        assert sys.stdout is None
        undo()
        assert sys.stdout is None
    assert caplog.text == ""


def test_a_stream_of_the_users_own_is_covered_too(recorder: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook's, or a Tee with nothing but write."""

    class Tee:
        def __init__(self) -> None:
            self.parts: list[object] = []

        def write(self, part: object) -> str:
            self.parts.append(part)
            return "own result"

    tee: Any = Tee()
    monkeypatch.setattr(sys, "stdout", tee)
    undo = ConsoleCapture().install(recorder)
    stdout: Any = sys.stdout
    assert stdout.write("a\n") == "own result"
    stdout.write(3)
    with pytest.raises(AttributeError, match="'Tee' object has no attribute 'buffer'"):
        _ = stdout.buffer
    undo()
    assert id(sys.stdout) == id(tee)
    assert tee.parts == ["a\n", 3]
    assert recorder.printed("stdout") == ["a", "3"]


def test_an_unfinished_line_is_recorded_at_the_undo(terminal: Terminal) -> None:
    """The prompt that a killed script was waiting at."""
    terminal.start()
    print("waiting...", end="")
    assert terminal.lines == []
    terminal.undo()
    assert terminal.lines == ["waiting..."]


def test_a_bar_is_recorded_every_ten_seconds_and_at_its_end(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who watches a run sees how far it is; who reads it later sees one line or two."""
    terminal.start()
    now = 1000.0
    monkeypatch.setattr(console_module, "monotonic", lambda: now)
    for number in range(101):
        sys.stdout.write(f"\r{number}%")
        now += 0.24
    assert terminal.lines == ["42%", "84%"]
    sys.stdout.write("\n")
    assert terminal.lines == ["42%", "84%", "100%"]
    print("\r1%\r2%")
    assert terminal.lines[3:] == ["2%"]
    print("next")
    assert terminal.lines[4:] == ["next"]


def test_a_state_that_was_recorded_is_not_recorded_again(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the bar ends just where it was seen last."""
    terminal.start()
    now = 1000.0
    monkeypatch.setattr(console_module, "monotonic", lambda: now)
    sys.stdout.write("\r50%")
    now += 11
    sys.stdout.write("\r100%")
    sys.stdout.write("\n")
    print("next")
    assert terminal.lines == ["100%", "next"]


def test_bars_of_tqdm_fold_and_look_the_same(terminal: Terminal) -> None:
    """Its own bytes, nested bars included: one line per bar and ten seconds."""
    terminal.start()
    tqdm = pytest.importorskip("tqdm", reason="tqdm is not installed")
    for _ in tqdm.tqdm(range(3), "outer", file=sys.stdout, mininterval=0):
        for _ in tqdm.tqdm(range(200), "inner", file=sys.stdout, mininterval=0, leave=False):
            pass
    print("done")
    assert terminal.raw.getvalue().count(b"inner") > 500
    assert len(terminal.lines) < 6
    assert any(line.startswith("outer: 100%") for line in terminal.lines)
    assert terminal.lines[-1] == "done"


def test_a_line_without_end_is_recorded_in_pieces(terminal: Terminal) -> None:
    """A dot for every step must not fill the memory, nor take time that grows with the square."""
    terminal.start()
    begun = time.monotonic()
    for _ in range(5 * LONGEST_LINE // 2):
        sys.stdout.write(".")
    sys.stdout.write("\n")
    assert [len(line) for line in terminal.lines] == [LONGEST_LINE, LONGEST_LINE, LONGEST_LINE // 2]
    sys.stdout.write("x" * 1_000_000 + "\n")
    assert len(terminal.lines[3]) == 1_000_000
    sys.stdout.write("\r")
    for _ in range(LONGEST_LINE):
        sys.stdout.write(".")
    assert len(terminal.lines[4]) == LONGEST_LINE
    assert time.monotonic() - begun < 20


def test_characters_cut_in_two_are_put_together(terminal: Terminal) -> None:
    """Binary writers do not know of characters."""
    terminal.start()
    for byte in "ünï ✓\n".encode():
        sys.stdout.buffer.write(bytes([byte]))
    sys.stdout.buffer.write(memoryview(b"view\n"))
    sys.stdout.buffer.write(bytearray(b"array\n"))
    sys.stdout.buffer.writelines([b"x\n", b"y\n"])
    assert terminal.lines == ["ünï ✓", "view", "array", "x", "y"]


def test_only_bytes_that_were_accepted_are_recorded(
    recorder: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unbuffered stream may take a part and leave the rest to the caller."""

    class Narrow(io.RawIOBase):
        def write(self, data: Any) -> int:
            return min(3, len(data))

        def writable(self) -> bool:
            return True

    class Stream:
        buffer = Narrow()
        encoding = "utf-8"

        def write(self, text: str) -> int:
            return len(text)

    stream: Any = Stream()
    monkeypatch.setattr(sys, "stdout", stream)
    undo = ConsoleCapture().install(recorder)
    assert sys.stdout.buffer.write(b"abcdef") == 3
    assert sys.stdout.buffer.write(b"def") == 3
    undo()
    assert recorder.printed("stdout") == ["abcdef"]


def test_a_detached_stream_is_still_recorded(terminal: Terminal) -> None:
    """`sys.stdout = codecs.getwriter("utf-8")(sys.stdout.detach())` is an old habit."""
    terminal.start()
    import codecs

    stdout: Any = sys.stdout
    stdout = codecs.getwriter("utf-8")(stdout.detach())
    sys.stdout = stdout
    print("hällo")
    assert terminal.lines == ["hällo"]
    terminal.undo()
    print("after")
    assert terminal.raw.getvalue().decode() == "hällo\nafter\n"
    assert terminal.lines == ["hällo"]


def test_lines_of_threads_do_not_mix(terminal: Terminal) -> None:
    """On the terminal they may; the record has whole lines of each."""
    terminal.start()

    def work(letter: str) -> None:
        for number in range(200):
            for part in (letter, letter, str(number), "\n"):
                sys.stdout.write(part)

    threads = [threading.Thread(target=work, args=(letter,)) for letter in "abcdefgh"]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    expected = [f"{letter}{letter}{number}" for letter in "abcdefgh" for number in range(200)]
    assert sorted(terminal.lines) == sorted(expected)
    assert [line for line in terminal.lines if line[0] == "c"] == [f"cc{number}" for number in range(200)]


def test_a_recorder_that_prints_does_not_recurse(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the same or on the other stream; what it prints is shown, not recorded."""
    keep = terminal.recorder.text

    def text(stream: str, line: str) -> None:
        print(f"recording {line}")
        print(f"recording {line}", file=sys.stderr)
        sys.stdout.buffer.write(b"raw\n")
        keep(stream, line)

    monkeypatch.setattr(terminal.recorder, "text", text)
    terminal.start()
    print("one")
    print("two")
    terminal.undo()
    assert terminal.recorder.console == [("stdout", "one"), ("stdout", "two")]
    assert terminal.raw.getvalue().decode() == "one\nrecording one\nraw\ntwo\nrecording two\nraw\n"


def test_a_recorder_that_fails_is_left_alone_and_printing_goes_on(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One warning; the script prints what it prints."""
    calls = []

    def fail(stream: str, line: str) -> None:
        calls.append(line)
        raise OSError("full")

    monkeypatch.setattr(terminal.recorder, "text", fail)
    terminal.start()
    print("one")
    print("two")
    sys.stdout.buffer.write(b"three\n")
    terminal.undo()
    assert calls == ["one"]
    assert terminal.raw.getvalue() == b"one\ntwo\nthree\n"
    assert caplog.text.count("Recording of console is switched off") == 1


def test_a_warning_about_the_fault_may_itself_be_printed(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The logger's handler writes to the very stream that is covered."""

    def fail(stream: str, line: str) -> None:
        raise OSError("full")

    monkeypatch.setattr(terminal.recorder, "text", fail)
    terminal.start()
    handler = logging.StreamHandler(sys.stdout)
    logging.getLogger("tracker").addHandler(handler)
    try:
        print("one")
    finally:
        logging.getLogger("tracker").removeHandler(handler)
    terminal.undo()
    assert re.fullmatch(r"one\nRecording of console .*full.*\n", terminal.raw.getvalue().decode())


def test_printing_at_the_edge_of_the_stack_costs_no_more_than_that_line(terminal: Terminal) -> None:
    """A recursion of the user's that goes too deep is no fault of the capture."""
    terminal.start()

    def dive() -> None:
        print("deeper")
        dive()

    with pytest.raises(RecursionError):
        dive()
    sys.stdout.write("\n")
    print("up again")
    assert terminal.lines[-1] == "up again"


def test_a_recorder_that_runs_out_of_stack_is_not_left_alone(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deep in a recursion of the user's it fails; above, it works again."""
    keep = terminal.recorder.text

    def text(stream: str, line: str, depth: int = 30) -> None:
        if depth:
            text(stream, line, depth - 1)
        else:
            keep(stream, line)

    def dive() -> None:
        print("deeper")
        dive()

    monkeypatch.setattr(terminal.recorder, "text", text)
    terminal.start()
    with pytest.raises(RecursionError):
        dive()
    sys.stdout.write("\n")
    print("up again")
    assert terminal.lines[-1] == "up again"


def test_an_interrupt_while_a_line_is_recorded_passes_and_leaves_no_mark(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C at any moment; the next line is recorded again."""
    keep = terminal.recorder.text

    def text(stream: str, line: str) -> None:
        if line == "now":
            raise KeyboardInterrupt
        keep(stream, line)

    monkeypatch.setattr(terminal.recorder, "text", text)
    terminal.start()
    with pytest.raises(KeyboardInterrupt):
        print("now")
    print("later")
    terminal.undo()
    assert "later" in terminal.lines


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_does_not_repeat_its_parents_unfinished_line(
    tmp_path: Path, run_script: RunScript
) -> None:
    """And records its own lines, also when another thread was printing at the moment of the fork."""
    (tmp_path / "train.py").write_text(
        START + "import os, threading\n"
        "import rec\n"
        "stop = threading.Event()\n"
        "def noise():\n"
        "    while not stop.is_set(): print('noise', file=sys.stderr)\n"
        "import sys\n"
        "import warnings; warnings.simplefilter('ignore')\n"
        "threading.Thread(target=noise).start()\n"
        "print('parent', end=' ', flush=True)\n"
        "for _ in range(5):\n"
        "    child = os.fork()\n"
        "    if not child:\n"
        "        rec.recorder.console.clear()\n"
        "        print('child', flush=True)\n"
        "        undo()\n"
        "        os._exit(rec.recorder.console != [['stdout', 'child']])\n"
        "    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0\n"
        "stop.set()\n"
        "print('line')\n"
    )
    ran = run_script("train.py", cwd=tmp_path)
    assert ran.code == 0, ran.err[-2000:].decode()
    assert ran.record is not None
    assert ran.record.printed("stdout") == ["parent line"]
    assert ran.out == b"parent child\nchild\nchild\nchild\nchild\nline\n"


def test_undo_puts_the_very_objects_back(recorder: Memory) -> None:
    """Also those that nobody but us has seen."""
    before = sys.stdout, sys.stderr
    undo = ConsoleCapture().install(recorder)
    assert sys.stdout is not before[0]
    undo()
    undo()
    assert (sys.stdout, sys.stderr) == before
    assert sys.stdout is before[0]
    assert sys.stderr is before[1]


def test_a_proxy_that_was_wrapped_stays_and_only_passes_on(terminal: Terminal) -> None:
    """Taking ours out must not take the user's wrapper out."""
    terminal.start()

    class Wrapper:
        def __init__(self, stream: Any) -> None:
            self.stream = stream

        def write(self, text: str) -> int:
            result: int = self.stream.write(text.upper())
            return result

    wrapper: Any = Wrapper(sys.stdout)
    sys.stdout = wrapper
    print("before")
    terminal.undo()
    assert sys.stdout is wrapper
    print("after")
    assert terminal.raw.getvalue() == b"BEFORE\nAFTER\n"
    assert terminal.lines == ["BEFORE"]


def test_an_undo_inside_a_redirection_ends_well(terminal: Terminal) -> None:
    """The context manager puts our proxy back when the task is long closed."""
    terminal.start()
    caught = io.StringIO()
    with contextlib.redirect_stdout(caught):
        print("caught")
        terminal.undo()
    print("after")
    assert caught.getvalue() == "caught\n"
    assert terminal.raw.getvalue() == b"after\n"
    assert terminal.lines == []


def test_one_capture_upon_another_records_in_both(
    terminal: Terminal, replaying: Callable[..., Memory]
) -> None:
    """Two runs in one process, whichever ends first."""
    terminal.start()
    second = replaying()
    undo = ConsoleCapture().install(second)
    print("both")
    terminal.undo()
    print("second")
    undo()
    print("none")
    assert terminal.lines == ["both"]
    assert second.printed("stdout") == ["both", "second"]
    assert terminal.raw.getvalue() == b"both\nsecond\nnone\n"


def test_the_tasks_end_inside_a_print_is_harmless(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recorder may close the task while it is given a line."""
    keep = terminal.recorder.text
    undos: list[Callable[[], None]] = []

    def text(stream: str, line: str) -> None:
        keep(stream, line)
        undos[0]()

    monkeypatch.setattr(terminal.recorder, "text", text)
    terminal.start()
    undos.append(terminal.undo)
    print("last")
    print("none")
    assert terminal.lines == ["last"]
    assert sys.stdout is terminal.stream


def test_installing_costs_no_import_of_logging_or_codecs(tmp_path: Path) -> None:
    """What is rarely needed is imported where it is."""
    code = (
        "import sys\n"
        "from tracker.capture.console import ConsoleCapture\n"
        "class R:\n    def text(self, *a): pass\n"
        "undo = ConsoleCapture().install(R())\n"
        "print('x')\n"
        "undo()\n"
        "print([m for m in ('logging', 'subprocess', 'asyncio', 'numpy') if m in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert done.stdout == b"x\n[]\n"
