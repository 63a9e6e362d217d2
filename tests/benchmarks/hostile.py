"""What hostile stores cost their reader, each in a process of its own: seconds and MiB, as one JSON object.

Bounds: 5 s and 200 MiB for a whole store; 1 s and 64 MiB beyond the input for one record.
"""

from __future__ import annotations

import json
import resource
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from objstore import files, layout, trees
from objstore.errors import StoreError
from objstore.heads import Head, living
from objstore.ids import Kind, ObjectId, hash_object
from objstore.pack import Footer
from objstore.records import ChunkList, Commit, Mode, Tree, TreeEntry, canonical
from objstore.store import Store


def million_names(store: Store) -> Callable[[], object]:
    """A folder of a million files, the last with a name that is refused."""
    content = str(hash_object(Kind.BLOB, b"x"))
    tops = []
    with store.begin() as transaction:
        for start in range(0, 1_000_000, layout.TREE_PAGE_MAX):
            names = [f"name {n:07}" for n in range(start, start + layout.TREE_PAGE_MAX)]
            if start + layout.TREE_PAGE_MAX == 1_000_000:
                names[-1] += " "
            page = canonical({"entries": [[name, "file", content, 1] for name in names], "v": 1})
            tops.append(TreeEntry(names[0], Mode.PAGE, transaction.put(Kind.TREE, page), len(names)))
        tree = transaction.put(Kind.TREE, Tree(tuple(tops)).encode())
    return lambda: trees.survey(store.objects, tree)


def doubling(store: Store) -> Callable[[], object]:
    """2^50 files out of fifty trees."""
    with store.begin() as transaction:
        below = TreeEntry("", Mode.FILE, transaction.put_bytes(b"x"), 1)
        for _ in range(50):
            rows = [TreeEntry(name, below.mode, below.id, below.size) for name in "ab"]
            below = TreeEntry("", Mode.TREE, *files.put_tree(transaction, rows))
    return lambda: trees.survey(store.objects, below.id)


def values(store: Store) -> Callable[[], object]:
    """A record of as many empty texts as go into it."""
    record = b'{"entries":[' + b",".join([b'""'] * (layout.JSON_MAX // 3 - 20)) + b'],"v":1}'
    return lambda: Tree.decode(record)


def chunk_pages(store: Store) -> Callable[[], object]:
    """The longest chunk list."""
    listed = ChunkList(1, ((ObjectId(bytes(32)), 1),) * layout.LIST_PAGES_MAX).encode()
    return lambda: ChunkList.decode(listed)


def footer(store: Store) -> Callable[[], object]:
    """The longest footer, of frames of one object each."""
    count = layout.FOOTER_MAX // 112 - 1
    frame = struct.pack("<BBBBIQQQ32s", 0, 1, 0, 0, 1, 300, 300, 0, b"x" * 32)
    rows = b"".join(struct.pack("<32sIIQ", n.to_bytes(32, "big"), n, 0, 300) for n in range(count))
    data = struct.pack("<4sB3sII", b"OSPF", 1, bytes(3), count, count) + frame * count + rows
    return lambda: Footer.decode(data)


def diverged(store: Store) -> Callable[[], object]:
    """Five thousand heads of one key, none of which covers another."""
    heads = []
    for number in range(5000):
        commit = Commit("ab" * 16, ("task",), (), 1, 1, ObjectId(bytes(32)), {f"w{number}": 1})
        heads.append(Head(commit.key, commit.id, commit.encode(), "refs/x/y"))
        heads[-1].commit  # noqa: B018  parsed before the clock runs
    return lambda: living(heads)


CASES = {case.__name__: case for case in (million_names, doubling, values, chunk_pages, footer, diverged)}


def measured(name: str) -> dict[str, object]:
    """One case: how it ended, its seconds, and by how much it raised the peak of memory."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store.create(Path(folder) / "store")
        action = CASES[name](store)
        before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
        try:
            outcome = type(action()).__name__
        except StoreError as error:
            outcome = f"{type(error).__name__}: {error}"[:80]
        seconds = time.process_time() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        store.close()
    return {"outcome": outcome, "s": round(seconds, 2), "more_mib": (peak - before) >> 10, "mib": peak >> 10}


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measured(sys.argv[1])))
    else:
        found = {}
        for case in CASES:
            command = [sys.executable, "-m", "tests.benchmarks.hostile", case]
            found[case] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        print(json.dumps(found, indent=1))
