"""The file of the tables: kept up to date with little work, made again when it is gone, damaged or of another version,
never where a network file system would break it, and shared by any number of processes.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from objstore import layout as store_layout
from objstore.heads import Table
from objstore.ids import ObjectId, hash_bytes
from tests.tracker.projection.conftest import fresh, put, state
from tracker import Task, layout
from tracker.filters import parse, parse_sort
from tracker.projection import Query, places, schema
from tracker.workspace import Workspace

CHECKOUT = Path(__file__).parents[3]
NAMES = ("one", "two", "three")


def file_of(workspace: Workspace) -> Path:
    """Where the tables should be."""
    return workspace.root / "cache" / "index.sqlite"


def found(workspace: Workspace, text: str = "") -> list[str]:
    """The names of what fits, sorted."""
    return sorted(row.name for row in workspace.projection.find(Query(parse(text), text=text)).rows)


def named(*names: str, **more: object) -> list[str]:
    """For use with `put`: states that have these names."""
    return [state({"name": name, **more}) for name in names]  # type: ignore[misc]  # see `put`


@pytest.fixture
def filled(workspace: Workspace) -> Workspace:
    """A store with three tasks, and their tables."""
    put(workspace.store, named(*NAMES))  # type: ignore[arg-type]
    assert found(workspace) == sorted(NAMES)
    assert file_of(workspace).exists()
    return Workspace.open(workspace.root)


def reads(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> list[ObjectId]:
    """The objects that are read from here on."""
    seen: list[ObjectId] = []
    real = workspace.store.objects.stream

    def stream(object_id: ObjectId, *more: object) -> object:
        seen.append(object_id)
        return real(object_id, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(workspace.store.objects, "stream", stream)
    return seen


def test_nothing_is_read_while_nothing_is_new(filled: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """No state, no commit, no table of heads: names are listed, and that is all."""
    seen = reads(filled, monkeypatch)
    assert found(filled) == sorted(NAMES)
    assert seen == []
    assert filled.store.heads._tables == {}


def test_one_new_task_costs_the_reading_of_one(filled: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the other heads stand in a table, that is not read."""
    table = Table(tuple(filled.store.heads.loose())).encode()
    filled.store.publish_bytes(store_layout.table_path(hash_bytes(table).hex()), table)
    shutil.rmtree(filled.root / "refs")
    (filled.root / "refs").mkdir()
    assert found(Workspace.open(filled.root)) == sorted(NAMES)
    again = Workspace.open(filled.root)
    put(again.store, named("four"))  # type: ignore[arg-type]
    seen = reads(again, monkeypatch)
    assert found(again) == sorted((*NAMES, "four"))
    assert len(seen) == 2  # its tree and its record
    assert again.store.heads._tables == {}


def test_edits_deletions_and_restorations_are_seen(filled: Workspace) -> None:
    """By a process that had asked before, and by one that had not."""
    old = filled.projection
    (key,) = [row.id for row in old.find(Query(parse("name=one"))).rows]
    filled.edit(key, {"name": "uno", "tag/x": True, "param/Args/p": {"value": "1"}})
    assert found(filled, "tags:x Args/p:1") == ["uno"]
    filled.edit(key, {"tag/x": None, "param/Args/p": {"value": "2"}})
    assert found(filled, "tags:x") == []
    assert found(filled, "Args/p>1") == ["uno"]
    filled.edit(key, {"deleted": True})
    assert found(filled) == ["three", "two"]
    filled.edit(key, {"deleted": None})
    assert found(filled) == ["three", "two", "uno"]
    assert found(Workspace.open(filled.root)) == ["three", "two", "uno"]


def test_heads_that_are_folded_or_taken_away_are_noticed(filled: Workspace) -> None:
    """A fold changes nothing; a store that was put back to an earlier state shows that state."""
    before = filled.root.parent / "before"
    shutil.copytree(filled.root / "refs", before)
    (key,) = [row.id for row in filled.projection.find(Query(parse("name=one"))).rows]
    filled.edit(key, {"name": "uno"})
    put(filled.store, named("four"))  # type: ignore[arg-type]
    assert found(filled) == ["four", "three", "two", "uno"]
    shutil.rmtree(filled.root / "refs")
    shutil.copytree(before, filled.root / "refs")
    assert found(filled) == sorted(NAMES)
    assert found(Workspace.open(filled.root)) == sorted(NAMES)


def test_a_head_from_elsewhere_is_united_with_those_here(filled: Workspace) -> None:
    """Two that diverged are one task, with what both say."""
    (key,) = [row.id for row in filled.projection.find(Query(parse("name=one"))).rows]
    other = filled.root.parent / "other"
    shutil.copytree(filled.root, other)
    filled.edit(key, {"tag/here": True})
    Workspace.open(other).edit(key, {"tag/there": True})
    assert found(filled, "tags:here") == ["one"]
    for part in ("packs", "refs"):
        shutil.copytree(other / part, filled.root / part, dirs_exist_ok=True)
    assert found(filled, "tags:here tags:there") == ["one"]


DAMAGES: dict[str, Callable[[Path], object]] = {
    "gone": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "no database": lambda path: path.write_bytes(b"none of this is SQLite's" * 1000),
    "cut short": lambda path: os.truncate(path, path.stat().st_size // 2),
    "garbled behind its head": lambda path: path.write_bytes(
        path.read_bytes()[:100] + random.Random(1).randbytes(path.stat().st_size - 100)
    ),
    "of another version": lambda path: _run_sql(path, f"PRAGMA user_version = {schema.VERSION + 1}"),
    "of before versions": lambda path: _run_sql(path, "PRAGMA user_version = 0"),
    "without a table": lambda path: _run_sql(path, "DROP TABLE more"),
    "with other facts": lambda path: _run_sql(path, "UPDATE more SET facts = x'00'"),
    "with a foreign note": lambda path: _run_sql(path, "UPDATE note SET value = x'7b7d'"),
}


def _run_sql(path: Path, text: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(text)
    connection.commit()
    connection.close()


@pytest.mark.parametrize("open_meanwhile", [False, True])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_file_that_is_gone_or_damaged_is_made_again(
    filled: Workspace, damage: str, open_meanwhile: bool
) -> None:
    """By who has it open, and by who opens it; the answer is right each time, and the file sound afterwards."""
    if open_meanwhile:
        found(filled)
    for end in ("-wal", "-shm"):
        Path(f"{file_of(filled)}{end}").unlink(missing_ok=True)
    DAMAGES[damage](file_of(filled))
    workspace = filled if open_meanwhile and damage == "gone" else Workspace.open(filled.root)
    assert found(workspace) == sorted(NAMES)
    assert found(Workspace.open(filled.root), "name:o") == ["one", "two"]
    connection = sqlite3.connect(file_of(filled))
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_a_log_that_was_left_behind_is_not_replayed_into_a_new_file(filled: Workspace) -> None:
    """Who deletes the file may overlook those beside it."""
    put(filled.store, named("four"))  # type: ignore[arg-type]
    child = "import os, sys\nfrom pathlib import Path\nfrom tracker.workspace import Workspace\n"
    child += "w = Workspace.open(Path(sys.argv[1]))\nfrom tracker.projection import Query\n"
    child += "w.projection.find(Query())\nos._exit(0)\n"  # as if it were killed: its log stays
    subprocess.run([sys.executable, "-c", child, str(filled.root)], check=True, env=environment())
    assert Path(f"{file_of(filled)}-wal").exists()
    file_of(filled).unlink()
    assert found(Workspace.open(filled.root)) == sorted((*NAMES, "four"))


def environment(**more: str) -> dict[str, str]:
    """Variables of a child process."""
    return {**os.environ, "PYTHONPATH": str(CHECKOUT), **more}


CHILD = """
import sys
from pathlib import Path
from tests.tracker.projection.conftest import put, state
from tracker.filters import parse
from tracker.projection import Query
from tracker.workspace import Workspace
root, me = Path(sys.argv[1]), sys.argv[2]
workspace = Workspace.open(root)
for number in range(4):
    put(workspace.store, [state({"name": f"{me}.{number}"})])
    names = {row.name for row in workspace.projection.find(Query()).rows}
    assert {f"{me}.{n}" for n in range(number + 1)} <= names, names
    if me in ("3", "7") and number == 1:
        (root / "cache" / "index.sqlite").unlink(missing_ok=True)
    if me == "5" and number == 2:
        (root / "cache" / "index.sqlite").write_bytes(b"garbage")
"""


def test_sixteen_processes_at_once(filled: Workspace) -> None:
    """Each finds all that it wrote itself; some of them delete the file, and one writes over it."""
    file_of(filled).unlink()
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, str(filled.root), str(number)],
            env=environment(),
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(16)
    ]
    for child in children:
        _, err = child.communicate(timeout=100)
        assert child.returncode == 0, err
    expected = sorted([*NAMES, *(f"{number}.{n}" for number in range(16) for n in range(4))])
    assert found(Workspace.open(filled.root)) == expected


def test_a_forked_child_asks_for_itself(filled: Workspace) -> None:
    """Its parent's connection is not its own."""
    assert found(filled) == sorted(NAMES)
    put(filled.store, named("four"))  # type: ignore[arg-type]
    child = os.fork()
    if not child:
        os._exit(0 if found(filled) == sorted((*NAMES, "four")) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert found(filled) == sorted((*NAMES, "four"))


def test_a_store_that_may_not_be_written_has_its_tables_in_the_users_cache(
    filled: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each store its own; and nothing is written into the store."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "mine"))
    shutil.rmtree(filled.root / "cache")
    filled.store.read_only = True
    assert found(filled) == sorted(NAMES)
    assert not (filled.root / "cache").exists()
    (folder,) = (tmp_path / "mine" / "tracker").iterdir()
    assert (folder / "index.sqlite").exists()
    assert folder.stat().st_mode & 0o077 == 0


def test_on_a_network_file_system_they_are_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the user's cache folder, else in the temporary one, else in memory: SQLite's locks do not work there."""
    root, mine = tmp_path / "store", tmp_path / "mine"
    monkeypatch.setattr(places, "file_system", lambda path: "nfs4" if root in path.parents else "ext4")
    path = places.path_of(root, read_only=False, environment={"XDG_CACHE_HOME": str(mine)})
    assert path is not None
    assert path.is_relative_to(mine / "tracker")
    monkeypatch.setattr(
        places, "file_system", lambda path: "ext4" if "tracker-" in str(path) else "fuse.sshfs"
    )
    path = places.path_of(root, read_only=False, environment={"XDG_CACHE_HOME": str(mine)})
    assert path is not None
    assert not path.is_relative_to(tmp_path / "store")
    assert not path.is_relative_to(mine)
    monkeypatch.setattr(places, "file_system", lambda path: "lustre")
    assert places.path_of(root, read_only=False, environment={}) is None


def test_without_any_place_they_are_made_in_memory(
    filled: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And kept up to date there."""
    monkeypatch.setattr(places, "file_system", lambda path: "lustre")
    shutil.rmtree(filled.root / "cache")
    assert found(filled) == sorted(NAMES)
    put(filled.store, named("four"))  # type: ignore[arg-type]
    assert found(filled) == sorted((*NAMES, "four"))
    assert not list(filled.root.glob("cache/index.sqlite*"))


def test_a_running_task_is_found_as_it_stands_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything of it is sealed, sorted among the others; and only once after that."""
    monkeypatch.chdir(tmp_path)
    workspace = fresh(tmp_path)
    put(workspace.store, [state({"name": f"old {n}"}, {("val", "acc"): (n, n, n)}) for n in range(3)])
    task = Task.init("project", "runs", auto_connect_frameworks=False, auto_connect_streams=False)
    task.get_logger().report_scalar("val", "acc", 1.5, 0)
    task.add_tags("now")

    def ask() -> list[str]:
        query = Query(parse("val/acc>0.5"), [parse_sort("-val/acc")], limit=2)
        return [row.name for row in Workspace.open(workspace.root).projection.find(query).rows]

    assert ask() == ["old 2", "runs"]
    assert found(workspace, "tags:now status:in_progress") == ["runs"]
    task.get_logger().report_scalar("val", "acc", 9.0, 1)
    assert ask() == ["runs", "old 2"]
    assert workspace.projection.find(Query(limit=0)).total == 4
    task.close()
    assert ask() == ["runs", "old 2"]
    assert found(workspace, "tags:now status:completed") == ["runs"]
    assert workspace.projection.find(Query(limit=0)).total == 4
    again = Task.get_task(task_id=task.id)
    assert again is not None
    again.add_tags("later")
    assert found(workspace, "tags:later") == ["runs"]


def test_models_can_be_asked_for(workspace: Workspace) -> None:
    """They have names, tags and frameworks, too, and are not among the tasks."""
    put(
        workspace.store, [state({"name": "net", "tag/best": True, "framework": "PyTorch"}, kind=layout.MODEL)]
    )
    put(workspace.store, named("net"))  # type: ignore[arg-type]
    models = workspace.projection.find(Query(parse("tags:best framework:pytorch"), kind=layout.MODEL))
    assert [each.kind for each in models.facts] == [layout.MODEL]
    assert workspace.projection.find(Query()).total == 1


def test_what_cannot_be_read_is_told_each_time_and_found_once_it_can(filled: Workspace) -> None:
    """A damaged record hides nothing else."""
    (bad,) = put(filled.store, [state({"name": "bad", "param/x": "no mapping"})])
    assert found(filled) == sorted(NAMES)
    assert "cannot be read" in filled.damaged[bad]
    again = Workspace.open(filled.root)
    assert found(again) == sorted(NAMES)
    assert "cannot be read" in again.damaged[bad]
    again.edit(bad, {"param/x": {"value": "1"}})
    assert found(again, "params.x:1") == ["bad"]
    assert again.damaged == {}


def test_names_that_nobody_has_any_more_are_not_offered(filled: Workspace) -> None:
    """Of a deleted task, or a removed parameter, say."""
    (key,) = put(filled.store, [state({"name": "x", "param/Secret/s": {"value": "1"}, "tag/t": True})])
    assert filled.projection.names(schema.PARAM) == ["Secret/s"]
    filled.edit(key, {"deleted": True})
    assert filled.projection.names(schema.PARAM, schema.TAG) == []


def test_ids_are_shown_as_long_as_tells_them_apart(filled: Workspace) -> None:
    """From all that are in the store, and not only from those shown."""
    keys = [row.id for row in filled.projection.find(Query()).rows]
    assert filled.projection.short_length(keys[:1]) == 8
    near = keys[0][:12] + ("0" if keys[0][12] != "0" else "1") + keys[0][13:]
    filled.edit(near, {"name": "near"}, new=True)
    assert filled.projection.short_length(keys[:1]) == 13
