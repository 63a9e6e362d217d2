"""Hostile sessions: each is refused with a word that says why, and the store stays as it was."""

from __future__ import annotations

import json
import os
import stat
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tracker.sessions.conftest import OFFLINE_ID, Made, scalar
from tracker.errors import BadValue
from tracker.sessions import import_session, members, session
from tracker.workspace import Workspace

RECORD = json.dumps({"id": OFFLINE_ID, "name": "hostile", "project_name": "sessions"})


def refused(workspace: Workspace, path: Path, why: str) -> None:
    """The import raises, with `why` in its message, and nothing is written."""
    before = sorted(p for p in workspace.root.rglob("*") if p.is_file() and "tmp" not in p.parts)
    with pytest.raises(BadValue, match=why):
        import_session(workspace, path)
    after = sorted(p for p in workspace.root.rglob("*") if p.is_file() and "tmp" not in p.parts)
    assert after == before
    assert not workspace.things()


def entry(name: str, **members_: Any) -> zipfile.ZipInfo:
    """A file's entry with members of its own."""
    info = zipfile.ZipInfo(name)
    info.compress_type = zipfile.ZIP_DEFLATED
    for member, value in members_.items():
        setattr(info, member, value)
    return info


@pytest.mark.parametrize(
    ("info", "why"),
    [
        (entry("../outside"), "leads out"),
        (entry("data/../../outside"), "leads out"),
        (entry("/etc/passwd"), "leads out"),
        (entry("C:/windows"), "leads out"),
        (entry("data/..\\..\\x"), "leads out"),
        (entry("data//x"), "leads out"),
        (entry("./task.json"), "leads out"),
        (entry("link", external_attr=(stat.S_IFLNK | 0o777) << 16), "a link"),
        (entry("pipe", external_attr=(stat.S_IFIFO | 0o644) << 16), "a link or no plain"),
        (entry("lzma", compress_type=zipfile.ZIP_LZMA), "method 14"),
        (entry("task.json"), "twice"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.filename,
)
def test_a_name_or_kind_that_no_session_has(
    workspace: Workspace, tmp_path: Path, info: zipfile.ZipInfo, why: str
) -> None:
    """Though nothing is ever unpacked: whoever made it meant no good."""
    path = tmp_path / "x.zip"
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as archive:
        warnings.simplefilter("ignore")  # zipfile's own, of a name given twice
        archive.writestr("task.json", RECORD)
        archive.writestr(info, "x")
    refused(workspace, path, why)


def patched(path: Path, old: bytes, new: bytes, *, last: bool = False) -> None:
    """Overwrite bytes of a file in place."""
    data = bytearray(path.read_bytes())
    at = data.rindex(old) if last else data.index(old)
    data[at : at + len(new)] = new
    path.write_bytes(data)


def _shorter(path: Path) -> None:
    """The directory promises fewer bytes than the file has."""
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("metrics.jsonl")
    patched(
        path,
        struct.pack("<LL", info.compress_size, info.file_size),
        struct.pack("<LL", info.compress_size, 10),
        last=True,
    )


def _longer(path: Path) -> None:
    """The directory promises more."""
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("metrics.jsonl")
    patched(
        path,
        struct.pack("<LL", info.compress_size, info.file_size),
        struct.pack("<LL", info.compress_size, 10**6),
        last=True,
    )


def _bomb(path: Path) -> None:
    """The directory promises three gigabytes of a few hundred bytes."""
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("metrics.jsonl")
    size = struct.pack("<L", 3 << 30)
    patched(
        path,
        struct.pack("<LL", info.compress_size, info.file_size),
        struct.pack("<L", info.compress_size) + size,
        last=True,
    )


def _encrypted(path: Path) -> None:
    """A file is marked as encrypted."""
    data = path.read_bytes()
    at = data.rindex(b"PK\1\2")
    patched(path, data[at : at + 10], data[at : at + 8] + b"\1\0", last=True)


def _many(path: Path) -> None:
    """The end record promises more files than any session has: in a table of a size to match."""
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\5\6")
    data[at + 12 : at + 16] = struct.pack("<L", (members.DIRECTORY_MAX) + 1)
    path.write_bytes(data)


def _upon(path: Path) -> None:
    """Two entries share the bytes of one file."""
    data = path.read_bytes()
    at = data.rindex(b"PK\1\2")
    patched(path, data[at + 42 : at + 46], struct.pack("<L", 0), last=True)


def _cut(path: Path) -> None:
    """The end is missing."""
    path.write_bytes(path.read_bytes()[:-40])


def _flipped(path: Path) -> None:
    """One byte of the content is another."""
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("metrics.jsonl")
    data[info.header_offset + 30 + len("metrics.jsonl") + 5] ^= 0xFF
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (_shorter, "damaged"),
        (_longer, "damaged"),
        (_bomb, "looks like an attack"),
        (_encrypted, "encrypted"),
        (_many, "at most"),
        (_upon, "lies upon"),
        (_cut, "no zip"),
        (_flipped, "damaged"),
    ],
)
def test_a_zip_that_lies_is_refused(
    workspace: Workspace, made: Made, harm: Callable[[Path], None], why: str
) -> None:
    """Of sizes, numbers and places; and one that was damaged on its way."""
    path = made(metrics=[scalar(n, n / 7) for n in range(100)])
    harm(path)
    refused(workspace, path, why)


def test_more_files_than_a_session_has(
    workspace: Workspace, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are counted before Python makes an object of each, whatever the end record says."""
    path = made(files={f"data/{n}": b"" for n in range(50)})
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\5\6")
    data[at + 8 : at + 12] = struct.pack("<HH", 3, 3)
    path.write_bytes(data)
    monkeypatch.setattr(members, "ENTRIES_MAX", 40)
    monkeypatch.setattr(zipfile, "ZipFile", None)  # not even opened
    refused(workspace, path, "more than 40 files")


@pytest.mark.parametrize(
    ("record", "why"),
    [
        ("[1]", "not an object"),
        ("{", "JSON"),
        ('{"id": 5e999', "JSON"),
        ('{"name": "x"}', "names no task"),
        (f'{{"id": "x", "deep": {"[" * 500}{"]" * 500}}}', "deep"),
        (f'{{"id": "x", "deep": {"[" * 200_000}{"]" * 200_000}}}', "JSON"),
        (f'{{"id": "x", "n": NaN, "long": {"9" * 5000}}}', "digits"),
        ('{"id": "x", "hyperparams": []}', "not an object"),
        ('{"id": "x", "hyperparams": {"Args": {"lr": 5}}}', "object with a value"),
        ('{"id": "x", "execution": {"artifacts": {"a": 1}}}', "is a list"),
        ('{"id": "x", "offline_output_models": [5]}', "not an object"),
    ],
)
def test_a_record_of_another_shape(workspace: Workspace, tmp_path: Path, record: str, why: str) -> None:
    """Each part has the form that ClearML gives it."""
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("task.json", record)
    refused(workspace, path, why)


@pytest.mark.parametrize(
    ("event", "why"),
    [
        ("[5]", "not an object"),
        ("{", "line 1 cannot be read as JSON"),
        ("[" * 5000, "JSON"),
        (json.dumps([scalar(2**70)]), "62 bits"),
        (json.dumps([{**scalar(0), "iter": "x"}]), "62 bits"),
        (json.dumps([scalar(0, "high")]), "no number"),
        (json.dumps([scalar(0, time="noon")]), "milliseconds"),
        (json.dumps([scalar(0, time=1e300)]), "milliseconds"),
        (json.dumps([{"type": "plot", "metric": "p", "plot_str": "{"}]), "the plot 'p'"),
        (json.dumps([{"type": "plot", "metric": "p", "plot_str": "[" * 300 + "]" * 300}]), "deep"),
        (json.dumps([{"type": "training_stats_vector", "metric": "v", "values": ["x"]}]), "list of numbers"),
    ],
)
def test_an_event_of_another_shape(workspace: Workspace, made: Made, event: str, why: str) -> None:
    """It is refused with its place, and no half of a task is left."""
    refused(workspace, made(metrics=event + "\n", files={"data/x": b"x" * 100}), why)


def test_a_line_and_a_number_of_events_have_their_limits(
    workspace: Workspace, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory stays bounded, however long a file is."""
    path = made(metrics=[scalar(n) for n in range(20)])
    monkeypatch.setattr(session, "EVENTS_MAX", 10)
    refused(workspace, path, "more than 10 events")
    monkeypatch.setattr(session, "LINE_MAX", 50)
    refused(workspace, path, "line 1 has more than 50 bytes")
    monkeypatch.setattr(session, "RECORD_MAX", 50)
    refused(workspace, path, "task.json has")


def test_a_folder_with_a_link_or_a_pipe_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    """Neither is followed, nor waited for."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "task.json").write_text(RECORD)
    (folder / "link").symlink_to("/etc/passwd")
    refused(workspace, folder, "a link")
    (folder / "link").unlink()
    os.mkfifo(folder / "pipe")
    refused(workspace, folder, "no plain file")


def test_what_is_no_session_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    """A folder without a task.json, a file that is no zip."""
    (tmp_path / "empty").mkdir()
    refused(workspace, tmp_path / "empty", "no task.json")
    (tmp_path / "text").write_text("x" * 1000)
    refused(workspace, tmp_path / "text", "no zip")
    refused(workspace, Path(os.devnull), "neither a zip nor a folder")
