"""What is read of a repository, held against the git binary."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tracker.capture import worktree
from tracker.capture.worktree import LARGEST_FILE, Worktree, read_worktree

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="the git binary makes the repositories")


def git(folder: Path, *command: str, check: bool = True) -> bytes:
    """Runs git as a user does and returns what it prints."""
    done = subprocess.run(
        ["git", "-c", "protocol.file.allow=always", "-c", "gc.auto=0", *command],
        cwd=folder,
        capture_output=True,
        check=False,
        env={
            **os.environ,
            "GIT_AUTHOR_NAME": "a",
            "GIT_AUTHOR_EMAIL": "a@b",
            "GIT_COMMITTER_NAME": "a",
            "GIT_COMMITTER_EMAIL": "a@b",
        },
    )
    assert done.returncode == 0 or not check, done.stderr.decode()
    return done.stdout


def repository(folder: Path, files: dict[str, bytes], **options: str) -> Path:
    """A new repository with one commit."""
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    for name, value in options.items():
        git(folder, "config", name.replace("_", "."), value)
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "first")
    return folder


def read(folder: Path) -> Worktree:
    """The state of a folder that has one."""
    state = read_worktree(str(folder))
    assert state is not None
    return state


def content(folder: Path) -> dict[str, tuple[str, bytes]]:
    """Every file below a folder but git's own: its kind and whether it may be executed, and what is in it."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = os.fsdecode(os.fsencode(path.relative_to(folder)))
        if ".git" in Path(name).parts:
            continue
        if path.is_symlink():
            found[name] = ("link", os.fsencode(os.readlink(path)))
        elif path.is_file():
            executable = path.stat().st_mode & stat.S_IXUSR
            found[name] = ("executable" if executable else "file", path.read_bytes())
    return found


def apply(state: Worktree, checkout: Path, *options: str) -> None:
    """Applies the recorded patch with git."""
    patch = checkout.parent / "recorded.patch"
    patch.write_bytes(state.patch)
    if state.patch:
        git(checkout, "apply", "--whitespace=nowarn", *options, str(patch))


@pytest.fixture
def reproduce(tmp_path: Path) -> Callable[[Path, Worktree], Path]:
    """Makes a fresh checkout of the recorded commit and applies the recorded patch to it."""

    def make(original: Path, state: Worktree) -> Path:
        copy = tmp_path / "copy"
        git(tmp_path, "clone", "-q", "--no-checkout", str(original), str(copy))
        for option in ("core.autocrlf",):
            value = git(original, "config", "--get", option, check=False).decode().strip()
            if value:
                git(copy, "config", option, value)
        git(copy, "checkout", "-q", str(state.commit))
        apply(state, copy)
        return copy

    return make


def change_everything(work: Path) -> None:
    """Each kind of change that a working tree can have, staged and not."""
    (work / "edited.txt").write_text("one\ntwo and a half\nthree\n")
    (work / "staged.txt").write_text("staged\n")
    (work / "twice.txt").write_text("staged\n")
    (work / "bin.dat").write_bytes(bytes(range(256)) * 20)
    (work / "windows.txt").write_bytes(b"a\r\nb\r\nc\r\n")
    (work / "mixed.txt").write_bytes(b"a\nb\r\nc\n")
    (work / "a name with spaces" / "ünï ✓.txt").write_text("changed\n", "utf-8")
    (work / 'quo"te\\d\tname').write_text("changed\n")
    (work / "no newline").write_text("still none")
    (work / "run.sh").chmod(0o755)
    (work / "was a file").unlink()
    (work / "was a file").symlink_to("edited.txt")
    (work / "link").unlink()
    (work / "link").symlink_to("elsewhere")
    (work / "gone.txt").unlink()
    (work / "gone.bin").unlink()
    (work / "latin.txt").write_bytes("café\nthé\n".encode("latin-1"))
    (work / "emptied").write_bytes(b"")
    (work / "added.bin").write_bytes(b"\0\1\2" * 1000)
    (work / "added empty").write_bytes(b"")
    (work / "added and gone").write_bytes(b"1")
    (work / "new.sh").write_text("#!/bin/sh\n")
    (work / "new.sh").chmod(0o755)
    git(work, "add", "staged.txt", "twice.txt", "added.bin", "added empty", "added and gone", "new.sh")
    git(work, "rm", "-q", "--cached", "untold.txt")
    (work / "untold.txt").unlink()
    git(work, "mv", "moved.txt", "moved away.txt")
    (work / "added and gone").unlink()
    (work / "twice.txt").write_text("staged, then changed\n")
    (work / "intended.txt").write_text("git add -N\n")
    git(work, "add", "-N", "intended.txt")


FILES: dict[str, bytes] = {
    "edited.txt": b"one\ntwo\nthree\n",
    "staged.txt": b"before\n",
    "twice.txt": b"before\n",
    "bin.dat": bytes(range(256)) * 10,
    "windows.txt": b"a\r\nb\r\n",
    "mixed.txt": b"a\nb\r\n",
    "a name with spaces/ünï ✓.txt": b"before\n",
    'quo"te\\d\tname': b"before\n",
    "no newline": b"none",
    "run.sh": b"#!/bin/sh\n",
    "was a file": b"was a file\n",
    "gone.txt": b"gone\n",
    "gone.bin": b"\0gone" * 100,
    "latin.txt": "café\n".encode("latin-1"),
    "emptied": b"something\n",
    "untold.txt": b"untold\n",
    "moved.txt": b"moved\n",
    "kept/unchanged.txt": b"same\n",
}


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A repository with a file for each kind of change."""
    work = repository(tmp_path / "work", FILES)
    (work / "link").symlink_to("edited.txt")
    git(work, "add", "link")
    git(work, "commit", "-q", "-m", "link")
    return work


@pytest.mark.parametrize("by", ["libgit2", "git"])
def test_the_patch_makes_of_a_fresh_checkout_the_working_tree(
    work: Path, reproduce: Callable[[Path, Worktree], Path], by: str
) -> None:
    """Binary, deleted, moved, linked, executable, CRLF, and oddly named files come back byte for byte."""
    change_everything(work)
    state = read(work) if by == "libgit2" else worktree._by_git(str(work))
    assert state is not None
    assert content(reproduce(work, state)) == content(work)
    assert state.left_out == ()
    assert state.untracked == 0


def test_both_ways_to_read_agree(work: Path) -> None:
    """What the git binary tells is what libgit2 tells, but for the exact text of the patch."""
    change_everything(work)
    (work / "untracked").mkdir()
    (work / "untracked" / "one").write_text("")
    (work / "two").write_text("")
    git(work, "remote", "add", "origin", "https://user:word@example.com/x.git")
    ours, theirs = worktree._by_libgit2(str(work)), worktree._by_git(str(work))
    assert ours is not None
    assert theirs is not None
    assert (ours.root, ours.url, ours.branch, ours.commit, ours.untracked) == (
        str(work.resolve()),
        "https://user:word@example.com/x.git",
        "main",
        git(work, "rev-parse", "HEAD").decode().strip(),
        2,
    )
    assert (theirs.root, theirs.url, theirs.branch, theirs.commit, theirs.untracked) == (
        (ours.root, ours.url, ours.branch, ours.commit, ours.untracked)
    )


def test_a_clean_tree_has_no_patch(work: Path) -> None:
    """Nothing to apply."""
    assert read(work).patch == b""


def test_touched_but_equal_files_are_no_change(work: Path) -> None:
    """A copy of a repository has other times, not other contents."""
    for path in work.rglob("*"):
        if ".git" not in path.parts and path.is_file():
            os.utime(path, (1, 1))
    assert read(work).patch == b""


@pytest.mark.parametrize("autocrlf", ["true", "input"])
def test_converted_line_ends_apply(
    tmp_path: Path, reproduce: Callable[[Path, Worktree], Path], autocrlf: str
) -> None:
    """Where git converts line ends, the patch is of what git would store."""
    work = repository(tmp_path / "work", {"a.txt": b"one\ntwo\n"}, core_autocrlf=autocrlf)
    (work / "a.txt").write_bytes(b"one\r\ntwo\r\nthree\r\n")
    state = read(work)
    copy = reproduce(work, state)
    assert b"\r" not in state.patch
    assert (copy / "a.txt").read_bytes().replace(b"\r\n", b"\n") == b"one\ntwo\nthree\n"


def test_file_names_that_are_no_utf8_apply(
    tmp_path: Path, reproduce: Callable[[Path, Worktree], Path]
) -> None:
    """A name is bytes; on Linux any will do."""
    name = os.fsdecode(b"caf\xe9.txt")
    try:
        work = repository(tmp_path / "work", {name: b"one\n"})
    except OSError:
        pytest.skip("this file system wants UTF-8")
    (work / name).write_bytes(b"two\n")
    assert content(reproduce(work, read(work))) == content(work)


def test_untracked_files_are_counted_and_not_in_the_patch(tmp_path: Path) -> None:
    """As `git status -uall` counts: ignored ones out, a repository inside counts as one."""
    work = repository(tmp_path / "work", {"a": b"", ".gitignore": b"*.log\nbuild/\n", "d/tracked": b""})
    for name in ("one", "d/two", "n/three", "n/deep/four", "x.log", "n/y.log", "build/z", "only/i.log"):
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text("secret contents")
    repository(work / "n" / "inner", {"b": b"", "c": b""})
    state = read(work)
    listed = git(work, "status", "--porcelain", "-uall").decode().splitlines()
    assert state.untracked == len(listed) == 5
    assert b"secret" not in state.patch


def test_counting_untracked_files_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data set that nobody has told git to ignore must not hold the run up."""
    monkeypatch.setattr(worktree, "MOST_UNTRACKED", 10)
    work = repository(tmp_path / "work", {"a": b""})
    (work / "data").mkdir()
    for number in range(100):
        (work / "data" / str(number)).write_text("")
    assert read(work).untracked == 10


def test_files_that_are_too_large_are_listed_and_left_out(
    tmp_path: Path, reproduce: Callable[[Path, Worktree], Path]
) -> None:
    """Before or after, changed or deleted or new; the rest of the patch still applies."""
    large = b"0123456789abcdef" * (LARGEST_FILE // 16 + 1)
    before = dict.fromkeys(["was large", "large gone", "staged large", "staged gone"], large)
    work = repository(tmp_path / "work", {**before, "grown": b"1", "small": b"1\n"})
    git(work, "rm", "-q", "staged gone")
    (work / "staged large").write_bytes(b"small now")
    git(work, "add", "staged large")
    (work / "was large").write_bytes(b"small now")
    (work / "large gone").unlink()
    (work / "grown").write_bytes(large)
    (work / "small").write_bytes(b"2\n")
    (work / "new").write_bytes(large)
    git(work, "add", "new")
    state = read(work)
    assert sorted(state.left_out) == [
        "grown",
        "large gone",
        "new",
        "staged gone",
        "staged large",
        "was large",
    ]
    copy = reproduce(work, state)
    assert (copy / "small").read_bytes() == b"2\n"
    assert (copy / "grown").read_bytes() == b"1"
    assert len(state.patch) < 1000


def test_a_patch_has_a_largest_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand changed files do not become one object of gigabytes."""
    monkeypatch.setattr(worktree, "LARGEST_PATCH", 3000)
    files = {f"file{number}": b"x" for number in range(10)}
    work = repository(tmp_path / "work", files)
    for name in files:
        (work / name).write_bytes(b"line\n" * 200)
    state = read(work)
    assert 1000 < len(state.patch) <= 3000
    assert len(state.left_out) + state.patch.count(b"diff --git") == 10


def test_nothing_is_written_into_the_repository(work: Path) -> None:
    """Neither index, nor objects, nor a lock, nor the times of anything, and no commit that is fetched."""

    def traces() -> dict[Path, tuple[int, int, int]]:
        found = {path: path.lstat() for path in work.rglob("*")}
        return {path: (one.st_ctime_ns, one.st_ino, one.st_size) for path, one in found.items()}

    change_everything(work)
    for path in work.glob("kept/*"):
        os.utime(path, (1, 1))  # what makes `git status` write a fresher index
    before = traces()
    read(work)
    assert worktree._by_git(str(work)) is not None
    assert traces() == before


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_repository_is_read(work: Path) -> None:
    """On a cluster the code often lies on a read-only mount."""
    for path in [work, *work.rglob("*")]:
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & ~0o222)
    assert read(work).commit is not None


def test_no_repository_and_a_bare_one_are_none(tmp_path: Path) -> None:
    """Where there is no working tree there is nothing to compare."""
    (tmp_path / "plain").mkdir()
    git(tmp_path, "init", "-q", "--bare", "bare")
    assert read_worktree(str(tmp_path / "plain")) is None
    assert read_worktree(str(tmp_path / "bare")) is None
    assert read_worktree(str(tmp_path / "bare" / "refs")) is None


def test_before_the_first_commit_there_is_none(tmp_path: Path) -> None:
    """The repository is there, a state to come back to is not."""
    git(tmp_path, "init", "-q", "work")
    git(tmp_path / "work", "remote", "add", "origin", "git@example.com:a/b.git")
    assert read(tmp_path / "work") == Worktree(
        str((tmp_path / "work").resolve()), "git@example.com:a/b.git", "", None
    )
    assert worktree._by_git(str(tmp_path / "work")) == read(tmp_path / "work")


def test_a_detached_head_has_a_commit_and_no_branch(work: Path) -> None:
    """What a CI job or a bisection checks out."""
    git(work, "checkout", "-q", "--detach")
    state = read(work)
    assert state.branch == ""
    assert state.commit == git(work, "rev-parse", "HEAD").decode().strip()


@pytest.mark.parametrize(
    ("remotes", "url"),
    [
        ({}, ""),
        ({"origin": "o", "fork": "f"}, "o"),
        ({"upstream": "u"}, "u"),
        ({"a": "1", "b": "2"}, ""),
    ],
)
def test_the_remote_is_origin_or_the_only_one(work: Path, remotes: dict[str, str], url: str) -> None:
    """A guess between several would send a reader to the wrong place."""
    for name, address in remotes.items():
        git(work, "remote", "add", name, address)
    assert read(work).url == url


def test_a_second_worktree_has_its_own_state(work: Path, tmp_path: Path) -> None:
    """`git worktree add` makes a .git file, not a folder."""
    git(work, "worktree", "add", "-q", "-b", "other", str(tmp_path / "second"))
    (tmp_path / "second" / "edited.txt").write_text("in the second\n")
    state = read(tmp_path / "second")
    assert (state.root, state.branch) == (str((tmp_path / "second").resolve()), "other")
    assert b"in the second" in state.patch
    assert read(work).patch == b""


def test_an_unresolved_merge_is_recorded_with_its_markers(
    tmp_path: Path, reproduce: Callable[[Path, Worktree], Path]
) -> None:
    """The files are as they are, though git's index has three versions of them."""
    work = repository(tmp_path / "work", {"both": b"base\n", "theirs gone": b"base\n"})
    git(work, "checkout", "-q", "-b", "other")
    (work / "both").write_text("other\n")
    (work / "added").write_text("other\n")
    git(work, "rm", "-q", "theirs gone")
    git(work, "add", "-A")
    git(work, "commit", "-q", "-m", "other")
    git(work, "checkout", "-q", "main")
    (work / "both").write_text("main\n")
    (work / "added").write_text("main\n")
    (work / "theirs gone").write_text("kept\n")
    git(work, "add", "-A")
    git(work, "commit", "-q", "-m", "main")
    git(work, "merge", "other", check=False)
    assert "<<<<<<<" in (work / "both").read_text()
    assert content(reproduce(work, read(work))) == content(work)


def test_a_sparse_checkout_has_not_deleted_what_it_leaves_out(tmp_path: Path) -> None:
    """Also with a sparse index, which libgit2 cannot read."""
    work = repository(tmp_path / "work", {"a/x": b"1\n", "b/y": b"2\n", "b/deep/z": b"3\n"})
    git(work, "sparse-checkout", "set", "a")
    assert not (work / "b").exists()
    (work / "a" / "x").write_text("changed\n")
    plain = read(work)
    git(work, "sparse-checkout", "reapply", "--sparse-index")
    sparse = read(work)
    for state in (plain, sparse):
        assert b"changed" in state.patch
        assert b"deleted" not in state.patch


def test_what_libgit2_cannot_read_the_binary_does(tmp_path: Path) -> None:
    """A split index, and ids of SHA-256."""
    split = repository(tmp_path / "split", {"a": b"1\n"})
    git(split, "update-index", "--split-index")
    modern = tmp_path / "modern"
    git(tmp_path, "init", "-q", "--object-format=sha256", "modern")
    (modern / "a").write_text("1\n")
    git(modern, "add", "a")
    git(modern, "commit", "-q", "-m", "first")
    for work in (split, modern):
        with pytest.raises(Exception, match=r"unsupported|unknown"):
            worktree._by_libgit2(str(work))
        (work / "a").write_text("2\n")
        state = read(work)
        assert state.commit == git(work, "rev-parse", "HEAD").decode().strip()
        assert b"-1\n+2\n" in state.patch


def test_without_library_and_binary_there_is_no_repository(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing to ask: the script's own text is what remains."""
    monkeypatch.setitem(sys.modules, "pygit2", None)
    assert read(work).commit is not None  # the binary is still there
    monkeypatch.setenv("PATH", "")
    assert read_worktree(str(work)) is None


def test_without_a_binary_the_library_does(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual way needs no git at all."""
    change_everything(work)
    monkeypatch.setenv("PATH", "")
    assert b"two and a half" in read(work).patch


def test_the_binary_runs_none_of_the_repositorys_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Monitors, external diffs, converters to text and pagers are not asked."""
    proof = tmp_path / "proof"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch '{proof}'\n")
    program.chmod(0o755)
    work = repository(tmp_path / "work", {"a.txt": b"1\n", ".gitattributes": b"*.txt diff=own\n"})
    for name in ("core.fsmonitor", "diff.external", "diff.own.textconv", "diff.own.command", "core.pager"):
        git(work, "config", name, str(program))
    (work / "a.txt").write_text("2\n")
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", str(program))
    state = worktree._by_git(str(work))
    assert state is not None
    assert b"-1\n+2\n" in state.patch
    assert not proof.exists()


def test_variables_of_a_hook_do_not_mislead(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is started by a git hook has GIT_DIR of that other repository in its environment."""
    other = repository(tmp_path / "other", {"b": b""})
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    for state in (worktree._by_libgit2(str(work)), worktree._by_git(str(work))):
        assert state is not None
        assert state.root == str(work.resolve())


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root can give a file away")
def test_a_repository_of_another_user_is_read(work: Path) -> None:
    """Root in a container sees a mounted folder of user 1000; the check is the process's and stays as it was."""
    import pygit2
    from pygit2.enums import Option

    change_everything(work)
    for path in [work, *work.rglob("*")]:
        os.chown(path, 54321, 54321, follow_symlinks=False)
    with pytest.raises(Exception, match="not owned"):
        pygit2.Repository(str(work))
    assert b"two and a half" in read(work).patch
    assert pygit2.option(Option.GET_OWNER_VALIDATION)


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    """A repository with a submodule in `my libs/sub`."""
    repository(
        tmp_path / "sub",
        {"x.py": b"one\n", "my data.bin": b"\0" * 100, "a run.sh": b"", "ünï x.txt": b"one\n"},
    )
    parent = repository(tmp_path / "parent", {"main.py": b"import sub\n"})
    git(parent, "submodule", "--quiet", "add", str(tmp_path / "sub"), "my libs/sub")
    git(parent, "commit", "-q", "-m", "submodule")
    return parent


def checkout_with_submodules(parent: Path, state: Worktree, target: Path) -> Path:
    """A fresh checkout of the recorded commit with its submodules, and the recorded patch on it."""
    git(target.parent, "clone", "-q", "--recurse-submodules", str(parent), str(target))
    apply(state, target)
    return target


def test_a_clean_submodule_is_no_change(parent: Path) -> None:
    """Nor is one that has not been checked out."""
    assert read(parent).patch == b""
    git(parent, "submodule", "--quiet", "deinit", "-f", "--all")
    assert read(parent).patch == b""


def test_changes_inside_a_submodule_are_recorded(parent: Path, tmp_path: Path) -> None:
    """Edited files, and those of a new commit that is nowhere else, on top of the recorded one."""
    inside = parent / "my libs" / "sub"
    (parent / "main.py").write_text("import sub  # changed\n")
    (inside / "x.py").write_text("one\ntwo\n")
    (inside / "ünï x.txt").write_text("two\n")
    git(inside, "commit", "-q", "-a", "-m", "second")
    (inside / "x.py").write_text("one\ntwo\nthree\n")
    (inside / "my data.bin").write_bytes(b"\0\1" * 100)
    (inside / "a run.sh").chmod(0o755)
    (inside / "staged").write_text("new\n")
    git(inside, "add", "staged")
    state = read(parent)
    new = git(inside, "rev-parse", "HEAD").decode().strip()
    assert f"+Subproject commit {new}\n".encode() in state.patch
    assert b"-dirty" not in state.patch
    copy = checkout_with_submodules(parent, state, tmp_path / "copy")
    assert content(copy) == content(parent)


def test_submodules_inside_submodules_are_recorded(parent: Path, tmp_path: Path) -> None:
    """At any depth, with the names seen from the top."""
    top = repository(tmp_path / "top", {"a": b""})
    git(top, "submodule", "--quiet", "add", str(parent), "p")
    git(top, "submodule", "--quiet", "update", "--init", "--recursive")
    git(top, "commit", "-q", "-m", "submodule")
    (top / "p" / "my libs" / "sub" / "x.py").write_text("deep\n")
    state = read(top)
    assert b"+++ b/p/my libs/sub/x.py" in state.patch
    assert b"Subproject" not in state.patch  # its commit is the recorded one
    copy = checkout_with_submodules(top, state, tmp_path / "copy")
    assert content(copy) == content(top)


def test_a_submodule_added_or_removed_does_not_stop_the_rest(
    parent: Path, tmp_path: Path, reproduce: Callable[[Path, Worktree], Path]
) -> None:
    """Its files are not ours to record; what else has changed is."""
    git(parent, "submodule", "--quiet", "add", str(tmp_path / "sub"), "second")
    git(parent, "rm", "-q", "--cached", "my libs/sub")
    shutil.rmtree(parent / "my libs")
    (parent / "main.py").write_text("changed\n")
    copy = reproduce(parent, read(parent))
    assert (copy / "main.py").read_text() == "changed\n"


def test_files_of_git_lfs_are_compared_with_their_pointers(tmp_path: Path) -> None:
    """Gigabytes of unchanged weights are no change; changed ones are named, not put into the patch."""
    from hashlib import sha256

    data = b"\0weights" * 1000
    pointer = (
        b"version https://git-lfs.github.com/spec/v1\n"
        b"oid sha256:" + sha256(data).hexdigest().encode() + b"\nsize " + str(len(data)).encode() + b"\n"
    )
    files = {"a.bin": pointer, "b.bin": pointer, ".gitattributes": b"*.bin filter=lfs -text\n"}
    work = repository(tmp_path / "work", files)
    (work / "a.bin").write_bytes(data)
    (work / "b.bin").write_bytes(data.replace(b"w", b"W"))
    state = read(work)
    assert state.left_out == ("b.bin",)
    assert state.patch == b""


def test_twenty_thousand_files_hold_nobody_up(tmp_path: Path) -> None:
    """It takes no seconds more than git does, and other threads run on meanwhile: Python's lock is held for moments.

    The bounds are far off what it takes; a comparison that ignores git's index runs into them.
    """
    files = {f"d{number % 200}/f{number}.py": b"%d\n" % number for number in range(20_000)}
    work = repository(tmp_path / "work", files)
    (work / "d5" / "f5.py").write_text("changed\n")
    begun = time.monotonic()
    git(work, "status", "-uall")
    git(work, "diff", "HEAD")
    by_git = time.monotonic() - begun
    read(tmp_path / "work")  # what is imported for it counts elsewhere
    gaps: list[float] = []
    stop = threading.Event()

    def watch() -> None:
        last = time.monotonic()
        while not stop.is_set():
            time.sleep(0.001)
            now = time.monotonic()
            gaps.append(now - last)
            last = now

    watcher = threading.Thread(target=watch)
    watcher.start()
    begun = time.monotonic()
    assert b"+changed" in read(work).patch
    took = time.monotonic() - begun
    stop.set()
    watcher.join()
    assert took < by_git + 2.0
    assert max(gaps) < max(0.25, took / 2)
