"""ClearML's tag algebra, example by example, against the sets of tags that each has to fit."""

from __future__ import annotations

from itertools import chain, combinations
from typing import Any

import pytest

from tracker.errors import BadValue
from tracker.filters import Compare, Exists, Field, Not, Some, Term, Together
from tracker.filters.algebra import combine

TAGS = Field("", "tags")


def holds(term: Term, tags: set[str]) -> bool:
    """Whether a term holds of these tags."""
    if isinstance(term, Together):
        return all(holds(each, tags) for each in term.terms)
    if isinstance(term, Some):
        return any(holds(each, tags) for each in term.terms)
    if isinstance(term, Not):
        return not holds(term.term, tags)
    if isinstance(term, Exists):
        return bool(tags)
    assert isinstance(term, Compare)
    return term.value in tags


# The list; what it means, as Python over the tags' names.
EXAMPLES: list[tuple[list[Any], str]] = [
    # the page
    (["a", "b", "c"], "a or b or c"),
    (["__$and", "a", "b", "c"], "a and b and c"),
    (["__$not", "a", "b", "__$not", "c"], "not a and b and not c"),
    (["-a", "b", "-c"], "not a and b and not c"),
    (["a", "b", "__$and", "c", "d"], "a or b or (c and d)"),
    (["__$and", "__$or", "a", "b", "__$and", "c", "d"], "(a or b) and c and d"),
    (["a", "-b"], "a and not b"),
    # the docstring
    (
        ["__$all", "a", "b", "c", "__$or", "d", "__$not", "e", "__$and", "__$or", "f", "g"],
        "a and b and c and (d or not e) and (f or g)",
    ),
    # what follows
    ([], "True"),
    (["__$and"], "True"),
    (["__$or", "a", "b"], "a or b"),
    (["__$any", "a", "b"], "a or b"),
    (["-a"], "not a"),
    (["-a", "-b"], "not a and not b"),
    (["__$not", "a"], "not a"),
    (["-a", "__$and", "c", "d"], "not a and c and d"),
    (["-a", "b", "__$and", "c", "d"], "not a and (b or (c and d))"),
    (["a", "__$or", "-b"], "a or dash_b"),
    (["__$and", "a", "-b"], "a and dash_b"),
    (["__$not", "-b"], "not dash_b"),
    (["__$and", "a", "__$not", "b"], "a and not b"),
    (["__$or", "a", "__$not", "b"], "a or not b"),
    (["__$and", "a", "__$nop", "-b", "c"], "a and c and not b"),
    (["a", "__$and", "b", "c", "__$nop", "d", "-e"], "(a or (b and c) or d) and not e"),
    ([None], "not any_"),
    (["a", None], "a or not any_"),
    (["__$not", None], "any_"),
    (["__$and", "a", "__$or", None], "a and not any_"),
]


@pytest.mark.parametrize(("values", "meaning"), EXAMPLES, ids=lambda value: str(value))
def test_each_example_fits_the_tags_that_it_should(values: list[Any], meaning: str) -> None:
    """All sets of the tags that occur, and of one that begins with a dash."""
    term = combine("tags", values, TAGS)
    names = ["a", "b", "c", "d", "e", "f", "g", "-b"]
    every = chain.from_iterable(combinations(names, n) for n in range(len(names) + 1))
    for tags in map(set, every):
        known = {name: name in tags for name in names[:-1]} | {"dash_b": "-b" in tags, "any_": bool(tags)}
        assert holds(term, tags) is eval(meaning, {}, known), tags


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["__$not", "a", "b", "__$notc"], "no operator '__\\$notc' .is a comma missing"),
        (["__$xor", "a"], "no operator"),
        (["a", "__$not"], "nothing to negate"),
        (["__$not", "__$and", "a"], "__\\$not is followed by __\\$and"),
        (["__$not", "__$not", "a"], "__\\$not is followed by"),
        (["a", 5], "a text or a list of texts"),
    ],
)
def test_what_means_nothing_is_an_error(values: list[Any], message: str) -> None:
    """Rather than a guess."""
    with pytest.raises(BadValue, match=message):
        combine("tags", values, TAGS)


def test_the_list_is_left_as_it_was() -> None:
    """It may be used again."""
    values = ["-a", "b"]
    combine("tags", values, TAGS)
    assert values == ["-a", "b"]
