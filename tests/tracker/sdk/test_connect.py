"""A connected dict: a dict in every way, whose later writes are recorded too."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any

from tracker import Task
from tracker.sdk.connect import TrackedDict

Reopen = Callable[[Task], Task]


def test_dict_is_recorded_and_so_are_writes_to_it(task: Task, reopened: Reopen) -> None:
    """Nested ones too, by any way of writing but deletion; the caller's own dict stays as it was."""
    mine = {"lr": 0.1, "model": {"depth": 3, "tags": ["a"]}}
    config = task.connect(mine)
    assert (config, isinstance(config, dict)) == (mine, True)
    config["lr"] = 0.2
    config["model"]["depth"] = 4
    config.update({"batch": 32}, epochs=5)
    config.setdefault("seed", 1)
    config.setdefault("lr", 9)
    config["new"] = {"inner": 1}
    config["new"]["inner"] = 2
    del config["seed"]
    config |= {"merged": 1}
    assert mine == {"lr": 0.1, "model": {"depth": 3, "tags": ["a"]}}
    assert reopened(task).get_parameters() == {
        "General/batch": "32",
        "General/epochs": "5",
        "General/lr": "0.2",
        "General/merged": "1",
        "General/model/depth": "4",
        "General/model/tags": '["a"]',
        "General/new/inner": "2",
        "General/seed": "1",
    }


def test_sections_are_apart(task: Task) -> None:
    """Numbers as keys become text."""
    task.connect({"a": 1}, "Train")
    task.connect({1: "one"}, name="Labels")
    task.connect({})
    assert task.get_parameters() == {"Labels/1": "one", "Train/a": "1"}


def test_it_copies_and_pickles_as_a_plain_dict(task: Task) -> None:
    """For worker processes and for json."""
    config = task.connect({"a": {"b": [1]}})
    for copied in (pickle.loads(pickle.dumps(config)), copy.deepcopy(config), config.to_dict()):
        assert copied == {"a": {"b": [1]}}
        assert type(copied) is type(copied["a"]) is dict
    assert json.loads(json.dumps(config)) == {"a": {"b": [1]}}
    assert repr(config) == "{'a': {'b': [1]}}"


def test_writes_after_close_are_no_part_of_the_run(task: Task) -> None:
    """The dict goes on to be one; of a draft, it is an edit."""
    config = task.connect({"a": 1})
    task.close()
    config["a"] = 2
    assert config == {"a": 2}
    (found,) = Task.get_tasks()
    assert found.get_parameters() == {"General/a": "1"}
    draft = Task.clone(found)
    draft.connect({"b": 1})["b"] = 2
    assert Task.get_task(draft.id).get_parameters() == {"General/a": "1", "General/b": "2"}


def test_each_write_is_told_once() -> None:
    """A dict of a thousand keys that is updated is recorded once."""
    told: list[Any] = []
    config = TrackedDict({"a": {"b": 1}}, lambda values: told.append(dict(values)))
    config.update({str(n): n for n in range(1000)})
    config["a"]["b"] = 2
    assert [len(values) for values in told] == [1001, 1001]
    assert told[-1]["a"] == {"b": 2}
