"""`tracker get` and `tracker cat`, by real processes on a real store."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from objstore import files
from objstore.records import Mode, TreeEntry
from objstore.store import Store

if TYPE_CHECKING:
    from tests.commands import Cli
    from tests.tracker.cli.conftest import Sample


@pytest.fixture
def here(sample: Sample, tmp_path: Path) -> Cli:
    """Commands in an empty folder, on the sample's store by TRACKER_DIR."""
    return sample.cli.at(tmp_path)


def hash_of(sample: Sample, name: str) -> str:
    """The hash of an artifact of the best run."""
    return str(next(each["hash"] for each in sample.best["artifacts"] if each["name"] == name))


def test_an_artifact_comes_by_task_and_name(sample: Sample, here: Cli) -> None:
    """Under its own file name, or where one wants it; what was done is told on stderr."""
    store = {"TRACKER_DIR": str(sample.store)}
    done = here("get", f"{sample.ids['best'][:8]}:dataset", **store)
    assert (done.code, done.out) == (0, "")
    assert done.err.startswith("dataset.json  22 B, blob ")
    assert json.loads((here.folder / "dataset.json").read_text()) == {"images": 1797}
    assert here("get", f"{sample.ids['best']}:dataset", "-o", "other", **store).code == 0
    assert (here.folder / "other").read_bytes() == (here.folder / "dataset.json").read_bytes()


def test_a_model_comes_by_task_and_name_and_by_hash_the_same(sample: Sample, here: Cli) -> None:
    """The bytes that were recorded."""
    model = sample.best["models"]["output"][0]
    for number, what in enumerate((f"{sample.ids['best']}:model", model["hash"][:12], model["id"])):
        done = here("get", what, "-o", f"model{number}", "--json", TRACKER_DIR=str(sample.store))
        assert done.json == {
            "schema": "tracker.get/1",
            "hash": model["hash"],
            "kind": "blob",
            "size": 2400,
            "path": f"model{number}",
        }
        assert (here.folder / f"model{number}").read_bytes() == b"lr 0.1" * 400


def test_a_folder_comes_as_a_folder_and_a_file_in_it_as_a_file(sample: Sample, here: Cli) -> None:
    """By the artifact's name or the tree's hash."""
    store = {"TRACKER_DIR": str(sample.store)}
    tree = hash_of(sample, "folder")
    assert here("get", f"{sample.ids['best']}:folder", **store).code == 0
    assert (here.folder / "files/sub/file.txt").read_text() == "in a folder\n"
    for number, what in enumerate((f"{tree}:sub/file.txt", f"{sample.ids['best']}:folder/sub/file.txt")):
        assert here("get", what, "-o", f"{number}.txt", **store).code == 0
        assert (here.folder / f"{number}.txt").read_text() == "in a folder\n"
    assert "file  " in here("cat", f"{tree}:sub", **store).out
    again = here("get", tree, "-o", "files", **store)
    assert again.code == 0, "into a folder that is there, under its hash"
    assert (here.folder / "files" / tree / "sub/file.txt").is_file()


def test_a_task_without_a_name_lists_what_it_has_and_exits_2(sample: Sample, here: Cli) -> None:
    """So that the next command can be typed."""
    done = here("get", sample.ids["best"], TRACKER_DIR=str(sample.store))
    assert done.code == 2
    assert done.err == f"tracker: name what to get: tracker get {sample.ids['best']}:NAME -o PATH\n"
    assert "\n  dataset  " in done.out
    assert "\n  model  " in done.out
    document = here("get", sample.ids["best"], "--json", TRACKER_DIR=str(sample.store)).json
    assert [each["name"] for each in document["artifacts"]] == ["big", "dataset", "folder"]
    assert [each["name"] for each in document["models"]["output"]] == ["model"]
    assert here("get", sample.ids["best"], "-o", "-", TRACKER_DIR=str(sample.store)).out == ""


@pytest.mark.parametrize(
    ("what", "options", "code", "text"),
    [
        (
            "{best}:nothing",
            [],
            3,
            "has no artifact or output model named 'nothing': it has big, dataset, folder, model",
        ),
        ("{best}:folder/nothing", ["-o", "x"], 3, "has no 'nothing': it has sub"),
        ("{best}:dataset", ["-o", "no/such/place"], 3, "no/such is not there: make it first"),
        ("{best}:dataset", [], 5, "dataset.json is there already: name a place with -o PATH"),
        ("{best}:folder", ["-o", "dataset.json"], 5, "dataset.json is there already: name a new folder"),
        ("{dataset}", [], 2, "an object has no name of its own: say where to with -o PATH"),
        ("{best}:folder", ["-o", "-"], 2, "a folder cannot go to stdout"),
        ("12345", ["-o", "x"], 2, "'12345' is no id"),
    ],
)
def test_what_cannot_be_had_is_said_in_one_line(
    sample: Sample, here: Cli, what: str, options: list[str], code: int, text: str
) -> None:
    """And nothing is written, or replaced that was not named."""
    (here.folder / "dataset.json").write_text("mine")
    named = what.format(best=sample.ids["best"], dataset=hash_of(sample, "dataset"))
    done = here("get", named, *options, TRACKER_DIR=str(sample.store))
    assert (done.code, done.out, done.err.count("\n")) == (code, "", 1)
    assert text in done.err
    assert [path.name for path in here.folder.iterdir()] == ["dataset.json"]
    assert (here.folder / "dataset.json").read_text() == "mine"


def test_cat_gives_the_very_bytes_of_a_blob(sample: Sample) -> None:
    """Of a large one too, which is stored in chunks."""
    for what in (f"{sample.ids['best']}:big", hash_of(sample, "big")):
        command = sample.cli.command("cat", what)
        printed = subprocess.run(
            command, cwd=sample.folder, env=sample.cli.environment(), capture_output=True, check=True
        )
        assert printed.stdout == (sample.folder / "big.bin").read_bytes()


def test_cat_lists_trees_and_prints_records(sample: Sample) -> None:
    """A tree's entries in a table or as JSON; a task's record as JSON."""
    tree = hash_of(sample, "folder")
    document = sample.cli("cat", tree, "--json").json
    (entry,) = document["entries"]
    assert (document["kind"], entry["mode"], entry["name"], entry["size"]) == ("tree", "tree", "sub", 12)
    assert sample.cli("cat", tree).out.splitlines()[1].split() == ["tree", entry["hash"], "12", "sub"]
    record = sample.cli("cat", sample.ids["hostile"])
    assert record.json["kind"] == "task"
    assert not any(c in record.out for c in "\x1b\x9b\u202e")


def test_cat_as_json_has_text_or_base64(sample: Sample) -> None:
    """With the size and the id."""
    text = sample.cli("cat", f"{sample.ids['best']}:dataset", "--json").json
    assert json.loads(text["text"]) == {"images": 1797}
    binary = sample.cli("cat", f"{sample.ids['best']}:big", "--json").json
    assert binary["size"] == 9 << 20
    assert "base64" in binary


def test_cat_does_not_send_control_characters_to_a_terminal(sample: Sample) -> None:
    """What the hostile run stored is refused there, and says how to get it all the same."""
    script = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)"
    command = sample.cli.command(
        "cat", f"{sample.ids['hostile']}:\x1b[31mred\x1b]0;title\x07\nnext\u2028line"
    )
    done = sample.cli.run([command[0], "-c", script, *command], TERM="xterm")
    assert done.code == 1
    assert "has bytes that a terminal would obey: tracker get " in done.out
    assert "\x1b" not in done.out


def test_names_in_a_hostile_folder_reach_no_terminal(sample: Sample, tmp_path: Path) -> None:
    """Sequences, a change of direction, a line's end: spelled out in the list of entries, and in the error of `get`."""
    store = Store.create(tmp_path / "store")
    with store.begin() as transaction:
        content = transaction.put_bytes(b"x")
        names = ["\x1b[2J", "a\u202eb", "c\rd", "e\x9bf"]
        entries = [TreeEntry(name, Mode.FILE, content, 1) for name in names]
        tree, _ = files.put_tree(transaction, entries)
    store.close()
    place = {"TRACKER_DIR": str(store.root)}
    listed = sample.cli("cat", str(tree), **place)
    assert len(listed.out.splitlines()) == 5
    fetched = sample.cli("get", str(tree), "-o", str(tmp_path / "out"), **place)
    assert (fetched.code != 0, (tmp_path / "out").exists()) == (True, False)
    assert not any(c in listed.out + fetched.out + fetched.err for c in "\x1b\u202e\r\x9b")
