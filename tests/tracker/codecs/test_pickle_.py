"""Pickles: anything goes in, and nothing comes out unless the caller says so."""

from __future__ import annotations

import pickle
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tracker.codecs import decode, encode
from tracker.errors import CorruptRecord, TrackerError, UnsafeArtifact


class Canary:
    """Tells on whoever unpickles it."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (pytest.fail, ("a pickle was loaded",))


class Mute:
    """Cannot be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


class Stubborn:
    """Cannot be pickled."""

    def __reduce__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize("value", [None, "", 5, 0.5, [1, "x"], (), Fraction(1, 3), b"bytes", True, {1, 2}])
def test_what_has_no_family_is_pickled_and_comes_back_when_allowed(value: object) -> None:
    """Equal, and of its class."""
    encoded = encode("a", value)
    assert (encoded.type, encoded.file_name, encoded.content_type) == (
        "pickle",
        "a.pkl",
        "application/pickle",
    )
    assert encoded.preview == repr(value)
    assert isinstance(encoded.payload, bytes)
    result = decode("pickle", encoded.payload, file_name="a.pkl", allow_pickle=True)
    assert (result, type(result)) == (value, type(value))


@pytest.mark.parametrize("value", [{"a": 1}, "text", [1]])
@pytest.mark.parametrize("extension", [".pkl", "pkl"])
def test_the_extension_pkl_pickles_anything(value: object, extension: str) -> None:
    """Even what has a family of its own."""
    encoded = encode("a", value, extension_name=extension)
    assert (encoded.type, encoded.file_name) == ("pickle", "a.pkl")


def test_a_pickle_is_not_loaded_and_the_error_names_the_way_out() -> None:
    """Neither from bytes nor from a file, and not by a name that looks harmless."""
    data = pickle.dumps(Canary())
    for name in ("a.pkl", "a.json", ""):
        with pytest.raises(UnsafeArtifact, match="allow_pickle=True") as caught:
            decode("pickle", data, file_name=name, name="a")
    assert isinstance(caught.value, TrackerError)
    assert isinstance(caught.value, PermissionError)


def test_a_file_is_read_like_its_bytes(tmp_path: Path) -> None:
    """What is checked and what is read are one."""
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(7))
    with pytest.raises(UnsafeArtifact):
        decode("pickle", tmp_path / "x.pkl")
    assert decode("pickle", tmp_path / "x.pkl", allow_pickle=True) == 7


@pytest.mark.parametrize("data", [b"", b"nonsense", pickle.dumps([1, 2])[:-1], b"cno_such_module\nname\n."])
def test_a_broken_pickle_is_corrupt(data: bytes) -> None:
    """And the text names the artifact."""
    with pytest.raises((CorruptRecord, ModuleNotFoundError), match=r"artifact 'a'|no_such_module"):
        decode("pickle", data, file_name="a.pkl", name="a", allow_pickle=True)


def test_auto_pickle_off_refuses_all_but_nothing() -> None:
    """None and the empty text are pickled in any case, as in ClearML."""
    assert encode("a", None, auto_pickle=False).type == "pickle"
    assert encode("a", "", auto_pickle=False).type == "pickle"
    with pytest.raises(ValueError, match="auto_pickle=True or a serialization_function"):
        encode("a", [1], auto_pickle=False)


def test_a_value_that_cannot_be_shown_has_no_preview() -> None:
    """A preview is not worth an error."""
    assert encode("a", Mute()).preview == ""


@pytest.mark.parametrize("value", [lambda: 0, Stubborn()], ids=["lambda", "stubborn"])
def test_what_cannot_be_pickled_names_the_way_out(value: object) -> None:
    """One error, whatever the value raised."""
    with pytest.raises(ValueError, match="pass a serialization_function"):
        encode("a", value)
