"""A runner for real `tracker` processes, and one store that all tests of the command line read."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
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


@dataclass(frozen=True)
class Sample:
    """A store with five runs; ids by label, and what `show --json` says of the best one. Not to be changed: copy it."""

    cli: Cli
    folder: Path
    ids: dict[str, str]
    best: dict[str, Any]

    @property
    def store(self) -> Path:
        """The .tracker folder."""
        return self.folder / ".tracker"


@pytest.fixture
def cli(tmp_path: Path, checkout: Path) -> Cli:
    """Commands in an empty folder."""
    return Cli(tmp_path, checkout)


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> Sample:
    """Runs of a script in a git repository with an uncommitted change."""
    import pygit2

    folder = tmp_path_factory.mktemp("sample")
    script = folder / "train.py"
    shutil.copyfile(HERE / "record_runs.py", script)
    (folder / ".gitignore").write_text("files/\n*.bin\n")
    repository = pygit2.init_repository(str(folder), initial_head="main")
    repository.index.add_all()
    repository.index.write()
    author = pygit2.Signature("someone", "someone@example.org")
    repository.create_commit("refs/heads/main", author, author, "Begin", repository.index.write_tree(), [])
    script.write_text(script.read_text() + "# a change\n")

    cli = Cli(folder, checkout)
    done = cli.run([sys.executable, "train.py"])
    assert done.code == 0, done.err
    ids = json.loads(done.out.splitlines()[-1])
    return Sample(cli, folder, ids, cli("show", ids["best"], "--json").json["task"])
