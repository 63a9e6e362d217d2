"""Run by test_gc_races.py, one process each: a writer, a collector, or one that dies at a step of its own.

Arguments: the role, a store, and what the role takes; prints one JSON object.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from pathlib import Path

from objstore import files, layout, trash
from objstore.errors import StoreError
from objstore.ids import Kind
from objstore.inventory import pack_files
from objstore.records import Commit, Mode, Tree, TreeEntry
from objstore.store import Store
from tests.dying import DIED, dying

CALLS = ("fsync", "rename", "mkdir", "unlink", "rmdir")  # they change a name
JOURNAL = f"trash/1000/live/{'a' * 32}/writer"


def content(number: int) -> bytes:
    """One of a few blobs that all writers share, so that they rely on each other's all the time."""
    return random.Random(number).randbytes(3000)


def write(root: Path, name: str, seconds: float) -> None:
    """New heads of two keys, each of a few blobs; what was acknowledged last, and the errors that came instead."""
    chance, covers = random.Random(name), 0
    last: dict[str, list[int]] = {}
    errors: list[str] = []
    end = time.monotonic() + seconds
    store = Store.open(root)
    while time.monotonic() < end:
        covers += 1
        key = f"{name}{covers % 2}".rjust(32, "0")
        numbers = sorted(chance.sample(range(12), 3))
        try:
            with store.begin() as transaction:
                entries = []
                for number in numbers:
                    blob = transaction.put_bytes(content(number))
                    entries.append(TreeEntry(f"{number:02}", Mode.FILE, blob, 3000))
                    time.sleep(chance.random() * 0.005)
                tree = transaction.put(Kind.TREE, Tree(tuple(entries)).encode())
                transaction.commit(Commit(key, ("task", "p", name), (), covers, covers, tree, {name: covers}))
        except StoreError as error:
            errors.append(str(error))
        else:
            last[key] = numbers
    print(json.dumps({"last": last, "errors": errors, "turns": covers}))


def collect(root: Path, seconds: float) -> None:
    """Collections without a grace, one after another; how many, what they refused, and what they did."""
    refused: list[str] = []
    counts = {"runs": 0, "aside": 0, "put_back": 0, "deleted": 0, "rewritten": 0}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        report = Store.open(root).gc(grace=0)
        if report.refused:
            refused.append(report.refused)
        refused += report.problems
        counts["runs"] += 1
        for name in ("aside", "put_back", "deleted", "rewritten"):
            counts[name] += getattr(report, name).files
    print(json.dumps({"refused": refused, **counts}))


def littered(root: Path) -> dict[str, bytes]:
    """A store with something of everything: dead, dead in part, in the trash and needed or old; what must stay."""
    store = Store.create(root)
    noise = random.Random(3).randbytes(layout.GROUP_RAW_MAX + 1)
    content: dict[str, bytes] = {}
    for number in range(2):
        with store.begin() as transaction:
            transaction.put_bytes(noise[number:])
            live = b"live %d" % number * 50
            content[f"{number}"] = live
            blob = transaction.put_bytes(live)
            tree, _ = files.put_tree(transaction, [TreeEntry(f"{number}", Mode.FILE, blob, len(live))])
            transaction.commit(Commit(f"{number}" * 32, ("t", "p", "n"), (), 1, 1, tree, {"w": 1}))
    (needed,) = {store.objects.locate(head.id)[0].pack_id for head in store.heads.of("1" * 32)}
    for number in range(2):
        with store.begin() as transaction:
            orphan = transaction.put_bytes(noise[10 + number :])
        if number:
            (place,) = store.objects.locate(orphan)
            trash.set_aside(root, layout.pack_path(place.pack_id), 1000)
    trash.set_aside(root, layout.pack_path(needed), 1001)
    (root / JOURNAL).mkdir(parents=True)
    for number in range(3):
        (root / JOURNAL / f"segment.{number}").write_bytes(b"x")
    return content


def wrong(root: Path, content: dict[str, bytes]) -> list[str]:
    """What three more collections refuse, what is damaged after them, and what cannot be read; a journal cut in two."""
    found = []
    if (root / JOURNAL).exists() and len(os.listdir(root / JOURNAL)) != 3:
        found.append("part of a journal is gone, and its writer may move back the rest")
    for _ in range(3):  # put back, rewritten, deleted
        report = Store.open(root).gc(grace=0)
        found += [report.refused, *report.problems]
    store = Store.open(root)
    found += [problem.what for problem in store.fsck().problems]
    for name, data in content.items():
        (head,) = store.heads.of(name * 32)
        (entry,) = Tree.decode(store.objects.read(head.commit.state, Kind.TREE)).entries
        if store.objects.read(entry.id) != data:
            found.append(f"{name} is not what it was")
    store.close()
    return list(filter(None, found))


def die(folder: Path, *, now: bool) -> None:
    """Collections that die at their first, second, … step, until one comes to its end; a line for each."""
    for step in range(1, 200):
        root = folder / str(step)
        content = littered(root)
        pid = os.fork()
        if pid == 0:
            dying(step, *CALLS)
            Store.open(root).gc(grace=0, now=now)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status == 0:
            return
        assert status == DIED
        found = wrong(root, content)
        print(json.dumps({"wrong": found, "size": sum(file.size for file in pack_files(root))}), flush=True)


def main() -> None:
    """One of them."""
    role, root, *more = sys.argv[1:]
    if role == "write":
        write(Path(root), more[0], float(more[1]))
    elif role == "collect":
        collect(Path(root), float(more[0]))
    else:
        die(Path(root), now=role == "die-now")


if __name__ == "__main__":
    main()
