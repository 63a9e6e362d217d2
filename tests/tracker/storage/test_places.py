"""Every sort of place keeps the one contract: what was put is got, listed, told of, and deleted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from objstore.errors import InvalidName, NotFound, RemoteError
from tracker.errors import BadValue
from tracker.storage import file_at, normalised, place_at


def test_what_was_put_comes_back(place_url: str) -> None:
    """Empty, small and in several parts; of known size or not; under a name with blanks in a folder."""
    place = place_at(place_url)
    for size in (0, 5, 7_000_000):
        content = os.urandom(size)
        for known in (size, None):
            place.put(f"a folder/file {size}.bin", iter([content[:3], content[3:]]), known)
            assert b"".join(place.get(f"a folder/file {size}.bin")) == content
        entry = place.head(f"a folder/file {size}.bin")
        assert (entry.name, entry.size) == (f"a folder/file {size}.bin", size)
        assert entry.time > 1_600_000_000
    by_url, name = file_at(f"{place_url}/a folder/file 5.bin")
    assert len(b"".join(by_url.get(name))) == 5


def test_a_later_file_replaces_an_earlier_one(place_url: str) -> None:
    """Whole."""
    place = place_at(place_url)
    place.put("x", [b"first, and longer"], 17)
    place.put("x", [b"second"], 6)
    assert b"".join(place.get("x")) == b"second"


def test_what_is_not_there_is_not_found(place_url: str) -> None:
    """Neither read nor told of; to delete it is no error."""
    place = place_at(place_url)
    place.put("x", [b"x"], 1)
    place.delete("x")
    place.delete("x")
    with pytest.raises(NotFound):
        next(place.get("x"))
    with pytest.raises(NotFound):
        place.head("x")


def test_files_are_listed_in_order(place_url: str) -> None:
    """By the beginning of their names; a web server says that it cannot."""
    place = place_at(place_url)
    for name in ("b", "a/2", "a/1", "ab"):
        place.put(name, [b"x"], 1)
    if place_url.startswith("http"):
        with pytest.raises(RemoteError, match="cannot be listed"):
            list(place.list())
        return
    assert [entry.name for entry in place.list()] == ["a/1", "a/2", "ab", "b"]
    assert [entry.name for entry in place.list("a")] == ["a/1", "a/2", "ab"]
    assert [entry.name for entry in place.list("a/")] == ["a/1", "a/2"]


def test_content_that_breaks_off_leaves_what_was_there(place_url: str) -> None:
    """A folder and a bucket show no half file."""
    if place_url.startswith("http"):
        pytest.skip("whether a web server keeps half a body is its own affair")
    place = place_at(place_url)
    place.put("x", [b"whole"], 5)

    def broken() -> Iterator[bytes]:
        yield bytes(6_000_000)
        raise OSError("the disk went away")

    with pytest.raises(RemoteError):
        place.put("x", broken())
    assert b"".join(place.get("x")) == b"whole"
    assert [entry.name for entry in place.list()] == ["x"]


def test_server_that_refuses_or_is_not_there_is_a_remote_error(
    web: str, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the URL and what it said."""
    with pytest.raises(RemoteError, match="forbidden/x: the server answered 403"):
        place_at(f"{web}/forbidden").put("x", [b"x"], 1)
    for url in ("http://127.0.0.1:9", bucket):
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        with pytest.raises(RemoteError, match=f"^{url}/x: "):
            place_at(url).put("x", [b"x"], 1)


def test_names_that_lead_out_of_a_folder_are_refused(tmp_path: Path) -> None:
    """Reading, writing or deleting."""
    place = place_at(str(tmp_path / "inside"))
    (tmp_path / "outside").write_text("secret")
    for name in ("../outside", "a/../../outside", "/etc/passwd", "", "a//b", "./a", "a\0"):
        for call in (lambda n: place.put(n, [b"x"]), lambda n: next(place.get(n)), place.head, place.delete):
            with pytest.raises(InvalidName):
                call(name)
    assert (tmp_path / "outside").read_text() == "secret"


def test_urls_are_kept_in_one_spelling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path as a file URL, without a slash at the end."""
    monkeypatch.chdir(tmp_path)
    assert normalised("/a b/") == normalised("file:///a%20b/") == "file:///a%20b"
    assert normalised("sub") == (tmp_path / "sub").as_uri()
    assert normalised(Path("/x#y?z")) == "file:///x%23y%3Fz"
    assert normalised(" s3://bucket/x/ ") == "s3://bucket/x"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ftp://host/x", "ftp:// is not known here"),
        ("", "cannot be empty"),
        ("file://host/x", "names another machine"),
        ("s3://", "names no bucket"),
        ("s3://host:9000", "names a server and no bucket"),
        ("azure://account.blob.core.windows.net", "names an account and no container"),
    ],
)
def test_urls_that_name_no_place_are_refused(url: str, says: str) -> None:
    """With what is wrong."""
    if url.startswith(("s3", "azure")):
        pytest.importorskip("obstore")
    with pytest.raises(BadValue, match=says):
        place_at(normalised(url))


def test_google_and_azure_urls_open_their_stores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both of Azure's spellings; nothing is asked of the network."""
    pytest.importorskip("obstore")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    for url in (
        "gs://bucket/x",
        "az://container/x",
        "azure://container/x",
        "azure://account.blob.core.windows.net/container/x",
    ):
        place_at(url)
    for url in ("s3://bucket", "http://host"):
        with pytest.raises(BadValue, match="names no file"):
            file_at(url)
