"""Stores made to hurt whoever reads them, through the public API: an error, at a price that does not depend on the lie.

Each is read in a process of its own, whose memory is measured: below 200 MiB, the interpreter included. Seconds are in
tests/benchmarks/hostile.py; here a reader may only not go on for ever.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zstandard

from objstore import files, layout, trees
from objstore.errors import Corrupt, InvalidName, StoreError
from objstore.frame import Encoding, FrameHeader, encode_list
from objstore.heads import Head, Heads, Table, living
from objstore.ids import Kind, ObjectId, hash_bytes, hash_object
from objstore.objects import Objects
from objstore.pack import Footer, PackWriter
from objstore.records import ChunkList, Commit, Mode, Tree, TreeEntry, canonical
from objstore.remotes.folder import FolderRemote
from objstore.store import Store
from tests.scripts import CHECKOUT

MEMORY_MAX = 200  # MiB of a reading process
CPU_MAX = 60  # seconds after which a reader is taken to go on for ever
KEY = "0123456789abcdef" * 2
COMMIT = Commit(KEY, ("task", "p", "n"), (), 1, 1, ObjectId(bytes(32)), {"w": 1})
Frame = tuple[FrameHeader, bytes, list[tuple[ObjectId, int]]]

READER = """
import json, resource, sys, tempfile
resource.setrlimit(resource.RLIMIT_CPU, (int(sys.argv[1]), int(sys.argv[1])))
from pathlib import Path
from objstore.errors import StoreError
from objstore.ids import ObjectId
from objstore.store import Store
from objstore import files
store = Store.open(Path(sys.argv[2]))
wanted = ObjectId.parse(sys.argv[3])
result = "read"
try:
{action}
except (StoreError, OSError) as error:
    result = f"{{type(error).__name__}}: {{error}}"
peak = int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) / 1024
print(json.dumps({{"result": result, "mib": peak}}))
"""
ACTIONS = {
    "read": "    store.objects.read(wanted)",
    "stream": "    assert sum(map(len, store.objects.stream(wanted))) > 0",
    "range": "    store.objects.read_range(wanted, 0, 10)",
    "get": "    store.get(wanted, Path(sys.argv[2]) / 'out')",
    "list": "    files.list_tree(store.objects, wanted)",
    "heads": "    store.heads.live(); result = '; '.join(store.heads.damaged.values()) or 'read'",
    "fsck": "    found = store.fsck(); result = '; '.join(p.what for p in found.problems) or 'clean'",
}
needs_proc = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="memory is measured with /proc"
)


def outcome(store: Store, wanted: ObjectId, action: str) -> str:
    """What a new process makes of an object; fails where that takes too much memory, or for ever."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            READER.format(action=ACTIONS[action]),
            str(CPU_MAX),
            str(store.root),
            str(wanted),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["mib"] < MEMORY_MAX, found
    return str(found["result"])


def plant(store: Store, *frames: Frame) -> None:
    """Put a pack of these frames into a store, past all that would refuse a lie."""
    writer = PackWriter(store.root / "tmp" / os.urandom(8).hex())
    for frame in frames:
        writer.add(*frame)
    pack_id, _ = writer.finish()
    target = store.root / layout.pack_path(pack_id)
    target.parent.mkdir(exist_ok=True)
    writer.path.rename(target)


def put_tree_record(store: Store, record: bytes) -> ObjectId:
    """A tree by its bytes, whatever they are."""
    tree_id = hash_object(Kind.TREE, record)
    header = FrameHeader(Kind.TREE, Encoding.RAW, (0, 0), len(record), len(record))
    plant(store, (header, record, [(tree_id, len(record))]))
    return tree_id


# --- content that grows ------------------------------------------------------------------------------------------


def squeezed(content: bytes) -> bytes:
    """A zstd frame that says nothing of its size."""
    stream = zstandard.ZstdCompressor(level=1, write_content_size=False).compressobj()
    return stream.compress(content) + stream.flush()


def bomb(kind: str) -> tuple[FrameHeader, bytes]:
    """A frame that holds 512 MiB of zeros, and says that it holds 1 MiB, in one encoding."""
    stream = zstandard.ZstdCompressor(level=1, write_content_size=False).compressobj()
    zeros = bytes(layout.MIB)
    stored = b"".join([*(stream.compress(zeros) for _ in range(512)), stream.flush()])
    if kind == "zstd":
        return FrameHeader(Kind.BLOB, Encoding.ZSTD, (0, 0), layout.MIB, len(stored)), stored
    if kind == "list":
        return FrameHeader(Kind.BLOB, Encoding.LIST, (1, 0), layout.MIB, len(stored)), stored
    plane = b"\x01\0\0\0" + len(stored).to_bytes(4, "little") + stored
    raw = bytes(8) + bytes(8)
    payload = plane + b"\x01\0\0\0" + len(squeezed(raw)).to_bytes(4, "little") + squeezed(raw)
    return FrameHeader(Kind.BLOB, Encoding.PLANES, (2, 0), layout.MIB, len(payload)), payload


@needs_proc
@pytest.mark.parametrize("kind", ["zstd", "list", "planes"])
def test_a_bomb_is_left_off_at_the_size_that_it_admits(store: Store, kind: str) -> None:
    """In each encoding that can grow: half a GiB behind a header of one MiB is not decoded to its end."""
    header, stored = bomb(kind)
    wanted = hash_object(Kind.BLOB, b"whatever")
    plant(store, (header, stored, [(wanted, layout.MIB)]))
    for action in ("read", "get"):
        assert "more than the" in outcome(store, wanted, action)
    assert "more than the" in outcome(store, wanted, "fsck")


def test_a_header_may_not_claim_more_than_zstd_can_give() -> None:
    """40,000 for one, and 16 MiB in any case, before anything is decoded or allocated."""
    FrameHeader(Kind.BLOB, Encoding.ZSTD, (0, 0), 16 * layout.MIB, 16 * layout.MIB // 40_000)
    for raw, stored in ((16 * layout.MIB, 300), (16 * layout.MIB + 1, layout.MIB), (1 << 63, layout.MIB)):
        for encoding, parameters in ((Encoding.ZSTD, (0, 0)), (Encoding.PLANES, (4, 0))):
            with pytest.raises(Corrupt, match="claims"):
                FrameHeader(Kind.BLOB, encoding, parameters, raw, stored)


@needs_proc
def test_heads_that_grow_out_of_a_table_are_refused(store: Store) -> None:
    """A table whose few bytes claim a hundred MiB of heads, and whose rows agree."""
    heads = squeezed(bytes(100 * layout.MIB))
    rows = b"".join(
        bytes(15)
        + bytes([n])
        + bytes(32)
        + (n * 10 * layout.MIB).to_bytes(8, "little")
        + (10 * layout.MIB).to_bytes(4, "little")
        for n in range(10)
    )
    info = {"covers": [], "dropped": {}, "heads_size": 100 * layout.MIB, "heads_stored": len(heads), "v": 1}
    head = b"OSTB\x01\0\0\0" + b"".join(n.to_bytes(4, "little") for n in (len(canonical(info)), 10, 0))
    data = head + canonical(info) + rows + heads
    with pytest.raises(Corrupt, match="claims 104857600 bytes"):
        Table.decode(data, hash_bytes(data).hex())
    store.publish_bytes(layout.table_path(hash_bytes(data).hex()), data)
    assert "claims 104857600 bytes" in outcome(store, ObjectId(bytes(32)), "heads")


# --- trees -------------------------------------------------------------------------------------------------------


def doubling(store: Store, times: int, leaf: Mode = Mode.FILE) -> TreeEntry:
    """A folder that holds one folder twice, which holds one folder twice, and so on: 2^times files out of a few KiB."""
    with store.begin() as transaction:
        content = transaction.put_bytes(b"x")
        below = TreeEntry("file", leaf, content, 1)
        for _ in range(times):
            tree, size = files.put_tree(transaction, [replace(below, name=name) for name in "ab"])
            below = TreeEntry("", Mode.TREE, tree, size)
    return below


@needs_proc
def test_a_few_trees_cannot_fill_a_disk_with_files(store: Store) -> None:
    """2^50 files of a byte each: refused before the first is written."""
    tree = doubling(store, 50).id
    assert "more than 16777216 files" in outcome(store, tree, "get")
    assert not (store.root / "out").exists()
    assert not [name for name in os.listdir(store.root) if name.endswith(".part")]


def test_a_tree_that_is_named_often_is_looked_at_once(store: Store) -> None:
    """Sixteen thousand files are known by sixteen records."""
    tree = doubling(store, 14).id
    reads: list[ObjectId] = []

    class Counted(Objects):
        def read(self, object_id: ObjectId, kind: Kind = Kind.BLOB, *, limit: int | None = None) -> bytes:
            reads.append(object_id)
            return super().read(object_id, kind, limit=limit)

    found = trees.survey(Counted(store.root), tree)
    assert (found.names, found.size, found.height) == (2**15 - 2, 2**14, 13)
    assert len(reads) == 14


def test_a_link_is_judged_wherever_its_folder_is_named(store: Store, tmp_path: Path) -> None:
    """A folder that is fine one level down is refused where it stands at the top, though it was looked at before."""
    with store.begin() as transaction:
        target = transaction.put_bytes(b"../../x")
        inner, _ = files.put_tree(transaction, [TreeEntry("up", Mode.LINK, target, 7)])
        deep, _ = files.put_tree(transaction, [TreeEntry("inner", Mode.TREE, inner, 7)])
        fine, _ = files.put_tree(transaction, [TreeEntry("deep", Mode.TREE, deep, 7)])
        rows = [TreeEntry("a", Mode.TREE, deep, 7), TreeEntry("b", Mode.TREE, inner, 7)]
        bad, _ = files.put_tree(transaction, rows)
    files.checkout(store.objects, fine, tmp_path / "fine")
    for refused in (trees.survey, lambda objects, tree: files.checkout(objects, tree, tmp_path / "bad")):
        with pytest.raises(InvalidName, match="outside"):
            refused(store.objects, bad)


def test_a_folder_is_as_deep_as_its_deepest_use(store: Store, tmp_path: Path) -> None:
    """Forty levels below thirty others are too many, though they were looked at first where they were not."""
    with store.begin() as transaction:
        tall, size = files.put_tree(transaction, [])
        for _ in range(40):
            tall, size = files.put_tree(transaction, [TreeEntry("d", Mode.TREE, tall, size)])
        long = tall
        for _ in range(30):
            long, size = files.put_tree(transaction, [TreeEntry("d", Mode.TREE, long, size)])
        rows = [TreeEntry("a", Mode.TREE, tall, 0), TreeEntry("b", Mode.TREE, long, 0)]
        tree, _ = files.put_tree(transaction, rows)
    with pytest.raises(Corrupt, match="deeper than 64"):
        files.checkout(store.objects, tree, tmp_path / "out")


def test_nothing_is_written_of_a_tree_that_goes_wrong_at_its_end(store: Store, tmp_path: Path) -> None:
    """The last name decides before the first file is there: no half a folder, no work for a lie."""
    with store.begin() as transaction:
        content = transaction.put_bytes(b"content")
        names = [*(f"{n:03}" for n in range(300)), "con"]
        tree, _ = files.put_tree(transaction, [TreeEntry(n, Mode.FILE, content, 7) for n in names])
    made: list[str] = []

    class Watched(Objects):
        def stream(self, object_id: ObjectId, kind: Kind = Kind.BLOB) -> Any:
            made.append(str(object_id))
            return super().stream(object_id, kind)

    objects = Watched(store.root)
    with pytest.raises(InvalidName, match="reserved"):
        files.checkout(objects, tree, tmp_path / "out")
    assert str(content) not in made


def million(store: Store, last: str) -> ObjectId:
    """A folder of a million files of one byte, the last with a name of the caller's."""
    content = str(hash_object(Kind.BLOB, b"x"))
    names = [*(f"name {n:07}" for n in range(999_999)), last]
    tops = []
    with store.begin() as transaction:
        transaction.put_bytes(b"x")
        for start in range(0, len(names), layout.TREE_PAGE_MAX):
            page = names[start : start + layout.TREE_PAGE_MAX]
            rows = [[name, "file", content, 1] for name in page]
            page_id = transaction.put(Kind.TREE, canonical({"entries": rows, "v": 1}))
            tops.append(TreeEntry(page[0], Mode.PAGE, page_id, len(page)))
        return transaction.put(Kind.TREE, Tree(tuple(tops)).encode())


@needs_proc
@pytest.mark.slow
def test_a_million_names_are_looked_over_page_by_page(store: Store) -> None:
    """Memory holds a page and some bytes for each name, and the last of them decides."""
    assert "ends with a dot or a space" in outcome(store, million(store, "name 999999 "), "get")


def test_twins_are_found_across_pages(store: Store) -> None:
    """The first name of a folder and the last of its last page, one in other letters."""
    with store.begin() as transaction:
        content = transaction.put_bytes(b"x")
        names = ["NAME 00001", *(f"name {n:05}" for n in range(20_001))]
        rows = [TreeEntry(name, Mode.FILE, content, 1) for name in names]
        tree, _ = files.put_tree(transaction, rows)
        fine, _ = files.put_tree(transaction, rows[1:])
    assert trees.survey(store.objects, fine).names == 20_001
    with pytest.raises(InvalidName, match="'name 00001' and 'NAME 00001' are one name"):
        trees.survey(store.objects, tree)


def test_pages_that_repeat_are_refused(store: Store) -> None:
    """A folder of pages that are one page, each named as it begins: no name may come twice."""
    with store.begin() as transaction:
        content = transaction.put_bytes(b"x")
        page, size = files.put_tree(transaction, [TreeEntry("a", Mode.FILE, content, 1)])
        rows = [TreeEntry(name, Mode.PAGE, page, size) for name in ("a", "b")]
        tree = transaction.put(Kind.TREE, Tree(tuple(rows)).encode())
    with pytest.raises(Corrupt, match="not what the tree says"):
        list(trees.entries(store.objects, tree))


def test_a_file_that_goes_on_is_left_off(store: Store, tmp_path: Path) -> None:
    """Its tree says six bytes, and the store has nine MiB: no more than a piece of it reaches the disk."""
    content = random.Random(1).randbytes(64) * (9 * layout.MIB // 64)
    with store.begin() as transaction:
        blob = transaction.put_bytes(content)
        tree, _ = files.put_tree(transaction, [TreeEntry("a", Mode.FILE, blob, 6)])
    pieces: list[int] = []

    class Counted(Objects):
        def stream(self, object_id: ObjectId, kind: Kind = Kind.BLOB) -> Any:
            for piece in super().stream(object_id, kind):
                pieces.append(len(piece))
                yield piece

    with pytest.raises(Corrupt, match="has not the 6 bytes"):
        files.checkout(Counted(store.root), tree, tmp_path / "out")
    assert sum(p for p in pieces if p > 1000) <= layout.CHUNK_MAX


@needs_proc
@pytest.mark.parametrize("depth", [100, 10_000])
def test_values_nested_in_a_record_are_refused(store: Store, depth: int) -> None:
    """Ten thousand lists in one another, in a tree."""
    record = b'{"entries":' + b"[" * depth + b"]" * depth + b',"v":1}'
    assert (
        "damaged entry" in (found := outcome(store, put_tree_record(store, record), "list"))
        or "JSON" in found
    )


@needs_proc
@pytest.mark.parametrize(
    "inner",
    [b"[]", b"{}", b'{"":0}', b"0", b'""', '"€"'.encode()],
    ids=["lists", "dicts", "entries", "numbers", "texts", "wide texts"],
)
def test_a_record_of_nothing_but_values_is_refused_before_it_is_parsed(store: Store, inner: bytes) -> None:
    """As many as go into 3.5 MiB would take hundreds; those of 16 MiB half a GiB."""
    for size in (layout.JSON_MAX, layout.RECORD_MAX):
        count = (size - 100) // (len(inner) + 1)
        record = b'{"entries":[' + b",".join([inner] * count) + b'],"v":1}'
        assert "more than the" in outcome(store, put_tree_record(store, record), "list")


def test_names_that_are_one_are_found_in_different_pages(store: Store) -> None:
    """Each page is looked at by itself first; two names of which only the hashes are equal would not be refused."""
    blob = hash_object(Kind.BLOB, b"x")
    with store.begin() as transaction:
        parts = [
            (names[0], *files.put_tree(transaction, [TreeEntry(n, Mode.FILE, blob, 1) for n in names]))
            for names in (["A", "B"], ["C", "a"])
        ]
        tree = transaction.put(
            Kind.TREE, Tree(tuple(TreeEntry(n, Mode.PAGE, i, s) for n, i, s in parts)).encode()
        )
    with pytest.raises(InvalidName, match="'a' and 'A' are one name"):
        trees.survey(store.objects, tree)


# --- chunk lists -------------------------------------------------------------------------------------------------


def petabyte(store: Store) -> tuple[ObjectId, int]:
    """A blob that claims 2^50 bytes: one chunk, named 16,384 times in a page that is named 131,072 times."""
    chunk = bytes(layout.CHUNK_MAX)
    with store.begin() as transaction:
        chunk_id = transaction.put_bytes(chunk)
        page = ChunkList(0, ((chunk_id, len(chunk)),) * layout.LIST_PAGE_MAX)
        page_id = transaction.put(Kind.CHUNKS, page.encode())
    top = ChunkList(1, ((page_id, page.size),) * layout.LIST_PAGES_MAX)
    assert top.size == layout.RAW_MAX
    header, stored = encode_list(top.encode(), top.size)
    wanted = hash_object(Kind.BLOB, b"a pebibyte")
    plant(store, (header, stored, [(wanted, top.size)]))
    return wanted, top.size


@needs_proc
def test_a_pebibyte_out_of_a_few_kilobytes_costs_nobody_anything(store: Store, tmp_path: Path) -> None:
    """No disk is filled with it, and no range, check or pull sets out to read it."""
    wanted, size = petabyte(store)
    assert sum(p.stat().st_size for p in (store.root / "packs").rglob("*.pack")) < 100_000
    free = outcome(store, wanted, "get")
    assert "do not fit" in free
    assert str(size) in free
    assert "was not read" in outcome(store, wanted, "range")
    assert "was not read" in outcome(store, wanted, "fsck")
    with store.begin() as transaction:
        tree, _ = files.put_tree(transaction, [TreeEntry("huge", Mode.FILE, wanted, size)])
        transaction.commit(replace(COMMIT, state=tree))
    other = Store.create(tmp_path / "other")
    remote = tmp_path / "remote"
    for name in ("packs", "refs"):
        remote.mkdir(exist_ok=True)
        (remote / name).symlink_to(store.root / name)
    (remote / "format").write_bytes((store.root / "format").read_bytes())
    with pytest.raises(StoreError):
        other.pull(FolderRemote(remote))
    assert other.heads.live() == {}


@needs_proc
def test_a_stream_takes_no_more_memory_for_a_longer_list(store: Store) -> None:
    """Eight GiB out of one chunk: read piece by piece, and wrong at its end."""
    chunk = bytes(layout.CHUNK_MAX)
    with store.begin() as transaction:
        chunk_id = transaction.put_bytes(chunk)
    listed = ChunkList(0, ((chunk_id, len(chunk)),) * 2000)
    header, stored = encode_list(listed.encode(), listed.size)
    wanted = hash_object(Kind.BLOB, b"a GiB")
    plant(store, (header, stored, [(wanted, listed.size)]))
    assert "does not make up" in outcome(store, wanted, "stream")


def test_a_list_of_a_million_pages_is_refused() -> None:
    """More than the greatest file has, by its reader and by its writer."""
    one = (ObjectId(bytes(32)), 1)
    ChunkList(1, (one,) * layout.LIST_PAGES_MAX).encode()
    many = ChunkList(1, (one,) * (layout.LIST_PAGES_MAX + 1))
    with pytest.raises(StoreError, match="store it in parts"):
        many.encode()
    head = b"OSCL\x01\x01\0\0" + (layout.LIST_PAGES_MAX + 1).to_bytes(4, "little")
    with pytest.raises(Corrupt, match="131073 entries"):
        ChunkList.decode(head + (bytes(32) + (1).to_bytes(8, "little")) * (layout.LIST_PAGES_MAX + 1))


# --- packs -------------------------------------------------------------------------------------------------------


def test_a_footer_that_lists_too_much_is_refused_before_it_is_parsed() -> None:
    """By its length alone, and a writer ends its pack before."""
    with pytest.raises(Corrupt, match="over the limit"):
        Footer.decode(b"OSPF\x01\0\0\0" + bytes(layout.FOOTER_MAX))


def test_a_writer_ends_its_pack_before_the_footer_is_too_long(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many small objects become several packs, each of which can be read; one frame too many is refused."""
    monkeypatch.setattr(layout, "FOOTER_MAX", 1_000_000)
    monkeypatch.setattr(layout, "FOOTER_FULL", 10_000)
    contents = [os.urandom(20) for _ in range(20_000)]
    with store.begin() as transaction:
        ids = [transaction.put_bytes(content) for content in contents]
    packs = list((store.root / "packs").rglob("*.pack"))
    assert len(packs) > 3
    assert [Objects(store.root).read(i) for i in ids[:: len(ids) // 7]] == contents[:: len(ids) // 7]
    writer = PackWriter(store.root / "tmp" / "x")
    tiny = FrameHeader(Kind.BLOB, Encoding.RAW, (0, 0), 1, 1), b"x", [(hash_object(Kind.BLOB, b"x"), 1)]
    for _ in range(1_000_000 // 112):
        writer.add(*tiny)
    with pytest.raises(StoreError, match="begin another"):
        writer.add(*tiny)
    writer.discard()


# --- heads -------------------------------------------------------------------------------------------------------


def head(covers: dict[str, int], generation: int = 1) -> Head:
    """A head of one key."""
    commit = replace(COMMIT, covers=covers, generation=generation)
    return Head(KEY, commit.id, commit.encode(), "refs/x/y")


def test_a_thousand_heads_that_all_live_are_refused_and_a_thousand_dead_ones_are_not() -> None:
    """The square of their number is not spent on what no run can leave."""
    assert len(living([head({f"w{n}": 1}) for n in range(200)])) == 200
    with pytest.raises(Corrupt, match="each hold what no other does"):
        living([head({f"w{n}": 1}) for n in range(1000)])
    assert len(living([head({"w": n}, n) for n in range(1, 1000)])) == 1


def test_covers_of_many_writers_count_as_much_as_they_cost() -> None:
    """Twenty heads of ten thousand writers are as much work as many of one."""
    many = {f"w{n}": 1 for n in range(30_000)}
    with pytest.raises(Corrupt, match="each hold what no other does"):
        living([head({**many, f"x{n}": 1}) for n in range(20)])


def test_a_key_that_cannot_be_sorted_out_hides_nothing_else(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named as damage, so that nothing is deleted on its account; all other keys are shown."""
    monkeypatch.setattr(layout, "COVERS_MAX", 100)
    hostile = [head({f"w{n}": 1}) for n in range(30)]
    other = replace(COMMIT, key="ab" * 16)
    table = Table((*hostile, Head(other.key, other.id, other.encode(), ""))).encode()
    store.publish_bytes(layout.table_path(hash_bytes(table).hex()), table)
    heads = Heads(store.root)
    assert set(heads.live()) == {other.key}
    assert "each hold what no other does" in " ".join(heads.damaged.values())


def test_a_remote_with_such_a_key_gives_the_rest(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pull names it, and brings everything else."""
    from objstore.remotes.memory import MemoryRemote

    with store.begin() as transaction:
        tree, _ = files.put_tree(transaction, [])
        transaction.commit(replace(COMMIT, key="ab" * 16, state=tree))
    remote = MemoryRemote()
    store.push(remote)
    monkeypatch.setattr(layout, "COVERS_MAX", 100)
    table = Table(tuple(head({f"w{n}": 1}) for n in range(30))).encode()
    remote.files[layout.table_path(hash_bytes(table).hex())] = table
    other = Store.create(tmp_path / "other")
    with pytest.raises(Corrupt, match="each hold what no other does"):
        other.pull(remote)
    assert set(other.heads.live()) == {"ab" * 16}


@needs_proc
def test_a_table_full_of_heads_is_listed(store: Store) -> None:
    """Twenty thousand heads of as many keys, nearly as long together as a table can hold."""
    heads = []
    padding = "x" * 900
    for number in range(20_000):
        commit = replace(COMMIT, key=f"{number:032x}", path=("task", padding, "n"))
        heads.append(Head(commit.key, commit.id, commit.encode(), ""))
    data = Table(tuple(heads)).encode()
    store.publish_bytes(layout.table_path(hash_bytes(data).hex()), data)
    assert outcome(store, ObjectId(bytes(32)), "heads") == "read"


# --- the format file ---------------------------------------------------------------------------------------------


def opened(root: Path, change: Callable[[dict[str, Any]], None]) -> Store:
    """A store whose `format` was changed."""
    store = Store.create(root)
    record = json.loads((root / "format").read_text())
    change(record)
    (root / "format").write_text(json.dumps(record))
    store.close()
    return Store.open(root)


def named(part: str, *names: object) -> Callable[[dict[str, Any]], None]:
    """A change that names features."""

    def change(record: dict[str, Any]) -> None:
        record["features"][part] = list(names)

    return change


def test_unknown_features_take_away_rights_one_by_one(tmp_path: Path) -> None:
    """Read: all. Write: writing and deleting. gc: deleting alone; none: nothing is taken."""
    with pytest.raises(StoreError, match=r"needs time travel: update"):
        opened(tmp_path / "r", named("read", "time travel"))
    rights = {}
    for part in ("write", "gc", ""):
        change = named(part, "time travel") if part else named("gc")
        found = opened(tmp_path / (part or "none"), change)
        rights[part] = (not found.read_only, found.may_delete)
    assert rights == {"write": (False, False), "gc": (True, False), "": (True, True)}


def test_known_features_take_nothing_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What this version knows it may use, in each part; what it does not know beside it still counts."""
    monkeypatch.setattr(
        layout, "FEATURES", {part: frozenset([f"new {part}"]) for part in ("read", "write", "gc")}
    )
    for part in ("read", "write", "gc"):
        found = opened(tmp_path / part, named(part, f"new {part}"))
        assert (found.read_only, found.may_delete) == (False, True)
    assert opened(tmp_path / "both", named("write", "new write", "x")).read_only


def test_a_hostile_feature_cannot_reach_the_terminal(tmp_path: Path) -> None:
    """Names are shown escaped, and not at any length; what is no name counts as an unknown one."""
    with pytest.raises(StoreError) as caught:
        opened(tmp_path / "store", named("read", "\x1b[2J" + "x" * 10_000))
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 500
    assert opened(tmp_path / "other", named("write", 7)).read_only
