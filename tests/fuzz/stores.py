"""The formats of `objstore`: one target each, and two for whole stores."""

from __future__ import annotations

import json
import os
import shutil
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

from objstore import files, journal, layout, planes
from objstore.bundle.checking import verify
from objstore.bundle.making import create
from objstore.bundle.source import Bundle
from objstore.bundle.taking import unbundle
from objstore.errors import StoreError
from objstore.frame import HEADER_SIZE, FrameHeader, decode, encode
from objstore.heads import Head, Heads, Table, living
from objstore.ids import Kind, ObjectId, hash_bytes
from objstore.pack import Footer, parse_trailer, trailer_size
from objstore.records import (
    ChunkList,
    Commit,
    Mode,
    Tree,
    TreeEntry,
    canonical,
    check_checkout_name,
    check_name,
    collision_key,
    count_values,
    format_bytes,
    parse_canonical,
    read_format,
)
from objstore.remotes.memory import MemoryRemote
from objstore.store import Store
from objstore.sync.claims import Claims, proved
from objstore.sync.shown import look
from objstore.zstd import decompress
from tests.fuzz.registry import declared, golden, target

KEY = "0123456789abcdef" * 2


@contextmanager
def folder() -> Iterator[Path]:
    """A new folder, in memory where the system has such a place."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    path = Path(tempfile.mkdtemp(prefix="fuzz-", dir=base))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


# --- records -------------------------------------------------------------------------------------------------------


@target("json", seeds=lambda: golden("objstore-v1/tree.record", "objstore-v1/commit.record"))
def json_record(data: bytes) -> None:
    """Canonical JSON: what is accepted is written the same."""
    with declared():
        assert canonical(parse_canonical(data, "it")) == data
    count_values(data, 100)


@target("tree", seeds=lambda: golden("objstore-v1/tree.record", "objstore-v1/tree-paged.record"))
def tree(data: bytes) -> None:
    """A tree record."""
    with declared():
        found = Tree.decode(data)
        assert Tree.decode(found.encode()) == found
        for entry in found.entries:
            with declared():
                check_checkout_name(entry.name)
            collision_key(entry.name)


@target("commit", seeds=lambda: golden("objstore-v1/commit.record"))
def commit(data: bytes) -> None:
    """A commit record, and heads made of it."""
    with declared():
        found = Commit.decode(data)
        assert found.encode() == data
        layout.label(found.path)
        heads = [Head(found.key, found.id, data, "it"), Head(found.key, found.id, data[:-1], "it")]
        living(heads)


@target("chunk list", seeds=lambda: golden("objstore-v1/chunks.record", "objstore-v1/chunks-paged.record"))
def chunk_list(data: bytes) -> None:
    """A chunk list of either level."""
    with declared():
        assert ChunkList.decode(data).encode() == data


@target("format", seeds=lambda: [format_bytes(), *golden("objstore-v1/format")])
def format_file(data: bytes) -> None:
    """The file that says what a store is."""
    with declared():
        read_format(data, "it")


@target("names", seeds=lambda: [f"{KEY}.{'ab' * 32}".encode(), f"{'ab' * 32}.pack".encode(), b"CON.txt"])
def names(data: bytes) -> None:
    """File names of heads, packs and tables; names in trees; ids; labels."""
    text = data.decode("utf-8", "surrogateescape")
    layout.parse_head_name(text)
    layout.parse_pack_name(text)
    layout.parse_table_name(text)
    assert layout.label((text, text)) not in ("", ".", "..")
    collision_key(text)
    for parse in (check_name, check_checkout_name, ObjectId.parse):
        with declared():
            parse(text)


# --- frames and packs ----------------------------------------------------------------------------------------------


def _frames() -> list[bytes]:
    numbers = struct.pack("<40000f", *(n * 0.37 for n in range(40_000)))
    header, stored = encode(Kind.BLOB, numbers, item=4)
    made = [header.pack() + bytes(stored)]
    return made + golden(
        *(f"objstore-v1/{name}.frame" for name in ("blob-raw", "blob-zstd", "list-raw")),
        "objstore-v1/planes.header",
    )


@target("frame", seeds=_frames)
def frame(data: bytes) -> None:
    """A header and a payload; once more with the true length, without which hardly any payload is looked at."""
    with declared():
        header = FrameHeader.parse(data)
        with declared():
            decode(header, data[HEADER_SIZE:])
        decode(replace(header, stored_size=len(data) - HEADER_SIZE), data[HEADER_SIZE:])


@target("zstd", seeds=lambda: [bytes(s) for _, s in [encode(Kind.BLOB, b"a text " * 100)]])
def zstd(data: bytes) -> None:
    """One zstd frame, up to a limit that a bomb passes."""
    with declared():
        assert len(decompress(data, layout.BLOB_MAX)) <= layout.BLOB_MAX


@target("planes", seeds=lambda: [b"\x02\x01\x10\x00\x00" + b"\x00\x00\x00\x00\x08\x00\x00\x00" + bytes(8)])
def planes_payload(data: bytes) -> None:
    """Item size, phase and raw size of the fuzzer's choice, then the payload."""
    if len(data) < 6:
        return
    size = planes.SIZES[data[0] % 3]
    with declared():
        planes.decode(data[5:], int.from_bytes(data[2:5], "little"), size, data[1] % size)


@target("footer", seeds=lambda: golden("objstore-v1/raw.footer"))
def footer(data: bytes) -> None:
    """A pack's footer, which nobody has checked against a name."""
    with declared():
        assert Footer.decode(data).encode() == data
    with declared():
        parse_trailer(data[-trailer_size() :])


@target("pack", seeds=lambda: golden("objstore-v1/raw.pack", "objstore-v1/zstd.pack"), examples=60)
def pack(data: bytes) -> None:
    """A whole pack under the name that its footer has: every object is read, or refused."""
    with folder() as root, declared():
        store = Store.create(root / "store")
        length = int.from_bytes(data[-8:-4], "little")
        pack_id = hash_bytes(data[max(0, len(data) - 8 - length) : -8]).hex()
        path = root / "store" / layout.pack_path(pack_id)
        path.parent.mkdir()
        path.write_bytes(data)
        store.objects.refresh()
        read_all(store)
        store.fsck()
        store.close()


def read_all(store: Store) -> None:
    """Read every object, and walk what it names."""
    from objstore.graph import edges

    objects = store.objects
    for pack_id in objects.pack_ids():
        held = objects.footer(pack_id)
        for entry in held.objects:
            kind = held.kind(entry)
            with declared():
                for _ in objects.stream(entry.id, kind):
                    pass
            with declared():
                edges(objects, (kind, entry.id))


# --- heads ---------------------------------------------------------------------------------------------------------


@target("table", seeds=lambda: golden("objstore-v1/heads.table"))
def table(data: bytes) -> None:
    """A table under its right name, its heads and its footers."""
    with declared():
        found = Table.decode(data, hash_bytes(data).hex())
        for head in found.heads:
            with declared():
                head.commit  # noqa: B018  reading it is the check
        for claimed in found.packs.values():
            with declared():
                Footer.decode(claimed)


@target("head file", seeds=lambda: golden("objstore-v1/commit.record"), examples=50)
def head_file(data: bytes) -> None:
    """A file under refs/, in a store that is listed."""
    with folder() as root, declared():
        where = root / "refs" / "x"
        where.mkdir(parents=True)
        from objstore.ids import hash_object

        (where / f"{KEY}.{hash_object(Kind.COMMIT, data)}").write_bytes(data)
        Heads(root).live()


# --- journals ------------------------------------------------------------------------------------------------------


@cache
def _segments() -> tuple[bytes, ...]:
    found = []
    with folder() as root:
        for mapped in (True, False):
            writer = journal.JournalWriter(root / str(mapped), "w", segment_size=8192, mapped=mapped)
            for number in range(20):
                writer.append(1 + number % 4, b"payload %d" % number)
            writer.close()
            found.append((root / str(mapped) / "segment.00000001").read_bytes())
    return tuple(found)


@target("journal segment", seeds=lambda: list(_segments()), examples=60)
def journal_segment(data: bytes) -> None:
    """The first segment of a journal: what is read is numbered without a gap."""
    with folder() as root:
        (root / "segment.00000001").write_bytes(data)
        numbers = [record.number for record in journal.read(root)]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))) if numbers else True
        assert journal.scan(root).records == len(numbers)


@target("alive", seeds=lambda: [json.dumps({"host": "h", "boot": "b", "pid": 1, "locked": True}).encode()])
def alive(data: bytes) -> None:
    """What a writer says of itself."""
    with folder() as root:
        (root / "alive").write_bytes(data)
        assert journal.liveness(root, now=1e10) in ("dead", "unknown")


# --- what comes from a remote, and what is remembered of it ----------------------------------------------------------


@cache
def _pushed() -> tuple[dict[str, bytes], dict[str, bytes]]:
    """The files of a small remote, and the notes that its pusher keeps of it."""
    with folder() as root:
        store, remote = Store.create(root / "store"), MemoryRemote("memory:fuzz")
        for number in (1, 2):
            with store.begin() as transaction:
                content = transaction.put_bytes(b"content %d" % number)
                state, _ = files.put_tree(transaction, [TreeEntry("file", Mode.FILE, content, 9)])
                transaction.commit(Commit(KEY, ("task", "p", "n"), (), number, number, state, {"w": number}))
            store.push(remote)
        cache_folder = next((root / "store" / "cache" / "remotes").iterdir())
        notes = {
            p.relative_to(cache_folder).as_posix(): p.read_bytes()
            for p in cache_folder.rglob("*")
            if p.is_file()
        }
        store.close()
    return dict(remote.files), notes


def _packed(contents: dict[str, bytes]) -> bytes:
    """Files as one input: for each, which in the order of their names, its length, and what it holds."""
    ordered = sorted(contents)
    return b"".join(
        struct.pack("<BI", ordered.index(name), len(data)) + data for name, data in contents.items()
    )


def _unpacked(data: bytes, contents: dict[str, bytes]) -> dict[str, bytes]:
    """The files that an input speaks of, those that it names changed."""
    found, ordered, at = dict(contents), sorted(contents), 0
    while at + 5 <= len(data):
        which, length = struct.unpack_from("<BI", data, at)
        found[ordered[which % len(ordered)]] = data[at + 5 : at + 5 + length]
        at += 5 + length
    return found


@target(
    "cache",
    seeds=lambda: [_packed(_pushed()[1]), _packed({"proved": _pushed()[1].get("proved", b"{}")})],
    examples=40,
)
def cache_notes(data: bytes) -> None:
    """Notes about a remote that somebody changed: worth nothing, and no error."""
    contents, notes = _pushed()
    with folder() as root, declared():
        remote = MemoryRemote("memory:fuzz")
        remote.files = dict(contents)
        base = root / "cache" / "remotes" / hash_bytes(b"memory:fuzz").hex()[:32]
        for name, note in _unpacked(data, {**notes, "proved": b"", "pending": b""}).items():
            (base / name).parent.mkdir(parents=True, exist_ok=True)
            (base / name).write_bytes(note)
        shown = look(root, remote)
        proved(shown)
        Claims(shown).add_unclaimed(shown)


@target("remote", seeds=lambda: [b"", _packed(_pushed()[0])], examples=30)
def remote_files(data: bytes) -> None:
    """A remote whose files were changed, tables and packs under the names that their new content has: it is pulled."""
    contents, _ = _pushed()
    with folder() as root, declared():
        remote = MemoryRemote("memory:fuzz")
        for name, content in _unpacked(data, contents).items():
            remote.files[_right_name(name, content)] = content
        store = Store.create(root / "store")
        try:
            store.pull(remote)
        except StoreError:
            assert all(store.objects.has(h.id) for several in store.heads.live().values() for h in several)
            raise
        finally:
            store.close()


def _right_name(name: str, content: bytes) -> str:
    if name.startswith(f"{layout.TABLES}/"):
        return layout.table_path(hash_bytes(content).hex())
    if name.startswith(f"{layout.PACKS}/"):
        length = int.from_bytes(content[-8:-4], "little")
        return layout.pack_path(hash_bytes(content[max(0, len(content) - 8 - length) : -8]).hex())
    return name


@cache
def _bundled() -> bytes:
    """A small bundle in one file."""
    with folder() as root:
        store = Store.create(root / "store")
        with store.begin() as transaction:
            content = transaction.put_bytes(b"content")
            state, _ = files.put_tree(transaction, [TreeEntry("file", Mode.FILE, content, 7)])
            transaction.commit(Commit(KEY, ("task", "p", "n"), (), 1, 1, state, {"w": 1}))
        create(store.root, store.objects, store.heads, root / "bundle", stamp=1)
        store.close()
        return (root / "bundle").read_bytes()


@target("bundle", seeds=lambda: [_bundled()], examples=40)
def bundle(data: bytes) -> None:
    """A bundle in one file: verified, which takes all of it, and unpacked into an empty store."""
    with folder() as root:
        (root / "bundle").write_bytes(data)
        with declared():
            verify(Bundle.open([root / "bundle"]))
        store = Store.create(root / "store")
        with declared():
            unbundle(store.root, store.objects, store.heads, Bundle.open([root / "bundle"]))
        store.close()
