"""The answer to a query as a table of typed columns: rows to go over, frames of pandas, polars and pyarrow, HTML.

It asks nothing and opens nothing; the frame libraries are imported when one of their frames is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, overload

from tracker import cards
from tracker.errors import BadValue, MissingPackage
from tracker.filters import fields
from tracker.filters.fields import Field
from tracker.projection import Facts, Found

if TYPE_CHECKING:
    import pandas as pd

FIRST: Final = ("id", "name", "project", "status", "type", "tags", "user", "created", "started", "completed")
LATER: Final = ("updated", "iteration", "progress")
TEXT: Final = "text"
INTEGER: Final = "integer"
NUMBER: Final = "number"
TIME: Final = "time"
TEXTS: Final = "texts"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_SHOWN: Final = 200  # rows of HTML
_INTEGER: Final = re.compile(r"-?(0|[1-9]\d{0,17})")
# Not all that `float` reads: a text like 007 or 1_000 is more than the number that it spells.
_NUMBER: Final = re.compile(r"-?(0|[1-9]\d*)(\.\d*)?([eE][+-]?\d+)?|-?inf|nan")


@dataclass(frozen=True, slots=True)
class Column:
    """One column: TEXT, INTEGER, NUMBER, TIME (datetimes in UTC) or TEXTS (lists), with None where a task has none."""

    name: str
    kind: str
    values: list[Any]


class Result(Sequence[dict[str, Any]]):
    """What fits a query, as a table. Each row is a dict of the columns; `total` is how many tasks fit in all."""

    def __init__(self, found: Found, columns: Iterable[str] = ()) -> None:
        self.facts = found.facts
        self.total = found.total
        names = list(columns) or every_column(found.facts)
        self.table = [column(name, found.facts) for name in dict.fromkeys(names)]

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return [each.name for each in self.table]

    @property
    def ids(self) -> list[str]:
        """The ids of the tasks, in order."""
        return [each.row.id for each in self.facts]

    def __len__(self) -> int:
        return len(self.facts)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...

    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        at = range(len(self))[index]
        return {each.name: each.values[at] for each in self.table}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[i] for i in range(len(self)))

    def to_pandas(self) -> pd.DataFrame:
        """A pandas DataFrame. Raises MissingPackage."""
        pandas = package("pandas", "to_pandas()", "pandas")
        kinds = {INTEGER: "Int64", NUMBER: "float64", TIME: "datetime64[us, UTC]"}
        series = {c.name: pandas.Series(c.values, dtype=kinds.get(c.kind, "object")) for c in self.table}
        frame: pd.DataFrame = pandas.DataFrame(series, columns=self.columns)
        return frame

    def to_polars(self) -> Any:
        """A polars DataFrame. Raises MissingPackage."""
        pl = package("polars", "to_polars()", "polars")
        kinds = {
            TEXT: pl.String,
            INTEGER: pl.Int64,
            NUMBER: pl.Float64,
            TIME: pl.Datetime("us", "UTC"),
            TEXTS: pl.List(pl.String),
        }
        return pl.DataFrame([pl.Series(c.name, c.values, dtype=kinds[c.kind]) for c in self.table])

    def to_arrow(self) -> Any:
        """A pyarrow Table. Raises MissingPackage."""
        pa = package("pyarrow", "to_arrow()", "arrow")
        kinds = {
            TEXT: pa.string(),
            INTEGER: pa.int64(),
            NUMBER: pa.float64(),
            TIME: pa.timestamp("us", "UTC"),
            TEXTS: pa.list_(pa.string()),
        }
        arrays = [pa.array(c.values, type=kinds[c.kind]) for c in self.table]
        return pa.table(arrays, names=self.columns)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.to_arrow().__arrow_c_stream__(requested_schema)

    def __repr__(self) -> str:
        names = ", ".join(self.columns[:8]) + (", …" if len(self.columns) > 8 else "")
        return f"<{len(self)} of {self.total} tasks: {names}>"

    def _repr_html_(self) -> str:
        shown = min(len(self), _SHOWN)
        rows = ([_shown(each.values[at]) for each in self.table] for at in range(shown))
        return cards.table(self.columns, rows, f"{shown} of {self.total} tasks" if shown < self.total else "")


def every_column(facts: Sequence[Facts]) -> list[str]:
    """The fields that all tasks have, then all parameters and all metrics of these."""
    params = sorted({name for each in facts for name in each.row.params})
    metrics = sorted({name for each in facts for name in (*each.row.metrics, *each.row.singles)})
    named = [*(f"params.{name}" for name in params), *(f"metrics.{name}" for name in metrics)]
    return [*FIRST, *LATER, *named]


def column(name: str, facts: Sequence[Facts]) -> Column:
    """One column of any field, parameter or metric. Raises BadValue for a name that nothing has."""
    of = fields.find(name)
    values = [value_of(each, of) for each in facts]
    if of.section == "?" and facts and all(v is None for v in values):
        known = dict.fromkeys(n for f in facts for n in (*f.row.singles, *f.row.metrics, *f.row.params))
        hint = fields.hint(name, [*known, *fields.FIELDS])
        raise BadValue(f"no task listed has a value named {name!r}: {hint}")
    if of.sort == fields.TIME:
        return Column(name, TIME, [None if v is None else time_of(v) for v in values])
    if of.sort == fields.TAGS:
        return Column(name, TEXTS, values)
    if of.sort == fields.NUMBER:
        return Column(name, INTEGER, values)
    return _typed(name, of, values)


def _typed(name: str, of: Field, values: list[Any]) -> Column:
    """Values of which each is a text, a number or None: as numbers where all are."""
    there = [v for v in values if v is not None]
    if all(isinstance(v, float) for v in there) and (there or of.section == fields.METRICS):
        return Column(name, NUMBER, values)
    texts = [v if v is None or isinstance(v, str) else repr(v) for v in values]
    spelled = [v for v in texts if v is not None]
    if of.section and spelled and all(map(_INTEGER.fullmatch, spelled)):
        return Column(name, INTEGER, [None if v is None else int(v) for v in texts])
    if of.section and spelled and all(map(_NUMBER.fullmatch, spelled)):
        return Column(name, NUMBER, [None if v is None else float(v) for v in texts])
    return Column(name, TEXT, texts)


def value_of(each: Facts, of: Field) -> Any:
    """A task's value: a text, a number, microseconds since the epoch, a list of texts; None where it has none."""
    if of.section:
        return _named(each, of)
    row = each.row
    if of.name == "tags":
        return list(row.tags)
    if of.name == "system_tags":
        return list(each.system_tags)
    if of.name == "models":
        return [text for linked in each.models.values() for pair in linked.items() for text in pair]
    if of.name in ("created", "updated"):
        return getattr(row, of.name) or None
    if of.sort == fields.TIME:
        return each.times.get(of.name)
    if of.name in ("id", "name", "project", "status", "type", "iteration", "progress"):
        return getattr(row, of.name)
    return each.texts.get(of.name)


def _named(each: Facts, of: Field) -> Any:
    row = each.row
    if of.section in (fields.METRICS, "?"):
        for name, part in of.names:
            if name in row.metrics:
                found: float = getattr(row.metrics[name], part)
                return float(found)
            single = name if name in row.singles else name.removeprefix("Summary/")
            if single in row.singles:
                return 1.0 if part == "count" else row.singles[single]
    if of.section == fields.RUNTIME:
        return each.runtime.get(of.name)
    return row.params.get(of.name) if of.section in (fields.PARAMS, "?") else None


def time_of(stamp: int) -> datetime | None:
    """Microseconds since the epoch as a time in UTC; None beyond what a datetime can be."""
    try:
        return _EPOCH + timedelta(microseconds=stamp)
    except OverflowError:
        return None


def package(name: str, what: str, extra: str) -> Any:
    """A package that is imported when it is needed first. Raises MissingPackage that names the extra."""
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingPackage(f"{what} needs {name}: pip install 'dottracker[{extra}]'") from error


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return " ".join(value)
    return f"{value:%Y-%m-%d %H:%M:%S}" if isinstance(value, datetime) else str(value)
