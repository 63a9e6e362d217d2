"""What a task is called and where it stands, and that it can be renamed and moved."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tracker import InputModel, OutputModel, Task
from tracker.errors import BadValue, TaskNotFound
from tracker.workspace import Workspace

Reopen = Callable[[Task], Task]
Start = Callable[..., Task]


def found(task_id: str) -> Task:
    """A task as a reader has it."""
    task = Task.get_task(task_id)
    assert task is not None
    return task


@pytest.mark.parametrize("running", [True, False])
def test_task_is_renamed_and_moved(start: Start, reopened: Reopen, running: bool) -> None:
    """While it runs and afterwards; found under its new name, with its artifacts, models, children and history."""
    task = start("old/project", "old name")
    model = OutputModel(name="net")
    model.update_weights(register_uri="https://example.com/1.pt")
    task.upload_artifact("a", {"x": 1})
    child = Task.clone(task)
    InputModel(model.id, workspace=task.workspace)
    subject = task if running else reopened(task)
    subject.name = "newer name"
    assert subject.rename("new name")
    subject.comment = "a comment"
    assert subject.move_to_project(new_project_name="new/project")
    assert (subject.name, subject.get_project_name(), subject.comment) == (
        "new name",
        "new/project",
        "a comment",
    )
    task.close()
    again = Task.get_task(project_name="new/project", task_name="new name")
    assert again is not None
    assert (again.id, again.artifacts["a"].get(), again.models["output"][0].id) == (
        task.id,
        {"x": 1},
        model.id,
    )
    assert found(child.id).parent == task.id
    assert Task.get_tasks(project_name="old/project", task_name="^old name$") == []
    heads = Workspace.open().store.heads.of(task.id)
    assert [head.commit.path for head in heads] == [("task", "new/project", "new name")]


@pytest.mark.parametrize("wrong", ["ab", "", 5, None, "with\nbreak"])
def test_wrong_names_are_refused(task: Task, wrong: str) -> None:
    """As Task.init refuses them."""
    for rename in (task.set_name, task.rename):
        with pytest.raises(BadValue):
            rename(wrong)
    if wrong is not None:
        with pytest.raises(BadValue):
            task.move_to_project(new_project_name=wrong)
    assert task.name == "run"


def test_projects_have_ids(task: Task, start: Start) -> None:
    """Made of their names, and so the same everywhere; those above others are projects, too."""
    task.close()
    start("a/b/c", "deep").close()
    listed = Task.get_projects()
    assert [project.name for project in listed] == ["a", "a/b", "a/b/c", "sdk"]
    assert [project.basename for project in listed] == ["a", "b", "c", "sdk"]
    assert Task.get_project_id("sdk") == task.project == listed[3].id
    assert Task.get_project_id("nowhere") is None
    assert [project.name for project in Task.get_projects(name="^a/")] == ["a/b", "a/b/c"]
    with pytest.raises(BadValue, match="takes name, not colour"):
        Task.get_projects(colour="red")


def test_project_is_set_by_id_or_name_where_it_exists(task: Task, start: Start) -> None:
    """`set_project` makes none, `move_to_project` does; an id has to be known."""
    task.close()
    start("other", "deep").close()
    assert not task.set_project(project_name="nowhere")
    assert task.set_project(project_id=Task.get_project_id("other"))
    assert found(task.id).get_project_name() == "other"
    assert task.set_project(project_name="other")
    with pytest.raises(TaskNotFound):
        task.move_to_project(new_project_id="00" * 16)


def test_parent_is_a_task_an_id_or_none(task: Task) -> None:
    """Not itself, and one that is there."""
    assert task.parent is None
    other = Task.create("sdk", "other")
    for given in (other, other.id):
        task.set_parent(given)
        assert task.parent == other.id
    task.set_parent(None)
    assert task.parent is None
    with pytest.raises(BadValue, match="its own parent"):
        task.set_parent(task)
    with pytest.raises(TaskNotFound):
        task.set_parent("00" * 16)


def test_tags_are_set_and_removed(task: Task) -> None:
    """A text is split at spaces, but not where ClearML asserts a list."""
    task.set_tags(["a", "b c"])
    assert task.get_tags() == ["a", "b c"]
    task.add_tags("d e")
    task.remove_tags("a d nothing")
    assert task.get_tags() == ["b c", "e"]
    task.remove_tags(["b c"])
    assert task.get_tags() == ["e"]
    with pytest.raises(AssertionError, match="a list of texts"):
        task.set_tags("x")
    with pytest.raises(ValueError, match="a list of texts"):
        task.set_tags(None)  # type: ignore[arg-type]
    assert task.get_system_tags() == ["development"]
    task.set_system_tags(["mine"])
    assert task.get_system_tags() == ["mine"]


def test_type_is_changed(task: Task) -> None:
    """To one there is."""
    task.set_task_type("testing")
    assert task.task_type == "testing"
    with pytest.raises(ValueError, match="one of training"):
        task.set_task_type("tsting")


def test_where_it_runs(task: Task, reopened: Reopen, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own process knows it; another reader's is not the main task."""
    assert task.is_main_task()
    assert found(task.id).is_main_task()  # the same task, read again
    assert not Task.create("sdk", "other").is_main_task()
    assert Task.running_locally()
    page = task.get_output_log_web_page()
    assert page.endswith(f"/projects/{task.project}/tasks/{task.id}/output/log")
    assert task.cache_dir.is_dir()
    assert not reopened(task).is_main_task()
    monkeypatch.setenv("CLEARML_TASK_ID", task.id)
    assert not Task.running_locally()


def test_data_is_the_record_with_attributes(task: Task) -> None:
    """As ClearML's server has it; to change it changes nothing."""
    task.set_parameter("Args/lr", 0.1, description="rate")
    task.add_tags("a")
    task.upload_artifact("a", {"x": 1})
    data = task.data
    assert (data.id, data.name, data.status, data.tags) == (task.id, "run", "in_progress", ["a"])
    lr = data.hyperparams["Args"]["lr"]
    assert (lr.section, lr.name, lr.value, lr.type, lr.description) == ("Args", "lr", "0.1", "float", "rate")
    assert [artifact.key for artifact in data.execution.artifacts] == ["a"]
    assert (data.script.repository, data.runtime["progress"], data.project) == (None, 0, task.project)
    data.tags.append("b")
    assert task.get_tags() == ["a"]
