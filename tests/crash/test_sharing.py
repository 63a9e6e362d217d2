"""Several users at one store: a shared group, a strict umask, another user's files. Takes root; else it is skipped."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from objstore.errors import ReadOnly, StoreError
from objstore.ids import Kind
from objstore.store import Store
from tests.crash import steps
from tests.crash.driver import forked

ALICE, BOB, TEAM, OTHERS = 61_001, 61_002, 61_100, 61_101


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that everybody may reach, for stores."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("to become other users takes root on Linux")
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to other users
        os.chmod(folder, 0o755)
        warm = (
            Path(folder) / "warm"
        )  # whatever is imported late: other users may not look into this one's Python
        saved(warm, "one")
        Store.open(warm).gc(grace=0)
        Store.open(warm).tidy()
        assert Store.open(warm).fsck().clean
        shared = Path(folder) / "shared"
        shared.mkdir()
        os.chown(shared, ALICE, TEAM)
        shared.chmod(0o2775)  # what is made in it belongs to the team
        yield shared


def as_user(user: int, group: int, umask: int, action: Callable[[], str]) -> str:
    """What a process of another user returns, or the error it got."""

    def become() -> None:
        os.setgroups([group])
        os.setgid(group)
        os.setuid(user)
        os.umask(umask)
        try:
            said = action()
        except (StoreError, OSError) as error:
            said = f"{type(error).__name__}: {error}"
        os.write(1, said.encode())

    return forked(become)[1].decode()


def saved(root: Path, name: str) -> str:
    """Store something."""
    steps.save(Store.create(root), name)
    return "saved"


def seen(root: Path) -> str:
    """The names of what is there, each read."""
    store = Store.open(root)
    names = []
    for heads in store.heads.live().values():
        for head in heads:
            store.objects.read(head.commit.state, kind=Kind.TREE)
            names.append(head.commit.path[-1])
    return " ".join(sorted(names))


def test_a_team_shares_a_store(place: Path) -> None:
    """Two users of one group, umask 002, in a folder of the group: both write, both read, gc and tidy work for both."""
    root = place / "store"
    assert as_user(ALICE, TEAM, 0o002, lambda: saved(root, "one")) == "saved"
    assert as_user(BOB, TEAM, 0o002, lambda: saved(root, "two")) == "saved"
    assert as_user(ALICE, TEAM, 0o002, lambda: saved(root, "three")) == "saved"
    assert as_user(BOB, TEAM, 0o002, lambda: seen(root)) == "one three two"
    assert as_user(BOB, TEAM, 0o002, lambda: Store.open(root).gc(grace=0).refused) == ""
    assert as_user(ALICE, TEAM, 0o002, lambda: str(Store.open(root).tidy() and "")) == ""
    assert as_user(ALICE, TEAM, 0o002, lambda: seen(root)) == "one three two"
    assert Store.open(root).fsck().clean


def test_what_a_strict_umask_made_is_for_its_owner_alone(place: Path) -> None:
    """Nobody else can even open the store, and is told so; the owner can."""
    root = place / "store"
    assert as_user(ALICE, TEAM, 0o077, lambda: saved(root, "one")) == "saved"
    for path in (root, *root.rglob("*")):
        assert path.stat().st_mode & 0o007 == 0, path
    assert as_user(ALICE, TEAM, 0o077, lambda: seen(root)) == "one"
    assert "Permission denied" in as_user(BOB, OTHERS, 0o022, lambda: seen(root))


def test_a_user_who_may_only_read_is_told_so(place: Path) -> None:
    """Reading works, also with content that has to be looked for; writing is one clear error and changes nothing."""
    root = place / "store"
    assert as_user(ALICE, TEAM, 0o022, lambda: saved(root, "one")) == "saved"
    before = sorted(path for path in root.rglob("*"))
    assert as_user(BOB, OTHERS, 0o022, lambda: seen(root)) == "one"
    assert as_user(BOB, OTHERS, 0o022, lambda: saved(root, "two")).startswith(ReadOnly.__name__)
    assert as_user(BOB, OTHERS, 0o022, lambda: str(Store.open(root).fsck().clean)) == "True"
    assert sorted(path for path in root.rglob("*")) == before


def test_a_folder_that_a_user_of_the_group_cannot_write_is_a_clear_error(place: Path) -> None:
    """Made with umask 022: the group may read. The second user is told which folder it is, and nothing is lost."""
    root = place / "store"
    assert as_user(ALICE, TEAM, 0o022, lambda: saved(root, "one")) == "saved"
    said = as_user(BOB, TEAM, 0o002, lambda: saved(root, "two"))
    assert said.startswith((ReadOnly.__name__, "PermissionError"))
    assert str(root) in said
    assert as_user(BOB, TEAM, 0o002, lambda: seen(root)) == "one"
    assert Store.open(root).fsck().clean
