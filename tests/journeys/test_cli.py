"""A week with the command line: runs on two machines that share a folder, by nothing but scripts and commands."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TRAIN = """
import argparse
from pathlib import Path
from tracker import Task
from tracker.sdk.models import OutputModel

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1)
args = parser.parse_args()
task = Task.init("journey", f"lr {args.lr:g}", tags=["journey"])
for step in range(5):
    task.get_logger().report_scalar("loss", "train", args.lr / (step + 1), iteration=step)
task.get_logger().report_single_value("score", 1 - args.lr)
task.upload_artifact("settings", {"lr": args.lr})
Path("model.bin").write_bytes(f"weights of {args.lr}".encode() * 100)
OutputModel(task=task).update_weights("model.bin")
task.close()
"""


class Machine:
    """Somebody's working folder."""

    def __init__(self, folder: Path, checkout: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        left_out = ("COLUMNS", "FORCE_COLOR", "NO_COLOR", "PYTHONDONTWRITEBYTECODE")
        self._environment = {k: v for k, v in os.environ.items() if k not in left_out} | {
            "PYTHONPATH": str(checkout)
        }
        (folder / "train.py").write_text(TRAIN)

    def tracker(self, *arguments: str) -> str:
        """Run a command that has to work; what it printed on stdout."""
        return self._run("-m", "tracker", *arguments)

    def ask(self, *arguments: str) -> Any:
        """The JSON that a command answers with."""
        return json.loads(self.tracker(*arguments, "--json"))

    def train(self, lr: float) -> None:
        """A run."""
        self._run("train.py", "--lr", str(lr))

    def names(self) -> set[str]:
        """The names of the runs that are known here."""
        return {task["name"] for task in self.ask("ls")["tasks"]}

    def _run(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{arguments}: {done.stderr}"
        return done.stdout


@pytest.fixture
def desk(tmp_path: Path, checkout: Path) -> Machine:
    """A machine with an empty folder."""
    return Machine(tmp_path / "desk", checkout)


def test_runs_are_read_compared_fetched_shared_and_checked(
    desk: Machine, tmp_path: Path, checkout: Path
) -> None:
    """Two machines that push to and pull from one folder end up with the same runs and the same bytes."""
    desk.tracker("init", ".")
    for lr in (0.5, 0.1):
        desk.train(lr)
    best, worst = desk.ask("ls", "--sort", "-score")["tasks"]
    assert (best["name"], best["singles"], best["params"]["Args/lr"]) == ("lr 0.1", {"score": 0.9}, "0.1")
    assert desk.ask("diff", best["id"][:8], worst["id"][:8])["params"] == {
        "Args/lr": {"left": "0.1", "right": "0.5"}
    }
    assert "lr 0.1  completed" in desk.tracker("show", best["id"][:8])
    model = desk.ask("show", best["id"])["task"]["models"]["output"][0]["hash"]
    desk.tracker("get", model[:12], "-o", "fetched.bin")
    assert (desk.folder / "fetched.bin").read_bytes() == b"weights of 0.1" * 100

    desk.tracker("remote", "add", "share", "../share")
    desk.tracker("push")
    desk.tracker("clone", "../share", "../laptop")
    laptop = Machine(tmp_path / "laptop", checkout)
    assert laptop.ask("fsck")["clean"] is True
    laptop.tracker("get", f"{best['id'][:8]}:model", "-o", "fetched.bin")
    assert (laptop.folder / "fetched.bin").read_bytes() == b"weights of 0.1" * 100

    laptop.train(0.2)
    desk.train(0.3)
    laptop.tracker("push")
    desk.tracker("pull")
    desk.tracker("push")
    laptop.tracker("pull")
    assert desk.names() == laptop.names() == {"lr 0.5", "lr 0.1", "lr 0.2", "lr 0.3"}
    assert desk.ask("ls", "--sort", "name") == laptop.ask("ls", "--sort", "name")
    for store in (".tracker", "../share"):
        assert desk.ask("fsck", "--store", store)["clean"] is True


def test_stores_whose_files_are_copied_together_show_the_runs_of_both(
    desk: Machine, tmp_path: Path, checkout: Path
) -> None:
    """Any copier will do: a store that was copied whole works, and so does the union of two."""
    other = Machine(tmp_path / "other", checkout)
    desk.train(0.5)
    other.train(0.1)
    shutil.copytree(desk.folder / ".tracker", tmp_path / "copy" / ".tracker")
    copy = Machine(tmp_path / "copy", checkout)
    assert copy.names() == {"lr 0.5"}
    for part in ("packs", "refs", "refs.packed"):
        shutil.copytree(other.folder / ".tracker" / part, copy.folder / ".tracker" / part, dirs_exist_ok=True)
    assert copy.names() == {"lr 0.5", "lr 0.1"}
    assert copy.ask("fsck")["clean"] is True
    found = copy.ask("ls", "--sort", "-score", "--limit", "1")["tasks"][0]["id"]
    copy.tracker("get", f"{found}:model", "-o", "fetched.bin")
    assert (copy.folder / "fetched.bin").read_bytes() == b"weights of 0.1" * 100
