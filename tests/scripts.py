"""Users' scripts as real processes in a folder of their own, for the tests whose subject is what a process leaves.

A script sees the installed packages and the session's empty home, nothing else of the test that started it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[1]
QUIET = "auto_connect_frameworks={'detect_repository': False}, auto_connect_streams=False"
"""Arguments of Task.init for scripts that are not about captures: no git, no packages, no console."""


@dataclass(frozen=True)
class Ended:
    """How a script ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def warnings(self) -> list[str]:
        """What the tracker said on stderr, less the line that names the new task."""
        said = [line for line in self.err.splitlines() if line.startswith("tracker: ")]
        return [line for line in said if "task id=" not in line]

    @property
    def value(self) -> Any:
        """The last line of stdout as JSON."""
        return json.loads(self.out.splitlines()[-1])


class Scripts:
    """Runs Python source with `folder` as working directory, and so with `folder/.tracker` as store."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.environment = {"PYTHONPATH": str(CHECKOUT), "PYTHONUNBUFFERED": "1", **environment}
        self._count = 0

    @property
    def store(self) -> Path:
        """Where the scripts record."""
        return self.folder / ".tracker"

    def start(
        self, source: str, *arguments: str, stdin: Any = subprocess.DEVNULL, **environment: str
    ) -> Script:
        """Start a script; use the result in a `with` block, which kills what is left of it."""
        self._count += 1
        path = self.folder / f"script{self._count}.py"
        path.write_text(textwrap.dedent(source), encoding="utf-8")
        process = subprocess.Popen(
            [sys.executable, str(path), *arguments],
            cwd=self.folder,
            env={**os.environ, **self.environment, **environment},
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="surrogateescape",
        )
        return Script(process)

    def run(self, source: str, *arguments: str, code: int | None = 0, **environment: str) -> Ended:
        """Run a script to its end, which must be exit code `code` (None: any; negative: a signal)."""
        with self.start(source, *arguments, **environment) as script:
            return script.end(code)

    def ask(self, source: str, **environment: str) -> Any:
        """The JSON value that a new process finds: `source` assigns it to `answer`."""
        script = textwrap.dedent(source) + "\nimport json\nprint(json.dumps(answer))\n"
        return self.run("from tracker import *\n" + script, code=0, **environment).value


class Script:
    """A running script."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def __enter__(self) -> Script:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def line(self) -> str:
        """The next line of its stdout, without the end; "" when there is none."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def say(self, text: str) -> None:
        """Write a line to its stdin."""
        assert self.process.stdin is not None
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def end(self, code: int | None = 0, *, limit: float = 90) -> Ended:
        """Wait for its end, `limit` seconds at most, and check its exit code."""
        out, err = self.process.communicate(timeout=limit)
        assert code is None or self.process.returncode == code, f"{self.process.returncode}\n{out}\n{err}"
        return Ended(self.process.returncode, out, err)
