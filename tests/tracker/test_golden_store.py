"""A whole store as version 1 wrote it, read by today's code: every later version must find the same in it.

`golden/tracker-store-v1.zip` holds one `.tracker` folder: runs that completed, failed and died, one of them sealed in
pieces, one edited later and one that two places edited at once, a removed tag, artifacts of each sort, a model, an
alias, a pin, heads loose and in a table, a key of a later version, and the journal of a run that nobody has sealed. It
was made by `PYTHONPATH=. python tests/tracker/test_golden_store.py tests/golden/tracker-store-v1.zip` and is never made
again: a new version of the format gets a file of its own beside it, and a test that reads it.
"""

from __future__ import annotations

import io
import json
import math
import os
import shutil
import struct
import sys
import tempfile
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from objstore import files, layout
from objstore.heads import Head, Table, living
from objstore.ids import Kind, hash_bytes, hash_object
from objstore.journal import JournalWriter
from objstore.store import Store
from tracker import Task, events, seal
from tracker.events import Blob, Declare, End, Event, Plot, Scalar, SetKey, Text
from tracker.package_data import template_dir
from tracker.reader import Reader, united_covers
from tracker.records import Entry, Ref, State
from tracker.sdk import reports
from tracker.sdk.models import Model
from tracker.state import merge
from tracker.workspace import Workspace

GOLDEN = Path(__file__).parents[1] / "golden" / "tracker-store-v1.zip"

NOW = 1_700_000_000_000_000
DONE, FAILED, DEAD, BOTH, WAITING = (f"{n}{'0' * 31}" for n in "12345")
MODEL, ALIAS, PIN = (f"{n}{'a' * 31}" for n in "678")
QUIET_NAN = struct.unpack("<d", (0x7FF8000000000123).to_bytes(8, "little"))[0]


def blob(data: bytes) -> tuple[Blob, str]:
    """Content as an event, and the reference to it."""
    object_id = str(hash_object(Kind.BLOB, data))
    return Blob(object_id, data), str(Ref("blob", object_id, len(data)))


def artifact(ref: str, kind: str, file: str, **more: Any) -> dict[str, Any]:
    """The record of an artifact."""
    found = {"$ref": ref, "type": kind, "file": file, "content_type": "", "preview": "", "metadata": {}}
    return {**found, "timestamp": NOW // 1_000_000, **more}


def begin(name: str, project: str = "golden") -> list[Event]:
    """How each run begins."""
    keys = {
        "status": "in_progress",
        "name": name,
        "project": project,
        "type": "training",
        "created": NOW,
        "started": NOW,
        "user": "ada",
        "host": "engine",
        "comment": "golden",
        "system_tag/development": True,
        "progress": 0,
        "attempt/1": {"reason": "init"},
    }
    return [SetKey(key, value, NOW + n) for n, (key, value) in enumerate(keys.items())]


def finish(status: str, at: int, reason: str = "", message: str = "") -> list[Event]:
    """How a run ends."""
    keys = {"status_reason": reason, "status_message": message, "completed": NOW + at, "status": status}
    return [SetKey(key, value, NOW + at + n) for n, (key, value) in enumerate(keys.items())]


def journal(store: Store, key: str, writer: str, *parts: Sequence[Event], sealed: bool = True) -> None:
    """Write a run's events, sealing after each part; the writer has ended when the last event says so."""
    folder = store.root / f"live/{key}/{writer}"
    writing = JournalWriter(folder, writer)
    for place, part in enumerate(parts, 1):
        for event in part:
            writing.append(*events.encode(event))
        if place < len(parts):
            seal.seal(store, key, own=writer, rolling=True)
    writing.close()
    about = {"host": "engine", "boot": "", "pid": 4242, "started": NOW / 1e6, "locked": True}
    (folder / "alive").write_text(json.dumps(about))
    age(folder)
    if sealed:
        seal.seal(store, key)


def age(folder: Path) -> None:
    """Let a journal be of long ago, as one is that comes out of an archive."""
    for path in (*folder.iterdir(), folder):
        os.utime(path, (NOW / 1e6, NOW / 1e6))


def commit(
    store: Store, key: str, kind: str, keys: Mapping[str, Any], at: int, writer: str, heads: list[Head]
) -> None:
    """Edit a thing on top of the given heads, as somebody did who saw those."""
    reader = Reader(store)
    entries = {name: Entry(value, NOW + at, writer) for name, value in keys.items()}
    state = merge([*(reader.state(head) for head in heads), State(kind, entries)])
    with store.begin() as transaction:
        seal.commit_state(store, transaction, key, state, heads, {**united_covers(heads), writer: 1})


def make(root: Path) -> None:
    """Make the golden store, the same every time but for what a compressor does."""
    store = Store.create(root, template_dir())
    with store.begin() as transaction:
        zeros = str(Ref("blob", str(transaction.put_bytes(bytes(9_000_000))), 9_000_000))
        folder = Path(tempfile.mkdtemp())
        (folder / "deep").mkdir()
        (folder / "a.txt").write_text("a")
        (folder / "deep" / "run.sh").write_text("#!/bin/sh\n")
        (folder / "deep" / "run.sh").chmod(0o755)
        os.symlink("a.txt", folder / "link")
        tree, size = files.put_folder(transaction, folder)
        shutil.rmtree(folder)
    content, text = blob("grüße".encode())
    weights, network = blob(b"weights")
    points = [Scalar(1, n, NOW + 100 + n, n / 4) for n in range(20)]
    strange = [(3, QUIET_NAN), (3, math.inf), (-1, -math.inf), (2**63 - 1, -0.0)]
    series: list[Event] = [
        Declare(1, "loss", "train"),
        *points,
        Declare(2, "loss", "strange/é"),
        *(Scalar(2, step, NOW + 200 + n, value) for n, (step, value) in enumerate(strange)),
    ]
    middle: list[Event] = [
        SetKey("param/Args/lr", {"value": "0.1", "type": "float", "description": None}, NOW + 300),
        SetKey("tag/best", True, NOW + 301),
        SetKey("single/accuracy", {"value": 0.97, "time": NOW}, NOW + 302),
        SetKey("single/none", {"value": "nan", "time": NOW}, NOW + 303),
        Text("stdout", NOW + 304, "epoch 1: grüße"),
        Text("stderr", NOW + 305, "careful"),
        Plot(
            "confusion", "test", 3, NOW + 306, {"data": [{"type": "heatmap", "z": [[1, None]]}], "layout": {}}
        ),
        content,
        SetKey("artifact/text", artifact(text, "string", "text.txt"), NOW + 307),
        SetKey("artifact/zeros", artifact(zeros, "custom", "zeros.bin"), NOW + 308),
        SetKey("artifact/folder", artifact(f"tree:{tree}:{size}", "archive", "folder.zip"), NOW + 309),
        SetKey(
            "artifact/url",
            {"url": "https://example.com/x", "type": "custom", "file": "x", "timestamp": 0},
            NOW + 310,
        ),
        weights,
        SetKey("name", "net", NOW + 311, MODEL),
        SetKey("task", DONE, NOW + 312, MODEL),
        SetKey("weights", {"$ref": network, "file": "net.pt"}, NOW + 313, MODEL),
        SetKey(f"model/output/{MODEL}", {"name": "net"}, NOW + 314),
        SetKey("of a later version", {"deep": [1, {"$ref": text}]}, NOW + 315),
        Declare(3, "loss", "train"),
        *(Scalar(3, n, NOW + 400 + n, n / 4) for n in range(20, 25)),
    ]
    end: list[Event] = [SetKey("progress", 100, NOW + 500), *finish("completed", 501), End()]
    journal(store, DONE, "00000000000000d1", begin("done") + series, middle, end)
    failed = finish("failed", 100, "Exception ValueError", "ValueError: nan")
    journal(store, FAILED, "00000000000000f1", [*begin("failed", "other/é"), *failed, End()])
    journal(store, DEAD, "00000000000000e1", [*begin("dead"), Declare(1, "loss", "train"), *points])
    journal(store, BOTH, "00000000000000b1", [*begin("both"), *finish("completed", 100), End()])
    first = store.heads.of(BOTH)
    commit(
        store,
        BOTH,
        "task",
        {"tag/here": True, "name": "renamed here", "tag/x": True},
        1000,
        "00000000000000b2",
        first,
    )
    here = store.heads.of(BOTH)
    commit(store, BOTH, "task", {"tag/there": True, "name": "renamed there"}, 2000, "00000000000000b3", first)
    commit(store, BOTH, "task", {"tag/x": None}, 3000, "00000000000000b4", here)
    commit(store, ALIAS, "alias", {"name": "best", "target": DONE}, 4000, "00000000000000c1", [])
    commit(store, PIN, "pin", {"name": "paper", "object": {"$ref": text}}, 5000, "00000000000000c2", [])
    running = [*begin("waiting"), Declare(1, "loss", "train"), *points, content]
    running += [
        SetKey("artifact/text", artifact(text, "string", "text.txt"), NOW + 307),
        Text("log", NOW + 308, "bye"),
    ]
    journal(store, WAITING, "00000000000000a1", running, sealed=False)
    fold_away(store, (DONE, FAILED))


def fold_away(store: Store, keys: tuple[str, ...]) -> None:
    """Move the heads of some tasks into a table."""
    heads = tuple(head for key in keys for head in store.heads.of(key))
    data = Table(heads=heads).encode()
    store.publish_bytes(layout.table_path(hash_bytes(data).hex()), data)
    for key in keys:
        for path in store.root.glob(f"refs/*/{key}.*"):
            path.unlink()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The golden store, unpacked."""
    folder = tmp_path_factory.mktemp("golden")
    with zipfile.ZipFile(GOLDEN) as archive:
        archive.extractall(folder)
    for live in (folder / ".tracker" / "live").glob("*/*"):
        age(live)
    return Store.open(folder / ".tracker")


@pytest.fixture
def tasks(store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Task]:
    """Its tasks, as the API gives them, out of a copy."""
    shutil.copytree(store.root, tmp_path / ".tracker", copy_function=shutil.copy2)
    for live in (tmp_path / ".tracker" / "live").glob("*/*"):
        age(live)
    monkeypatch.setenv("TRACKER_DIR", str(tmp_path / ".tracker"))
    return {task.id: task for task in Task.get_tasks()}


def test_file_is_small() -> None:
    """It lies in the repository for ever."""
    assert GOLDEN.stat().st_size < 100_000


def test_store_is_sound(store: Store) -> None:
    """Every object decodes and hashes to its id, and every head reaches all that it names."""
    report = store.fsck()
    assert report.clean, report.problems
    assert report.heads == 8  # two of one task, and a journal that has none


def test_tasks_are_what_they_were(tasks: dict[str, Task]) -> None:
    """Names, statuses, tags, parameters, dates: of sealed, edited, dead and waiting runs."""
    shown = {
        key: (t.name, t.get_project_name(), t.status, t.get_tags(), t.get_progress())
        for key, t in tasks.items()
    }
    assert shown == {
        DONE: ("done", "golden", "completed", ["best"], 100),
        FAILED: ("failed", "other/é", "failed", [], 0),
        DEAD: ("dead", "golden", "stopped", [], 0),
        BOTH: ("renamed there", "golden", "completed", ["here", "there"], 0),
        WAITING: ("waiting", "golden", "stopped", [], 0),
    }
    assert list(tasks) == [BOTH, DONE, WAITING, DEAD, FAILED]  # the last change first
    for key in (DEAD, WAITING):
        state = tasks[key].workspace.thing(key).state
        assert state.get("status_reason") == "aborted: process 4242 on engine ended without closing"
        assert state.get("completed") == NOW + (119 if key == DEAD else 308)
    assert tasks[FAILED].get_status_message() == ("failed", "ValueError: nan")
    assert tasks[DONE].get_parameters(cast=True) == {"Args/lr": 0.1}
    singles = tasks[DONE].get_reported_single_values()
    assert (singles["accuracy"], math.isnan(singles["none"])) == (0.97, True)
    assert tasks[DONE].task_type == "training"


def test_series_are_bit_for_bit_what_was_reported(store: Store, tasks: dict[str, Task]) -> None:
    """Sealed in pieces, from a journal, and with every strange number."""
    expected = {"name": "train", "x": list(range(25)), "y": [n / 4 for n in range(25)]}
    assert tasks[DONE].get_reported_scalars()["loss"]["train"] == expected
    for key in (DEAD, WAITING):
        assert tasks[key].get_reported_scalars()["loss"]["train"]["x"] == list(range(20))
    workspace = Workspace(store, tasks[DONE].workspace.config)
    pieces = [p for p in reports.series(workspace, workspace.thing(DONE)) if p.series == "strange/é"]
    (strange,) = pieces
    assert [int(step) for step in strange.steps] == [3, 3, -1, 2**63 - 1]
    assert np.asarray(strange.values, "<f8").tobytes() == struct.pack(
        "<4d", QUIET_NAN, math.inf, -math.inf, -0.0
    )
    assert tasks[DONE].get_last_iteration() == 2**63 - 1


def test_content_is_what_it_was(tasks: dict[str, Task]) -> None:
    """Text, a large file of chunks, a folder with a link, a URL, console, plot, weights."""
    found = tasks[DONE].artifacts
    assert found["text"].get() == tasks[WAITING].artifacts["text"].get() == "grüße"
    assert Path(found["zeros"].get_local_copy() or "").read_bytes() == bytes(9_000_000)
    folder = Path(found["folder"].get_local_copy() or "")
    assert sorted(str(p.relative_to(folder)) for p in folder.rglob("*")) == [
        "a.txt",
        "deep",
        "deep/run.sh",
        "link",
    ]
    assert os.readlink(folder / "link") == "a.txt"
    assert os.access(folder / "deep" / "run.sh", os.X_OK)
    assert found["url"].url == "https://example.com/x"
    assert tasks[DONE].get_reported_console_output(9) == ["epoch 1: grüße", "careful"]
    assert tasks[WAITING].get_reported_console_output(9) == ["bye"]
    thing = tasks[DONE].workspace.thing(DONE)
    (plot,) = (p for segment in thing.state.segments for p in segment.plots)
    figure = json.loads(tasks[DONE].workspace.read(thing, Ref.parse(plot["$ref"])))
    assert (plot["title"], plot["series"], plot["iteration"]) == ("confusion", "test", 3)
    assert figure == {"data": [{"type": "heatmap", "z": [[1, None]]}], "layout": {}}
    (model,) = tasks[DONE].models.output
    assert (model.id, model.name, model.task) == (MODEL, "net", DONE)
    assert Path(Model(MODEL).get_weights() or "").read_bytes() == b"weights"


def test_other_things_and_unknown_fields_are_kept(store: Store, tasks: dict[str, Task]) -> None:
    """An alias, a pin; a key of a later version, through a new edit too, and what it refers to stays reachable."""
    workspace = tasks[DONE].workspace
    assert (workspace.thing(ALIAS).state.kind, workspace.thing(ALIAS).state.get("target")) == ("alias", DONE)
    assert workspace.thing(PIN).state.kind == "pin"
    assert list(workspace.thing(PIN).state.references()) == [
        str(Ref("blob", str(hash_object(Kind.BLOB, "grüße".encode())), 7))
    ]
    tasks[DONE].add_tags("today")
    (task,) = (t for t in Task.get_tasks() if t.id == DONE)
    assert task.get_tags() == ["best", "today"]
    assert task.workspace.thing(DONE).state.get("of a later version")["deep"][0] == 1
    assert task.workspace.store.fsck().clean


def test_history_is_there(store: Store) -> None:
    """What each head follows; rolling states left out; two heads where two places edited."""
    (done,) = store.heads.of(DONE)
    assert done.where.startswith("refs.packed/")
    assert (done.commit.parents, done.commit.generation, done.commit.rolling) == ((), 3, False)
    (dead,) = store.heads.of(DEAD)
    assert dead.commit.covers == {"00000000000000e1": 33, "00000000000000e1.r": 33}
    both = store.heads.of(BOTH)
    assert sorted((h.commit.generation, len(h.commit.parents)) for h in both) == [(2, 1), (3, 1)]
    assert living(both) == both
    for head in both:
        assert store.objects.has(head.commit.parents[0])


def test_today_the_same_events_give_the_same_commits(store: Store, tmp_path: Path) -> None:
    """Wherever no compressor has a say: the bytes of states, trees and commits are those of version 1."""
    make(tmp_path / ".tracker")
    fresh = Store.open(tmp_path / ".tracker")
    for key in (FAILED, BOTH, ALIAS, PIN, MODEL):
        assert [head.id for head in fresh.heads.of(key)] == [head.id for head in store.heads.of(key)]
    reader, golden = Reader(fresh), Reader(store)
    for key in (DONE, DEAD):
        states = [r.thing(key).state for r in (reader, golden)]
        assert states[0].keys == states[1].keys
        shapes = [
            [(s.writer, s.attempt, s.last, s.time, s.plots, s.console) for s in state.segments]
            for state in states
        ]
        assert shapes[0] == shapes[1]


def pack(target: Path) -> None:
    """Make the store and write it as an archive with fixed times."""
    folder = Path(tempfile.mkdtemp())
    make(folder / ".tracker")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix() + ("/" if path.is_dir() else "")
            archive.writestr(
                zipfile.ZipInfo(name, (2023, 11, 14, 0, 0, 0)), b"" if path.is_dir() else path.read_bytes()
            )
    target.write_bytes(buffer.getvalue())
    shutil.rmtree(folder)
    print(f"{target}: {target.stat().st_size} bytes, {time.strftime('%F')}")


if __name__ == "__main__":
    pack(Path(sys.argv[1]))
