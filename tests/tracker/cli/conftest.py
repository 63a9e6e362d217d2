"""Commands in an empty folder, and one store that all tests of the command line read."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.commands import Cli

HERE = Path(__file__).parent


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
