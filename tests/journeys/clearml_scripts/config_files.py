"""Settings in files of their own, JSON and YAML."""

from __future__ import annotations

import json
from pathlib import Path

import yaml
from clearml import Task

Path("data.json").write_text(json.dumps({"sample": 1}))
Path("data.yaml").write_text("sample:\n  deep: [1, 2]\n")
task = Task.init(project_name="examples", task_name="configuration files")
config = task.connect_configuration(Path("data.json"), name="json config file")
assert isinstance(config, Path)
with open(config) as file:
    print("json", json.load(file))
config = task.connect_configuration("data.yaml", name="yaml config file", description="of layers")
with open(config) as file:
    print("yaml", yaml.safe_load(file))
