"""Users' code under mypy --strict: right use passes with the types that were promised, wrong use is reported."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

pytest.importorskip("mypy")

pytestmark = pytest.mark.slow

WRONG = {
    'Task.init(project="examples")': "call-arg",
    'Task.init("examples", 7)': "arg-type",
    'Task.init("examples", "name", tags=5)': "arg-type",
    "Task.init(reuse_last_task_id=1.5)": "arg-type",
    'Task.get_task(project_name="examples").close()': "union-attr",
    'Task.task_get(task_id="1")': "attr-defined",
    "Task.current_task().get_logger()": "union-attr",
    'TASK.get_logger().report_scalar("loss", "train", "high", 1)': "arg-type",
    'TASK.get_logger().report_scaler("loss", "train", 1.0, 1)': "attr-defined",
    'TASK.id = "other"': "misc",
    'TASK.models["output"][-1].get_local_cpy()': "attr-defined",
    'OutputModel(task="id")': "arg-type",
    "Model.query_models(tags=3)": "arg-type",
    'tracker.query("", limit="ten")': "arg-type",
    "StorageManager.exists_file(5)": "arg-type",
    "late: int = TASK.get_parameters()": "assignment",
}


def checked(folder: Path, checkout: Path, source: str) -> list[str]:
    """What mypy --strict says of a user's file, as it does of an installed package that ships its types."""
    place = folder / "site-packages"
    place.mkdir()
    for package in ("tracker", "objstore"):
        shutil.copytree(checkout / package, place / package, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "mine.py").write_text(source, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--follow-imports=silent"]
    done = subprocess.run(
        [*command, "--cache-dir", str(folder / "cache"), "--python-version", "3.10", "mine.py"],
        cwd=folder,
        env={**os.environ, "MYPYPATH": str(place)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.stderr, done.stderr
    return done.stdout.splitlines()


def test_the_types_ship() -> None:
    """Without the marker a type checker takes every name of a package for Any."""
    assert all(files(package).joinpath("py.typed").is_file() for package in ("tracker", "objstore"))


def test_a_users_script_passes_and_its_mistakes_are_reported(tmp_path: Path, checkout: Path) -> None:
    """One run for both: the script's lines are silent, each wrong line after them has its own error and no other."""
    script = (checkout / "tests" / "typing" / "training.py").read_text(encoding="utf-8")
    lines = "\n".join(f"{line}" for line in WRONG)
    source = f"{script}\n\nTASK = record()\n{lines}\n"
    first = len(source.splitlines()) - len(WRONG) + 1
    found: dict[int, list[str]] = {}
    for line in checked(tmp_path, checkout, source):
        if match := re.fullmatch(r"mine\.py:(\d+): error: (.*)  \[([\w-]+)\]", line):
            found.setdefault(int(match[1]), []).append(match[3])
        else:
            assert ": note:" in line, line
    assert found == {first + number: [code] for number, code in enumerate(WRONG.values())}
