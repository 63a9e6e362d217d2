"""One process of a soak: a writer, a collector, a tidier or a reader, for some seconds. Prints one JSON object.

Arguments: the role, the store, the process's name, seconds, and `noflock` where no lock can be had.
"""

from __future__ import annotations

import errno
import fcntl
import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from objstore import files
from objstore.errors import NotFound, StoreError
from objstore.heads import Head
from objstore.records import Commit, Mode, TreeEntry
from objstore.store import Store

KEYS: Final = 3  # things that each writer changes in turn


def content(number: int) -> bytes:
    """One of a few blobs that all writers share, so that they rely on each other's all the time."""
    return random.Random(number).randbytes(3000)


def names_in(store: Store, head: Head) -> list[int]:
    """The numbers of the blobs of a head, all of them read and compared. Raises NotFound, AssertionError."""
    found = []
    for entry in files.list_tree(store.objects, head.commit.state):
        assert store.objects.read(entry.id) == content(int(entry.name)), f"{entry.name} holds something else"
        found.append(int(entry.name))
    return found


def write(root: Path, name: str, end: float) -> dict[str, Any]:
    """New states of a few keys; what was acknowledged last of each."""
    chance, covers, last = random.Random(name), 0, {}
    store = Store.open(root)
    errors = []
    while time.monotonic() < end:
        covers += 1
        key = f"{name}{covers % KEYS}".encode().hex().rjust(32, "0")
        numbers = sorted(chance.sample(range(24), 4))
        try:
            with store.begin() as transaction:
                entries = [
                    TreeEntry(f"{n:02}", Mode.FILE, transaction.put_bytes(content(n)), 3000) for n in numbers
                ]
                time.sleep(chance.random() * 0.01)
                tree, _ = files.put_tree(transaction, entries)
                transaction.commit(Commit(key, ("task", "p", name), (), covers, covers, tree, {name: covers}))
        except (StoreError, OSError) as error:
            errors.append(repr(error))
        else:
            last[key] = numbers
    return {"turns": covers, "errors": errors, "last": last}


def collect(root: Path, name: str, end: float) -> dict[str, Any]:
    """Collections without a grace, one after another."""
    errors, turns, back = [], 0, 0
    while time.monotonic() < end:
        turns += 1
        try:
            report = Store.open(root).gc(grace=0)
        except (StoreError, OSError) as error:
            errors.append(repr(error))
        else:
            errors += [report.refused] if report.refused else []
            back += report.put_back.files
    return {"turns": turns, "errors": errors, "put_back": back}


def tidy(root: Path, name: str, end: float) -> dict[str, Any]:
    """Folds and merges, one after another."""
    errors, turns = [], 0
    while time.monotonic() < end:
        turns += 1
        try:
            Store.open(root).tidy()
        except (StoreError, OSError) as error:
            errors.append(repr(error))
        time.sleep(0.05)
    return {"turns": turns, "errors": errors}


def read(root: Path, name: str, end: float) -> dict[str, Any]:
    """Every living head's content, over and over. What has died since the listing may be gone; nothing else may."""
    errors, turns = [], 0
    store = Store.open(root)
    while time.monotonic() < end:
        turns += 1
        for key, heads in store.heads.live().items():
            for head in heads:
                try:
                    names_in(store, head)
                except NotFound as error:
                    if head.id in {alive.id for alive in Store.open(root).heads.of(key)}:
                        errors.append(repr(error))
                except (StoreError, OSError, AssertionError) as error:
                    errors.append(repr(error))
    return {"turns": turns, "errors": errors}


ROLES: Final[dict[str, Callable[[Path, str, float], dict[str, Any]]]] = {
    "write": write,
    "collect": collect,
    "tidy": tidy,
    "read": read,
}


def main() -> None:
    """Play a role."""
    role, root, name, seconds, *options = sys.argv[1:]
    if "noflock" in options:

        def refused(*_: object) -> None:
            raise OSError(errno.ENOSYS, "Function not implemented")

        fcntl.flock = refused  # as on a file system that has no such call
    print(json.dumps(ROLES[role](Path(root), name, time.monotonic() + float(seconds))))


if __name__ == "__main__":
    main()
