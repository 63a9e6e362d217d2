"""Names: what a task, project or model may be called, and what becomes of a name that was found, not given."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker import layout, names
from tracker.errors import BadValue


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("", "too short: 3 characters or more"),
        ("ab", "too short: 3 characters or more"),
        ("  ab  ", "too short: 3 characters or more"),
        ("a\x00bc", "control characters"),
        ("line\nbreak", "control characters"),
        ("dele\x7fted", "control characters"),
        ("half \udcff a character", "control characters"),
        ("x" * (layout.NAME_MAX + 1), f"{layout.NAME_MAX} or fewer"),
        (None, "must be text, not NoneType"),
        (b"bytes", "must be text, not bytes"),
        (123, "must be text, not int"),
    ],
)
def test_name_that_breaks_a_rule_is_refused_with_the_rule(name: object, rule: str) -> None:
    """The message says whose name it is and what the rule is."""
    with pytest.raises(BadValue, match="the project name") as caught:
        names.check_name("project", name)
    assert rule in str(caught.value)
    str(caught.value).encode()  # can be printed, whatever the name was


@pytest.mark.parametrize(
    "name",
    [
        "../../x",
        "A/b",
        "a/B",
        "🐈🐈🐈",
        "n" * 4096,
        "CON",
        "trailing dot.",
        "...",
        "C:\\x",
        "<script>",
        "'; --",
    ],
)
def test_strange_name_is_kept_as_it_is(name: str) -> None:
    """No path is ever made of a name whole, so nothing but length and control characters speaks against one."""
    assert names.check_name("task", name) == name


def test_white_space_around_a_name_goes() -> None:
    """As ClearML's server does; white space inside stays."""
    assert names.check_name("task", " \t my  run\n") == "my  run"


@pytest.mark.parametrize(
    ("found", "name"),
    [
        ("train", "train"),
        ("ab", "ab-task"),
        ("a", "a-task"),
        ("", "task"),
        ("  ", "task"),
        ("\udcff", "task"),
        ("\x01\x02ab", "ab-task"),
        ("\x01  a", "a-task"),
    ],
)
def test_found_name_that_is_too_short_is_lengthened(found: str, name: str) -> None:
    """A script may be called `a.py`: that is no reason to refuse its run."""
    assert names.default_name("task", found) == name


@given(st.text(max_size=6), st.sampled_from(["task", "project", "model"]))
def test_every_default_name_is_a_legal_name(found: str, what: str) -> None:
    """Whatever the script's file is called, even when its name is not UTF-8."""
    name = names.default_name(what, found)
    assert names.check_name(what, name) == name
