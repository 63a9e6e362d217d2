"""What is done to a store while it is killed, refused or cut off: three operations, and the model of what must be left.

The operations print `acked NAME` when something has returned and so must survive. Limits are shrunk, so that small
files cross all that large ones do.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from objstore import files, layout
from objstore.errors import StoreError
from objstore.ids import Kind
from objstore.records import Commit, Mode, TreeEntry
from objstore.store import Store

LARGE: Final = random.Random(1).randbytes(1_300_000)
LIVE: Final = 24  # keys of a store that is collected or tidied
Say = Callable[[str], None]


def shrink() -> None:
    """Several packs, a chunk list of several pages, and merges and folds of what is little and new."""
    for name, value in (
        ("BLOB_MAX", 1 << 20),
        ("PACK_TARGET", 600_000),
        ("LIST_PAGE_MAX", 4),
        ("PAGE_MIN", 2),
        ("PAGE_MASK", 1),
        ("LOOSE_MAX", 8),
        ("MERGE_COUNT", 8),
        ("SETTLE", 0.0),
        ("WAITING_MAX", 0),
    ):
        assert hasattr(layout, name)
        setattr(layout, name, value)


def key_of(name: str) -> str:
    """The key of a thing."""
    return name.encode().hex().rjust(32, "0")


def content_of(name: str) -> dict[str, bytes]:
    """What the files of a thing hold, by its name alone."""
    small = random.Random(name).randbytes(3000)
    return {"shared": b"the same in all" * 50, "small": small} | (
        {"large": LARGE} if name.startswith("large") else {}
    )


def save(store: Store, *names: str, covers: int = 1) -> None:
    """Make things with their contents the newest of their keys, in one transaction."""
    with store.begin() as transaction:
        for name in names:
            entries = [
                TreeEntry(file, Mode.FILE, transaction.put_bytes(data), len(data))
                for file, data in content_of(name).items()
            ]
            tree, _ = files.put_tree(transaction, entries)
            transaction.commit(
                Commit(key_of(name), ("task", "p", name), (), covers, covers, tree, {"w": covers})
            )


def waste(store: Store, number: int) -> None:
    """Objects that nothing names."""
    with store.begin() as transaction:
        for part in range(3):
            transaction.put(Kind.BLOB, random.Random(f"{number} {part}").randbytes(9000))


# --- operations ----------------------------------------------------------------------------------------------------


def put(root: Path, say: Say) -> None:
    """Two transactions: one with all sorts of content, one that relies on what is there."""
    store = Store.open(root)
    save(store, "large one", "two")
    say("large one")
    say("two")
    save(Store.open(root), "large three")
    say("large three")


def gc(root: Path, say: Say) -> None:
    """Set aside, and delete."""
    for turn in ("first", "second"):
        report = Store.open(root).gc(grace=0)
        if report.refused:
            raise StoreError(report.refused)
        say(turn)


def tidy(root: Path, say: Say) -> None:
    """Fold heads and merge packs, until there is nothing left to do."""
    for turn in ("first", "second", "third"):
        Store.open(root).tidy()
        say(turn)


OPERATIONS: Final = {"put": put, "gc": gc, "tidy": tidy}


def prepare(root: Path, operation: str) -> None:
    """A store for an operation to work on: for gc with garbage, for tidy with many small files and dead heads."""
    store = Store.create(root)
    if operation == "put":
        return
    for number in range(LIVE):
        save(store, f"live {number}")
        if operation == "gc" and number % 4 == 0:
            waste(store, number)
    for number in range(0, LIVE, 3):
        save(store, f"live {number}", covers=2)
    old = 1_000_000_000
    for path in (root / layout.PACKS).rglob("*.pack"):
        os.utime(path, (old, old))


# --- the model -----------------------------------------------------------------------------------------------------


def wrong(root: Path, operation: str, acked: list[str]) -> list[str]:
    """What breaks the promise: acknowledged things that are gone, heads without content, faults that fsck finds."""
    must = set(acked) if operation == "put" else {f"live {number}" for number in range(LIVE)}
    may = must | ({"large one", "two", "large three"} if operation == "put" else set())
    store, found = Store.open(root), []
    live = store.heads.live()
    names = {key_of(name): name for name in may}
    found += [f"{name} is gone" for name in sorted(must) if key_of(name) not in live]
    found += [f"{key} came from nowhere" for key in sorted(live.keys() - names.keys())]
    together = [key_of(name) in live for name in ("large one", "two")] if operation == "put" else []
    for key, heads in live.items():
        try:
            (head,) = heads
            entries = files.list_tree(store.objects, head.commit.state)
            content = {entry.name: store.objects.read(entry.id) for entry in entries}
            if content != content_of(names[key]):
                found.append(f"{names[key]} holds something else")
        except (StoreError, ValueError) as error:
            found.append(f"{names.get(key)}: {error}")
    # Two heads of one transaction are two files: a death between their renames may show one of them, which is whole.
    assert together in ([], [True, True], [False, False], [True, False], [False, True])
    report = store.fsck()
    return found + [f"{problem.where}: {problem.what}" for problem in report.problems]


def run(root: Path, operation: str, say: Say) -> str:
    """Do an operation; returns "done", or what a caller was told."""
    try:
        OPERATIONS[operation](root, say)
    except (OSError, StoreError) as error:
        return f"error: {error}"
    return "done"


def main() -> None:
    """`steps.py ROOT OPERATION`: waits for a line, does it, and says so line by line; `nosync`: without any fsync."""
    shrink()
    root, operation, *options = sys.argv[1:]
    if "nosync" in options:
        os.fsync = lambda fd: None
    sys.stdin.readline()

    def say(text: str) -> None:
        os.write(1, f"acked {text}\n".encode())

    os.write(1, f"{run(Path(root), operation, say)}\n".encode())


if __name__ == "__main__":
    main()
