"""100,000 heads: listed by a new process, one of them updated by a process that has the store open. Prints one JSON
object; the reference is the same number of keys and ids in a plain JSON file.
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from objstore import files, layout
from objstore.heads import Head, Table, batches
from objstore.ids import ObjectId, hash_bytes
from objstore.records import Commit, Mode, TreeEntry
from objstore.store import Store

COUNT = 100_000
UPDATES = 50
STORE = Path(".tracker")
PLAIN = Path("heads.json")

LIST = """
import sys, time
from pathlib import Path
from objstore.heads import Heads
began = time.perf_counter()
found = sum(bool(head.id) for heads in Heads(Path(sys.argv[1])).live().values() for head in heads)
assert found == int(sys.argv[2])
print((time.perf_counter() - began) * 1000)
"""
REFERENCE = """
import json, sys, time
began = time.perf_counter()
found = json.load(open(sys.argv[1]))
assert len(found) == int(sys.argv[2])
print((time.perf_counter() - began) * 1000)
"""


def made() -> list[Commit]:
    """Commits as runs leave them: a parent, a state, one writer."""
    source = random.Random(1)
    return [
        Commit(
            source.randbytes(16).hex(),
            ("task", f"project {n % 20}", f"run {n}"),
            (ObjectId(source.randbytes(32)),),
            2,
            1_700_000_000_000_000 + n,
            ObjectId(source.randbytes(32)),
            {source.randbytes(8).hex(): 37},
        )
        for n in range(COUNT)
    ]


def update(store: Store, key: str) -> tuple[float, float]:
    """Follow a key's living head by a new commit; milliseconds in all, and of them to find the head."""
    began = time.perf_counter()
    (head,) = store.heads.of(key)
    found = time.perf_counter()
    commit = head.commit
    with store.begin() as transaction:
        data = str(began).encode() * 20
        entry = TreeEntry("record", Mode.FILE, transaction.put_bytes(data), len(data))
        tree, _ = files.put_tree(transaction, [entry])
        transaction.commit(
            replace(
                commit,
                parents=(head.id,),
                generation=commit.generation + 1,
                state=tree,
                covers={**commit.covers, "editor": 1},
            )
        )
    return (time.perf_counter() - began) * 1000, (found - began) * 1000


def child(code: str, *arguments: str) -> float:
    """What a new process prints: milliseconds without its start."""
    return float(
        subprocess.run([sys.executable, "-c", code, *arguments], check=True, stdout=subprocess.PIPE).stdout
    )


def main() -> None:
    """Measure and print."""
    commits = made()
    store = Store.create(STORE)
    size = 0
    for batch in batches(Head(c.key, c.id, c.encode(), "") for c in commits):
        table = Table(tuple(batch)).encode()
        store.publish_bytes(layout.table_path(hash_bytes(table).hex()), table)
        size += len(table)
    PLAIN.write_text(json.dumps({c.key: str(c.id) for c in commits}))
    listed = [child(LIST, str(STORE), str(COUNT)) for _ in range(3)]
    reference = [child(REFERENCE, str(PLAIN), str(COUNT)) for _ in range(3)]
    update(store, commits[0].key)
    both = [update(store, commit.key) for commit in commits[1 : UPDATES + 1]]
    found = {
        "reference_ms": min(reference),
        "list_ms": min(listed),
        "update_ms": statistics.median(whole for whole, _ in both),
        "of_ms": statistics.median(part for _, part in both),
        "table_bytes": size / COUNT,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
