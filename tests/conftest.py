"""The ground all tests stand on: a home of their own, no variables of a store, task or cluster job, no deadline.

Set before any test module is imported, because libraries read the home and git's settings when they are.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

CHECKOUT = Path(__file__).resolve().parent.parent
FOREIGN = ("TRACKER_", "CLEARML_", "SLURM_", "TORCHELASTIC_", "XDG_", "GIT_")
OUTER = pytest.StashKey[dict[str, str]]()
HOME = pytest.StashKey[Path]()

# Two busy cores make a deadline a matter of luck.
settings.register_profile("repository", deadline=None, print_blob=True)
settings.load_profile("repository")


def pytest_configure(config: pytest.Config) -> None:
    """Move this process, and all that it starts, into a home of the session's own."""
    home = Path(tempfile.mkdtemp(prefix="tracker-tests-home-"))
    config.stash[OUTER] = dict(os.environ)
    config.stash[HOME] = home
    for name in [name for name in os.environ if name.startswith(FOREIGN)]:
        del os.environ[name]
    os.environ.update(HOME=str(home), GIT_CONFIG_NOSYSTEM="1", GIT_CONFIG_GLOBAL=os.devnull)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Give the variables back and remove the home."""
    os.environ.clear()
    outer = config.stash[OUTER]
    os.environ.update(outer)
    shutil.rmtree(config.stash[HOME], ignore_errors=True)


@pytest.fixture(scope="session")
def outer_environment(pytestconfig: pytest.Config) -> dict[str, str]:
    """The variables that pytest was started with: what an installer needs to find its cache and settings."""
    return pytestconfig.stash[OUTER].copy()


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The folder that holds pyproject.toml."""
    return CHECKOUT


@pytest.fixture(scope="session", autouse=True)
def no_store_in_the_checkout() -> Iterator[None]:
    """Fail the session when a test recorded into the checkout, because it forgot to go to a folder of its own."""
    store = CHECKOUT / ".tracker"
    there_before = store.exists()
    yield
    assert there_before or not store.exists(), (
        f"a test made {store}: it should have changed to tmp_path first"
    )
