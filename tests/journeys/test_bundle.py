"""Over an air gap: stores that never meet become one by bundles, typed as people type them."""

from __future__ import annotations

import shutil
from pathlib import Path

from objstore.store import Store
from tests.commands import Cli, Done
from tests.scripts import CHECKOUT, QUIET, Scripts

RUN = f"""
import sys
from tracker import *
name = sys.argv[1]
task = Task.init("air gap", "run " + name, tags=[name], {QUIET})
for n in range(20):
    task.get_logger().report_scalar("t", "s", float(n), n)
task.upload_artifact("shared", "the same bytes " * 800_000)
open("w.pkl", "w").write(name)
OutputModel(task=task, name="model of " + name).update_weights("w.pkl")
print(task.id)
"""
READ = """
answer = {t.name[4:]: [t.id, t.status, t.get_tags(), t.get_parameters(), t.get_reported_scalars()["t"]["s"]["y"],
                   len(t.artifacts["shared"].get()), [open(m.get_weights()).read() for m in t.models["output"]]]
          for t in Task.get_tasks()}
"""


def tracker(folder: Path, *arguments: str) -> Done:
    """Run a command in a folder."""
    return Cli(folder, CHECKOUT)(*arguments)


def place(tmp_path: Path, name: str) -> Scripts:
    """A folder of its own, as another machine is, with an empty store."""
    (tmp_path / name).mkdir()
    assert tracker(tmp_path / name, "init", ".").code == 0
    return Scripts(tmp_path / name)


def carry(stick: Path, source: Path, target: Path) -> None:
    """Move what one side wrote to the other: they share nothing else."""
    for path in source.iterdir():
        if path.name.startswith("stick-"):
            shutil.copyfile(path, stick / path.name)
    for path in stick.iterdir():
        shutil.copyfile(path, target / path.name)


def test_three_stores_that_never_meet_come_to_show_the_same(tmp_path: Path) -> None:
    """A's bundle goes to B, is edited there and goes back; C gets both, in the wrong order first."""
    a, b, c = (place(tmp_path, name) for name in "abc")
    stick = tmp_path / "stick"
    stick.mkdir()
    for name in ("one", "two"):
        a.run(RUN, name)
    first = tracker(a.folder, "bundle", "create", "stick-1", "--json").json
    assert (first["tasks"], first["models"], first["needs"]) == (2, 2, 0)

    carry(stick, a.folder, b.folder)
    assert tracker(b.folder, "bundle", "unbundle", "stick-1").code == 0
    assert b.ask(READ) == a.ask(READ)
    key = a.ask("answer = sorted([t.name, t.id] for t in Task.get_tasks())[0][1]")
    b.run(
        f"from tracker import *\nt = Task.get_task(task_id={key!r})\n"
        "t.add_tags('from-b')\nt.set_parameter('properties/p', 1)"
    )
    a.run(f"from tracker import *\nTask.get_task(task_id={key!r}).add_tags('from-a')")
    b.run(RUN, "three")
    second = tracker(
        b.folder, "bundle", "create", "stick-2", "--since", "stick-1", "--split", "64KiB", "--json"
    ).json
    assert (second["tasks"], second["models"]) == (2, 1)
    assert second["bytes"] < 200_000, "the artifact that all have in common lies on the other side"
    assert key in [each["id"] for each in second["prerequisites"]]

    carry(stick, b.folder, a.folder)
    assert tracker(a.folder, "bundle", "unbundle", "stick-2.001").code == 0
    found = a.ask(READ)
    assert sorted(found) == ["one", "three", "two"]
    assert found["one"][2] == ["from-a", "from-b", "one"]
    third = tracker(a.folder, "bundle", "create", "stick-3", "--since", "stick-2", "--json").json
    assert third["tasks"] == 1

    carry(stick, a.folder, b.folder)
    carry(stick, a.folder, c.folder)
    assert tracker(b.folder, "bundle", "unbundle", "stick-3").code == 0
    early = tracker(c.folder, "bundle", "unbundle", "stick-2.001")
    assert (early.code, early.out) == (3, "")
    for text in ("nothing of it was published", key, first["id"][:12], "run one"):
        assert text in early.err
    assert c.ask("answer = len(Task.get_tasks())") == 0
    for name in ("stick-1", "stick-2.001", "stick-3", "stick-2.001"):
        assert tracker(c.folder, "bundle", "unbundle", name).code == 0
    assert a.ask(READ) == b.ask(READ) == c.ask(READ)
    for scripts in (a, b, c):
        assert Store.open(scripts.store).fsck().clean
    again = tracker(a.folder, "bundle", "create", "x", "--since", "stick-3")
    assert (again.code, "nothing is newer" in again.err, (a.folder / "x").exists()) == (0, True, False)


def test_one_task_is_carried_with_its_models_and_nothing_else(tmp_path: Path) -> None:
    """Named by the beginning of its id."""
    a, b = place(tmp_path, "a"), place(tmp_path, "b")
    a.run(RUN, "one")
    key = a.run(RUN, "two").out.split()[-1]
    done = tracker(a.folder, "bundle", "create", "x", "--tasks", key[:8], "--json").json
    assert (done["tasks"], done["models"]) == (1, 1)
    assert tracker(b.folder, "bundle", "unbundle", "../a/x").code == 0
    assert b.ask(READ) == {"two": a.ask(READ)["two"]}
    assert Store.open(b.store).fsck().clean


def test_since_a_remote_that_the_other_side_has_seen(tmp_path: Path) -> None:
    """A stick that was pushed to once is what both know; from then on small bundles do."""
    a, b = place(tmp_path, "a"), place(tmp_path, "b")
    a.run(RUN, "one")
    assert tracker(a.folder, "remote", "add", "backup", "../backup").code == 0
    assert tracker(a.folder, "push").code == 0
    assert tracker(b.folder, "remote", "add", "copy", "../backup").code == 0
    assert tracker(b.folder, "pull").code == 0
    a.run(RUN, "two")
    done = tracker(a.folder, "bundle", "create", "x", "--since", "backup", "--json").json
    assert (done["tasks"], done["bytes"] < 100_000) == (1, True)
    assert tracker(b.folder, "bundle", "unbundle", "../a/x").code == 0
    assert b.ask(READ) == a.ask(READ)
