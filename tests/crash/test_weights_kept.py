"""A local file of weights is deleted only once what was stored of it is durable, whatever kills the process."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from blake3 import blake3

from tests.scripts import QUIET, Scripts

SCRIPT = f"""
import os, signal, sys
from pathlib import Path
from tracker import Task
task = Task.init("crash", "weights", {QUIET})
size, moment = int(sys.argv[1]), sys.argv[2]
path = Path("net.pt").absolute()
path.write_bytes(os.urandom(size))
from blake3 import blake3
print(task.id, blake3(path.read_bytes()).hexdigest(), flush=True)

def watch(event, arguments):
    if event == "os.remove" and str(arguments[0]) == str(path) and moment == "before":
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(watch)
task.update_output_model(path)
if moment == "after":
    os.kill(os.getpid(), signal.SIGKILL)
"""
READ = """
import sys
from tracker import Model, Task
task = Task.get_task(task_id={task!r})
answer = [model.get_weights() for model in task.models["output"]]
"""


@pytest.mark.parametrize("size", [1000, 3_000_000])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_kill_around_the_deletion_loses_no_weights(tmp_path: Path, size: int, moment: str) -> None:
    """In the moment before it the store has them already, and the file is there; in the one after it the store has."""
    scripts = Scripts(tmp_path)
    ended = scripts.run(SCRIPT, str(size), moment, code=-signal.SIGKILL)
    task, digest = ended.out.split()
    assert (tmp_path / "net.pt").exists() == (moment == "before")
    (copy,) = scripts.ask(READ.format(task=task))
    assert blake3(Path(copy).read_bytes()).hexdigest() == digest


@pytest.mark.parametrize("size", [1000, 3_000_000])
def test_deletion_comes_after_what_makes_the_content_and_its_record_durable(
    tmp_path: Path, size: int
) -> None:
    """By the system calls: between the last write to the store and the unlink lies the sync of the run's journal."""
    strace = shutil.which("strace")
    if sys.platform != "linux" or strace is None:
        pytest.skip("strace is not here")
    scripts = Scripts(tmp_path)
    script = tmp_path / "traced.py"
    script.write_text(SCRIPT)
    trace = tmp_path / "trace"
    watched = "trace=unlink,unlinkat,fsync,fdatasync,msync,sync_file_range,syncfs"
    done = subprocess.run(
        [
            strace,
            "-f",
            "-y",
            "-e",
            watched,
            "-o",
            str(trace),
            sys.executable,
            str(script),
            str(size),
            "never",
        ],
        cwd=tmp_path,
        env={**os.environ, **scripts.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if "ptrace" in done.stderr.lower():
        pytest.skip("nothing can be traced here")
    assert done.returncode == 0, done.stderr
    calls = [line for line in trace.read_text().splitlines() if "= 0" in line or "unfinished" in line]
    (gone,) = [n for n, line in enumerate(calls) if re.search(r"unlink.*net\.pt", line)]
    synced = [line for line in calls[:gone] if re.search(r"(msync|fsync|fdatasync)\(", line)]
    journal = [n for n, line in enumerate(synced) if "/.tracker/live/" in line]
    packs = [n for n, line in enumerate(synced) if "/.tracker/packs" in line]
    assert len(journal) >= 2, synced  # the segment and its folder
    assert bool(packs) == (size > 1 << 20), synced
    assert not packs or packs[-1] < journal[-1]
