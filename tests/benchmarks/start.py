"""What starting costs: the import, and a whole short run in a dirty git repository. Prints one JSON object."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pygit2

RUN = """
import json, sys, time
t = [time.perf_counter()]
from tracker import Task
t.append(time.perf_counter())
task = Task.init("bench", "start")
t.append(time.perf_counter())
task.get_logger().report_scalar("loss", "train", 1.0, 1)
t.append(time.perf_counter())
task.close()
t.append(time.perf_counter())
print(json.dumps([t[2] - t[1], t[3] - t[0], t[4] - t[3]]))
"""


def repository(folder: Path) -> None:
    """A git repository with one commit of 50 files and an uncommitted change."""
    repo = pygit2.init_repository(str(folder))
    for number in range(50):
        (folder / f"module_{number}.py").write_text(f"x = {number}\n" * 50)
    (folder / "run.py").write_text(RUN)
    repo.index.add_all()
    who = pygit2.Signature("bench", "bench@example.org")
    repo.create_commit("HEAD", who, who, "one", repo.index.write_tree(), [])
    repo.index.write()
    (folder / "module_1.py").write_text("x = 'changed'\n")


def wall(*command: str) -> tuple[float, bytes]:
    """Milliseconds a command takes as a whole process, and what it prints: the best of three, the first uncounted."""
    times = []
    for _ in range(4):
        began = time.perf_counter()
        out = subprocess.run(command, check=True, capture_output=True).stdout
        times.append((time.perf_counter() - began) * 1000)
    return min(times[1:]), out


def main() -> None:
    """Measure and print."""
    repository(Path.cwd())
    bare, _ = wall(sys.executable, "-c", "pass")
    imported, _ = wall(sys.executable, "-c", "import tracker")
    task, _ = wall(sys.executable, "-c", "from tracker import Task")
    version, _ = wall(sys.executable, "-m", "tracker", "--version")
    whole, out = wall(sys.executable, "run.py")
    init, first, close = json.loads(out.splitlines()[-1])
    found = {
        "bare_ms": bare,
        "import_ms": imported - bare,
        "task_ms": task - bare,
        "version_ms": version,
        "whole_ms": whole,
        "init_ms": init * 1000,
        "first_log_ms": bare + first * 1000,
        "close_ms": close * 1000,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
