"""What a process loads before it does anything: modules that cost milliseconds are left until they are needed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.commands import Cli
    from tests.tracker.cli.conftest import Sample

# What no listing of tasks needs either.
NEVER = {
    "asyncio",
    "importlib.metadata",
    "logging",
    "matplotlib",
    "multiprocessing",
    "numpy",
    "objstore.fsck",
    "objstore.gc",
    "pandas",
    "polars",
    "pyarrow",
    "pygit2",
    "rich",
    "socket",
    "subprocess",
    "tracker.recorder",
    "tracker.sdk",
    "urllib.request",
    "yaml",
}
if sys.version_info < (3, 11):
    NEVER -= {"subprocess"}  # click imports uuid, which brings it there
# What a script should not pay for by importing Task: what reads a store, and the modules that bring OpenSSL or inspect.
BY_TASK = (NEVER - {"tracker.sdk"}) | {
    "click",
    "dataclasses",
    "hashlib",
    "inspect",
    "objstore.store",
    "pathlib",
    "secrets",
    "sqlite3",
    "tempfile",
    "tracker.sdk.models",
    "tracker.workspace",
    "uuid",
    "zstandard",
}


def loaded(cli: Cli, statement: str) -> set[str]:
    """The modules that a statement adds to those of the bare interpreter."""
    script = f"import sys; bare = set(sys.modules); {statement}; print(*(set(sys.modules) - bare))"
    return set(cli.python(script).out.splitlines()[-1].split())


@pytest.mark.parametrize(
    ("statement", "heavy"),
    [("import tracker", BY_TASK | {"tracker.sdk"}), ("from tracker import Task", BY_TASK)],
    ids=["package", "Task"],
)
def test_an_import_loads_no_heavy_module(cli: Cli, statement: str, heavy: set[str]) -> None:
    """The budget of the import is 30 ms, which any one of these may use up."""
    modules = loaded(cli, statement)
    assert "tracker" in modules
    assert heavy & modules == set()


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [(["--version"], BY_TASK | {"tracker.sdk"}), (["ls"], NEVER - {"rich"}), (["ls", "--json"], NEVER)],
    ids=["version", "table", "json"],
)
def test_a_command_loads_no_heavy_module(sample: Sample, arguments: list[str], heavy: set[str]) -> None:
    """A listing reads its index: it needs neither frames nor what records a run, and rich only to draw a table."""
    modules = loaded(sample.cli, f"from tracker.cli.main import main; main({arguments!r})")
    assert "tracker.cli.main" in modules
    assert heavy & modules == set()
