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
    """How many points of a series come back. By the run's id: a query finds a run only once it was indexed."""
    (key,) = Repo(".").list_all_runs()
    steps, _ = Run(key, repo=".", read_only=True).get_metric(series, Context({})).values.sparse_numpy()
    return len(steps)
