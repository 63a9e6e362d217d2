"""How a process ends decides the status of its run, and recording never changes how it ends. Real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.scripts import QUIET, Ended, Scripts

BEGIN = """
import atexit, os, signal, sys, time
from contextlib import suppress
from tracker import Task
task = Task.init("exits", {name!r}, auto_connect_frameworks={{"detect_repository": False}})
task.get_logger().report_scalar("loss", "train", 0.5, 1)
"""
WAIT = "print('ready'); time.sleep(60)"


@dataclass(frozen=True)
class Case:
    """A script's end: its exit code, and what the task is to say of it. `send`: signals it gets once it is ready."""

    name: str
    source: str
    code: int
    status: str
    reason: str = ""
    message: str = ""
    send: tuple[signal.Signals, ...] = ()
    before: str = ""


CASES = [
    Case("normal end", "", 0, "completed"),
    Case(
        "exception",
        "raise RuntimeError('no data')",
        1,
        "failed",
        "Exception RuntimeError",
        "RuntimeError: no data",
    ),
    Case("exception after close", "task.close(); raise RuntimeError('late')", 1, "completed"),
    Case("sys.exit()", "sys.exit()", 0, "completed"),
    Case("sys.exit(0)", "sys.exit(0)", 0, "completed"),
    Case("sys.exit(3)", "sys.exit(3)", 3, "failed", "exit code 3", "sys.exit(3)"),
    Case("sys.exit(text)", "sys.exit('no GPU')", 1, "failed", "exit code 1", "no GPU"),
    Case("sys.exit(empty)", "sys.exit('')", 1, "failed", "exit code 1"),
    Case(
        "deep exit", "def f():\n    def g():\n        sys.exit(4)\n    g()\nf()", 4, "failed", "exit code 4"
    ),
    Case(
        "exit in finally",
        "try:\n    sys.exit(5)\nfinally:\n    print('cleaning')",
        5,
        "failed",
        "exit code 5",
    ),
    Case("caught exit", "try:\n    sys.exit(3)\nexcept SystemExit:\n    pass\nprint('on')", 0, "completed"),
    Case("suppressed exit", "with suppress(SystemExit):\n    sys.exit(3)\nprint('on')", 0, "completed"),
    Case(
        "exit caught in a function",
        "def f():\n    try:\n        sys.exit(3)\n    except SystemExit:\n        return 1\nf()\nprint('on')",
        0,
        "completed",
    ),
    Case(
        "caught, then another",
        "try:\n    sys.exit(3)\nexcept SystemExit:\n    pass\nsys.exit(6)",
        6,
        "failed",
        "exit code 6",
    ),
    Case("KeyboardInterrupt", "raise KeyboardInterrupt", -2, "stopped", "interrupted: SIGINT"),
    Case("SIGINT", WAIT, -2, "stopped", "interrupted: SIGINT", send=(signal.SIGINT,)),
    Case("SIGTERM", WAIT, -15, "stopped", "Signal SIGTERM", send=(signal.SIGTERM,)),
    Case(
        "SIGTERM with a handler before init",
        WAIT,
        7,
        "stopped",
        "Signal SIGTERM",
        send=(signal.SIGTERM,),
        before="import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: (print('saving'), sys.exit(7)))\n",
    ),
    Case(
        "SIGTERM with a handler after init",
        f"signal.signal(signal.SIGTERM, lambda *_: (print('saving'), sys.exit(7)))\n{WAIT}",
        7,
        "failed",
        "exit code 7",
        send=(signal.SIGTERM,),
    ),
    Case(
        "SIGTERM ignored",
        "print('ready')\ntime.sleep(0.5)",
        0,
        "completed",
        send=(signal.SIGTERM,),
        before="import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n",
    ),
    Case("os._exit", "os._exit(9)", 9, "stopped", "aborted: "),
    Case("os.abort", "os.abort()", -6, "stopped", "aborted: "),
    Case("kill -9", WAIT, -9, "stopped", "aborted: ", send=(signal.SIGKILL,)),
    Case(
        "mark_failed",
        "task.mark_failed(status_reason='diverged', status_message='nan')",
        0,
        "failed",
        "diverged",
        "nan",
    ),
]


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Scripts:
    """One store for all cases."""
    return Scripts(tmp_path_factory.mktemp("exits"))


@pytest.fixture(scope="module")
def ended(scripts: Scripts) -> dict[str, Ended]:
    """All cases, run to their ends, a few at a time."""

    def run(case: Case) -> Ended:
        with scripts.start(case.before + BEGIN.format(name=case.name) + case.source) as script:
            if case.send:
                while script.line() != "ready":
                    pass
                for number in case.send:
                    script.signal(number)
            return script.end(None)

    with ThreadPoolExecutor(3) as pool:
        return dict(zip((case.name for case in CASES), pool.map(run, CASES), strict=True))


@pytest.fixture(scope="module")
def found(scripts: Scripts, ended: dict[str, Ended]) -> dict[str, Any]:
    """What a new process then finds of each task."""
    return dict(
        scripts.ask(
            """
            tasks = Task.get_tasks(project_name="exits")
            answer = {
                t.name: [t.status, t._state.get("status_reason"), t.get_status_message()[1],
                         t.get_reported_scalars()["loss"]["train"]["y"]]
                for t in tasks
            }
            """
        )
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_exit_code_is_the_scripts_own(case: Case, ended: dict[str, Ended]) -> None:
    """With its output: the traceback of an exception, the text of sys.exit, and nothing about threads or hooks."""
    result = ended[case.name]
    assert result.code == case.code, result.err
    assert result.warnings == []
    assert "Exception ignored" not in result.err
    assert ("Traceback" in result.err) == (case.name.startswith(("exception", "Keyboard", "SIGINT")))
    if case.name == "sys.exit(text)":
        assert "no GPU" in result.err.splitlines()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_status_follows_the_exit(case: Case, found: dict[str, Any]) -> None:
    """The status, its reason and message; and what was reported before is there in any case."""
    status, reason, message, values = found[case.name]
    assert status == case.status
    assert values == [0.5]
    if case.reason.endswith(": "):
        assert reason.startswith(case.reason)
    else:
        assert (reason or "") == case.reason
    assert case.message in message


def test_nothing_is_left_of_a_run_that_closed(scripts: Scripts, found: dict[str, Any]) -> None:
    """Journals stay only of those that could not close: they are sealed, and kept for a day."""
    assert len(found) == len(CASES)
    aborted = [case for case in CASES if case.reason == "aborted: "]
    assert len(list(scripts.store.glob("live/*/*"))) == len(aborted)


CLOSED = """
import builtins, os, signal, sys, threading, logging, argparse
before = lambda: [sys.excepthook, sys.exit, sys.stdout, sys.stderr, sys.stdout.write, threading.excepthook,
                  signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT), sys.meta_path[:],
                  argparse.ArgumentParser.parse_known_args, logging.Handler.handle, list(logging.root.handlers),
                  builtins.print, builtins.__import__, os.fork, os._exit, dict(os.environ)]
from tracker import Task
first = before()
for _ in range(2):
    task = Task.init("exits", "hooks")
    during = before()
    task.close()
    assert Task.current_task() is None
after = before()
print([i for i, (a, b) in enumerate(zip(first, after)) if a is not b and a != b])
print([i for i in (0, 1, 6, -1) if first[i] == during[i]])
print([t.name for t in threading.enumerate() if t.name != "tracker-heartbeat"])
"""


def test_close_puts_back_the_very_objects_that_were_there(tmp_path: Path) -> None:
    """Hooks, streams, signal handlers, variables: the same by identity, also after a second run."""
    scripts = Scripts(tmp_path)
    changed, untouched, threads = scripts.run(CLOSED).out.splitlines()
    assert changed == "[]"
    assert untouched == "[]"  # while it ran, they were others: else this test could not fail
    assert threads == "['MainThread']"


def test_close_leaves_a_hook_alone_that_somebody_put_on_top(tmp_path: Path) -> None:
    """A library that hooked in later keeps working, and so does what it calls."""
    out = Scripts(tmp_path).run(
        """
        import sys, signal
        from tracker import Task
        task = Task.init("exits", "on top", auto_connect_streams=False)
        ours = sys.excepthook
        theirs = lambda *args: (print("theirs"), ours(*args))
        sys.excepthook = theirs
        handler = lambda *_: None
        signal.signal(signal.SIGTERM, handler)
        task.close()
        print(sys.excepthook is theirs, signal.getsignal(signal.SIGTERM) is handler)
        raise ValueError("after")
        """,
        code=1,
    )
    assert out.out.splitlines() == ["True True", "theirs"]
    assert "ValueError: after" in out.err


def test_second_interrupt_leaves_at_once(tmp_path: Path) -> None:
    """While closing waits for something, Ctrl-C ends it; the next process seals what is left, with the right status."""
    scripts = Scripts(tmp_path)
    source = """
        import time
        from tracker import Task, seal
        task = Task.init("exits", "impatient", auto_connect_streams=False)
        def slow(*_, **__):
            print("closing")
            time.sleep(60)
        seal.seal = slow
        print("ready")
        time.sleep(60)
        """
    with scripts.start(source) as script:
        assert script.line() == "ready"
        script.signal(signal.SIGINT)
        assert script.line() == "closing"
        began = time.monotonic()
        script.signal(signal.SIGINT)
        result = script.end(-2)
    assert time.monotonic() - began < 5
    assert [line for line in result.warnings if "interrupted while closing" in line] == result.warnings != []
    assert scripts.ask("answer = [t.status for t in Task.get_tasks()]") == ["stopped"]


def test_closing_waits_no_longer_than_it_may(tmp_path: Path) -> None:
    """A store that hangs costs `close_timeout` seconds and one warning, not the script's exit code."""
    scripts = Scripts(tmp_path, TRACKER_CLOSE_TIMEOUT="0.3")
    result = scripts.run(
        """
        import time
        from tracker import Task, seal
        task = Task.init("exits", "hanging", auto_connect_streams=False)
        seal.seal = lambda *_, **__: time.sleep(60)
        began = time.monotonic()
        task.close()
        print(time.monotonic() - began < 5)
        """
    )
    assert result.out.splitlines()[-1] == "True"
    assert [line for line in result.warnings if "took too long" in line] == result.warnings != []
    assert scripts.ask("answer = [t.status for t in Task.get_tasks()]") == ["completed"]


def test_pools_workers_are_no_end_of_the_run(tmp_path: Path) -> None:
    """A pool ends its forked workers with SIGTERM: that stops them, not the run; nor does a child's own close."""
    scripts = Scripts(tmp_path)
    result = scripts.run(
        """
        import multiprocessing as mp, os, signal, sys, time
        from tracker import Task
        task = Task.init("exits", "pool", auto_connect_streams=False)
        context = mp.get_context("fork")
        def work(i):
            Task.current_task().get_logger().report_scalar("t", f"worker {i}", 1.0, i)
            return i
        with context.Pool(2) as pool:
            assert pool.map(work, range(4)) == [0, 1, 2, 3]
        killed = context.Process(target=time.sleep, args=(60,))
        killed.start(); killed.terminate(); killed.join()
        closing = context.Process(target=task.close)
        closing.start(); closing.join()
        leaving = context.Process(target=sys.exit, args=(3,))
        leaving.start(); leaving.join()
        other = Task.get_tasks()[0]
        print(killed.exitcode, closing.exitcode, leaving.exitcode, Task.current_task() is task)
        print(Task.get_task(task_id=task.id).workspace.thing(task.id).state.get("status"))
        """
    )
    assert result.out.splitlines() == ["-15 0 3 True", "in_progress"]
    assert scripts.ask(
        "t = Task.get_tasks()[0]; answer = [t.status, sorted(t.get_reported_scalars()['t'])]"
    ) == ["completed", [f"worker {i}" for i in range(4)]]


def test_error_at_a_prompt_is_not_the_end(tmp_path: Path) -> None:
    """In an interactive session a mistyped line changes nothing: the run completes when the session does."""
    scripts = Scripts(tmp_path)
    lines = f"""
        from tracker import Task
        task = Task.init("exits", "prompt", {QUIET})
        undefined
        task.get_logger().report_scalar("t", "s", 1.0, 1)
        """
    result = subprocess.run(
        [sys.executable, "-q", "-i", "-"],
        input=textwrap.dedent(lines),
        cwd=tmp_path,
        env={**os.environ, **scripts.environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "NameError" in result.stderr
    assert scripts.ask("answer = [[t.status, t.get_last_iteration()] for t in Task.get_tasks()]") == [
        ["completed", 1]
    ]


def test_run_may_begin_and_end_in_a_thread(tmp_path: Path) -> None:
    """Only the main thread may handle signals; elsewhere they are left as they are."""
    scripts = Scripts(tmp_path)
    result = scripts.run(
        f"""
        import signal, threading
        from tracker import Task
        before = signal.getsignal(signal.SIGTERM)
        def work(close):
            task = Task.init("exits", f"thread {{close}}", {QUIET})
            task.get_logger().report_scalar("t", "s", 1.0, 1)
            if close:
                task.close()
        for close in (True, False):
            thread = threading.Thread(target=work, args=(close,))
            thread.start()
            thread.join()
        print(signal.getsignal(signal.SIGTERM) is before)
        """
    )
    assert result.out == "True\n"
    assert result.warnings == []
    assert scripts.ask("answer = [t.status for t in Task.get_tasks()]") == ["completed"] * 2
