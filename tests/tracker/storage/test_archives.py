"""Archives become folders only where that is safe; folders become the same zip every time."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from tracker.errors import BadValue
from tracker.storage import archives


def test_folder_becomes_the_same_zip_and_comes_back(tmp_path: Path) -> None:
    """Whatever the times; what can be run still can; large content in pieces."""
    folder = tmp_path / "data"
    (folder / "deep").mkdir(parents=True)
    (folder / "b.bin").write_bytes(os.urandom(3_000_000))
    (folder / "deep" / "a.sh").write_text("#!/bin/sh\n")
    (folder / "deep" / "a.sh").chmod(0o755)
    first = b"".join(archives.zipped(archives.files_of(folder)))
    os.utime(folder / "b.bin", (1, 1))
    assert b"".join(archives.zipped(archives.files_of(folder))) == first
    path = tmp_path / "data.zip"
    path.write_bytes(first)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
    archives.unpack(path, tmp_path / "back")
    assert (tmp_path / "back" / "b.bin").read_bytes() == (folder / "b.bin").read_bytes()
    assert os.access(tmp_path / "back" / "deep" / "a.sh", os.X_OK)
    assert not os.access(tmp_path / "back" / "b.bin", os.X_OK)


def test_tar_comes_back(tmp_path: Path) -> None:
    """By either of its names."""
    for name in ("x.tar.gz", "x.tgz"):
        with tarfile.open(tmp_path / name, "w:gz") as archive:
            info = tarfile.TarInfo("./folder/a.txt")
            info.size = 1
            archive.addfile(info, io.BytesIO(b"a"))
        assert archives.is_archive(tmp_path / name)
        archives.unpack(tmp_path / name, tmp_path / f"{name} out")
        assert (tmp_path / f"{name} out" / "folder" / "a.txt").read_text() == "a"


@pytest.mark.parametrize(
    "name",
    ["../evil", "a/../../evil", "/tmp/evil", "..\\evil", "C:evil", "con", "a//b", "trailing. ", "."],
)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_could_land_elsewhere_are_refused(tmp_path: Path, kind: str, name: str) -> None:
    """Nothing of such an archive is left."""
    path = make(tmp_path / f"x.{'zip' if kind == 'zip' else 'tar.gz'}", [(name, b"evil")])
    with pytest.raises(BadValue):
        archives.unpack(path, tmp_path / "out")
    assert sorted(each.name for each in tmp_path.iterdir()) == [path.name]


def test_links_and_devices_are_refused(tmp_path: Path) -> None:
    """Of both formats, whatever they point at."""
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        path = tmp_path / "x.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            info = tarfile.TarInfo("link")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        with pytest.raises(BadValue, match="is no file"):
            archives.unpack(path, tmp_path / "out")
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as packed:
        entry = zipfile.ZipInfo("link")
        entry.external_attr = 0o120777 << 16
        packed.writestr(entry, "/etc/passwd")
    with pytest.raises(BadValue, match="is no file"):
        archives.unpack(path, tmp_path / "out")


def test_bombs_twins_and_rubbish_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What becomes too large, two files of one name, a file where a folder is, bytes that are no archive."""
    with pytest.raises(BadValue, match="twice"):
        archives.unpack(make(tmp_path / "twins.zip", [("a", b"1"), ("A", b"2")]), tmp_path / "out")
    with pytest.raises(BadValue):
        archives.unpack(make(tmp_path / "clash.zip", [("a", b"1"), ("a/b", b"2")]), tmp_path / "out")
    (tmp_path / "rubbish.zip").write_bytes(b"PK\x03\x04" + bytes(100))
    assert not archives.is_archive(tmp_path / "rubbish.zip")
    with pytest.raises(BadValue, match="cannot be extracted"):
        archives.unpack(tmp_path / "rubbish.zip", tmp_path / "out")
    monkeypatch.setattr(archives, "FREE", 1000)
    monkeypatch.setattr(archives, "RATIO_MAX", 10)
    with pytest.raises(BadValue, match="becomes more than"):
        archives.unpack(make(tmp_path / "bomb.zip", [("zeros", bytes(1_000_000))]), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def make(path: Path, entries: list[tuple[str, bytes]]) -> Path:
    """An archive of any names."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in entries:
                archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
        return path
    with tarfile.open(path, "w:gz") as tar:
        for name, content in entries:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path
