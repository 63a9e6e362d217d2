"""`tracker diff`: what differs between two tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import click

from tracker import pages
from tracker.cli import candidates, documents, render
from tracker.cli.command import Call, Command, find_task, warn_damaged
from tracker.cli.page import HASH_SHORT, page_of
from tracker.cli.render import Cell, Column, Screen, escape, number
from tracker.index import Metric, short_length
from tracker.pages import Difference, Item, Page, Pair

_T = TypeVar("_T")
_INDENT = 2
_DIFF_STYLES = {"+": "green", "-": "red", "@": "cyan"}


@click.command(
    "diff",
    cls=Command,
    examples=[
        ("diff 3f2a91 77c0de", "parameters, code, packages, metrics and artifacts that differ"),
        ("diff 3f2a91 77c0de --json", "the same for a program to read"),
    ],
)
@click.argument("left_id", metavar="ID", shell_complete=candidates.tasks)
@click.argument("right_id", metavar="ID", shell_complete=candidates.tasks)
def diff(call: Call, left_id: str, right_id: str) -> None:
    """Show what differs between two tasks; what is equal is left out. Artifacts and models are compared by hash."""
    workspace = call.open()
    things = workspace.things()
    left, right = (things[find_task(workspace, each)] for each in (left_id, right_id))
    both = page_of(left, things), page_of(right, things)
    found = pages.difference(
        *both, lambda ref: workspace.read(left, ref), lambda ref: workspace.read(right, ref)
    )
    if call.json:
        call.screen.document("diff", documents.of_difference(*both, found))
    else:
        print_difference(call.screen, *both, found)
    warn_damaged(workspace)


def print_difference(screen: Screen, left: Page, right: Page, found: Difference) -> None:
    """All sections that have something in them."""
    length = short_length([left.row.id, right.row.id])
    ids = [page.row.id[:length] if screen.people else page.row.id for page in (left, right)]
    for mark, style, name, page in (("-", "red", ids[0], left), ("+", "green", ids[1], right)):
        screen.line((f"{mark} {name}", style), f"  {escape(page.row.name)}  ({escape(page.row.project)})")
    if found.empty:
        screen.line("nothing that is compared differs")
    section = _Sections(screen)
    section.pairs("Task", found.fields, str)
    section.pairs("Parameters", found.params, str)
    section.tags(found.tags)
    section.metrics({**found.singles, **found.metrics})
    section.pairs("Artifacts", found.artifacts, section.item)
    section.pairs("Output models", found.models, section.item)
    section.pairs("Packages", found.packages, lambda version: version or "yes")
    section.pairs("Code", found.script, str)
    section.patch(found)


class _Sections:
    """Prints one section of a difference after another."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen

    def pairs(self, title: str, pairs: Mapping[str, Pair[_T]], shown: Callable[[_T], str]) -> None:
        """Name, left, right."""
        rows: list[list[Cell]] = [
            [name, *((("-", "dim") if item is None else shown(item)) for item in pair)]
            for name, pair in pairs.items()
        ]
        self._table(title, [Column("left", least=12, wrap=True), Column("right", least=12, wrap=True)], rows)

    def tags(self, tags: tuple[tuple[str, ...], tuple[str, ...]]) -> None:
        """Those that only one has."""
        if any(tags):
            self._title("Tags")
            marked = [*((f"- {tag}", "red") for tag in tags[0]), *((f"+ {tag}", "green") for tag in tags[1])]
            for text, style in marked:
                self._screen.line(" " * _INDENT, (escape(text), style))

    def metrics(self, pairs: Mapping[str, Pair[float] | Pair[Metric]]) -> None:
        """Name, last values, and by how much the right one is greater."""
        rows: list[list[Cell]] = []
        for name, pair in pairs.items():
            left, right = (each.last if isinstance(each, Metric) else each for each in pair)
            texts = ["-" if value is None else number(value) for value in (left, right)]
            change = "-" if left is None or right is None else f"{right - left:+.4g}"
            rows.append([name, *texts, change])
        columns = [Column(title, right=True) for title in ("left", "right", "change")]
        self._table("Values", columns, rows)

    def item(self, item: Item) -> str:
        """An artifact's or model's content, in short."""
        if not item.hash:
            return item.url or "not here"
        return f"{item.hash[:HASH_SHORT] if self._screen.people else item.hash} {render.size(item.size)}"

    def patch(self, found: Difference) -> None:
        """What the uncommitted changes, or the scripts' texts, do not share."""
        if found.patch_sizes:
            self._title("Uncommitted changes")
            sizes = " and ".join(map(render.size, found.patch_sizes))
            self._screen.line(
                f"  differ, and are too long to compare here: {sizes}; `tracker show --json` has them"
            )
        elif found.patch:
            self._title("Uncommitted changes")
            for line in found.patch.split("\n"):
                self._screen.line(" " * _INDENT, (escape(line, "\t"), _DIFF_STYLES.get(line[:1], "")))

    def _table(self, title: str, columns: list[Column], rows: list[list[Cell]]) -> None:
        if rows:
            self._title(title)
            self._screen.table([Column("name", least=16), *columns], rows, _INDENT)

    def _title(self, title: str) -> None:
        self._screen.line((title, "bold"))
