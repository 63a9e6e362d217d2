"""What a query asks for: terms, the grammar of `tracker ls`, ClearML's `task_filter` and tag algebra. Pure.

It says what has to hold of a task; who finds the tasks of which it holds, and how, is `tracker.projection`'s affair.
"""

from __future__ import annotations

from tracker.filters.fields import Field
from tracker.filters.grammar import BadQuery, parse, parse_sort
from tracker.filters.terms import ALL, Compare, Exists, Holds, Match, Not, Order, Some, Term, Together

__all__ = [
    "ALL",
    "BadQuery",
    "Compare",
    "Exists",
    "Field",
    "Holds",
    "Match",
    "Not",
    "Order",
    "Some",
    "Term",
    "Together",
    "parse",
    "parse_sort",
]
