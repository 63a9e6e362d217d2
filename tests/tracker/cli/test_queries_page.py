"""docs/queries.md: its script is run, its commands print what it says, its assertions hold, its terms can be read."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tracker.filters import parse

if TYPE_CHECKING:
    from tests.commands import Cli


@pytest.fixture
def text(checkout: Path) -> str:
    """The page."""
    return (checkout / "docs/queries.md").read_text(encoding="utf-8")


def test_every_example_does_what_the_page_says(cli: Cli, text: str) -> None:
    """In the order of the page: the first script records the tasks that all others read."""
    assert cli("init").code == 0
    commands = 0
    for language, body in re.findall(r"(?ms)^```(\w+)\n(.*?)^```$", text):
        if language == "python":
            done = cli.python(body)
            assert done.code == 0, done.err
            continue
        for line, expected in re.findall(r"(?ms)^\$ tracker (.*?)\n(.*?)(?=^\$ |\Z)", body):
            done = cli(*shlex.split(line))
            assert done.out + done.err == expected, line
            commands += 1
    assert commands > 15


def test_every_term_of_the_table_can_be_read(text: str) -> None:
    """By the grammar; that none is a bare word shows that its operator was seen."""
    rows = re.findall(r"(?m)^\| (`[^|]*`) \|", text.partition("## ClearML")[0])
    terms = [term for row in rows for term in re.findall(r"`([^`]+)`", row)]
    assert len(terms) >= 30
    for term in terms:
        assert parse(term)
