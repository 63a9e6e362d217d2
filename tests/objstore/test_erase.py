"""Objects are taken out of a store for good: what else lies beside them stays, and nothing that is needed ever goes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from objstore import files, layout, trash
from objstore.disclaim import Claims, publish_table
from objstore.errors import Conflict, Corrupt, ReadOnly, StoreError
from objstore.gc import Relations, erase
from objstore.gc import erasing as module
from objstore.heads import Heads, Table
from objstore.ids import Kind, ObjectId
from objstore.objects import Objects
from objstore.records import Commit, Mode, TreeEntry
from objstore.remotes.folder import FolderRemote
from objstore.store import Store


def put(store: Store, key: str, contents: list[bytes]) -> list[ObjectId]:
    """A head whose state is a folder of these contents; returns their ids."""
    with store.begin() as transaction:
        ids = [transaction.put_bytes(content) for content in contents]
        entries = [
            TreeEntry(str(n), Mode.FILE, i, len(c))
            for n, (i, c) in enumerate(zip(ids, contents, strict=True))
        ]
        tree, _ = files.put_tree(transaction, entries)
        transaction.commit(Commit(key * 32, ("task", "p", key), (), 1, 1, tree, {key: 1}))
    return ids


def loose(store: Store, *contents: bytes) -> list[ObjectId]:
    """Contents that nothing names, in one pack."""
    with store.begin() as transaction:
        return [transaction.put_bytes(content) for content in contents]


def packed(root: Path) -> set[ObjectId]:
    """All objects in packs and in the trash."""
    inventory = Relations(root).inventory
    return {inventory.id(number) for number in range(inventory.count)}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store.create(tmp_path / "store")


def test_neighbours_in_a_pack_survive(store: Store) -> None:
    """Those in the same compressed group, byte for byte; the old pack is nowhere, not even in the trash."""
    gone, kept = loose(store, b"secret " * 100, b"neighbour " * 100)
    (old,) = store.root.rglob("*.pack")
    done = erase(store.root, [gone])
    assert done.deleted.files == 1
    assert not old.exists()
    assert packed(store.root) == {kept}
    assert Objects(store.root).read(kept) == b"neighbour " * 100
    assert not any(path.is_file() for path in (store.root / layout.TRASH).rglob("*"))


def test_what_a_head_needs_stays(store: Store) -> None:
    """It is said that it does, and the rest of what was asked for goes."""
    (needed,) = put(store, "a", [b"needed"])
    (gone,) = loose(store, b"not needed")
    done = erase(store.root, [needed, gone])
    assert done.needed == {needed}
    assert needed in packed(store.root)
    assert gone not in packed(store.root)


def test_what_a_root_needs_stays(store: Store) -> None:
    """Roots that the caller names, as journals are, keep what they reach."""
    (needed,) = loose(store, b"in a journal")
    assert erase(store.root, [needed], roots=lambda: [(Kind.BLOB, needed)]).needed == {needed}
    assert needed in packed(store.root)


def test_what_a_restore_would_bring_back_stays(store: Store) -> None:
    """Of a deleted thing, whether its deletion was asked for here or not: its state, and that of its parents."""
    (shared,) = put(store, "a", [b"shared"])
    (head,) = store.heads.of("a" * 32)
    with store.begin() as transaction:
        covers = {"a": 1, "b": 1}
        commit = Commit("a" * 32, ("task", "p", "a"), (head.id,), 2, 2, head.commit.state, covers, 2, True)
        transaction.commit(commit)
    assert erase(store.root, [shared]).needed == {shared}
    assert shared in packed(store.root)


def test_copies_in_the_trash_go(store: Store) -> None:
    """One in packs/, one that was set aside; what only the trash still has beside it is kept."""
    gone, kept = loose(store, b"secret " * 100, b"set aside " * 100)
    (pack,) = store.root.rglob("*.pack")
    name = os.path.relpath(pack, store.root)
    data = pack.read_bytes()
    trash.set_aside(store.root, name, 1000)
    pack.write_bytes(data)
    trash.set_aside(store.root, name, 2000)
    erase(store.root, [gone])
    assert packed(store.root) == {kept}
    assert not list((store.root / layout.TRASH).rglob("*.pack"))


def test_a_claim_follows_the_new_pack(store: Store) -> None:
    """Where tables claim packs, as in a folder that is a remote: the old one no more, the one in its place instead."""
    ids = put(store, "a", [b"kept " * 100])
    gone, _ = loose(store, b"secret " * 100, b"other " * 100)
    heads = Heads(store.root)
    footers = {pack_id: footer.encode() for pack_id, footer in store.objects.footers()}
    publish_table(store.root, Table(tuple(h for several in heads.all().values() for h in several), footers))
    erase(store.root, [gone])
    claimed = Claims.of(Heads(store.root).tables())
    here = {path.stem for path in (store.root / layout.PACKS).rglob("*.pack")}
    assert claimed.packs() == here
    assert len(claimed.given_up()) == 1
    assert ids[0] in packed(store.root)


def test_somebody_who_comes_to_need_it_has_it_back(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A head that is published between the look at the roots and the deletion: all is put back, and it is said."""
    content = b"secret " * 100
    (gone,) = loose(store, content)
    give_up = module._Erasure._give_up

    def published_meanwhile(self: object, *given: object) -> None:
        give_up(self, *given)  # type: ignore[arg-type]  # as it was called
        put(Store.open(store.root), "b", [content])

    monkeypatch.setattr(module._Erasure, "_give_up", published_meanwhile)
    with pytest.raises(Conflict, match="meanwhile"):
        erase(store.root, [gone])
    assert Objects(store.root).read(gone) == content
    assert Store.open(store.root).fsck().problems == ()


def test_a_damaged_neighbour_stops_it(store: Store) -> None:
    """What it cannot carry over it does not throw away; a pack whose footer cannot be read might hold anything."""
    gone, _ = loose(store, os.urandom(9000), os.urandom(9000))
    (pack,) = store.root.rglob("*.pack")
    data = bytearray(pack.read_bytes())
    sizes = {place.at: place.stored for i in packed(store.root) for place in store.objects.locate(i)}
    (at,) = [place.at for i in packed(store.root) if i != gone for place in store.objects.locate(i)]
    assert len(sizes) == 2
    data[at + 100] ^= 1
    pack.chmod(0o644)
    pack.write_bytes(data)
    with pytest.raises(Corrupt, match="fsck --heal"):
        erase(store.root, [gone])
    assert pack.exists()
    data[-20] ^= 1
    pack.write_bytes(data)
    with pytest.raises(Corrupt, match="fsck --heal"):
        erase(store.root, [gone])
    assert pack.exists()


def test_a_missing_object_stops_it(store: Store) -> None:
    """Nobody knows then what is needed."""
    put(store, "a", [b"needed"])
    (pack,) = store.root.rglob("*.pack")
    (gone,) = loose(store, b"secret")
    pack.rename(store.root / "elsewhere")
    with pytest.raises(StoreError, match="nothing was erased"):
        erase(store.root, [gone])
    (store.root / "elsewhere").rename(pack)
    assert gone in packed(store.root)


def test_files_that_nobody_can_read_go(store: Store) -> None:
    """Damaged ones that fsck --heal has moved to the trash: nothing reads them again, and they may hold it."""
    aside = store.root / layout.TRASH / "1000" / "damaged" / "packs" / "x.pack"
    aside.parent.mkdir(parents=True)
    aside.write_bytes(b"perhaps the secret")
    (gone,) = loose(store, b"secret")
    erase(store.root, [gone])
    assert not aside.exists()


def test_a_store_that_may_not_be_written_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is looked at."""
    (gone,) = loose(store, b"secret")
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    with pytest.raises(ReadOnly):
        erase(store.root, [gone])


def test_what_names_others_goes_last(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that, killed between two deletions, what is left can still be found by what was asked for."""
    pairs = []
    for n in range(32):  # they are listed in the order of their hashes: some lie either way
        content = f"secret {n} ".encode() * 50
        (blob,) = loose(store, content)
        with store.begin() as transaction:
            tree, _ = files.put_tree(transaction, [TreeEntry("x", Mode.FILE, blob, len(content))])
        pairs.append((tree, blob))
    delete, left = module._Erasure._delete, [32]

    def dying(self: object, file: object) -> object:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return delete(self, file)  # type: ignore[arg-type]  # as it was called

    monkeypatch.setattr(module._Erasure, "_delete", dying)
    with pytest.raises(KeyboardInterrupt):
        erase(store.root, [each for pair in pairs for each in pair])
    here = packed(store.root)
    assert len(here) == 32
    assert [blob for tree, blob in pairs if blob in here and tree not in here] == []


def test_what_was_purged_does_not_come_along_with_a_neighbour(tmp_path: Path) -> None:
    """From a remote that has both in one frame: only what a head reaches is taken, where the puller says what not."""
    remote = Store.create(tmp_path / "remote")
    with remote.begin() as transaction:
        secret = transaction.put_bytes(b"secret " * 100)
        wanted = transaction.put_bytes(b"wanted " * 100)
        tree, _ = files.put_tree(transaction, [TreeEntry("x", Mode.FILE, wanted, 700)])
        transaction.commit(Commit("a" * 32, ("task", "p", "a"), (), 1, 1, tree, {"a": 1}))
    careless = Store.create(tmp_path / "careless")
    careless.pull(FolderRemote(remote.root))
    assert secret in packed(careless.root)  # it does lie beside it
    careful = Store.create(tmp_path / "careful")
    careful.pull(FolderRemote(remote.root), without=[secret])
    assert secret not in packed(careful.root)
    assert Objects(careful.root).read(wanted) == b"wanted " * 100
    assert careful.fsck().problems == ()
