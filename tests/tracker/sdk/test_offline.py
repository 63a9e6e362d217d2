"""Offline mode: a session is left beside what is recorded, and taken in elsewhere it is the same task."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tracker.sdk.conftest import Start
from tracker import OutputModel, Task, UsageError
from tracker.sdk import offline
from tracker.sessions import import_session
from tracker.workspace import Workspace


@pytest.fixture(autouse=True)
def sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where sessions are left; the switch as it is in a new process."""
    monkeypatch.setenv("CLEARML_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("CLEARML_OFFLINE_MODE", raising=False)
    monkeypatch.setattr(offline, "_asked", None)
    return tmp_path / "cache" / "offline"


def test_a_session_is_the_task_in_another_store(start: Start, sessions: Path, tmp_path: Path) -> None:
    """Its zip and its folder: parameters, points, artifacts and models, under the same id, however often."""
    Task.set_offline(offline_mode=True)
    task = start("offline", "run", tags=["t"])
    task.connect({"lr": 0.1})
    task.get_logger().report_scalar("loss", "train", 0.5, 3)
    task.upload_artifact("notes", "hello")
    (tmp_path / "w.pt").write_bytes(b"weights" * 300_000)
    OutputModel(task, name="net").update_weights(tmp_path / "w.pt")
    folder = task.get_offline_mode_folder()
    task.close()
    assert (folder, sessions) == (sessions / task.id, sessions)
    for place in (sessions / f"{task.id}.zip", sessions / task.id):
        elsewhere = Workspace.open_or_create(tmp_path / place.name / "elsewhere")
        done = import_session(elsewhere, place)
        assert (done.key, done.known, import_session(elsewhere, place).known) == (task.id, False, True)
        state = elsewhere.thing(task.id).state
        assert (state.get("param/General/lr")["value"], state.get("status")) == ("0.1", "completed")
        assert set(state.section("artifact")) == {"notes"}
        assert len([key for key in elsewhere.things() if key != task.id]) == 1


def test_a_session_of_ours_is_nothing_but_its_task(start: Start, sessions: Path) -> None:
    """To continue another task, or to be there twice, it would have to be another."""
    Task.set_offline(True)
    task = start("offline", "run")
    task.close()
    with pytest.raises(UsageError, match="under that task's own id"):
        Task.import_offline_session(sessions / f"{task.id}.zip", iteration_offset=5)
    assert Task.import_offline_session(sessions / f"{task.id}.zip") == task.id


@pytest.mark.parametrize(("told", "on"), [("1", True), ("anything", True), ("off", False), ("", False)])
def test_the_variable_switches_it_on(monkeypatch: pytest.MonkeyPatch, told: str, on: bool) -> None:
    """As in ClearML any text that is no `no` is a yes; and set_offline has the last word."""
    monkeypatch.setenv("CLEARML_OFFLINE_MODE", told)
    assert Task.is_offline() is on
    Task.set_offline(not on)
    assert Task.is_offline() is not on


def test_without_it_no_session_is_left(start: Start, sessions: Path) -> None:
    """The store has the run."""
    task = start("offline", "run")
    assert task.get_offline_mode_folder() is None
    task.close()
    assert not sessions.exists()


def test_it_is_not_turned_off_below_an_open_task(start: Start) -> None:
    """As in ClearML: close the task first."""
    Task.set_offline(True)
    task = start("offline", "run")
    with pytest.raises(UsageError, match="close it"):
        Task.set_offline(False)
    task.close()
    Task.set_offline(False)
    assert not Task.is_offline()


def test_a_session_that_cannot_be_written_costs_a_warning(
    start: Start, sessions: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run is in the store all the same."""
    import sys

    monkeypatch.setattr(sys, "__stderr__", sys.stderr)
    sessions.parent.write_text("a file in the way")
    Task.set_offline(True)
    task = start("offline", "run")
    task.close()
    assert "was not written" in capsys.readouterr().err
    found = Task.get_task(task_id=task.id)
    assert found is not None
    assert found.status == "completed"
