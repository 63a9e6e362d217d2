"""A script that is run, its task edited by somebody, and run again: real processes, as an agent starts them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.scripts import QUIET, Scripts
from tracker import Task
from tracker.workspace import Workspace

TRAIN = f"""
import argparse, json, os, sys
from tracker import Task

def parsed():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--layers", type=int, nargs="*", default=[8])
    parser.add_argument("--data", required=True)
    parser.add_argument("--fast", action="store_true")
    return vars(parser.parse_args())

before = os.environ.get("EARLY") and parsed()
task = Task.init("rerun", "original", {QUIET})
args = before or parsed()
mine = {{"depth": 2, "model": {{"kind": "cnn", "drop": 0.5}}}}
given = task.connect(mine, name="Model")

class Optimizer:
    name = "sgd"

optimizer = task.connect(Optimizer(), name="Optimizer")
Settings = task.connect(Optimizer, name="Class")
plan = task.connect_configuration({{"stages": [1, 2]}}, name="plan")
file = task.connect_configuration("settings.yaml", name="file")
labels = task.connect_label_enumeration({{"cat": 1}})
task.get_logger().report_scalar("loss", "train", args["lr"], 1)
given["depth"] += 1
print(json.dumps({{
    "id": task.id, "args": args, "mine": mine, "given": given, "class": Settings.name, "plan": plan,
    "file": open(file).read(), "labels": labels, "user": os.environ.get("MY_VARIABLE"),
}}))
"""


@pytest.fixture
def scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scripts:
    """A folder with a settings file and nothing else; this process reads and edits what the scripts record there."""
    (tmp_path / "settings.yaml").write_text("stage: 1\n")
    monkeypatch.chdir(tmp_path)
    return Scripts(tmp_path)


def first_run(scripts: Scripts) -> tuple[Task, dict[str, Any]]:
    """A copy of the task of the script's own run, and what that run has found."""
    ended = scripts.run(
        TRAIN, "--data", "mnist", "--layers", "1", "2", MY_VARIABLE="first", TRACKER_LOG_ENVIRONMENT="MY_*"
    )
    assert ended.warnings == []
    (task,) = Task.get_tasks()
    return Task.clone(task, name="original"), ended.value


def test_edited_values_come_back_into_the_script(scripts: Scripts) -> None:
    """Arguments, dict in place, class, configuration, file, labels, environment: all of them, with their types."""
    task, value = first_run(scripts)
    assert value["args"] == {"lr": 0.1, "layers": [1, 2], "data": "mnist", "fast": False}
    task.set_parameters_as_dict(
        {
            "Args": {"lr": "0.5", "layers": "[3, 4]", "fast": "True"},
            "Model": {"depth": 10, "model": {"kind": "rnn"}},
            "Class": {"name": "adam"},
            "Environment": {"MY_VARIABLE": "edited"},
        }
    )
    task.set_configuration_object("plan", config_text='{"stages": [7], "more": true}')
    task.set_configuration_object("file", config_text="stage: 2\n")
    task.set_model_label_enumeration({"dog": 2})
    task.set_script(branch="kept")
    before = task.export_task()
    ended = scripts.run(TRAIN, TRACKER_RUN_TASK=task.id)
    assert ended.warnings == []
    assert f"running task id={task.id} (rerun / original)" in ended.err
    again = ended.value
    assert again["id"] == task.id
    assert again["args"] == {"lr": 0.5, "layers": [3, 4], "data": "mnist", "fast": True}
    assert again["mine"] == {"depth": 10, "model": {"kind": "rnn", "drop": 0.5}}
    assert again["given"] == {"depth": 11, "model": {"kind": "rnn", "drop": 0.5}}
    assert (again["class"], again["plan"], again["file"]) == (
        "adam",
        {"stages": [7], "more": True},
        "stage: 2\n",
    )
    assert (again["labels"], again["user"]) == ({"dog": 2}, "edited")
    task.reload()
    assert task.status == "completed"
    after = task.export_task()
    assert after["hyperparams"]["Model"].pop("depth")["value"] == "11"
    assert before["hyperparams"]["Model"].pop("depth")["value"] == "10"
    assert after["hyperparams"] == before["hyperparams"]
    assert after["configuration"] == before["configuration"]
    assert len(Task.get_tasks()) == 2


@pytest.mark.parametrize("early", ["", "1"])
def test_what_is_typed_beats_what_is_stored(scripts: Scripts, early: str) -> None:
    """Also where the script parses before `Task.init`; what was typed is recorded then."""
    task, _ = first_run(scripts)
    task.set_parameters_as_dict({"Args": {"lr": "0.5", "data": "cifar"}})
    ended = scripts.run(TRAIN, "--lr", "0.7", TRACKER_RUN_TASK=task.id, EARLY=early)
    assert ended.value["args"] == {"lr": 0.7, "layers": [1, 2], "data": "cifar", "fast": False}
    task.reload()
    assert task.get_parameters(cast=True)["Args/lr"] == 0.7


def test_clearmls_variable_names_a_task_of_the_store_only(scripts: Scripts) -> None:
    """Beside a real server's agent a script records a task of its own; ours must be there."""
    task, _ = first_run(scripts)
    task.set_parameter("Args/lr", "0.25")
    assert scripts.run(TRAIN, CLEARML_TASK_ID=task.id).value["args"]["lr"] == 0.25
    other = scripts.run(TRAIN, "--data", "x", CLEARML_TASK_ID="0" * 32)
    assert (other.value["id"] != task.id, other.value["args"]["lr"]) == (True, 0.1)
    missing = scripts.run(TRAIN, "--data", "x", code=1, TRACKER_RUN_TASK="0" * 32)
    assert 'Task ID "00000000000000000000000000000000" could not be found' in missing.err
    assert len(Task.get_tasks()) == 3


def test_ranks_and_children_of_a_rerun_get_the_values_too(scripts: Scripts) -> None:
    """A rank that is not the first, and a process that the script starts; neither decides the status."""
    task, _ = first_run(scripts)
    task.set_parameters_as_dict({"Args": {"lr": "0.5"}, "Model": {"depth": "20"}})
    rank = scripts.run(TRAIN, TRACKER_RUN_TASK=task.id, RANK="1").value
    assert (rank["id"], rank["args"]["lr"], rank["mine"]["depth"]) == (task.id, 0.5, 20)
    (scripts.folder / "child.py").write_text(TRAIN)
    parent = (
        "import subprocess, sys\n"
        "from tracker import Task\n"
        f"task = Task.init('x' * 3, 'parent', {QUIET})\n"
        "print(subprocess.run([sys.executable, 'child.py'], capture_output=True, text=True, check=True).stdout)\n"
        "task.close()\n"
        f"following = Task.init('rerun', 'following', {QUIET})\n"
        "print(following.connect({'depth': 1}, name='Model')['depth'], following.id != task.id)\n"
    )
    ended = scripts.run(parent, CLEARML_TASK_ID=task.id)  # children hear of it by our own name, too
    lines = ended.out.split("\n")
    child = json.loads(lines[0])
    assert (child["id"], child["args"]["lr"], child["mine"]["depth"]) == (task.id, 0.5, 21)
    assert "1 True" in lines
    task.reload()
    assert task.status == "completed"


def test_a_rerun_that_is_killed_is_aborted(scripts: Scripts) -> None:
    """As any run is."""
    task, _ = first_run(scripts)
    scripts.run(TRAIN + "\nos.kill(os.getpid(), 9)\n", code=-9, TRACKER_RUN_TASK=task.id)
    Workspace.open().recover()
    task.reload()
    assert task.status == "stopped"


PAGE = """
from tracker import Task

class person:
    def __init__(self, name, age):
        self.name = name
        self.age = age

me = person('Erik', 5)
params_dictionary = {'epochs': 3, 'lr': 0.4}
task = Task.init(project_name='examples', task_name='argparser')
task.connect(me)
task.connect(params_dictionary)
print(sorted(task.get_parameters().items()))

# override parameters with provided dictionary
task.set_parameters({'Args/epochs':7, 'lr': 0.5})
# setting a single parameter
task.set_parameter(name='decay',value=0.001)
print(sorted(task.get_parameters().items()))

task.set_parameters_as_dict({'my_args/lr':0.3, 'epochs':10})
print(sorted(task.get_parameters().items()))
param = task.get_parameter(name="Args/epochs")
print(param, task.get_parameter(name="args/epochs"))

model_config_dict = {
    'value': 13.37, 'dict': {'sub_value': 'string'}, 'list_of_ints': [1, 2, 3, 4],
}
model_config_dict = task.connect_configuration(
    name='dictionary', configuration=model_config_dict
)
config_file_yaml = task.connect_configuration(
    name="yaml file", configuration='settings.yaml'
)
print(config_file_yaml, model_config_dict == task.get_configuration_object_as_dict('dictionary'))
task.set_user_properties(
    {"name": "backbone", "description": "network type", "value": "great"}
)
print(task.get_user_properties(value_only=True))
"""


def test_the_pages_examples_of_parameters_and_configuration(scripts: Scripts) -> None:
    """As they stand on ClearML's page, one after another in one script."""
    lines = scripts.run(PAGE).out.splitlines()
    assert lines == [
        "[('General/age', '5'), ('General/epochs', '3'), ('General/lr', '0.4'), ('General/name', 'Erik')]",
        "[('Args/epochs', '7'), ('General/decay', '0.001'), ('General/lr', '0.5')]",
        (
            "[('Args/epochs', '7'), ('General/decay', '0.001'), ('General/epochs', '10'), ('General/lr', '0.5'), "
            "('my_args/lr', '0.3')]"
        ),
        "7 None",
        "settings.yaml True",
        "{'backbone': 'great'}",
    ]
