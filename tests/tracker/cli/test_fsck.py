"""`tracker fsck`: what it finds and names, what --heal brings back, and its exit codes; by real processes."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from objstore.ids import ObjectId
from objstore.objects import Objects

if TYPE_CHECKING:
    from tests.commands import Cli
    from tests.tracker.cli.conftest import Sample


def flip(path: Path, at: int) -> None:
    """Change one bit of a file."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def largest(folder: Path) -> Path:
    """The pack with the sample's large artifact."""
    return max(folder.glob(".tracker/packs/*/*.pack"), key=lambda path: path.stat().st_size)


@pytest.fixture
def copy(sample: Sample, tmp_path: Path) -> Cli:
    """The sample's store, to be damaged, with a remote that holds all of it."""
    shutil.copytree(sample.store, tmp_path / ".tracker")
    cli = sample.cli.at(tmp_path)
    assert cli("remote", "add", "backup", "backup").code == 0
    assert cli("push").code == 0
    return cli


def test_a_sound_store_is_counted(sample: Sample) -> None:
    """At every level; exit code 0."""
    document = sample.cli("fsck", "--json").json
    assert (document["clean"], document["problems"], document["heads"]) == (True, [], 7)
    assert document["bytes"] > 9 << 20
    assert document["level"] == "content"
    done = sample.cli("fsck")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("clean: ")
    for level in ("index", "checksums", "content", "reachable"):
        document = sample.cli("fsck", "--level", level, "--json").json
        assert (document["clean"], document["level"], document["heads"]) == (True, level, 7)


def test_the_tasks_and_artifacts_that_damage_touches_are_named(copy: Cli, sample: Sample) -> None:
    """Exit code 4, of fsck and of whoever would read the damaged bytes; what is sound is still read."""
    large = largest(copy.folder)
    flip(large, large.stat().st_size // 2)

    done = copy("fsck")
    assert done.code == 4
    assert f"damaged  {large.relative_to(copy.folder / '.tracker')}: " in done.out
    best = sample.ids["best"]
    (line,) = [line for line in done.out.splitlines() if "lr 0.1: big" in line]
    assert line.split()[:2] == ["task", best[:8]]
    assert "run `tracker fsck --heal`" in done.err
    document = copy("fsck", "--json")
    assert (document.code, document.json["clean"]) == (4, False)
    touched = [each for problem in document.json["problems"] for each in problem["touches"]]
    assert {
        "id": next(each["id"] for each in touched if each["name"] == "lr 0.001"),
        "kind": "task",
        "project": "vision/digits",
        "name": "lr 0.001",
        "artifacts": ["big"],
    } in touched
    assert all(problem["advice"] for problem in document.json["problems"])

    assert copy("fsck", "--level", "index").code == 0
    assert copy("fsck", "--level", "reachable").code == 0
    fast = copy("fsck", "--level", "checksums")
    assert fast.code == 4
    assert "lr 0.1: big" in fast.out

    assert copy("cat", f"{sample.ids['best']}:big").code == 4
    get = copy("get", f"{sample.ids['best']}:big", "-o", "x")
    assert get.code == 4
    assert f"{sample.ids['best']}:big is damaged or missing here: " in get.err
    assert get.err.count("`tracker fsck --heal`") == 1
    assert not (copy.folder / "x").exists()
    assert copy("ls", "--json").json["total"] == 5


def test_heal_brings_back_what_a_remote_has(copy: Cli, sample: Sample) -> None:
    """Without being told where from; a second time there is nothing to do."""
    large = largest(copy.folder)
    flip(large, large.stat().st_size // 2)
    (head,) = copy.folder.glob(f".tracker/refs/*/{sample.ids['failed']}.*")
    commit_id = ObjectId.parse(head.name.split(".")[1])
    known = {place.pack_id for place in Objects(copy.folder / ".tracker", keep=False).locate(commit_id)}
    for pack in sorted(copy.folder.glob(".tracker/packs/*/*.pack"))[::3]:
        if (
            pack != large and pack.stem not in known
        ):  # without its commit nothing would tell that there was a head
            pack.unlink()
    head.unlink()
    done = copy("fsck", "--heal")
    assert (done.code, done.err) == (0, "")
    assert "\nfetched  " in f"\n{done.out}"
    assert "restored task / " in done.out
    assert "aside    1 damaged file, kept in trash/" in done.out
    assert done.out.splitlines()[-1].startswith("clean: ")
    again = copy("fsck", "--heal", "--json").json
    assert again["healed"] == {
        "saved": 0,
        "fetched": {},
        "heads": [],
        "aside": [],
        "dropped": [],
        "failed": {},
    }
    assert copy("fsck").code == 0
    assert copy("get", f"{sample.ids['best']}:big", "-o", "x").code == 0
    assert (copy.folder / "x").read_bytes() == (sample.folder / "big.bin").read_bytes()
    assert copy("ls", "--json").json["total"] == 5


@pytest.mark.parametrize("origin", ["remote", "store", "folder above it", "own file", "own folder", "bundle"])
def test_heal_takes_from_where_it_is_told(
    copy: Cli, sample: Sample, origin: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A remote's name, a store, the folder that one lies in, a file of one's own, a folder of such, a bundle."""
    large = largest(copy.folder)
    flip(large, large.stat().st_size // 2)
    own = tmp_path_factory.mktemp("own")
    if origin == "bundle":
        assert sample.cli("bundle", "create", str(own / "out.bundle")).code == 0
    shutil.copy(sample.folder / "big.bin", own)
    named = {
        "remote": "backup",
        "store": str(sample.store),
        "folder above it": str(sample.store.parent),
        "own file": str(own / "big.bin"),
        "own folder": str(own),
        "bundle": str(own / "out.bundle"),
    }[origin]
    if origin != "remote":
        shutil.rmtree(copy.folder / "backup")
    done = copy("fsck", "--heal", "--from", named)
    assert (done.code, done.err) == (0, "")
    assert copy("fsck").code == 0
    assert copy("get", f"{sample.ids['best']}:big", "-o", "x").code == 0


def test_what_cannot_be_healed_is_listed(copy: Cli) -> None:
    """With the ids, the tasks and the artifacts; exit code 4; a remote that is not there is named."""
    shutil.rmtree(copy.folder / "backup")
    large = largest(copy.folder)
    flip(large, large.stat().st_size // 2)
    for _ in range(2):
        done = copy("fsck", "--heal")
        assert done.code == 4
        assert "lr 0.1: big\n" in done.out
        assert "damaged  blob " in done.out
        assert "tracker: warning: file://" in done.err
        assert "is its disk mounted?" in done.err
        assert "`tracker fsck --heal --from" in done.err
        assert "run `tracker fsck --heal`" not in done.err


def test_a_wrong_call_is_a_usage_error(copy: Cli) -> None:
    """And a source that is nowhere is not found."""
    assert copy("fsck", "--from", "backup").code == 2
    assert copy("fsck", "--heal", "--level", "index").code == 2
    assert copy("fsck", "--level", "deep").code == 2
    nowhere = copy("fsck", "--heal", "--from", "nowhere")
    assert nowhere.code == 3
    assert "no remote of this store, and no file or folder" in nowhere.err


def test_a_store_of_a_newer_version_is_not_healed(copy: Cli) -> None:
    """One clear error; the check works."""
    path = copy.folder / ".tracker/format"
    path.write_text(path.read_text().replace('"write": []', '"write": ["future"]'))
    done = copy("fsck", "--heal")
    assert done.code == 1
    assert "nothing was healed" in done.err
    assert copy("fsck").code == 0


def test_a_damaged_journal_is_told_with_what_is_lost(copy: Cli, tmp_path: Path) -> None:
    """How many events can be read, and how many bytes behind them cannot."""
    script = (
        "import os\nfrom tracker import Task\ntask = Task.init('lost', 'run')\n"
        "for n in range(100): task.get_logger().report_scalar('a', 'b', 1.0, n)\nos._exit(9)"
    )
    assert copy.python(script).code == 9
    assert copy("fsck").code == 0
    (segment,) = [p for p in tmp_path.glob(".tracker/live/*/*/segment.*") if b"lost" in p.read_bytes()]
    used = len(segment.read_bytes().rstrip(b"\0"))
    flip(segment, used - 50 * 48 + 20)
    done = copy("fsck")
    assert done.code == 4
    assert "events can be read; " in done.out
    assert " bytes behind them cannot" in done.out
    assert "tracker recover" in done.err


def test_recovery_of_a_damaged_journal_leaves_a_store_that_is_clean(cli: Cli, tmp_path: Path) -> None:
    """Until then gc refuses, and names the task and the way out; the damaged bytes are in the trash."""
    script = (
        "import os\nfrom tracker import Task\ntask = Task.init('lost', 'run')\nprint(task.id, flush=True)\n"
        "for n in range(100): task.get_logger().report_scalar('a', 'b', 1.0, n)\nos._exit(9)"
    )
    key = cli.python(script).out.split()[0]
    (segment,) = tmp_path.glob(".tracker/live/*/*/segment.*")
    flip(segment, len(segment.read_bytes().rstrip(b"\0")) - 50 * 48 + 20)
    damaged = segment.read_bytes()
    assert cli("ls").code == 0
    for words in (["--grace", "0s", "--yes"], ["--now", "--yes"], ["--dry-run"]):
        done = cli("gc", *words)
        assert (done.code, key in done.err, "`tracker recover`" in done.err) == (4, True, True), words
    assert cli("du").code == 0
    done = cli("recover")
    assert done.code == 0
    assert done.out.startswith(f"aside    live/{key}/")
    assert "kept in trash/" in done.err
    assert cli("recover").err == "nothing to recover\n"
    assert cli("fsck").code == 0
    assert cli("gc").code == 0
    (kept,) = tmp_path.glob(".tracker/trash/*/live/*/*/segment.*")
    assert kept.read_bytes() == damaged
    (run,) = cli("ls", "--json").json["tasks"]
    assert run["status"] == "stopped"


def test_a_damaged_head_is_named_and_hides_nothing_else(sample: Sample, tmp_path: Path) -> None:
    """A warning after the output, and exit code 4 for who asks for that very task. An index would still know of it."""
    shutil.copytree(sample.store, tmp_path / ".tracker", ignore=shutil.ignore_patterns("cache"))
    cli = sample.cli.at(tmp_path)
    (head,) = tmp_path.glob(f".tracker/refs/*/{sample.ids['failed']}.*")
    head.write_bytes(head.read_bytes()[:-7] + b"nothing")
    done = cli("ls", "--json")
    assert done.code == 0
    assert sample.ids["failed"] not in {task["id"] for task in done.json["tasks"]}
    assert done.json["total"] == 4
    assert done.err.startswith(
        f"tracker: warning: {head.relative_to(tmp_path / '.tracker')} is damaged and left out: "
    )
    assert cli("fsck").code == 4
    assert cli("fsck", "--heal").code == 0
    assert cli("ls", "--json").json["total"] == 5


def test_progress_is_shown_on_a_terminal_only(copy: Cli) -> None:
    """On a terminal, here one that is shown each step at once; never in a pipe."""
    outer, inner = pty.openpty()
    at_once = "from tracker.cli import render\nrender._QUIET = render._EVERY = 0.0\n"
    source = f"{at_once}from tracker.cli.main import main\nmain()"
    process = subprocess.Popen(
        [*copy.command()[:1], "-c", source, "fsck"],
        cwd=copy.folder,
        env=copy.environment(),
        stdout=subprocess.DEVNULL,
        stderr=inner,
    )
    os.close(inner)
    shown = b""
    try:
        while part := os.read(outer, 4096):
            shown += part
    except OSError:  # the other end is closed
        pass
    os.close(outer)
    assert process.wait() == 0
    assert b"\rchecking: " in shown
    assert b" of " in shown


def test_what_only_a_journal_refers_to_is_needed_too(cli: Cli, tmp_path: Path) -> None:
    """The artifact of a run that was killed before anything was sealed; it comes back from the file itself."""
    (tmp_path / "big.bin").write_bytes(os.urandom(3 << 20))
    script = (
        "import os\nfrom tracker import Task\ntask = Task.init('lost', 'run')\n"
        "task.upload_artifact('big', 'big.bin')\nos._exit(9)"
    )
    assert cli.python(script).code == 9
    assert cli("fsck").code == 0
    for pack in tmp_path.glob(".tracker/packs/*/*.pack"):
        pack.unlink()
    done = cli("fsck")
    assert done.code == 4
    assert "is missing, though a head or a journal refers to it" in done.out
    assert cli("fsck", "--heal").code == 4
    assert cli("fsck", "--heal", "--from", "big.bin").code == 0
    assert cli("fsck").code == 0


def test_equal_tasks_with_equal_artifacts_are_all_named(cli: Cli) -> None:
    """Two tasks of one name, each with two artifacts of the same content: by id, in text and JSON."""
    (cli.folder / "data.bin").write_bytes(os.urandom(9 << 20))
    script = (
        "from tracker import Task\n"
        "for _ in range(2):\n"
        "    task = Task.init('equal', 'same', reuse_last_task_id=False)\n"
        "    task.upload_artifact('one', 'data.bin'); task.upload_artifact('two', 'data.bin')\n"
        "    print(task.id); task.close()\n"
    )
    recorded = cli.python(script)
    assert recorded.code == 0, recorded.err
    ids = recorded.out.split()[-2:]
    large = largest(cli.folder)
    for eighth in range(1, 8):
        flip(large, large.stat().st_size * eighth // 8)
    document = cli("fsck", "--json").json
    (problem, *_) = [each for each in document["problems"] if each["touches"]]
    assert {touch["id"]: touch["artifacts"] for touch in problem["touches"]} == {
        each: ["one", "two"] for each in ids
    }
    text = cli("fsck").out
    for each in ids:
        assert f"         task {each[:8]}  equal / same: one, two\n" in text
    chunks = [each["where"] for each in document["problems"] if each["where"].startswith("blob ")]
    assert len(chunks) > 2
    assert text.count("damaged  blob ") == 1
    assert f" and {len(chunks) - 1} other objects: " in text


def test_lost_head_files_are_told_and_found_again(copy: Cli, sample: Sample) -> None:
    """One: a note with what to type, and exit code 0. All: a problem, until heal has made them heads again."""
    (head,) = copy.folder.glob(f".tracker/refs/*/{sample.ids['failed']}.*")
    head.unlink()
    done = copy("fsck")
    assert (done.code, done.err) == (0, "")
    assert "1 commit is in a pack without a head" in done.out
    assert "`tracker fsck --heal` makes it a head" in done.out
    assert sample.ids["failed"][:8] in done.out
    (note,) = copy("fsck", "--json").json["notes"]
    assert [touch["id"] for touch in note["touches"]] == [sample.ids["failed"]]
    shutil.rmtree(copy.folder / ".tracker" / "refs")
    done = copy("fsck")
    assert (done.code, "not one head" in done.out) == (4, True)
    assert "run `tracker fsck --heal`" in done.err
    shutil.rmtree(copy.folder / "backup")
    (copy.folder / "backup").mkdir()
    assert copy("fsck", "--heal").code == 0
    assert copy("fsck", "--json").json["notes"] == []
    assert copy("ls", "--json").json["total"] == 5


def test_a_deletion_that_comes_along_is_no_restored_task(copy: Cli, sample: Sample, tmp_path: Path) -> None:
    """Another store deleted the task: that is what is said."""
    other = tmp_path / "other"
    shutil.copytree(sample.store, other / ".tracker")
    assert sample.cli.at(other)("rm", sample.ids["failed"], "--yes").code == 0
    done = copy("fsck", "--heal", "--from", "other")
    assert done.code == 0
    assert "deleted there: task / " in done.out
    assert "restored task" not in done.out


def test_advice_of_the_store_becomes_a_command() -> None:
    """Once, whatever it looks like; and what names the command already stays."""
    from tracker.cli.render import pasteable

    assert pasteable("gone: run fsck --heal") == "gone: run `tracker fsck --heal`"
    assert pasteable("damaged: run fsck to see") == "damaged: run `tracker fsck` to see"
    assert pasteable("run `fsck --heal`: it `fsck`") == "run `tracker fsck --heal`: it `tracker fsck`"
    for text in ("run `tracker fsck`", "`tracker fsck --heal --from X`", "run `tracker fsck --heal` now"):
        assert pasteable(text) == text
