"""Commands of this checkout as real `tracker` processes, run to their end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# What a terminal sets; and without stored bytecode each of the many short processes would take twice as long.
LEFT_OUT = ("COLUMNS", "FORCE_COLOR", "NO_COLOR", "TERM", "PYTHONDONTWRITEBYTECODE")


@dataclass(frozen=True)
class Done:
    """A process that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its stdout as one JSON document."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Cli:
    """Runs commands of this checkout in a folder."""

    folder: Path
    checkout: Path

    def environment(self, **changes: str) -> dict[str, str]:
        """The variables of a command."""
        kept = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}
        return {**kept, "PYTHONPATH": str(self.checkout), **changes}

    def command(self, *arguments: str) -> list[str]:
        """The command line of a tracker process."""
        return [sys.executable, "-m", "tracker", *arguments]

    def __call__(self, *arguments: str, **changes: str) -> Done:
        """Run `tracker` to its end; keywords are variables of its environment."""
        return self.run(self.command(*arguments), **changes)

    def python(self, script: str, **changes: str) -> Done:
        """Run Python text to its end."""
        return self.run([sys.executable, "-c", script], **changes)

    def run(self, command: list[str], **changes: str) -> Done:
        """Run any command to its end."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment(**changes),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def at(self, folder: Path) -> Cli:
        """The same in another folder."""
        return Cli(folder, self.checkout)
