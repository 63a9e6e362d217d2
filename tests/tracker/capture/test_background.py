"""Work off the caller's thread, and forks in the middle of it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NoReturn

import pytest

from tracker.capture.background import Job
from tracker.capture.protocol import Guard


def test_a_job_delivers_what_it_has_read_from_a_thread_of_its_own() -> None:
    """The caller goes on meanwhile; a wait tells when it is done."""
    threads: list[threading.Thread] = []
    got: list[str] = []

    def read() -> str:
        threads.append(threading.current_thread())
        return "read"

    job = Job(Guard("x"), read, got.append)
    job.start()
    assert job.wait(5)
    assert got == ["read"]
    assert threads[0] is not threading.current_thread()
    assert threads[0].daemon


def test_a_job_that_was_given_up_delivers_nothing() -> None:
    """The task is closed by then: its recorder must not be called any more."""
    go = threading.Event()
    got: list[bool] = []
    job = Job(Guard("x"), lambda: go.wait(5), got.append)
    job.start()
    assert not job.wait(0.01)
    begun = time.monotonic()
    assert not job.end()
    assert time.monotonic() - begun < 1.0  # a wait in vain is not followed by another
    go.set()
    assert job.wait(5)
    assert got == []


def test_a_fault_of_a_job_stays_in_it(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and waiting for it returns."""

    def fail() -> NoReturn:
        raise OSError("disk on fire")

    job = Job(Guard("git"), fail, lambda _: None)
    with caplog.at_level("WARNING", logger="tracker"):
        job.start()
        assert job.wait(5)
    assert "Recording of git is switched off" in caplog.text
    assert "disk on fire" in caplog.text


def test_where_no_thread_is_to_be_had_the_work_is_done_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's limit on threads costs a moment, not the record."""

    def refuse(self: threading.Thread) -> NoReturn:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    got: list[int] = []
    job = Job(Guard("x"), lambda: 1, got.append)
    job.start()
    assert got == [1]
    assert job.wait(0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_does_not_fall_into_an_import(tmp_path: Path) -> None:
    """A child that was forked in the middle of our import can import the same module itself."""
    (tmp_path / "slow_to_import.py").write_text("import time\ntime.sleep(0.5)\nvalue = 1\n")
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys, threading, time, warnings\n"
        "warnings.simplefilter('ignore')\n"
        "from tracker.capture.background import import_undisturbed\n"
        "threading.Thread(target=import_undisturbed, args=('slow_to_import',)).start()\n"
        "while 'slow_to_import' not in sys.modules: time.sleep(0.01)\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    import slow_to_import\n"
        "    os._exit(40 + slow_to_import.value)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
        "import_undisturbed('json')\n"  # the lock is free again
    )
    path = os.pathsep.join([str(Path(__file__).parents[3]), str(tmp_path)])
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        timeout=30,
        check=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.stdout == b"41\n"
