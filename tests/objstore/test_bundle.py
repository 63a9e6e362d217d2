"""Bundles: whole, incremental, split, carried in any order; and suspicious of every byte that they hold."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore import files, layout
from objstore.bundle import Bundle, Made, create, lacking, unbundle, verify
from objstore.bundle.form import (
    INDEX_MAX,
    LEAD_SIZE,
    TRAILER_SIZE,
    Entry,
    Index,
    Info,
    Lead,
    Prerequisite,
    Sort,
)
from objstore.errors import (
    Conflict,
    Corrupt,
    InvalidName,
    NotFound,
    ReadOnly,
    RemoteError,
    StoreError,
    Unsupported,
)
from objstore.frame import encode, encode_list
from objstore.graph import closure
from objstore.heads import Head, Table
from objstore.ids import Kind, ObjectId, hash_bytes, hash_object
from objstore.pack import PackWriter
from objstore.publish import Transaction
from objstore.records import ChunkList, Commit, Mode, Tree, TreeEntry, canonical, format_bytes
from objstore.remotes.memory import MemoryRemote
from objstore.store import Store

MIB = layout.MIB
CHECKOUT = Path(__file__).resolve().parents[2]


# --- stores ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[[str], Store]]:
    """Makes empty stores by name."""
    with ExitStack() as opened:

        def made(name: str) -> Store:
            store = Store.create(tmp_path / name)
            opened.callback(store.close)
            return store

        yield made


Make = Callable[[str], Store]


def key(number: int) -> str:
    """The key of the task of that number."""
    return f"{number:032x}"


def noise(size: int, seed: int = 0) -> bytes:
    """Bytes that do not compress."""
    return random.Random(seed).randbytes(size)


def edit(store: Store, number: int, content: dict[str, bytes], writer: str = "w", **more: object) -> Commit:
    """One more commit of a task, on top of all its living heads; its state is a tree of `content`."""
    with store.begin() as tx:
        return commit(store, tx, number, content, writer, **more)


def commit(
    store: Store, tx: Transaction, number: int, content: dict[str, bytes], writer: str = "w", **more: Any
) -> Commit:
    """As `edit`, in a transaction of the caller's."""
    entries = [TreeEntry(n, Mode.FILE, tx.put_bytes(data), len(data)) for n, data in content.items()]
    parents = store.heads.of(key(number))
    covers: dict[str, int] = {}
    for head in parents:
        for who, count in head.commit.covers.items():
            covers[who] = max(count, covers.get(who, 0))
    covers[writer] = covers.get(writer, 0) + 1
    made = Commit(
        key=key(number),
        path=("task", "air gap", f"task {number}"),
        parents=tuple(sorted(head.id for head in parents)),
        generation=1 + max((head.commit.generation for head in parents), default=0),
        stamp=1_000_000 + sum(covers.values()),
        state=files.put_tree(tx, entries)[0],
        covers=covers,
    )
    made = replace(made, **more)
    tx.commit(made)
    return made


def live(store: Store) -> dict[str, list[ObjectId]]:
    """The ids of the living heads by key."""
    return {k: [head.id for head in heads] for k, heads in store.heads.live().items()}


def contents(store: Store) -> dict[ObjectId, bytes]:
    """Every object that living heads reach, read and verified."""
    store.objects.refresh()
    roots = [(Kind.COMMIT, i) for ids in live(store).values() for i in ids]
    return {i: store.objects.read(i, kind) for kind, i in closure(store.objects, roots)}


def assert_same(a: Store, b: Store) -> None:
    """The same living heads, the same bytes below them, and nothing wrong in `b`."""
    assert live(a) == live(b)
    assert contents(a) == contents(b)
    assert b.fsck().problems == ()


def all_files(store: Store) -> dict[str, bytes]:
    """What is in a store's folders, by name; but for its cache."""
    found = (path for path in store.root.rglob("*") if path.is_file())
    return {str(p.relative_to(store.root)): p.read_bytes() for p in found if "cache" not in p.parts}


def bundled(store: Store, out: Path, **options: Any) -> Bundle:
    """The store's bundle, made and opened; it must hold something."""
    made = create(store.root, store.objects, store.heads, out, **options)
    assert made is not None
    return Bundle.open([made.paths[0]])


# --- the whole way ---------------------------------------------------------------------------------------------------


def test_a_bundle_carries_every_byte(make: Make, tmp_path: Path) -> None:
    """A large file in chunks, small and empty blobs, history, many tasks: all there; verified without a store."""
    here, there = make("here"), make("there")
    edit(here, 1, {"old": b"an old state"})
    edit(here, 1, {"large": noise(12 * MIB), "empty": b"", "text": b"abc" * 1000})
    for n in range(2, 100):
        edit(here, n, {"params": b"lr=%d" % n, "same": b"same in all"})
    made = here.bundle(tmp_path / "all.bundle")
    assert isinstance(made, Made)
    assert (len(made.heads), made.needs, made.named) == (99, 0, ())
    assert made.paths == (tmp_path / "all.bundle",)
    assert made.bytes == made.paths[0].stat().st_size
    bundle = Bundle.open(made.paths)
    report = verify(bundle)
    assert (report.id, report.objects, report.unproved) == (made.id, made.objects, 0)
    assert [h.id for h in report.heads] == [ids[0] for _, ids in sorted(live(here).items())]
    done = there.unbundle(bundle)
    assert {head.key for head in done.heads} == {key(n) for n in range(1, 100)}
    assert_same(here, there)
    assert list((there.root / "tmp").iterdir()) == []


def test_taking_a_bundle_in_twice_changes_nothing(make: Make, tmp_path: Path) -> None:
    """Not a file more, even after newer edits here; and nothing of it is remembered in the cache."""
    here, there = make("here"), make("there")
    edit(here, 1, {"x": b"1"})
    bundle = bundled(here, tmp_path / "x")
    there.unbundle(bundle)
    edit(there, 1, {"x": b"2"})
    before = all_files(there)
    done = there.unbundle(bundle)
    assert (done.heads, done.packs) == ((), 0)
    assert all_files(there) == before
    assert not (there.root / "cache" / "remotes").exists()


def test_a_bundle_is_a_remote_to_pull_from(make: Make, tmp_path: Path) -> None:
    """As any other, though it can only be read."""
    here, there = make("here"), make("there")
    edit(here, 1, {"x": b"1", "large": noise(9 * MIB)})
    assert there.pull(bundled(here, tmp_path / "x", split=MIB)).heads
    assert_same(here, there)


def test_an_open_bundle_keeps_the_contract_of_a_remote(make: Make, tmp_path: Path) -> None:
    """Listed by prefix, ranges end with the file, limits and bad names are refused; across the ends of parts, too."""
    here = make("here")
    edit(here, 1, {"x": noise(3 * 65_000)})
    bundle = bundled(here, tmp_path / "x", split=layout.BUNDLE_PART_MIN)
    sizes = {entry.name: entry.size for entry in bundle.list("")}
    (pack,) = bundle.list("packs/")
    assert {name.partition("/")[0] for name in sizes} == {"format", "packs", "refs.packed"}
    assert [entry.name for entry in bundle.list("refs")] == [n for n in sizes if n.startswith("refs")]
    whole = bundle.get(pack.name)
    assert hash_bytes(footer_of(whole)).hex() in pack.name
    for offset, length in ((0, 10), (60_000, 80_000), (pack.size - 5, 100), (pack.size + 5, 10), (0, 0)):
        assert bundle.get_range(pack.name, offset, length) == whole[offset : offset + length]
    with pytest.raises(RemoteError, match="more than the 100 expected"):
        bundle.get(pack.name, 100)
    for bad in ("../x", "/etc/passwd"):
        with pytest.raises(InvalidName):
            bundle.get(bad)
        with pytest.raises(InvalidName):
            bundle.get_range(bad, 0, 1)
    with pytest.raises(NotFound):
        bundle.get("packs/ab/absent.pack")


def test_only_the_keys_asked_for_are_bundled(make: Make, tmp_path: Path) -> None:
    """Nothing of another task, though it lay in the same pack."""
    here, there = make("here"), make("there")
    with here.begin() as tx:
        commit(here, tx, 1, {"x": b"wanted"})
        commit(here, tx, 2, {"x": b"secret"})
    there.unbundle(bundled(here, tmp_path / "x", keys={key(1)}))
    assert set(live(there)) == {key(1)}
    assert not there.objects.has(hash_object(Kind.BLOB, b"secret"))


def test_a_deletion_travels(make: Make, tmp_path: Path) -> None:
    """Of what is deleted only the commit that says so; it needs nothing else, and hides the task there."""
    here, there = make("here"), make("there")
    edit(here, 1, {"x": b"1"})
    there.unbundle(bundled(here, tmp_path / "x"))
    gone = edit(here, 1, {"deleted": b"yes"}, deleted=True, cut=2_000_000)
    bundle = bundled(here, tmp_path / "y")
    assert verify(bundle).objects == 1
    there.unbundle(bundle)
    assert live(there) == {key(1): [gone.id]}
    fresh = make("fresh")
    fresh.unbundle(bundle)
    assert live(fresh) == {key(1): [gone.id]}


def test_history_that_was_cut_off_is_not_asked_for(make: Make, tmp_path: Path) -> None:
    """A commit whose parents may be absent is whole without them, though they were left out as known."""
    here, fresh = make("here"), make("fresh")
    edit(here, 1, {"x": b"old"})
    first = bundled(here, tmp_path / "1")
    edit(here, 1, {"x": b"new"}, cut=2_000_000)
    second = bundled(here, tmp_path / "2", since=first)
    assert verify(second).needs == 0
    fresh.unbundle(second)
    assert live(fresh) == live(here)
    assert fresh.fsck().problems == ()


def test_a_store_that_may_not_be_written_gives_and_does_not_take(make: Make, tmp_path: Path) -> None:
    """From a read-only medium a bundle can be made; into it nothing goes."""
    here = make("here")
    edit(here, 1, {"x": b"1"})
    locked = Store(here.root, read_only=True)
    assert locked.bundle(tmp_path / "x") is not None
    with pytest.raises(ReadOnly):
        locked.unbundle(Bundle.open([tmp_path / "x"]))


def test_an_empty_store_makes_no_bundle(make: Make, tmp_path: Path) -> None:
    """It says so, and leaves no file."""
    with pytest.raises(NotFound, match="nothing to bundle"):
        make("here").bundle(tmp_path / "x")
    assert not (tmp_path / "x").exists()


# --- since -----------------------------------------------------------------------------------------------------------


def test_since_a_bundle_only_what_is_new_is_sent(make: Make, tmp_path: Path) -> None:
    """An edit of a large file costs its changed chunks; the one bundle after the other gives the same store."""
    here, there = make("here"), make("there")
    large = noise(12 * MIB)
    edit(here, 1, {"large": large, "same": b"same"})
    edit(here, 2, {"x": b"not touched"})
    first = bundled(here, tmp_path / "1")
    edit(here, 1, {"large": large[: 6 * MIB] + b"!" + large[6 * MIB :], "same": b"same"})
    second = bundled(here, tmp_path / "2", since=first)
    assert second.size < 2 * MIB
    report = verify(second)
    assert [head.key for head in report.heads] == [key(1)]
    assert (report.since, report.unproved) == (first.id, 1)
    assert [str(p.path[2]) for p in report.named] == ["task 1"]
    there.unbundle(first)
    there.unbundle(second)
    assert_same(here, there)


def test_in_the_wrong_order_nothing_is_published_and_what_is_missing_is_named(
    make: Make, tmp_path: Path
) -> None:
    """Which task, which commit, which bundle; then in the right order all is well."""
    here, there = make("here"), make("there")
    first_commit = edit(here, 1, {"x": b"1", "y": b"kept"})
    first = bundled(here, tmp_path / "1")
    edit(here, 1, {"x": b"2", "y": b"kept"})
    second = bundled(here, tmp_path / "2", since=first)
    before = all_files(there)
    with pytest.raises(NotFound) as caught:
        there.unbundle(second)
    for text in ("task 1", str(first_commit.id)[:12], key(1), first.id[:12], "nothing of it was published"):
        assert text in str(caught.value)
    assert all_files(there) == before
    assert set(lacking(there.objects, there.heads, second)) == {i for i, _, _ in second.index.needs()}
    there.unbundle(first)
    assert lacking(there.objects, there.heads, second) == {}
    there.unbundle(second)
    assert_same(here, there)


def test_a_chain_leaves_out_what_the_first_of_it_held(make: Make, tmp_path: Path) -> None:
    """Also what the second did not touch: tasks as they are, and content that a new task has in common with them."""
    here, there = make("here"), make("there")
    shared = noise(9 * MIB)
    edit(here, 1, {"data": shared})
    edit(here, 2, {"x": b"1"})
    first = bundled(here, tmp_path / "1")
    edit(here, 2, {"x": b"2"})
    second = bundled(here, tmp_path / "2", since=first)
    edit(here, 3, {"data": shared})
    third = bundled(here, tmp_path / "3", since=second)
    assert [head.key for head in verify(third).heads] == [key(3)]
    assert third.size < MIB
    there.unbundle(first)
    there.unbundle(second)
    there.unbundle(third)
    assert_same(here, there)
    assert here.bundle(tmp_path / "4", since=third) is None


def test_nothing_new_makes_no_bundle(make: Make, tmp_path: Path) -> None:
    """None instead, and no file."""
    here = make("here")
    edit(here, 1, {"x": b"1"})
    first = bundled(here, tmp_path / "1")
    assert here.bundle(tmp_path / "2", since=first) is None
    assert not (tmp_path / "2").exists()


def test_since_a_remote_leaves_out_what_that_claims(make: Make, tmp_path: Path) -> None:
    """A store that pulled from it takes the bundle in, one that did not is told why not; the remote is not touched."""
    here, there, stranger = make("here"), make("there"), make("stranger")
    edit(here, 1, {"x": b"1", "data": noise(MIB)})
    remote = MemoryRemote()
    here.push(remote)
    there.pull(remote)
    edit(here, 1, {"x": b"2", "data": noise(MIB)})
    before = dict(remote.files)
    bundle = bundled(here, tmp_path / "x", since=remote)
    assert bundle.size < MIB
    assert remote.files == before
    assert here.push(remote).heads, "the push that follows still has it to do"
    with pytest.raises(NotFound, match="what it was made since"):
        stranger.unbundle(bundle)
    assert live(stranger) == {}
    there.unbundle(bundle)
    assert_same(here, there)


def test_what_lies_deeper_and_is_gone_is_named_and_nothing_is_published(make: Make, tmp_path: Path) -> None:
    """The prerequisite itself is there, but a blob that it needs is not: found before anything is shown."""
    here, there = make("here"), make("there")
    with here.begin() as tx:
        commit(here, tx, 1, {"x": b"1"})
    edit(here, 1, {"x": b"1", "y": noise(9 * MIB)})
    first = bundled(here, tmp_path / "1")
    there.unbundle(first)
    edit(here, 1, {"x": b"1", "z": b"z"})
    second = bundled(here, tmp_path / "2", since=first)
    chunks = [p for p in (there.root / "packs").rglob("*.pack") if p.stat().st_size > MIB]
    assert len(chunks) == 1
    chunks[0].unlink()
    before = all_files(there)
    again = Store.open(there.root)
    with pytest.raises(NotFound, match="nothing of it was published"):
        again.unbundle(second)
    assert all_files(there) == before


# --- parts -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def parts(make: Make, tmp_path: Path) -> list[Path]:
    """A bundle in four parts, of which the last is short."""
    edit(make("here"), 1, {"x": noise(3 * 65_000)})
    folder = tmp_path / "media"
    folder.mkdir()
    made = create_parts(tmp_path / "here", folder / "b.bundle")
    assert [path.name for path in made] == [f"b.bundle.00{n}" for n in (1, 2, 3, 4)]
    return made


def create_parts(
    store: Path, out: Path, *, force: bool = False, split: int | None = layout.BUNDLE_PART_MIN
) -> list[Path]:
    """A store's bundle in parts of 64 KiB."""
    opened = Store.open(store)
    made = create(opened.root, opened.objects, opened.heads, out, split=split, force=force)
    opened.close()
    assert made is not None
    return list(made.paths)


def test_no_part_is_larger_than_was_asked(parts: list[Path]) -> None:
    """And all but the last fill it."""
    sizes = [path.stat().st_size for path in parts]
    assert sizes[:-1] == [layout.BUNDLE_PART_MIN] * 3
    assert 0 < sizes[-1] <= layout.BUNDLE_PART_MIN


@pytest.mark.parametrize("given", ["first", "last", "backwards", "base", "apart"])
def test_parts_are_found_in_any_order(parts: list[Path], given: str, tmp_path: Path, make: Make) -> None:
    """One is enough where the others lie beside it, whatever its number; elsewhere all are named, in any order."""
    paths = {
        "first": parts[:1],
        "last": parts[-1:],
        "backwards": parts[::-1],
        "base": [parts[0].with_suffix("")],
    }
    if given == "apart":
        for n, path in enumerate(parts):
            (tmp_path / f"medium{n}").mkdir()
            path.rename(tmp_path / f"medium{n}" / f"renamed{n}")
        paths["apart"] = [tmp_path / f"medium{n}" / f"renamed{n}" for n in (2, 0, 3, 1)]
    there = make("there")
    there.unbundle(Bundle.open(paths[given]))
    assert_same(Store.open(tmp_path / "here"), there)


def test_missing_parts_are_named(parts: list[Path]) -> None:
    """By their numbers."""
    parts[1].unlink()
    parts[3].unlink()
    with pytest.raises(NotFound, match=r"^parts 2 and 4 of 4 of bundle \w+ cannot be found"):
        Bundle.open([parts[0]])


def test_swapped_parts_are_named(parts: list[Path], tmp_path: Path, make: Make) -> None:
    """A part of another bundle under the right name, or on the command line."""
    edit(make("other"), 2, {"x": noise(3 * 65_000, 1)})
    other = create_parts(tmp_path / "other", tmp_path / "other.bundle")
    shutil.copyfile(other[2], parts[2])
    with pytest.raises(
        Corrupt,
        match=r"part 3 of 4 of bundle \w+ cannot be found; .*b\.bundle\.003 is part 3 of another bundle",
    ):
        Bundle.open([parts[0]])
    with pytest.raises(Corrupt, match=r"b\.bundle\.003 is part 3 of bundle .*: name the parts of one bundle"):
        Bundle.open(parts)


def test_parts_whose_names_were_swapped_are_put_right(parts: list[Path], make: Make) -> None:
    """A name decides nothing: each part says itself which it is."""
    parts[1].rename(parts[1].with_name("x"))
    parts[2].rename(parts[1])
    parts[1].with_name("x").rename(parts[2])
    assert make("there").unbundle(Bundle.open([parts[0]])).heads


def test_damaged_parts_are_named(parts: list[Path], make: Make) -> None:
    """All of them; in an index the bundle cannot even be opened, and the part is named all the same."""
    for number in (1, 2):
        flip(parts[number], LEAD_SIZE + 1000)
    bundle = Bundle.open([parts[0]])
    with pytest.raises(Corrupt, match=r"b\.bundle\.002 and .*b\.bundle\.003 are damaged"):
        make("there").unbundle(bundle)
    flip(parts[3], parts[3].stat().st_size - TRAILER_SIZE - 1)
    with pytest.raises(Corrupt, match=r"b\.bundle\.004 are damaged"):
        Bundle.open([parts[0]])


def test_a_part_that_was_cut_short_is_named(parts: list[Path]) -> None:
    """With its sizes."""
    os.truncate(parts[2], 1000)
    with pytest.raises(Corrupt, match=r"b\.bundle\.003 has 1000 of 65536 bytes"):
        Bundle.open([parts[2]])
    with pytest.raises(
        Corrupt, match=r"part 3 of 4 of bundle \w+ cannot be found; .*b\.bundle\.003 has 1000 of 65536 bytes"
    ):
        Bundle.open([parts[0]])


def test_a_bundle_of_fewer_parts_takes_the_place_of_a_longer_one(
    parts: list[Path], make: Make, tmp_path: Path
) -> None:
    """Its last parts go; a file of another bundle, or of no bundle, that has such a name stays."""
    out = parts[0].with_suffix("")
    small = make("small")
    edit(small, 1, {"x": b"1"})
    parts[2].write_bytes(b"mine")
    assert create_parts(tmp_path / "small", out, force=True) == parts[:1]
    assert [path.exists() for path in parts] == [True, False, True, False]
    assert parts[2].read_bytes() == b"mine"
    assert create_parts(tmp_path / "small", out, force=True, split=None) == [out]
    assert [path.exists() for path in parts] == [False, False, True, False]
    assert create_parts(tmp_path / "small", out, force=True) == parts[:1]
    assert not out.exists()


# --- writing ---------------------------------------------------------------------------------------------------------


def test_what_is_there_already_is_replaced_only_on_request(make: Make, tmp_path: Path) -> None:
    """Refused before anything is written; a folder always."""
    here = make("here")
    edit(here, 1, {"x": b"1"})
    (tmp_path / "x").write_text("precious")
    (tmp_path / "y.001").write_text("precious")
    (tmp_path / "folder").mkdir()
    for name, split in (("x", None), ("y", MIB)):
        with pytest.raises(Conflict, match="--force"):
            here.bundle(tmp_path / name, split=split)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Conflict, match="pipe is a device, pipe or socket"):
        here.bundle(tmp_path / "pipe", force=True)
    with pytest.raises(Conflict, match="is a folder"):
        here.bundle(tmp_path / "folder", force=True)
    for folder in (Path("."), Path("/"), Path("..")):
        with pytest.raises(Conflict, match="is a folder"):
            here.bundle(folder)
    with pytest.raises(NotFound, match="is no folder"):
        here.bundle(tmp_path / "nowhere" / "x")
    assert (tmp_path / "x").read_text() == (tmp_path / "y.001").read_text() == "precious"
    assert here.bundle(tmp_path / "x", force=True) is not None
    assert verify(Bundle.open([tmp_path / "x"])).heads
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "here", "pipe", "x", "y.001"]


@pytest.mark.skipif(
    not Path("/proc/self/fd").is_dir(), reason="what a descriptor stands for is asked of /proc"
)
@pytest.mark.parametrize("split", [None, layout.BUNDLE_PART_MIN])
def test_a_bundle_has_its_name_only_once_it_is_durable(
    split: int | None, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every part is flushed to the disk, then all are renamed, then their folder is flushed."""
    here = make("here")
    edit(here, 1, {"x": noise(100_000)})
    done: list[tuple[str, str]] = []
    fsync, replace_ = os.fsync, os.replace

    def noted_fsync(fd: int) -> None:
        done.append(("fsync", os.readlink(f"/proc/self/fd/{fd}")))
        fsync(fd)

    def noted_replace(source: Path, target: Path) -> None:
        done.append(("rename", str(source)))
        replace_(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    made = here.bundle(tmp_path / "x", split=split)
    assert made is not None
    own = [(what, path) for what, path in done if not path.startswith(f"{here.root}/")]
    count = len(made.paths)
    assert [what for what, _ in own] == ["fsync"] * count + ["rename"] * count + ["fsync"]
    assert [path for _, path in own[:count]] == [path for _, path in own[count:-1]]
    assert own[-1][1] == str(tmp_path)


FULL = """
import resource, signal, sys
from pathlib import Path
from objstore.bundle import create
from objstore.store import Store
store = Store.open(Path(sys.argv[1]))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store.objects.pack_ids()
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
try:
    create(store.root, store.objects, store.heads, Path(sys.argv[2]))
except Exception as error:
    print(type(error).__name__, error)
"""


def test_a_medium_that_refuses_leaves_no_half_file(make: Make, tmp_path: Path) -> None:
    """A file may grow to 24 MiB there, and the packs fit, but not all of them in one file; what is there stays."""
    here = make("here")
    for n in range(3):
        edit(here, n, {"data": noise(10 * MIB, n)})
    (tmp_path / "out").mkdir()
    done = python(FULL, str(here.root), str(tmp_path / "out" / "x"), str(24 * MIB))
    assert done.startswith("StoreError")
    assert "cannot be written: File too large" in done
    assert "nothing is left there" in done
    assert list((tmp_path / "out").iterdir()) == []
    assert list((here.root / "tmp").iterdir()) == []


def python(source: str, *arguments: str, code: int = 0) -> str:
    """Run a script to its end; what it said."""
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-c", source, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout


def test_damage_here_makes_no_bundle(make: Make, tmp_path: Path) -> None:
    """It names the object, and leaves no file."""
    here = make("here")
    edit(here, 1, {"x": noise(MIB)})
    pack = next((here.root / "packs").rglob("*.pack"))
    flip(pack, 1000)
    with pytest.raises(Corrupt, match="is damaged in this store"):
        here.bundle(tmp_path / "x")
    assert [p.name for p in tmp_path.iterdir()] == ["here"]


# --- killed ----------------------------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from pathlib import Path
from objstore.bundle import Bundle
from objstore.store import Store
store, bundle, left = Store.open(Path(sys.argv[1])), Bundle.open([Path(sys.argv[2])]), int(sys.argv[3])
def watch(event, arguments):
    global left
    if event in ("os.rename", "os.mkdir", "os.remove", "os.rmdir") or event == "open" and arguments[2] & os.O_CREAT:
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(watch)
store.unbundle(bundle)
print("done")
"""


@pytest.mark.slow
def test_killed_anywhere_it_is_simply_run_again(make: Make, tmp_path: Path) -> None:
    """SIGKILL at each change of a file: until the heads there is no task, and the second try gives all of it."""
    here = make("here")
    edit(here, 1, {"x": b"1", "large": noise(9 * MIB)})
    edit(here, 2, {"x": b"2"})
    bundled(here, tmp_path / "x").close()
    make("empty").close()
    ends = []
    for left in range(0, 80, 2):
        there = tmp_path / f"there{left}"
        shutil.copytree(tmp_path / "empty", there)
        environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
        command = [sys.executable, "-c", KILLED, str(there), str(tmp_path / "x"), str(left)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        store = Store.open(there)
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        for ids in live(store).values():
            assert list(closure(store.objects, [(Kind.COMMIT, ids[0])]))
        ends.append(len(live(store)))
        store.unbundle(Bundle.open([tmp_path / "x"]))
        assert_same(here, store)
        store.close()
        if done.returncode == 0:
            break
    assert len(ends) > 8
    assert (ends[0], ends[-1]) == (0, 2)


# --- hostile: damage -------------------------------------------------------------------------------------------------


@pytest.fixture
def sample(make: Make, tmp_path: Path) -> Path:
    """A small bundle since another: several frames, a table, needs, known heads."""
    here = make("here")
    edit(here, 1, {"x": b"1", "y": noise(3000)})
    first = bundled(here, tmp_path / "first")
    edit(here, 1, {"x": b"2", "y": noise(3000), "z": b"text " * 500})
    bundled(here, tmp_path / "sample", since=first).close()
    first.close()
    return tmp_path / "sample"


def flip(path: Path, offset: int, bit: int = 0) -> None:
    """Change one bit of a file."""
    data = bytearray(path.read_bytes())
    data[offset] ^= 1 << bit
    path.write_bytes(data)


def sealed(data: bytes) -> bytes:
    """The bytes of a single part with a trailer that fits."""
    lead, payload = data[:LEAD_SIZE], data[LEAD_SIZE:-TRAILER_SIZE]
    return lead + payload + hash_bytes(payload + lead)


def assert_refused(path: Path, store: Store) -> None:
    """Both verify and unbundle raise a declared error, and nothing is published."""
    before = all_files(store)
    for use in (verify, store.unbundle):
        with pytest.raises((Corrupt, Unsupported, NotFound)):
            use(Bundle.open([path]))
    assert all_files(store) == before


def test_a_flipped_bit_is_refused_wherever_it_is(sample: Path, tmp_path: Path) -> None:
    """At 1,000 offsets, each byte of the lead and the trailer among them."""
    data, chance = sample.read_bytes(), random.Random(1)
    there = Store.open(tmp_path / "here")  # which has what the bundle rests on
    ends = [*range(LEAD_SIZE), *range(len(data) - TRAILER_SIZE, len(data))]
    offsets = [*ends, *(chance.randrange(LEAD_SIZE, len(data)) for _ in range(1000 - len(ends)))]
    for offset in offsets:
        damaged = bytearray(data)
        damaged[offset] ^= 1 << chance.randrange(8)
        (tmp_path / "damaged").write_bytes(damaged)
        with pytest.raises((Corrupt, Unsupported, NotFound)):
            verify(Bundle.open([tmp_path / "damaged"]))
        with pytest.raises((Corrupt, Unsupported, NotFound)):
            there.unbundle(Bundle.open([tmp_path / "damaged"]))


def test_a_flipped_bit_under_a_trailer_that_fits_is_refused(sample: Path, tmp_path: Path) -> None:
    """Whoever flips it can hash the file anew, so the parts within have to hold by themselves."""
    data, chance = sample.read_bytes(), random.Random(2)
    for offset in [
        *range(LEAD_SIZE),
        *(chance.randrange(LEAD_SIZE, len(data) - TRAILER_SIZE) for _ in range(600)),
    ]:
        damaged = bytearray(data)
        damaged[offset] ^= 1 << chance.randrange(8)
        (tmp_path / "damaged").write_bytes(sealed(bytes(damaged)))
        with pytest.raises((Corrupt, Unsupported, NotFound)):
            verify(Bundle.open([tmp_path / "damaged"]))


def test_a_file_that_was_cut_short_is_refused(sample: Path, tmp_path: Path, make: Make) -> None:
    """At each length of the lead, and wherever else."""
    data, chance, there = sample.read_bytes(), random.Random(3), make("there")
    lengths = [*range(LEAD_SIZE + 16), len(data) - 1, *(chance.randrange(len(data)) for _ in range(50))]
    for length in lengths:
        (tmp_path / "cut").write_bytes(data[:length])
        with pytest.raises((Corrupt, NotFound)):
            Bundle.open([tmp_path / "cut"])
    (tmp_path / "cut").write_bytes(data + b"\0")
    with pytest.raises(Corrupt):
        there.unbundle(Bundle.open([tmp_path / "cut"]))


@pytest.mark.parametrize("what", ["empty", "folder", "pipe", "absent", "text"])
def test_what_is_no_bundle_is_refused(what: str, tmp_path: Path) -> None:
    """And nobody waits for a writer of a pipe."""
    path = tmp_path / "x"
    if what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    elif what != "absent":
        path.write_bytes(b"" if what == "empty" else b"no bundle " * 100)
    with pytest.raises((Corrupt, NotFound), match=str(path)):
        Bundle.open([path])


# --- hostile: lies ---------------------------------------------------------------------------------------------------

Rows = Sequence[tuple[Kind, bytes]]


def pack_of(
    folder: Path, objects: Rows, lists: Sequence[tuple[bytes, ObjectId, int]] = ()
) -> tuple[str, bytes]:
    """A sound pack of objects, and of chunk lists given as (list, id of the blob, its size)."""
    folder.mkdir(exist_ok=True)
    writer = PackWriter(folder / "part")
    for kind, raw in objects:
        header, stored = encode(kind, raw)
        writer.add(header, stored, [(hash_object(kind, raw), len(raw))])
    for raw, blob, size in lists:
        header, stored = encode_list(raw, size)
        writer.add(header, stored, [(blob, size)])
    pack_id, _ = writer.finish()
    data = writer.path.read_bytes()
    writer.path.unlink()
    return pack_id, data


def footer_of(data: bytes) -> bytes:
    """The footer of a pack."""
    length = int.from_bytes(data[-8:-4], "little")
    return data[-8 - length : -8]


def written(
    path: Path,
    contents: Sequence[tuple[Sort, str, bytes]],
    heads: int,
    *,
    change: Callable[[list[Entry]], list[Entry]] = lambda entries: entries,
    index: bytes | None = None,
) -> Path:
    """A bundle of any files whatever, with hashes that fit; `change` may lie about where they are."""
    entries, at = [], 0
    for sort, name, data in contents:
        entries.append(Entry(sort, name, at, len(data)))
        at += len(data)
    if index is None:
        index = Index.of(Info(1, heads), change(entries), {}, []).encode()
    payload = b"".join(data for _, _, data in contents) + index
    lead = Lead(1, 1, len(payload), len(index), 0, len(payload), hash_bytes(index)).encode()
    path.write_bytes(lead + payload + hash_bytes(payload + lead))
    return path


def usual(folder: Path, objects: Rows, heads: Sequence[Commit], **more: Any) -> list[tuple[Sort, str, bytes]]:
    """The files of a bundle: format, one pack of objects, one table of heads that claims it."""
    pack_id, data = pack_of(folder, objects, **more)
    rows = tuple(Head(c.key, c.id, c.encode(), "") for c in heads)
    table = Table(rows, {pack_id: footer_of(data)}).encode()
    return [
        (Sort.FORMAT, hash_bytes(format_bytes()).hex(), format_bytes()),
        (Sort.PACK, pack_id, data),
        (Sort.TABLE, hash_bytes(table).hex(), table),
    ]


def task(state: ObjectId, **more: Any) -> Commit:
    """A commit of a state."""
    made = Commit(key(7), ("task", "p", "n"), (), 1, 1, state, {"w": 1})
    return replace(made, **more)


def small(*names: str) -> tuple[Rows, Commit]:
    """A tree of one-byte files, and a commit of it."""
    tree = Tree(tuple(TreeEntry(n, Mode.FILE, hash_object(Kind.BLOB, b"x"), 1) for n in names)).encode()
    head = task(hash_object(Kind.TREE, tree))
    return [(Kind.BLOB, b"x"), (Kind.TREE, tree), (Kind.COMMIT, head.encode())], head


def test_the_forger_of_these_tests_can_make_a_sound_bundle(make: Make, tmp_path: Path) -> None:
    """Else they would prove nothing."""
    objects, head = small("a")
    path = written(tmp_path / "x", usual(tmp_path / "f", objects, [head]), 1)
    assert verify(Bundle.open([path])).objects == 3
    there = make("there")
    there.unbundle(Bundle.open([path]))
    assert live(there) == {key(7): [head.id]}
    assert there.fsck().problems == ()


LIES: dict[str, tuple[str, Callable[[list[Entry]], list[Entry]]]] = {
    "overlap": ("where the one before", lambda e: [e[0], e[1], replace(e[2], offset=e[2].offset - 1)]),
    "gap": ("where the one before", lambda e: [e[0], replace(e[1], size=e[1].size - 1), e[2]]),
    "beyond": ("not what its lead says", lambda e: [e[0], e[1], replace(e[2], size=e[2].size + 1)]),
    "huge": ("where the one before", lambda e: [e[0], e[1], replace(e[2], size=(1 << 64) - 1)]),
    "empty": (
        "where the one before",
        lambda e: [e[0], replace(e[0], sort=Sort.PACK, offset=e[1].offset, size=0), *e[1:]],
    ),
    "twice": ("a file twice", lambda e: [e[0], e[1], replace(e[2], sort=Sort.PACK, id=e[1].id)]),
    "no format": ("no format, or several", lambda e: [replace(e[0], sort=Sort.TABLE), e[1], e[2]]),
    "formats": ("no format, or several", lambda e: [e[0], replace(e[1], sort=Sort.FORMAT), e[2]]),
    "sort": ("is not a head table", lambda e: [e[0], replace(e[1], sort=Sort.TABLE), e[2]]),
}


@pytest.mark.parametrize("lie", LIES)
def test_lies_about_where_files_lie_are_refused(lie: str, make: Make, tmp_path: Path) -> None:
    """With hashes that fit: one byte is never two files', and no size is believed."""
    text, change = LIES[lie]
    objects, head = small("a")
    path = written(tmp_path / "x", usual(tmp_path / "f", objects, [head]), 1, change=change)
    assert_refused(path, make("there"))
    with pytest.raises(Corrupt, match=text):
        verify(Bundle.open([path]))


@pytest.mark.parametrize(
    "lie",
    [
        {"number": 0},
        {"number": 3},
        {"count": 10_000},
        {"index": 23},
        {"index": 1001},
        {"index": INDEX_MAX + 1, "content": INDEX_MAX + 5, "length": 1000},
        {"length": 0},
        {"length": 1001},
        {"offset": (1 << 64) - 1},
        {"offset": 1},
    ],
)
def test_lies_in_a_lead_are_refused(lie: dict[str, Any]) -> None:
    """Numbers that cannot be, before anything is read by them; and zeros that are none."""
    good = Lead(1, 2, 1000, 100, 0, 1000, bytes(32))
    assert Lead.decode(good.encode()) == good
    with pytest.raises(Corrupt, match="its lead is damaged"):
        Lead.decode(replace(good, **lie).encode())
    with pytest.raises(Corrupt, match="its lead is damaged"):
        Lead.decode(good.encode()[:5] + b"\x01\0\0" + good.encode()[8:])


@pytest.mark.parametrize("gap", [-1, 1])
def test_parts_that_do_not_go_on_where_another_ends_are_refused(gap: int, tmp_path: Path) -> None:
    """Each is sound by itself, and they are of one bundle."""
    index = Index.of(Info(1, 0), [], {}, []).encode()
    content, half = len(index), len(index) // 2
    pieces = [(0, index[:half]), (half + gap, index[half + gap :])]
    for number, (offset, payload) in enumerate(pieces, 1):
        lead = Lead(number, 2, content, content, offset, len(payload), hash_bytes(index)).encode()
        (tmp_path / f"x.00{number}").write_bytes(lead + payload + hash_bytes(payload + lead))
    with pytest.raises(Corrupt, match=r"x\.002 does not go on where the part before it ends"):
        Bundle.open([tmp_path / "x.001"])


@pytest.mark.parametrize("lie", ["unsorted", "twice", "kind", "holder", "known", "zeros"])
def test_lies_in_the_rows_of_an_index_are_refused(lie: str) -> None:
    """With a hash that fits."""
    objects = [ObjectId(bytes([n]) * 32) for n in (1, 2)]
    info = Info(1, 0, None, (Prerequisite(key(1), objects[0], ("a", "b", "c")),))
    rows = Index.of(info, [], dict.fromkeys(objects, (Kind.BLOB, 0)), [(key(n), objects[0]) for n in (1, 2)])
    first, second = rows.needs_rows[:40], rows.needs_rows[40:]
    sound = {
        "unsorted": replace(rows, needs_rows=second + first),
        "twice": replace(rows, needs_rows=first + first),
        "kind": replace(rows, needs_rows=first[:32] + b"\x04" + first[33:]),
        "holder": replace(rows, needs_rows=first[:36] + b"\x01\0\0\0"),
        "known": replace(rows, known_rows=rows.known_rows[48:] + rows.known_rows[:48]),
        "zeros": replace(rows, needs_rows=first[:34] + b"\x01" + first[35:]),
    }
    form = Entry(Sort.FORMAT, "ab" * 32, 0, 10)
    for index, is_sound in ((rows, True), (sound[lie], False)):
        data = replace(index, entries=(form,)).encode()
        lead = Lead(1, 1, len(data) + 10, len(data), 0, len(data) + 10, hash_bytes(data))
        if is_sound:
            assert [holder.path[0] for _, _, holder in Index.decode(data, lead).needs() if holder] == [
                "a",
                "a",
            ]
            continue
        with pytest.raises(Corrupt):
            Index.decode(data, lead)


def test_a_million_files_are_refused_before_they_are_read(tmp_path: Path) -> None:
    """In a process that may not grow by 200 MiB; so are a million rows too many, and a million heads."""
    index = Index.of(Info(1, 0), [], {}, []).encode()
    head, info = bytearray(index[:24]), index[24:]
    head[12:16] = (1_000_000).to_bytes(4, "little")
    row = bytes([1]) + bytes(7 + 32) + bytes(8) + (1).to_bytes(8, "little")
    written(tmp_path / "files", [], 0, index=bytes(head) + info + row * 1_000_000)
    head = bytearray(index[:24])
    head[20:24] = (2_000_000).to_bytes(4, "little")
    written(tmp_path / "rows", [], 0, index=bytes(head) + info + bytes(48 * 2_000_000))
    table = many_heads(1_000_000)
    contents = [
        (Sort.FORMAT, hash_bytes(format_bytes()).hex(), format_bytes()),
        (Sort.TABLE, hash_bytes(table).hex(), table),
    ]
    written(tmp_path / "heads", contents, 1_000_000)
    for name in ("files", "rows", "heads"):
        said = python(SMALL, str(tmp_path / name))
        assert said.startswith("Corrupt"), said
        assert "over the limit" in said or "1000000 heads" in said, said
        assert int(said.split()[-1]) < 200 * MIB // 1024, said


SMALL = """
import resource, sys
from pathlib import Path
from objstore.bundle import Bundle, verify
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    verify(Bundle.open([Path(sys.argv[1])]))
except Exception as error:
    print(type(error).__name__, error, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def many_heads(count: int) -> bytes:
    """A table of heads without content, whose ids are in order."""
    info = canonical({"covers": [], "dropped": {}, "heads_size": 0, "heads_stored": 9, "v": 1})
    rows = b"".join(n.to_bytes(16, "big") + bytes(32 + 12) for n in range(count))
    lengths = (len(info), count, 0)
    head = b"OSTB\x01\0\0\0" + b"".join(n.to_bytes(4, "little") for n in lengths)
    return head + info + rows + b"\x28\xb5\x2f\xfd\x20\x00\x01\x00\x00"


def test_a_table_that_expands_beyond_the_limit_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    """A quarter of a GiB of zeros in a few KiB."""
    import zstandard

    stored = zstandard.compress(bytes(256 * MIB))
    sizes = {"covers": [], "dropped": {}, "heads_size": 256 * MIB, "heads_stored": len(stored), "v": 1}
    info = canonical(sizes)
    head = b"OSTB\x01\0\0\0" + b"".join(n.to_bytes(4, "little") for n in (len(info), 1, 0))
    row = bytes(48 + 8) + (256 * MIB).to_bytes(4, "little")
    table = head + info + row + stored
    contents = [
        (Sort.FORMAT, hash_bytes(format_bytes()).hex(), format_bytes()),
        (Sort.TABLE, hash_bytes(table).hex(), table),
    ]
    path = written(tmp_path / "x", contents, 1)
    said = python(SMALL, str(path))
    assert "over the limit" in said
    assert int(said.split()[-1]) < 100 * MIB // 1024, said


def test_tables_that_claim_other_packs_are_refused(make: Make, tmp_path: Path) -> None:
    """A pack that is not there, one that is not claimed, tables that cover others."""
    objects, head = small("a")
    form, pack, table = usual(tmp_path / "f", objects, [head])
    more, data = pack_of(tmp_path / "f", [(Kind.BLOB, b"more")])
    row = (Head(head.key, head.id, head.encode(), ""),)
    tables = [
        Table(row, {pack[1]: footer_of(pack[2]), more: footer_of(data)}),
        Table(row, {}),
        Table(row, {pack[1]: footer_of(data)}),
        Table(row, {pack[1]: footer_of(pack[2])}, covers=(table[1],)),
        Table(row, {pack[1]: footer_of(pack[2])}, covers=("ab" * 32,)),
    ]
    for n, wrong in enumerate(tables):
        encoded = wrong.encode()
        contents = [form, pack, (Sort.TABLE, hash_bytes(encoded).hex(), encoded)]
        if n == 3:
            contents.append(table)
        assert_refused(written(tmp_path / f"x{n}", contents, 1), make(f"there{n}"))


def test_a_bundle_that_is_not_whole_is_refused(make: Make, tmp_path: Path) -> None:
    """A blob is neither in it nor named as needed: verify says so without a store, and a store takes none of it."""
    objects, head = small("a")
    path = written(tmp_path / "x", usual(tmp_path / "f", objects[1:], [head]), 1)
    with pytest.raises(Corrupt, match="1 objects are neither in it nor named as needed"):
        verify(Bundle.open([path]))
    there = make("there")
    with pytest.raises(NotFound, match="nothing of it was published"):
        there.unbundle(Bundle.open([path]))
    assert live(there) == {}


def test_a_chunk_list_that_makes_up_another_content_is_refused(make: Make, tmp_path: Path) -> None:
    """Each of its chunks is what its id says, and yet the blob is not."""
    chunks = [noise(1000, n) for n in range(3)]
    ids = [(hash_object(Kind.BLOB, chunk), len(chunk)) for chunk in chunks]
    blob = hash_object(Kind.BLOB, b"something else")
    tree = Tree((TreeEntry("a", Mode.FILE, blob, 3000),)).encode()
    head = task(hash_object(Kind.TREE, tree))
    objects = [*((Kind.BLOB, chunk) for chunk in chunks), (Kind.TREE, tree), (Kind.COMMIT, head.encode())]
    lists = [(ChunkList(0, tuple(ids)).encode(), blob, 3000)]
    path = written(tmp_path / "x", usual(tmp_path / "f", objects, [head], lists=lists), 1)
    assert_refused(path, make("there"))


def zeros(folder: Path, *counts: int) -> list[tuple[Sort, str, bytes]]:
    """The files of a bundle with a file of nothing but zeros for each count of chunks."""
    chunk = bytes(layout.CHUNK_MAX)
    chunk_id = hash_object(Kind.BLOB, chunk)
    lists, entries = [], []
    for count in counts:
        size = count * len(chunk)
        blob = hash_object(Kind.BLOB, bytes(size))
        lists.append((ChunkList(0, ((chunk_id, len(chunk)),) * count).encode(), blob, size))
        entries.append(TreeEntry(f"{count:09}", Mode.FILE, blob, size))
    tree = Tree(tuple(entries)).encode()
    head = task(hash_object(Kind.TREE, tree))
    objects = [(Kind.BLOB, chunk), (Kind.TREE, tree), (Kind.COMMIT, head.encode())]
    return usual(folder, objects, [head], lists=lists)


@pytest.mark.parametrize("way", ["verify", "unbundle", "pull"])
def test_chunk_lists_together_claim_no_more_than_what_is_stored_can_be(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Each by itself may, and is true; the work of proving them is that of all, however much lies in the store."""
    monkeypatch.setattr(layout, "SPARSE_FOREIGN_MAX", 100 * MIB)
    there = make("there")
    edit(there, 1, {"x": noise(4 * MIB)})
    path = written(tmp_path / "x", zeros(tmp_path / "f", 120, 121), 1)

    def take(path: Path) -> None:
        bundle = Bundle.open([path])
        if way == "verify":
            verify(bundle)
        else:
            (there.unbundle if way == "unbundle" else there.pull)(bundle)

    before = there.objects.pack_ids()
    with pytest.raises(Corrupt, match="was not read"):
        take(path)
    assert set(live(there)) == {key(1)}
    if way == "unbundle":
        assert there.objects.pack_ids() == before
    monkeypatch.setattr(layout, "SPARSE_FOREIGN_MAX", 200 * MIB)
    take(path)


@pytest.mark.parametrize("way", ["verify", "unbundle", "pull"])
def test_a_pebibyte_out_of_a_few_kilobytes_is_not_set_out_on(make: Make, tmp_path: Path, way: str) -> None:
    """However much there is in the store that takes it in: what lies there vouches for nobody else."""
    chunk = bytes(layout.CHUNK_MAX)
    page = ChunkList(0, ((hash_object(Kind.BLOB, chunk), len(chunk)),) * layout.LIST_PAGE_MAX).encode()
    top = ChunkList(1, ((hash_object(Kind.CHUNKS, page), 1 << 33),) * layout.LIST_PAGES_MAX)
    assert top.size == layout.RAW_MAX
    blob = hash_object(Kind.BLOB, b"a pebibyte")
    tree = Tree((TreeEntry("huge", Mode.FILE, blob, top.size),)).encode()
    head = task(hash_object(Kind.TREE, tree))
    objects = [(Kind.BLOB, chunk), (Kind.CHUNKS, page), (Kind.TREE, tree), (Kind.COMMIT, head.encode())]
    files_in = usual(tmp_path / "f", objects, [head], lists=[(top.encode(), blob, top.size)])
    bundle = Bundle.open([written(tmp_path / "x", files_in, 1)])
    there = make("there")
    rich = there.root / layout.pack_path("ab" * 32)
    rich.parent.mkdir(parents=True)
    with rich.open("wb") as file:
        file.truncate(1 << 36)
    take: dict[str, Callable[[Bundle], object]] = {
        "verify": verify,
        "unbundle": there.unbundle,
        "pull": there.pull,
    }
    with pytest.raises(Corrupt, match="claims 1125899906842624 bytes"):
        take[way](bundle)
    assert live(there) == {}


def test_chunks_of_a_byte_cost_more_than_their_bytes(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two frames of many MiB, from which a list takes a byte by turns: each turn decodes one of them."""
    monkeypatch.setattr(layout, "SPARSE_FOREIGN_MAX", 100 * MIB)
    one, two = (hash_object(Kind.BLOB, text) for text in (b"1", b"2"))
    listed = ChunkList(0, ((one, 1), (two, 1)) * 50)
    blob = hash_object(Kind.BLOB, b"12" * 50)
    tree = Tree((TreeEntry("a", Mode.FILE, blob, 100),)).encode()
    head = task(hash_object(Kind.TREE, tree))
    objects = [(Kind.BLOB, b"1"), (Kind.BLOB, b"2"), (Kind.TREE, tree), (Kind.COMMIT, head.encode())]
    contents = usual(tmp_path / "f", objects, [head], lists=[(listed.encode(), blob, 100)])
    path = written(tmp_path / "x", contents, 1)
    for take in (verify, make("there").unbundle):
        with pytest.raises(Corrupt, match="was not read"):
            take(Bundle.open([path]))
    monkeypatch.setattr(layout, "SPARSE_FOREIGN_MAX", 4096 * MIB)
    assert make("other").unbundle(Bundle.open([path])).heads


def test_an_object_of_another_kind_than_it_is_named_as_is_refused(make: Make, tmp_path: Path) -> None:
    """A blob where a tree should be."""
    head = task(hash_object(Kind.BLOB, b"x"))
    objects = [(Kind.BLOB, b"x"), (Kind.COMMIT, head.encode())]
    path = written(tmp_path / "x", usual(tmp_path / "f", objects, [head]), 1)
    with pytest.raises(Corrupt, match="is not the tree it is named as"):
        verify(Bundle.open([path]))
    with pytest.raises(StoreError):
        make("there").unbundle(Bundle.open([path]))


def test_heads_that_are_not_what_their_ids_say_are_refused(make: Make, tmp_path: Path) -> None:
    """Content of another commit, another key; more or fewer than the record says."""
    objects, head = small("a")
    other = replace(head, stamp=2)
    form, pack, _ = usual(tmp_path / "f", objects, [head])
    rows = [
        (Head(head.key, head.id, other.encode(), ""),),
        (Head(key(8), head.id, head.encode(), ""),),
        (Head(head.key, head.id, head.encode(), ""),),
    ]
    for n, row in enumerate(rows):
        table = Table(row, {pack[1]: footer_of(pack[2])}).encode()
        contents = [form, pack, (Sort.TABLE, hash_bytes(table).hex(), table)]
        assert_refused(written(tmp_path / f"x{n}", contents, 1 + (n == 2)), make(f"there{n}"))


def test_names_in_a_bundle_lead_nowhere(make: Make, tmp_path: Path) -> None:
    """A commit's path with `..` becomes a plain label below refs/; a tree's entry with `../` is no tree."""
    objects, head = small("a")
    evil = replace(head, path=("../../../evil", "/etc/passwd", "..\\x"))
    rows = [*objects[:2], (Kind.COMMIT, evil.encode())]
    there = make("there")
    before = {path for path in tmp_path.parent.rglob("*") if there.root not in path.parents}
    path = written(tmp_path / "x", usual(tmp_path / "f", rows, [evil]), 1)
    there.unbundle(Bundle.open([path]))
    names = {p.relative_to(there.root).parts[:1] for p in there.root.rglob("*") if p.is_file()}
    assert names == {("format",), ("packs",), ("refs",)}
    tree = canonical({"entries": [["../evil", "file", str(hash_object(Kind.BLOB, b"x")), 1]], "v": 1})
    head = task(hash_object(Kind.TREE, tree))
    rows = [(Kind.BLOB, b"x"), (Kind.TREE, tree), (Kind.COMMIT, head.encode())]
    assert_refused(written(tmp_path / "y", usual(tmp_path / "f", rows, [head]), 1), make("other"))
    made = {path for path in tmp_path.parent.rglob("*") if there.root not in path.parents} - before
    assert not [path for path in made if "evil" in path.name or "passwd" in path.name]


def test_a_tree_of_ten_thousand_levels_costs_no_more_than_its_bytes(make: Make, tmp_path: Path) -> None:
    """Nothing recurses: it is carried like any other, and only a checkout refuses it."""
    raw = Tree(()).encode()
    rows = [(Kind.TREE, raw)]
    for _ in range(10_000):
        raw = Tree((TreeEntry("d", Mode.TREE, hash_object(Kind.TREE, raw), 0),)).encode()
        rows.append((Kind.TREE, raw))
    head = task(hash_object(Kind.TREE, raw))
    rows.append((Kind.COMMIT, head.encode()))
    path = written(tmp_path / "x", usual(tmp_path / "f", rows, [head]), 1)
    there = make("there")
    there.unbundle(Bundle.open([path]))
    assert verify(Bundle.open([path])).objects == 10_002
    with pytest.raises(StoreError):
        there.get(head.state, tmp_path / "out")


def test_a_format_that_a_newer_program_wrote_is_refused_as_such(make: Make, tmp_path: Path) -> None:
    """Unsupported, not damaged: an unknown feature, an unknown version of the file."""
    objects, head = small("a")
    _, pack, table = usual(tmp_path / "f", objects, [head])
    form = format_bytes().replace(b'"read": []', b'"read": ["new"]')
    path = written(tmp_path / "x", [(Sort.FORMAT, hash_bytes(form).hex(), form), pack, table], 1)
    with pytest.raises(Unsupported):
        make("there").unbundle(Bundle.open([path]))
    data = bytearray(path.read_bytes())
    data[4] = 2
    path.write_bytes(sealed(bytes(data)))
    with pytest.raises(Unsupported, match="version 2: a newer version of the program"):
        Bundle.open([path])


# --- hostile: anything at all ----------------------------------------------------------------------------------------


@given(st.binary(max_size=200))
def test_any_bytes_as_a_lead_give_a_lead_or_the_declared_error(data: bytes) -> None:
    """And a lead that is read is written the same."""
    try:
        lead = Lead.decode(data)
    except (Corrupt, Unsupported):
        return
    assert lead.encode() == data


@given(st.binary(max_size=400), st.booleans())
def test_any_bytes_as_an_index_give_the_declared_error(data: bytes, begun: bool) -> None:
    """Its hash fits, so every field is looked at."""
    if begun:
        data = b"OSBI\x01\0\0\0" + data
    lead = Lead(1, 1, len(data), len(data), 0, len(data), hash_bytes(data))
    with pytest.raises((Corrupt, Unsupported)):
        Index.decode(data, lead)


@given(st.data())
def test_an_index_with_changed_bytes_is_read_or_refused(data: st.DataObject) -> None:
    """Only declared errors, whatever was changed; and what is read is written the same."""
    entries = [Entry(Sort.FORMAT, "ab" * 32, 0, 10), Entry(Sort.TABLE, "cd" * 32, 10, 5)]
    info = Info(5, 1, "ef" * 32)
    needs = {ObjectId(bytes([n]) * 32): (Kind.BLOB, None) for n in range(3)}
    good = Index.of(info, entries, needs, [(key(1), ObjectId(bytes(32)))]).encode()
    changed = bytearray(good)
    for _ in range(data.draw(st.integers(0, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    raw = bytes(changed)
    try:
        index = Index.decode(raw, Lead(1, 1, len(raw) + 15, len(raw), 0, len(raw) + 15, hash_bytes(raw)))
    except (Corrupt, Unsupported):
        return
    assert index.encode() == raw
    assert len(list(index.needs())) == 3
    assert list(index.known())


@given(data=st.data())
def test_a_bundle_with_changed_bytes_gives_only_declared_errors(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Bytes changed, cut out and put in anywhere, under a trailer that fits."""
    folder = tmp_path_factory.mktemp("fuzz")
    objects, head = small("a", "b")
    good = written(folder / "x", usual(folder / "f", objects, [head]), 1).read_bytes()
    changed = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(changed) - 1))
        piece = data.draw(st.binary(max_size=9))
        changed[at : at + data.draw(st.sampled_from([len(piece), 0, 4]))] = piece
    path = folder / "y"
    path.write_bytes(sealed(bytes(changed)))
    try:
        verify(Bundle.open([path]))
    except StoreError:
        return
    assert path.read_bytes() == good


def test_the_function_and_the_method_are_one(make: Make, tmp_path: Path) -> None:
    """`Store.unbundle` does what `objstore.bundle.unbundle` does."""
    here, there = make("here"), make("there")
    edit(here, 1, {"x": b"1"})
    bundle = bundled(here, tmp_path / "x")
    assert unbundle(there.root, there.objects, there.heads, bundle).heads
    assert_same(here, there)


# --- yesterday's bundles ---------------------------------------------------------------------------------------------

GOLDEN = CHECKOUT / "tests/golden/bundle-v1"
STAMP = 1_700_000_000_000_000


def make_golden(folder: Path) -> None:
    """Write a bundle, and one since that in two parts, into `folder`, and what they hold. Run this file to do so anew.

        PYTHONPATH=. python tests/objstore/test_bundle.py

    Only after a deliberate change of the format, which needs a new version, and a new folder beside the old one.
    """
    with tempfile.TemporaryDirectory() as scratch:
        here = Store.create(Path(scratch) / "here")
        edit(here, 1, {"x": b"1", "text": b"text " * 100})
        edit(here, 2, {"x": b"not touched"})
        first = bundled(here, folder / "whole.bundle", stamp=STAMP)
        edit(here, 1, {"x": b"2", "text": b"text " * 100, "noise": noise(66_000)})
        second = bundled(
            here, folder / "since.bundle", since=first, split=layout.BUNDLE_PART_MIN, stamp=STAMP
        )
        expected = {
            "bundles": [first.id, second.id],
            "heads": {k: [str(i) for i in ids] for k, ids in live(here).items()},
            "objects": sorted(str(i) for i in contents(here)),
        }
        (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
        here.close()


def test_bundles_of_version_1_are_read_today(make: Make) -> None:
    """Taken in, they give the store of that day."""
    expected = json.loads((GOLDEN / "expected.json").read_text())
    there = make("there")
    bundles = [Bundle.open([GOLDEN / "whole.bundle"]), Bundle.open([GOLDEN / "since.bundle.002"])]
    assert [verify(bundle).id for bundle in bundles] == expected["bundles"]
    for bundle in bundles:
        there.unbundle(bundle)
    assert {k: [str(i) for i in ids] for k, ids in live(there).items()} == expected["heads"]
    assert sorted(str(i) for i in contents(there)) == expected["objects"]
    assert there.fsck().problems == ()


@pytest.mark.parametrize("name", ["whole.bundle", "since.bundle.001", "since.bundle.002"])
def test_leads_and_indexes_of_version_1_are_written_the_same(name: str) -> None:
    """Byte for byte."""
    data = (GOLDEN / name).read_bytes()
    lead = Lead.decode(data[:LEAD_SIZE])
    assert lead.encode() == data[:LEAD_SIZE]
    assert hash_bytes(data[LEAD_SIZE:-TRAILER_SIZE] + data[:LEAD_SIZE]) == data[-TRAILER_SIZE:]
    bundle = Bundle.open([GOLDEN / name])
    raw = bundle.parts.read(lead.content - lead.index, lead.index)
    index = bundle.index
    assert index.encode() == raw
    needs = {i: (k, None if p is None else index.info.named.index(p)) for i, k, p in index.needs()}
    assert Index.of(index.info, index.entries, needs, index.known()).encode() == raw


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    make_golden(GOLDEN)
