"""`tracker remote`, `push`, `pull`, `clone`, by real processes between real folders."""

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


def test_pushed_pulled_and_cloned_stores_have_the_same_tasks(here: Cli, sample: Sample) -> None:
    """What each step did is counted; a second one has nothing to do."""
    assert here("remote", "add", "backup", "../backup").code == 0
    done = here("push", "--json").json
    assert (done["schema"], done["remote"], done["tasks"], done["models"]) == (
        "tracker.push/1",
        "backup",
        5,
        2,
    )
    assert done["bytes"] > 9 << 20
    assert here("push").err == "pushed to backup: nothing new\n"

    done = here("clone", "../backup", "../laptop", "--json").json
    assert (done["tasks"], done["models"], done["store"]) == (5, 2, "../laptop/.tracker")
    laptop = here.at(here.folder.parent / "laptop")
    assert laptop("fsck").code == 0
    assert laptop("pull").err == "pulled from origin: nothing new\n"
    assert laptop("remote", "list").out.splitlines()[1].split() == ["origin", "../backup"]
    mine, theirs = (where("ls", "--json").json for where in (here, laptop))
    assert mine == theirs


def test_relative_remotes_are_kept_relative_so_that_the_pair_can_be_moved(here: Cli) -> None:
    """Whatever folder of the project the command was typed in."""
    below = here.folder / "src" / "deep"
    below.mkdir(parents=True)
    assert here.at(below)("remote", "add", "backup", "../../../backup").code == 0
    assert here("remote", "list", "--json").json["remotes"] == [{"name": "backup", "url": "../backup"}]
    assert here("push").code == 0
    moved = here.folder.parent / "elsewhere"
    moved.mkdir()
    for name in ("project", "backup"):
        (here.folder.parent / name).rename(moved / name)
    assert here.at(moved / "project")("push").err == "pushed to backup: nothing new\n"


def test_adding_a_remote_keeps_the_comments_of_the_settings(here: Cli) -> None:
    """The file is people's; the first remote stays the default."""
    settings = here.folder / ".tracker/config.toml"
    before = settings.read_text()
    here("remote", "add", "one", "../one")
    here("remote", "add", "two", str(here.folder.parent / "two"))
    after = settings.read_text()
    assert after.startswith(before)
    assert [each["name"] for each in here("remote", "list", "--json").json["remotes"]] == ["one", "two"]
    assert here("push", "--json").json["remote"] == "one"
    assert here("push", "two", "--json").json["remote"] == "two"


def test_a_name_that_is_taken_is_a_conflict(here: Cli) -> None:
    """Exit code 5, and the file stays as it was."""
    here("remote", "add", "one", "../one")
    done = here("remote", "add", "one", "../other")
    assert done.code == 5
    assert "there is a remote one already, ../one" in done.err
    assert not (here.folder.parent / "other").exists()


@pytest.mark.parametrize(
    ("url", "code", "text"),
    [
        (".tracker", 5, "is this very store"),
        ("..", 5, "has other things in it and is no store"),
        ("https://host/x", 2, "is not supported by this version, which has folders only"),
        ("ftp://host/x", 2, "is no folder"),
        ("user@host:runs", 2, "is no folder: give a path"),
        ("file://host/x", 2, "names no folder of this machine"),
    ],
)
def test_what_is_no_place_for_a_remote_is_refused(here: Cli, url: str, code: int, text: str) -> None:
    """Before anything is written there."""
    before = sorted(here.folder.parent.rglob("*"))
    done = here("remote", "add", "x", url)
    assert (done.code, done.err.count("\n")) == (code, 1)
    assert text in done.err
    assert sorted(here.folder.parent.rglob("*")) == before
    assert "[remote" not in (here.folder / ".tracker/config.toml").read_text()


def test_a_remote_that_is_gone_is_a_network_error(here: Cli) -> None:
    """A disk that is not mounted must not look like an empty remote: exit code 6."""
    here("remote", "add", "backup", "../backup")
    shutil.rmtree(here.folder.parent / "backup")
    for command in ("push", "pull"):
        done = here(command)
        assert done.code == 6
        assert "is its disk mounted?" in done.err
    assert not (here.folder.parent / "backup").exists()


def test_a_file_url_and_a_projects_folder_are_remotes_too(here: Cli, cli: Cli) -> None:
    """Of a folder with a .tracker in it, that is meant."""
    assert cli("clone", "project", "copy").code == 0
    assert (cli.folder / "copy/.tracker/format").is_file()
    assert cli("clone", (here.folder / ".tracker").as_uri(), "other").code == 0
    assert cli.at(cli.folder / "other")("ls", "--json").json["total"] == 5


def test_a_clone_is_named_after_its_source(here: Cli, tmp_path: Path) -> None:
    """The last part of the URL, or the project's folder."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert here.at(elsewhere)("clone", "../project").code == 0
    assert (elsewhere / "project/.tracker/format").is_file()


def test_a_clone_does_not_touch_what_is_there(here: Cli) -> None:
    """Exit code 5, by folder or by --store."""
    for arguments in (["..", "."], ["../project", "."], ["../project", "--store", ".tracker"]):
        done = here("clone", *arguments)
        assert done.code == 5
        assert ".tracker is there already" in done.err


def test_a_damaged_remote_is_an_integrity_error_and_the_rest_arrives(here: Cli, sample: Sample) -> None:
    """Exit code 4; what does not need the damaged bytes is pulled all the same."""
    (here.folder / "new").mkdir()
    there = here.folder / ".tracker"
    large = max(there.glob("packs/*/*.pack"), key=lambda path: path.stat().st_size)
    data = bytearray(large.read_bytes())
    data[len(data) // 2] ^= 1
    large.write_bytes(bytes(data))
    done = here("clone", str(there), "new")
    assert done.code == 4
    assert "`tracker pull --store new/.tracker` goes on where this stopped" in done.err
    arrived = here.at(here.folder / "new")("ls", "--json").json["tasks"]
    assert {task["id"] for task in arrived} == {sample.ids[label] for label in ("hostile", "failed", "long")}
    # The same pull, once the remote is whole again, brings the rest.
    data[len(data) // 2] ^= 1
    large.write_bytes(bytes(data))
    assert here.at(here.folder / "new")("pull").code == 0
    assert here.at(here.folder / "new")("ls", "--json").json["total"] == 5


def test_a_damaged_store_is_pushed_as_far_as_it_is_sound(here: Cli, sample: Sample) -> None:
    """Exit code 4, one line that names what stayed; the other tasks are safe there."""
    assert here("remote", "add", "other", "../other").code == 0
    large = max((here.folder / ".tracker").glob("packs/*/*.pack"), key=lambda path: path.stat().st_size)
    data = bytearray(large.read_bytes())
    data[len(data) // 2] ^= 1
    large.write_bytes(bytes(data))
    done = here("push", "other")
    assert (done.code, done.err.count("\n")) == (4, 1)
    assert " not pushed, the rest was: object " in done.err
    arrived = here.at(here.folder)("ls", "--json", "--store", "../other").json["tasks"]
    assert {task["id"] for task in arrived} == {sample.ids[label] for label in ("hostile", "failed", "long")}


def test_a_clone_that_stops_before_it_knows_its_remote_leaves_nothing(here: Cli) -> None:
    """A pull could not go on from it: the same clone again can."""
    script = (
        "import os, signal, sys\n"
        "def stop(event, found):\n"
        "    if event == 'open' and '.part' in str(found[0]) and 'config.toml' in str(found[0]):\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.addaudithook(stop)\n"
        "from tracker.cli.main import main\n"
        "sys.exit(main(['clone', '.', 'new']))\n"
    )
    done = here.python(script)
    assert (done.code, done.err) == (130, "tracker: interrupted\n")
    assert here("clone", ".", "new").code == 0


def test_a_store_that_has_lost_its_heads_is_not_cloned_as_an_empty_one(here: Cli) -> None:
    """What is wrong is said, with what to do; after that it can be cloned. An empty one is called empty."""
    shutil.rmtree(here.folder / ".tracker" / "refs")
    shutil.rmtree(here.folder / ".tracker" / "refs.packed", ignore_errors=True)
    done = here("clone", ".", "new")
    assert (done.code, done.err.count("\n")) == (4, 1)
    assert "not one head" in done.err
    assert not (here.folder / "new").exists()
    assert here("fsck", "--heal").code == 0
    assert here("clone", ".", "new").code == 0
    assert here("init", "empty").code == 0
    assert (
        here("clone", "empty", "other").err == "cloned into other/.tracker: empty/.tracker is empty so far\n"
    )
