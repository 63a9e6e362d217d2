"""1,000 runs (20 parameters, 10 series of 10 points, 3 tags) in one process: milliseconds a run, and the files they
leave, then and at the most while they were made. Prints one JSON object; with a number as argument, so many runs.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path

from objstore.store import Store
from tracker import Task

COUNT = 1_000


def run(number: int) -> None:
    """One run from init to close."""
    task = Task.init("bench", f"run {number}", auto_connect_frameworks=False, auto_connect_arg_parser=False)
    task.set_parameters({f"General/p{n}": n * number for n in range(20)})
    logger = task.get_logger()
    for series in range(10):
        for step in range(10):
            logger.report_scalar("metric", f"s{series}", number / (step + 1), step)
    task.add_tags(["a", "b", f"n{number % 10}"])
    task.close()


def count(root: Path) -> int:
    """All files of a store, those of its trash and its cache too."""
    return sum(path.is_file() for path in root.rglob("*"))


def main() -> None:
    """Measure and print."""
    runs = int(sys.argv[1]) if sys.argv[1:] else COUNT
    root = Path(".tracker")
    times, most = [], 0
    for number in range(runs):
        began = time.perf_counter()
        run(number)
        times.append((time.perf_counter() - began) * 1000)
        if number % 10 == 9:
            most = max(most, count(root))
    right_after = count(root)
    began = time.perf_counter()
    assert len(Store.open(root).heads.live()) == runs
    listed = (time.perf_counter() - began) * 1000
    report = Store.open(root).fsck()
    assert report.clean, report.problems
    found = {
        "ms_a_run": statistics.median(times),
        "worst_ms": max(times),
        "files": right_after,
        "files_most": most,
        "list_ms": listed,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
