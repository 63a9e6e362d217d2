"""Scripts that import clearml run unchanged, in real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

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
        ("import clearml.storage.helper", "clearml.storage is not here"),
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
