"""The answers: what SQL finds is what plain Python finds in the states, in the same order, whatever is asked."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.tracker.projection.conftest import fresh, put, state
from tracker.errors import BadValue
from tracker.filters import (
    BadQuery,
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
    parse,
)
from tracker.filters import fields as names
from tracker.filters.terms import ALL
from tracker.projection import Query
from tracker.records import State
from tracker.workspace import Workspace

WORDS = (
    "",
    "a",
    "A",
    "b/c",
    "b/c/d",
    "b/cd",
    "ß",
    "a'; DROP TABLE thing; --",
    "%_",
    "\x00x",
    "0.5",
    "-1e3",
    "nan",
)
NUMBERS: tuple[Any, ...] = (0.0, -1.0, 0.5, 0.5, 3.0, 1e300, "nan", "inf", "-inf")
NAMES = ("x", "x.min", "Args/x", "t/x", "t/x.min", "Summary/s", "s")
TEXTS = ("name", "project", "status", "type", "user", "comment", "script.branch", "id", "framework")
TIMES = ("created", "started", "completed", "updated", "status_changed")


def a_state(source: random.Random) -> State:
    """A task with some of everything, out of few values, so that many are equal."""

    def pick(chance: float = 0.6) -> str | None:
        return source.choice(WORDS) if source.random() < chance else None

    keys: dict[str, Any] = {
        **{name: pick() for name in ("name", "project", "status", "type", "user", "comment", "framework")},
        **{
            name: source.randint(0, 4)
            for name in ("created", "started", "completed")
            if source.random() < 0.7
        },
        "progress": source.choice((None, 0, 50, 100)),
        "script": {"branch": source.choice(WORDS)},
        **{f"tag/{word}": True for word in WORDS if word and source.random() < 0.3},
        **{f"system_tag/{word}": True for word in ("hidden", "archived") if source.random() < 0.2},
        **{f"param/{name}": {"value": source.choice(WORDS)} for name in NAMES if source.random() < 0.4},
        **{f"runtime/{name}": source.choice(WORDS) for name in NAMES[:2] if source.random() < 0.4},
        **{
            f"single/{name}": {"value": source.choice(NUMBERS)}
            for name in ("s", "x", "t/x")
            if source.random() < 0.4
        },
        **{f"model/output/{name}": {"name": name} for name in WORDS[1:3] if source.random() < 0.4},
        "deleted": True if source.random() < 0.1 else None,
    }
    metrics = {
        name: tuple(source.choice(NUMBERS) for _ in range(3))
        for name in (("t", "x"), ("t", "x.min"), ("x", ""), ("Summary", "s"))
        if source.random() < 0.5
    }
    return state(keys, metrics, stamp=source.randint(1, 9))


# --- the same in plain Python ----------------------------------------------------------------------------------------


def number(value: Any) -> float | None:
    """A number; None for NaN, and for a text that spells none."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return None if math.isnan(found) else found


def metrics_of(each: State, name: str) -> Iterator[Any]:
    """The values that a metric's name may mean, best first; None for NaN."""
    series = {f"{t}/{s}": v for seg in each.segments for c in seg.scalars for t, s, v in c["series"]}
    stem, _, part = name.rpartition(".")
    for whole, what in ((name, "last"), *([(stem, part)] if stem and part in names.PARTS else [])):
        if whole in series:
            yield number(series[whole][what])
        for single in (whole, *([whole[8:]] if whole.startswith("Summary/") else [])):
            value = each.get(f"single/{single}")
            if value is not None:
                yield 1.0 if what == "count" else number(value["value"])


def values_of(key: str, each: State, of: Field) -> list[Any]:
    """What a field of a task is: each value that it has. Of a parameter both its text and its number."""
    if of.section == "metrics":
        return list(metrics_of(each, of.name))
    if of.section in ("params", "?", "runtime"):
        found = list(metrics_of(each, of.name)) if of.section == "?" else []
        kept = each.get(f"runtime/{of.name}" if of.section == "runtime" else f"param/{of.name}")
        text = kept["value"] if isinstance(kept, dict) else kept
        return found if text is None else [*found, text]
    if of.name in ("tags", "system_tags"):
        return list(each.section("tag" if of.name == "tags" else "system_tag"))
    if of.name == "models":
        return [t for k, v in each.section("model/output").items() for t in (k, v["name"])]
    if of.name == "id":
        return [key]
    if of.name == "script.branch":
        return [each.get("script")["branch"]]
    if of.name == "iteration":
        return [3 if each.segments else 0]
    if of.name == "updated":
        return [each.updated]
    if of.name == "status_changed":
        return [each.keys["status"].stamp] if "status" in each.keys else []
    if of.name in TIMES or of.name == "progress":
        value = each.get(of.name)
        return [] if value is None or (value == 0 and of.name != "progress") else [value]
    return [each.get(of.name, "created" if of.name == "status" else "")]


def compares(value: Any, op: str, other: Any, of: Field) -> bool:
    """One value with another."""
    if of.section and isinstance(other, str) and not isinstance(value, str):
        return value is None and other == "nan"
    if of.section and isinstance(value, str) and not isinstance(other, str):
        value = number(value)
    if value is None:
        return False
    return bool(
        {"=": value == other}.get(op)
        if op == "="
        else {"<": lambda: value < other, "<=": lambda: value <= other, ">": lambda: value > other}.get(
            op, lambda: value >= other
        )()
    )


def holds(key: str, each: State, term: Term) -> bool:
    """Whether a term holds of a task."""
    if isinstance(term, Together):
        return all(holds(key, each, t) for t in term.terms)
    if isinstance(term, Some):
        return any(holds(key, each, t) for t in term.terms)
    if isinstance(term, Not):
        return not holds(key, each, term.term)
    values = values_of(key, each, term.field)
    if isinstance(term, Exists):
        return bool(values) and (bool(term.field.section) or values[0] != "")
    if isinstance(term, Compare):
        return any(compares(v, term.op, term.value, term.field) for v in values)
    texts = [v for v in values if isinstance(v, str)]
    if isinstance(term, Match):
        return any(re.search(term.pattern, t, re.IGNORECASE if term.ignore_case else 0) for t in texts)
    if term.how == "in":
        return any(term.text.casefold() in t.casefold() for t in texts)
    if term.how == "begins":
        return any(t.startswith(term.text) for t in texts)
    return any(t == term.text or t.startswith(f"{term.text}/") for t in texts)


def rank(key: str, each: State, order: Order) -> tuple[int, Any]:
    """(0 number, 1 text, 2 nothing; the value)."""
    for value in values_of(key, each, order.field):
        if order.field.section and isinstance(value, str):
            spelled = number(value)
            return (1, value.casefold()) if spelled is None else (0, spelled)
        if value is not None and value != "":
            return (1, value.casefold()) if isinstance(value, str) else (0, value)
    return 2, 0


def sorted_keys(states: dict[str, State], orders: list[Order]) -> list[str]:
    """Ids in order, by stable sorts from the key that counts least to the one that counts most."""
    keys = sorted(states, key=lambda key: (-states[key].updated, key))
    for order in reversed(orders):
        ranks = {key: rank(key, states[key], order) for key in keys}
        groups: list[list[str]] = [[key for key in keys if ranks[key][0] == n] for n in range(3)]
        for group in groups[:2]:
            group.sort(key=lambda key: ranks[key][1], reverse=order.down)
        keys = [key for group in groups for key in group]
    return keys


# --- what is asked ---------------------------------------------------------------------------------------------------

columns = st.sampled_from([Field("", name) for name in TEXTS])
lists = st.sampled_from([Field("", name) for name in ("tags", "system_tags", "models")])
times = st.sampled_from([Field("", name) for name in (*TIMES, "iteration", "progress")])
named = st.builds(
    Field, st.sampled_from(("params", "metrics", "runtime", "?")), st.sampled_from((*NAMES, "no"))
)
words = st.sampled_from((*WORDS, "hidden", "c"))
floats = st.sampled_from((0.0, 0.5, -1000.0, 3.0, 1e300, math.inf, -math.inf, 1.0, 4.0))
ops = st.sampled_from(("<", "<=", ">", ">=", "="))
patterns = st.sampled_from(("a", "^a$", "^b", "c$", "[ab]", "^$", ".", "(?i)A", "x\\b", "'"))
leaves = st.one_of(
    st.builds(Compare, st.one_of(columns, lists), st.just("="), words),
    st.builds(Compare, times, ops, st.integers(-1, 101)),
    st.builds(Compare, named, ops, floats),
    st.builds(Compare, named, st.just("="), words),
    st.builds(Match, st.one_of(columns, lists, named), patterns, st.booleans()),
    st.builds(Holds, st.one_of(columns, lists), words, st.just("in")),
    st.builds(Holds, columns, words, st.sampled_from(("begins", "below"))),
    st.builds(Exists, st.one_of(columns, lists, times, named)),
)
terms = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(Together, st.lists(inner, max_size=4).map(tuple)),
        st.builds(Some, st.lists(inner, max_size=3).map(tuple)),
    ),
    max_leaves=8,
)
orders = st.lists(st.builds(Order, st.one_of(columns, times, named), st.booleans()), max_size=3)


class Made(tuple[Workspace, dict[str, State]]):
    """A store, and the states in it by id."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Made(…)"  # all of it would be in each report of a failure


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A store of 60 tasks, and those that are not deleted."""
    source = random.Random(4)
    workspace = fresh(tmp_path_factory.mktemp("answers"))
    states = [a_state(source) for _ in range(60)]
    found = dict(zip(put(workspace.store, states), states, strict=True))
    return Made((workspace, {key: each for key, each in found.items() if not each.get("deleted")}))


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(terms, orders, st.integers(0, 5), st.one_of(st.none(), st.integers(0, 70)))
@example(
    term=Compare(Field("", "models", None), "=", ""), by=[], offset=0, limit=None
)  # a task without models
def test_sql_answers_as_plain_python_does(
    made: Made,
    term: Term,
    by: list[Order],
    offset: int,
    limit: int | None,
) -> None:
    """The same tasks in the same order, the same page, and the same number in all."""
    workspace, states = made
    fitting = {key: each for key, each in states.items() if holds(key, each, term)}
    expected = sorted_keys(fitting, by)
    found = workspace.projection.find(Query(term, by, offset, limit))
    assert [row.id for row in found.rows] == expected[offset : None if limit is None else offset + limit]
    assert found.total == len(expected)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(terms, orders, st.integers(0, 70), st.sets(st.integers(0, 40), max_size=20))
def test_what_lies_over_the_tables_is_asked_alike(
    made: Made, term: Term, by: list[Order], limit: int, over: set[int]
) -> None:
    """Tasks that journals have changed stand in tables of their own; two answers are united into one."""
    from tracker.projection import rows, schema
    from tracker.projection.facts import facts

    workspace, states = made
    keys = sorted(states)
    others = {keys[i]: states[keys[(i + 7) % len(keys)]] for i in over}  # as somebody else's states
    asked = workspace.projection
    second = schema.connect(None)
    writer = rows.Writer(second, empty=True)
    for key, each in others.items():
        writer.put(key, facts(key, each))
    writer.flush()
    main = asked._refreshed()
    asked._current = lambda: ([main, second], list(others))  # type: ignore[method-assign]  # journals of any shape
    try:
        found = asked.find(Query(term, by, limit=limit))
    finally:
        del asked._current
    united = {**states, **others}
    fitting = {key: each for key, each in united.items() if holds(key, each, term)}
    assert [row.id for row in found.rows] == sorted_keys(fitting, by)[:limit]
    assert found.total == len(fitting)


def test_a_row_out_of_the_tables_is_the_row_of_the_state(made: Made) -> None:
    """NaN and infinities, empty texts and all."""
    from tracker import index

    workspace, states = made
    for found in workspace.projection.find(Query()).rows:
        assert repr(found) == repr(index.row(found.id, states[found.id]))


def test_a_name_that_nothing_has_is_an_error_with_near_names(
    made: Made,
) -> None:
    """Of parameters, metrics and bare names; one that nobody typed, or a tag, just fits nothing."""
    workspace, _ = made
    for text, message in (
        ("params.Args/y<1", "no task has a parameter 'Args/y': did you mean Args/x"),
        ("a or -metrics.t/xx:*", "no task has a metric 't/xx': did you mean t/x"),
        ("nam:x", "no task has a value named 'nam': did you mean name"),
        ("runtime.zzz:1", "no task has a runtime property 'zzz': there are x"),
    ):
        with pytest.raises(BadQuery) as caught:
            workspace.projection.find(Query(parse(text), text=text))
        lines = str(caught.value).splitlines()
        assert message in lines[0]
        assert lines[2].strip("^ ") == ""
        start, end = caught.value.at
        assert text[start:end] in ("params.Args/y", "metrics.t/xx", "nam", "runtime.zzz")
    assert workspace.projection.find(Query(parse("tags:nothing"))).total == 0
    with pytest.raises(BadValue, match="tags cannot be sorted by"):
        workspace.projection.find(Query(ALL, [Order(Field("", "tags"))]))


def test_an_empty_store_knows_no_wrong_names(workspace: Workspace) -> None:
    """A script may ask before anything has run."""
    assert (
        workspace.projection.find(Query(parse("metrics.val/acc>0.9"), text="metrics.val/acc>0.9")).total == 0
    )
