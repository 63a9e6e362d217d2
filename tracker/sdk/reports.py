"""Reading reports back: scalars, plots, samples and console, as arrays and objects and in ClearML's shapes."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final

from tracker import attempts, index, reported
from tracker.errors import BadValue, CorruptRecord
from tracker.index import reading
from tracker.records import Ref
from tracker.reported import Exhibit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tracker.reader import Thing
    from tracker.records import State
    from tracker.scalars import Series
    from tracker.sdk.shown import Report
    from tracker.workspace import Workspace

FIGURES: Final = ("plot", "table", "picture")
SAMPLES: Final = ("image", "media")
_ITERATIONS: Final = 100  # of debug samples that are given where nobody asks for more, ClearML's
_NEAR: Final = 6  # names offered for one that is unknown
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


def points(workspace: Workspace, thing: Thing, title: str, name: str) -> Series:
    """All points of one series in the order of their times. Raises BadValue where there is no such series."""
    from difflib import get_close_matches

    import numpy as np

    from tracker import scalars as columns

    parts: list[Series] = []
    cuts = attempts.Cuts(thing.state)
    for segment in thing.state.reports:
        for chunk in segment.scalars:
            with reading(_WHOSE):
                names = [(each[0], each[1]) for each in chunk["series"]]
                ref = Ref.parse(chunk["$ref"])
            if (title, name) in names:
                piece = columns.decode_one(workspace.read(thing, ref), title, name)
                parts += attempts.visible(segment, cuts, iter([piece]))
    if not parts:
        with reading(_WHOSE):
            known = [f"{a}/{b}" for a, b in sorted(index.summaries(thing.state))]
        near = get_close_matches(f"{title}/{name}", known, _NEAR, 0.5) or known[:_NEAR]
        offered = f"there is {', '.join(near)}" if near else "there is none at all"
        raise BadValue(f"no series {title!r} / {name!r} was reported: {offered}")
    steps, times, values = (
        np.concatenate([getattr(part, column) for part in parts]) for column in ("steps", "times", "values")
    )
    order = np.argsort(times, kind="stable")
    return columns.Series(title, name, steps[order], times[order], values[order])


def scalars(
    workspace: Workspace, thing: Thing, max_samples: int, x_axis: str
) -> dict[str, dict[str, dict[str, Any]]]:
    """`{title: {series: {"name", "x", "y"}}}`; of points with one iteration the last reported counts."""
    import numpy as np

    if not isinstance(max_samples, int) or max_samples < 0:
        raise BadValue(f"max_samples {max_samples!r}: a whole number is expected, 0 for all points")
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for (title, name), (steps, times, values) in _columns(workspace, thing, x_axis).items():
        # Of equal iterations the last one stays: the first of the reversed order.
        _, first = np.unique(steps[::-1], return_index=True)
        chosen = len(steps) - 1 - first
        if x_axis != "iter":
            chosen = chosen[np.argsort(times[chosen], kind="stable")]
        steps, times, values = steps[chosen], times[chosen], values[chosen]
        if 0 < max_samples < len(values):
            starts = np.linspace(0, len(values), max_samples + 1).astype(int)[:-1]
            counts = np.diff(np.append(starts, len(values)))
            steps, times, values = steps[starts], times[starts], np.add.reduceat(values, starts) / counts
        x = _axis(steps.tolist(), times.tolist(), x_axis)
        found.setdefault(title, {})[name] = {"name": name, "x": x, "y": values.tolist()}
    return found


def all_scalars(workspace: Workspace, thing: Thing, x_axis: str) -> dict[str, dict[str, dict[str, Any]]]:
    """The same of every point, sorted by x; of neighbours with one x the last reported counts."""
    import numpy as np

    found: dict[str, dict[str, dict[str, Any]]] = {}
    for (title, name), (steps, times, values) in _columns(workspace, thing, x_axis).items():
        order = np.argsort(steps, kind="stable") if x_axis == "iter" else np.arange(len(steps))
        x = _axis(steps[order].tolist(), times[order].tolist(), x_axis)
        last = [n for n in range(len(x)) if n + 1 == len(x) or x[n + 1] != x[n]]
        y = values[order].tolist()
        chosen = {"name": name, "x": [x[n] for n in last], "y": [y[n] for n in last]}
        found.setdefault(title, {})[name] = chosen
    return found


def _columns(workspace: Workspace, thing: Thing, x_axis: str) -> dict[tuple[str, str], tuple[Any, Any, Any]]:
    """Steps, times and values of every series in the order of their times. Raises BadValue for an unknown axis."""
    import numpy as np

    if x_axis not in _AXES:
        raise BadValue(f"x_axis {x_axis!r}: one of {', '.join(_AXES)} is expected")
    pieces: dict[tuple[str, str], list[Series]] = {}
    for piece in series(workspace, thing):
        pieces.setdefault((piece.title, piece.series), []).append(piece)
    found = {}
    for name, parts in pieces.items():
        steps, times, values = (
            np.concatenate([getattr(p, column) for p in parts]) for column in ("steps", "times", "values")
        )
        order = np.argsort(times, kind="stable")
        found[name] = (steps[order], times[order], values[order])
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


# --- plots, samples, console -----------------------------------------------------------------------------------------


def shown(
    workspace: Workspace, thing: Thing, kinds: Iterable[str], title: str | None, name: str | None
) -> list[Report]:
    """What was reported of these kinds, in the order of time; of a title and a series where they are given."""
    from tracker.sdk.shown import Report

    return [
        Report(workspace, thing.key, each)
        for each in reported.exhibits(thing.state, kinds)
        if title in (None, each.title) and name in (None, each.series)
    ]


def plot_events(workspace: Workspace, thing: Thing, most: int | None) -> list[dict[str, Any]]:
    """Figures in the shape of ClearML's events, by title and series, of each the newest iterations first."""
    if most is not None and (not isinstance(most, int) or most < 1):
        raise BadValue(f"max_iterations {most!r}: a whole number above 0 is expected, None for the newest")
    by_name: dict[tuple[str, str], dict[int, Exhibit]] = {}
    for each in reported.exhibits(thing.state, FIGURES):
        by_name.setdefault((each.title, each.series), {})[each.iteration] = each  # the last of one iteration
    return [
        _plot_event(workspace, thing, found[iteration])
        for _, found in sorted(by_name.items())
        for iteration in sorted(found, reverse=True)[: most or 1]
    ]


def _plot_event(workspace: Workspace, thing: Thing, each: Exhibit) -> dict[str, Any]:
    assert each.figure is not None  # a figure has one
    text = workspace.read(thing, each.figure).decode("utf-8", "replace")
    return {**_event(thing, each, "plot"), "plot_str": text, "plot_len": len(text)}


def sample_events(thing: Thing, title: str, name: str, most: int | None) -> list[dict[str, Any]]:
    """Images and media of one title and series in the shape of ClearML's events, the newest first."""
    from tracker.sdk.shown import url_of

    if most is not None and (not isinstance(most, int) or isinstance(most, bool) or most < 0):
        raise TypeError(f"n_last_iterations {most!r}: a whole number is expected, 0 or more")
    found = [e for e in reported.exhibits(thing.state, SAMPLES) if (e.title, e.series) == (title, name)]
    iterations = sorted({e.iteration for e in found}, reverse=True)[: _ITERATIONS if most is None else most]
    chosen = [e for e in found if e.iteration in iterations]
    chosen.sort(key=lambda e: (e.iteration, e.time), reverse=True)
    return [{**_event(thing, e, "training_debug_image"), "url": url_of(e), "key": e.file} for e in chosen]


def _event(thing: Thing, each: Exhibit, kind: str) -> dict[str, Any]:
    return {
        "timestamp": each.time // 1000,
        "type": kind,
        "task": thing.key,
        "iter": each.iteration,
        "metric": each.title,
        "variant": each.series,
        "@timestamp": _axis([], [each.time], "iso_time")[0],
        "worker": str(thing.state.get("host", "")) or each.writer,
    }


def console(workspace: Workspace, thing: Thing) -> list[str]:
    """The console as reports, in the order of their time."""
    return reported.joined(reported.lines(thing.state, lambda ref: workspace.read(thing, ref)))
