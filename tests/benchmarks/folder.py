"""A folder of 10,000 files of 4 KiB: stored, stored again, stored with 10 of them changed, written back. Prints JSON.

An argument gives another number of files.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import numpy as np

from objstore import files
from objstore.ids import ObjectId
from objstore.store import Store

SIZE = 4096
CHANGED = 10


def write(folder: Path, numbers: range, seed: int) -> None:
    """Files of random bytes, then a wait: what was just written is never taken for unchanged."""
    source = np.random.default_rng(seed)
    for number in numbers:
        (folder / f"{number:06}.bin").write_bytes(source.bytes(SIZE))
    os.sync()
    time.sleep(0.2)


def put(folder: Path) -> tuple[float, ObjectId, int]:
    """Milliseconds until the folder is stored, durable, in a store that was just opened; its id; files in the store."""
    began = time.perf_counter()
    store = Store.open(Path(".tracker"))
    with store.begin() as transaction:
        tree, _ = files.put_folder(transaction, folder)
    taken = (time.perf_counter() - began) * 1000
    return taken, tree, sum(len(names) for _, _, names in os.walk(".tracker"))


def main() -> None:
    """Measure and print."""
    count = int(sys.argv[1]) if sys.argv[1:] else 10_000
    folder = Path("folder")
    folder.mkdir()
    Store.create(Path(".tracker")).close()
    before = sum(len(names) for _, _, names in os.walk(".tracker"))
    write(folder, range(count), 1)
    first, _, files_first = put(folder)
    again, _, files_again = put(folder)
    write(folder, range(0, count, max(1, count // CHANGED)), 2)
    changed, tree, files_changed = put(folder)
    began = time.perf_counter()
    Store.open(Path(".tracker")).get(tree, Path("out"))
    found = {
        "first_ms": first,
        "first_files": files_first - before,
        "again_ms": again,
        "again_files": files_again - files_first,
        "changed_ms": changed,
        "changed_files": files_changed - files_again,
        "checkout_ms": (time.perf_counter() - began) * 1000,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
