"""Tasks deleted and brought back, and what that frees: in one place, and between places."""

from __future__ import annotations

import errno
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from objstore import layout as store_layout
from objstore import trash
from objstore.errors import Conflict, NotFound, StoreError
from objstore.ids import ObjectId
from objstore.inventory import pack_files
from objstore.journal import JournalWriter
from objstore.remotes.folder import FolderRemote
from objstore.store import Store
from tracker import events, layout, removal, roots, seal
from tracker.adoption import adopt
from tracker.errors import CorruptRecord, UsageError
from tracker.events import Blob, SetKey
from tracker.package_data import template_dir
from tracker.records import Ref
from tracker.workspace import Workspace

A, B, M = "a" * 32, "b" * 32, "c" * 32
SIZE = 300_000


def noise(seed: int, size: int = SIZE) -> bytes:
    """Bytes that nothing compresses."""
    return random.Random(seed).randbytes(size)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An open, empty store."""
    return Workspace.open_or_create(tmp_path / "here" / ".tracker")


def fresh(workspace: Workspace) -> Workspace:
    """The same store as another process opens it."""
    return Workspace.open(workspace.root)


def task(workspace: Workspace, key: str, content: bytes, **more: Any) -> str:
    """A completed task with an artifact of its own; the artifact's id."""
    ref = workspace.attach(content)
    changes = {"name": key[:3], "project": "p", "status": "completed", "artifact/big": {"$ref": ref}}
    workspace.edit(key, {**changes, **more}, new=True)
    return Ref.parse(ref).id


def collect(workspace: Workspace, times: int = 2) -> None:
    """Collections without a grace."""
    for _ in range(times):
        report = workspace.store.gc(lambda: roots.of_journals(workspace.store), grace=0)
        assert (report.refused, report.problems) == ("", ())


def stored(workspace: Workspace) -> int:
    """Bytes of all packs, those in the trash too."""
    return sum(file.size for file in pack_files(workspace.root))


def has(workspace: Workspace, object_id: str) -> bool:
    """Whether the store has an object, in packs/."""
    return Store.open(workspace.root).objects.has(ObjectId.parse(object_id))


def delete(workspace: Workspace, *keys: str) -> removal.Removal:
    """Delete tasks as `tracker rm --yes` does."""
    found = removal.foresee(workspace, keys)
    removal.delete(workspace, found.things)
    return found


def test_a_deleted_task_is_hidden_at_once_and_its_room_is_free_after_two_collections(
    workspace: Workspace,
) -> None:
    """As many bytes as were said; what another task needs stays. Of the deleted one its last commit stays."""
    task(workspace, A, noise(1))
    shared = noise(2)
    kept = workspace.attach(shared)
    workspace.edit(A, {"artifact/shared": {"$ref": kept}})
    task(workspace, B, shared)
    before = stored(workspace)
    found = delete(fresh(workspace), A)
    assert SIZE < found.size < SIZE + 20_000
    assert list(fresh(workspace).tasks()) == [B]
    collect(workspace)
    assert before - stored(workspace) > SIZE
    assert has(workspace, Ref.parse(kept).id)
    again = fresh(workspace)
    assert list(again.tasks()) == [B]
    assert again.damaged == {}
    assert again.store.fsck().clean
    (head,) = again.store.heads.of(A)
    assert head.commit.deleted


@pytest.mark.parametrize("collections", [0, 1])
def test_a_restored_task_is_as_it_was(workspace: Workspace, collections: int) -> None:
    """Out of the packs or out of the trash; and later collections leave it alone. Its history is there as well."""
    artifact = task(workspace, A, noise(1), **{"tag/x": True})
    workspace.edit(A, {"tag/y": True})
    state = workspace.thing(A).state
    old = workspace.store.heads.of(A)[0].commit.parents[0]
    delete(workspace, A)
    collect(workspace, collections)
    assert removal.restore(fresh(workspace), A) == [A]
    again = fresh(workspace)
    after = again.thing(A).state
    assert {k: e.value for k, e in after.keys.items() if k not in ("deleted", "cut")} == {
        k: e.value for k, e in state.keys.items()
    }
    assert list(again.tasks()) == [A]
    collect(again)
    assert has(again, artifact)
    assert has(again, str(old))
    assert Workspace.open(workspace.root).store.fsck().clean
    assert trash.confirmed(workspace.root) == frozenset()


def test_what_is_gone_cannot_be_restored(workspace: Workspace) -> None:
    """A clear error, and the task stays deleted; deleted again after that it is as before."""
    task(workspace, A, noise(1))
    delete(workspace, A)
    collect(workspace)
    with pytest.raises(NotFound, match="no longer in this store"):
        removal.restore(fresh(workspace), A)
    assert fresh(workspace).tasks() == {}
    task(workspace, B, noise(2))
    with pytest.raises(UsageError, match="not deleted"):
        removal.restore(fresh(workspace), B)


def test_a_deletion_from_elsewhere_hides_and_frees_nothing_until_it_is_repeated_here(
    workspace: Workspace, tmp_path: Path
) -> None:
    """It could be a mistake, or somebody's malice. Until then it can be restored, and that wins there, too."""
    artifact = task(workspace, A, noise(1))
    there = Workspace.open_or_create(tmp_path / "there" / ".tracker")
    there.store.pull(FolderRemote(workspace.root))
    delete(there, A)
    collect(there)
    workspace.store.pull(FolderRemote(there.root))

    here = fresh(workspace)
    assert here.tasks() == {}
    collect(here)
    assert has(here, artifact)
    assert [thing.key for thing in removal.unconfirmed(fresh(here))] == [A]
    removal.restore(fresh(here), A)
    assert list(fresh(here).tasks()) == [A]
    there.store.pull(FolderRemote(workspace.root))
    assert list(fresh(there).tasks()) == [A]
    assert has(there, artifact)
    for each in (here, there):
        collect(each)
        assert has(each, artifact)
        assert Workspace.open(each.root).store.fsck().clean

    delete(fresh(there), A)
    collect(there)
    here.store.pull(FolderRemote(there.root))
    collect(here)
    assert has(here, artifact)
    found = delete(fresh(here), A)
    assert found.size > SIZE
    collect(here)
    assert not has(here, artifact)
    assert removal.unconfirmed(fresh(here)) == []


def test_an_edit_that_did_not_know_of_the_deletion_revives_nothing(
    workspace: Workspace, tmp_path: Path
) -> None:
    """The task stays hidden. It keeps its room, since what was edited nobody here has asked to delete, until then."""
    artifact = task(workspace, A, noise(1))
    there = Workspace.open_or_create(tmp_path / "there" / ".tracker")
    there.store.pull(FolderRemote(workspace.root))
    delete(workspace, A)
    there.edit(A, {"tag/late": True})
    workspace.store.pull(FolderRemote(there.root))
    here = fresh(workspace)
    assert here.tasks() == {}
    collect(here)
    assert has(here, artifact)
    assert [thing.key for thing in removal.unconfirmed(here)] == [A]
    delete(fresh(here), A)
    collect(here)
    assert not has(here, artifact)
    assert fresh(here).tasks() == {}


def model(workspace: Workspace, key: str, maker: str) -> str:
    """An output model of a task, with weights of its own; their id."""
    ref = workspace.attach(noise(7))
    workspace.edit(key, {"name": "m", "task": maker, "weights": {"$ref": ref}}, kind=layout.MODEL, new=True)
    workspace.edit(maker, {f"model/output/{key}": {"name": "m"}})
    return Ref.parse(ref).id


def test_a_task_takes_its_models_along_and_brings_them_back(workspace: Workspace) -> None:
    """Not one that another task has as its input."""
    task(workspace, A, noise(1))
    weights = model(workspace, M, A)
    assert [thing.key for thing in delete(fresh(workspace), A).things] == [A, M]
    collect(workspace, 1)
    assert not has(workspace, weights)
    assert sorted(removal.restore(fresh(workspace), A)) == [A, M]
    assert has(workspace, weights)
    task(workspace, B, noise(2), **{f"model/input/{M}": {"name": "m"}})
    found = delete(fresh(workspace), A)
    assert ([t.key for t in found.things], [t.key for t in found.kept]) == ([A], [M])
    collect(workspace)
    assert has(workspace, weights)
    assert fresh(workspace).damaged == {}


def test_a_deletion_that_is_repeated_makes_no_commit(workspace: Workspace) -> None:
    """It came from elsewhere: to confirm it is all there is to do."""
    task(workspace, A, noise(1))
    delete(workspace, A)
    (before,) = workspace.store.heads.of(A)
    trash.forget(workspace.root, [str(before.id)])
    delete(fresh(workspace), A)
    (after,) = fresh(workspace).store.heads.of(A)
    assert after.id == before.id
    assert trash.confirmed(workspace.root) == {str(before.id)}


def test_a_model_whose_content_is_gone_keeps_no_task_from_coming_back(workspace: Workspace) -> None:
    """What is there comes; the task says that its model is not."""
    artifact = task(workspace, A, noise(1))
    weights = model(workspace, M, A)
    delete(fresh(workspace), A)
    collect(workspace, 1)
    (place,) = Store.open(workspace.root).objects._set_aside(ObjectId.parse(weights))
    next(trash.find(workspace.root, store_layout.pack_path(place.pack_id))).unlink()
    assert removal.restore(fresh(workspace), A) == [A]
    assert has(workspace, artifact)
    assert not has(workspace, weights)


def test_a_collector_that_had_looked_before_takes_nothing_of_what_is_restored(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It read the heads before the restoring one came, and sets aside what only the task needs just after that."""
    artifact = task(workspace, A, noise(1))
    delete(workspace, A)
    (place,) = Store.open(workspace.root).objects.locate(ObjectId.parse(artifact))
    rename = os.rename
    moved: list[Path] = []

    def renamed(source: Path, target: Path) -> None:
        rename(source, target)
        if f"/{store_layout.REFS}/" in str(target) and not moved:
            moved.append(target)
            assert trash.set_aside(workspace.root, store_layout.pack_path(place.pack_id), 7)

    monkeypatch.setattr(os, "rename", renamed)
    assert removal.restore(fresh(workspace), A) == [A]
    assert moved
    assert has(workspace, artifact)


def test_a_failing_disk_is_not_told_as_a_full_one(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To remove the cache would help nobody."""
    task(workspace, A, noise(1))

    def broken(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    found = removal.foresee(workspace, [A])
    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="Input/output error"):
        removal.delete(workspace, found.things)


def test_a_deletion_repeated_here_frees_the_models_that_came_deleted_too(
    workspace: Workspace, tmp_path: Path
) -> None:
    """But not one that a task of this place has as its input."""
    task(workspace, A, noise(1))
    weights = model(workspace, M, A)
    there = Workspace.open_or_create(tmp_path / "there" / ".tracker")
    there.store.pull(FolderRemote(workspace.root))
    delete(there, A)
    workspace.store.pull(FolderRemote(there.root))
    task(workspace, B, noise(2), **{f"model/input/{M}": {"name": "m"}})
    found = delete(fresh(workspace), A)
    assert ([t.key for t in found.things], [t.key for t in found.kept]) == ([A], [M])
    collect(workspace)
    assert has(workspace, weights)
    workspace.edit(B, {f"model/input/{M}": None})
    assert [t.key for t in delete(fresh(workspace), M).things] == [M]
    collect(workspace)
    assert not has(workspace, weights)
    assert removal.unconfirmed(fresh(workspace)) == []


def test_one_deletion_frees_a_task_and_its_model_that_both_came_deleted(
    workspace: Workspace, tmp_path: Path
) -> None:
    """All their room, with the one command that `gc` names."""
    task(workspace, A, noise(1))
    weights = model(workspace, M, A)
    there = Workspace.open_or_create(tmp_path / "there" / ".tracker")
    there.store.pull(FolderRemote(workspace.root))
    delete(there, A)
    collect(there)
    workspace.store.pull(FolderRemote(there.root))
    collect(workspace)
    assert has(workspace, weights)
    assert sorted(thing.key for thing in delete(fresh(workspace), A).things) == [A, M]
    collect(workspace)
    assert not has(workspace, weights)
    assert removal.unconfirmed(fresh(workspace)) == []


def test_a_model_goes_with_the_last_task_that_used_it_once_its_own_is_deleted(workspace: Workspace) -> None:
    """And comes back with it. As long as its own task lives, it stays."""
    task(workspace, A, noise(1))
    weights = model(workspace, M, A)
    task(workspace, B, noise(2), **{f"model/input/{M}": {"name": "m"}})
    assert [thing.key for thing in removal.foresee(fresh(workspace), [B]).things] == [B]
    delete(fresh(workspace), A)
    assert [thing.key for thing in delete(fresh(workspace), B).things] == [B, M]
    collect(workspace, 1)
    assert not has(workspace, weights)
    assert removal.restore(fresh(workspace), B) == [B, M]
    assert has(workspace, weights)


def test_a_model_is_deleted_by_itself_only_where_no_task_needs_it(workspace: Workspace) -> None:
    """Its own task, or one that has it as input, is named."""
    task(workspace, A, noise(1))
    weights = model(workspace, M, A)
    with pytest.raises(Conflict, match=f"is an output of task {A}"):
        removal.foresee(fresh(workspace), [M])
    task(workspace, B, noise(2), **{f"model/input/{M}": {"name": "m"}})
    delete(fresh(workspace), A)
    with pytest.raises(Conflict, match=f"task {B} has model {M} as input"):
        removal.foresee(fresh(workspace), [M])
    workspace.edit(B, {f"model/input/{M}": None})
    assert [thing.key for thing in delete(fresh(workspace), M).things] == [M]
    collect(workspace)
    assert not has(workspace, weights)
    assert list(fresh(workspace).tasks()) == [B]


@pytest.mark.parametrize("deleted_there", [False, True])
def test_what_is_gone_here_is_restored_from_where_it_still_is(
    workspace: Workspace, tmp_path: Path, deleted_there: bool
) -> None:
    """With its models and its history, be the task deleted there, too; and later collections leave it alone."""
    artifact = task(workspace, A, noise(1))
    weights = model(workspace, M, A)
    old = workspace.store.heads.of(A)[0].commit.parents[0]
    there = Workspace.open_or_create(tmp_path / "there" / ".tracker")
    there.store.pull(FolderRemote(workspace.root))
    delete(workspace, A)
    collect(workspace)
    if deleted_there:
        there.store.pull(FolderRemote(workspace.root))
        assert fresh(there).tasks() == {}
    with pytest.raises(NotFound, match=f"tracker restore {A[:12]} --from"):
        removal.restore(fresh(workspace), A)
    with pytest.raises(NotFound, match="where it was looked for"):
        removal.restore(fresh(workspace), A, [FolderRemote(workspace.root)])
    assert removal.restore(fresh(workspace), A, [FolderRemote(there.root)]) == [A, M]
    collect(fresh(workspace))
    assert all(has(workspace, each) for each in (artifact, weights, str(old)))
    assert list(fresh(workspace).tasks()) == [A]
    assert fresh(workspace).damaged == {}
    assert Workspace.open(workspace.root).store.fsck().clean


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounting takes root on Linux")
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_store_for_which_there_is_no_room_says_so_and_leaves_nothing(small_disk: Path) -> None:
    """The system's own words, the place, and no half of a store."""
    with suppress(OSError), (small_disk / "full").open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    with pytest.raises((StoreError, OSError), match=os.strerror(errno.ENOSPC)) as refusal:
        Store.create(small_disk / ".tracker", template_dir())
    assert type(refusal.value) is not shutil.Error
    assert [path.name for path in small_disk.iterdir()] == ["full"]


def delete_if_there_is_room(workspace: Workspace, key: str, advice: str) -> bool:
    """Whether there was; else the error gives this advice."""
    try:
        delete(fresh(workspace), key)
    except StoreError as error:
        if not re.search(advice, str(error)):
            raise
        return False
    return True


def test_a_deletion_on_a_full_disk_says_what_to_do_and_is_finished_by_the_next(small_disk: Path) -> None:
    """With however little room: as long as the model is there, so is the task, and takes it along."""
    workspace = Workspace.open_or_create(small_disk / ".tracker")
    task(workspace, A, noise(1))
    weights = model(workspace, M, A)
    ballast = small_disk / "ballast"
    with ballast.open("ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    failed = models_gone = 0
    advice = re.escape(str(workspace.root / "cache")) + ".*tracker gc --now"
    while not delete_if_there_is_room(workspace, A, advice):
        failed += 1
        assert A in fresh(workspace).tasks()
        models_gone += bool(fresh(workspace).thing(M).state.get("deleted"))
        os.truncate(ballast, ballast.stat().st_size - failed * 4096)  # what has failed leaves a pack or so
    assert failed > 1
    assert models_gone
    assert fresh(workspace).thing(M).state.get("deleted")
    fresh(workspace).store.gc(grace=0, now=True)
    assert not has(workspace, weights)


# --- running tasks ---------------------------------------------------------------------------------------------------


def running(workspace: Workspace, *event: events.Event) -> JournalWriter:
    """A run of this very process, and so one that lives."""
    writer = JournalWriter(workspace.root / layout.live_path(A, "d" * 16), "d" * 16)
    for each in (SetKey("status", "in_progress", 1), *event):
        writer.append(*events.encode(each))
    return writer


def test_a_running_task_cannot_be_deleted(workspace: Workspace) -> None:
    """Nor does the attempt change anything."""
    writer = running(workspace)
    with pytest.raises(Conflict, match=f"task {A} is running"):
        removal.foresee(fresh(workspace), [A])
    writer.close()


def test_what_only_a_journal_names_is_kept(workspace: Workspace) -> None:
    """The artifact of a running task; what the journal holds itself need not be in a pack."""
    ref = workspace.attach(noise(1))
    inline = Ref("blob", "1" * 64, 3)
    value: Mapping[str, Any] = {"list": [{"$ref": ref}]}
    writer = running(
        workspace,
        Blob(inline.id, b"abc"),
        SetKey("artifact/i", {"$ref": str(inline)}, 2),
        SetKey("artifact/x", value, 3),
        SetKey("weights", {"$ref": ref}, 4, of=M),
    )
    collect(workspace)
    assert has(workspace, Ref.parse(ref).id)
    writer.append(*events.encode(SetKey("artifact/x", None, 5)))
    writer.append(*events.encode(SetKey("weights", None, 6, of=M)))
    collect(workspace)
    assert not has(workspace, Ref.parse(ref).id)
    writer.close()


def test_a_journal_that_cannot_be_read_stops_the_collection(workspace: Workspace) -> None:
    """What it needs is not known."""
    workspace.attach(noise(1))
    writer = running(workspace)
    writer.append(events.DOCUMENT, b"no JSON")
    before = stored(workspace)
    with pytest.raises(CorruptRecord, match=A):
        workspace.store.gc(lambda: roots.of_journals(workspace.store), grace=0)
    assert stored(workspace) == before
    assert not list(trash.epochs(workspace.root))
    writer.close()


KILLED = """
import os, sys
from pathlib import Path
from objstore.journal import JournalWriter
from tracker import events
from tracker.events import SetKey
writer = JournalWriter(Path(sys.argv[1]), "d" * 16, mapped=sys.argv[2] == "mapped")
for n in range(3):
    writer.append(*events.encode(SetKey("status", "in_progress", n)))
for n in range(50):
    writer.append(*events.encode(SetKey(f"tag/{n}", True, 10 + n)))
writer.append(*events.encode(SetKey("artifact/x", {"$ref": sys.argv[3]}, 100)))
writer.append(*events.encode(SetKey("tag/last", True, 200)))
os._exit(9)
"""


def killed(workspace: Workspace, ref: str, how: str = "mapped") -> Path:
    """The segment of a run that was killed; its last event but one names an artifact."""
    folder = workspace.root / layout.live_path(A, "d" * 16)
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder), how, ref], check=False)
    assert done.returncode == 9
    return folder / "segment.00000001"


def flip(path: Path, at: int) -> None:
    """Damage one byte."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("place", ["middle", "end"])
def test_a_damaged_journal_stops_collections_until_it_is_set_aside(
    workspace: Workspace, place: str, sealed: bool
) -> None:
    """Also where what can be read of it is sealed by then; what its lost events refer to is kept so long."""
    ref = workspace.attach(noise(1))
    segment = killed(workspace, ref)
    used = len(segment.read_bytes().rstrip(b"\0"))
    flip(segment, used // 2 if place == "middle" else used - 10)
    damaged = segment.read_bytes()
    if sealed:
        assert workspace.recover() == [A]
    for grace, now in ((0, False), (0, True)):
        with pytest.raises(CorruptRecord, match=f"task {A} .*`tracker recover`"):
            workspace.store.gc(lambda: roots.of_journals(workspace.store), grace=grace, now=now)
    assert has(workspace, Ref.parse(ref).id)
    assert not list(trash.epochs(workspace.root))
    workspace.recover()
    moved = seal.set_damaged_aside(workspace.store, A)
    name = layout.live_path(A, "d" * 16)
    assert list(moved) == [name]
    assert "bytes behind them cannot" in moved[name]
    (there,) = trash.find(workspace.root, name)
    assert (there / "segment.00000001").read_bytes() == damaged
    assert fresh(workspace).thing(A).state.get("tag/3")
    assert Workspace.open(workspace.root).store.fsck().clean
    collect(workspace)


@pytest.mark.parametrize("how", ["mapped", "plain"])
def test_a_record_that_a_killed_writer_left_half_written_stops_nothing(
    workspace: Workspace, how: str
) -> None:
    """The call that wrote it never returned. What the events before it name is kept."""
    ref = workspace.attach(noise(1))
    segment = killed(workspace, ref, how)
    data = segment.read_bytes()
    used = len(data.rstrip(b"\0"))
    cut = used - 20
    segment.write_bytes(data[:cut] + (bytes(len(data) - cut) if how == "mapped" else b""))
    collect(workspace)
    assert has(workspace, Ref.parse(ref).id)
    assert seal.set_damaged_aside(workspace.store, A) == {}
    assert Workspace.open(workspace.root).store.fsck().clean


def test_damage_among_sealed_events_stops_collections_where_later_ones_are_lost(workspace: Workspace) -> None:
    """Nothing leads to those any more. Where all is sealed, or the way to them is known, nothing is lost."""
    writer = running(workspace, *(SetKey(f"tag/{n}", True, n) for n in range(20)))
    segment = workspace.root / layout.live_path(A, "d" * 16) / "segment.00000001"
    seal.seal(workspace.store, A, own="d" * 16, rolling=True)
    at = segment.read_bytes().index(b"tag/5")
    number = segment.read_bytes().rindex((7).to_bytes(8, "little"), 0, at)  # of the record that sets it
    flip(segment, number)
    assert roots.of_journals(workspace.store) == []
    writer.append(*events.encode(SetKey("tag/late", True, 50)))
    with pytest.raises(CorruptRecord, match="events from 22 on cannot be read"):
        roots.of_journals(workspace.store)
    flip(segment, number)
    flip(segment, at)  # of a payload: the way goes on
    assert roots.of_journals(workspace.store) == []
    assert fresh(workspace).thing(A).state.get("tag/late")
    writer.close()


def test_a_damaged_journal_whose_writer_lives_is_left_where_it_is(workspace: Workspace) -> None:
    """It may matter yet what it writes; a collection is refused all the same."""
    writer = running(workspace, *(SetKey(f"tag/{n}", True, n) for n in range(9)))
    flip(workspace.root / layout.live_path(A, "d" * 16) / "segment.00000001", 200)
    with pytest.raises(CorruptRecord, match=A):
        workspace.store.gc(lambda: roots.of_journals(workspace.store), grace=0)
    assert seal.set_damaged_aside(workspace.store, A) == {}
    writer.close()


def test_what_is_not_sealed_is_not_set_aside(workspace: Workspace) -> None:
    """Else the events that can still be read were gone with those that cannot."""
    segment = killed(workspace, workspace.attach(noise(1)))
    flip(segment, len(segment.read_bytes().rstrip(b"\0")) // 2)
    assert seal.set_damaged_aside(workspace.store, A) == {}
    assert segment.exists()


def test_a_damaged_journal_is_not_set_aside_quietly(workspace: Workspace) -> None:
    """By those who only come by, however old it is: nobody would hear of what is lost."""
    segment = killed(workspace, workspace.attach(noise(1)))
    flip(segment, len(segment.read_bytes().rstrip(b"\0")) // 2)
    long_ago = time.time() - 90_000
    for path in segment.parent.iterdir():
        os.utime(path, (long_ago, long_ago))
    for _ in range(2):
        workspace.recover()
    assert segment.exists()


def test_a_stand_in_with_a_damaged_journal_stays_and_says_why(workspace: Workspace, tmp_path: Path) -> None:
    """What can be read of it arrives; once the journal is set aside there, the stand-in can go."""
    beside = Workspace.open_or_create(tmp_path / "beside" / "0" / ".tracker")
    segment = killed(beside, beside.attach(noise(1)))
    flip(segment, len(segment.read_bytes().rstrip(b"\0")) // 2)
    assert "is damaged: `tracker --store" in adopt(workspace.store, beside.root).kept
    assert fresh(workspace).thing(A).state.get("tag/3")
    assert seal.set_damaged_aside(fresh(beside).store, A)
    assert adopt(workspace.store, beside.root).kept == ""
    assert not beside.root.exists()


def test_another_tasks_damaged_journal_stops_no_deletion(workspace: Workspace) -> None:
    """It frees nothing by itself."""
    segment = killed(workspace, workspace.attach(noise(1)))
    flip(segment, len(segment.read_bytes().rstrip(b"\0")) // 2)
    task(workspace, B, noise(2))
    assert delete(fresh(workspace), B).size > SIZE
    assert B not in fresh(workspace).tasks()


def test_a_dead_writers_journal_in_the_trash_is_deleted_after_the_grace(workspace: Workspace) -> None:
    """Under the name that it had: whoever misses it finds it there."""
    running(workspace).close()
    name = layout.live_path(A, "d" * 16)
    trash.set_aside(workspace.root, name, int(time.time()))
    assert list(trash.find(workspace.root, name))
    workspace.store.gc()
    assert list(trash.find(workspace.root, name))
    collect(workspace)
    assert not list(trash.find(workspace.root, name))
