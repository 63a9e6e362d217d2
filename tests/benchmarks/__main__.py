"""Runs every benchmark in fresh processes and folders, and prints medians beside a reference of the same run."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

RUNS = 5
HERE = Path(__file__).parent


def measure(script: str, *arguments: str, runs: int = RUNS) -> dict[str, float]:
    """The median of each number that a benchmark script prints as one JSON object, over `runs` fresh processes."""
    found: dict[str, list[float]] = {}
    for _ in range(runs):
        with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
            environment = {**os.environ, "HOME": folder, "PYTHONPATH": str(HERE.parent.parent)}
            environment.pop("TRACKER_DIR", None)
            done = subprocess.run(
                [sys.executable, str(HERE / script), *arguments],
                cwd=folder,
                env=environment,
                stdout=subprocess.PIPE,
                check=True,
            )
        for name, value in json.loads(done.stdout.splitlines()[-1]).items():
            found.setdefault(name, []).append(value)
    return {name: statistics.median(values) for name, values in found.items()}


def main() -> None:
    """Print the table: what, measured, unit, the budget, and the ratio to the reference where there is one."""
    rows: list[tuple[str, float, str, str]] = []
    start = measure("start.py")
    rows += [
        ("bare interpreter, whole process", start["bare_ms"], "ms", "reference"),
        ("import tracker, over the bare interpreter", start["import_ms"], "ms", "30"),
        ("tracker --version, whole process", start["version_ms"], "ms", "150"),
        ("import, init in a dirty git repository, one scalar, close", start["whole_ms"], "ms", "100"),
        ("  of that: until the first scalar is kept", start["first_log_ms"], "ms", "60"),
        ("  of that: Task.init", start["init_ms"], "ms", ""),
        ("  of that: close, sealed and durable", start["close_ms"], "ms", ""),
    ]
    scalars = measure("scalars.py")
    rows += [
        ("struct.pack_into a mapped file", scalars["reference_us"], "µs", "reference"),
        ("report_scalar p50 of 100,000", scalars["p50_us"], "µs", "1"),
        ("report_scalar p99", scalars["p99_us"], "µs", "4"),
        ("close after 100,000 points, sealed and durable", scalars["close_ms"], "ms", "200"),
        ("100,000 points back into numpy", scalars["read_ms"], "ms", "10"),
        ("bytes a point on disk, smooth", scalars["bytes_smooth"], "B", "4"),
        ("bytes a point on disk, random doubles", scalars["bytes_random"], "B", "10"),
    ]
    files = measure("files.py", runs=3)
    rows += [
        ("256 MiB: BLAKE3 + zstd-1 + write + fsync on all cores", files["reference_ms"], "ms", "reference"),
        ("store the 256 MiB file", files["first_ms"], "ms", "1.5 x reference"),
        ("  as a ratio to the reference", files["first_ms"] / files["reference_ms"], "x", "1.5"),
        ("store it again", files["again_ms"], "ms", ""),
        ("  stored, of its size", files["stored_ratio"], "x", ""),
        ("read it back, verified", files["read_ms"], "ms", ""),
        ("peak memory", files["peak_mib"], "MiB", "300"),
    ]
    width = max(len(row[0]) for row in rows)
    print(f"{'':{width}}  {'measured':>10}       budget")
    for name, value, unit, budget in rows:
        print(f"{name:{width}}  {value:>10.2f} {unit:<4}  {budget}")


if __name__ == "__main__":
    main()
