"""Queries of 100,000 tasks, each with 20 parameters, 5 series and 3 tags, by new processes: with the tables present,
after one new task, and made again. Prints one JSON object; with a number as argument, so many tasks.

The tasks are real: states as runs leave them, stored as trees in packs, with a commit and a head for each.
"""

from __future__ import annotations

import json
import random
import resource
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from objstore import layout as store_layout
from objstore.heads import Head, Table, batches
from objstore.ids import Kind, hash_bytes
from objstore.records import Commit
from objstore.store import Store
from tracker import layout, seal
from tracker.package_data import template_dir
from tracker.records import Entry, Segment, State

COUNT = 100_000
BATCH = 25_000  # tasks in one transaction
STORE = Path(".tracker")
ASKED = "tags:prod params.Args/lr<0.01 metrics.val/acc>0.9"

WHOLE = [
    sys.executable,
    "-m",
    "tracker",
    "ls",
    ASKED,
    "--sort",
    "-metrics.val/acc",
    "--limit",
    "20",
    "--json",
]
INSIDE = """
import json, sys, time
from tracker.filters import parse, parse_sort
from tracker.projection import Query
from tracker.workspace import Workspace
workspace = Workspace.open()
def ask():
    began = time.perf_counter()
    text = sys.argv[1]
    found = workspace.projection.find(Query(parse(text), [parse_sort("-metrics.val/acc")], limit=20, text=text))
    return (time.perf_counter() - began) * 1000, found.total
first, total = ask()
again = min(ask()[0] for _ in range(5))
print(json.dumps([first, again, total]))
"""


def state_of(number: int, source: random.Random) -> State:
    """A finished run."""
    writer, stamp = source.randbytes(8).hex(), 1_700_000_000_000_000 + number * 60_000_000

    def summary(value: float) -> dict[str, object]:
        steps = {"first_step": 0, "last_step": 9, "min_step": 0, "max_step": 9, "count": 10}
        return {**steps, "first_time": stamp, "last_time": stamp, "last": value, "min": 0.0, "max": 1.0}

    tags = {
        f"tag/{tag}": True for tag in (("prod", "dev")[number % 10 > 0], f"g{number % 50}", f"u{number % 7}")
    }
    params: dict[str, object] = {f"param/Args/p{n}": {"value": str(source.random())} for n in range(18)}
    params["param/Args/lr"] = {"value": repr(10 ** source.uniform(-4, -1))}
    params["param/Args/model"] = {"value": source.choice(("resnet", "vit", "mlp"))}
    keys = {
        "name": f"run {number}",
        "project": f"team/project {number % 40}",
        "status": "completed",
        "type": "training",
        "created": stamp,
        "started": stamp,
        "completed": stamp,
        "user": f"user {number % 20}",
        "comment": f"Auto-generated at some time by user{number % 20}@host",
        **params,
        **tags,
    }
    names = [("val", "acc"), ("val", "loss"), ("train", "acc"), ("train", "loss"), ("train", "lr")]
    chunk = {"series": [[title, series, summary(source.random())] for title, series in names]}
    segment = Segment(writer, 1, 40, stamp, scalars=(chunk,))
    return State(layout.TASK, {k: Entry(v, stamp, writer) for k, v in keys.items()}, (segment,))


def make(store: Store, first: int, count: int) -> None:
    """So many tasks; their heads in tables, as they are once they have been folded."""
    source, heads = random.Random(first), list[Head]()
    with store.begin() as transaction:
        for number in range(first, first + count):
            state = state_of(number, source)
            covers = {state.segments[0].writer: 40}
            tree = seal.put_state(transaction, state)
            commit = Commit(source.randbytes(16).hex(), seal.path_of(state), (), 1, state.stamp, tree, covers)
            raw = commit.encode()
            heads.append(Head(commit.key, transaction.put(Kind.COMMIT, raw), raw, ""))
    for batch in batches(heads):
        table = Table(tuple(batch)).encode()
        store.publish_bytes(store_layout.table_path(hash_bytes(table).hex()), table)


def add(store: Store, number: int) -> None:
    """One more task, by the way that a run takes."""
    state = state_of(number, random.Random(number))
    with store.begin() as transaction:
        seal.commit_state(store, transaction, "f" * 32, state, (), {state.segments[0].writer: 40})


def process(*command: str) -> tuple[float, str]:
    """Milliseconds of a whole process, and what it prints."""
    began = time.perf_counter()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return (time.perf_counter() - began) * 1000, done.stdout


def main() -> None:
    """Measure and print."""
    count = int(sys.argv[1]) if sys.argv[1:] else COUNT
    store = Store.create(STORE, template_dir())
    began = time.perf_counter()
    for first in range(0, count, BATCH):
        make(store, first, min(BATCH, count - first))
    made = time.perf_counter() - began
    rebuilt, printed = process(*WHOLE)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    total = json.loads(printed)["total"]
    whole = [process(*WHOLE)[0] for _ in range(7)]
    bare = min(process(sys.executable, "-c", "pass")[0] for _ in range(3))
    inside = [json.loads(process(sys.executable, "-c", INSIDE, ASKED)[1]) for _ in range(5)]
    assert {found for _, _, found in inside} == {total}
    add(store, count)
    after = json.loads(process(sys.executable, "-c", INSIDE, ASKED)[1])[0]
    size = sum(path.stat().st_size for path in STORE.glob("cache/index.sqlite*")) / count
    shutil.rmtree(STORE / "cache")
    found = {
        "bare_ms": bare,
        "whole_ms": statistics.median(whole),
        "first_ms": statistics.median(first for first, _, _ in inside),
        "again_ms": statistics.median(again for _, again, _ in inside),
        "new_task_ms": after - statistics.median(first for first, _, _ in inside),
        "rebuild_s": rebuilt / 1000,
        "rebuild_mib": peak,
        "bytes_a_task": size,
        "fitting": total,
        "made_s": made,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
