"""`tracker edit`, `rename`, `mv`, `archive`: what they change, what they refuse, and that nothing else changes."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tracker.layout import NAME_MAX

if TYPE_CHECKING:
    from tests.commands import Cli, Done
    from tests.tracker.cli.conftest import Sample


@dataclass(frozen=True)
class Own:
    """A copy of the sample store that may be changed."""

    cli: Cli
    ids: dict[str, str]

    def record(self, key: str) -> dict[str, Any]:
        """A task's keys, each with its value."""
        done = self.cli("cat", key, "--json")
        assert done.code == 0, done.err
        return {
            name: value for name, (_, _, value) in done.json["record"]["keys"].items() if value is not None
        }

    def records(self) -> dict[str, dict[str, Any]]:
        """Those of all tasks."""
        return {key: self.record(key) for key in self.cli("query", "").out.split()}

    def copy(self, *arguments: str) -> str:
        """The id of a draft copy of the best task."""
        done = self.cli("edit", self.ids["best"], "--copy", *arguments)
        assert done.code == 0, done.err
        return done.out.strip()


@pytest.fixture
def own(sample: Sample, tmp_path: Path) -> Own:
    """A store of one's own."""
    shutil.copytree(sample.store, tmp_path / ".tracker")
    return Own(sample.cli.at(tmp_path), sample.ids)


def refused(done: Done, code: int, text: str) -> None:
    """One line on stderr that says so, and its exit code."""
    assert (done.code, done.out, done.err.count("\n")) == (code, "", 1), done.err
    assert text in done.err


def commits(own: Own, key: str) -> int:
    """How many commits a task has."""
    return len(own.cli("log", key, "--json").json["commits"])


# --- edit ------------------------------------------------------------------------------------------------------------


def test_a_draft_is_edited_and_the_types_of_its_parameters_stay(own: Own) -> None:
    """By one commit, whatever it changes."""
    key = own.copy()
    done = own.cli(
        *(
            "edit",
            key[:8],
            "--param",
            "General/lr=0.5",
            "--param",
            "General/new=7",
            "--remove",
            "General/hidden",
        ),
        *("--comment", "a = b", "--property", "owner=ada"),
    )
    assert (done.code, done.out) == (0, "")
    assert "General/lr: 0.1 -> 0.5" in done.err.splitlines()
    record = own.record(key)
    assert record["param/General/lr"]["value"] == "0.5"
    assert record["param/General/lr"]["type"] == "float"
    assert record["param/General/new"] == {"value": "7", "type": "str", "description": None}
    assert "param/General/hidden" not in record
    assert record["comment"] == "a = b"
    assert record["param/properties/owner"]["value"] == "ada"
    assert commits(own, key) == 2
    assert own.cli("edit", key, "--param", "General/lr=0.5").err == "nothing changes: it is so already\n"
    assert commits(own, key) == 2


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("General/lr=fast", "parameter 'General/lr' is of type float: 'fast' is none"),
        ("General/hidden=1.5", "parameter 'General/hidden' is of type int: '1.5' is none"),
        ("lr=1", "give its section, too, as in Args/lr: did you mean General/lr?"),
        ("General/lr", "NAME=VALUE is expected"),
    ],
)
def test_a_parameter_that_cannot_be_meant_so_is_refused_with_all_else(
    own: Own, option: str, text: str
) -> None:
    """The comment beside it is not changed either."""
    key = own.copy()
    before = own.record(key)
    refused(own.cli("edit", key, "--comment", "changed", "--param", option), 2, text)
    refused(
        own.cli("edit", key, "--comment", "changed", "--remove", "General/lrr"), 3, "did you mean General/lr"
    )
    assert own.record(key) == before


@pytest.mark.parametrize("published", [False, True])
def test_what_a_task_that_is_over_was_made_of_is_edited_in_a_copy(own: Own, published: bool) -> None:
    """The error says so; what people say about the task may be changed for ever."""
    best = own.ids["best"]
    if published:
        script = f"from tracker import Task; Task.get_task({best!r}).publish()"
        assert own.cli.python(script).code == 0
    before = own.record(best)
    done = own.cli("edit", best, "--param", "General/lr=0.5", "--comment", "changed")
    refused(done, 2, f"is {'published' if published else 'completed'}: General/lr cannot be changed any more")
    assert f"`tracker edit {best[:12]} --copy …`" in done.err
    assert ("reset()" in done.err) is not published
    assert own.record(best) == before

    copy = own.cli("edit", best, "--copy", "--param", "General/lr=0.5", "--json").json
    assert (copy["copy_of"], copy["changed"]) == (best, ["param/General/lr"])
    made = own.record(copy["id"])
    assert (made["status"], made["param/General/lr"]["value"], made["parent"]) == ("created", "0.5", best)
    assert made["param/General/lr"]["type"] == "float"
    assert commits(own, copy["id"]) == 1
    assert own.record(best) == before

    assert own.cli("edit", best, "--comment", "the best", "--property", "owner=ada").code == 0
    assert own.record(best) == {
        **before,
        "comment": "the best",
        "param/properties/owner": {"value": "ada", "type": None, "description": None},
    }


def test_a_configuration_object_is_replaced_by_a_files_text(own: Own) -> None:
    """Its type stays, and decides what the file may hold; the text stays as it is, line ends and all."""
    (own.cli.folder / "model.yaml").write_bytes(b"layers: 3\r\n")
    (own.cli.folder / "dict.json").write_text('{"layers": 4}')
    (own.cli.folder / "list.json").write_text("[1]")
    (own.cli.folder / "bytes").write_bytes(b"\xff\xfe")
    key = own.copy("--config", "model=model.yaml")
    assert own.record(key)["config/model"] == {"value": "layers: 3\r\n", "type": "yaml", "description": None}
    script = f"""
from tracker import Task
Task.get_task({key!r}).set_configuration_object("net", config_dict={{"layers": 3}}, description="of the net")
"""
    assert own.cli.python(script).code == 0
    before = own.record(key)
    refused(own.cli("edit", key, "--config", "net=list.json"), 2, "configuration 'net' is a dictionary")
    refused(own.cli("edit", key, "--config", "net=bytes"), 2, "bytes is no text in UTF-8")
    refused(own.cli("edit", key, "--config", "net=absent"), 1, "absent: No such file or directory")
    assert own.record(key) == before
    assert own.cli("edit", key, "--config", "net=dict.json").code == 0
    assert own.record(key)["config/net"] == {
        "value": '{"layers": 4}',
        "type": "dictionary",
        "description": "of the net",
    }


def test_what_looks_like_a_secret_is_left_out_and_that_is_said(own: Own) -> None:
    """Of a parameter as of a text so long that it is an object of its own."""
    secret = "ghp_" + "a1B2c3D4e5" * 3 + "f6G7h8"
    (own.cli.folder / "long.txt").write_text("x\n" * 100_000 + secret)
    key = own.copy()
    done = own.cli("edit", key, "--param", f"General/token={secret}", "--config", "long=long.txt")
    assert done.code == 0
    assert "General/token looks like a secret, and is kept as [redacted …]" in done.err
    assert secret not in done.err
    ref = own.record(key)["config/long"]["value"]["$ref"]
    text = own.cli("cat", ref.split(":")[1]).out
    assert text.startswith("x\nx\n")
    assert "redacted" in text
    assert secret not in text
    assert secret not in json.dumps(own.record(key))


# --- names and places ------------------------------------------------------------------------------------------------


def test_history_and_references_follow_a_task_that_is_renamed_and_moved(own: Own) -> None:
    """An alias, an earlier commit and the id go on standing for it; only where it stands is another place."""
    best = own.ids["best"]
    assert own.cli("tag", best, "best@prod").code == 0
    before, count = own.record(best), commits(own, best)
    assert own.cli("rename", best[:8], "  chosen  ").code == 0
    assert own.cli("mv", "best@prod", own.ids["worst"][:8], "kept/for good/").code == 0
    assert own.record(best) == {**before, "name": "chosen", "project": "kept/for good"}
    assert commits(own, best) == count + 2
    assert set(own.cli("query", "project:kept").out.split()) == {best, own.ids["worst"]}
    assert own.cli("show", "best@prod", "--json").json["task"]["name"] == "chosen"
    assert own.cli("cat", f"{best}:dataset").code == 0
    assert own.cli("fsck").code == 0


def test_a_project_is_moved_with_what_is_below_it(own: Own) -> None:
    """Its own tasks are then in the project named, those of sub-projects where they were below it; no other moves."""
    assert own.cli("mv", own.ids["failed"], "vision/digits/deep/er").code == 0
    before = {key: record["project"] for key, record in own.records().items()}
    done = own.cli("mv", "vision/digits", "vision/digits/old")
    assert (done.code, done.err) == (0, "moved 3 tasks to vision/digits/old\n")
    after = {key: record["project"] for key, record in own.records().items()}
    assert after == {
        **before,
        own.ids["best"]: "vision/digits/old",
        own.ids["worst"]: "vision/digits/old",
        own.ids["failed"]: "vision/digits/old/deep/er",
    }
    assert own.cli("mv", "vision/digits/old", "vision/digits/old", "--json").json["moved"] == []


def test_archived_tasks_keep_all_they_have_and_come_back(own: Own) -> None:
    """What is so already is no error, and no commit."""
    best, worst = own.ids["best"], own.ids["worst"]
    before = own.record(best)
    assert own.cli("archive", best, worst, best[:8]).code == 0
    assert not {best, worst} & set(own.cli("query", "").out.split())
    assert best not in own.cli("ls").out
    assert best in own.cli("ls", "--archived").out
    assert "of which 2 are archived: --archived shows them" in own.cli("ls", "name:best").err
    assert set(own.cli("query", "--archived").out.split()) == set(own.ids.values())
    assert set(own.cli("query", "system_tags:archived").out.split()) == {best, worst}
    assert own.record(best) == {**before, "system_tag/archived": True}
    count = commits(own, best)
    assert own.cli("archive", best).err == f"task {best} is archived already\n"
    assert commits(own, best) == count
    assert own.cli("archive", "--undo", best, "--json").json["changed"] == [best]
    assert own.record(best) == before
    assert "system_tag/archived" in own.record(worst)


# --- errors ----------------------------------------------------------------------------------------------------------

VERBS = {
    "edit": ("edit", "{}", "--comment", "x"),
    "rename": ("rename", "{}", "another name"),
    "mv": ("mv", "{}", "another/project"),
    "archive": ("archive", "{}"),
    "console": ("console", "{}"),
}


def named(verb: str, *tasks: str) -> list[str]:
    """A command line with these tasks in it."""
    return [part for each in VERBS[verb] for part in (tasks if each == "{}" else (each,))]


def test_each_verb_refuses_bad_input_with_one_line_and_changes_nothing(own: Own) -> None:
    """Of several tasks none, where one of them cannot be meant."""
    best = own.ids["best"]
    twin = best[:8] + "0" * 24
    script = f"""
from tracker.workspace import Workspace
Workspace.open().edit({twin!r}, {{"name": "twin", "project": "vision/digits"}}, new=True)
"""
    assert own.cli.python(script).code == 0
    before = own.records()
    for verb in VERBS:
        refused(own.cli(*named(verb, "0" * 32)), 3, "no task's id begins with 000")
        refused(own.cli(*named(verb, best[:6])), 2, "give more characters")
        refused(own.cli(*named(verb, "no such")), 2, "'no such' is no task id")
        refused(own.cli(*named(verb, "no@such")), 3, "there is no alias no@such")
    for verb in ("mv", "archive"):
        refused(own.cli(*named(verb, best, "0" * 32)), 3, "no task's id begins with 000")
    refused(own.cli("rename", best, "xy"), 2, "the task name 'xy' is too short")
    refused(own.cli("rename", best, "a\x1b[31mb"), 2, "has control characters")
    refused(own.cli("mv", best, "/"), 2, "the project name '' is too short")
    refused(own.cli("mv", best, "p" * (NAME_MAX + 1)), 2, "or fewer")
    refused(own.cli("mv", "vision", "p" * NAME_MAX), 2, "or fewer")
    refused(own.cli("edit", best), 2, "nothing to change was given")
    refused(own.cli("console", best, "--follow", "--json"), 2, "leave --json out")
    assert own.records() == before


def test_a_store_that_cannot_be_written_is_refused_and_still_read(own: Own) -> None:
    """By a feature of the future; to root every folder is writable."""
    path = own.cli.folder / ".tracker/format"
    format_ = json.loads(path.read_bytes())
    format_["features"]["write"] = ["future"]
    path.write_text(json.dumps(format_))
    before = own.records()
    for verb in ("edit", "rename", "mv", "archive"):
        refused(own.cli(*named(verb, own.ids["best"])), 1, "cannot be written")
    refused(own.cli("edit", own.ids["best"], "--copy"), 1, "cannot be written")
    assert own.cli("console", own.ids["best"], "--tail", "1").out == "epoch 11\n"
    assert own.records() == before
