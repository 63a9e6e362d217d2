"""How numbers, times, texts and tables look."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.cli import render
from tracker.cli.render import Column, fit


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain – ünïcode 😀 👩\u200d🔬", "plain – ünïcode 😀 👩\u200d🔬"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("\x9b31m\x7f", "\\x9b31m\\x7f"),
        ("abc\u202etxt.exe", "abc\\u202etxt.exe"),
        ("\u2028\u200b\ufeff\ud800", "\\u2028\\u200b\\ufeff\\ud800"),
    ],
)
def test_what_a_terminal_would_obey_is_spelled_out(text: str, shown: str) -> None:
    """And nothing else is touched."""
    assert render.escape(text) == shown


@given(st.text())
def test_no_text_can_reach_the_terminal_unescaped(text: str) -> None:
    """Whatever is in it, one line comes out, and escaping it again changes nothing."""
    shown = render.escape(text)
    assert render.is_harmless(shown)
    assert len(shown.splitlines()) <= 1
    assert render.escape(shown) == shown


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 20, "5.0 MiB"), (1 << 50, "1024.0 TiB")],
)
def test_sizes_have_binary_units(count: int, shown: str) -> None:
    """KiB is 1024 bytes."""
    assert render.size(count) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-5, "0s"),
        (59, "59s"),
        (60, "1m"),
        (7199, "1h"),
        (86_400, "1d"),
        (13 * 86_400, "13d"),
        (15 * 86_400, "2w"),
        (800 * 86_400, "2y"),
    ],
)
def test_ages_have_one_unit(seconds: int, shown: str) -> None:
    """A time in the future, by another machine's clock, is no age below zero."""
    assert render.age(1_000_000_000, now=1_000 + seconds) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.25, "0.2s"), (59.9, "59.9s"), (61, "1m 1s"), (3_661, "1h 1m"), (90_000, "1d 1h")],
)
def test_durations_have_two_units(seconds: float, shown: str) -> None:
    """The two greatest."""
    assert render.duration(int(seconds * 1e6)) == shown


def test_times_are_iso_8601_in_utc_and_impossible_ones_are_none() -> None:
    """A record from outside may claim any number."""
    assert render.iso(1_500_000) == "1970-01-01T00:00:01.500000+00:00"
    assert render.iso(0) is None
    assert render.iso(2**62) is None
    assert render.when(2**62) == "?"


def test_a_document_names_its_schema_and_spells_what_json_has_no_word_for() -> None:
    """NaN, infinities, integers over 64 bits and lone surrogates."""
    content = {"a": [math.nan, math.inf, -math.inf, 1.5], "b": 2**70, "c": "\ud800", "d": ("x",)}
    assert json.loads(render.document("ls", content, indent=False)) == {
        "schema": "tracker.ls/1",
        "a": ["nan", "inf", "-inf", 1.5],
        "b": str(2**70),
        "c": "\\ud800",
        "d": ["x"],
    }


@given(st.dictionaries(st.text(), st.text()), st.booleans())
def test_a_document_is_harmless_to_a_terminal_and_loses_no_text(
    content: dict[str, str], indent: bool
) -> None:
    """What would be obeyed is spelled as JSON spells it, so it reads back as it was."""
    text = render.document("x", {"content": content}, indent=indent)
    assert render.is_harmless(text)
    expected = {
        k.encode("utf-8", "backslashreplace").decode(): v.encode("utf-8", "backslashreplace").decode()
        for k, v in content.items()
    }
    assert json.loads(text)["content"] == expected


def test_a_table_that_fits_is_not_cut() -> None:
    """Every column keeps its natural width."""
    columns = [Column("id"), Column("name", least=5), Column("tags", drop=1)]
    assert fit(columns, [8, 20, 10], 42) == [8, 20, 10]


def test_a_narrow_table_first_cuts_then_drops() -> None:
    """What may be cut is cut to its least width; then the columns that matter least go, last of them first."""
    columns = [Column("id"), Column("name", least=5), Column("loss", drop=1), Column("tags", drop=2)]
    assert fit(columns, [8, 20, 10, 10], 44) == [8, 10, 10, 10]
    assert fit(columns, [8, 20, 10, 10], 30) == [8, 8, 10, 0]
    assert fit(columns, [8, 20, 10, 10], 20) == [8, 10, 0, 0]
    assert fit(columns, [8, 20, 10, 10], 5) == [8, 5, 0, 0]
    assert fit([Column("name", least=30), Column("age")], [40, 3], 20) == [15, 3]


@given(
    st.lists(st.tuples(st.integers(0, 40), st.none() | st.integers(1, 20), st.integers(0, 3)), max_size=6),
    st.integers(1, 120),
)
def test_no_column_grows_and_a_table_is_only_too_wide_when_nothing_can_give(
    given_columns: list[tuple[int, int | None, int]], width: int
) -> None:
    """For all columns and widths."""
    columns = [Column("x", least=least, drop=drop) for _, least, drop in given_columns]
    natural = [wide for wide, _, _ in given_columns]
    widths = fit(columns, natural, width)
    assert all(0 <= now <= before for now, before in zip(widths, natural, strict=True))
    shown = [w for w in widths if w]
    if sum(shown) + 2 * max(0, len(shown) - 1) > width:
        for (wide, least, drop), now in zip(given_columns, widths, strict=True):
            assert now == 0 if drop else now == (wide if least is None else min(wide, least, 6))
