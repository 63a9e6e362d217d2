"""What reporting costs the caller, and what 100,000 points cost on disk and to read. Prints one JSON object."""

from __future__ import annotations

import json
import math
import mmap
import random
import struct
import time
from collections.abc import Callable
from pathlib import Path

from tracker import Task

POINTS = 100_000
SERIES = 10


def run(value: Callable[[int, int], float], *, timed: bool = False) -> tuple[Task, list[float], float]:
    """One run of 100,000 points in ten series; returns (task, microseconds per call, milliseconds to close)."""
    task = Task.init("bench", "scalars", auto_connect_frameworks={"detect_repository": False})
    report = task.get_logger().report_scalar
    names = [f"series {number}" for number in range(SERIES)]
    clock, taken = time.perf_counter_ns, []
    for step in range(POINTS // SERIES):
        for number, name in enumerate(names):
            point = value(step, number)
            if timed:
                began = clock()
                report("loss", name, point, step)
                taken.append((clock() - began) / 1000)
            else:
                report("loss", name, point, step)
    began = clock()
    task.close()
    return task, sorted(taken), (clock() - began) / 1e6


def size(root: Path) -> int:
    """Bytes of packs and heads."""
    return sum(
        path.stat().st_size
        for part in ("packs", "refs")
        for path in (root / part).rglob("*")
        if path.is_file()
    )


def reference() -> float:
    """Microseconds for the least that keeps a point: struct.pack_into a mapped file."""
    pack = struct.Struct("<qqd").pack_into
    path = Path("reference")
    path.write_bytes(bytes(POINTS * 24))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), POINTS * 24) as area:
        began = time.perf_counter_ns()
        for step in range(POINTS):
            pack(area, step * 24, step, step, 1.0)
        return (time.perf_counter_ns() - began) / 1000 / POINTS


def read(task: Task) -> float:
    """Milliseconds from the store to numpy columns."""
    from tracker.sdk import reports

    thing = task.workspace.thing(task.id)
    began = time.perf_counter_ns()
    count = sum(len(series.values) for series in reports.series(task.workspace, thing))
    assert count == POINTS
    return (time.perf_counter_ns() - began) / 1e6


def main() -> None:
    """Measure and print."""
    root = Path(".tracker")
    _, taken, _ = run(lambda step, _: 1 / (1 + step), timed=True)
    before = size(root)
    task, _, close = run(lambda step, number: math.exp(-step / (1000 + number)))
    smooth = (size(root) - before) / POINTS
    read_ms = min(read(task) for _ in range(3))
    before = size(root)
    source = random.Random(1)
    run(lambda *_: source.random())
    found = {
        "reference_us": reference(),
        "p50_us": taken[len(taken) // 2],
        "p99_us": taken[len(taken) * 99 // 100],
        "close_ms": close,
        "read_ms": read_ms,
        "bytes_smooth": smooth,
        "bytes_random": (size(root) - before) / POINTS,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
