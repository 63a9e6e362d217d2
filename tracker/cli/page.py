"""`tracker show`: one task in full."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

from tracker import index, pages
from tracker.cli import candidates, documents, history, render
from tracker.cli.command import Call, Command, find_task, warn_damaged
from tracker.cli.render import Cell, Column, Screen, escape, number, plural, size, when
from tracker.index import Metric
from tracker.pages import Item, Page, Script, Shown
from tracker.purged import day
from tracker.reader import Thing

HASH_SHORT = 12  # digits of a hash that are shown to people, who can fetch by them
_INDENT = 2


@click.command(
    "show",
    cls=Command,
    examples=[
        ("show 3f2a91", "a task by the beginning of its id"),
        ("show 3f2a91 --lines 100", "with more of its console"),
        ("show 3f2a91 --json", "all of it, for a program to read"),
    ],
)
@click.argument("id_", metavar="ID", shell_complete=candidates.tasks)
@click.option(
    "--lines",
    type=click.IntRange(min=0),
    default=10,
    metavar="N",
    help="Console lines to show: 10 by default.",
)
def show(call: Call, id_: str, lines: int) -> None:
    """Show one task: parameters, metrics, artifacts, models, code, console. ID: six or more of its first digits."""
    workspace = call.open()
    things = workspace.things()
    thing = things[find_task(workspace, id_)]
    page = page_of(thing, things)
    console = index.console(thing.state, lambda ref: workspace.read(thing, ref), lines)
    damaged: dict[str, str] = {}
    steps = history.steps(workspace, thing, damaged)
    if call.json:
        call.screen.document("show", {"task": documents.of_page(page, console, steps)})
    else:
        print_page(call.screen, page, alive=thing.alive)
        _print_console(call.screen, console)
        call.screen.line(("History", "bold"), f"  {plural(len(steps), 'commit')}")
    warn_damaged(workspace, damaged)


def page_of(thing: Thing, things: Mapping[str, Thing]) -> Page:
    """A task's page, its models looked up. Raises CorruptRecord."""
    return pages.page(thing.key, thing.state, lambda key: things[key].state if key in things else None)


def print_page(screen: Screen, page: Page, *, alive: bool = False) -> None:
    """Everything but console and history."""
    _print_header(screen, page, alive)
    _print_parameters(screen, page.row.params)
    _print_metrics(screen, page.row.metrics)
    _print_pairs(screen, "Single values", [(name, number(v)) for name, v in page.row.singles.items()])
    print_shown(screen, page.shown)
    print_items(screen, "Artifacts", page.artifacts)
    print_items(screen, "Output models", page.outputs)
    print_items(screen, "Input models", page.inputs)
    _print_code(screen, page.script)
    if page.packages:
        screen.line(("Packages", "bold"), f"  {len(page.packages)}")
    _print_pairs(screen, "Health", [(name, str(count)) for name, count in page.health.items()])


def _print_header(screen: Screen, page: Page, alive: bool) -> None:
    row = page.row
    screen.line(
        (escape(row.name), "bold"), "  ", (escape(row.status), render.STATUS_STYLES.get(row.status, ""))
    )
    ran = ""
    if page.started:
        end = page.completed or (0 if alive else row.updated)
        ran = f", ran {render.duration(end - page.started)}" if end else ", still running"
    facts = [
        ("id", row.id),
        ("project", row.project),
        ("type", row.type),
        ("created", f"{when(row.created)} ({render.age(row.created)} ago{ran})" if row.created else ""),
        ("by", f"{page.user}@{page.host}" if page.user or page.host else ""),
        ("tags", ", ".join(row.tags)),
        ("reason", page.status_reason),
        ("message", page.status_message),
        ("comment", "" if page.comment.startswith("Auto-generated at ") else page.comment),
    ]
    _print_rows(screen, [(name, text) for name, text in facts if text])


def _print_parameters(screen: Screen, params: Mapping[str, str]) -> None:
    _print_pairs(screen, "Parameters", list(params.items()))


def _print_metrics(screen: Screen, metrics: Mapping[str, Metric]) -> None:
    if not metrics:
        return
    screen.line(("Metrics", "bold"))
    columns = [Column("series", least=12), *(Column(n, right=True) for n in ("last", "min", "max", "points"))]
    rows: list[list[Cell]] = [
        [name, (number(each.last), "bold"), number(each.min), number(each.max), str(each.count)]
        for name, each in metrics.items()
    ]
    screen.table(columns, rows, _INDENT)


def print_items(screen: Screen, title: str, items: Sequence[Item]) -> None:
    """A section of artifacts or models."""
    if not items:
        return
    screen.line((title, "bold"))
    columns = [
        Column("name", least=12),
        Column("type", least=6, drop=2),
        Column("size", right=True),
        Column("hash", style="dim"),
        Column("file", least=8, drop=1),
    ]
    screen.table(columns, [_item(screen, each) for each in items], _INDENT)


def print_shown(screen: Screen, shown: Sequence[Shown]) -> None:
    """A section of plots, tables, images and media: the newest of each name."""
    if not shown:
        return
    screen.line(("Plots and samples", "bold"))
    columns = [
        Column("name", least=12),
        Column("kind"),
        Column("iteration", right=True),
        Column("count", right=True, drop=2),
        Column("size", right=True),
        Column("hash", style="dim"),
        Column("file", least=8, drop=1),
    ]
    screen.table(columns, [_shown(screen, each) for each in shown], _INDENT)


def _shown(screen: Screen, shown: Shown) -> list[str]:
    each = shown.newest
    cells = [each.name, each.kind, str(each.iteration), str(shown.count)]
    if each.ref is None:
        return [*cells, "-", "-", each.url]
    hash_ = each.ref.id[:HASH_SHORT] if screen.people else each.ref.id
    return [*cells, size(each.ref.size), hash_, each.own_name]


def _item(screen: Screen, item: Item) -> list[str]:
    if item.purged:
        return [item.name, item.type or "-", "-", "-", f"purged on {day(item.purged)}"]
    if not item.hash:
        return [item.name, item.type or "-", "-", "-", item.url or "not in this store"]
    shown = item.hash[:HASH_SHORT] if screen.people else item.hash
    name = f"{item.own_name}/" if item.kind == "tree" else item.file
    return [item.name, item.type or "-", size(item.size), shown, name]


def _print_code(screen: Screen, script: Script) -> None:
    facts = [
        ("repository", script.repository),
        ("branch", script.branch),
        ("commit", script.commit),
        ("changes", _changes(script)),
        ("left out", ", ".join(script.left_out)),
        (
            "script",
            " in ".join(part for part in (script.entry_point, script.working_dir) if part not in ("", ".")),
        ),
        ("python", script.binary),
    ]
    _print_pairs(screen, "Code", [(name, text) for name, text in facts if text])


def _changes(script: Script) -> str:
    """What was not committed, in words."""
    if not script.commit:
        text = script.patch or ""
        return (
            f"no commit; the script's text is kept, {plural(len(text.splitlines()), 'line')}" if text else ""
        )
    untracked = f", {plural(script.untracked, 'untracked file')}" if script.untracked else ""
    if script.patch_ref is not None:
        return f"uncommitted, {size(script.patch_ref.size)}: tracker cat {script.patch_ref.id[:HASH_SHORT]}{untracked}"
    if not script.patch:
        return f"none{untracked}"
    files, added, removed = pages.patch_size(script.patch)
    return f"uncommitted, {plural(files, 'file')}, +{added} -{removed} lines{untracked}"


def _print_console(screen: Screen, lines: Sequence[str]) -> None:
    if not lines:
        return
    screen.line(("Console", "bold"), f"  last {plural(len(lines), 'line')}")
    for line in lines:
        screen.line(" " * _INDENT + escape(line, "\t"))


def _print_pairs(screen: Screen, title: str, pairs: Sequence[tuple[str, str]]) -> None:
    if pairs:
        screen.line((title, "bold"))
        _print_rows(screen, pairs)


def _print_rows(screen: Screen, pairs: Sequence[tuple[str, str]]) -> None:
    """Names and texts, none of them cut: a value that is too long for the line goes on below."""
    width = min(32, max(len(escape(name)) for name, _ in pairs))
    for name, text in pairs:
        screen.line(" " * _INDENT, (escape(name).ljust(width), "dim"), "  ", escape(text))
