"""Aim: a repository of RocksDB in the working folder."""

from __future__ import annotations

from collections.abc import Callable

from aim import Repo, Run
from aim.storage.context import Context


def start() -> tuple[Callable[[str, float, int], object], Callable[[], object]]:
    """Begin a run; returns report(series, value, step) and close()."""
    run = Run(repo=".", experiment="bench")
    return lambda series, value, step: run.track(value, name=series, step=step), run.close


def read(series: str) -> int:
    """How many points of a series come back. One that was not indexed is found by its id, and opened to write."""
    (key,) = Repo(".").list_all_runs()
    run = Run(key, repo=".", system_tracking_interval=None)
    steps, _ = run.get_metric(series, Context({})).values.sparse_numpy()
    return len(steps)
