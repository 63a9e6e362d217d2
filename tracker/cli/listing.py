"""`tracker ls` and `tracker query`: the tasks that fit a query, as a table or in a form for other programs."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from tracker import index
from tracker.cli import candidates, documents, render
from tracker.cli.command import Call, Command, warn_damaged
from tracker.cli.render import Cell, Column, Screen
from tracker.filters import fields
from tracker.index import Row

if TYPE_CHECKING:
    from tracker.filters.terms import Term
    from tracker.frames import Result
    from tracker.projection import Found
    from tracker.workspace import Workspace

_VALUES_MOST = 4  # columns of metrics besides the one that is sorted by
_STATUSES = ("created", "queued", "in_progress", "stopped", "failed", "completed", "published", "closed")
_FORMATS = ("table", "json", "csv", "parquet", "arrow")
# A negated term, group or quotation. No option has two letters or more after one dash and then what compares.
_NEGATED: Final = re.compile(r"""-(?:[("']|\w(?:"[^"]*"|'[^']*'|[^\s"'=:<>~!])+\s*[=:<>~!]).*""", re.DOTALL)


class _Asking(Command):
    """A command with a query, which may begin with a dash as an option does."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Let a negated term be part of the query: a space in front tells click that it is no option."""
        valued = {
            name
            for each in self.params
            if isinstance(each, click.Option) and not each.is_flag
            for name in each.opts
        }
        before = ["", *args]
        shown = [
            f" {each}" if _NEGATED.fullmatch(each) and last not in valued else each
            for last, each in zip(before, args, strict=False)
        ]
        return super().parse_args(ctx, shown)


def _typed(words: Sequence[str]) -> str:
    """The query, as it was typed."""
    return " ".join(word.removeprefix(" ") for word in words)


@click.command(
    "ls",
    cls=_Asking,
    examples=[
        ("ls", "all tasks, last changed first"),
        ("ls --sort -accuracy/test --limit 10", "the ten best by the last value of a metric"),
        ("ls resnet --project vision --status failed", "failed runs with resnet in name, project or tag"),
        ("ls 'tags:baseline -tags:old Args/lr<0.01'", "by tags and a parameter; see docs/queries.md"),
        ("ls 'metrics.val/acc.max>0.9 or tags:best'", "by the greatest value of a metric, or a tag"),
        ("ls --format csv --columns id,name,Args/lr,val/acc", "chosen columns for a spreadsheet"),
        ("ls --json --sort -val_f1 --limit 1", "the best one for a program to read"),
    ],
)
@click.argument("words", nargs=-1, metavar="[QUERY]...")
@click.option(
    "--project",
    metavar="NAME",
    shell_complete=candidates.projects,
    help="Only this project and those below it.",
)
@click.option(
    "--tag",
    "tags",
    multiple=True,
    metavar="TAG",
    shell_complete=candidates.tags,
    help="Only with this tag; -TAG: without it.",
)
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
    "keys",
    metavar="[-]KEY",
    multiple=True,
    help="By a metric (title/series), a single value, a parameter (Section/name), or a field such as "
    f"{', '.join(index.FIELDS)}; - in front: greatest first. Again: what counts among equals. Default: -updated.",
)
@click.option("--limit", type=click.IntRange(min=0), metavar="N", help="The first N only.")
@click.option("--offset", type=click.IntRange(min=0), default=0, metavar="N", help="Leave the first N out.")
@click.option("--archived", is_flag=True, help="Archived ones, too.")
@click.option("--columns", metavar="NAMES", help="These columns, with commas between them.")
@click.option(
    "--format",
    "form",
    type=click.Choice(_FORMATS),
    default="table",
    help="What to print. parquet and arrow need the extra `arrow`.",
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write it there."
)
def ls(
    call: Call,
    words: Sequence[str],
    project: str | None,
    tags: Sequence[str],
    statuses: Sequence[str],
    keys: Sequence[str],
    limit: int | None,
    offset: int,
    archived: bool,
    columns: str | None,
    form: str,
    output: Path | None,
) -> None:
    """List the tasks that fit a QUERY: words that are in a task's name, project or a tag, or begin its id, and terms
    like tags:prod, -tags:old, params.Args/lr<0.01, metrics.val/acc>0.9, status:completed, name:~regex. docs/queries.md
    has them all.
    """
    from tracker.filters import terms
    from tracker.filters.fields import Field
    from tracker.filters.grammar import parse, parse_sort
    from tracker.projection import Query

    text = _typed(words)
    wanted = [parse(text)]
    if project is not None:
        wanted.append(terms.Holds(Field("", "project"), project, "below"))
    for tag in tags:
        has = terms.Compare(Field("", "tags"), "=", tag.removeprefix("-"))
        wanted.append(terms.Not(has) if tag.startswith("-") else has)
    if statuses:
        wanted.append(terms.some(terms.Compare(Field("", "status"), "=", status) for status in statuses))
    wanted += _unarchived(text, archived=archived)
    orders = [parse_sort(key) for key in keys or ("-updated",)]
    chosen = _chosen(columns)
    workspace = call.open()
    with call.progress("indexing") as progress:
        workspace.projection.told = lambda done, of: progress.show(f"{done} of {of} tasks")
        found = workspace.projection.find(Query(terms.together(wanted), orders, offset, limit, text=text))
    if call.json or form == "json":
        _json(call.screen, found, chosen, output)
    elif form != "table" or output is not None:
        _write(found, chosen, form, output)
    elif found.facts and chosen:
        print_columns(call.screen, found, chosen)
    elif found.facts:
        length = workspace.projection.short_length(row.id for row in found.rows) if call.screen.people else 32
        print_table(call.screen, found.rows, (keys or ("-updated",))[0], length)
    _say_how_many(workspace, found)
    warn_damaged(workspace)


@click.command(
    "query",
    cls=_Asking,
    examples=[
        ("query 'tags:prod metrics.val/acc>0.9'", "the ids, a line each"),
        (
            "query status:failed --columns id,name,status_reason",
            "columns with tabs between them, for cut and awk",
        ),
        ("query status:failed | xargs -n1 tracker show", "all of them in full"),
    ],
)
@click.argument("words", nargs=-1, metavar="[QUERY]...")
@click.option("--sort", "keys", metavar="[-]KEY", multiple=True, help="As for ls.")
@click.option("--limit", type=click.IntRange(min=0), metavar="N", help="The first N only.")
@click.option("--offset", type=click.IntRange(min=0), default=0, metavar="N", help="Leave the first N out.")
@click.option("--archived", is_flag=True, help="Archived ones, too.")
@click.option("--columns", metavar="NAMES", default="id", help="With commas between them. Default: id.")
def query(
    call: Call,
    words: Sequence[str],
    keys: Sequence[str],
    limit: int | None,
    offset: int,
    archived: bool,
    columns: str,
) -> None:
    """Print the ids of the tasks that fit a QUERY, a line each, and nothing else; see ls."""
    from tracker.filters.grammar import parse, parse_sort
    from tracker.filters.terms import together
    from tracker.frames import Result
    from tracker.projection import Query

    text = _typed(words)
    orders = [parse_sort(key) for key in keys or ("-updated",)]
    workspace = call.open()
    wanted = together([parse(text), *_unarchived(text, archived=archived)])
    found = workspace.projection.find(Query(wanted, orders, offset, limit, text=text))
    chosen = _chosen(columns)
    if call.json:
        _json(call.screen, found, chosen, None)
    else:
        for row in Result(found, chosen):
            sys.stdout.write("\t".join(render.escape(_plain(value)) for value in row.values()) + "\n")
    warn_damaged(workspace)


def _unarchived(text: str, *, archived: bool) -> list[Term]:
    """What leaves archived tasks out, unless they are wanted or a query's text asks for system tags itself."""
    from tracker.filters.terms import Not

    return [] if archived or "system_tags" in text else [Not(_archived())]


def _archived() -> Term:
    from tracker.filters.terms import Compare

    return Compare(fields.Field("", "system_tags"), "=", "archived")


def _chosen(columns: str | None) -> list[str]:
    """The names in a list with commas; one that has a comma in it stands in quotes."""
    if columns is None:
        return []
    splitter = shlex.shlex(columns, posix=True)
    splitter.whitespace, splitter.whitespace_split, splitter.commenters = ",", True, ""
    try:
        found = [name.strip() for name in splitter if name.strip()]
    except ValueError as error:
        raise click.UsageError(f"--columns {columns!r}: {error}") from error
    if not found:
        raise click.UsageError("--columns names none")
    return found


def _say_how_many(workspace: Workspace, found: Found) -> None:
    from tracker.filters.terms import ALL
    from tracker.projection import Query

    if not found.total:
        every = workspace.projection.find(Query(ALL, limit=0)).total
        aside = workspace.projection.find(Query(_archived(), limit=0)).total
        if not every:
            render.say(f"no task is in {workspace.root}: run a script that calls Task.init")
        else:
            note = f", of which {aside} are archived: --archived shows them" if aside else ""
            render.say(f"none of {render.plural(every, 'task')} fits{note}")
    elif len(found.facts) < found.total:
        render.say(f"{len(found.facts)} of {render.plural(found.total, 'task')}")


# --- forms for programs ----------------------------------------------------------------------------------------------


def _json(screen: Screen, found: Found, chosen: Sequence[str], output: Path | None) -> None:
    tasks = list(map(documents.of_row, found.rows))
    if chosen:
        from tracker.frames import Result

        tasks = [{name: _jsonable(value) for name, value in row.items()} for row in Result(found, chosen)]
    content = {"tasks": tasks, "total": found.total}
    if output is None:
        screen.document("ls", content)
    else:
        output.write_text(render.document("ls", content, indent=False) + "\n", encoding="utf-8")


def _write(found: Found, chosen: Sequence[str], form: str, output: Path | None) -> None:
    from tracker.frames import Result

    result = Result(found, chosen)
    if form in ("csv", "table"):
        _csv(result, output)
        return
    if output is None and sys.stdout.isatty():
        raise click.UsageError(
            f"{form} is no text for a terminal: name a file with -o, or send it through a pipe"
        )
    data = _parquet(result) if form == "parquet" else _arrow(result)
    if output is None:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
    else:
        output.write_bytes(data)


def _csv(result: Result, output: Path | None) -> None:
    """RFC 4180, times as ISO 8601 in UTC. On a terminal nothing of it moves the cursor."""
    import csv
    import io

    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(result.columns)
    rows.writerows([_plain(value) for value in row.values()] for row in result)
    if output is not None:
        output.write_text(text.getvalue(), encoding="utf-8", newline="")
    elif sys.stdout.isatty():
        sys.stdout.write(render.escape(text.getvalue(), "\n\t"))
    else:
        sys.stdout.write(text.getvalue())


def _parquet(result: Result) -> bytes:
    import io

    from tracker.frames import package

    sink, parquet = io.BytesIO(), package("pyarrow.parquet", "--format parquet", "arrow")
    parquet.write_table(result.to_arrow(), sink)
    return sink.getvalue()


def _arrow(result: Result) -> bytes:
    """An Arrow IPC file, also known as Feather."""
    import io

    from tracker.frames import package

    sink, ipc, table = io.BytesIO(), package("pyarrow.ipc", "--format arrow", "arrow"), result.to_arrow()
    with ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _plain(value: object) -> str:
    """A value as text: all digits of a number, a time as ISO 8601, tags with spaces between them."""
    from datetime import datetime

    if value is None:
        return ""
    if isinstance(value, list):
        return " ".join(map(str, value))
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _jsonable(value: object) -> object:
    from datetime import datetime

    return value.isoformat() if isinstance(value, datetime) else value


# --- tables ----------------------------------------------------------------------------------------------------------


def print_columns(screen: Screen, found: Found, chosen: Sequence[str]) -> None:
    """A table of the columns that were asked for."""
    from tracker.frames import Result

    result = Result(found, chosen)
    columns = [Column(c.name, right=c.kind in ("integer", "number"), least=12) for c in result.table]
    cells: list[list[Cell]] = [[_cell(value) for value in row.values()] for row in result]
    screen.table(columns, cells)


def _cell(value: object) -> Cell:
    if value is None:
        return "-", "dim"
    return render.number(value) if isinstance(value, float) else _plain(value)


def print_table(screen: Screen, rows: Sequence[Row], key: str, length: int) -> None:
    """The table: the sort key's column first among the values, then those that the tasks share."""
    down, name = key.startswith("-"), key.removeprefix("-")
    of = fields.find(name)
    name = of.name if of.section else name  # what stands in the title is short
    values = [] if not of.section else [name]
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
        value = _value(row, name)
        cells.append("-" if value is None else value if isinstance(value, str) else render.number(value))
    cells.append(render.age(row.updated))
    cells.append(" ".join(row.tags))
    return cells[:count]


def _value(row: Row, name: str) -> str | float | None:
    """A metric's value, its part's, a single value, or a parameter."""
    if (found := index.value_of(row, name)) is not None:
        return found
    stem, _, part = name.rpartition(".")
    if stem in row.metrics and part in fields.PARTS:
        value: float = getattr(row.metrics[stem], part)
        return value
    return row.singles.get(name.removeprefix("Summary/"))


def _status(screen: Screen, row: Row) -> Cell:
    running = row.status == "in_progress" and row.progress
    text = f"{row.status} {row.progress}%" if screen.people and running else row.status
    return text, render.STATUS_STYLES.get(row.status, "")
