"""`tracker rm`, `restore`, `gc` and `du`, by real processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.commands import Cli
    from tests.tracker.cli.conftest import Sample

RUN = """
import sys
from tracker import Task
task = Task.init("space", "running", auto_connect_streams=False)
task.upload_artifact("large", "large.bin", wait_on_upload=True)
print(task.id, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def copy(sample: Sample, tmp_path: Path) -> Cli:
    """Commands in a copy of the sample, which they may change."""
    shutil.copytree(sample.store, tmp_path / ".tracker")
    return sample.cli.at(tmp_path)


def size(folder: Path) -> int:
    """Bytes of a store."""
    return sum(path.stat().st_size for path in (folder / ".tracker").rglob("*") if path.is_file())


def test_deleting_every_run_with_an_artifact_returns_its_space(copy: Cli, sample: Sample) -> None:
    """`rm --yes` and twice `gc --grace 0s --yes`; what other runs have stays, and what rm said is what came back."""
    copy("ls")  # the tables in cache/ are no part of what is freed
    before = size(copy.folder)
    best, worst = sample.ids["best"], sample.ids["worst"]
    first = copy("rm", best[:8], "--yes", "--json").json
    assert first["bytes"] < 1 << 20  # the other run has the same file
    assert best in first["deleted"]
    done = copy("rm", worst, "--yes")
    assert done.err.startswith("deleted 1 task and 1 model (vision/digits / lr 0.001): `tracker gc` frees 9.")
    assert copy("ls", "--json").json["total"] == 3
    young = copy("gc")
    assert young.out.startswith("nothing to do; ")
    assert "younger than the grace: `tracker gc --grace 0s`, run twice" in young.err
    one, two = (copy("gc", "--grace", "0s", "--yes", "--json").json for _ in range(2))
    assert one["aside"]["files"] > 0
    assert two["deleted"]["files"] == one["aside"]["files"]
    assert before - size(copy.folder) > 9 << 20
    assert copy("fsck").code == 0
    gone = copy("restore", best)
    assert (gone.code, "no longer in this store" in gone.err) == (3, True)


@pytest.mark.parametrize("how", [("--now",), ()])
def test_a_remote_that_was_collected_is_sent_again_what_it_lacks(
    cli: Cli, tmp_path: Path, how: tuple[str, ...]
) -> None:
    """Deleted and collected there, made again and pushed here: it is there again, and collecting comes to an end."""
    script = """
from tracker import Task
task = Task.init("space", "run", auto_connect_streams=False, reuse_last_task_id=False)
task.upload_artifact("large", "large.bin", wait_on_upload=True)
print(task.id)
"""
    (cli.folder / "large.bin").write_bytes(os.urandom(3 << 20))
    key = cli.python(script).out.split()[-1]
    there = tmp_path / "remote"
    assert cli("remote", "add", "r", str(there)).code == 0
    assert cli("push", "r").code == 0
    assert cli("rm", key, "--yes", "--store", str(there)).code == 0
    for _ in range(2):
        assert cli("gc", *how, "--grace", "0s", "--yes", "--store", str(there)).code == 0
    assert sum(path.stat().st_size for path in there.rglob("*") if path.is_file()) < 1 << 20
    done = cli("gc", *how, "--grace", "0s", "--yes", "--store", str(there))
    assert done.out.startswith("nothing to do; ")
    again = cli.python(script).out.split()[-1]
    assert cli("push", "r").code == 0
    assert cli("fsck", "--store", str(there)).code == 0
    assert cli("get", f"{again}:large", "-o", "x", "--store", str(there)).code == 0
    assert (cli.folder / "x").read_bytes() == (cli.folder / "large.bin").read_bytes()


@pytest.mark.parametrize("how", [("--now", "--grace=0s"), ("--grace=0s",)])
def test_a_collection_asks_only_where_there_is_something_to_delete(
    copy: Cli, sample: Sample, how: tuple[str, ...]
) -> None:
    """A script without a terminal may call it every night."""
    copy("gc", *how, "--yes")
    copy("gc", *how, "--yes")
    assert copy("gc", *how).out.startswith("nothing to do; ")
    copy("rm", sample.ids["best"], "--yes")
    refused = copy("gc", *how)
    assert (refused.code, "--yes" in refused.err) == (2, True)


def test_a_deleted_task_is_named_where_it_is_asked_for_and_comes_back(copy: Cli, sample: Sample) -> None:
    """Also after a first collection, out of the trash."""
    best = sample.ids["best"]
    copy("rm", best, sample.ids["worst"], "--yes")
    shown = copy("show", best)
    assert shown.code == 3
    assert f"`tracker restore {best}`" in shown.err
    first = copy("gc", "--grace", "0s", "--yes")
    assert (first.code, "the next `tracker gc --grace 0s`" in first.err) == (0, True)
    done = copy("restore", best[:8])
    assert (done.code, done.err) == (0, "restored 1 task and 1 model: vision/digits / lr 0.1\n")
    for _ in range(2):
        copy("gc", "--grace", "0s", "--yes")
    assert copy("get", f"{best}:big", "-o", "x").code == 0
    assert (copy.folder / "x").read_bytes() == (sample.folder / "big.bin").read_bytes()
    assert copy("fsck").code == 0
    again = copy("restore", best)
    assert (again.code, again.err) == (2, f"tracker: task {best} is not deleted\n")


def test_a_deleted_task_that_never_had_the_commit_stays_deleted(copy: Cli, sample: Sample) -> None:
    """An error is an error: the task does not come back by the way."""
    best = sample.ids["best"]
    copy("rm", best, sample.ids["worst"], "--yes")
    done = copy("restore", best, "f" * 12)
    assert (done.code, "has no commit ffffffffffff" in done.err) == (3, True)
    assert copy("show", best).code == 3


@pytest.mark.parametrize("bundled", [False, True])
def test_what_is_gone_is_restored_from_a_store_or_a_bundle(copy: Cli, sample: Sample, bundled: bool) -> None:
    """The error says so; a file that is no bundle is refused."""
    best = sample.ids["best"]
    source = str(copy.folder / "b.bundle" if bundled else sample.folder)
    assert not bundled or sample.cli("bundle", "create", source, "--tasks", best).code == 0
    copy("rm", best, sample.ids["worst"], "--yes")
    for _ in range(2):
        copy("gc", "--grace", "0s", "--yes")
    gone = copy("restore", best)
    assert (gone.code, f"`tracker restore {best[:12]} --from" in gone.err) == (3, True)
    (copy.folder / "words").write_text("no bundle")
    assert copy("restore", best, "--from", "words").code == 3
    done = copy("restore", best, "--from", source)
    assert (done.code, done.err) == (0, "restored 1 task and 1 model: vision/digits / lr 0.1\n")
    assert copy("get", f"{best}:big", "-o", "x").code == 0
    assert (copy.folder / "x").read_bytes() == (sample.folder / "big.bin").read_bytes()
    assert copy("fsck").code == 0


def test_a_model_is_named_by_its_id(copy: Cli, sample: Sample) -> None:
    """While its task lives it is refused, and the task is named."""
    best = sample.ids["best"]
    (model,) = (key for key in copy("rm", best, "--yes", "--json").json["deleted"] if key != best)
    assert copy("restore", best).code == 0
    done = copy("rm", model, "--yes")
    assert (done.code, f"is an output of task {best}" in done.err) == (5, True)


def test_the_folder_of_the_store_may_be_named_in_the_environment(
    copy: Cli, sample: Sample, tmp_path: Path
) -> None:
    """For commands and for runs, as for --store: no run goes to a stand-in."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    away = copy.at(elsewhere)
    named = {"TRACKER_DIR": str(copy.folder), "XDG_STATE_HOME": str(tmp_path / "state")}
    assert away("ls", "--json", **named).json["total"] == 5
    script = "from tracker import Task\nTask.init('space', 'more', auto_connect_streams=False).close()"
    assert away.python(script, **named).code == 0
    assert away("ls", "--json", **named).json["total"] == 6
    assert not (tmp_path / "state").exists()
    assert away("init", **named).err.endswith(".tracker is there already\n")


def test_a_run_beside_a_store_whose_folder_was_named_is_adopted(cli: Cli, tmp_path: Path) -> None:
    """Its stand-in bears the name of the folder that the .tracker lies in."""
    state = {"XDG_STATE_HOME": str(tmp_path / "state")}
    script = "from tracker import Task\nTask.init('space', 'more', auto_connect_streams=False).close()"
    assert cli.at(tmp_path)("init", "there").code == 0
    assert cli.python(script, TRACKER_DIR=str(tmp_path / "aside" / ".tracker")).code == 0
    stand_in = tmp_path / "state/tracker/0123456789abcdef"
    stand_in.mkdir(parents=True)
    (stand_in / "origin").write_text(str(tmp_path / "there"))
    (tmp_path / "aside/.tracker").rename(stand_in / ".tracker")
    assert "adopted" in cli("recover", "--store", "there", **state).out
    assert not stand_in.exists()


def test_nobody_is_deleted_without_a_word(copy: Cli, sample: Sample) -> None:
    """Where nobody can be asked, --yes is needed."""
    done = copy("rm", sample.ids["best"])
    assert (done.code, "say --yes" in done.err) == (2, True)
    assert copy("ls", "--json").json["total"] == 5
    assert copy("rm", "abcdefabcdef", "--yes").code == 3
    assert copy("gc", "--grace", "soon").code == 2


def test_gc_refuses_what_is_damaged_and_says_what_to_do(copy: Cli) -> None:
    """Exit code 4, and no file is touched."""
    head = next((copy.folder / ".tracker/refs").glob("*/*"))
    head.write_bytes(b"{}")
    before = sorted(path for path in (copy.folder / ".tracker").rglob("*") if path.is_file())
    done = copy("gc", "--grace", "0s", "--yes")
    assert done.code == 4
    assert done.out.startswith("nothing was touched: refs/")
    assert "fsck --heal" in done.out
    assert copy("gc", "--now", "--yes", "--json").json["refused"]
    assert sorted(path for path in (copy.folder / ".tracker").rglob("*") if path.is_file()) == before


def test_a_dry_run_says_what_a_run_will_do(copy: Cli, sample: Sample) -> None:
    """And changes nothing."""
    copy("rm", sample.ids["best"], sample.ids["worst"], "--yes")
    shutil.rmtree(copy.folder / ".tracker/cache")

    def state() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in (copy.folder / ".tracker").rglob("*")}

    before = state()
    foreseen = copy("gc", "--dry-run", "--grace", "0s", "--json").json
    assert foreseen["dry_run"]
    assert "would set aside" in copy("gc", "--dry-run", "--grace", "0s").out
    assert state() == before
    report = copy("gc", "--grace", "0s", "--yes", "--json").json
    assert foreseen["aside"]["files"] + foreseen["rewritten"]["files"] == report["aside"]["files"]


def test_what_a_running_task_has_stored_survives_collections(cli: Cli) -> None:
    """It is named by nothing but its journal; and the task itself cannot be deleted."""
    (cli.folder / "large.bin").write_bytes(os.urandom(3 << 20))
    process = subprocess.Popen(
        [sys.executable, "-c", RUN],
        cwd=cli.folder,
        env=cli.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    key = process.stdout.readline().strip()
    try:
        for _ in range(2):
            assert cli("gc", "--grace", "0s", "--yes").code == 0
        refused = cli("rm", key, "--yes")
        assert (refused.code, "is running: end it first" in refused.err) == (5, True)
        (row,) = cli("du", "--by", "task", "--json").json["rows"]
        assert row["unique"] > 3 << 20
    finally:
        process.communicate("")
    assert cli("fsck").code == 0
    assert cli("get", f"{key}:large", "-o", "x").code == 0
    assert (cli.folder / "x").read_bytes() == (cli.folder / "large.bin").read_bytes()


def test_du_counts_every_byte_once(sample: Sample) -> None:
    """What rows have alone, what they share, and what nothing needs add up to the packs."""
    tasks = sample.cli("du", "--by", "task", "--json").json
    projects = {row["project"]: row for row in sample.cli("du", "--json").json["rows"]}
    rows = {row["id"]: row for row in tasks["rows"]}
    best, worst = rows[sample.ids["best"]], rows[sample.ids["worst"]]
    assert best["shared"] > 9 << 20  # one file, in both
    assert best["bytes"] == best["unique"] + best["shared"]
    packs = sum(path.stat().st_size for path in (sample.store / "packs").rglob("*.pack"))
    assert tasks["bytes"] == packs
    assert tasks["trash"] == 0
    alone = sum(row["unique"] for row in tasks["rows"])
    shared = max(best["shared"], worst["shared"])
    assert abs(alone + shared + tasks["dead"] - packs) < 64 << 10
    digits = projects["vision/digits"]
    assert digits["unique"] > best["unique"] + worst["unique"] + (9 << 20) - 1000


def test_du_by_artifact_names_task_and_artifact(sample: Sample) -> None:
    """The largest first."""
    document = sample.cli("du", "--by", "artifact", "--limit", "2", "--json").json
    assert [row["artifact"] for row in document["rows"]][:1] != []
    assert document["total"] > 2
    everything = sample.cli("du", "--by", "artifact", "--json").json["rows"]
    (big,) = [r for r in everything if r["artifact"] == "big" and r["id"] == sample.ids["best"]]
    assert (big["unique"], big["shared"] > 9 << 20) == (0, True)
    out = sample.cli("du", "--by", "artifact").out
    assert "big" in out
    assert out.splitlines()[-1].endswith("MiB")
