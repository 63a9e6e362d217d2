"""Run by test_gc_races.py, one process each: a writer, a collector, or one that dies at a step of its own.

Arguments: the role, a store, and what the role takes; prints one JSON object.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from objstore.errors import StoreError
from objstore.ids import Kind
from objstore.records import Commit, Mode, Tree, TreeEntry
from objstore.store import Store

DIED = 9


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


def die(root: Path, step: int, *, now: bool) -> None:
    """A collection that ends without a word at its `step`-th call that changes a name, if it comes so far."""
    left = step

    def wrap(call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **named: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                os._exit(DIED)
            return call(*args, **named)

        return counted

    for name in ("fsync", "rename", "mkdir", "unlink", "rmdir"):
        setattr(os, name, wrap(getattr(os, name)))
    report = Store.open(root).gc(grace=0, now=now)
    print(json.dumps({"refused": report.refused}))


def main() -> None:
    """One of them."""
    role, root, *more = sys.argv[1:]
    if role == "write":
        write(Path(root), more[0], float(more[1]))
    elif role == "collect":
        collect(Path(root), float(more[0]))
    else:
        die(Path(root), int(more[0]), now=role == "die-now")


if __name__ == "__main__":
    main()
