"""Many runs leave few files, whoever made them, and every command goes on as if nothing had been folded or merged."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from objstore import layout
from objstore.store import Store
from tests.scripts import CHECKOUT, QUIET, Scripts

MANY = f"""
import sys
from tracker import Task
for n in range(int(sys.argv[1]), int(sys.argv[2])):
    task = Task.init("many", f"run {{n}}", {QUIET})
    task.set_parameter("n", n)
    task.get_logger().report_scalar("t", "s", float(n), 1)
    task.close()
"""


def files(root: Path) -> int:
    """All files of a store."""
    return sum(path.is_file() for path in root.rglob("*"))


def check(scripts: Scripts, count: int) -> None:
    """All runs are listed, with what they reported, and fsck finds nothing."""
    found = scripts.ask(
        """
        tasks = Task.get_tasks(project_name="many")
        answer = sorted(
            [t.name, t.get_parameters()["General/n"], t.get_reported_scalars()["t"]["s"]["y"]] for t in tasks
        )
        """
    )
    assert found == sorted([f"run {n}", str(n), [float(n)]] for n in range(count))
    environment = {"PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-m", "tracker"]
    for arguments in (["ls", "--limit", "0"], ["fsck"]):
        subprocess.run(
            [*command, *arguments], cwd=scripts.folder, env=environment, check=True, stdout=subprocess.PIPE
        )


def test_runs_of_one_process_leave_few_files(tmp_path: Path) -> None:
    """A hundred runs in a minute: both limits were passed, nothing waits but what has to."""
    scripts = Scripts(tmp_path)
    assert scripts.run(MANY, "0", "100").warnings == []
    store = Store.open(scripts.store)
    assert len(list(store.root.glob("refs/*/*"))) <= layout.LOOSE_MAX
    assert len(list(store.root.glob("refs.packed/*"))) >= 1
    assert files(store.root) < 150
    check(scripts, 100)


def test_runs_of_many_processes_leave_few_files(tmp_path: Path) -> None:
    """Forty, four at once, so that they tidy beside each other."""
    scripts = Scripts(tmp_path)
    scripts.run(MANY, "0", "1")
    with ThreadPoolExecutor(4) as pool:
        ended = list(pool.map(lambda n: scripts.run(MANY, str(n), str(n + 1)), range(1, 40)))
    assert [each.warnings for each in ended] == [[]] * 39
    packs = list(scripts.store.glob("packs/*/*"))
    assert len(packs) <= 2 * layout.MERGE_COUNT + layout.WAITING_MAX
    assert any(path.stat().st_size > 8_000 for path in packs)
    check(scripts, 40)


def test_a_run_whose_store_cannot_be_tidied_ends_as_ever(tmp_path: Path) -> None:
    """What is in the way of a merge is in nobody else's way: no warning, exit code 0."""
    scripts = Scripts(tmp_path)
    scripts.run(MANY, "0", "20")
    for name in (layout.CACHE, layout.TRASH):
        path = scripts.store / name
        path.rename(path.with_name("gone"))
        path.write_text("a file where a folder belongs")
        ended = scripts.run(MANY, "20", "40")
        assert ended.warnings == []
        path.unlink()
        (scripts.store / "gone").rename(path)
    (scripts.store / layout.FORMAT_FILE).chmod(0o644)
    report = Store.open(scripts.store).fsck()
    assert report.clean, report.problems


@pytest.mark.parametrize("command", [["recover"], ["gc", "--yes"]])
def test_recover_and_gc_tidy_all(tmp_path: Path, command: list[str]) -> None:
    """However much there is, and whatever time it takes."""
    scripts = Scripts(tmp_path)
    scripts.run(f"import tracker.workspace as w\nw.Workspace.tidy = lambda *_: None\n{MANY}", "0", "70")
    assert len(list(scripts.store.glob("refs/*/*"))) == 70
    arguments = [sys.executable, "-m", "tracker", *command]
    subprocess.run(
        arguments, cwd=tmp_path, env={"PYTHONPATH": str(CHECKOUT)}, check=True, stdout=subprocess.PIPE
    )
    assert list(scripts.store.glob("refs/*/*")) == []
    check(scripts, 70)
