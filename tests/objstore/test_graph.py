"""What reaches what: nothing that a head needs is left out, and a walk over damaged or hostile objects ends."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from objstore import files, layout
from objstore.errors import Corrupt, NotFound
from objstore.frame import encode, encode_list
from objstore.graph import Node, closure, edges
from objstore.ids import Kind, ObjectId, hash_object
from objstore.pack import PackWriter
from objstore.records import ChunkList, Commit, Mode, Tree, TreeEntry
from objstore.store import Store

KEY = "0123456789abcdef0123456789abcdef"
NOISE = random.Random(3).randbytes(9 * layout.MIB)


def put_commit(store: Store, state: ObjectId, parents: tuple[ObjectId, ...] = (), cut: int = 0) -> Node:
    """A commit of a tree, as a node."""
    with store.begin() as transaction:
        commit = Commit(KEY, ("t", "p", "n"), parents, 1, 1, state, {}, cut=cut)
        return Kind.COMMIT, transaction.commit(commit)


def put_tree(store: Store, **content: bytes) -> ObjectId:
    """A tree of files."""
    with store.begin() as transaction:
        entries = [TreeEntry(n, Mode.FILE, transaction.put_bytes(c), len(c)) for n, c in content.items()]
        return files.put_tree(transaction, entries)[0]


def blob(content: bytes) -> Node:
    """A blob, as a node."""
    return Kind.BLOB, hash_object(Kind.BLOB, content)


def test_a_commit_reaches_its_state_its_history_and_every_chunk(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trees, blobs, the pages and chunks of large ones, and parents with all that they reach; each once."""
    for name, value in (("LIST_PAGE_MAX", 16), ("PAGE_MIN", 4), ("PAGE_MASK", 7)):
        monkeypatch.setattr(layout, name, value)
    old = put_commit(store, put_tree(store, a=b"old"))
    state = put_tree(store, large=NOISE, small=b"small")
    new = put_commit(store, state, (old[1],))
    found = list(closure(store.objects, [new]))
    assert len(found) == len(set(found))
    assert found[0] == new
    every = {
        (footer.kind(entry), entry.id)
        for footer in dict(store.objects.footers()).values()
        for entry in footer.objects
    }
    assert set(found) == every
    assert {blob(b"small"), blob(NOISE), blob(b"old"), old, (Kind.TREE, state)} <= every
    assert any(kind is Kind.CHUNKS for kind, _ in every)


def test_what_is_not_reached_is_left_out(store: Store) -> None:
    """The walk begins at the roots that are given, at no other head."""
    put_commit(store, put_tree(store, a=b"one"))
    other = put_commit(store, put_tree(store, a=b"two"))
    assert blob(b"one") not in set(closure(store.objects, [other]))


def test_a_parent_comes_before_what_it_names(store: Store) -> None:
    """So that who copies in the opposite order never has a name without its object."""
    new = put_commit(store, put_tree(store, a=b"x", large=NOISE))
    found = list(closure(store.objects, [new]))
    for number, node in enumerate(found):
        for child in edges(store.objects, node):
            assert found.index(child) > number


def test_edges_of_a_blob_are_those_of_all_its_copies(store: Store) -> None:
    """A blob stored as two lists needs the chunks of both: either may be read."""
    object_id = put_tree(store, large=NOISE)
    halves = [NOISE[:5000], NOISE[5000:]]
    writer = PackWriter(store.root / "tmp" / "x")
    listing = ChunkList(0, tuple((hash_object(Kind.BLOB, h), len(h)) for h in halves[:1] * 2))
    writer.add(*encode_list(listing.encode(), 10_000), [(blob(NOISE)[1], 10_000)])
    writer.add(*encode(Kind.BLOB, halves[0]), [(listing.items[0])])
    pack_id, footer = writer.finish()
    target = store.root / layout.pack_path(pack_id)
    target.parent.mkdir(exist_ok=True)
    writer.path.rename(target)
    store.objects.add(pack_id, footer)
    below = edges(store.objects, blob(NOISE))
    assert blob(halves[0]) in below
    assert len(below) > 30
    assert edges(store.objects, (Kind.TREE, object_id)) == [blob(NOISE)]


def test_a_missing_object_is_an_error_or_is_told(store: Store) -> None:
    """Raised when nobody asks for what is missing, else listed while the walk goes on."""
    gone = ObjectId(b"\x01" * 32)
    with store.begin() as transaction:
        here = transaction.put_bytes(b"here")
        entries = [TreeEntry("a", Mode.FILE, gone, 1), TreeEntry("b", Mode.FILE, here, 4)]
        state, _ = files.put_tree(transaction, entries)
    new = put_commit(store, state)
    with pytest.raises(NotFound, match=str(gone)):
        list(closure(store.objects, [new]))
    missing: list[Node] = []
    assert (Kind.BLOB, here) in set(closure(store.objects, [new], missing))
    assert missing == [(Kind.BLOB, gone)]


def test_an_object_of_another_kind_counts_as_missing(store: Store) -> None:
    """A tree where a blob is named, and the reverse."""
    tree = put_tree(store, a=b"x")
    for mode, named, kind in ((Mode.FILE, tree, Kind.BLOB), (Mode.TREE, blob(b"x")[1], Kind.TREE)):
        with store.begin() as transaction:
            state, _ = files.put_tree(transaction, [TreeEntry("e", mode, named, 1)])
        missing: list[Node] = []
        list(closure(store.objects, [put_commit(store, state)], missing))
        assert missing == [(kind, named)]
        with pytest.raises(Corrupt):
            list(closure(store.objects, [(Kind.TREE, state)]))


def test_history_that_was_cut_off_may_be_absent(store: Store) -> None:
    """A parent that is not there is no fault once the commit says that history was cut."""
    state = put_tree(store, a=b"x")
    gone = ObjectId(b"\x02" * 32)
    missing: list[Node] = []
    list(closure(store.objects, [put_commit(store, state, (gone,))], missing))
    assert missing == [(Kind.COMMIT, gone)]
    assert len(list(closure(store.objects, [put_commit(store, state, (gone,), cut=5)]))) == 3
    old = put_commit(store, put_tree(store, b=b"y"))
    assert old in set(closure(store.objects, [put_commit(store, state, (old[1],), cut=5)]))


def test_deep_and_repeated_trees_are_walked_in_a_line(store: Store) -> None:
    """Ten thousand levels need no recursion; levels that name each other twice are seen once each."""
    with store.begin() as transaction:
        tree, _ = files.put_tree(transaction, [])
        for _ in range(10_000):
            tree = transaction.put(Kind.TREE, Tree((TreeEntry("d", Mode.TREE, tree, 0),)).encode())
        for _ in range(100):
            twice = (TreeEntry("a", Mode.TREE, tree, 0), TreeEntry("b", Mode.TREE, tree, 0))
            tree = transaction.put(Kind.TREE, Tree(twice).encode())
    assert len(list(closure(store.objects, [(Kind.TREE, tree)]))) == 10_101


def test_packs_that_are_merged_during_a_walk_do_not_end_it(store: Store) -> None:
    """What has moved to another pack is found there."""
    new = put_commit(store, put_tree(store, large=NOISE, small=b"x"))
    walk = closure(store.objects, [new])
    found = [next(walk)]
    writer = PackWriter(store.root / "tmp" / "merged")
    old = list(store.objects.footers())
    for pack_id, footer in old:
        data = (store.root / layout.pack_path(pack_id)).read_bytes()
        for number, frame in enumerate(footer.frames):
            stored = data[frame.offset + 24 : frame.offset + frame.size]
            members = sorted((o for o in footer.objects if o.frame == number), key=lambda o: o.offset)
            writer.add(frame.header, stored, [(o.id, o.size) for o in members])
    merged, _ = writer.finish()
    target = Path(store.root / layout.pack_path(merged))
    target.parent.mkdir(exist_ok=True)
    writer.path.rename(target)
    for pack_id, _ in old:
        os.unlink(store.root / layout.pack_path(pack_id))
    store.objects.close()
    found += walk
    assert {new, blob(NOISE), blob(b"x")} <= set(found)
