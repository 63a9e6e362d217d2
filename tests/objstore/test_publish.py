"""The one way into a store: whatever fails or dies on it, heads never stand for objects that are not there."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from objstore import files, layout, trash
from objstore.chunker import cut
from objstore.errors import StoreError
from objstore.frame import Encoding
from objstore.ids import Kind, ObjectId, hash_object
from objstore.objects import pack_files
from objstore.publish import Transaction, publish_bytes
from objstore.records import Commit, Mode, TreeEntry
from objstore.store import Store

HERE = Path(__file__).parent
CHECKOUT = HERE.parent.parent
KEY = "0123456789abcdef0123456789abcdef"
MIB = layout.MIB
NOISE = random.Random(7).randbytes(10 * MIB)


def packs(store: Store) -> int:
    """How many pack files there are."""
    return len(list(pack_files(store.root)))


def left_behind(store: Store) -> list[str]:
    """Unfinished files."""
    return os.listdir(store.root / layout.TMP)


def put_all(transaction: Transaction, contents: list[bytes], keys: tuple[str, ...] = (KEY,)) -> None:
    """Contents as one tree, and a head of each key."""
    entries = [
        TreeEntry(str(number), Mode.FILE, transaction.put_bytes(data), len(data))
        for number, data in enumerate(contents)
    ]
    tree, _ = files.put_tree(transaction, entries)
    for key in keys:
        transaction.commit(Commit(key, ("task", "p", "n"), (), 1, 1, tree, {"w": 1}))


# --- what is stored ------------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(st.lists(st.binary(max_size=300) | st.integers(1, 200_000).map(lambda n: NOISE[:n]), max_size=12))
def test_what_is_put_is_read(tmp_path_factory: pytest.TempPathFactory, contents: list[bytes]) -> None:
    """By the same process and by another, whatever the sizes and repetitions."""
    store = Store.create(tmp_path_factory.mktemp("put") / "store")
    with store.begin() as transaction:
        ids = [transaction.put_bytes(content) for content in contents]
    assert ids == [hash_object(Kind.BLOB, content) for content in contents]
    for objects in (store.objects, Store.open(store.root).objects):
        assert [objects.read(i) for i in ids] == contents
    assert store.fsck().clean


def test_the_same_content_is_stored_once(store: Store) -> None:
    """Within a transaction, in a later one, and by another process; small, and large in other chunks' company."""
    for _ in range(2):
        for again in (store, Store.open(store.root)):
            with again.begin() as transaction:
                put_all(transaction, [b"small", NOISE[:MIB], b"small", NOISE[: 9 * MIB]])
                put_all(transaction, [NOISE[: 9 * MIB]])
    size = sum(path.stat().st_size for path in (store.root / "packs").rglob("*.pack"))
    assert size < 10.2 * MIB
    assert packs(store) == 2


def test_a_second_version_costs_what_changed(store: Store) -> None:
    """A large file with a few changed bytes shares the other chunks with the first."""
    with store.begin() as transaction:
        transaction.put_bytes(NOISE)
    before = sum(path.stat().st_size for path in (store.root / "packs").rglob("*.pack"))
    second = bytearray(NOISE)
    second[5 * MIB : 5 * MIB + 10] = b"other byte"
    with store.begin() as transaction:
        object_id = transaction.put_bytes(bytes(second))
    after = sum(path.stat().st_size for path in (store.root / "packs").rglob("*.pack"))
    assert after - before < 2 * layout.CHUNK_MAX
    assert store.objects.read(object_id) == second


def test_an_empty_transaction_writes_nothing(store: Store) -> None:
    """No pack, no file."""
    with store.begin():
        pass
    with store.begin() as transaction:
        transaction.put_bytes(b"known")
    count = packs(store)
    with store.begin() as transaction:
        transaction.put_bytes(b"known")
    assert packs(store) == count == 1
    assert left_behind(store) == []


def test_small_objects_share_frames_and_large_ones_do_not(store: Store) -> None:
    """Groups of up to 64 KiB: reading a small record never costs unpacking a large neighbour."""
    with store.begin() as transaction:
        for number in range(300):
            transaction.put_bytes(b"record %d: text that compresses, text that compresses " % number * 8)
            if number == 100:
                transaction.put_bytes(b"large and compressible " * 100_000)
    (footer,) = dict(store.objects.footers()).values()
    sizes = sorted(frame.header.raw_size for frame in footer.frames)
    assert sizes[-1] == 2_300_000
    assert footer.frames[[f.header.raw_size for f in footer.frames].index(2_300_000)].objects == 1
    assert all(size <= layout.GROUP_RAW_MAX for size in sizes[:-1])
    assert len(sizes) <= 6


def test_a_group_that_does_not_compress_is_stored_raw_one_by_one(store: Store) -> None:
    """So that each is pinned by its own id."""
    with store.begin() as transaction:
        for number in range(5):
            transaction.put_bytes(NOISE[number * 1000 : number * 1000 + 1000])
    (footer,) = dict(store.objects.footers()).values()
    assert [(f.header.encoding, f.objects) for f in footer.frames] == [(Encoding.RAW, 1)] * 5


def test_neighbouring_chunks_are_encoded_together(store: Store) -> None:
    """Up to 1 MiB a frame, for a better ratio; a small file's worth is decoded for a small read."""
    text = b"".join(b"line %d of a large log file\n" % n for n in range(400_000))
    with store.begin() as transaction:
        object_id = transaction.put_bytes(text)
    (footer,) = dict(store.objects.footers()).values()
    chunks = [frame for frame in footer.frames if frame.header.encoding is Encoding.ZSTD]
    assert max(frame.objects for frame in chunks) > 1
    assert all(frame.header.raw_size <= layout.FRAME_RAW_MAX for frame in chunks)
    assert store.objects.read(object_id) == text


def test_a_large_file_gets_packs_of_its_own(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the target size, so that deleting it frees files without rewriting others."""
    monkeypatch.setattr(layout, "PACK_TARGET", 3 * MIB)
    with store.begin() as transaction:
        put_all(transaction, [b"small", NOISE])
    sizes = sorted(path.stat().st_size for path in (store.root / "packs").rglob("*.pack"))
    assert len(sizes) == 5
    assert sizes[0] < 2000
    assert all(size < 5 * MIB for size in sizes)
    assert store.fsck().clean


def test_limits_are_refused_before_anything_is_stored(store: Store) -> None:
    """One object of more than its kind may have; the transaction goes on."""
    with store.begin() as transaction:
        with pytest.raises(StoreError, match="over the limit"):
            transaction.put(Kind.BLOB, bytes(layout.BLOB_MAX + 1))
        with pytest.raises(StoreError, match="over the limit"):
            transaction.put(Kind.TREE, bytes(layout.RECORD_MAX + 1))
        object_id = transaction.put_bytes(b"fine")
    assert store.objects.read(object_id) == b"fine"


def test_a_long_chunk_list_is_paged(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a file over two gigabytes; a second version shares most pages."""
    for name, value in (("LIST_PAGE_MAX", 16), ("PAGE_MIN", 4), ("PAGE_MASK", 7)):
        monkeypatch.setattr(layout, name, value)
    with store.begin() as transaction:
        first = transaction.put_bytes(NOISE)
    with store.begin() as transaction:
        second = transaction.put_bytes(NOISE[: 9 * MIB] + b"!" + NOISE[9 * MIB :])
    lists = {object_id: store.objects.lists(object_id)[0] for object_id in (first, second)}
    assert all(found.level == 1 and len(found.items) > 2 for found in lists.values())
    assert (
        len({i for found in lists.values() for i, _ in found.items})
        < sum(len(f.items) for f in lists.values()) - 1
    )
    assert store.objects.read(first) == NOISE
    assert (
        store.objects.read_range(second, 9 * MIB - 2, 5)
        == NOISE[9 * MIB - 2 : 9 * MIB] + b"!" + NOISE[9 * MIB :][:2]
    )
    assert store.fsck().clean


def test_storing_a_large_file_again_replaces_what_was_lost_of_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list that is there does not stand for its pages and chunks: half a copy is made whole."""
    for name, value in (("PACK_TARGET", 1), ("LIST_PAGE_MAX", 16), ("PAGE_MIN", 4), ("PAGE_MASK", 7)):
        monkeypatch.setattr(layout, name, value)
    with store.begin() as transaction:
        object_id = transaction.put_bytes(NOISE)
    for lost in (Kind.CHUNKS, Kind.BLOB):
        footers = dict(store.objects.footers())
        pack_id = next(
            p for p, f in footers.items() if f.kind(f.objects[0]) is lost and f.objects[0].size < MIB
        )
        (store.root / layout.pack_path(pack_id)).unlink()
        again = Store.open(store.root)
        with pytest.raises(StoreError):
            again.objects.read(object_id)
        with again.begin() as transaction:
            transaction.put_bytes(NOISE)
        assert Store.open(store.root).objects.read(object_id) == NOISE
    assert store.fsck().clean


# --- the life of a transaction -------------------------------------------------------------------------------------


def test_an_exception_in_the_block_publishes_nothing(store: Store) -> None:
    """It is passed on; no head, no pack, no unfinished file."""
    with pytest.raises(ZeroDivisionError), store.begin() as transaction:  # noqa: PT012  the block is what is tested
        put_all(transaction, [b"a", NOISE[:MIB]])
        raise ZeroDivisionError
    assert store.heads.live() == {}
    assert packs(store) == 0
    assert left_behind(store) == []


def test_a_transaction_that_is_over_takes_nothing_more(store: Store) -> None:
    """Published or discarded: what would be put into it would silently be lost."""
    with store.begin() as published:
        published.put_bytes(b"a")
    discarded = store.begin()
    discarded.discard()
    commit = Commit(KEY, (), (), 1, 1, ObjectId(bytes(32)), {})
    for over in (published, discarded):
        for use in (
            partial(over.put_bytes, b"b"),
            partial(over.put_bytes, NOISE),
            partial(over.commit, commit),
            over.publish,
        ):
            with pytest.raises(StoreError, match="begin a new one"):
                use()
    assert store.heads.live() == {}


def test_an_error_of_the_source_leaves_the_transaction_as_it_was(store: Store) -> None:
    """A file that cannot be read is the caller's to skip."""

    class Source:
        left = 9

        def readinto(self, buffer: memoryview) -> int:
            self.left -= 1
            if not self.left:
                raise PermissionError("no more")
            buffer[:MIB] = NOISE[:MIB]
            return MIB

    with store.begin() as transaction:
        with pytest.raises(PermissionError):
            transaction.put_stream(Source())
        put_all(transaction, [b"fine"])
    assert list(store.heads.live()) == [KEY]
    assert store.fsck().clean
    assert left_behind(store) == []


def test_heads_of_one_transaction_come_together(store: Store) -> None:
    """Two keys, two files."""
    with store.begin() as transaction:
        put_all(transaction, [b"x"], (KEY, "f" * 32))
    assert set(store.heads.live()) == {KEY, "f" * 32}


def test_a_file_is_replaced_whole(store: Store) -> None:
    """`publish_bytes` shows the old content or the new, and leaves nothing else."""
    publish_bytes(store.root, "cache/note", b"one")
    publish_bytes(store.root, "cache/note", b"two")
    assert (store.root / "cache" / "note").read_bytes() == b"two"
    assert left_behind(store) == []


# --- disks that refuse ---------------------------------------------------------------------------------------------


class Refusing:
    """An `os.fsync` that fails once, at a given call; the disk's fault, not this package's."""

    def __init__(self, at: int) -> None:
        self.left = at
        self.real = os.fsync

    def __call__(self, fd: int) -> None:
        self.left -= 1
        if self.left == 0:
            raise OSError(errno.EIO, "Input/output error")
        self.real(fd)


@pytest.mark.parametrize("contents", [[b"small"], [b"small", NOISE]])
def test_whichever_fsync_fails_no_head_appears(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, contents: list[bytes]
) -> None:
    """The first, the second, and so on to the last, which is a folder's: the error is passed on, nothing is left."""
    for at in range(1, 100):
        store = Store.create(tmp_path / str(at))
        refusing = Refusing(at)
        failed = 0
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", refusing)
            try:
                with store.begin() as transaction:
                    put_all(transaction, contents, (KEY, "f" * 32))
            except OSError as error:
                failed = error.errno or 0
        if refusing.left > 0:
            break
        assert failed == errno.EIO
        assert store.heads.live() == {}, f"after fsync {at} had failed"
        assert left_behind(store) == []
        assert store.fsck().clean
    assert at > 7
    assert set(store.heads.live()) == {KEY, "f" * 32}


Step = tuple[str, str]  # what is done, and to which path below the store


@pytest.fixture
def steps(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[Step]:
    """Everything that is done, from now on, to make the store's files visible or durable."""
    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc to tell what is fsynced")
    found: list[Step] = []
    root = store.root.resolve()

    def note(what: str, path: str | Path) -> None:
        path = Path(path).resolve()
        if path.is_relative_to(root):
            found.append((what, path.relative_to(root).as_posix()))

    fsync, rename, mkdir = os.fsync, os.rename, os.mkdir

    def watched_fsync(fd: int) -> None:
        fsync(fd)
        note("fsync", os.readlink(f"/proc/self/fd/{fd}"))

    def watched_rename(source: Path, target: Path) -> None:
        note("from", source)
        rename(source, target)
        note("to", target)

    def watched_mkdir(path: Path, mode: int = 0o777) -> None:
        mkdir(path, mode)
        note("mkdir", path)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "rename", watched_rename)
    monkeypatch.setattr(os, "mkdir", watched_mkdir)
    return found


def test_everything_is_durable_before_the_head_is_there(store: Store, steps: list[Step]) -> None:
    """Each file before it gets its name, each pack's name and new folders before the first head, then the heads'."""
    with store.begin() as transaction:
        put_all(transaction, [b"small", NOISE], (KEY, "f" * 32))
    renamed = [n for n, (what, _) in enumerate(steps) if what == "to"]
    heads = [n for n in renamed if steps[n][1].startswith("refs/")]
    packs = [n for n in renamed if steps[n][1].startswith("packs/")]
    assert (len(heads), len(packs)) == (2, 2)
    assert max(packs) < min(heads)
    for number in renamed:
        assert ("fsync", steps[number - 1][1]) in steps[:number], "a name for bytes that may be lost"
    for number in packs:
        assert ("fsync", os.path.dirname(steps[number][1])) in steps[number : min(heads)], (
            "a head without its pack"
        )
    for number in heads:
        assert ("fsync", os.path.dirname(steps[number][1])) in steps[number:]
    for number, (what, path) in enumerate(steps):
        if what == "mkdir":
            until = min(heads) if path.startswith("packs/") else len(steps)
            assert ("fsync", os.path.dirname(path)) in steps[number:until], "a folder that may be lost"


def test_what_comes_back_from_the_trash_is_durable_before_the_head(store: Store, steps: list[Step]) -> None:
    """Its name was moved; a power cut after the head must not find it in the trash."""
    with store.begin() as transaction:
        blob = transaction.put_bytes(b"relied on" * 50)
    name = layout.pack_path(store.objects.locate(blob)[0].pack_id)
    transaction = store.begin()
    put_all(transaction, [b"relied on" * 50])
    trash.set_aside(store.root, name, 5)
    del steps[:]
    transaction.publish()
    back = steps.index(("to", name))
    heads = [n for n, (what, path) in enumerate(steps) if what == "to" and path.startswith("refs/")]
    assert ("fsync", os.path.dirname(name)) in steps[back : heads[0]]


def test_a_swallowed_failure_still_ends_the_transaction(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who catches the error inside the block cannot publish a head over what was lost."""
    monkeypatch.setattr(layout, "PACK_TARGET", MIB)
    small = [NOISE[n * 60_000 : n * 60_000 + 60_000] for n in range(30)]
    for contents in ([NOISE], small):
        transaction = store.begin()
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", Refusing(1))
            with pytest.raises(OSError, match="Input/output"):
                put_all(transaction, contents)
        for use in (partial(put_all, transaction, [b"small"]), transaction.publish):
            with pytest.raises(StoreError, match="begin a new one"):
                use()
    assert store.heads.live() == {}
    assert left_behind(store) == []
    with store.begin() as transaction:
        put_all(transaction, [b"small", NOISE])
    assert store.fsck().clean


def fill(path: Path) -> None:
    """Take all space that is left."""
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MiB; needs root."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_disk_that_is_full_in_the_middle_leaves_the_store_as_it_was(small_disk: Path) -> None:
    """During a large file, during small ones, and with not a byte left for the first."""
    store = Store.create(small_disk / "store")
    with store.begin() as transaction:
        put_all(transaction, [b"before"])
    small = [NOISE[n * 7000 : n * 7000 + 7000] for n in range(1400)]
    for contents in ([NOISE, NOISE[::-1]], [*small, *(part[::-1] for part in small)]):
        with pytest.raises(OSError, match="No space left"), store.begin() as transaction:
            put_all(transaction, contents, ("f" * 32,))
        assert list(store.heads.live()) == [KEY]
        assert left_behind(store) == []
        for pack in (small_disk / "store" / "packs").rglob("*.pack"):  # what no head names yet is garbage
            if pack.stat().st_size > MIB:
                pack.unlink()
    fill(small_disk / "filler")
    with pytest.raises(OSError, match="No space left"), Store.open(store.root).begin() as transaction:
        put_all(transaction, [b"after"], ("f" * 32,))
    assert left_behind(store) == []
    (small_disk / "filler").unlink()
    with Store.open(store.root).begin() as transaction:
        put_all(transaction, [b"after"], ("f" * 32,))
    assert set(store.heads.live()) == {KEY, "f" * 32}
    assert store.fsck().clean


# --- processes that die --------------------------------------------------------------------------------------------


def test_dying_at_any_step_leaves_old_or_new(tmp_path: Path) -> None:
    """At each fsync, rename and mkdir: what is there is sound, and storing it again succeeds."""
    child = [sys.executable, str(HERE / "publish_child.py"), str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    out = subprocess.run(child, capture_output=True, text=True, check=True, env=environment).stdout
    rounds = [json.loads(line) for line in out.splitlines()]
    assert len(rounds) > 25
    assert [r["status"] for r in rounds] == [9] * (len(rounds) - 1) + [0]
    for number, found in enumerate(rounds, 1):
        at_death, afterwards = found["found"]
        assert at_death["problems"] == [], f"after dying at step {number}"
        assert afterwards["problems"] == []
        assert afterwards["heads"] == 2
        assert (
            at_death["left"] <= 3
        )  # the small objects' pack, the large one's, and one that is being finished
    assert rounds[0]["found"][0]["heads"] == 0


SAVE = """
import sys
from pathlib import Path
from objstore.store import Store
from objstore import files
from objstore.records import Commit, Mode, TreeEntry
store = Store.open(Path(sys.argv[1]))
with store.begin() as transaction:
    tree, _ = files.put_tree(transaction, [TreeEntry("a", Mode.FILE, transaction.put_bytes(b"a"), 1)])
    transaction.commit(Commit("0" * 32, ("task", "p", "n"), (), 1, 1, tree, {"w": 1}))
print("saved")
"""


@pytest.mark.parametrize(
    ("injected", "saved"),
    [
        ("fsync:error=EIO:when=2", False),
        ("rename:signal=SIGKILL:when=2", False),
        ("fsync:error=EIO:when=99", True),
    ],
)
def test_the_systems_own_failures_are_met(store: Store, injected: str, saved: bool) -> None:
    """The same with the real calls of a process, by strace: error at an fsync, death at a rename."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    trace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,rename", "-e", f"inject={injected}"]
    run = subprocess.run(
        [*trace, sys.executable, "-c", SAVE, str(store.root)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
    )
    if "ptrace" in run.stderr:
        pytest.skip("strace may not trace here")
    assert (run.returncode == 0) is saved
    assert ("saved" in run.stdout) is saved
    assert len(store.heads.live()) == saved
    assert store.fsck().clean


# --- several writers -----------------------------------------------------------------------------------------------


def test_writers_beside_each_other_lose_nothing(store: Store) -> None:
    """Eight transactions at once, of one process's readers each, with content in common and of their own."""

    def work(number: int) -> None:
        mine = Store.open(store.root)
        for turn in range(5):
            with mine.begin() as transaction:
                contents = [b"common", b"common %d" % turn, b"own %d %d" % (number, turn)]
                put_all(transaction, contents, (f"{number * 100 + turn:032x}",))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert len(store.heads.live()) == 40
    assert store.fsck().clean


def test_a_chunk_that_waits_in_the_same_transaction_is_published_before_the_list(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small blob that happens to be a chunk of the large file that follows is in a pack when the list is."""
    chunk = bytes(next(iter(cut(memoryview(NOISE), last=True))))
    transaction = store.begin()
    transaction.put_bytes(chunk)
    object_id = transaction.put_bytes(NOISE)
    assert Store.open(store.root).objects.read(object_id) == NOISE
    transaction.discard()
    assert Store.open(store.root).fsck().clean
