"""Dicts: readable text that comes back as JSON or YAML can, a pickle where they cannot, and safe parsers only."""

from __future__ import annotations

import datetime
import enum
import json
import math
import sys
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracker.codecs import decode, encode
from tracker.errors import CorruptRecord

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
leaves = st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False), texts)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=12,
)


class Level(enum.Enum):
    """An enum without a JSON form."""

    LOW = 1


class Code(enum.IntEnum):
    """An enum that is a number."""

    OK = 7


def again(value: Any, **options: Any) -> Any:
    """The dict after a round trip that may not use a pickle."""
    encoded = encode("a", value, auto_pickle=False, **options)
    assert isinstance(encoded.payload, bytes)
    return decode(
        encoded.type, encoded.payload, file_name=encoded.file_name, content_type=encoded.content_type
    )


@pytest.mark.parametrize("extension", [".json", ".yaml", "yaml"])
@given(st.dictionaries(texts, values, max_size=4))
@settings(max_examples=80, deadline=None)
def test_any_plain_dict_comes_back(extension: str, value: dict[str, Any]) -> None:
    """Texts that look like numbers, dates or nothing at all stay texts."""
    assert again(value, extension_name=extension) == value


def test_the_json_is_sorted_and_indented_by_four() -> None:
    """As ClearML writes it, but as readable UTF-8; the preview is the same text."""
    encoded = encode("a", {"b": "ü", "a": [1]})
    text = '{\n    "a": [\n        1\n    ],\n    "b": "ü"\n}'
    assert encoded.payload == text.encode()
    assert (encoded.type, encoded.file_name, encoded.content_type) == ("dict", "a.json", "application/json")
    assert encoded.preview == text


@pytest.mark.parametrize("extension", [".json", ".yaml"])
def test_sorting_can_be_left_out(extension: str) -> None:
    """`sort_keys=False` keeps the order of insertion."""
    assert list(again({"b": 1, "a": 2}, extension_name=extension, sort_keys=False)) == ["b", "a"]
    assert list(again({"b": 1, "a": 2}, extension_name=extension)) == ["a", "b"]


@pytest.mark.parametrize("extension", [".json", ".yaml"])
def test_nan_and_infinities_come_back(extension: str) -> None:
    """They are neither null nor an error."""
    result = again({"n": math.nan, "p": math.inf, "m": -math.inf}, extension_name=extension)
    assert math.isnan(result["n"])
    assert (result["p"], result["m"]) == (math.inf, -math.inf)


def test_an_empty_dict_is_a_dict() -> None:
    """Nothing is not None."""
    assert encode("a", {}).payload == b"{}"
    assert again({}) == {}


def test_keys_that_are_numbers_come_back_as_text_with_a_notice() -> None:
    """JSON has no other keys; YAML has."""
    assert again({1: {2.5: "x"}, 10: 0}) == {"1": {"2.5": "x"}, "10": 0}
    assert "become text" in encode("a", {"deep": [{1: 0}]}).notice
    assert again({1: {2.5: "x"}}, extension_name=".yaml") == {1: {2.5: "x"}}


@pytest.mark.parametrize("value", [{1: "a", "1": "b"}, {"x": [{None: 1, "null": 2}]}, {True: 1, "true": 0}])
def test_keys_that_json_spells_alike_are_not_lost(value: dict[Any, Any]) -> None:
    """One of two such keys would vanish without a word."""
    assert encode("a", value, sort_keys=False).type == "pickle"
    with pytest.raises(ValueError, match="auto_pickle is off"):
        encode("a", value, sort_keys=False, auto_pickle=False)


def deep() -> dict[str, Any]:
    """A dict nested deeper than any parser goes."""
    value: dict[str, Any] = {}
    for _ in range(500):
        value = {"x": value}
    return value


@pytest.mark.parametrize(
    "value",
    [
        {"e": Level.LOW},
        {"d": datetime.date(2020, 1, 1)},
        {(1, 2): 3},
        {"b": b"x"},
        {"f": np.float32(1)},
        {"a": 1, 2: 3},
    ],
    ids=str,
)
def test_what_json_cannot_hold_is_pickled_or_refused(value: dict[Any, Any]) -> None:
    """As ClearML does; the notice says why."""
    encoded = encode("a", value)
    assert (encoded.type, encoded.file_name) == ("pickle", "a.pkl")
    assert "JSON cannot hold it" in encoded.notice
    with pytest.raises(ValueError, match="JSON cannot hold it"):
        encode("a", value, auto_pickle=False)


def test_a_dict_that_holds_itself_is_pickled() -> None:
    """A circle ends neither in an endless loop nor in a crash."""
    circle: dict[str, Any] = {}
    circle["me"] = circle
    assert encode("a", circle).type == "pickle"
    assert encode("a", circle, extension_name=".yaml").type in ("dict", "pickle")


@pytest.mark.parametrize("extension", [".json", ".yaml"])
def test_a_half_surrogate_is_kept(extension: str) -> None:
    """Python's texts may hold it, and UTF-8 may not."""
    encoded = encode("a", {"x": "\ud800"}, extension_name=extension)
    assert isinstance(encoded.payload, bytes)
    result = decode(encoded.type, encoded.payload, file_name=encoded.file_name, allow_pickle=True)
    assert result == {"x": "\ud800"}


@pytest.mark.parametrize("mark", ["\x85", "\u2028", "\u2029", "\ufeff", "漢字", "\0"])
def test_marks_that_yaml_takes_for_line_ends_are_kept(mark: str) -> None:
    """PyYAML writes some of them as they are and then reads something else."""
    value = {mark: mark, "x": f"a{mark}b", "y": [f"{mark} {mark}\n{mark}"]}
    assert again(value, extension_name=".yaml") == value


def test_values_that_are_numbers_at_heart_come_back_as_numbers() -> None:
    """IntEnum and tuples have a JSON form, which loses their class, as in ClearML."""
    assert again({"c": Code.OK, "t": (1, 2), "f": np.float64(0.5)}) == {"c": 7, "t": [1, 2], "f": 0.5}


@pytest.mark.parametrize("extension", [".json", ".yaml"])
def test_subclasses_of_dict_are_dicts(extension: str) -> None:
    """The order is that of the keys; the class is not kept."""
    assert again({"o": OrderedDict(b=1, a=2)}, extension_name=extension) == {"o": {"a": 2, "b": 1}}


def test_yaml_is_plain_and_typed() -> None:
    """Dates and bytes have a YAML form; the extension is right with and without its dot."""
    value = {"d": datetime.date(2020, 1, 1), "b": b"\0", "s": "2020-01-01", "n": "1e3"}
    encoded = encode("a", value, extension_name="yaml")
    assert (encoded.file_name, encoded.content_type) == ("a.yaml", "application/yaml")
    assert again(value, extension_name="yaml") == value


def test_yaml_without_pyyaml_is_json_with_a_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library is an extra."""
    monkeypatch.setitem(sys.modules, "yaml", None)
    encoded = encode("a", {"x": 1}, extension_name=".yaml")
    assert encoded.file_name == "a.json"
    assert "PyYAML is not installed" in encoded.notice


def test_yaml_never_builds_python_objects() -> None:
    """Neither are such tags written, nor obeyed."""
    assert encode("a", {"e": Level.LOW}, extension_name=".yaml").type == "pickle"
    evil = b"!!python/object/apply:os.system ['false']"
    with pytest.raises(CorruptRecord, match="artifact 'a'"):
        decode("dict", evil, file_name="a.yaml", name="a")
    with pytest.raises(CorruptRecord):
        decode("dict", evil, content_type="application/yaml", file_name="a", name="a")


@pytest.mark.parametrize("data", [b"", b"{", b'{"a": 1}x', b"\xff\xfe\xfd", b"[" * 200_000, b"1" * 10_000])
def test_hostile_bytes_are_corrupt_and_nothing_else(data: bytes) -> None:
    """Depth, encodings and giant numbers included."""
    with pytest.raises(CorruptRecord, match="artifact 'a'"):
        decode("dict", data, file_name="a.json", name="a")


def test_a_nested_text_is_cut_in_the_preview_only() -> None:
    """The content is whole, whatever the preview shows."""
    value = {"x": "y" * 100_000}
    encoded = encode("a", value)
    assert encoded.preview.startswith("# full preview too large to store, storing first 64kb\n{")
    assert again(value) == value


def test_a_deep_dict_comes_back_or_is_pickled() -> None:
    """Depth below the parser's limit is no problem."""
    assert json.dumps(again(deep())) == json.dumps(deep())
