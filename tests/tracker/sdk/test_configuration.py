"""Configuration objects: dict, list and file, there and back; labels and the model's design."""

from __future__ import annotations

import enum
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tracker import Task
from tracker.errors import BadValue
from tracker.sdk import configuration, identity

Start = Callable[..., Task]
Reopen = Callable[[Task], Task]
Said = Callable[[], list[str]]
Edited = Callable[..., Task]


class Mode(enum.Enum):
    """A choice."""

    FAST = 1


@pytest.fixture
def edited(start: Start, monkeypatch: pytest.MonkeyPatch) -> Edited:
    """Closes a task, sets a copy's configuration texts, and runs that in this process."""
    monkeypatch.setenv(identity.RUN_TASK, "")

    def run(task: Task, **texts: str) -> Task:
        task.close()
        copy = Task.clone(task)
        for name, text in texts.items():
            copy.set_configuration_object(name, config_text=text)
        Task.debug_simulate_remote_task(copy.id)
        return start()

    return run


def test_dict_is_recorded_with_what_is_written_later(task: Task, reopened: Reopen) -> None:
    """As JSON, which is HOCON too: keys with dots, texts like numbers and empty dicts stay what they are."""
    mine = {"a.b": 1, "text": "1", "n": None, "e": {}, "l": [1, {"x": True}], "é": "${HOME}"}
    given = task.connect_configuration(mine, name="mine", description="d")
    assert given == mine
    given["new"] = {"deep": 1}
    given["new"]["deep"] = 2
    found = reopened(task)
    assert found.get_configuration_object_as_dict("mine") == {**mine, "new": {"deep": 2}}
    assert found._state.get("config/mine")["type"] == "dictionary"
    assert found._state.get("config/mine")["description"] == "d"
    assert found.get_configuration_objects() == {"mine": found.get_configuration_object("mine")}
    assert found.get_configuration_object("other") is found.get_configuration_object_as_dict("other") is None
    given["late"] = 1
    assert "late" not in str(Task.get_tasks()[0].get_configuration_object("mine"))


def test_values_that_json_lacks_are_their_texts(task: Task) -> None:
    """Numbers of numpy are numbers, tuples lists, keys texts."""
    task.connect_configuration(
        {1: (1, 2), "p": Path("a/b"), "m": Mode.FAST, "f": np.float32(0.5), "i": np.int64(3)}
    )
    assert json.loads(str(task.get_configuration_object("General"))) == {
        "1": [1, 2],
        "p": "a/b",
        "m": "FAST",
        "f": 0.5,
        "i": 3,
    }
    cycle: dict[str, Any] = {}
    cycle["me"] = cycle
    with pytest.raises(BadValue, match="cannot be recorded"):
        task.connect_configuration(cycle, "cycle")


def test_dict_and_list_are_refilled_in_place(task: Task, edited: Edited) -> None:
    """With what the task has and they have not."""
    task.connect_configuration({"a": 1, "b": 2}, "d")
    assert task.connect_configuration([1, 2], "l") == [1, 2]
    again = edited(task, d='{"a": 5, "extra": {"x": 1}}', l="[3]")
    mine, numbers = {"a": 1, "b": 2}, [1, 2]
    given = again.connect_configuration(mine, "d")
    assert given == mine == {"a": 5, "extra": {"x": 1}}
    assert again.connect_configuration(numbers, "l") is numbers
    assert numbers == [3]
    given["extra"]["x"] = 2
    assert again.get_configuration_object_as_dict("d") == {"a": 5, "extra": {"x": 2}}


def test_hocon_that_somebody_wrote_is_read(task: Task, edited: Edited) -> None:
    """Comments, no quotes, references; but nothing from another file."""
    pytest.importorskip("pyhocon")
    task.connect_configuration({"a": 1}, "d")
    task.connect_configuration({}, "hostile")
    again = edited(
        task, d="# by hand\na = 2\nb { c: [1, 2], include_all = ${a} }", hostile='include "/etc/passwd"'
    )
    assert again.connect_configuration({"a": 1}, "d") == {"a": 2, "b": {"c": [1, 2], "include_all": 2}}
    with pytest.raises(BadValue, match="'hostile' cannot be read: it has an `include`"):
        again.connect_configuration({}, "hostile")


def test_file_is_its_text_and_comes_back_as_a_new_file(task: Task, edited: Edited, tmp_path: Path) -> None:
    """Of the same suffix, as str or Path, as it was given."""
    path = tmp_path / "settings.yaml"
    path.write_text("a: 1\r\nb: é\n", encoding="utf-8", newline="")
    assert task.connect_configuration(str(path), "yaml file") == str(path)
    assert task.connect_configuration(path, "again") is path
    (tmp_path / "plain").write_text("x")
    task.connect_configuration(tmp_path / "plain", "plain")
    assert [task._state.get(f"config/{n}")["type"] for n in ("yaml file", "plain")] == ["yaml", "file"]
    if yaml_there():
        assert task.get_configuration_object_as_dict("yaml file") == {"a": 1, "b": "é"}
    again = edited(task, again="a: 2\r\n")
    for given, text in ((str(path), "a: 1\r\nb: é\n"), (path, "a: 2\r\n")):
        found = again.connect_configuration(given, "yaml file" if isinstance(given, str) else "again")
        assert type(found) is type(given) or isinstance(found, Path)
        assert Path(found).name.startswith("clearml_task_config_")
        assert Path(found).suffix == ".yaml"
        assert Path(found).read_bytes().decode() == text
        Path(found).unlink()


def yaml_there() -> bool:
    """Whether the extra is installed."""
    from importlib.util import find_spec

    return find_spec("yaml") is not None


def test_what_the_task_lacks_is_the_scripts_and_is_recorded(task: Task, edited: Edited, said: Said) -> None:
    """With a warning."""
    again = edited(task)
    assert again.connect_configuration({"a": 1}, "new") == {"a": 1}
    assert again.get_configuration_object_as_dict("new") == {"a": 1}
    (line,) = said()
    assert "no configuration 'new'" in line


def test_ignored_overrides_keep_the_scripts(task: Task, edited: Edited) -> None:
    """And the switch is a parameter."""
    task.connect_configuration({"a": 1}, "d", ignore_remote_overrides=True)
    assert task.get_parameters(cast=True) == {"d/_ignore_remote_overrides_config_": True}
    again = edited(task, d='{"a": 2}')
    assert again.connect_configuration({"a": 1}, "d", ignore_remote_overrides=True) == {"a": 1}
    assert again.get_configuration_object_as_dict("d") == {"a": 1}


@pytest.mark.parametrize("given", [5, None, object(), ("a",)])
def test_other_types_are_refused(task: Task, given: Any) -> None:
    """With what it takes."""
    with pytest.raises(ValueError, match="a dict, a list or a file's path"):
        task.connect_configuration(given)


def test_file_that_cannot_be_read_is_refused(task: Task, tmp_path: Path) -> None:
    """One that is not there, a folder, and one that is no text."""
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "none", tmp_path, tmp_path / "binary"):
        with pytest.raises(ValueError, match="cannot be read as text"):
            task.connect_configuration(path)


def test_long_text_is_an_object_of_its_own(task: Task, reopened: Reopen) -> None:
    """The record stays small."""
    text = "x" * 100_000
    task.set_configuration_object("long", config_text=text, config_type="txt", description="first")
    task.set_configuration_object("long", config_text=text + "y")
    found = reopened(task)
    assert found.get_configuration_object("long") == text + "y"
    record = found._state.get("config/long")
    assert (list(record["value"]), record["type"], record["description"]) == (["$ref"], "txt", "first")
    assert len(found._state.encode()) < 10_000


def test_object_is_set_from_exactly_one(task: Task) -> None:
    """Text or dict."""
    task.set_configuration_object("d", config_dict={"a": 1})
    assert task.get_configuration_object_as_dict("d") == {"a": 1}
    for wrong in ({}, {"config_text": "a", "config_dict": {}}):
        with pytest.raises(ValueError, match="exactly one"):
            task.set_configuration_object("d", **wrong)  # type: ignore[arg-type]  # what is tested
    assert configuration.GENERAL == "General"


def test_label_enumeration_goes_there_and_back(task: Task, edited: Edited) -> None:
    """The dict that was given is refilled."""
    assert (task.get_labels_enumeration(), task.get_num_of_classes()) == ({}, 0)
    mine = {"background": 0, "cat": 1}
    assert task.connect_label_enumeration(mine) is mine
    assert task.get_num_of_classes() == 2
    for wrong in ({1: 1}, {"a": "b"}, ["a"]):
        with pytest.raises(ValueError, match="label enumeration"):
            task.connect_label_enumeration(wrong)  # type: ignore[arg-type]  # what is tested
    task.set_model_label_enumeration({"dog": 5})
    again = edited(task)
    assert again.connect_label_enumeration(mine) == {"dog": 5} == mine
    assert again.get_num_of_classes() == 6


def test_models_design_is_the_object_general(task: Task) -> None:
    """As text and as a dict."""
    assert (task.get_model_config_text(), task.get_model_config_dict()) == ("", {})
    task.set_model_config(config_dict={"layers": 3})
    assert task.get_model_config_dict() == {"layers": 3}
    task.set_model_config(config_text='{"layers": 4}')
    assert task.get_model_design() == task.get_configuration_object("General") == '{"layers": 4}'
