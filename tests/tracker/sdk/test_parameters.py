"""Parameters: ClearML's keys, texts and types, there and back."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker import Task
from tracker.sdk import parameters

Reopen = Callable[[Task], Task]


class Mode(enum.Enum):
    """A choice."""

    FAST = 1


@pytest.mark.parametrize(
    ("value", "text", "kind", "back"),
    [
        (1, "1", "int", 1),
        (-0.1, "-0.1", "float", -0.1),
        (1e300, "1e+300", "float", 1e300),
        (True, "True", "bool", True),
        ("text", "text", "str", "text"),
        ("", "", "str", ""),
        ("1", "1", "str", "1"),
        (None, "", None, None),
        ([1, 2], "[1, 2]", "list/int", [1, 2]),
        ([1, "a", None], '[1, "a", null]', "list", [1, "a", None]),
        ([], "[]", "list", []),
        ((1.5, 2.5), "[1.5, 2.5]", "tuple/float", (1.5, 2.5)),
        ({"a": 1}, '{"a": 1}', "dict/int", {"a": 1}),
        (Mode.FAST, "FAST", "Mode", "FAST"),
        (np.float64(0.5), "0.5", "float64", "0.5"),
    ],
)
def test_value_text_and_type(
    task: Task, reopened: Reopen, value: Any, text: str, kind: str, back: Any
) -> None:
    """As text always, and as a value of its type when asked."""
    task.set_parameter("p", value)
    for found in (task, reopened(task)):
        assert found.get_parameters() == {"General/p": text}
        assert found._state.get("param/General/p")["type"] == kind
        cast = found.get_parameters(cast=True)["General/p"]
        assert cast == back
        assert type(cast) is type(back)


@given(
    st.one_of(
        st.integers(),
        st.floats(allow_nan=False),
        st.booleans(),
        st.text(),
        st.lists(st.integers(), min_size=1),
    )
)
def test_every_basic_value_comes_back(value: Any) -> None:
    """Through its text and type."""
    if isinstance(value, str):
        assert parameters.encode(value) == value
    assert parameters.cast(parameters.encode(value), parameters.type_of(value)) == value


@pytest.mark.parametrize(
    ("text", "kind"),
    [("abc", "int"), ("abc", "float"), ("maybe", "bool"), ("[1", "list/int"), ("x", "Unknown")],
)
def test_text_that_does_not_fit_its_type_stays_text(text: str, kind: str) -> None:
    """Somebody edited it; that is no reason to fail."""
    assert parameters.cast(text, kind) == text


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("lr", "General/lr"),
        ("Args/lr", "Args/lr"),
        ("Args/a/b", "Args/a/b"),
        ("a b", "General/a b"),
        ("É", "General/É"),
    ],
)
def test_key_is_section_and_name(task: Task, name: str, full: str) -> None:
    """The section ends at the first slash; a name without one is General's; case counts."""
    task.set_parameter(name, 1)
    assert task.get_parameters() == {full: "1"}
    assert task.get_parameter(full) == "1"
    assert task.get_parameter(full, cast=True) == 1
    assert task.get_parameter("nothing", "default") == "default"


def test_set_parameters_replaces_and_the_others_add(task: Task, reopened: Reopen) -> None:
    """User properties excepted, as in ClearML."""
    task.set_parameter("properties/owner", "me")
    task.set_parameters({"a": 1, "Args/b": 2}, [("c", 3)], d=4)
    assert task.get_parameters() == {
        "General/a": "1",
        "Args/b": "2",
        "General/c": "3",
        "General/d": "4",
        "properties/owner": "me",
    } or set(task.get_parameters()) == {"General/a", "Args/b", "General/c", "General/d", "properties/owner"}
    task.set_parameters({"a": 9})
    task.set_parameters_as_dict({"Args": {"x": {"y": 1}, "empty": {}}, "e": 5})
    task.set_parameter("f", 6)
    expected = {
        "Args/empty": "{}",
        "Args/x/y": "1",
        "General/a": "9",
        "General/e": "5",
        "General/f": "6",
        "properties/owner": "me",
    }
    assert task.get_parameters() == expected
    assert reopened(task).get_parameters() == expected


def test_update_adds_and_delete_removes(task: Task, reopened: Reopen) -> None:
    """By the full name; one without its section is an error of both kinds."""
    task.set_parameters(a=1, b=2)
    task.update_parameters({"b": 3}, [("Args/c", 4)], d=5)
    assert task.get_parameters(cast=True) == {"General/a": 1, "General/b": 3, "Args/c": 4, "General/d": 5}
    assert task.delete_parameter("General/a") is True
    assert task.delete_parameter("General/a") is False
    for kind in (IndexError, ValueError):
        with pytest.raises(kind, match="give the full name, such as General/b"):
            task.delete_parameter("b")
    assert set(reopened(task).get_parameters()) == {"General/b", "Args/c", "General/d"}


def test_nested_form_splits_at_every_slash(task: Task) -> None:
    """A value in the way of deeper names loses nothing."""
    task.set_parameters({"Args/a/b/c": 1, "Args/a/d": 2, "top": 3, "Args/x": 4, "Args/x/y": 5})
    assert task.get_parameters_as_dict(cast=True) == {
        "Args": {"a": {"b": {"c": 1}, "d": 2}, "x": 4, "x/y": 5},
        "General": {"top": 3},
    }
    assert task.get_parameters_as_dict()["General"] == {"top": "3"}


def test_type_can_be_given(task: Task) -> None:
    """As a type or by its name; the first stays."""
    task.set_parameter("a", "1", value_type=int)
    task.set_parameter("b", "1.5", value_type="float")
    task.set_parameter("b", "2", value_type=str)
    assert task.get_parameters(cast=True) == {"General/a": 1, "General/b": 2.0}


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("[a, b]", "list/str", ["a", "b"]),
        ("(1, 2)", "tuple", "(1, 2)"),
        ("[1, 2]", "tuple/int", (1, 2)),
        ("a: 1", "dict", {"a": 1}),
    ],
)
def test_containers_are_read_as_yaml_too(text: str, kind: str, value: Any) -> None:
    """As people edit them."""
    pytest.importorskip("yaml")
    assert parameters.cast(text, kind) == value


PROPERTY = {"section": "properties", "type": None, "description": None}


def test_properties_in_all_their_shapes(task: Task, reopened: Reopen) -> None:
    """As the documentation shows them, and as the package takes them; at any time."""
    assert task.set_user_properties(
        {"name": "backbone", "description": "network type", "value": "great"},
        ("pair", 1),
        {"plain": "p", "other": 2},
        [{"name": "listed", "value": None}, {"in list": True}, ("pair in list", 3.5)],
        word="w",
        full={"value": "v", "description": "d", "type": "str"},
        name="a property that is called so",
    )
    expected = {
        "backbone": "great",
        "full": "v",
        "in list": "True",
        "listed": "",
        "name": "a property that is called so",
        "other": "2",
        "pair": "1",
        "pair in list": "3.5",
        "plain": "p",
        "word": "w",
    }
    assert task.get_user_properties(value_only=True) == expected
    found = reopened(task)
    assert found.get_user_properties(value_only=True) == expected
    assert found.get_user_properties()["backbone"] == {
        **PROPERTY,
        "name": "backbone",
        "value": "great",
        "description": "network type",
    }
    assert found.set_user_properties(word="changed")
    assert found.get_parameter("properties/word") == "changed"
    assert found.delete_user_properties(
        ("properties", "pair"), [{"name": "plain"}, "other"], ("x", "not there")
    )
    assert set(found.get_user_properties()) == set(expected) - {"pair", "plain", "other"}


@pytest.mark.parametrize("wrong", [5, "text", [5], {"": 1}])
def test_property_of_another_shape_is_refused(task: Task, wrong: Any) -> None:
    """And nothing is set."""
    with pytest.raises(ValueError, match="a property"):
        task.set_user_properties({"good": 1}, wrong)
    assert task.get_user_properties() == {}


def test_first_type_and_description_stay(task: Task) -> None:
    """A value that is set again keeps them."""
    task.set_parameter("p", 1, description="first")
    task.set_parameter("p", "2", description="second")
    assert task._state.get("param/General/p") == {"value": "2", "type": "int", "description": "first"}
    assert task.get_parameters(cast=True) == {"General/p": 2}


@pytest.mark.parametrize(
    "value", [object(), {1, 2}, b"bytes", np.zeros(3), [object()], {"a": {"b": {1}}}, (1, [b""])]
)
def test_value_that_is_no_parameter_is_left_out_with_a_warning(
    task: Task, said: Callable[[], list[str]], value: Any
) -> None:
    """Also deep inside; the others are kept."""
    task.set_parameters({"good": 1, "bad": value, "good too": 2})
    assert task.get_parameters() == {"General/good": "1", "General/good too": "2"}
    (line,) = said()
    assert line == f"tracker: parameter 'bad' of type {type(value).__name__} was left out"
