"""Folding and merging: the files become few, and whatever happens nothing that was readable is lost."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from objstore import files, layout, trash
from objstore.frame import Encoding, encode, encode_list
from objstore.heads import Head, Heads, Table
from objstore.ids import Kind, ObjectId, hash_bytes, hash_object
from objstore.objects import Objects
from objstore.pack import PackWriter
from objstore.publish import encode_group
from objstore.records import ChunkList, Commit
from objstore.remotes import Listed
from objstore.remotes.folder import FolderRemote
from objstore.repack import note, tidying
from objstore.store import Store
from tests.objstore.conftest import KEY, Save

CHILD = Path(__file__).with_name("repack_child.py")
SMALL_BLOB = 100  # bytes; one run's pack is about 1 KB then


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is superfluous goes at once, as if the hour were over."""
    monkeypatch.setattr(layout, "SETTLE", -60.0)


def key(number: int) -> str:
    """A key for a test."""
    return f"{number:032x}"


def fill(store: Store, save: Save, count: int, first: int = 0) -> dict[str, Commit]:
    """Make so many runs, each a pack and a head; returns their commits by key."""
    made = {}
    for n in range(first, first + count):
        content = {
            "data": f"run {n}\n".encode() * 9,
            "shared": b"the same in all",
            "more": bytes([n % 251]) * 200,
        }
        made[key(n)] = save(store, content, key=key(n), path=("task", f"p{n % 3}", f"run {n}"))
    return made


def names(store: Store, *folders: str) -> list[str]:
    """The files below some folders of a store."""
    found = [path for folder in folders for path in (store.root / folder).rglob("*") if path.is_file()]
    return sorted(path.relative_to(store.root).as_posix() for path in found)


def packs(store: Store) -> list[str]:
    """The ids of its packs."""
    return sorted(Path(name).stem for name in names(store, layout.PACKS))


def check(store: Store, commits: dict[str, Commit]) -> None:
    """A new reader finds each commit as the one living head of its key, reads all of it, and fsck is clean."""
    fresh = Store.open(store.root)
    live = fresh.heads.live()
    assert {k: [h.id for h in heads] for k, heads in live.items()} == {k: [c.id] for k, c in commits.items()}
    for commit in commits.values():
        assert fresh.heads.of(commit.key)[0].commit == commit
        for entry in files.list_tree(fresh.objects, commit.state):
            assert len(fresh.objects.read(entry.id)) == entry.size
    report = fresh.fsck()
    assert report.clean, report.problems
    fresh.close()


# --- as a whole ----------------------------------------------------------------------------------------------------


def test_many_runs_leave_few_files(store: Store, save: Save, at_once: None) -> None:
    """Three hundred runs: one table or two, a few packs, nothing waiting, all there."""
    made = fill(store, save, 300)
    done = store.tidy()
    assert done.folded == 300
    assert done.merged >= 280
    assert names(store, layout.REFS) == []
    assert len(names(store, layout.TABLES)) == 1
    assert len(packs(store)) <= 3 * layout.MERGE_COUNT
    assert names(store, layout.TRASH, layout.TMP) == []
    check(store, made)


def test_a_few_runs_are_left_as_they_are(store: Store, save: Save) -> None:
    """What is not due is not touched, and looking costs no file."""
    made = fill(store, save, 15)
    before = names(store, layout.PACKS, layout.REFS, layout.TABLES, layout.CACHE, layout.TMP)
    assert store.tidy(limit=1) == tidying.Tidied()
    assert names(store, layout.PACKS, layout.REFS, layout.TABLES, layout.CACHE, layout.TMP) == before
    check(store, made)


def test_runs_that_tidy_one_after_another_never_leave_many_files(store: Store, save: Save) -> None:
    """With the hour as it is: after each of 300 runs fewer than 200 files, trash and cache among them."""
    made: dict[str, Commit] = {}
    most = 0
    for n in range(300):
        made |= fill(store, save, 1, n)
        store.tidy(limit=5)
        most = max(most, sum(path.is_file() for path in store.root.rglob("*")))
    assert most < 200
    check(store, made)


def test_each_process_finds_out_what_is_due(store: Store, save: Save, at_once: None) -> None:
    """The same with a store opened anew for each run, with and without what the cache remembers."""
    made: dict[str, Commit] = {}
    for n in range(90):
        fresh = Store.open(store.root)
        made |= fill(fresh, save, 1, n)
        if n % 30 == 0:
            shutil.rmtree(store.root / layout.CACHE)
        fresh.tidy(limit=5)
        fresh.close()
    assert sum(path.is_file() for path in store.root.rglob("*")) < 150
    check(store, made)


def test_tidying_again_changes_nothing(store: Store, save: Save, at_once: None) -> None:
    """No work is done twice: the files are the same ones afterwards."""
    fill(store, save, 100)
    store.tidy()
    before = names(store, layout.PACKS, layout.REFS, layout.TABLES)
    assert store.tidy() == tidying.Tidied()
    assert names(store, layout.PACKS, layout.REFS, layout.TABLES) == before


def test_a_store_that_may_not_be_changed_is_not(store: Store, save: Save) -> None:
    """Read-only, or with a feature for which nothing may be removed."""
    fill(store, save, 100)
    before = names(store, "")
    reader = Store(store.root, read_only=True)
    assert reader.tidy() == tidying.Tidied()
    path = store.root / layout.FORMAT_FILE
    data = json.loads(path.read_bytes())
    data["features"]["gc"] = ["something new"]
    path.write_text(json.dumps(data))
    assert Store.open(store.root).tidy() == tidying.Tidied()
    assert names(store, "") == before


# --- folding heads -------------------------------------------------------------------------------------------------


def put(store: Store, commit: Commit, label: str = "x") -> Path:
    """Write a commit's head file."""
    path = store.root / layout.head_path(label, commit.key, str(commit.id))
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(commit.encode())
    return path


def put_table(store: Store, table: Table) -> str:
    """Write a table; returns its id."""
    data = table.encode()
    table_id = hash_bytes(data).hex()
    (store.root / layout.table_path(table_id)).write_bytes(data)
    return table_id


def made_commit(number: int, generation: int = 1, **changed: Any) -> Commit:
    """A commit whose objects nobody needs."""
    commit = Commit(
        key(number), ("task", "p", "n"), (), generation, 5, ObjectId(bytes(32)), {"w": generation}
    )
    return replace(commit, **changed)


def as_head(commit: Commit) -> Head:
    """A head for a table."""
    return Head(commit.key, commit.id, commit.encode(), "")


def living(store: Store) -> dict[str, set[ObjectId]]:
    """What a new reader takes for living."""
    return {k: {h.id for h in heads} for k, heads in Heads(store.root).live().items()}


def test_heads_move_into_a_table(store: Store) -> None:
    """All of more than 64: the living are in one table, the dead and the files are gone."""
    for n in range(60):
        put(store, made_commit(n))
        put(store, made_commit(n, 2), "elsewhere")
    before = living(store)
    assert store.tidy(limit=5).folded == 120
    assert names(store, layout.REFS) == []
    (table,) = Heads(store.root).tables().values()
    assert len(table.heads) == 60
    assert living(store) == before == {key(n): {made_commit(n, 2).id} for n in range(60)}


def test_few_heads_stay_files(store: Store) -> None:
    """64 are listed faster than a table is read."""
    for n in range(layout.LOOSE_MAX):
        put(store, made_commit(n))
    assert store.tidy().folded == 0
    assert len(names(store, layout.REFS)) == layout.LOOSE_MAX
    assert names(store, layout.TABLES) == []


def test_tables_are_absorbed_geometrically(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many folds there were, a handful of tables live, and a large one is not written again by each fold."""
    monkeypatch.setattr(layout, "LOOSE_MAX", 3)
    written = 0
    for n in range(400):
        put(store, made_commit(n))
        before = set(names(store, layout.TABLES))
        store.tidy(limit=5)
        written += sum(
            (store.root / name).stat().st_size for name in set(names(store, layout.TABLES)) - before
        )
    assert len(Heads(store.root).uncovered()) <= 6
    total = sum((store.root / layout.table_path(t)).stat().st_size for t in Heads(store.root).uncovered())
    assert written < 12 * total
    assert len(living(store)) == 400


def test_a_covered_table_stays_for_an_hour(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who listed it may still read it; then it goes by way of the trash."""
    monkeypatch.setattr(layout, "LOOSE_MAX", 3)
    for n in range(8):
        put(store, made_commit(n))
        store.tidy()
    before = living(store)
    covered = set(Heads(store.root).table_ids()) - Heads(store.root).uncovered().keys()
    assert covered
    monkeypatch.setattr(layout, "SETTLE", -60.0)
    monkeypatch.setattr(tidying._Tidying, "_purge", lambda self: 0)
    assert store.tidy().removed == len(covered)
    assert {Path(name).stem for name in names(store, layout.TRASH)} == covered
    monkeypatch.undo()
    assert living(store) == before


def test_a_deleted_key_stays_deleted(store: Store) -> None:
    """Its living head is folded like any other, and an older one that a copy brings back stays dead."""
    gone = made_commit(1, 2, deleted=True, cut=9)
    put(store, made_commit(1))
    put(store, gone)
    for n in range(2, 80):
        put(store, made_commit(n))
    store.tidy()
    assert names(store, layout.REFS) == []
    put(store, made_commit(1), "brought back")
    (head,) = Heads(store.root).of(key(1))
    assert head.commit == gone


def test_old_files_that_come_back_change_nothing(store: Store, tmp_path: Path) -> None:
    """A copy of refs/ from before the fold, laid over the store after it, and folded again."""
    for n in range(70):
        put(store, made_commit(n))
        put(store, made_commit(n, 2))
    shutil.copytree(store.root / layout.REFS, tmp_path / "refs")
    before = living(store)
    store.tidy()
    shutil.copytree(tmp_path / "refs", store.root / layout.REFS, dirs_exist_ok=True)
    assert living(store) == before
    tables = names(store, layout.TABLES)
    store.tidy()
    assert living(store) == before
    assert names(store, layout.REFS) == []
    assert names(store, layout.TABLES) == tables  # nothing in them was new


def test_diverged_heads_are_folded_as_they_are(store: Store) -> None:
    """Two that do not know of each other both live on in the table."""
    for n in range(40):
        put(store, made_commit(n, covers={"a": 1}))
        put(store, made_commit(n, covers={"b": 1}))
    before = living(store)
    store.tidy()
    assert names(store, layout.REFS) == []
    assert living(store) == before
    assert all(len(ids) == 2 for ids in before.values())


def test_a_head_in_another_table_is_heard(store: Store) -> None:
    """A loose head that a table's head has killed is not brought back by the fold, nor the other way round."""
    put_table(store, Table((as_head(made_commit(1, 3)), as_head(made_commit(2)))))
    put(store, made_commit(1, 2))
    put(store, made_commit(2, 2))
    for n in range(3, 80):
        put(store, made_commit(n))
    store.tidy()
    assert living(store)[key(1)] == {made_commit(1, 3).id}
    assert living(store)[key(2)] == {made_commit(2, 2).id}


def test_a_damaged_head_is_left_where_it_is(store: Store) -> None:
    """Neither removed nor put into the table; it is named as before, and a sound copy is folded another time."""
    path = put(store, made_commit(0))
    path.write_bytes(path.read_bytes()[:-1])
    for n in range(1, 80):
        put(store, made_commit(n))
    store.tidy()
    assert names(store, layout.REFS) == [path.relative_to(store.root).as_posix()]
    heads = Heads(store.root)
    assert len(heads.live()) == 79
    assert list(heads.damaged) == [path.relative_to(store.root).as_posix()]


def test_a_damaged_table_is_left_where_it_is(store: Store, at_once: None) -> None:
    """Also when another covers it: a checker has to see it."""
    lost = put_table(store, Table((as_head(made_commit(500)),)))
    path = store.root / layout.table_path(lost)
    sound = path.read_bytes()
    path.write_bytes(sound[:-1])
    put_table(store, Table((as_head(made_commit(501)),), covers=(lost,)))
    for n in range(80):
        put(store, made_commit(n))
    store.tidy()
    assert path.read_bytes() == sound[:-1]
    assert len(Heads(store.root).live()) == 81


def test_a_lying_table_is_neither_absorbed_nor_believed(store: Store) -> None:
    """Its name fits, its heads do not decode: a fold leaves it alone and folds the rest."""
    data = bytearray(Table((as_head(made_commit(500)),)).encode())
    data[-1] ^= 1
    name = layout.table_path(hash_bytes(bytes(data)).hex())
    (store.root / name).write_bytes(bytes(data))
    lies = [Head(key(n), ObjectId(bytes([n % 7]) * 32), made_commit(n).encode(), "") for n in (501, 7)]
    put_table(store, Table(tuple(lies)))
    for n in range(80):
        put(store, made_commit(n))
    store.tidy()
    assert name in names(store, layout.TABLES)
    assert names(store, layout.REFS) == []
    heads = Heads(store.root)
    found = heads.sound(head for few in heads.live().values() for head in few)
    assert {head.key for head in found} == {key(n) for n in range(80)}
    # What lies is carried along, for a checker to see.
    assert key(501) in heads.live()
    assert {head.id for head in lies} < {head.id for few in heads.all().values() for head in few}


def test_dead_heads_stay_for_an_hour(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the time on at which they died, not at which they were written: a listing that races must see one."""
    old = put(store, made_commit(1))
    os.utime(old, (0, 0))
    put(store, made_commit(1, 2))
    assert store.tidy().removed == 0
    assert old.exists()
    monkeypatch.setattr(layout, "SETTLE", -60.0)
    assert store.tidy().removed == 1
    assert not old.exists()
    assert living(store) == {key(1): {made_commit(1, 2).id}}


def test_the_hour_begins_when_a_head_dies(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """An old head that was just killed stays, whatever its own age."""
    old = put(store, made_commit(1))
    put(store, made_commit(1, 2))
    ages = {old.relative_to(store.root).as_posix(): 10_000.0}
    monkeypatch.setattr(tidying._Tidying, "_age", lambda self, name: ages.get(name, 1.0))
    assert store.tidy().removed == 0
    assert old.exists()


def test_a_fold_beside_updates_loses_none(store: Store) -> None:
    """A process that folds without pause, another that updates heads: each update is there when it returns."""
    command = [sys.executable, str(CHILD), "fold", str(store.root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        heads = Heads(store.root)
        newest: dict[str, int] = {}
        for n in range(600):
            number, generation = n % 90, n // 90 + 1
            commit = made_commit(number, generation)
            store.publish_bytes(layout.head_path("x", commit.key, str(commit.id)), commit.encode())
            newest[commit.key] = generation
            (head,) = heads.of(commit.key)
            assert head.commit.generation == generation
        child.stdin.close()
        assert child.stdout is not None
        folds = int(child.stdout.read())
    assert folds > 3
    found = {k: [h.commit.generation for h in few] for k, few in Heads(store.root).live().items()}
    assert found == {k: [generation] for k, generation in newest.items()}


# --- merging packs -------------------------------------------------------------------------------------------------


def test_packs_become_one_that_holds_all(store: Store, save: Save) -> None:
    """Each object of the inputs is in the merged pack, once, and the inputs stay for their hour."""
    made = fill(store, save, 20)
    before = set(packs(store))
    objects = Objects(store.root)
    inside = {entry.id for pack_id in before for entry in objects.footer(pack_id).objects}
    store.tidy()
    (merged,) = set(packs(store)) - before
    assert len(packs(store)) == layout.WAITING_MAX + 1
    held = [entry.id for entry in objects.footer(merged).objects]
    assert len(held) == len(set(held))
    assert set(held) == inside
    check(store, made)


def test_small_objects_are_compressed_together(store: Store, save: Save, at_once: None) -> None:
    """Records of many runs in groups of up to 64 KiB: much smaller than the packs they came from."""
    fill(store, save, 64)
    before = sum(os.path.getsize(store.root / name) for name in names(store, layout.PACKS))
    store.tidy()
    (pack_id,) = packs(store)
    footer = Objects(store.root).footer(pack_id)
    assert all(frame.header.raw_size <= layout.GROUP_RAW_MAX for frame in footer.frames)
    assert os.path.getsize(store.root / layout.pack_path(pack_id)) < before * 0.6


def test_large_frames_are_copied_as_they_are(store: Store, save: Save, at_once: None) -> None:
    """Stored bytes, encoding and pin stay; a chunk list is still one, and is read."""
    noise = random.Random(1)
    content = {n: noise.randbytes(100_000) for n in range(20)}
    large = noise.randbytes(200_000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "BLOB_MAX", 150_000)
        for n, data in content.items():
            save(store, {"data": data}, key=key(n))
        save(store, {"large": large}, key=key(99))
    pins = {f.xxh3 for p in packs(store) for f in Objects(store.root).footer(p).frames if f.size > 90_000}
    store.tidy()
    assert len(packs(store)) <= 3
    footers = [Objects(store.root).footer(p) for p in packs(store)]
    assert {f.xxh3 for footer in footers for f in footer.frames if f.size > 90_000} == pins
    assert any(f.header.encoding is Encoding.LIST for footer in footers for f in footer.frames)
    assert Store.open(store.root).fsck().clean


def test_large_packs_are_left_to_gc(store: Store, save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    """From 8 MiB on nothing is rewritten."""
    monkeypatch.setattr(layout, "MERGE_MAX", 500)
    fill(store, save, 40)
    before = packs(store)
    assert store.tidy().merged == 0
    assert packs(store) == before


def test_the_work_is_geometric(store: Store, save: Save, at_once: None) -> None:
    """Each byte is written about once a tier, however many packs there come to be."""
    written, seen = 0, set[str]()
    first = 0
    for n in range(320):
        fill(store, save, 1, n)
        fresh = set(packs(store)) - seen
        first += sum(os.path.getsize(store.root / layout.pack_path(p)) for p in fresh)
        seen |= fresh
        store.tidy(limit=5)
        fresh = set(packs(store)) - seen
        written += sum(os.path.getsize(store.root / layout.pack_path(p)) for p in fresh)
        seen |= fresh
    assert len(packs(store)) < 4 * layout.MERGE_COUNT
    assert written < 3 * first


def test_inputs_stay_for_an_hour_and_go_by_the_trash(
    store: Store, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted from when the merged pack came; from the trash they go another hour later."""
    made = fill(store, save, layout.MERGE_COUNT)
    inputs = set(packs(store))
    store.tidy()
    store.tidy()
    assert inputs < set(packs(store))
    now = note.file_system_now(store.root)
    monkeypatch.setattr(tidying, "file_system_now", lambda root: now + layout.SETTLE + 1)
    assert store.tidy().removed == len(inputs)
    assert not inputs & set(packs(store))
    assert {Path(name).stem for name in names(store, layout.TRASH)} == inputs
    check(store, made)
    monkeypatch.setattr(tidying, "file_system_now", lambda root: now + 2 * layout.SETTLE + 2)
    store.tidy()
    assert list((store.root / layout.TRASH).iterdir()) == []
    check(store, made)


def test_a_damaged_input_is_left_alone(store: Store, save: Save, at_once: None) -> None:
    """A compressed frame, and a raw one, whose bytes nothing but its object's id pins. The others merge."""
    made = fill(store, save, 20)
    before = set(packs(store))
    made[key(50)] = save(store, {"raw": random.Random(1).randbytes(2000)}, key=key(50))
    (raw,) = set(packs(store)) - before
    damaged = {}
    for victim, at in ((sorted(before)[7], 30), (raw, 1000)):
        path = store.root / layout.pack_path(victim)
        data = damaged[path] = path.read_bytes()
        path.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
    assert store.tidy().merged == 19
    assert {path.stem for path in damaged} < set(packs(store))
    assert all(path.read_bytes() != data for path, data in damaged.items())
    assert store.tidy() == tidying.Tidied()
    for path, data in damaged.items():
        path.write_bytes(data)
    check(store, made)


def put_pack(store: Store, *groups: list[tuple[ObjectId, bytes]]) -> str:
    """Write a pack, a frame for each group of blobs, whatever their ids say; returns its id."""
    writer = PackWriter(store.root / layout.TMP / "made")
    for group in groups:
        for header, data, members in encode_group(Kind.BLOB, group):
            writer.add(header, data, members)
    pack_id, _ = writer.finish()
    target = store.root / layout.pack_path(pack_id)
    target.parent.mkdir(exist_ok=True)
    writer.path.rename(target)
    return pack_id


def test_a_lying_input_is_left_alone(store: Store, save: Save, at_once: None) -> None:
    """Pinned and named as it should be, and yet another content than its id says: it must not spread."""
    fill(store, save, 20)
    lies = put_pack(store, [(ObjectId(bytes([n]) * 32), b"x" * 500) for n in range(20)])
    assert tidying._tier(os.path.getsize(store.root / layout.pack_path(lies))) == 2
    assert store.tidy().merged == 20
    assert lies in packs(store)
    for other in set(packs(store)) - {lies}:
        assert ObjectId(bytes(32)) not in {e.id for e in Objects(store.root).footer(other).objects}


def test_an_input_stays_while_its_replacement_is_damaged(
    store: Store, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redundant by its footer is not enough: the bytes that replace it are read back first."""
    made = fill(store, save, layout.MERGE_COUNT)
    inputs = set(packs(store))
    store.tidy()
    (merged,) = set(packs(store)) - inputs
    path = store.root / layout.pack_path(merged)
    data = path.read_bytes()
    path.write_bytes(data[:40] + bytes([data[40] ^ 1]) + data[41:])
    monkeypatch.setattr(layout, "SETTLE", -60.0)
    store.tidy()
    assert inputs <= set(packs(store))
    path.write_bytes(data)
    check(store, made)


def test_two_packs_never_excuse_each_other(store: Store, save: Save, at_once: None) -> None:
    """Twenty packs that hold the same: one stays."""
    commit = save(store, {"data": b"x" * 300})
    (one,) = packs(store)
    for n in range(20):
        # The same objects, and something each of its own before them.
        other = Store.create(store.root.parent / f"other{n}")
        save(other, {"data": b"x" * 300})
        with other.begin() as transaction:
            transaction.put_bytes(b"own %d" % n)
        shutil.copytree(other.root / layout.PACKS, store.root / layout.PACKS, dirs_exist_ok=True)
    shutil.copytree(store.root / layout.PACKS, store.root.parent / "before")
    store.tidy()
    store.tidy()
    check(store, {KEY: commit})
    assert one not in packs(store) or len(packs(store)) < 16


@pytest.mark.parametrize("same", [True, False])
def test_only_the_same_chunk_list_stands_for_one(store: Store, at_once: None, same: bool) -> None:
    """Another list of the same blob would have to be proved first: then the input stays."""
    data = random.Random(1).randbytes(60_000)

    def put_list(at: int, filler: bytes) -> str:
        pieces = [(hash_object(Kind.BLOB, part), part) for part in (data[:at], data[at:])]
        put_pack(store, pieces)
        header, stored = encode_list(
            ChunkList(0, tuple((i, len(part)) for i, part in pieces)).encode(), len(data)
        )
        writer = PackWriter(store.root / layout.TMP / "list")
        writer.add(header, stored, [(hash_object(Kind.BLOB, data), len(data))])
        writer.add(*encode(Kind.BLOB, filler), [(hash_object(Kind.BLOB, filler), len(filler))])
        pack_id, _ = writer.finish()
        (store.root / layout.pack_path(pack_id)).parent.mkdir(exist_ok=True)
        writer.path.rename(store.root / layout.pack_path(pack_id))
        return pack_id

    filler = random.Random(2).randbytes(500)
    put_pack(store, [(hash_object(Kind.BLOB, filler), filler), (hash_object(Kind.BLOB, b""), b"")] * 9)
    less = put_list(30_000, filler)
    put_list(30_000 if same else 20_000, filler * 3)
    store.tidy()
    assert (less in packs(store)) is not same
    assert Objects(store.root).read(hash_object(Kind.BLOB, data)) == data


@pytest.mark.parametrize("damaged", [False, True])
def test_what_was_set_aside_stays_when_it_is_needed_again(
    store: Store, save: Save, monkeypatch: pytest.MonkeyPatch, damaged: bool
) -> None:
    """The merged pack has gone from its place, or a byte of it flipped: what it was made of is not deleted by us."""
    fill(store, save, layout.MERGE_COUNT)
    inputs = set(packs(store))
    monkeypatch.setattr(layout, "SETTLE", -60.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tidying._Tidying, "_purge", lambda self: 0)
        store.tidy()
    (merged,) = packs(store)
    path = store.root / layout.pack_path(merged)
    if damaged:
        data = bytearray(path.read_bytes())
        data[40] ^= 1
        path.write_bytes(data)
    else:
        path.rename(store.root / "elsewhere")
    store.tidy()
    left = {Path(name).stem for name in names(store, layout.TRASH)}
    assert left if damaged else left == inputs


def test_of_two_that_hold_the_same_the_greater_stays(store: Store, at_once: None) -> None:
    """Whoever asks, and in whatever order: else two processes could each remove one."""
    blobs = [(hash_object(Kind.BLOB, data), data) for data in (b"one" * 200, b"two" * 200, b"three" * 200)]
    both = {put_pack(store, blobs), put_pack(store, *([blob] for blob in blobs))}
    greater = max(both, key=lambda p: (os.path.getsize(store.root / layout.pack_path(p)), p))
    work = tidying._Tidying(store.root, store.objects, store.heads, note.Note(), None)
    work._look()
    assert set(work.note.waiting) == both - {greater}
    store.tidy()
    assert packs(store) == [greater]
    assert all(Objects(store.root).read(blob_id) == data for blob_id, data in blobs)


def test_an_input_that_is_greater_than_all_together_is_left_out(store: Store, at_once: None) -> None:
    """Texts that share nearly all, each stored by itself: together they are smaller, and could not excuse the pack."""
    block = random.Random(3).randbytes(1000)

    def texts(first: int, count: int) -> list[list[tuple[ObjectId, bytes]]]:
        made = [block * 3 + b"%d" % n for n in range(first, first + count)]
        return [[(hash_object(Kind.BLOB, data), data)] for data in made]

    large = put_pack(store, *texts(0, 50))
    small = [put_pack(store, *texts(100 + 4 * n, 4)) for n in range(16)]
    assert {tidying._tier(os.path.getsize(store.root / layout.pack_path(p))) for p in (large, *small)} == {3}
    assert store.tidy().merged == 16
    (merged,) = set(packs(store)) - {large}
    assert len(Objects(store.root).footer(merged).objects) == 64
    assert store.tidy() == tidying.Tidied()
    assert Store.open(store.root).fsck().clean


def test_packs_from_a_union_of_merged_stores_are_found_redundant(
    store: Store, save: Save, tmp_path: Path, at_once: None
) -> None:
    """A copy brings the inputs back: they go again, and nothing is merged twice."""
    made = fill(store, save, 20)
    shutil.copytree(store.root / layout.PACKS, tmp_path / "packs")
    store.tidy()
    after = packs(store)
    shutil.copytree(tmp_path / "packs", store.root / layout.PACKS, dirs_exist_ok=True)
    assert len(packs(store)) > 20
    assert store.tidy().merged == 0
    assert packs(store) == after
    check(store, made)


def test_a_bomb_is_not_decoded(
    store: Store, save: Save, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pack of more content than the limit stays as it is, and costs nothing the next time."""
    monkeypatch.setattr(layout, "MERGE_RAW_MAX", 5_000)
    made = fill(store, save, 20)
    made |= {key(50): save(store, {"zeros": bytes(20_000)}, key=key(50))}
    assert store.tidy().merged == 20
    check(store, made)


def test_a_full_disk_costs_nothing(
    store: Store, save: Save, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each fsync and rename in turn: an OSError at most, no litter, and all that was there."""
    monkeypatch.setattr(layout, "LOOSE_MAX", 4)
    monkeypatch.setattr(layout, "MERGE_COUNT", 4)
    made = fill(store, save, 8)
    errors = 0
    for n in count(1):
        copy = Store.open(Path(shutil.copytree(store.root, store.root.parent / f"full{n}")))
        with pytest.MonkeyPatch.context() as patch:
            struck = failing(patch, n)
            try:
                copy.tidy()
            except OSError:
                errors += 1
        assert names(copy, layout.TMP) == [], n
        check(copy, made)
        shutil.rmtree(copy.root)
        if not struck:
            break
    assert errors > 5


def failing(patch: pytest.MonkeyPatch, at: int) -> list[str]:
    """Let the `at`-th fsync or rename of this process fail for want of space; what it was, once it has."""
    left, struck = at, list[str]()

    def wrap(name: str, call: Callable[..., object]) -> Callable[..., object]:
        def counted(*args: object, **named: object) -> object:
            nonlocal left
            left -= 1
            if left == 0:
                struck.append(name)
                raise OSError(28, "No space left on device")
            return call(*args, **named)

        return counted

    for name in ("fsync", "rename"):
        patch.setattr(os, name, wrap(name, getattr(os, name)))
    return struck


# --- beside others -------------------------------------------------------------------------------------------------


def test_readers_see_nothing_of_a_hundred_repacks(store: Store, save: Save) -> None:
    """Three processes read every run over and over; another adds runs and merges, and keeps no input an instant."""
    made = fill(store, save, 40)
    command = [sys.executable, str(CHILD), "read", str(store.root)]
    readers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    try:
        writer = [sys.executable, str(CHILD), "merge", str(store.root), "100"]
        merges = int(subprocess.run(writer, check=True, stdout=subprocess.PIPE, text=True).stdout)
        assert merges >= 100
    finally:
        said = [reader.communicate("stop")[0] for reader in readers]
    for each in said:
        found = json.loads(each)
        assert found["errors"] == []
        assert found["reads"] > 100
    fresh = Store.open(store.root)
    assert fresh.heads.live().keys() >= made.keys()
    assert fresh.fsck().clean


def test_two_at_once_are_harmless(store: Store, save: Save) -> None:
    """With the lock made unavailable: both fold and merge the same, and all is there afterwards."""
    made = fill(store, save, 100)
    command = [sys.executable, str(CHILD), "unlocked", str(store.root)]
    both = [subprocess.Popen(command) for _ in range(3)]
    assert [child.wait() for child in both] == [0, 0, 0]
    check(store, made)
    assert names(store, layout.TMP) == []


def test_while_another_process_is_at_it_nothing_is_done(store: Store, save: Save) -> None:
    """Nobody waits for a lock."""
    fill(store, save, 100)
    with note.alone(store.root) as alone:
        assert alone
        done: list[tidying.Tidied] = []
        thread = threading.Thread(target=lambda: done.append(Store.open(store.root).tidy()))
        thread.start()
        thread.join()
        assert done == [tidying.Tidied()]


# --- a store that is also a remote ---------------------------------------------------------------------------------


def claimed(store: Store) -> set[str]:
    """The packs that its uncovered tables claim."""
    return {p for table in Heads(store.root).uncovered().values() for p in table.packs}


def test_what_tables_claim_is_there_after_tidying_a_remote(
    store: Store, save: Save, tmp_path: Path, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs pushed to a folder and runs made in it: fold, merge and trash there keep every claim true."""
    there = Store.create(tmp_path / "there")
    remote = FolderRemote(there.root)
    made: dict[str, Commit] = {}
    for n in range(20):
        made |= fill(store, save, 1, n)
        store.push(remote)
    made |= fill(there, save, 100, first=1000)
    before = claimed(there)
    assert len(before) == 20
    there.tidy()
    there.tidy()
    assert claimed(there) == before <= set(packs(there))
    check(there, made)
    made |= fill(store, save, 3, first=20)
    store.push(remote)
    there.tidy()
    assert claimed(there) <= set(packs(there))
    clone = Store.create(tmp_path / "clone")
    clone.clone(remote)
    check(clone, made)
    store.pull(remote)
    check(store, made)


def test_a_pull_beside_a_fold_brings_every_head(store: Store, save: Save, tmp_path: Path) -> None:
    """Heads that were listed as files and are in a table when they are fetched: the pull looks again."""
    made = fill(store, save, 70)

    class FoldedAfterListing(FolderRemote):
        def list(self, prefix: str) -> Iterator[Listed]:
            found = list(super().list(prefix))
            Store.open(store.root).tidy()
            return iter(found)

    clone = Store.create(tmp_path / "clone")
    clone.pull(FoldedAfterListing(store.root))
    check(clone, made)


def test_a_claimed_pack_in_the_trash_is_put_back(store: Store, save: Save, tmp_path: Path) -> None:
    """A push may have claimed what was just being set aside: then the claim is made true again."""
    made = fill(store, save, 20)
    victim = packs(store)[3]
    footer = store.objects.footer(victim).encode()
    trash.set_aside(store.root, layout.pack_path(victim), 5)
    put_table(store, Table((), {victim: footer}))
    store.tidy()
    assert victim in packs(store)
    check(store, made)


def test_a_pack_that_waits_to_go_and_is_claimed_stays(store: Store, save: Save, tmp_path: Path) -> None:
    """A push into the folder relied on it: then it is not for a merge to take away."""
    fill(store, save, layout.MERGE_COUNT)
    inputs = packs(store)
    store.tidy()
    put_table(store, Table((), {inputs[2]: store.objects.footer(inputs[2]).encode()}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "SETTLE", -60.0)
        store.tidy(limit=5)  # nothing new came, so that only what is remembered decides
        store.tidy()
    assert set(inputs) & set(packs(store)) == {inputs[2]}


def test_a_pull_finds_what_a_stale_claim_names(
    store: Store, save: Save, tmp_path: Path, at_once: None
) -> None:
    """A claimed pack that was merged away, before anybody put it back: its objects are in the pack that has them."""
    made = fill(store, save, 20)
    footers = {pack_id: store.objects.footer(pack_id).encode() for pack_id in packs(store)}
    store.tidy()
    put_table(store, Table((), footers))
    assert not footers.keys() & set(packs(store))
    clone = Store.create(tmp_path / "clone")
    clone.clone(FolderRemote(store.root))
    check(clone, made)


def test_a_remotes_claims_are_not_lost_in_a_fold(store: Store, save: Save, tmp_path: Path) -> None:
    """A table that claims packs, or gives some up, is not absorbed; one of heads alone is."""
    dropped = put_table(store, Table((as_head(made_commit(900)),), {}, (), {"ab" * 32: 7}))
    claims = put_table(store, Table((as_head(made_commit(901)),), {"cd" * 32: b"footer"}))
    plain = put_table(store, Table((as_head(made_commit(902)),)))
    for n in range(100):
        put(store, made_commit(n))
    store.tidy()
    left = Heads(store.root).uncovered()
    assert {dropped, claims} < left.keys()
    assert plain not in left
    assert len(Heads(store.root).live()) == 103
