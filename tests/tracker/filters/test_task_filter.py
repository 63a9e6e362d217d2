"""Every key of ClearML's task_filter: what it asks for, and what is refused."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from tracker.errors import BadValue
from tracker.filters import (
    Compare,
    Exists,
    Field,
    Holds,
    Match,
    Not,
    Order,
    Some,
    Term,
    Together,
    task_filter,
)

Y2024 = 1_704_067_200_000_000
DAY = 86_400_000_000
METRICS = ("val/acc", "a/b/c", "Summary/f1")
MD5 = "3a6d0284e743dc4a9b86f97d6dd1a3bf.1673448ee7064c989d02579c534f6b66"  # of val and acc


def is_(name: str, value: str | float, op: str = "=", section: str = "") -> Compare:
    """A comparison."""
    return Compare(Field(section, name), op, value)


def any_case(pattern: str, *names: str) -> tuple[Match, ...]:
    """An expression in each of these fields, whatever the case."""
    return tuple(Match(Field("", name), pattern, ignore_case=True) for name in names)


RULES: list[tuple[dict[str, Any], Term]] = [
    ({}, Together()),
    ({"status": None, "tags": []}, Together()),
    ({"id": ["a", "b"]}, Some((is_("id", "a"), is_("id", "b")))),
    ({"parent": "x"}, is_("parent", "x")),
    ({"status": ["completed", "published"]}, Some((is_("status", "completed"), is_("status", "published")))),
    ({"status": ["-completed"]}, Not(is_("status", "completed"))),
    ({"type": ["training"]}, is_("type", "training")),
    ({"user": ["u"]}, is_("user", "u")),
    ({"tags": ["__$and", "a", "b"]}, Together((is_("tags", "a"), is_("tags", "b")))),
    ({"system_tags": ["-archived"]}, Not(is_("system_tags", "archived"))),
    ({"project": ["p"]}, is_("project", "p")),
    ({"project": ["p"], "include_subprojects": True}, Holds(Field("", "project"), "p", "below")),
    ({"parent": [None]}, Not(Exists(Field("", "parent")))),
    ({"name": "^x"}, Match(Field("", "name"), "^x")),
    ({"comment": "x.y"}, Match(Field("", "comment"), "x.y")),
    ({"search_text": "x|y"}, Some(any_case("x|y", *task_filter.SEARCHED))),
    ({"_any_": {"fields": ["name", "comment"], "pattern": "x"}}, Some(any_case("x", "name", "comment"))),
    ({"_or_": {"fields": ["name", "id"], "pattern": "x"}}, Some(any_case("x", "name", "id"))),
    ({"_all_": {"fields": ["name", "comment"], "pattern": "x"}}, Together(any_case("x", "name", "comment"))),
    ({"_and_": {"fields": ["name", "comment"], "pattern": "x"}}, Together(any_case("x", "name", "comment"))),
    (
        {"_any_": {"fields": ["created", "started"], "datetime": ">=2024-01-01"}},
        Some((is_("created", Y2024, ">="), is_("started", Y2024, ">="))),
    ),
    ({"last_iteration": [3, 7]}, Together((is_("iteration", 3.0, ">="), is_("iteration", 7.0, "<=")))),
    ({"last_iteration": [None, 7]}, is_("iteration", 7.0, "<=")),
    ({"last_iteration": 7}, is_("iteration", 7.0)),
    ({"created": ["2024-01-01", None]}, is_("created", Y2024, ">=")),
    ({"started": [datetime(2024, 1, 1, tzinfo=timezone.utc), None]}, is_("started", Y2024, ">=")),
    ({"last_update": ">=2024-01-01"}, is_("updated", Y2024, ">=")),
    (
        {"status_changed": [">=2024-01-01", "<2024-01-02"]},
        Together((is_("status_changed", Y2024, ">="), is_("status_changed", Y2024 + DAY, "<"))),
    ),
    ({"created": "2024-01-01"}, Together((is_("created", Y2024, ">="), is_("created", Y2024 + DAY, "<")))),
    ({"last_metrics.val.acc.value": [0.9, None]}, is_("val/acc.last", 0.9, ">=", "metrics")),
    ({"last_metrics.val.acc.max_value": [0.9, None]}, is_("val/acc.max", 0.9, ">=", "metrics")),
    ({f"last_metrics.{MD5}.min_value": [0.9, None]}, is_("val/acc.min", 0.9, ">=", "metrics")),
    ({"last_metrics.a/b.c.value": [1, None]}, is_("a/b/c.last", 1.0, ">=", "metrics")),
    ({"last_metrics.Summary.f1.value": [1, None]}, is_("Summary/f1.last", 1.0, ">=", "metrics")),
    ({"last_metrics.new.one.value": [1, None]}, is_("new/one.last", 1.0, ">=", "metrics")),
    ({"runtime.gpu": ["A100"]}, is_("gpu", "A100", section="runtime")),
    (
        {"runtime.progress": [10, 20]},
        Together((is_("progress", 10.0, ">=", "runtime"), is_("progress", 20.0, "<=", "runtime"))),
    ),
    ({"hyperparams.Args.lr": "0.1"}, is_("Args/lr", "0.1", section="params")),
    ({"hyperparams.Args.lr.value": [">0.1"]}, is_("Args/lr", 0.1, ">", "params")),
    (
        {"status": ["failed"], "name": "x", "order_by": ["-created"], "only_fields": ["id"]},
        Together((is_("status", "failed"), Match(Field("", "name"), "x"))),
    ),
]


@pytest.mark.parametrize(("rules", "expected"), RULES, ids=lambda value: str(value)[:60])
def test_each_key(rules: dict[str, Any], expected: Term) -> None:
    """And none changes the dict that it stands in."""
    before = {k: list(v) if isinstance(v, list) else v for k, v in rules.items()}
    assert task_filter.parse(rules, lambda: METRICS).term == expected
    assert rules == before


def test_order_and_pages() -> None:
    """Fields by ClearML's names; a page counts from 0 and has 500 tasks where nothing else is said."""
    asked = task_filter.parse(
        {
            "order_by": ["-last_update", "last_metrics.val.acc.max_value", "hyperparams.Args.lr"],
            "page": 2,
            "page_size": 10,
            "search_hidden": True,
        },
        lambda: METRICS,
    )
    assert asked.order == (
        Order(Field("", "updated"), down=True),
        Order(Field("metrics", "val/acc.max")),
        Order(Field("params", "Args/lr")),
    )
    assert (asked.page, asked.page_size, asked.search_hidden) == (2, 10, True)
    assert task_filter.parse({"page": 1}).page_size == 500
    assert task_filter.parse({}).page_size is None
    assert task_filter.parse({"order_by": "name"}).order == (Order(Field("", "name")),)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (5, "task_filter is a dict, not int"),
        ({"sttus": []}, "task_filter has sttus.*did you mean status"),
        ({"status": ["__$nor"]}, "task_filter's status: there is no operator"),
        ({"name": "("}, "is not a regular expression"),
        ({"search_text": 5}, "a text is expected"),
        ({"created": "soon"}, "'soon' is no date"),
        ({"created": [1, 2, 3]}, "least, most"),
        ({"last_iteration": ["a", "b"]}, "task_filter's last_iteration"),
        ({"_any_": {"fields": ["name"]}}, "pattern"),
        ({"_any_": "x"}, "pattern"),
        ({"_any_": {"fields": ["nme"], "pattern": "x"}}, "names 'nme': did you mean name"),
        ({"order_by": ["-upd"]}, "names 'upd': did you mean last_update, updated"),
        ({"page": -1}, "page is -1"),
        ({"page_size": 0}, "page_size is 0"),
        ({"page_size": True}, "page_size is True"),
        ({"search_hidden": "yes"}, "search_hidden is 'yes'"),
        ({"tags": [5]}, "a text or a list of texts"),
    ],
)
def test_what_makes_no_sense_is_refused(rules: Any, message: str) -> None:
    """With what was expected."""
    with pytest.raises(BadValue, match=message):
        task_filter.parse(rules)
