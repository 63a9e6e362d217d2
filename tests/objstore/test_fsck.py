"""fsck: what is damaged, missing or misplaced is found and named, with the heads that it touches."""

from __future__ import annotations

import os
import random
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore import layout
from objstore.frame import Encoding, FrameHeader, encode, encode_list
from objstore.fsck import IdSet, Level, Report, check
from objstore.heads import Head, Table
from objstore.heal import heal
from objstore.ids import Kind, ObjectId, hash_bytes, hash_object
from objstore.objects import Objects
from objstore.pack import Footer, FrameEntry, ObjectEntry, PackWriter, pack_bytes
from objstore.publish import publish_pack, temporary
from objstore.records import ChunkList, Commit, Mode, Tree, TreeEntry, canonical
from objstore.salvage import pieces
from objstore.scrub import Contents
from objstore.store import Store

Save = Callable[..., Commit]
KEY = "0123456789abcdef0123456789abcdef"
OTHER = "f" * 32
NOISE = random.Random(4).randbytes(9 * layout.MIB)


def only_pack(store: Store) -> Path:
    """The path of the one pack there is."""
    (path,) = (store.root / "packs").rglob("*.pack")
    return path


def place(store: Store, writer: PackWriter) -> Path:
    """Finish a pack and put it where it belongs."""
    pack_id, _ = writer.finish()
    target = store.root / layout.pack_path(pack_id)
    target.parent.mkdir(exist_ok=True)
    writer.path.rename(target)
    return target


def named(report: Report) -> str:
    """All that a report says, one line a problem."""
    return "\n".join(f"{p.where}: {p.what} {p.touches}" for p in report.problems)


def flip(path: Path, where: int) -> None:
    """Change one byte of a file."""
    data = bytearray(path.read_bytes())
    data[where] ^= 1 << where % 8
    path.write_bytes(data)


def test_a_sound_store_is_clean(store: Store, save: Save) -> None:
    """With small and large files, history, two keys and a table; and the numbers are right."""
    first = save(store, {"a": b"one"})
    save(store, {"a": b"two", "large": NOISE}, parents=(first.id,))
    other = save(store, {"b": b"three"}, key=OTHER)
    head = Head(OTHER, other.id, other.encode(), "")
    data = Table((head,)).encode()
    (store.root / layout.table_path(hash_bytes(data).hex())).write_bytes(data)
    report = check(store.root)
    assert report.problems == ()
    assert report.clean
    assert report.heads == 2
    assert report.packs == len(list((store.root / "packs").rglob("*.pack")))
    assert report.objects == len({o.id for f in dict(store.objects.footers()).values() for o in f.objects})
    assert report.size == sum(p.stat().st_size for p in (store.root / "packs").rglob("*.pack"))


def test_an_empty_store_is_clean(store: Store) -> None:
    """Nothing is nothing wrong."""
    assert check(store.root) == Report(0, 0, 0, 0, ())


def test_every_changed_byte_of_a_pack_is_found_and_named(store: Store, save: Save) -> None:
    """The problem names the file, and the task where the content is lost."""
    save(store, {"a": random.Random(1).randbytes(50), "b": b"text " * 30}, path=("task", "proj", "mine"))
    path = only_pack(store)
    data = path.read_bytes()
    where = path.relative_to(store.root).as_posix()
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :])
        report = check(store.root)
        assert where in [p.where for p in report.problems], f"a change of byte {at} was not found"
        assert any(("task", "proj", "mine") in p.touches for p in report.problems), named(report)
    path.write_bytes(data)
    assert check(store.root).clean


def test_every_cut_of_a_pack_is_found_and_named(store: Store, save: Save) -> None:
    """To whichever length, and with bytes added."""
    save(store, {"a": b"text " * 30})
    path = only_pack(store)
    data = path.read_bytes()
    where = path.relative_to(store.root).as_posix()
    for part in (*(data[:n] for n in range(len(data))), data + b"\0"):
        path.write_bytes(part)
        assert where in [p.where for p in check(store.root).problems]


@pytest.mark.parametrize("kind", ["head", "table"])
def test_every_changed_byte_and_every_cut_of_a_head_is_found_and_named(
    store: Store, save: Save, kind: str
) -> None:
    """Of a head file and of a table."""
    commit = save(store, {"a": b"x"})
    (path,) = (store.root / "refs").rglob(f"{KEY}.*")
    if kind == "table":
        path.unlink()
        data = Table((Head(KEY, commit.id, commit.encode(), ""),)).encode()
        path = store.root / layout.table_path(hash_bytes(data).hex())
        path.write_bytes(data)
    data = path.read_bytes()
    where = path.relative_to(store.root).as_posix()
    flips = [data[:n] + bytes([data[n] ^ 1 << n % 8]) + data[n + 1 :] for n in range(len(data))]
    for wrong in [*flips, *(data[:n] for n in range(len(data)))]:
        path.write_bytes(wrong)
        report = check(store.root)
        assert [p.where for p in report.problems] == [where]
        assert report.heads == 0


def test_a_lost_pack_is_told_by_what_it_touches(store: Store, save: Save) -> None:
    """Each head that misses something is named, the others are not; history counts."""
    first = save(store, {"a": b"one"}, path=("task", "p", "first"))
    (lost,) = (store.root / "packs").rglob("*.pack")
    save(store, {"b": b"two"}, parents=(first.id,), path=("task", "p", "second"))
    save(store, {"c": b"three"}, key=OTHER, path=("task", "p", "other"))
    lost.unlink()
    report = check(store.root)
    assert [p.where for p in report.problems] == [f"commit {first.id}"]
    assert report.problems[0].touches == (("task", "p", "second"),)
    assert "missing" in report.problems[0].what


def test_everything_below_a_damaged_object_is_told(store: Store, save: Save) -> None:
    """Two tasks that share a blob are both named; one that does not is not."""
    shared = random.Random(2).randbytes(3000)
    save(store, {"data": shared}, path=("task", "p", "one"))
    path = only_pack(store)
    save(store, {"data": shared, "more": b"m"}, key=OTHER, path=("task", "p", "two"))
    save(store, {"own": b"o"}, key="e" * 32, path=("task", "p", "three"))
    flip(path, path.read_bytes().index(shared) + 1500)
    report = check(store.root)
    (problem,) = (p for p in report.problems if p.touches)
    assert problem.where == f"blob {hash_object(Kind.BLOB, shared)}"
    assert problem.touches == (("task", "p", "one"), ("task", "p", "two"))


def test_a_damaged_copy_of_an_object_that_has_a_sound_one_touches_nobody(store: Store, save: Save) -> None:
    """The file is named, so that it can be replaced; no task is said to have lost something."""
    content = random.Random(2).randbytes(3000)
    save(store, {"data": content})
    path = only_pack(store)
    copy = PackWriter(store.root / "tmp" / "copy")
    copy.add(*encode(Kind.BLOB, content), [(hash_object(Kind.BLOB, content), 3000)])
    place(store, copy)
    flip(path, path.read_bytes().index(content) + 9)
    report = check(store.root)
    assert [p.where for p in report.problems] == [path.relative_to(store.root).as_posix()]
    assert report.problems[0].touches == ()


def lying_packs(store: Store) -> list[tuple[str, PackWriter]]:
    """Packs all of whose checksums fit, each with one lie, and what is said of it."""
    found = []

    def pack(what: str, *frames: tuple[FrameHeader, bytes | memoryview, list[tuple[ObjectId, int]]]) -> None:
        writer = PackWriter(store.root / "tmp" / os.urandom(8).hex())
        for frame in frames:
            writer.add(*frame)
        found.append((what, writer))

    other = hash_object(Kind.BLOB, b"other")
    pack("not those of its object", (*encode(Kind.BLOB, b"content"), [(other, 7)]))
    pack("not what its id says", (*encode(Kind.BLOB, b"text " * 99), [(other, 495)]))
    unsorted = canonical({"entries": [], "v": 3})
    pack("version 3", (*encode(Kind.TREE, unsorted), [(hash_object(Kind.TREE, unsorted), len(unsorted))]))
    junk = b"not a commit"
    pack("not JSON", (*encode(Kind.COMMIT, junk), [(hash_object(Kind.COMMIT, junk), len(junk))]))
    pack("chunk list", (*encode(Kind.CHUNKS, junk), [(hash_object(Kind.CHUNKS, junk), len(junk))]))
    chunk = (*encode(Kind.BLOB, b"chunk"), [(hash_object(Kind.BLOB, b"chunk"), 5)])
    lie = ChunkList(0, ((chunk[2][0][0], 5),)).encode()
    pack("does not make up", chunk, (*encode_list(lie, 5), [(other, 5)]))
    pack("length", chunk, (*encode_list(lie, 6), [(hash_object(Kind.BLOB, b"chunk!"), 6)]))
    planes = FrameHeader(Kind.BLOB, Encoding.PLANES, (2, 0), 9, 3)
    pack("a plane is cut short", (planes, b"abc", [(other, 9)]))
    broken = FrameHeader(Kind.BLOB, Encoding.ZSTD, (0, 0), 9, 3)
    pack("zstd frame is damaged", (broken, b"abc", [(other, 9)]))
    return found


def test_packs_that_lie_are_found(store: Store) -> None:
    """Content that is not its id's, records that cannot be read, lists that do not add up, frames that do not open."""
    for what, writer in lying_packs(store):
        path = place(store, writer)
        report = check(store.root)
        assert what in named(report)
        assert all(p.where == path.relative_to(store.root).as_posix() for p in report.problems), named(report)
        path.unlink()
    assert check(store.root).clean


def test_a_list_without_its_chunks_is_a_problem_only_where_a_head_reaches_it(store: Store) -> None:
    """A collector may leave the list, whose pack holds other things, and take the chunks."""
    absent = ChunkList(0, ((ObjectId(b"\x07" * 32), 5),)).encode()
    blob = ObjectId(b"\x08" * 32)
    writer = PackWriter(store.root / "tmp" / "x")
    writer.add(*encode_list(absent, 5), [(blob, 5)])
    place(store, writer)
    assert check(store.root).clean
    with store.begin() as transaction:
        state = transaction.put(Kind.TREE, Tree((TreeEntry("a", Mode.FILE, blob, 5),)).encode())
        transaction.commit(Commit(KEY, ("task", "p", "n"), (), 1, 1, state, {}))
    report = check(store.root)
    assert [p.where for p in report.problems] == [f"blob {'07' * 32}"]
    assert report.problems[0].touches == (("task", "p", "n"),)


def test_objects_that_overlap_in_a_frame_are_found(store: Store) -> None:
    """Two objects over the same bytes would leave others that no id pins."""
    raw = b"same same same same " * 9
    half = raw[: len(raw) // 2]
    header, stored = encode(Kind.BLOB, raw)
    stored = bytes(stored)
    entry = FrameEntry(header, 2, 0, hash_bytes(stored), 0)
    from xxhash import xxh3_64_intdigest

    entry = FrameEntry(header, 2, xxh3_64_intdigest(header.pack() + stored), hash_bytes(stored), 0)
    one = ObjectEntry(hash_object(Kind.BLOB, half), 0, 0, len(half))
    footer = Footer((entry,), (one, one)).encode()
    path = store.root / layout.pack_path(hash_bytes(footer).hex())
    path.parent.mkdir()
    path.write_bytes(pack_bytes(header.pack() + stored, footer))
    assert "overlaps another one" in named(check(store.root))


def test_a_scrub_checksum_that_does_not_fit_is_found(store: Store, save: Save) -> None:
    """Else a fast scrub would some day call a sound pack damaged."""
    header, stored = encode(Kind.BLOB, b"content")
    object_id = hash_object(Kind.BLOB, b"content")
    footer = Footer(
        (FrameEntry(header, 1, 12345, bytes(32), 0),), (ObjectEntry(object_id, 0, 0, 7),)
    ).encode()
    path = store.root / layout.pack_path(hash_bytes(footer).hex())
    path.parent.mkdir()
    path.write_bytes(pack_bytes(header.pack() + bytes(stored), footer))
    assert "scrub" in named(check(store.root))


def test_a_second_list_that_lies_is_found_behind_a_true_one(store: Store) -> None:
    """Every copy is proved, not only the one that readers happen to use."""
    parts = [b"a" * 700, b"b" * 700]
    ids = [(hash_object(Kind.BLOB, p), 700) for p in parts]
    whole = hash_object(Kind.BLOB, b"".join(parts))
    for items in (ids, ids[::-1]):
        writer = PackWriter(store.root / "tmp" / "x")
        for part, item in zip(parts, ids, strict=True):
            writer.add(*encode(Kind.BLOB, part), [item])
        writer.add(*encode_list(ChunkList(0, tuple(items)).encode(), 1400), [(whole, 1400)])
        last = place(store, writer)
    report = check(store.root)
    assert [p.where for p in report.problems] == [last.relative_to(store.root).as_posix()]
    assert "does not make up" in report.problems[0].what


def test_a_damaged_list_is_told_once_for_its_file(store: Store, save: Save) -> None:
    """And once for the file's content that it was the only way to."""
    save(store, {"large": NOISE})
    object_id = hash_object(Kind.BLOB, NOISE)
    (place,) = store.objects.locate(object_id)
    path = store.root / layout.pack_path(place.pack_id)
    flip(path, store.objects.footer(place.pack_id).frames[place.entry.frame].offset + 40)
    report = check(store.root)
    where = path.relative_to(store.root).as_posix()
    assert [p.where for p in report.problems] == [where, f"blob {object_id}"]


def test_an_object_of_the_wrong_kind_is_found(store: Store) -> None:
    """A folder entry that names a file's content: every byte is sound, and yet it cannot be read."""
    with store.begin() as transaction:
        content = transaction.put_bytes(b"content")
        state = transaction.put(Kind.TREE, Tree((TreeEntry("sub", Mode.TREE, content, 7),)).encode())
        transaction.commit(Commit(KEY, ("task", "p", "n"), (), 1, 1, state, {}))
    report = check(store.root)
    assert [p.where for p in report.problems] == [f"tree {content}"]
    assert "as a tree" in report.problems[0].what
    assert report.problems[0].touches == (("task", "p", "n"),)


@pytest.mark.parametrize(
    "where",
    [
        "packs/ab/backup.zip",
        "packs/loose.pack",
        f"packs/ab/{'ab' * 31}.pack",
        f"packs/cd/{'ab' * 32}.pack",
        f"packs/ab/deeper/{'ab' * 32}.pack",
        f"refs/task.p/{KEY}",
        f"refs/{KEY}.{'ab' * 32}",
        f"refs/task.p/{KEY}.{'AB' * 32}",
        f"refs/a/b/{KEY}.{'ab' * 32}",
        f"refs.packed/{'ab' * 32}.tabl",
        f"refs.packed/sub/{'ab' * 32}.table",
    ],
)
def test_a_file_whose_name_hides_it_is_found(store: Store, save: Save, where: str) -> None:
    """A damaged name makes a head or pack vanish without a trace otherwise."""
    save(store, {"a": b"x"})
    (store.root / where).parent.mkdir(parents=True, exist_ok=True)
    (store.root / where).write_bytes(b"")
    assert [p.where for p in check(store.root).problems] == [where]


def test_leftovers_that_are_hidden_are_no_problem(store: Store, save: Save) -> None:
    """Half-copied files of rsync, NFS's removed ones, a .gitkeep."""
    save(store, {"a": b"x"})
    for name in ("packs/.gitkeep", "refs/.nfs0001", f"packs/.{'ab' * 32}.pack.Xy12"):
        (store.root / name).write_bytes(b"")
    assert check(store.root).clean


def test_a_pack_that_cannot_be_opened_is_named(store: Store, save: Save) -> None:
    """A folder in its place, or a link to nowhere, is not passed over."""
    save(store, {"a": b"x"})
    path = only_pack(store)
    where = path.relative_to(store.root).as_posix()
    path.unlink()
    path.mkdir()
    assert where in [p.where for p in check(store.root).problems]


def test_checking_changes_nothing(store: Store, save: Save) -> None:
    """Not a file, not a time."""
    save(store, {"a": b"x", "large": NOISE})

    def look() -> dict[Path, tuple[int, int]]:
        return {p: (p.stat().st_size, p.stat().st_mtime_ns) for p in store.root.rglob("*")}

    before = look()
    assert check(store.root).clean
    assert look() == before


def test_damage_in_history_is_not_hidden_by_later_commits(store: Store, save: Save) -> None:
    """An old state is as good as the newest."""
    content = random.Random(2).randbytes(300)
    first = save(store, {"a": content})
    path = only_pack(store)
    save(store, {"a": b"new"}, parents=(first.id,))
    flip(path, path.read_bytes().index(content))
    assert any(p.where == f"blob {hash_object(Kind.BLOB, content)}" for p in check(store.root).problems)


def test_many_problems_are_told_in_one_walk(store: Store, save: Save) -> None:
    """A lost pack under fifty heads: each problem and each head once."""
    first = save(store, {"a": b"one"})
    lost = only_pack(store)
    for number in range(50):
        save(
            store,
            {"own": b"%d" % number},
            key=f"{number:032x}",
            parents=(first.id,),
            path=("task", "p", str(number)),
        )
    lost.unlink()
    (store.root / layout.head_path("task.project", KEY, str(first.id))).unlink()
    report = check(store.root)
    assert [p.where for p in report.problems] == [f"commit {first.id}"]
    assert len(report.problems[0].touches) == 50


def test_a_copy_of_a_store_is_as_sound(store: Store, save: Save, tmp_path: Path) -> None:
    """Nothing in it knows where it lies."""
    save(store, {"a": b"x", "large": NOISE})
    shutil.copytree(store.root, tmp_path / "copy")
    assert check(tmp_path / "copy") == check(store.root)


# --- levels --------------------------------------------------------------------------------------------------------


def test_each_level_finds_what_it_looks_at(store: Store, save: Save) -> None:
    """Index: no payload. Checksums: every stored byte. Reachable: what is missing. Content: everything."""
    content = random.Random(2).randbytes(3000)
    save(store, {"a": content}, path=("task", "p", "n"))
    path = only_pack(store)
    data = path.read_bytes()
    found = {}
    for fault in ("none", "payload", "footer", "gone"):
        path.write_bytes(data)
        if fault == "payload":
            flip(path, data.index(content) + 7)
        if fault == "footer":
            flip(path, len(data) - 30)
        if fault == "gone":
            path.unlink()
        found[fault] = {level.value for level in Level if check(store.root, level).problems}
    every = {"index", "checksums", "content", "reachable"}
    assert found == {
        "none": set(),
        "payload": {"checksums", "content"},
        "footer": every,
        "gone": {"content", "reachable"},
    }


def test_checksums_alone_find_no_lie_that_was_written(store: Store) -> None:
    """They say that the bytes are those that were written; that these are right, only `content` says."""
    writer = PackWriter(store.root / "tmp" / "x")
    writer.add(*encode(Kind.BLOB, b"text " * 99), [(hash_object(Kind.BLOB, b"other"), 495)])
    place(store, writer)
    assert check(store.root, Level.CHECKSUMS).clean
    assert not check(store.root, Level.CONTENT).clean


@pytest.mark.parametrize("level", [Level.CHECKSUMS, Level.CONTENT])
def test_faults_of_a_large_pack_are_found_by_two_threads_as_by_one(
    store: Store, save: Save, level: Level
) -> None:
    """Every one of them, in the order of the file; of many only the first are named, the others counted."""
    save(store, {"large": NOISE}, path=("task", "p", "n"))
    (path,) = (p for p in (store.root / "packs").rglob("*.pack") if p.stat().st_size > 1 << 20)
    frames = store.objects.footer(path.stem).frames
    data = bytearray(path.read_bytes())
    for frame in frames[::2]:
        data[frame.offset + 30] ^= 1
    path.write_bytes(data)
    told = [p.what for p in check(store.root, level).problems if p.where.endswith(".pack")]
    offsets = [f.offset for f in frames[::2]]
    assert [what.split(":")[0] for what in told[:8]] == [f"the frame at byte {at}" for at in offsets[:8]]
    if len(offsets) > 8:
        assert told[8] == f"{len(offsets) - 8} more of its frames or objects are damaged"


def test_what_the_cache_says_is_not_believed(store: Store, save: Save) -> None:
    """An index that knows a pack that is damaged now, and the proof of a list that never was one."""
    save(store, {"a": b"one"}, path=("task", "p", "n"))
    store.objects.refresh()
    path = only_pack(store)
    cache = {p: p.read_bytes() for p in (store.root / "cache").rglob("*") if p.is_file()}
    flip(path, path.stat().st_size - 20)
    for where, data in cache.items():
        where.write_bytes(data)
    report = check(store.root, Level.REACHABLE)
    assert [p.touches for p in report.problems if p.where.startswith("commit")] == [(("task", "p", "n"),)]

    chunk = (*encode(Kind.BLOB, b"chunk"), [(hash_object(Kind.BLOB, b"chunk"), 5)])
    other = hash_object(Kind.BLOB, b"other")
    lie = ChunkList(0, ((chunk[2][0][0], 5),)).encode()
    writer = PackWriter(store.root / "tmp" / "x")
    writer.add(*chunk)
    writer.add(*encode_list(lie, 5), [(other, 5)])
    place(store, writer)
    (store.root / "cache" / "proofs").write_bytes(b"\n%s\n" % hash_bytes(other + lie).hex().encode())
    assert "does not make up" in named(check(store.root))


def test_every_problem_says_what_to_do(store: Store, save: Save) -> None:
    """Whatever is wrong."""
    save(store, {"a": random.Random(2).randbytes(300)})
    path = only_pack(store)
    flip(path, 40)
    (store.root / "packs" / "stray").touch()
    (head,) = (store.root / "refs").rglob(f"{KEY}.*")
    head.with_name(f"{OTHER}.{'ab' * 32}").touch()
    report = check(store.root)
    assert len(report.problems) >= 4
    assert all(problem.advice for problem in report.problems)


def test_damage_names_the_objects_by_which_heads_reach_it(store: Store, save: Save) -> None:
    """So that who knows what they are can name it: here the file, its folder and its commit."""
    content = random.Random(2).randbytes(3000)
    commit = save(store, {"a": content})
    flip(only_pack(store), only_pack(store).read_bytes().index(content) + 7)
    (problem,) = (p for p in check(store.root).problems if p.touches)
    assert problem.through == {hash_object(Kind.BLOB, content), commit.state, commit.id}


# --- beside others -------------------------------------------------------------------------------------------------


def test_packs_that_are_merged_while_it_checks_are_no_problem(store: Store, save: Save) -> None:
    """A repack beside it moves their objects into other packs and takes them away."""
    for number in range(40):
        save(store, {"a": random.Random(number).randbytes(2000)}, key=f"{number:032x}")
    stop, merges = threading.Event(), []

    def merge() -> None:
        while not stop.is_set():
            objects = Objects(store.root, keep=False)
            small = sorted(objects.pack_ids(), key=lambda p: objects.footer(p).frames_size)[:2]
            writer = PackWriter(temporary(store.root))
            for pack_id in small:
                fd = os.open(store.root / layout.pack_path(pack_id), os.O_RDONLY)
                for piece in pieces(fd, Contents(objects.footer(pack_id).encode())):
                    writer.add(piece.header, piece.stored, piece.inside)
                os.close(fd)
            kept = publish_pack(store.root, objects, writer)
            for pack_id in set(small) - {kept}:
                (store.root / layout.pack_path(pack_id)).unlink()
            merges.append(kept)
            objects.close()
            if len(objects.pack_ids()) < 3:
                return

    worker = threading.Thread(target=merge)
    worker.start()
    try:
        while worker.is_alive():
            for level in Level:
                assert check(store.root, level).problems == ()
    finally:
        stop.set()
        worker.join()
    assert len(merges) > 10


def test_progress_tells_bytes_and_ends_at_their_sum(store: Store, save: Save) -> None:
    """Of the packs; then large files and objects by number."""
    save(store, {"large": NOISE, "small": b"s"})
    told: list[tuple[str, int, int]] = []
    report = check(store.root, progress=lambda *what: told.append(what))
    bytes_told = [(done, total) for what, done, total in told if what == "bytes"]
    assert [done for done, _ in bytes_told] == sorted(done for done, _ in bytes_told)
    frames = sum(f.size for _, footer in store.objects.footers() for f in footer.frames)
    assert frames <= bytes_told[-1][0] <= report.size == bytes_told[-1][1]
    assert ("large files", 1, 1) in told


# --- a compact set -------------------------------------------------------------------------------------------------


@given(st.lists(st.binary(min_size=1, max_size=3), max_size=200))
def test_a_set_of_ids_is_a_set(tails: list[bytes]) -> None:
    """Ids that share their first bytes, and whose ends look like other ids' beginnings, are told apart."""
    found, wanted = IdSet(), set()
    for tail in tails:
        object_id = (b"\0\0" + tail * 32)[:32]
        assert found.add(object_id) is (object_id not in wanted)
        wanted.add(object_id)
    assert len(found) == len(wanted)
    assert all(object_id in found for object_id in wanted)
    assert b"\0\1" + bytes(30) not in found


def test_an_id_across_two_others_is_not_taken_for_one() -> None:
    """Where the end of one and the beginning of the next spell it; the true one behind them is found."""
    one, two = (random.Random(n).randbytes(30) for n in range(2))
    across, found = one[10:] + two[:10], IdSet()
    for tail in (one, two):
        assert found.add(b"ab" + tail)
    assert b"ab" + across not in found
    assert found.add(b"ab" + across)
    assert b"ab" + across in found
    assert len(found) == 3


def test_lost_heads_are_told_one_by_one_and_all_together(store: Store, save: Save) -> None:
    """One commit without a head may be interrupted work: a note. Without any head the store has lost them."""
    first = save(store, {"a": b"1"}, path=("task", "proj", "one"))
    save(store, {"b": b"2"}, key=OTHER, path=("task", "proj", "two"))
    (head,) = (store.root / "refs").glob(f"*/{OTHER}.*")
    head.unlink()
    report = check(store.root)
    assert report.clean
    (note,) = report.notes
    assert (note.touches, note.keys) == ((("task", "proj", "two"),), (OTHER,))
    shutil.rmtree(store.root / "refs")
    for level in Level:
        report = check(store.root, level)
        (problem,) = report.problems
        assert (problem.where, report.notes) == ("refs", ())
        assert problem.touches == (("task", "proj", "one"), ("task", "proj", "two"))
        assert "fsck --heal" in problem.advice
    (store.root / "refs").mkdir()
    assert not check(store.root).clean  # two packs: not one writer that died
    assert heal(store.root).report.notes == ()
    assert [h.id for h in store.heads.of(first.key)] == [first.id]
    assert check(store.root).clean


def test_what_the_first_writer_left_is_no_problem(store: Store, save: Save) -> None:
    """It died between its pack and its head; with the folder of heads gone, too, it is one."""
    save(store, {"a": b"1"})
    for head in (store.root / "refs").glob("*/*"):
        head.unlink()
    report = check(store.root)
    assert (report.clean, len(report.notes)) == (True, 1)
    shutil.rmtree(store.root / "refs")
    assert not check(store.root).clean


def test_a_commit_without_a_head_that_is_not_whole_is_told_so(store: Store, save: Save) -> None:
    """What it reaches is gone: to make it a head is not enough."""
    save(store, {"a": b"1"})
    kept = set((store.root / "packs").rglob("*.pack"))
    lost = save(store, {"b": NOISE}, key=OTHER)
    for head in (store.root / "refs").glob(f"*/{OTHER}.*"):
        head.unlink()
    for pack in set((store.root / "packs").rglob("*.pack")) - kept:
        if lost.id not in {o.id for o in store.objects.footer(pack.stem).objects}:
            pack.unlink()
    (note,) = check(store.root).notes
    assert "not all that it reaches is here" in note.what


def test_lists_that_claim_too_much_together_are_told_and_not_read(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each by itself is true, and proved where there is room for it: out of few bytes not any number of them."""
    chunk = bytes(layout.CHUNK_MAX)
    lists = []
    with store.begin() as transaction:
        chunk_id = transaction.put_bytes(chunk)
    for count in (120, 121):
        listed = ChunkList(0, ((chunk_id, len(chunk)),) * count)
        blob = hash_object(Kind.BLOB, bytes(listed.size))
        lists.append((*encode_list(listed.encode(), listed.size), [(blob, listed.size)]))
    writer = PackWriter(store.root / "tmp" / "lists")
    for header, stored, inside in lists:
        writer.add(header, stored, inside)
    publish_pack(store.root, store.objects, writer)
    assert store.fsck().clean
    monkeypatch.setattr(layout, "SPARSE_MAX", 100 * layout.MIB)
    (problem,) = store.fsck().problems
    assert "was not read" in problem.what
