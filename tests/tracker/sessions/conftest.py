"""An empty store, ClearML's own sample of an offline session, and zips that tests make."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tracker.workspace import Workspace

SAMPLE = Path(__file__).parent / "clearml-offline-sample.zip"
OFFLINE_ID = "offline-" + "ab" * 16
Made = Callable[..., Path]


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """An empty store in the working folder."""
    monkeypatch.chdir(tmp_path)
    return Workspace.open_or_create(tmp_path / ".tracker")


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Makes the zip of a session: its record's members, its events, its console, and further files."""

    def make(
        record: Mapping[str, Any] | None = None,
        metrics: Any = (),
        log: Any = (),
        files: Mapping[str, bytes] | None = None,
        name: str = "session.zip",
    ) -> Path:
        path = tmp_path / name
        whole = {
            "id": OFFLINE_ID,
            "name": "made",
            "project_name": "sessions",
            "type": "training",
            "offline_folder": f"/gone/offline/{OFFLINE_ID}",
            **(record or {}),
        }
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("task.json", json.dumps(whole))
            archive.writestr("metrics.jsonl", lines(metrics))
            archive.writestr("log.jsonl", lines(log))
            for file, data in (files or {}).items():
                archive.writestr(file, data)
        return path

    return make


def lines(events: Any) -> str:
    """Events as the file has them, each a line with a list of its own; a text as it is."""
    return events if isinstance(events, str) else "".join(json.dumps([event]) + "\n" for event in events)


def scalar(iteration: int, value: Any = 1.0, time: Any = 1_700_000_000_000, **more: Any) -> dict[str, Any]:
    """A point of train/loss as ClearML has it."""
    return {
        "type": "training_stats_scalar",
        "task": OFFLINE_ID,
        "metric": "train",
        "variant": "loss",
        "iter": iteration,
        "value": value,
        "timestamp": time,
        **more,
    }
