"""A broken environment: one warning, the script's own exit code, and nothing lost that could be kept."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.scripts import QUIET, Scripts

root_only = pytest.mark.skipif(
    os.geteuid() != 0, reason="mounts a file system of its own, which only root may"
)


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[Path]:
    """A file system mounted at `folder`, which is made."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", *options, str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


RUN = f"""
from tracker import Task
task = Task.init("faults", "run", {QUIET})
for step in range(100):
    task.get_logger().report_scalar("loss", "train", float(step), step)
task.upload_artifact("value", {{"a": 1}})
print(task.id)
"""


@root_only
def test_a_run_that_may_not_write_here_is_recorded_elsewhere_and_adopted(tmp_path: Path) -> None:
    """One warning, exit code 0; `tracker recover` takes the run in once the place can be written."""
    state = tmp_path / "state"
    folder = tmp_path / "work"
    with mounted(folder, "-t", "tmpfs", "-o", "size=8m", "tmpfs"):
        scripts = Scripts(folder, XDG_STATE_HOME=str(state))
        (folder / "run.py").write_text(RUN)
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        reading = Scripts(tmp_path, XDG_STATE_HOME=str(state))
        ended = reading.run("import os, runpy; os.chdir('work'); runpy.run_path('run.py')")
        assert len(ended.warnings) == 1
        assert "cannot be written" in ended.warnings[0]
        assert "tracker recover" in ended.warnings[0]
        assert not (folder / ".tracker").exists()
        subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)
        for command in ("init", "recover"):
            scripts.run(
                f"import runpy, sys; sys.argv = ['tracker', '{command}'];"
                "runpy.run_module('tracker', run_name='__main__')"
            )
        task = ended.out.strip()
        found = scripts.ask(
            f"task = Task.get_task('{task}'); answer = [task.status, task.get_last_iteration()]"
        )
        assert found == ["completed", 99]


FILL = f"""
import os, sys, time
from tracker import Task, layout
layout.RETRY = 0.3
task = Task.init("faults", "full", {QUIET})
logger = task.get_logger()
for step in range(1000):
    logger.report_scalar("loss", "before", float(step), step)
filler = os.open("filler", os.O_WRONLY | os.O_CREAT)
try:
    while True:
        os.write(filler, bytes(65536))
except OSError:
    pass
for step in range(100_000):
    logger.report_scalar("loss", "during", float(step), step)
if sys.argv[1] == "again":
    os.ftruncate(filler, 0)
    time.sleep(0.5)
    for step in range(1000):
        logger.report_scalar("loss", "after", float(step), step)
print(task.id)
"""


@root_only
@pytest.mark.parametrize("space", ["again", "never"])
def test_a_full_disk_costs_what_came_while_it_was_full(tmp_path: Path, space: str) -> None:
    """One warning that says so, exit code 0; what came before and after is there, and the drops are counted."""
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=6m", "tmpfs") as folder:
        scripts = Scripts(folder)
        ended = scripts.run(FILL, space)
        assert 1 <= len(ended.warnings) <= 3, ended.err
        assert sum("cannot be written" in line for line in ended.warnings) >= 1
        (folder / "filler").unlink()
        task = ended.out.strip()
        found = scripts.ask(
            f"task = Task.get_task('{task}'); scalars = task.get_reported_scalars()['loss']\n"
            "answer = {name: len(series['x']) for name, series in scalars.items()} | {'health': "
            "task._state.section('health')}"
        )
    assert found["before"] == 1000
    assert found.get("during", 0) < 100_000
    if space == "again":
        assert found["after"] == 1000
        assert found["health"]["dropped"] == 100_000 - found.get("during", 0)


PLOTS = f"""
import sys
from tracker import Task
task = Task.init("faults", "plots", {QUIET})
logger = task.get_logger()
logger.report_plotly("good", "one", {{"data": [{{"y": [1, float("nan")]}}]}}, 1)
logger.report_plotly("bad", "one", {{"data": [object()]}}, 1)
logger.report_plotly("good", "two", {{"data": []}}, 2)
logger.report_scalar("loss", "train", 1.0, 1)
print(task.id)
"""


def test_a_broken_object_in_a_plot_costs_that_plot_only(tmp_path: Path) -> None:
    """One warning that names it; the plots before and after it are there."""
    scripts = Scripts(tmp_path)
    ended = scripts.run(PLOTS)
    assert len(ended.warnings) == 1
    assert "'bad'" in ended.warnings[0]
    found = scripts.ask(
        f"task = Task.get_task('{ended.out.strip()}')\n"
        "answer = [[p['title'], p['series']] for s in task._state.segments for p in s.plots], task.status"
    )
    assert found == [[["good", "one"], ["good", "two"]], "completed"]


def test_strict_turns_a_broken_plot_into_an_error(tmp_path: Path) -> None:
    """For who would rather stop than lose a plot."""
    ended = Scripts(tmp_path, TRACKER_STRICT="true").run(PLOTS, code=1)
    assert "TypeError" in ended.err


@root_only
def test_strict_turns_a_place_that_cannot_be_written_into_an_error(tmp_path: Path) -> None:
    """At Task.init, before hours of training."""
    (tmp_path / "run.py").write_text(RUN)
    with mounted(tmp_path / "work", "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs"):
        scripts = Scripts(tmp_path, TRACKER_STRICT="true", XDG_STATE_HOME=str(tmp_path / "state"))
        ended = scripts.run("import os, runpy; os.chdir('work'); runpy.run_path('../run.py')", code=1)
    assert "RecordingFault" in ended.err
    assert "cannot be written" in ended.err
