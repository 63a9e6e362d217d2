"""A task that is run again: its values go into what the script connects, after ClearML's table of casts."""

from __future__ import annotations

import argparse
import enum
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tracker import InputModel, OutputModel, Task
from tracker.capture import Guard, argparse_
from tracker.errors import BadValue, TaskNotFound, UsageError
from tracker.sdk import identity
from tracker.sdk.task_parameters import TaskParameters, param, percent_param

Start = Callable[..., Task]
Again = Callable[..., Task]
Said = Callable[[], list[str]]


class Color(enum.Enum):
    """A choice."""

    RED = 1
    BLUE = 2


@pytest.fixture(autouse=True)
def _whole_tap(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process's own tap of argparse, as sound as in a new process: tests of faults may have tripped it."""
    monkeypatch.setattr(argparse_._tap, "_guard", Guard("argparse"))


@pytest.fixture
def again(start: Start, monkeypatch: pytest.MonkeyPatch) -> Again:
    """Closes a task, edits a copy's parameters as somebody would, and runs the copy in this process."""
    monkeypatch.setenv(identity.RUN_TASK, "")  # so that it is put back

    def run(task: Task, edits: dict[str, str] | None = None, **options: Any) -> Task:
        task.close()
        copy = Task.clone(task)
        for name, value in (edits or {}).items():
            copy.set_parameter(name, value)
        Task.debug_simulate_remote_task(copy.id)
        repeated = start("another", "name", **options)
        assert repeated.id == copy.id
        return repeated

    return run


@pytest.mark.parametrize(
    ("default", "text", "value"),
    [
        (1, "2", 2),
        (0.5, "1e-3", 0.001),
        (0.5, "3", 3.0),
        (True, "0", False),
        (False, "2.5", True),
        (False, "True", True),
        (True, "yes", False),  # neither a number nor "true"
        ("a", "1", "1"),
        ("a", "", ""),
        (1, "", None),
        ([1], "", None),
        ([1], "[2, 3]", [2, 3]),
        ((1, 2), "[3, 4]", (3, 4)),
        ([1], "[a, 6]", ["a", 6]),  # as YAML
        ({}, '{"a": [1]}', {"a": [1]}),
        (Color.RED, "BLUE", Color.BLUE),
        (None, "text", "text"),
        (None, "", None),
    ],
)
def test_stored_text_takes_the_defaults_type(
    task: Task, again: Again, default: Any, text: str, value: Any
) -> None:
    """Row by row of the contract's table, in the dict that is returned and in the very one that was given."""
    pytest.importorskip("yaml")
    task.connect({"p": default, "nested": {"p": default}})
    repeated = again(task, {"General/p": text, "General/nested/p": text})
    mine = {"p": default, "nested": {"p": default}}
    given = repeated.connect(mine)
    for found in (given["p"], given["nested"]["p"], mine["p"], mine["nested"]["p"]):
        assert found == value
        assert isinstance(found, type(value))


def test_type_of_a_none_default_is_the_stored_one(task: Task, again: Again) -> None:
    """What the task says the parameter is."""
    task.set_parameter("General/n", 1)
    assert again(task).connect({"n": None})["n"] == 1


@pytest.mark.parametrize(
    ("default", "text", "why"),
    [
        (3, "1.5", "invalid literal"),
        ([1], "word", "list|JSON"),
        (Color.RED, "GREEN", "RED, BLUE"),
        ({}, "[1]", "a dict"),
    ],
)
def test_text_that_does_not_fit_leaves_the_default_with_a_warning(
    task: Task, again: Again, said: Said, default: Any, text: str, why: str
) -> None:
    """Named with its value; the others are taken."""
    task.connect({"p": default, "q": 1})
    repeated = again(task, {"General/p": text, "General/q": "2"})
    assert repeated.connect({"p": default, "q": 1}) == {"p": default, "q": 2}
    (line,) = said()
    assert f"General/p = {text!r} is not used" in line
    assert re.search(why, line)


def test_keys_of_one_side_only(task: Task, again: Again) -> None:
    """What the task lacks keeps its default and is added; what the dict lacks stays on the task, unused."""
    task.connect({"both": 1, "gone": 2})
    repeated = again(task, {"General/both": "10"})
    mine = {"both": 1, "new": 3, 7: "seven"}
    found = repeated.connect(mine)
    assert found == mine == {"both": 10, "new": 3, 7: "seven"}
    assert repeated.get_parameters() == {
        "General/7": "seven",
        "General/both": "10",
        "General/gone": "2",
        "General/new": "3",
    }
    found["both"] = 11
    assert repeated.get_parameter("General/both") == "11"
    assert type(pickle.loads(pickle.dumps(found))) is dict


def test_text_that_says_what_the_default_is_stays_as_it_is(task: Task, again: Again) -> None:
    """The record is not rewritten by a run that changes nothing."""
    task.set_parameter("General/lr", "0.10")
    task.set_parameter("General/sizes", [1, 2])
    repeated = again(task)
    sizes = [1, 2]
    mine = {"lr": 0.5, "sizes": sizes}
    assert repeated.connect(mine) == {"lr": 0.1, "sizes": [1, 2]}
    assert mine["sizes"] is sizes
    assert repeated.get_parameter("General/lr") == "0.10"


def test_arguments_stay_the_parsers_where_their_capture_is_off(task: Task, again: Again) -> None:
    """A run that does not record arguments does not replay them."""
    task.set_parameter("Args/lr", 0.5)
    again(task)
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.1)
    assert parser.parse_args([]).lr == 0.1


def test_ignored_overrides_keep_the_scripts_values_until_the_switch_is_edited(
    task: Task, again: Again
) -> None:
    """The switch is a parameter of the section."""
    task.connect({"a": 1}, ignore_remote_overrides=True)
    assert task.get_parameter("General/_ignore_remote_overrides_", cast=True) is True
    repeated = again(task, {"General/a": "5"})
    assert repeated.connect({"a": 1}, ignore_remote_overrides=True) == {"a": 1}
    assert repeated.get_parameter("General/a") == "1"
    edits = {"General/a": "5", "General/_ignore_remote_overrides_": "False"}
    assert again(repeated, edits).connect({"a": 1}, ignore_remote_overrides=True) == {"a": 5}


class Settings:
    """What a script keeps its settings in."""

    shared = "class"

    def __init__(self) -> None:
        self.lr = 0.1
        self.model = {"depth": 2}
        self._hidden = 1
        self.loader = object()


class Deep(Settings):
    """A class that is used as it is."""

    depth = 3

    @property
    def computed(self) -> int:
        """No parameter."""
        return 1

    def method(self) -> None:
        """None either."""


def test_objects_attributes_go_there_and_back(task: Task, again: Again) -> None:
    """Of the instance only, public, plain; the object itself is returned."""
    mine = Settings()
    assert task.connect(mine, "Mine") is mine
    assert task.get_parameters() == {"Mine/lr": "0.1", "Mine/model/depth": "2"}
    repeated = again(task, {"Mine/lr": "0.5", "Mine/model/depth": "9"})
    mine = Settings()
    assert repeated.connect(mine, "Mine") is mine
    assert (mine.lr, mine.model, mine._hidden, vars(mine).keys()) == (
        0.5,
        {"depth": 9},
        1,
        vars(Settings()).keys(),
    )


def test_classes_attributes_go_there_and_back(
    task: Task, again: Again, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With those of its bases."""
    assert task.connect(Deep) is Deep
    assert task.get_parameters() == {"General/depth": "3", "General/shared": "class"}
    monkeypatch.setattr(Deep, "depth", 3)  # so that it is put back
    monkeypatch.setattr(Deep, "shared", "class", raising=False)
    assert again(task, {"General/depth": "4"}).connect(Deep) is Deep
    assert (Deep.depth, Deep.shared) == (4, "class")


class Mine(TaskParameters):
    """As ClearML's examples declare them."""

    iterations = param(type=int, desc="how many", range=(0, 100000), default=10)
    accuracy = percent_param(desc="the goal")
    name = param(default="x")


def test_task_parameters_are_the_whole_section(task: Task, again: Again) -> None:
    """What was there besides goes; run again, an unknown one is an error."""
    task.set_parameter("Mine/old", 1)
    mine = Mine(iterations=1000, accuracy=0.95)
    assert task.connect(mine, "Mine") is mine
    assert task.get_parameters() == {"Mine/iterations": "1000", "Mine/accuracy": "0.95", "Mine/name": "x"}
    repeated = again(task, {"Mine/iterations": "7", "Mine/accuracy": "0.5"})
    found = Mine(iterations=1)
    assert found.connect(repeated, "Mine") is found
    assert found.to_dict() == {"iterations": 7, "accuracy": 0.5, "name": "x"}
    with pytest.raises(ValueError, match="no parameter 'wrong': it has iterations, accuracy, name"):
        again(repeated, {"Mine/wrong": "1"}).connect(Mine(), "Mine")


def test_task_parameters_hold_their_types_and_ranges() -> None:
    """By whatever way a value comes in."""
    mine = Mine(5, "0.25")
    assert mine.to_dict() == {"iterations": 5, "accuracy": 0.25, "name": "x"}
    mine.update_from_dict({"iterations": "6"})
    assert mine.iterations == 6
    for call in (
        lambda: Mine(iterations=-1),
        lambda: setattr(mine, "accuracy", 1.5),
        lambda: mine.update_from_dict({"iterations": "many"}),
        lambda: mine.update_from_dict({"unknown": 1}),
    ):
        with pytest.raises(ValueError, match=r"iterations|accuracy|unknown"):
            call()
    with pytest.raises(TypeError, match="no further parameter 'wrong'"):
        Mine(wrong=1)


def test_input_model_is_the_tasks(task: Task, again: Again, tmp_path: Path) -> None:
    """Somebody has put another one in its place."""
    made = []
    for name in ("first", "second"):
        (tmp_path / name).write_bytes(name.encode())
        model = OutputModel(task=task, name=f"model {name}")
        model.update_weights(str(tmp_path / name))
        made.append(model.id)
    task.connect(InputModel(made[0]), "start")
    task.set_key(f"model/input/{made[0]}", None)
    task.link_model("input", made[1], "start")
    repeated = again(task)
    used = InputModel(made[0])
    repeated.connect(used, "start")
    assert used.id == made[1]
    repeated.connect(OutputModel(task=repeated, name="model third"), "third")
    assert "third" in repeated.models.output.keys()  # noqa: SIM118 - a list whose items also have names


def test_only_the_connected_parser_is_recorded(start: Start) -> None:
    """Where the others are not watched; before its parse or after."""
    before = argparse.ArgumentParser()
    before.add_argument("--before", default="b")
    before.parse_args([])
    task = start()
    parser, other = argparse.ArgumentParser(), argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.1)
    other.add_argument("--other", default=1)
    assert task.connect(parser) is parser
    parser.parse_args(["--lr", "0.2"])
    other.parse_args([])
    assert task.get_parameters() == {"Args/lr": "0.2"}
    task.connect(before)
    assert task.get_parameters() == {"Args/lr": "0.2", "Args/before": "b"}


def test_connected_parser_gets_the_tasks_values(start: Start, again: Again) -> None:
    """Explicit ones win."""
    task = start()
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--size", type=int, required=True)
    task.connect(parser)
    parser.parse_args(["--size", "3"])
    repeated = again(task, {"Args/lr": "0.5"})
    assert parser.parse_args(["--size", "3"]).lr == 0.1  # nobody asked for its values yet
    repeated.connect(parser)
    assert parser.parse_args([]) == argparse.Namespace(lr=0.5, size=3)
    assert parser.parse_args(["--size", "4"]) == argparse.Namespace(lr=0.5, size=4)
    assert repeated.get_parameter("Args/size") == "4"
    repeated.close()
    assert parser.parse_args(["--size", "1"]).lr == 0.1


def test_what_the_task_is_called_stays(start: Start, again: Again) -> None:
    """The script's project, name, type and tags are not those of a copy; a second init returns it."""
    task = start("sdk", "original", tags=["mine"])
    repeated = again(task, tags=["script"], task_type="testing")
    assert (repeated.name, repeated.get_project_name(), repeated.task_type) == (
        "Clone Of original",
        "sdk",
        "training",
    )
    assert repeated.get_tags() == ["mine"]
    assert repeated.status == "in_progress"
    assert Task.init("elsewhere", "other name") is repeated
    repeated.close()
    following = start("sdk", "following")
    assert following.id != task.id
    assert not following.replays


def test_simulation_refuses_what_cannot_be(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown task, and a process that records one already."""
    monkeypatch.setenv(identity.RUN_TASK, "")
    task = start()
    with pytest.raises(UsageError, match=r"before Task\.init"):
        Task.debug_simulate_remote_task(task.id)
    task.close()
    with pytest.raises(TaskNotFound):
        Task.debug_simulate_remote_task("0" * 32)
    with pytest.raises(ValueError, match="could not be found"):
        Task.debug_simulate_remote_task("0" * 32)


def test_reset_hides_what_was_reported(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """And only on request."""
    monkeypatch.setenv(identity.RUN_TASK, "")
    task = start()
    task.get_logger().report_scalar("t", "s", 1.0, 5)
    task.close()
    Task.debug_simulate_remote_task(task.id, reset_task=True)
    repeated = start()
    repeated.get_logger().report_scalar("t", "s", 2.0, 1)
    repeated.close()
    (found,) = Task.get_tasks()
    assert found.get_reported_scalars()["t"]["s"]["x"] == [1]


def test_identity_of_a_process_that_runs_a_task_again() -> None:
    """Its rank decides; children belong to it; ClearML's variable counts where nothing of ours speaks."""
    key, other = "a" * 32, "b" * 32
    run = {"TRACKER_RUN_TASK": key}

    def of(ordinal: int, environment: dict[str, str], there: bool = True) -> identity.Identity:
        return identity.of_process("p", "n", ordinal, environment, exists=lambda _: there)

    assert of(0, run) == identity.Identity(key, True, True, True)
    assert of(0, {**run, "RANK": "1"}) == identity.Identity(key, False, True, True)
    assert of(0, {**run, "CLEARML_NODE_ID": "2"}).owner is False
    assert of(1, run).key != key
    child = {**run, "TRACKER_TASK_ID": key, "TRACKER_OWNER_PID": "1"}
    assert of(0, child) == identity.Identity(key, False, True, True)
    assert of(0, {**child, "TRACKER_TASK_ID": other}) == identity.Identity(other, False, True, False)
    assert of(0, {"CLEARML_TASK_ID": key}).runs
    assert not of(0, {"CLEARML_TASK_ID": key}, there=False).runs
    assert not of(0, {"CLEARML_TASK_ID": "of the server"}).runs
    assert of(0, {"CLEARML_TASK_ID": key, **run, "TRACKER_RUN_TASK": other}).key == other
    with pytest.raises(BadValue, match="TRACKER_RUN_TASK"):
        of(0, {"TRACKER_RUN_TASK": "short"})
