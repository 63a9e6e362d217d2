"""Reading: whatever is damaged, lying or moving, what is returned has the hash that was asked for."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from objstore import layout
from objstore.errors import Corrupt, NotFound, StoreError
from objstore.frame import Encoding, FrameHeader, encode, encode_list
from objstore.ids import Kind, ObjectId, hash_object
from objstore.objects import Objects
from objstore.pack import PackWriter
from objstore.records import ChunkList
from objstore.store import Store

MIB = layout.MIB
Frame = tuple[FrameHeader, bytes, list[tuple[ObjectId, int]]]
SMALL = [b"content %d, " % n * 40 for n in range(6)]


def blob(content: bytes) -> ObjectId:
    """A blob's id."""
    return hash_object(Kind.BLOB, content)


def whole(content: bytes, claimed: ObjectId | None = None, kind: Kind = Kind.BLOB) -> Frame:
    """A frame of one object; `claimed` makes it lie about the id."""
    header, stored = encode(kind, content)
    return header, bytes(stored), [(claimed or hash_object(kind, content), len(content))]


def listed(chunks: list[bytes], claimed: ObjectId | None = None, size: int | None = None) -> Frame:
    """A frame that stores the chunks' concatenation as a list; `claimed` and `size` make it lie."""
    content = b"".join(chunks)
    items = tuple((blob(chunk), len(chunk)) for chunk in chunks)
    return list_frame(ChunkList(0, items), claimed or blob(content), len(content) if size is None else size)


def list_frame(chunk_list: ChunkList, object_id: ObjectId, size: int) -> Frame:
    """A frame that says that the object is what the list says."""
    header, stored = encode_list(chunk_list.encode(), size)
    return header, stored, [(object_id, size)]


def plant(store: Store, *frames: Frame) -> str:
    """Put a pack of these frames into a store, past all that would refuse a lie; returns its id."""
    writer = PackWriter(store.root / "tmp" / os.urandom(8).hex())
    for frame in frames:
        writer.add(*frame)
    pack_id, _ = writer.finish()
    target = store.root / layout.pack_path(pack_id)
    target.parent.mkdir(exist_ok=True)
    writer.path.rename(target)
    return pack_id


def spoil(store: Store, pack_id: str, content: bytes) -> None:
    """Change a byte in the frame that holds `content` raw."""
    path = store.root / layout.pack_path(pack_id)
    data = path.read_bytes()
    where = data.index(content)
    path.write_bytes(data[:where] + bytes([data[where] ^ 1]) + data[where + 1 :])


def fresh(store: Store) -> Objects:
    """The objects as a new process sees them."""
    return Objects(store.root)


# --- finding -------------------------------------------------------------------------------------------------------


def test_objects_are_found_and_read(store: Store) -> None:
    """By id, with kind and size; also by a reader that was open before they were written."""
    before = fresh(store)
    assert before.pack_ids() == frozenset()
    with store.begin() as transaction:
        ids = [transaction.put_bytes(content) for content in SMALL]
    for objects in (store.objects, fresh(store), before):
        assert [objects.read(i) for i in ids] == SMALL
        assert [objects.size(i) for i in ids] == [len(c) for c in SMALL]
        assert objects.kind(ids[0]) is Kind.BLOB
        assert objects.has(ids[0])


def test_a_missing_object_is_not_found(store: Store) -> None:
    """With its id in the message, and with a hint when packs are damaged."""
    missing = blob(b"never stored")
    for read in (store.objects.read, store.objects.size, store.objects.kind, store.objects.is_list):
        with pytest.raises(NotFound, match=str(missing)):
            read(missing)
    assert not store.objects.has(missing)
    pack_id = plant(store, whole(b"x"))
    (store.root / layout.pack_path(pack_id)).write_bytes(b"")
    with pytest.raises(NotFound, match="1 pack is damaged"):
        store.objects.read(missing)


def test_an_object_of_another_kind_is_not_returned(store: Store) -> None:
    """A blob whose bytes are a tree is no tree, and a tree is not read as a blob."""
    data = b'{"entries":[],"v":1}'
    with store.begin() as transaction:
        as_blob, as_tree = transaction.put(Kind.BLOB, data), transaction.put(Kind.TREE, data)
    assert as_blob != as_tree
    with pytest.raises(Corrupt, match="is a blob, not a tree"):
        store.objects.read(as_blob, Kind.TREE)
    with pytest.raises(Corrupt, match="is a tree, not a blob"):
        store.objects.read(as_tree)


@pytest.fixture(scope="module")
def six_hundred(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, list[str]]:
    """A store of 600 blobs, and their ids."""
    store = Store.create(tmp_path_factory.mktemp("prefixes") / "store")
    with store.begin() as transaction:
        return store, sorted(str(transaction.put_bytes(b"%d" % n)) for n in range(600))


@given(st.data())
def test_a_prefix_finds_what_begins_with_it(
    six_hundred: tuple[Store, list[str]], data: st.DataObject
) -> None:
    """All such objects, sorted, for a prefix of any length, even or odd."""
    store, ids = six_hundred
    prefix = data.draw(st.sampled_from(ids))[: data.draw(st.integers(1, 64))]
    assert [str(i) for _, i in store.objects.resolve(prefix)] == [i for i in ids if i.startswith(prefix)]


# --- damage --------------------------------------------------------------------------------------------------------


def test_no_damage_returns_wrong_bytes(store: Store, tmp_path: Path) -> None:
    """Whichever byte of a pack is changed, and to whichever length it is cut: a read gives the content or an error."""
    noise = [random.Random(n).randbytes(40) for n in range(2)]
    contents = [noise[0], SMALL[0], SMALL[1], noise[1]]
    pair = encode(Kind.BLOB, SMALL[0] + SMALL[1])
    group = (pair[0], bytes(pair[1]), [(blob(c), len(c)) for c in SMALL[:2]])
    pack_id = plant(store, whole(noise[0]), group, whole(noise[1]))
    path = store.root / layout.pack_path(pack_id)
    data = path.read_bytes()
    flips = [data[:n] + bytes([data[n] ^ 1 << n % 8]) + data[n + 1 :] for n in range(len(data))]
    for wrong in [*flips, *(data[:n] for n in range(len(data)))]:
        path.write_bytes(wrong)
        objects = fresh(store)
        failed = 0
        for content in contents:
            try:
                assert objects.read(blob(content)) == content
            except (NotFound, Corrupt):
                failed += 1
        assert failed or objects.damaged
    path.write_bytes(data)
    assert [fresh(store).read(blob(c)) for c in contents] == contents


def test_wrong_content_under_the_right_id_is_not_returned(store: Store) -> None:
    """A pack that pins other content under an id, all its checksums fitting."""
    wanted = blob(b"wanted")
    for lie in (b"other!", b"longer than it should be", b"text " * 99):
        plant(store, whole(lie, claimed=wanted))
    with pytest.raises(Corrupt, match=str(wanted)):
        store.objects.read(wanted)
    with pytest.raises(Corrupt):
        store.objects.read_range(wanted, 0, 3)


@pytest.mark.parametrize("order", range(3))
def test_one_good_copy_of_three_is_enough(store: Store, order: int) -> None:
    """Damaged, lying and sound, wherever the sound one stands among them."""
    content = random.Random(1).randbytes(500)
    object_id = blob(content)
    frames = [whole(content), whole(b"a lie", claimed=object_id), whole(content)]
    packs = [plant(store, frames[n], whole(b"%d" % n)) for n in [order, *({0, 1, 2} - {order})]]
    spoil(store, packs[[order, *({0, 1, 2} - {order})].index(0)], content)
    assert len(fresh(store).locate(object_id)) == 3
    assert fresh(store).read(object_id) == content
    assert fresh(store).read_range(object_id, 10, 20) == content[10:30]


def test_a_copy_that_cannot_be_decoded_does_not_hide_a_good_one(store: Store) -> None:
    """Planes that are cut short, pinned as they are; the raw copy beside them is read."""
    content = b"content"
    planes = FrameHeader(Kind.BLOB, Encoding.PLANES, (2, 0), len(content), 5)
    plant(store, (planes, b"12345", [(blob(content), len(content))]))
    with pytest.raises(Corrupt, match="plane"):
        fresh(store).read(blob(content))
    plant(store, whole(content))
    assert fresh(store).read(blob(content)) == content


def test_a_sound_pack_that_replaces_a_damaged_one_is_seen(store: Store, tmp_path: Path) -> None:
    """By a reader that has the damaged file open, without being told."""
    content = random.Random(1).randbytes(500)
    pack_id = plant(store, whole(content))
    path = store.root / layout.pack_path(pack_id)
    shutil.copy(path, tmp_path / "sound")
    spoil(store, pack_id, content)
    objects = fresh(store)
    with pytest.raises(Corrupt):
        objects.read(blob(content))
    path.unlink()
    (tmp_path / "sound").rename(path)
    assert objects.read(blob(content)) == content


def test_a_limit_is_kept_whatever_the_footer_says(store: Store) -> None:
    """What is larger than the caller expects is refused, also when it comes in pieces."""
    plant(store, whole(bytes(1000)), listed([bytes(1000)] * 9), whole(bytes(9000), claimed=blob(b"lie")))
    assert store.objects.read(blob(bytes(1000)), limit=1000) == bytes(1000)
    for object_id in (blob(bytes(1000)), blob(bytes(9000))):
        with pytest.raises(Corrupt, match="expected"):
            store.objects.read(object_id, limit=999)


# --- chunk lists ---------------------------------------------------------------------------------------------------

CHUNKS = [random.Random(n).randbytes(700 + n) for n in range(5)]
FILE = b"".join(CHUNKS)


@pytest.fixture(scope="module")
def chunked(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store that holds FILE as chunks."""
    store = Store.create(tmp_path_factory.mktemp("ranges") / "store")
    plant(store, *map(whole, CHUNKS), listed(CHUNKS))
    return store


@given(offset=st.integers(0, len(FILE) + 5), length=st.integers(0, len(FILE) + 5))
def test_a_range_is_a_slice(chunked: Store, offset: int, length: int) -> None:
    """Of a blob that is stored whole and of one that is stored as chunks."""
    for content in (FILE, CHUNKS[1]):
        assert chunked.objects.read_range(blob(content), offset, length) == content[offset : offset + length]


def test_a_list_is_proved_before_a_range_of_it_is_given(store: Store) -> None:
    """Each chunk is sound, but together they are another file: not a byte of it is returned."""
    swapped = [CHUNKS[1], CHUNKS[0], *CHUNKS[2:]]
    plant(store, *map(whole, CHUNKS), listed(swapped, claimed=blob(FILE)))
    with pytest.raises(Corrupt, match="does not make up"):
        store.objects.read_range(blob(FILE), 0, 10)
    with pytest.raises(Corrupt, match="does not make up"):
        store.objects.read(blob(FILE))


def test_a_lying_list_does_not_hide_a_true_one(store: Store) -> None:
    """Nor a list that is proved lend its proof to one that lies, wherever they stand and whatever is read first."""
    swapped = [CHUNKS[1], CHUNKS[0], *CHUNKS[2:]]
    plant(store, *map(whole, CHUNKS))
    true = plant(store, listed(CHUNKS))
    objects = fresh(store)
    assert objects.read(blob(FILE)) == FILE
    plant(store, listed(swapped, claimed=blob(FILE)))
    assert fresh(store).read(blob(FILE)) == FILE
    assert fresh(store).read_range(blob(FILE), 0, 900) == FILE[:900]
    objects.refresh()
    assert objects.read_range(blob(FILE), 0, 900) == FILE[:900]
    (store.root / layout.pack_path(true)).unlink()
    objects.refresh()
    with pytest.raises(Corrupt):
        objects.read_range(blob(FILE), 0, 900)


def test_a_damaged_list_falls_back_to_another_copy(store: Store) -> None:
    """A second list with other cuts, or the blob whole."""
    list_pack = plant(store, *map(whole, CHUNKS), listed(CHUNKS))
    path = store.root / layout.pack_path(list_pack)
    data = bytearray(path.read_bytes())
    data[fresh(store).footer(list_pack).frames[-1].offset + 30] ^= 1
    path.write_bytes(data)
    with pytest.raises(Corrupt):
        fresh(store).read(blob(FILE))
    halves = [FILE[:1000], FILE[1000:]]
    second = plant(store, *map(whole, halves), listed(halves))
    assert fresh(store).read(blob(FILE)) == FILE
    (store.root / layout.pack_path(second)).unlink()
    plant(store, whole(FILE))
    assert fresh(store).read(blob(FILE)) == FILE


def test_a_list_without_a_chunk_falls_back_to_a_whole_copy(store: Store) -> None:
    """And where there is none, the error names chunk and file."""
    plant(store, *map(whole, CHUNKS[1:]), listed(CHUNKS))
    with pytest.raises(NotFound, match=f"{blob(CHUNKS[0])}.*{blob(FILE)}"):
        fresh(store).read(blob(FILE))
    plant(store, whole(FILE))
    assert fresh(store).read(blob(FILE)) == FILE


def test_a_chunk_is_never_itself_a_list(store: Store) -> None:
    """A list that names itself, and a list of lists, end in an error instead of a recursion."""
    own = blob(b"12345")
    plant(store, list_frame(ChunkList(0, ((own, 5),)), own, 5))
    with pytest.raises(Corrupt, match="itself stored as chunks"):
        store.objects.read(own)
    halves = [FILE[:1000], FILE[1000:]]
    quarters = [halves[0][:500], halves[0][500:]]
    plant(store, whole(halves[1]), *map(whole, quarters), listed(quarters), listed(halves))
    assert store.objects.read(blob(halves[0])) == halves[0]
    with pytest.raises(Corrupt, match="itself stored as chunks"):
        store.objects.read(blob(FILE))


def test_lengths_in_a_list_must_be_true(store: Store) -> None:
    """Of each chunk, and of the whole."""
    plant(store, *map(whole, CHUNKS))
    wrong = ChunkList(0, ((blob(CHUNKS[0]), len(CHUNKS[0]) + 1), (blob(CHUNKS[1]), len(CHUNKS[1]) - 1)))
    both = b"".join(CHUNKS[:2])
    plant(store, list_frame(wrong, blob(both), len(both)))
    with pytest.raises(Corrupt, match="as long"):
        store.objects.read(blob(both))
    plant(store, listed(CHUNKS[2:], size=77))
    with pytest.raises(Corrupt, match="length"):
        store.objects.read(blob(b"".join(CHUNKS[2:])))


def test_a_hole_has_the_length_that_its_list_says(store: Store) -> None:
    """What is known without being read is checked as what is read."""
    zeros = bytes(layout.CHUNK_MAX)
    plant(store, whole(zeros), list_frame(ChunkList(0, ((blob(zeros), 5),)), blob(zeros + b"x"), 5))
    plant(store, whole(b"x"))
    with pytest.raises(Corrupt):
        store.objects.read(blob(zeros + b"x"))
    wrong = ChunkList(0, ((blob(zeros), 5), (blob(b"x"), 1)))
    plant(store, list_frame(wrong, blob(zeros + b"x"), 6))
    with pytest.raises(Corrupt, match="as long"):
        store.objects.read(blob(zeros + b"x"))


SHARED = [b"%d" % n * 4000 for n in range(4)]  # of one length; together they are one frame


@pytest.mark.parametrize(
    "order",
    [
        (0, 1),
        (0, 1, 2),
        (2, 3),
        (1, 2),
        (3, 2, 1, 0),
        (0, 0, 1, 2),
        (0, 1, 2, 3),
        (0, 1, 2, 3, 0),
        (1, 1, 1, 1),
    ],
)
def test_of_a_shared_frame_only_what_is_asked_for_is_given(store: Store, order: tuple[int, ...]) -> None:
    """Its beginning, its end, its middle, its members in another order or twice: then what follows in the file."""
    header, stored = encode(Kind.BLOB, b"".join(SHARED))
    plant(store, (header, bytes(stored), [(blob(chunk), len(chunk)) for chunk in SHARED]))
    chunks = [*(SHARED[n] for n in order), CHUNKS[0], *(SHARED[n] for n in order)]
    plant(store, whole(CHUNKS[0]), listed(chunks))
    content = b"".join(chunks)
    objects = fresh(store)
    # As a writer that has hashed the whole: nothing else is compared any more than what each chunk is.
    objects.trust_list(blob(content), ChunkList(0, tuple((blob(c), len(c)) for c in chunks)).encode())
    assert objects.read(blob(content)) == content
    assert objects.read(blob(content)) == content


def paged(chunks: list[bytes], *, level: int = 0, wrong: int = 0) -> list[Frame]:
    """A list in two pages, with the pages; `level` and `wrong` make the pages lie."""
    pages = [ChunkList(level, tuple((blob(c), len(c)) for c in part)) for part in (chunks[:2], chunks[2:])]
    top = ChunkList(1, tuple((hash_object(Kind.CHUNKS, p.encode()), p.size + wrong) for p in pages))
    content = b"".join(chunks)
    frames = [whole(p.encode(), kind=Kind.CHUNKS) for p in pages]
    return [*frames, list_frame(top, blob(content), len(content) + 2 * wrong)]


def test_a_paged_list_is_followed(store: Store) -> None:
    """Pages of a list, as files over two gigabytes have them."""
    plant(store, *map(whole, CHUNKS), *paged(CHUNKS))
    assert store.objects.read(blob(FILE)) == FILE
    assert store.objects.read_range(blob(FILE), 1500, 900) == FILE[1500:2400]
    place = store.objects.locate(blob(FILE))[0]
    assert [i for i, _ in store.objects.chunks(place)] == [blob(c) for c in CHUNKS]


@pytest.mark.parametrize("lie", [{"level": 1}, {"wrong": 1}])
def test_a_page_that_is_not_what_the_list_says_is_refused(store: Store, lie: dict[str, int]) -> None:
    """A page of pages, or one of another length."""
    plant(store, *map(whole, CHUNKS), *paged(CHUNKS, **lie))
    with pytest.raises(Corrupt, match="page"):
        store.objects.read(blob(FILE))


def test_a_list_that_repeats_a_page_is_read_page_by_page(store: Store) -> None:
    """A few kilobytes that name a petabyte: the first pieces come at once, and memory stays what it was."""
    chunk = bytes(layout.CHUNK_MAX)
    page = ChunkList(0, ((blob(chunk), len(chunk)),) * 16_000)
    top = ChunkList(1, ((hash_object(Kind.CHUNKS, page.encode()), page.size),) * 100_000)
    lie = blob(b"petabyte")
    plant(store, whole(chunk), whole(page.encode(), kind=Kind.CHUNKS), list_frame(top, lie, top.size))
    pieces = store.objects.stream(lie)
    assert [len(next(pieces)) for _ in range(20)] == [len(chunk)] * 20


def test_a_blob_without_a_chunk_below_its_pages_is_not_complete(store: Store) -> None:
    """All pages are there, and yet a writer that took it for stored would lose the file."""
    plant(store, *map(whole, CHUNKS[1:]), *paged(CHUNKS))
    assert not fresh(store).complete(blob(FILE))
    plant(store, whole(CHUNKS[0]))
    assert fresh(store).complete(blob(FILE))


# --- packs that come and go ----------------------------------------------------------------------------------------


def test_packs_that_are_merged_under_a_reader_are_found_again(store: Store) -> None:
    """The pack that was read from vanishes, with its file closed and open, and its objects are in another."""
    first = plant(store, *map(whole, SMALL))
    objects = fresh(store)
    assert objects.read(blob(SMALL[0])) == SMALL[0]
    for close in (False, True):
        second = plant(store, *map(whole, SMALL), whole(b"%d" % close))
        (store.root / layout.pack_path(first)).unlink()
        if close:
            objects.close()
        assert [objects.read(blob(c)) for c in SMALL] == SMALL
        first = second


def test_a_stream_survives_that_its_packs_are_merged(store: Store) -> None:
    """Chunk by chunk, while the packs go away under it."""
    packs = [plant(store, whole(chunk)) for chunk in CHUNKS]
    plant(store, listed(CHUNKS))
    objects = fresh(store)
    pieces = objects.stream(blob(FILE))
    got = [next(pieces)]
    plant(store, *map(whole, CHUNKS))
    for pack_id in packs:
        (store.root / layout.pack_path(pack_id)).unlink()
    objects.close()
    assert b"".join([*got, *pieces]) == FILE


def test_an_object_whose_last_pack_is_gone_is_not_found(store: Store) -> None:
    """The error ends the search: no endless looking again."""
    pack_id = plant(store, *map(whole, SMALL))
    objects = fresh(store)
    objects.refresh()
    objects.close()
    (store.root / layout.pack_path(pack_id)).unlink()
    with pytest.raises(NotFound):
        objects.read(blob(SMALL[0]))


def test_a_name_without_a_file_behind_it_is_not_looked_for_for_ever(store: Store) -> None:
    """A pack that is listed but cannot be opened: an error, not a recursion."""
    pack_id = plant(store, *map(whole, SMALL))
    objects = fresh(store)
    objects.refresh()
    objects.close()
    path = store.root / layout.pack_path(pack_id)
    path.unlink()
    path.symlink_to("nowhere")
    with pytest.raises(StoreError):
        objects.read(blob(SMALL[0]))


def test_a_pack_that_is_taken_twice_is_one(store: Store) -> None:
    """Two processes may publish the same pack; there is still one copy."""
    pack_id = plant(store, *map(whole, SMALL))
    objects = fresh(store)
    objects.add(pack_id, objects.footer(pack_id))
    assert len(objects.locate(blob(SMALL[0]))) == 1


def test_few_packs_are_open_at_once(store: Store) -> None:
    """However many there are: a process may open 1,024 files, and some only 256."""
    contents = [b"pack %d" % n for n in range(150)]
    for content in contents:
        plant(store, whole(content))
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    objects = fresh(store)
    assert [objects.read(blob(c)) for c in contents] == contents
    if before:
        assert len(os.listdir("/proc/self/fd")) - before <= 70
    objects.close()
    assert [objects.read(blob(c)) for c in contents[:3]] == contents[:3]


def test_threads_may_share_a_reader(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four threads read from more packs than are kept open, while packs are merged: every read is right."""
    monkeypatch.setattr("objstore.objects._OPEN_MAX", 3)
    contents = [b"thread content %d" % n * 9 for n in range(40)]
    packs = [plant(store, whole(content)) for content in contents]
    objects = fresh(store)
    wrong: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            for content in random.Random(seed).choices(contents, k=150):
                assert objects.read(blob(content)) == content
        except BaseException as error:
            wrong.append(error)
            raise

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    plant(store, *map(whole, contents))
    for pack_id in packs[::2]:
        (store.root / layout.pack_path(pack_id)).unlink()
    for thread in threads:
        thread.join(60)
    assert wrong == []


@settings(max_examples=30)
@given(st.binary(max_size=300))
def test_an_arbitrary_file_under_a_packs_name_is_named(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    """It is no pack, and the others are read."""
    store = Store.create(tmp_path_factory.mktemp("arbitrary") / "store")
    plant(store, whole(b"good"))
    path = store.root / layout.pack_path("ab" * 32)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    assert store.objects.read(blob(b"good")) == b"good"
    assert list(store.objects.damaged) == [layout.pack_path("ab" * 32)]


def test_a_pack_that_is_gone_has_no_footer(store: Store) -> None:
    """Also where it was read before: what it held is elsewhere, or nowhere."""
    pack_id = plant(store, whole(b"x"))
    objects = fresh(store)
    assert objects.footer(pack_id).objects
    (store.root / layout.pack_path(pack_id)).unlink()
    objects.refresh()
    with pytest.raises(NotFound, match="is not in this store"):
        objects.footer(pack_id)


def test_a_copy_that_was_found_damaged_is_sound_no_more(store: Store) -> None:
    """It was when a writer looked; since then a reader has met the damage."""
    content = random.Random(1).randbytes(500)
    pack_id = plant(store, whole(content))
    objects = fresh(store)
    assert objects.sound(blob(content)) == pack_id
    spoil(store, pack_id, content)
    with pytest.raises(Corrupt):
        objects.read(blob(content))
    assert objects.sound(blob(content)) is None


def test_frames_that_are_kept_take_little_memory(store: Store) -> None:
    """Sixteen MiB of them, however many are read."""
    contents = [bytes([n]) * (layout.MIB - 10) for n in range(40)]
    plant(store, *map(whole, contents))
    objects = fresh(store)
    objects.refresh()
    tracemalloc.start()
    for content in contents:
        assert objects.read(blob(content)) == content
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert kept < 24 * layout.MIB


@pytest.mark.parametrize("known", ["", "import concurrent.futures.thread"])
def test_a_large_object_can_be_read_while_the_interpreter_ends(tmp_path: Path, known: str) -> None:
    """No thread starts any more then, and what starts them cannot be imported: the work is done without."""
    store = Store.create(tmp_path / "store")
    with store.begin() as transaction:
        object_id = transaction.put_bytes(random.Random(1).randbytes(20 * MIB))
    script = f"""
import atexit
{known}
from pathlib import Path
from objstore.ids import ObjectId
from objstore.store import Store
def late():
    print(sum(map(len, Store.open(Path("store")).objects.stream(ObjectId.parse("{object_id}")))))
atexit.register(late)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert (done.stdout, done.stderr) == (f"{20 * MIB}\n", "")


@pytest.mark.parametrize("was_sound", [True, False])
def test_a_pack_that_comes_back_is_looked_at_anew(store: Store, tmp_path: Path, was_sound: bool) -> None:
    """Out of the trash comes a file that may have been damaged there, or healed: an old check says nothing of it."""
    content = b"kept " * 4
    pack_id = plant(store, whole(content))
    path = store.root / layout.pack_path(pack_id)
    shutil.copy(path, tmp_path / "sound")
    spoil(store, pack_id, content)
    shutil.copy(path, tmp_path / "damaged")
    before, after = ("sound", "damaged") if was_sound else ("damaged", "sound")
    shutil.copy(tmp_path / before, path)
    objects = Objects(store.root)
    assert (objects.sound(blob(content)) == pack_id) is was_sound
    path.rename(tmp_path / "trash")
    objects.refresh()
    (tmp_path / after).rename(path)
    objects.refresh()
    assert (objects.sound(blob(content)) == pack_id) is not was_sound


def test_a_copy_whose_pack_is_gone_is_not_sound(store: Store) -> None:
    """It was merged away or collected since the last look: no error, and no copy to rely on."""
    pack_id = plant(store, whole(b"x"))
    objects = fresh(store)
    objects.refresh()
    (store.root / layout.pack_path(pack_id)).unlink()
    objects.close()
    assert objects.sound(blob(b"x")) is None


def test_footers_that_are_kept_are_few(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million objects' would be hundreds of MiB."""
    monkeypatch.setattr("objstore.objects._FOOTERS_KEPT", 4)
    for n in range(5):
        plant(store, whole(b"%d" % n))
    objects = fresh(store)
    assert len(dict(objects.footers())) == 5
    assert len(objects._footers) == 2


def test_packs_that_are_merged_away_faster_than_they_are_opened_are_followed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six times in a row the pack that was found is gone when it is opened, and its object in another one."""
    plant(store, whole(b"wanted"))
    objects = fresh(store)
    objects.refresh()
    objects.close()
    opened: list[str] = []
    real = os.open

    def opening(path: str | Path, flags: int, mode: int = 0o777, **more: int) -> int:
        if str(path).endswith(".pack") and len(opened) < 6:
            opened.append(str(path))
            monkeypatch.setattr(os, "open", real)
            plant(store, whole(b"wanted"), whole(b"%d" % len(opened)))
            os.unlink(path)
            objects.refresh()
            objects.close()
            monkeypatch.setattr(os, "open", opening)
        return real(path, flags, mode, **more)

    monkeypatch.setattr(os, "open", opening)
    assert objects.read(blob(b"wanted")) == b"wanted"
    assert len(opened) == 6


def test_lists_that_are_kept_are_few(store: Store) -> None:
    """Of a hundred files of which ranges were read, those of the last four."""
    for n in range(6):
        plant(store, *map(whole, CHUNKS), whole(b"%d" % n), listed([*CHUNKS, b"%d" % n]))
    for n in range(6):
        assert store.objects.read_range(blob(FILE + b"%d" % n), 10, 10) == FILE[10:20]
    assert len(store.objects._maps) == 4
