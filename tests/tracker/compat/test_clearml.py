"""Scripts that import clearml run unchanged, in real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tracker import Task

SCRIPT = """
import argparse, subprocess, sys
from clearml import Logger, OutputModel, Task
from clearml.binding.frameworks.pytorch_bind import PatchPyTorchModelIO
from clearml.binding.matplotlib_bind import PatchedMatplotlib
import clearml

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.5)
args = parser.parse_args()
task = Task.init(project_name="compat", task_name="script", auto_connect_frameworks={"detect_repository": False})
PatchPyTorchModelIO.update_current_task(None)
PatchedMatplotlib.update_current_task(None)
Logger.current_logger().report_scalar("loss", "train", value=args.lr, iteration=1)
subprocess.run([sys.executable, "-c", "import clearml, tracker; assert clearml.Task is tracker.Task"], check=True)
print(clearml.__file__, clearml.__version__)
sys.exit(3 if args.lr > 1 else 0)
"""


def tracker(folder: Path, checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command in a folder."""
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    command = [sys.executable, "-m", "tracker", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=100, check=False
    )


def test_a_script_runs_unchanged_with_its_arguments(tmp_path: Path, checkout: Path) -> None:
    """Its child processes, too; the exit code is its own."""
    (tmp_path / "train.py").write_text(SCRIPT)
    done = tracker(tmp_path, checkout, "run", "--clearml", "train.py", "--lr", "0.1")
    assert (done.returncode, done.stdout.split()[-1]) == (0, "2.1.12"), done.stderr
    (row,) = json.loads(tracker(tmp_path, checkout, "ls", "--json").stdout)["tasks"]
    assert (row["name"], row["params"], row["status"]) == ("script", {"Args/lr": "0.1"}, "completed")
    assert row["metrics"]["loss/train"]["last"] == 0.1
    assert tracker(tmp_path, checkout, "run", "--clearml", "train.py", "--lr", "2").returncode == 3


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("from clearml import browser_login", "clearml.browser_login is not here"),
        ("import clearml.storage.helper", "clearml.storage.helper is not here"),
        ("from clearml.task_parameters import nothing", "TaskParameters"),
        ("from clearml.binding.frameworks import nothing", "OutputModel.update_weights"),
    ],
)
def test_a_name_that_is_not_here_says_what_is(tmp_path: Path, checkout: Path, line: str, said: str) -> None:
    """By an ImportError, which scripts expect of an import."""
    code = f"import tracker.compat.clearml\ntry:\n    {line}\nexcept ImportError as error:\n    print(error)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(checkout)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert said in done.stdout


def test_another_clearml_that_is_loaded_is_not_pushed_aside(tmp_path: Path, checkout: Path) -> None:
    """Two of a name in one process would each have half of the script."""
    (tmp_path / "clearml.py").write_text("Task = None")
    code = "import clearml\ntry:\n    import tracker.compat.clearml\nexcept ImportError as error:\n    print(error)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{checkout}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "before it" in done.stdout


def clearml_task(folder: Path, checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """ClearML's command in a folder."""
    return tracker(folder, checkout, "run", "--clearml", "clearml-task", *arguments)


def test_clearml_task_makes_a_draft(tmp_path: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all that it is to run and to need; it runs nothing, and can be run."""
    (tmp_path / "train.py").write_text(SCRIPT)
    (tmp_path / "needs.txt").write_text("tqdm>=4\n")
    (tmp_path / "setup.sh").write_text("apt-get update\n")
    done = clearml_task(
        tmp_path,
        checkout,
        *("--project", "compat", "--name", "draft", "--script", "train.py", "--task-type", "testing"),
        *("--args", "lr=0.25", "--tags", "one", "two", "--requirements", "needs.txt"),
        *("--docker", "python:3.12", "--docker_args", "-e A=1", "--docker_bash_setup_script", "setup.sh"),
        "--skip-repo-detection",
    )
    assert done.returncode == 0, done.stderr
    key = done.stdout.split()[1]
    monkeypatch.chdir(tmp_path)
    task = Task.get_task(task_id=key)
    assert task is not None
    assert (task.status, task.name, task.task_type, task.get_tags()) == (
        "created",
        "draft",
        "testing",
        ["one", "two"],
    )
    assert task.get_parameters() == {"Args/lr": "0.25"}
    assert task.get_script()["entry_point"] == "train.py"
    assert task.export_task()["container"] == {
        "image": "python:3.12",
        "arguments": "-e A=1",
        "setup_shell_script": "apt-get update\n",
    }
    assert "tqdm>=4" in str(task.get_requirements()["pip"])
    monkeypatch.setenv("TRACKER_RUN_TASK", key)
    assert tracker(tmp_path, checkout, "run", "--clearml", "train.py").returncode == 0
    assert task.get_reported_scalars()["loss"]["train"]["y"] == [0.25]


def test_clearml_task_takes_a_session_in(
    tmp_path: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `tracker import clearml` does."""
    sample = checkout / "tests" / "tracker" / "sessions" / "clearml-offline-sample.zip"
    done = clearml_task(tmp_path, checkout, "--import-offline-session", str(sample))
    assert done.returncode == 0, done.stderr
    monkeypatch.chdir(tmp_path)
    assert [task.id for task in Task.get_tasks()] == [done.stdout.split()[-1]]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--project", "compat", "--name", "d", "--script", "x.py", "--queue", "gpu"), "queues are not here"),
        (("--project", "compat", "--script", "x.py"), "--name"),
        (("--project", "compat", "--name", "draft"), "--script"),
        (("--name", "draft", "--script", "x.py"), "project"),
        (("--project", "compat", "--name", "draft", "--script", "x.py", "--args", "lr"), "NAME=VALUE"),
        (
            ("--project", "compat", "--name", "draft", "--script", "x", "--repo", "r", "--folder", "f"),
            "both",
        ),
        (("--import-offline-session", "gone.zip"), "there is no"),
    ],
)
def test_clearml_task_says_what_it_lacks(
    tmp_path: Path, checkout: Path, arguments: tuple[str, ...], said: str
) -> None:
    """In one line, and no draft is made."""
    done = clearml_task(tmp_path, checkout, *arguments)
    assert done.returncode == 2
    assert said in done.stderr.splitlines()[-1]
    assert json.loads(tracker(tmp_path, checkout, "ls", "--json").stdout or '{"tasks": []}')["tasks"] == []
