"""Many processes at once, as clusters and data loaders start them: nothing lost, no error, one task for one run."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from objstore.store import Store
from tests.scripts import QUIET, Ended, Script, Scripts

# Says that it is ready, and begins when it is told.
READY = """
import sys, os, time
from tracker import *
print("ready", flush=True)
sys.stdin.readline()
"""


def at_once(scripts: Scripts, sources: list[tuple[str, dict[str, str]]]) -> list[Ended]:
    """Start scripts, let all begin at the same moment, and wait for their ends, which must be exit code 0."""
    with ExitStack() as stack:
        started: list[Script] = [
            stack.enter_context(scripts.start(READY + source, stdin=subprocess.PIPE, **environment))
            for source, environment in sources
        ]
        for script in started:
            assert script.line() == "ready"
        for script in started:
            script.say("go")
        return [script.end() for script in started]


def sound(scripts: Scripts) -> None:
    """Nothing is left beside the store, of journals, or of half-written files; and everything in it is whole."""
    assert sorted(path.name for path in scripts.folder.glob(".*")) == [".tracker"]
    assert list(scripts.store.glob("live/*/*")) == list(scripts.store.glob("tmp/*")) == []
    report = Store.open(scripts.store).fsck()
    assert report.clean, report.problems


def test_sixteen_runs_at_once(tmp_path: Path) -> None:
    """Into a store that none of them finds: 2,000 points each, every one read back, and each run is itself."""
    scripts = Scripts(tmp_path)
    source = f"""
task = Task.init("many", "run {{0}}", {QUIET})
log = task.get_logger()
for n in range(2000):
    log.report_scalar("t", "s", {{0}} * 10_000 + n, n)
task.set_parameter("number", {{0}})
task.upload_artifact("data", "the same in all" * 100_000)
print(task.id)
"""
    ended = at_once(scripts, [(source.replace("{0}", str(i)), {}) for i in range(16)])
    assert [result.warnings for result in ended] == [[]] * 16
    assert all(
        result.err.count("\n") == 1 for result in ended
    )  # the line that names the task, and nothing else
    found = scripts.ask(
        """
        answer = [[t.id, t.name, t.status, t.get_parameters(cast=True)["General/number"], t.artifacts["data"].hash,
                   t.get_reported_scalars()["t"]["s"]] for t in Task.get_tasks()]
        """
    )
    assert {task[0] for task in found} == {result.out.splitlines()[-1] for result in ended}
    assert len(found) == 16
    assert len({task[4] for task in found}) == 1
    for _, name, status, number, _, points in found:
        assert (name, status) == (f"run {number}", "completed")
        assert points["x"] == list(range(2000))
        assert points["y"] == [float(number * 10_000 + n) for n in range(2000)]
    sound(scripts)


def torchrun(rank: int) -> dict[str, str]:
    """What torchrun tells a rank."""
    return {
        "TORCHELASTIC_RUN_ID": "job",
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": "29500",
        "WORLD_SIZE": "8",
        "LOCAL_WORLD_SIZE": "8",
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
    }


def srun(rank: int) -> dict[str, str]:
    """What srun tells a process of a step."""
    return {"SLURM_JOB_ID": "42", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "8", "SLURM_PROCID": str(rank)}


def named(rank: int) -> dict[str, str]:
    """Another launcher, whose script has given all processes one task."""
    return {"TRACKER_TASK_ID": "0123456789abcdef" * 2}


@pytest.mark.parametrize("launcher", [torchrun, srun, named])
def test_eight_ranks_are_one_task(tmp_path: Path, launcher: Callable[[int], dict[str, str]]) -> None:
    """Each to its own journal: every point of every rank, the tags and artifacts of all, and one status."""
    scripts = Scripts(tmp_path)
    source = f"""
task = Task.init("ranks", "run", tags=["launched"], {QUIET})
assert (task.name, task.get_project_name()) == ("run", "ranks")
assert task.status in ("in_progress", "completed")  # rank 0 may be through already
log = task.get_logger()
for n in range(500):
    log.report_scalar("own", "rank {{0}}", n, n)
    log.report_scalar("shared", "s", {{0}}, n * 8 + {{0}})
task.add_tags("rank{{0}}")
task.upload_artifact("from {{0}}", {{{{"rank": {{0}}}}}})
OutputModel(name="model {{0}}").update_weights(register_uri="https://example.com/{{0}}.pt")
print(task.id)
"""
    ended = at_once(
        scripts,
        [
            (source.replace("{{", "{").replace("}}", "}").replace("{0}", str(n)), launcher(n))
            for n in range(8)
        ],
    )
    assert [result.warnings for result in ended] == [[]] * 8
    (key,) = {result.out.splitlines()[-1] for result in ended}
    found = scripts.ask(
        """
        answer = [[t.id, t.name, t.status, t.get_tags(), sorted(t.artifacts),
                   sorted(m.name for m in t.models["output"]), t.get_reported_scalars()] for t in Task.get_tasks()]
        """
    )
    ((task, name, status, tags, artifacts, models, scalars),) = found
    assert (task, name, status) == (key, "run", "completed")
    assert tags == ["launched", *(f"rank{n}" for n in range(8))]
    assert artifacts == [f"from {n}" for n in range(8)]
    assert models == [f"model {n}" for n in range(8)]
    for n in range(8):
        assert scalars["own"][f"rank {n}"]["x"] == list(range(500))
    assert scalars["shared"]["s"]["x"] == list(range(4000))
    assert scalars["shared"]["s"]["y"] == [float(n % 8) for n in range(4000)]
    sound(scripts)


def test_rank_that_is_killed_is_not_the_end_of_the_run(tmp_path: Path) -> None:
    """What it had reported counts; the status is rank 0's. A second launch of the same job goes on with the task."""
    scripts = Scripts(tmp_path)
    source = f"""
task = Task.init("ranks", "killed", {QUIET})
task.get_logger().report_scalar("t", f"rank {{os.environ['RANK']}}", 1.0, 1)
if os.environ["RANK"] == "1":
    os.kill(os.getpid(), 9)
"""
    for rank, code in ((1, -9), (0, 0), (2, 0)):
        with scripts.start(READY + source, stdin=subprocess.PIPE, **torchrun(rank)) as script:
            script.line()
            script.say("go")
            script.end(code)
    (found,) = scripts.ask(
        "answer = [[t.status, sorted(t.get_reported_scalars()['t'])] for t in Task.get_tasks()]"
    )
    assert found == ["completed", ["rank 0", "rank 1", "rank 2"]]


def test_ranks_child_processes_report_to_the_task(tmp_path: Path) -> None:
    """Data loaders of a rank that does not own the run, spawned or as programs of their own; none of them ends it."""
    scripts = Scripts(tmp_path)
    child = """
from tracker import *
Logger.current_logger().report_scalar("t", "child", 1.0, 1)
"""
    source = f"""
import subprocess, sys
from tracker import Task
task = Task.init("ranks", "children", {QUIET})
subprocess.run([sys.executable, "-c", {child!r}], check=True)
task.get_logger().report_scalar("t", "rank", 1.0, 1)
"""
    scripts.run(source, code=0, **torchrun(3))
    found = scripts.ask(
        "answer = [[t.status, sorted(t.get_reported_scalars()['t'])] for t in Task.get_tasks()]"
    )
    assert found == [["created", ["child", "rank"]]]  # rank 0 has not come yet
    scripts.run(source, code=0, **torchrun(0))
    found = scripts.ask(
        "answer = [[t.name, t.status, len(t.get_reported_scalars()['t'])] for t in Task.get_tasks()]"
    )
    assert found == [["children", "completed", 2]]


CHILDREN = """
import multiprocessing, os, subprocess, sys
from tracker import *

def work(name):
    log = Logger.current_logger()
    for n in range(50):
        log.report_scalar("child", name, float(n), n)
    Task.current_task().add_tags(name)
    Task.current_task().upload_artifact(name, name * 10)

def main():
    task = Task.init("children", "parent", {quiet})
    task.get_logger().report_scalar("parent", "s", 1.0, 1)
    pid = os.fork()
    if pid == 0:
        work("os.fork")
        os._exit(0)
    os.waitpid(pid, 0)
    for method in ("fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        child = context.Process(target=work, args=(method,))
        child.start()
        child.join()
        assert child.exitcode == 0
        with context.Pool(2) as pool:
            pool.map(work, [f"{{method}}-pool-{{n}}" for n in range(3)])
    subprocess.run([sys.executable, "child.py"], check=True)
    subprocess.run([sys.executable, "-c", "from tracker import *; import script1; script1.work('current')"], check=True)
    task.get_logger().report_scalar("parent", "s", 2.0, 2)
    assert task.status == "in_progress"
    task.reload()
    print(len(task.get_tags()))

if __name__ == "__main__":
    main()
"""
CHILD = f"""
import script1
from tracker import Task
assert Task.init("another", "name", {QUIET}).name == "parent"
script1.work("subprocess")
"""


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_child_processes_report_to_their_parents_task(tmp_path: Path) -> None:
    """Forked, spawned, from a fork server, in a pool, and as programs of their own."""
    scripts = Scripts(tmp_path)
    (tmp_path / "child.py").write_text(CHILD)
    result = scripts.run(CHILDREN.format(quiet=QUIET))
    names = [
        "os.fork",
        "subprocess",
        "current",
        *(f"{m}{p}" for m in ("fork", "spawn", "forkserver") for p in ("", "-pool-0", "-pool-1", "-pool-2")),
    ]
    assert result.warnings == []
    assert result.out.splitlines()[-1] == str(len(names))
    (found,) = scripts.ask(
        """
        answer = [[t.name, t.status, t.get_tags(), {n: a.get() for n, a in t.artifacts.items()},
                   t.get_reported_scalars()] for t in Task.get_tasks()]
        """
    )
    name, status, tags, artifacts, scalars = found
    assert (name, status) == ("parent", "completed")
    assert tags == sorted(names)
    assert artifacts == {name: name * 10 for name in names}
    assert scalars["parent"]["s"]["x"] == [1, 2]
    assert {series: len(points["x"]) for series, points in scalars["child"].items()} == dict.fromkeys(
        names, 50
    )
    assert Store.open(scripts.store).fsck().clean


def test_child_that_outlives_its_parent_is_kept(tmp_path: Path) -> None:
    """What a program that was left behind reports after the run has closed belongs to it all the same."""
    scripts = Scripts(tmp_path)
    (tmp_path / "late.py").write_text(
        f"""
import sys, time
from tracker import Task
task = Task.init("other", "name", {QUIET})
task.get_logger().report_scalar("t", "early", 1.0, 1)
print("ready", flush=True)
sys.stdin.readline()
task.get_logger().report_scalar("t", "late", 1.0, 1)
"""
    )
    source = f"""
        import subprocess, sys
        from tracker import Task
        task = Task.init("children", "left behind", {QUIET})
        child = subprocess.Popen([sys.executable, "late.py"], stdout=subprocess.PIPE, stdin=sys.stdin, text=True)
        assert child.stdout.readline() == "ready\\n"
        task.close()
        print("closed", flush=True)
        child.wait()
        """
    with scripts.start(source, stdin=subprocess.PIPE) as script:
        assert script.line() == "closed"
        ask = "t, = Task.get_tasks()\nanswer = [t.status, sorted(t.get_reported_scalars()['t'])]"
        assert scripts.ask(ask) == ["completed", ["early"]]
        script.say("go")
        script.end()
    assert scripts.ask(ask) == ["completed", ["early", "late"]]
    sound(scripts)


def test_reader_beside_writers_never_misses_a_task(tmp_path: Path) -> None:
    """For five seconds: a task that was seen once is seen ever after, whole; the reader itself seals what has ended."""
    scripts = Scripts(tmp_path)
    writer = f"""
end = time.monotonic() + 5
count = 0
while time.monotonic() < end:
    task = Task.init("busy", f"run {{count}}", {QUIET})
    for n in range(10):
        task.get_logger().report_scalar("t", "s", float(n), n)
    OutputModel(name="model").update_weights(register_uri="https://example.com/x.pt")
    task.close()
    count += 1
print(count)
"""
    reader = """
end = time.monotonic() + 5
seen, points, rounds = {}, {}, 0
while time.monotonic() < end or rounds < 3:
    try:
        tasks = Task.get_tasks()
    except LookupError:
        assert not seen  # no store yet
        continue
    rounds += 1
    now = {t.id: t for t in tasks}
    missing = seen.keys() - now.keys()
    assert not missing, f"round {rounds}: {missing} of {len(seen)}"
    for key, task in now.items():
        state = task._state
        if state.get("status") == "completed":
            assert (state.get("project"), state.get("progress")) == ("busy", 100), state
            assert len(task.models["output"]) == 1
        if len(state.segments):
            assert task.get_last_iteration() <= 9
        assert task.status in ("in_progress", "completed"), (task.status, state.get("status_reason"))
    seen.update({key: t.name for key, t in now.items()})
print(rounds, len(seen))
"""
    *writers, read = at_once(scripts, [(writer, {}), (writer, {}), (reader, {})])
    assert [result.warnings for result in (*writers, read)] == [[]] * 3
    made = sum(int(result.out.splitlines()[-1]) for result in writers)
    rounds, seen = map(int, read.out.splitlines()[-1].split())
    assert made > 20
    assert rounds > 10
    assert seen > 10
    found: Any = scripts.ask(
        """
        answer = [[t.status, t.get_reported_scalars()["t"]["s"]["x"] == list(range(10)), len(t.models["output"])]
                  for t in Task.get_tasks()]
        """
    )
    assert found == [["completed", True, 1]] * made
    sound(scripts)
