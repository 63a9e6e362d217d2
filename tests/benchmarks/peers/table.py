"""One table of the same work done by this program and its peers. Each number is a fresh process in a fresh folder.

A peer that is not there, or fails, is named below the table with the reason.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.peers.environments import PEERS, ROOT, Peer
from tests.benchmarks.start import repository

HERE = Path(__file__).parent
RUNS = 5
REPORT_SECONDS = 60  # for which a peer may report; who is slower reports fewer points
END_SECONDS = 240  # after which a process is ended

# Settings of whoever calls; and without stored bytecode every import would be a compilation.
_NOT_HANDED_ON = ("TRACKER_", "CLEARML_", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE")

ROWS = (
    # key, what, what this program must reach
    ("import_ms", "import, over the bare interpreter, ms", "<= 30"),
    ("first_log_ms", "process start until the first scalar is taken, ms", "<= 60"),
    ("whole_ms", "whole process: start in a dirty git repository, one scalar, close, ms", "<= 100"),
    ("p50_us", "report a scalar, p50, us", "<= 1"),
    ("p99_us", "report a scalar, p99, us", "<= 4"),
    ("points", f"points reported, of 100,000 in {REPORT_SECONDS} s at most", ""),
    ("close_ms", "close after them, ms", "<= 200"),
    ("cpu_us", "CPU a point, whole process and its children, us", ""),
    ("read_ms", "one series of ten read back, ms", ""),
    ("read_points", "  its points", ""),
    ("bytes", "bytes a point on disk", ""),
    ("files", "files on disk", ""),
)


class Failed(Exception):
    """A measurement that came to nothing. Its text says why."""


@dataclass(frozen=True, slots=True)
class Bench:
    """Where one program is measured. python: of its environment; folder: of its own, empty at first."""

    name: str
    python: Path
    folder: Path

    def prepare(self) -> None:
        """A repository with the scripts in a folder of their own, a working folder, a home."""
        for part in ("code/scripts", "work", "home"):
            (self.folder / part).mkdir(parents=True)
        for script in ("measure.py", f"{self.name}.py"):
            shutil.copy(HERE / script, self.folder / "code" / "scripts")
        repository(self.folder / "code")

    def run(self, where: str, *arguments: str) -> tuple[float, str]:
        """Milliseconds of a whole process, and what it prints. Raises Failed."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith(_NOT_HANDED_ON)}
        environment |= {"HOME": str(self.folder / "home")}
        if self.name == "tracker":
            environment["PYTHONPATH"] = str(ROOT)
        began = time.perf_counter()
        with subprocess.Popen(
            [str(self.python), *arguments],
            cwd=self.folder / where,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                out, said = process.communicate(timeout=END_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise Failed(f"{arguments[2:3]} did not end in {END_SECONDS} s") from None
        taken = (time.perf_counter() - began) * 1000
        if process.returncode:
            raise Failed((said.strip().splitlines() or [f"ended with {process.returncode}"])[-1])
        return taken, out

    def measure(self, what: str) -> tuple[float, dict[str, float]]:
        """One of the measurements of `measure.py`: milliseconds of the whole process, and the numbers printed last."""
        short = what == "short"
        seconds = time.time() if short else REPORT_SECONDS
        script = str(self.folder / "code" / "scripts" / "measure.py")
        taken, out = self.run("code" if short else "work", script, self.name, what, str(seconds))
        _, _, numbers = f"\n{out}".rpartition("\n\n")
        return taken, {key: float(value) for key, value in map(str.split, numbers.splitlines())}

    def starting(self) -> dict[str, float]:
        """What starting costs, at best: the first of each kind fills caches, and does not count."""
        bare = [self.run("work", "-c", "pass")[0] for _ in range(RUNS + 1)]
        # tracker loads what a script uses of it only when that is named, the others all at once.
        statement = "from tracker import Task" if self.name == "tracker" else f"import {self.name}"
        imported = [self.run("work", "-c", statement)[0] for _ in range(RUNS + 1)]
        short = [self.measure("short") for _ in range(RUNS + 1)]
        return {
            "import_ms": min(imported[1:]) - min(bare[1:]),
            "whole_ms": min(whole for whole, _ in short[1:]),
            "first_log_ms": min(found["first_log_ms"] for _, found in short[1:]),
        }

    def reporting(self) -> dict[str, float]:
        """What many points cost, to report and to keep."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        _, found = self.measure("long")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
        left = [path for path in (self.folder / "work").rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in left) / found["points"]
        return {**found, "cpu_us": cpu * 1e6 / found["points"], "bytes": size, "files": len(left)}

    def reading(self) -> dict[str, float]:
        """What reading one series costs, at best."""
        found = [self.measure("read")[1] for _ in range(RUNS)]
        return {key: min(each[key] for each in found) for key in found[0]}


def measured(name: str, python: Path) -> tuple[dict[str, float], list[str]]:
    """The numbers of one program, and what is to be said of those that are not there."""
    found, said = dict[str, float](), list[str]()
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR"), ignore_cleanup_errors=True) as folder:
        bench = Bench(name, python, Path(folder))
        bench.prepare()
        for step in (bench.starting, bench.reporting, bench.reading):
            try:
                found |= step()
            except Failed as error:
                said.append(f"{name}, {step.__name__}: {error}")
    return found, said


def show(peers: tuple[Peer, ...] = PEERS) -> None:
    """Measure and print."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table("", "must be", "tracker", box=box.MARKDOWN)
    columns, said = [measured("tracker", Path(sys.executable))], list[str]()
    for peer in peers:
        table.add_column(f"{peer.name} {peer.version}")
        missing = peer.missing()
        columns.append(({}, [f"{peer.name}: {missing}"]) if missing else measured(peer.name, peer.python))
    for column in table.columns[2:]:
        column.justify = "right"
    for key, what, budget in ROWS:
        table.add_row(what, budget, *(_shown(found.get(key)) for found, _ in columns))
    said = [line for _, lines in columns for line in lines]
    console = Console(width=None if sys.stdout.isatty() else 180, highlight=False, markup=False)
    console.print(f"-- peers, load {os.getloadavg()[0]:.1f}", table, *said, sep="\n")


def _shown(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    show()
