"""What a session reported of one thing -> its segment and its covers, folded by the code that folds live runs.

Pure but for `put`: the events are put in the order of their times, which a session does not keep.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from tracker import events
from tracker.deltas import deltas
from tracker.records import Segment
from tracker.state import Fold


@dataclass(frozen=True, slots=True)
class _Record:
    number: int
    kind: int
    attempt: int
    payload: bytes


@dataclass(slots=True)
class Reports:
    """Reports of the task or of one model, in any order."""

    series: dict[tuple[str, str], int] = field(default_factory=dict)
    scalars: list[bytes] = field(default_factory=list)
    texts: list[events.Text] = field(default_factory=list)
    plots: list[tuple[events.Plot, dict[str, Any]]] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)

    def scalar(self, title: str, series: str, iteration: int, time: int, value: float) -> None:
        """One point."""
        number = self.series.setdefault((title, series), len(self.series) + 1)
        self.scalars.append(events.SCALAR_FORMAT.pack(number, iteration, time, value))

    @property
    def empty(self) -> bool:
        """Whether nothing was reported."""
        return not (self.scalars or self.texts or self.plots or self.samples)

    def segment(self, writer: str, attempt: int, put: Callable[[bytes], str]) -> Segment:
        """All of it, as if the process `writer` had reported it. Its content goes through `put`."""
        self.plots.sort(key=lambda pair: pair[0].time)
        self.samples.sort(key=lambda sample: int(sample["time"]))
        folded = Fold(writer)
        folded.add_all(_Record(n, *each) for n, each in enumerate(self._records(attempt), 1))
        segment = deltas(folded, put)[None].state.segments[0]
        # A plot that is a picture names the picture, so that this stays where the plot is.
        plots = tuple({**p, **more} for p, (_, more) in zip(segment.plots, self.plots, strict=True))
        extra = {"samples": self.samples} if self.samples else {}
        last = max([segment.time, *(int(sample["time"]) for sample in self.samples)])
        return replace(segment, plots=plots, extra=extra, time=last)

    def _records(self, attempt: int) -> Iterator[tuple[int, int, bytes]]:
        for kind, payload in self._encoded():
            yield kind, attempt, payload

    def _encoded(self) -> Iterator[tuple[int, bytes]]:
        for (title, series), number in self.series.items():
            yield events.encode(events.Declare(number, title, series))
        self.scalars.sort(key=lambda payload: events.SCALAR_FORMAT.unpack(payload)[2])
        for payload in self.scalars:
            yield events.SCALAR, payload
        for text in sorted(self.texts, key=lambda text: text.time):
            yield events.encode(text)
        for plot, _ in self.plots:
            yield events.encode(plot)
        yield events.encode(events.End())
