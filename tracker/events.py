"""What is journalled: the events of a run and their bytes. With `records` this is the schema; it decides nothing.

Scalars and console text are small binary records, everything else is a JSON document. Almost all of a task is keys:
one event sets one key (see `records.State`).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from tracker import figures
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
_LEVEL: Final = struct.Struct("<h")
STREAMS: Final = ("stdout", "stderr", "log")
_LEVELLED: Final = len(STREAMS)  # stands for a message of the log with a level of its own
LEVELS: Final = {"stdout": 20, "stderr": 40, "log": 20}  # as Python's logging counts them


@dataclass(frozen=True, slots=True)
class SetKey:
    """`key` of the task (or of the model `of`) has `value` from `stamp` on; None removes it."""

    key: str
    value: Any
    stamp: int
    of: str | None = None


@dataclass(frozen=True, slots=True)
class Declare:
    """From here on this writer's series `number` is (title, series), of the task or of the model `of`."""

    number: int
    title: str
    series: str
    of: str | None = None


@dataclass(frozen=True, slots=True)
class Scalar:
    """One point of a declared series; `time` in microseconds since the epoch."""

    number: int
    iteration: int
    time: int
    value: float


@dataclass(frozen=True, slots=True)
class Text:
    """One line of the console; level: of a message of the log, -32768 to 32767, where it is not its stream's own."""

    stream: str
    time: int
    message: str
    level: int | None = None


@dataclass(frozen=True, slots=True)
class Plot:
    """A plotly figure as a JSON document, or {"$ref"} to that; of the task or of the model `of`.

    kind, content: "table" or "picture" and where the table, the picture itself is: "$ref", "file", "content_type".
    """

    title: str
    series: str
    iteration: int
    time: int
    figure: Any
    of: str | None = None
    kind: str = "plot"
    content: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """A file of some moment of the run; kind: image or media; history: how many of one title and series are kept.

    content: "file", "content_type", and where it is: "$ref" or "url".
    """

    title: str
    series: str
    iteration: int
    time: int
    kind: str
    content: Mapping[str, Any]
    history: int
    of: str | None = None


@dataclass(frozen=True, slots=True)
class Blob:
    """Content that later events refer to by `id`, the hex of its BLAKE3."""

    id: str
    data: bytes


@dataclass(frozen=True, slots=True)
class End:
    """The writer closed; nothing follows."""


Event = SetKey | Declare | Scalar | Text | Plot | Sample | Blob | End


def encode(event: Event) -> tuple[int, bytes]:
    """The journal record (kind, payload) of an event. Raises TypeError for values that JSON cannot hold."""
    if isinstance(event, Scalar):
        return SCALAR, SCALAR_FORMAT.pack(event.number, event.iteration, event.time, event.value)
    if isinstance(event, Text):
        message = event.message.encode("utf-8", "surrogatepass")
        if event.level is None:
            return TEXT, _TEXT_HEAD.pack(STREAMS.index(event.stream), event.time) + message
        return TEXT, _TEXT_HEAD.pack(_LEVELLED, event.time) + _LEVEL.pack(event.level) + message
    if isinstance(event, Blob):
        return BLOB, bytes.fromhex(event.id) + event.data
    try:
        return DOCUMENT, orjson.dumps(_document(event))
    except TypeError as error:
        if "surrogates" not in str(error):
            raise
        return DOCUMENT, orjson.dumps(without_surrogates(_document(event)))


def _document(event: SetKey | Declare | Plot | Sample | End) -> dict[str, Any]:
    if isinstance(event, End):
        return {"type": "end"}
    if isinstance(event, SetKey):
        found = {"type": "set", "key": event.key, "value": event.value, "stamp": event.stamp}
    elif isinstance(event, Declare):
        found = {"type": "series", "number": event.number, "title": event.title, "series": event.series}
    else:
        found = {"type": "plot" if isinstance(event, Plot) else "sample"}
        found |= {name: getattr(event, name) for name in ("title", "series", "iteration", "time")}
        if isinstance(event, Sample):
            found |= {"kind": event.kind, "content": event.content, "history": event.history}
        else:
            ready = isinstance(event.figure, orjson.Fragment)
            found["figure"] = event.figure if ready else orjson.Fragment(figures.encode(event.figure))
            if event.content is not None:
                found |= {"kind": event.kind, "content": event.content}
    return found if event.of is None else {**found, "of": event.of}


def decode(kind: int, payload: bytes) -> Event | None:
    """The event in a journal record, or None for a kind or type that a later version wrote. Raises CorruptRecord."""
    try:
        if kind == SCALAR:
            return Scalar(*SCALAR_FORMAT.unpack(payload))
        if kind == TEXT:
            return _text(payload)
        if kind == BLOB:
            return Blob(payload[:32].hex(), payload[32:])
        return _parse(orjson.loads(payload)) if kind == DOCUMENT else None
    except (struct.error, IndexError, KeyError, TypeError, ValueError) as error:
        raise CorruptRecord(f"a journal event of kind {kind} cannot be read: {error}") from error


def _text(payload: bytes) -> Text:
    stream, time = _TEXT_HEAD.unpack_from(payload)
    if stream != _LEVELLED:
        return Text(STREAMS[stream], time, payload[_TEXT_HEAD.size :].decode("utf-8", "replace"))
    (level,) = _LEVEL.unpack_from(payload, _TEXT_HEAD.size)
    message = payload[_TEXT_HEAD.size + _LEVEL.size :].decode("utf-8", "replace")
    return Text("log", time, message, level)


def _parse(document: dict[str, Any]) -> Event | None:
    kind, of = document["type"], document.get("of")
    if of is not None and not isinstance(of, str):
        raise TypeError(f"of {of!r}")
    if kind == "set":
        return SetKey(str(document["key"]), document["value"], int(document["stamp"]), of)
    if kind == "series":
        return Declare(int(document["number"]), str(document["title"]), str(document["series"]), of)
    if kind not in ("plot", "sample"):
        return End() if kind == "end" else None
    title, series = str(document["title"]), str(document["series"])
    when = int(document["iteration"]), int(document["time"])
    content = document.get("content")
    if content is not None and not isinstance(content, Mapping):
        raise TypeError(f"content {content!r:.80}")
    if kind == "plot":
        sort = str(document.get("kind", "plot"))
        return Plot(title, series, *when, document["figure"], of, sort, content)
    sort, history = str(document["kind"]), int(document["history"])
    return Sample(title, series, *when, sort, content or {}, history, of)
