"""SIGKILL at any moment: every call that had returned is readable to a new process, and the store is sound."""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from objstore.store import Store
from tests.scripts import QUIET, Scripts

KILLS = 20
CALLS = 40  # of one run, if nothing kills it

# Calls the API in an order that the seed decides, and says after each call that it has returned.
CHILD = f"""
import json, os, random, sys
from pathlib import Path
from tracker import OutputModel, Task

seed, calls = int(sys.argv[1]), int(sys.argv[2])

def tell(what, n):
    os.write(1, f"{{json.dumps([what, n])}}\\n".encode())

task = Task.init("crash", f"seed {{seed}}", {QUIET})
tell("init", 0)
log = task.get_logger()
weights = Path(f"weights {{seed}}")

def model(n):
    weights.write_text(f"weights {{n}}")
    OutputModel(name=f"model {{n}}").update_weights(weights)

kinds = {{
    "scalar": lambda n: log.report_scalar("t", f"s{{n % 3}}", n + 0.5, n),
    "parameter": lambda n: task.set_parameter(f"k{{n}}", n),
    "tag": lambda n: task.add_tags(f"tag{{n}}"),
    "text": lambda n: log.report_text(f"text {{n}}", print_console=False),
    "plot": lambda n: log.report_plotly("p", f"s{{n}}", {{"data": [{{"y": [n]}}]}}, n),
    "single": lambda n: log.report_single_value(f"v{{n}}", n),
    "small": lambda n: task.upload_artifact(f"small {{n}}", {{"n": n}}),
    "large": lambda n: task.upload_artifact(f"large {{n}}", f"{{n:08d}}" * 400_000),
    "model": model,
    "progress": lambda n: task.set_progress(n),
}}
choice = random.Random(seed)
for n in range(1, calls + 1):
    kind = choice.choice(list(kinds))
    kinds[kind](n)
    tell(kind, n)
tell("closing", 0)
task.close()
tell("closed", 0)
"""

# All that a new process finds, by the task's name.
READ = """
import json
from tracker.records import Ref

def found(task):
    thing = task.workspace.thing(task.id)
    plots = {
        p["series"]: json.loads(task.workspace.read(thing, Ref.parse(p["$ref"])))["data"]
        for segment in thing.state.segments for p in segment.plots
    }
    artifacts = {}
    for name, artifact in task.artifacts.items():
        value = artifact.get()
        artifacts[name] = value if isinstance(value, dict) else [value[:8], value == value[:8] * 400_000]
    return {
        "status": task.status,
        "reason": thing.state.get("status_reason"),
        "scalars": {
            f"{title}/{series}": list(zip(points["x"], points["y"]))
            for title, of in task.get_reported_scalars().items() for series, points in of.items()
        },
        "parameters": task.get_parameters(),
        "tags": task.get_tags(),
        "text": task.console(),
        "plots": plots,
        "singles": task.get_reported_single_values(),
        "artifacts": artifacts,
        "models": {m.name: open(m.get_weights()).read() for m in task.models["output"]},
        "progress": task.get_progress(),
    }

first = {t.name: t.id for t in Task.get_tasks(project_name="crash")}
answer = {name: found(Task.get_task(task_id=key)) for name, key in first.items()}
"""


@dataclass
class Kill:
    """One run: how many calls were to return before it was killed, how many milliseconds later, what had returned."""

    seed: int
    after: int
    later: float
    returned: list[tuple[str, int]] = field(default_factory=list)
    code: int | None = None


def plan() -> list[Kill]:
    """Twenty kills: two while it begins, two while it closes, the others anywhere, each within or between two calls."""
    chance = random.Random(20)
    kills = [Kill(seed, chance.randint(1, CALLS), chance.random() * 4) for seed in range(KILLS - 4)]
    kills += [Kill(100 + n, 0, 40 + chance.random() * 250) for n in range(2)]
    return kills + [Kill(200 + n, CALLS + 2, chance.random() * 12) for n in range(2)]


def carry_out(scripts: Scripts, kill: Kill) -> Kill:
    """Start the run, wait for its moment, kill it, and note every call that it had told of."""
    with scripts.start(CHILD, str(kill.seed), str(CALLS)) as script:
        for _ in range(kill.after):
            kill.returned.append(tuple(json.loads(script.line())))
        time.sleep(kill.later / 1000)
        script.signal(signal.SIGKILL)
        # Not communicate(): it loses the lines that readline has read ahead.
        assert script.process.stdout is not None
        lines = script.process.stdout.readlines()
        kill.returned += [tuple(json.loads(line)) for line in lines if line.endswith("]\n")]
        kill.code = script.process.wait()
    return kill


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Scripts:
    """One store for all of them."""
    return Scripts(tmp_path_factory.mktemp("kill"))


@pytest.fixture(scope="module")
def kills(scripts: Scripts) -> list[Kill]:
    """All runs, carried out two at a time."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda kill: carry_out(scripts, kill), plan()))


@pytest.fixture(scope="module")
def found(scripts: Scripts, kills: list[Kill]) -> dict[str, Any]:
    """What a new process reads."""
    return dict(scripts.ask(READ))


def missing(returned: list[tuple[str, int]], there: dict[str, Any]) -> list[tuple[str, int]]:
    """The calls that had returned and are not readable."""
    present: dict[str, Callable[[int], bool]] = {
        "scalar": lambda n: [n, n + 0.5] in there["scalars"].get(f"t/s{n % 3}", []),
        "parameter": lambda n: there["parameters"].get(f"General/k{n}") == str(n),
        "tag": lambda n: f"tag{n}" in there["tags"],
        "text": lambda n: there["text"].count(f"text {n}") == 1,
        "plot": lambda n: there["plots"].get(f"s{n}") == [{"y": [n]}],
        "single": lambda n: there["singles"].get(f"v{n}") == n,
        "small": lambda n: there["artifacts"].get(f"small {n}") == {"n": n},
        "large": lambda n: there["artifacts"].get(f"large {n}") == [f"{n:08d}", True],
        "model": lambda n: there["models"].get(f"model {n}") == f"weights {n}",
        "progress": lambda n: there["progress"] >= n,
    }
    return [(kind, n) for kind, n in returned if kind in present and not present[kind](n)]


def test_kills_came_at_many_moments(kills: list[Kill]) -> None:
    """Else the rest of this file would say little."""
    kinds = {kind for kill in kills for kind, _ in kill.returned}
    assert kinds >= {
        "scalar",
        "parameter",
        "tag",
        "text",
        "plot",
        "single",
        "small",
        "large",
        "model",
        "progress",
    }
    assert len({len(kill.returned) for kill in kills}) > 8
    killed = [kill for kill in kills if kill.code == -signal.SIGKILL]
    assert len(killed) >= KILLS - 2  # of those that were closing, one may have been through
    assert all(kill.returned[-1][0] == "closed" for kill in kills if kill.code == 0)


@pytest.mark.parametrize("place", range(KILLS))
def test_every_call_that_returned_is_readable(kills: list[Kill], found: dict[str, Any], place: int) -> None:
    """And the run is one that was stopped, with a reason that begins with `aborted:`."""
    kill = kills[place]
    there = found.get(f"seed {kill.seed}")
    if there is None:
        assert kill.returned == []  # it had not begun
        return
    assert missing(kill.returned, there) == []
    if ("closing", 0) in kill.returned and there["status"] == "completed":
        return
    assert there["status"] == "stopped"
    assert there["reason"].startswith("aborted: process ")


def test_store_is_sound(scripts: Scripts, found: dict[str, Any]) -> None:
    """Every object and head, after everything was sealed by the reader."""
    report = Store.open(scripts.store).fsck()
    assert report.clean, report.problems
    assert report.heads >= len(found) > 0


def test_reading_again_gives_the_same(scripts: Scripts, found: dict[str, Any]) -> None:
    """From heads alone: what the first reader folded out of the journals it has sealed."""
    for folder in scripts.store.glob("live/*/*"):
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
    assert scripts.ask(READ) == found


def test_kill_after_a_long_run_was_sealed_on_the_way(tmp_path: Path) -> None:
    """Rolling: the status and most points lie in a head already when the process dies."""
    scripts = Scripts(tmp_path)
    source = f"""
        import os, time
        from tracker import Task, layout
        layout.ROLL = 5_000
        task = Task.init("crash", "rolling", {QUIET})
        log = task.get_logger()
        n = 0
        while True:
            n += 1
            log.report_scalar("t", "s", float(n), n)
            if n % 1000 == 0:
                os.write(1, f"{{n}}\\n".encode())
                time.sleep(0.02)
        """
    with scripts.start(source) as script:
        deadline = time.monotonic() + 30
        returned = 0
        while returned < 8_000 or not list(scripts.store.glob("refs/*/*")):
            returned = int(script.line())
            assert time.monotonic() < deadline
        for _ in range(3):
            returned = int(script.line())
        script.signal(signal.SIGKILL)
        script.process.wait()
    status, reason, x, y = scripts.ask(
        """
        t, = Task.get_tasks()
        points = t.get_reported_scalars()["t"]["s"]
        answer = [t.status, t._state.get("status_reason"), points["x"], points["y"]]
        """
    )
    assert status == "stopped"
    assert reason.startswith("aborted: ")
    assert len(x) >= returned
    assert x == list(range(1, len(x) + 1))
    assert y == [float(n) for n in x]
    assert Store.open(scripts.store).fsck().clean
