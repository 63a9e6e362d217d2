"""Finding tasks: exact names, regular expressions, tags, filters; newest first."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from objstore.errors import NotFound
from tracker import Task
from tracker.errors import BadValue, TaskNotFound
from tracker.sdk import queries

Start = Callable[..., Task]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder whose store has five finished tasks; their ids by name, in the order of their making."""
    folder, found = tmp_path_factory.mktemp("queries"), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for project, name, kind, tags, status in (
            ("vision", "train a", "training", ["best", "x"], "completed"),
            ("vision", "train b", "training", ["x"], "failed"),
            ("vision", "test", "testing", [], "stopped"),
            ("vision/deep", "train", "training", ["best"], "completed"),
            ("other", "train a", "qc", ["-x"], "completed"),
        ):
            task = Task.init(
                project, name, kind, tags, auto_connect_frameworks=False, auto_connect_streams=False
            )
            task.close() if status == "completed" else task.mark_failed() if status == "failed" else task.mark_stopped()
            found[f"{project}: {name}"] = task.id
    return folder, found


@pytest.fixture
def ids(made: tuple[Path, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The same five in a store of the test's own."""
    shutil.copytree(made[0] / ".tracker", tmp_path / ".tracker")
    monkeypatch.chdir(tmp_path)
    return made[1]


def names(tasks: list[Task]) -> list[str]:
    """What was found, as the fixture names it."""
    return [f"{task.get_project_name()}: {task.name}" for task in tasks]


ALL = ["other: train a", "vision/deep: train", "vision: test", "vision: train b", "vision: train a"]


def test_newest_come_first(ids: dict[str, str]) -> None:
    """By their last change, whatever that was."""
    assert names(Task.get_tasks()) == ALL
    found = Task.get_task(task_id=ids["vision: train b"])
    assert found is not None
    found.add_tags("touched")
    assert names(Task.get_tasks()) == [
        "vision: train b",
        *(name for name in ALL if name != "vision: train b"),
    ]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"project_name": "vision"}, ALL[2:]),
        ({"project_name": ["vision/deep", "other", "unknown"]}, ALL[:2]),
        ({"project_name": "unknown"}, []),
        ({"project_name": []}, ALL),
        ({"task_name": "train"}, [n for n in ALL if "train" in n]),
        ({"task_name": "^train$"}, ["vision/deep: train"]),
        ({"task_name": "TRAIN"}, []),
        ({"task_name": "a$", "project_name": "vision"}, ["vision: train a"]),
        ({"tags": ["best"]}, ["vision/deep: train", "vision: train a"]),
        ({"tags": "best"}, ["vision/deep: train", "vision: train a"]),
        ({"tags": ["x", "best"]}, ["vision/deep: train", "vision: train b", "vision: train a"]),
        ({"tags": ["best", "-x"]}, ["vision/deep: train"]),
        ({"tags": ["-best"]}, ["other: train a", "vision: test", "vision: train b"]),
        ({"tags": []}, ALL),
        ({"task_filter": {}}, ALL),
        ({"task_filter": {"status": ["failed", "stopped"]}}, ["vision: test", "vision: train b"]),
        ({"task_filter": {"status": "failed"}}, ["vision: train b"]),
        ({"task_filter": {"status": []}}, ALL),
        ({"task_filter": {"status": None}}, ALL),
        ({"task_filter": {"type": ["qc", "testing"]}}, ["other: train a", "vision: test"]),
        (
            {"task_filter": {"tags": ["best"], "status": ["completed"], "project": "vision"}},
            ["vision: train a"],
        ),
        ({"task_filter": {"name": "^te"}}, ["vision: test"]),
        ({"task_filter": {"system_tags": ["development"]}}, ALL),
        ({"task_filter": {"system_tags": ["archived"]}}, []),
    ],
)
def test_every_condition_has_to_hold(ids: dict[str, str], query: dict[str, Any], expected: list[str]) -> None:
    """Names of projects exactly, of tasks as a search; any of the tags, none that has a dash."""
    asked: dict[str, Any] = {k: dict(v) if isinstance(v, dict) else v for k, v in query.items()}
    assert names(Task.get_tasks(**asked)) == expected


def test_ids_come_in_the_order_given(ids: dict[str, str]) -> None:
    """And win over all else; one that is unknown is an error."""
    wanted = ["vision: train a", "other: train a"]
    assert names(Task.get_tasks(task_ids=[ids[name] for name in wanted], project_name="unknown")) == wanted
    assert names(Task.get_tasks(task_ids=ids["vision: test"])) == ["vision: test"]
    assert names(Task.get_tasks(task_filter={"id": [ids[name] for name in wanted]})) == wanted[::-1]
    with pytest.raises(TaskNotFound):
        Task.get_tasks(task_ids=[ids["vision: test"], "00" * 16])


def test_one_task_by_names(ids: dict[str, str], start: Start) -> None:
    """Exact; of several the newest; None when the project has none; an unknown project is an error."""
    again = start("vision", "train a")
    again.close()
    for query, expected in (
        ({"project_name": "vision", "task_name": "train a"}, again.id),
        ({"project_name": "vision/deep"}, ids["vision/deep: train"]),
        ({"task_name": "test"}, ids["vision: test"]),
        ({"project_name": "vision", "task_name": "train"}, None),
        ({"project_name": "vision", "tags": ["best"]}, ids["vision: train a"]),
        ({"task_id": ids["vision: test"], "project_name": "other"}, ids["vision: test"]),
    ):
        found = Task.get_task(**query)
        assert (found.id if found else None) == expected
    with pytest.raises(TaskNotFound, match='Project "nowhere"'):
        Task.get_task(project_name="nowhere")


def test_archived_tasks_give_way(ids: dict[str, str]) -> None:
    """To others that fit; alone they are found unless that is not allowed."""
    for name in ("vision: test", "vision: train b"):
        found = Task.get_task(task_id=ids[name])
        assert found is not None
        found.set_key("system_tag/archived", True)
    newest = Task.get_task(project_name="vision")
    assert newest is not None
    assert newest.id == ids["vision: train a"]
    assert Task.get_task(project_name="vision", task_name="test") is not None
    assert Task.get_task(project_name="vision", task_name="test", allow_archived=False) is None
    assert names(Task.get_tasks(project_name="vision", allow_archived=False)) == ["vision: train a"]
    assert len(Task.get_tasks(project_name="vision")) == 3


def test_the_tag_algebra_is_the_one_of_the_contract(ids: dict[str, str]) -> None:
    """Groups; see tests/tracker/filters/test_algebra.py for each example."""
    for tags, expected in (
        (["__$and", "best", "x"], ["vision: train a"]),
        (["__$or", "-x"], ["other: train a"]),
        (["__$not", "-x", "__$not", "best"], ["vision: test", "vision: train b"]),
        ([None], ["vision: test"]),
        (["best", None], ["vision/deep: train", "vision: test", "vision: train a"]),
    ):
        assert names(Task.get_tasks(tags=tags)) == expected  # type: ignore[arg-type]  # None means something
    with pytest.raises(BadValue, match="is a comma missing"):
        Task.get_tasks(tags=["__$notc"])


def test_hidden_tasks_are_found_when_they_are_asked_for(ids: dict[str, str]) -> None:
    """By id, or with search_hidden."""
    found = Task.get_task(task_id=ids["vision: test"])
    assert found is not None
    found.set_key("system_tag/hidden", True)
    rest = [name for name in ALL if name != "vision: test"]
    assert names(Task.get_tasks()) == rest
    assert len(Task.query_tasks()) == len(rest)
    assert (
        names(Task.get_tasks(task_filter={"search_hidden": True, "order_by": ["last_update"]}))[-1]
        == "vision: test"
    )
    assert names(Task.get_tasks(task_ids=[ids["vision: test"]])) == ["vision: test"]


def test_order_pages_and_subprojects(ids: dict[str, str]) -> None:
    """A page that is not there is empty; what comes first is by the first key."""
    by_name = {"order_by": ["name", "-created"]}
    listed = ["vision: test", "vision/deep: train", "other: train a", "vision: train a", "vision: train b"]
    assert names(Task.get_tasks(task_filter=by_name)) == listed
    assert names(Task.get_tasks(task_filter={**by_name, "page": 1, "page_size": 2})) == listed[2:4]
    assert Task.get_tasks(task_filter={**by_name, "page": 9, "page_size": 2}) == []
    below = {"include_subprojects": True}
    assert len(Task.get_tasks(project_name="vision", task_filter=below)) == 4
    found = Task.get_task(project_name="vision", task_name="train", task_filter=below)
    assert found is not None
    assert found.id == ids["vision/deep: train"]


def test_query_tasks_gives_ids_or_the_fields_that_are_named(ids: dict[str, str]) -> None:
    """By ClearML's names; None for what a task has not."""
    assert Task.query_tasks() == [ids[name] for name in ALL]
    assert Task.query_tasks(project_name="vision", task_name="^train", tags=["best"]) == [
        ids["vision: train a"]
    ]
    draft = Task.create("vision", "drafted")
    draft.set_parameters({"Args/lr": 0.5, "General/a.b": 1})
    fields = ["name", "project", "tags", "created", "hyperparams.Args.lr", "hyperparams.Args.lr.value"]
    fields += ["hyperparams.General.a.b", "hyperparams.Args", "script.repository", "no.such.thing", "status"]
    (row,) = Task.query_tasks(task_name="^drafted$", additional_return_fields=fields)
    assert isinstance(row, dict)
    created = row.pop("created")
    assert created.tzinfo is not None
    assert row == {
        "id": draft.id,
        "name": "drafted",
        "project": "vision",
        "tags": [],
        "status": "created",
        "hyperparams.Args.lr": "0.5",
        "hyperparams.Args.lr.value": "0.5",
        "hyperparams.General.a.b": "1",
        "hyperparams.Args": {"lr": "0.5"},
        "script.repository": None,
        "no.such.thing": None,
    }


def test_other_ways_to_ask(ids: dict[str, str]) -> None:
    """`get_all` by rules, `get_by_name` for the newest of a name."""
    assert names(Task.get_all(status=["failed"])) == ["vision: train b"]
    found = Task.get_by_name("train a")
    assert found is not None
    assert found.id == ids["other: train a"]
    assert Task.get_by_name("nothing") is None


def test_unknown_projects_and_many_fitting_tasks_are_told(
    ids: dict[str, str], said: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With near names, and with what to do."""
    Task.get_tasks(project_name=["visoin", "other"])
    assert said() == ["tracker: there is no project 'visoin': did you mean vision, vision/deep?"]
    Task.get_task(task_name="train a")
    assert said() == [
        f"tracker: 2 tasks fit; the first of them, {ids['other: train a']}, is taken: give its id for another"
    ]
    monkeypatch.setattr(queries, "_MOST", 2)
    assert names(Task.get_tasks()) == ALL[:2]
    assert said()[0].startswith("tracker: the first 2 of 5 tasks are given: page and page_size")
    assert len(Task.query_tasks()) == 5


def test_searches_have_a_limit_of_time(ids: dict[str, str]) -> None:
    """An expression that would run for ever is an error within seconds."""
    found = Task.get_task(task_id=ids["vision: test"])
    assert found is not None
    found.set_key("name", "a" * 20_000)
    with pytest.raises(BadValue, match="took longer than 2 seconds"):
        Task.get_tasks(task_name=r"^(([a-z])+.)+[A-Z]([a-z])+$")
    assert len(Task.get_tasks()) == 5


def test_callers_filter_is_left_as_it_was(ids: dict[str, str]) -> None:
    """It may be used again."""
    mine = {"status": ["failed"], "name": None}
    Task.get_tasks(task_filter=mine)
    assert mine == {"status": ["failed"], "name": None}


def test_without_a_store_the_message_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking makes none."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFound, match="tracker init"):
        Task.get_tasks()
    assert Task.current_task() is None
    assert list(tmp_path.iterdir()) == []
