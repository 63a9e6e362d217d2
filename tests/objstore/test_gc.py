"""What a collector takes away, and above all what it does not."""

from __future__ import annotations

import os
import random
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from objstore import files, layout, trash
from objstore.errors import NotFound
from objstore.frame import encode
from objstore.gc import GcReport
from objstore.heads import Table
from objstore.ids import Kind, ObjectId, hash_bytes, hash_object
from objstore.inventory import pack_files
from objstore.pack import PackWriter
from objstore.publish import publish_pack, temporary
from objstore.records import Commit, Mode, Tree, TreeEntry
from objstore.store import Store

if TYPE_CHECKING:
    from tests.objstore.conftest import Save

DAY = 86_400
OTHER = "f" * 32


def noise(size: int, seed: int = 1) -> bytes:
    """Bytes that nothing compresses."""
    return random.Random(seed).randbytes(size)


def put(store: Store, data: bytes) -> ObjectId:
    """Store a blob that nothing names."""
    with store.begin() as transaction:
        return transaction.put_bytes(data)


def age(root: Path, days: float) -> None:
    """Let the store be as old as if it had been written `days` ago, where mtime is believed.

    ctime cannot be set, so a test of age moves the clock instead; see `later`.
    """
    for path in (root / layout.PACKS).rglob("*.pack"):
        os.utime(path, (time.time() - days * DAY,) * 2)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that lets the file system's clock be `days` ahead for the collector."""
    from objstore.gc import collecting
    from objstore.leftovers import clock as real

    def ahead(days: float) -> None:
        monkeypatch.setattr(
            collecting, "clock", lambda root, *, dry_run: real(root, dry_run=dry_run) + days * DAY
        )

    return ahead


def packs(root: Path) -> set[str]:
    """The ids of the packs in packs/."""
    return {file.id for file in pack_files(root) if file.epoch is None}


def in_trash(root: Path) -> set[str]:
    """The ids of the packs in the trash."""
    return {file.id for file in pack_files(root) if file.epoch is not None}


def twice(store: Store) -> GcReport:
    """Two runs with no grace: what returns the space."""
    assert not store.gc(grace=0).refused
    return store.gc(grace=0)


def test_what_nothing_names_is_set_aside_and_a_later_run_deletes_it(
    store: Store, save: Save, later: Any
) -> None:
    """The grace counts twice: before the trash and in it."""
    save(store, {"kept": b"kept"})
    before = packs(store.root)
    put(store, noise(5000))
    (orphan,) = packs(store.root) - before
    assert store.gc().aside.files == 0
    later(13.9)
    assert store.gc().aside.files == 0
    later(14.1)
    report = store.gc()
    assert (report.aside.files, report.deleted.files, report.waiting.files) == (1, 0, 1)
    assert (packs(store.root), in_trash(store.root)) == (before, {orphan})
    later(28)
    assert store.gc().deleted.files == 0
    later(28.3)
    report = store.gc()
    assert (report.deleted.files, report.waiting.files) == (1, 0)
    assert report.deleted.size > 5000
    assert not in_trash(store.root)
    assert packs(store.root) == before
    assert os.listdir(store.root / "trash") == []
    assert store.fsck().clean


def test_everything_that_a_head_reaches_stays(
    store: Store, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parents, folders, a large file's pages and chunks, and heads that only a table has."""
    monkeypatch.setattr(layout, "BLOB_MAX", 1 << 20)
    monkeypatch.setattr(layout, "LIST_PAGE_MAX", 4)
    monkeypatch.setattr(layout, "PAGE_MIN", 2)
    first = save(store, {"old": noise(3000, 2)})
    save(store, {"large": noise(3 << 20), "small": b"x"}, parents=(first.id,))
    tabled = save(store, {"tabled": noise(3000, 3)}, key=OTHER)
    (head,) = store.heads.of(OTHER)
    data = Table((head,)).encode()
    store.publish_bytes(layout.table_path(hash_bytes(data).hex()), data)
    (store.root / head.where).unlink()
    before = {path.name: path.read_bytes() for path in store.root.rglob("*.pack")}
    report = twice(store)
    assert (report.aside.files, report.rewritten.files, report.deleted.files) == (0, 0, 0)
    assert {path.name: path.read_bytes() for path in store.root.rglob("*.pack")} == before
    assert store.fsck().clean
    assert store.heads.of(OTHER)[0].id == tabled.id


def test_young_things_keep_the_old_ones_that_they_name(store: Store, later: Any) -> None:
    """A tree that no head names yet may be about to get one; its child is older than the grace."""
    child = put(store, noise(3000))
    (old,) = packs(store.root)
    os.utime(store.root / layout.pack_path(old))
    later(20)
    with store.begin() as transaction:
        tree, _ = files.put_tree(transaction, [TreeEntry("child", Mode.FILE, child, 3000)])
    (young,) = packs(store.root) - {old}
    ahead = time.time() + 10 * DAY  # as seen from the collector's clock: ten days old
    os.utime(store.root / layout.pack_path(young), (ahead, ahead))
    assert store.gc().aside.files == 0
    assert packs(store.root) == {old, young}
    assert Store.open(store.root).objects.read(child) == noise(3000)
    later(30)
    assert store.gc().aside.files == 2
    assert tree


def test_a_pack_in_the_trash_that_a_head_needs_is_put_back(store: Store, save: Save) -> None:
    """Counted in the report; the run that finds it deletes nothing of it."""
    commit = save(store, {"wanted": noise(3000)})
    (pack_id,) = packs(store.root)
    trash.set_aside(store.root, layout.pack_path(pack_id), 1_000_000)
    assert not packs(store.root)
    report = store.gc(grace=0)
    assert (report.put_back.files, report.deleted.files, report.refused) == (1, 0, "")
    assert packs(store.root) == {pack_id}
    assert store.fsck().clean
    assert commit


def test_a_pack_that_is_dead_in_part_is_rewritten(store: Store, save: Save) -> None:
    """The live bytes stay readable, the dead ones go; frames that live whole are copied as they are."""
    with store.begin() as transaction:
        dead = [transaction.put_bytes(b"dead %d" % i * 40) for i in range(50)]
        entries = [
            TreeEntry(f"{i}", Mode.FILE, transaction.put_bytes(b"live %d" % i * 40), 240) for i in range(10)
        ]
        raw = transaction.put_bytes(noise(layout.GROUP_RAW_MAX + 1))
        gone = transaction.put_bytes(noise(layout.GROUP_RAW_MAX + 1, 2))
        entries.append(TreeEntry("raw", Mode.FILE, raw, layout.GROUP_RAW_MAX + 1))
        tree, _ = files.put_tree(transaction, entries)
        transaction.commit(Commit("a" * 32, ("t", "p", "n"), (), 1, 1, tree, {"w": 1}))
    (old,) = packs(store.root)
    report = store.gc(grace=0)
    assert (report.rewritten.files, report.aside.files) == (1, 1)
    assert report.rewritten.size > layout.GROUP_RAW_MAX
    (new,) = packs(store.root)
    assert new != old
    fresh = Store.open(store.root)
    assert fresh.fsck().clean
    assert fresh.objects.read(raw) == noise(layout.GROUP_RAW_MAX + 1)
    assert not fresh.objects.has(gone)
    assert not any(map(fresh.objects.has, dead))
    assert [fresh.objects.read(e.id) for e in entries[:10]] == [b"live %d" % i * 40 for i in range(10)]
    assert store.gc(grace=0).rewritten.files == 0


def test_a_pack_is_rewritten_from_a_quarter_of_dead_bytes_on(store: Store, later: Any) -> None:
    """Less is not worth the writing, unless no grace is asked for."""

    def save(share: float, key: str) -> None:
        size = 200_000
        with store.begin() as transaction:
            transaction.put_bytes(noise(int(size * share), 9))
            blob = transaction.put_bytes(noise(size - int(size * share)))
            tree, _ = files.put_tree(transaction, [TreeEntry("f", Mode.FILE, blob, size)])
            transaction.commit(Commit(key, ("t", "p", "n"), (), 1, 1, tree, {"w": 1}))

    save(0.24, "a" * 32)
    later(15)
    assert store.gc().rewritten.files == 0
    save(0.27, "b" * 32)
    assert store.gc().rewritten.files == 1
    assert store.gc(grace=0).rewritten.files == 1
    assert store.fsck().clean


@pytest.mark.parametrize("mixed", [True, False], ids=["in a frame to be encoded anew", "in one to be copied"])
def test_damage_is_not_copied_into_a_new_pack(store: Store, mixed: bool) -> None:
    """The pack stays as it is and is named: fsck can still heal what is sound of it. Nothing is lost meanwhile."""
    with store.begin() as transaction:
        transaction.put_bytes(noise(layout.GROUP_RAW_MAX + 1, 2))
        if mixed:
            transaction.put_bytes(b"dead" * 500)
        blob = transaction.put_bytes(b"live" * 500)
        tree, _ = files.put_tree(transaction, [TreeEntry("f", Mode.FILE, blob, 2000)])
        transaction.commit(Commit("a" * 32, ("t", "p", "n"), (), 1, 1, tree, {"w": 1}))
    (old,) = packs(store.root)
    (place,) = store.objects.locate(blob)
    frame = store.objects.footer(old).frames[place.entry.frame]
    flip(store.root / layout.pack_path(old), frame.offset + frame.size - 1)
    choices: tuple[dict[str, Any], ...] = ({"grace": 0}, {"grace": 0, "now": True})
    for options in choices:
        report = store.gc(**options)
        assert report.rewritten.files == 0
        (problem,) = report.problems
        assert problem.startswith(f"packs/{old[:2]}/{old}.pack cannot be rewritten: ")
        assert packs(store.root) == {old}
    assert os.listdir(store.root / "tmp") == []


# --- refusals --------------------------------------------------------------------------------------------------------


def refuses(store: Store, *said: str) -> None:
    """No file of the store changes, whatever is asked for, and the report says what is wrong and what to do."""
    before = {path: path.stat().st_ino for path in store.root.rglob("*") if path.is_file()}
    choices: tuple[dict[str, Any], ...] = ({}, {"grace": 0}, {"grace": 0, "now": True})
    for options in choices:
        report = store.gc(**options)
        assert report.refused, options
        for text in said:
            assert text in report.refused
        assert report.deleted.files + report.aside.files == 0
    assert {path: path.stat().st_ino for path in store.root.rglob("*") if path.is_file()} == before


@pytest.fixture
def littered(store: Store, save: Save) -> Store:
    """A store with a head, a pack that nothing names, and one in the trash."""
    save(store, {"kept": noise(3000, 7), "more": noise(100)})
    before = packs(store.root)
    put(store, noise(4000, 8))
    (orphan,) = packs(store.root) - before
    trash.set_aside(store.root, layout.pack_path(orphan), 1_000_000)
    put(store, noise(4000, 9))
    return store


def flip(path: Path, at: int) -> None:
    """Damage one byte."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(bytes(data))


def head_pack(store: Store) -> Path:
    """The pack of the one head."""
    ((head,),) = store.heads.live().values()
    (place,) = store.objects.locate(head.id)
    return store.root / layout.pack_path(place.pack_id)


def test_a_damaged_head_stops_everything(littered: Store) -> None:
    """What it reached is not known."""
    (path,) = (path for path in (littered.root / "refs").rglob("*") if path.is_file())
    flip(path, 20)
    refuses(littered, path.name, "fsck --heal")


def test_a_damaged_table_stops_everything(littered: Store) -> None:
    """Even one beside heads that can be read."""
    littered.publish_bytes(layout.table_path("ab" * 32), b"nonsense")
    refuses(littered, "ab" * 32)


def test_a_damaged_footer_stops_everything(littered: Store) -> None:
    """What the pack holds is not known."""
    path = head_pack(littered)
    flip(path, -20)
    refuses(littered, path.stem)


def test_a_damaged_tree_on_the_way_stops_everything(littered: Store) -> None:
    """What it named is not known."""
    path = head_pack(littered)
    ((head,),) = littered.heads.live().values()
    footer = littered.objects.footer(path.stem)
    (place,) = littered.objects.locate(head.commit.state)
    flip(path, footer.frames[place.entry.frame].offset + 30)
    refuses(littered, str(head.commit.state), "fsck --heal")


def test_a_damaged_chunk_list_stops_everything(
    littered: Store, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its chunks are not known."""
    monkeypatch.setattr(layout, "BLOB_MAX", 1 << 20)
    save(littered, {"large": noise(3 << 20)}, key=OTHER)
    large = ObjectId(hash_object(Kind.BLOB, noise(3 << 20)))
    (place,) = littered.objects.locate(large)
    frame = littered.objects.footer(place.pack_id).frames[place.entry.frame]
    path = littered.root / layout.pack_path(place.pack_id)
    sound = path.read_bytes()
    flip(path, frame.offset + frame.size - 20)
    refuses(littered, str(large), "fsck --heal")
    path.write_bytes(sound)
    assert not littered.gc(grace=0).refused


def lie(store: Store, kind: Kind, object_id: ObjectId, content: bytes) -> str:
    """A pack whose footer says of some content, and of more beside it, that it is another object; the pack's id."""
    more = b"dead" * 500
    writer = PackWriter(temporary(store.root))
    header, stored = encode(kind, content + more)
    writer.add(header, stored, [(object_id, len(content)), (hash_object(kind, more), len(more))])
    return publish_pack(store.root, store.objects, writer)


def commit_of(store: Store, tree: ObjectId) -> None:
    """A head with a state that is stored elsewhere."""
    with store.begin() as transaction:
        transaction.commit(Commit(OTHER, ("t", "p", "n"), (), 1, 1, tree, {"w": 1}))


def test_a_tree_that_is_not_what_its_id_says_stops_everything(littered: Store) -> None:
    """Whatever it names, it is not what the right one named."""
    right = ObjectId(hash_object(Kind.TREE, Tree(()).encode()))
    other = Tree((TreeEntry("f", Mode.FILE, ObjectId(b"\4" * 32), 1),)).encode()
    lie(littered, Kind.TREE, right, other)
    commit_of(littered, right)
    refuses(littered, str(right), "fsck --heal")


def test_content_that_is_not_what_its_id_says_is_not_written_anew(store: Store) -> None:
    """Its pack is named and left alone."""
    right = ObjectId(hash_object(Kind.BLOB, b"right" * 400))
    pack_id = lie(store, Kind.BLOB, right, b"wrong" * 400)
    with store.begin() as transaction:
        tree = transaction.put(Kind.TREE, Tree((TreeEntry("f", Mode.FILE, right, 2000),)).encode())
    commit_of(store, tree)
    (problem,) = store.gc(grace=0).problems
    assert pack_id in problem
    assert str(right) in problem
    assert pack_id in packs(store.root)


def test_a_head_that_only_a_covered_table_has_is_kept(store: Store, save: Save) -> None:
    """A table must list what those it covers list; where one does not, nothing is lost by that."""
    save(store, {"kept": noise(3000)})
    ((head,),) = store.heads.live().values()
    older = Table((head,)).encode()
    newer = Table((), covers=(hash_bytes(older).hex(),)).encode()
    for data in (older, newer):
        store.publish_bytes(layout.table_path(hash_bytes(data).hex()), data)
    (store.root / head.where).unlink()
    before = packs(store.root)
    report = twice(Store.open(store.root))
    assert (report.refused, packs(store.root)) == ("", before)


def test_an_absent_object_stops_everything(littered: Store) -> None:
    """The report names it and what reaches it."""
    with littered.begin() as transaction:
        absent = ObjectId(b"\1" * 32)
        tree, _ = files.put_tree(transaction, [TreeEntry("f", Mode.FILE, absent, 1)])
        transaction.commit(Commit(OTHER, ("task", "lost", "one"), (), 1, 1, tree, {"w": 1}))
    refuses(littered, str(absent), "task / lost / one", "fsck --heal")


def test_a_head_without_its_commit_stops_everything(littered: Store) -> None:
    """Its pack has not come yet, or is lost."""
    shutil.move(head_pack(littered), littered.root / "elsewhere")
    refuses(littered, "is missing, which task / project / name needs")


def test_commits_without_any_head_stop_everything(littered: Store) -> None:
    """refs/ was lost, or has not been copied yet."""
    shutil.rmtree(littered.root / "refs")
    refuses(littered, "no head at all")


@pytest.mark.parametrize("name", layout.UNION)
def test_a_file_where_a_folder_belongs_stops_everything(littered: Store, name: str) -> None:
    """An empty listing of it would be taken for an empty store."""
    shutil.rmtree(littered.root / name)
    (littered.root / name).write_bytes(b"")
    refuses(littered)


@pytest.mark.parametrize("part", ["gc", "write"])
def test_an_unknown_feature_stops_everything(littered: Store, part: str) -> None:
    """It may stand for roots of a kind that this version does not know."""
    record = orjson.loads((littered.root / "format").read_bytes())
    record["features"][part] = ["tomorrow"]
    (littered.root / "format").write_bytes(orjson.dumps(record))
    refuses(littered, "tomorrow", "update")


def test_a_root_that_cannot_be_asked_stops_everything(littered: Store) -> None:
    """What the caller's function raises is passed on."""
    before = packs(littered.root), in_trash(littered.root)

    def broken() -> list[Any]:
        raise RuntimeError("no journals today")

    with pytest.raises(RuntimeError, match="no journals today"):
        littered.gc(broken, grace=0)
    assert (packs(littered.root), in_trash(littered.root)) == before


def test_a_root_of_the_callers_is_kept_with_all_that_it_names(store: Store, save: Save) -> None:
    """And one that is not there stops everything."""
    save(store, {"kept": b"kept"})
    blob = put(store, noise(3000))
    with store.begin() as transaction:
        tree, _ = files.put_tree(transaction, [TreeEntry("f", Mode.FILE, blob, 3000)])
    for _ in range(2):
        report = store.gc(lambda: [(Kind.TREE, tree)], grace=0)
        assert report.aside.files == 0
    assert store.objects.read(blob) == noise(3000)
    refused = store.gc(lambda: [(Kind.BLOB, ObjectId(b"\2" * 32))], grace=0).refused
    assert "02" * 32 in refused
    assert "a running task" in refused


# --- deletions -------------------------------------------------------------------------------------------------------


def delete(store: Store, commit: Commit) -> Commit:
    """Make the newest head of the commit's key one that deletes."""
    with store.begin() as transaction:
        covers = {**commit.covers, "w": 99}
        gone = Commit(commit.key, commit.path, (commit.id,), 2, 2, commit.state, covers, cut=2, deleted=True)
        transaction.commit(gone)
    return gone


def test_a_deletion_frees_once_it_is_confirmed_here(store: Store, save: Save) -> None:
    """One that came from elsewhere only hides. Of what is deleted the commit stays."""
    blob = put(store, noise(20_000))
    commit = save(store, {"big": noise(20_000)})
    gone = delete(store, commit)
    twice(store)
    assert Store.open(store.root).objects.read(blob) == noise(20_000)
    trash.confirm(store.root, [str(gone.id)])
    twice(store)
    fresh = Store.open(store.root)
    with pytest.raises(NotFound):
        fresh.objects.read(blob)
    assert [head.id for head in fresh.heads.of(commit.key)] == [gone.id]
    assert fresh.fsck().clean
    assert sum(file.size for file in pack_files(store.root)) < 2000


def test_what_was_deleted_elsewhere_may_be_absent(store: Store, save: Save) -> None:
    """A pull brings the head alone."""
    commit = save(store, {"kept": noise(2000)})
    with store.begin() as transaction:
        absent = ObjectId(b"\3" * 32)
        gone = Commit(OTHER, ("t", "p", "n"), (absent,), 2, 2, absent, {"w": 99}, cut=2, deleted=True)
        transaction.commit(gone)
    assert not twice(store).refused
    assert commit


def test_forgotten_confirmations_are_swept(store: Store, save: Save, later: Any) -> None:
    """Those of commits that are no heads, after an hour: a head may come just after."""
    gone = delete(store, save(store, {"a": b"a"}))
    trash.confirm(store.root, [str(gone.id), "ab" * 32])
    store.gc()
    assert len(trash.confirmed(store.root)) == 2
    later(1)
    store.gc()
    assert trash.confirmed(store.root) == {str(gone.id)}


# --- leftovers -------------------------------------------------------------------------------------------------------


def test_leftovers_are_swept_after_a_day(store: Store, save: Save, later: Any) -> None:
    """Of writers, copiers and the cache; not what is young, and no note of what a remote showed."""
    save(store, {"kept": b"kept"})
    old = [
        "tmp/abc",
        "tmp/folder/x",
        "packs/ab/.rsync.x",
        "refs/l/.a.part",
        "refs.packed/x.part",
        "cache/a.part",
    ]
    for name in [*old, "cache/remotes/x/seen", "cache/stat/ab"]:
        (store.root / name).parent.mkdir(parents=True, exist_ok=True)
        (store.root / name).write_bytes(b"12345")
    assert store.gc().swept.files == 0
    later(1.1)
    assert store.gc().swept.files == 6
    for name in old:
        assert not (store.root / name).exists()
    assert not (store.root / "packs/ab").exists()
    assert not (store.root / "refs/l").exists()
    assert (store.root / "cache/stat/ab").exists()
    later(91)
    assert store.gc().swept.files == 1
    assert not (store.root / "cache/stat/ab").exists()
    assert (store.root / "cache/remotes/x/seen").exists()
    assert store.fsck().clean


def test_journals_in_the_trash_are_deleted_whole_after_the_grace(store: Store, later: Any) -> None:
    """A writer that lives after all moves its journal back before that."""
    folder = store.root / "live" / ("a" * 32) / "writer"
    folder.mkdir(parents=True)
    (folder / "segment.00000001").write_bytes(b"12345")
    assert trash.set_aside(store.root, f"live/{'a' * 32}/writer", int(time.time()))
    assert store.gc().waiting.files == 1
    assert trash.put_back(store.root, f"live/{'a' * 32}/writer")
    assert (folder / "segment.00000001").read_bytes() == b"12345"
    trash.set_aside(store.root, f"live/{'a' * 32}/writer", int(time.time()))
    later(14.1)
    report = store.gc()
    assert (report.deleted.files, report.deleted.size) == (1, 5)
    assert os.listdir(store.root / "trash") == []
    assert os.listdir(store.root / "tmp") == []


# --- now, and without room -------------------------------------------------------------------------------------------


def test_now_deletes_without_the_trash(littered: Store) -> None:
    """What is old enough, and all that lies in the trash."""
    report = littered.gc(now=True)
    assert (report.deleted.files, report.aside.files) == (1, 0)  # the other is younger than the grace
    report = littered.gc(now=True, grace=0)
    assert (report.deleted.files, report.waiting.files) == (1, 0)
    assert littered.fsck().clean
    assert len(packs(littered.root)) == 1


def test_a_dry_run_writes_nothing_and_foresees_what_a_run_does(littered: Store) -> None:
    """Neither a byte nor a time of any file or folder."""

    def state() -> dict[str, tuple[int, int]]:
        return {str(p): (p.stat().st_mtime_ns, p.stat().st_ctime_ns) for p in littered.root.rglob("*")}

    before = state()
    foreseen = littered.gc(grace=0, dry_run=True)
    assert state() == before
    report = littered.gc(grace=0)
    assert (foreseen.aside, foreseen.deleted, foreseen.kept) == (report.aside, report.deleted, report.kept)
    assert foreseen.aside.files == foreseen.deleted.files == 1


def test_two_clocks_that_differ_delete_nothing_live(store: Store, save: Save, later: Any) -> None:
    """Whatever time the collector takes it for, only what nothing needs can go."""
    save(store, {"kept": noise(3000)})
    before = packs(store.root)
    for days in (-2, 2, -400, 400):
        later(days)
        report = store.gc(grace=0)
        assert (report.aside.files, report.deleted.files) == (0, 0)
    assert packs(store.root) == before
