"""Fold and merge, pure: a writer's events -> what they add up to; two states of one thing -> one.

The merge is a join: commutative, associative, idempotent. So whoever folds, in whatever order, gets the same state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Protocol

from tracker import events
from tracker.errors import CorruptRecord
from tracker.records import Entry, Segment, State

Points = dict[tuple[str, str], list[bytes]]
_SCALAR = events.SCALAR_FORMAT.size  # bytes


class JournalRecord(Protocol):
    """A record as the journal gives it."""

    @property
    def number(self) -> int:
        """1, 2, 3 … per writer."""

    @property
    def kind(self) -> int:
        """Which sort of event the payload is; see `events`."""

    @property
    def attempt(self) -> int:
        """The attempt that the writer belongs to."""

    @property
    def payload(self) -> bytes:
        """The event's bytes."""


class Fold:
    """What one writer's events add up to, from `first` to `last` without gaps.

    keys: per head (None for the task itself, else the id of a model) and key the latest entry; scalars: payloads of
    `events.SCALAR_FORMAT`, in order, with `series` to name their numbers; texts, plots: in order; blobs: by id.
    """

    def __init__(self, writer: str, series: Mapping[int, tuple[str, str]] | None = None) -> None:
        self.writer = writer
        self.attempt = 1
        self.first = 0
        self.last = 0
        self.ended = False
        self.unread = 0  # records of kinds that only a later version knows
        self.broken = ""  # why the events beyond `last` cannot be read, where that is so
        self.keys: dict[str | None, dict[str, Entry]] = {}
        self.series: dict[int, tuple[str, str]] = dict(series or {})
        self.scalars: list[bytes] = []
        self.texts: list[events.Text] = []
        self.plots: list[events.Plot] = []
        self.blobs: dict[str, bytes] = {}

    def add_all(self, records: Iterable[JournalRecord]) -> Fold:
        """Fold more of the writer's records, which must follow those before; returns itself."""
        scalars = self.scalars.append
        for record in records:
            if record.kind == events.SCALAR and len(record.payload) == _SCALAR:
                scalars(record.payload)  # the quick way of `_add`: as they are, since there are many
            else:
                self._add(record)
            self.last = record.number
            if not self.first:
                self.first, self.attempt = record.number, record.attempt
        return self

    def _add(self, record: JournalRecord) -> None:
        event = events.decode(record.kind, record.payload)
        if isinstance(event, events.SetKey):
            self._set(event.of, event.key, Entry(event.value, event.stamp, self.writer))
        elif isinstance(event, events.Declare):
            self.series[event.number] = (event.title, event.series)
        elif isinstance(event, events.Text):
            self.texts.append(event)
        elif isinstance(event, events.Plot):
            self.plots.append(event)
        elif isinstance(event, events.Blob):
            self.blobs[event.id] = event.data
        elif isinstance(event, events.End):
            self.ended = True
        else:
            self.unread += 1

    def _set(self, of: str | None, key: str, entry: Entry) -> None:
        keys = self.keys.setdefault(of, {})
        if key not in keys or entry.beats(keys[key]):
            keys[key] = entry

    @property
    def stamp(self) -> int:
        """The greatest stamp of its keys and the time of its last report, microseconds since the epoch."""
        stamps = [entry.stamp for keys in self.keys.values() for entry in keys.values()]
        stamps += [text.time for text in self.texts[-1:]] + [plot.time for plot in self.plots[-1:]]
        if self.scalars:
            stamps.append(events.SCALAR_FORMAT.unpack(self.scalars[-1])[2])
        return max(stamps, default=0)


def merge(states: Iterable[State]) -> State:
    """The join of states of one thing. Raises ValueError for none."""
    return reduce(_join, states)


def _join(a: State, b: State) -> State:
    if a.kind != b.kind:
        raise CorruptRecord(f"a {a.kind} and a {b.kind} cannot be merged")
    return State(a.kind, join_keys(a.keys, b.keys), join_segments((*a.segments, *b.segments)), _extra(a, b))


def _extra(a: State, b: State) -> dict[str, object]:
    """Fields of a later version: kept, the greater by its text where both have one."""
    both = {**a.extra, **b.extra}
    for key in a.extra.keys() & b.extra.keys():
        both[key] = max(a.extra[key], b.extra[key], key=repr)
    return both


def join_keys(a: Mapping[str, Entry], b: Mapping[str, Entry]) -> dict[str, Entry]:
    """Per key the later entry."""
    joined = dict(a)
    for key, entry in b.items():
        if key not in joined or entry.beats(joined[key]):
            joined[key] = entry
    return joined


def join_segments(segments: Iterable[Segment]) -> tuple[Segment, ...]:
    """Segments united by range: of one writer's, one that another contains is dropped.

    Ranges of a writer that overlap without containing each other come from a writer that was sealed twice while it
    lived; both begin where an older one ended, so the longer one contains the shorter.
    """
    ranked = sorted(
        set(map(_Ranged, segments)), key=lambda r: (r.writer, r.attempt, r.first, -r.last, r.text)
    )
    kept: list[_Ranged] = []
    for item in ranked:
        inside = kept and kept[-1].writer == item.writer and kept[-1].attempt == item.attempt
        if not (inside and item.last <= kept[-1].last):
            kept.append(item)
    return tuple(item.segment for item in kept)


class _Ranged:
    """A segment with what it is compared by."""

    __slots__ = ("attempt", "first", "last", "segment", "text", "writer")

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        self.writer, self.attempt = segment.writer, segment.attempt
        self.first, self.last = segment.first, segment.last
        self.text = repr(segment.record())

    def __hash__(self) -> int:
        return hash((self.writer, self.first, self.last, self.text))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Ranged) and self.text == other.text
