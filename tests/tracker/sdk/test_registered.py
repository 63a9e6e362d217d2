"""Registered DataFrames: stored at once, again when they have changed, and the last time when the task closes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from tracker import Task
from tracker.errors import BadValue, UsageError
from tracker.sdk.registered import Registered

pd = pytest.importorskip("pandas")

Reopen = Callable[[Task], Task]


@pytest.fixture
def frame() -> Any:
    """Four rows, three of them different."""
    return pd.DataFrame({"legs": [4, 4, 2, 8], "name": ["dog", "dog", "bird", "spider"]})


def test_frame_is_stored_when_registered_and_again_when_the_task_closes(
    task: Task, reopened: Reopen, frame: Any
) -> None:
    """As a data-audit-table, with what the caller said of it and how many rows are unique."""
    task.register_artifact("train", frame, metadata={"counting": "legs"})
    first = task.artifacts["train"]
    pd.testing.assert_frame_equal(first.get(), frame)
    assert (first.type, first.metadata) == ("data-audit-table", {"counting": "legs"})
    assert "3 of 4 rows, 75.0 %" in first.preview
    assert task.get_registered_artifacts()["train"] is frame
    frame.loc[1, "name"] = "cat"
    last = reopened(task).artifacts["train"]
    pd.testing.assert_frame_equal(last.get(), frame)
    assert last.hash != first.hash
    assert "4 of 4 rows, 100.0 %" in last.preview


def test_uniqueness_is_counted_over_the_columns_asked_for(task: Task, frame: Any) -> None:
    """Some columns, or none at all; cells that have no hash are compared by their text."""
    task.register_artifact("some", frame, uniqueness_columns=["legs"])
    assert "uniqueness over legs: 3 of 4 rows" in task.artifacts["some"].preview
    task.register_artifact("none", frame, uniqueness_columns=False)
    assert "uniqueness" not in task.artifacts["none"].preview
    task.register_artifact("lists", pd.DataFrame({"a": [[1], [1], [2]]}))
    assert "2 of 3 rows" in task.artifacts["lists"].preview
    with pytest.raises(BadValue, match="wings"):
        task.register_artifact("bad", frame, uniqueness_columns=["wings"])


def test_frame_is_looked_at_while_the_task_runs(task: Task, frame: Any) -> None:
    """Every interval; one that has not changed is not stored again."""
    watch = Registered(task, interval=0.05)
    watch.add("train", frame, None, True)
    before = task.artifacts["train"]
    time.sleep(0.3)
    assert task.artifacts["train"].hash == before.hash
    frame.loc[0, "legs"] = 3
    until = time.monotonic() + 20
    while task.artifacts["train"].hash == before.hash and time.monotonic() < until:
        time.sleep(0.02)
    assert int(task.artifacts["train"].get().loc[0, "legs"]) == 3
    watch.close()


def test_unchanged_frame_is_stored_once(task: Task, frame: Any) -> None:
    """Its record is not touched either."""
    task.register_artifact("train", frame)
    watched = task._registered
    assert watched is not None
    stamp = task._state.keys["artifact/train"].stamp
    watched.store_changed()
    assert task._state.keys["artifact/train"].stamp == stamp
    frame["legs"] = frame["legs"].astype("float64")
    watched.store_changed()
    assert task._state.keys["artifact/train"].stamp > stamp


def test_unregistered_frame_stays_as_it_was_last_stored(task: Task, reopened: Reopen, frame: Any) -> None:
    """And its name may be uploaded to again."""
    task.register_artifact("train", frame)
    with pytest.raises(BadValue, match="is a registered DataFrame"):
        task.upload_artifact("train", {"a": 1})
    task.unregister_artifact("train")
    assert task.get_registered_artifacts() == {}
    frame.loc[0, "legs"] = 100
    assert int(task.artifacts["train"].get().loc[0, "legs"]) == 4
    task.upload_artifact("train", {"a": 1})
    assert reopened(task).artifacts["train"].get() == {"a": 1}


def test_names_and_values_that_cannot_be_registered(task: Task, reopened: Reopen, frame: Any) -> None:
    """A name that was uploaded, what is no frame, a task that does not run here."""
    task.upload_artifact("taken", "text")
    with pytest.raises(BadValue, match="was uploaded"):
        task.register_artifact("taken", frame)
    with pytest.raises(BadValue, match="takes a DataFrame, not dict"):
        task.register_artifact("dict", {})  # type: ignore[arg-type]  # what is refused here
    with pytest.raises(UsageError, match="does not run in this process"):
        reopened(task).register_artifact("late", frame)
