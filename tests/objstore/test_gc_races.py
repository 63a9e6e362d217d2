"""Collectors beside writers, beside each other, killed, and on a disk where not one byte can be written."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from objstore import files, layout, trash
from objstore.errors import StoreError
from objstore.gc import collecting
from objstore.ids import Kind, ObjectId
from objstore.inventory import pack_files
from objstore.leftovers import sweep
from objstore.records import Commit, Mode, Tree, TreeEntry
from objstore.store import Store
from tests.objstore import gc_child

if TYPE_CHECKING:
    from tests.objstore.conftest import Save

CHECKOUT = Path(__file__).parents[2]


def start(*words: object) -> subprocess.Popen[bytes]:
    """A process of gc_child.py."""
    return subprocess.Popen(
        [sys.executable, str(Path(gc_child.__file__)), *map(str, words)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
    )


def ended(process: subprocess.Popen[bytes]) -> Any:
    """What it printed."""
    out, _ = process.communicate(timeout=100)
    assert process.returncode == 0
    return json.loads(out)


def test_collectors_without_a_grace_take_nothing_from_writers(store: Store, save: Save) -> None:
    """Two collectors and three writers that share content: every acknowledged head is whole, nobody saw an error."""
    save(store, {"first": b"first"})
    processes = [start("collect", store.root, 4.0) for _ in range(2)]
    writers = [start("write", store.root, f"{number}", 4.0) for number in range(3)]
    collected = [ended(process) for process in processes]
    written = [ended(process) for process in writers]
    assert [each["refused"] for each in collected] == [[], []]
    assert [each["errors"] for each in written] == [[], [], []]
    assert sum(each["deleted"] for each in collected) > 0, "the collectors found nothing to do: no test"
    for _ in range(2):
        assert not store.gc(grace=0).refused
    fresh = Store.open(store.root)
    assert fresh.fsck().clean
    live = fresh.heads.live()
    for each in written:
        for key, numbers in each["last"].items():
            (head,) = live[key]
            found = [
                fresh.objects.read(e.id)
                for e in Tree.decode(fresh.objects.read(head.commit.state, Kind.TREE)).entries
            ]
            assert found == [gc_child.content(number) for number in numbers]


def test_a_head_whose_writer_is_not_done_yet_is_waited_for(store: Store, save: Save) -> None:
    """A collector took its pack, and the disk takes its time before the writer sees that and puts it again."""
    before = packs(store.root)
    save(store, {"name": b"content"})
    (pack_id,) = packs(store.root) - before
    pack, held = store.root / layout.pack_path(pack_id), store.root.parent / "in hand"
    pack.rename(held)
    writer = threading.Timer(0.4, held.rename, [pack])
    writer.start()
    report = Store.open(store.root).gc(grace=0)
    writer.join()
    assert not report.refused
    assert Store.open(store.root).fsck().clean


@pytest.mark.parametrize("size", [1000, 9 << 20], ids=["small", "large"])
def test_a_writer_that_slept_through_two_collections_is_complete_or_says_so(store: Store, size: int) -> None:
    """What it had stored before it slept is gone: what it had in hand is stored again, else there is no head."""
    data = random.Random(1).randbytes(size)
    transaction = store.begin()
    blob = transaction.put_bytes(data)
    other = transaction.put_bytes(b"other")
    transaction.settle([blob, other])
    for _ in range(2):
        Store.open(store.root).gc(grace=0)
    tree, _ = files.put_tree(transaction, [TreeEntry("f", Mode.FILE, blob, size)])
    transaction.commit(Commit("a" * 32, ("t", "p", "n"), (), 1, 1, tree, {"w": 1}))
    if size == 1000:
        transaction.publish()
        assert Store.open(store.root).objects.read(blob) == data
        assert Store.open(store.root).fsck().clean
        return
    with pytest.raises(StoreError, match="store it again"):
        transaction.publish()
    assert Store.open(store.root).heads.live() == {}
    with Store.open(store.root).begin() as again:
        assert again.put_bytes(data) == blob
        tree, _ = files.put_tree(again, [TreeEntry("f", Mode.FILE, blob, size)])
        again.commit(Commit("a" * 32, ("t", "p", "n"), (), 1, 1, tree, {"w": 1}))
    assert Store.open(store.root).fsck().clean


def test_what_a_writer_touched_since_the_listing_is_not_set_aside(store: Store, save: Save) -> None:
    """It relies on that pack, and its head may be there the next moment."""
    save(store, {"kept": b"kept"})
    before = packs(store.root)
    with store.begin() as transaction:
        transaction.put_bytes(b"relied on" * 100)
    (pack_id,) = packs(store.root) - before

    def touched() -> list[Any]:
        os.utime(store.root / layout.pack_path(pack_id))
        return []

    assert store.gc(touched, grace=0).aside.files == 0
    assert store.gc(grace=0).aside.files == 1


def test_what_a_writer_touched_at_the_last_moment_is_not_set_aside(
    store: Store, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each pack is looked at once more right before it goes."""
    save(store, {"kept": b"kept"})
    before = packs(store.root)
    with store.begin() as transaction:
        transaction.put_bytes(b"relied on" * 100)
    (pack_id,) = packs(store.root) - before

    def sweeping(*given: Any) -> list[int]:
        os.utime(store.root / layout.pack_path(pack_id))
        return sweep(*given)

    monkeypatch.setattr(collecting, "sweep", sweeping)  # what comes just before
    assert store.gc(grace=0).aside.files == 0
    assert pack_id in packs(store.root)


def test_a_pack_that_came_after_the_roots_were_asked_is_left_alone(store: Store, save: Save) -> None:
    """Its head was not there yet to be seen."""
    save(store, {"kept": b"kept"})
    late: list[Any] = []

    def publishing() -> list[Any]:
        if not late:
            with Store.open(store.root).begin() as transaction:
                late.append(transaction.put_bytes(b"late" * 100))
        return []

    assert store.gc(publishing, grace=0).aside.files == 0
    assert Store.open(store.root).objects.has(late[0])


def test_now_puts_back_what_came_to_be_needed_before_it_deletes(store: Store, save: Save) -> None:
    """The roots are read a second time when everything has been set aside, and only then does anything go for good."""
    save(store, {"kept": b"kept"})
    with store.begin() as transaction:
        blob = transaction.put_bytes(b"wanted" * 100)
    asked: list[int] = []

    def named_late() -> list[Any]:
        asked.append(1)
        return [(Kind.BLOB, blob)] if len(asked) > 1 else []

    report = store.gc(named_late, grace=0, now=True)
    assert (report.put_back.files, report.deleted.files, report.refused) == (1, 0, "")
    assert Store.open(store.root).objects.has(blob)


def packs(root: Path) -> set[str]:
    """The ids of the packs in packs/."""
    return {file.id for file in pack_files(root) if file.epoch is None}


# --- killed ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["die", "die-now"])
def test_a_collector_that_dies_at_any_step_harms_nothing_and_the_next_one_ends_its_work(
    tmp_path: Path, role: str
) -> None:
    """Killed before each of the calls by which it changes names."""
    process = start(role, tmp_path)
    out, _ = process.communicate(timeout=110)
    steps = [json.loads(line) for line in out.splitlines()]
    assert process.returncode == 0
    assert len(steps) > 15
    for number, step in enumerate(steps):
        assert step == {"wrong": [], "size": step["size"]}, number
        assert step["size"] < 10_000


# --- no room ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB and 60 files of its own, in memory."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m,nr_inodes=60", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a file system is not allowed here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> None:
    """Leave not one byte and not one name on a disk."""
    with (folder / "filler").open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    with suppress(OSError):
        for number in range(1000):
            (folder / f"name{number}").touch()
    with pytest.raises(OSError, match="No space"):
        (folder / "one more").touch()


def test_now_makes_room_where_not_one_byte_and_not_one_name_is_left(small_disk: Path) -> None:
    """No trash, no temporary file, no lock: a pack is hidden under a name as long as its own, and then unlinked."""
    root = small_disk / "store"
    store = Store.create(root)
    noise = random.Random(3).randbytes(2 << 20)
    with store.begin() as transaction:
        dead = transaction.put_bytes(noise)
        transaction.settle([dead])
    with store.begin() as transaction:
        in_part = transaction.put_bytes(noise[: 1 << 20])
        blob = transaction.put_bytes(b"live" * 100)
        tree, _ = files.put_tree(transaction, [TreeEntry("f", Mode.FILE, blob, 400)])
        transaction.commit(Commit("a" * 32, ("t", "p", "n"), (), 1, 1, tree, {"w": 1}))
    fill(small_disk)
    report = Store.open(root).gc(grace=0, now=True)
    assert (report.refused, report.problems) == ("", ())
    assert report.deleted.size > 3 << 20
    fresh = Store.open(root)
    assert fresh.objects.read(blob) == b"live" * 100
    assert not fresh.objects.has(dead)
    assert not fresh.objects.has(in_part)
    assert fresh.fsck().clean
    assert sum(file.size for file in pack_files(root)) < 10_000
    assert os.listdir(root / "trash") == []
    with store.begin() as transaction:
        transaction.put_bytes(noise[: 1 << 20])


def test_what_was_hidden_and_not_yet_deleted_is_found_by_the_next_run(store: Store, save: Save) -> None:
    """Put back where it is needed, else deleted in its time."""
    commit = save(store, {"kept": b"kept" * 100})
    with store.begin() as transaction:
        transaction.put_bytes(b"dead" * 100)
    for pack_id in packs(store.root):
        path = store.root / layout.pack_path(pack_id)
        path.rename(path.with_name(f".{path.name}"))
    report = store.gc()
    assert (report.put_back.files, report.deleted.files, report.waiting.files) == (1, 0, 1)
    assert store.gc(grace=0).deleted.files == 1
    assert Store.open(store.root).fsck().clean
    assert ObjectId(commit.state)


def test_a_head_that_comes_while_its_pack_goes_is_seen(
    store: Store, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its writer has looked for the pack just before; the collector looks for heads just after, and puts it back."""
    save(store, {"other": b"other"})
    transaction = store.begin()
    blob = transaction.put_bytes(b"needed" * 100)
    tree, _ = files.put_tree(transaction, [TreeEntry("f", Mode.FILE, blob, 600)])
    transaction.commit(Commit("a" * 32, ("t", "p", "n"), (), 1, 1, tree, {"w": 1}))
    transaction.settle([blob])
    real = trash.set_aside

    def set_aside(root: Path, name: str, epoch: int) -> bool:
        monkeypatch.setattr(trash, "set_aside", real)
        transaction.publish()
        return real(root, name, epoch)

    monkeypatch.setattr(trash, "set_aside", set_aside)
    report = Store.open(store.root).gc(grace=0)
    assert (report.refused, report.put_back.files) == ("", 1)
    again = Store.open(store.root)
    assert "a" * 32 in again.heads.live()
    assert again.fsck().clean
