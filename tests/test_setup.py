"""What a newcomer meets first: a store's template, the README's example, what make says when a thing is missing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pygit2
import pytest

from objstore import layout
from objstore.records import format_bytes
from objstore.store import Store
from tests.benchmarks.peers import environments
from tracker import __version__
from tracker.cli.demo import DemoFailed, run_demo
from tracker.config import Config, load, resolve, settings
from tracker.package_data import examples_dir, template_dir

needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def content(folder: Path) -> dict[str, bytes | None]:
    """Every path below a folder, with the bytes of files and None for folders."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def test_the_template_has_the_folders_and_the_format_of_the_layout() -> None:
    """`.tracker-template/` is what layout.py says a fresh store is."""
    assert {path.name for path in template_dir().iterdir() if path.is_dir()} == set(layout.FOLDERS)
    assert (template_dir() / layout.FORMAT_FILE).read_bytes() == format_bytes()


def test_a_new_store_is_the_template_less_its_placeholders(tmp_path: Path) -> None:
    """Creating a store copies all of the template, and adds nothing to it."""
    Store.create(tmp_path / "store", template_dir()).close()
    expected = {name: data for name, data in content(template_dir()).items() if not name.endswith(".gitkeep")}
    assert content(tmp_path / "store") == expected


def test_every_file_of_the_template_is_in_git(checkout: Path) -> None:
    """The template's own `.gitignore` hides its files from `git add`: a new one needs -f, or no clone has it."""
    if not (checkout / ".git").exists():
        pytest.skip("not a git checkout")
    tracked = {entry.path for entry in pygit2.Repository(str(checkout)).index}
    present = {path.relative_to(checkout).as_posix() for path in template_dir().rglob("*") if path.is_file()}
    assert present - tracked == set(), "git add -f these"


def test_the_template_shows_every_setting_with_its_default(tmp_path: Path) -> None:
    """Uncommenting all of config.toml changes nothing, and leaves no setting out that counts there."""
    shown = re.findall(
        r"(?m)^# ([\w.]+ = .+)$", (template_dir() / layout.CONFIG_FILE).read_text(encoding="utf-8")
    )
    (tmp_path / layout.CONFIG_FILE).write_text("\n".join(shown), encoding="utf-8")
    assert [line.split(" = ")[0] for line in shown] == [s.key for s in settings() if s.places == "any"]
    found = resolve(tmp_path, environment={})
    assert {each.key for each in settings() if found[each.name].origin != "default"} == {
        line.split(" = ")[0] for line in shown
    }
    assert load(tmp_path, environment={}) == Config()


def test_the_package_and_its_metadata_agree_on_the_version(checkout: Path) -> None:
    """`tracker --version` and what pip installed are one version."""
    stated = re.search(r'(?m)^version = "([^"]+)"', (checkout / "pyproject.toml").read_text(encoding="utf-8"))
    assert stated is not None
    assert stated[1] == __version__


def test_the_readme_shows_the_quickstart_as_it_is(checkout: Path) -> None:
    """The README's first Python block is docs/examples/quickstart.py, byte for byte."""
    blocks = re.findall(r"(?ms)^```python\n(.*?)^```", (checkout / "README.md").read_text(encoding="utf-8"))
    assert blocks[0] == (examples_dir() / "quickstart.py").read_text(encoding="utf-8")


def test_the_quickstart_runs(tmp_path: Path, checkout: Path) -> None:
    """The README's example ends well and leaves a store where it ran."""
    script = shutil.copy(examples_dir() / "quickstart.py", tmp_path)
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / ".tracker" / layout.FORMAT_FILE).is_file()


def test_the_readme_shows_what_the_quickstart_really_leaves(tmp_path: Path, checkout: Path) -> None:
    """Every line of the README's output but those with an id, a time, a person or a version is printed as it stands."""
    (block,) = re.findall(
        r"(?ms)^```console\n(\$ python quickstart\.py\n.*?)^```", (checkout / "README.md").read_text()
    )
    environment = {**os.environ, "PYTHONPATH": str(checkout), "COLUMNS": "110"}
    shutil.copy(examples_dir() / "quickstart.py", tmp_path)
    said = subprocess.run(
        [sys.executable, "quickstart.py"],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    ).stderr
    (task,) = re.findall(r"task id=([0-9a-f]{32})", said)
    printed = ""
    for arguments in (["show", task[:6]], ["get", "f92d30", "-o", "path.json"]):
        command = [sys.executable, "-m", "tracker", *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
        )
        printed += done.stdout + done.stderr
    volatile = ("$ ", "tracker: created", "  id ", "  created ", "  by ", "  python ")
    expected = [line for line in block.splitlines() if not line.startswith(volatile)]
    assert len(expected) > 15
    assert [line for line in printed.splitlines() if not line.startswith(volatile)] == expected


def test_the_demo_leaves_a_folder_with_content_alone(tmp_path: Path) -> None:
    """A folder that holds anything is refused, and keeps what it held."""
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(DemoFailed, match="is not empty: name an empty folder"):
        run_demo(tmp_path, print)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


# A Python without uv; {venv} is what it does when it is asked for a virtual environment.
WITHOUT_UV = """\
#!/bin/sh
case "$1 $2" in
"-m uv") exit 1 ;;
"-m venv") {venv} ;;
esac
exec {python} "$@"
"""
TOO_OLD = "#!/bin/sh\nexit 1\n"  # whatever it is asked, the answer is not "3.10 or newer"


def make(checkout: Path, tmp_path: Path, python3: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run make where PATH holds `python3`, a script, and no other Python and no uv."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("make", "mkdir", "rm", "sh", "touch", "tr"):
        found = shutil.which(name)
        assert found is not None
        (tools / name).symlink_to(found)
    (tools / "python3").write_text(python3, encoding="utf-8")
    (tools / "python3").chmod(0o755)
    command = ["make", f"VENV={tmp_path / 'venv'}", *arguments]
    return subprocess.run(command, cwd=checkout, env={"PATH": str(tools)}, capture_output=True, text=True)


@needs_make
@pytest.mark.parametrize("target", ["demo", "test"])
def test_make_says_how_to_get_a_venv_module(checkout: Path, tmp_path: Path, target: str) -> None:
    """Debian's Python without python3-venv stops half-way: one line says what to install, and no half is left."""
    half = 'mkdir -p "$3/bin"; exit 1'
    done = make(checkout, tmp_path, WITHOUT_UV.format(venv=half, python=sys.executable), target)
    assert done.returncode != 0
    assert re.search(r"(?m)^python3 has no working venv module: .*apt-get install python3-venv", done.stderr)
    assert not (tmp_path / "venv").exists()


@needs_make
def test_make_says_which_python_it_needs(checkout: Path, tmp_path: Path) -> None:
    """Where the only Python is too old, one line names the version and the way out."""
    done = make(checkout, tmp_path, TOO_OLD, "demo")
    assert done.returncode != 0
    assert re.search(r"(?m)^No Python 3\.10 or newer is on PATH: .*make PYTHON=", done.stderr)


@needs_make
def test_make_refuses_a_named_python_that_does_not_work(checkout: Path, tmp_path: Path) -> None:
    """A Python that was named is used or refused, never replaced by another."""
    good = WITHOUT_UV.format(venv="exit 1", python=sys.executable)
    done = make(checkout, tmp_path, good, "demo", "PYTHON=/nowhere/python3")
    assert done.returncode != 0
    assert "PYTHON=/nowhere/python3 is no working Python 3.10 or newer" in done.stderr


@needs_make
def test_make_help_names_every_target(checkout: Path, tmp_path: Path) -> None:
    """What can be made is in `make help`, which is also what a bare `make` does."""
    phony = re.search(r"(?m)^\.PHONY: (.*)$", (checkout / "Makefile").read_text(encoding="utf-8"))
    assert phony is not None
    done = make(checkout, tmp_path, TOO_OLD)
    assert set(re.findall(r"(?m)^make ([\w-]+)", done.stdout)) == set(phony[1].split()) - {"help"}


def test_a_peer_that_cannot_be_installed_is_named_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And so is one that nobody has installed yet: no table is silently a smaller one."""
    monkeypatch.setattr(environments, "FOLDER", tmp_path)
    for setting in ("UV_OFFLINE", "PIP_NO_INDEX"):
        monkeypatch.setenv(setting, "1")
    peer = environments.Peer("no-such-peer", "1.0")
    assert peer.missing() == "not installed (`make bench-peers` installs 1.0)"
    peer.make()
    assert peer.missing().startswith("cannot be installed: ")
    assert "no-such-peer" in peer.missing()
