"""Trackio: SQLite in a folder below the working folder, without its dashboard."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

os.environ["TRACKIO_DIR"] = str(Path("store").absolute())
os.environ["HF_HUB_OFFLINE"] = "1"

import trackio
from trackio.sqlite_storage import SQLiteStorage  # what `trackio get metric` calls


def start() -> tuple[Callable[[str, float, int], object], Callable[[], object]]:
    """Begin a run; returns report(series, value, step) and close()."""
    run = trackio.init(project="bench", name="run")
    return lambda series, value, step: run.log({series: value}, step=step), trackio.finish


def read(series: str) -> int:
    """How many points of a series come back."""
    return len(SQLiteStorage.get_metric_values("bench", "run", series))
