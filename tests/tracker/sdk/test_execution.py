"""The execution record: code, packages and container, as found out, as wished for, and as somebody says it is."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.scripts import Scripts
from tracker import Task
from tracker.errors import BadValue, TaskNotFound
from tracker.sdk import execution
from tracker.sdk.execution import Wishes

Start = Callable[..., Task]
Reopen = Callable[[Task], Task]
Said = Callable[[], list[str]]


@pytest.fixture(autouse=True)
def _own_wishes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test wishes for is no other's."""
    monkeypatch.setattr(execution, "wishes", Wishes())


FOUND = "# Python 3.11.2\n\nAlpha == 1.0\nblake3 == 1.0.9\nzeta == 3\n\n# Local modules: mine\n"


@pytest.mark.parametrize(
    ("name", "version", "line"),
    [
        ("mid", "1.2", "mid == 1.2"),
        ("mid", ">=1,<2", "mid >=1,<2"),
        ("mid", "", "mid"),
        ("mid", "@ git+https://x/y", "mid @ git+https://x/y"),
        ("never-installed-anywhere", None, "never-installed-anywhere"),
    ],
)
def test_added_requirement_is_listed_in_its_place(name: str, version: str | None, line: str) -> None:
    """Among the packages, which stay in order, before the comment on the script's own modules."""
    lines = execution.packages(FOUND, Wishes(added={name: version})).splitlines()
    assert lines == [*FOUND.splitlines()[:4], line, *FOUND.splitlines()[4:]]


def test_requirement_that_is_listed_already_is_replaced_or_left() -> None:
    """However its name is spelled; without a version what was found stays."""
    assert "alpha == 2\n" in execution.packages(FOUND, Wishes(added={"alpha": "2"}))
    assert "Alpha" not in execution.packages(FOUND, Wishes(added={"alpha": "2"}))
    assert execution.packages(FOUND, Wishes(added={"ALPHA": None})) == FOUND
    assert "blake3 == " in execution.packages("# Python 3\n", Wishes(added={"blake3": None}))


def test_ignored_and_frozen_and_given_requirements(tmp_path: Path) -> None:
    """Left out by name; all that is installed; a file as it is."""
    assert execution.packages(FOUND, Wishes(ignored={"ALPHA", "no"})) == FOUND.replace("Alpha == 1.0\n", "")
    frozen = execution.packages(FOUND, Wishes(freeze=True)).splitlines()
    assert frozen[:2] == ["# Python 3.11.2", ""]
    assert sum(line.lower().startswith("pytest == ") for line in frozen) == 1
    assert len(frozen) > 20
    (tmp_path / "r.txt").write_text("torch==2\n")
    assert execution.packages(FOUND, Wishes(file=tmp_path / "r.txt")) == "torch==2\n"


def test_requirements_file_is_wished_for_line_by_line(tmp_path: Path) -> None:
    """Comments and options are no packages."""
    (tmp_path / "r.txt").write_text("# c\n-e .\nTorch==2.1 # why\nplain\n\nx >= 1\n")
    Task.add_requirements(str(tmp_path / "r.txt"))
    assert execution.wishes.added == {"Torch": "==2.1", "plain": "", "x": ">= 1"}


def test_wishes_after_init_are_too_late(task: Task, said: Said) -> None:
    """With a warning each; a file that is not there is an error at once."""
    Task.add_requirements("numpy")
    Task.ignore_requirements("numpy")
    Task.force_requirements_env_freeze()
    Task.force_store_standalone_script()
    assert [line.split()[1] for line in said()] == [
        "Task.add_requirements",
        "Task.ignore_requirements",
        "Task.force_requirements_env_freeze",
        "Task.force_store_standalone_script",
    ]
    with pytest.raises(BadValue, match="is no file"):
        Task.force_requirements_env_freeze(requirements_file="nowhere.txt")


def test_what_is_set_beats_what_is_found_out(tmp_path: Path) -> None:
    """However late the background finds it: script and packages stay as the script said."""
    ended = Scripts(tmp_path).run(
        "from tracker import Task\n"
        "task = Task.init('sdk', 'run', auto_connect_streams=False)\n"
        "task.set_packages(['a == 1', 'b'])\n"
        "task.set_script(branch='mine', diff='', working_dir='sub')\n"
        "import blake3\n"  # imported later: the list would be made again
        "task.close()\n"
        "import json\n"
        "found = Task.get_tasks()[0]\n"
        "print(json.dumps([found.get_script(), found.get_requirements(), found.export_task()['script']['diff']]))\n"
    )
    script, requirements, diff = ended.value
    assert script["branch"] == "mine"
    assert script["working_dir"] == "sub"
    assert script["entry_point"].endswith(".py")
    assert requirements == {"pip": "a == 1\nb", "conda": None, "orig_pip": None}
    assert diff == ""


def test_wishes_and_variables_reach_the_record(tmp_path: Path) -> None:
    """Packages before init, the container and the version control from the environment."""
    ended = Scripts(tmp_path).run(
        "from tracker import Task\n"
        "Task.add_requirements('mine', '1.2')\n"
        "Task.ignore_requirements('orjson')\n"
        "import json, orjson\n"
        "task = Task.init('sdk', 'run', auto_connect_streams=False)\n"
        "task.close()\n"
        "found = Task.get_tasks()[0]\n"
        "print(json.dumps([found.get_requirements().pip, found.export_task()['script'], found.get_base_docker(),"
        " found.get_parameters()]))\n",
        CLEARML_VCS_REPO_URL="https://example.org/r.git",
        TRACKER_VCS_COMMIT_ID="c0ffee",
        CLEARML_VCS_DIFF=base64.b64encode(b"diff --git").decode(),
        CLEARML_DOCKER_IMAGE="image:1",
        CLEARML_LOG_ENVIRONMENT="MY_*,NOT_THERE",
        MY_SEED="7",
    )
    pip, script, docker, parameters = ended.value
    assert "mine == 1.2" in pip
    assert "orjson" not in pip
    assert (script["repository"], script["version_num"], script["diff"]) == (
        "https://example.org/r.git",
        "c0ffee",
        "diff --git",
    )
    assert docker == "image:1"
    assert parameters == {"Environment/MY_SEED": "7"}


def test_settings_change_what_is_recorded(tmp_path: Path) -> None:
    """No console, all packages, no uncommitted changes, no pickle unasked."""
    import pygit2

    repository = pygit2.init_repository(str(tmp_path))
    (tmp_path / "kept.txt").write_text("old\n")
    repository.index.add("kept.txt")
    me = pygit2.Signature("me", "me@example.org")
    repository.create_commit("HEAD", me, me, "first", repository.index.write_tree(), [])
    repository.index.write()
    (tmp_path / "kept.txt").write_text("changed\n")
    source = """
        import json
        from tracker import Task
        task = Task.init('sdk', 'run')
        print('printed')
        try:
            task.upload_artifact('pickle', {1, 2})
            said = ''
        except ValueError as error:
            said = str(error)
        task.close()
        found = Task.get_tasks()[0]
        output, packages = found.get_reported_console_output(9), found.get_requirements().pip
        print(json.dumps([output, packages, found.export_task()["script"]["diff"], said]))
    """
    output, packages, diff, said = Scripts(tmp_path).run(source).value
    assert ("printed" in "".join(output), "pytest ==" in packages, "+changed" in diff, said) == (
        True,
        False,
        True,
        "",
    )
    settings: dict[str, Any] = {
        "TRACKER_LOG_STDOUT": "0",
        "TRACKER_DETECT_WITH_PIP_FREEZE": "1",
        "TRACKER_STORE_UNCOMMITTED_CODE_DIFF": "no",
        "TRACKER_AUTO_PICKLE": "false",
    }
    output, packages, diff, said = Scripts(tmp_path).run(source, **settings).value
    assert (output, "pytest ==" in packages, diff) == ([], True, "")
    assert "pickle" in said


def test_standalone_script_is_recorded_instead_of_its_repository(tmp_path: Path) -> None:
    """As its text."""
    import pygit2

    pygit2.init_repository(str(tmp_path))
    repository = pygit2.Repository(str(tmp_path))
    me = pygit2.Signature("me", "me@example.org")
    repository.create_commit("HEAD", me, me, "first", repository.index.write_tree(), [])
    source = (
        "from tracker import Task\n"
        "Task.force_store_standalone_script()\n"
        "task = Task.init('sdk', 'run', auto_connect_streams=False)\n"
        "task.close()\n"
        "import json; print(json.dumps(Task.get_tasks()[0].export_task()['script']))\n"
    )
    script = Scripts(tmp_path).run(source).value
    assert (script["repository"], script["version_num"], script["working_dir"]) == ("", "", ".")
    assert "Task.force_store_standalone_script()" in script["diff"]
    plain = Scripts(tmp_path).run(source.replace("Task.force_store_standalone_script()", "pass")).value
    assert len(plain["version_num"]) == 40


def test_packages_are_text_file_or_list(task: Task, tmp_path: Path) -> None:
    """Anything else is refused."""
    (tmp_path / "r.txt").write_text("x\n")
    for given, text in (
        ("a\nb", "a\nb"),
        (tmp_path / "r.txt", "x\n"),
        ("r.txt", "x\n"),
        (["a", "b"], "a\nb"),
    ):
        task.set_packages(given)
        assert task.get_requirements().pip == text
    wrong: Any = [1]
    with pytest.raises(BadValue, match="packages are a text"):
        task.set_packages(wrong)


def test_container_is_set_in_parts(task: Task, reopened: Reopen) -> None:
    """None leaves a part, an empty text clears it; a command is an image and its arguments."""
    assert task.get_base_docker() == ""
    task.set_base_docker("image:2 --gpus all")
    task.set_base_docker(docker_setup_bash_script=["apt update", "true"])
    task.set_base_docker(docker_arguments=["-e", "A=1"])
    found = reopened(task)
    assert found.get_base_docker() == "image:2 -e A=1"
    assert found.export_task()["container"] == {
        "image": "image:2",
        "arguments": "-e A=1",
        "setup_shell_script": "apt update\ntrue",
    }
    copy = Task.clone(found)
    copy.set_base_docker(docker_arguments="")
    assert copy.get_base_docker() == "image:2"


def test_record_goes_out_and_in(task: Task, reopened: Reopen) -> None:
    """A copy has all that can be edited, and nothing of what was reported."""
    task.set_parameters({"Args/lr": 0.1}, n=3)
    task.set_user_properties(owner="me")
    task.set_configuration_object("c", config_text="x" * 70_000, description="d")
    task.set_script(repository="r", commit="abc", diff="y" * 70_000)
    task.set_packages("p == 1")
    task.set_base_docker("image args")
    task.set_model_label_enumeration({"cat": 1})
    task.add_tags("a b")
    task.get_logger().report_scalar("t", "s", 1.0, 1)
    found = reopened(task)
    record = found.export_task()
    assert record["hyperparams"]["Args"]["lr"] == {
        "section": "Args",
        "name": "lr",
        "value": "0.1",
        "type": "float",
        "description": None,
    }
    copy = Task.import_task(record)
    assert copy.id != task.id
    assert copy.status == "created"
    assert (copy.name, copy.get_project_name(), copy.get_tags()) == ("run", "sdk", ["a", "b"])
    assert copy.get_parameters(cast=True) == found.get_parameters(cast=True)
    assert copy.get_reported_scalars() == {}
    same = {
        k: v for k, v in copy.export_task().items() if k not in ("id", "status", "created", "system_tags")
    }
    assert same == {k: v for k, v in record.items() if k in same}


def test_record_is_put_into_a_task(task: Task) -> None:
    """Merged, what it does not name stays; else what it has parts for is replaced."""
    task.set_parameters({"Args/a": 1, "Args/b": 2})
    task.set_configuration_object("c", config_text="1")
    change = {
        "hyperparams": {"Args": {"a": {"value": "9"}, "n": {"value": "x", "type": "str"}}},
        "name": "new name",
    }
    assert task.update_task(change) is True
    assert task.get_parameters() == {"Args/a": "9", "Args/b": "2", "Args/n": "x"}
    assert task.name == "new name"
    assert Task.import_task(change, target_task=task.id) is not None
    (found,) = Task.get_tasks()
    assert found.get_parameters() == {"Args/a": "9", "Args/n": "x"}
    assert found.get_configuration_object("c") == "1"
    assert Task.import_task({"script": {"branch": "b"}}, target_task=found, update=True) is found
    assert found.get_script()["branch"] == "b"


@pytest.mark.parametrize(
    ("record", "what"),
    [
        ([], "a task's record is a dict"),
        ({"name": "x"}, "project"),
        ({"project_name": "project", "name": "ab"}, "name"),
        ({"project_name": "project", "name": "name", "type": "wrong"}, "task type 'wrong'"),
        ({"project_name": "project", "name": "name", "hyperparams": []}, "hyperparams"),
        (
            {"project_name": "project", "name": "name", "hyperparams": {"A": {"b": {"value": 1}}}},
            "A.b .* is text",
        ),
    ],
)
def test_bad_record_is_named_and_makes_nothing(task: Task, record: Any, what: str) -> None:
    """With the part that is wrong."""
    with pytest.raises(ValueError, match=what):
        Task.import_task(record)
    assert len(Task.get_tasks()) == 1


def test_target_is_a_task_or_an_id(task: Task) -> None:
    """One that is there."""
    wrong: Any = 5
    with pytest.raises(ValueError, match="a Task or an id, not 5"):
        Task.import_task({}, target_task=wrong)
    with pytest.raises(TaskNotFound):
        Task.import_task({}, target_task="0" * 32)
