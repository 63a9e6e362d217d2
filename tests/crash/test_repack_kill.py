"""SIGKILL at every system call that changes a file while heads are folded and packs merged: nothing is ever lost."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from objstore import files, layout
from objstore.heads import Heads
from objstore.records import Commit, Mode, TreeEntry
from objstore.store import Store

SERVER = Path(__file__).with_name("repack_server.py")
CALLS = ("openat", "write", "rename", "unlink", "fsync", "mkdir", "rmdir", "close", "flock")
MOST = 400  # deaths at one sort of call: more would be no end

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


class Server:
    """The process that forks those that die."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(SERVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def ask(self, line: str) -> int:
        """Say a line; what it answers."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def tidy(self, root: Path) -> int:
        """Tidy a store in a process that nobody kills; its exit status."""
        self.ask(str(root))
        return self.ask("go")

    def kill(self, root: Path, call: str, at: int) -> int:
        """Tidy a store in a process that is killed as it enters its `at`-th call of a sort; its exit status."""
        child = self.ask(str(root))
        inject = f"inject={call}:signal=KILL:when={at}"
        command = [
            "strace",
            "-qq",
            "-o",
            "/dev/null",
            "-f",
            "-e",
            f"trace={call}",
            "-e",
            inject,
            "-p",
            str(child),
        ]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
            while not is_traced(child):
                if tracer.poll() is not None:
                    self.ask("")
                    assert tracer.stderr is not None
                    said = tracer.stderr.read()
                    assert "not permitted" in said, said
                    pytest.skip(f"strace may not attach here: {said}")
            return self.ask("go")


def is_traced(process: int) -> bool:
    """Whether a tracer has attached to a process."""
    status = Path(f"/proc/{process}/status").read_text()
    return "TracerPid:\t0\n" not in status


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One for all deaths."""
    made = Server()
    with made.process:
        yield made


def save(store: Store, number: int, generation: int) -> Commit:
    """A run: a few objects, one of its own and one that all share, and a head."""
    content = {"own": b"run %d" % number * 50, "shared": b"all have this" * 20}
    with store.begin() as transaction:
        entries = [
            TreeEntry(name, Mode.FILE, transaction.put_bytes(data), len(data))
            for name, data in content.items()
        ]
        tree, _ = files.put_tree(transaction, entries)
        key = f"{number:032x}"
        commit = Commit(key, ("task", "p", "n"), (), generation, 1, tree, {"w": generation})
        transaction.commit(commit)
    return commit


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Commit]]:
    """A store in which there is all to do: fold, remove dead heads and covered tables, merge, set aside, purge."""
    from tests.crash.repack_server import shrink

    root = tmp_path_factory.mktemp("repack") / "store"
    store = Store.create(root)
    made: dict[str, Commit] = {}
    with pytest.MonkeyPatch.context() as patch:
        for name in ("LOOSE_MAX", "MERGE_COUNT", "SETTLE", "WAITING_MAX"):
            patch.setattr(layout, name, getattr(layout, name))  # put back afterwards
        shrink()
        # So that what this leaves is still to be removed.
        patch.setattr(layout, "SETTLE", 3600.0)
        patch.setattr(layout, "WAITING_MAX", 100)
        for number in (1, 2):
            made[f"{number:032x}"] = save(store, number, 1)
        store.tidy()
        for number in (2, 3, 4):
            made[f"{number:032x}"] = save(store, number, 2)
    store.close()
    assert (root / layout.TABLES).exists()
    return root, made


def check(root: Path, made: dict[str, Commit]) -> None:
    """Every head that was acknowledged is the living one of its key, all that it reaches is read, fsck is clean."""
    store = Store.open(root)
    assert {k: [h.commit for h in few] for k, few in store.heads.live().items()} == {
        k: [c] for k, c in made.items()
    }
    for commit in made.values():
        for entry in files.list_tree(store.objects, commit.state):
            assert len(store.objects.read(entry.id)) == entry.size
    report = store.fsck()
    assert report.clean, report.problems
    store.close()


@pytest.mark.parametrize("call", CALLS)
def test_killed_at_every_call(
    server: Server, before: tuple[Path, dict[str, Commit]], tmp_path: Path, call: str
) -> None:
    """After each death all is there; whoever comes next finishes the work, and leaves nothing but what tmp/ has."""
    root, made = before
    deaths = 0
    for at in range(1, MOST):
        copy = tmp_path / "store"
        shutil.copytree(root, copy)
        status = server.kill(copy, call, at)
        check(copy, made)
        if not os.WIFSIGNALED(status):
            assert status == 0
            break
        assert os.WTERMSIG(status) == signal.SIGKILL
        deaths += 1
        # The next one is not killed, and does the rest.
        assert server.tidy(copy) == 0
        check(copy, made)
        assert not list((copy / layout.REFS).glob("*/*"))
        assert len(Heads(copy).table_ids()) == 1
        assert len(list((copy / layout.PACKS).glob("*/*"))) == 1
        shutil.rmtree(copy)
    else:
        pytest.fail(f"{MOST} deaths at {call} were not enough")
    assert deaths > 0
