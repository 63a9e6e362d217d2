"""heal: what is damaged or gone comes back from wherever a sound copy is, and nothing else is changed."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest

from objstore import layout, trash
from objstore.errors import NotFound, ReadOnly, StoreError
from objstore.frame import encode, encode_list
from objstore.fsck import check
from objstore.graph import closure
from objstore.heads import Heads, Table
from objstore.heal import Healed, heal
from objstore.ids import Kind, ObjectId, hash_bytes, hash_object
from objstore.objects import Objects
from objstore.pack import Footer, PackWriter, pack_bytes
from objstore.publish import publish_pack, temporary
from objstore.records import ChunkList, Commit, canonical
from objstore.remotes.folder import FolderRemote
from objstore.salvage import Piece, pieces
from objstore.scrub import Contents
from objstore.store import Store

Save = Callable[..., Commit]
KEY = "0123456789abcdef0123456789abcdef"
LARGE = random.Random(1).randbytes(9 * layout.MIB)
SMALL = 30 * layout.KIB  # bytes of noise in a run's file: enough that damage hits content


@dataclass(frozen=True)
class Content:
    """All that the living heads of a store reach: the heads by key, and every object's id with its kind."""

    heads: dict[str, list[ObjectId]]
    objects: frozenset[tuple[Kind, ObjectId]]


def content(root: Path) -> Content:
    """What a store holds; raises when any of it cannot be read or does not hash to its id."""
    objects, live = Objects(root), Heads(root).live()
    roots = [(Kind.COMMIT, head.id) for heads in live.values() for head in heads]
    nodes = frozenset(closure(objects, roots))
    for kind, object_id in nodes:
        for _ in objects.stream(object_id, kind):
            pass
    objects.close()
    return Content({key: [h.id for h in heads] for key, heads in live.items()}, nodes)


def fill(store: Store, save: Save, runs: int = 24) -> None:
    """Runs of several projects: with history, shared content, a large file, some heads in a table, one deleted."""
    noise = random.Random(2)
    shared = noise.randbytes(SMALL)
    for number in range(runs):
        key, path = f"{number:032x}", ("task", f"project {number % 3}", f"run {number}")
        files = {"own": noise.randbytes(SMALL), "shared": shared, "text": b"line %d\n" % number * 500}
        commit = save(store, files, key=key, path=path)
        if number % 4 == 0:
            large = LARGE if number == 0 else LARGE[: 5 * layout.MIB] + noise.randbytes(4 * layout.MIB)
            save(store, {**files, "large": large}, key=key, path=path, parents=(commit.id,))
    with store.begin() as transaction:
        gone = store.heads.of(f"{5:032x}")[0].commit
        transaction.commit(
            Commit(gone.key, gone.path, (gone.id,), 2, 2, gone.state, {"w": 9, "writer": 9}, 1, deleted=True)
        )
    fold(store, range(runs // 2))


def fold(store: Store, numbers: range) -> None:
    """Move the heads of some runs into a table."""
    heads = [head for number in numbers for head in store.heads.of(f"{number:032x}")]
    data = Table(tuple(heads)).encode()
    (store.root / layout.table_path(hash_bytes(data).hex())).write_bytes(data)
    for head in heads:
        for path in (store.root / "refs").glob(f"*/{head.key}.*"):
            path.unlink()


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a filled store and a remote that holds all of it. Not to be changed: copy it."""
    from tests.objstore.conftest import put as save

    folder = tmp_path_factory.mktemp("heal")
    store = Store.create(folder / "store")
    fill(store, save)
    store.push(FolderRemote(folder / "remote", create=True))
    store.close()
    return folder


@pytest.fixture
def damaged(original: Path, tmp_path: Path) -> Path:
    """A copy of the filled store, to be damaged."""
    shutil.copytree(original / "store", tmp_path / "store", dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "store" / "cache")
    return tmp_path / "store"


def files_of(root: Path, part: str) -> list[Path]:
    """The files below a folder of the store, sorted."""
    return sorted(path for path in (root / part).rglob("*") if path.is_file())


def delete(path: Path, source: random.Random) -> None:
    """Somebody cleaned up."""
    path.unlink()


def flip(path: Path, source: random.Random) -> None:
    """One bit, anywhere."""
    data = bytearray(path.read_bytes())
    data[source.randrange(len(data))] ^= 1 << source.randrange(8)
    path.write_bytes(data)


def flip_end(path: Path, source: random.Random) -> None:
    """Some bits near the end: of a pack's footer and trailer."""
    data = bytearray(path.read_bytes())
    for _ in range(3):
        data[-1 - source.randrange(min(len(data), 400))] ^= 1 << source.randrange(8)
    path.write_bytes(data)


def truncate(path: Path, source: random.Random) -> None:
    """To any length, 0 included."""
    os.truncate(path, source.randrange(path.stat().st_size))


def swap(path: Path, source: random.Random) -> None:
    """The content of another pack, head or table, under this one's name."""
    path.write_bytes(source.choice(files_of(path.parents[1], "")).read_bytes())


def tear(path: Path, source: random.Random) -> None:
    """A page of zeros, as a disk may return after a crash."""
    data = path.read_bytes()
    at = source.randrange(len(data))
    path.write_bytes(data[:at] + bytes(len(data[at : at + 4096])) + data[at + 4096 :])


def replace_with_folder(path: Path, source: random.Random) -> None:
    """Not even a file."""
    path.unlink()
    path.mkdir()


HARM = (delete, flip, flip_end, truncate, swap, tear, replace_with_folder)


def harm(root: Path, seed: int, share: float = 0.05) -> list[str]:
    """Damage this share of the packs, and of the heads and tables, each in some way; returns what was done."""
    source, done = random.Random(seed), []
    for part in ("packs", "refs", "refs.packed"):
        paths = files_of(root, part)
        for path in source.sample(paths, min(len(paths), max(1, round(len(paths) * share)))):
            how = source.choice(HARM)
            how(path, source)
            done.append(f"{how.__name__} {path.relative_to(root)}")
    return done


def look(root: Path) -> dict[str, tuple[int, int]]:
    """Every file of a store but those in its cache, with size and time."""
    found = (p for p in root.rglob("*") if "cache" not in p.parts and p.is_file())
    return {str(p.relative_to(root)): (p.stat().st_size, p.stat().st_mtime_ns) for p in found}


@pytest.mark.parametrize("seed", range(12))
def test_all_comes_back_from_a_remote_that_has_it(original: Path, damaged: Path, seed: int) -> None:
    """5 % of packs, and some heads and tables, deleted or damaged in whatever way: every head and object is back."""
    wanted = content(original / "store")
    done = harm(damaged, seed)
    healed = heal(damaged, [FolderRemote(original / "remote")], unite=True)
    assert healed.report.problems == (), done
    assert content(damaged) == wanted, done
    assert check(damaged).clean
    before = look(damaged)
    again = heal(damaged, [FolderRemote(original / "remote")], unite=True)
    assert (again.report.clean, again.aside, again.saved, again.heads) == (True, (), 0, ())
    assert look(damaged) == before


def pack_with(store: Store, object_id: ObjectId) -> Path:
    """The file of the one pack that holds an object."""
    (place,) = store.objects.locate(object_id)
    return store.root / layout.pack_path(place.pack_id)


def blob(data: bytes) -> ObjectId:
    """The id of a file's content."""
    return hash_object(Kind.BLOB, data)


def damage(path: Path, where: bytes) -> None:
    """Change one byte in the middle of these bytes of a file."""
    data = bytearray(path.read_bytes())
    data[data.index(where) + len(where) // 2] ^= 1
    path.write_bytes(data)


def test_a_sound_store_is_left_alone(original: Path, damaged: Path) -> None:
    """Nothing is written, not even where a remote knows other things."""
    before = look(damaged)
    healed = heal(damaged, [FolderRemote(original / "remote")])
    assert healed == Healed(check(damaged), (), 0, {}, (), (), {})
    assert look(damaged) == before


def test_what_is_sound_in_a_damaged_pack_is_saved_without_any_source(store: Store, save: Save) -> None:
    """The one object that is damaged is named with what needs it; the file waits in the trash."""
    noise = [random.Random(n).randbytes(SMALL) for n in range(5)]
    save(store, {str(n): data for n, data in enumerate(noise)}, path=("task", "p", "mine"))
    path = pack_with(store, blob(noise[2]))
    where = path.relative_to(store.root).as_posix()
    damage(path, noise[2])
    broken = path.read_bytes()
    healed = heal(store.root)
    assert [p.where for p in healed.report.problems] == [f"blob {blob(noise[2])}"]
    assert healed.report.problems[0].touches == (("task", "p", "mine"),)
    assert "--from" in healed.report.problems[0].advice
    assert healed.aside == (where,)
    assert healed.saved == 6  # four files, a tree and a commit
    fresh = Store.open(store.root)
    assert [fresh.objects.read(blob(data)) for data in noise[:2] + noise[3:]] == noise[:2] + noise[3:]
    with pytest.raises(NotFound):
        fresh.objects.read(blob(noise[2]))
    (epoch,) = trash.epochs(store.root)
    assert (store.root / "trash" / str(epoch) / "damaged" / where).read_bytes() == broken
    again = heal(store.root)
    assert (again.report, again.aside, again.saved) == (healed.report, (), 0)


@pytest.mark.parametrize("lost", [1, 9, 200, 600])
def test_a_pack_whose_footer_is_damaged_or_gone_still_gives_what_hashes_right(
    store: Store, save: Save, lost: int
) -> None:
    """The footer flipped or cut off: raw files and records need none; the pack is whole again where guesses suffice."""
    noise = [random.Random(n).randbytes(SMALL) for n in range(3)]
    commit = save(store, {str(n): data for n, data in enumerate(noise)})
    path = pack_with(store, blob(noise[0]))
    os.truncate(path, path.stat().st_size - lost)
    healed = heal(store.root)
    assert healed.report.problems == ()
    assert check(store.root).clean
    fresh = Store.open(store.root)
    assert [fresh.objects.read(blob(data)) for data in noise] == noise
    assert fresh.objects.read(commit.id, Kind.COMMIT) == commit.encode()


def test_a_pack_that_can_be_made_whole_keeps_its_name(store: Store, save: Save) -> None:
    """A bit of its trailer: the same frames make the same footer, so whatever claims the pack is true again."""
    save(store, {"text": b"some text " * 3000, "more": b"other text " * 2000})
    (path,) = files_of(store.root, "packs")
    data = path.read_bytes()
    path.write_bytes(data[:-1] + b"X")
    healed = heal(store.root)
    assert healed.report.clean
    assert files_of(store.root, "packs") == [path]
    assert path.read_bytes() == data
    (aside,) = files_of(store.root, "trash")
    assert aside.read_bytes() == data[:-1] + b"X"


def test_the_right_pack_under_another_ones_name_takes_its_place(store: Store, save: Save) -> None:
    """The right one's content is saved, and its name is free for the right file."""
    save(store, {"a": LARGE[:SMALL]})
    (right,) = files_of(store.root, "packs")
    data = right.read_bytes()
    wrong = right.with_name(f"{right.name[:2]}{'0' * 62}.pack")
    right.rename(wrong)
    healed = heal(store.root)
    assert healed.report.clean
    assert healed.aside == (wrong.relative_to(store.root).as_posix(),)
    assert right.read_bytes() == data
    assert not wrong.exists()


@pytest.mark.parametrize("state", ["damaged", "a folder"])
def test_a_pack_found_under_another_name_takes_its_own_place(store: Store, save: Save, state: str) -> None:
    """Whatever lies there; the file with the wrong name goes to the trash, and what lay there too."""
    content_ = [random.Random(n).randbytes(SMALL) for n in range(2)]
    for number, data in enumerate(content_):
        save(store, {"a": data}, key=f"{number:032x}")
    wrong, right = files_of(store.root, "packs")
    data = right.read_bytes()
    shutil.copy(right, wrong)
    if state == "damaged":
        damage(right, next(c for c in content_ if c in data))
    else:
        right.unlink()
        right.mkdir()
    healed = heal(store.root)
    assert right.read_bytes() == data
    assert not wrong.exists()
    assert sorted(healed.aside) == [p.relative_to(store.root).as_posix() for p in (wrong, right)]
    assert len([p for p in healed.report.problems if p.where.startswith("tree")]) == 1


def add_pack(store: Store, *contents: bytes) -> Path:
    """A pack of these blobs, in this order."""
    writer = PackWriter(temporary(store.root))
    for data in contents:
        writer.add(*encode(Kind.BLOB, data), [(blob(data), len(data))])
    return store.root / layout.pack_path(publish_pack(store.root, store.objects, writer))


def test_a_copy_in_another_pack_is_enough(store: Store, save: Save) -> None:
    """What is sound elsewhere is not written anew."""
    one, two = (random.Random(n).randbytes(SMALL) for n in range(2))
    save(store, {"one": one, "two": two})
    add_pack(store, two, one)
    damage(add_pack(store, one, two), one)
    packs = len(files_of(store.root, "packs"))
    healed = heal(store.root)
    assert (healed.report.clean, healed.saved, len(healed.aside)) == (True, 0, 1)
    assert len(files_of(store.root, "packs")) == packs - 1


def test_two_damaged_packs_never_count_on_each_other(store: Store) -> None:
    """What both of them have, and nothing else, is saved out of one."""
    both, *lost = (random.Random(n).randbytes(SMALL) for n in range(3))
    for data in lost:
        damage(add_pack(store, both, data), data)
    healed = heal(store.root)
    assert (healed.report.clean, len(healed.aside)) == (True, 2)
    assert Store.open(store.root).objects.read(blob(both)) == both
    assert healed.dropped == tuple(sorted(f"blob {blob(data)}" for data in lost))


def test_a_list_that_lies_is_not_carried_along(store: Store, save: Save) -> None:
    """The pack's other objects are saved; the blob is there by its true list."""
    save(store, {"large": LARGE})
    chunk, rest = LARGE[:SMALL], random.Random(5).randbytes(SMALL)
    writer = PackWriter(temporary(store.root))
    for data in (chunk, rest):
        writer.add(*encode(Kind.BLOB, data), [(blob(data), len(data))])
    lie = ChunkList(0, ((blob(chunk), SMALL),)).encode()
    writer.add(*encode_list(lie, SMALL), [(blob(LARGE[:-1]), SMALL)])
    publish_pack(store.root, store.objects, writer)
    assert not check(store.root).clean
    healed = heal(store.root)
    assert (healed.report.clean, len(healed.aside)) == (True, 1)
    objects = Store.open(store.root).objects
    assert objects.read(blob(rest)) == rest
    assert not objects.has(blob(LARGE[:-1]))


# --- sources -------------------------------------------------------------------------------------------------------


def test_what_gc_has_set_aside_comes_back_from_the_trash(store: Store, save: Save) -> None:
    """A pack in the trash is the nearest copy."""
    save(store, {"a": LARGE[:SMALL]})
    (path,) = files_of(store.root, "packs")
    assert trash.set_aside(store.root, path.relative_to(store.root).as_posix(), 1_700_000_000)
    assert not check(store.root).clean
    healed = heal(store.root)
    assert healed.report.clean
    assert (healed.fetched, healed.saved) == ({"trash": 2}, 1)  # the commit was in the head file
    assert check(store.root).clean


def test_a_damaged_pack_in_the_trash_gives_only_what_is_sound(store: Store, save: Save) -> None:
    """Nothing is believed there either."""
    noise = random.Random(3).randbytes(SMALL)
    save(store, {"a": LARGE[:SMALL], "b": noise})
    (path,) = files_of(store.root, "packs")
    damage(path, noise)
    trash.set_aside(store.root, path.relative_to(store.root).as_posix(), 1_700_000_000)
    healed = heal(store.root)
    assert [p.where for p in healed.report.problems] == [f"blob {blob(noise)}"]


def test_a_file_of_the_users_own_gives_back_what_was_stored_of_it(
    store: Store, save: Save, tmp_path: Path
) -> None:
    """A small file as one blob; of a large one only the chunks that are missing; or all of it, its list too."""
    small = random.Random(3).randbytes(SMALL)
    save(store, {"small": small, "large": LARGE})
    own = tmp_path / "own"
    (own / "deep").mkdir(parents=True)
    (own / "large.bin").write_bytes(LARGE)
    (own / "deep/small.bin").write_bytes(small)
    (own / "other.bin").write_bytes(b"no part of it")
    damage(pack_with(store, blob(small)), small)
    chunks = max(files_of(store.root, "packs"), key=lambda path: path.stat().st_size)
    damage(chunks, LARGE[3_000_000:3_000_100])
    first = heal(store.root, [own / "large.bin"])
    assert [p.where for p in first.report.problems] == [f"blob {blob(small)}"]
    assert first.fetched == {str(own / "large.bin"): 1}
    second = heal(store.root, [own])
    assert second.report.clean
    assert second.fetched == {str(own): 1}
    for path in files_of(store.root, "packs"):
        if path.stat().st_size > layout.MIB:
            path.unlink()  # the chunks and the list
    third = heal(store.root, [own / "large.bin"])
    assert third.report.clean
    assert b"".join(Store.open(store.root).objects.stream(blob(LARGE))) == LARGE


def test_a_changed_file_still_gives_the_chunks_that_are_as_they_were(
    store: Store, save: Save, tmp_path: Path
) -> None:
    """Only what hashes to a missing id is taken."""
    save(store, {"large": LARGE})
    own = tmp_path / "newer.bin"
    own.write_bytes(b"a new beginning" + LARGE[: 8 * layout.MIB] + b"and a new end")
    damage(max(files_of(store.root, "packs"), key=lambda p: p.stat().st_size), LARGE[3_000_000:3_000_100])
    before = readable(store.root)
    healed = heal(store.root, [own])
    assert healed.report.clean
    assert len(readable(store.root) - before) == 2  # the chunk, and so the whole
    assert not Store.open(store.root).objects.has(blob(own.read_bytes()))


def test_sources_complete_each_other(original: Path, damaged: Path, tmp_path: Path) -> None:
    """Two remotes with half of the packs each: one's tree names what only the other has."""
    wanted = content(damaged)
    for path in files_of(damaged, "packs"):
        path.unlink()
    halves = [tmp_path / "one", tmp_path / "two"]
    for half in halves:
        half.mkdir()
    for number, path in enumerate(files_of(original / "store", "packs")):
        target = halves[number % 2] / path.relative_to(original / "store")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    healed = heal(damaged, [FolderRemote(half) for half in halves])
    assert healed.report.clean
    assert content(damaged) == wanted


def test_a_source_that_fails_is_named_and_the_next_one_is_asked(
    original: Path, damaged: Path, tmp_path: Path
) -> None:
    """A disk that is not mounted, a file that is not there."""
    wanted = content(damaged)
    harm(damaged, 1)
    absent, nowhere = FolderRemote(tmp_path / "absent"), tmp_path / "no such file"
    healed = heal(damaged, [absent, nowhere, FolderRemote(original / "remote")], unite=True)
    assert healed.report.clean
    assert content(damaged) == wanted
    assert set(healed.failed) == {absent.url, str(nowhere)}
    assert "mounted" in healed.failed[absent.url]


def test_nothing_wrong_is_taken_from_a_remote_that_is_damaged_too(
    original: Path, damaged: Path, tmp_path: Path
) -> None:
    """What only it had stays missing and is named; all else is there."""
    shutil.copytree(original / "remote", tmp_path / "remote")
    for seed, root in ((3, damaged), (4, tmp_path / "remote")):
        harm(root, seed, 0.6)
    healed = heal(damaged, [FolderRemote(tmp_path / "remote")], unite=True)
    assert not healed.report.clean
    after = check(damaged)
    assert after.problems or after.notes  # of a commit that is no head any more it is a note
    # A damaged head stays while its name is all that is left of it.
    assert {p.where.split()[0].split("/")[0] for p in check(damaged).problems} <= {
        "blob",
        "tree",
        "commit",
        "refs",
    }
    assert heal(damaged, [FolderRemote(original / "remote")], unite=True).report.clean
    assert content(damaged) == content(original / "store")


def test_heads_that_this_store_never_had_are_brought_only_on_request(
    store: Store, save: Save, tmp_path: Path
) -> None:
    """A remote may hold the work of a whole team."""
    save(store, {"a": b"mine"})
    remote = FolderRemote(tmp_path / "remote", create=True)
    store.push(remote)
    other = Store.create(tmp_path / "other")
    save(other, {"b": b"theirs"}, key="f" * 32)
    other.push(remote)
    for path in (*files_of(store.root, "packs"), *files_of(store.root, "refs")):
        os.truncate(path, 9)
    assert heal(store.root, [remote]).report.clean
    assert set(Heads(store.root).live()) == {KEY}
    assert heal(store.root, [remote], unite=True).report.clean
    assert set(Heads(store.root).live()) == {KEY, "f" * 32}


def test_nothing_comes_along_that_nothing_needs(store: Store, save: Save, tmp_path: Path) -> None:
    """A small pack of the remote that holds one lost object and one that was deleted: only the lost one is fetched."""
    far = Store.create(tmp_path / "far")
    with far.begin() as transaction:  # one pack with both
        unneeded = transaction.put_bytes(LARGE[: 300 * layout.KIB])  # a frame of its own
        needed = transaction.put_bytes(b"mine")
    save(store, {"a": b"mine"})
    (pack,) = (store.root / "packs").rglob("*.pack")
    for path in (far.root / "packs").rglob("*.pack"):
        assert {unneeded, needed} <= {o.id for o in far.objects.footer(path.stem).objects}
    save(far, {"a": b"mine"})
    pack.unlink()
    for unite in (False, True):
        assert heal(store.root, [FolderRemote(far.root)], unite=unite).report.clean
        store.objects.refresh()
        assert store.objects.has(needed)
        assert not store.objects.has(unneeded)
    save(far, {"b": b"other"}, key="f" * 32)
    assert heal(store.root, [FolderRemote(far.root)], unite=True).report.clean
    store.objects.refresh()
    assert not store.objects.has(unneeded)


# --- heads ---------------------------------------------------------------------------------------------------------


def test_heads_come_back_from_the_commits_in_packs(original: Path, damaged: Path) -> None:
    """All of refs/ and refs.packed/ gone, and no remote: the same heads live, the deleted one is deleted."""
    wanted = content(damaged)
    for part in ("refs", "refs.packed"):
        shutil.rmtree(damaged / part)
        (damaged / part).mkdir()
    healed = heal(damaged)
    assert healed.report.clean
    assert content(damaged) == wanted
    assert len(healed.heads) == len(wanted.heads)
    assert Heads(damaged).of(f"{5:032x}")[0].commit.deleted


def test_a_commit_that_another_covers_is_no_head_again(store: Store, save: Save) -> None:
    """Neither an old one nor one of a task that was running then."""
    first = save(store, {"a": b"1"}, covers={"w": 1})
    with store.begin() as transaction:
        rolling = Commit(KEY, first.path, (), 1, 5, first.state, {"w": 2}, rolling=True)
        transaction.commit(rolling)
    last = save(store, {"a": b"3"}, covers={"w": 3}, parents=(first.id,))
    for path in files_of(store.root, "refs"):
        if str(last.id) not in path.name:
            path.unlink()
    before = look(store.root)
    assert heal(store.root).heads == ()
    assert look(store.root) == before
    for path in files_of(store.root, "refs"):
        path.unlink()
    assert [head.id for head in heal(store.root).heads] == [last.id]


def test_a_record_that_only_looks_well_is_never_believed(store: Store, save: Save) -> None:
    """A digit of a commit changed, and the footer gone: it parses, it covers the true head, and it is no head."""
    commit = save(store, {"a": b"1"}, covers={"w": 1})
    (path,) = files_of(store.root, "packs")
    footer = store.objects.footer(path.stem)
    frames = path.read_bytes()[: footer.frames_size]
    wrong = commit.encode().replace(b'{"w":1}', b'{"w":9}')
    header, stored = encode(Kind.COMMIT, wrong)
    path.write_bytes(frames[: footer.frames[-1].offset] + header.pack() + stored)
    healed = heal(store.root)
    assert healed.report.clean
    assert healed.heads == ()
    assert [head.id for head in Heads(store.root).of(KEY)] == [commit.id]
    objects = Objects(store.root)
    assert sum(len(objects.footer(pack_id).objects) for pack_id in objects.pack_ids()) == 3
    assert not objects.has(hash_object(Kind.COMMIT, wrong))


def test_a_commit_whose_objects_are_not_all_here_is_no_head(store: Store, save: Save) -> None:
    """A pull that was cut short leaves such commits: they are named, and the head comes with what it needs."""
    save(store, {"a": LARGE[:SMALL]}, path=("task", "p", "half"))
    remote = FolderRemote(store.root.parent / "remote", create=True)
    store.push(remote)
    (head,) = files_of(store.root, "refs")
    head.unlink()
    damage(files_of(store.root, "packs")[0], LARGE[:SMALL])
    healed = heal(store.root)
    assert healed.heads == ()
    doubt = next(p for p in healed.report.problems if p.where.startswith("commit "))
    assert doubt.touches == (("task", "p", "half"),)
    assert [h.id for h in heal(store.root, [remote]).heads] == [ObjectId.parse(doubt.where.split()[1])]
    assert check(store.root).clean


def test_a_damaged_head_stays_as_long_as_its_name_is_all_that_is_left(store: Store, save: Save) -> None:
    """It is replaced once a source has the commit."""
    save(store, {"a": b"1"})
    remote = FolderRemote(store.root.parent / "remote", create=True)
    store.push(remote)
    (head,) = files_of(store.root, "refs")
    data = head.read_bytes()
    head.write_bytes(data[:-3])
    shutil.rmtree(store.root / "packs")
    where = head.relative_to(store.root).as_posix()
    assert [p.where for p in heal(store.root).report.problems] == [where]
    assert head.read_bytes() == data[:-3]
    assert heal(store.root, [remote]).report.clean
    assert head.read_bytes() == data
    assert check(store.root).clean


def test_the_heads_of_a_damaged_table_are_read_out_of_it(store: Store, save: Save) -> None:
    """Even those whose commits are in no pack: a remote then gives what they reach."""
    commits = [save(store, {"a": bytes([n])}, key=f"{n:032x}") for n in range(20)]
    remote = FolderRemote(store.root.parent / "remote", create=True)
    store.push(remote)
    fold(store, range(20))
    (table,) = files_of(store.root, "refs.packed")
    data = bytearray(table.read_bytes())
    data[data.index(b'"covers"')] ^= 1
    table.write_bytes(data)
    shutil.rmtree(store.root / "packs")
    healed = heal(store.root, [remote])
    assert healed.report.clean
    assert {head.id for head in healed.heads} == {commit.id for commit in commits}


def test_what_a_newer_version_wrote_is_not_touched(store: Store, save: Save) -> None:
    """A pack with frames, and a head, that this version cannot read: they are as their names say."""
    save(store, {"a": b"1"})
    footer = bytearray(Footer((), ()).encode())
    footer[4] = 2
    pack = store.root / layout.pack_path(hash_bytes(bytes(footer)).hex())
    pack.parent.mkdir(exist_ok=True)
    pack.write_bytes(pack_bytes(b"", bytes(footer)))
    (old,) = store.heads.of(KEY)
    raw = canonical({**orjson.loads(old.raw), "v": 2})
    head = store.root / layout.head_path("task.p", KEY, str(hash_object(Kind.COMMIT, raw)))
    head.parent.mkdir(exist_ok=True)
    head.write_bytes(raw)
    before = look(store.root)
    healed = heal(store.root)
    assert {p.where for p in healed.report.problems} == {
        path.relative_to(store.root).as_posix() for path in (pack, head)
    }
    assert all("update" in p.advice for p in healed.report.problems)
    assert look(store.root) == before


# --- faults while healing ------------------------------------------------------------------------------------------


def readable(root: Path) -> set[ObjectId]:
    """All objects of a store that can be read and hash right."""
    objects, found = Objects(root, keep=False, trust=False), set()
    for _, footer in objects.footers():
        for entry in footer.objects:
            try:
                for _ in objects.stream(entry.id, footer.kind(entry)):
                    pass
                found.add(entry.id)
            except StoreError:
                continue
    objects.close()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("sources", ["none", "a remote"])
def test_a_heal_that_is_killed_anywhere_is_simply_run_again(
    original: Path, damaged: Path, tmp_path: Path, checkout: Path, sources: str
) -> None:
    """SIGKILL at many changes of files, the first to the last: what one run without it gives, the next one gives."""
    remotes = [] if sources == "none" else [FolderRemote(original / "remote")]
    if not remotes:  # what is in the trash, or cached of the remote, would make good what a kill has cost
        for path in files_of(damaged, "packs"):
            if path.stat().st_size > layout.MIB:
                path.unlink()
    harm(damaged, 5, 0.15)
    environment = {**os.environ, "PYTHONPATH": str(checkout)}

    def run(root: Path, number: int) -> subprocess.CompletedProcess[str]:
        script = Path(__file__).with_name("heal_child.py")
        command = [sys.executable, str(script), str(root), str(number), *(r.url for r in remotes)]
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    shutil.copytree(damaged, tmp_path / "counted")
    changes = int(run(tmp_path / "counted", 10**9).stdout)
    assert changes > 20
    wanted = readable(tmp_path / "counted")
    for number in range(1, changes, changes // (3 if remotes else 8) or 1):
        root = tmp_path / "killed"
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(damaged, root)
        done = run(root, number)
        assert done.returncode == -signal.SIGKILL, done.stderr
        heal(root, remotes, unite=bool(remotes))
        assert readable(root) >= wanted
        if remotes:
            assert check(root).clean


def test_a_full_disk_is_said_and_loses_nothing(original: Path, damaged: Path, tmp_path: Path) -> None:
    """On a file system with hardly any room: a clear error; with more room the same call ends well."""
    small = tmp_path / "small"
    small.mkdir()
    size = sum(p.stat().st_size for p in damaged.rglob("*") if p.is_file()) // layout.MIB + 3
    options = ["-t", "tmpfs", "-o", f"size={size}m", "tmpfs", str(small)]
    if os.geteuid() != 0 or subprocess.run(["mount", *options], capture_output=True).returncode:
        pytest.skip("needs to mount a small file system")
    try:
        shutil.copytree(damaged, small / "store")
        wanted = content(small / "store")
        largest = max(files_of(small / "store", "packs"), key=lambda p: p.stat().st_size)
        data = bytearray(largest.read_bytes())
        data[5000] ^= 1
        largest.write_bytes(data)
        before = look(small / "store")
        with pytest.raises(StoreError, match=r"No space left on device\. Nothing is lost"):
            heal(small / "store", [FolderRemote(original / "remote")])
        assert {
            name: seen for name, seen in look(small / "store").items() if not name.startswith("tmp/")
        } == before
        subprocess.run(["mount", "-o", f"remount,size={size + 40}m", str(small)], check=True)
        assert heal(small / "store", [FolderRemote(original / "remote")]).report.clean
        assert content(small / "store") == wanted
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_a_store_that_cannot_be_written_is_not_healed(damaged: Path) -> None:
    """One clear error before anything is done; checking works."""
    store = Store(damaged, read_only=True)
    with pytest.raises(ReadOnly):
        store.heal()
    assert store.fsck().clean


def test_packs_that_are_merged_while_it_heals_are_no_harm(original: Path, damaged: Path) -> None:
    """A repack beside it: packs' objects move to other packs, and the old ones go."""
    wanted = content(damaged)
    harm(damaged, 8, 0.1)
    stop = threading.Event()
    worker = threading.Thread(target=merge_until, args=(damaged, stop))
    worker.start()
    try:
        healed = heal(damaged, [FolderRemote(original / "remote")], unite=True)
    finally:
        stop.set()
        worker.join()
    assert healed.report.problems == ()
    assert content(damaged) == wanted


def merge_until(root: Path, stop: threading.Event) -> None:
    """Take small packs two at a time, write what both hold into a third, and move the two away: again and again."""
    source = random.Random(1)
    while not stop.is_set():
        objects = Objects(root, keep=False)
        small = [p for p in sorted(objects.pack_ids()) if is_small(root / layout.pack_path(p))]
        if len(small) > 1:
            move_together(root, objects, source.sample(small, 2))
        objects.close()


def is_small(path: Path) -> bool:
    """Whether it is a pack that is worth merging, and still there."""
    try:
        return path.stat().st_size < layout.MIB
    except FileNotFoundError:
        return False


def move_together(root: Path, objects: Objects, pack_ids: list[str]) -> None:
    """One merge, of packs that are sound."""
    writer = PackWriter(temporary(root))
    try:
        for pack_id in pack_ids:
            for piece in pieces_of(root, pack_id, Contents(objects.footer(pack_id).encode())):
                writer.add(piece.header, piece.stored, piece.inside)
        publish_pack(root, objects, writer)
        for pack_id in pack_ids:
            trash.set_aside(root, layout.pack_path(pack_id), 1)
    except (OSError, StoreError):
        return  # one of them was moved by the healer: nothing is set aside then
    finally:
        writer.discard()


def pieces_of(root: Path, pack_id: str, footer: Contents) -> list[Piece]:
    """What a pack holds, all of it or an error."""
    fd = os.open(root / layout.pack_path(pack_id), os.O_RDONLY)
    try:
        found = list(pieces(fd, footer))
    finally:
        os.close(fd)
    if sum(len(piece.inside) for piece in found) != sum(frame.objects for frame in footer.frames):
        raise StoreError("damaged: left to the healer")
    return found
