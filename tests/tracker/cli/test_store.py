"""`tracker init` and `recover`, by real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.commands import Cli

RUN = """
import sys
from tracker import Task
task = Task.init("lost runs", sys.argv[1])
task.get_logger().report_scalar("loss", "train", 1.0, iteration=3)
print(task.id, flush=True)
sys.stdin.read()
"""


def test_init_makes_a_store_in_the_git_root_else_here(cli: Cli) -> None:
    """And leaves one that is there alone."""
    (cli.folder / "repo/.git").mkdir(parents=True)
    (cli.folder / "repo/src").mkdir()
    assert cli.at(cli.folder / "repo/src")("init").code == 0
    assert (cli.folder / "repo/.tracker/format").is_file()
    done = cli("init", "new/place", "--json").json
    assert done == {"schema": "tracker.init/1", "store": "new/place/.tracker", "created": True}
    again = cli("init", "new/place")
    assert (again.code, again.err) == (0, "new/place/.tracker is there already\n")
    assert cli("init", "--store", "odd-name").code == 0
    assert (cli.folder / "odd-name/format").is_file()


def start(cli: Cli, name: str, **changes: str) -> tuple[subprocess.Popen[str], str]:
    """A run that waits for its stdin to be closed; its process and its task's id."""
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, name],
        cwd=cli.folder,
        env=cli.environment(**changes),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL, as a cluster does it."""
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_a_running_task_is_shown_as_it_stands(cli: Cli) -> None:
    """Its journal is folded in memory; nothing is sealed, and nothing is pushed."""
    process, key = start(cli, "still going")
    try:
        (task,) = cli("ls", "--json").json["tasks"]
        assert (task["id"], task["status"]) == (key, "in_progress")
        assert task["metrics"]["loss/train"]["last"] == 1.0
        assert "still running" in cli("show", key).out
        (step,) = cli("log", key, "--json").json["commits"]
        assert (step["commit"], step["points"]) == (None, 1)
        assert "(not sealed)" in cli("log", key).out
        cli("remote", "add", "backup", "backup")
        done = cli("push")
        assert done.err == "pushed to backup: nothing new\n1 task still running: push again when done\n"
    finally:
        process.communicate("")
    assert cli("ls", "--json").json["tasks"][0]["status"] == "completed"


def test_a_killed_run_is_sealed_by_the_next_reader(cli: Cli) -> None:
    """Whichever command that is; `recover` says so when it is the one."""
    for read, name in ((["ls"], "first run"), (["recover"], "second run")):
        process, key = start(cli, name)
        kill(process)
        done = cli(*read)
        assert done.code == 0
        if read == ["recover"]:
            assert done.out == f"sealed   task {key}  second run  stopped\n"
        assert len(list((cli.folder / ".tracker").glob(f"refs/*/{key}.*"))) == 1
        task = cli("show", key, "--json").json["task"]
        assert task["status"] == "stopped"
        assert task["status_reason"].startswith("aborted: ")
    assert cli("recover").err == "nothing to recover\n"
    assert cli("recover", "--json").json == {
        "schema": "tracker.recover/1",
        "sealed": [],
        "aside": {},
        "adopted": [],
        "failed": {},
    }


@pytest.fixture
def refused(cli: Cli, tmp_path: Path) -> dict[str, str]:
    """A store that must not be written (a feature of the future), and where runs go instead."""
    cli("init", ".")
    forbid(tmp_path, ["future"])
    return {"XDG_STATE_HOME": str(tmp_path / "state")}


def forbid(folder: Path, features: list[str]) -> None:
    """Make the store one that only a program with these features may write. (To root every folder is writable.)"""
    path = folder / ".tracker/format"
    format_ = json.loads(path.read_bytes())
    format_["features"]["write"] = features
    path.write_text(json.dumps(format_))


def test_runs_recorded_beside_the_store_are_adopted(
    cli: Cli, refused: dict[str, str], tmp_path: Path
) -> None:
    """Once the store can be written again; what stood in for it is removed when all of it has arrived."""
    for total, name in enumerate(("homeless", "homeless again")):
        forbid(tmp_path, ["future"])
        process, key = start(cli, name, **refused)
        process.communicate("")
        assert cli("ls", "--json", **refused).json["total"] == total
        read_only = cli("recover", **refused)
        assert read_only.code == 1
        assert "nothing was recovered" in read_only.err

        forbid(tmp_path, [])
        done = cli("recover", **refused)
        assert (done.code, done.err) == (0, "")
        assert done.out == f"adopted  task {key}  {name}  completed\n"
        assert cli("show", key).code == 0
        assert list((tmp_path / "state/tracker").iterdir()) == []
    assert cli("fsck").code == 0


def test_a_stand_in_that_is_still_written_to_stays(cli: Cli, refused: dict[str, str], tmp_path: Path) -> None:
    """Nothing of a run that goes on is lost by recovering too early."""
    process, key = start(cli, "still going", **refused)
    forbid(tmp_path, [])
    early = cli("recover", "--json", **refused).json["adopted"]
    assert [(each["ids"], each["removed"]) for each in early] == [([], False)]
    assert early[0]["kept_because"] == "a run is still recorded there"
    process.communicate("")
    late = cli("recover", "--json", **refused).json["adopted"]
    assert [(each["ids"], each["removed"]) for each in late] == [([key], True)]


def test_a_run_that_was_killed_beside_the_store_is_adopted_as_aborted(
    cli: Cli, refused: dict[str, str], tmp_path: Path
) -> None:
    """Its journal stays for a day, as that of any killed run."""
    process, key = start(cli, "killed", **refused)
    kill(process)
    forbid(tmp_path, [])
    (adopted,) = cli("recover", "--json", **refused).json["adopted"]
    assert (adopted["ids"], adopted["removed"]) == ([key], False)
    assert cli("show", key, "--json").json["task"]["status"] == "stopped"
    (again,) = cli("recover", "--json", **refused).json["adopted"]
    assert again["ids"] == []
    assert os.path.isdir(again["store"])
