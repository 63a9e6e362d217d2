"""Which earlier task Task.init goes on with: reuse under ClearML's conditions, continuing, offsets."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from objstore.ids import ObjectId
from tracker import OutputModel, Task, attempts, reader, removal
from tracker.cli.history import steps
from tracker.errors import BadValue, TaskNotFound
from tracker.workspace import Workspace

Start = Callable[..., Task]


def ended(start: Start, *, points: int = 3, **options: Any) -> str:
    """The id of a run with a parameter and some points, from start to end."""
    task = start(**options)
    task.set_parameter("first", 1)
    for n in range(points):
        task.get_logger().report_scalar("t", "s", float(n), n)
    task.close()
    return task.id


def xs(task_id: str) -> list[int]:
    """The iterations of the series t/s as they are read."""
    found = Task.get_task(task_id)
    assert found is not None
    return list(found.get_reported_scalars().get("t", {}).get("s", {"x": []})["x"])


def test_reuse_begins_the_same_task_anew(start: Start) -> None:
    """What it had reported and was given is gone from it; its tags stay, new ones come, and all of it is in history."""
    first = ended(start, tags=["old"])
    task = start(tags=["new"])
    assert task.id == first
    assert (task.get_parameters(), task.get_tags(), task.get_progress()) == ({}, ["new", "old"], 0)
    assert (task.get_last_iteration(), task.status) == (0, "in_progress")
    task.get_logger().report_scalar("t", "s", 9.0, 9)
    task.close()
    assert xs(first) == [9]
    assert [t.id for t in Task.get_tasks()] == [first]


def test_reused_task_goes_back_to_what_it_was(start: Start) -> None:
    """By an edit, which itself can be undone: nothing that was ever reported is lost."""
    first = ended(start, tags=["old"])
    before = Task.get_task(first)
    assert before is not None
    task = start(tags=["new"])
    task.get_logger().report_scalar("t", "s", 9.0, 9)
    task.close()
    workspace = Workspace.open()
    later, earlier = [step.commit for step in steps(workspace, workspace.thing(first), {})]
    assert removal.revert(workspace, first, earlier[:12]) == earlier
    found = Task.get_task(first)
    assert found is not None
    assert (found.get_parameters(), found.get_tags(), xs(first)) == (
        {"General/first": "1"},
        ["old"],
        [0, 1, 2],
    )
    assert found.status == "completed"
    removal.revert(Workspace.open(), first, later)
    assert xs(first) == [9]


def test_killed_runs_state_is_a_commit_before_it_is_reused(start: Start, tmp_path: Path) -> None:
    """Its journal was not sealed when the next run came; sealed together with that one's, its parameters were lost."""
    from tests.scripts import QUIET, Scripts

    scripts = Scripts(tmp_path)
    source = f"""
        import os
        from tracker import Task
        task = Task.init("sdk", "run", auto_connect_arg_parser=False, {QUIET})
        task.set_parameter("first", 1)
        os.kill(os.getpid(), 9)
        """
    scripts.run(source, code=-9)
    task = start()
    task.close()
    workspace = Workspace.open()
    heads = [step.commit for step in steps(workspace, workspace.thing(task.id), {})]
    assert len(heads) == 2
    commit = removal._head(workspace.store, task.id, ObjectId.parse(heads[1])).commit
    assert reader.read_state(workspace.store, commit).section("param").keys() == {"General/first"}


def spoil(task: Task, how: str) -> None:
    """Do to a finished task what keeps it from being reused."""
    found = Task.get_task(task.id)
    assert found is not None
    if how == "archived":
        found.set_archived(True)
    elif how == "published":
        found.publish()
    elif how == "renamed":
        found.rename("another")
    elif how == "moved":
        found.move_to_project(new_project_name="elsewhere")
    elif how == "no development":
        found.set_system_tags([])
    elif how == "deleted":
        assert found.delete()
    elif how == "cache removed":
        shutil.rmtree(".tracker/cache")


@pytest.mark.parametrize(
    "how",
    [
        *("artifact", "model", "archived", "published", "renamed", "moved", "no development", "deleted"),
        *("cache removed", "other type", "asked not to", "variable", "clearml's variable", "too long ago"),
    ],
)
def test_reuse_needs_each_of_its_conditions(start: Start, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """With one of them missing a new task is made, and the old one stays as it was."""
    options: dict[str, Any] = {}
    task = start()
    if how == "artifact":
        task.upload_artifact("a", {"x": 1})
    elif how == "model":
        OutputModel(name="net").update_weights(register_uri="https://example.com/w.pt")
    task.close()
    spoil(task, how)
    if how == "other type":
        options["task_type"] = "testing"
    elif how == "asked not to":
        options["reuse_last_task_id"] = False
    elif how == "variable":
        monkeypatch.setenv("TRACKER_TASK_NO_REUSE", "1")
    elif how == "clearml's variable":
        monkeypatch.setenv("CLEARML_TASK_NO_REUSE", "true")
    elif how == "too long ago":
        later = time.time() + 73 * 3600
        monkeypatch.setattr("tracker.sdk.earlier.time.time", lambda: later)
    assert start(**options).id != task.id


@pytest.mark.parametrize("how", ["completed", "failed", "stopped"])
def test_any_end_may_be_reused(start: Start, how: str) -> None:
    """A failed attempt is what reuse is for."""
    task = start()
    task.close() if how == "completed" else getattr(task, f"mark_{how}")()
    again = start()
    assert again.id == task.id
    assert again._state.get("status_reason", "") == ""


def test_window_is_a_setting(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """In hours; none at all with 0."""
    first = ended(start)
    monkeypatch.setenv("TRACKER_TASK_REUSE_HOURS", "0")
    assert ended(start) != first


def test_task_that_still_runs_is_left_alone(start: Start, tmp_path: Path) -> None:
    """Two runs of one name at once are two tasks."""
    import subprocess

    from tests.scripts import QUIET, Scripts

    source = f"""
        from tracker import Task
        task = Task.init("sdk", "run", auto_connect_arg_parser=False, {QUIET})
        print(task.id, flush=True)
        input()
        """
    with Scripts(tmp_path).start(source, stdin=subprocess.PIPE) as script:
        other = script.line()
        assert start().id != other
        script.say("end")
        script.end()


def test_claim_that_another_holds_makes_a_new_task(start: Start) -> None:
    """It is looking at the task in this very moment."""
    first = ended(start)
    claim = Path(".tracker/cache/claims") / first
    claim.parent.mkdir()
    claim.touch()
    assert ended(start) != first
    assert claim.exists()


def test_named_task_is_reused_under_the_same_conditions(start: Start) -> None:
    """Else it is a new one, in silence, as in ClearML."""
    first = ended(start)
    second = ended(start, reuse_last_task_id=False)
    assert ended(start, reuse_last_task_id=first) == first
    assert ended(start, reuse_last_task_id="00" * 16) not in (first, second)
    assert ended(start, reuse_last_task_id="no id at all") not in (first, second)


# Continuing


def test_continuing_goes_on_after_the_last_iteration(start: Start) -> None:
    """Everything stays; 0 after 2 lands on 3; single values are where they were."""
    first = ended(start)
    task = start(continue_last_task=True, tags=["more"])
    assert (task.id, task.get_initial_iteration(), task.status) == (first, 3, "in_progress")
    log = task.get_logger()
    log.report_scalar("t", "s", 7.0, 0)
    log.report_single_value("accuracy", 0.5)
    log.report_plotly("p", "s", {"data": [], "layout": {}}, 0)
    task.close()
    assert xs(first) == [0, 1, 2, 3]
    found = Task.get_task(first)
    assert found is not None
    assert (found.get_parameters(), found.get_tags()) == ({"General/first": "1"}, ["more"])
    assert found.get_reported_single_values() == {"accuracy": 0.5}
    assert [plot["iteration"] for segment in found._fresh().state.segments for plot in segment.plots] == [3]


def test_continuing_without_points_adds_nothing(start: Start) -> None:
    """There is no last iteration to go on after."""
    task = start()
    task.close()
    again = start(continue_last_task=True)
    assert (again.id, again.get_initial_iteration()) == (task.id, 0)


def test_continuing_from_an_offset_hides_what_is_repeated(start: Start) -> None:
    """And keeps it; 0 is no offset, and then the first point of a series says from where on it is repeated."""
    first = ended(start, points=10)
    task = start(continue_last_task=5)
    task.get_logger().report_scalar("t", "s", 50.0, 0)
    task.close()
    assert (task.id, xs(first)) == (first, [0, 1, 2, 3, 4, 5])
    task = start(continue_last_task=0, reuse_last_task_id=first)
    assert task.get_initial_iteration() == 0
    task.get_logger().report_scalar("t", "s", 30.0, 3)
    task.close()
    found = Task.get_task(first)
    assert found is not None
    assert found.get_reported_scalars()["t"]["s"]["y"] == [0.0, 1.0, 2.0, 30.0]
    assert found.get_last_scalar_metrics()["t"]["s"] == {"last": 30.0, "min": 0.0, "max": 30.0}
    assert found.get_last_iteration() == 3
    kept = [len(s.scalars) and s.scalars[0]["series"][0][2]["count"] for s in found._fresh().state.segments]
    assert sum(kept) == 12


def test_named_task_is_continued(start: Start) -> None:
    """With artifacts and all, under the name that it has by now; one that is not there is an error."""
    task = start()
    task.upload_artifact("a", {"x": 1})
    task.close()
    found = Task.get_task(task.id)
    assert found is not None
    found.rename("renamed")
    again = start(continue_last_task=task.id)
    assert (again.id, again.name, list(again.artifacts)) == (task.id, "renamed", ["a"])
    again.close()
    with pytest.raises(TaskNotFound, match="could not be found"):
        start(continue_last_task="00" * 16)
    assert Task.current_task() is None


def test_continuing_nothing_is_a_new_task(start: Start) -> None:
    """The first run of a script that always continues."""
    assert len(start(continue_last_task=True).id) == 32


def test_offset_of_the_environment_wins(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over what the script says; a damaged one is named."""
    first = ended(start)
    monkeypatch.setenv("CLEARML_SET_ITERATION_OFFSET", "100")
    task = start(continue_last_task=True)
    task.get_logger().report_scalar("t", "s", 7.0, 1)
    task.close()
    assert xs(first) == [0, 1, 2, 101]
    monkeypatch.setenv("CLEARML_SET_ITERATION_OFFSET", "many")
    with pytest.raises(BadValue, match="whole number"):
        start()


def test_initial_iteration_may_be_set_while_it_runs(start: Start) -> None:
    """Also after the logger was made; what is no whole number is refused, as an iteration is."""
    task = start()
    log = task.get_logger()
    assert task.set_initial_iteration(100) == 100
    log.report_scalar("t", "s", 1.0, 5)
    with pytest.raises(BadValue, match="whole number"):
        log.report_scalar("t", "s", 1.0, "5")  # type: ignore[arg-type]
    with pytest.raises(BadValue, match="whole number"):
        task.set_initial_iteration(1.5)  # type: ignore[arg-type]
    task.close()
    assert xs(task.id) == [105]


@pytest.mark.parametrize("wrong", [{"reuse_last_task_id": 5}, {"continue_last_task": 1.5}])
def test_wrong_arguments_are_named(start: Start, wrong: dict[str, Any]) -> None:
    """Before anything is made."""
    with pytest.raises(BadValue, match="is expected"):
        start(**wrong)
    assert not Path(".tracker").exists()


def test_many_tasks_in_one_process_one_after_another(start: Start) -> None:
    """Each with a name of its own is a task of its own, and each keeps what it was told."""
    found = [ended(start, name=f"run {n}", points=n + 1) for n in range(4)]
    assert len(set(found)) == 4
    assert [len(xs(key)) for key in found] == [1, 2, 3, 4]


def test_damaged_task_is_not_reused(start: Start) -> None:
    """What cannot be read is left as it is, and a training is not kept from starting."""
    first = ended(start)
    (head,) = Path(".tracker/refs").glob(f"*/{first}.*")
    head.write_bytes(head.read_bytes()[:-5])
    for pack in Path(".tracker/packs").glob("*/*.pack"):
        pack.write_bytes(b"")
    assert ended(start) != first


def test_child_process_has_its_parents_offset(start: Start, tmp_path: Path) -> None:
    """Whatever it says itself: the run that it is part of goes on already."""
    from tests.scripts import QUIET, Scripts

    first = ended(start)
    task = start(continue_last_task=True)
    task.get_logger().report_scalar("t", "s", 7.0, 0)
    source = f"""
        from tracker import Task
        task = Task.init("sdk", "run", continue_last_task=True, auto_connect_arg_parser=False, {QUIET})
        task.get_logger().report_scalar("t", "s", 8.0, 1)
        """
    Scripts(tmp_path).run(source)
    task.close()
    assert xs(first) == [0, 1, 2, 3, 4]


def test_few_files_are_remembered(start: Start) -> None:
    """Of many names those of the last runs; each is known right after it has run."""
    for n in range(40):
        task = start(name=f"run {n}")
        task.close()
        assert start(name=f"run {n}").id == task.id
        Task.current_task().close()  # type: ignore[union-attr]
    assert len(list(Path(".tracker/cache/last").iterdir())) <= 32


def test_how_a_named_task_goes_on(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failure its points are repeated; after a completed run others are added; a restart is always a repeat."""
    key = "ab" * 16
    monkeypatch.setenv("TRACKER_TASK_ID", key)
    shown = []
    for reported, end, restarts in (
        ((0, 1, 2), "failed", "0"),
        ((1, 2), "completed", "0"),
        ((0, 2), "completed", "0"),
        ((2,), "failed", "1"),
    ):
        monkeypatch.setenv("SLURM_RESTART_COUNT", restarts)
        task = start()
        for step in reported:
            task.get_logger().report_scalar("t", "s", 0.0, step)
        getattr(task, f"mark_{end}")()
        state = Workspace.open().thing(key).state
        counted = [(s.attempt, attempts.Cuts(state).of(s, ("t", "s"))) for s in state.reports]
        shown.append(sorted(counted))
    assert shown[1] == [(1, 1), (2, None)]
    assert shown[2] == [(1, 1), (2, None), (3, None)]
    assert shown[3] == [(1, 1), (2, 2), (3, 2), (4, None)]
