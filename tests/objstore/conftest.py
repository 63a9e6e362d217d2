"""What the store's tests share: a fresh store, and a way to put a small commit into one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from objstore import files
from objstore.ids import ObjectId
from objstore.records import Commit, Mode, TreeEntry
from objstore.store import Store

KEY = "0123456789abcdef0123456789abcdef"
Save = Callable[..., Commit]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A fresh store."""
    made = Store.create(tmp_path / "store")
    yield made
    made.close()


def put(
    store: Store,
    content: Mapping[str, bytes],
    *,
    key: str = KEY,
    path: tuple[str, ...] = ("task", "project", "name"),
    covers: Mapping[str, int] | None = None,
    parents: tuple[ObjectId, ...] = (),
) -> Commit:
    """Store files as one tree, and make a commit of it the newest head of a key."""
    with store.begin() as transaction:
        entries = [
            TreeEntry(name, Mode.FILE, transaction.put_bytes(data), len(data))
            for name, data in content.items()
        ]
        tree, _ = files.put_tree(transaction, entries)
        generation = 1 + len(parents)
        commit = Commit(key, path, parents, generation, 1, tree, covers or {"writer": generation})
        transaction.commit(commit)
    return commit


@pytest.fixture
def save() -> Save:
    """A function that stores files as one tree and makes a commit of it the newest head of a key."""
    return put
