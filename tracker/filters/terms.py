"""The terms that a query is made of. A term holds of a task or it does not: there is no third answer, so that `Not`
means what it says.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from tracker.filters.fields import Field

Value = str | float


@dataclass(frozen=True, slots=True)
class Together:
    """All of these hold; of none, always."""

    terms: tuple[Term, ...] = ()


@dataclass(frozen=True, slots=True)
class Some:
    """At least one of these holds; of none, never."""

    terms: tuple[Term, ...] = ()


@dataclass(frozen=True, slots=True)
class Not:
    """This does not hold."""

    term: Term


@dataclass(frozen=True, slots=True)
class Compare:
    """A field has a value that is so to another. op: = < <= > >=.

    Numbers and times (microseconds since the epoch) compare as such, texts as equal or not; of tags any may be meant.
    What a task lacks, and NaN, compares with nothing.
    """

    field: Field
    op: str
    value: Value


@dataclass(frozen=True, slots=True)
class Match:
    """A regular expression is found in a field's text; of tags, in any."""

    field: Field
    pattern: str
    ignore_case: bool = False


@dataclass(frozen=True, slots=True)
class Holds:
    """A text is in a field's text, whatever the case; of tags, in any. how: "in", "begins" (case counts), or "below"
    (a project, or one inside it).
    """

    field: Field
    text: str
    how: str = "in"


@dataclass(frozen=True, slots=True)
class Exists:
    """A task has such a field, be its value empty or NaN; for what every task has: one that is not empty."""

    field: Field


Term = Together | Some | Not | Compare | Match | Holds | Exists

ALL: Final = Together()


@dataclass(frozen=True, slots=True)
class Order:
    """A key to sort by. Numbers come before texts and what has no value last, be it down or up."""

    field: Field
    down: bool = False


def together(terms: Iterable[Term]) -> Term:
    """All of these, flat."""
    found: list[Term] = []
    for term in terms:
        found += term.terms if isinstance(term, Together) else [term]
    return found[0] if len(found) == 1 else Together(tuple(found))


def some(terms: Iterable[Term]) -> Term:
    """Any of these."""
    found = tuple(terms)
    return found[0] if len(found) == 1 else Some(found)
