"""Runs that are killed, preempted, aborted, reused and resumed, as real processes do it to each other."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from objstore.store import Store
from tests.scripts import QUIET, Scripts

TRAIN = f"""
import os, signal, sys, time
from tracker import Task
first, last = int(sys.argv[1]), int(sys.argv[2])
task = Task.init("journeys", "train", auto_connect_arg_parser=False, {QUIET}, **eval(sys.argv[3]))
print(task.id, flush=True)
for step in range(first, last):
    task.get_logger().report_scalar("loss", "train", float(os.getpid()), step)
print("trained", flush=True)
if len(sys.argv) > 4:
    time.sleep(60)
"""
READ = """
t, = Task.get_tasks()
points = t.get_reported_scalars().get("loss", {}).get("train", {"x": [], "y": []})
kept = sum(s[2]["count"] for g in t._fresh().state.segments for c in g.scalars for s in c["series"])
answer = [t.id, t.status, t.data.status_reason or "", points["x"], len(set(points["y"])), kept]
"""
SLURM = {"SLURM_JOB_ID": "42"}


@pytest.fixture
def scripts(tmp_path: Path) -> Scripts:
    """Scripts in a folder of the test's own."""
    return Scripts(tmp_path)


@pytest.mark.parametrize(
    ("number", "environment", "reason"),
    [
        (signal.SIGTERM, SLURM, "preempted"),
        (signal.SIGUSR1, SLURM, "preempted"),
        (signal.SIGUSR1, {}, "preempted"),
        (signal.SIGTERM, {}, "Signal SIGTERM"),
        (signal.SIGKILL, SLURM, "aborted: "),
    ],
)
def test_preempted_run_is_kept_and_resumed(
    scripts: Scripts, number: signal.Signals, environment: dict[str, str], reason: str
) -> None:
    """Taken away at step 12, started again from its checkpoint of step 10: one task, each step once, nothing lost."""
    key = "0123456789abcdef" * 2
    named = {**environment, "TRACKER_TASK_ID": key}
    with scripts.start(TRAIN, "0", "13", "{}", "wait", **named) as script:
        assert (script.line(), script.line()) == (key, "trained")
        script.signal(number)
        script.end(-number)
    found = scripts.ask(READ)
    assert found[:2] == [key, "stopped"]
    assert found[2].startswith(reason)
    assert found[3:] == [list(range(13)), 1, 13]
    scripts.run(TRAIN, "10", "20", "{}", code=0, **named)
    assert scripts.ask(READ) == [key, "completed", "", list(range(20)), 2, 23]
    assert Store.open(scripts.store).fsck().clean


def test_continued_task_goes_on_where_it_was_killed(scripts: Scripts) -> None:
    """By its id, or because it ran last; the iterations follow those that were reported."""
    with scripts.start(TRAIN, "0", "5", "{}", "wait") as script:
        key, _ = script.line(), script.line()
        script.signal(signal.SIGKILL)
        script.end(-9)
    scripts.run(TRAIN, "0", "5", f"dict(continue_last_task={key!r})")
    scripts.run(TRAIN, "0", "5", "dict(continue_last_task=True)")
    assert scripts.ask(READ) == [key, "completed", "", list(range(15)), 3, 15]


def test_users_own_handler_of_sigusr1_is_left_alone(scripts: Scripts) -> None:
    """Be it Python's, which saves a checkpoint and goes on, or faulthandler's, of which Python does not know."""
    for install in (
        "signal.signal(signal.SIGUSR1, lambda *_: print('saved', flush=True))",
        "import faulthandler; faulthandler.register(signal.SIGUSR1, sys.stdout)",
    ):
        source = f"""
            import os, signal, sys
            {install}
            from tracker import Task
            task = Task.init("journeys", "handler", reuse_last_task_id=False, {QUIET})
            os.kill(os.getpid(), signal.SIGUSR1)
            print("goes on")
            """
        ended = scripts.run(source, code=0, **SLURM)
        assert ended.out.splitlines()[-1] == "goes on"
        assert len(ended.out.splitlines()) > 1
    assert scripts.ask("answer = [t.status for t in Task.get_tasks()]") == ["completed"] * 2


def test_two_that_would_reuse_one_task_at_once_are_two(scripts: Scripts) -> None:
    """And more of them: one gets it, each of the others a task of its own, and all that any reports is kept."""
    scripts.run(TRAIN, "0", "1", "{}")
    source = """
import sys
from tracker import Task
print("ready", flush=True)
sys.stdin.readline()
""" + TRAIN.replace("sys.argv[1]", "'0'").replace("sys.argv[2]", "'50'").replace(
        "eval(sys.argv[3])", "{}"
    ).replace('print("trained", flush=True)', 'print("trained", flush=True)\nsys.stdin.readline()')
    with ExitStack() as stack:
        started = [stack.enter_context(scripts.start(source, stdin=subprocess.PIPE)) for _ in range(8)]
        for script in started:
            assert script.line() == "ready"
        for script in started:
            script.say("go")
        ids = [script.line() for script in started]
        for script in started:
            assert script.line() == "trained"
        for script in started:
            script.say("end")
            script.end()
    assert len(set(ids)) == 8
    found = scripts.ask(
        "answer = {t.id: len(t.get_reported_scalars()['loss']['train']['x']) for t in Task.get_tasks()}"
    )
    assert set(ids) <= found.keys()
    assert {found[key] for key in ids} == {50}
    assert len(found) <= 9
    assert not list(scripts.store.glob("cache/claims/*"))


ABORT = f"""
import subprocess, sys, time
from tracker import Task
task = Task.init("journeys", "long", {QUIET})
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])

def callback():
    task.get_logger().report_single_value("saved", 1)
    print("saved", flush=True)

task.register_abort_callback(callback)
print(task.id, child.pid, flush=True)
for n in range(600):
    task.get_logger().report_scalar("t", "s", float(n), n)
    time.sleep(0.1)
"""


@pytest.mark.parametrize(
    ("call", "status"),
    [
        ("mark_stop_request()", "stopped"),
        ("mark_stopped()", "stopped"),
        ("mark_failed()", "failed"),
        ("reset(force=True)", "created"),
    ],
)
def test_run_is_aborted_from_elsewhere(scripts: Scripts, call: str, status: str) -> None:
    """It calls its callback, ends with its child processes and exit code 1, and says so in its console."""
    with scripts.start(ABORT) as script:
        key, child = script.line().split()
        scripts.run(f"from tracker import Task\nTask.get_task({key!r}).{call}")
        ended = script.end(1, limit=30)
    assert "saved" in ended.out
    assert any("is aborted" in line for line in ended.warnings)
    for _ in range(100):  # it was killed, and is reaped by whoever inherits it
        if _is_gone(int(child)):
            break
        time.sleep(0.05)
    assert _is_gone(int(child))
    found = scripts.ask(
        "t, = Task.get_tasks(); answer = [t.status, t.get_reported_single_values(), t.get_reported_console_output(1)]"
    )
    assert found[0] == status
    if status != "created":
        assert found[1] == {"saved": 1.0}
        assert found[2][0].startswith("### TASK STOPPED - USER ABORTED - ")


def _is_gone(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_callback_that_hangs_does_not_keep_the_run(scripts: Scripts) -> None:
    """It has its time; then the run ends without it."""
    source = ABORT.replace(
        "task.register_abort_callback(callback)", "task.register_abort_callback(lambda: time.sleep(600), 0.2)"
    )
    with scripts.start(source) as script:
        key, _ = script.line().split()
        scripts.run(f"from tracker import Task\nTask.get_task({key!r}).mark_stop_request()")
        ended = script.end(1, limit=30)
    assert any("the abort callback took over 0.2 s" in line for line in ended.warnings)
    assert scripts.ask("answer = [t.status for t in Task.get_tasks()]") == ["stopped"]


def test_ranks_of_a_launch_continue_a_named_task(scripts: Scripts) -> None:
    """All of them, whatever their launcher calls the job; the first one decides the status."""
    key = scripts.run(TRAIN, "0", "5", "{}").out.splitlines()[0]
    for rank in ("1", "0"):
        launch = {"TORCHELASTIC_RUN_ID": "job", "MASTER_ADDR": "a", "MASTER_PORT": "1", "RANK": rank}
        ended = scripts.run(
            TRAIN, "0", "5", f"dict(continue_last_task=5, reuse_last_task_id={key!r})", code=0, **launch
        )
        assert ended.out.splitlines()[0] == key
    found = scripts.ask(READ)
    assert (found[0], found[1], found[3], found[5]) == (key, "completed", list(range(10)), 15)


def test_restore_brings_an_earlier_attempt_back(scripts: Scripts) -> None:
    """By the command line: `tracker log` lists the commits, `tracker restore TASK COMMIT` goes back to one."""
    key = scripts.run(TRAIN, "0", "5", "{}").out.splitlines()[0]
    scripts.run(TRAIN, "7", "9", "{}")
    assert scripts.ask(READ)[3] == [7, 8]

    def tracker(*arguments: str) -> str:
        command = f"import sys; from tracker.cli.main import main; sys.exit(main({list(arguments)!r}))"
        ended = scripts.run(command)
        return ended.out + ended.err

    commits = [step["commit"] for step in json.loads(tracker("log", key[:8], "--json"))["commits"]]
    assert len(commits) == 2
    assert f"as it was at {commits[1][:12]}" in tracker("restore", key[:8], commits[1][:10])
    assert scripts.ask(READ) == [key, "completed", "", list(range(5)), 1, 7]
    assert len(json.loads(tracker("log", key[:8], "--json"))["commits"]) == 3
