"""The remotes that come with the store keep the contract that others are tested by."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from objstore.errors import InvalidName, NotFound, RemoteError
from objstore.remotes import Remote, check_name, check_prefix
from objstore.remotes.folder import FolderRemote
from objstore.remotes.memory import MemoryRemote
from objstore.testing import BAD_NAMES, BAD_PREFIXES, Counting, Faulty, RemoteContract, names


class TestMemory(RemoteContract):
    @pytest.fixture
    def remote(self) -> Remote:
        """An empty dictionary."""
        return MemoryRemote()


class TestFolder(RemoteContract):
    @pytest.fixture
    def remote(self, tmp_path: Path) -> Remote:
        """A fresh folder."""
        return FolderRemote(tmp_path / "remote", create=True)


class TestCounting(RemoteContract):
    @pytest.fixture
    def remote(self) -> Remote:
        """A wrapper changes nothing."""
        return Counting(MemoryRemote())


class TestFaultyLater(RemoteContract):
    @pytest.fixture
    def remote(self) -> Remote:
        """A wrapper changes nothing before it fails."""
        return Faulty(MemoryRemote(), first=10**9)


class TestFolderOnDisk:
    @pytest.fixture
    def remote(self, tmp_path: Path) -> FolderRemote:
        """A fresh folder."""
        return FolderRemote(tmp_path / "remote", create=True)

    def test_paths_and_urls_name_the_same_folder(self, tmp_path: Path) -> None:
        """A plain path, a Path, file:///…, file://localhost/…; %20 is a space."""
        folder = tmp_path / "a b"
        folder.mkdir()
        wheres: list[str | Path] = [str(folder), folder, folder.as_uri(), f"file://localhost{tmp_path}/a%20b"]
        for where in wheres:
            remote = FolderRemote(where)
            assert remote.root == folder
            assert remote.url == folder.as_uri()

    @pytest.mark.parametrize("where", ["s3://bucket/x", "file://host/x", "file:x", "http://x/y"])
    def test_other_urls_are_refused(self, where: str) -> None:
        """A bucket's URL must not become a folder of that name."""
        with pytest.raises(InvalidName, match="file:///path"):
            FolderRemote(where)

    def test_a_folder_that_vanished_is_an_error_that_names_it(self, remote: FolderRemote) -> None:
        """Neither empty nor made anew: the disk may not be mounted."""
        remote.put("packs/ab/one.pack", b"x")
        shutil.rmtree(remote.root)
        for call in (
            lambda: list(remote.list("refs")),
            lambda: remote.get("packs/ab/one.pack"),
            lambda: remote.get_range("packs/ab/one.pack", 0, 1),
            lambda: remote.put("packs/ab/one.pack", b"x"),
            lambda: remote.delete("packs/ab/one.pack"),
        ):
            with pytest.raises(RemoteError, match=f"{remote.url}.*mounted"):
                call()
        assert not remote.root.exists()

    def test_what_the_disk_refuses_is_named(self, remote: FolderRemote, tmp_path: Path) -> None:
        """The message has the folder, the file and the system's own words."""
        (remote.root / "packs").write_bytes(b"a file where a folder should be")
        with pytest.raises(RemoteError, match=rf"{remote.url}: packs/ab/x: {os.strerror(errno.ENOTDIR)}"):
            remote.put("packs/ab/x", b"x")
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(RemoteError, match="file"):
            FolderRemote(tmp_path / "file", create=True)

    def test_a_failed_put_leaves_nothing(self, remote: FolderRemote) -> None:
        """Not under its name, and nothing in tmp/ either."""
        (remote.root / "packs").write_bytes(b"in the way")
        with pytest.raises(RemoteError):
            remote.put("packs/ab/x", b"x" * 100_000)
        assert list((remote.root / "tmp").iterdir()) == []

    def test_what_is_half_put_is_in_tmp_and_not_listed(self, remote: FolderRemote) -> None:
        """A put that was killed leaves a file in tmp/, which no listing shows."""
        remote.put("format", b"x")
        (remote.root / "tmp" / "half").write_bytes(b"half")
        assert names(remote, "") == ["format"]

    def test_what_is_no_file_is_not_there(self, remote: FolderRemote) -> None:
        """A pipe that bears a pack's name is neither listed nor waited for; nor is a folder read."""
        remote.put("packs/ab/one.pack", b"x")
        os.mkfifo(remote.root / "packs" / "ab" / "two.pack")
        (remote.root / "packs" / "ab" / "three.pack").mkdir()
        (remote.root / "packs" / "ab" / "four.pack").symlink_to("two.pack")
        assert names(remote, "packs") == ["packs/ab/one.pack"]
        for name in ("two", "three", "four"):
            with pytest.raises(NotFound):
                remote.get(f"packs/ab/{name}.pack")
            with pytest.raises(NotFound):
                remote.get_range(f"packs/ab/{name}.pack", 0, 1)

    def test_other_tools_files_do_no_harm(self, remote: FolderRemote) -> None:
        """Names that no remote would take are not listed; links that lead in a circle end."""
        remote.put("packs/ab/one.pack", b"x")
        (remote.root / "packs" / "ab" / "a\\b").write_bytes(b"")
        (remote.root / "packs" / os.fsdecode(b"\xff")).write_bytes(b"")
        (remote.root / "packs" / "ab" / "gone").symlink_to("nowhere")
        (remote.root / "packs" / "circle").symlink_to("..")
        found = names(remote, "packs")
        assert found[0] == "packs/ab/one.pack"
        assert all(name.endswith("packs/ab/one.pack") for name in found)

    def test_a_folder_is_no_file(self, remote: FolderRemote) -> None:
        """To get or delete a folder is an error, and deletes nothing."""
        remote.put("packs/ab/one.pack", b"x")
        with pytest.raises((RemoteError, NotFound)):
            remote.get("packs/ab")
        with pytest.raises(RemoteError):
            remote.delete("packs/ab")
        assert names(remote, "") == ["packs/ab/one.pack"]

    def test_heads_are_listed_before_tables(self, remote: FolderRemote) -> None:
        """A fold puts the table before it removes the head: read in this order, the head is seen once at least."""
        for name in ("refs.packed/t.table", "refs/a/1", "refs/b/2"):
            remote.put(name, b"x")
        assert [entry.name for entry in remote.list("refs")] == [
            "refs/a/1",
            "refs/b/2",
            "refs.packed/t.table",
        ]


class TestNames:
    @pytest.mark.parametrize("name", BAD_NAMES)
    def test_a_bad_name_says_so(self, name: str) -> None:
        """The one place where names are checked refuses each."""
        with pytest.raises(InvalidName):
            check_name(name)

    @pytest.mark.parametrize("prefix", BAD_PREFIXES)
    def test_a_bad_prefix_says_so(self, prefix: str) -> None:
        """No safe name begins so."""
        with pytest.raises(InvalidName):
            check_prefix(prefix)

    @pytest.mark.parametrize("prefix", ["", "refs", "refs/", "refs/a", "packs/ab/", "x..", "..x"])
    def test_the_beginning_of_a_good_name_is_a_good_prefix(self, prefix: str) -> None:
        """Also in the middle of a part."""
        assert check_prefix(prefix) == prefix


class TestWrappers:
    def test_faulty_fails_at_the_call_it_was_told(self) -> None:
        """The second call fails, before it has done anything; the third works."""
        inner = MemoryRemote()
        remote = Faulty(inner, first=2)
        remote.put("a", b"1")
        with pytest.raises(RemoteError, match="call 2"):
            remote.put("b", b"2")
        assert names(inner, "") == ["a"]
        remote.put("b", b"2")
        assert names(inner, "") == ["a", "b"]

    def test_a_lost_reply_is_an_error_after_the_deed(self) -> None:
        """The caller sees a failure, the remote has the file."""
        inner = MemoryRemote()
        with pytest.raises(RemoteError, match="lost"):
            Faulty(inner, first=1, lost=True).put("a", b"1")
        assert inner.files == {"a": b"1"}

    def test_a_truncated_reply_is_no_error(self) -> None:
        """Half the bytes come, as if they were all."""
        inner = MemoryRemote()
        inner.put("a", b"1234")
        assert Faulty(inner, first=1, truncate=True, verbs=("get",)).get("a") == b"12"

    def test_counting_counts_verbs_and_bytes(self) -> None:
        """One of each verb, and what went over the wire."""
        remote = Counting(MemoryRemote())
        remote.put("a", b"1234")
        list(remote.list(""))
        remote.get("a")
        remote.get_range("a", 0, 2)
        remote.delete("a")
        assert remote.calls == dict.fromkeys(("put", "list", "get", "get_range", "delete"), 1)
        assert (remote.total, remote.bytes) == (5, 10)
        remote.reset()
        assert (remote.total, remote.bytes) == (0, 0)
