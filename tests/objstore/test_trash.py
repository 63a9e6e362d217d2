"""The trash: what is set aside comes back whole, newest first, whoever else moves files there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from objstore import layout, trash
from objstore.store import Store

NAME = "packs/ab/one.pack"


def made(store: Store, content: bytes) -> Path:
    """A file of that name."""
    path = store.root / NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_what_was_set_aside_last_comes_back_first(store: Store) -> None:
    """The one of before stays in the trash."""
    for epoch, content in ((5, b"old"), (40, b"new"), (300, b"newest")):
        path = made(store, content)
        assert trash.set_aside(store.root, NAME, epoch)
    assert [found.read_bytes() for found in trash.find(store.root, NAME)] == [b"newest", b"new", b"old"]
    assert trash.put_back(store.root, NAME)
    assert path.read_bytes() == b"newest"


def test_what_is_in_its_place_is_left_there(store: Store) -> None:
    """A file that was written anew is not replaced by the one in the trash."""
    made(store, b"old")
    trash.set_aside(store.root, NAME, 5)
    path = made(store, b"new")
    assert trash.put_back(store.root, NAME)
    assert path.read_bytes() == b"new"


def test_what_another_process_put_back_is_back(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both wanted the same: who came second has it as well."""
    path = made(store, b"content")
    trash.set_aside(store.root, NAME, 5)
    rename = os.rename

    def beaten(source: Path, target: Path) -> None:
        monkeypatch.setattr(os, "rename", rename)
        rename(source, target)
        rename(source, target)

    monkeypatch.setattr(os, "rename", beaten)
    assert trash.put_back(store.root, NAME)
    assert path.read_bytes() == b"content"
    path.unlink()
    assert not trash.put_back(store.root, NAME)


def test_a_folder_that_goes_while_it_is_empty_is_made_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process tidies the trash just then; a source that is gone is told, not sought for ever."""
    path = made(store, b"content")
    rename, left = os.rename, [3]

    def swept(source: Path, target: Path) -> None:
        if left[0]:
            left[0] -= 1
            Path(target).parent.rmdir()
        rename(source, target)

    monkeypatch.setattr(os, "rename", swept)
    assert trash.set_aside(store.root, NAME, 5)
    assert not path.exists()
    assert not trash.set_aside(store.root, NAME, 6)


def test_names_that_are_no_times_are_passed_over(store: Store) -> None:
    """And a store without a trash has nothing in it."""
    (store.root / layout.TRASH / "confirmed").mkdir(parents=True)
    (store.root / layout.TRASH / "20").mkdir()
    (store.root / layout.TRASH / "3").mkdir()
    assert trash.epochs(store.root) == [3, 20]
    assert trash.epochs(store.root / "nowhere") == []
    assert trash.confirmed(store.root / "nowhere") == frozenset()


def test_what_was_never_confirmed_can_be_taken_back(store: Store) -> None:
    """To forget twice is no error."""
    trash.confirm(store.root, ["a" * 64, "b" * 64])
    trash.forget(store.root, ["a" * 64])
    trash.forget(store.root, ["a" * 64, "c" * 64])
    assert trash.confirmed(store.root) == {"b" * 64}
