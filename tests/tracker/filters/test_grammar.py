"""The grammar: what each form asks for, and what is said, with which place, of what cannot be understood."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tracker.filters import (
    ALL,
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
    dates,
    parse,
    parse_sort,
)


def field(name: str, section: str = "") -> Field:
    """A field, wherever it stood."""
    return Field(section, name)


def is_(name: str, value: str | float, op: str = "=", section: str = "") -> Compare:
    """A comparison."""
    return Compare(Field(section, name), op, value)


def word(text: str) -> Some:
    """What a bare word asks for."""
    places = tuple(Holds(field(name), text) for name in ("name", "project", "tags"))
    return Some((*places, Holds(field("id"), text, "begins")))


LR = is_("Args/lr", 0.1, "<", "params")

FORMS: dict[str, Term] = {
    "": ALL,
    "   ": ALL,
    "resnet": word("resnet"),
    '"two words"': word("two words"),
    "tags:prod": is_("tags", "prod"),
    "tag:prod": is_("tags", "prod"),
    "-tags:old": Not(is_("tags", "old")),
    "!tags:old": Not(is_("tags", "old")),
    "not tags:old": Not(is_("tags", "old")),
    "--tags:old": Not(Not(is_("tags", "old"))),
    "tags:a,b": Some((is_("tags", "a"), is_("tags", "b"))),
    'tags:"a,b"': is_("tags", "a,b"),
    "tags!=old": Not(is_("tags", "old")),
    "tags:*": Exists(field("tags")),
    'tags:"*"': is_("tags", "*"),
    "status:completed,failed": Some((is_("status", "completed"), is_("status", "failed"))),
    "name:net": Holds(field("name"), "net"),
    "name=net": is_("name", "net"),
    "name==net": is_("name", "net"),
    "name:~^res.*t$": Match(field("name"), "^res.*t$"),
    "name~^res": Match(field("name"), "^res"),
    "name!~^res": Not(Match(field("name"), "^res")),
    "name:~(a|b)c d": Together((Match(field("name"), "(a|b)c"), word("d"))),
    r'name:~"a \"b\" \d"': Match(field("name"), r'a "b" \d'),
    "project:a/b": Holds(field("project"), "a/b", "below"),
    "project=a/b": is_("project", "a/b"),
    "id:3f2a": Holds(field("id"), "3f2a", "begins"),
    "params.Args/lr<0.1": LR,
    "hyperparams.Args/lr<0.1": LR,
    "params.Args/lr < 0.1": LR,
    "params.Args/lr:<0.1": LR,
    "params.Args/lr:*": Exists(field("Args/lr", "params")),
    "params.Args/lr:1e-1": Some(
        (is_("Args/lr", 0.1, section="params"), is_("Args/lr", "1e-1", section="params"))
    ),
    "params.Args/model:resnet": is_("Args/model", "resnet", section="params"),
    'params."Args/my lr"<0.1': is_("Args/my lr", 0.1, "<", "params"),
    "metrics.val/acc>0.9": is_("val/acc", 0.9, ">", "metrics"),
    "metrics.val/acc.max>=inf": is_("val/acc.max", float("inf"), ">=", "metrics"),
    "metrics.val/acc:nan": is_("val/acc", "nan", section="metrics"),
    'metrics.":monitor:gpu/x">5': is_(":monitor:gpu/x", 5.0, ">", "metrics"),
    "runtime.gpu:A100": is_("gpu", "A100", section="runtime"),
    "val/acc>0.9": is_("val/acc", 0.9, ">", "?"),
    "iteration>=10": is_("iteration", 10.0, ">="),
    "created>2024-01-01": is_("created", 1_704_067_200_000_000, ">"),
    "created:2024-01-01": Together(
        (is_("created", 1_704_067_200_000_000, ">="), is_("created", 1_704_153_600_000_000, "<"))
    ),
    "a b": Together((word("a"), word("b"))),
    "a and b": Together((word("a"), word("b"))),
    "a or b c": Some((word("a"), Together((word("b"), word("c"))))),
    "(a or b) c": Together((Some((word("a"), word("b"))), word("c"))),
    "-(a b)": Not(Together((word("a"), word("b")))),
    "order nota": Together((word("order"), word("nota"))),
}


@pytest.mark.parametrize(("text", "expected"), FORMS.items(), ids=lambda value: str(value)[:40])
def test_each_form_means_what_it_says(text: str, expected: Term) -> None:
    """Docs/queries.md has them for people."""
    assert parse(text) == expected


ERRORS = {
    "(a": ("this group is not closed", "^"),
    "a)": ("there is no group to close", " ^"),
    "()": ("this group is empty", "^^"),
    "a or": ("both sides of `or`", "    ^"),
    "or a": ("both sides of `or`", "    ^"),
    "-": ("something has to follow", " ^"),
    "a not": ("something has to follow", "     ^"),
    "tags:": ("a value is expected", "     ^"),
    "tags:a,": ("a value is expected", "       ^"),
    ":a": ("a field is expected", "^"),
    'x "abc': ("this quote is not closed", "  ^"),
    "name<3": ("name is text", "^^^^"),
    "iteration:x": ("'x' is no number", "          ^"),
    "b params.Args/lr<fast": ("'fast' is no number", "                 ^^^^"),
    "params.Args/lr>nan": ("'nan' is no number", "               ^^^"),
    "created>soon": ("'soon' is no date", "        ^^^^"),
    "created>2024-13-01": ("is no date", "        ^^^^^^^^^^"),
    "name:~(": ("is not a regular expression", "      ^"),
    "metrics.a/b:~x": ("no expression matches it", "^^^^^^^^^^^"),
}


@pytest.mark.parametrize(("text", "expected"), ERRORS.items())
def test_an_error_shows_the_place(text: str, expected: tuple[str, str]) -> None:
    """On a line of its own, below the query."""
    with pytest.raises(BadQuery) as caught:
        parse(text)
    problem, shown, carets = str(caught.value).splitlines()
    assert expected[0] in problem
    assert (shown, carets) == (f"  {text}", f"  {expected[1]}")


def test_queries_have_limits() -> None:
    """Of length, of depth and of parts: SQLite and Python have their own, which speak less clearly."""
    for text in ("a" * 20_001, "(" * 60 + "a" + ")" * 60, "-" * 60 + "a", "a " * 501, f"name:~{'a' * 2_001}"):
        with pytest.raises(BadQuery, match="at most"):
            parse(text)
    assert parse("(" * 50 + "a" + ")" * 50) == word("a")
    assert parse("a " * 500)


@given(st.text(alphabet="ab:=<>!~()-\"'\\,.* \n1/orndt", max_size=60))
@example("a" * 100)
def test_any_text_is_a_query_or_an_error_with_a_place(text: str) -> None:
    """Never another exception; the place lies in the query, or just behind it."""
    try:
        parse(text)
    except BadQuery as error:
        start, end = error.at
        assert 0 <= start < end <= len(text) + 1


@given(st.text(min_size=1, max_size=30))
def test_what_stands_in_quotes_is_one_word(text: str) -> None:
    """Whatever is in it."""
    quoted = re.sub(r'(["\\])', r"\\\1", text)
    assert parse(f'"{quoted}"') == word(text)
    assert parse(f'name="{quoted}"') == is_("name", text)
    assert parse(f'params."{quoted}">1') == is_(text, 1.0, ">", "params")


@pytest.mark.parametrize(
    ("text", "expected"),
    {
        "name": Order(field("name")),
        "-val/acc": Order(field("val/acc", "?"), down=True),
        "-metrics.val/acc.max": Order(field("val/acc.max", "metrics"), down=True),
        "last_update": Order(field("updated")),
    }.items(),
)
def test_sort_keys(text: str, expected: Order) -> None:
    """A dash in front: greatest first."""
    assert parse_sort(text) == expected


DAY = 86_400_000_000


@pytest.mark.parametrize(
    ("text", "expected"),
    {
        "2024": (1_704_067_200_000_000, 1_735_689_600_000_000),
        "2024-12": (1_733_011_200_000_000, 1_735_689_600_000_000),
        "2024-1-1": (1_704_067_200_000_000, 1_704_153_600_000_000),
        "2024-01-01T01:00": (1_704_070_800_000_000, 1_704_070_860_000_000),
        "2024-01-01T01:00+01:00": (1_704_067_200_000_000, 1_704_067_260_000_000),
        "2024-01-01T00:00:01Z": (1_704_067_201_000_000, 1_704_067_202_000_000),
        "2024-01-01 00:00:01.5": (1_704_067_201_500_000, 1_704_067_201_500_001),
        "today": (0, DAY),
        "yesterday": (-DAY, 0),
        "-1d": (3_600_000_000 - DAY, 3_600_000_000 - DAY + 1),
        "-30m": (1_800_000_000, 1_800_000_001),
        "now": (3_600_000_000, 3_600_000_001),
    }.items(),
)
def test_dates(text: str, expected: tuple[int, int]) -> None:
    """As spans of time in UTC; relative ones from one o'clock of the first day of 1970 here."""
    assert dates.parse(text, now=3600.0) == expected


@pytest.mark.parametrize(
    "text", ["", "soon", "2024-02-30", "24", "2024-01-01T25:00", "-5x", "0000", "9999-12-31"]
)
def test_no_dates(text: str) -> None:
    """What is no date, and the last days that Python cannot count beyond."""
    with pytest.raises(ValueError, match="is no date"):
        dates.parse(text)
