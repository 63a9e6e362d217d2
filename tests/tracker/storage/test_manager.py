"""StorageManager's verbs against real places, in ClearML's shapes: what fails is a warning and None."""

from __future__ import annotations

import io
import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tracker import StorageManager
from tracker.errors import BadValue
from tracker.storage import transfer


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKER_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(StorageManager, "_cache_files", None)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """What was said on stderr."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "__stderr__", stream)
    return stream.getvalue


def test_file_goes_there_and_comes_back(place_url: str, tmp_path: Path) -> None:
    """Sent, told of, streamed, downloaded below its path, and as a cached local copy."""
    source = tmp_path / "source.bin"
    source.write_bytes(os.urandom(3_000_000))
    url = f"{place_url}/deep/target.bin"
    assert StorageManager.upload_file(str(source), url) == url
    assert StorageManager.exists_file(url) is True
    assert StorageManager.exists_file(url + "x") is False
    assert StorageManager.get_file_size_bytes(url) == 3_000_000
    found = StorageManager.get_metadata(url, return_full_path=True)
    assert found is not None
    assert (found["name"], found["size"]) == (url, 3_000_000)
    assert b"".join(StorageManager.get_stream(url) or []) == source.read_bytes()
    copy = StorageManager.get_local_copy(url)
    assert copy is not None
    assert (Path(copy).name, Path(copy).read_bytes()) == ("target.bin", source.read_bytes())
    path = StorageManager.download_file(url, str(tmp_path / "down"))
    assert path is not None
    assert Path(path).read_bytes() == source.read_bytes()
    assert Path(path).is_relative_to(tmp_path / "down")


def test_copy_is_cached_until_it_is_wanted_fresh(web: str, tmp_path: Path) -> None:
    """A local file is its own copy."""
    source = tmp_path / "web" / "x.txt"
    source.write_text("one")
    first = StorageManager.get_local_copy(f"{web}/x.txt")
    source.write_text("two")
    assert StorageManager.get_local_copy(f"{web}/x.txt") == first
    assert Path(first or "").read_text() == "one"
    fresh = StorageManager.get_local_copy(f"{web}/x.txt", force_download=True, name="mine.txt")
    assert (Path(fresh or "").name, Path(fresh or "").read_text()) == ("mine.txt", "two")
    assert (
        StorageManager.get_local_copy(str(source))
        == StorageManager.get_local_copy(source.as_uri())
        == str(source)
    )


def test_cache_keeps_what_was_wanted_last(web: str, tmp_path: Path) -> None:
    """So many files."""
    StorageManager.set_cache_file_limit(2)
    for n in range(4):
        (tmp_path / "web" / str(n)).write_text(str(n))
        StorageManager.get_local_copy(f"{web}/{n}")
        for folder in (tmp_path / "cache" / "urls").iterdir():
            times = folder.stat()
            os.utime(folder, (times.st_atime, times.st_mtime - 10))
    kept = sorted(p.name for p in (tmp_path / "cache" / "urls").glob("*/*"))
    assert kept == ["2", "3"]


def test_archive_becomes_the_folder_it_holds(web: str, tmp_path: Path) -> None:
    """Unless asked otherwise; a hostile one is a warning and None."""
    with zipfile.ZipFile(tmp_path / "web" / "data.zip", "w") as archive:
        archive.writestr("inner/a.txt", "a")
    copy = StorageManager.get_local_copy(f"{web}/data.zip")
    assert (Path(copy or "") / "inner" / "a.txt").read_text() == "a"
    assert StorageManager.get_local_copy(f"{web}/data.zip") == copy
    packed = StorageManager.get_local_copy(f"{web}/data.zip", extract_archive=False)
    assert zipfile.is_zipfile(packed or "")
    with zipfile.ZipFile(tmp_path / "web" / "evil.zip", "w") as archive:
        archive.writestr("../../evil", "a")
    assert StorageManager.get_local_copy(f"{web}/evil.zip") is None
    assert not list(tmp_path.rglob("evil"))


def test_folders_go_there_and_come_back(place_url: str, tmp_path: Path) -> None:
    """All files or those that fit a wildcard; what is there is left alone, unless asked otherwise."""
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "a.txt").write_text("a")
    (source / "deep" / "b.bin").write_text("b")
    assert StorageManager.upload_folder(str(source), place_url) == place_url
    assert StorageManager.exists_file(f"{place_url}/deep/b.bin")
    assert StorageManager.upload_folder(str(source), f"{place_url}/some", match_wildcard="*.txt")
    assert not StorageManager.exists_file(f"{place_url}/some/deep/b.bin")
    if place_url.startswith("http"):
        assert StorageManager.list(place_url) is None
        return
    assert StorageManager.list(place_url) == ["a.txt", "deep/b.bin", "some/a.txt"]
    assert StorageManager.list(f"{place_url}/some", return_full_path=True) == [f"{place_url}/some/a.txt"]
    (entry,) = StorageManager.list(f"{place_url}/some", with_metadata=True) or []
    assert (entry["name"], entry["size"]) == ("a.txt", 1)
    target = tmp_path / "target"
    assert StorageManager.download_folder(place_url, str(target)) == str(target)
    (copy,) = target.rglob("b.bin")
    assert copy.read_text() == "b"
    copy.write_text("mine")
    StorageManager.download_folder(place_url, str(target))
    assert copy.read_text() == "mine"
    StorageManager.download_folder(place_url, str(target), overwrite=True, match_wildcard="deep/*")
    assert copy.read_text() == "b"


def test_what_fails_is_one_warning_and_none(said: Callable[[], str], tmp_path: Path) -> None:
    """With the URL; nothing where silence is asked for."""
    pytest.importorskip("urllib3")
    dead = "http://127.0.0.1:9/x"
    assert StorageManager.get_local_copy(dead) is None
    assert said().count("\n") == 1
    assert dead in said()
    assert StorageManager.download_file(dead, str(tmp_path), silence_errors=True) is None
    assert said().count("\n") == 1
    assert StorageManager.upload_file(tmp_path / "absent", str(tmp_path / "y")) is None
    assert StorageManager.upload_folder(tmp_path / "absent", str(tmp_path / "y")) is None
    assert StorageManager.get_stream(str(tmp_path / "absent")) is None
    assert StorageManager.get_local_copy("ftp://host/x") is None
    assert said().count("\n") == 5


def test_names_of_a_hostile_place_do_not_leave_the_folder(tmp_path: Path) -> None:
    """A bucket may hold any key, as another program put it there."""
    assert transfer.inside(tmp_path, "a/b c") == tmp_path / "a" / "b c"
    for name in ("../evil", "a/../../evil", "/evil", "a//evil", "", ".", "a\\..\\evil", "evil\0"):
        with pytest.raises(BadValue, match="could land outside"):
            transfer.inside(tmp_path, name)


def test_files_server_is_the_configured_destination(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or nothing."""
    monkeypatch.chdir(tmp_path)
    assert StorageManager.get_files_server() == ""
    monkeypatch.setenv("TRACKER_DEFAULT_OUTPUT_URI", "s3://bucket/x")
    assert StorageManager.get_files_server() == "s3://bucket/x"
