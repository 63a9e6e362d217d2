"""What a transaction relies on: a sound copy, that stays until its heads are there, or is put again, or is an error."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from objstore import large, layout, trash
from objstore.chunker import Region
from objstore.errors import StoreError
from objstore.frame import HEADER_SIZE, Encoding
from objstore.ids import Kind, ObjectId, hash_bytes, hash_object
from objstore.publish import Transaction, publish_files
from objstore.records import Commit, Mode, Tree, TreeEntry
from objstore.store import Store

MIB = layout.MIB
KEY = "0123456789abcdef0123456789abcdef"
CHECKOUT = Path(__file__).parents[2]


def head(transaction: Transaction, *blobs: ObjectId, key: str = KEY) -> None:
    """Make a tree that names some blobs the newest state of a key."""
    entries = tuple(TreeEntry(f"{n}", Mode.FILE, blob, 0) for n, blob in enumerate(blobs))
    tree = transaction.put(Kind.TREE, Tree(entries).encode())
    transaction.commit(Commit(key, ("task", "p", "n"), (), 1, 1, tree, {"w": 1}))


def store_large(store: Store, data: bytes, regions: tuple[Region, ...] = ()) -> ObjectId:
    """Store a large blob that nothing names."""
    with store.begin() as transaction:
        return transaction.put_stream(BytesIO(data), regions)[0]


def pack_of(store: Store, object_id: ObjectId) -> str:
    """The only pack that holds an object, as a path below the store."""
    (place,) = store.objects.locate(object_id)
    return layout.pack_path(place.pack_id)


def collect(store: Store, name: str) -> None:
    """What a collector does with a pack that nothing reaches."""
    assert trash.set_aside(store.root, name, int(time.time()))


def erase(store: Store, name: str) -> None:
    """What a collector does a grace later."""
    (store.root / name).unlink()


# --- damaged copies ------------------------------------------------------------------------------------------------


def flip(path: Path, offset: int) -> None:
    """Change one bit of a file."""
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 4]))


@pytest.mark.parametrize("reopened", [True, False])
def test_a_damaged_copy_is_healed_when_the_content_comes_again(store: Store, reopened: bool) -> None:
    """A bit of its stored bytes has changed: what was in hand is stored beside it, and can be read."""
    content = random.Random(1).randbytes(300_000)
    with store.begin() as transaction:
        blob = transaction.put_bytes(content)
    flip(store.root / pack_of(store, blob), 1000)
    store = Store.open(store.root) if reopened else store
    with store.begin() as transaction:
        transaction.put_bytes(content)
        head(transaction, blob)
    assert Store.open(store.root).objects.read(blob) == content


def test_a_damaged_chunk_is_healed_when_the_file_comes_again(store: Store) -> None:
    """Of a large file only the chunks of the damaged frame are stored anew."""
    content = random.Random(2).randbytes(20 * MIB)
    blob = store_large(store, content)
    before = sum(path.stat().st_size for path in (store.root / "packs").rglob("*.pack"))
    flip(store.root / pack_of(store, blob), 5 * MIB)
    store = Store.open(store.root)
    assert store_large(store, content) == blob
    assert b"".join(Store.open(store.root).objects.stream(blob)) == content
    after = sum(path.stat().st_size for path in (store.root / "packs").rglob("*.pack"))
    assert after - before < 2 * MIB


def test_a_pack_that_is_written_anew_replaces_a_damaged_one_of_its_name(store: Store) -> None:
    """The same frames make the same pack: its file is sound afterwards, also for readers that had it open."""
    content = random.Random(1).randbytes(300_000)
    with store.begin() as transaction:
        blob = transaction.put_bytes(content)
    flip(store.root / pack_of(store, blob), HEADER_SIZE + 1000)
    store = Store.open(store.root)
    with store.begin() as transaction:
        transaction.put_bytes(content)
    assert len(list((store.root / "packs").rglob("*.pack"))) == 1
    assert store.objects.sound(blob) is not None
    assert store.objects.read(blob) == content
    assert store.fsck().clean


# --- collected meanwhile -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("away", [collect, erase])
@pytest.mark.parametrize("known", [True, False], ids=["in hand", "large"])
def test_what_a_transaction_relied_on_is_there_when_its_heads_are(
    store: Store, away: Callable[[Store, str], None], known: bool
) -> None:
    """Put back from the trash, or stored again; of a large file nothing is left to do that with: a clear error."""
    content = random.Random(3).randbytes(1000 if known else 9 * MIB)
    with store.begin() as transaction:
        blob = transaction.put_bytes(content)
    name = pack_of(store, blob)
    transaction = store.begin()
    assert transaction.put_bytes(content) == blob
    head(transaction, blob)
    away(store, name)
    if away is erase and not known:
        with pytest.raises(StoreError, match="store it again"):
            transaction.publish()
        assert Store.open(store.root).heads.live() == {}
        return
    transaction.publish()
    again = Store.open(store.root)
    assert b"".join(again.objects.stream(blob)) == content
    assert list(again.heads.live()) == [KEY]
    assert again.fsck().clean


@pytest.mark.parametrize("away", [collect, erase])
def test_what_a_transaction_has_published_itself_is_relied_on(
    store: Store, away: Callable[[Store, str], None]
) -> None:
    """Nothing names its packs before the heads do, so a collector may take them too; small ones are put again."""
    transaction = store.begin()
    blob, _ = transaction.put_stream(BytesIO(random.Random(3).randbytes(9 * MIB)))
    small = transaction.put_bytes(b"small" * 50)
    head(transaction, blob, small)
    away(store, pack_of(store, blob))
    if away is erase:
        with pytest.raises(StoreError, match="store it again"):
            transaction.publish()
        assert Store.open(store.root).heads.live() == {}
        return
    transaction.publish()
    assert Store.open(store.root).fsck().clean
    assert len(list((store.root / "packs").rglob("*.pack"))) == 2


def test_a_damaged_copy_in_the_trash_is_not_what_was_relied_on(store: Store) -> None:
    """By the index alone it was: what is put back is looked at, and no head stays on bytes that are not sound."""
    with store.begin() as transaction:
        blob = transaction.put_bytes(random.Random(3).randbytes(100_000))
    name = pack_of(store, blob)
    again = Store.open(store.root)
    transaction = again.begin()
    assert transaction.rely(blob)
    head(transaction, blob)
    flip(store.root / name, 1000)
    collect(store, name)
    with pytest.raises(StoreError, match="store it again"):
        transaction.publish()
    assert Store.open(store.root).heads.live() == {}


def test_only_so_much_is_kept_in_memory_to_be_put_again(store: Store) -> None:
    """Sixteen MiB: of what was relied on beyond, the loss is a clear error."""
    contents = [random.Random(n).randbytes(MIB) for n in range(20)]
    with store.begin() as transaction:
        blobs = [transaction.put_bytes(content) for content in contents]
    transaction = store.begin()
    for content in contents:
        transaction.put_bytes(content)
    head(transaction, *blobs)
    erase(store, pack_of(store, blobs[0]))
    with pytest.raises(StoreError, match="store it again"):
        transaction.publish()
    assert Store.open(store.root).heads.live() == {}


def test_what_a_transaction_has_put_itself_is_put_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its small pack is erased just before its head comes: all that was in it is stored anew from memory."""
    transaction = store.begin()
    blob = transaction.put_bytes(b"own" * 100)
    head(transaction, blob)
    rename, erased = os.rename, list[Path]()

    def renamed(source: Path, target: Path) -> None:
        if f"/{layout.REFS}/" in str(target) and not erased:
            erased.extend((store.root / "packs").rglob("*.pack"))
            for path in erased:
                path.unlink()
        rename(source, target)

    monkeypatch.setattr(os, "rename", renamed)
    transaction.publish()
    assert len(erased) == 1
    assert Store.open(store.root).objects.read(blob) == b"own" * 100
    assert Store.open(store.root).fsck().clean


def test_a_pack_of_another_user_is_relied_on_without_a_touch(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a store of a group only the owner of a file may set its times; that it is there is looked at all the same."""
    with store.begin() as transaction:
        blob = transaction.put_bytes(b"theirs")

    def refused(path: Path) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "utime", refused)
    transaction = store.begin()
    transaction.put_bytes(b"theirs")
    head(transaction, blob)
    erase(store, pack_of(store, blob))
    transaction.publish()
    assert Store.open(store.root).fsck().clean


@pytest.mark.parametrize("away", [collect, erase])
def test_a_collector_between_the_check_and_the_heads_is_noticed(
    store: Store, away: Callable[[Store, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the heads it is looked again: what went in between is put back or stored again."""
    content = b"relied on" * 100
    with store.begin() as transaction:
        blob = transaction.put_bytes(content)
    name = pack_of(store, blob)
    transaction = store.begin()
    transaction.put_bytes(content)
    head(transaction, blob)
    rename = os.rename
    going: list[Path] = []

    def renamed(source: Path, target: Path) -> None:
        if f"/{layout.REFS}/" in str(target) and not going:
            going.append(target)
            away(store, name)
        rename(source, target)

    monkeypatch.setattr(os, "rename", renamed)
    transaction.publish()
    assert going
    assert Store.open(store.root).objects.read(blob) == content
    assert Store.open(store.root).fsck().clean


def test_no_head_stays_whose_content_went_for_good(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large file's pack is erased just before the head: the head is taken back, and the error says what to do."""
    content = random.Random(3).randbytes(9 * MIB)
    blob = store_large(store, content)
    name = pack_of(store, blob)
    transaction = store.begin()
    assert transaction.rely(blob)
    head(transaction, blob)
    rename = os.rename

    def renamed(source: Path, target: Path) -> None:
        if f"/{layout.REFS}/" in str(target):
            erase(store, name)
        rename(source, target)

    monkeypatch.setattr(os, "rename", renamed)
    with pytest.raises(StoreError, match="store it again"):
        transaction.publish()
    assert Store.open(store.root).heads.live() == {}


class Blind(Transaction):
    """Stores everything anew, as a merge does."""

    def has(self, object_id: ObjectId) -> bool:
        return object_id in self._staged


def test_a_pack_that_was_merged_away_is_no_loss(store: Store) -> None:
    """Its objects are in another pack: nothing is put back, nothing is stored again."""
    content = b"merged" * 100
    with store.begin() as transaction:
        blob = transaction.put_bytes(content)
    name = pack_of(store, blob)
    transaction = store.begin()
    transaction.put_bytes(content)
    head(transaction, blob)
    other = Store.open(store.root)
    with Blind(other.root, other.objects) as merging:
        merging.put_bytes(content)
        merging.put_bytes(b"another object, so that the merged pack is another")
    erase(store, name)
    transaction.publish()
    assert not (store.root / name).exists()
    assert Store.open(store.root).fsck().clean


def test_what_is_relied_on_becomes_young(store: Store) -> None:
    """A collector that looks at a pack's age after that leaves it alone, however old its content is."""
    with store.begin() as transaction:
        blob = transaction.put_bytes(b"old")
    path = store.root / pack_of(store, blob)
    os.utime(path, (1, 1))
    with store.begin() as transaction:
        transaction.put_bytes(b"old")
        head(transaction, blob)
    assert time.time() - path.stat().st_mtime < 60


def test_relying_on_a_blob_means_all_its_chunks(store: Store) -> None:
    """A list whose chunks are not all here cannot be relied on; a whole one can, with every pack it is in."""
    content = random.Random(4).randbytes(9 * MIB)
    blob = store_large(store, content)
    other = store_large(store, content[: 6 * MIB] + random.Random(5).randbytes(4 * MIB))
    transaction = store.begin()
    assert transaction.rely(other)
    assert len(transaction._relied) == 2
    erase(store, pack_of(store, blob))
    again = Store.open(store.root)
    assert not again.begin().rely(other)
    assert not again.begin().rely(blob)
    assert not again.begin().rely(ObjectId(bytes(32)))


# --- what others do to the same files ------------------------------------------------------------------------------


def broken(fd: int) -> None:
    """An `os.fsync` of a disk that fails."""
    raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize("written", ["before", "meanwhile", "never"])
def test_only_what_a_failed_publication_placed_is_taken_back(
    store: Store, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    """A file of the same name that was there, or that another process has put there since, is somebody else's."""
    path = store.root / "refs" / "x" / "same"
    path.parent.mkdir()
    if written == "before":
        path.write_bytes(b"theirs")

    def check() -> None:
        if written == "meanwhile":
            (path.parent / "part").write_bytes(b"theirs")
            os.rename(path.parent / "part", path)
        raise StoreError("gone")

    with pytest.raises(StoreError, match="gone"):
        publish_files(store.root, [("refs/x/same", b"ours")], check)
    assert path.exists() == (written != "never")
    assert os.listdir(store.root / "tmp") == []


def test_a_folder_that_comes_or_goes_meanwhile_is_no_failure(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another writer makes it first; a collector removes it while it is empty."""
    mkdir, rename = os.mkdir, os.rename
    made: list[Path] = []
    removed: list[Path] = []

    def beaten(path: Path, mode: int = 0o777) -> None:
        if path.parent.name in ("refs", "packs"):
            mkdir(path, mode)
            made.append(path)
        mkdir(path, mode)

    def swept(source: Path, target: Path) -> None:
        if len(removed) < 2:
            removed.append(target.parent)
            target.parent.rmdir()
        rename(source, target)

    monkeypatch.setattr(os, "mkdir", beaten)
    monkeypatch.setattr(os, "rename", swept)
    with store.begin() as transaction:
        head(transaction, transaction.put_bytes(b"content"))
    assert made
    assert len(removed) == 2
    assert list(store.heads.live()) == [KEY]


def test_relying_on_a_blob_means_its_pages(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that it shares with another version lie in that one's pack, which a collector may take as well."""
    monkeypatch.setattr(layout, "LIST_PAGE_MAX", 20)
    monkeypatch.setattr(layout, "PAGE_MIN", 5)
    content = random.Random(4).randbytes(9 * MIB)
    first = store_large(store, content)
    blob = store_large(store, content + b"more" * 100)
    top = store.objects.list_of(store.objects.locate(blob)[0])
    assert top is not None
    theirs = [page for page, _ in top.items if pack_of(store, page) == pack_of(store, first)]
    assert theirs
    transaction = store.begin()
    assert transaction.rely(blob)
    assert set().union(*transaction._relied.values()) >= {page for page, _ in top.items}
    collect(store, pack_of(store, theirs[0]))
    assert not Store.open(store.root).begin().rely(blob)


# --- large blobs ---------------------------------------------------------------------------------------------------


def frames_of(store: Store, blob: ObjectId) -> list[tuple[Encoding, tuple[int, int]]]:
    """The encodings of the frames in the packs that hold a blob's chunks."""
    packs = {
        place.pack_id
        for chunk, _ in store.objects.chunks(store.objects.locate(blob)[0])
        for place in store.objects.locate(chunk)
    }
    return [(f.header.encoding, f.header.parameters) for p in packs for f in store.objects.footer(p).frames]


def test_floats_in_a_large_file_are_stored_in_planes(store: Store) -> None:
    """From an odd offset and beside random bytes; what comes back is the file."""
    noise = np.random.default_rng(1)
    data = b"odd" + noise.standard_normal(3 << 20, dtype=np.float32).tobytes() + noise.bytes(4 << 20)
    blob = store_large(store, data)
    frames = frames_of(store, blob)
    assert len({parameters for encoding, parameters in frames if encoding is Encoding.PLANES}) > 1  # phases
    encodings = {encoding for encoding, _ in frames}
    assert encodings == {Encoding.PLANES, Encoding.RAW, Encoding.LIST}
    assert b"".join(Store.open(store.root).objects.stream(blob)) == data
    assert store.fsck().clean


def test_a_tensor_that_moves_is_stored_once(store: Store) -> None:
    """With its region known, the same array in another file adds nothing but what is around it."""
    array = np.random.default_rng(1).standard_normal(3 << 20, dtype=np.float32).tobytes()
    store_large(store, b"a" * 1001 + array, (Region(1001, 1001 + len(array), 4),))
    before = sum(path.stat().st_size for path in (store.root / "packs").rglob("*.pack"))
    store_large(store, b"b" * 77_777 + array, (Region(77_777, 77_777 + len(array), 4),))
    after = sum(path.stat().st_size for path in (store.root / "packs").rglob("*.pack"))
    assert after - before < 20_000


def test_chunks_that_repeat_within_a_file_are_stored_once(store: Store) -> None:
    """Whichever thread meets them first."""
    block = random.Random(1).randbytes(2 * MIB)
    store_large(store, block * 8)
    total = sum(path.stat().st_size for path in (store.root / "packs").rglob("*.pack"))
    assert total < 4 * MIB


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_pack_that_fails_on_its_way_is_told_at_once(
    store: Store, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """By the disk's own error, whichever of the packs that are finished beside the reading it is."""
    monkeypatch.setattr(layout, "PACK_TARGET", 4 * MIB)
    source = BytesIO(random.Random(1).randbytes(13 * MIB))
    fsync = os.fsync
    left = [number]

    def failing(fd: int) -> None:
        if os.path.isfile(f"/proc/self/fd/{fd}") or not os.path.exists("/proc/self/fd"):
            left[0] -= 1
            if left[0] == 0:
                raise OSError(errno.EIO, "Input/output error")
        fsync(fd)

    monkeypatch.setattr(os, "fsync", failing)
    transaction = store.begin()
    with pytest.raises(OSError, match="Input/output"):
        transaction.put_stream(source)
    with pytest.raises(StoreError, match="begin a new one"):
        transaction.publish()


def test_a_write_that_fails_ends_the_transaction(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who catches the error of a large file's chunk publishes nothing after it."""

    def refused(file: object, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    transaction = store.begin()
    with monkeypatch.context() as patch:
        patch.setattr("objstore.pack._OwnFile.write", refused)
        with pytest.raises(OSError, match="No space"):
            transaction.put_stream(BytesIO(random.Random(1).randbytes(12 * MIB)))
    with pytest.raises(StoreError, match="begin a new one"):
        transaction.publish()
    assert os.listdir(store.root / "tmp") == []


def test_memory_is_used_again_only_when_nobody_reads_it(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last chunk of each window is slow to encode, while the chunks before it are done and reading goes on."""
    monkeypatch.setattr(large, "_AHEAD", 4)
    content = random.Random(9).randbytes(40 * MIB)
    other = Store.create(tmp_path / "other")
    blob = store_large(other, content)
    ends = [8 * MIB + 1 + n * large.WINDOW - layout.CHUNK_MAX for n in range(1, 7)]
    slow, at = set[ObjectId](), 0
    for chunk, size in other.objects.chunks(other.objects.locate(blob)[0]):
        if any(at <= end < at + size for end in ends):
            slow.add(chunk)
        at += size

    class Slow(Transaction):
        def has(self, object_id: ObjectId) -> bool:
            if object_id in slow:
                time.sleep(0.3)
            return super().has(object_id)

    with Slow(store.root, store.objects) as transaction:
        assert transaction.put_stream(BytesIO(content))[0] == blob
    assert Store.open(store.root).objects.read(blob) == content


def test_pages_that_both_versions_have_are_stored_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk added at the end costs the last page and the list."""
    monkeypatch.setattr(layout, "LIST_PAGE_MAX", 20)
    monkeypatch.setattr(layout, "PAGE_MIN", 5)
    content = random.Random(1).randbytes(12 * MIB)
    store_large(store, content)
    store_large(store, content + b"more" * 100)
    pages = [row.id for row in Store.open(store.root).objects.rows() if row.kind is Kind.CHUNKS]
    assert len(pages) > 5
    assert len(set(pages)) == len(pages)


def test_arrays_of_different_numbers_share_no_frame(store: Store) -> None:
    """Each is put in planes of its own item size."""
    noise = np.random.default_rng(1)
    parts: list[bytes] = []
    for _ in range(16):
        numbers = noise.standard_normal(75_000, dtype=np.float32)
        parts += [numbers.tobytes(), (numbers.view("<u4") >> 16).astype("<u2").tobytes() * 2]
    regions = tuple(Region(n * 300_000, (n + 1) * 300_000, 2 if n % 2 else 4) for n in range(32))
    blob = store_large(store, b"".join(parts), regions)
    place = store.objects.locate(blob)[0]
    frames = [frame.header for frame in store.objects.footer(place.pack_id).frames]
    found = [header for header in frames if header.encoding is Encoding.PLANES]
    assert {header.parameters[0] for header in found} == {2, 4}
    assert max(header.raw_size for header in found) <= 300_000
    assert sum(header.raw_size for header in found) > 9_000_000


def test_a_list_whose_chunks_are_gone_is_not_relied_on(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file comes again and is cut otherwise: it gets a list of its own, of chunks that are there."""
    monkeypatch.setattr(layout, "PACK_TARGET", 4 * MIB)
    content = random.Random(6).randbytes(12 * MIB)
    blob = store_large(store, content)
    first = next(store.objects.chunks(store.objects.locate(blob)[0]))[0]
    assert pack_of(store, first) != pack_of(store, blob)
    erase(store, pack_of(store, first))
    again = Store.open(store.root)
    store_large(again, content, (Region(0, 100_000, 1), Region(100_000, 3 * MIB, 1)))
    assert Store.open(store.root).objects.read(blob) == content


@pytest.mark.parametrize("known", ["", "import concurrent.futures.thread"])
def test_a_large_blob_can_be_stored_while_the_interpreter_ends(tmp_path: Path, known: str) -> None:
    """No thread starts any more then, and what starts them cannot be imported: the work is done without."""
    script = f"""
import atexit, sys, random
{known}
sys.path.insert(0, {str(CHECKOUT)!r})
from io import BytesIO
from pathlib import Path
from objstore.store import Store
store = Store.create(Path("store"))
data = random.Random(1).randbytes(20 << 20)
def late():
    with store.begin() as transaction:
        print(transaction.put_stream(BytesIO(data))[0])
atexit.register(late)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=100
    )
    blob = ObjectId.parse(done.stdout.strip())
    assert hash_bytes(Store.open(tmp_path / "store").objects.read(blob)) == blob


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("use", ["nothing", "discard", "put", "publish", "leave"])
def test_a_forked_child_does_no_harm_to_an_open_transaction(store: Store, use: str) -> None:
    """Whatever it does with its copy, and however it ends, the parent's pack holds what the parent put."""
    contents = [random.Random(n).randbytes(200_000) for n in range(4)]
    script = f"""
import os, random, sys
from pathlib import Path
from objstore.errors import StoreError
from objstore.store import Store
from tests.objstore.test_transaction import head
contents = [random.Random(n).randbytes(200_000) for n in range(4)]
transaction = Store.open(Path({str(store.root)!r})).begin()
blobs = [transaction.put_bytes(content) for content in contents[:3]]
if (child := os.fork()) == 0:
    try:
        if {use!r} == "discard":
            transaction.discard()
        elif {use!r} == "put":
            transaction.put_bytes(random.Random(9).randbytes(200_000))
        elif {use!r} == "publish":
            head(transaction, *blobs)
            transaction.publish()
        elif {use!r} == "leave":
            del transaction
    except StoreError as error:
        print("begun before a fork" in str(error))
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
blobs.append(transaction.put_bytes(contents[3]))
head(transaction, *blobs)
transaction.publish()
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.stderr == ""
    assert done.stdout == ("True\n" if use in ("put", "publish") else "")
    again = Store.open(store.root)
    assert [again.objects.read(hash_object(Kind.BLOB, content)) for content in contents] == contents
    assert again.fsck().clean
    assert os.listdir(store.root / "tmp") == []
