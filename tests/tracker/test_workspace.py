"""The workspace: which store is meant, what is in it, and edits of which none is lost, however many at once."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from objstore.errors import Ambiguous, InvalidName, NotFound, ReadOnly
from objstore.ids import Kind, hash_object
from objstore.journal import JournalWriter
from objstore.store import Store
from tests.scripts import QUIET, Scripts
from tracker import events, layout
from tracker.errors import BadValue, CorruptRecord, TaskNotFound
from tracker.events import Blob, End, SetKey
from tracker.records import Ref
from tracker.workspace import Workspace, default_root, find

KEY, OTHER = "ab" * 16, "abab" + "cd" * 14


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An open, empty store."""
    return Workspace.open_or_create(tmp_path / ".tracker")


def fresh(workspace: Workspace) -> Workspace:
    """The same store as another process opens it."""
    return Workspace.open(workspace.root)


# Which store


def test_store_is_the_nearest_upwards_or_the_named_one(tmp_path: Path) -> None:
    """As git finds its own; a folder of the name without `format` is none."""
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert find(below, {}) is None
    Store.create(tmp_path / ".tracker")
    (tmp_path / "a" / ".tracker").mkdir()
    assert find(below, {}) == tmp_path / ".tracker"
    Store.create(below / ".tracker")
    assert find(below, {}) == below / ".tracker"
    assert find(below, {"TRACKER_DIR": "/elsewhere"}) == Path("/elsewhere")
    assert find(below, {"TRACKER_DIR": ""}) == below / ".tracker"
    assert find(below, {"TRACKER_DIR": str(tmp_path)}) == tmp_path / ".tracker"
    assert find(below, {"TRACKER_DIR": str(tmp_path / "a")}) == tmp_path / "a"


def test_new_store_belongs_in_the_git_root(tmp_path: Path) -> None:
    """Or in the working directory, where there is none; a worktree's .git is a file."""
    below = tmp_path / "repository" / "src"
    below.mkdir(parents=True)
    assert default_root(below) == below / ".tracker"
    (tmp_path / "repository" / ".git").write_text("gitdir: elsewhere")
    assert default_root(below) == tmp_path / "repository" / ".tracker"


def test_opening_makes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading where there is no store is an error that says what to do."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFound, match="tracker init"):
        Workspace.open()
    with pytest.raises(NotFound):
        Workspace.open(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


def test_store_is_a_copy_of_the_template(workspace: Workspace, checkout: Path) -> None:
    """With the settings in it; and nothing is left beside it."""
    template = checkout / ".tracker-template"
    names = {path.name for path in template.iterdir()}
    assert {path.name for path in workspace.root.iterdir()} == names
    assert (workspace.root / "config.toml").read_bytes() == (template / "config.toml").read_bytes()
    assert [path.name for path in workspace.root.parent.iterdir()] == [".tracker"]
    assert fresh(workspace).things() == {}


def test_settings_are_the_stores(workspace: Workspace) -> None:
    """A wrong one is named when it is opened, not when it is needed."""
    (workspace.root / "config.toml").write_text("close_timeout = 1.5")
    assert fresh(workspace).config.close_timeout == 1.5
    (workspace.root / "config.toml").write_text("close_timeout = 'soon'")
    with pytest.raises(BadValue, match="close_timeout"):
        fresh(workspace)


def test_script_may_change_its_directory(tmp_path: Path) -> None:
    """A store that was named relative to where the script began stays that one: journal, large content, head."""
    (tmp_path / "elsewhere").mkdir()
    scripts = Scripts(tmp_path, TRACKER_DIR="mine/.tracker")
    scripts.run(
        f"""
        import os
        from tracker import Task
        task = Task.init("workspace", "wanderer", {QUIET})
        os.chdir("elsewhere")
        task.upload_artifact("large", "x" * 3_000_000)
        task.close()
        Task.init("workspace", "second", {QUIET}).close()
        """
    )
    assert list((tmp_path / "elsewhere" / "mine").glob(".tracker/refs/*/*")) != []  # named again from there
    assert scripts.ask(
        "t, = Task.get_tasks(); answer = [t.name, t.status, len(t.artifacts['large'].get())]"
    ) == [
        "wanderer",
        "completed",
        3_000_000,
    ]


def test_working_directory_may_be_gone(tmp_path: Path) -> None:
    """The run of a script whose folder somebody removed is recorded somewhere, or not: its exit code is its own."""
    scripts = Scripts(tmp_path)
    result = scripts.run(
        f"""
        import os, pathlib
        gone = pathlib.Path("gone")
        gone.mkdir()
        os.chdir(gone)
        pathlib.Path(os.environ["AWAY"]).rmdir()
        from tracker import Task
        task = Task.init("workspace", "gone", {QUIET})
        task.get_logger().report_scalar("t", "s", 1.0, 1)
        task.close()
        print("done")
        """,
        AWAY=str(tmp_path / "gone"),
        PWD=str(tmp_path / "gone"),
    )
    assert result.out == "done\n"


def test_store_can_be_moved_renamed_and_copied(tmp_path: Path) -> None:
    """Nothing in it holds an absolute path; a copy that `cp -r` made is a store as the first."""
    (tmp_path / "first").mkdir()
    scripts = Scripts(tmp_path / "first")
    scripts.run(
        f"""
        from tracker import Task, OutputModel
        task = Task.init("workspace", "moved", {QUIET})
        task.get_logger().report_scalar("t", "s", 1.0, 1)
        task.upload_artifact("large", "x" * 3_000_000)
        open("w.pkl", "wb").write(b"weights")
        OutputModel(name="weights").update_weights("w.pkl")
        """
    )
    ask = """
        t, = Task.get_tasks()
        answer = [t.id, t.status, t.get_reported_scalars(), t.artifacts["large"].hash, len(t.artifacts["large"].get()),
                  open(t.models["output"][0].get_weights()).read()]
        """
    before = scripts.ask(ask)
    (tmp_path / "copy").mkdir()
    shutil.copytree(tmp_path / "first" / ".tracker", tmp_path / "copy" / ".tracker")
    (tmp_path / "first").rename(tmp_path / "moved")
    assert not any(
        str(tmp_path).encode() in path.read_bytes()
        for path in (tmp_path / "moved" / ".tracker").rglob("*")
        if path.is_file()
    )
    for name in ("moved", "copy"):
        there = Scripts(tmp_path / name)
        assert there.ask(ask) == before
        assert Store.open(there.store).fsck().clean
    there.run(f"from tracker import Task\nTask.init('workspace', 'in the copy', {QUIET})")
    assert there.ask("answer = len(Task.get_tasks())") == 2


# What is in it


def test_ids_and_prefixes(workspace: Workspace) -> None:
    """Six characters or more, if they fit one thing; tasks and objects alike."""
    for key in (KEY, OTHER):
        workspace.edit(key, {"name": key}, new=True)
    ref = Ref.parse(workspace.attach(b"content"))
    assert workspace.resolve(KEY) == KEY
    assert workspace.resolve("ababab") == workspace.resolve_task("ababab") == KEY
    assert workspace.resolve(ref.id[:8]) == (Kind.BLOB, hash_object(Kind.BLOB, b"content"))
    for wrong, error in (
        ("abab", InvalidName),
        ("ABABAB", InvalidName),
        ("", InvalidName),
        ("f" * 6, NotFound),
    ):
        with pytest.raises(error):
            workspace.resolve_task(wrong)
    workspace.edit("ababcd" + "00" * 13, {"name": "third"}, new=True)
    for resolve in (workspace.resolve, workspace.resolve_task):
        with pytest.raises(Ambiguous) as caught:
            resolve("ababcd")
        assert OTHER in str(caught.value)


def test_content_of_a_running_task_is_found(workspace: Workspace) -> None:
    """It lies in a journal only, and is read from there."""
    writer = JournalWriter(workspace.root / layout.live_path(KEY, "w"), "w")
    data = b"only in a journal"
    ref = Ref("blob", str(hash_object(Kind.BLOB, data)), len(data))
    for event in (SetKey("name", "run", 1), Blob(ref.id, data)):
        writer.append(*events.encode(event))
    try:
        assert workspace.find_content(ref.id) == data
        assert workspace.read(workspace.thing(KEY), ref) == data
        assert workspace.find_content("00" * 32) is None
    finally:
        writer.close()


def test_unknown_id_is_an_error_that_names_it(workspace: Workspace) -> None:
    """As a lookup and as a value, like ClearML's."""
    for wrong in ("nothing", "", "../../etc", KEY):
        with pytest.raises(TaskNotFound, match="could not be found") as caught:
            workspace.thing(wrong)
        assert isinstance(caught.value, ValueError)
    with pytest.raises(TaskNotFound):
        workspace.edit(KEY, {"name": "x"})
    assert workspace.known(KEY) == {}


# Edits


def test_edit_is_kept_and_names_what_it_follows(workspace: Workspace) -> None:
    """One head, whose parents lead to every state before."""
    workspace.edit(KEY, {"name": "first", "tag/a": True}, new=True)
    workspace.edit(KEY, {"name": "second"})
    state = workspace.edit(KEY, {"tag/a": None})
    assert fresh(workspace).thing(KEY).state.encode() == state.encode()
    assert (state.get("name"), state.section("tag")) == ("second", {})
    (head,) = fresh(workspace).store.heads.of(KEY)
    assert (head.commit.generation, len(head.commit.parents)) == (3, 1)
    assert workspace.store.fsck().clean


def test_edit_beats_what_its_author_saw(workspace: Workspace) -> None:
    """Whatever the clocks say: the run's host may be an hour ahead, and its journal is not sealed yet."""
    ahead = time.time_ns() // 1000 + 3_600_000_000
    writer = JournalWriter(workspace.root / layout.live_path(KEY, "w"), "w")
    writer.append(*events.encode(SetKey("name", "theirs", ahead)))
    try:
        workspace.edit(KEY, {"name": "ours"})
        assert fresh(workspace).thing(KEY).state.get("name") == "ours"
        writer.append(*events.encode(SetKey("comment", "goes on", ahead + 5)))
        writer.append(*events.encode(End()))
    finally:
        writer.close()
    assert fresh(workspace).recover() == [KEY]
    state = fresh(workspace).thing(KEY).state
    assert (state.get("name"), state.get("comment")) == ("ours", "goes on")
    assert len(fresh(workspace).store.heads.of(KEY)) == 1


def test_store_that_was_put_back_loses_no_edit(workspace: Workspace, tmp_path: Path) -> None:
    """To a backup, while this process goes on: its next edit does not stand for the one that the backup lacks."""
    workspace.edit(KEY, {"name": "run"}, new=True)
    shutil.copytree(workspace.root, tmp_path / "backup")
    workspace.edit(KEY, {"comment": "kept elsewhere"})
    shutil.copytree(workspace.root, tmp_path / "elsewhere")
    shutil.rmtree(workspace.root / "refs")
    shutil.copytree(tmp_path / "backup" / "refs", workspace.root / "refs")
    workspace.edit(KEY, {"tag/after": True})
    workspace.edit(KEY, {"tag/again": True})
    shutil.copytree(tmp_path / "elsewhere" / "refs", workspace.root / "refs", dirs_exist_ok=True)
    state = fresh(workspace).thing(KEY).state
    assert state.get("comment") == "kept elsewhere"
    assert list(state.section("tag")) == ["after", "again"]


def test_text_that_is_no_text_is_spelled_out(workspace: Workspace) -> None:
    """A parameter from a file name that is not UTF-8."""
    workspace.edit(KEY, {"param/Args/\udcff": {"value": "caf\udce9"}}, new=True)
    assert fresh(workspace).thing(KEY).state.section("param") == {"Args/\\udcff": {"value": "caf\\udce9"}}


def together(work: Callable[[int], None], count: int) -> None:
    """Run `work(0)` to `work(count - 1)` in threads that start at once."""
    barrier = threading.Barrier(count)
    failed: list[BaseException] = []

    def run(number: int) -> None:
        barrier.wait()
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001 - shown below
            failed.append(error)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_threads_edits_are_all_kept(workspace: Workspace) -> None:
    """One workspace, eight threads, one task: a later head must hold what an earlier one of this writer held."""
    workspace.edit(KEY, {"name": "run"}, new=True)

    def work(n: int) -> None:
        for i in range(4):
            workspace.edit(KEY, {f"tag/{n}/{i}": True})

    together(work, 8)
    assert len(fresh(workspace).thing(KEY).state.section("tag")) == 32


def test_processes_edits_are_all_kept(workspace: Workspace) -> None:
    """Workspaces of their own: heads that diverge are united by whoever reads, and named by the next edit."""
    workspace.edit(KEY, {"name": "run"}, new=True)
    others = [fresh(workspace) for _ in range(6)]

    def work(n: int) -> None:
        for i in range(3):
            others[n].edit(KEY, {f"tag/{n}/{i}": True, "last": n})

    together(work, 6)
    state = fresh(workspace).thing(KEY).state
    assert len(state.section("tag")) == 18
    fresh(workspace).edit(KEY, {"comment": "united"})
    assert len(fresh(workspace).store.heads.of(KEY)) == 1
    assert len(fresh(workspace).thing(KEY).state.section("tag")) == 18
    assert workspace.store.fsck().clean


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_forked_childrens_edits_are_all_kept(workspace: Workspace) -> None:
    """They were born with one writer's id and number; each is a writer of its own."""
    workspace.edit(KEY, {"name": "run"}, new=True)
    children = []
    for n in range(3):
        child = os.fork()
        if child == 0:
            try:
                workspace.edit(KEY, {f"tag/{n}": True})
                os._exit(0)
            finally:
                os._exit(1)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    workspace.edit(KEY, {"tag/parent": True})
    assert list(fresh(workspace).thing(KEY).state.section("tag")) == ["0", "1", "2", "parent"]


# Without the right to write


def test_read_only_store_is_read_and_refuses_edits(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dead run is folded in memory; nothing is sealed, nothing is touched."""
    writer = JournalWriter(workspace.root / layout.live_path(KEY, "w"), "w")
    for event in (SetKey("status", "in_progress", 1), SetKey("name", "run", 2)):
        writer.append(*events.encode(event))
    writer.close()
    files = {path: path.stat().st_mtime_ns for path in workspace.root.rglob("*")}
    access = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode, **given: mode != os.W_OK and access(path, mode, **given)
    )
    reader = fresh(workspace)
    assert reader.store.read_only
    assert reader.recover() == []
    assert reader.thing(KEY).state.get("status") == "stopped"
    with pytest.raises(ReadOnly) as caught:
        reader.edit(KEY, {"name": "x"})
    assert isinstance(caught.value, PermissionError)
    assert {path: path.stat().st_mtime_ns for path in workspace.root.rglob("*")} == files


def test_recovery_of_one_task_does_not_wait_for_another(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be sealed now stays as it is; the rest is sealed, and all are read."""
    from tracker import seal

    for n, key in enumerate((KEY, OTHER)):
        writer = JournalWriter(workspace.root / layout.live_path(key, "w"), "w")
        writer.append(*events.encode(SetKey("name", f"run {n}", 2)))
        writer.close()
    real: Any = seal.seal

    def refusing(store: Store, key: str, **given: Any) -> bool:
        if key == KEY:
            raise CorruptRecord("a head that cannot be read")
        return bool(real(store, key, **given))

    monkeypatch.setattr(seal, "seal", refusing)
    assert workspace.recover() == [OTHER]
    assert fresh(workspace).tasks().keys() == {KEY, OTHER}
