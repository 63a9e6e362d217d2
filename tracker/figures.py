"""Figures as users make them -> JSON: numpy arrays, dates and numbers as keys in them, NaN and infinities spelled out.

Pure. A figure is a dict, or has `to_plotly_json`; nothing here knows what plotly would draw of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import orjson

from tracker.names import without_surrogates

_OPTION: Final = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS


def encode(figure: Any) -> bytes:
    """A figure as JSON. NaN and infinities become "nan", "inf", "-inf", which plotly shows as gaps, like null.

    Raises TypeError for what JSON cannot hold, and whatever the figure's own code raises.
    """
    data = _dumps(figure)
    # orjson writes both None and NaN as null: only then is it worth a look at every number.
    return _dumps(_spelled(figure)) if b"null" in data else data


def _dumps(figure: Any) -> bytes:
    try:
        return orjson.dumps(figure, _plain, _OPTION)
    except TypeError as error:
        if "surrogates" not in str(error):
            raise
        return orjson.dumps(without_surrogates(_spelled(figure)), _plain, _OPTION)


def _spelled(value: Any) -> Any:
    """The same figure with its non-finite numbers as text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(float(value))
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Mapping):
        return {key: _spelled(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_spelled(item) for item in value]
    for name in ("to_plotly_json", "tolist"):
        convert = getattr(value, name, None)
        if callable(convert):
            return _spelled(convert())
    if hasattr(value, "isoformat") or not hasattr(value, "__float__"):
        return value
    return _spelled(float(value))


def _plain(value: Any) -> Any:
    """As JSON what figures are made of elsewhere: arrays in any layout, series, dates, numbers. Raises TypeError."""
    for name in ("to_plotly_json", "tolist", "isoformat", "__float__"):
        convert = getattr(value, name, None)
        if callable(convert):
            return convert()
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    raise TypeError(f"a {type(value).__name__} is nothing that a figure can hold")
