"""Whose pickles are loaded without being asked: those that this user recorded, and no others."""

from __future__ import annotations

import os
import stat
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.scripts import Scripts
from tracker import trust

TASK, OBJECT = "ab" * 16, "cd" * 32


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's config folder, not made yet."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "tracker"


def test_what_was_signed_is_trusted_and_nothing_else(home: Path) -> None:
    """The mark fits one object of one task."""
    mark = trust.sign(TASK, OBJECT)
    assert mark is not None
    assert len(mark) == 64
    assert trust.trusted(TASK, OBJECT, mark)
    assert not trust.trusted("ba" * 16, OBJECT, mark)
    assert not trust.trusted(TASK, "dc" * 32, mark)
    assert not trust.trusted(TASK[:-1], TASK[-1] + OBJECT, mark)


@pytest.mark.parametrize(
    "mark", [None, "", "0" * 64, "é" * 64, "\udcff", 5, b"bytes", ["x"], {"$ref": "x"}, True]
)
def test_mark_of_any_other_sort_is_none(home: Path, mark: Any) -> None:
    """It comes out of a record that anybody may have written: it must not even raise."""
    trust.sign(TASK, OBJECT)
    assert trust.trusted(TASK, OBJECT, mark) is False


def test_key_is_made_once_for_the_users_eyes_only(home: Path) -> None:
    """32 random bytes that neither group nor others may read, and no half-written ones beside it."""
    first = trust.sign(TASK, OBJECT)
    key = home / "key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert len(key.read_bytes()) == 32
    assert [path.name for path in home.iterdir()] == ["key"]
    assert trust.sign(TASK, OBJECT) == first


def test_another_users_key_trusts_nothing(home: Path) -> None:
    """A store that was copied to another account asks there."""
    mark = trust.sign(TASK, OBJECT)
    (home / "key").write_bytes(os.urandom(32))
    assert not trust.trusted(TASK, OBJECT, mark)


def test_asking_makes_no_key(home: Path) -> None:
    """Only who signs needs one."""
    assert not trust.trusted(TASK, OBJECT, "0" * 64)
    assert not home.exists()


def test_damaged_key_is_not_replaced(home: Path) -> None:
    """It is the user's: who overwrites it makes all that was signed untrusted for ever."""
    home.mkdir(parents=True)
    (home / "key").write_bytes(b"short")
    assert trust.sign(TASK, OBJECT) is None
    assert not trust.trusted(TASK, OBJECT, "0" * 64)
    assert (home / "key").read_bytes() == b"short"
    assert [path.name for path in home.iterdir()] == ["key"]


def test_without_a_place_for_the_key_nothing_is_signed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No home, or one that is no folder: no mark and no error."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file" / "config"))
    (tmp_path / "file").write_text("in the way")
    assert trust.sign(TASK, OBJECT) is None
    for name in ("XDG_CONFIG_HOME", "HOME", "USERPROFILE"):
        monkeypatch.delenv(name, raising=False)
    assert trust.sign(TASK, OBJECT) is None
    assert not trust.trusted(TASK, OBJECT, "0" * 64)


def test_many_first_signatures_agree_on_one_key(home: Path) -> None:
    """Ranks that start at once on a new account: whoever loses the race takes the winner's key."""
    with ThreadPoolExecutor(16) as pool:
        marks = set(pool.map(lambda _: trust.sign(TASK, OBJECT), range(64)))
    assert len(marks) == 1
    assert [path.name for path in home.iterdir()] == ["key"]


def test_pickle_of_a_copied_store_asks_elsewhere(tmp_path: Path) -> None:
    """Here it loads; under another account it raises UnsafeArtifact with the way out, and loads when allowed."""
    here = Scripts(tmp_path, XDG_CONFIG_HOME=str(tmp_path / "mine"))
    here.run(
        """
        from tracker import Task
        task = Task.init("trust", "pickles", auto_connect_streams=False)
        task.upload_artifact("object", {1, 2, 3})
        print(sorted(task.artifacts["object"].get()))
        """
    )
    ask = "Task.get_tasks()[0].artifacts['object']"
    assert here.ask(f"answer = sorted({ask}.get())") == [1, 2, 3]
    foreign = here.run(
        f"from tracker import *\n{ask}.get()", code=1, XDG_CONFIG_HOME=str(tmp_path / "theirs")
    )
    assert "UnsafeArtifact" in foreign.err.splitlines()[-1]
    assert "allow_pickle=True" in foreign.err.splitlines()[-1]
    theirs = {"XDG_CONFIG_HOME": str(tmp_path / "theirs")}
    assert here.ask(f"answer = sorted({ask}.get(allow_pickle=True))", **theirs) == [1, 2, 3]
    assert here.ask(f"answer = sorted({ask}.get())", TRACKER_ALLOW_PICKLE="yes", **theirs) == [1, 2, 3]


if sys.platform == "win32":
    pytestmark = pytest.mark.skip(reason="file modes and os.link are POSIX's")
