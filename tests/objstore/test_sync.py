"""Push, pull and clone: complete, resumable, suspicious, and cheap in requests."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from objstore import files, layout
from objstore.errors import Corrupt, NotFound, ReadOnly, RemoteError, StoreError, Unsupported
from objstore.frame import Encoding, FrameHeader, encode, encode_list
from objstore.graph import closure
from objstore.heads import Head, Table
from objstore.ids import Kind, ObjectId, hash_bytes, hash_object
from objstore.pack import Footer, PackWriter, pack_bytes
from objstore.records import ChunkList, Commit, Mode, TreeEntry, canonical
from objstore.remotes import Listed, Remote
from objstore.remotes.folder import FolderRemote
from objstore.remotes.memory import MemoryRemote
from objstore.store import Store
from objstore.sync import incoming, push
from objstore.testing import Counting, Faulty, names
from objstore.zstd import compress

MIB = layout.MIB
Content: TypeAlias = "dict[str, bytes | Path]"


def key(number: int) -> str:
    """The key of the task of that number."""
    return f"{number:032x}"


def noise(size: int, seed: int = 0) -> bytes:
    """Bytes that do not compress."""
    return random.Random(seed).randbytes(size)


def edit(store: Store, number: int, content: Content, writer: str = "w", **extra: object) -> Commit:
    """One more commit of a task, on top of all its living heads; its state is a tree of `content`."""
    with store.begin() as tx:
        return commit(store, tx, number, content, writer, **extra)


def commit(
    store: Store, tx: object, number: int, content: Content, writer: str = "w", **extra: Any
) -> Commit:
    """As `edit`, in a transaction of the caller's."""
    from objstore.publish import Transaction

    assert isinstance(tx, Transaction)
    entries = []
    for name, data in content.items():
        if isinstance(data, Path) and data.is_dir():
            entries.append(TreeEntry(name, Mode.TREE, *files.put_folder(tx, data)))
        elif isinstance(data, Path):
            entries.append(TreeEntry(name, Mode.FILE, *files.put_file(tx, data)))
        else:
            entries.append(TreeEntry(name, Mode.FILE, tx.put_bytes(data), len(data)))
    parents = store.heads.of(key(number))
    covers: dict[str, int] = {}
    for head in parents:
        for who, count in head.commit.covers.items():
            covers[who] = max(count, covers.get(who, 0))
    covers[writer] = covers.get(writer, 0) + 1
    made = Commit(
        key=key(number),
        path=("task", f"project {number % 3}", f"task {number}"),
        parents=tuple(sorted(head.id for head in parents)),
        generation=1 + max((head.commit.generation for head in parents), default=0),
        stamp=1_000_000 + sum(covers.values()),
        state=files.put_tree(tx, entries)[0],
        covers=covers,
        **extra,
    )
    tx.commit(made)
    return made


def fill(store: Store, numbers: range, size: int = 200) -> None:
    """One small task for each number, all in one transaction."""
    with store.begin() as tx:
        for n in numbers:
            commit(store, tx, n, {"params": b"lr=%d" % n, "model": noise(size, n), "same": b"same in all"})


def live(store: Store) -> dict[str, list[ObjectId]]:
    """The ids of the living heads by key."""
    return {k: [head.id for head in heads] for k, heads in store.heads.live().items()}


def contents(store: Store) -> dict[ObjectId, bytes]:
    """Every object that living heads reach, read and verified."""
    roots = [(Kind.COMMIT, i) for ids in live(store).values() for i in ids]
    return {i: store.objects.read(i, kind) for kind, i in closure(store.objects, roots)}


def assert_same(a: Store, b: Store) -> None:
    """The same living heads, the same bytes below them, and nothing wrong in `b`."""
    a.objects.refresh()
    b.objects.refresh()
    assert live(a) == live(b)
    assert contents(a).items() >= contents(b).items()  # a large blob may be cut here and whole there
    assert b.fsck().problems == ()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[[str], Store]]:
    """Makes empty stores by name."""
    made: list[Store] = []

    def create(name: str) -> Store:
        made.append(Store.create(tmp_path / name))
        return made[-1]

    yield create
    for store in made:
        store.close()


Make = Callable[[str], Store]


@pytest.fixture(params=["folder", "memory"])
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> Remote:
    """An empty remote of each kind."""
    return MemoryRemote() if request.param == "memory" else FolderRemote(tmp_path / "remote", create=True)


class TestTheWholeWay:
    def test_a_clone_has_every_byte(self, make: Make, remote: Remote, tmp_path: Path) -> None:
        """A 30 MiB file in chunks, a folder, small and empty blobs, history: all there, and fsck finds nothing."""
        here = make("here")
        large = tmp_path / "large.bin"
        large.write_bytes(noise(30 * MIB))
        folder = tmp_path / "data"
        (folder / "sub").mkdir(parents=True)
        for n in range(20):
            (folder / "sub" / f"{n}.txt").write_text(f"line {n}\n" * n)
        edit(here, 1, {"old": b"an old state"})
        edit(here, 1, {"large": large, "data": folder, "empty": b"", "text": b"abc" * 1000})
        fill(here, range(2, 12))
        result = here.push(remote)
        assert len(result.heads) == 11
        assert result.bytes > 30 * MIB
        there = make("there")
        pulled = there.clone(remote)
        assert {head.key for head in pulled.heads} == {key(n) for n in range(1, 12)}
        assert pulled.damaged == ()
        assert pulled.rolled_back == ()
        assert_same(here, there)
        assert contents(here) == contents(there)
        blob = next(
            e
            for e in files.list_tree(there.objects, there.heads.of(key(1))[0].commit.state)
            if e.name == "large"
        )
        there.get(blob.id, tmp_path / "again.bin")
        assert (tmp_path / "again.bin").read_bytes() == large.read_bytes()

    def test_a_remote_folder_is_a_store(self, make: Make, tmp_path: Path) -> None:
        """It opens, checks, and can be copied by any copier."""
        here = make("here")
        fill(here, range(5))
        here.push(FolderRemote(tmp_path / "remote", create=True))
        assert_same(here, Store.open(tmp_path / "remote"))
        shutil.copytree(tmp_path / "remote", tmp_path / "copied")
        assert_same(here, Store.open(tmp_path / "copied"))

    def test_two_editors_converge(self, make: Make, remote: Remote) -> None:
        """Both edited one task while apart: both heads live everywhere, and the next edit joins them."""
        a, b = make("a"), make("b")
        edit(a, 1, {"x": b"begun"}, "a")
        a.push(remote)
        b.clone(remote)
        edit(a, 1, {"x": b"by a"}, "a")
        edit(b, 1, {"x": b"by b"}, "b")
        a.push(remote)
        b.push(remote)
        a.pull(remote)
        b.pull(remote)
        assert len(live(a)[key(1)]) == 2
        assert_same(a, b)
        assert_same(b, a)
        joined = edit(a, 1, {"x": b"joined"}, "a")
        a.push(remote)
        b.pull(remote)
        assert live(b) == {key(1): [joined.id]}

    def test_a_store_of_tables_only_is_a_good_remote(self, make: Make) -> None:
        """More than 64 heads at once become one table that claims no packs: a pull finds them by listing."""
        here, there, third = make("here"), make("there"), make("third")
        fill(here, range(100))
        memory = MemoryRemote()
        here.push(memory)
        there.pull(memory)
        assert len(list((there.root / "refs.packed").iterdir())) == 1
        assert not list((there.root / "refs").iterdir())
        third.clone(FolderRemote(there.root))
        assert_same(here, third)
        assert here.push(FolderRemote(there.root)).bytes == 0

    def test_an_empty_remote_is_pulled_but_not_cloned(self, make: Make, remote: Remote) -> None:
        """Nothing to pull is no error; to clone nothing is a mistake in the URL."""
        assert make("a").pull(remote).heads == ()
        with pytest.raises(NotFound, match="holds no store"):
            make("b").clone(remote)

    def test_keys_limit_what_is_pushed_and_pulled(self, make: Make, remote: Remote) -> None:
        """Only those heads and what they reach; another task's bytes never leave, though they share its packs."""
        here, there = make("here"), make("there")
        with here.begin() as tx:
            commit(here, tx, 1, {"a": b"mine to give" * 9})
            commit(here, tx, 2, {"a": b"nobody else's" * 9})
            commit(here, tx, 3, {"a": b"mine as well" * 9})
        here.push(remote, keys=[key(1), key(3), key(77)])
        there.pull(remote, keys=[key(1)])
        assert set(live(there)) == {key(1)}
        there.pull(remote)
        assert set(live(there)) == {key(1), key(3)}
        private = {i for i, data in contents(here).items() if b"nobody else's" in data}
        assert private
        assert not any(there.objects.has(i) for i in private)
        assert there.fsck().clean

    def test_a_dead_head_is_not_pushed(self, make: Make) -> None:
        """What a newer head covers has no place in a table."""
        here, remote = make("here"), MemoryRemote()
        edit(here, 1, {"x": b"old"})
        new = edit(here, 1, {"x": b"new"})
        assert [head.id for head in here.push(remote).heads] == [new.id]

    def test_a_head_that_the_remote_covers_is_not_pushed(self, make: Make) -> None:
        """An old copy of the store has nothing to say."""
        here, remote = make("here"), MemoryRemote()
        edit(here, 1, {"x": b"old"})
        shutil.copytree(here.root, here.root.with_name("old"))
        edit(here, 1, {"x": b"new"})
        here.push(remote)
        before = dict(remote.files)
        assert Store.open(here.root.with_name("old")).push(remote).heads == ()
        assert remote.files == before

    def test_history_that_was_cut_off_may_be_absent(self, make: Make) -> None:
        """A parent that `cut` allows to be gone stops neither way; one that it does not stops the push."""
        here, there, remote = make("here"), make("there"), MemoryRemote()
        gone = ObjectId(b"\x07" * 32)
        with here.begin() as tx:
            made = commit(here, tx, 1, {"x": b"x"})
            cut = replace(made, parents=(gone,), generation=2, covers={"w": 2}, cut=made.stamp)
            tx.commit(cut)
        here.push(remote)
        there.clone(remote)
        assert live(there) == {key(1): [cut.id]}
        with here.begin() as tx:
            tx.commit(replace(cut, covers={"w": 3}, cut=0))
        with pytest.raises(NotFound, match=str(gone)):
            here.push(remote)

    def test_a_large_artifacts_packs_are_sent_as_they_are(self, make: Make) -> None:
        """The same pack ids there; and a clone keeps it apart from all else, so that deleting it frees whole files."""
        here, there, remote = make("here"), make("there"), MemoryRemote()
        edit(here, 1, {"large": noise(20 * MIB)})
        large = {p for p, footer in here.objects.footers() if footer.frames_size > 8 * MIB}
        assert large
        here.push(remote)
        assert {layout.pack_path(p) for p in large} <= remote.files.keys()
        there.clone(remote)
        sizes = [footer.frames_size for footer in dict(there.objects.footers()).values()]
        assert sum(size > 19 * MIB for size in sizes) == 1
        assert sum(sizes) - max(sizes) < 100_000

    def test_progress_ends_where_it_said(self, make: Make) -> None:
        """The done part never shrinks, and is the expected one in the end."""
        here, there, remote = make("here"), make("there"), MemoryRemote()
        edit(here, 1, {"large": noise(9 * MIB), "small": b"x"})
        for call in (here.push, there.pull):
            steps: list[tuple[int, int]] = []
            call(remote, progress=lambda *step, steps=steps: steps.append(step))
            assert steps
            assert [done for done, _ in steps] == sorted(done for done, _ in steps)
            assert steps[-1][0] == steps[-1][1] > 9 * MIB


class Meeting(MemoryRemote):
    """A remote where something happens between a listing and what follows it."""

    between: Callable[[], object] | None = None

    def list(self, prefix: str) -> Iterator[Listed]:
        """As in memory, and then `between`, once."""
        found = super().list(prefix)
        happens, self.between = self.between, None
        if happens is not None:
            happens()
        return found


class TestMeetings:
    def test_two_pushers_at_once_lose_nothing(self, make: Make) -> None:
        """Each absorbs the same table, neither knows of the other: both tables stay alive, and the next joins them."""
        a, b, reader, remote = make("a"), make("b"), make("reader"), Meeting()
        edit(a, 0, {"x": b"first"})
        a.push(remote)
        edit(a, 1, {"x": b"by a"})
        edit(b, 2, {"x": b"by b"})
        remote.between = lambda: b.push(remote)
        a.push(remote)
        reader.clone(remote)
        assert set(live(reader)) == {key(0), key(1), key(2)}
        edit(a, 3, {"x": b"later"})
        a.push(remote)
        reader.pull(remote)
        assert reader.fsck().clean
        assert set(live(reader)) == {key(n) for n in range(4)}

    def test_a_table_that_is_merged_away_is_looked_for_again(self, make: Make) -> None:
        """A gc of the remote deleted it after the listing: the next listing shows what took its place."""
        here, reader, remote = make("here"), make("reader"), Meeting()
        fill(here, range(3))
        here.push(remote)
        (old,) = names(remote, "refs.packed/")
        edit(here, 4, {"x": b"x" * 2000})

        def merge() -> None:
            here.push(remote)
            remote.delete(old)

        remote.between = merge
        reader.clone(remote)
        assert_same(here, reader)

    def test_a_remote_whose_tables_never_come_is_given_up(
        self, make: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Listed each time, found never: an error, not an endless loop."""
        here, inner = make("here"), MemoryRemote()
        fill(here, range(3))
        here.push(inner)
        listed = list(inner.list("refs"))
        remote = Counting(MemoryRemote())
        monkeypatch.setattr(remote, "list", lambda prefix: iter(listed))
        with pytest.raises(RemoteError, match="vanish"):
            make("reader").pull(remote)


class TestRequests:
    def test_nothing_new_costs_one_request(self, make: Make) -> None:
        """One listing, for a push and for a pull, from the store that pushed and from a clone."""
        here, there, remote = make("here"), make("there"), Counting(MemoryRemote())
        fill(here, range(30))
        here.push(remote)
        there.clone(remote)
        for sync in (here.push, here.pull, there.push, there.pull):
            remote.reset()
            assert sync(remote).heads == ()
            assert remote.calls == {"list": 1}

    def test_one_new_task_costs_three(self, make: Make) -> None:
        """Out: list, pack, table. In: list, table, pack."""
        here, there, remote = make("here"), make("there"), Counting(MemoryRemote())
        fill(here, range(30))
        here.push(remote)
        there.clone(remote)
        edit(here, 99, {"x": b"new", "same": b"same in all"})
        remote.reset()
        result = here.push(remote)
        assert remote.calls == {"list": 1, "put": 2}
        assert result.bytes < 2000
        remote.reset()
        assert there.pull(remote).bytes < 2000
        assert remote.calls == {"list": 1, "get": 1, "get_range": 1}
        assert_same(here, there)

    def test_a_thousand_tasks_cost_ten(self, make: Make) -> None:
        """And a clone of them; they become one table, and few packs."""
        here, there, remote = make("here"), make("there"), Counting(MemoryRemote())
        fill(here, range(1000))
        here.push(remote)
        assert remote.total <= 10
        remote.reset()
        result = there.clone(remote)
        assert remote.total <= 10
        assert len(result.heads) == 1000
        assert result.packs <= 2
        assert live(here) == live(there)

    def test_many_pushes_leave_few_tables_alive(self, make: Make) -> None:
        """Each absorbs the smaller ones, so a first contact reads a handful and not one for every push."""
        here, there, remote = make("here"), make("there"), Counting(MemoryRemote())
        for n in range(40):
            edit(here, n, {"x": b"%d" % n})
            here.push(remote)
        assert len(names(remote, "refs.packed/")) == 40
        remote.reset()
        there.clone(remote)
        assert remote.calls["get"] <= 7  # format, and the tables
        assert_same(here, there)

    def test_a_few_of_many_tasks_are_fetched_by_ranges(self, make: Make) -> None:
        """One task out of a large pack costs about its own bytes."""
        here, there, remote = make("here"), make("there"), Counting(MemoryRemote())
        fill(here, range(200), size=100_000)
        assert here.push(remote).packs == 1
        remote.reset()
        there.pull(remote, keys=[key(7)])
        assert set(live(there)) == {key(7)}
        assert remote.bytes < 2 * MIB
        assert remote.total <= 8
        assert there.fsck().clean


class TestMany:
    """More objects than are held at once."""

    @pytest.mark.parametrize("keys", [None, [key(1), key(2)]])
    def test_what_is_absent_is_fetched_a_part_at_a_time(
        self, make: Make, remote: Remote, monkeypatch: pytest.MonkeyPatch, keys: list[str] | None
    ) -> None:
        """Nothing is left out where more is absent than is noted at once, large files among it."""
        monkeypatch.setattr(incoming, "_ABSENT_MAX", 3)
        here, fresh = make("here"), make("fresh")
        for number in (1, 2):
            edit(here, number, {f"{n:02}": b"%d %d" % (number, n) for n in range(20)})
        edit(here, 1, {"large": noise(9 * MIB), "a": b"a", "z": b"z"})
        here.push(remote)
        assert len(fresh.pull(remote, keys=keys).heads) == 2
        assert live(fresh) == live(here)
        assert fresh.fsck("reachable").clean
        assert fresh.fsck().clean


class TestInterrupted:
    @pytest.mark.parametrize("lost", [False, True], ids=["fails", "reply-lost"])
    def test_a_push_that_was_cut_anywhere_is_completed_by_the_next(self, make: Make, lost: bool) -> None:
        """At each of its calls: whoever reads then sees whole tasks only; the next push sees to the rest."""
        here = make("here")
        fill(here, range(3))
        start = MemoryRemote()
        here.push(start)
        edit(here, 1, {"more": noise(9 * MIB)})
        fill(here, range(10, 13))
        edit(here, 2, {"x": b"a new state"})
        shutil.rmtree(here.root / "cache")
        cut = 0
        for n in range(1, 40):
            inner = MemoryRemote(f"memory:{n}")
            inner.files = dict(start.files)
            faulty = Faulty(inner, first=n, lost=lost)
            try:
                here.push(faulty)
            except RemoteError:
                cut += 1
            reader = make(f"reader{n}")
            reader.clone(inner)
            assert reader.fsck().clean
            assert len(live(reader)) in (3, 6)
            assert here.push(inner).rolled_back == ()
            reader.pull(inner)
            assert_same(here, reader)
            if faulty.calls < n:
                break
        assert cut >= 5

    def test_what_an_interrupted_push_has_put_is_not_sent_again(
        self, make: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Resent is one pack at most. Small packs here, so that a few MiB make many."""
        monkeypatch.setattr(layout, "PACK_TARGET", MIB)
        here, there, remote = make("here"), make("there"), MemoryRemote()
        edit(here, 2, {"x": b"a first push, so that a table is there"})
        here.push(remote)
        edit(here, 1, {"large": noise(9 * MIB)})
        with pytest.raises(RemoteError):
            here.push(Faulty(remote, first=7, verbs=("put",)))
        assert len(names(remote, "packs/")) >= 6
        assert len(names(remote, "refs")) == 1
        assert here.push(remote).bytes < 4 * MIB
        there.clone(remote)
        assert_same(here, there)
        counting = Counting(remote)
        assert here.push(counting).heads == ()
        assert counting.total == 1

    def test_a_pull_that_was_cut_anywhere_is_completed_by_the_next(self, make: Make) -> None:
        """At each of its calls nothing partial is published, and what was whole is not fetched again."""
        here, remote = make("here"), MemoryRemote()
        edit(here, 1, {"large": noise(9 * MIB), "other": noise(10 * MIB, 1)})
        fill(here, range(2, 5))
        here.push(remote)
        for n in range(1, 40):
            reader, faulty = make(f"reader{n}"), Faulty(remote, first=n)
            try:
                reader.pull(faulty)
            except RemoteError:
                assert live(reader) == {}
                assert reader.fsck().clean
                assert list((reader.root / "tmp").iterdir()) == []
                reader.pull(remote)
            assert_same(here, reader)
            if faulty.calls < n:
                break
        assert n > 4

    def test_replies_that_end_early_get_nothing_wrong_in(self, make: Make) -> None:
        """Half of what was asked for comes, at each of the calls, without an error of the remote's."""
        here, remote = make("here"), MemoryRemote()
        edit(here, 1, {"large": noise(9 * MIB)})
        fill(here, range(2, 5))
        here.push(remote)
        refused = 0
        for n in range(1, 8):
            reader, faulty = make(f"reader{n}"), Faulty(remote, n, truncate=True, verbs=("get", "get_range"))
            try:
                reader.pull(faulty)
            except Corrupt:
                refused += 1
                assert reader.fsck().clean
            reader.pull(remote)
            assert_same(here, reader)
        assert refused >= 3

    def test_a_pull_goes_on_where_the_last_one_was_cut(self, make: Make) -> None:
        """Whole packs of an earlier attempt are not asked for again."""
        here, there, remote = make("here"), make("there"), Counting(MemoryRemote())
        edit(here, 1, {name: noise(9 * MIB, n) for n, name in enumerate("abc")})
        here.push(remote)
        make("other").clone(remote)
        ranges = remote.calls["get_range"]
        with pytest.raises(RemoteError):
            there.pull(Faulty(remote, first=ranges, verbs=("get_range",)))
        remote.reset()
        there.pull(remote)
        assert 9 * MIB <= remote.bytes < 10 * MIB
        assert_same(here, there)

    def test_a_push_with_an_old_listing_looks_again(self, make: Make) -> None:
        """A gc of the remote may have given up since then what was claimed a day ago."""
        here, remote = make("here"), Counting(MemoryRemote())
        fill(here, range(3))
        clock = iter([0.0, 90_000.0, 90_000.0, 90_001.0])
        push(here.root, here.objects, here.heads, remote, now=lambda: next(clock))
        assert remote.calls["list"] == 4  # refs and packs, twice
        assert len(names(remote, "packs/")) == len(names(remote, "refs.packed/")) == 1

    def test_the_cache_may_be_deleted_at_any_time(self, make: Make, remote: Remote) -> None:
        """It costs requests, and changes nothing."""
        here, there = make("here"), make("there")
        for n in range(3):
            edit(here, n, {"x": b"%d" % n})
            here.push(remote)
            there.pull(remote)
            shutil.rmtree(here.root / "cache")
            shutil.rmtree(there.root / "cache")
        before = names(remote, "")
        assert here.push(remote).heads == there.push(remote).heads == ()
        assert names(remote, "") == before
        assert_same(here, there)

    def test_a_damaged_cache_is_not_believed(self, make: Make) -> None:
        """Every note flipped: as if there were none."""
        here, there, remote = make("here"), make("there"), MemoryRemote()
        fill(here, range(3))
        here.push(remote)
        there.pull(remote)
        edit(here, 1, {"x": b"new"})
        for store in (here, there):
            for path in (store.root / "cache").rglob("*"):
                if path.is_file():
                    data = bytearray(path.read_bytes())
                    data[len(data) // 2 :] = b"?" * 9
                    path.write_bytes(data)
        here.push(remote)
        there.pull(remote)
        assert_same(here, there)


def flipped(data: bytes, at: int) -> bytes:
    """The same with one bit changed."""
    return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]


def damages(data: bytes) -> Iterator[tuple[str, bytes | None]]:
    """Ways for a file to be wrong."""
    yield "missing", None
    yield "empty", b""
    yield "cut", data[: len(data) // 2]
    yield "short by one", data[:-1]
    yield "longer", data + b"x"
    for part in range(5):
        yield f"flipped {part}", flipped(data, len(data) * part // 5)
    yield "flipped at the end", flipped(data, len(data) - 1)


def mixed(make: Make, size: int) -> dict[str, bytes]:
    """The files of a remote with tables, packs, and a loose head whose pack no table claims; one blob is of `size`."""
    here, extra, remote = make("origin"), make("extra"), MemoryRemote()
    edit(here, 1, {"large": noise(size)})
    fill(here, range(2, 40))
    here.push(remote)
    edit(here, 50, {"x": b"later" * 50})
    here.push(remote)
    edit(extra, 60, {"y": b"only copied" * 20})
    for path in [*extra.root.glob("packs/*/*"), *extra.root.glob("refs/*/*")]:
        remote.files[path.relative_to(extra.root).as_posix()] = path.read_bytes()
    here.pull(remote)
    assert set(live(here)) == {key(n) for n in (*range(1, 40), 50, 60)}
    return remote.files


class TestDamageThere:
    def test_no_damage_to_any_file_gets_in(self, make: Make) -> None:
        """Each file, each way: what is pulled is right and whole, and else the file is named."""
        files = mixed(make, 1000)
        for number, (name, data) in enumerate(files.items()):
            for what, wrong in damages(data):
                if name != "format":
                    reader = make(f"reader{number}-{what}")
                    told = self.clone_damaged(reader, files, name, wrong)
                    self.check(make, reader, files, name, wrong, told)

    def test_no_damage_to_a_large_pack_gets_in(self, make: Make) -> None:
        """The same for a pack of chunks: in its first frame, in the middle, and when half of it is missing."""
        files = mixed(make, 9 * MIB)
        name, data = max(files.items(), key=lambda item: len(item[1]))
        for number, wrong in enumerate([None, data[: 5 * MIB], flipped(data, 0), flipped(data, 5 * MIB)]):
            reader = make(f"reader{number}")
            told = self.clone_damaged(reader, files, name, wrong)
            self.check(make, reader, files, name, wrong, told)
            assert key(1) not in live(reader)

    @staticmethod
    def clone_damaged(reader: Store, files: dict[str, bytes], name: str, wrong: bytes | None) -> str:
        """What is told by a clone of a remote with one file changed, or missing."""
        remote = MemoryRemote("memory:victim")
        remote.files = {n: data for n, data in files.items() if n != name}
        if wrong is not None:
            remote.files[name] = wrong
        try:
            return ", ".join(where for where, _ in reader.clone(remote).damaged)
        except StoreError as error:
            return str(error)

    @staticmethod
    def check(
        make: Make, reader: Store, files: dict[str, bytes], name: str, wrong: bytes | None, told: str
    ) -> None:
        """Nothing wrong was published, and the damage was told where it could be seen."""
        origin, stem, data = make("origin"), Path(name).stem, files[name]
        tables = [Table.decode(data, Path(n).stem) for n, data in files.items() if "refs.packed/" in n]
        claimed = {p: Footer.decode(footer) for table in tables for p, footer in table.packs.items()}
        if wrong is None and stem not in claimed:
            # What is not there, and by nobody claimed to be, can only be missed.
            assert name.startswith("refs") or f"object {live(origin)[key(60)][0]}" in told
        elif wrong is not None and stem in claimed:
            # Its footer came with the table, so that only its frames are read.
            size = claimed[stem].frames_size
            assert (name in told) == (wrong[:size] != data[:size])
        else:
            assert name in told
        assert reader.fsck().problems == ()
        assert contents(reader).items() <= contents(origin).items()

    def test_a_damaged_pack_costs_only_the_heads_that_need_it(self, make: Make) -> None:
        """The others are pulled; the error names pack and remote; a sound copy put there later mends all."""
        files = mixed(make, 9 * MIB)
        name = max((n for n in files if n.startswith("packs/")), key=lambda n: len(files[n]))
        remote, reader = MemoryRemote("memory:victim"), make("reader")
        remote.files = {**files, name: flipped(files[name], 5 * MIB)}
        with pytest.raises(Corrupt, match=f"memory:victim.*{name}.*40 of 41 new heads"):
            reader.pull(remote)
        assert len(live(reader)) == 40
        assert reader.fsck().clean
        remote.files[name] = files[name]
        assert [head.key for head in reader.pull(remote).heads] == [key(1)]
        assert reader.fsck().clean

    def test_a_second_copy_is_used_and_the_damage_told(self, make: Make) -> None:
        """What is wrong in one pack is right in another: no error, but the result names the file."""
        remote, reader = MemoryRemote(), make("reader")
        packs = []
        for name in "ab":
            store = make(name)
            with store.begin() as tx:
                tx.put(Kind.BLOB, b"so that the packs differ: " + name.encode())
                commit(store, tx, 1, {"x": b"in both" * 99})
            packs += [path.relative_to(store.root).as_posix() for path in store.root.glob("packs/*/*")]
            for path in [*store.root.glob("packs/*/*"), *store.root.glob("refs/*/*")]:
                remote.put(path.relative_to(store.root).as_posix(), path)
        assert len(packs) == 2
        remote.files[packs[0]] = flipped(remote.files[packs[0]], 30)
        assert [name for name, _ in reader.pull(remote).damaged] == packs[:1]
        assert_same(store, reader)

    def test_a_damaged_table_stops_a_push_and_is_named(self, make: Make) -> None:
        """Who adds has to know all that is claimed: nothing is put."""
        here, other, remote = make("here"), make("other"), MemoryRemote()
        fill(here, range(3))
        edit(other, 7, {"x": b"x"})
        here.push(remote)
        (name,) = names(remote, "refs.packed/")
        remote.files[name] = flipped(remote.files[name], 100)
        before = dict(remote.files)
        with pytest.raises(Corrupt, match=f"{name} is damaged.*remove it there"):
            other.push(remote)
        assert remote.files == before
        remote.delete(name)
        other.push(remote)
        here.push(remote)
        other.pull(remote)
        here.pull(remote)
        assert_same(here, other)

    def test_a_damaged_loose_head_is_put_again(self, make: Make) -> None:
        """A store that has it puts it into a table; then the damaged file bothers nobody."""
        files = mixed(make, 1000)
        extra, reader = make("extra"), make("reader")
        name = next(n for n in files if n.startswith("refs/"))
        remote = MemoryRemote()
        remote.files = {**files, name: flipped(files[name], 9)}
        with pytest.raises(Corrupt, match=name):
            reader.pull(remote)
        assert [head.key for head in extra.push(remote).heads] == [key(60)]
        reader.pull(remote)
        assert reader.fsck().clean
        assert len(live(reader)) == 41

    def test_a_rollback_is_named_and_mended(self, make: Make, remote: Remote) -> None:
        """A head that was seen there and is gone: both see it, and who has it puts it back."""
        here, there = make("here"), make("there")
        edit(here, 1, {"x": b"1"})
        here.push(remote)
        old = {name: remote.get(name) for name in names(remote, "")}
        edit(here, 2, {"x": b"2"})
        edit(here, 1, {"x": b"1 again"})
        here.push(remote)
        there.pull(remote)
        for name in names(remote, ""):
            if name not in old:
                remote.delete(name)
        gone = {head.key for head in there.pull(remote).rolled_back}
        assert gone == {key(1), key(2)}
        result = here.push(remote)
        assert {head.key for head in result.rolled_back} == gone
        assert {head.key for head in result.heads} == gone
        assert there.pull(remote).rolled_back == ()
        fresh = make("fresh")
        fresh.clone(remote)
        assert_same(here, fresh)

    def test_a_sync_of_some_keys_forgets_no_other(self, make: Make, tmp_path: Path) -> None:
        """Loose heads that such a sync does not even fetch are missed all the same when they are gone later."""
        here, there = make("here"), make("there")
        edit(here, 1, {"x": b"1"})
        edit(here, 2, {"x": b"2"})
        shutil.copytree(here.root, tmp_path / "copy")
        remote = FolderRemote(tmp_path / "copy")
        there.pull(remote)
        there.push(remote, keys=[key(1)])
        next((tmp_path / "copy").glob(f"refs/*/{key(2)}.*")).unlink()
        assert [head.key for head in there.pull(remote).rolled_back] == [key(2)]

    def test_packs_that_vanished_are_put_again(self, make: Make) -> None:
        """When the table that claimed them is gone too: heads being there never stands for objects being there."""
        here, fresh, remote = make("here"), make("fresh"), MemoryRemote()
        edit(here, 1, {"x": b"precious"})
        here.push(remote)
        head = here.heads.of(key(1))[0]
        remote.files = {
            layout.head_path("x", head.key, str(head.id)): head.raw,
            "format": remote.files["format"],
        }
        with pytest.raises(Corrupt, match="object"):
            fresh.pull(remote)
        assert fresh.heads.live() == {}
        assert here.push(remote).objects == 3
        fresh.pull(remote)
        assert_same(here, fresh)

    def test_a_claimed_list_does_not_stand_for_its_chunks(
        self, make: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where tables no longer claim the chunks of a large blob, the next push sends them, and the list with them."""
        monkeypatch.setattr(layout, "PACK_TARGET", 2 * MIB)
        here, fresh, remote = make("here"), make("fresh"), MemoryRemote()
        edit(here, 1, {"large": noise(9 * MIB)})
        here.push(remote)
        (name,) = names(remote, "refs.packed/")
        table = Table.decode(remote.files.pop(name), Path(name).stem)
        lists = {
            i
            for f in dict(here.objects.footers()).values()
            for i in [o.id for o in f.objects]
            if here.objects.is_list(i)
        }
        kept = {p: f for p, f in table.packs.items() if lists & {o.id for o in Footer.decode(f).objects}}
        assert 0 < len(kept) < len(table.packs)
        for pack_id in table.packs.keys() - kept.keys():
            remote.delete(layout.pack_path(pack_id))
        data = Table(table.heads, kept).encode()
        remote.put(layout.table_path(hash_bytes(data).hex()), data)
        assert here.push(remote).bytes > MIB
        packs = {
            p: f
            for n in names(remote, "refs.packed/")
            for p, f in Table.decode(remote.get(n), Path(n).stem).packs.items()
        }
        sent = [Footer.decode(f) for p, f in packs.items() if p not in kept]
        assert any(lists & {o.id for o in footer.objects} for footer in sent)
        fresh.clone(remote)
        assert_same(here, fresh)

    def test_an_emptied_remote_may_be_an_unmounted_disk(self, make: Make, remote: Remote) -> None:
        """Not even `format` is left: an error, instead of a copy of everything on the disk below."""
        here = make("here")
        fill(here, range(3))
        here.push(remote)
        for name in names(remote, ""):
            remote.delete(name)
        for sync in (here.push, here.pull):
            with pytest.raises(RemoteError, match="mounted"):
                sync(remote)
        assert names(remote, "") == []


class TestDamageHere:
    def test_a_damaged_object_stops_the_push_before_its_table(self, make: Make) -> None:
        """The error names it; nothing is claimed. Small and large objects, whole packs and lists."""
        here = make("here")
        edit(here, 1, {"large": noise(9 * MIB), "small": b"small" * 100})
        for path in sorted(here.root.glob("packs/*/*")):
            data = path.read_bytes()
            for part in (3, 8):
                path.write_bytes(flipped(data, min(len(data) * part // 10, 8 * MIB)))
                store, remote = Store.open(here.root), MemoryRemote()
                with pytest.raises((Corrupt, NotFound), match=r"object [0-9a-f]{64}"):
                    store.push(remote)
                assert not [name for name in remote.files if name.startswith("refs")]
                store.close()
            path.write_bytes(data)
        Store.open(here.root).push(MemoryRemote())

    def test_a_sound_copy_is_sent_instead(self, make: Make) -> None:
        """Of objects that lie in two packs, one of them damaged throughout."""
        here, twin, there, remote = make("here"), make("twin"), make("there"), MemoryRemote()
        edit(here, 1, {"x": b"precious" * 50})
        (damaged,) = here.root.glob("packs/*/*")
        with twin.begin() as tx:
            tx.put(Kind.BLOB, b"so that the packs differ")
            commit(twin, tx, 1, {"x": b"precious" * 50})
        (sound,) = twin.root.glob("packs/*/*")
        assert sound.name != damaged.name
        target = here.root / sound.relative_to(twin.root)
        target.parent.mkdir(exist_ok=True)
        shutil.copy(sound, target)
        footer = here.objects.footer(damaged.stem)
        data = damaged.read_bytes()
        for frame in footer.frames:
            data = flipped(data, frame.offset + frame.size - 1)
        damaged.write_bytes(data)
        store = Store.open(here.root)
        store.push(remote)
        there.clone(remote)
        assert_same(twin, there)

    def test_a_damaged_head_is_passed_over_and_told(self, make: Make) -> None:
        """The other tasks are safe there all the same."""
        here, remote = make("here"), MemoryRemote()
        fill(here, range(3))
        path = next(here.root.glob(f"refs/*/{key(1)}.*"))
        path.write_bytes(flipped(path.read_bytes(), 20))
        result = Store.open(here.root).push(remote)
        assert {head.key for head in result.heads} == {key(0), key(2)}
        assert [where for where, _ in result.damaged] == [path.relative_to(here.root).as_posix()]

    def test_a_missing_object_stops_the_push(self, make: Make) -> None:
        """Neither here nor there: named, and no head is shown."""
        here, remote = make("here"), MemoryRemote()
        edit(here, 1, {"x": b"x"})
        for path in here.root.glob("packs/*/*"):
            path.unlink()
        with pytest.raises(NotFound, match=r"object [0-9a-f]{64} is neither in this store nor at memory:"):
            Store.open(here.root).push(remote)
        assert not [name for name in remote.files if name.startswith("refs")]

    @pytest.mark.parametrize("how", ["missing", "damaged"])
    def test_what_is_lost_costs_only_the_heads_that_need_it(self, make: Make, how: str) -> None:
        """The others are there, whole, before the error is raised; it names those that are not. Healed, they follow."""
        here, there, remote = make("here"), make("there"), MemoryRemote()
        shared, packs = b"shared " * 99, set[Path]()
        for number in range(5):
            before = set(here.root.glob("packs/*/*"))
            content: Content = {"own": b"%d" % number * 99}
            edit(here, number, content | {"shared": shared} if number in {1, 3} else content)
            if number == 1:
                packs = set(here.root.glob("packs/*/*")) - before
        (lost,) = packs
        data = lost.read_bytes()
        if how == "missing":
            lost.unlink()
        else:
            (place,) = here.objects.locate(hash_object(Kind.BLOB, shared))
            frame = here.objects.footer(lost.stem).frames[place.entry.frame]
            lost.write_bytes(flipped(data, frame.offset + frame.size - 1))
        sort = NotFound if how == "missing" else Corrupt
        names = "task / project 0 / task 3, task / project 1 / task 1"
        with pytest.raises(sort, match=f"{names} not pushed, the rest was: "):
            Store.open(here.root).push(remote)
        there.clone(remote)
        assert set(there.heads.live()) == {key(0), key(2), key(4)}
        in_vain = there.objects.has(hash_object(Kind.BLOB, b"3" * 99))
        assert in_vain is (how == "damaged")  # what is missing is known before anything is sent
        assert contents(there)
        assert there.fsck().problems == ()
        with pytest.raises(sort, match="not pushed, there was nothing else to push: "):
            Store.open(here.root).push(remote)
        lost.write_bytes(data)
        assert {head.key for head in Store.open(here.root).push(remote).heads} == {key(1), key(3)}
        there.pull(remote)
        assert_same(here, there)

    def test_a_pull_heals_what_it_needs(self, make: Make) -> None:
        """An object that is damaged here is fetched, when a new head needs it."""
        here, there, remote = make("here"), make("there"), MemoryRemote()
        edit(here, 1, {"x": b"x" * 100})
        here.push(remote)
        there.pull(remote)
        edit(here, 1, {"x": b"x" * 100, "y": b"y"})
        here.push(remote)
        for path in there.root.glob("packs/*/*"):
            path.unlink()
        reopened = Store.open(there.root)
        reopened.pull(remote)
        assert_same(here, reopened)

    def test_a_store_that_cannot_be_written_is_pushed_but_not_pulled(self, make: Make) -> None:
        """It needs neither its cache nor its tmp/."""
        here, remote, there = make("here"), MemoryRemote(), make("there")
        fill(here, range(3))
        shutil.rmtree(here.root / "tmp")
        shutil.rmtree(here.root / "cache")
        (here.root / "tmp").write_bytes(b"")
        (here.root / "cache").write_bytes(b"")
        store = Store(here.root, read_only=True)
        store.push(remote)
        with pytest.raises(ReadOnly):
            store.pull(remote)
        there.clone(remote)
        assert_same(here, there)


class TestCopies:
    def test_a_copied_store_is_a_remote(self, make: Make, tmp_path: Path) -> None:
        """No table claims its packs: they are found by listing, and no byte is sent twice."""
        here, fresh = make("here"), make("fresh")
        fill(here, range(10))
        edit(here, 3, {"large": noise(9 * MIB)})
        shutil.copytree(here.root, tmp_path / "copy")
        remote = Counting(FolderRemote(tmp_path / "copy"))
        fresh.clone(remote)
        assert_same(here, fresh)
        result = here.push(remote)
        assert (result.bytes, result.packs, result.heads) == (0, 0, ())
        fresh.push(remote)
        remote.reset()
        here.push(remote)
        fresh.push(remote)
        assert remote.calls == {"list": 2}
        edit(fresh, 11, {"x": b"more"})
        fresh.push(remote)
        assert_same(fresh, Store.open(tmp_path / "copy"))

    def test_three_copied_folders_are_a_remote(self, make: Make, tmp_path: Path) -> None:
        """Only packs/, refs/ and refs.packed/: a push adds the file `format`, and it is a store."""
        here, fresh = make("here"), make("fresh")
        fill(here, range(4))
        for name in layout.UNION:
            shutil.copytree(here.root / name, tmp_path / "copy" / name)
        fresh.clone(FolderRemote(tmp_path / "copy"))
        edit(fresh, 9, {"x": b"x"})
        fresh.push(FolderRemote(tmp_path / "copy"))
        assert_same(fresh, Store.open(tmp_path / "copy"))

    def test_the_union_of_two_remotes_shows_both(self, make: Make, tmp_path: Path) -> None:
        """Files of both copied into one folder: all tasks, and pushes to it go on."""
        a, b, fresh = make("a"), make("b"), make("fresh")
        fill(a, range(5))
        fill(b, range(3, 9), size=300)
        a.push(FolderRemote(tmp_path / "ra", create=True))
        b.push(FolderRemote(tmp_path / "rb", create=True))
        edit(b, 9, {"x": b"never pushed"})
        for source in (tmp_path / "rb", b.root):
            for name in layout.UNION:
                if (source / name).exists():
                    shutil.copytree(source / name, tmp_path / "ra" / name, dirs_exist_ok=True)
        union = FolderRemote(tmp_path / "ra")
        fresh.clone(union)
        assert fresh.fsck().clean
        assert set(live(fresh)) == {key(n) for n in range(10)}
        assert_same(fresh, Store.open(tmp_path / "ra"))
        edit(fresh, 1, {"x": b"more"})
        fresh.push(union)
        a.pull(union)
        assert_same(fresh, a)

    def test_a_copy_on_top_of_pushes_adds_no_claims(self, make: Make, tmp_path: Path) -> None:
        """What tables claim already is not claimed once more, because a copier brought it too."""
        here = make("here")
        fill(here, range(4))
        here.push(FolderRemote(tmp_path / "remote", create=True))
        edit(here, 9, {"x": b"x"})
        here.push(FolderRemote(tmp_path / "remote"))
        for name in ("packs", "refs"):
            shutil.copytree(here.root / name, tmp_path / "remote" / name, dirs_exist_ok=True)
        shutil.rmtree(here.root / "cache")
        remote = Counting(FolderRemote(tmp_path / "remote"))
        here.push(remote)
        assert remote.calls["put"] == 0

    def test_a_copy_that_was_repacked_is_pulled_from_what_is_there(self, make: Make, tmp_path: Path) -> None:
        """Its tables still claim the old packs: they are missed, and the objects found elsewhere."""
        here, fresh = make("here"), make("fresh")
        folder = FolderRemote(tmp_path / "remote", create=True)
        for numbers in (range(3), range(3, 6)):
            fill(here, numbers)
            here.push(folder)
        merged = make("merged")
        merged.clone(folder)
        old = names(folder, "packs/")
        for name in old:
            folder.delete(name)
        assert not {layout.pack_path(p) for p in merged.objects.pack_ids()} & set(old)
        shutil.copytree(merged.root / "packs", tmp_path / "remote" / "packs", dirs_exist_ok=True)
        fresh.pull(folder)
        assert_same(here, fresh)


class TestHostile:
    def test_names_that_lead_elsewhere_are_named_and_not_followed(self, make: Make) -> None:
        """A listing with `..` in it: what else is there is pulled, and the error names it."""
        here, fresh, remote = make("here"), make("fresh"), MemoryRemote()
        fill(here, range(2))
        here.push(remote)
        name = f"refs/../{key(5)}.{'ab' * 32}"
        remote.files[name] = b"x"
        with pytest.raises(Corrupt, match=r"refs/\.\./"):
            fresh.pull(remote)
        assert live(fresh) == live(here)

    def test_a_hostile_label_stays_in_its_folder(self, make: Make) -> None:
        """Where a head is written here follows from its commit and never from its name there."""
        here, fresh, remote = make("here"), make("fresh"), MemoryRemote()
        edit(here, 1, {"x": b"x"})
        head = here.heads.of(key(1))[0]
        for path in here.root.glob("packs/*/*"):
            remote.put(path.relative_to(here.root).as_posix(), path)
        remote.put(f"refs/...../{head.key}.{head.id}", head.raw)
        fresh.pull(remote)
        assert_same(here, fresh)
        assert [p.parent.name for p in fresh.root.glob("refs/*/*")] == ["task.project_1"]

    def test_more_bytes_than_expected_are_not_read(self, make: Make) -> None:
        """A head of 17 MiB is refused by its listed size, and one whose size lies by what comes."""
        here, fresh, remote = make("here"), make("fresh"), MemoryRemote()
        edit(here, 1, {"x": b"x"})
        here.push(remote)
        name = f"refs/x/{key(5)}.{'ab' * 32}"
        remote.files[name] = bytes(layout.RECORD_MAX + 1)
        with pytest.raises(Corrupt, match=name):
            fresh.pull(remote)
        assert live(fresh) == live(here)

    def test_a_false_chunk_list_is_not_published(self, make: Make) -> None:
        """Real chunks in a false order, claimed to be a blob that a head reaches: named, and nothing of it is kept."""
        here, fresh = make("here"), make("fresh")
        edit(here, 1, {"large": noise(9 * MIB)})
        edit(here, 2, {"x": b"innocent"})
        (large,) = (
            i
            for f in dict(here.objects.footers()).values()
            for i in {o.id for o in f.objects}
            if here.objects.is_list(i)
        )
        top = here.objects.lists(large)[0]
        false = ChunkList(0, (top.items[1], top.items[0], *top.items[2:]))
        writer = PackWriter(here.root / "tmp" / "false")
        for kind, i in closure(
            here.objects, [(Kind.COMMIT, h.id) for n in (1, 2) for h in here.heads.of(key(n))]
        ):
            if i == large:
                header, stored = encode_list(false.encode(), top.size)
                writer.add(header, stored, [(i, top.size)])
            else:
                raw = here.objects.read(i, kind)
                header, data = encode(kind, raw)
                writer.add(header, data, [(i, len(raw))])
        pack_id, footer = writer.finish()
        remote = MemoryRemote()
        remote.put(layout.pack_path(pack_id), writer.path)
        heads = tuple(h for n in (1, 2) for h in here.heads.of(key(n)))
        table = Table(heads, {pack_id: footer.encode()}).encode()
        remote.put(layout.table_path(hash_bytes(table).hex()), table)
        with pytest.raises(Corrupt, match=f"{pack_id}.*chunk list of {large}"):
            fresh.pull(remote)
        assert set(live(fresh)) == {key(2)}
        assert not fresh.objects.has(large)
        assert fresh.fsck().clean

    def test_a_chunk_that_is_itself_a_list_is_not_published(self, make: Make) -> None:
        """Such a list could never be read here: a chunk is stored whole. A list of its own may be pulled before."""
        here, fresh, remote = make("here"), make("fresh"), MemoryRemote()
        parts = [noise(100_000, n) for n in range(3)]
        inner, whole = parts[0] + parts[1], b"".join(parts)
        edit(here, 1, {"x": whole})
        edit(here, 2, {"x": inner})
        heads = [here.heads.of(key(n))[0] for n in (1, 2)]
        writer = PackWriter(here.root / "tmp" / "nested")
        for kind, raw in [
            *((Kind.BLOB, part) for part in parts),
            *((Kind.TREE, here.objects.read(head.commit.state, Kind.TREE)) for head in heads),
            *((Kind.COMMIT, head.raw) for head in heads),
        ]:
            writer.add(*encode(kind, raw), [(hash_object(kind, raw), len(raw))])
        for content, pieces in ((inner, parts[:2]), (whole, [inner, parts[2]])):
            items = tuple((hash_object(Kind.BLOB, piece), len(piece)) for piece in pieces)
            size = len(content)
            writer.add(
                *encode_list(ChunkList(0, items).encode(), size), [(hash_object(Kind.BLOB, content), size)]
            )
        pack_id, footer = writer.finish()
        remote.put(layout.pack_path(pack_id), writer.path)
        table = Table(tuple(heads), {pack_id: footer.encode()}).encode()
        remote.put(layout.table_path(hash_bytes(table).hex()), table)
        fresh.pull(remote, keys=[key(2)])
        with pytest.raises(Corrupt, match=f"{pack_id}.*chunk list"):
            fresh.pull(remote)
        assert set(fresh.heads.live()) == {key(2)}
        assert fresh.fsck().clean
        assert not fresh.objects.has(hash_object(Kind.BLOB, whole))

    def test_objects_that_overlap_are_not_published(self, make: Make) -> None:
        """A footer may be right about each object and still not be one that a pack can be made of again."""
        fresh, remote = make("fresh"), MemoryRemote()
        made = make("here")
        edit(made, 1, {"x": b"abc"})
        head = made.heads.of(key(1))[0]
        header, stored = FrameHeader(Kind.BLOB, Encoding.ZSTD, (0, 0), 4, 0), compress(b"abcd", 3)
        header = replace(header, stored_size=len(stored))
        entries = {hash_object(Kind.BLOB, b"abc"): (0, 3), hash_object(Kind.BLOB, b"c"): (2, 1)}
        writer = PackWriter(made.root / "tmp" / "overlap")
        writer.add(header, stored, [(i, size) for i, (_, size) in entries.items()])
        for kind, i in [(Kind.COMMIT, head.id), (Kind.TREE, head.commit.state)]:
            raw = made.objects.read(i, kind)
            writer.add(*encode(kind, raw), [(i, len(raw))])
        _, sound = writer.finish()
        objects = tuple(replace(e, offset=entries[e.id][0]) if e.frame == 0 else e for e in sound.objects)
        footer = Footer(sound.frames, objects).encode()
        frames = writer.path.read_bytes()[: sound.frames_size]
        pack_id = hash_bytes(footer).hex()
        remote.put(layout.pack_path(pack_id), pack_bytes(frames, footer))
        table = Table((head,), {pack_id: footer}).encode()
        remote.put(layout.table_path(hash_bytes(table).hex()), table)
        with pytest.raises(Corrupt, match=f"{pack_id}.*overlap"):
            fresh.pull(remote)
        assert fresh.heads.live() == {}
        assert fresh.fsck().clean

    def test_a_claim_with_a_false_footer_is_not_believed(self, make: Make) -> None:
        """A table that claims everything with another pack's footer: the push sends what is needed."""
        here, fresh, remote = make("here"), make("fresh"), MemoryRemote()
        fill(here, range(3))
        (footer,) = (f.encode() for f in dict(here.objects.footers()).values())
        table = Table((), {"ab" * 32: footer}).encode()
        remote.put(layout.table_path(hash_bytes(table).hex()), table)
        assert here.push(remote).packs == 1
        fresh.clone(remote)
        assert_same(here, fresh)

    def test_a_table_with_a_false_head_gives_the_others(self, make: Make) -> None:
        """The false one is named, and left out when the table is absorbed."""
        here, fresh, remote = make("here"), make("fresh"), MemoryRemote()
        fill(here, range(3))
        here.push(remote)
        false = Head(key(9), ObjectId(b"\x01" * 32), b"{}", "")
        table = Table((false,)).encode()
        remote.put(layout.table_path(hash_bytes(table).hex()), table)
        with pytest.raises(Corrupt, match=f"head of {key(9)}"):
            fresh.pull(remote)
        assert live(fresh) == live(here)
        edit(here, 5, {"x": b"x"})
        here.push(remote)
        fresh.pull(remote)
        assert_same(here, fresh)

    def test_an_unknown_format_is_refused(self, make: Make) -> None:
        """An unknown read feature: not even read. An unknown write feature: read, but not written."""
        here, fresh, remote = make("here"), make("fresh"), MemoryRemote()
        fill(here, range(2))
        here.push(remote)
        for part, verb, error in (("read", fresh.pull, Unsupported), ("write", fresh.push, ReadOnly)):
            features: dict[str, list[str]] = {"read": [], "write": [], "gc": []}
            features[part] = ["time travel"]
            other = MemoryRemote()
            other.files = {**remote.files, "format": canonical({**layout.FORMAT, "features": features})}
            if part == "write":
                fresh.pull(other)
                edit(fresh, 9, {"x": b"x"})
            before = dict(other.files)
            with pytest.raises(error, match="update this program"):
                verb(other)
            assert other.files == before


class TestRandom:
    operation = st.one_of(
        st.tuples(st.just("edit"), st.integers(0, 1), st.integers(0, 2)),
        st.tuples(st.just("push"), st.integers(0, 1), st.sampled_from([None, 0, 1])),
        st.tuples(st.just("pull"), st.integers(0, 1), st.sampled_from([None, 0, 1])),
        st.tuples(st.just("cut"), st.integers(0, 1), st.integers(1, 6)),
        st.tuples(st.just("forget"), st.integers(0, 1), st.just(0)),
    )

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(operations=st.lists(operation, max_size=14))
    def test_two_stores_and_a_remote_converge(
        self, tmp_path_factory: pytest.TempPathFactory, operations: list[tuple[str, int, int | None]]
    ) -> None:
        """Whatever was edited, pushed, pulled, cut short and forgotten: after two rounds all three show the same."""
        base = tmp_path_factory.mktemp("random")
        stores = [Store.create(base / name) for name in "ab"]
        remote = FolderRemote(base / "remote", create=True)
        for step, (what, which, number) in enumerate(operations):
            store = stores[which]
            keys = None if number is None else [key(number)]
            if what == "edit":
                edit(store, number or 0, {"x": b"step %d" % step}, "ab"[which])
            elif what == "push":
                store.push(remote, keys)
            elif what == "pull":
                store.pull(remote, keys)
            elif what == "forget":
                shutil.rmtree(store.root / "cache", ignore_errors=True)
            else:
                try:
                    store.push(Faulty(remote, first=number or 1, lost=step % 2 == 0))
                    store.pull(Faulty(remote, first=number or 1))
                except RemoteError:
                    pass
        edited = {key(n or 0) for what, _, n in operations if what == "edit"}
        for store in (*stores, *stores):
            store.push(remote)
            store.pull(remote)
        assert set(live(stores[0])) == edited
        assert_same(stores[0], stores[1])
        if edited:
            assert_same(stores[0], Store.open(remote.root))
        for store in stores:
            counting = Counting(remote)
            store.push(counting)
            store.pull(counting)
            assert counting.calls["put"] == counting.calls["get_range"] == 0
            store.close()
        shutil.rmtree(base)
