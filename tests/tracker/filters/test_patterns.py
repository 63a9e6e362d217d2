"""Regular expressions with a limit on their time."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.errors import BadValue
from tracker.filters import patterns


def test_an_expression_that_would_run_for_ever_is_stopped() -> None:
    """With an error that names it; and what is searched after it has no time left."""
    search = patterns.searcher(r"^(([a-z])+.)+[A-Z]([a-z])+$", seconds=0.2)
    began = time.monotonic()
    with pytest.raises(BadValue, match=r"took longer than 0\.2 seconds: make it simpler"):
        search("a" * 5_000)
    with pytest.raises(BadValue, match="took longer"):
        search("a" * 5_000)
    assert time.monotonic() - began < 60


@given(
    st.from_regex(r"\^?[a-z0-9 /=_-]{0,6}\$?", fullmatch=True), st.text(alphabet="ab0 /=_-\n$^", max_size=12)
)
def test_a_plain_expression_is_searched_as_python_does(pattern: str, text: str) -> None:
    """Without an engine: ends of lines and all."""
    assert patterns.searcher(pattern)(text) is bool(re.search(pattern, text))


@pytest.mark.parametrize("pattern", ["(", "[a", "a{2,1}", "(?P<x", "*a", None, 5, "a" * 2_001])
def test_what_is_no_expression_is_an_error(pattern: object) -> None:
    """As soon as it is given."""
    with pytest.raises(BadValue, match="regular expression"):
        patterns.check(pattern)
