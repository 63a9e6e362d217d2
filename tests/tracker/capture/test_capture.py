"""Installing captures, and keeping their faults from the user."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tracker.capture import CAPTURES, Capture, Guard, Recorder, Undo, install_all

if TYPE_CHECKING:
    from tests.tracker.capture.conftest import Memory


class Part:
    """A capture that keeps a diary of what is done with it."""

    def __init__(self, name: str, diary: list[str], module: str | None = None) -> None:
        self.name = name
        self.module = module
        self.diary = diary

    def install(self, recorder: Recorder) -> Undo:
        self.diary.append(f"+{self.name}")
        recorder.set(self.name, 1)
        return lambda: self.diary.append(f"-{self.name}")


class Broken(Part):
    """A capture that fails when it is installed, or when it is taken out."""

    def __init__(self, name: str, diary: list[str], fault: BaseException, at: str) -> None:
        super().__init__(name, diary)
        self.fault = fault
        self.at = at

    def install(self, recorder: Recorder) -> Undo:
        if self.at == "install":
            raise self.fault
        super().install(recorder)
        return self.fail

    def fail(self) -> None:
        raise self.fault


class Slow(Part):
    """A capture whose background work takes for ever."""

    def wait(self, timeout: float) -> bool:
        time.sleep(timeout)
        return False


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a module that can be imported and has not been."""
    (tmp_path / "awaited_by_capture.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "awaited_by_capture"
    sys.modules.pop("awaited_by_capture", None)


def test_captures_are_installed_in_order_and_taken_out_in_reverse(recorder: Memory) -> None:
    """What was put in last may stand on what came before it."""
    diary: list[str] = []
    undo = install_all(recorder, [Part("a", diary), Part("b", diary)])
    undo()
    undo()
    assert diary == ["+a", "+b", "-b", "-a"]


def test_an_unknown_name_is_refused_with_those_that_exist(recorder: Memory) -> None:
    """A wrong argument raises at once, before anything is installed."""
    diary: list[str] = []
    with pytest.raises(
        ValueError, match=r"no capture 'tensorbored'.*argparse, click, console, git, .*packages"
    ):
        install_all(recorder, [Part("a", diary), "tensorbored"])
    assert diary == []


def test_every_name_leads_to_a_capture_of_that_name() -> None:
    """The table of captures holds no dead entry."""
    from importlib import import_module

    for name, (_, target) in CAPTURES.items():
        module, _, attribute = target.partition(":")
        capture: Capture = getattr(import_module(module), attribute)()
        assert (capture.name, capture.module) == (name, CAPTURES[name][0])


@pytest.mark.parametrize("at", ["install", "undo"])
def test_a_fault_of_a_capture_is_logged_and_the_others_go_on(
    recorder: Memory, caplog: pytest.LogCaptureFixture, at: str
) -> None:
    """One broken integration costs itself only."""
    diary: list[str] = []
    with caplog.at_level(logging.WARNING, logger="tracker"):
        undo = install_all(
            recorder, [Part("a", diary), Broken("bad", diary, KeyError("x"), at), Part("c", diary)]
        )
        undo()
    assert [line for line in diary if line != "+bad"] == ["+a", "+c", "-c", "-a"]
    [message] = [record.getMessage() for record in caplog.records]
    assert "Recording of bad is switched off" in message
    assert "KeyError: 'x'" in message


def test_an_interrupt_passes_through_the_guard(recorder: Memory) -> None:
    """Ctrl-C belongs to the user, also in the middle of an install."""
    with pytest.raises(KeyboardInterrupt):
        install_all(recorder, [Broken("bad", [], KeyboardInterrupt(), "install")])


def test_a_guard_blows_once_and_stays_blown(caplog: pytest.LogCaptureFixture) -> None:
    """A hook that fails a million times gives one line of log and is not called again."""
    calls = []

    def fail(number: int) -> None:
        calls.append(number)
        raise ValueError(number)

    guard = Guard("thing")
    with caplog.at_level(logging.WARNING, logger="tracker"):
        for number in range(3):
            assert guard.run(fail, number) is None
    assert calls == [0]
    assert len(caplog.records) == 1
    assert not guard.on


def test_a_broken_log_handler_does_not_break_the_guard() -> None:
    """Saying that something failed must not fail in its turn."""

    class Bomb(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            raise RuntimeError(record)

    bomb = Bomb()
    logger = logging.getLogger("tracker")
    logger.addFilter(bomb)
    try:
        assert Guard("thing").run(lambda: 1 // 0) is None
    finally:
        logger.removeFilter(bomb)


def test_a_capture_waits_for_its_module(recorder: Memory, module: str) -> None:
    """An integration of a framework that the script never imports is never installed."""
    diary: list[str] = []
    undo = install_all(recorder, [Part("late", diary, module)])
    assert diary == []
    __import__(module)
    assert diary == ["+late"]
    undo()
    assert diary == ["+late", "-late"]


def test_a_module_imported_after_the_end_installs_nothing(recorder: Memory, module: str) -> None:
    """A closed task is closed for good."""
    diary: list[str] = []
    before = list(sys.meta_path)
    install_all(recorder, [Part("late", diary, module)])()
    __import__(module)
    assert diary == []
    assert sys.meta_path == before


def test_the_wait_for_background_work_has_one_deadline(recorder: Memory) -> None:
    """Ten slow captures together hold the exit no longer than one."""
    diary: list[str] = []
    undo = install_all(recorder, [Slow(f"slow{number}", diary) for number in range(8)])
    begun = time.monotonic()
    assert not undo.wait(0.25)
    undo(timeout=0.25)
    undo(timeout=10)
    assert time.monotonic() - begun < 1.5
    assert diary[-1] == "-slow0"


def test_an_install_that_outlives_the_run_is_taken_out_again(recorder: Memory, module: str) -> None:
    """A task may be closed while a framework is being imported."""
    diary: list[str] = []

    class Late(Part):
        def install(self, recorder: Recorder) -> Undo:
            undo()
            return super().install(recorder)

    undo = install_all(recorder, [Late("late", diary, module), Part("later", diary, module)])
    __import__(module)
    assert diary == ["+late", "-late"]


def test_captures_may_be_installed_from_any_thread(recorder: Memory) -> None:
    """A task may be started by a worker of a web application."""
    diary: list[str] = []
    work: Callable[[], None] = lambda: install_all(recorder, [Part("a", diary)])()  # noqa: E731 - one line says it
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert diary == ["+a", "-a"]
