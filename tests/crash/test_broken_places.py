"""Stores and values that are broken in odd ways: nothing hangs, crashes, or is said to be well when it is not."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from objstore.store import Store
from tests.scripts import QUIET, Scripts

RUN = f"""
from tracker import Task
task = Task.init("places", "run", {QUIET})
task.get_logger().report_scalar("loss", "train", 1.0, 1)
print(task.id)
"""

PRINTING = """
import sys
from tracker import Task
task = Task.init("places", "printing", auto_connect_frameworks={"detect_repository": False})
for step in range(20_000):
    task.get_logger().report_scalar("loss", "train", step, step)
print("ready", flush=True)
while True:
    print("x", end="", flush=True)
"""


def test_a_signal_while_something_is_printed_ends_the_process_as_it_should(tmp_path: Path) -> None:
    """The stream that print() writes to is taken out by another thread meanwhile: it must outlive the call."""
    scripts = Scripts(tmp_path)
    for pause in range(6):
        with scripts.start(PRINTING) as script:
            assert script.line() == "ready"
            time.sleep(pause / 1000)
            script.signal(signal.SIGTERM)
            script.end(-signal.SIGTERM)


def test_many_runs_in_one_process_hold_few_descriptors(tmp_path: Path) -> None:
    """A closed run lets go of the packs it has read."""
    source = f"""
    import os, resource
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
    from tracker import Task
    for n in range(60):
        Task.init("places", "run " + str(n), {QUIET}).close()
    print(len(os.listdir("/proc/self/fd")))
    """
    ended = Scripts(tmp_path).run(source)
    assert ended.warnings == []
    assert int(ended.out) < 40


def test_settings_that_cannot_be_read_cost_a_warning_not_the_run(tmp_path: Path) -> None:
    """A garbled config.toml: the defaults hold."""
    scripts = Scripts(tmp_path)
    scripts.run(RUN)
    (scripts.store / "config.toml").write_text("[[[ bad")
    ended = scripts.run(RUN)
    assert len(ended.warnings) == 1
    assert "config.toml is not valid TOML" in ended.warnings[0]


@pytest.mark.parametrize("place", ["refs", "tmp", "packs"])
def test_a_file_where_a_folder_belongs_is_named(tmp_path: Path, place: str) -> None:
    """Else an empty store would look like a sound one."""
    store = Store.create(tmp_path / "store")
    (store.root / place).rmdir()
    (store.root / place).touch()
    assert [problem.where for problem in store.fsck().problems] == [place]


@pytest.mark.parametrize("kind", ["packs", "refs"])
def test_a_pipe_under_the_name_of_a_file_is_named_and_waits_for_nobody(tmp_path: Path, kind: str) -> None:
    """Opening a FIFO for reading waits for a writer, unless it is asked not to."""
    scripts = Scripts(tmp_path)
    scripts.run(RUN)
    (victim,) = [path for path in (scripts.store / kind).rglob("*") if path.is_file()]
    victim.unlink()
    os.mkfifo(victim)
    report = Store.open(scripts.store).fsck()
    assert any(
        victim.name in problem.where and "no regular file" in problem.what for problem in report.problems
    )
    assert scripts.run(RUN).code == 0


def test_a_folder_that_cannot_come_back_is_kept_and_named(tmp_path: Path) -> None:
    """A link out of the folder: stored, said at once, and the folder is not deleted after the upload."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "data").write_text("data")
    (tmp_path / "folder" / "out").symlink_to("/nonexistent")
    source = RUN + "print(task.upload_artifact('folder', 'folder', delete_after_upload=True))"
    ended = Scripts(tmp_path).run(source)
    assert ended.out.splitlines()[-1] == "True"
    assert len(ended.warnings) == 1
    assert "cannot be written back" in ended.warnings[0]
    assert (tmp_path / "folder" / "data").read_text() == "data"


@pytest.mark.parametrize("call", ["task.connect(d)", "task.set_parameters_as_dict(d)"])
def test_parameters_that_hold_themselves_are_refused(tmp_path: Path, call: str) -> None:
    """With the rule, not with a RecursionError."""
    ended = Scripts(tmp_path).run(RUN + f"d = {{}}; d['self'] = d\n{call}", code=1)
    assert "BadValue: parameters are nested deeper than 50, or hold themselves" in ended.err


def test_a_long_journal_does_not_hold_up_the_end(tmp_path: Path) -> None:
    """What is not sealed in time is left to the next process, without a warning and without a loss."""
    scripts = Scripts(tmp_path)
    source = "from tracker import layout\nlayout.LONG, layout.QUICK = 0, 0.0\n" + RUN
    source += "from tracker import seal\nseal.seal = lambda *_, **__: __import__('time').sleep(60)\n"
    began = time.monotonic()
    ended = scripts.run(source, TRACKER_CLOSE_TIMEOUT="35")  # what a shorter journal would be waited for
    assert time.monotonic() - began < 30
    assert ended.warnings == []
    assert not any((scripts.store / "refs").iterdir())
    found = scripts.ask("answer = [[t.status, t.get_last_iteration()] for t in Task.get_tasks()]")
    assert found == [["completed", 1]]
    assert any((scripts.store / "refs").iterdir())
