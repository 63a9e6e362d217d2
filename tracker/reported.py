"""What was reported beside numbers: plots, tables, samples, and the console as reports of one level.

Pure: states in, frozen records out; what a state only refers to is read by the caller's function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from tracker.errors import CorruptRecord
from tracker.events import LEVELS
from tracker.records import Ref, Segment, State

Read = Callable[[Ref], bytes]  # the content of an object that a state refers to

_JOINED: Final = 1_000_000  # microseconds within which lines of one level make one report
_REPORT_MAX: Final = 1 << 20  # characters of a report of the console, ClearML's


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One thing to look at. kind: plot, table, picture (a figure that is one), image or media; time in microseconds.

    figure: its JSON, of plots, tables and pictures; content: the table, the picture, the file itself; url: where a
    sample is that was only registered. writer: the process that reported it.
    """

    kind: str
    title: str
    series: str
    iteration: int
    time: int
    writer: str
    figure: Ref | None = None
    content: Ref | None = None
    file: str = ""
    content_type: str = ""
    url: str = ""

    @property
    def name(self) -> str:
        """What to call it: "title/series", or the title of a figure without a series."""
        return f"{self.title}/{self.series}" if self.series else self.title

    @property
    def ref(self) -> Ref | None:
        """The object that it is: the file of a table, picture or sample, else the figure. None where only an URL is."""
        return self.content or self.figure

    @property
    def own_name(self) -> str:
        """What to call it on disk."""
        return self.file or f"{self.name}.json".replace("/", "_")


def exhibits(state: State, kinds: Iterable[str] = ()) -> list[Exhibit]:
    """All of a task or model, in the order of their time; of `kinds`, where any are given.

    Raises CorruptRecord for a record that no version of this program writes.
    """
    wanted = frozenset(kinds)
    try:
        found = [each for segment in state.reports for each in _of_segment(segment)]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, CorruptRecord):
            raise
        raise CorruptRecord(f"a report in the record cannot be read: {error!r}") from error
    chosen = [each for each in found if not wanted or each.kind in wanted]
    return sorted(chosen, key=lambda each: each.time)


def _of_segment(segment: Segment) -> Iterator[Exhibit]:
    for record in segment.plots:
        yield _exhibit(segment, record, str(record.get("kind", "plot")), Ref.parse(record["$ref"]))
    for record in segment.samples:
        yield _exhibit(segment, record, str(record["kind"]), None)


def _exhibit(segment: Segment, record: Mapping[str, Any], kind: str, figure: Ref | None) -> Exhibit:
    content = record.get("content") or {}
    return Exhibit(
        kind,
        str(record["title"]),
        str(record["series"]),
        int(record["iteration"]),
        int(record["time"]),
        segment.writer,
        figure,
        Ref.parse(content["$ref"]) if "$ref" in content else None,
        str(content.get("file", "")),
        str(content.get("content_type", "")),
        str(content.get("url", "")),
    )


# --- console ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the console; time in microseconds since the epoch, level as Python's logging counts."""

    time: int
    stream: str
    text: str
    level: int


def lines(state: State, read: Read) -> list[Line]:
    """The console in the order of its time. Raises CorruptRecord."""
    found = [line for segment in state.reports for line in lines_of(segment, read)]
    return sorted(found, key=lambda line: line.time)


def lines_of(segment: Segment, read: Read) -> list[Line]:
    """The lines of one writer in the order in which it reported them. Raises CorruptRecord."""
    return [line for chunk in segment.console for line in _lines(read(_ref(chunk)))]


def _ref(chunk: Mapping[str, Any]) -> Ref:
    try:
        return Ref.parse(chunk["$ref"])
    except (KeyError, AttributeError) as error:
        raise CorruptRecord(f"a chunk of the console names no object: {error!r}") from error


def _lines(data: bytes) -> list[Line]:
    try:
        rows = [orjson.loads(row) for row in data.split(b"\n") if row]
        return [
            Line(int(time), str(stream), str(text), int(level[0]) if level else LEVELS.get(stream, 20))
            for time, stream, text, *level in rows
        ]
    except (TypeError, ValueError) as error:
        raise CorruptRecord(f"lines of a console cannot be read: {error}") from error


def joined(listed: Iterable[Line]) -> list[str]:
    """Lines as reports: neighbours of one level within a second of the first, up to a MiB, joined by line ends."""
    reports: list[list[str]] = []
    first, size = Line(0, "", "", 0), 0
    for line in listed:
        size += len(line.text) + 1
        together = line.level == first.level and line.time - first.time < _JOINED and size <= _REPORT_MAX
        if reports and together:
            reports[-1].append(line.text)
        else:
            reports.append([line.text])
            first, size = line, len(line.text)
    return ["\n".join(texts) for texts in reports]
