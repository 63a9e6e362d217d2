"""Collections in a folder that is a remote, too; and the last sound copy of what is needed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from objstore import files, layout, trash
from objstore.frame import encode, encode_list
from objstore.gc import GcReport
from objstore.heads import Heads, Table
from objstore.ids import Kind, ObjectId, hash_bytes, hash_object
from objstore.inventory import pack_files
from objstore.pack import PackWriter
from objstore.records import ChunkList, Commit, Mode, TreeEntry
from objstore.remotes.folder import FolderRemote
from objstore.store import Store

if TYPE_CHECKING:
    from tests.objstore.conftest import Save

A, B = "a" * 32, "b" * 32
LARGE = 300_000


def noise(size: int = LARGE, seed: int = 1) -> bytes:
    """Bytes that nothing compresses."""
    return random.Random(seed).randbytes(size)


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[Store]:
    """A folder that is a store and a remote."""
    made = Store.create(tmp_path / "remote")
    yield made
    made.close()


def push(store: Store, remote: Store) -> int:
    """Push into the folder; how many objects were sent."""
    return store.push(FolderRemote(remote.root)).objects


def delete(store: Store, key: str) -> None:
    """Delete what a key stands for, and confirm it."""
    (head,) = store.heads.of(key)
    old = head.commit
    new = replace(old, parents=(head.id,), generation=old.generation + 1, deleted=True, cut=old.stamp)
    with store.begin() as transaction:
        transaction.commit(replace(new, covers={**old.covers, "rm": 1}))
    (head,) = store.heads.of(key)
    trash.confirm(store.root, [str(head.id)])


def free(store: Store, *, now: bool) -> None:
    """Collect what nothing needs, and tidy, as the command does."""
    for _ in range(1 if now else 2):
        report = store.gc(grace=0, now=now)
        assert (report.refused, report.problems) == ("", ())
        store.tidy()


def packs(store: Store) -> set[str]:
    """The ids of the packs in packs/."""
    return {file.id for file in pack_files(store.root) if file.epoch is None}


def claimed(store: Store) -> set[str]:
    """The packs that uncovered tables claim."""
    return {pack_id for table in Heads(store.root).uncovered().values() for pack_id in table.packs}


def dropped(store: Store) -> set[str]:
    """The packs that uncovered tables have given up."""
    return {pack_id for table in Heads(store.root).uncovered().values() for pack_id in table.dropped}


def size(store: Store) -> int:
    """Bytes of packs, in the trash or not."""
    return sum(file.size for file in pack_files(store.root))


def add_table(store: Store, table: Table) -> None:
    """Put a table into the store, as a push does."""
    data = table.encode()
    store.publish_bytes(layout.table_path(hash_bytes(data).hex()), data)


def assert_whole(remote: Store, *wanted: ObjectId) -> None:
    """Nothing is missing there, all claims are true, and these objects can be read."""
    fresh = Store.open(remote.root)
    assert fresh.fsck().clean
    assert claimed(remote) <= packs(remote)
    for object_id in wanted:
        fresh.objects.read(object_id)
    fresh.close()


@pytest.mark.parametrize("now", [True, False])
def test_a_push_sends_again_what_a_collection_of_the_remote_has_deleted(
    store: Store, remote: Store, save: Save, now: bool
) -> None:
    """No table claims it any more, though the pusher remembers one that did."""
    save(store, {"artifact": noise()}, key=A)
    push(store, remote)
    delete(remote, A)
    free(remote, now=now)
    assert size(remote) < LARGE
    save(store, {"artifact": noise()}, key=B)
    assert push(store, remote) >= 3  # the commit, the tree and what the remote gave up
    assert_whole(remote, ObjectId(hash_bytes(noise())))
    assert push(store, remote) == 0


@pytest.mark.parametrize("now", [True, False])
def test_collections_of_a_remote_come_to_an_end(store: Store, remote: Store, save: Save, now: bool) -> None:
    """Two runs return the space of a claimed pack that is dead in part, and a third does nothing."""
    save(store, {"artifact": noise()}, key=A)
    save(store, {"artifact": noise(seed=2)}, key=B)
    push(store, remote)
    before = size(remote)
    delete(remote, A)
    free(remote, now=now)
    assert before - LARGE - 5000 < size(remote) < before - LARGE + 5000
    state = {path: path.stat().st_mtime_ns for path in remote.root.rglob("*") if path.is_file()}
    report = remote.gc(grace=0, now=now)
    remote.tidy()
    assert (report.aside, report.rewritten, report.deleted) == (GcReport().aside,) * 3
    after = {path: path.stat().st_mtime_ns for path in remote.root.rglob("*") if path.is_file()}
    assert {p: t for p, t in after.items() if "cache" not in p.parts} == {
        p: t for p, t in state.items() if "cache" not in p.parts
    }
    assert_whole(remote, ObjectId(hash_bytes(noise(seed=2))))


def test_what_was_written_anew_is_claimed_with_what_stays(store: Store, remote: Store, save: Save) -> None:
    """So the pusher need not send it again; heads of the covered tables are all carried on."""
    save(store, {"artifact": noise()}, key=A)
    kept = save(store, {"artifact": noise(seed=2)}, key=B)
    push(store, remote)
    other = save(store, {"artifact": noise(seed=3)}, key="c" * 32)
    push(store, remote)
    delete(remote, A)
    free(remote, now=False)
    assert claimed(remote) >= {i for i in packs(remote) if remote.objects.footer(i).frames_size > LARGE}
    assert dropped(remote).isdisjoint(packs(remote))
    assert dropped(remote)
    live = {key: [h.id for h in heads] for key, heads in Heads(remote.root).live().items()}
    assert (live[B], live["c" * 32]) == ([kept.id], [other.id])
    note = store.root / layout.CACHE / "remotes"
    for path in note.rglob("proved"):
        path.unlink()
    assert push(store, remote) == 0
    clone = Store.create(store.root.parent / "clone")
    clone.clone(FolderRemote(remote.root))
    assert clone.fsck().clean


@pytest.mark.parametrize("now", [True, False])
def test_claimed_packs_stay_where_no_table_can_be_written(
    store: Store, remote: Store, save: Save, now: bool
) -> None:
    """The report says so; what nobody claims goes all the same."""
    save(store, {"artifact": noise()}, key=A)
    push(store, remote)
    delete(remote, A)
    with remote.begin() as transaction:
        transaction.put_bytes(noise(seed=7))
    before = claimed(remote)
    (remote.root / layout.TMP).rmdir()
    (remote.root / layout.TMP).touch()  # nothing can be made in it
    for _ in range(2):
        report = remote.gc(grace=0, now=now)
        (problem,) = report.problems
        assert "claims stay as they are" in problem
        assert claimed(remote) == before <= packs(remote)
    assert size(remote) < LARGE + 10_000
    (remote.root / layout.TMP).unlink()
    (remote.root / layout.TMP).mkdir()
    free(remote, now=now)
    assert size(remote) < 10_000


def test_a_claimed_pack_in_the_trash_is_not_deleted_before_the_claim(
    store: Store, remote: Store, save: Save
) -> None:
    """However it came there: as long as a table claims it, it can be put back."""
    save(store, {"artifact": noise()}, key=A)
    push(store, remote)
    delete(remote, A)
    (pack_id,) = claimed(remote)
    trash.set_aside(remote.root, layout.pack_path(pack_id), 1000)
    (remote.root / layout.TMP).rmdir()
    (remote.root / layout.TMP).touch()  # nothing can be made in it
    report = remote.gc(grace=0)
    assert (report.deleted.files, report.waiting.files, len(report.problems)) == (0, 1, 1)
    assert list(trash.find(remote.root, layout.pack_path(pack_id)))


def test_a_claim_of_what_is_nowhere_is_given_up(store: Store, remote: Store, save: Save) -> None:
    """As an older collector may have left it."""
    save(store, {"artifact": noise()}, key=A)
    push(store, remote)
    delete(remote, A)
    (pack_id,) = claimed(remote)
    (remote.root / layout.pack_path(pack_id)).unlink()
    assert not remote.gc(grace=0).refused
    assert (claimed(remote), dropped(remote)) == (set(), {pack_id})


def test_a_claim_of_a_push_that_did_not_know_is_not_believed(store: Store, remote: Store, save: Save) -> None:
    """A table that came after the pack had gone claims it anew: another push looks, and sends the content."""
    save(store, {"artifact": noise()}, key=A)
    push(store, remote)
    (old,) = Heads(remote.root).uncovered().values()
    delete(remote, A)
    free(remote, now=False)
    add_table(remote, Table((), old.packs, old.covers))
    assert claimed(remote) - packs(remote) == set(old.packs)
    save(store, {"artifact": noise()}, key=B)
    assert push(store, remote) >= 3
    fresh = Store.open(remote.root)
    assert fresh.fsck().clean
    free(remote, now=False)
    assert_whole(remote)
    clone = Store.create(store.root.parent / "clone")
    clone.clone(FolderRemote(remote.root))
    assert clone.objects.read(ObjectId(hash_bytes(noise()))) == noise()


def test_a_claim_that_came_meanwhile_keeps_its_pack(store: Store, remote: Store, save: Save) -> None:
    """A push whose table comes after the tables were read relies on the pack: it stays."""
    from objstore.disclaim import Claims, disclaim

    save(store, {"artifact": noise()}, key=A)
    push(store, remote)
    heads = Heads(remote.root)
    claims = Claims.of(heads.tables())
    living = [head for several in heads.live().values() for head in several]
    (pack_id,) = claims.packs()
    footer = remote.objects.footer(pack_id).encode()
    save(remote, {"x": b"x"}, key=B)
    add_table(remote, Table(tuple(Heads(remote.root).of(B)), {pack_id: footer}))
    assert disclaim(remote.root, claims, living, [pack_id], {}, 1.0) == {pack_id}
    assert pack_id in claimed(remote)


def test_what_is_needed_again_is_claimed_again(store: Store, remote: Store, save: Save) -> None:
    """A pack that was given up, and that a head needs before it is deleted, is put back and claimed."""
    save(store, {"artifact": noise()}, key=A)
    push(store, remote)
    (head,) = store.heads.of(A)
    first = claimed(remote)
    delete(remote, A)
    remote.gc(grace=0)
    assert claimed(remote).isdisjoint(first)
    again = replace(head.commit, generation=9, covers={**head.commit.covers, "rm": 1, "back": 1})
    with remote.begin() as transaction:
        transaction.commit(again)
    report = remote.gc(grace=0)
    assert (report.put_back.files, report.refused, report.problems) == (1, "", ())
    assert claimed(remote) == first
    assert_whole(remote, ObjectId(hash_bytes(noise())))


# --- the last sound copy ---------------------------------------------------------------------------------------------


def flip(path: Path, at: int) -> None:
    """Damage one byte."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


@pytest.fixture
def rewritten(store: Store, save: Save) -> tuple[Store, str, str]:
    """A store whose one pack was dead in part; its id, and that of the pack that has taken its place."""
    with store.begin() as transaction:
        transaction.put_bytes(noise(seed=7))
        blob = transaction.put_bytes(noise())
        tree, _ = files.put_tree(transaction, [TreeEntry("artifact", Mode.FILE, blob, LARGE)])
        transaction.commit(Commit(A, ("t", "p", "n"), (), 1, 1, tree, {"w": 1}))
    (old,) = packs(store)
    assert store.gc(grace=0).rewritten.files == 1
    (new,) = packs(store)
    assert new != old
    return store, old, new


@pytest.mark.parametrize("now", [True, False])
def test_the_last_sound_copy_is_put_back_and_not_deleted(
    rewritten: tuple[Store, str, str], now: bool
) -> None:
    """The new pack was damaged since it was written: the original in the trash is what there is."""
    store, _, new = rewritten
    flip(store.root / layout.pack_path(new), 1000)
    foreseen = store.gc(grace=0, dry_run=True)
    assert (foreseen.deleted.files, foreseen.put_back.files, len(foreseen.problems)) == (0, 1, 1)
    report = store.gc(grace=0, now=now)
    assert report.put_back.files == 1
    assert ("holds the only sound copy of" in report.problems[0], "fsck --heal" in report.problems[0]) == (
        True,
        True,
    )
    fresh = Store.open(store.root)
    assert fresh.objects.read(ObjectId(hash_bytes(noise()))) == noise()
    for _ in range(2):
        assert not store.gc(grace=0).refused
    assert Store.open(store.root).fsck().clean
    assert packs(store) == {new}  # written anew from what was put back
    assert size(store) < LARGE + 5000


def test_what_was_just_put_back_counts_as_a_copy(rewritten: tuple[Store, str, str]) -> None:
    """Of two in the trash that hold the same, one comes back and the other goes; nothing is damaged."""
    store, _, new = rewritten
    trash.set_aside(store.root, layout.pack_path(new), 1000)
    report = store.gc(grace=0)
    assert (report.put_back.files, report.deleted.files, report.problems) == (1, 1, ())
    assert Store.open(store.root).fsck().clean


def test_a_hidden_pack_is_the_last_sound_copy_no_less(rewritten: tuple[Store, str, str]) -> None:
    """One that was hidden in its folder, since there was no room for the trash."""
    store, old, new = rewritten
    path = store.root / layout.pack_path(old)
    assert trash.put_back(store.root, layout.pack_path(old))
    path.rename(path.with_name(f".{path.name}"))
    flip(store.root / layout.pack_path(new), 1000)
    report = store.gc(grace=0, now=True)
    assert (report.put_back.files, len(report.problems)) == (1, 1)
    assert Store.open(store.root).objects.read(ObjectId(hash_bytes(noise()))) == noise()


def test_nothing_is_deleted_of_what_is_sound_nowhere(rewritten: tuple[Store, str, str]) -> None:
    """Both copies are damaged, each elsewhere perhaps: what can be saved of them is for fsck to say."""
    store, old, new = rewritten
    flip(store.root / layout.pack_path(new), 1000)
    (aside,) = trash.find(store.root, layout.pack_path(old))
    flip(aside, LARGE + 24 + 1000)
    report = store.gc(grace=0)
    assert (report.deleted.files, report.put_back.files, report.waiting.files) == (0, 0, 1)
    assert "every other copy" in report.problems[0]
    assert aside.exists()


def test_a_damaged_pack_keeps_its_own_copy_in_the_trash(rewritten: tuple[Store, str, str]) -> None:
    """It is not written over, since other frames of it may be sound in one of the two only."""
    store, _, new = rewritten
    assert store.gc(grace=0).deleted.files == 1
    copy = store.root / layout.TRASH / "1000" / layout.pack_path(new)
    copy.parent.mkdir(parents=True)
    copy.write_bytes((store.root / layout.pack_path(new)).read_bytes())
    flip(store.root / layout.pack_path(new), 1000)
    report = store.gc(grace=0)
    assert (report.deleted.files, report.put_back.files, report.waiting.files) == (0, 0, 1)
    assert copy.exists()
    store.heal()
    assert Store.open(store.root).objects.read(ObjectId(hash_bytes(noise()))) == noise()


def test_what_is_sound_goes_and_damage_elsewhere_stops_nothing(
    rewritten: tuple[Store, str, str], save: Save
) -> None:
    """Only what is needed and in what is about to be deleted is looked at."""
    store, _, _ = rewritten
    before = packs(store)
    save(store, {"other": noise(seed=3)}, key=B)
    (other,) = packs(store) - before
    flip(store.root / layout.pack_path(other), 1000)
    report = store.gc(grace=0)
    assert (report.deleted.files, report.put_back.files, report.problems) == (1, 0, ())


def plant(store: Store, *rows: tuple[Kind, bytes], listed: tuple[ObjectId, ChunkList] | None = None) -> Path:
    """Put a pack of these objects, and of a blob's chunk list, into a store; returns where it lies."""
    writer = PackWriter(store.root / "tmp" / "planted")
    for kind, raw in rows:
        writer.add(*encode(kind, raw), [(hash_object(kind, raw), len(raw))])
    if listed is not None:
        blob, top = listed
        writer.add(*encode_list(top.encode(), top.size), [(blob, top.size)])
    pack_id, _ = writer.finish()
    path = store.root / layout.pack_path(pack_id)
    path.parent.mkdir(exist_ok=True)
    writer.path.rename(path)
    return path


@pytest.mark.parametrize("where", ["nowhere", "a chunk", "a chunk that is gone", "the page", "the list"])
@pytest.mark.parametrize("aside", [False, True])
def test_a_chunk_list_is_a_sound_copy_only_with_all_that_it_names(
    store: Store, where: str, aside: bool
) -> None:
    """What is whole and about to go stays while a list that stands for it has a chunk or a page that is damaged.

    Whether that list lies in packs/, or in the trash as well.
    """
    parts = [noise(100_000, seed) for seed in range(3)]
    whole = b"".join(parts)
    with store.begin() as transaction:
        blob = transaction.put_bytes(whole)
        tree, _ = files.put_tree(transaction, [TreeEntry("artifact", Mode.FILE, blob, len(whole))])
        transaction.commit(Commit(A, ("t", "p", "n"), (), 1, 1, tree, {"w": 1}))
    (old,) = packs(store)
    (head,) = store.heads.of(A)
    plant(store, (Kind.COMMIT, head.raw), (Kind.TREE, store.objects.read(tree, Kind.TREE)))
    page = ChunkList(0, tuple((hash_object(Kind.BLOB, part), len(part)) for part in parts))
    top = ChunkList(1, ((hash_object(Kind.CHUNKS, page.encode()), page.size),))
    chunks = plant(store, *((Kind.BLOB, part) for part in parts))
    listing = plant(store, (Kind.CHUNKS, page.encode()))
    lists = plant(store, listed=(blob, top))
    if where == "a chunk that is gone":
        chunks.unlink()
        chunks = plant(store, *((Kind.BLOB, part) for part in parts[:2]))
    trash.set_aside(store.root, layout.pack_path(old), 1000)
    if aside:
        trash.set_aside(store.root, str(lists.relative_to(store.root)), 900)
        (lists,) = trash.find(store.root, str(lists.relative_to(store.root)))
    if damaged := {"a chunk": chunks, "the page": listing, "the list": lists}.get(where):
        flip(damaged, 40)
    report = store.gc(grace=0)
    assert bool(report.refused) == (where in ("a chunk that is gone", "the page"))  # then nothing goes
    if report.refused:
        assert list(trash.find(store.root, layout.pack_path(old)))
        return
    fresh = Store.open(store.root)
    assert fresh.objects.read(blob) == whole
    fresh.close()
    back = (store.root / layout.pack_path(old)).exists()
    if where in ("a chunk", "the list"):
        assert back
    elif where == "nowhere" and not aside:
        assert not back
        assert report.deleted.files == 1
