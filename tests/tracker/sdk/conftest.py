"""A running task in this very process, and the same task as a reader finds it."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tracker import Task
from tracker.sdk import current

Start = Callable[..., Task]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts tasks in a store of the test's own, without captures; the last one is closed in the end."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(current, "_inits", 0)

    def begin(project: str | None = "sdk", name: str | None = "run", **options: Any) -> Task:
        quiet: dict[str, Any] = {
            "auto_connect_frameworks": {"detect_repository": False},
            "auto_connect_streams": False,
        }
        return Task.init(project, name, auto_connect_arg_parser=False, **{**quiet, **options})

    yield begin
    task = current.get()
    if task is not None:
        task.close()


@pytest.fixture
def task(start: Start) -> Task:
    """A running task."""
    return start()


@pytest.fixture
def reopened(tmp_path: Path) -> Callable[[Task], Task]:
    """Closes a running task and gives it back as it is read from the store."""

    def reopen(task: Task) -> Task:
        task.close()
        found = Task.get_task(task_id=task.id)
        assert found is not None
        return found

    return reopen


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """What the library said since it was last asked, less the line that names a task."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "__stderr__", stream)

    def lines() -> list[str]:
        text = stream.getvalue()
        stream.seek(0)
        stream.truncate()
        return [line for line in text.splitlines() if "task id=" not in line]

    return lines
