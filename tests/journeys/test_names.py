"""Hostile names of projects, tasks, tags, artifacts, parameters: kept exactly, or refused; never a path."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from objstore import layout
from objstore.store import Store
from tests.scripts import QUIET, Scripts

KEPT = [
    "../../x",
    "A/b",
    "a/B",
    "🚀 rocket/🔥",
    "n" * 4096,
    "CON",
    "com1.txt",
    "trailing.",
    "...",
    "-rf",
    "C:\\temp\\x",
    "e\u0301te\u0301",
    "\u00e9t\u00e9",
    "<script>alert(1)</script>",
    "a'; DROP TABLE tasks; --",
    "%s %d {0}",
]
REFUSED = ["", "ab", "  ab  ", "a\nb c", "bell\x07 name", "nul\x00 name", "esc \x1b[31m", "lone \ud800 half"]

RECORD = f"""
import json, sys
from tracker import OutputModel, Task
for name in json.load(open(sys.argv[1])):
    task = Task.init(name, name, tags=[name], {QUIET})
    task.set_parameters({{"Args/" + name: name}})
    task.upload_artifact(name, {{"name": name}})
    task.get_logger().report_scalar(name, name, 1.0, 1)
    task.get_logger().report_single_value(name, 2.0)
    open("weights", "w").write(name)
    OutputModel(task=task, name=name).update_weights("weights", target_filename=name)
    task.close()
"""
READ = """
answer = [
    [
        task.get_project_name(), task.name, task.get_tags(), list(task.get_parameters().items()),
        [(k, v.get()) for k, v in task.artifacts.items()], task.get_reported_scalars(),
        task.get_reported_single_values(), task.models["output"][0].name,
        open(task.models["output"][0].get_weights()).read(),
    ]
    for task in Task.get_tasks()
]
"""


def test_hostile_names_are_kept_exactly(tmp_path: Path) -> None:
    """Sixteen of them, as project, task, tag, parameter, artifact, series, model and file at once."""
    (tmp_path / "names.json").write_text(json.dumps(KEPT))
    work = tmp_path / "a" / "b" / "work"
    work.mkdir(parents=True)
    scripts = Scripts(work)
    scripts.run(RECORD, str(tmp_path / "names.json"))
    found = scripts.ask(READ)
    scalars = {"name": "", "x": [1], "y": [1.0]}
    expected = [
        [
            name,
            name,
            [name],
            [["Args/" + name, name]],
            [[name, {"name": name}]],
            {name: {name: scalars | {"name": name}}},
            {name: 2.0},
            name,
            name,
        ]
        for name in KEPT
    ]
    assert sorted(found, key=str) == sorted(expected, key=str)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "names.json"]
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b"]
    assert Store.open(scripts.store).fsck().clean


def test_no_path_component_is_longer_or_stranger_than_a_label_may_be(tmp_path: Path) -> None:
    """Below refs/ everything is [a-z0-9_.-], up to 100 bytes, no dot at an end, and no reserved name."""
    (tmp_path / "names.json").write_text(json.dumps(KEPT))
    scripts = Scripts(tmp_path)
    scripts.run(RECORD, "names.json")
    labels = [path.name for path in (scripts.store / "refs").iterdir()]
    assert any(label.startswith("task.nnnn") for label in labels)
    for label in labels:
        assert set(label) <= set("abcdefghijklmnopqrstuvwxyz0123456789_.-"), label
        assert len(label) <= layout.LABEL_MAX, label
        assert label.strip(".") == label, label
        assert label.split(".")[0] not in layout.RESERVED, label


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("what", ["project", "task"])
def test_a_name_that_is_refused_says_the_rule_and_records_nothing(
    tmp_path: Path, what: str, name: str
) -> None:
    """At once, as a ValueError, before any folder is made."""
    given = {"project": "fine name", "task": "fine name"} | {what: name}
    scripts = Scripts(tmp_path)
    ended = scripts.run(
        f"from tracker import Task; Task.init({given['project']!r}, {given['task']!r})", code=1
    )
    said = ended.err.splitlines()[-1]
    assert said.startswith("tracker.errors.BadValue: the ")
    assert what in said
    assert "3 characters or more" in said or "control characters" in said
    assert not scripts.store.exists()


def test_a_default_name_is_made_long_enough(tmp_path: Path) -> None:
    """A script x.py in a repository ab: neither name is the user's doing."""
    folder = tmp_path / "ab"
    (folder / ".git").mkdir(parents=True)
    (folder / "x.py").write_text(f"from tracker import Task; Task.init({QUIET})")
    scripts = Scripts(folder)
    scripts.run("import runpy, sys; sys.argv = ['x.py']; runpy.run_path('x.py', run_name='__main__')")
    names = scripts.ask("answer = [[task.get_project_name(), task.name] for task in Task.get_tasks()]")
    assert names == [["ab-project", "x-task"]]
