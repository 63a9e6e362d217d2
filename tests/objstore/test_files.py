"""Files and folders in and out: what went in comes out, and nothing hostile gets outside its folder."""

from __future__ import annotations

import os
import random
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from objstore import files, layout
from objstore.errors import Conflict, Corrupt, InvalidName, NotFound, StoreError
from objstore.ids import Kind, ObjectId, hash_object
from objstore.records import Mode, Tree, TreeEntry
from objstore.store import Store

CHECKOUT = Path(__file__).parent.parent.parent
MIB = layout.MIB


def put_folder(store: Store, path: Path) -> tuple[ObjectId, int]:
    """Store a folder in a transaction of its own."""
    with store.begin() as transaction:
        return files.put_folder(transaction, path)


def put_entries(store: Store, *entries: TreeEntry) -> ObjectId:
    """Store one tree record of any entries, past what `put_folder` would refuse."""
    with store.begin() as transaction:
        return transaction.put(
            Kind.TREE, Tree(tuple(sorted(entries, key=lambda e: e.name.encode()))).encode()
        )


def entry(store: Store, name: str, content: bytes = b"content", mode: Mode = Mode.FILE) -> TreeEntry:
    """A tree entry of stored content."""
    with store.begin() as transaction:
        return TreeEntry(name, mode, transaction.put_bytes(content), len(content))


def below(folder: Path) -> dict[str, object]:
    """Everything in a folder: content and whether it can be executed, link targets, folders."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = os.readlink(path)
        elif path.is_dir():
            found[name] = None
        else:
            found[name] = (path.read_bytes(), bool(path.stat().st_mode & 0o100))
    return found


# --- files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 8 * MIB - 1, 8 * MIB, 8 * MIB + 1, 60 * MIB])
def test_a_file_of_any_size_survives(store: Store, tmp_path: Path, size: int) -> None:
    """One blob up to 8 MiB, chunks above; the id is the plain hash of the content either way."""
    pattern = random.Random(size).randbytes(min(size, 3 * MIB)) + b"text " * 1000
    content = (pattern * (size // max(1, len(pattern)) + 1))[:size]
    (tmp_path / "in").write_bytes(content)
    with store.begin() as transaction:
        object_id, stored = files.put_file(transaction, tmp_path / "in")
    assert (object_id, stored) == (hash_object(Kind.BLOB, content), size)
    assert store.objects.is_list(object_id) is (size > 8 * MIB)
    files.get_file(store.objects, object_id, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == content
    assert os.listdir(tmp_path / "store" / "tmp") == []


MEASURE = """
import resource, sys
from pathlib import Path
from objstore import files
from objstore.store import Store
store = Store.create(Path(sys.argv[1]))
with store.begin() as transaction:
    object_id, size = files.put_file(transaction, Path(sys.argv[2]))
files.get_file(store.objects, object_id, Path(sys.argv[3]))
# Not getrusage on Linux: there a process inherits the peak of the one that started it.
status = Path("/proc/self/status")
lines = status.read_text().splitlines() if status.exists() else []
peak = [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")]
print(object_id, size, *peak or [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss])
"""


def test_memory_stays_bounded_for_a_large_file(tmp_path: Path) -> None:
    """400 MiB, half of it a hole and half of it noise, in and out under 300 MiB; a 1 GiB file takes no more."""
    with (tmp_path / "in").open("wb") as file:
        file.truncate(200 * MIB)
        file.seek(200 * MIB)
        for _ in range(10):
            file.write(os.urandom(20 * MIB))
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, tmp_path / "s", tmp_path / "in", tmp_path / "out"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
    )
    _object_id, size, peak = run.stdout.split()
    assert int(size) == 400 * MIB
    assert int(peak) < 300 * MIB, f"{int(peak) / MIB} MiB"
    compared = subprocess.run(["cmp", tmp_path / "in", tmp_path / "out"])
    assert compared.returncode == 0
    stored = sum(path.stat().st_size for path in (tmp_path / "s" / "packs").rglob("*.pack"))
    assert stored < 202 * MIB


def test_what_is_no_file_is_never_replaced(store: Store, tmp_path: Path) -> None:
    """A pipe, as /dev/null would be gone for every process of the machine; nor what a link leads to."""
    item = entry(store, "a", b"content")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for name in ("pipe", "link"):
        with pytest.raises(Conflict, match=f"{name} is a device, pipe or socket"):
            store.get(item.id, tmp_path / name)
    assert stat.S_ISFIFO((tmp_path / "link").stat().st_mode)
    assert sorted(path.name for path in tmp_path.glob("[lp]*")) == ["link", "pipe"]


def test_an_existing_file_is_replaced_whole_or_not_at_all(store: Store, tmp_path: Path) -> None:
    """A damaged object leaves the old file, and no part of the new one."""
    target = tmp_path / "out"
    target.write_bytes(b"old")
    item = entry(store, "a", b"new" * 100)
    pack = next((store.root / "packs").rglob("*.pack"))
    data = pack.read_bytes()
    pack.write_bytes(data[:40] + b"X" + data[41:])
    with pytest.raises(Corrupt):
        files.get_file(store.objects, item.id, target)
    with pytest.raises(NotFound):
        files.get_file(store.objects, ObjectId(bytes(32)), target)
    assert target.read_bytes() == b"old"
    pack.write_bytes(data)
    files.get_file(store.objects, item.id, target)
    assert target.read_bytes() == b"new" * 100
    assert sorted(os.listdir(tmp_path)) == ["out", "store"]


def test_a_target_may_have_the_longest_of_names(store: Store, tmp_path: Path) -> None:
    """255 bytes, which leaves no room for a suffix; of a file and of a folder."""
    item = entry(store, "a")
    files.get_file(store.objects, item.id, tmp_path / ("😀" * 63 + "abc"))
    assert (tmp_path / ("😀" * 63 + "abc")).read_bytes() == b"content"
    files.checkout(store.objects, put_entries(store, item), tmp_path / ("é" * 127))
    assert os.listdir(tmp_path / ("é" * 127)) == ["a"]


def test_a_file_that_is_not_one_is_an_os_error(store: Store, tmp_path: Path) -> None:
    """The transaction goes on."""
    with store.begin() as transaction:
        for wrong in (tmp_path, tmp_path / "absent"):
            with pytest.raises(OSError):  # noqa: PT011  which one depends on the system
                files.put_file(transaction, wrong)
        assert files.put_file(transaction, store.root / "format")[1] > 0


def test_what_is_no_file_is_refused_at_once(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe, which would hang a reader, a socket and a device, each by its name; the transaction goes on."""
    monkeypatch.chdir(tmp_path)  # a socket's path may have 100 bytes
    os.mkfifo("pipe")
    with socket.socket(socket.AF_UNIX) as bound, store.begin() as transaction:
        bound.bind("socket")
        for name in ("pipe", "socket", "/dev/null", "/dev/zero"):
            with pytest.raises(StoreError, match=f"{name} is not a file"):
                files.put_file(transaction, Path(name))
        with pytest.raises(IsADirectoryError, match="tmp"):
            files.put_file(transaction, tmp_path)
        assert files.put_file(transaction, store.root / "format")[1] > 0


@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="there is no /proc")
def test_files_whose_size_says_nothing_are_stored_whole(store: Store, tmp_path: Path) -> None:
    """Those of /proc have a size of 0; a link to one is followed."""
    (tmp_path / "link").symlink_to("/proc/cpuinfo")
    for path in (Path("/proc/version"), tmp_path / "link"):
        with store.begin() as transaction:
            object_id, size = files.put_file(transaction, path)
        assert size == len(store.objects.read(object_id)) > path.stat().st_size == 0


@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_what_takes_a_files_place_while_a_folder_is_stored_is_not_read(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A pipe is not waited for, and a link not followed: an error either way."""
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "it").write_bytes(b"plain")
    plain = os.open

    def swapping(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if path == "it":
            os.unlink(tmp_path / "in" / "it")
            if kind == "pipe":
                os.mkfifo(tmp_path / "in" / "it")
            else:
                (tmp_path / "in" / "it").symlink_to(tmp_path / "secret")
        return plain(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", swapping)
    with pytest.raises((StoreError, OSError), match=r"it is not a file|Too many levels"):
        put_folder(store, tmp_path / "in")


def test_a_folder_may_be_named_by_a_link(store: Store, tmp_path: Path) -> None:
    """What it points to is stored."""
    (tmp_path / "in" / "sub").mkdir(parents=True)
    (tmp_path / "in" / "sub" / "it").write_bytes(b"plain")
    (tmp_path / "link").symlink_to("in")
    assert put_folder(store, tmp_path / "link") == put_folder(store, tmp_path / "in")


# --- folders -------------------------------------------------------------------------------------------------------

part = st.text("abcXYZ.é😀 -_", min_size=1, max_size=8).filter(
    lambda p: p[-1] not in ". " and p.strip(".") != ""
)
spelled = st.lists(part, min_size=1, max_size=3).map("/".join)


@settings(max_examples=20)
@given(st.dictionaries(spelled, st.tuples(st.binary(max_size=50), st.booleans()), max_size=8))
def test_a_folder_survives(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, tuple[bytes, bool]]
) -> None:
    """Names, content and the executable bit; storing what was checked out gives the same tree."""
    tmp_path = tmp_path_factory.mktemp("folder")
    source = tmp_path / "in"
    source.mkdir()
    folded: set[str] = set()
    for name, (data, executable) in content.items():
        parts = name.casefold().split("/")
        if any("/".join(parts[: n + 1]) in folded for n in range(len(parts))):
            continue  # it would collide on some file system, or need a file to be a folder
        path = source / name.casefold()
        if path.exists():
            continue
        folded.add(name.casefold())
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o755 if executable else 0o644)
    store = Store.create(tmp_path / "store")
    tree, size = put_folder(store, source)
    assert size == sum(len(v[0]) for v in below(source).values() if isinstance(v, tuple))
    store.get(tree, tmp_path / "out")
    assert below(tmp_path / "out") == below(source)
    assert put_folder(store, tmp_path / "out") == (tree, size)


def test_times_and_owners_are_left_out(store: Store, tmp_path: Path) -> None:
    """The same content is the same tree, whenever it was written and in which order."""
    for name, order in (("one", "ab"), ("two", "ba")):
        (tmp_path / name).mkdir()
        for letter in order:
            (tmp_path / name / letter).write_text(letter)
    os.utime(tmp_path / "two" / "a", (1, 1))
    (tmp_path / "two" / "b").chmod(0o600)
    assert put_folder(store, tmp_path / "one") == put_folder(store, tmp_path / "two")


def test_links_are_stored_as_text_and_never_followed(store: Store, tmp_path: Path) -> None:
    """A link to a file, to a folder, to nothing and to itself; what they point at is not stored."""
    source = tmp_path / "in"
    (source / "sub").mkdir(parents=True)
    (source / "file").write_bytes(b"content")
    for name, target in (("a", "file"), ("b", "sub"), ("c", "absent"), ("d", "d"), ("sub/up", "../file")):
        (source / name).symlink_to(target)
    tree, _ = put_folder(store, source)
    files.checkout(store.objects, tree, tmp_path / "out")
    assert below(tmp_path / "out") == below(source)
    modes = {e.name: e.mode for e in files.list_tree(store.objects, tree)}
    assert modes == {"file": Mode.FILE, "sub": Mode.TREE, **dict.fromkeys("abcd", Mode.LINK)}


def test_an_empty_folder_is_a_tree(store: Store, tmp_path: Path) -> None:
    """Empty ones within it too."""
    (tmp_path / "in" / "empty").mkdir(parents=True)
    tree, size = put_folder(store, tmp_path / "in")
    files.checkout(store.objects, tree, tmp_path / "out")
    assert (below(tmp_path / "out"), size) == ({"empty": None}, 0)


def test_a_file_that_can_be_executed_by_anybody_keeps_that(store: Store, tmp_path: Path) -> None:
    """Other permission bits are left out, and set-user-id never comes out of a store."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "tool").write_bytes(b"#!/bin/sh")
    (tmp_path / "in" / "tool").chmod(0o4711)
    tree, _ = put_folder(store, tmp_path / "in")
    files.checkout(store.objects, tree, tmp_path / "out")
    mode = (tmp_path / "out" / "tool").stat().st_mode
    assert mode & stat.S_IXUSR
    assert not mode & (stat.S_ISUID | stat.S_ISGID)


def test_what_is_no_file_is_refused_by_name(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe, which would hang a reader, and a socket."""
    for name in ("pipe", "socket"):
        folder = tmp_path / name
        folder.mkdir()
        if name == "pipe":
            os.mkfifo(folder / "it")
        else:
            monkeypatch.chdir(folder)  # a socket's path may have 100 bytes
            with socket.socket(socket.AF_UNIX) as bound:
                bound.bind("it")
        with pytest.raises(StoreError, match="it is not a file"):
            put_folder(store, folder)


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no such names")
def test_a_name_that_is_not_utf_8_is_refused(store: Store, tmp_path: Path) -> None:
    """It could not be written on another system; the message says what to do."""
    (tmp_path / "in").mkdir()
    with open(os.fsencode(tmp_path / "in") + b"/\xff", "wb"):
        pass
    with pytest.raises(InvalidName, match="rename"):
        put_folder(store, tmp_path / "in")


def test_folders_nested_too_deep_are_refused_when_stored(store: Store, tmp_path: Path) -> None:
    """64 levels go in and come out; 66 do not go in."""
    deep = tmp_path / "in" / "/".join("d" * 64)
    deep.mkdir(parents=True)
    (deep / "file").write_bytes(b"deep")
    tree, _ = put_folder(store, tmp_path / "in")
    files.checkout(store.objects, tree, tmp_path / "out")
    assert below(tmp_path / "out") == below(tmp_path / "in")
    (deep / "e" / "f").mkdir(parents=True)
    with pytest.raises(StoreError, match="nested deeper than 64"):
        put_folder(store, tmp_path / "in")


def test_what_a_disk_takes_in_parts_is_written_whole(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write may end early: near the end of a disk, after a signal, beyond 2 GiB."""
    data, plain = random.Random(3).randbytes(20_000), os.write
    tree = put_entries(store, entry(store, "a", data))
    monkeypatch.setattr(os, "write", lambda fd, rest: plain(fd, rest[:3000]))
    files.checkout(store.objects, tree, tmp_path / "out")
    assert (tmp_path / "out" / "a").read_bytes() == data


# --- a disk that is full -------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB; needs root."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", folder], check=True)


def no_answer(path: Path) -> os.statvfs_result:
    """A file system that does not say how full it is."""
    raise OSError(f"nothing is known of {path}")


def test_a_disk_that_is_full_in_the_middle_is_left_as_it_was(
    store: Store, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a file, and by a folder whose files fit one by one; nothing told so before. Then what fits is written."""
    monkeypatch.setattr(os, "statvfs", no_answer)
    (small_disk / "file").write_bytes(b"old")
    large = entry(store, "large", random.Random(1).randbytes(3 * MIB))
    parts = [entry(store, f"{n}", random.Random(n).randbytes(MIB // 2)) for n in range(6)]
    deep = TreeEntry("sub", Mode.TREE, put_entries(store, *parts), 3 * MIB)
    before = below(small_disk)
    with pytest.raises(OSError, match="No space left"):
        files.get_file(store.objects, large.id, small_disk / "file")
    assert below(small_disk) == before
    with pytest.raises(OSError, match="No space left"):
        files.checkout(store.objects, put_entries(store, deep), small_disk / "out")
    assert below(small_disk) == before
    files.checkout(store.objects, put_entries(store, *parts[:3]), small_disk / "out")
    assert len(os.listdir(small_disk / "out")) == 3


# --- pages ---------------------------------------------------------------------------------------------------------


def numbered(store: Store, numbers: list[int]) -> tuple[ObjectId, int]:
    """A tree with an entry for each number, all of one content."""
    item = entry(store, "x")
    with store.begin() as transaction:
        return files.put_tree(
            transaction, [TreeEntry(f"{n:06}", Mode.FILE, item.id, item.size) for n in numbers]
        )


def page_ids(store: Store, tree: ObjectId) -> set[ObjectId]:
    """The pages of a tree, none when it is one record."""
    entries = Tree.decode(store.objects.read(tree, Kind.TREE)).entries
    return {e.id for e in entries if e.mode is Mode.PAGE}


@pytest.mark.parametrize(
    ("count", "paged"), [(9_999, False), (10_000, False), (10_001, True), (30_000, True)]
)
def test_a_large_folder_is_paged(store: Store, count: int, paged: bool) -> None:
    """Above 10,000 entries, and reading gives all of them in order."""
    tree, size = numbered(store, list(range(count)))
    assert bool(page_ids(store, tree)) is paged
    assert [e.name for e in files.list_tree(store.objects, tree)] == [f"{n:06}" for n in range(count)]
    assert size == count * len(b"content")


def test_one_more_entry_changes_one_page(store: Store) -> None:
    """And its neighbour at most: a growing folder is not stored anew."""
    before = page_ids(store, numbered(store, list(range(0, 60_000, 2)))[0])
    for number in (1, 29_999, 59_999):
        after = page_ids(store, numbered(store, sorted([*range(0, 60_000, 2), number]))[0])
        assert len(before) >= 5
        assert len(after - before) <= 2


def test_the_order_of_entries_decides_nothing(store: Store) -> None:
    """A paged tree is the same however its entries were found."""
    numbers = list(range(12_000))
    random.Random(1).shuffle(numbers)
    assert numbered(store, numbers) == numbered(store, sorted(numbers))


def test_a_paged_folder_comes_out(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file of every page; the limit is lowered to save the time of ten thousand files."""
    for name, value in (("TREE_PAGE_MAX", 100), ("PAGE_MIN", 10), ("PAGE_MASK", 31)):
        monkeypatch.setattr(layout, name, value)
    tree, _ = numbered(store, list(range(1001)))
    assert len(page_ids(store, tree)) > 10
    files.checkout(store.objects, tree, tmp_path / "out")
    assert sorted(os.listdir(tmp_path / "out")) == [f"{n:06}" for n in range(1001)]
    assert put_folder(store, tmp_path / "out")[0] == tree


def page(store: Store, tree: ObjectId, name: str, size: int = 7) -> TreeEntry:
    """An entry that says that `tree` is a page which begins with `name`."""
    return TreeEntry(name, Mode.PAGE, tree, size)


def test_pages_that_lie_are_refused(store: Store) -> None:
    """An empty page, one that begins otherwise, and pages that overlap."""
    a, b, c = (put_entries(store, entry(store, name)) for name in "abc")
    ab = put_entries(store, entry(store, "a"), entry(store, "b"))
    nothing = put_entries(store)
    good = put_entries(store, page(store, a, "a"), page(store, b, "b"))
    assert [e.name for e in files.list_tree(store.objects, good)] == ["a", "b"]
    for lying in (
        [page(store, nothing, "a")],
        [page(store, a, "b")],
        [page(store, ab, "a"), page(store, b, "b")],
        [page(store, a, "a"), page(store, a, "b")],
        [page(store, a, "a"), page(store, c, "b")],
    ):
        with pytest.raises(Corrupt, match="page"):
            files.list_tree(store.objects, put_entries(store, *lying))


def test_pages_of_pages_do_not_multiply(store: Store) -> None:
    """Sixty records that name each other twice would list 2^60 entries: refused at once."""
    tree = put_entries(store, entry(store, "a"))
    for _ in range(60):
        tree = put_entries(store, page(store, tree, "a"), page(store, tree, "b"))
    with pytest.raises(Corrupt, match="page"):
        files.list_tree(store.objects, tree)
    for _ in range(60):
        tree = put_entries(store)
        tree = put_entries(store, page(store, tree, "a"), page(store, tree, "b"))
    with pytest.raises(Corrupt, match="page"):
        files.list_tree(store.objects, tree)


def test_pages_nested_too_deep_are_refused(store: Store) -> None:
    """A chain of pages ends in an error, not in a recursion."""
    tree = put_entries(store, entry(store, "a"))
    for _ in range(70):
        tree = put_entries(store, page(store, tree, "a"))
    with pytest.raises(Corrupt, match="deeper"):
        files.list_tree(store.objects, tree)


# --- hostile trees -------------------------------------------------------------------------------------------------


def refuses(store: Store, tmp_path: Path, tree: ObjectId, what: str) -> None:
    """Check that a checkout fails, and leaves nothing inside or outside of the target."""
    area = tmp_path / "area"
    area.mkdir(exist_ok=True)
    (area / "precious").write_bytes(b"old")
    before = below(tmp_path)
    with pytest.raises((InvalidName, Corrupt), match=what):
        files.checkout(store.objects, tree, area / "out")
    assert below(tmp_path) == before


HOSTILE = [
    "C:",
    "c:\\x",
    "a\\..\\b",
    "\\\\server\\share",
    "CON",
    "nul.txt",
    "com1",
    "dot.",
    "space ",
    "tab\t",
    "a:b",
    "*",
]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("mode", [Mode.FILE, Mode.LINK])
def test_a_hostile_name_is_refused_at_checkout(store: Store, tmp_path: Path, name: str, mode: Mode) -> None:
    """At the top and further down, with good entries before it."""
    bad = put_entries(store, entry(store, "good"), entry(store, name, mode=mode))
    rule = "has a character|ends with|reserved"
    refuses(store, tmp_path, bad, rule)
    refuses(store, tmp_path, put_entries(store, TreeEntry("sub", Mode.TREE, bad, 14)), rule)
    folder = put_entries(store, TreeEntry(name, Mode.TREE, put_entries(store), 0))
    refuses(store, tmp_path, folder, rule)


@pytest.mark.parametrize("name", ["..", ".", "", "/etc", "a/b", "../x", "a\0b"])
def test_a_name_that_leaves_its_folder_makes_the_tree_corrupt(
    store: Store, tmp_path: Path, name: str
) -> None:
    """Nobody can store such a record as a tree and have it read."""
    bad = put_entries(store, entry(store, name))
    refuses(store, tmp_path, bad, "damaged")


@pytest.mark.parametrize(("one", "other"), [("a", "A"), ("é", "e\u0301"), ("ß", "SS"), ("K", "\u212a")])
def test_names_that_collide_are_refused_at_checkout(
    store: Store, tmp_path: Path, one: str, other: str
) -> None:
    """Also where this file system could tell them apart: the result must not depend on it."""
    refuses(store, tmp_path, put_entries(store, entry(store, one), entry(store, other)), "one name")
    link = entry(store, one, b"elsewhere", Mode.LINK)
    folder = TreeEntry(other, Mode.TREE, put_entries(store, entry(store, "x")), 7)
    refuses(store, tmp_path, put_entries(store, link, folder), "one name")


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/etc/passwd",
        "..",
        "../x",
        "a/../../x",
        "./../x",
        "a/..",
        "",
        "a\0b",
        "C:\\x",
        "c:/x",
        "\\x",
        "x" * 5000,
    ],
)
def test_a_link_that_points_outside_is_refused(store: Store, tmp_path: Path, target: str) -> None:
    """Absolute, upwards in whichever spelling, empty, or too long to be a link."""
    link = entry(store, "link", target.encode(), Mode.LINK)
    refuses(store, tmp_path, put_entries(store, link, entry(store, "z")), "outside|more than the 4096 bytes")


def test_a_link_may_go_up_as_far_as_it_is_deep(store: Store, tmp_path: Path) -> None:
    """`../x` is fine one folder down, `../../x` is not."""
    for ups, fine in ((1, True), (2, False)):
        link = entry(store, "link", b"../" * ups + b"x", Mode.LINK)
        tree = put_entries(store, TreeEntry("sub", Mode.TREE, put_entries(store, link), link.size))
        if fine:
            files.checkout(store.objects, tree, tmp_path / "fine")
            assert os.readlink(tmp_path / "fine" / "sub" / "link") == "../x"
        else:
            refuses(store, tmp_path, tree, "outside")


@pytest.mark.parametrize("target", ["a/..", "a/../x", "./../x", "../a/../x", "x/.."])
def test_a_link_goes_up_only_at_its_beginning(store: Store, tmp_path: Path, target: str) -> None:
    """Behind a name, which may be a link itself, nobody can say where `..` leads: refused however deep it is."""
    tree = put_entries(store, entry(store, "link", target.encode(), Mode.LINK))
    for _ in range(5):
        tree = put_entries(store, TreeEntry("sub", Mode.TREE, tree, len(target)))
    refuses(store, tmp_path, tree, "outside")


def test_links_together_lead_nowhere_outside(store: Store, tmp_path: Path) -> None:
    """Whatever accepted links are followed one after another, the end is inside."""
    rng = random.Random(5)
    outside = (tmp_path / "outside").resolve()
    outside.mkdir()
    for turn in range(40):
        inner = [
            entry(
                store,
                f"m{n}",
                rng.choice([b"../", b"", b"../../"]) + b"l%d/m%d" % (rng.randrange(3), n),
                Mode.LINK,
            )
            for n in range(3)
        ]
        folder = put_entries(store, *inner)
        outer = [
            entry(store, f"l{n}", rng.choice([b"sub", b"l0", b"sub/m1", b"."]), Mode.LINK) for n in range(3)
        ]
        tree = put_entries(store, *outer, TreeEntry("sub", Mode.TREE, folder, sum(e.size for e in inner)))
        target = tmp_path / f"out{turn}"
        try:
            files.checkout(store.objects, tree, target)
        except InvalidName:
            continue
        for link in target.rglob("*"):
            if link.is_symlink():
                end = Path(os.path.realpath(link))
                assert end.is_relative_to(target.resolve())


def test_nothing_is_written_through_a_link(store: Store, tmp_path: Path) -> None:
    """A name that stands twice, first as a link and then as a folder, is no tree at all."""
    link = entry(store, "x", b"..", Mode.LINK)
    folder = TreeEntry("x", Mode.TREE, put_entries(store, entry(store, "evil")), 7)
    with store.begin() as transaction:
        tree = transaction.put(Kind.TREE, Tree((link, folder)).encode())
    refuses(store, tmp_path, tree, "twice")


@pytest.mark.parametrize("depth", [70, 10_000])
def test_trees_nested_too_deep_are_refused(store: Store, tmp_path: Path, depth: int) -> None:
    """Ten thousand levels end in an error, and what was begun is removed."""
    with store.begin() as transaction:
        tree, size = files.put_tree(transaction, [])
        for _ in range(depth):
            tree, size = files.put_tree(transaction, [TreeEntry("d", Mode.TREE, tree, size)])
    refuses(store, tmp_path, tree, "deeper than 64")


def test_sizes_that_lie_are_refused(store: Store, tmp_path: Path) -> None:
    """Of a file, a link and a folder: who asked for the size first is not surprised."""
    item, link = entry(store, "a"), entry(store, "l", b"a", Mode.LINK)
    folder = put_entries(store, item)
    refuses(store, tmp_path, put_entries(store, TreeEntry("a", Mode.FILE, item.id, 6)), "not the 6")
    refuses(store, tmp_path, put_entries(store, TreeEntry("l", Mode.LINK, link.id, 2)), "not the 2")
    refuses(store, tmp_path, put_entries(store, TreeEntry("f", Mode.TREE, folder, 8)), "not the 8")


def test_a_missing_or_damaged_object_leaves_nothing(store: Store, tmp_path: Path) -> None:
    """A checkout appears whole or not at all."""
    absent = TreeEntry("zz", Mode.FILE, ObjectId(b"\x01" * 32), 5)
    tree = put_entries(store, entry(store, "a"), absent)
    with pytest.raises(NotFound):
        files.checkout(store.objects, tree, tmp_path / "out")
    assert os.listdir(tmp_path) == ["store"]


@pytest.mark.parametrize("kind", ["file", "folder", "empty folder", "dangling link"])
def test_an_existing_target_is_left_alone(store: Store, tmp_path: Path, kind: str) -> None:
    """Checkout makes a new folder, and says so."""
    target = tmp_path / "out"
    if kind == "file":
        target.write_bytes(b"old")
    elif kind == "dangling link":
        target.symlink_to("absent")
    else:
        target.mkdir()
        if kind == "folder":
            (target / "old").write_bytes(b"old")
    tree = put_entries(store, entry(store, "a"))
    before = below(tmp_path)
    with pytest.raises(InvalidName, match="name a new folder"):
        files.checkout(store.objects, tree, target)
    assert below(tmp_path) == before


def test_a_blob_that_is_a_valid_tree_is_not_used_as_one(store: Store, tmp_path: Path) -> None:
    """Its id is that of a blob, and a tree entry that names it as a folder is refused."""
    data = Tree((entry(store, "a"),)).encode()
    with store.begin() as transaction:
        as_blob = transaction.put_bytes(data)
    refuses(store, tmp_path, as_blob, "not a tree")
    refuses(store, tmp_path, put_entries(store, TreeEntry("f", Mode.TREE, as_blob, 7)), "not a tree")
