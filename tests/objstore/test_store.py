"""A store as a whole: made once, found whole, moved, copied, united, read where it cannot be written."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest

from objstore import files, layout
from objstore.errors import Ambiguous, Corrupt, InvalidName, NotFound, ReadOnly, StoreError, Unsupported
from objstore.ids import Kind, ObjectId, hash_object
from objstore.records import Commit, format_bytes
from objstore.store import Store

CHECKOUT = Path(__file__).parent.parent.parent
TEMPLATE = CHECKOUT / ".tracker-template"
KEY = "0123456789abcdef0123456789abcdef"
NOISE = random.Random(6).randbytes(9 * layout.MIB)
Save = Callable[..., Commit]


def tree(folder: Path) -> dict[str, bytes | None]:
    """Every path in a folder with its content, None for a folder."""
    return {
        p.relative_to(folder).as_posix(): None if p.is_dir() else p.read_bytes() for p in folder.rglob("*")
    }


# --- making and opening --------------------------------------------------------------------------------------------


def test_a_new_store_has_its_folders_and_format(tmp_path: Path) -> None:
    """With and without a template; it is empty, clean and can be written."""
    for name, template in (("plain", None), ("full", TEMPLATE)):
        store = Store.create(tmp_path / name, template)
        assert set(layout.FOLDERS) <= set(os.listdir(store.root))
        assert (store.root / "format").read_bytes() == format_bytes()
        assert not store.read_only
        assert store.heads.live() == {}
        assert store.fsck().clean
    assert (tmp_path / "full" / "config.toml").read_bytes() == (TEMPLATE / "config.toml").read_bytes()
    assert (tmp_path / "full" / ".gitignore").read_text() == "*\n"
    assert not list((tmp_path / "full").rglob(".gitkeep"))
    assert sorted(os.listdir(tmp_path)) == ["full", "plain"]


def test_making_a_store_that_is_there_opens_it(store: Store, save: Save) -> None:
    """Nothing of it is replaced."""
    save(store, {"a": b"x"})
    (store.root / "config.toml").write_text("mine")
    before = tree(store.root)
    assert list(Store.create(store.root, TEMPLATE).heads.live()) == [KEY]
    assert tree(store.root) == before


CREATE = """
import sys
from pathlib import Path
from objstore.store import Store
print("ready", flush=True)
sys.stdin.readline()
store = Store.create(Path(sys.argv[1]), Path(sys.argv[2]))
with store.begin() as transaction:
    transaction.put_bytes(sys.argv[3].encode())
assert (store.root / "config.toml").stat().st_size > 100
"""


def test_sixteen_processes_make_one_store(tmp_path: Path) -> None:
    """All at once; each can write into it, and nothing half-made is left."""
    root = tmp_path / "deep" / ".tracker"
    root.parent.mkdir()
    command = [sys.executable, "-c", CREATE, str(root), str(TEMPLATE)]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    processes = [
        subprocess.Popen(
            [*command, f"own {n}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        for n in range(16)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
    for process in processes:
        process.communicate()
    assert [process.returncode for process in processes] == [0] * 16
    store = Store.open(root)
    assert all(store.objects.has(hash_object(Kind.BLOB, b"own %d" % n)) for n in range(16))
    assert store.fsck().clean
    assert os.listdir(root.parent) == [".tracker"]


def test_an_empty_folder_becomes_a_store(tmp_path: Path) -> None:
    """One that a user, or a container's mount, has made already."""
    (tmp_path / "s").mkdir()
    assert Store.create(tmp_path / "s").heads.live() == {}


def test_what_is_no_store_is_not_touched(tmp_path: Path) -> None:
    """A file or a folder of something else is left alone, and the message names it."""
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine").write_bytes(b"x")
    before = tree(tmp_path)
    for name in ("file", "folder"):
        with pytest.raises(InvalidName, match="name another folder"):
            Store.create(tmp_path / name)
        with pytest.raises(NotFound, match="is not a store"):
            Store.open(tmp_path / name)
    with pytest.raises(NotFound):
        Store.open(tmp_path / "absent")
    with pytest.raises(FileNotFoundError):
        Store.create(tmp_path / "absent" / "store")
    assert tree(tmp_path) == before


def test_a_store_is_durable_before_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its format file is on the disk before the folder gets its name, and the name before it is used."""
    steps: list[str] = []
    fsync, rename = os.fsync, os.rename

    def watched(fd: int) -> None:
        path = os.readlink(f"/proc/self/fd/{fd}")
        steps.append(
            "folder"
            if os.path.isdir(path) and path == str(tmp_path)
            else os.path.basename(os.path.dirname(path))
        )
        fsync(fd)

    def renamed(source: Path, target: Path) -> None:
        if target == tmp_path / "store":
            steps.append("rename")
        rename(source, target)

    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc")
    monkeypatch.setattr(os, "fsync", watched)
    monkeypatch.setattr(os, "rename", renamed)
    Store.create(tmp_path / "store")
    assert "tmp" in steps[: steps.index("rename")]
    assert "folder" in steps[steps.index("rename") :]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", Corrupt),
        (b"{", Corrupt),
        (format_bytes().replace(b'"version": 1', b'"version": 2'), Unsupported),
    ],
)
def test_a_store_of_another_format_is_refused(store: Store, content: bytes, error: type[StoreError]) -> None:
    """Damaged, empty as after a power cut, or newer: the message names the store."""
    (store.root / "format").write_bytes(content)
    with pytest.raises(error, match=str(store.root)):
        Store.open(store.root)


def test_an_unknown_write_feature_means_reading_only(store: Store, save: Save) -> None:
    """What an older program may read it may not write."""
    commit = save(store, {"a": b"x"})
    record = orjson.loads(format_bytes())
    record["features"]["write"] = ["new"]
    (store.root / "format").write_bytes(orjson.dumps(record))
    older = Store.open(store.root)
    assert older.read_only
    assert older.heads.of(KEY)[0].id == commit.id
    with pytest.raises(ReadOnly):
        older.begin()


# --- prefixes ------------------------------------------------------------------------------------------------------


def test_a_prefix_of_six_characters_finds_an_object(store: Store) -> None:
    """Of whichever kind, up to the full id; also one that another process has just stored."""
    store.objects.refresh()
    with Store.open(store.root).begin() as transaction:
        ids = {kind: transaction.put(kind, b"content") for kind in (Kind.BLOB, Kind.TREE)}
    for kind, object_id in ids.items():
        for length in (6, 7, 31, 64):
            assert store.resolve(str(object_id)[:length]) == (kind, object_id)


@pytest.fixture
def twins(store: Store) -> tuple[str, list[str]]:
    """Two objects whose ids begin with the same six digits, and these."""
    seen: dict[str, bytes] = {}
    for number in range(1 << 20):
        content = b"%d" % number
        prefix = str(hash_object(Kind.BLOB, content))[:6]
        if prefix in seen:
            with store.begin() as transaction:
                ids = [transaction.put_bytes(c) for c in (content, seen[prefix])]
            return prefix, sorted(map(str, ids))
        seen[prefix] = content
    raise AssertionError("no two in a million")


def test_an_ambiguous_prefix_lists_the_candidates(store: Store, twins: tuple[str, list[str]]) -> None:
    """And one more character that tells them apart is enough."""
    prefix, ids = twins
    with pytest.raises(Ambiguous, match=f"{ids[0]}, {ids[1]}.*give more characters") as caught:
        store.resolve(prefix)
    assert (caught.value.prefix, caught.value.candidates) == (prefix, ids)
    length = next(n for n in range(64) if ids[0][:n] != ids[1][:n])
    assert str(store.resolve(ids[0][:length])[1]) == ids[0]


@pytest.mark.parametrize("prefix", ["", "abcde", "ABCDEF", "xyzxyz", "abcdef ", "a" * 65, "../../"])
def test_what_is_no_prefix_is_refused(store: Store, prefix: str) -> None:
    """Too short, too long, or other characters; the message has the rule."""
    with pytest.raises(InvalidName, match="6 to 64"):
        store.resolve(prefix)


def test_a_prefix_of_nothing_is_not_found(store: Store) -> None:
    """Named in the message."""
    with pytest.raises(NotFound, match="abcdef"):
        store.resolve("abcdef")


# --- getting -------------------------------------------------------------------------------------------------------


def test_an_object_is_got_as_what_it_is(store: Store, tmp_path: Path) -> None:
    """A blob as a file, a tree as a folder."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_bytes(b"x")
    with store.begin() as transaction:
        blob = transaction.put_bytes(NOISE)
        folder, _ = files.put_folder(transaction, tmp_path / "in")
    store.get(blob, tmp_path / "file")
    store.get(folder, tmp_path / "folder")
    assert (tmp_path / "file").read_bytes() == NOISE
    assert tree(tmp_path / "folder") == {"a": b"x"}
    with pytest.raises(NotFound):
        store.get(ObjectId(bytes(32)), tmp_path / "absent")
    assert not (tmp_path / "absent").exists()


# --- copies and unions ---------------------------------------------------------------------------------------------


def test_a_copied_store_works(store: Store, save: Save, tmp_path: Path) -> None:
    """By `cp -r` to another place and name; both go on by themselves."""
    commit = save(store, {"a": b"x", "large": NOISE})
    subprocess.run(["cp", "-r", store.root, tmp_path / "elsewhere"], check=True)
    shutil.rmtree(store.root)
    copy = Store.open(tmp_path / "elsewhere")
    assert copy.heads.of(KEY)[0].id == commit.id
    assert copy.objects.read(hash_object(Kind.BLOB, NOISE)) == NOISE
    save(copy, {"a": b"y"}, covers={"writer": 2})
    assert copy.fsck().clean


def test_a_moved_store_is_found_by_its_new_name_while_it_is_open(
    store: Store, save: Save, tmp_path: Path
) -> None:
    """Nothing in it holds an absolute path."""
    save(store, {"a": b"x"})
    store.root.rename(tmp_path / "moved")
    assert Store.open(tmp_path / "moved").fsck().clean
    assert not any(str(tmp_path).encode() in (data or b"") for data in tree(tmp_path / "moved").values())


def unite(source: Path, target: Path) -> None:
    """Copy what a union needs, as any copier would: files that are there are left."""
    for name in layout.UNION:
        subprocess.run(["cp", "-rn", f"{source / name}/.", target / name], check=False)


def test_two_stores_copied_together_show_the_heads_of_both(store: Store, save: Save, tmp_path: Path) -> None:
    """In either direction and twice, with a key that both have changed."""
    other = Store.create(tmp_path / "other")
    base = save(store, {"a": b"base"}, covers={"base": 1})
    unite(store.root, other.root)
    mine = save(store, {"a": b"mine"}, covers={"base": 1, "me": 1}, parents=(base.id,))
    save(store, {"b": b"only mine"}, key="1" * 32)
    theirs = save(other, {"a": b"theirs", "large": NOISE}, covers={"base": 1, "them": 1}, parents=(base.id,))
    save(other, {"c": b"only theirs"}, key="2" * 32)
    for _ in range(2):
        unite(store.root, other.root)
        unite(other.root, store.root)
    for root in (store.root, other.root):
        united = Store.open(root)
        heads = united.heads.live()
        assert set(heads) == {KEY, "1" * 32, "2" * 32}
        assert {h.id for h in heads[KEY]} == {mine.id, theirs.id}
        assert united.objects.read(hash_object(Kind.BLOB, NOISE)) == NOISE
        assert united.fsck().clean


def test_a_union_that_was_cut_short_is_run_again(store: Store, save: Save, tmp_path: Path) -> None:
    """Half of the files: what is there is read, what is missing is named; the second run makes it whole."""
    other = Store.create(tmp_path / "other")
    for number in range(6):
        save(store, {"a": b"content %d" % number}, key=f"{number:032x}")
    (store.root / "refs" / "task.project").rename(tmp_path / "later")
    unite(store.root, other.root)
    assert other.heads.live() == {}
    (tmp_path / "later").rename(store.root / "refs" / "task.project")
    for pack in sorted((other.root / "packs").rglob("*.pack"))[:3]:
        pack.unlink()
    subprocess.run(["cp", "-rn", f"{store.root / 'refs'}/.", other.root / "refs"], check=True)
    report = Store.open(other.root).fsck()
    assert len(report.problems) == 3
    unite(store.root, other.root)
    assert Store.open(other.root).fsck().clean


# --- where nothing can be written ----------------------------------------------------------------------------------


@pytest.fixture
def read_only(store: Store, save: Save, tmp_path: Path) -> Iterator[Path]:
    """A store on a medium that cannot be written: a bind mount for root, else without permissions."""
    save(store, {"a": b"x", "large": NOISE})
    target = tmp_path / "medium"
    target.mkdir()
    if os.geteuid() == 0:
        bound = subprocess.run(["mount", "--bind", store.root, target], capture_output=True)
        if bound.returncode:
            pytest.skip("root may not mount here")
        subprocess.run(["mount", "-o", "remount,bind,ro", target], check=True)
        yield target
        subprocess.run(["umount", target], check=True)
    else:
        for path in [store.root, *store.root.rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        yield store.root
        for path in [store.root, *store.root.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)


def test_a_store_that_cannot_be_written_can_be_read(read_only: Path, tmp_path: Path) -> None:
    """Heads, objects, checks and checkouts work; a transaction says at once that it cannot."""
    store = Store.open(read_only)
    assert store.read_only
    assert list(store.heads.live()) == [KEY]
    assert store.resolve(str(hash_object(Kind.BLOB, NOISE))[:8])[0] is Kind.BLOB
    store.get(store.heads.of(KEY)[0].commit.state, tmp_path / "out")
    assert (tmp_path / "out" / "large").read_bytes() == NOISE
    assert store.fsck().clean
    with pytest.raises(ReadOnly, match="cannot be written"), store.begin():
        pass
    assert isinstance(ReadOnly("x"), PermissionError)
