"""Measures one peer, with the Python of its environment: `measure.py NAME short|long|read SECONDS`, in a folder of its
own. Prints what it found, a name and a number a line. Needs nothing but the standard library and that peer.

SECONDS: of `short`, the time at which the process was started; of `long`, after how many to stop reporting.
"""

from __future__ import annotations

import math
import runpy
import sys
import time
from array import array
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
# The files here have their peers' names: what is imported is to be the peer.
sys.path[:] = [each for each in sys.path if Path(each).resolve() != HERE.resolve()]

POINTS = 100_000
SERIES = 10


def short(peer: dict[str, Any], began: float) -> dict[str, float]:
    """A run of one scalar."""
    report, close = peer["start"]()
    report("series 0", 1.0, 0)
    taken = time.time() - began
    close()
    return {"first_log_ms": taken * 1000}


def long(peer: dict[str, Any], most: float) -> dict[str, float]:
    """A run of 100,000 points in ten series, or of as many as can be reported in so many seconds."""
    report, close = peer["start"]()
    names = [f"series {number}" for number in range(SERIES)]
    clock, taken = time.perf_counter_ns, array("q")
    until = clock() + most * 1e9
    for step in range(POINTS // SERIES):
        for number, name in enumerate(names):
            value = math.exp(-step / (1000 + number))
            began = clock()
            report(name, value, step)
            taken.append(clock() - began)
        if clock() > until:
            break
    began = clock()
    close()
    closed = clock() - began
    ordered = sorted(taken)
    return {
        "points": len(ordered),
        "p50_us": ordered[len(ordered) // 2] / 1000,
        "p99_us": ordered[len(ordered) * 99 // 100] / 1000,
        "close_ms": closed / 1e6,
    }


def read(peer: dict[str, Any], _: float) -> dict[str, float]:
    """One of the series that `long` has left."""
    began = time.perf_counter()
    count = peer["read"]("series 3")
    return {"read_ms": (time.perf_counter() - began) * 1000, "read_points": count}


def main() -> None:
    """Measure and print."""
    name, what, seconds = sys.argv[1:]
    peer = runpy.run_path(str(HERE / f"{name}.py"))
    found = {"short": short, "long": long, "read": read}[what](peer, float(seconds))
    print()  # the peer may have left a line unended
    for key, value in found.items():
        print(key, value)


if __name__ == "__main__":
    try:
        main()
    except NotImplementedError as error:
        sys.exit(str(error))
