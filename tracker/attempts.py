"""Which points count where a task was started more than once: a resumed run takes the place of what it repeats. Pure.

Nothing is dropped from a state: what an earlier attempt reported beyond the step of the resume is hidden from reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from tracker.records import Ref, Segment, State

if TYPE_CHECKING:
    from tracker.scalars import Series, Summary

Read = Callable[[Ref], bytes]  # the content of an object that a state refers to
Name = tuple[str, str]  # of a series: title, series
Columns = TypeVar("Columns", bound="Series")


class Cuts:
    """From which step on each attempt's points of a series are hidden."""

    def __init__(self, state: State) -> None:
        self._started: dict[int, int] = {}  # attempt -> when it began, microseconds since the epoch
        self._from: dict[int, int] = {}  # attempt -> the step that it said it resumes from
        self._first: dict[Name, dict[int, int]] = {}  # series -> attempt -> its least step
        if "attempt/2" not in state.keys:
            return  # as almost always
        joined: set[int] = (
            set()
        )  # attempts beside others, or after one that was completed: they repeat nothing
        for number, value in state.section("attempt").items():
            if number.isdecimal():
                self._started[int(number)] = state.keys[f"attempt/{number}"].stamp
                if isinstance(value, dict) and value.get("reason") == "join":
                    joined.add(int(number))
                if isinstance(value, dict) and isinstance(value.get("from"), int):
                    self._from[int(number)] = value["from"]
        for segment in state.reports:
            for chunk in segment.scalars if segment.attempt not in joined else ():
                for title, series, summary in chunk["series"]:
                    known = self._first.setdefault((title, series), {})
                    least = int(summary["min_step"])
                    known[segment.attempt] = min(least, known.get(segment.attempt, least))

    def of(self, segment: Segment, name: Name) -> int | None:
        """The step from which on a segment's points of a series are hidden; None: all count."""
        if not self._started:
            return None
        # A rank may have started before the first one had said that an attempt begins: when it was last heard tells.
        mine = max(
            segment.attempt,
            max((n for n, began in self._started.items() if began <= segment.time), default=0),
        )
        later = [step for n, step in self._first.get(name, {}).items() if n > mine]
        later += [step for n, step in self._from.items() if n > mine]
        return min(later, default=None)


def summaries(state: State, read: Read | None = None) -> Iterator[tuple[Name, Summary]]:
    """What counts of each stored piece of each series, in short.

    Of a piece that is hidden in part, `read` allows to look; without it, its extremes are those of all its points.
    """
    from tracker.scalars import summarise

    cuts = Cuts(state)
    for segment in state.reports:
        for chunk in segment.scalars:
            for title, series, summary in chunk["series"]:
                cut = cuts.of(segment, (title, series))
                if cut is None or summary["max_step"] < cut:
                    yield (title, series), summary
                elif summary["min_step"] >= cut:
                    continue
                elif read is None:
                    part: Summary = summary.copy()
                    part["max_step"] = cut - 1
                    yield (title, series), part
                else:
                    for piece in _pieces(chunk, (title, series), read):
                        if len((shown := before(piece, cut)).steps):
                            yield (title, series), summarise(shown)


def visible(segment: Segment, cuts: Cuts, pieces: Iterator[Series]) -> Iterator[Series]:
    """What counts of a segment's stored series."""
    for piece in pieces:
        cut = cuts.of(segment, (piece.title, piece.series))
        if cut is None or len((piece := before(piece, cut)).steps):
            yield piece


def before(piece: Columns, cut: int) -> Columns:
    """The points of a series at steps below `cut`."""
    import numpy as np

    steps = np.asarray(piece.steps)
    kept = steps < cut
    if kept.all():
        return piece
    times, values = np.asarray(piece.times), np.asarray(piece.values)
    return type(piece)(piece.title, piece.series, steps[kept], times[kept], values[kept])


def _pieces(chunk: Any, name: Name, read: Read) -> Iterator[Series]:
    from tracker import scalars

    for piece in scalars.decode(read(Ref.parse(chunk["$ref"]))):
        if (piece.title, piece.series) == name:
            yield piece
