"""Offline mode: a session is left beside what is recorded, and taken in elsewhere it is the same task."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.tracker.sdk.conftest import Start
from tracker import OutputModel, Task, UsageError
from tracker.errors import BadValue
from tracker.sdk import offline
from tracker.sessions import import_session
from tracker.state import deletion
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


@dataclass(frozen=True)
class Left:
    """A run of three points that has left a session, and the store of somebody who has another run."""

    task: Task
    zip: Path
    elsewhere: Workspace


@pytest.fixture
def left(start: Start, sessions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Left:
    """A session with each thing that has an iteration; from here on this process is at the other store."""
    Task.set_offline(True)
    task = start("offline", "run", tags=["mine"])
    task.connect({"lr": 0.1})
    logger = task.get_logger()
    for step in range(3):
        logger.report_scalar("loss", "train", step / 4, step)
    logger.report_single_value("best", 0.5)
    logger.report_table("table", "t", iteration=2, table_plot=[["a"], [1]])
    logger.report_image("image", "i", iteration=1, image=np.zeros((2, 2), np.uint8))
    print("said by the session")
    task.upload_artifact("notes", "hello")
    (tmp_path / "w.pt").write_bytes(b"weights" * 300_000)
    model = OutputModel(task, name="net")
    model.update_weights(tmp_path / "w.pt", iteration=2)
    model.report_scalar("score", "s", 1.0, 2)
    task.close()
    Task.set_offline(False)
    place = tmp_path / "other"
    monkeypatch.setenv("TRACKER_DIR", str(place / ".tracker"))
    return Left(task, sessions / f"{task.id}.zip", Workspace.open_or_create(place / ".tracker"))


def reading(key: str) -> Task:
    """The task of that id in the store of now."""
    task = Task.get_task(task_id=key)
    assert task is not None
    return task


def shifted(task: Task, by: int) -> None:
    """Everything of the session that has an iteration is this much later; what has none is as it was."""
    assert task.get_reported_scalars()["loss"]["train"]["x"][-3:] == [by, 1 + by, 2 + by]
    assert task.get_last_iteration() == 2 + by
    assert [plot.iteration for plot in task.plots("table", "t")] == [2 + by]
    assert [sample.iteration for sample in task.samples()] == [1 + by]
    assert task.get_reported_single_values() == {"best": 0.5}
    (model,) = task.models["output"]
    assert model.task == task.id
    assert model.get_reported_scalars()["score"]["s"]["x"] == [2 + by]
    assert model._state.get("weights")["iteration"] == 2 + by
    assert Path(str(model.get_weights())).read_bytes() == b"weights" * 300_000
    assert (task.get_parameter("General/lr"), task.artifacts["notes"].get()) == ("0.1", "hello")


def test_a_session_of_ours_continues_a_task(left: Left, start: Start) -> None:
    """Its reports, parameters, artifacts and models go into that; what it is called stays; once, however often."""
    first = start("other", "before", tags=["there"])
    first.connect({"lr": 0.9, "depth": 2})
    first.get_logger().report_scalar("loss", "train", 9.0, 50)
    first.get_logger().report_scalar("loss", "train", 9.0, 200)  # beyond where the session begins
    first.close()
    key = Task.import_offline_session(left.zip, previous_task_id=first.id, iteration_offset=100)
    task = reading(key)
    assert (key, task.name, task.get_project_name(), task.status) == (
        first.id,
        "before",
        "other",
        "completed",
    )
    assert sorted(task.get_tags()) == ["mine", "there"]
    assert task.get_reported_scalars()["loss"]["train"]["x"] == [50, 100, 101, 102]
    assert task.get_parameter("General/depth") == "2"
    shifted(task, 100)
    for again in (left.zip, left.zip.with_suffix("")):
        assert Task.import_offline_session(again, first.id, 100) == first.id
    assert Task.import_offline_session(left.zip) == first.id  # it is here already, in another task
    assert task.get_reported_scalars()["loss"]["train"]["x"] == [50, 100, 101, 102]
    assert [each.id for each in Task.get_tasks()] == [first.id]
    task.workspace.store.close()


def test_a_session_of_ours_once_more_or_later(left: Left) -> None:
    """`again` makes another task each time; an offset alone makes one with other iterations, the same everywhere."""
    assert Task.import_offline_session(left.zip) == left.task.id
    shifted(reading(left.task.id), 0)
    later = Task.import_offline_session(left.zip, iteration_offset=10)
    assert Task.import_offline_session(left.zip, iteration_offset=10) == later
    assert import_session(left.elsewhere, left.zip, iteration_offset=10).known
    shifted(reading(later), 10)
    shifted(reading(left.task.id), 0)
    more = [Task.import_offline_session(left.zip, again=True) for _ in range(2)]
    for key in more:
        shifted(reading(key), 0)
    keys = {left.task.id, later, *more}
    assert (len(keys), {each.id for each in Task.get_tasks(project_name="offline")}) == (4, keys)


def test_a_copy_leaves_nothing_of_its_making(left: Left) -> None:
    """Its store is sound, and has no scratch folders left."""
    import_session(left.elsewhere, left.zip, again=True)
    assert left.elsewhere.store.fsck().clean
    assert not [path for path in (left.elsewhere.root / "tmp").iterdir() if path.is_dir()]


def test_a_session_does_not_continue_itself(left: Left) -> None:
    """Its points would be there twice; without an offset it is the task."""
    with pytest.raises(UsageError, match="its own continuation"):
        Task.import_offline_session(left.zip, left.task.id, 5)
    assert Task.import_offline_session(left.zip, left.task.id) == left.task.id


def test_a_session_that_was_deleted_says_how_it_comes_back(left: Left) -> None:
    """As ClearML's do here."""
    key = Task.import_offline_session(left.zip)
    left.elsewhere.edit(key, deletion)
    with pytest.raises(UsageError, match="tracker restore"):
        Task.import_offline_session(left.zip)


def test_an_offset_that_is_too_great_is_refused(left: Left, start: Start) -> None:
    """By itself, or for a step of the session; it leaves nothing."""
    Task.set_offline(True)
    far = start("offline", "far")
    far.get_logger().report_scalar("loss", "train", 1.0, 2**62 + 5)
    far.close()
    Task.set_offline(False)
    for session, offset in ((left.zip, 2**63), (left.zip.with_name(f"{far.id}.zip"), 2**62 - 1)):
        with pytest.raises(BadValue, match="iteration"):
            Task.import_offline_session(session, iteration_offset=offset)
    assert [task.id for task in Task.get_tasks()] == [far.id]


def test_what_a_resumed_run_has_hidden_stays_hidden(left: Left, start: Start) -> None:
    """Its attempts come along, each with the step that it began at, later by the offset."""
    Task.set_offline(True)
    first = start("offline", "twice")
    for step in range(6):
        first.get_logger().report_scalar("loss", "train", 0.0, step)
    first.close()
    second = start("offline", "twice", continue_last_task=3, reuse_last_task_id=first.id)
    second.get_logger().report_scalar("loss", "train", 1.0, 0)
    second.close()
    Task.set_offline(False)
    session = left.zip.with_name(f"{second.id}.zip")
    points = reading(second.id).get_reported_scalars()["loss"]["train"]
    base = Task.create("offline", "base")
    base.mark_started(force=True)
    base.mark_completed(force=True)
    for key in (
        Task.import_offline_session(session, iteration_offset=10),
        Task.import_offline_session(session, base.id, 10),
    ):
        found = reading(key).get_reported_scalars()["loss"]["train"]
        assert (found["x"], found["y"]) == ([step + 10 for step in points["x"]], points["y"])


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
