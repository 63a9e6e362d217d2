"""Tasks that are made without being run: Task.create and Task.clone."""

from __future__ import annotations

import inspect
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tracker import OutputModel, Task
from tracker.errors import BadValue, TaskNotFound

Reopen = Callable[[Task], Task]
Start = Callable[..., Task]
URL = "https://example.com/team/repo.git"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(task_id: str) -> Task:
    """A task as a reader has it."""
    task = Task.get_task(task_id)
    assert task is not None
    return task


def test_names_alone_make_an_empty_draft(folder: Path) -> None:
    """It is no main task, has logged nothing, and may be edited."""
    task = Task.create("examples", "task template")
    assert Task.current_task() is None
    again = found(task.id)
    assert (again.status, again.name, again.get_project_name()) == ("created", "task template", "examples")
    assert (again.task_type, again.get_parameters(), again.get_system_tags()) == ("training", {}, [])
    assert again._state.get("script") is None
    task.set_parameter("lr", 1)
    assert found(task.id).get_parameters() == {"General/lr": "1"}


def test_project_is_the_main_tasks(task: Task) -> None:
    """Where none is given; without a main task that is an error."""
    assert Task.create(task_name="another").get_project_name() == "sdk"
    task.close()
    with pytest.raises(ValueError, match="needs a project_name"):
        Task.create(task_name="another")


def test_repository_is_recorded_and_not_contacted(folder: Path) -> None:
    """What the page's example gives; the call of Task.init comes as a patch of the script."""
    task = Task.create(
        project_name="example",
        task_name="task template",
        repo=URL,
        branch="master",
        script="examples/reporting/html_reporting.py",
        working_directory=".",
        docker="python:3.11",
        docker_args="--ipc=host",
        docker_bash_setup_script=["apt-get update", "true"],
        argparse_args=[("lr", "0.1")],
        packages=["numpy>=1"],
    )
    data = found(task.id).data
    script = data.script
    assert (script.repository, script.branch, script.version_num) == (URL, "master", "")
    assert (script.entry_point, script.working_dir) == ("examples/reporting/html_reporting.py", ".")
    assert "+++ b/examples/reporting/html_reporting.py\n" in script.diff
    assert "Task.init()" in script.diff
    container = ("python:3.11", "--ipc=host", "apt-get update\ntrue")
    assert (data.container.image, data.container.arguments, data.container.setup_shell_script) == container
    assert data.script.requirements == {"pip": "numpy>=1\ndottracker"}
    assert found(task.id).get_parameters() == {"Args/lr": "0.1"}
    plain = Task.create("example", "plain", repo=URL, script="a.py", add_task_init_call=False)
    assert plain.data.script.diff == ""


SCRIPT = '"""What it does."""\nfrom __future__ import annotations\nprint("work")\n'


def test_script_without_repository_is_its_text(folder: Path) -> None:
    """With the call of Task.init where Python allows it, so that what is recorded runs."""
    (folder / "train.py").write_text(SCRIPT)
    diff = Task.create("example", "script", script="train.py").data.script.diff
    compile(diff, "train.py", "exec")
    lines = diff.splitlines()
    assert lines[:2] == SCRIPT.splitlines()[:2]
    assert lines[-1] == 'print("work")'
    assert "Task.init()" in lines[3]
    assert (
        Task.create("example", "as it is", script="train.py", add_task_init_call=False).data.script.diff
        == SCRIPT
    )
    (folder / "own.py").write_text("from tracker import Task\nTask.init('a', 'b')\n")
    assert Task.create("example", "own", script="own.py").data.script.diff.count("init") == 1


def test_local_repository_is_asked_for_its_state(folder: Path) -> None:
    """Its URL, commit and uncommitted changes; and the whole diff applies to that commit."""
    repository = folder / "repo"
    repository.mkdir()

    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
        done = subprocess.run(
            ["git", *identity, *arguments], cwd=repository, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    git("init", "-q", "-b", "main")
    (repository / "train.py").write_text(SCRIPT)
    git("add", ".")
    git("commit", "-qm", "first")
    git("remote", "add", "origin", "https://user:secret@example.com/team/repo.git")
    script = Task.create("example", "local", repo=str(repository), script="train.py").data.script
    assert (script.repository, script.branch, script.version_num) == (URL, "main", git("rev-parse", "HEAD"))
    (folder / "diff").write_text(script.diff)
    git("apply", str(folder / "diff"))
    assert "Task.init()" in (repository / "train.py").read_text()


def test_module_is_an_entry_point(folder: Path) -> None:
    """With its arguments; a script and a module are too many."""
    task = Task.create("example", "module", repo=URL, module="-m pkg.train --fast", binary="python3.12")
    assert (task.data.script.entry_point, task.data.script.binary) == ("-m pkg.train --fast", "python3.12")
    assert Task.create("example", "shell", repo=URL, script="run.sh").data.script.binary == "/bin/bash"


WRONG: dict[str, dict[str, Any]] = {
    "script and module are both given": {"script": "a.py", "module": "a"},
    "is no file": {"requirements_file": "nowhere.txt"},
    "packages are a list": {"packages": "numpy"},
    "pairs of a name and a value": {"argparse_args": ["lr=1"]},
    "one of training": {"task_type": "trainnig"},
    "too short": {"task_name": "ab"},
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_arguments_make_no_task(folder: Path, message: str) -> None:
    """And say what was expected."""
    arguments: dict[str, Any] = {"task_name": "draft", **WRONG[message]}
    with pytest.raises(BadValue, match=message):
        Task.create("example", **arguments)
    assert not (folder / ".tracker" / "refs").exists() or Task.get_tasks() == []


def test_requirements_file_and_base_task(folder: Path) -> None:
    """A base task is where the record begins; what is given replaces it."""
    (folder / "requirements.txt").write_text("torch\n")
    base = Task.create("example", "base", task_type="testing", requirements_file="requirements.txt")
    base.set_parameter("lr", 1)
    base.add_tags("a")
    made = Task.create("example", "made", base_task_id=base.id, argparse_args=[("seed", 3)])
    assert (made.task_type, made.get_tags(), made.parent) == ("testing", ["a"], base.id)
    assert made.get_parameters() == {"Args/seed": "3", "General/lr": "1"}
    assert made.data.script.requirements == {"pip": "torch\ndottracker"}


def test_clone_is_a_draft_of_what_was_to_run(task: Task) -> None:
    """Named after its source; with parameters, tags and input models; nothing of what was made, or of the run."""
    task.set_parameter("lr", 1)
    task.add_tags("a")
    task.set_comment("a comment")
    task.upload_artifact("a", {"x": 1})
    OutputModel(name="net").update_weights(register_uri="https://example.com/1.pt")
    task.get_logger().report_scalar("t", "s", 1.0, 5)
    task.get_logger().report_single_value("accuracy", 0.5)
    task.set_progress(50)
    task.set_key("model/input/x", {"name": "base"})
    for source in (task, task.id):
        clone = found(Task.clone(source).id)
        assert (clone.name, clone.status, clone.parent) == ("Clone Of run", "created", task.id)
        assert (clone.get_parameters(), clone.get_tags()) == ({"General/lr": "1"}, ["a"])
        assert (clone.comment, clone.get_project_name(), clone.get_system_tags()) == ("a comment", "sdk", [])
        assert (len(clone.artifacts), clone.get_reported_single_values()) == (0, {})
        assert list(clone._state.section("model/output")) == []
        assert list(clone._state.section("model/input")) == ["x"]
        assert (clone.get_progress(), clone.get_last_iteration(), clone.data.started) == (None, 0, None)
    assert Task.current_task() is task
    assert Task.clone(Task.clone(task)).parent == task.id  # as its source has it


def test_clone_takes_what_is_given(task: Task) -> None:
    """Name, comment, parent; a project by name or id, which need not exist."""
    other = Task.create("other", "parent")
    clone = Task.clone(task, "newly created task", "why", other.id, Task.get_project_id("other"))
    given = (clone.name, clone.comment, clone.parent, clone.get_project_name())
    assert given == ("newly created task", "why", other.id, "other")
    assert Task.clone(task, project="brand new").get_project_name() == "brand new"


def test_clone_of_nothing_is_an_error(task: Task) -> None:
    """An AssertionError where ClearML asserts."""
    for wrong in (None, 5):
        with pytest.raises(AssertionError, match="a Task or a task's id"):
            Task.clone(wrong)  # type: ignore[arg-type]
    with pytest.raises(TaskNotFound):
        Task.clone("00" * 16)


SIGNATURES = {
    "create": "project_name task_name task_type repo branch commit script working_directory packages "
    "requirements_file docker docker_args docker_bash_setup_script argparse_args base_task_id add_task_init_call "
    "force_single_script_file binary module detect_repository",
    "clone": "source_task name comment parent project",
    "mark_failed": "self ignore_errors status_reason status_message force",
    "mark_completed": "self ignore_errors status_message force",
    "mark_stopped": "self force status_message",
    "reset": "self set_started_on_success force",
    "delete": "self delete_artifacts_and_models skip_models_used_by_other_tasks raise_on_error callback",
    "wait_for_status": "self status raise_on_status check_interval_sec",
    "register_abort_callback": "self callback_function callback_execution_timeout",
    "move_to_project": "self new_project_id new_project_name system_tags",
    "set_project": "self project_id project_name",
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_arguments_are_clearmls(name: str) -> None:
    """In name and order."""
    assert list(inspect.signature(getattr(Task, name)).parameters) == SIGNATURES[name].split()
