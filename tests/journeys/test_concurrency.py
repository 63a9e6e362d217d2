"""Many processes at once, from an empty folder on: nothing is lost, nobody sees an error, one run is one task."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from objstore.store import Store
from tests.scripts import QUIET, Ended, Scripts

WRITER = f"""
import sys
from tracker import Task
task = Task.init("many", sys.argv[1], {QUIET})
logger = task.get_logger()
for step in range(int(sys.argv[2])):
    logger.report_scalar("loss", sys.argv[3], step + 0.25, step)
task.set_parameter("from_" + sys.argv[3], 1)
print(task.id)
"""
POINTS = """
answer = {task.id: {
    name: [len(series["x"]), series["y"] == [x + 0.25 for x in series["x"]]]
    for name, series in task.get_reported_scalars().get("loss", {}).items()
} | {"status": task.status, "params": len(task.get_parameters())} for task in Task.get_tasks(project_name="many")}
"""


def run_all(scripts: Scripts, calls: Sequence[tuple[tuple[str, ...], Mapping[str, str]]]) -> list[Ended]:
    """Start a writer for each call, all at once; their ends, each with exit code 0."""
    with ExitStack() as stack:
        started = [stack.enter_context(scripts.start(WRITER, *args, **env)) for args, env in calls]
        return [script.end(0) for script in started]


def test_sixteen_first_starts_lose_nothing(tmp_path: Path) -> None:
    """16 processes x 2,000 scalars into a store that none of them found."""
    scripts = Scripts(tmp_path)
    ended = run_all(scripts, [((f"run {n}", "2000", "train"), {}) for n in range(16)])
    assert [end.warnings for end in ended] == [[]] * 16
    tasks = scripts.ask(POINTS)
    assert sorted(tasks) == sorted(end.out.strip() for end in ended)
    assert all(task["train"] == [2000, True] for task in tasks.values())
    assert {task["status"] for task in tasks.values()} == {"completed"}
    assert Store.open(scripts.store).fsck().clean


LAUNCHES = {
    "torchrun": (
        "RANK",
        {"TORCHELASTIC_RUN_ID": "job-1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"},
    ),
    "srun": ("SLURM_PROCID", {"SLURM_JOB_ID": "77", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "8"}),
    "by id": ("RANK", {"TRACKER_TASK_ID": "0123456789abcdef0123456789abcdef"}),
}


@pytest.mark.parametrize("launch", LAUNCHES)
def test_eight_ranks_are_one_task(tmp_path: Path, launch: str) -> None:
    """Each rank has its own journal and its own series; whoever reads next finds all of them in one task."""
    scripts = Scripts(tmp_path)
    variable, environment = LAUNCHES[launch]
    calls = [(("ranks", "500", f"rank{n}"), {**environment, variable: str(n)}) for n in range(8)]
    ended = run_all(scripts, calls)
    assert [end.warnings for end in ended] == [[]] * 8
    assert len({end.out.strip() for end in ended}) == 1
    ((task, found),) = scripts.ask(POINTS).items()
    assert task == ended[0].out.strip()
    assert {name: found[name] for name in sorted(found) if name.startswith("rank")} == {
        f"rank{n}": [500, True] for n in range(8)
    }
    assert (found["status"], found["params"]) == ("completed", 8)
    assert Store.open(scripts.store).fsck().clean


def test_two_steps_of_one_slurm_job_are_two_tasks(tmp_path: Path) -> None:
    """The step is part of what names a run, and so is the place in a job array."""
    scripts = Scripts(tmp_path)
    job = {"SLURM_JOB_ID": "77", "SLURM_PROCID": "0"}
    variants = [
        {"SLURM_STEP_ID": "0"},
        {"SLURM_STEP_ID": "1"},
        {"SLURM_STEP_ID": "0", "SLURM_ARRAY_TASK_ID": "2"},
    ]
    ended = run_all(scripts, [(("steps", "1", "train"), {**job, **step}) for step in variants])
    assert len({end.out.strip() for end in ended}) == 3


CHILDREN = f"""
import multiprocessing, os, subprocess, sys
from tracker import Task

def report(name):
    task = Task.current_task()
    for step in range(100):
        task.get_logger().report_scalar("loss", name, step + 0.25, step)
    task.set_parameter("from_" + name, 1)

if __name__ == "__main__":
    task = Task.init("many", "parent", {QUIET})
    pid = os.fork()
    if pid == 0:
        report("fork")
        os._exit(0)
    os.waitpid(pid, 0)
    for method in ("fork", "spawn", "forkserver"):
        child = multiprocessing.get_context(method).Process(target=report, args=("process " + method,))
        child.start()
        child.join()
        assert child.exitcode == 0
    again = (
        "from tracker import Task; task = Task.init('many', 'parent');"
        "task.get_logger().report_scalar('loss', 'sub', 0.25, 0); print(task.id)"
    )
    out = subprocess.run([sys.executable, "-c", again], check=True, stdout=subprocess.PIPE, text=True).stdout
    assert out.strip() == task.id, (out, task.id)
    report("parent")
"""


def test_children_of_every_kind_report_to_their_parents_task(tmp_path: Path) -> None:
    """os.fork, multiprocessing by fork, spawn and forkserver, and a subprocess that calls Task.init itself."""
    scripts = Scripts(tmp_path)
    ended = scripts.run(CHILDREN)
    assert ended.warnings == []
    ((_, found),) = scripts.ask(POINTS).items()
    series = ["fork", "process fork", "process spawn", "process forkserver", "parent"]
    assert {name: found.get(name) for name in series} == {name: [100, True] for name in series}
    assert found["sub"] == [1, True]
    assert (found["status"], found["params"]) == ("completed", 5)


READER = """
import time
from tracker import Task
seen, end = set(), time.monotonic() + float(__import__("sys").argv[1])
while time.monotonic() < end:
    tasks = {task.id: task.status for task in Task.get_tasks(project_name="many")}
    missing = seen - set(tasks)
    assert not missing, missing
    seen |= set(tasks)
print(len(seen))
"""
OPENER = f"""
import sys, time
from tracker import Task
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    task = Task.init("many", "brief", {QUIET})
    task.get_logger().report_scalar("loss", "train", 1.0, 1)
    task.close()
"""


def test_a_reader_beside_a_writer_never_loses_sight_of_a_task(tmp_path: Path) -> None:
    """While tasks are begun, sealed and their journals removed, each that was seen once is seen ever after."""
    scripts = Scripts(tmp_path)
    scripts.run(OPENER, "0.01")
    with scripts.start(OPENER, "3") as writer, scripts.start(READER, "3") as reader:
        assert int(reader.end(0).out) > 3
        assert writer.end(0).warnings == []


def test_a_copied_store_works_and_two_copied_together_show_both(tmp_path: Path) -> None:
    """`cp -r`, and the union of packs/, refs/ and refs.packed/ by nothing but a file copier."""
    folders = [tmp_path / "one", tmp_path / "two"]
    for number, folder in enumerate(folders):
        folder.mkdir()
        Scripts(folder).run(WRITER, f"run {number}", "10", "train")
    copy = tmp_path / "copy"
    shutil.copytree(folders[0] / ".tracker", copy / ".tracker")
    assert [task["train"] for task in Scripts(copy).ask(POINTS).values()] == [[10, True]]
    for part in ("packs", "refs", "refs.packed"):
        shutil.copytree(folders[1] / ".tracker" / part, copy / ".tracker" / part, dirs_exist_ok=True)
    assert [task["train"] for task in Scripts(copy).ask(POINTS).values()] == [[10, True]] * 2
    assert Store.open(copy / ".tracker").fsck().clean
