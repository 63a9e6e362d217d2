"""Sealing and reading: a journal means the same before it is sealed, while, and after, and whoever seals it."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from objstore import journal
from objstore import layout as store_layout
from objstore.ids import Kind, ObjectId, hash_object
from objstore.journal import JournalWriter
from objstore.store import Store
from tests.scripts import Scripts
from tracker import deltas, events, index, layout, reader, removal, seal
from tracker.config import Config
from tracker.errors import CorruptRecord
from tracker.events import Blob, Declare, End, Event, Plot, Scalar, SetKey, Text
from tracker.package_data import template_dir
from tracker.reader import Reader, read_state
from tracker.records import Entry, Ref, State, recoverer
from tracker.state import merge
from tracker.workspace import Workspace

KEY = "ab" * 16
MODEL = "cd" * 16
W, V = "000000000000000a", "000000000000000b"
NOW = 1_700_000_000_000_000

BEGIN: list[Event] = [
    SetKey("status", "in_progress", NOW),
    SetKey("name", "run", NOW + 1),
    SetKey("project", "seals", NOW + 2),
    Declare(1, "loss", "train"),
]


def scalars(first: int, last: int, number: int = 1) -> list[Event]:
    """Points whose value tells their iteration."""
    return [Scalar(number, i, NOW + 10 + i, float(i)) for i in range(first, last + 1)]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A fresh store."""
    return Store.create(tmp_path / ".tracker", template_dir())


class Writing:
    """A journal in a store, whose writer is this process until `die` or `end`."""

    def __init__(self, store: Store, writer: str = W, key: str = KEY, *given: Event) -> None:
        self.folder = store.root / layout.live_path(key, writer)
        self._journal = JournalWriter(self.folder, writer, segment_size=1 << 16)
        self.write(*given)

    def write(self, *given: Event) -> None:
        for event in given:
            self._journal.append(*events.encode(event))

    def die(self) -> None:
        """Let go of the journal without a last event, as SIGKILL does."""
        self._journal.close()

    def end(self) -> None:
        self.write(End())
        self._journal.close()

    def look_dead(self) -> None:
        """Lose the lock, as on a file system that forgets it: to other processes this writer is now dead."""
        with (self.folder / "alive").open():
            pass


@pytest.fixture
def alive() -> Iterator[list[Writing]]:
    """Writers that are to be closed when the test is over."""
    writers: list[Writing] = []
    yield writers
    for writer in writers:
        writer.die()


def read(store: Store, key: str = KEY) -> State:
    """What a reader with nothing in mind finds."""
    return Reader(Store.open(store.root)).thing(key).state


def sealed(store: Store, key: str = KEY) -> State:
    """What the heads say, without any journal."""
    return merge(read_state(store, head.commit) for head in Store.open(store.root).heads.of(key))


def values(store: Store, key: str = KEY) -> list[tuple[int, float]]:
    """The points of ("loss", "train") as a reader finds them."""
    from tracker import scalars as columns

    thing = Reader(store).thing(key)
    found = []
    for segment in thing.state.segments:
        for chunk in segment.scalars:
            ref = Ref.parse(chunk["$ref"])
            data = thing.content.get(ref.id) or store.objects.read(hash_of(ref))
            for series in columns.decode(data):
                assert (series.title, series.series) == ("loss", "train")
                found += list(zip(map(int, series.steps), map(float, series.values), strict=True))
    return found


def hash_of(ref: Ref) -> Any:
    """A reference's object id."""
    from objstore.ids import ObjectId

    return ObjectId.parse(ref.id)


def heads(store: Store, key: str = KEY) -> int:
    """How many living heads."""
    return len(Store.open(store.root).heads.of(key))


def in_a_process(store: Store, source: str) -> str:
    """What another process prints; `store` and `KEY` are there."""
    begin = f"from pathlib import Path\nfrom objstore.store import Store\nfrom tracker import seal\nKEY = {KEY!r}\n"
    opened = f"store = Store.open(Path({str(store.root)!r}))\n"
    result = subprocess.run(
        [sys.executable, "-c", begin + opened + source], capture_output=True, text=True, check=True
    )
    return result.stdout.strip()


# Before, while and after


def everything() -> list[Event]:
    """One of each kind of event, and content that later ones refer to."""
    ref = Ref("blob", str(hash_object(Kind.BLOB, b"content")), 7)
    return [
        *BEGIN,
        Text("stdout", NOW + 5, "hello"),
        *scalars(1, 3),
        Blob(ref.id, b"content"),
        SetKey("artifact/a", {"$ref": str(ref), "type": "string", "file": "a.txt"}, NOW + 20),
        Plot("t", "s", 1, NOW + 21, {"data": [{"y": [1, None]}], "layout": {}}),
        SetKey("name", "weights", NOW + 22, MODEL),
        SetKey("task", KEY, NOW + 22, MODEL),
        SetKey(f"model/output/{MODEL}", {"name": "w"}, NOW + 23),
        SetKey("status", "completed", NOW + 24),
    ]


def test_sealing_changes_nothing_that_is_read(store: Store) -> None:
    """State, series and content of the task and of its model: from the journal as from the head, to the byte."""
    writing = Writing(store, W, KEY, *everything())
    writing.end()
    before = {key: read(store, key).encode() for key in (KEY, MODEL)}
    points = values(store)
    assert seal.seal(store, KEY)
    assert not writing.folder.parent.exists()
    assert {key: read(store, key).encode() for key in (KEY, MODEL)} == before
    assert values(store) == points == [(1, 1.0), (2, 2.0), (3, 3.0)]
    thing = Reader(store).thing(KEY)
    assert (thing.content, thing.alive, len(thing.heads)) == ({}, False, 1)
    assert store.objects.read(hash_object(Kind.BLOB, b"content")) == b"content"
    assert store.fsck().clean


def test_sealing_twice_adds_nothing(store: Store) -> None:
    """The second finds nothing to do: no new head, no new pack."""
    Writing(store, W, KEY, *everything()).end()
    assert seal.seal(store, KEY)
    files = {path: path.stat().st_mtime_ns for path in store.root.rglob("*") if path.is_file()}
    assert not seal.seal(store, KEY)
    assert not seal.seal(Store.open(store.root), KEY)
    assert {path: path.stat().st_mtime_ns for path in store.root.rglob("*") if path.is_file()} == files


def test_two_processes_at_once_give_the_state_of_one(store: Store, tmp_path: Path) -> None:
    """Whatever the race leaves, one head or two: the same state, nothing twice, and a clean store."""
    for writer in (W, V):
        Writing(store, writer, KEY, *BEGIN, *scalars(1, 500)).die()
    twin = Store.create(tmp_path / "twin", template_dir())
    for path in (store.root / "live" / KEY).iterdir():
        (twin.root / "live" / KEY / path.name).mkdir(parents=True)
        for file in path.iterdir():
            (twin.root / "live" / KEY / path.name / file.name).write_bytes(file.read_bytes())
    assert in_a_process(twin, "print(seal.seal(store, KEY))") == "True"
    source = f"""if True:
        from pathlib import Path
        from objstore.store import Store
        from tracker import seal
        store = Store.open(Path({str(store.root)!r}))
        print("ready", flush=True)
        input()
        print(seal.seal(store, {KEY!r}), flush=True)
        """
    command = [sys.executable, "-c", source]
    pipe = subprocess.PIPE
    racers = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(3)]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    for racer in racers:
        racer.communicate()
        assert racer.returncode == 0
    assert read(store).encode() == read(twin).encode()
    assert sorted(values(store)) == sorted([(i, float(i)) for i in range(1, 501)] * 2)
    assert store.fsck().clean


def test_reader_beside_a_sealer_misses_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal was listed, the heads were read, and then it was sealed and removed: the reader looks again."""
    fold = deltas.fold
    sealed: list[str] = []

    def late(source: deltas.Journal, after: int) -> Any:
        if source.writer not in sealed:
            sealed.append(source.writer)
            in_a_process(store, "seal.seal(store, KEY)")
        return fold(source, after)

    readings: list[Callable[[], dict[str, reader.Thing]]] = [
        lambda: Reader(store).things(),
        lambda: {KEY: Reader(store).thing(KEY)},
    ]
    for reading in readings:
        writer = secrets.token_hex(8)
        Writing(store, writer, KEY, *everything()).end()
        with monkeypatch.context() as patch:
            patch.setattr(reader, "fold", late)
            found = reading()
        assert sealed[-1] == writer
        assert found[KEY].state.get("name") == "run"
        assert found[KEY].state.encode() == read(store).encode()


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 40), max_size=4), st.booleans())
def test_sealing_in_any_pieces_is_sealing_once(tmp_path: Path, cuts: list[int], rolling: bool) -> None:
    """A long run is sealed as it goes: in the end there is every event, none twice, and the series keep their names."""
    store = Store.create(tmp_path / secrets.token_hex(8), template_dir())
    stream = [*BEGIN, *scalars(1, 20), Declare(2, "loss", "train"), *scalars(21, 36, 2)]
    writing = Writing(store)
    try:
        done = 0
        for cut in sorted(cuts):
            writing.write(*stream[done:cut])
            done = max(done, cut)
            seal.seal(store, KEY, own=W, rolling=rolling)
        writing.write(*stream[done:])
        assert sorted(values(store)) == [(i, float(i)) for i in range(1, 37)]
    finally:
        writing.end()
    seal.seal(store, KEY, own=W)
    assert sorted(values(store)) == [(i, float(i)) for i in range(1, 37)]
    (segment,) = read(store).segments
    assert (segment.writer, segment.last) == (W, len(stream) + 1)
    assert read(store).get("name") == "run"
    assert heads(store) == 1


def test_rolling_commits_are_no_parents(store: Store) -> None:
    """What a run overwrote while it ran is not kept for ever by its history."""
    writing = Writing(store, W, KEY, *BEGIN)
    seal.seal(store, KEY, own=W, rolling=True)
    writing.write(*scalars(1, 3))
    seal.seal(store, KEY, own=W, rolling=True)
    writing.write(SetKey("status", "completed", NOW + 50))
    writing.end()
    seal.seal(store, KEY, own=W)
    (head,) = store.heads.of(KEY)
    assert (head.commit.parents, head.commit.rolling, head.commit.generation) == ((), False, 3)


# Writers that died


def test_dead_owner_leaves_a_stopped_run(store: Store) -> None:
    """By whoever reads next, also where nothing can be written; stamped like the owner's last word on its status."""
    Writing(store, W, KEY, *BEGIN, *scalars(1, 3)).die()
    for _ in range(2):
        state = read(store)
        assert state.get("status") == "stopped"
        assert state.get("status_reason").startswith(f"aborted: process {os.getpid()} on ")
        last = NOW + 13
        assert state.get("completed") == last
        assert state.keys["status"] == Entry("stopped", NOW, recoverer(W))
        assert state.updated == last
        seal.seal(store, KEY)
    (head,) = store.heads.of(KEY)
    assert head.commit.covers == {W: 7, recoverer(W): 7}


def test_only_the_owners_death_is_the_runs(store: Store, alive: list[Writing]) -> None:
    """A worker that was killed, or a rank: the run goes on."""
    alive.append(Writing(store, W, KEY, *BEGIN))
    Writing(store, V, KEY, Declare(1, "loss", "train"), *scalars(1, 3)).die()
    assert read(store).get("status") == "in_progress"
    assert Reader(store).thing(KEY).alive
    seal.seal(store, KEY)
    assert read(store).get("status") == "in_progress"
    assert values(store) == [(1, 1.0), (2, 2.0), (3, 3.0)]


def test_run_that_said_how_it_ended_is_not_aborted(store: Store) -> None:
    """Killed after its status, or closed after it: what it said counts."""
    Writing(store, W, KEY, *BEGIN, SetKey("status", "failed", NOW + 9)).die()
    assert read(store).get("status") == "failed"
    seal.seal(store, KEY)
    assert read(store).get("status") == "failed"


def test_owner_that_ended_without_a_status_did_not_complete(store: Store) -> None:
    """The disk refused its last word: it is not left running for ever."""
    Writing(store, W, KEY, *BEGIN).end()
    assert read(store).get("status") == "stopped"
    seal.seal(store, KEY)
    assert read(store).get("status_reason").startswith("aborted: ")


@pytest.mark.parametrize("more", [[], scalars(4, 5)], ids=["nothing since", "more since"])
def test_owner_that_dies_after_it_was_sealed_is_found(store: Store, more: list[Event]) -> None:
    """The status lies in a head already, and perhaps all that it ever wrote."""
    writing = Writing(store, W, KEY, *BEGIN, *scalars(1, 3))
    seal.seal(store, KEY, own=W, rolling=True)
    assert read(store).get("status") == "in_progress"
    writing.write(*more)
    writing.die()
    for _ in range(2):
        state = read(store)
        assert state.get("status") == "stopped"
        assert state.get("completed") == NOW + 13 + len(more)
        seal.seal(store, KEY)
    assert not seal.seal(store, KEY)
    assert store.heads.of(KEY)[0].commit.covers == {W: 7 + len(more), recoverer(W): 7 + len(more)}
    assert [i for i, _ in values(store)] == list(range(1, 4 + len(more)))


def test_writer_that_lives_after_all_overrules_its_recovery(store: Store, alive: list[Writing]) -> None:
    """It was taken for dead and recovered, went on, and closed: completed, with every event once. And again."""
    writing = Writing(store, W, KEY, *BEGIN, *scalars(1, 3))
    writing.look_dead()
    assert in_a_process(store, "print(seal.seal(store, KEY))") == "True"
    assert sealed(store).get("completed") == NOW + 13
    writing.write(*scalars(4, 6))
    assert in_a_process(store, "print(seal.seal(store, KEY))") == "True"
    assert (sealed(store).get("status"), sealed(store).get("completed")) == ("stopped", NOW + 16)
    writing.write(SetKey("status", "in_progress", NOW + 90))  # as one does that finds out
    assert in_a_process(store, "print(seal.seal(store, KEY))") == "True"
    (head,) = store.heads.of(KEY)
    assert head.commit.covers == {W: 11, recoverer(W): 11}
    assert sealed(store).get("status") == "stopped"
    assert read(store).get("status") == "in_progress"  # where it is seen to live, that counts
    writing.write(SetKey("status", "completed", NOW + 100))
    writing.end()
    seal.seal(store, KEY, own=W)
    assert read(store).get("status") == "completed"
    assert values(store) == [(i, float(i)) for i in range(1, 7)]
    assert heads(store) == 1


def test_resumed_run_is_its_new_owners(store: Store, alive: list[Writing]) -> None:
    """The process that died had handed it over: the status is another writer's."""
    Writing(store, W, KEY, *BEGIN).die()
    alive.append(Writing(store, V, KEY, SetKey("status", "in_progress", NOW + 100)))
    assert read(store).get("status") == "in_progress"
    seal.seal(store, KEY)
    assert read(store).get("status") == "in_progress"


def test_dead_writers_journal_goes_to_the_trash_after_a_day(store: Store) -> None:
    """Covered by a head and unchanged: not before, since it may live."""
    writing = Writing(store, W, KEY, *BEGIN)
    writing.die()
    seal.seal(store, KEY)
    seal.seal(store, KEY)
    assert writing.folder.exists()
    yesterday = time.time() - 90_000
    for path in writing.folder.iterdir():
        os.utime(path, (yesterday, yesterday))
    before = read(store).encode()
    seal.seal(store, KEY)
    assert not writing.folder.parent.exists()
    assert [str(path.relative_to(path.parents[2])) for path in store.root.glob("trash/*/live/*/*")] == [
        layout.live_path(KEY, W)
    ]
    assert read(store).encode() == before


# Copies that were recovered elsewhere


def copy_of(store: Store, target: Path) -> Store:
    """`cp -r` of everything, in the midst of whatever goes on: there, all writers look dead."""
    return Store.open(shutil.copytree(store.root, target / ".tracker"))


def unite(source: Store, target: Store) -> None:
    """Copy the folders of the union over another store's."""
    for name in store_layout.UNION:
        shutil.copytree(source.root / name, target.root / name, dirs_exist_ok=True)


def lines(store: Store) -> list[str]:
    """The console as a reader finds it."""
    thing = Reader(store).thing(KEY)
    return index.console(
        thing.state, lambda ref: thing.content.get(ref.id) or store.objects.read(ObjectId.parse(ref.id))
    )


def reports(first: int, last: int) -> list[Event]:
    """Points and lines."""
    pairs = (
        (Scalar(1, i, NOW + 10 + i, float(i)), Text("stdout", NOW + 10 + i, f"{i}"))
        for i in range(first, last + 1)
    )
    return [event for pair in pairs for event in pair]


def test_copy_that_was_recovered_and_united_later_counts_nothing_twice(store: Store, tmp_path: Path) -> None:
    """Sealed to 100, copied at 150, recovered there; sealed here to 200 as well: both overlap, and 200 are told."""
    writing = Writing(store, W, KEY, *BEGIN, *reports(1, 100))
    seal.seal(store, KEY, own=W, rolling=True)
    writing.write(*reports(101, 150))
    copied = copy_of(store, tmp_path / "copy")
    seal.seal(copied, KEY)
    assert (read(copied).get("status"), len(lines(copied))) == ("stopped", 150)
    writing.write(*reports(151, 200))
    seal.seal(store, KEY, own=W, rolling=True)
    unite(copied, store)
    unite(store, copied)
    for each in (store, copied):
        assert values(Store.open(each.root)) == [(i, float(i)) for i in range(1, 201)]
        assert lines(Store.open(each.root)) == [f"{i}" for i in range(1, 201)]
        assert index.row("", read(each)).metrics["loss/train"].count == 200
    assert read(store).get("status") == "in_progress"  # here it is seen to live
    writing.write(*reports(201, 210), SetKey("status", "completed", NOW + 300))
    writing.end()
    seal.seal(store, KEY, own=W)
    unite(store, copied)
    for each in (store, copied):
        assert read(each).get("status") == "completed"
        assert (
            len(lines(Store.open(each.root))) == index.row("", read(each)).metrics["loss/train"].count == 210
        )


def test_what_a_recovery_says_loses_to_the_writers_next_word(store: Store, tmp_path: Path) -> None:
    """Also where its stamps run ahead of its clock, because it had seen an edit from a place whose clock does."""
    ahead = NOW + 10**12
    writing = Writing(store, W, KEY, *BEGIN, SetKey("status", "in_progress", ahead), *scalars(1, 3))
    copied = copy_of(store, tmp_path / "copy")
    seal.seal(copied, KEY)
    assert read(copied).get("status") == "stopped"
    writing.write(SetKey("status_reason", "it failed", ahead + 1), SetKey("status", "failed", ahead + 2))
    writing.end()
    seal.seal(store, KEY, own=W)
    unite(copied, store)
    assert (read(store).get("status"), read(store).get("status_reason")) == ("failed", "it failed")


def test_recoveries_of_one_writer_in_two_places_are_told_apart_by_what_they_knew(
    store: Store, tmp_path: Path
) -> None:
    """The one that knew more of its events says when it ended, in whatever order they come together."""
    writing = Writing(store, W, KEY, *BEGIN, *scalars(1, 3))
    early = copy_of(store, tmp_path / "early")
    seal.seal(early, KEY)
    writing.write(*scalars(4, 6))
    late = copy_of(store, tmp_path / "late")
    seal.seal(late, KEY)
    writing.end()
    unite(early, late)
    unite(late, early)
    assert {read(each).get("completed") for each in (early, late)} == {NOW + 16}
    assert [len(each.heads.of(KEY)) for each in (early, late)] == [1, 1]


def test_run_that_another_process_has_taken_over_is_not_aborted(store: Store, alive: list[Writing]) -> None:
    """Its new owner's journal is no part of the commit that seals the old one's, but counts."""
    Writing(store, W, KEY, *BEGIN).die()
    alive.append(Writing(store, V, KEY, SetKey("status", "in_progress", NOW + 100)))
    seal.seal(store, KEY)
    assert sealed(store).get("status_reason") is None
    assert recoverer(W) not in store.heads.of(KEY)[0].commit.covers


def test_model_whose_head_did_not_come_with_the_tasks_lacks_nothing(store: Store, tmp_path: Path) -> None:
    """A copy was cut short before the model's head, its run recovered there, and the copy made again."""
    writing = Writing(store, W, KEY, *everything()[:-1])
    seal.seal(store, KEY, own=W, rolling=True)
    writing.write(SetKey("comment", "better", NOW + 200, MODEL))
    copied = copy_of(store, tmp_path / "copy")
    for path in copied.root.glob(f"refs/*/{MODEL}.*"):
        path.unlink()
    copied = Store.open(copied.root)
    before = read(copied, MODEL).encode()
    seal.seal(copied, KEY)
    assert read(copied, MODEL).encode() == before
    writing.end()
    unite(store, copied)
    for each in (read(copied, MODEL), sealed(copied, MODEL)):
        assert (each.get("name"), each.get("comment"), each.get("task")) == ("weights", "better", KEY)


# Damage


def test_events_are_folded_without_gaps(store: Store) -> None:
    """A flipped bit in the middle: what lies before it counts, what lies behind does not, and the head says how far."""
    writing = Writing(store, W, KEY, *BEGIN, *scalars(1, 200))
    writing.die()
    segment = writing.folder / "segment.00000001"
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    found = values(store)
    assert found == [(i, float(i)) for i in range(1, len(found) + 1)]
    assert 50 < len(found) < 150
    seal.seal(store, KEY)
    (head,) = store.heads.of(KEY)
    assert head.commit.covers[W] == len(BEGIN) + len(found)
    assert values(store) == found


def test_journal_that_cannot_be_read_hides_no_other(store: Store) -> None:
    """An event that this version cannot make sense of: it is named, what came before it counts, and it is not lost."""
    broken = Writing(store, W, KEY, *BEGIN)
    broken._journal.append(events.DOCUMENT, b"{")
    broken.write(SetKey("name", "later", NOW + 50))
    broken.die()
    other = "ef" * 16
    Writing(store, V, other, *BEGIN).end()
    reader = Reader(store)
    things = reader.things()
    assert things.keys() == {KEY, other}
    assert things[KEY].state.get("name") == "run"
    assert reader.damaged == {
        f"live/{KEY}/{W}": "event 5: a journal event of kind 1 cannot be read: unexpected end of data: "
        "line 1 column 2 (char 1)"
    }
    seal.seal(store, KEY)
    yesterday = time.time() - 90_000
    for path in broken.folder.iterdir():
        os.utime(path, (yesterday, yesterday))
    seal.seal(store, KEY)
    assert read(store).get("name") == "run"
    assert broken.folder.exists()


def test_events_behind_a_gap_are_not_covered(store: Store) -> None:
    """A journal that was copied while it was removed has lost its first segment: what is left stands for nothing."""
    writing = Writing(store, W, KEY, *BEGIN, *scalars(1, 9000))
    writing.die()
    whole = read(store).encode()
    first = writing.folder / "segment.00000001"
    first.rename(writing.folder / "aside")
    assert Reader(store).things() == {}
    assert not seal.seal(store, KEY)
    assert store.heads.of(KEY) == []
    (writing.folder / "aside").rename(first)
    assert read(store).encode() == whole


def test_deletion_whose_state_was_freed_still_says_that_it_is_one(store: Store) -> None:
    """Of its own stamp: it outlives what was older, and a restore that came after it does not lose to it."""
    Writing(store, W, KEY, *everything()).end()
    seal.seal(store, KEY)
    workspace = Workspace(store, Config())
    removal.delete(workspace, [workspace.thing(KEY)])
    (head,) = store.heads.of(KEY)
    full = read(store)
    for path in store.root.glob("packs/*/*"):
        path.unlink()
    bare = read(Store.open(store.root))
    assert bare.keys["deleted"].stamp == full.keys["deleted"].stamp == head.commit.cut
    assert (bare.kind, bare.get("project"), bare.get("name")) == ("task", "seals", "run")
    with store.begin() as transaction:
        keys = {"deleted": Entry(None, head.commit.cut + 1, "x")}
        seal.commit_state(store, transaction, KEY, State("task", keys), [], {"x": 1})
    assert len(store.heads.of(KEY)) == 2
    assert not read(Store.open(store.root)).get("deleted")


def test_folder_without_events_is_no_task(store: Store) -> None:
    """A process that died between making its folder and its first event."""
    (store.root / layout.live_path(KEY, W)).mkdir(parents=True)
    (store.root / "live" / "not a key" / "w").mkdir(parents=True)
    assert Reader(store).things() == {}
    assert not seal.seal(store, KEY)


def test_state_without_a_record_is_named(store: Store) -> None:
    """A tree of somebody else's under a task's head."""
    Writing(store, W, KEY, *everything()).end()
    seal.seal(store, KEY)
    (head,) = store.heads.of(KEY)
    from dataclasses import replace

    from objstore import files

    with store.begin() as transaction:
        tree, _ = files.put_tree(transaction, [])
        transaction.commit(replace(head.commit, state=tree, covers={W: 99}))
    reader = Reader(store)
    assert KEY not in reader.things()
    assert "has no record" in reader.damaged[KEY]
    with pytest.raises(CorruptRecord):
        read_state(store, store.heads.of(KEY)[0].commit)


def test_state_that_nobody_could_read_back_is_not_written(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Larger than a reader takes: the journal keeps it, and readers fold that."""
    writing = Writing(store, W, KEY, *BEGIN, SetKey("packages", "x" * 2000, NOW + 5))
    writing.end()
    monkeypatch.setattr(layout, "STATE_MAX", 1000)
    from objstore.errors import StoreError

    with pytest.raises(StoreError, match="over the limit of 1000"):
        seal.seal(store, KEY)
    assert writing.folder.exists()
    assert heads(store) == 0
    assert len(read(store).get("packages")) == 2000
    monkeypatch.undo()
    assert seal.seal(store, KEY)


def test_large_state_is_read_back(tmp_path: Path) -> None:
    """Three hundred artifacts with the longest previews there are: more than a commit or tree may have."""
    scripts = Scripts(tmp_path)
    scripts.run(
        """
        from tracker import Task
        task = Task.init("seals", "previews", auto_connect_frameworks=False, auto_connect_streams=False)
        for i in range(300):
            task.set_key(f"artifact/{i}", {"type": "string", "preview": str(i % 10) * 65536, "timestamp": 0})
        """
    )
    assert scripts.ask(
        "t = Task.get_tasks()[0]; answer = [t.status, len(t.artifacts), len(t.artifacts['7'].preview)]"
    ) == [
        "completed",
        300,
        65536,
    ]
    assert list(scripts.store.glob("live/*/*")) == []


# Edges


def test_everything_referred_to_is_an_edge(store: Store) -> None:
    """Beside its record, a state's tree names every object that the record does: all that gc will look at."""
    Writing(store, W, KEY, *everything()).end()
    seal.seal(store, KEY)
    from objstore import files

    (head,) = store.heads.of(KEY)
    entries = {entry.name: entry for entry in files.list_tree(store.objects, head.commit.state)}
    below = {entry.name for entry in files.list_tree(store.objects, entries["objects"].id)}
    assert below == {Ref.parse(text).id for text in read(store).references()}
    assert len(below) == 4  # the artifact, the series, the console, the plot


def test_path_is_for_people(store: Store) -> None:
    """Kind, project, name: what a listing of refs/ shows."""
    Writing(store, W, KEY, *everything()).end()
    seal.seal(store, KEY)
    assert store.heads.of(KEY)[0].commit.path == ("task", "seals", "run")
    assert store.heads.of(MODEL)[0].commit.path == ("model", "", "weights")
    assert [path.name for path in (store.root / "refs").iterdir()] != []


def test_console_is_cut_into_objects(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Line by line, in order, none lost at a border."""
    monkeypatch.setattr(deltas, "_CONSOLE_CHUNK", 100)
    lines = [f"line {i} é" for i in range(30)]
    Writing(store, W, KEY, *BEGIN, *(Text("stdout", NOW + i, line) for i, line in enumerate(lines))).end()
    seal.seal(store, KEY)
    (segment,) = read(store).segments
    assert len(segment.console) > 5
    found = []
    for chunk in segment.console:
        rows = store.objects.read(hash_of(Ref.parse(chunk["$ref"]))).splitlines()
        assert len(rows) == chunk["lines"]
        found += [json.loads(row)[2] for row in rows]
    assert found == lines


@pytest.mark.parametrize("count", [5, 3000])
def test_scalars_come_back_bit_for_bit(store: Store, count: int) -> None:
    """Few or many, interleaved series, repeated and decreasing iterations, NaN with its payload."""
    import struct

    from tracker import scalars as columns

    nan = struct.unpack("<d", (0x7FF8000000000123).to_bytes(8, "little"))[0]
    stream: list[Event] = [*BEGIN, Declare(2, "loss", "test")]
    for i in range(count):
        stream += [Scalar(1, i % 3, NOW + i, float("inf") if i % 2 else nan), Scalar(2, -i, NOW + i, -0.0)]
    Writing(
        store, W, KEY, *stream, Scalar(9, 1, NOW, 1.0)
    ).end()  # the last of a series that was never declared
    seal.seal(store, KEY)
    (segment,) = read(store).segments
    found = {}
    for chunk in segment.scalars:
        for series in columns.decode(store.objects.read(hash_of(Ref.parse(chunk["$ref"])))):
            found[series.series] = series
    assert found.keys() == {"train", "test"}
    packed = b"".join(struct.pack("<d", v) for v in found["train"].values)
    assert packed == b"".join(struct.pack("<d", float("inf") if i % 2 else nan) for i in range(count))
    assert [int(step) for step in found["train"].steps] == [i % 3 for i in range(count)]
    assert [int(step) for step in found["test"].steps] == [-i for i in range(count)]


def test_model_edited_by_a_run_is_merged_with_its_head(store: Store, alive: list[Writing]) -> None:
    """A model that lies in a head and that a running task changes."""
    Writing(store, W, KEY, *everything()).end()
    seal.seal(store, KEY)
    alive.append(Writing(store, V, KEY, SetKey("comment", "better", NOW + 200, MODEL)))
    assert (read(store, MODEL).get("name"), read(store, MODEL).get("comment")) == ("weights", "better")
    assert merge([read(store, MODEL)]).kind == "model"


def test_owner_gone_tells_whether_the_run_is_over(store: Store, alive: list[Writing]) -> None:
    """Not before it began, not while it lives; then, sealed or not."""
    assert not seal.owner_gone(store, KEY)
    owner = Writing(store, W, KEY, *BEGIN)
    assert not seal.owner_gone(store, KEY)
    owner.end()
    assert seal.owner_gone(store, KEY)
    seal.seal(store, KEY)
    assert seal.owner_gone(store, KEY)
    assert journal.liveness(owner.folder) != "alive"
