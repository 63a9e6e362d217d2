"""Remotes in a store's settings, and what their URLs mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from objstore.errors import Conflict, NotFound
from objstore.store import Store
from tracker import remotes
from tracker.errors import BadValue


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store in a folder `project`, which is the working directory."""
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    return Store.create(project / ".tracker").root


def test_the_first_remote_is_the_default(root: Path) -> None:
    """By the order of the file, which people may change."""
    with pytest.raises(NotFound, match="tracker remote add NAME FOLDER"):
        remotes.choose(root, None)
    remotes.add(root, "b", "../b")
    remotes.add(root, "a", "../a")
    assert remotes.choose(root, None) == ("b", "../b")
    assert remotes.choose(root, "a") == ("a", "../a")
    with pytest.raises(NotFound, match="there is no remote named 'c': this store has b, a"):
        remotes.choose(root, "c")


def test_settings_keep_their_comments_order_and_other_tables(root: Path) -> None:
    """Whatever is in them, remotes included."""
    text = '# mine\nstrict = true  # really\n\n[remote.old]\nurl = "../old"\n\n[other]\nx = 1\n'
    (root / "config.toml").write_text(text)
    remotes.add(root, "new", "../new")
    after = (root / "config.toml").read_text()
    assert remotes.configured(root) == {"old": "../old", "new": "../new"}
    for part in ("# mine\nstrict = true  # really\n", "[other]\nx = 1\n", '[remote.old]\nurl = "../old"\n'):
        assert part in after
    assert not list(root.glob("config.toml.*"))


def test_a_relative_path_is_taken_from_here_and_kept_from_there(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the working directory; relative to the folder that the store lies in."""
    below = root.parent / "a/b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert remotes.add(root, "x", "../../../beside") == "../beside"
    assert remotes.open_remote(root, "../beside").root == root.parent.parent / "beside"


@pytest.mark.parametrize(
    "url",
    ["", "s3://b/x", "GS://b/x", "az://b/x", "http://h/x", "ssh://h/x", "host:x", "u@h:x", "file://h/x"],
)
def test_what_is_no_folder_is_refused(root: Path, url: str) -> None:
    """Else a folder named `user@host:x` would be made."""
    with pytest.raises(BadValue):
        remotes.add(root, "x", url)
    assert list(root.parent.parent.iterdir()) == [root.parent]
    assert [path.name for path in root.parent.iterdir()] == [".tracker"]


def test_a_path_with_a_colon_is_had_by_saying_that_it_is_a_path(root: Path) -> None:
    """And means the same when it is read again."""
    kept = remotes.add(root, "x", "./odd:name")
    assert kept == "./odd:name"
    assert remotes.open_remote(root, kept).root == root.parent / "odd:name"
    assert (root.parent / "odd:name").is_dir()


def test_file_urls_are_paths_with_their_escapes_undone(root: Path) -> None:
    """Three slashes, or localhost."""
    assert remotes.parse("file:///a%20b/c") == remotes.parse("file://localhost/a%20b/c") == Path("/a b/c")


@pytest.mark.parametrize("name", ["", "Big", "a b", "a.b", "../x", "é"])
def test_a_name_has_plain_letters(root: Path, name: str) -> None:
    """It becomes a section of the settings."""
    with pytest.raises(BadValue, match="cannot name a remote"):
        remotes.add(root, name, "../x")


def test_a_store_is_never_pushed_among_other_things(root: Path) -> None:
    """Nor onto itself, nor onto a file."""
    home = root.parent.parent / "home"
    home.mkdir()
    (home / "letter.txt").write_text("dear")
    for url in ("../home", ".tracker", ".", "../home/letter.txt"):
        with pytest.raises(Conflict):
            remotes.add(root, "x", url)
    assert [path.name for path in home.iterdir()] == ["letter.txt"]


@pytest.mark.parametrize("text", ["[remote", "remote = 3", "[remote.x]\nuri = 1", "[remote]\nx = 2"])
def test_damaged_settings_are_named(root: Path, text: str) -> None:
    """With what they must be."""
    (root / "config.toml").write_text(text)
    with pytest.raises(BadValue, match=r"config\.toml"):
        remotes.configured(root)
