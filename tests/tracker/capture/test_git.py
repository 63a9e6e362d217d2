"""The record of the code that runs, as scripts of users leave it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pygit2
import pytest

from tracker.capture import git
from tracker.capture.entry import Entry
from tracker.capture.git import GitCapture, without_credentials

if TYPE_CHECKING:
    from tests.tracker.capture.conftest import Memory, Ran, RunScript

BINARY = f"python{sys.version_info.major}.{sys.version_info.minor}"
TRAIN = 'from rec import record\nrecord("git")\n'
WHO = pygit2.Signature("a", "a@b")


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A repository, made without the git binary, with a script, a package and a folder."""
    work = tmp_path.resolve() / "my work"
    repository = pygit2.init_repository(str(work), initial_head="main")
    for folder in ("src/pkg", "data"):
        (work / folder).mkdir(parents=True)
    (work / "train.py").write_text(TRAIN)
    (work / "src" / "deep.py").write_text(TRAIN)
    (work / "src" / "pkg" / "__init__.py").write_text("")
    (work / "src" / "pkg" / "mod.py").write_text(TRAIN)
    (work / "data" / "x.txt").write_text("x\n")
    commit(repository)
    repository.remotes.create("origin", "https://me:ghp_token@example.com/team/repo.git")
    return work


def commit(repository: pygit2.Repository) -> None:
    """Commits all there is."""
    repository.index.add_all()
    repository.index.write()
    parents = [] if repository.head_is_unborn else [repository.head.target]
    repository.create_commit("HEAD", WHO, WHO, "commit", repository.index.write_tree(), parents)


def script(ran: Ran) -> dict[str, Any]:
    """What a run has recorded under `script`."""
    assert ran.code == 0, ran.err.decode()
    assert ran.record is not None
    value = ran.record.state["script"]
    assert isinstance(value, dict)
    return value


def test_a_script_in_a_repository_is_recorded_with_its_commit_and_changes(
    work: Path, run_script: RunScript
) -> None:
    """All that is needed to get the code back, and no token."""
    (work / "data" / "x.txt").write_text("y\n")
    (work / "new.txt").write_text("untracked\n")
    value = script(run_script("train.py", cwd=work))
    diff = value.pop("diff")
    assert value == {
        "repository": "https://example.com/team/repo.git",
        "branch": "main",
        "version_num": str(pygit2.Repository(str(work)).head.target),
        "working_dir": ".",
        "entry_point": "train.py",
        "binary": BINARY,
        "untracked": 1,
    }
    assert diff.startswith("diff --git a/data/x.txt b/data/x.txt\n")
    assert diff.endswith("-x\n+y\n")


@pytest.mark.parametrize(
    ("folder", "command", "working_dir", "entry_point"),
    [
        (".", ["train.py"], ".", "train.py"),
        (".", ["src/deep.py", "--lr", "1"], ".", "src/deep.py"),
        ("src", ["deep.py"], "src", "deep.py"),
        ("src", ["../train.py"], "src", "../train.py"),
        ("data", ["../src/deep.py"], "data", "../src/deep.py"),
        ("src", ["-m", "pkg.mod", "--lr", "1"], "src", "-m pkg.mod"),
        ("..", ["my work/src/deep.py"], "src", "deep.py"),
    ],
)
def test_working_folder_and_entry_point_start_the_same_run_again(
    work: Path, run_script: RunScript, folder: str, command: list[str], working_dir: str, entry_point: str
) -> None:
    """Relative to the repository, which lies elsewhere on the next machine."""
    value = script(run_script(*command, cwd=work / folder))
    assert (value["working_dir"], value["entry_point"]) == (working_dir, entry_point)


def test_a_module_started_from_outside_its_repository_runs_at_its_root(
    work: Path, run_script: RunScript
) -> None:
    """The folder it was started in means nothing to the repository."""
    ran = run_script(
        "-c",
        "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); runpy.run_module('pkg.mod', {}, '__main__', True)",
        str(work / "src"),
        cwd=work.parent,
    )
    value = script(ran)
    assert (value["working_dir"], value["entry_point"]) == (".", "-m pkg.mod")


def test_a_script_that_changes_its_folder_is_recorded_from_where_it_was_started(
    work: Path, run_script: RunScript
) -> None:
    """The background reads later than that."""
    (work / "train.py").write_text(TRAIN + "import os\nos.chdir('/')\n")
    value = script(run_script("train.py", cwd=work))
    assert (value["working_dir"], value["entry_point"]) == (".", "train.py")


@pytest.mark.parametrize("case", ["no repository", "no commit", "bare"])
def test_without_a_commit_the_script_itself_is_recorded(
    tmp_path: Path, run_script: RunScript, case: str
) -> None:
    """A single file on a server is a run like any other."""
    place = tmp_path / "place"
    place.mkdir()
    if case == "no commit":
        made = pygit2.init_repository(str(place), initial_head="main")
        made.remotes.create("origin", "https://example.com/x.git")
    if case == "bare":
        pygit2.init_repository(str(place), bare=True)
    text = TRAIN + "# ünï\n"
    (place / "train.py").write_text(text, "utf-8")
    value = script(run_script("place/train.py", "--lr", "1", cwd=tmp_path))
    assert value == {
        "repository": "",
        "branch": "",
        "version_num": "",
        "diff": text,
        "working_dir": ".",
        "entry_point": "train.py",
        "binary": BINARY,
        "untracked": 0,
    }


def test_a_module_outside_any_repository_is_recorded_as_text(tmp_path: Path, run_script: RunScript) -> None:
    """Its name after -m says how to start it."""
    (tmp_path / "alone.py").write_text(TRAIN)
    value = script(run_script("-m", "alone", cwd=tmp_path))
    assert (value["entry_point"], value["diff"]) == ("-m alone", TRAIN)


@pytest.mark.parametrize("command", [["-c", TRAIN], ["-"], ["-i", "-q", "-"]])
def test_what_has_no_file_has_no_entry_point(work: Path, run_script: RunScript, command: list[str]) -> None:
    """Also inside a repository: its changes are not what runs."""
    (work / "train.py").write_text("changed")
    value = script(run_script(*command, cwd=work, stdin=b"" if command[0] == "-c" else TRAIN.encode()))
    assert (value["entry_point"], value["diff"], value["repository"]) == ("", "", "")


def test_a_large_diff_is_an_object_that_the_record_refers_to(work: Path, run_script: RunScript) -> None:
    """A task's state stays small; the diff is whole all the same, and git accepts it."""
    lines = "".join(f"line {number}\n" for number in range(20_000))
    (work / "data" / "x.txt").write_text(lines)
    ran = run_script("train.py", cwd=work)
    reference = script(ran)["diff"]
    assert ran.record is not None
    assert list(reference) == ["$ref"]
    patch = ran.record.objects[reference["$ref"]]
    assert patch.count(b"\n+line ") == 20_000
    if shutil.which("git") is not None:
        applied = subprocess.run(
            ["git", "apply", "--reverse", "-"], cwd=work, input=patch, capture_output=True, check=False
        )
        assert applied.returncode == 0, applied.stderr
        assert (work / "data" / "x.txt").read_text() == "x\n"


@pytest.mark.parametrize(("size", "inline"), [(git.LARGEST_INLINE, True), (git.LARGEST_INLINE + 1, False)])
def test_the_largest_inline_diff_is_exactly_that(
    tmp_path: Path, run_script: RunScript, size: int, inline: bool
) -> None:
    """One byte more, and it is an object."""
    (tmp_path / "train.py").write_text(TRAIN + "#" * (size - len(TRAIN)))
    value = script(run_script("train.py", cwd=tmp_path))
    assert isinstance(value["diff"], str) is inline


def test_a_script_that_is_too_large_is_left_out_rather_than_cut(
    tmp_path: Path, run_script: RunScript
) -> None:
    """An application in one archive; half of it would look like the whole."""
    (tmp_path / "train.py").write_text(TRAIN + ("#" * 1000 + "\n") * 9000)
    value = script(run_script("train.py", cwd=tmp_path))
    assert (value["entry_point"], value["diff"], value["left_out"]) == ("train.py", "", ["train.py"])


def test_bytes_that_are_no_text_are_kept_as_they_are(work: Path, run_script: RunScript) -> None:
    """A replaced character would make the patch useless."""
    (work / "data" / "x.txt").write_bytes("é\n".encode("latin-1"))
    ran = run_script("train.py", cwd=work)
    reference = script(ran)["diff"]
    assert ran.record is not None
    assert b"\n+\xe9\n" in ran.record.objects[reference["$ref"]]


def test_what_is_left_out_is_named(work: Path, run_script: RunScript) -> None:
    """A reader learns that the patch is not the whole truth."""
    (work / "data" / "x.txt").write_bytes(b"0123456789abcdef" * (1 << 20))
    value = script(run_script("train.py", cwd=work))
    assert value["left_out"] == ["data/x.txt"]
    assert value["diff"] == ""


def test_the_record_is_the_same_whatever_the_script_does_with_modules(
    work: Path, run_script: RunScript
) -> None:
    """A subprocess module that must not be used, and no git: the usual way needs neither."""
    (work / "train.py").write_text(
        "import sys, os\n"
        "os.environ['PATH'] = ''\n"
        "sys.modules['subprocess'] = None\n"
        "os.fork = os.posix_spawn = os.system = None\n" + TRAIN
    )
    value = script(run_script("train.py", cwd=work))
    assert value["branch"] == "main"
    assert "posix_spawn" in value["diff"]


def test_install_returns_before_git_is_asked(
    recorder: Memory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The training starts at once; a wait has an end, and what comes after the undo is not recorded."""
    (tmp_path / "train.py").write_text("")
    go = threading.Event()

    def slow(folder: str) -> None:
        go.wait(20)

    monkeypatch.setattr(git, "read_worktree", slow)
    monkeypatch.setattr(git, "current_entry", lambda: Entry(str(tmp_path / "train.py"), None, str(tmp_path)))
    capture = GitCapture()
    begun = time.monotonic()
    undo = capture.install(recorder)
    assert not capture.wait(0.05)
    undo()
    assert time.monotonic() - begun < 5
    go.set()
    assert capture.wait(5)
    assert recorder.state == {}


def test_undo_waits_for_the_record(recorder: Memory) -> None:
    """A run that ends at once is recorded whole."""
    undo = GitCapture().install(recorder)
    undo()
    undo()
    assert "script" in recorder.state


@pytest.mark.parametrize(
    ("url", "clean"),
    [
        ("https://github.com/a/b.git", "https://github.com/a/b.git"),
        ("https://ghp_abc123@github.com/a/b.git", "https://github.com/a/b.git"),
        ("https://user:pa%40ss@host:8443/a/b", "https://host:8443/a/b"),
        ("HTTPS://user:word@host/a", "HTTPS://host/a"),
        ("https://user:p@ss:w@rd@host/a@b", "https://host/a@b"),
        ("https://host/a/b.git?private_token=abc#x", "https://host/a/b.git"),
        ("http://oauth2:token@gitlab.local/a", "http://gitlab.local/a"),
        ("git@github.com:a/b.git", "git@github.com:a/b.git"),
        ("ssh://git@host:22/a/b", "ssh://git@host:22/a/b"),
        ("ssh://git:word@host:22/a/b", "ssh://git@host:22/a/b"),
        ("ssh://git:w@rd@host/a", "ssh://git@host/a"),
        ("/home/me/repo.git", "/home/me/repo.git"),
        ("file:///home/me/a@b.git", "file:///home/me/a@b.git"),
        ("C:\\repos\\a", "C:\\repos\\a"),
        ("", ""),
    ],
)
def test_credentials_are_taken_out_of_urls(url: str, clean: str) -> None:
    """Of every form that git takes; the user that ssh needs stays."""
    assert without_credentials(url) == clean
