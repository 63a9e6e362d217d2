"""The union of two stores is a store: any way of copying packs/, refs/ and refs.packed/ together is a way to sync."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from objstore import layout as store_layout
from objstore.store import Store
from tests.scripts import QUIET, Scripts

RUN = f"""
import sys
from tracker import *
name = sys.argv[1]
task = Task.init("union", "run " + name, tags=[name], {QUIET})
for n in range(20):
    task.get_logger().report_scalar("t", "s", float(n), n)
task.upload_artifact("own", {{"name": name}})
task.upload_artifact("shared", "the same bytes " * 200_000)
open("w.pkl", "w").write(name)
OutputModel(name="model of " + name).update_weights("w.pkl")
print(task.id)
"""
READ = """
answer = {t.name[4:]: [t.id, t.status, t.get_tags(), t.get_parameters(), t.get_reported_scalars()["t"]["s"]["y"],
                   t.artifacts["own"].get(), len(t.artifacts["shared"].get()),
                   [open(m.get_weights()).read() for m in t.models["output"]]]
          for t in Task.get_tasks()}
"""


def union(*parts: Path, into: Path) -> None:
    """Copy what has to be carried from several stores over one another, as rsync or a USB stick does."""
    for part in (part for part in parts if part != into):
        for name in store_layout.UNION:
            shutil.copytree(part / name, into / name, dirs_exist_ok=True)


def place(tmp_path: Path, name: str) -> Scripts:
    """A folder of its own, as another machine is."""
    (tmp_path / name).mkdir()
    return Scripts(tmp_path / name)


def edit(scripts: Scripts, key: str, what: str) -> None:
    """Change a stored task."""
    scripts.run(f"from tracker import *\nt = Task.get_task(task_id={key!r})\n{what}")


def test_two_stores_copied_together_show_the_tasks_of_both(tmp_path: Path) -> None:
    """In a fresh store, and in each of the two; whatever the order, and again."""
    one, two, three = (place(tmp_path, name) for name in ("one", "two", "three"))
    for scripts, names in ((one, ("a", "b")), (two, ("c",))):
        for name in names:
            scripts.run(RUN, name)
    expected: dict[str, Any] = {**one.ask(READ), **two.ask(READ)}
    assert len(expected) == 3
    three.run("from tracker.workspace import Workspace\nWorkspace.open_or_create()")
    union(one.store, two.store, into=three.store)
    union(two.store, into=one.store)
    union(one.store, into=two.store)
    for scripts in (one, two, three):
        assert scripts.ask(READ) == expected
        assert Store.open(scripts.store).fsck().clean
    union(one.store, two.store, three.store, into=three.store)
    assert three.ask(READ) == expected


def test_copy_that_was_cut_short_is_simply_run_again(tmp_path: Path) -> None:
    """Heads without their packs: what can be read is shown, what is missing is named, and then all is there."""
    one, two = (place(tmp_path, name) for name in ("one", "two"))
    one.run(RUN, "a")
    two.run(RUN, "b")
    mine = two.ask(READ)
    shutil.copytree(one.store / "refs", two.store / "refs", dirs_exist_ok=True)
    assert two.ask(READ) == mine
    assert not Store.open(two.store).fsck().clean
    union(one.store, into=two.store)
    assert two.ask(READ) == {**mine, **one.ask(READ)}
    assert Store.open(two.store).fsck().clean


@pytest.mark.parametrize("order", ["first", "second"])
def test_edits_on_both_sides_are_united(tmp_path: Path, order: str) -> None:
    """Different keys are all kept, of one key the later wins, a removal is an edit; both sides agree."""
    one, two = (place(tmp_path, name) for name in ("one", "two"))
    one.run(RUN, "a")
    shutil.copytree(one.store, two.store)
    key = one.ask("answer = Task.get_tasks()[0].id")
    edit(
        one,
        key,
        "t.add_tags('one'); t.set_parameter('properties/both', 1); t.set_parameter('properties/only one', 1)",
    )
    edit(two, key, "t.add_tags('two'); t.set_parameter('properties/both', 2); t.set_key('tag/a', None)")
    parts = [one.store, two.store] if order == "first" else [two.store, one.store]
    union(*parts, into=one.store)
    union(*parts[::-1], into=two.store)
    found = one.ask(READ)
    assert found == two.ask(READ)
    assert found["a"][2] == ["one", "two"]
    assert found["a"][3] == {"properties/both": "2", "properties/only one": "1"}
    assert len(Store.open(one.store).heads.of(key)) == 2
    edit(one, key, "t.add_tags('after')")
    assert len(Store.open(one.store).heads.of(key)) == 1
    union(two.store, into=one.store)  # the old heads come back, and stay dead
    assert len(Store.open(one.store).heads.of(key)) == 1
    assert one.ask(READ)["a"][2] == ["after", "one", "two"]
    assert Store.open(one.store).fsck().clean


def test_run_that_goes_on_elsewhere_is_taken_as_far_as_it_was_sealed(tmp_path: Path) -> None:
    """A copy made while a run went on has none of its journal; a later copy has all of it."""
    one, two = (place(tmp_path, name) for name in ("one", "two"))
    two.run(RUN, "b")
    with one.start(
        RUN.replace("print(task.id)", "print(task.id, flush=True); sys.stdin.read()"), "a", stdin=-1
    ) as run:
        key = run.line()
        shutil.copytree(one.store, tmp_path / "while it ran")
        union(tmp_path / "while it ran", into=two.store)
        assert key not in two.ask("answer = [t.id for t in Task.get_tasks()]")
        run.end()
    union(one.store, into=two.store)
    assert two.ask(READ)["a"][:2] == [key, "completed"]


def test_copy_with_the_journals_of_a_run_that_goes_on(tmp_path: Path) -> None:
    """`cp -r` of everything, as people do: there the run looks dead and is recovered; the original's end wins later."""
    one, two = (place(tmp_path, name) for name in ("one", "two"))
    with one.start(
        RUN.replace("print(task.id)", "print(task.id, flush=True); sys.stdin.read(); task.add_tags('later')"),
        "a",
        stdin=-1,
    ) as run:
        key = run.line()
        shutil.copytree(one.store, two.store)
        status = "t = Task.get_task(task_id={!r})\nanswer = [t.status, len(t.get_reported_scalars()['t']['s']['y'])]"
        assert one.ask(status.format(key)) == ["in_progress", 20]
        assert two.ask(status.format(key)) == ["stopped", 20]
        run.end()
    union(two.store, into=one.store)
    union(one.store, into=two.store)
    for scripts in (one, two):
        found = scripts.ask(READ)
        assert found["a"][1:3] == ["completed", ["a", "later"]]
        assert found["a"][4] == [float(n) for n in range(20)]
        assert Store.open(scripts.store).fsck().clean
