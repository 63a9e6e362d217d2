"""Run by test_repack.py beside the test itself: `fold`, `read`, `merge` or `unlocked`, and a store's folder."""

from __future__ import annotations

import json
import select
import sys
from pathlib import Path

from objstore import files, layout
from objstore.errors import StoreError
from objstore.records import Commit, Mode, TreeEntry
from objstore.store import Store


def told_to_stop() -> bool:
    """Whether the test has closed, or written to, this process's standard input."""
    return bool(select.select([sys.stdin], [], [], 0)[0])


def limit(**limits: float) -> None:
    """Give this process limits of its own."""
    for name, value in limits.items():
        setattr(layout, name, value)


def fold(root: Path) -> None:
    """Fold without pause, three heads being many; prints how often there was something to fold."""
    limit(LOOSE_MAX=3, SETTLE=-60.0, WAITING_MAX=4)
    folds = 0
    while not told_to_stop():
        folds += bool(Store.open(root).tidy().folded)
    print(folds)


def read(root: Path) -> None:
    """Read all that all heads reach, over and over, with one store that stays open; prints what went wrong."""
    store = Store.open(root)
    errors: list[str] = []
    reads = 0
    while not told_to_stop() and len(errors) < 5:
        for heads in store.heads.live().values():
            for head in heads:
                try:
                    for entry in files.list_tree(store.objects, head.commit.state):
                        store.objects.read(entry.id)
                        reads += 1
                except (StoreError, OSError) as error:
                    errors.append(repr(error))
    print(json.dumps({"reads": reads, "errors": errors}))


def merge(root: Path, times: int) -> None:
    """Add runs and merge, so many times; inputs go at once. Prints how many merges there were."""
    limit(SETTLE=-60.0, WAITING_MAX=0, MERGE_COUNT=2)
    store = Store.open(root)
    merges = n = 0
    while merges < times:
        with store.begin() as transaction:
            data = b"merged %d" % n * 20
            entries = [TreeEntry("data", Mode.FILE, transaction.put_bytes(data), len(data))]
            tree, _ = files.put_tree(transaction, entries)
            key = f"{(1 << 64) + n % 20:032x}"
            transaction.commit(Commit(key, ("task", "p", "n"), (), n + 1, n, tree, {"w": n + 1}))
        n += 1
        merges += bool(store.tidy().merged)
    print(merges)


def unlocked(root: Path) -> None:
    """Tidy where there are no locks."""
    import fcntl

    def flock(fd: object, operation: int) -> None:
        raise OSError(38, "Function not implemented")

    fcntl.flock = flock
    limit(SETTLE=-60.0)
    for _ in range(5):
        Store.open(root).tidy()


if __name__ == "__main__":
    what, folder = sys.argv[1], Path(sys.argv[2])
    if what == "fold":
        fold(folder)
    elif what == "read":
        read(folder)
    elif what == "merge":
        merge(folder, int(sys.argv[3]))
    else:
        unlocked(folder)
