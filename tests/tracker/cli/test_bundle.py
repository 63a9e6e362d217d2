"""`tracker bundle`: what is typed and said, and the exit codes; journeys are in tests/journeys/test_bundle.py."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.commands import Cli
    from tests.tracker.cli.conftest import Sample


@pytest.fixture
def here(sample: Sample, tmp_path: Path) -> Cli:
    """Commands in a folder `project` that has a copy of the sample's store."""
    folder = tmp_path / "project"
    folder.mkdir()
    shutil.copytree(sample.store, folder / ".tracker")
    return sample.cli.at(folder)


@pytest.fixture
def nowhere(here: Cli, tmp_path: Path) -> Cli:
    """Commands where no store is."""
    (tmp_path / "nowhere").mkdir()
    return here.at(tmp_path / "nowhere")


def test_a_bundle_is_listed_and_verified_without_a_store(here: Cli, nowhere: Cli, sample: Sample) -> None:
    """What is in it, and that every byte is right."""
    made = here("bundle", "create", "x.bundle", "--json").json
    assert (made["schema"], made["tasks"], made["models"]) == ("tracker.bundle.create/1", 5, 2)
    listed = nowhere("bundle", "list", "../project/x.bundle", "--json").json
    assert {each["id"] for each in listed["heads"]} >= set(sample.ids.values())
    assert listed["id"] == made["id"]
    done = nowhere("bundle", "verify", "../project/x.bundle")
    assert (done.code, done.out.splitlines()[1]) == (0, "it rests on nothing: any store can take it in")
    checked = nowhere("bundle", "verify", "../project/x.bundle", "--json").json
    assert (checked["missing"], checked["objects"], checked["bytes"]) == (
        None,
        made["objects"],
        made["bytes"],
    )
    assert nowhere("bundle", "unbundle", "../project/x.bundle").code == 3


def test_damage_is_an_integrity_error(here: Cli, nowhere: Cli) -> None:
    """Exit code 4 and one line, from both commands."""
    here("bundle", "create", "x.bundle")
    path = here.folder / "x.bundle"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    nowhere("init", ".")
    for command in ("verify", "unbundle"):
        done = nowhere("bundle", command, "../project/x.bundle")
        assert (done.code, done.out, done.err.count("\n")) == (4, "", 1)
        assert "x.bundle is damaged: copy again" in done.err
    assert nowhere("ls", "--json").json["total"] == 0


def test_verify_says_whether_this_store_has_what_a_bundle_rests_on(
    here: Cli, nowhere: Cli, sample: Sample
) -> None:
    """Yes where it was made; exit code 3 in a store that lacks it; and what it is either way."""
    here("bundle", "create", "1")
    task = sample.ids["best"]
    edited = here.python(f"from tracker import Task; Task.get_task(task_id={task!r}).add_tags('new')")
    assert edited.code == 0, edited.err
    made = here("bundle", "create", "2", "--since", "1")
    assert made.code == 0, made.err
    assert "it rests on" in made.err
    done = here("bundle", "verify", "2")
    assert (done.code, done.out.splitlines()[-1]) == (0, "this store has what it takes")
    nowhere("init", ".")
    done = nowhere("bundle", "verify", "../project/2")
    assert (done.code, "are not in this store" in done.out) == (3, True)
    assert nowhere("bundle", "verify", "../project/2", "--json").json["missing"]
    assert nowhere("bundle", "unbundle", "../project/2").code == 3


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--split", "7Q"], 2, "'7Q' is no size: give a number and B, kB, MB"),
        (["--split", "-5MB"], 2, "is no size"),
        (["--split", "700M"], 2, "'700M' is no size"),
        (["--split", "10kB"], 2, "is too small for a part"),
        (["--since", "nope"], 3, "'nope' is neither a bundle nor a remote"),
        (["--tasks", "ffffff"], 3, "no task's id begins with ffffff"),
        (["more"], 2, "'more' is a second: name tasks after --tasks"),
    ],
)
def test_what_cannot_be_meant_is_refused(here: Cli, arguments: list[str], code: int, text: str) -> None:
    """Before anything is written."""
    done = here("bundle", "create", "x", *arguments)
    assert (done.code, done.err.count("\n")) == (code, 1), done.err
    assert text in done.err
    assert sorted(path.name for path in here.folder.iterdir()) == [".tracker"]


def test_stdout_is_no_place_for_a_bundle(here: Cli) -> None:
    """Nor is a file called `-` made."""
    done = here("bundle", "create", "-")
    assert (done.code, "name one" in done.err, (here.folder / "-").exists()) == (2, True, False)


@pytest.mark.parametrize("size", ["65536", "65536B", "64KiB", "0.1MB", "100kB", "1 MiB", "4.7GB", "2TiB"])
def test_sizes_are_written_as_people_do(here: Cli, size: str) -> None:
    """In powers of 1000 or of 1024, whatever the case."""
    done = here("bundle", "create", "x", "--split", size.lower(), "--tasks", "ffffff")
    assert "no task's id begins with" in done.err


def test_a_bundle_that_is_there_is_a_conflict(here: Cli) -> None:
    """Exit code 5, unless --force says so."""
    assert here("bundle", "create", "x").code == 0
    assert here("bundle", "create", "x").code == 5
    assert here("bundle", "create", "x", "--force").code == 0


def test_several_tasks_may_follow_the_option(here: Cli, sample: Sample) -> None:
    """As on the help page, and as other options are repeated."""
    one, two = list(sample.ids.values())[:2]
    assert here("bundle", "create", "x", "--tasks", one, two, "--json").json["tasks"] == 2
    assert here("bundle", "create", "y", "--tasks", one, "--tasks", two, "--json").json["tasks"] == 2


def test_a_bundle_heals_a_store(here: Cli) -> None:
    """`fsck --heal --from` takes what is lost out of a bundle, or out of one part of it and those beside."""
    here("bundle", "create", "x", "--split", "4MiB")
    packs = sorted((here.folder / ".tracker/packs").rglob("*.pack"))
    for pack in packs[::2]:
        pack.unlink()
    assert here("fsck").code == 4
    done = here("fsck", "--heal", "--from", "x.002")
    assert done.code == 0, done.out + done.err
    assert here("fsck").code == 0


@pytest.mark.parametrize("out", [".", "/", "", ".."])
def test_a_folder_is_no_name_of_a_bundle(here: Cli, out: str) -> None:
    """A wrong call, and no internal error."""
    done = here("bundle", "create", out)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "name a file" in done.err


def test_help_promises_no_task_that_is_refused(here: Cli) -> None:
    """Tasks stand behind --tasks only."""
    text = here("bundle", "create", "--help").out
    assert "OUT [TASK]" not in text
    assert "--tasks TASK..." in text


def test_deletions_are_marked(here: Cli, sample: Sample) -> None:
    """In what was made and in its list, for people and for programs."""
    assert here("rm", sample.ids["failed"], "--yes").code == 0
    assert "(1 of them deleted)" in here("bundle", "create", "x").err
    assert here("bundle", "create", "y", "--json").json["deleted"] == 1
    rows = {each["id"]: each["deleted"] for each in here("bundle", "list", "x", "--json").json["heads"]}
    assert [key for key, deleted in rows.items() if deleted] == [sample.ids["failed"]]
    (line,) = [line for line in here("bundle", "list", "x").out.splitlines() if line.split()[-1] == "deleted"]
    assert line.startswith(sample.ids["failed"])
