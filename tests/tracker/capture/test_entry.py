"""What was started, for every way to start Python."""

from __future__ import annotations

import os
import sys
import zipapp
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.tracker.capture.conftest import RunScript

TELL = "from tracker.capture.entry import current_entry as e; e = e(); print(e.script, e.module, e.folder, sep='|')\n"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder (free of links) with a script, a package, and a folder and an archive that can be run."""
    place = tmp_path.resolve()
    (place / "train.py").write_text(TELL)
    (place / "pkg").mkdir()
    for name, text in (("__init__", ""), ("__main__", TELL), ("mod", TELL)):
        (place / "pkg" / f"{name}.py").write_text(text)
    (place / "sub").mkdir()
    (place / "app").mkdir()
    (place / "app" / "__main__.py").write_text(TELL)
    zipapp.create_archive(place / "app", place / "app.pyz")
    return place


@pytest.mark.parametrize(
    ("command", "stdin", "script", "module"),
    [
        (["train.py"], "", "train.py", None),
        (["-m", "pkg.mod", "--lr", "1"], "", "pkg/mod.py", "pkg.mod"),
        (["-m", "pkg"], "", "pkg/__main__.py", "pkg"),
        (["-m", "train"], "", "train.py", "train"),
        (["app"], "", "app/__main__.py", None),
        (["app.pyz"], "", "app.pyz", None),
        (["-c", TELL], "", None, None),
        (["-"], TELL, None, None),
        ([], TELL, None, None),
        (["-m", "cProfile", "-o", os.devnull, "train.py"], "", "train.py", None),
        (["-m", "trace", "--count", "-C", os.devnull, "train.py"], "", "train.py", None),
        (["-m", "pdb", "-c", "continue", "-c", "quit", "train.py"], "", "train.py", None),
    ],
)
def test_the_entry_is_what_was_started(
    place: Path, run_script: RunScript, command: list[str], stdin: str, script: str | None, module: str | None
) -> None:
    """Scripts, modules, archives, launchers, and what has no file."""
    ran = run_script(*command, cwd=place, stdin=stdin.encode())
    told = [line for line in ran.out.decode().splitlines() if "|" in line]
    expected = str(place / script) if script else "None"
    assert told, ran.err.decode()
    assert told[0].split("|") == [expected, str(module), str(place)]


def test_links_are_followed(place: Path, run_script: RunScript) -> None:
    """A link from ~/bin leads to the repository that the script lies in."""
    (place / "sub" / "link.py").symlink_to(place / "train.py")
    (place / "away").symlink_to(place / "sub", target_is_directory=True)
    ran = run_script("link.py", cwd=place / "away")
    assert ran.out.decode().strip() == f"{place}/train.py|None|{place}/sub"


@pytest.mark.skipif(sys.platform == "win32", reason="a folder in use cannot be deleted there")
def test_a_deleted_working_folder_is_no_obstacle(place: Path, run_script: RunScript) -> None:
    """A scheduler may have cleaned up behind the job."""
    (place / "train.py").write_text("import os, shutil\nshutil.rmtree(os.getcwd())\n" + TELL)
    ran = run_script(str(place / "train.py"), cwd=place / "sub")
    assert ran.out.decode().strip() == f"{place}/train.py|None|/"
