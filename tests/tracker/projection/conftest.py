"""Real stores of states that a test makes up, without running anything."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from objstore.store import Store
from tracker import layout, seal
from tracker.package_data import template_dir
from tracker.records import Entry, Segment, State
from tracker.workspace import Workspace

Put = Callable[[Iterable[State]], list[str]]


def summary(last: float | str, least: float | str, most: float | str) -> dict[str, object]:
    """A series in short, as a record has it."""
    steps = {"first_step": 0, "last_step": 3, "min_step": 0, "max_step": 3}
    return {**steps, "first_time": 1, "last_time": 3, "count": 4, "last": last, "min": least, "max": most}


def state(
    keys: Mapping[str, Any],
    metrics: Mapping[tuple[str, str], tuple[Any, Any, Any]] | None = None,
    *,
    stamp: int = 5,
    kind: str = layout.TASK,
) -> State:
    """A state whose keys were all set at `stamp`; metrics: (last, min, max) by title and series."""
    chunk = {"series": [[*name, summary(*values)] for name, values in (metrics or {}).items()]}
    segments = (Segment("w" * 16, 1, 9, stamp, scalars=(chunk,)),) if metrics else ()
    return State(kind, {k: Entry(v, stamp, "w" * 16) for k, v in keys.items()}, segments)


def put(store: Store, states: Iterable[State]) -> list[str]:
    """Commit states as new things, in one transaction; returns their ids."""
    keys = []
    with store.begin() as transaction:
        for each in states:
            keys.append(secrets.token_hex(16))
            seal.commit_state(store, transaction, keys[-1], each, (), {secrets.token_hex(8): 9})
    return keys


def fresh(folder: Path) -> Workspace:
    """An empty store in a folder, opened."""
    Store.create(folder / ".tracker", template_dir())
    return Workspace.open(folder / ".tracker")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty store."""
    return fresh(tmp_path)
