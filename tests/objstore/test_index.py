"""The index: whatever the cache says, holds or loses, each object is found where it is, and nothing is an error."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from objstore import columns, layout, trash
from objstore.errors import Corrupt, NotFound, StoreError
from objstore.frame import Encoding, FrameHeader, encode, encode_list
from objstore.ids import Kind, ObjectId, hash_object
from objstore.index import Catalog, Location, build, catalog
from objstore.index.proofs import Proofs
from objstore.index.segment import PLACE, Segment
from objstore.objects import Objects
from objstore.pack import Footer, FrameEntry, ObjectEntry, PackWriter
from objstore.records import ChunkList
from objstore.store import Store
from objstore.zstd import compress

MIB = layout.MIB
CHECKOUT = Path(__file__).parent.parent.parent


def blob(content: bytes) -> ObjectId:
    """A blob's id."""
    return hash_object(Kind.BLOB, content)


def small(number: int) -> bytes:
    """The content of one of many small objects."""
    return b'{"object": %d}' % number


def plant(store: Store, *groups: list[bytes], kind: Kind = Kind.BLOB) -> str:
    """Put a pack with a compressed frame for each group into a store; returns its id."""
    frames = []
    for group in groups:
        stored = compress(b"".join(group), 1)
        header = FrameHeader(kind, Encoding.ZSTD, (0, 0), sum(map(len, group)), len(stored))
        frames.append((header, stored, [(hash_object(kind, raw), len(raw)) for raw in group]))
    return plant_frames(store, *frames)


def plant_frames(store: Store, *frames: tuple[FrameHeader, bytes, list[tuple[ObjectId, int]]]) -> str:
    """Put a pack of these frames into a store; returns its id."""
    writer = PackWriter(store.root / "tmp" / os.urandom(8).hex())
    for frame in frames:
        writer.add(*frame)
    pack_id, _ = writer.finish()
    path = store.root / layout.pack_path(pack_id)
    path.parent.mkdir(exist_ok=True)
    writer.path.rename(path)
    return pack_id


def plant_small(store: Store, numbers: range, group: int = 40) -> str:
    """Put a pack of small objects into a store; returns its id."""
    return plant(
        store, *([small(n) for n in numbers[at : at + group]] for at in range(0, len(numbers), group))
    )


def pack_file(store: Store, pack_id: str) -> Path:
    """Where a pack lies."""
    return store.root / layout.pack_path(pack_id)


def spoil_footer(store: Store, pack_id: str) -> None:
    """Make a footer unreadable: who finds an object in this pack knows it from elsewhere."""
    path = pack_file(store, pack_id)
    data = bytearray(path.read_bytes())
    data[-200:-8] = bytes(192)
    path.write_bytes(data)


def segments(store: Store) -> list[Path]:
    """The index's files."""
    folder = store.root / layout.INDEX
    return sorted(folder.glob(f"*{layout.SEGMENT_SUFFIX}")) if folder.is_dir() else []


def all_found(objects: Objects, numbers: range) -> bool:
    """Whether each of these small objects is found and read."""
    return all(objects.has(blob(small(n))) and objects.read(blob(small(n))) == small(n) for n in numbers)


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """An index that keeps even a few rows in segments."""
    monkeypatch.setattr(catalog, "_KEEP_ROWS", 50)
    monkeypatch.setattr(catalog, "_FLUSH_ROWS", 100)


@pytest.fixture
def indexed(store: Store, little: None) -> tuple[Store, list[str]]:
    """A store of 400 small objects in four packs, with an index in the cache; and its packs."""
    packs = [plant_small(store, range(n, n + 100)) for n in range(0, 400, 100)]
    Objects(store.root).refresh()
    assert segments(store)
    return store, packs


# --- what it finds -------------------------------------------------------------------------------------------------


def brute(store: Store) -> dict[bytes, list[tuple[str, ObjectEntry, Kind, bool, int, int, int]]]:
    """Where each object is, by reading all footers."""
    found: dict[bytes, list[tuple[str, ObjectEntry, Kind, bool, int, int, int]]] = {}
    for pack_id, footer in Objects(store.root, keep=False, trust=False).footers():
        for entry in footer.objects:
            frame = footer.frames[entry.frame]
            is_list = frame.header.encoding is Encoding.LIST
            row = (
                pack_id,
                entry,
                frame.header.kind,
                is_list,
                frame.offset,
                frame.header.stored_size,
                frame.xxh3,
            )
            found.setdefault(bytes(entry.id), []).append(row)
    return found


def seen(place: Location) -> tuple[str, ObjectEntry, Kind, bool, int, int, int]:
    """A location as `brute` has it."""
    return (place.pack_id, place.entry, place.kind, place.is_list, place.at, place.stored, place.xxh3)


LIMITS = {
    "dict": {"_KEEP_ROWS": 10**9, "_KEEP_PACKS": 10**9},
    "segments": {"_KEEP_ROWS": 1, "_FLUSH_ROWS": 70},
    "numpy": {"_HEAVY_ROWS": 1, "_BATCH_ROWS": 90},
    "one by one": {"_HEAVY_ROWS": 1, "_BATCH_ROWS": 1},
}


@pytest.mark.parametrize("way", LIMITS)
@pytest.mark.parametrize("keep", [True, False])
def test_all_ways_to_know_a_pack_agree_with_its_footer(
    store: Store, monkeypatch: pytest.MonkeyPatch, way: str, keep: bool
) -> None:
    """Copies in several packs and twice in one, all kinds, lists, empty objects; from the dict, numpy and merges."""
    source = random.Random(5)
    for _ in range(12):
        groups = [[small(source.randrange(300)) for _ in range(20)] + [b""] for _ in range(2)]
        plant(store, *groups)
    plant(store, [b'{"entries":[],"v":1}'], kind=Kind.TREE)
    chunks = [source.randbytes(900) for _ in range(3)]
    listed = encode_list(ChunkList(0, tuple((blob(c), len(c)) for c in chunks)).encode(), 2700)
    raw = encode(Kind.BLOB, chunks[0])
    plant_frames(
        store,
        (listed[0], listed[1], [(blob(b"".join(chunks)), 2700)]),
        (raw[0], bytes(raw[1]), [(blob(chunks[0]), 900)]),
    )
    expected = brute(store)
    for name, value in LIMITS[way].items():
        monkeypatch.setattr(catalog, name, value)
    for _ in range(2):  # the second finds what the first has left in the cache
        index = Catalog(store.root, keep=keep)
        index.refresh()
        for object_id, rows in expected.items():
            assert {seen(p) for p in index.find(ObjectId(object_id))} == set(rows)
            assert index.has(ObjectId(object_id))
            assert (rows[0][2], ObjectId(object_id)) in index.resolve(object_id.hex()[:7])
        listing = list(index.rows())
        assert [row.id for row in listing] == sorted(row.id for row in listing)
        assert {(r.id, r.pack_id, r.frame, r.size, r.is_list, r.kind) for r in listing} == {
            (i, p, e.frame, e.size, is_list, k)
            for i, rows in expected.items()
            for p, e, k, is_list, *_ in rows
        }
        assert not index.has(blob(b"absent"))
        assert index.find(blob(b"absent")) == []
    assert bool(segments(store)) == (keep and way != "dict")


def test_the_shares_of_objects_in_a_frame_add_up_to_it(store: Store) -> None:
    """What `rows` says an object takes is its part of the frame, by size."""
    pack_id = plant(store, [b"x" * 300, b"y" * 100], [b"alone"])
    size = store.objects.footer(pack_id).frames_size
    rows = {row.id: row.stored for row in store.objects.rows()}
    assert size - 2 <= sum(rows.values()) <= size
    assert rows[blob(b"x" * 300)] // rows[blob(b"y" * 100)] in (2, 3)


def test_the_cache_is_what_a_new_process_reads(indexed: tuple[Store, list[str]]) -> None:
    """Its footers spoilt, every object is found all the same; without the cache none is, which proves the test."""
    store, packs = indexed
    for pack_id in packs:
        spoil_footer(store, pack_id)
    assert all_found(Objects(store.root), range(400))
    shutil.rmtree(store.root / "cache")
    assert not any(Objects(store.root).has(blob(small(n))) for n in range(400))


NO_NUMPY = """
import sys
from pathlib import Path
from objstore.store import Store
from objstore.ids import ObjectId
store = Store.open(Path(sys.argv[1]))
assert all(store.objects.locate(ObjectId.parse(i)) for i in sys.argv[2:])
assert "numpy" not in sys.modules and "concurrent.futures" not in sys.modules
"""


def test_opening_and_finding_needs_no_numpy(indexed: tuple[Store, list[str]]) -> None:
    """It would take twice the memory of the process and longer than all the rest."""
    store, _ = indexed
    ids = [str(blob(small(n))) for n in range(20)]
    subprocess.run([sys.executable, "-c", NO_NUMPY, str(store.root), *ids], check=True, cwd=CHECKOUT)


def test_what_is_added_is_found_at_once_and_by_others(store: Store, little: None) -> None:
    """Pack after pack, through flushes and merges; few segments are left, and nobody needs a footer."""
    objects, packs = Objects(store.root), []
    objects.refresh()
    for start in range(0, 3000, 60):
        pack_id = plant_small(store, range(start, start + 60))
        packs.append(pack_id)
        objects.add(pack_id, Objects(store.root, keep=False).footer(pack_id))
        assert objects.has(blob(small(start + 59)))
    assert all_found(objects, range(3000))
    assert len(segments(store)) <= 5
    for pack_id in packs[:40]:
        spoil_footer(store, pack_id)
    assert all_found(Objects(store.root), range(2400))


def test_rows_of_packs_that_are_gone_do_not_stay_for_ever(store: Store, little: None) -> None:
    """When most of a segment is about packs that gc has taken away, it is written anew without them."""
    packs = [plant_small(store, range(n, n + 100)) for n in range(0, 1000, 100)]
    objects = Objects(store.root)
    objects.refresh()
    for pack_id in packs[3:]:
        pack_file(store, pack_id).unlink()
    plant_small(store, range(1000, 1060))
    objects.refresh()
    assert sum(Segment.load(path).rows for path in segments(store)) == 360
    assert all_found(Objects(store.root), range(300))
    for pack_id in packs[:3]:
        pack_file(store, pack_id).unlink()
    plant_small(store, range(2000, 2060))
    objects.refresh()
    assert sum(Segment.load(path).rows for path in segments(store)) == 120


# --- what may happen to the cache -----------------------------------------------------------------------------------


def test_a_deleted_cache_harms_nobody(indexed: tuple[Store, list[str]]) -> None:
    """While a store is open, with its files open and closed; and before it is opened."""
    store, _ = indexed
    objects, closed = Objects(store.root), Objects(store.root)
    assert all_found(objects, range(400))
    assert all_found(closed, range(0, 400, 7))
    closed.close()
    shutil.rmtree(store.root / "cache")
    assert all_found(objects, range(400))
    assert all_found(closed, range(400))
    plant_small(store, range(400, 700))
    objects.refresh()
    assert all_found(objects, range(700))
    assert all_found(Objects(store.root), range(700))


def test_damage_to_a_segment_is_found_out(indexed: tuple[Store, list[str]]) -> None:
    """Any byte changed, any length: each object is found and read, and the next process has a good index again."""
    store, _ = indexed
    (path,) = segments(store)
    data = path.read_bytes()
    source = random.Random(3)
    tables = Segment.load(path).rows * 72
    places = [*source.sample(range(tables), 40), *source.sample(range(tables, len(data)), 80)]
    flips = [data[:n] + bytes([data[n] ^ 255]) + data[n + 1 :] for n in places]
    cuts = [data[: source.randrange(len(data))] for _ in range(15)]
    for wrong in [*flips, *cuts, data + b"x", bytes(len(data)), b""]:
        for other in segments(store):
            other.unlink()
        path.write_bytes(wrong)
        objects = Objects(store.root)
        assert all(objects.has(blob(small(n))) for n in range(400))
        assert all_found(objects, range(0, 400, 7))
        assert sorted(row.id for row in objects.rows()) == sorted(blob(small(n)) for n in range(400))
        assert objects.damaged == {}
        assert all_found(Objects(store.root), range(0, 400, 61))


def test_a_segment_that_breaks_while_it_is_listed_is_replaced(indexed: tuple[Store, list[str]]) -> None:
    """The listing goes on from the footers: nothing twice, nothing left out."""
    store, _ = indexed
    rows = Objects(store.root).rows()
    (path,) = segments(store)
    with path.open("r+b") as file:
        file.write(bytes(20_000))
    assert sorted(row.id for row in rows) == sorted(blob(small(n)) for n in range(400))


def lie(store: Store, change: dict[str, int]) -> None:
    """Replace the index by one whose checksums fit and whose rows are wrong."""
    (path,) = segments(store)
    segment = Segment.load(path)
    data = bytearray(segment.between(0, 1 << 64))
    for at in range(0, len(data), 72):
        fields = dict(
            zip(
                ("pack", "frame", "offset", "stored", "where", "size", "xxh3"),
                PLACE.unpack_from(data, at + 32),
                strict=True,
            )
        )
        fields = {name: value + change.get(name, 0) for name, value in fields.items()}
        PLACE.pack_into(data, at + 32, *fields.values())
    import numpy as np

    rows = np.frombuffer(data, np.dtype(build._ROW))
    path.unlink()
    packs = [(pack.id, pack.size) for pack in segment.packs]
    build.in_file(path.parent, packs, lambda: [rows], len(rows))


@pytest.mark.parametrize(
    "change", [{"where": 24}, {"stored": -3}, {"offset": 1}, {"xxh3": 1}, {"where": 2 << 48}]
)
def test_a_segment_that_lies_is_not_believed(
    indexed: tuple[Store, list[str]], change: dict[str, int]
) -> None:
    """Its rows lead to no frame, or to other content: the footers are read instead, and the segment is thrown away."""
    store, _ = indexed
    lie(store, change)
    (wrong,) = segments(store)
    objects = Objects(store.root)
    assert objects.read(blob(small(5))) == small(5)
    assert not wrong.exists()
    assert {seen(place) for place in objects.locate(blob(small(250)))} == set(brute(store)[blob(small(250))])
    assert all(objects.read(blob(small(n))) == small(n) for n in range(400))
    assert objects.damaged == {}


def test_a_segment_may_name_packs_that_are_elsewhere(
    indexed: tuple[Store, list[str]], tmp_path: Path
) -> None:
    """A cache copied from another store adds nothing: no object is found in a pack that is not here."""
    store, packs = indexed
    other = Store.create(tmp_path / "other")
    shutil.copytree(store.root / "cache", other.root / "cache", dirs_exist_ok=True)
    target = pack_file(other, packs[0])
    target.parent.mkdir(exist_ok=True)
    shutil.copy(pack_file(store, packs[0]), target)
    objects = Objects(other.root)
    assert all_found(objects, range(100))
    assert not any(objects.has(blob(small(n))) for n in range(100, 400))
    assert {row.id for row in objects.rows()} == {blob(small(n)) for n in range(100)}


def test_a_pack_that_was_cut_short_is_not_found_by_the_cache(indexed: tuple[Store, list[str]]) -> None:
    """A writer that trusted it would leave out what it holds; it is named as damaged."""
    store, packs = indexed
    path = pack_file(store, packs[2])
    path.write_bytes(path.read_bytes()[:-1])
    objects = Objects(store.root)
    assert not any(objects.has(blob(small(n))) for n in range(200, 300))
    assert all_found(objects, range(200))
    assert list(objects.damaged) == [layout.pack_path(packs[2])]
    assert packs[2] not in objects.pack_ids()


def test_a_pack_that_vanished_before_it_was_looked_at_is_not_found(indexed: tuple[Store, list[str]]) -> None:
    """The listing is older than its removal."""
    store, packs = indexed
    objects = Objects(store.root)
    objects.refresh()
    pack_file(store, packs[1]).unlink()
    assert not objects.has(blob(small(150)))
    assert objects.locate(blob(small(151))) == []
    with pytest.raises(NotFound):
        objects.footer(packs[1])


@pytest.mark.parametrize("obstacle", ["file", "full", "read-only"])
def test_a_cache_that_cannot_be_written_is_done_without(
    store: Store, little: None, monkeypatch: pytest.MonkeyPatch, obstacle: str
) -> None:
    """A file in its place, a full disk, a store that is only read: all is found, and nothing is raised or written."""
    for start in range(0, 600, 100):
        plant_small(store, range(start, start + 100))
    if obstacle == "file":
        shutil.rmtree(store.root / "cache")
        (store.root / "cache").write_bytes(b"")
    if obstacle == "full":

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(Path, "replace", full)
    objects = Objects(store.root, keep=obstacle != "read-only")
    assert all_found(objects, range(600))
    assert len(list(objects.rows())) == 600
    objects.trust_list(blob(b"x"), b"list")
    assert segments(store) == []
    if obstacle == "full":
        assert list((store.root / layout.INDEX).iterdir()) == []


OPEN = """
import sys
from pathlib import Path
from objstore.index import catalog
from objstore.ids import Kind, hash_object
from objstore.objects import Objects
catalog._KEEP_ROWS, catalog._FLUSH_ROWS = 50, 100
print("ready", flush=True)
sys.stdin.readline()
while True:
    objects = Objects(Path(sys.argv[1]))
    assert all(objects.has(hash_object(Kind.BLOB, b'{"object": %d}' % n)) for n in range(0, 2000, 17))
    if sys.argv[2] == "once":
        break
    for path in (Path(sys.argv[1]) / "cache" / "index").iterdir():
        path.unlink(missing_ok=True)
"""


def start(store: Store, how: str) -> subprocess.Popen[str]:
    """A process that opens the store when it is told to."""
    command = [sys.executable, "-c", OPEN, str(store.root), how]
    process = subprocess.Popen(
        command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def go(process: subprocess.Popen[str]) -> None:
    """Let a process of `start` go on."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_processes_that_write_the_index_at_once_do_no_harm(store: Store) -> None:
    """Four of them, all at the same packs; what is left in the end is whole, and of use."""
    packs = [plant_small(store, range(n, n + 100)) for n in range(0, 2000, 100)]
    several = [start(store, "once") for _ in range(4)]
    for process in several:
        go(process)
    assert [process.wait(60) for process in several] == [0] * 4
    for process in several:
        process.communicate()
    assert segments(store)
    assert not list((store.root / layout.INDEX).glob("*.part"))
    for pack_id in packs:
        spoil_footer(store, pack_id)
    assert all_found(Objects(store.root), range(2000))


def test_a_kill_while_the_index_is_written_does_no_harm(store: Store) -> None:
    """At ten moments of a process that does nothing else; what it left over is removed once it is old."""
    for n in range(0, 2000, 100):
        plant_small(store, range(n, n + 100))
    source = random.Random(9)
    for _ in range(10):
        process = start(store, "again")
        go(process)
        time.sleep(source.uniform(0.2, 0.5))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert all_found(Objects(store.root), range(0, 2000, 13))
    (store.root / layout.INDEX).mkdir(exist_ok=True)
    left = store.root / layout.INDEX / "0123456789abcdef.part"
    left.write_bytes(b"half")
    os.utime(left, (0, 0))
    shutil.rmtree(store.root / "packs")
    (store.root / "packs").mkdir()
    plant_small(store, range(20_000), group=4000)
    Objects(store.root).refresh()
    assert not left.exists()
    assert all_found(Objects(store.root), range(0, 20_000, 301))


# --- what happens meanwhile -----------------------------------------------------------------------------------------


def test_threads_find_everything_while_the_index_changes(store: Store, little: None) -> None:
    """Packs come, are merged and go; rows move from the dict to segments and on: no object is ever missed."""
    objects = Objects(store.root)
    packs = [plant_small(store, range(n, n + 50)) for n in range(0, 500, 50)]
    objects.refresh()
    wrong: list[BaseException] = []
    over = threading.Event()

    def work(seed: int) -> None:
        source = random.Random(seed)
        try:
            while not over.is_set():
                n = source.randrange(500)
                assert objects.has(blob(small(n))), n
                assert objects.read(blob(small(n))) == small(n)
        except BaseException as error:
            wrong.append(error)
            raise

    threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for turn in range(12):
        merged = plant(
            store, *([small(n) for n in range(at, at + 50)] for at in range(0, 500, 50)), [b"%d" % turn]
        )
        plant_small(store, range(1000 + 130 * turn, 1130 + 130 * turn))
        objects.refresh()
        for pack_id in packs:
            pack_file(store, pack_id).unlink()
        packs = [merged]
        objects.refresh()
    over.set()
    for thread in threads:
        thread.join(60)
    assert wrong == []


@pytest.mark.parametrize("find", ["has", "locate", "holder"])
def test_a_merge_in_the_midst_of_a_lookup_hides_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch, find: str
) -> None:
    """After the dict was looked into, before the segments are: the object moves from the latter to the former."""
    monkeypatch.setattr(catalog, "_KEEP_ROWS", 50)
    first = plant_small(store, range(60))
    objects = Objects(store.root)
    objects.refresh()
    assert segments(store)
    monkeypatch.setattr(catalog, "_KEEP_ROWS", 10**9)

    class Moves(ObjectId):
        """An id at whose first 8 bytes, which come after the dict, the packs are merged."""

        def __getitem__(self, key: Any) -> Any:
            if pack_file(store, first).exists():
                plant_small(store, range(61))
                objects.refresh()
                pack_file(store, first).unlink()
                objects.refresh()
            return bytes(self)[key]

    assert getattr(objects, find)(Moves(blob(small(7))))


def test_rows_on_their_way_into_a_segment_are_found(
    store: Store, little: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the segment's file is being written and named, and in merges."""
    objects, seen, real = Objects(store.root), list[bool](), Path.replace
    objects.refresh()

    def replace(path: Path, target: Path) -> Path:
        seen.append(all(objects.has(blob(small(n))) for n in range(0, done, 3)))
        return real(path, target)

    monkeypatch.setattr(Path, "replace", replace)
    for done in range(100, 1100, 100):
        pack_id = plant_small(store, range(done - 100, done))
        objects.add(pack_id, objects.footer(pack_id))
    assert len(seen) > 10
    assert all(seen)


def test_a_large_pack_just_published_becomes_a_segment_at_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows never go through the dict, and are found all the same, beside those that do."""
    monkeypatch.setattr(catalog, "_ALONE_ROWS", 100)
    objects = Objects(store.root)
    objects.refresh()
    for numbers in (range(150), range(150, 200)):
        pack_id = plant_small(store, numbers)
        objects.add(pack_id, objects.footer(pack_id))
    assert all(objects.has(blob(small(n))) for n in range(200))
    assert len(segments(store)) == 1
    assert [place.pack_id for place in objects.locate(blob(small(199)))] == [pack_id]
    assert objects.read(blob(small(3))) == small(3)


def test_a_network_file_system_may_say_stale(
    indexed: tuple[Store, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From whichever read on, of one descriptor: the file is opened again, or another one is used."""
    store, _ = indexed
    read, close, failing, stale = os.pread, os.close, -1, set[int]()

    def pread(fd: int, size: int, offset: int) -> bytes:
        nonlocal failing
        failing -= 1
        if failing == 0:
            stale.add(fd)
        if fd in stale:
            raise OSError(errno.ESTALE, "Stale file handle")
        return read(fd, size, offset)

    def closed(fd: int) -> None:
        stale.discard(fd)
        close(fd)

    monkeypatch.setattr(os, "pread", pread)
    monkeypatch.setattr(os, "close", closed)
    for moment in range(1, 7):
        objects = Objects(store.root)
        objects.refresh()
        failing = moment
        assert all_found(objects, range(0, 400, 67))
        assert objects.damaged == {}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_store_can_be_used_after_a_fork(store: Store, little: None) -> None:
    """Also in the midst of a stream that two threads read ahead, which the child has not."""
    content = random.Random(4).randbytes(20 * MIB)
    with store.begin() as transaction:
        object_id = transaction.put_bytes(content)
    for n in range(0, 400, 100):
        plant_small(store, range(n, n + 100))
    objects = Objects(store.root)
    assert objects.has(blob(small(1))) or objects.read(blob(small(1)))
    pieces = objects.stream(object_id)
    got = [next(pieces)]
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(60)
            whole = b"".join([*got, *pieces])
            status = 0 if whole == content and all_found(objects, range(0, 400, 9)) else 2
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert b"".join([*got, *pieces]) == content


# --- large objects ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, bytes]:
    """A store with a blob of 24 MiB, half of it compressible, and the blob."""
    store = Store.create(tmp_path_factory.mktemp("large") / "store")
    source = random.Random(8)
    content = source.randbytes(12 * MIB) + bytes(source.choices(b"abcdefgh", k=12 * MIB))
    with store.begin() as transaction:
        transaction.put_bytes(content)
    return store, content


def test_a_large_object_is_read_ahead_and_no_thread_is_left(large: tuple[Store, bytes]) -> None:
    """Whole, in order, twice; also when the reader loses interest."""
    store, content = large
    objects, before = Objects(store.root, keep=False), set(threading.enumerate())
    for _ in range(2):  # the second time its list is proved
        pieces = objects.stream(blob(content))
        first = next(pieces)
        assert set(threading.enumerate()) - before
        assert b"".join([first, *pieces]) == content
    pieces = objects.stream(blob(content))
    next(pieces)
    del pieces
    assert set(threading.enumerate()) == before


def test_small_reads_start_no_thread(large: tuple[Store, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a small object nor a range of a large one."""
    store, content = large
    objects = Objects(store.root, keep=False)
    objects.prove(objects.locate(blob(content))[0])

    def refuse(*_: object) -> None:
        raise AssertionError("a thread was started")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert objects.read_range(blob(content), 5 * MIB + 3, MIB) == content[5 * MIB + 3 : 6 * MIB + 3]
    plant_small(store, range(50))
    objects.refresh()
    assert all_found(objects, range(50))


def test_a_damaged_chunk_in_a_large_object_is_taken_from_elsewhere(
    large: tuple[Store, bytes], tmp_path: Path
) -> None:
    """From another pack; where there is none, the error comes when the chunk would."""
    source, content = large
    root = tmp_path / "copy"
    shutil.copytree(source.root, root)
    store = Store.open(root)
    place = store.objects.locate(blob(content))[0]
    chunk_id, size = list(store.objects.chunks(place))[70]
    hurt = store.objects.locate(chunk_id)[0]
    at = sum(n for _, n in list(store.objects.chunks(place))[:70])
    path = pack_file(store, hurt.pack_id)
    data = bytearray(path.read_bytes())
    data[hurt.at + 200] ^= 4
    path.write_bytes(data)
    pieces, got = Objects(root).stream(blob(content)), list[bytes]()
    with pytest.raises(Corrupt):
        got.extend(pieces)
    assert content.startswith(b"".join(got))
    assert sum(map(len, got)) <= at
    plant(store, [content[at : at + size]])
    assert Objects(root).read(blob(content)) == content


def test_a_range_costs_three_reads_at_most(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list, one page of it and the neighbouring frames, in a paged list of a store that was just opened."""
    source = random.Random(2)
    chunks = [source.randbytes(layout.CHUNK_MIN) for _ in range(60)]
    parts, top = paged(chunks)
    content = b"".join(chunks)
    frames = [(*encode(Kind.BLOB, c), [(blob(c), len(c))]) for c in chunks]
    for part in parts:
        frames.append((*encode(Kind.CHUNKS, part), [(hash_object(Kind.CHUNKS, part), len(part))]))
    frames.append((*encode_list(top.encode(), top.size), [(blob(content), len(content))]))
    plant_frames(store, *((header, bytes(stored), inside) for header, stored, inside in frames))
    store.objects.trust_list(blob(content), top.encode())
    real, reads = os.pread, list[int]()

    def counted(fd: int, size: int, at: int) -> bytes:
        reads.append(size)
        return real(fd, size, at)

    for offset in (31 * layout.CHUNK_MIN + 7, 5, 20 * layout.CHUNK_MIN):
        objects = Objects(store.root)
        objects.refresh()
        reads.clear()
        monkeypatch.setattr(os, "pread", counted)
        length = 20 * layout.CHUNK_MIN
        assert objects.read_range(blob(content), offset, length) == content[offset : offset + length]
        assert len(reads) <= 3
        assert objects.read_range(blob(content), offset, 100) == content[offset : offset + 100]
        assert len(reads) <= 3  # what was decoded is kept
        monkeypatch.setattr(os, "pread", real)


def paged(chunks: list[bytes]) -> tuple[list[bytes], ChunkList]:
    """The two pages of a list, encoded, and the list of them."""
    half = len(chunks) // 2
    parts = [ChunkList(0, tuple((blob(c), len(c)) for c in part)) for part in (chunks[:half], chunks[half:])]
    top = ChunkList(1, tuple((hash_object(Kind.CHUNKS, p.encode()), p.size) for p in parts))
    return [part.encode() for part in parts], top


def test_a_blob_whose_pages_are_in_the_trash_is_not_complete(store: Store) -> None:
    """It can be read, but a writer that took it for stored would leave it without its pages."""
    chunks = [random.Random(n).randbytes(900) for n in range(4)]
    pages, top = paged(chunks)
    content = b"".join(chunks)
    plant(store, chunks)
    plant_frames(store, (*encode_list(top.encode(), top.size), [(blob(content), len(content))]))
    aside = plant(store, pages, kind=Kind.CHUNKS)
    assert Objects(store.root).complete(blob(content))
    trash.set_aside(store.root, layout.pack_path(aside), 7)
    objects = Objects(store.root)
    assert objects.read(blob(content)) == content
    assert not objects.complete(blob(content))


def test_a_damaged_list_names_nothing(store: Store) -> None:
    """Not even to gc, which would take other chunks for those that are needed: whichever of its bytes is changed."""
    chunks = [random.Random(n).randbytes(900) for n in range(3)]
    content, top = b"".join(chunks), ChunkList(0, tuple((blob(c), len(c)) for c in chunks))
    plant(store, chunks)
    header, stored = encode_list(top.encode(), top.size)
    pack_id = plant_frames(store, (header, stored, [(blob(content), len(content))]))
    path = pack_file(store, pack_id)
    data = path.read_bytes()
    for at in range(24 + len(stored)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :])
        with pytest.raises(StoreError):
            Objects(store.root).lists(blob(content))
    path.write_bytes(data)
    assert Objects(store.root).lists(blob(content)) == [top]


def test_holes_are_known_without_being_read(store: Store) -> None:
    """A chunk of zeros of the greatest size is known by its id, wherever its pack is."""
    hole, end = bytes(layout.CHUNK_MAX), b"the end"
    content = hole * 3 + end
    items = (*[(blob(hole), len(hole))] * 3, (blob(end), len(end)))
    listed = encode_list(ChunkList(0, items).encode(), len(content))
    plant_frames(store, (*listed, [(blob(content), len(content))]))
    plant(store, [end])
    assert store.objects.read(blob(content)) == content
    assert store.objects.read_range(blob(content), 10, 2 * MIB) == content[10 : 10 + 2 * MIB]


# --- proofs -----------------------------------------------------------------------------------------------------------


def unsound(store: Store) -> tuple[ObjectId, bytes, ChunkList]:
    """A listed blob whose last chunk is absent: it cannot be proved, only trusted."""
    chunks = [random.Random(n).randbytes(2000) for n in range(3)]
    content = b"".join(chunks)
    top = ChunkList(0, tuple((blob(c), len(c)) for c in chunks))
    plant(store, chunks[:2])
    listed = encode_list(top.encode(), len(content))
    plant_frames(store, (*listed, [(blob(content), len(content))]))
    return blob(content), content, top


def test_a_list_that_a_writer_has_proved_is_not_read_again(store: Store) -> None:
    """By this and by later processes, until the cache is deleted."""
    object_id, content, top = unsound(store)
    with pytest.raises(NotFound):
        store.objects.read_range(object_id, 10, 2500)
    store.objects.trust_list(object_id, top.encode())
    for objects in (store.objects, Objects(store.root), Objects(store.root, keep=False)):
        assert objects.read_range(object_id, 10, 2500) == content[10:2510]
        with pytest.raises(NotFound):
            objects.read_range(object_id, 3000, 2500)
    shutil.rmtree(store.root / "cache")
    with pytest.raises(NotFound):
        Objects(store.root).read_range(object_id, 10, 2500)


def test_a_proof_is_of_one_list_and_one_object(store: Store) -> None:
    """Neither another list nor another object may lean on it."""
    object_id, _, top = unsound(store)
    store.objects.trust_list(blob(b"another"), top.encode())
    store.objects.trust_list(object_id, top.encode() + b"x")
    with pytest.raises(NotFound):
        store.objects.read_range(object_id, 10, 2500)


def test_reading_proves(large: tuple[Store, bytes]) -> None:
    """Whoever reads a list through leaves the proof for later processes."""
    store, content = large
    (store.root / "cache" / "proofs").unlink(missing_ok=True)
    for _ in Objects(store.root).stream(blob(content)):
        pass
    later = Objects(store.root)
    assert later._proof(later.locate(blob(content))[0]) in later._proofs


def test_garbage_among_proofs_is_passed_over(tmp_path: Path) -> None:
    """Torn lines, bytes that are no text, lines that run on: the whole ones count, those after them too."""
    root = tmp_path / "s"
    proofs = [random.Random(n).randbytes(32) for n in range(6)]
    path = root / "cache" / "proofs"
    path.parent.mkdir(parents=True)
    path.write_bytes(
        b"\xff\xfe\0garbage\n" + proofs[0].hex().encode() + b"\n" + proofs[1].hex().encode()[:30]
    )
    known = Proofs(root, keep=True)
    known.add(proofs[2])
    with path.open("ab") as file:
        file.write(proofs[3].hex().upper().encode() + b"\n" + proofs[4].hex().encode() + b"00\n")
    later = Proofs(root, keep=True)
    assert [proof in later for proof in proofs] == [True, False, True, False, False, False]
    other = Proofs(root, keep=True)
    other.add(proofs[5])
    assert proofs[5] in later  # learnt without being opened anew


def test_proofs_do_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The older half goes; what was just added stays."""
    monkeypatch.setattr(layout, "PROOFS_MAX", 6600)
    (tmp_path / "cache").mkdir()
    known = Proofs(tmp_path, keep=True)
    proofs = [random.Random(n).randbytes(32) for n in range(500)]
    for proof in proofs:
        known.add(proof)
    assert (tmp_path / "cache" / "proofs").stat().st_size <= 6600
    later = Proofs(tmp_path, keep=True)
    assert all(proof in later for proof in proofs[-40:])
    assert proofs[0] not in later
    assert os.listdir(tmp_path / "cache") == ["proofs"]


# --- the trash --------------------------------------------------------------------------------------------------------


def test_what_is_only_in_the_trash_can_be_read_and_is_not_there(store: Store) -> None:
    """Read, streamed, weighed; but nobody may count on it: a writer has to store it again."""
    pack_id = plant_small(store, range(50))
    content = random.Random(6).randbytes(9 * MIB)
    with store.begin() as transaction:
        object_id = transaction.put_bytes(content)
    objects, opened = Objects(store.root), Objects(store.root)
    opened.refresh()
    for pack in opened.pack_ids():
        assert trash.set_aside(store.root, layout.pack_path(pack), 1000)
    for reader in (objects, opened):
        assert reader.read(blob(small(7))) == small(7)
        assert reader.size(blob(small(7))) == len(small(7))
        assert reader.kind(blob(small(7))) is Kind.BLOB
        assert b"".join(reader.stream(object_id)) == content
        assert reader.read_range(object_id, 5 * MIB, 100) == content[5 * MIB : 5 * MIB + 100]
        assert not reader.has(blob(small(7)))
        assert not reader.complete(object_id)
        assert reader.locate(object_id) == []
        assert reader.pack_ids() == frozenset()
    assert trash.put_back(store.root, layout.pack_path(pack_id))
    assert objects.read(blob(small(9))) == small(9)
    shutil.rmtree(store.root / "trash")
    with pytest.raises(NotFound):
        Objects(store.root).read(object_id)
    opened.close()
    with pytest.raises(NotFound):
        opened.read(object_id)


def test_a_damaged_copy_is_made_up_for_by_one_in_the_trash(store: Store) -> None:
    """When no other pack has a sound one."""
    raw = random.Random(1).randbytes(500)
    header, stored = encode(Kind.BLOB, raw)
    first = plant_frames(store, (header, bytes(stored), [(blob(raw), 500)]))
    second = plant(store, [raw])
    trash.set_aside(store.root, layout.pack_path(second), 5)
    path = pack_file(store, first)
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    assert Objects(store.root).read(blob(raw)) == raw
    shutil.rmtree(store.root / "trash")
    with pytest.raises(Corrupt):
        Objects(store.root).read(blob(raw))


# --- footers by the thousand ------------------------------------------------------------------------------------------


@st.composite
def footers(draw: st.DrawFn) -> tuple[bytes, int]:
    """The bytes of a footer, and which of them to change, if any."""
    frames, objects, at = [], [], 0
    for number in range(draw(st.integers(0, 4))):
        sizes = draw(st.lists(st.integers(0, 50), min_size=1, max_size=3))
        raw = len(sizes) == 1 and draw(st.booleans())
        encoding = Encoding.RAW if raw else Encoding.ZSTD
        stored = sum(sizes) if raw else draw(st.integers(10, 90))
        header = FrameHeader(draw(st.sampled_from(Kind)), encoding, (0, 0), sum(sizes), stored)
        pin = bytes(32) if raw else draw(st.binary(min_size=32, max_size=32).filter(any))
        frames.append(FrameEntry(header, len(sizes), draw(st.integers(0, 2**64 - 1)), pin, at))
        at += frames[-1].size
        offset = 0
        for size in sizes:
            objects.append(ObjectEntry(ObjectId(os.urandom(32)), number, offset, size))
            offset += size
    objects.sort(key=lambda o: (o.id, o.frame, o.offset))
    data = Footer(tuple(frames), tuple(objects)).encode()
    return data, draw(st.integers(-len(data), len(data) - 1))


@settings(max_examples=300)
@given(footers(), st.integers(0, 7))
def test_footers_are_parsed_alike_with_numpy(case: tuple[bytes, int], bit: int) -> None:
    """The same rows, and refused where they are refused; but for a frame's ratio, which its reader checks."""
    data, at = case
    if at >= 0:
        data = data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
    try:
        footer = Footer.decode(data)
    except StoreError as error:
        if "expand" not in str(error):
            with pytest.raises(StoreError):
                columns.parse(data)
        return
    recent = catalog._Recent()
    recent.take("ab" * 32, footer, 0)
    parsed = columns.parse(data)
    rows = b"".join(part.tobytes() for part in build.footer_rows(*parsed, 0))
    found = [(rows[n : n + 32], rows[n + 32 : n + 72]) for n in range(0, len(rows), 72)]
    assert sorted(found) == sorted((bytes(i), p) for i in recent.rows for p in recent.find(i))
    assert columns.frames_size(parsed[0]) == footer.frames_size


def test_ids_that_begin_alike_are_told_apart(store: Store, little: None) -> None:
    """Eight bytes in common, as somebody may choose them, over more rows than a block has."""
    chosen = [ObjectId(b"sameword" + random.Random(n).randbytes(24)) for n in range(300)]
    index = Catalog(store.root, keep=True)
    header = FrameHeader(Kind.BLOB, Encoding.ZSTD, (0, 0), 150, 90)
    for pack_id, mine in (("ab" * 32, chosen[::2]), ("cd" * 32, chosen[1::2])):
        entries = (ObjectEntry(i, 0, n, 1) for n, i in enumerate(mine))
        frame = FrameEntry(header, 150, 1, bytes(range(32)), 0)
        index.add(pack_id, Footer((frame,), tuple(sorted(entries, key=lambda e: e.id))))
    assert len(segments(store)) == 1
    assert [row.id for row in index.rows()] == sorted(chosen)
    assert all(len(index.find(i)) == 1 for i in chosen)
    assert not index.has(ObjectId(b"sameword" + bytes(24)))
    assert len(index.resolve(b"sameword".hex())) == 300
