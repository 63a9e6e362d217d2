"""A secret that slipped through is purged: nothing of it is left in the store and its remote, raw or decoded."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from objstore import layout, trash
from objstore.heads import Table
from objstore.ids import ObjectId
from objstore.objects import Objects
from tests.commands import Cli
from tests.scripts import CHECKOUT

CANARY = "canary-9f2c-plain-words"
RECORD = """
import os, random
from tracker import Task

canary = os.environ["CANARY"]
task = Task.init("vault", "recorded")
task.upload_artifact("text", f"first line\\n{canary}\\n")
task.upload_artifact("kept", "nothing to hide")
os.makedirs("folder/sub", exist_ok=True)
open("folder/sub/key.txt", "w").write(f"{canary} in a folder")
open("folder/plain.txt", "w").write("plain")
task.upload_artifact("folder", "folder")
rest = random.Random(7).randbytes(9 << 20)
open("large.bin", "wb").write(rest + canary.encode() * 4096)
open("other.bin", "wb").write(rest + b"another end" * 4096)
task.upload_artifact("large", "large.bin")
task.upload_artifact("other", "other.bin")
task.set_configuration_object("long", config_text=canary + " " * 70_000)
log = task.get_logger()
log.report_table("table", "rows", 1, table_plot=[["name", "value"], ["key", canary]])
log.report_scalar("loss", "train", 0.5, 1)
log.report_image("picture", "one", 1, image=__import__("numpy").zeros((4, 4, 3), "uint8"))
print(canary, "on the console")
task.close()
print(task.id)
"""


def everything(root: Path) -> Iterator[tuple[str, bytes]]:
    """Every file of a store as it is, and decoded: objects of packs in packs/ and in the trash, heads of tables."""
    for path in root.rglob("*"):
        if path.is_file():
            yield str(path), path.read_bytes()
    for base in (root, *(root / layout.TRASH / str(epoch) for epoch in trash.epochs(root))):
        objects = Objects(base, keep=False)
        for row in objects.rows():
            content = objects.read(row.id, row.kind)
            yield f"{base}: {row.id}", content
        objects.close()
    for path in (root / layout.TABLES).glob("*.table"):
        for head in Table.decode(path.read_bytes(), path.stem).heads:
            yield f"{path}: {head.id}", head.raw


def traces(root: Path, *texts: str) -> list[str]:
    """Where any of the texts still is."""
    return [where for where, data in everything(root) if any(text.encode() in data for text in texts)]


def references(value: Any) -> Iterator[str]:
    """The hashes that a record refers to."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from [item.split(":")[1]] if key == "$ref" else references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """A folder with a store, in it one recorded task, and a remote that has all of it."""
    folder = tmp_path / "work"
    folder.mkdir()
    cli = Cli(folder, CHECKOUT)
    done = cli.python(RECORD, CANARY=CANARY)
    assert done.code == 0, done.err
    assert cli("remote", "add", "share", "../share").code == 0
    assert cli("push").code == 0
    return cli


def the_task(cli: Cli) -> str:
    """The one task's id."""
    return cli("query", "").out.split()[0]


def record_of(cli: Cli) -> dict[str, Any]:
    """The record of the one task."""
    found: dict[str, Any] = cli("cat", the_task(cli), "--json").json["record"]
    return found


def hash_of(cli: Cli, name: str) -> str:
    """The hash of an artifact."""
    return next(references(record_of(cli)["keys"][f"artifact/{name}"][2]))


def test_nothing_is_left_of_a_purged_text(cli: Cli, tmp_path: Path) -> None:
    """Not of its preview, earlier states, copies, the trash and the remote; the rest is as it was."""
    task = the_task(cli)
    assert cli("tag", task, "later").code == 0
    again = cli.python(
        "import os\nfrom tracker import Task\n"
        "task = Task.init('vault', 'second')\n"
        "task.upload_artifact('again', f'first line\\n{os.environ[\"CANARY\"]}\\n')\n"
        f"Task.get_task('{task}').artifacts['text'].get_local_copy()\n"
        "task.close()\nprint(task.id)",
        CANARY=CANARY,
    )
    second = again.out.split()[-1]
    text = hash_of_in(cli, task, "text")
    assert cli("rm", second, "--yes").code == 0
    assert cli("gc", "--grace", "0s", "--yes").code == 0
    assert cli("ls").code == 0
    store, remote = cli.folder / ".tracker", tmp_path / "share"
    assert len(traces(store, "first line")) > 2
    assert len(traces(remote, "first line")) > 1
    seen = cli("purge", text, "--all-remotes", "--dry-run", "--json").json
    users = [{user["id"]: user["places"] for user in each["users"]} for each in seen["stores"]]
    assert users[0][task] == ["artifact/text"]
    assert users[1] == {task: ["artifact/text"]}
    assert len(traces(store, "first line")) > 2  # nothing was done so far
    done = cli("purge", text[:12], "--all-remotes", "--yes")
    assert (done.code, done.out) == (0, ""), done.err
    assert traces(store, "first line") == []
    assert traces(remote, "first line") == []
    assert cli("get", f"{task}:kept", "-o", "-").out == "nothing to hide"
    assert cli("get", f"{task}:folder/plain.txt", "-o", "-").out == "plain"
    assert "purged on 20" in cli("show", task).out
    for what in (f"{task}:text", text, text[:8]):
        failed = cli("get", what, "-o", "-")
        assert failed.code != 0
        assert len(failed.err.splitlines()) == 1
        assert "was purged on 20" in failed.err
    assert len(cli("log", task, "--json").json["commits"]) == 3
    assert "later" in cli("show", task).out
    for folder in (store, remote):
        assert cli("fsck", "--store", str(folder)).code == 0
    assert cli("gc", "--yes").code == 0
    assert f"purge {text}" in cli("log", task).out
    assert cli("push").code == 0
    assert "nothing new" in cli("pull").err
    assert traces(remote, "first line") == []


def hash_of_in(cli: Cli, task: str, name: str) -> str:
    """The hash of an artifact of one task."""
    shown = cli("show", task, "--json").json["task"]["artifacts"]
    return next(str(each["hash"]) for each in shown if each["name"] == name)


def test_every_place_can_be_purged(cli: Cli, tmp_path: Path) -> None:
    """A file in a folder, a large file, configuration, table, console: each by its hash, and then no trace is left."""
    task = the_task(cli)
    record = record_of(cli)
    store, remote = cli.folder / ".tracker", tmp_path / "share"
    entries = cli("cat", hash_of(cli, "folder"), "--json").json["entries"]
    sub = next(entry["hash"] for entry in entries if entry["name"] == "sub")
    in_folder = cli("cat", sub, "--json").json["entries"][0]["hash"]
    segments = record["segments"]
    hashes = [
        hash_of(cli, "text"),
        in_folder,
        hash_of(cli, "large"),
        next(references(record["keys"]["config/long"][2])),
        next(references(segments[0]["plots"])),
        *references(segments[0]["console"]),
    ]
    for each in hashes:
        done = cli("purge", each, "--all-remotes", "--yes")
        assert done.code == 0, done.err
    assert traces(store, CANARY) == []
    assert traces(remote, CANARY) == []
    shown = cli("show", task).out
    assert "[purged 20" in shown  # on the console
    other = tmp_path / "other.bin"
    assert cli("get", f"{task}:other", "-o", str(other)).code == 0
    assert other.read_bytes() == (cli.folder / "other.bin").read_bytes()  # shared chunks are still there
    folder = tmp_path / "folder"
    assert cli("get", f"{task}:folder", "-o", str(folder)).code == 0
    assert (folder / "plain.txt").read_text() == "plain"
    assert (folder / "sub/key.txt").read_text().startswith("[purged 20")
    assert cli("get", f"{task}:picture/one", "-o", str(tmp_path / "p.png")).code == 0
    assert cli("get", f"{task}:table/rows", "-o", "-").out.count("[purged 20") == 1
    for root in (store, remote):
        assert cli("fsck", "--store", str(root)).code == 0
    clone = Cli(tmp_path, CHECKOUT)
    assert clone("clone", str(remote), "clone").code == 0
    assert traces(tmp_path / "clone/.tracker", CANARY) == []
    assert clone("fsck", "--store", "clone/.tracker").code == 0


def test_what_was_purged_does_not_come_back(cli: Cli, tmp_path: Path) -> None:
    """By a pull from where it still is, beside something new; by a bundle; and a push from there is refused."""
    task, text = the_task(cli), hash_of(cli, "text")
    peer = Cli(tmp_path / "peer", CHECKOUT)
    assert Cli(tmp_path, CHECKOUT)("clone", "share", "peer").code == 0
    assert peer("bundle", "create", "all.bundle").code == 0
    done = cli("purge", text, "--yes")  # here only
    assert done.code == 0
    assert "remotes were not touched" in done.err
    new = peer.python(
        "from tracker import Task\ntask = Task.init('vault', 'new')\ntask.upload_artifact('n', 'new')\n"
        "task.close()\nprint(task.id)"
    ).out.split()[-1]
    assert peer("push").code == 0
    store = cli.folder / ".tracker"
    assert cli("pull").code == 0
    assert cli("get", f"{new}:n", "-o", "-").out == "new"
    assert traces(store, "first line") == []
    assert cli("bundle", "unbundle", str(tmp_path / "peer/all.bundle")).code == 0
    assert traces(store, "first line") == []
    assert cli("fsck").code == 0
    # The other way: an edit that is made without knowing of the purge, then the note comes.
    assert peer("tag", task, "unaware").code == 0
    assert cli("purge", text, "--all-remotes", "--yes").code == 0
    assert cli("push").code == 0
    pulled = peer("pull")
    assert pulled.code == 0
    assert "was purged on 20" in pulled.err
    refused = peer("push")
    assert refused.code != 0
    assert "run `tracker purge" in refused.err
    assert traces(tmp_path / "share", "first line") == []
    assert peer("purge", text, "--yes").code == 0
    assert peer("push").code == 0
    assert cli("pull").code == 0
    for root in (store, tmp_path / "share", tmp_path / "peer/.tracker"):
        assert traces(root, "first line") == []
        assert cli("fsck", "--store", str(root)).code == 0
    assert "unaware" in cli("show", task).out


@pytest.mark.parametrize("nth", [1, 3, 6, 10, 15, 21])
def test_a_purge_that_was_killed_is_finished_by_the_next(cli: Cli, nth: int) -> None:
    """Killed before any of its renames and deletions: the store is sound, and the same command again does the rest."""
    task, large = the_task(cli), hash_of(cli, "large")
    program = f"""
import os, signal, sys
left = [{nth}]
def dying(event, arguments):
    if event in ("os.rename", "os.remove"):
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(dying)
from tracker.cli.main import main
sys.exit(main(["purge", {large!r}, "--yes"]))
"""
    assert cli.python(program).code == -signal.SIGKILL
    assert cli("fsck").code == 0
    done = cli("purge", large, "--yes")
    assert done.code == 0, done.err
    assert traces(cli.folder / ".tracker", CANARY * 2) == []
    assert cli("fsck").code == 0
    other = cli.folder / "again.bin"
    assert cli("get", f"{task}:other", "-o", str(other)).code == 0
    assert other.read_bytes() == (cli.folder / "other.bin").read_bytes()
    assert "was purged on" in cli("get", f"{task}:large", "-o", "-").err


def test_what_cannot_be_purged_is_refused_in_one_line(cli: Cli, tmp_path: Path) -> None:
    """Unknown and too short hashes, tasks, commits, states, records, pieces; a remote that is gone; nothing is lost."""
    task, text = the_task(cli), hash_of(cli, "text")
    commit = cli("log", task, "--json").json["commits"][0]["commit"]
    state = cli("cat", commit, "--json").json["record"]["state"]
    entries = {each["name"]: each["hash"] for each in cli("cat", state, "--json").json["entries"]}
    store = cli.folder / ".tracker"
    before = sorted(path for path in store.rglob("*.pack"))
    large = Objects(store, keep=False).lists(ObjectId.parse(hash_of(cli, "large")))
    chunk = str(large[0].items[0][0])
    cases = [("0" * 64, 3), ("12345", 2), ("not a hash", 2), (task, 2), (commit, 2), (state, 2), (chunk, 2)]
    cases += [(entries["record"], 2), (entries["objects"], 2)]
    for what, code in cases:
        done = cli("purge", what, "--yes")
        assert done.code == code, (what, done.err)
        assert len(done.err.splitlines()) == 1, (what, done.err)
    assert cli("purge", text).code == 2  # nobody can be asked
    assert cli("purge", text, "--remote", "nowhere", "--yes").code != 0
    os.rename(tmp_path / "share", tmp_path / "away")
    away = cli("purge", text, "--all-remotes", "--yes")
    assert away.code != 0
    assert "share is not there" in away.err
    assert sorted(path for path in store.rglob("*.pack")) == before
    assert cli("get", text, "-o", "-").out.startswith("first line")


def test_a_running_task_is_not_purged(tmp_path: Path) -> None:
    """Its process would bring it back: the purge says so, and touches nothing; once it has ended, it works."""
    source = (
        "import os, sys\nfrom tracker import Task\ntask = Task.init('vault', 'running')\n"
        "task.upload_artifact('text', os.environ['CANARY'])\nprint(task.artifacts['text'].hash, flush=True)\n"
        "sys.stdin.read()\n"
    )
    cli = Cli(tmp_path, CHECKOUT)
    with subprocess.Popen(
        [sys.executable, "-c", source],
        cwd=tmp_path,
        env=cli.environment(CANARY=CANARY),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as script:
        assert script.stdout is not None
        text = script.stdout.readline().strip()
        refused = cli("purge", text, "--yes")
        assert refused.code != 0
        assert "is running" in refused.err
        script.kill()
    assert cli("purge", text, "--yes").code == 0
    assert traces(tmp_path / ".tracker", CANARY) == []
