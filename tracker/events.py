"""What is journalled: the events of a run and their bytes. With `records` this is the schema; it decides nothing.

Scalars and console text are small binary records, everything else is a JSON document. Almost all of a task is keys:
one event sets one key (see `records.State`).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Final

import orjson

from tracker.errors import CorruptRecord
from tracker.names import without_surrogates

# Record kinds in the journal.
DOCUMENT: Final = 1
SCALAR: Final = 2
TEXT: Final = 3
BLOB: Final = 4

# series number, iteration, microseconds since the epoch, value
SCALAR_FORMAT: Final = struct.Struct("<Iqqd")
SERIES_NUMBER: Final = struct.Struct("<I")  # how a scalar begins
SCALAR_FIELDS: Final = [("series", "<u4"), ("step", "<i8"), ("time", "<i8"), ("value", "<f8")]
_TEXT_HEAD: Final = struct.Struct("<Bq")
# Figures come as users make them: numpy arrays in them, numbers as keys. NaN becomes null, plotly's own gap.
_FIGURE: Final = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
STREAMS: Final = ("stdout", "stderr", "log")


@dataclass(frozen=True, slots=True)
class SetKey:
    """`key` of the task (or of the model `of`) has `value` from `stamp` on; None removes it."""

    key: str
    value: Any
    stamp: int
    of: str | None = None


@dataclass(frozen=True, slots=True)
class Declare:
    """From here on this writer's series `number` is (title, series)."""

    number: int
    title: str
    series: str


@dataclass(frozen=True, slots=True)
class Scalar:
    """One point of a declared series; `time` in microseconds since the epoch."""

    number: int
    iteration: int
    time: int
    value: float


@dataclass(frozen=True, slots=True)
class Text:
    """One line of the console."""

    stream: str
    time: int
    message: str


@dataclass(frozen=True, slots=True)
class Plot:
    """A plotly figure as a JSON document."""

    title: str
    series: str
    iteration: int
    time: int
    figure: Any


@dataclass(frozen=True, slots=True)
class Blob:
    """Content that later events refer to by `id`, the hex of its BLAKE3."""

    id: str
    data: bytes


@dataclass(frozen=True, slots=True)
class End:
    """The writer closed; nothing follows."""


Event = SetKey | Declare | Scalar | Text | Plot | Blob | End


def encode(event: Event) -> tuple[int, bytes]:
    """The journal record (kind, payload) of an event. Raises TypeError for values that JSON cannot hold."""
    if isinstance(event, Scalar):
        return SCALAR, SCALAR_FORMAT.pack(event.number, event.iteration, event.time, event.value)
    if isinstance(event, Text):
        head = _TEXT_HEAD.pack(STREAMS.index(event.stream), event.time)
        return TEXT, head + event.message.encode("utf-8", "surrogatepass")
    if isinstance(event, Blob):
        return BLOB, bytes.fromhex(event.id) + event.data
    option, default = (_FIGURE, _plain) if isinstance(event, Plot) else (None, None)
    try:
        return DOCUMENT, orjson.dumps(_document(event), default, option)
    except TypeError as error:
        if "surrogates" not in str(error):
            raise
        return DOCUMENT, orjson.dumps(without_surrogates(_document(event)), default, option)


def _plain(value: Any) -> Any:
    """As JSON what figures are made of elsewhere: arrays in any layout, series, dates, numbers. Raises TypeError."""
    for name in ("to_plotly_json", "tolist", "isoformat", "__float__"):
        convert = getattr(value, name, None)
        if callable(convert):
            return convert()
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    raise TypeError(f"a {type(value).__name__} is nothing that a figure can hold")


def _document(event: SetKey | Declare | Plot | End) -> dict[str, Any]:
    if isinstance(event, SetKey):
        found = {"type": "set", "key": event.key, "value": event.value, "stamp": event.stamp}
        return found if event.of is None else {**found, "of": event.of}
    if isinstance(event, Declare):
        return {"type": "series", "number": event.number, "title": event.title, "series": event.series}
    if isinstance(event, Plot):
        return {
            "type": "plot",
            "title": event.title,
            "series": event.series,
            "iteration": event.iteration,
            "time": event.time,
            "figure": event.figure,
        }
    return {"type": "end"}


def decode(kind: int, payload: bytes) -> Event | None:
    """The event in a journal record, or None for a kind or type that a later version wrote. Raises CorruptRecord."""
    try:
        if kind == SCALAR:
            return Scalar(*SCALAR_FORMAT.unpack(payload))
        if kind == TEXT:
            stream, time = _TEXT_HEAD.unpack_from(payload)
            return Text(STREAMS[stream], time, payload[_TEXT_HEAD.size :].decode("utf-8", "replace"))
        if kind == BLOB:
            return Blob(payload[:32].hex(), payload[32:])
        return _parse(orjson.loads(payload)) if kind == DOCUMENT else None
    except (struct.error, IndexError, KeyError, TypeError, ValueError) as error:
        raise CorruptRecord(f"a journal event of kind {kind} cannot be read: {error}") from error


def _parse(document: dict[str, Any]) -> Event | None:
    kind = document["type"]
    if kind == "set":
        of = document.get("of")
        if of is not None and not isinstance(of, str):
            raise TypeError(f"of {of!r}")
        return SetKey(str(document["key"]), document["value"], int(document["stamp"]), of)
    if kind == "series":
        return Declare(int(document["number"]), str(document["title"]), str(document["series"]))
    if kind == "plot":
        title, series = str(document["title"]), str(document["series"])
        return Plot(title, series, int(document["iteration"]), int(document["time"]), document["figure"])
    return End() if kind == "end" else None
