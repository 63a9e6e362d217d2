"""Run by test_publish.py: stores something and dies at every step of it in turn; prints what was found afterwards.

Arguments: an empty folder. Each death is that of a fork, at its n-th fsync, rename or mkdir; one JSON line for each n.
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from objstore import files, layout
from objstore.chunker import cut
from objstore.records import Commit, Mode, TreeEntry
from objstore.store import Store
from tests.dying import DIED, dying

KEYS = ("a" * 32, "b" * 32)
LARGE = random.Random(1).randbytes(1_300_000)


def shrink() -> None:
    """Make small files cross the limits that large ones do: several packs, and a chunk list of several pages."""
    for name, value in (
        ("BLOB_MAX", 1 << 20),
        ("PACK_TARGET", 600_000),
        ("LIST_PAGE_MAX", 4),
        ("PAGE_MIN", 2),
        ("PAGE_MASK", 1),
    ):
        setattr(layout, name, value)


def save(root: Path) -> None:
    """One transaction with small objects, a large file, a chunk of it as a blob of its own, and two heads."""
    chunk = bytes(next(iter(cut(memoryview(LARGE), last=True))))
    with Store.open(root).begin() as transaction:
        entries = [TreeEntry("chunk", Mode.FILE, transaction.put_bytes(chunk), len(chunk))]
        entries.append(TreeEntry("large", Mode.FILE, transaction.put_bytes(LARGE), len(LARGE)))
        tree, _ = files.put_tree(transaction, entries)
        for key in KEYS:
            transaction.commit(Commit(key, ("task", "p", "n"), (), 1, 1, tree, {"w": 1}))


def forked(action: Callable[[], Any]) -> tuple[int, Any]:
    """Run `action` in a fork; returns its exit status and what it returned."""
    source, sink = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            result = json.dumps(action()).encode()
            os.write(sink, result)
            os._exit(0)
        except BaseException as error:  # noqa: BLE001  a fork must not go on as its parent
            os.write(2, repr(error).encode())
            os._exit(1)
    os.close(sink)
    with os.fdopen(source, "rb") as pipe:
        data = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return status, json.loads(data) if data else None


def look(root: Path) -> dict[str, Any]:
    """What a new reader finds: how many heads, what is wrong, and how many unfinished files."""
    store = Store.open(root)
    return {
        "heads": len(store.heads.live()),
        "problems": [f"{p.where}: {p.what}" for p in store.fsck().problems],
        "left": len(os.listdir(root / layout.TMP)),
    }


def attempt(root: Path, step: int) -> None:
    """Save, and die at a step."""
    dying(step, "fsync", "rename", "mkdir")  # what changes what is durable or visible
    save(root)


def recover(root: Path) -> list[dict[str, Any]]:
    """What is found, and what after the same was stored once more."""
    found = look(root)
    save(root)
    return [found, look(root)]


def main(folder: Path) -> None:
    """Die at every step, and look; then store the same again, and look once more."""
    shrink()
    for step in range(1, 1000):
        root = folder / str(step)
        Store.create(root)
        status, _ = forked(partial(attempt, root, step))
        _, found = forked(partial(recover, root))
        print(json.dumps({"status": status, "found": found}), flush=True)
        if status != DIED:
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]))
