"""Yesterday's bytes: every record, file and one whole store of version 1 is read today, and written the same.

The files are in tests/golden/objstore-v1/ (one record or file each) and tests/golden/store-v1/ (a store, without the
folders that belong to one place). After a deliberate change of the format, which needs a new version
and a new folder beside the old one, run this file as a program; it writes both folders anew:

    PYTHONPATH=. python tests/objstore/test_golden.py

What holds no zstd is compared byte for byte. What zstd compressed may come out in other bytes from another version of
that library, which is no change of this format: there, ids, sizes and decoded content are compared instead.
"""

from __future__ import annotations

import json
import random
import shutil
import struct
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from objstore import files, layout
from objstore.frame import HEADER_SIZE, Encoding, FrameHeader, decode, encode, encode_list
from objstore.heads import Head, Table
from objstore.ids import Kind, ObjectId, hash_bytes, hash_object
from objstore.pack import Footer, PackWriter, parse_trailer, read_footer, trailer_size
from objstore.publish import head_file
from objstore.records import ChunkList, Commit, Mode, Tree, TreeEntry, format_bytes
from objstore.store import Store

GOLDEN = Path(__file__).parent.parent / "golden"
RECORDS = GOLDEN / "objstore-v1"
STORE = GOLDEN / "store-v1"
EXPECTED = GOLDEN / "store-v1.expected.json"

SHORT = b"raw: too short to compress"
TEXT = b"text that compresses; " * 40
KEY, OTHER = "0123456789abcdef" * 2, "fedcba9876543210" * 2


def blob(content: bytes) -> ObjectId:
    """A blob's id."""
    return hash_object(Kind.BLOB, content)


# --- single records ------------------------------------------------------------------------------------------------

TREE = Tree(
    (
        TreeEntry("A", Mode.FILE, blob(SHORT), len(SHORT)),
        TreeEntry("run.sh", Mode.EXEC, blob(TEXT), len(TEXT)),
        TreeEntry("sub", Mode.TREE, hash_object(Kind.TREE, b""), 0),
        TreeEntry("zeiger", Mode.LINK, blob(b"A"), 1),
        TreeEntry('é \\ " \x01\x7f\n', Mode.FILE, blob(b""), 0),
        TreeEntry("😀", Mode.FILE, blob(b"x"), (1 << 53) - 1),
    )
)
PAGES = Tree(
    (
        TreeEntry("000000", Mode.PAGE, hash_object(Kind.TREE, b"one"), 70000),
        TreeEntry("007123", Mode.PAGE, hash_object(Kind.TREE, b"two"), 3),
    )
)
CHUNKS = ChunkList(0, ((blob(SHORT), len(SHORT)), (blob(TEXT), len(TEXT)), (blob(SHORT), len(SHORT))))
CHUNK_PAGES = ChunkList(
    1, ((hash_object(Kind.CHUNKS, CHUNKS.encode()), CHUNKS.size), (ObjectId(b"\x07" * 32), 1 << 50))
)
COMMIT = Commit(
    key=KEY,
    path=("task", "Projekt/é", "a run"),
    parents=(ObjectId(b"\x01" * 32), ObjectId(b"\x02" * 32)),
    generation=7,
    stamp=1_700_000_000_123_456,
    state=hash_object(Kind.TREE, TREE.encode()),
    covers={"b2": 9, "a1": (1 << 53) - 1, "a1.r": 1},
    cut=1_600_000_000_000_000,
    deleted=True,
    rolling=True,
    extra={"of a later version": [None, {"kept": "as it came"}]},
)


def raw_frame(kind: Kind, raw: bytes) -> bytes:
    """A frame as its file has it."""
    return FrameHeader(kind, Encoding.RAW, (0, 0), len(raw), len(raw)).pack() + raw


def finished(writer: PackWriter) -> bytes:
    """The bytes of a pack, its folder removed."""
    writer.finish()
    data = writer.path.read_bytes()
    shutil.rmtree(writer.path.parent)
    return data


def new_pack() -> PackWriter:
    """A writer in a folder of its own, outside of the repository."""
    return PackWriter(Path(tempfile.mkdtemp()) / "pack")


def raw_pack() -> bytes:
    """A pack whose frames are all raw, one of them a chunk list."""
    writer = new_pack()
    for kind, raw in (
        (Kind.BLOB, SHORT),
        (Kind.BLOB, TEXT),
        (Kind.BLOB, b""),
        (Kind.TREE, TREE.encode()),
        (Kind.COMMIT, COMMIT.encode()),
        (Kind.CHUNKS, CHUNKS.encode()),
    ):
        header = FrameHeader(kind, Encoding.RAW, (0, 0), len(raw), len(raw))
        writer.add(header, raw, [(hash_object(kind, raw), len(raw))])
    whole = SHORT + TEXT + SHORT
    stored = CHUNKS.encode()
    header = FrameHeader(Kind.BLOB, Encoding.LIST, (0, 0), len(whole), len(stored))
    writer.add(header, stored, [(blob(whole), len(whole))])
    return finished(writer)


def footer_of(pack: bytes) -> bytes:
    """The footer of a pack."""
    length = parse_trailer(pack[-trailer_size() :])
    return pack[-trailer_size() - length : -trailer_size()]


def zstd_pack() -> bytes:
    """A pack with a group of two in a zstd frame, and a compressed chunk list."""
    writer = new_pack()
    group = [TEXT, TEXT[::-1]]
    header, stored = encode(Kind.BLOB, b"".join(group))
    writer.add(header, stored, [(blob(c), len(c)) for c in group])
    items = ((blob(TEXT), len(TEXT)),) * 50
    header, stored = encode_list(ChunkList(0, items).encode(), 50 * len(TEXT))
    writer.add(header, stored, [(blob(TEXT * 50), 50 * len(TEXT))])
    return finished(writer)


def table() -> Table:
    """A table of two heads, a claimed pack, a covered table and a dropped pack."""
    heads = [COMMIT, replace(COMMIT, key=OTHER, deleted=False)]
    footer = footer_of((RECORDS / "raw.pack").read_bytes())
    return Table(
        tuple(Head(c.key, c.id, c.encode(), "") for c in heads),
        {hash_bytes(footer).hex(): footer},
        ("ab" * 32,),
        {"cd" * 32: 1_700_000_000_000_000},
    )


EXACT = {
    "blob-raw.frame": lambda: raw_frame(Kind.BLOB, SHORT),
    "list-raw.frame": lambda: b"".join(
        [
            FrameHeader(Kind.BLOB, Encoding.LIST, (0, 0), CHUNKS.size, len(CHUNKS.encode())).pack(),
            CHUNKS.encode(),
        ]
    ),
    "planes.header": lambda: FrameHeader(Kind.BLOB, Encoding.PLANES, (4, 3), 1000, 700).pack(),
    "tree.record": TREE.encode,
    "tree-paged.record": PAGES.encode,
    "chunks.record": CHUNKS.encode,
    "chunks-paged.record": CHUNK_PAGES.encode,
    "commit.record": COMMIT.encode,
    "raw.pack": raw_pack,
    "raw.footer": lambda: footer_of(raw_pack()),
    "format": format_bytes,
}
IDS = {
    "blob": blob(SHORT),
    "tree": hash_object(Kind.TREE, TREE.encode()),
    "tree-paged": hash_object(Kind.TREE, PAGES.encode()),
    "chunks": hash_object(Kind.CHUNKS, CHUNKS.encode()),
    "chunks-paged": hash_object(Kind.CHUNKS, CHUNK_PAGES.encode()),
    "commit": COMMIT.id,
}


def numbers() -> bytes:
    """Floats that are stored in planes."""
    return struct.pack("<20000f", *(n * 0.37 for n in range(20_000)))


def compressed() -> dict[str, bytes]:
    """What zstd has a part in."""
    header, stored = encode(Kind.BLOB, TEXT)
    planes = encode(Kind.BLOB, numbers(), item=4, offset=3)
    return {
        "blob-planes.frame": planes[0].pack() + bytes(planes[1]),
        "blob-zstd.frame": header.pack() + bytes(stored),
        "zstd.pack": zstd_pack(),
        "heads.table": table().encode(),
    }


@pytest.mark.parametrize("name", EXACT)
def test_a_record_is_written_as_it_was(name: str) -> None:
    """Byte for byte."""
    assert EXACT[name]() == (RECORDS / name).read_bytes()


def test_ids_are_what_they_were() -> None:
    """Of every kind: contexts and all."""
    assert json.loads((RECORDS / "ids.json").read_text()) == {name: str(i) for name, i in IDS.items()}


def test_records_are_read_as_what_they_were() -> None:
    """Each decodes to the value that it was made of."""
    assert Tree.decode((RECORDS / "tree.record").read_bytes()) == TREE
    assert Tree.decode((RECORDS / "tree-paged.record").read_bytes()) == PAGES
    assert ChunkList.decode((RECORDS / "chunks.record").read_bytes()) == CHUNKS
    assert ChunkList.decode((RECORDS / "chunks-paged.record").read_bytes()) == CHUNK_PAGES
    assert Commit.decode((RECORDS / "commit.record").read_bytes()) == COMMIT
    footer = (RECORDS / "raw.footer").read_bytes()
    assert Footer.decode(footer).encode() == footer
    header = FrameHeader.parse((RECORDS / "planes.header").read_bytes())
    assert (header.encoding, header.parameters) == (Encoding.PLANES, (4, 3))


def test_frames_are_read_as_what_they_were() -> None:
    """Raw, zstd, planes and list: header, size and content."""
    for name, encoding, size, content in (
        ("blob-planes.frame", Encoding.PLANES, len(numbers()), numbers()),
        ("blob-raw.frame", Encoding.RAW, len(SHORT), SHORT),
        ("blob-zstd.frame", Encoding.ZSTD, len(TEXT), TEXT),
        ("list-raw.frame", Encoding.LIST, CHUNKS.size, CHUNKS.encode()),
    ):
        data = (RECORDS / name).read_bytes()
        header = FrameHeader.parse(data)
        assert (header.kind, header.encoding, header.raw_size) == (Kind.BLOB, encoding, size)
        assert decode(header, data[HEADER_SIZE:]) == content


def test_todays_zstd_frame_says_the_same() -> None:
    """Header but for the stored size; the content is the same to any reader."""
    header, stored = encode(Kind.BLOB, TEXT)
    golden = FrameHeader.parse((RECORDS / "blob-zstd.frame").read_bytes())
    assert replace(header, stored_size=golden.stored_size) == golden
    assert decode(header, bytes(stored)) == TEXT


@pytest.mark.parametrize("name", ["raw.pack", "zstd.pack"])
def test_a_pack_is_read_as_what_it_was(tmp_path: Path, name: str) -> None:
    """Placed in an empty store it is sound, and gives its objects."""
    data = (RECORDS / name).read_bytes()
    pack_id = hash_bytes(footer_of(data)).hex()
    store = Store.create(tmp_path / "store")
    path = store.root / layout.pack_path(pack_id)
    path.parent.mkdir()
    path.write_bytes(data)
    with path.open("rb") as file:
        assert read_footer(file.fileno(), pack_id).encode() == footer_of(data)
    assert {problem.where for problem in store.fsck().problems} <= {"refs"}  # a pack alone has no heads
    expected = (
        [TEXT, SHORT, b"", SHORT + TEXT + SHORT] if name == "raw.pack" else [TEXT, TEXT[::-1], TEXT * 50]
    )
    assert [store.objects.read(blob(content)) for content in expected] == expected


def test_a_table_is_read_as_what_it_was() -> None:
    """Heads, footers, covered and dropped; and today's table says the same."""
    data = (RECORDS / "heads.table").read_bytes()
    wanted = table()
    for found in (Table.decode(data, hash_bytes(data).hex()), wanted):
        assert [(h.key, h.commit) for h in found.heads] == [(h.key, h.commit) for h in wanted.heads]
        assert (found.packs, found.covers, found.dropped) == (wanted.packs, wanted.covers, wanted.dropped)


# --- a whole store -------------------------------------------------------------------------------------------------


def large(version: int) -> bytes:
    """9 MiB that are cut into chunks and compress to almost nothing; versions differ in one place."""
    blocks = [random.Random(seed).randbytes(64) * 2048 for seed in range(72)]
    blocks[40] = random.Random(1000 + version).randbytes(64) * 2048
    return b"".join(blocks)


def source(folder: Path, version: int) -> Path:
    """The folder that is stored."""
    folder.mkdir()
    (folder / "sub" / "empty").mkdir(parents=True)
    (folder / "large.bin").write_bytes(large(version))
    (folder / "noise.bin").write_bytes(random.Random(9).randbytes(5000))
    (folder / "empty").write_bytes(b"")
    (folder / "run.sh").write_bytes(b"#!/bin/sh\necho %d\n" % version)
    (folder / "run.sh").chmod(0o755)
    (folder / "sub" / "é 😀").write_text("a name that is not ASCII\n")
    (folder / "sub" / "up").symlink_to("../run.sh")
    return folder


def commits(store: Store, work: Path) -> list[Commit]:
    """Put everything into a store: history, a rolling state, divergence, a deletion, a paged folder."""
    found: list[Commit] = []
    for version in (1, 2):
        with store.begin() as transaction:
            state, _ = files.put_folder(transaction, source(work / str(version), version))
            parents = tuple(c.id for c in found)
            commit = Commit(
                KEY, ("task", "Demo/é", "first"), parents, version, version, state, {"w": version}
            )
            transaction.commit(commit)
            found.append(commit)
    with store.begin() as transaction:
        x, size = transaction.put_bytes(b"x"), 1
        many = [TreeEntry(f"{n:05}", Mode.FILE, x, size) for n in range(10_001)]
        paged, _ = files.put_tree(transaction, many)
        empty, _ = files.put_tree(transaction, [])
        diverged = [
            Commit(OTHER, ("model", "demo", "other"), (), 1, 5, paged, {"a": 1}),
            Commit(OTHER, ("model", "demo", "other"), (), 1, 6, empty, {"b": 1}, rolling=True),
            Commit("d" * 32, ("task", "demo", "gone"), (), 1, 7, empty, {"c": 1}, cut=7, deleted=True),
        ]
        for commit in diverged:
            transaction.commit(commit)
    return [*found, *diverged]


def build(root: Path, work: Path) -> Store:
    """The golden store: one head of it has been moved into a table, and a dead one is left loose."""
    work.mkdir()
    store = Store.create(root)
    all_commits = commits(store, work)
    moved = all_commits[-1]
    pack_id, footer = min(store.objects.footers())
    data = Table((Head(moved.key, moved.id, moved.encode(), ""),), {pack_id: footer.encode()}).encode()
    store.publish_bytes(layout.table_path(hash_bytes(data).hex()), data)
    (root / head_file(moved)[0]).unlink()
    return store


def contents(store: Store) -> dict[str, Any]:
    """What a store holds, whatever its representation."""
    objects = {
        (footer.kind(entry), entry.id, entry.size)
        for footer in dict(store.objects.footers()).values()
        for entry in footer.objects
    }
    heads = {key: sorted(str(h.id) for h in found) for key, found in store.heads.live().items()}
    loose = {p.relative_to(store.root).as_posix() for p in (store.root / "refs").rglob(f"*.{'?' * 64}")}
    return {
        "heads": heads,
        "head files": sorted(loose),
        "objects": sorted([kind.name.lower(), str(object_id), size] for kind, object_id, size in objects),
    }


def test_every_version_of_the_format_has_a_golden_store() -> None:
    """From the first on: a version that nobody kept a store of is one that nobody knows to be readable."""
    present = {path.name for path in GOLDEN.glob("store-v*") if path.is_dir()}
    version = layout.FORMAT["version"]
    assert isinstance(version, int)
    assert present == {f"store-v{number}" for number in range(1, version + 1)}


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("store-v*[0-9]")), ids=lambda path: path.name)
def test_a_golden_store_of_any_version_is_read(tmp_path: Path, path: Path) -> None:
    """Opened as it is, all of it sound, with the heads and objects that were noted when it was made."""
    shutil.copytree(path, tmp_path / "golden")
    store = Store.open(tmp_path / "golden")
    assert store.fsck().problems == ()
    assert contents(store) == json.loads(path.with_name(f"{path.name}.expected.json").read_text())


@pytest.fixture
def golden_store(tmp_path: Path) -> Store:
    """A copy of the golden store, as a checkout of the repository has it."""
    shutil.copytree(STORE, tmp_path / "golden")
    return Store.open(tmp_path / "golden")


def test_the_golden_store_is_sound(golden_store: Store) -> None:
    """Today's code finds the heads and objects that were in it, and nothing wrong."""
    assert golden_store.fsck().problems == ()
    assert contents(golden_store) == json.loads(EXPECTED.read_text())


def test_the_golden_store_gives_its_content(golden_store: Store, tmp_path: Path) -> None:
    """Folders as they were, two versions of a chunked file, 10,001 entries, and all of its history."""
    (head,) = golden_store.heads.of(KEY)
    versions = [golden_store.objects.read(head.commit.parents[0], Kind.COMMIT), head.raw]
    for version, raw in enumerate(versions, 1):
        golden_store.get(Commit.decode(raw).state, tmp_path / f"out{version}")
        wanted = source(tmp_path / f"in{version}", version)
        for path in wanted.rglob("*"):
            found = tmp_path / f"out{version}" / path.relative_to(wanted)
            assert found.is_dir() == path.is_dir()
            assert found.is_symlink() == path.is_symlink()
            if path.is_file():
                assert found.read_bytes() == path.read_bytes()
                assert found.stat().st_mode & 0o111 == path.stat().st_mode & 0o111
    paged = next(h.commit.state for h in golden_store.heads.of(OTHER) if "a" in h.commit.covers)
    assert [e.name for e in files.list_tree(golden_store.objects, paged)] == [
        f"{n:05}" for n in range(10_001)
    ]
    ((gone,),) = [found for key, found in golden_store.heads.live().items() if key == "d" * 32]
    assert (gone.commit.deleted, gone.commit.cut) == (True, 7)


def test_the_same_inputs_give_the_same_store(golden_store: Store, tmp_path: Path) -> None:
    """The same objects with the same ids, the same head files byte for byte, the same `format`."""
    today = build(tmp_path / "today", tmp_path / "work")
    assert contents(today) == json.loads(EXPECTED.read_text())
    for name in [*contents(today)["head files"], "format"]:
        assert (today.root / name).read_bytes() == (golden_store.root / name).read_bytes()


def test_the_golden_store_goes_on(golden_store: Store, tmp_path: Path) -> None:
    """Today's code writes into it, and shares what is there: a third version costs one changed block."""
    before = sum(p.stat().st_size for p in (golden_store.root / "packs").rglob("*.pack"))
    with golden_store.begin() as transaction:
        files.put_folder(transaction, source(tmp_path / "three", 3))
    after = sum(p.stat().st_size for p in (golden_store.root / "packs").rglob("*.pack"))
    assert after - before < 10_000
    assert golden_store.fsck().clean


def test_the_golden_files_are_small() -> None:
    """They are in the repository for ever."""
    assert sum(p.stat().st_size for p in [*RECORDS.rglob("*"), *STORE.rglob("*")] if p.is_file()) < 300_000


# --- writing them anew ---------------------------------------------------------------------------------------------


def regenerate() -> None:
    """Write tests/golden/objstore-v1/ and tests/golden/store-v1/ anew."""
    for folder in (RECORDS, STORE):
        shutil.rmtree(folder, ignore_errors=True)
    RECORDS.mkdir(parents=True)
    for name, make in EXACT.items():
        (RECORDS / name).write_bytes(make())
    for name, data in compressed().items():
        (RECORDS / name).write_bytes(data)
    (RECORDS / "ids.json").write_text(json.dumps({name: str(i) for name, i in IDS.items()}, indent=1) + "\n")
    work = GOLDEN / "work"
    store = build(STORE, work)
    EXPECTED.write_text(json.dumps(contents(store), indent=None, separators=(",", ":")) + "\n")
    shutil.rmtree(work)
    store.close()
    for name in layout.FOLDERS:
        if name not in layout.UNION:
            shutil.rmtree(STORE / name)


if __name__ == "__main__":
    regenerate()
