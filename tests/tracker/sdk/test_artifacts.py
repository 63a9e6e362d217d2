"""Artifacts through the whole of it: stored under their hash, read back in ClearML's shapes, never a wrong byte."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import threading
import time
import zipfile
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blake3 import blake3

import tracker
from objstore import files
from objstore.errors import InvalidName, NotFound
from objstore.ids import ObjectId
from objstore.statcache import StatCache, spots_of
from objstore.store import Store
from tracker import OutputModel, Task
from tracker.errors import BadValue, CorruptRecord, UnsafeArtifact, UsageError
from tracker.records import references

Reopen = Callable[[Task], Task]
Start = Callable[..., Task]


class Point:
    """Any object: module-level, so that it can be pickled."""

    def __init__(self, x: int) -> None:
        self.x = x

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and self.x == other.x

    def __hash__(self) -> int:
        return self.x


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ({"b": [1, 2.5, None, "é"], "a": {}}, "dict"),
        ("text that names no file", "string"),
        (np.arange(12, dtype=np.float32).reshape(3, 4), "numpy"),
        (np.zeros((0, 3)), "numpy"),
        ([1, 2], "pickle"),
        (None, "pickle"),
        (Point(3), "pickle"),
        (b"bytes", "pickle"),
        ("x" * 3_000_000, "string"),
        (np.arange(500_000), "numpy"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) or len(value) > 9 else value,
)
def test_value_comes_back(task: Task, reopened: Reopen, value: Any, kind: str) -> None:
    """Small ones in the run's pack and large ones in packs of their own; while it runs and afterwards."""
    assert task.upload_artifact("a", value, metadata={"k": 1}) is True
    for found in (task, Task.get_tasks()[0], reopened(task)):
        artifact = found.artifacts["a"]
        back = artifact.get()
        assert type(back) is type(value)
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(back, value, strict=True)
        else:
            assert back == value
        assert (artifact.type, artifact.name, artifact.mode, artifact.metadata) == (
            kind,
            "a",
            "output",
            {"k": "1"},
        )
        assert artifact.get() is back
        copy = artifact.get_local_copy()
        assert copy is not None
        content = Path(copy).read_bytes()
        assert artifact.hash == blake3(content).hexdigest()
        assert artifact.size == len(content)
        assert artifact.url == f"tracker://{artifact.hash}/{Path(copy).name}"
    assert Store.open(task.workspace.root).fsck().clean


def test_frame_comes_back(task: Task, reopened: Reopen) -> None:
    """With its index."""
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pd.DataFrame({"a": [1, 2], "b": [0.5, float("nan")]}, index=["x", "y"])
    task.upload_artifact("frame", frame)
    found = reopened(task).artifacts["frame"]
    assert found.type == "pandas"
    pd.testing.assert_frame_equal(found.get(), frame)


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1, 9_000_000])
def test_file_comes_back(task: Task, reopened: Reopen, tmp_path: Path, size: int) -> None:
    """By its path or its name; the local copy has its name and bytes, and the original stays."""
    path = tmp_path / "data set.bin"
    path.write_bytes(os.urandom(size))
    assert task.upload_artifact("path", path)
    assert task.upload_artifact("name", str(path))
    content = path.read_bytes()
    path.write_bytes(b"changed since")
    for name in ("path", "name"):
        artifact = reopened(task).artifacts[name] if name == "name" else task.artifacts[name]
        found = artifact.get()
        assert isinstance(found, Path)
        assert (artifact.type, found.name, found.read_bytes() == content) == ("custom", "data set.bin", True)
        assert artifact.hash == blake3(content).hexdigest()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file, an executable one, a folder in it and an empty one."""
    path = tmp_path / "data"
    (path / "deep" / "er").mkdir(parents=True)
    (path / "empty").mkdir()
    (path / "a.txt").write_text("a")
    (path / "run.sh").write_text("#!/bin/sh\n")
    (path / "run.sh").chmod(0o755)
    (path / "deep" / "er" / "b.bin").write_bytes(bytes(100_000))
    return path


def test_folder_comes_back(task: Task, reopened: Reopen, folder: Path) -> None:
    """As a folder, its hash the tree's; as a zip that is the same every time."""
    task.upload_artifact("folder", folder)
    task.upload_artifact("twin", str(folder))
    found = reopened(task).artifacts
    artifact = found["folder"]
    assert (artifact.type, artifact.hash) == ("archive", found["twin"].hash)
    back = artifact.get()
    assert isinstance(back, Path)
    files = {str(p.relative_to(back)): p for p in back.rglob("*")}
    assert set(files) == {"a.txt", "deep", "deep/er", "deep/er/b.bin", "empty", "run.sh"}
    assert os.access(files["run.sh"], os.X_OK)
    assert not os.access(files["a.txt"], os.X_OK)
    first = artifact.get_local_copy(extract_archive=False)
    assert first is not None
    content = Path(first).read_bytes()
    shutil.rmtree(Path(first).parent)
    assert Path(artifact.get_local_copy(extract_archive=False) or "").read_bytes() == content
    with zipfile.ZipFile(first) as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == ["a.txt", "deep/er/b.bin", "run.sh"]


def test_several_files_come_back_as_a_folder(task: Task, reopened: Reopen, folder: Path) -> None:
    """A list of paths, or a pattern."""
    task.upload_artifact("list", [folder / "a.txt", folder / "deep" / "er" / "b.bin"])
    task.upload_artifact("pattern", str(folder / "*.txt"))
    found = reopened(task).artifacts
    back = found["list"].get()
    assert sorted(p.name for p in back.rglob("*") if p.is_file()) == ["a.txt", "b.bin"]
    assert [p.name for p in found["pattern"].get().rglob("*") if p.is_file()] == ["a.txt"]


def test_same_bytes_are_stored_once(start: Start, tmp_path: Path) -> None:
    """In every run, by every name, as small or as large content."""
    path = tmp_path / "data.bin"
    path.write_bytes(os.urandom(2_000_000))
    sizes = []
    for n in range(3):
        task = start("sdk", f"run {n}")
        task.upload_artifact("data", path)
        task.upload_artifact("again", path)
        task.close()
        packs = (tmp_path / ".tracker" / "packs").rglob("*.pack")
        sizes.append(sum(pack.stat().st_size for pack in packs))
    assert sizes[0] > 2_000_000
    assert sizes[2] - sizes[0] < 100_000


def test_same_name_replaces(task: Task, reopened: Reopen) -> None:
    """The earlier one is history."""
    for value in ("first", "second"):
        task.upload_artifact("a", value)
    assert reopened(task).artifacts["a"].get() == "second"


def test_original_may_be_deleted_once_it_is_kept(task: Task, folder: Path, tmp_path: Path) -> None:
    """A file or a folder; not when it could not be stored."""
    path = tmp_path / "file.bin"
    path.write_bytes(b"x")
    assert task.upload_artifact("file", path, delete_after_upload=True)
    assert task.upload_artifact("folder", folder, delete_after_upload=True)
    assert not path.exists()
    assert not folder.exists()
    assert task.artifacts["file"].get().read_bytes() == b"x"
    assert (task.artifacts["folder"].get() / "a.txt").read_text() == "a"


def test_url_is_only_registered(task: Task, reopened: Reopen) -> None:
    """It has a place and no content; where it cannot be fetched, that is said."""
    task.upload_artifact("remote", "http://127.0.0.1:9/data.csv")
    artifact = reopened(task).artifacts["remote"]
    assert (artifact.url, artifact.hash, artifact.size) == ("http://127.0.0.1:9/data.csv", "", 0)
    assert artifact.get_local_copy() is None
    for call in (
        artifact.get,
        lambda: artifact.get_local_copy(raise_on_error=True),
        lambda: artifact.get(True, len),
    ):
        with pytest.raises(BadValue, match=r"http://127\.0\.0\.1:9/data\.csv"):
            call()


def test_artifacts_are_a_read_only_mapping(task: Task) -> None:
    """With KeyError for a name that is not there."""
    task.upload_artifact("a", "x")
    found = task.artifacts
    assert (list(found), len(found), "a" in found, found.get("b")) == (["a"], 1, True, None)
    with pytest.raises(KeyError):
        found["b"]
    with pytest.raises(UsageError, match="use upload_artifact"):
        found["b"] = "x"
    assert "'a'" in repr(found)


def test_options_of_an_upload(task: Task, reopened: Reopen) -> None:
    """The caller's own functions both ways, an extension, a preview; the time is UTC."""
    task.upload_artifact(
        "own", [3, 1], serialization_function=bytes, extension_name=".raw", preview="three, one"
    )
    task.upload_artifact("yaml", {"a": 1}, extension_name="yaml", preview=False)
    found = reopened(task).artifacts
    own = found["own"]
    assert own.get(deserialization_function=list) == [3, 1]
    assert own.get().read_bytes() == b"\x03\x01"
    assert own.get().suffix == ".raw"
    assert (own.type, own.preview, found["yaml"].preview) == ("custom", "three, one", "")
    assert found["yaml"].get() == {"a": 1}
    age = datetime.now(timezone.utc) - own.timestamp
    assert timedelta(seconds=-2) < age < timedelta(minutes=5)


@pytest.mark.parametrize("size", [2048, 2049, 65_536])
def test_long_preview_is_an_object_of_its_own(task: Task, reopened: Reopen, size: int) -> None:
    """A table reads every task's record, and each edit writes it anew: neither is to carry 64 KiB an artifact."""
    task.upload_artifact("long", {"a": 1}, preview="é" * (size // 2) + "x" * (size % 2))
    for each in (task, reopened(task)):
        assert len(each.artifacts["long"].preview.encode()) == size
        record = each.workspace.thing(each.id).state.get("artifact/long")
        assert isinstance(record["preview"], str) == (size <= 2048)
        assert (size <= 2048) == (len(list(references(record))) == 1)


def test_pickles_may_be_blocked_altogether(task: Task) -> None:
    """Also one's own."""
    task.upload_artifact("object", Point(1))
    with pytest.raises(PermissionError):
        task.artifacts["object"].get(block_unsafe_artifacts=True)
    assert task.artifacts["object"].get() == Point(1)


def test_local_copy_that_was_changed_is_made_anew(task: Task, folder: Path) -> None:
    """Whatever happened to it, it is what its hash says."""
    task.upload_artifact("text", "content")
    task.upload_artifact("folder", folder)
    copy = Path(task.artifacts["text"].get_local_copy() or "")
    back = Path(task.artifacts["folder"].get_local_copy() or "")
    copy.write_text("tampered")
    (back / "deep" / "er" / "b.bin").write_bytes(b"tampered")
    (back / "strange.txt").write_text("added")
    assert Path(task.artifacts["text"].get_local_copy() or "").read_text() == "content"
    again = Path(task.artifacts["folder"].get_local_copy() or "")
    assert (again / "deep" / "er" / "b.bin").read_bytes() == bytes(100_000)
    assert not (again / "strange.txt").exists()
    shutil.rmtree(again)
    again.write_text("a file where the folder was")
    assert (Path(task.artifacts["folder"].get_local_copy() or "") / "a.txt").read_text() == "a"


def test_copies_at_once_are_all_whole(task: Task, folder: Path) -> None:
    """Threads that ask for one folder and one file at the same time."""
    task.upload_artifact("folder", folder)
    task.upload_artifact("text", "x" * 2_000_000)
    failed: list[BaseException] = []

    def work() -> None:
        try:
            assert (Path(task.artifacts["folder"].get_local_copy() or "") / "a.txt").read_text() == "a"
            assert len(Path(task.artifacts["text"].get_local_copy() or "").read_bytes()) == 2_000_000
        except BaseException as error:  # noqa: BLE001 - shown below
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_uploads_at_once_are_all_kept(task: Task, reopened: Reopen) -> None:
    """Threads with content of every size."""
    sizes = [10, 1 << 20, 3_000_000, 9_000_000]

    def work(n: int) -> None:
        for size in sizes:
            assert task.upload_artifact(f"{n}/{size}", f"{n}" * size)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = reopened(task).artifacts
    assert len(found) == 16
    for name, artifact in found.items():
        n, size = name.split("/")
        assert artifact.get() == n * int(size)
    assert Store.open(task.workspace.root).fsck().clean


def test_folder_with_something_that_is_no_file_is_left_out_with_a_warning(
    task: Task, folder: Path, said: Callable[[], list[str]]
) -> None:
    """A socket of a program that still runs: that artifact only."""
    server = socket.socket(socket.AF_UNIX)
    here = Path.cwd()
    os.chdir(folder)  # the path of a socket may not be long
    try:
        server.bind("s")
    finally:
        os.chdir(here)
        server.close()
    assert task.upload_artifact("folder", folder) is False
    (line,) = said()
    assert line.startswith("tracker: artifact 'folder' was not stored: ")
    assert "not a file, a folder or a link" in line
    assert len(task.artifacts) == 0
    (folder / "s").unlink()
    assert task.upload_artifact("folder", folder)


@pytest.mark.parametrize(
    ("names", "rule"), [(("a", "A"), "one name"), (("con",), "reserved"), (("l -> a/../b", "a"), "outside")]
)
def test_folder_that_cannot_come_back_is_kept_with_a_warning(
    task: Task, said: Callable[[], list[str]], tmp_path: Path, names: tuple[str, ...], rule: str
) -> None:
    """By the very rules of writing it back: names that collide or are reserved, links that may lead outside."""
    (tmp_path / "folder").mkdir()
    for name in names:
        path, _, target = name.partition(" -> ")
        if target:
            (tmp_path / "folder" / path).symlink_to(target)
        else:
            (tmp_path / "folder" / path).write_text(name)
    if len(os.listdir(tmp_path / "folder")) < len(names):
        pytest.skip("this file system folds names")
    assert task.upload_artifact("a", tmp_path / "folder", delete_after_upload=True)
    (line,) = said()
    assert "cannot be written back" in line
    assert rule in line
    assert len(os.listdir(tmp_path / "folder")) == len(names)


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("kind", ["file", "folder", "list", "weights"])
def test_files_that_look_unchanged_are_read_again_on_request(
    start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, force: bool
) -> None:
    """The setting `force_read`, where a program changes files behind their times: here the cache is made to lie."""
    monkeypatch.setenv("TRACKER_FORCE_READ", str(force))
    task = start()
    path = tmp_path / "folder" / "it"
    path.parent.mkdir()
    path.write_bytes(os.urandom(2_000_000))
    truth = blake3(path.read_bytes()).hexdigest()
    time.sleep(0.2)  # what was just written is read again anyhow
    task.workspace.attach(b"lie")
    with StatCache(task.workspace.root, path.parent if kind == "folder" else path) as cache:
        with path.open("rb") as file:
            spots, status = spots_of(file.fileno(), 2_000_000), os.fstat(file.fileno())
        cache.add("it" if kind == "folder" else "", status, status, ObjectId(blake3(b"lie").digest()), spots)
    if kind == "weights":
        model = OutputModel(task=task)
        found = model.update_weights(path).split("/")[2]
    else:
        task.upload_artifact("a", {"file": path, "folder": path.parent, "list": [path]}[kind])
        found = task.artifacts["a"].hash
    if kind in ("folder", "list"):
        (entry,) = files.list_tree(task.workspace.store.objects, ObjectId.parse(found))
        found = str(entry.id)
    assert (found == truth) is force


@pytest.mark.parametrize("dot", ["", "."])
@pytest.mark.parametrize(
    ("make", "extension", "kind", "media"),
    [
        ("array", "npz", "numpy", "application/numpy"),
        ("array", "csv.gz", "numpy", "text/csv"),
        ("frame", "csv.gz", "pandas", "text/csv"),
        ("frame", "parquet", "pandas", "application/parquet"),
        ("frame", "feather", "pandas", "application/feather"),
        ("frame", "pickle", "pandas", "application/pickle"),
        ("image", "png", "image", "image/png"),
        ("image", "bmp", "image", "image/bmp"),
        ("image", "tiff", "image", "image/tiff"),
        ("dict", "json", "dict", "application/json"),
        ("dict", "yaml", "dict", "application/yaml"),
        ("dict", "pkl", "pickle", "application/pickle"),
        ("text", "txt", "string", "text/plain"),
    ],
)
def test_every_extension_of_every_type_comes_back(
    task: Task, reopened: Reopen, make: str, extension: str, kind: str, media: str, dot: str
) -> None:
    """With the dot or without; the file has that extension, the value is what it was."""
    pd = pytest.importorskip("pandas")
    image = pytest.importorskip("PIL.Image")
    value: Any = {
        "array": np.arange(6.0).reshape(2, 3),
        "frame": pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}),
        "image": image.new("RGB", (3, 2), (10, 20, 30)),
        "dict": {"a": [1, 2], "b": {"c": "é"}},
        "text": "some text",
    }[make]
    assert task.upload_artifact("a", value, extension_name=dot + extension)
    artifact = reopened(task).artifacts["a"]
    back = artifact.get()
    assert artifact.type == kind
    assert str(artifact.get_local_copy()).endswith(f"/a.{extension}")
    assert artifact._record["content_type"] == media
    if make == "array":
        np.testing.assert_array_equal(back, value)
    elif make == "frame":
        pd.testing.assert_frame_equal(back, value)
    elif make == "image":
        assert (back.size, back.getpixel((0, 0))) == ((3, 2), (10, 20, 30))
    else:
        assert back == value


def test_long_preview_is_cut_under_a_notice(task: Task) -> None:
    """At 64 KiB, whole characters only."""
    task.upload_artifact("long", "é" * 50_000)
    first, _, rest = task.artifacts["long"].preview.partition("\n")
    assert first.startswith("# ")
    assert (len(rest.encode()), set(rest)) == (64 << 10, {"é"})


def test_artifact_is_found_by_its_hash(start: Start, tmp_path: Path) -> None:
    """Of any task, by the whole hash or its beginning; a file inside a folder too, which is no artifact by itself."""
    task = start("sdk", "first")
    task.upload_artifact("dict", {"a": 1})
    task.close()
    task = start("sdk", "second")
    task.upload_artifact("object", Point(7))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inner.txt").write_bytes(b"inner" * 500_000)
    task.upload_artifact("folder", tmp_path / "folder")
    (first,) = [t for t in Task.get_tasks() if t.name == "first"]
    digest = first.artifacts["dict"].hash
    for text in (digest, digest[:8]):
        found = tracker.artifact(text)
        assert (found.name, found.get(), found.hash) == ("dict", {"a": 1}, digest)
    assert tracker.artifact(task.artifacts["object"].hash).get() == Point(7)
    task.close()
    inner = tracker.artifact(blake3(b"inner" * 500_000).hexdigest())
    assert (inner.type, inner.get().read_bytes()) == ("custom", b"inner" * 500_000)
    assert (tracker.artifact(task.artifacts["folder"].hash).get() / "inner.txt").is_file()
    for unknown in ("0" * 64, "0" * 8):
        with pytest.raises(NotFound):
            tracker.artifact(unknown)
    with pytest.raises(InvalidName):
        tracker.artifact("no hash")
    with pytest.raises(NotFound, match="is no artifact"):
        tracker.artifact(task.id)


def test_pickle_found_by_its_hash_needs_leave_all_the_same(
    start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Another user's is not loaded, however it was found."""
    task = start()
    task.upload_artifact("object", Point(7))
    digest = task.artifacts["object"].hash
    task.close()
    monkeypatch.setenv("HOME", str(tmp_path / "other"))
    with pytest.raises(UnsafeArtifact, match="allow_pickle=True"):
        tracker.artifact(digest).get()
    assert tracker.artifact(digest).get(allow_pickle=True) == Point(7)


def test_sha256_is_that_of_the_file(task: Task, reopened: Reopen, folder: Path) -> None:
    """Small in the journal, large in the store; of a folder that of the zip it makes."""
    task.upload_artifact("small", "text")
    task.upload_artifact("large", "x" * 3_000_000)
    task.upload_artifact("folder", folder)
    task.upload_artifact("url", "https://example.com/x")
    for found in (task.artifacts, reopened(task).artifacts):
        assert found["small"].sha256 == hashlib.sha256(b"text").hexdigest()
        assert found["large"].sha256 == hashlib.sha256(b"x" * 3_000_000).hexdigest()
        packed = found["folder"].get_local_copy(extract_archive=False) or ""
        assert found["folder"].sha256 == hashlib.sha256(Path(packed).read_bytes()).hexdigest()
        assert found["url"].sha256 == ""


def test_artifacts_are_deleted_by_name(task: Task, reopened: Reopen, said: Callable[[], list[str]]) -> None:
    """One or several; a name that is not there is an error, or a warning, or nothing, as asked."""
    for name in "abcd":
        task.upload_artifact(name, name)
    assert task.delete_artifacts(["a", "b"]) is True
    assert task.delete_artifacts("c") is True
    with pytest.raises(BadValue, match=r"no artifact 'x' to delete: .* has d"):
        task.delete_artifacts(["x"])
    assert task.delete_artifacts(["x"], raise_on_errors=False) is False
    assert len(said()) == 1
    assert task.delete_artifacts(["y"], raise_on_errors=False, silent_on_errors=True) is False
    assert said() == []
    assert list(reopened(task).artifacts) == ["d"]


def test_content_that_cannot_be_read_is_an_error_that_names_its_file(task: Task) -> None:
    """The file can be had all the same."""
    task.upload_artifact("bad", {"a": 1}, serialization_function=lambda _: b"{no json")
    record = {**task._state.get("artifact/bad"), "type": "dict", "file": "bad.json"}
    task.set_key("artifact/bad", record)
    with pytest.raises(CorruptRecord, match=r"bad\.json") as caught:
        task.artifacts["bad"].get()
    assert Path(str(caught.value).rpartition(": ")[2]).read_bytes() == b"{no json"


def test_no_pickle_is_loaded_where_the_settings_forbid_it(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One's own neither, unless the call allows it."""
    monkeypatch.setenv("TRACKER_BLOCK_PICKLED_ARTIFACTS", "1")
    task = start()
    task.upload_artifact("object", Point(1))
    with pytest.raises(UnsafeArtifact):
        task.artifacts["object"].get()
    assert task.artifacts["object"].get(allow_pickle=True) == Point(1)
