"""A script whose secrets were left out of its record is run again: it keeps its own, and never gets the mark of one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.scripts import QUIET, Scripts
from tracker import Task

TRAIN = f"""
import argparse, json, os
from tracker import Task
from tracker.sdk.task_parameters import TaskParameters, param

def parsed():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--api-key", default="argumentsecret1")
    parser.add_argument("--password", nargs="*", default=["listsecret1", "listsecret2"])
    return vars(parser.parse_args())

before = os.environ.get("EARLY") and parsed()
task = Task.init("rerun", "secrets", {QUIET})
args = before or parsed()
mine = {{"depth": 2, "db": {{"user": "ann", "password": "dictsecret1"}}}}
given = task.connect(mine, name="Model")

class Service:
    name = "sgd"
    api_key = "classsecret1"

class Holder:
    def __init__(self):
        self.name, self.api_key = "sgd", "objectsecret1"

holder = task.connect(Holder(), name="Object")
Settings = task.connect(Service, name="Class")

class Fields(TaskParameters):
    lr = param(default=1, type=int)
    secret_key = param(default="fieldsecret1")

fields = task.connect(Fields(), name="Fields")
login = {{"password": "configsecret1", "host": "h"}}
plan = {{"stages": [1, 2], "login": login, "tokens": [{{"api_key": "deepsecret1"}}]}}
plan = task.connect_configuration(plan, name="plan")
steps = task.connect_configuration([{{"password": "stepsecret1"}}, 5], name="steps")
file = task.connect_configuration("settings.yaml", name="file")
print(json.dumps({{
    "id": task.id, "args": args, "mine": mine, "given": given, "holder": vars(holder),
    "class": [Settings.name, Settings.api_key], "fields": fields.to_dict(), "plan": plan, "steps": steps,
    "file": open(file).read(), "environment": os.environ.get("MY_API_KEY"),
}}))
"""


@pytest.fixture
def scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scripts:
    """A folder with a settings file that has a secret; this process edits what the scripts record there."""
    (tmp_path / "settings.yaml").write_text("stage: 1\npassword: filesecret1\n")
    monkeypatch.chdir(tmp_path)
    return Scripts(tmp_path, MY_API_KEY="environmentsecret1", TRACKER_LOG_ENVIRONMENT="MY_*")


@pytest.mark.parametrize("early", ["", "1"])
def test_redacted_values_do_not_flow_back(scripts: Scripts, early: str) -> None:
    """Arguments, dict, object, class, fields, configuration, file, environment: the script's secrets, edits else."""
    first = scripts.run(TRAIN, EARLY=early).value
    (original,) = Task.get_tasks()
    task = Task.clone(original, name="secrets")
    stored = json.dumps(task.export_task())
    assert "[redacted" in stored
    assert "secret1" not in stored
    task.set_parameters_as_dict(
        {
            "Args": {"lr": "0.5"},
            "Model": {"depth": 10},
            "Object": {"name": "adam"},
            "Class": {"name": "adam"},
            "Fields": {"lr": 7},
        }
    )
    text = task.get_configuration_object("plan")
    assert text is not None
    task.set_configuration_object("plan", config_text=text.replace('"h"', '"edited"'))
    ended = scripts.run(TRAIN, TRACKER_RUN_TASK=task.id, EARLY=early)
    again = ended.value
    assert "[redacted" not in ended.out
    assert again["args"] == {**first["args"], "lr": 0.5}
    assert again["mine"] == {"depth": 10, "db": {"user": "ann", "password": "dictsecret1"}}
    assert again["given"] == again["mine"]
    assert again["holder"] == {"name": "adam", "api_key": "objectsecret1"}
    assert again["class"] == ["adam", "classsecret1"]
    assert again["fields"] == {"lr": 7, "secret_key": "fieldsecret1"}
    assert again["plan"] == {**first["plan"], "login": {"password": "configsecret1", "host": "edited"}}
    assert again["steps"] == first["steps"]
    assert again["file"] == "stage: 1\npassword: filesecret1\n"
    assert again["environment"] == "environmentsecret1"
    after = Task.get_task(task.id)
    assert after is not None
    assert "secret1" not in json.dumps(after.export_task())
    (warning,) = [line for line in ended.warnings if "configuration" in line]
    assert "'file' is stored without its secrets" in warning


def test_a_purged_configuration_does_not_flow_back(scripts: Scripts) -> None:
    """The script's own is used in the place of a text that was purged."""
    source = (
        "import json\nfrom tracker import Task\n"
        f"task = Task.init('rerun', 'purged', {QUIET})\n"
        "given = task.connect_configuration({'text': 'x' * 70_000}, name='long')\n"
        "print(json.dumps({'id': task.id, 'length': len(given['text'])}))\n"
    )
    first = scripts.run(source).value
    from tracker import purge
    from tracker.workspace import Workspace

    workspace = Workspace.open(scripts.store)
    value = workspace.thing(first["id"]).state.get("config/long")["value"]
    purge.purge(workspace, purge.foresee(workspace, value["$ref"].split(":")[1]))
    assert (
        Workspace.open(scripts.store)
        .thing(first["id"])
        .state.get("config/long")["value"]
        .startswith("[purged")
    )
    ended = scripts.run(source, TRACKER_RUN_TASK=first["id"])
    assert ended.value == first
