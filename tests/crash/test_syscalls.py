"""A store survives every fault of every system call that changes it: put, collect, tidy, killed or refused by strace.

What had returned before is there, what had not is wholly there or not at all, fsck is clean, and doing it again works.
`make faults` tries every call; `make test` a sample of them, drawn by a seed.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DRIVER = Path(__file__).parent / "driver.py"
OPERATIONS = ["put", "gc", "tidy"]
REFUSALS = ["EIO", "ENOSPC", "EDQUOT"]


def cases(folder: Path, operation: str, fault: str, how_many: str) -> list[dict[str, Any]]:
    """What became of each fault."""
    if sys.platform != "linux" or shutil.which("strace") is None:
        pytest.skip("strace is not here")
    done = subprocess.run(
        [sys.executable, str(DRIVER), str(folder), operation, fault, how_many],
        capture_output=True,
        text=True,
        check=False,
    )
    if "no tracing" in done.stderr:
        pytest.skip(f"nothing can be traced here: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    first, *found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == first["cases"] > 0
    return found


def check(found: list[dict[str, Any]], fault: str) -> None:
    """Nothing wrong after any of them, and a clear end each time."""
    for each in found:
        said = f"{fault} at {each['call']} number {each['number']}: {each}"
        assert each["wrong"] == [], said
        assert (each["again"], each["then"]) == ("done", []), said
        if fault == "KILL":
            assert each["status"] == -9, said
        else:
            assert each["status"] == 0, said
            assert each["told"].startswith(("done", "error: ")), said
    if fault == "KILL":
        assert all(each["told"] == "" for each in found)
    elif len(found) > 10:
        assert any(each["told"].startswith("error: ") for each in found)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_kill_at_some_calls_loses_nothing(tmp_path: Path, operation: str) -> None:
    """A sample of all the calls that change something."""
    check(cases(tmp_path, operation, "KILL", "8"), "KILL")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_disk_that_refuses_some_calls_loses_nothing(tmp_path: Path, operation: str) -> None:
    """A sample; the caller is told, or the work was none that mattered."""
    check(cases(tmp_path, operation, "EIO", "5"), "EIO")


@pytest.mark.exhaustive
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("fault", ["KILL", *REFUSALS])
def test_a_fault_at_every_call_loses_nothing(tmp_path: Path, operation: str, fault: str) -> None:
    """Each call that changes something, one after another."""
    check(cases(tmp_path, operation, fault, "all"), fault)
