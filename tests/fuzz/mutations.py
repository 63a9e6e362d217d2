"""Valid inputs, changed as an attacker would: bytes, lengths, parts twice or not at all, JSON of other shapes."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import strategies as st

_LENGTHS = st.sampled_from(
    [n.to_bytes(size, "little") for size in (4, 8) for n in (0, 1, 2**31 - 1, 2**31, 2**32 - 1)]
    + [n.to_bytes(8, "little") for n in (2**50, 2**63 - 1, 2**64 - 1)]
)
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["..", "/", "\x1b[2J", "nan", "blob:00:1", "page", "tree"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@st.composite
def edited(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """A seed after one to four changes."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        how = draw(st.sampled_from(["flip", "put", "length", "drop", "cut", "again"]))
        if how == "flip" and at < len(data):
            data[at] ^= draw(st.integers(1, 255))
        elif how == "put":
            data[at:at] = draw(st.binary(max_size=16))
        elif how == "length":
            there = draw(_LENGTHS)
            data[at : at + len(there)] = there
        elif how == "drop":
            del data[at : at + draw(st.integers(1, 32))]
        elif how == "cut":
            del data[at:]
        else:
            data[at:at] = data[at : at + 64] * draw(st.integers(1, 20))
    return bytes(data)


@st.composite
def reshaped(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """A canonical JSON seed in which one value is another, of any type."""
    record = orjson.loads(draw(st.sampled_from(seeds)))
    spot, path = record, []
    while isinstance(spot, dict | list) and spot and draw(st.integers(0, 3)):
        step = draw(st.sampled_from(sorted(spot) if isinstance(spot, dict) else list(range(len(spot)))))
        path.append(step)
        spot = spot[step]
    value = draw(_JSON)
    return orjson.dumps(_replaced(record, path, value), option=orjson.OPT_SORT_KEYS)


def _replaced(record: Any, path: list[Any], value: Any) -> Any:
    if not path:
        return value
    copy = dict(record) if isinstance(record, dict) else list(record)
    copy[path[0]] = _replaced(record[path[0]], path[1:], value)
    return copy


def hostile(seeds: list[bytes]) -> st.SearchStrategy[bytes]:
    """Anything: noise, seeds with changes, and of JSON seeds other shapes."""
    documents = [seed for seed in seeds if _is_json(seed)]
    found = st.binary(max_size=200) | edited(seeds)
    return found | reshaped(documents) if documents else found


def _is_json(data: bytes) -> bool:
    try:
        orjson.loads(data)
    except orjson.JSONDecodeError:
        return False
    return True
