"""`tracker ls`: the table of tasks."""

from __future__ import annotations

from collections.abc import Sequence

import click

from tracker import index
from tracker.cli import documents, render
from tracker.cli.command import Call, Command, warn_damaged
from tracker.cli.render import Cell, Column, Screen
from tracker.index import Row

_VALUES_MOST = 4  # columns of metrics besides the one that is sorted by
_STATUSES = ("created", "queued", "in_progress", "stopped", "failed", "completed", "published", "closed")


@click.command(
    "ls",
    cls=Command,
    examples=[
        ("ls", "all tasks, last changed first"),
        ("ls --sort -accuracy/test --limit 10", "the ten best by the last value of a metric"),
        ("ls resnet --project vision --status failed", "failed runs with resnet in name, project or tag"),
        ("ls --tag baseline --tag -old", "tagged baseline, and not old"),
        ("ls --json --sort -val_f1 --limit 1", "the best one for a program to read"),
    ],
)
@click.argument("words", nargs=-1, metavar="[WORD]...")
@click.option("--project", metavar="NAME", help="Only this project and those below it.")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="Only with this tag; -TAG: without it.")
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(_STATUSES),
    metavar="STATUS",
    help="Only in this state.",
)
@click.option(
    "--sort",
    "key",
    metavar="[-]KEY",
    default="-updated",
    help="By a metric (title/series), a single value, a parameter (Section/name), or one of "
    f"{', '.join(index.FIELDS)}; - in front: greatest first. Default: -updated.",
)
@click.option("--limit", type=click.IntRange(min=0), metavar="N", help="The first N only.")
def ls(
    call: Call,
    words: Sequence[str],
    project: str | None,
    tags: Sequence[str],
    statuses: Sequence[str],
    key: str,
    limit: int | None,
) -> None:
    """List tasks. Each WORD has to be in a task's name, project or a tag, or begin its id."""
    workspace = call.open()
    rows, damaged = index.rows({k: thing.state for k, thing in workspace.tasks().items()})
    fitting = index.sort(index.find(rows, words=words, project=project, tags=tags, statuses=statuses), key)
    shown = fitting if limit is None else fitting[:limit]
    if call.json:
        call.screen.document("ls", {"tasks": list(map(documents.of_row, shown)), "total": len(fitting)})
    elif shown:
        print_table(call.screen, shown, key, index.short_length(row.id for row in rows))
    if not fitting:
        some = "fits" if rows else f"is in {workspace.root}: run a script that calls Task.init"
        render.say(f"no task {some}" if not rows else f"none of {render.plural(len(rows), 'task')} {some}")
    elif len(shown) < len(fitting):
        render.say(f"{len(shown)} of {render.plural(len(fitting), 'task')}")
    warn_damaged(workspace, damaged)


def print_table(screen: Screen, rows: Sequence[Row], key: str, length: int) -> None:
    """The table: the sort key's column first among the values, then those that the tasks share."""
    down, name = key.startswith("-"), key.removeprefix("-")
    values = [] if name in index.FIELDS else [name]
    values += [each for each in index.shared_values(rows, _VALUES_MOST + 1) if each != name][:_VALUES_MOST]
    columns = [
        Column("id", style="dim"),
        Column("name", least=24),
        Column("project", least=12, drop=1, style="dim"),
        Column("status", least=9),
        *(_value_column(each, number, name, down) for number, each in enumerate(values)),
        Column("age", right=True, style="dim"),
    ]
    if any(row.tags for row in rows):
        columns.append(Column("tags", least=8, drop=20, style="dim"))
    screen.table(columns, [_cells(screen, row, values, length, len(columns)) for row in rows])


def _value_column(title: str, number: int, key: str, down: bool) -> Column:
    if title == key:
        return Column(f"{'↓' if down else '↑'} {title}", right=True, style="bold", least=24)
    return Column(title, right=True, least=24, drop=2 + number)


def _cells(screen: Screen, row: Row, values: Sequence[str], length: int, count: int) -> list[Cell]:
    cells: list[Cell] = [
        row.id[:length] if screen.people else row.id,
        row.name,
        row.project,
        _status(screen, row),
    ]
    for name in values:
        value = index.value_of(row, name)
        cells.append("-" if value is None else value if isinstance(value, str) else render.number(value))
    cells.append(render.age(row.updated))
    cells.append(" ".join(row.tags))
    return cells[:count]


def _status(screen: Screen, row: Row) -> Cell:
    running = row.status == "in_progress" and row.progress
    text = f"{row.status} {row.progress}%" if screen.people and running else row.status
    return text, render.STATUS_STYLES.get(row.status, "")
