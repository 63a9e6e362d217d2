"""Fold and merge, pure: a writer's events -> what they add up to; two states of one thing -> one.

The merge is a join: commutative, associative, idempotent. So whoever folds, in whatever order, gets the same state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Any, Protocol

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
    `events.SCALAR_FORMAT`, in order, with `series` to name their numbers and `owners` to tell whose they are where
    they are a model's; texts, plots, samples: in order; blobs: by id.
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
        self.owners: dict[int, str] = {}
        self.scalars: list[bytes] = []
        self.texts: list[events.Text] = []
        self.plots: list[events.Plot] = []
        self.samples: list[events.Sample] = []
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
            if event.of is not None:
                self.owners[event.number] = event.of
        elif isinstance(event, events.Text):
            self.texts.append(event)
        elif isinstance(event, events.Plot):
            self.plots.append(event)
        elif isinstance(event, events.Sample):
            self.samples.append(event)
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
    def time(self) -> int:
        """When the writer was last heard of: its last report or greatest stamp, microseconds since the epoch."""
        times = [entry.stamp for keys in self.keys.values() for entry in keys.values()]
        lasts: list[events.Text | events.Plot | events.Sample] = []
        times += [last.time for last in (*lasts, *self.texts[-1:], *self.plots[-1:], *self.samples[-1:])]
        if self.scalars:
            times.append(events.SCALAR_FORMAT.unpack(self.scalars[-1])[2])
        return max(times, default=0)


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
    """Per writer the longest segment: each begins with the writer's first event, so it holds all of the others."""
    joined: dict[str, Segment] = {}
    for segment in segments:
        if segment.writer not in joined or segment.beats(joined[segment.writer]):
            joined[segment.writer] = segment
    return tuple(joined[writer] for writer in sorted(joined))


# --- changes that have a meaning of their own ------------------------------------------------------------------------


def deletion(stamp: int) -> dict[str, Any]:
    """The keys that delete a thing, in an edit of this stamp: it is hidden, and what came before it may be absent."""
    return {"deleted": True, "cut": stamp}


def restoration() -> dict[str, Any]:
    """The keys that undo a deletion. `cut` stays: what came before it may be gone."""
    return {"deleted": None}


def reversion(state: State, before: State) -> dict[str, Any]:
    """The keys that make a task what it was in `before`, one of its earlier states; that it was not is not forgotten.

    What writers have reported since is hidden, and what was hidden since counts again.
    """
    begun = [name for name in state.section("attempt") if name.isdecimal()]
    number = max(map(int, begun), default=0) + 1
    keep = ("attempt/", "hidden/")
    changes = {
        key: before.get(key)
        for key in dict.fromkeys((*state.keys, *before.keys))
        if not key.startswith(keep) and key not in ("cut", "deleted") and state.get(key) != before.get(key)
    }
    known = before.section("attempt")
    later = {
        f"attempt/{name}": {"reason": "restored over"} for name in begun if name not in known
    }  # no resume counts
    then, shown = before.section("hidden"), {segment.writer for segment in before.reports}
    for segment in state.segments:
        if segment.writer in shown:
            changes[f"hidden/{segment.writer}"] = None
        else:
            changes[f"hidden/{segment.writer}"] = then.get(segment.writer, number)
    return {**changes, **later, f"attempt/{number}": {"reason": "restore"}}


def attempt(state: State, reason: str, *, hide: bool = False) -> dict[str, Any]:
    """The keys that begin the next attempt of a task; reason: init, reset, reuse, resume, requeue.

    hide: what the writers that are known so far have reported, or will yet, shall not count. Nothing of it is lost.
    """
    begun = [int(number) for number in state.section("attempt") if number.isdecimal()]
    number = max(begun, default=0) + 1
    hidden = {f"hidden/{segment.writer}": number for segment in state.reports} if hide else {}
    return {f"attempt/{number}": {"reason": reason}, **hidden}
