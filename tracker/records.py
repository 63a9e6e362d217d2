"""What is committed: the state of a task, model, alias or pin, as one canonical JSON record. With `events` this is the
schema. Unknown keys and fields are carried along as they came.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from tracker.errors import CorruptRecord

_FIELDS = frozenset(("v", "kind", "keys", "segments"))


@dataclass(frozen=True, slots=True)
class Entry:
    """One key's value (None: removed), its stamp in microseconds since the epoch, and the writer who set it."""

    value: Any
    stamp: int
    writer: str

    def beats(self, other: Entry) -> bool:
        """Whether this entry is the later of two for one key. Total, so that every merge agrees."""
        return self._rank() > other._rank()

    def _rank(self) -> tuple[int, str, bytes]:
        return self.stamp, self.writer, orjson.dumps(self.value, option=orjson.OPT_SORT_KEYS)


def recoverer(writer: str) -> str:
    """As whom a process writes that speaks for a dead writer."""
    return f"{writer}.r"


def recovered(speaker: str) -> str:
    """For whom a writer named by `recoverer` speaks."""
    return speaker.removesuffix(".r")


@dataclass(frozen=True, slots=True)
class Segment:
    """All that a writer has reported up to its event `last`: references to series, console and plots, with summaries.

    Always from its first event on, so that of two segments of a writer the longer one holds all of the shorter.
    attempt: of its first event; time: when the writer was last heard of, microseconds since the epoch.
    scalars: [{"$ref", "series": [[title, series, summary]]}]; console: [{"$ref", "lines"}];
    plots: [{"$ref", "title", "series", "iteration", "time"}], with "kind" and "content" where it is more than a figure;
    samples: [{"title", "series", "iteration", "time", "kind", "content", "history"}]. Each in the order of its events;
    of samples the last `history` of a title and series.
    """

    writer: str
    attempt: int
    last: int
    time: int = 0
    scalars: tuple[Mapping[str, Any], ...] = ()
    console: tuple[Mapping[str, Any], ...] = ()
    plots: tuple[Mapping[str, Any], ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    samples: tuple[Mapping[str, Any], ...] = ()

    def beats(self, other: Segment) -> bool:
        """Whether this one is the longer of two of one writer. Total, so that every merge agrees."""
        return self.last > other.last or (self.last == other.last and self._text() > other._text())

    def _text(self) -> bytes:
        return orjson.dumps(self.record(), option=orjson.OPT_SORT_KEYS)

    def extended(self, more: Segment) -> Segment:
        """This segment and the reports of the events that follow it."""
        return replace(
            self,
            last=more.last,
            time=max(self.time, more.time),
            scalars=(*self.scalars, *more.scalars),
            console=(*self.console, *more.console),
            plots=(*self.plots, *more.plots),
            samples=newest((*self.samples, *more.samples)),
        )

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {
            **self.extra,
            "writer": self.writer,
            "attempt": self.attempt,
            "last": self.last,
            "time": self.time,
            "scalars": list(self.scalars),
            "console": list(self.console),
            "plots": list(self.plots),
            **({"samples": list(self.samples)} if self.samples else {}),
        }

    @classmethod
    def parse(cls, record: Mapping[str, Any]) -> Segment:
        """From JSON. Raises KeyError, TypeError, ValueError."""
        known = {"writer", "attempt", "last", "time", "scalars", "console", "plots", "samples"}
        return cls(
            str(record["writer"]),
            int(record["attempt"]),
            int(record["last"]),
            int(record["time"]),
            tuple(record["scalars"]),
            tuple(record["console"]),
            tuple(record["plots"]),
            {k: v for k, v in record.items() if k not in known},
            tuple(record.get("samples", ())),
        )


def newest(samples: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """Of each title and series the last samples, as many as the last of them says: `history`, 0 for all."""
    kept: list[Mapping[str, Any]] = []
    counts: dict[tuple[str, str], int] = {}
    limits: dict[tuple[str, str], int] = {}
    for sample in reversed(samples):
        name = (sample["title"], sample["series"])
        limit = limits.setdefault(name, sample["history"])
        counts[name] = counts.get(name, 0) + 1
        if not limit or counts[name] <= limit:
            kept.append(sample)
    return tuple(reversed(kept))


@dataclass(frozen=True, slots=True)
class State:
    """All of one task, model, alias or pin: its keys, and a segment of each process that took part, by writer."""

    kind: str
    keys: Mapping[str, Entry] = field(default_factory=dict)
    segments: tuple[Segment, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    def get(self, key: str, default: Any = None) -> Any:
        """A key's value; `default` where it is not set or was removed."""
        entry = self.keys.get(key)
        return default if entry is None or entry.value is None else entry.value

    def section(self, prefix: str) -> dict[str, Any]:
        """The keys below `prefix/`, without it, that are set, sorted."""
        start, entries = f"{prefix}/", self.keys
        names = sorted([key for key in entries if key.startswith(start)])
        return {key[len(start) :]: value for key in names if (value := entries[key].value) is not None}

    @property
    def stamp(self) -> int:
        """The greatest stamp in it, microseconds since the epoch."""
        return max((entry.stamp for entry in self.keys.values()), default=0)

    @property
    def updated(self) -> int:
        """When anything was last set or reported, microseconds since the epoch."""
        return max([self.stamp, *(segment.time for segment in self.segments)])

    @property
    def reports(self) -> tuple[Segment, ...]:
        """The segments that count: those of writers that no later attempt has hidden."""
        hidden = self.section("hidden")
        return tuple(segment for segment in self.segments if segment.writer not in hidden)

    def references(self) -> Iterator[str]:
        """Every "$ref" text in its values and segments."""
        for entry in self.keys.values():
            yield from references(entry.value)
        for segment in self.segments:
            yield from references(segment.record())
        yield from references(dict(self.extra))

    def encode(self) -> bytes:
        """Canonical JSON."""
        keys = {k: [e.stamp, e.writer, e.value] for k, e in self.keys.items()}
        record = {
            **self.extra,
            "v": 1,
            "kind": self.kind,
            "keys": keys,
            "segments": [s.record() for s in self.segments],
        }
        return orjson.dumps(record, option=orjson.OPT_SORT_KEYS)

    @classmethod
    def decode(cls, data: bytes) -> State:
        """Parse a record. Raises CorruptRecord."""
        try:
            record = orjson.loads(data)
            if record["v"] != 1:
                raise CorruptRecord(
                    f"a record of version {record['v']}: a newer version of the program wrote it"
                )
            keys = {
                k: Entry(value, int(stamp), str(writer))
                for k, (stamp, writer, value) in record["keys"].items()
            }
            segments = tuple(Segment.parse(s) for s in record["segments"])
            extra = {k: v for k, v in record.items() if k not in _FIELDS}
            return cls(str(record["kind"]), keys, segments, extra)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, CorruptRecord):
                raise
            raise CorruptRecord(f"a committed record cannot be read: {error}") from error


def references(value: Any) -> Iterator[str]:
    """Every "$ref" text inside a JSON value."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key == "$ref" and isinstance(item, str):
                yield item
            else:
                yield from references(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from references(item)


@dataclass(frozen=True, slots=True)
class Ref:
    """A reference to an object: its kind ("blob" or "tree"), its id as 64 hex digits, its size in bytes."""

    kind: str
    id: str
    size: int

    def __str__(self) -> str:
        return f"{self.kind}:{self.id}:{self.size}"

    @classmethod
    def parse(cls, text: str) -> Ref:
        """From `kind:hex:size`. Raises CorruptRecord."""
        parts = text.split(":")
        if (
            len(parts) != 3
            or parts[0] not in ("blob", "tree")
            or len(parts[1]) != 64
            or not (parts[2].isascii() and parts[2].isdigit())
        ):
            raise CorruptRecord(f"{text!r} is not a reference to an object")
        return cls(parts[0], parts[1], int(parts[2]))
