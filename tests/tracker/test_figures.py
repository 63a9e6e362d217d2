"""Figures as JSON: nothing of their numbers is lost."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tracker import figures

NUMBERS = st.floats() | st.integers(-(2**53), 2**53)


def restored(found: Any, given: Any) -> bool:
    """Whether a number came back: itself, or spelled out where JSON has none."""
    if isinstance(given, float) and not math.isfinite(given):
        return bool(found == str(float(given)))
    return bool(found == given) and math.copysign(1, found) == math.copysign(1, given)


@given(st.lists(NUMBERS))
def test_every_number_of_a_list_comes_back(values: list[float]) -> None:
    """NaN and infinities by their names, all else bit for bit."""
    found = orjson.loads(figures.encode({"data": [{"y": values, "x": None}]}))["data"][0]
    assert found["x"] is None
    assert len(found["y"]) == len(values)
    assert all(map(restored, found["y"], values))


@given(
    hnp.arrays(
        st.sampled_from([np.float16, np.float32, np.float64, np.int64, np.uint8, np.bool_]),
        hnp.array_shapes(min_dims=1, max_dims=3, max_side=4),
    )
)
def test_every_number_of_an_array_comes_back(values: np.ndarray[Any, Any]) -> None:
    """Of any dtype and layout."""
    for each in (values, values.T, np.asfortranarray(values)):
        found = orjson.loads(figures.encode({"z": each, "none": None}))["z"]
        flat, expected = np.ravel(np.array(found, dtype=object)).tolist(), np.ravel(each).tolist()
        assert len(flat) == len(expected)
        assert all(map(restored, flat, expected))


def test_finite_figures_are_not_walked() -> None:
    """What has nothing to spell is written in one go, and None stays null."""
    assert figures.encode({"a": [1.5, None, "nan"], 3: np.arange(2)}) == b'{"a":[1.5,null,"nan"],"3":[0,1]}'


def test_half_a_character_is_spelled_out() -> None:
    """As everywhere else in a record."""
    assert orjson.loads(figures.encode({"text": "\udcff", "y": [math.nan]})) == {
        "text": "\\udcff",
        "y": ["nan"],
    }


@pytest.mark.parametrize("value", [object(), b"3", 2**70, {"a": [math.nan, object()]}])
def test_what_json_cannot_hold_is_a_type_error(value: Any) -> None:
    """Also beside a NaN."""
    with pytest.raises(TypeError):
        figures.encode({"z": value})
