"""What the states of many tasks say in short: their reports summed up, and one row a task.

Pure: states in, frozen records out. It opens nothing, reads no series, and knows no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import orjson

from tracker import attempts
from tracker.errors import CorruptRecord
from tracker.records import Ref, State

if TYPE_CHECKING:
    from tracker.scalars import Summary

Read = Callable[[Ref], bytes]  # the content of an object that a state refers to

FIELDS: Final = ("created", "updated", "name", "project", "status", "type", "iteration", "id")


# --- reports ---------------------------------------------------------------------------------------------------------


def summaries(state: State, read: Read | None = None) -> dict[tuple[str, str], Summary]:
    """The summary of every series, over all segments; what counts of a run that was resumed `read` tells exactly."""
    from tracker.scalars import merge_summaries

    found: dict[tuple[str, str], Summary] = {}
    for name, summary in attempts.summaries(state, read):
        found[name] = merge_summaries(found[name], summary) if name in found else summary
    return found


def last_iteration(state: State) -> int:
    """The greatest iteration reported; 0 if there is none."""
    return _greatest_step(summaries(state))


def _greatest_step(found: Mapping[tuple[str, str], Summary]) -> int:
    return max((summary["max_step"] for summary in found.values()), default=0)


def single_values(state: State) -> dict[str, float]:
    """Name to value."""
    from tracker.scalars import number_from_json

    return {name: number_from_json(item["value"]) for name, item in state.section("single").items()}


def last_metrics(state: State, read: Read | None = None) -> dict[str, dict[str, dict[str, float]]]:
    """`{title: {series: {"last", "min", "max"}}}`, with the single values under `Summary`."""
    from tracker.scalars import number_from_json

    found: dict[str, dict[str, dict[str, float]]] = {}
    for (title, series), summary in summaries(state, read).items():
        values: dict[str, Any] = dict(summary)
        found.setdefault(title, {})[series] = {k: number_from_json(values[k]) for k in ("last", "min", "max")}
    for name, value in single_values(state).items():
        found.setdefault("Summary", {})[name] = {"last": value, "min": value, "max": value}
    return found


def console(state: State, read: Read, last: int | None = None) -> list[str]:
    """The lines of the console in the order of their time; with `last` only so many, reading no more than it must."""
    lines: list[tuple[int, str]] = []
    for segment in state.reports:
        found = 0
        for chunk in reversed(segment.console):
            if last is not None and found >= last:
                break
            with reading("this task"):
                ref = Ref.parse(chunk["$ref"])
            rows = _console_lines(read(ref))
            found += len(rows)
            lines[:0] = rows
    ordered = [text for _, text in sorted(lines, key=lambda line: line[0])]
    return ordered if last is None else ordered[max(0, len(ordered) - last) :]


def _console_lines(data: bytes) -> list[tuple[int, str]]:
    try:
        rows = [orjson.loads(row) for row in data.split(b"\n") if row]
        return [(whole(time), str(text)) for time, _, text, *_ in rows]
    except (TypeError, ValueError) as error:
        raise CorruptRecord(f"lines of a console cannot be read: {error}") from error


# --- rows ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Metric:
    """One series in short: the value reported last, the least, the greatest, and how many there are."""

    last: float
    min: float
    max: float
    count: int


@dataclass(frozen=True, slots=True)
class Row:
    """One task as a line of a table. Times in microseconds since the epoch; metrics by "title/series".

    params: `Section/name` to text, as `Task.get_parameters` gives it.
    """

    id: str
    name: str
    project: str
    status: str
    type: str
    tags: tuple[str, ...]
    created: int
    updated: int
    iteration: int
    progress: int | None
    metrics: Mapping[str, Metric]
    singles: Mapping[str, float]
    params: Mapping[str, str]


def row(key: str, state: State) -> Row:
    """A task's row. Raises CorruptRecord for a record that no version of this program writes."""
    with reading(key):
        series = summaries(state)
        return Row(
            id=key,
            name=str(state.get("name", "")),
            project=str(state.get("project", "")),
            status=str(state.get("status", "created")),
            type=str(state.get("type", "")),
            tags=tuple(state.section("tag")),
            created=whole(state.get("created")),
            updated=state.updated,
            iteration=_greatest_step(series),
            progress=None if (progress := state.get("progress")) is None else whole(progress),
            metrics=_metrics(series),
            singles=single_values(state),
            params=parameters(state),
        )


def rows(states: Mapping[str, State]) -> tuple[list[Row], dict[str, str]]:
    """The rows of tasks by id, and what is wrong with those that have none."""
    found, damaged = [], {}
    for key, state in states.items():
        try:
            found.append(row(key, state))
        except CorruptRecord as error:
            damaged[key] = str(error)
    return found, damaged


def _metrics(given: Mapping[tuple[str, str], Summary]) -> dict[str, Metric]:
    """Every series by "title/series", sorted; where two would share that name, their own slashes become %2F."""
    from tracker.scalars import number_from_json

    found: dict[str, Metric] = {}
    for (title, series), summary in sorted(given.items()):
        name = f"{title}/{series}"
        if name in found:
            name = f"{title.replace('/', '%2F')}/{series.replace('/', '%2F')}"
        last, least, most = (number_from_json(summary[k]) for k in ("last", "min", "max"))
        found[name] = Metric(last, least, most, whole(summary["count"]))
    return found


def parameters(state: State) -> dict[str, str]:
    """`Section/name` to text."""
    return {name: str(item["value"]) for name, item in state.section("param").items()}


@contextmanager
def reading(key: str) -> Iterator[None]:
    """Fields of the wrong shape, which only a foreign writer can have made, become one error that names the task."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = str(error) if isinstance(error, CorruptRecord) else repr(error)
        raise CorruptRecord(f"the record of {key} has a field that cannot be read: {what}") from error


def whole(value: Any) -> int:
    """A count or a time out of a record, 0 where it is not set. Raises TypeError."""
    if value is None:
        return 0
    if not isinstance(value, int):
        raise TypeError(f"{value!r} is no whole number")
    return int(value)


def value_of(each: Row, key: str) -> str | float | None:
    """What a row has under a name: of FIELDS, else a metric's last value, a single value, a parameter; or None."""
    if key in FIELDS:
        found: str | int = getattr(each, key)
        return found
    if key in each.metrics:
        return each.metrics[key].last
    if key in each.singles:
        return each.singles[key]
    if key in each.params:
        try:
            return float(each.params[key])
        except ValueError:
            return each.params[key]
    return None


def shared_values(rows: Sequence[Row], most: int) -> list[str]:
    """Names of metrics and single values that more than a third of the rows have: single values first, then frequent.

    Series that a monitor reported (their title begins with a colon) are left out.
    """
    counts: dict[tuple[bool, str], int] = {}
    for each in rows:
        for name in each.singles:
            counts[False, name] = counts.get((False, name), 0) + 1
        for name in each.metrics:
            if not name.startswith(":") and name not in each.singles:
                counts[True, name] = counts.get((True, name), 0) + 1
    frequent = [kind for kind, count in counts.items() if 3 * count > len(rows)]
    return [name for _, name in sorted(frequent, key=lambda kind: (kind[0], -counts[kind], kind[1]))][:most]


# --- names of things -------------------------------------------------------------------------------------------------


def short_length(ids: Iterable[str], least: int = 8) -> int:
    """How many leading characters tell all these ids apart: at least `least`."""
    longest = least
    for a, b in pairwise(sorted(set(ids))):
        shared = next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
        longest = max(longest, shared + 1)
    return longest
