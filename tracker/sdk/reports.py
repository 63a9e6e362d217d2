"""Reading reports back: scalars, single values, console, in ClearML's shapes."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final

from tracker import attempts, index
from tracker.errors import BadValue, CorruptRecord
from tracker.index import reading
from tracker.records import Ref

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tracker.reader import Thing
    from tracker.records import State
    from tracker.scalars import Series
    from tracker.workspace import Workspace

_AXES: Final = ("iter", "timestamp", "iso_time")
_WHOSE: Final = "this task"  # in the errors of a record that a foreign program made; the caller knows which


def last_iteration(state: State) -> int:
    """See `index`. Raises CorruptRecord, as all here do."""
    with reading(_WHOSE):
        return index.last_iteration(state)


def last_metrics(state: State, read: index.Read | None = None) -> dict[str, dict[str, dict[str, float]]]:
    """See `index`."""
    with reading(_WHOSE):
        return index.last_metrics(state, read)


def single_values(state: State) -> dict[str, float]:
    """See `index`."""
    with reading(_WHOSE):
        return index.single_values(state)


def series(workspace: Workspace, thing: Thing) -> Iterator[Series]:
    """What counts of every stored piece of every series, in order of segments."""
    from tracker import scalars as columns

    with reading(_WHOSE):
        cuts = attempts.Cuts(thing.state)
    for segment in thing.state.reports:
        for chunk in segment.scalars:
            with reading(_WHOSE):
                ref = Ref.parse(chunk["$ref"])
            yield from attempts.visible(segment, cuts, iter(columns.decode(workspace.read(thing, ref))))


def scalars(
    workspace: Workspace, thing: Thing, max_samples: int, x_axis: str
) -> dict[str, dict[str, dict[str, Any]]]:
    """`{title: {series: {"name", "x", "y"}}}`; of points with one iteration the last reported counts."""
    import numpy as np

    if not isinstance(max_samples, int) or max_samples < 0:
        raise BadValue(f"max_samples {max_samples!r}: a whole number is expected, 0 for all points")
    if x_axis not in _AXES:
        raise BadValue(f"x_axis {x_axis!r}: one of {', '.join(_AXES)} is expected")
    pieces: dict[tuple[str, str], list[Series]] = {}
    for piece in series(workspace, thing):
        pieces.setdefault((piece.title, piece.series), []).append(piece)
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for (title, name), parts in pieces.items():
        steps, times, values = (
            np.concatenate([getattr(p, column) for p in parts]) for column in ("steps", "times", "values")
        )
        reported = np.argsort(times, kind="stable")
        # Of equal iterations the last one stays: the first of the reversed order.
        _, first = np.unique(steps[reported][::-1], return_index=True)
        chosen = reported[::-1][first]
        if x_axis != "iter":
            chosen = chosen[np.argsort(times[chosen], kind="stable")]
        if 0 < max_samples < len(chosen):
            chosen = chosen[np.linspace(0, len(chosen) - 1, max_samples).round().astype(int)]
        x = _axis(steps[chosen].tolist(), times[chosen].tolist(), x_axis)
        found.setdefault(title, {})[name] = {"name": name, "x": x, "y": values[chosen].tolist()}
    return found


def _axis(steps: list[int], times: list[int], x_axis: str) -> list[Any]:
    if x_axis == "iter":
        return steps
    if x_axis == "timestamp":
        return [time // 1000 for time in times]
    try:
        return [datetime.fromtimestamp(time / 1e6, timezone.utc).isoformat() for time in times]
    except (ValueError, OverflowError, OSError) as error:
        raise CorruptRecord(f"a point was reported at a time that no calendar has: {error}") from error


def console(workspace: Workspace, thing: Thing, last: int | None = None) -> list[str]:
    """The lines of the console in the order of their time, or the `last` of them."""
    return index.console(thing.state, lambda ref: workspace.read(thing, ref), last)
