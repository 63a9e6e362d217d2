"""What the captures' tests share: a recorder that keeps all in memory, and user scripts run as real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import pytest

ROOT = Path(__file__).parents[3]


class Memory:
    """A recorder whose task lives in memory."""

    def __init__(self, overrides: dict[str, str] | None = None) -> None:
        self.state: dict[str, object] = {}
        self.console: list[tuple[str, str]] = []
        self.objects: dict[str, bytes] = {}
        self.stored = overrides
        self.section = "Args"
        self.points: list[tuple[str, str, float, int]] = []
        self.samples: dict[tuple[str, str, int], tuple[bytes, str]] = {}
        self.histograms: list[tuple[str, str, list[float], list[str], int]] = []
        self.figures: list[tuple[str, bool]] = []
        self.weights: list[tuple[str, str, str]] = []
        self.choices: set[str] = set()
        self.configurations: dict[str, tuple[str, str]] = {}
        self.ended: list[BaseException | None] = []
        self.changed = Event()

    def set(self, key: str, value: object) -> None:
        """Keeps a value, which has to be one of JSON's."""
        self.state[key] = json.loads(json.dumps(value, allow_nan=False).encode().decode())
        self.changed.set()

    def text(self, stream: str, message: str) -> None:
        """Keeps a line."""
        self.console.append((stream, message))

    def scalar(self, title: str, series: str, value: float, iteration: int) -> None:
        """Keeps a point."""
        self.points.append((title, series, value, iteration))

    def sample(self, title: str, series: str, data: bytes, extension: str, iteration: int) -> None:
        """Keeps a file."""
        self.samples[title, series, iteration] = (data, extension)

    def histogram(
        self, title: str, series: str, counts: Sequence[float], edges: Sequence[str], iteration: int
    ) -> None:
        """Keeps bars."""
        self.histograms.append((title, series, list(counts), list(edges), iteration))

    def figure(self, title: str, figure: object, *, sample: bool = False) -> None:
        """Keeps what a figure is called."""
        self.figures.append((title, sample))

    def saved(self, path: str, framework: str) -> None:
        """Keeps a path."""
        self.weights.append(("saved", path, framework))

    def loaded(self, path: str, framework: str) -> None:
        """Keeps a path."""
        self.weights.append(("loaded", path, framework))

    def configuration(self, name: str, text: str, kind: str) -> None:
        """Keeps a text."""
        self.configurations[name] = (text, kind)

    def job_ended(self, problem: BaseException | None) -> None:
        """Keeps what was raised."""
        self.ended.append(problem)

    def chosen(self, name: str) -> bool:
        """What the test has chosen."""
        return name in self.choices

    def attach(self, data: bytes) -> str:
        """Keeps bytes under a running number."""
        reference = f"blob:{len(self.objects):064x}:{len(data)}"
        self.objects[reference] = data
        return reference

    def redacted(self, data: bytes) -> bytes:
        """The bytes as they are: what a secret is, other tests say."""
        return data

    def overrides(self, section: str) -> dict[str, str] | None:
        """What the test wants replayed."""
        return self.stored if section == self.section else None

    def args(self) -> dict[str, dict[str, str | None]]:
        """The parameters of the section Args by name."""
        found = {}
        for key, value in self.state.items():
            if key.startswith("param/Args/"):
                assert isinstance(value, dict)
                found[key.removeprefix("param/Args/")] = value
        return found

    def values(self) -> dict[str, str | None]:
        """The values of the section Args by name."""
        return {name: parameter["value"] for name, parameter in self.args().items()}

    def printed(self, stream: str) -> list[str]:
        """The lines of one stream."""
        return [line for name, line in self.console if name == stream]


@pytest.fixture
def recorder() -> Memory:
    """A recorder in memory."""
    return Memory()


@pytest.fixture
def replaying() -> Callable[[dict[str, str]], Memory]:
    """Makes a recorder in memory that replays stored arguments."""
    return Memory


@dataclass(frozen=True, slots=True)
class Ran:
    """A script's end: its exit code, the bytes it has printed, and what was recorded (None: it never came to that)."""

    code: int
    out: bytes
    err: bytes
    record: Memory | None


RunScript = Callable[..., Ran]

_PREAMBLE = """
import atexit, json, os, sys
from tracker.capture import install_all

class _Recorder:
    def __init__(self):
        self.state, self.console, self.objects = {}, [], {}
        self.pid = os.getpid()
    def set(self, key, value): self.state[key] = value
    def text(self, stream, message): self.console.append([stream, message])
    def scalar(self, *point): raise AssertionError(point)
    def overrides(self, section): return None
    def redacted(self, data): return data
    def attach(self, data):
        reference = f"blob:{len(self.objects):064x}:{len(data)}"
        self.objects[reference] = data.hex()
        return reference
    def save(self):
        if os.getpid() == self.pid:
            with open(os.environ["RECORD_TO"], "w") as file:
                json.dump([self.state, self.console, self.objects], file)

recorder = _Recorder()
atexit.register(recorder.save)

def record(*names):
    undo = install_all(recorder, names)
    atexit.register(undo)
    return undo
"""


@pytest.fixture
def run_script(tmp_path_factory: pytest.TempPathFactory) -> RunScript:
    """Runs Python as a user does: `run_script("train.py", "--lr", "1", cwd=folder)`. The script finds a module `rec`
    to import, whose `record("git", ...)` installs captures until the end of the process."""
    place = tmp_path_factory.mktemp("rec")
    (place / "rec.py").write_text(_PREAMBLE)

    def run(*command: str, cwd: Path, stdin: bytes = b"", environment: dict[str, str] | None = None) -> Ran:
        target = place / "record.json"
        target.unlink(missing_ok=True)
        done = subprocess.run(
            [sys.executable, *command],
            cwd=cwd,
            input=stdin,
            capture_output=True,
            timeout=60,
            check=False,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(ROOT), str(place)]),
                "RECORD_TO": str(target),
                **(environment or {}),
            },
        )
        memory = None
        if target.exists():
            memory = Memory()
            memory.state, console, objects = json.loads(target.read_text())
            memory.console = [(stream, line) for stream, line in console]
            memory.objects = {name: bytes.fromhex(data) for name, data in objects.items()}
        return Ran(done.returncode, done.stdout, done.stderr, memory)

    return run
