"""An unchanged file costs no reading, and nothing that a file can do makes its old content be taken for the new."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from objstore import files, layout
from objstore.ids import Kind, ObjectId, hash_object
from objstore.statcache import StatCache, originals, spots_of
from objstore.store import Store

KIB, MIB = layout.KIB, layout.MIB
LARGE = 20 * MIB
OLD = layout.STAT_MARGIN / 1e9 + 0.05  # seconds after which a file's change is no longer racy

SYSFS = Path("/sys/kernel/mm/transparent_hugepage")

proc_io = pytest.mark.skipif(not os.path.exists("/proc/self/io"), reason="bytes read are counted by /proc")


def noise(size: int, seed: int = 0) -> bytes:
    """Bytes that nothing compresses, the same for the same seed."""
    return random.Random(seed).randbytes(size)


def put(store: Store, path: Path, *, force: bool = False) -> ObjectId:
    """Store a file or folder in a transaction of its own; returns its id."""
    with store.begin() as transaction:
        intake = files.put_folder if path.is_dir() else files.put_file
        return intake(transaction, path, force=force)[0]


def bytes_read() -> int:
    """What this process has asked the kernel for so far."""
    with open("/proc/self/io", encoding="ascii") as file:
        return int(file.readline().split()[1])


def reading(store: Store, path: Path, *, force: bool = False) -> tuple[ObjectId, int]:
    """Store a path; returns its id and how many bytes were read for that."""
    before = bytes_read()
    object_id = put(store, path, force=force)
    return object_id, bytes_read() - before


def known(store: Store, source: Path) -> list[str]:
    """The files below a path whose content the store's cache knows."""
    folder = store.root / layout.STAT_CACHE
    names = [path for _, path in originals(store.root)] if folder.is_dir() else []
    return sorted(path.relative_to(source).as_posix() for path in names if path.is_relative_to(source))


def lie(store: Store, source: Path, *names: str, content: bytes, spots_from: Path | None = None) -> None:
    """Make the cache say that files hold `content`, as if they had been changed with no trace in their stat."""
    with store.begin() as transaction:
        object_id = transaction.put_bytes(content)
    with StatCache(store.root, source) as cache:
        for name in names:
            path = source / name if name else source
            status = path.stat()
            with (spots_from or path).open("rb") as file:
                spots = spots_of(file.fileno(), status.st_size)
            cache.add(name, status, status, object_id, spots)
    assert all(name in StatCache(store.root, source) for name in names)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder of three large files and ten small ones, written long enough ago."""
    folder = tmp_path / "source"
    (folder / "sub").mkdir(parents=True)
    for number in range(3):
        (folder / f"large{number}").write_bytes(noise(3 * MIB, number))
    for number in range(10):
        (folder / "sub" / f"small{number}").write_bytes(noise(5000, number))
    time.sleep(OLD)
    return folder


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A file of 20 MiB, written long enough ago."""
    (tmp_path / "large").write_bytes(noise(LARGE))
    time.sleep(OLD)
    return tmp_path / "large"


def blob(content: bytes | bytearray) -> ObjectId:
    """The id of content."""
    return hash_object(Kind.BLOB, bytes(content))


# --- what it saves -------------------------------------------------------------------------------------------------


@proc_io
def test_an_unchanged_file_is_not_read_again(store: Store, large: Path) -> None:
    """By another process too; a few places are looked at, and `force` reads all."""
    first, read = reading(store, large)
    assert read >= LARGE
    for opened in (store, Store.open(store.root)):
        again, read = reading(opened, large)
        assert again == first == blob(noise(LARGE))
        assert 8 * 4 * KIB <= read < MIB
    forced, read = reading(store, large, force=True)
    assert forced == first
    assert read >= LARGE


@proc_io
def test_of_an_unchanged_folder_little_is_read_again(store: Store, source: Path) -> None:
    """And of a changed one only what has changed; the trees are those that a full read gives."""
    first, read = reading(store, source)
    assert read > 9 * MIB
    assert known(store, source) == sorted(
        [*(f"large{n}" for n in range(3)), *(f"sub/small{n}" for n in range(10))]
    )
    again, read = reading(store, source)
    assert again == first
    assert read < MIB
    (source / "large1").write_bytes(noise(3 * MIB, 7))
    (source / "sub" / "small3").unlink()
    (source / "sub" / "new").write_bytes(b"new")
    changed, read = reading(store, source)
    assert 3 * MIB <= read < 4 * MIB
    assert changed == put(store, source, force=True) != first


def test_the_cache_of_an_unchanged_path_is_not_written_again(store: Store, source: Path) -> None:
    """Nothing new lies in the store, in tmp/ neither."""
    put(store, source)
    before = {path: path.stat().st_mtime_ns for path in store.root.rglob("*") if path.is_file()}
    put(store, source)
    assert {path: path.stat().st_mtime_ns for path in store.root.rglob("*") if path.is_file()} == before


def test_a_mode_may_change_without_a_word(store: Store, source: Path) -> None:
    """The entry has the mode of now."""
    put(store, source)
    (source / "large0").chmod(0o755)
    changed = put(store, source)
    modes = {entry.name: entry.mode for entry in files.list_tree(store.objects, changed)}
    assert modes["large0"] == "exec"
    assert changed == put(store, source, force=True)


# --- what it must not miss -----------------------------------------------------------------------------------------


def test_a_change_of_the_same_size_is_seen(store: Store, large: Path) -> None:
    """By its mtime; and when that is put back, by its ctime."""
    put(store, large)
    status = large.stat()
    content = bytearray(noise(LARGE))
    for place, restored in ((12_345_678, False), (2_345_678, True)):  # where no spot is
        content[place] ^= 1
        with large.open("r+b") as file:
            file.seek(place)
            file.write(content[place : place + 1])
        if restored:
            os.utime(large, ns=(status.st_atime_ns, status.st_mtime_ns))
            assert large.stat().st_mtime_ns == status.st_mtime_ns
        time.sleep(OLD)
        assert put(store, large) == blob(content)
        assert known(store, large) == ["."]


def test_another_file_in_its_place_is_seen(store: Store, tmp_path: Path, large: Path) -> None:
    """One with the same size and mtime, moved there by a rename; it has another inode."""
    put(store, large)
    status = large.stat()
    content = bytearray(noise(LARGE))
    content[5_555_555] ^= 1
    (tmp_path / "other").write_bytes(content)
    os.utime(tmp_path / "other", ns=(status.st_atime_ns, status.st_mtime_ns))
    (tmp_path / "other").replace(large)
    assert put(store, large) == blob(content)


@pytest.mark.parametrize("field", ["st_size", "st_mtime_ns", "st_ctime_ns", "st_ino", "st_dev"])
def test_each_part_of_a_stat_counts(store: Store, large: Path, field: str) -> None:
    """A file that differs in only one of them is another."""
    status = large.stat()
    with StatCache(store.root, large) as cache:
        cache.add("", status, status, blob(b""), 1)
    cache = StatCache(store.root, large)
    names = ["st_mode", "st_ino", "st_dev", "st_nlink", "st_uid", "st_gid", "st_size"]
    fields = {name: getattr(status, name) for name in (*names, "st_mtime_ns", "st_ctime_ns")}
    for other, expected in ((fields, True), ({**fields, field: fields[field] + 1}, False)):
        plain = (*(other[name] for name in names), 0, 0, 0)
        times = {"st_mtime_ns": other["st_mtime_ns"], "st_ctime_ns": other["st_ctime_ns"]}
        assert (cache.find("", os.stat_result(plain, times)) is not None) is expected


def test_a_file_that_was_just_written_is_not_trusted(store: Store, tmp_path: Path) -> None:
    """Another change in the same tick of the clock would not show; once it is older it is."""
    path = tmp_path / "young"
    path.write_bytes(noise(MIB))
    put(store, path)
    assert known(store, path) == []
    time.sleep(OLD)
    put(store, path)
    assert known(store, path) == ["."]


def test_a_file_is_not_trusted_however_fast_it_is_rewritten(store: Store, tmp_path: Path) -> None:
    """Write, store, write, store: 200 times without a pause, each time what was written last."""
    path = tmp_path / "racy"
    contents = [noise(MIB // 8, seed) for seed in range(2)]
    for turn in range(200):
        path.write_bytes(contents[turn % 2])
        assert put(store, path) == blob(contents[turn % 2])


def test_a_file_without_a_size_is_not_trusted(store: Store, source: Path) -> None:
    """As the files of /proc are, whatever is in them; to read one that is empty costs nothing."""
    (source / "empty").touch()
    time.sleep(OLD)
    put(store, source)
    assert "empty" not in known(store, source)
    assert "large0" in known(store, source)


@pytest.mark.skipif(not os.access(SYSFS / "enabled", os.R_OK), reason="there is no such folder of /sys")
def test_a_file_that_gives_less_than_its_size_is_not_trusted(store: Store) -> None:
    """As the files of /sys do: all have a size of 4096, and none changes its times when it changes."""
    assert (SYSFS / "enabled").stat().st_size == 4096
    tree = put(store, SYSFS)
    assert files.list_tree(store.objects, tree)[0].size < 4096
    assert known(store, SYSFS) == []


def test_a_file_is_asked_again_once_it_is_open(
    store: Store, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its name, a network file system may answer from memory what the file was a minute ago."""
    put(store, large)
    plain, old = os.stat, large.stat()
    content = bytearray(noise(LARGE))
    content[7_777_777] ^= 1  # where no spot is
    large.write_bytes(content)
    monkeypatch.setattr(
        os, "stat", lambda path, **named: old if str(path) == str(large) else plain(path, **named)
    )
    assert put(store, large) == blob(content)


def stat_of(path: Path, mtime_ns: int, ctime_ns: int) -> os.stat_result:
    """A file's stat with other times."""
    status = path.stat()
    return os.stat_result((*tuple(status)[:7], 0, 0, 0), {"st_mtime_ns": mtime_ns, "st_ctime_ns": ctime_ns})


@pytest.mark.parametrize(
    ("mtime_age", "ctime_age", "step", "trusted"),
    [
        (5, 5, 1, True),
        (0, 5, 1, False),
        (5, 0, 1, False),
        (-3600, 5, 1, False),
        (5, -3600, 1, False),
        (5, 5, 1_000_000_000, False),
        (30, 30, 1_000_000_000, True),
        (30, 5, 10_000_000, False),
    ],
)
def test_how_old_a_change_must_be(
    store: Store, large: Path, mtime_age: float, ctime_age: float, step: int, trusted: bool
) -> None:
    """A tenth of a second, ten where times are coarse. What is of the future (a clock was set back) is not old."""
    with StatCache(store.root, large) as cache:
        now = time.time_ns()
        times = [int(now - age * 1e9) // step * step + (step == 1) for age in (mtime_age, ctime_age)]
        times = [t + 1 if step == 1 and t % 10_000_000 == 0 else t for t in times]
        status = stat_of(large, *times)
        cache.add("", status, status, blob(b""), 1)
    assert ("" in StatCache(store.root, large)) is trusted


def test_a_file_that_changes_while_it_is_read_is_not_trusted(
    store: Store, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read is stored; the next time it is read again."""
    plain, content = os.readv, bytearray(noise(LARGE))

    def read(fd: int, buffers: list[memoryview]) -> int:
        found = plain(fd, buffers)
        if found > MIB:
            content[7] ^= 1
            with large.open("r+b") as file:
                file.seek(7)
                file.write(content[7:8])
        return found

    monkeypatch.setattr(os, "readv", read)
    assert put(store, large) == blob(noise(LARGE))
    monkeypatch.undo()
    time.sleep(OLD)
    assert known(store, large) == []
    assert put(store, large) == blob(content)


@pytest.mark.parametrize("size", [0, 5000, 100_000, 8 * MIB - 1, 8 * MIB, 9 * MIB])
def test_a_file_that_grows_while_it_is_read_is_stored_as_it_was_read(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Some bytes, or another 9 MiB: all that the file gave before it ended."""
    for more in (1, 5000, 9 * MIB):
        folder = tmp_path / f"{size}-{more}"
        folder.mkdir()
        (folder / "it").write_bytes(noise(size))
        time.sleep(OLD)
        grown = False

        def growing(read: Callable[..., Any], folder: Path = folder, more: int = more) -> Callable[..., Any]:
            def grows(fd: int, what: Any) -> Any:
                nonlocal grown
                found = read(fd, what)
                if not grown:
                    grown = True
                    with (folder / "it").open("ab") as file:
                        file.write(noise(more, 5))
                return found

            return grows

        monkeypatch.setattr(os, "read", growing(os.read))
        monkeypatch.setattr(os, "readv", growing(os.readv))
        tree = put(store, folder)
        monkeypatch.undo()
        assert grown
        (entry,) = files.list_tree(store.objects, tree)
        expected = noise(size) + noise(more, 5)
        assert (entry.id, entry.size) == (blob(expected), len(expected))
        assert known(store, folder) == []


# --- times that lie ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [64 * KIB, 100_000, MIB, 3 * MIB + 1, LARGE])
def test_a_large_file_whose_times_lie_is_noticed_by_a_few_places(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Its start and its end are among them; a change elsewhere may hide, which `force` finds."""
    monkeypatch.setattr(layout, "STAT_SAMPLE", 0)  # which are whole files
    path, other = tmp_path / "it", tmp_path / "other"
    path.write_bytes(noise(size))
    time.sleep(OLD)
    for place, seen in ((0, True), (size - 1, True), (4096 + 100, False)):
        content = bytearray(noise(size))
        content[place] ^= 1
        other.write_bytes(content)
        lie(store, path, "", content=bytes(content), spots_from=other)
        assert put(store, path) == blob(noise(size) if seen else content)
        assert put(store, path, force=True) == blob(noise(size))
        assert put(store, path) == blob(noise(size))


def test_a_small_file_whose_times_lie_is_noticed(store: Store, source: Path) -> None:
    """Where there are no more than 64 of them; then everything is read again, also what seems right."""
    lie(store, source, "large1", content=b"not what large1 holds")  # which its spots do not show
    assert put(store, source) != put(store, source, force=True)
    lie(store, source, "large1", "sub/small4", content=b"not what they hold")
    assert put(store, source) == put(store, source, force=True)


def test_one_wrong_place_makes_everything_be_read_again(store: Store, source: Path, tmp_path: Path) -> None:
    """Who cannot trust one file's times cannot trust those of the others."""
    truth = put(store, source)
    (tmp_path / "other").write_bytes(noise(3 * MIB, 99))
    with StatCache(store.root, source) as cache:
        for name, spots_from in (("large0", source / "large0"), ("large2", tmp_path / "other")):
            status = (source / name).stat()
            with spots_from.open("rb") as file:
                spots = spots_of(file.fileno(), status.st_size)
            cache.add(name, status, status, blob(noise(5000, 1)), spots)
    assert put(store, source) == truth
    assert put(store, source) == truth


def test_of_many_small_files_others_are_looked_at_each_time(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By chance; and a generator that a training has seeded goes on as if nothing had been stored."""
    monkeypatch.setattr(layout, "STAT_SAMPLE", 5)
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(50):
        (folder / f"{number}").write_bytes(noise(100, number))
    time.sleep(OLD)
    truth = put(store, folder)
    lie(store, folder, *(f"{number}" for number in range(50)), content=b"lies")
    cache = StatCache(store.root, folder)
    assert len({cache.sample(5) for _ in range(20)}) > 10
    random.seed(1)
    expected = [random.random() for _ in range(3)]
    random.seed(1)
    assert put(store, folder) == truth
    assert [random.random() for _ in range(3)] == expected


# --- the cache itself ----------------------------------------------------------------------------------------------


def cache_files(store: Store) -> list[Path]:
    """The caches of a store."""
    return sorted((store.root / layout.STAT_CACHE).iterdir())


@pytest.mark.parametrize("how", ["file", "folder", "all"])
def test_a_cache_may_be_deleted(store: Store, source: Path, how: str) -> None:
    """At any level; it is made again."""
    first = put(store, source)
    if how == "file":
        cache_files(store)[0].unlink()
    else:
        shutil.rmtree(store.root / (layout.CACHE if how == "all" else layout.STAT_CACHE))
    assert put(store, source) == first
    assert len(cache_files(store)) == 1


@pytest.mark.parametrize("place", ["cache", "cache/stat"])
def test_a_cache_that_cannot_be_written_is_none(store: Store, source: Path, place: str) -> None:
    """Files are read; nothing is said, and nothing is left over."""
    shutil.rmtree(store.root / "cache")
    (store.root / place).parent.mkdir(exist_ok=True)
    (store.root / place).write_bytes(b"in the way")
    assert put(store, source) == put(store, source)
    assert os.listdir(store.root / "tmp") == []


@settings(max_examples=60)
@given(share=st.floats(0, 1, exclude_max=True), how=st.integers(0, 4))
def test_garbage_in_a_cache_is_ignored(
    tmp_path_factory: pytest.TempPathFactory, share: float, how: int
) -> None:
    """Bytes changed anywhere, or cut off, or something else altogether."""
    tmp_path = tmp_path_factory.mktemp("garbage")
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}").write_bytes(noise(3000, number))
        os.utime(folder / f"{number}", (1, 1))
    store = Store.create(tmp_path / "store")
    time.sleep(OLD)
    truth = put(store, folder)
    (path,) = cache_files(store)
    content = path.read_bytes()
    assert len(known(store, folder)) == 3
    place = int(share * len(content))
    damaged = [
        content[:place],
        content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :],
        content[:place] + bytes(len(content) - place),
        content + b"x",
        b"",
    ][how]
    path.write_bytes(damaged)
    assert known(store, folder) == []
    assert put(store, folder) == truth
    assert path.read_bytes() == content


def test_a_cache_under_another_ones_name_is_ignored(store: Store, source: Path, tmp_path: Path) -> None:
    """What it says of one folder must not be believed of another."""
    shutil.copytree(source, tmp_path / "two")
    (tmp_path / "two" / "large0").write_bytes(noise(3 * MIB, 50))
    time.sleep(OLD)
    put(store, source)
    (one,) = cache_files(store)
    put(store, tmp_path / "two")
    (two,) = (path for path in cache_files(store) if path != one)
    two.write_bytes(one.read_bytes())
    assert known(store, tmp_path / "two") == []
    assert "large0" not in StatCache(store.root, tmp_path / "two")


def test_another_host_knows_nothing(store: Store, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same path may be another file there; what this host knows is kept beside it."""
    put(store, source)
    here = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result((here[0], "elsewhere", *here[2:])))
    assert "large0" not in StatCache(store.root, source)
    assert list(originals(store.root)) == []
    put(store, source)
    monkeypatch.undo()
    assert len(cache_files(store)) == 2
    assert "large0" in StatCache(store.root, source)


def test_only_so_many_paths_are_remembered(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest are forgotten."""
    monkeypatch.setattr(layout, "STAT_CACHES_MAX", 4)
    paths = [tmp_path / f"{number}" for number in range(12)]
    for path in paths:
        path.write_bytes(noise(70_000))
    time.sleep(OLD)
    for path in paths:
        put(store, path)
        time.sleep(0.01)
        assert len(cache_files(store)) <= 4
    assert "" in StatCache(store.root, paths[-1])


def test_only_so_many_files_of_a_folder_are_remembered(
    store: Store, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are read each time."""
    monkeypatch.setattr(layout, "STAT_ROWS_MAX", 5)
    assert put(store, source) == put(store, source)
    assert len(known(store, source)) == 5


def test_what_was_collected_meanwhile_is_stored_again(store: Store, source: Path, large: Path) -> None:
    """The cache says what a file's content was, not that it is still here: a whole file, and chunks of one."""
    for path in (source, large):
        first = put(store, path)
        for pack in list((store.root / layout.PACKS).rglob("*.pack")):
            pack.unlink()
            assert put(Store.open(store.root), path) == first
            Store.open(store.root).get(first, path.with_name(f"{path.name}-{pack.name[:8]}"))


def test_it_names_the_originals_of_blobs(store: Store, source: Path, large: Path) -> None:
    """So that a damaged object can be healed from the file that it came from."""
    put(store, source)
    put(store, large)
    found = dict(originals(store.root))
    assert found[blob(noise(LARGE))] == large
    assert found[blob(noise(5000, 4))] == source / "sub" / "small4"
    assert len(found) == 14


RACING = """
import sys
from pathlib import Path
from objstore import files
from objstore.store import Store
store = Store.open(Path(sys.argv[1]))
for _ in range(20):
    with store.begin() as transaction:
        print(files.put_folder(transaction, Path(sys.argv[2]))[0])
"""


def test_processes_may_store_one_folder_at_once(store: Store, source: Path, checkout: Path) -> None:
    """Each writes the cache as it finds it; whichever is there is whole."""
    truth = put(store, source, force=True)
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    command = [sys.executable, "-c", RACING, str(store.root), str(source)]
    running = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    for _ in range(20):
        cache_files(store)[0].write_bytes(b"garbage")
        time.sleep(0.01)
    for process in running:
        output, _ = process.communicate()
        assert process.returncode == 0
        assert set(output.split()) == {str(truth)}
    assert put(store, source) == truth
    assert os.listdir(store.root / "tmp") == []


def test_an_error_leaves_the_cache_as_it_was(store: Store, source: Path) -> None:
    """And nothing in tmp/."""
    put(store, source)
    before = cache_files(store)[0].read_bytes()
    os.mkfifo(source / "zz")
    with pytest.raises(Exception, match="is not a file"):
        put(store, source)
    assert cache_files(store)[0].read_bytes() == before
    assert os.listdir(store.root / "tmp") == []
