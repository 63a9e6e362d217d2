"""Seconds and peak memory of what moves a store of very many small objects from one place to another.

Arguments: how many objects (300,000), then which of them to run. Prints one JSON object.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from objstore import files
from objstore.bundle import Bundle, verify
from objstore.ids import Kind
from objstore.records import Commit, Mode, TreeEntry
from objstore.remotes.folder import FolderRemote
from objstore.store import Store

COUNT = 300_000
FOLDER = 1_000  # files in one folder
BATCH = 50_000  # objects in one transaction
TEXT = b'{"name":"metric %d","value":%d,"more":"some text that repeats, as records do"}'
SOURCE, REMOTE, OUT = Path("source"), Path("remote"), Path("all.bundle")


def build(count: int) -> None:
    """A task that reaches so many small blobs, in folders of a thousand."""
    store = Store.create(SOURCE)
    folders: list[TreeEntry] = []
    for first in range(0, count, BATCH):
        with store.begin() as transaction:
            for start in range(first, min(first + BATCH, count), FOLDER):
                entries = []
                for number in range(start, min(start + FOLDER, count)):
                    data = TEXT % (number, number * number)
                    blob = transaction.put(Kind.BLOB, data)
                    entries.append(TreeEntry(f"{number:08}", Mode.FILE, blob, len(data)))
                folders.append(TreeEntry(f"{start:08}", Mode.TREE, *files.put_tree(transaction, entries)))
            if first + BATCH >= count:
                tree, _ = files.put_tree(transaction, folders)
                transaction.commit(Commit("a" * 32, ("task", "p", "n"), (), 1, 1, tree, {"w": 1}))
    store.close()


def push() -> None:
    """Everything to a remote that is empty."""
    assert Store.open(SOURCE).push(FolderRemote(REMOTE, create=True)).heads


def pull() -> None:
    """From what `push` made, into an empty store."""
    assert Store.create(Path("pulled")).pull(FolderRemote(REMOTE)).heads


def clone() -> None:
    """From the source's own folder, whose packs no table claims."""
    assert Store.create(Path("cloned")).clone(FolderRemote(SOURCE)).heads


def bundle_create() -> None:
    """Everything into one file."""
    assert Store.open(SOURCE).bundle(OUT)


def bundle_verify() -> None:
    """Without a store."""
    assert verify(Bundle.open([OUT])).objects


def unbundle() -> None:
    """Into an empty store."""
    assert Store.create(Path("unbundled")).unbundle(Bundle.open([OUT])).heads


def push_again() -> None:
    """One more head to a remote that has all else."""
    store = Store.open(SOURCE)
    with store.begin() as transaction:
        entry = TreeEntry("x", Mode.FILE, transaction.put_bytes(b"one more"), 8)
        tree, _ = files.put_tree(transaction, [entry])
        transaction.commit(Commit("b" * 32, ("task", "p", "m"), (), 1, 1, tree, {"w": 1}))
    assert store.push(FolderRemote(REMOTE)).heads


STEPS: dict[str, Callable[[], None]] = {
    step.__name__: step for step in (push, pull, clone, bundle_create, bundle_verify, unbundle, push_again)
}


def measured(step: str) -> tuple[float, float]:
    """Seconds and peak MiB of one step in this process."""
    began = time.perf_counter()
    STEPS[step]()
    seconds = time.perf_counter() - began
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(line for line in lines if line.startswith("VmHWM"))
    return seconds, int(peak.split()[1]) / 1024


def main() -> None:
    """Build in one process, and run each step in a process of its own."""
    if sys.argv[1:2] == ["build"]:
        build(int(sys.argv[2]))
        return
    if sys.argv[1:2] == ["step"]:
        print(json.dumps(measured(sys.argv[2])))
        return
    count = int(sys.argv[1]) if sys.argv[1:] else COUNT
    if not SOURCE.exists():
        subprocess.run([sys.executable, __file__, "build", str(count)], check=True)
    found: dict[str, float] = {}
    for step in sys.argv[2:] or STEPS:
        command = [sys.executable, __file__, "step", step]
        seconds, peak = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        found[f"{step}_s"], found[f"{step}_mib"] = round(seconds, 2), round(peak, 1)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
