"""Files, folders, wildcards, lists and URLs: what counts as one, what is listed, and what stays a text."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tracker.codecs import decode, encode


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with files in two depths."""
    base = tmp_path / "data set"
    (base / "deep" / "er").mkdir(parents=True)
    (base / "b.txt").write_bytes(b"x" * 1500)
    (base / "a.csv").write_bytes(b"1")
    (base / "deep" / "er" / "c.csv").write_bytes(b"12")
    return base


def relative(payload: object) -> dict[str, str]:
    """Names and contents of a list."""
    assert isinstance(payload, list)
    return {name: path.read_text() for name, path in payload}


@pytest.mark.parametrize("as_text", [False, True])
def test_a_file_is_stored_as_it_is(folder: Path, as_text: bool) -> None:
    """A Path, or a text that names one; its own name and media type, not the artifact's."""
    path = folder / "b.txt"
    encoded = encode("report", str(path) if as_text else path)
    assert (encoded.type, encoded.kind, encoded.payload) == ("custom", "file", path)
    assert (encoded.file_name, encoded.content_type, encoded.preview) == (
        "b.txt",
        "text/plain",
        "b.txt - 1.5 KB\n",
    )


@pytest.mark.parametrize("as_text", [False, True])
def test_a_folder_is_a_tree_named_after_itself(folder: Path, as_text: bool) -> None:
    """Its preview lists every file with its size."""
    encoded = encode("x", str(folder) if as_text else folder)
    assert (encoded.type, encoded.kind, encoded.payload) == ("archive", "tree", folder)
    assert (encoded.file_name, encoded.content_type) == ("data set.zip", "application/zip")
    assert encoded.preview.splitlines() == [
        f"Archive content {folder.as_posix()}:",
        "a.csv - 1 byte",
        "b.txt - 1.5 KB",
        "deep/er/c.csv - 2 bytes",
    ]


@pytest.mark.parametrize("as_text", [False, True])
def test_a_wildcard_takes_matching_files_of_all_depths(folder: Path, as_text: bool) -> None:
    """Names are relative to the folder in front of the wildcard, sorted."""
    pattern = folder / "*.csv"
    encoded = encode("x", str(pattern) if as_text else pattern)
    assert (encoded.type, encoded.kind, encoded.file_name) == ("archive", "list", "data set.zip")
    assert relative(encoded.payload) == {"a.csv": "1", "deep/er/c.csv": "12"}
    assert encoded.preview.endswith(":\na.csv - 1 byte\ndeep/er/c.csv - 2 bytes\n")


def test_a_path_given_relative_is_made_absolute(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory may change before the bytes are read."""
    monkeypatch.chdir(folder)
    assert encode("x", "b.txt").payload == folder / "b.txt"
    assert encode("x", Path()).payload == folder
    assert encode("x", Path()).file_name == "data set.zip"
    assert relative(encode("x", Path("deep/*.csv")).payload) == {"er/c.csv": "12"}
    assert relative(encode("x", Path("*.csv")).payload) == {"a.csv": "1", "deep/er/c.csv": "12"}


def test_a_list_of_paths_is_named_from_their_common_folder(folder: Path) -> None:
    """Files of several folders, a folder among them, each file once."""
    paths = [
        folder / "deep" / "er" / "c.csv",
        folder / "a.csv",
        folder / "deep",
        folder / "deep" / ".." / "a.csv",
    ]
    encoded = encode("my/list", paths)
    assert (encoded.type, encoded.kind, encoded.file_name) == ("archive", "list", "my.slash.list.zip")
    assert relative(encoded.payload) == {"a.csv": "1", "deep/er/c.csv": "12"}
    assert encode("x", tuple(paths)).payload == encoded.payload


def test_a_list_says_what_is_missing(folder: Path) -> None:
    """What is there is stored; if nothing is, that is an error."""
    encoded = encode("x", [folder / "a.csv", folder / "none.csv"])
    assert relative(encoded.payload) == {"a.csv": "1"}
    assert "none.csv" in encoded.notice
    with pytest.raises(ValueError, match=r"none of its files is there: .*none\.csv"):
        encode("x", [folder / "none.csv"])


def test_a_list_that_is_not_all_paths_is_no_list_of_files(folder: Path) -> None:
    """Nor is an empty one."""
    assert encode("x", [folder / "a.csv", "b"]).type == "pickle"
    assert encode("x", []).type == "pickle"


@pytest.mark.parametrize("name", ["none.txt", "*.none", "no/such/*"])
def test_a_path_has_to_name_something(folder: Path, name: str) -> None:
    """A Path is never a text."""
    with pytest.raises(ValueError, match="no file, folder or match"):
        encode("x", folder / name)


def test_a_text_that_names_nothing_is_a_text(folder: Path) -> None:
    """Wildcards without matches, long texts, NULs and newlines included."""
    texts = [
        str(folder / "none.txt"),
        str(folder / "*.none"),
        "what is *this*?",
        "a" * 5000,
        "x" * 300 + "/b",
        "nul \0 byte",
        str(folder / "*.csv") + "\n",
        str(folder / "a**b"),
    ]
    assert [encode("x", text).type for text in texts] == ["string"] * len(texts)


def test_a_question_does_not_search_the_working_directory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wildcard in a text needs a folder in front."""
    monkeypatch.chdir(folder)
    assert encode("x", "?.csv").type == "string"


def test_a_path_too_long_to_look_up_is_a_text(folder: Path) -> None:
    """2,047 characters may be a path, 2,048 are a text."""
    path = str(folder / "a.csv")
    root, rest = path[:1], path[1:]
    assert encode("x", root + "/" * (2047 - len(path)) + rest).type == "custom"
    assert encode("x", root + "/" * (2048 - len(path)) + rest).type == "string"


@pytest.mark.parametrize("scheme", ["http", "https", "s3", "gs", "az", "azure", "HTTPS"])
def test_a_url_is_registered_and_not_fetched(scheme: str) -> None:
    """Its name and media type come from its path."""
    url = f"{scheme}://host/some/model.json?token=1#x"
    encoded = encode("x", url)
    assert (encoded.type, encoded.kind, encoded.payload) == ("custom", "url", url)
    assert (encoded.file_name, encoded.preview) == ("model.json", "")


@pytest.mark.parametrize(
    "text", ["ftp://host/x", "file:///etc/passwd", "see https://host", "https://a b", "https://"]
)
def test_what_only_looks_like_a_url_is_a_text(text: str) -> None:
    """Other schemes, and prose about a URL."""
    assert encode("x", text).type == "string"


def test_a_link_to_a_folder_inside_is_not_followed(folder: Path) -> None:
    """A circle of links ends."""
    os.symlink(folder, folder / "deep" / "loop")
    assert "loop/" not in encode("x", folder).preview
    assert set(relative(encode("x", folder / "*.csv").payload)) == {"a.csv", "deep/er/c.csv"}


def test_an_empty_folder_is_a_folder(tmp_path: Path) -> None:
    """Nothing in it is no error."""
    assert encode("x", tmp_path).kind == "tree"


def test_a_folder_of_many_files_has_a_bounded_preview(tmp_path: Path) -> None:
    """The listing stops where the preview is full."""
    for number in range(400):
        (tmp_path / f"{number:03d}{'x' * 200}").touch()
    preview = encode("x", tmp_path).preview
    assert preview.startswith("# full preview too large")
    assert len(preview) < 66_000


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1 KB"),
        (1234, "1.23 KB"),
        (5 * 10**9, "5 GB"),
    ],
)
def test_sizes_are_spelled_as_in_clearml(count: int, shown: str, tmp_path: Path) -> None:
    """Decimal units, two digits at most."""
    with (tmp_path / "f").open("wb") as file:
        file.truncate(count)
    assert encode("x", tmp_path / "f").preview == f"f - {shown}\n"


@pytest.mark.parametrize("type", ["custom", "archive", "something newer"])
def test_what_has_no_value_is_given_back_as_it_is(type: str, tmp_path: Path) -> None:
    """A path stays a path, unread."""
    assert decode(type, tmp_path / "absent") == tmp_path / "absent"
