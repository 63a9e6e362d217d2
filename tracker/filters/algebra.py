"""ClearML's tag algebra: a list of values and operators -> one term.

A list starts in a run that is implicit; each operator opens another run for the values after it. A run is a group, and
groups are joined by OR, or by AND where the list begins with an AND. `__$not` is for the next value alone. In an
implicit run `-x` and `__$not x` exclude, whatever else fits; in an explicit one `-x` is the name of a tag, and a
negated value is a member like any other. None also fits what has no value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from tracker.errors import BadValue
from tracker.filters.fields import Field
from tracker.filters.terms import Compare, Exists, Not, Term, some, together

_OPERATORS: Final = {
    "__$and": "and",
    "__$all": "and",
    "__$or": "or",
    "__$any": "or",
    "__$not": "not",
    "__$nop": "nop",
}


@dataclass(slots=True)
class _Run:
    """Values under one operator."""

    every: bool
    explicit: bool = True
    members: list[Term] = field(default_factory=list)


def combine(what: str, values: Iterable[Any], of: Field, has: Callable[[str], Term] | None = None) -> Term:
    """What a list asks of a field; an empty one asks nothing. has: what one value asks, where it is not equality.

    Raises BadValue for an unknown operator, one that has nothing to negate, and values that are no text.
    """
    listed = list(values)
    first = _operator(what, listed[0]) if listed else None
    every = first == "and"
    runs, excluded, negate = [_Run(every, explicit=False)], list[Term](), False
    for value in listed:
        operator = _operator(what, value)
        if operator is not None:
            if negate:
                raise BadValue(f"{what}: __$not is followed by {value}, but it negates a value")
            negate = operator == "not"
            if operator == "nop":
                runs.append(_Run(every, explicit=False))
            elif not negate:
                runs.append(_Run(operator == "and"))
            continue
        run = runs[-1]
        if not run.explicit and not negate and isinstance(value, str) and value.startswith("-"):
            value, negate = value[1:], True
        term = _one(what, value, of, has)
        if negate and not run.explicit:
            excluded.append(Not(term))
        else:
            run.members.append(Not(term) if negate else term)
        negate = False
    if negate:
        raise BadValue(f"{what}: __$not stands at the end, and there is nothing to negate")
    groups = [together(run.members) if run.every else some(run.members) for run in runs if run.members]
    if not groups:
        return together(excluded)
    return together([together(groups) if every else some(groups), *excluded])


def _operator(what: str, value: Any) -> str | None:
    if not isinstance(value, str) or not value.startswith("__$"):
        return None
    if value not in _OPERATORS:
        raise BadValue(
            f"{what}: there is no operator {value!r} (is a comma missing after it?): "
            f"there are {', '.join(_OPERATORS)}"
        )
    return _OPERATORS[value]


def _one(what: str, value: Any, of: Field, has: Callable[[str], Term] | None) -> Term:
    if value is None:
        return Not(Exists(of))
    if not isinstance(value, str):
        raise BadValue(f"{what} is {value!r}: a text or a list of texts is expected")
    text = str.__str__(value)  # of an enumeration's member its value
    return has(text) if has is not None else Compare(of, "=", text)
