"""A task's status, who may change it, and what ends with it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from tracker import OutputModel, Task
from tracker.errors import BadValue, DeleteError, UsageError
from tracker.sdk.task.lifecycle import Lifecycle

Reopen = Callable[[Task], Task]
Start = Callable[..., Task]


def found(task_id: str) -> Task:
    """A task as a reader has it."""
    task = Task.get_task(task_id)
    assert task is not None
    return task


@pytest.fixture
def draft(start: Start) -> Task:
    """A task that has not run yet."""
    start().close()
    return Task.create("sdk", "draft")


# Statuses


def test_task_goes_through_its_statuses(draft: Task) -> None:
    """Each step is seen by others, with when and why; those that are not legal change nothing."""
    assert draft.status == "created"
    assert not draft.mark_completed()
    assert not draft.mark_failed()
    assert not draft.mark_stopped()
    assert draft.mark_started()
    assert found(draft.id).data.started is not None
    assert draft.mark_failed(status_reason="diverged", status_message="nan")
    assert found(draft.id).get_status_message() == ("failed", "nan")
    assert found(draft.id).data.status_reason == "diverged"
    assert not draft.started()
    assert draft.mark_started(force=True)
    assert draft.data.completed is None
    assert draft.stopped(status_message="enough")
    assert draft.started()
    assert draft.completed()
    assert (found(draft.id).status, draft.get_progress()) == ("completed", 100)
    with pytest.raises(UsageError, match="is completed and cannot become failed"):
        draft.mark_failed(ignore_errors=False)


def test_running_tasks_end_is_its_status(task: Task) -> None:
    """In the process that runs it, to mark a task is to end it; the next Task.init is free."""
    assert task.mark_failed(status_reason="diverged")
    assert Task.current_task() is None
    assert (task.status, task.data.status_reason) == ("failed", "diverged")


def test_waiting_for_a_status(draft: Task) -> None:
    """Until it is there; at once where it is there; an error for one that it must not be."""
    other = found(draft.id)
    timer = threading.Timer(0.2, lambda: (draft.mark_started(), draft.mark_completed()))
    timer.start()
    other.wait_for_status(check_interval_sec=0.05)
    assert other.status == "completed"
    timer.join()
    draft.mark_completed(force=True)
    other.wait_for_status("completed", check_interval_sec=1e6)
    draft.mark_failed(force=True, status_message="out of memory")
    with pytest.raises(RuntimeError, match="is failed: out of memory"):
        other.wait_for_status(check_interval_sec=1e6)
    with pytest.raises(BadValue, match="one of created"):
        other.wait_for_status(["over"])


# Publishing and the edit gate


def test_published_task_refuses_edits(task: Task) -> None:
    """All but how it is called, filed and described; its last model is published with it."""
    OutputModel(name="first").update_weights(register_uri="https://example.com/1.pt")
    OutputModel(name="last").update_weights(register_uri="https://example.com/2.pt")
    with pytest.raises(BadValue, match="is in_progress: only one that is stopped or completed"):
        task.publish()
    task.close()
    assert task.publish()
    models = {model.name: model._state.get("published") for model in task.models["output"]}
    assert models == {"first": None, "last": True}
    other = found(task.id)
    for edit in (
        lambda: other.set_parameter("lr", 1),
        lambda: other.connect({"lr": 1}),
        lambda: other.set_task_type("testing"),
        lambda: other.set_parent(None),
    ):
        with pytest.raises(BadValue, match=r"is published: .* cannot be changed any more"):
            edit()
    other.set_parameter("properties/note", "good")
    other.add_tags("kept")
    other.set_comment("the one")
    other.rename("named later")
    other.set_archived(True)
    assert other.status == "published"
    assert not other.reset()
    assert not other.mark_started()
    assert not other.delete()
    with pytest.raises(Task.DeleteError, match="is published"):
        other.delete(raise_on_error=True)
    again = found(task.id)
    assert (again.get_tags(), again.comment, again.name) == (["kept"], "the one", "named later")
    assert again.get_parameters() == {"properties/note": "good"}


def test_finished_task_takes_no_artifacts(
    task: Task, reopened: Reopen, said: Callable[[], list[str]]
) -> None:
    """It says so, and goes on: an upload is no reason to stop a script."""
    other = reopened(task)
    said()
    other.upload_artifact("late", {"a": 1})
    assert any("artifact/late cannot be changed any more" in line for line in said())
    assert len(found(task.id).artifacts) == 0


def test_task_is_published_once_it_is_completed(start: Start) -> None:
    """Where it was asked for, and only then."""
    task = start()
    task.publish_on_completion()
    task.close()
    assert task.status == "published"
    task = start(name="failing")
    task.publish_on_completion(True)
    task.mark_failed()
    assert task.status == "failed"
    task = start(name="changed mind")
    task.publish_on_completion()
    task.publish_on_completion(False)
    task.close()
    assert task.status == "completed"


def test_archive_leaves_the_status(task: Task, reopened: Reopen) -> None:
    """There and back."""
    other = reopened(task)
    other.set_archived(True)
    assert (found(task.id).get_archived(), found(task.id).status) == (True, "completed")
    other.unarchive()
    assert not found(task.id).get_archived()
    other.archive()
    assert found(task.id).get_archived()


# Reset and delete


def test_reset_hides_what_was_made_and_keeps_what_it_was_made_of(task: Task, reopened: Reopen) -> None:
    """A draft again, with its parameters, comment and tags; nothing is erased."""
    task.set_parameter("lr", 1)
    task.add_tags("a")
    task.get_logger().report_scalar("t", "s", 1.0, 5)
    task.get_logger().report_single_value("accuracy", 0.5)
    task.upload_artifact("a", {"x": 1})
    OutputModel(name="net").update_weights(register_uri="https://example.com/1.pt")
    other = reopened(task)
    assert other.reset()
    again = found(task.id)
    assert (again.status, again.get_parameters(), again.get_tags()) == ("created", {"General/lr": "1"}, ["a"])
    assert (again.get_last_iteration(), again.get_reported_scalars(), again.get_reported_single_values()) == (
        0,
        {},
        {},
    )
    assert (len(again.artifacts), len(again.models["output"]), again.get_progress()) == (0, 0, None)
    assert len(again._fresh().state.segments) == 1
    assert other.reset(set_started_on_success=True)
    assert found(task.id).status == "in_progress"


def test_running_task_is_reset_and_goes_on(task: Task) -> None:
    """What it reports from then on is all that counts."""
    log = task.get_logger()
    log.report_scalar("t", "s", 1.0, 5)
    task.set_parameter("lr", 1)
    task.upload_artifact("a", {"x": 1})
    assert task.reset()
    assert (task.status, list(task.artifacts), task.get_last_iteration()) == ("in_progress", [], 0)
    log.report_scalar("t", "s", 2.0, 1)
    task.close()
    again = found(task.id)
    assert (again.status, again.get_parameters()) == ("completed", {"General/lr": "1"})
    assert again.get_reported_scalars()["t"]["s"]["x"] == [1]
    assert len(again._fresh().state.segments) == 2


def test_deleted_task_is_gone_with_its_models(task: Task, reopened: Reopen) -> None:
    """Its children say so of their parent."""
    OutputModel(name="net").update_weights(register_uri="https://example.com/1.pt")
    child = Task.clone(task)
    assert not task.delete()  # it runs
    with pytest.raises(DeleteError, match="runs in this process"):
        task.delete(raise_on_error=True)
    assert reopened(task).delete()
    assert [t.id for t in Task.get_tasks()] == [child.id]
    assert found(child.id).parent == f"__DELETED__{task.id}"


def test_caller_is_asked_what_to_delete(task: Task, reopened: Reopen) -> None:
    """A model stays that it says no to, or where models are not to go along."""
    net = OutputModel(name="net")
    net.update_weights(register_uri="https://example.com/1.pt")
    task.upload_artifact("a", {"x": 1})
    asked: list[tuple[str, str]] = []

    def ask(kind: str, uri: str) -> bool:
        asked.append((kind, uri))
        return False

    assert reopened(task).delete(callback=ask)
    assert asked == [("artifact", f"tracker://{task.id}/a"), ("output_model", f"tracker://{net.id}")]
    assert not task.workspace.thing(net.id).state.get("deleted")


# Stop requests


def test_stop_request_of_a_task_that_nobody_runs_stops_it(draft: Task) -> None:
    """There is nobody who could answer."""
    assert not draft.mark_stop_request()
    draft.mark_started()
    assert draft.mark_stop_request(status_message="enough")
    assert found(draft.id).get_status_message() == ("stopped", "enough")


def test_stop_request_to_a_living_run_is_a_message(task: Task) -> None:
    """Who runs it decides; its status is its own until then."""
    task._run.recorder.watch = None  # type: ignore[union-attr] # this very process is not to end
    other = found(task.id)
    assert other.mark_stop_request()
    assert found(task.id).get_status_message() == ("in_progress", "stopping")


@pytest.mark.parametrize("timeout", [0, -1.0, None])
def test_abort_callback_needs_time(task: Task, timeout: float) -> None:
    """And a run of this process."""
    with pytest.raises(ValueError, match="more than 0 seconds"):
        task.register_abort_callback(lambda: None, timeout)
    with pytest.raises(ValueError, match="is a function"):
        task.register_abort_callback("stop")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not this process's"):
        found(task.id).register_abort_callback(lambda: None)
    task.register_abort_callback(lambda: None)
    task.register_abort_callback(None)
    assert task._run is not None
    assert task._run.on_abort is None


def test_every_member_is_told(draft: Task) -> None:
    """ClearML's names of the chapter are there."""
    for name in (
        *("mark_started", "started", "mark_completed", "completed", "mark_failed", "mark_stopped", "stopped"),
        *("mark_stop_request", "publish", "publish_on_completion", "set_archived", "get_archived", "reset"),
        *("delete", "wait_for_status", "register_abort_callback", "DeleteError", "TaskStatusEnum"),
    ):
        assert hasattr(Lifecycle, name)
