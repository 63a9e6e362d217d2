"""`tracker console`: what a run has printed, and prints while somebody watches."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import IO, TYPE_CHECKING

import pytest

from tests.tracker.cli.record_runs import HOSTILE_TEXT
from tracker.cli import render
from tracker.cli.console import Reel
from tracker.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.commands import Cli
    from tests.tracker.cli.conftest import Sample

# Prints what it is told, and says on the real stdout when that is recorded: nothing here waits for a time.
RUN = """
import os, sys
from tracker import Task, seal
task = Task.init("live", "run")
os.write(1, task.id.encode() + b"\\n")
for line in sys.stdin:
    if line == "seal\\n":
        seal.seal(task.workspace.store, task.id)
    else:
        print("said", line.strip())
        sys.stdout.flush()
    os.write(1, b"done\\n")
task.close()
"""
SECRET = "ghp_" + "a1B2c3D4e5" * 3 + "f6G7h8"


class Run:
    """A run in another process that prints what it is told."""

    def __init__(self, cli: Cli) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", RUN],
            cwd=cli.folder,
            env=cli.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.id = self._until(lambda line: len(line) == 32)

    def tell(self, text: str) -> None:
        """Have it print a line, or seal itself; returns once that is done."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{text}\n")
        self.process.stdin.flush()
        self._until(lambda line: line == "done")

    def _until(self, is_it: object) -> str:
        assert self.process.stdout is not None
        assert callable(is_it)
        for line in self.process.stdout:
            if is_it(line.strip()):
                return line.strip()
        raise AssertionError("the run has ended")

    def end(self) -> None:
        """Let it come to its end."""
        self.process.communicate(timeout=60)


@pytest.fixture
def run(cli: Cli) -> Iterator[Run]:
    """A run that goes on until it is ended, or the test."""
    made = Run(cli)
    yield made
    if made.process.poll() is None:
        made.process.kill()
        made.process.communicate()


def following(cli: Cli, key: str, *arguments: str) -> subprocess.Popen[str]:
    """`tracker console --follow` of a task."""
    return subprocess.Popen(
        cli.command("console", key, "--follow", *arguments),
        cwd=cli.folder,
        env=cli.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def line_of(process: subprocess.Popen[str]) -> str:
    """The next line that it prints."""
    stdout: IO[str] | None = process.stdout
    assert stdout is not None
    return stdout.readline()


def test_the_console_of_a_task_is_printed_whole_or_from_its_end(sample: Sample) -> None:
    """As lines, or as one document with times and streams."""
    best = sample.ids["best"]
    every = [f"epoch {step}" for step in range(12)]
    assert sample.cli("console", best).out.splitlines() == every
    assert sample.cli("console", best, "--tail", "2").out.splitlines() == every[-2:]
    assert sample.cli("console", best, "--tail", "0").out == ""
    found = sample.cli("console", best, "--tail", "1", "--json").json
    assert (found["schema"], found["id"], found["status"]) == ("tracker.console/1", best, "completed")
    assert [(line["stream"], line["text"]) for line in found["lines"]] == [("stdout", "epoch 11")]


def test_control_characters_are_spelled_out(sample: Sample) -> None:
    """As `show` has them; what is kept as several lines is several."""
    out = sample.cli("console", sample.ids["hostile"]).out
    assert out.splitlines() == [render.escape(line) for line in HOSTILE_TEXT.splitlines()]
    assert render.is_harmless(out)


def test_a_run_is_followed_from_another_process_until_it_ends(cli: Cli, run: Run) -> None:
    """Each line once and in order, whether a head or only a journal has it; and what was left out stays out."""
    run.tell("one")
    follower = following(cli, run.id[:8])
    assert line_of(follower) == "said one\n"
    for number in range(3):
        run.tell(f"{number} {SECRET}")
        line = line_of(follower)
        assert line.startswith(f"said {number} [redacted")
        assert SECRET not in line
        run.tell("seal")
    run.tell("last")
    run.end()
    rest, err = follower.communicate(timeout=60)
    assert (rest, err) == ("said last\n", f"task {run.id} is completed\n")
    assert follower.returncode == 0


def test_a_run_that_is_killed_is_followed_to_its_last_line(cli: Cli, run: Run) -> None:
    """Its journal is all there is."""
    run.tell("one")
    follower = following(cli, run.id, "--tail", "0")
    assert follower.stderr is not None
    reel = Reel(Workspace.open(cli.folder / ".tracker"), run.id)
    assert [line.text for line in reel.rest()] == ["said one"]
    assert reel.alive
    run.tell("two")
    run.process.kill()
    run.process.communicate()
    rest, err = follower.communicate(timeout=60)
    assert rest in ("said two\n", "")  # nothing, where it began to look only then
    assert err.startswith(f"task {run.id} is ")
    assert [line.text for line in (*reel.more(), *reel.rest())] == ["said two"]
    assert not reel.writing
    assert not reel.alive


def test_what_a_seal_takes_out_of_the_journal_is_found_in_the_head(cli: Cli, run: Run) -> None:
    """Whichever of the two is read, and when: no line is lost, and none comes twice."""
    reel = Reel(Workspace.open(cli.folder / ".tracker"), run.id)
    found: list[str] = []
    wanted = []
    for number in range(6):
        for part in range(3):
            run.tell(f"{number}.{part}")
            wanted.append(f"said {number}.{part}")
        if number % 2:
            found += [line.text for line in reel.more()]
        run.tell("seal")
        if number % 3 == 2:
            found += [line.text for line in reel.rest()]
    found += [line.text for line in reel.rest()]
    assert found == wanted


def test_ctrl_c_ends_it_with_130_and_one_line(cli: Cli, run: Run) -> None:
    """The run goes on."""
    run.tell("one")
    follower = following(cli, run.id)
    assert line_of(follower) == "said one\n"
    follower.send_signal(signal.SIGINT)
    _, err = follower.communicate(timeout=60)
    assert (follower.returncode, err) == (130, "tracker: interrupted\n")
    assert run.process.poll() is None


def test_it_ends_in_silence_when_nobody_reads_any_more(cli: Cli, run: Run) -> None:
    """Though the run prints nothing more: it does not wait for a line to find out."""
    run.tell("one")
    follower = following(cli, run.id)
    assert line_of(follower) == "said one\n"
    assert follower.stdout is not None
    follower.stdout.close()
    assert follower.wait(timeout=60) == 0
    assert follower.stderr is not None
    with follower.stderr:
        assert follower.stderr.read() == ""
    assert run.process.poll() is None
