"""An offline session of ClearML, read: its record, its events, and which of its files each of them means.

Believes nothing: sizes, depth and types are checked, and no path outside of the session is ever opened.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from tracker.errors import BadValue
from tracker.sessions.members import Members

RECORD_MAX: Final = 64 << 20  # bytes of task.json
LINE_MAX: Final = 64 << 20  # bytes of one line of events
EVENTS_MAX: Final = 10_000_000  # of one session; each takes some hundred bytes of memory
DEPTH_MAX: Final = 100  # of lists and objects in each other
SINGLE: Final = -(2**31)  # the iteration that marks a single value
_TIME_MAX: Final = 2**53  # milliseconds
_DIGITS_MAX: Final = 400  # of a whole number; reading a longer one takes the square of its length
_LEVELS: Final = {
    "debug": 10,
    "info": 20,
    "warning": 30,
    "warn": 30,
    "error": 40,
    "critical": 50,
    "fatal": 50,
}


@dataclass(frozen=True, slots=True)
class Happening:
    """One event. kind: scalar, single, plot, sample, vector or another; of: the model's offline id, "" for the task.

    time in microseconds since the epoch, 0 where it is not told; raw: what was said.
    """

    kind: str
    title: str
    series: str
    iteration: int
    time: int
    of: str
    raw: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Said:
    """A report of the console; level as Python's logging counts."""

    time: int
    level: int
    worker: str
    text: str


_KINDS: Final = {
    "training_stats_scalar": "scalar",
    "plot": "plot",
    "training_debug_image": "sample",
    "training_stats_vector": "vector",
}


class Session:
    """A session in `members`. Raises BadValue for what is none."""

    def __init__(self, members: Members) -> None:
        self.members = members
        if "task.json" not in members.sizes:
            raise BadValue(f"{members.where} has no task.json: it is no offline session of ClearML")
        self.raw = members.read("task.json", RECORD_MAX)
        self.record = _object(_parsed(self.raw, f"{members.where}: task.json"), f"{members.where}: task.json")
        self.id = str(self.record.get("id") or "")
        if not self.id:
            raise BadValue(f"{members.where}: task.json names no task: it is no offline session of ClearML")
        self._folder = str(self.record.get("offline_folder") or "").replace("\\", "/").rstrip("/")

    def part(self, *names: str) -> Mapping[str, Any]:
        """An object in the record, empty where it is absent. Raises BadValue for anything else."""
        found: Any = self.record
        for name in names:
            found = found.get(name)
            if found is None:
                return {}
            found = _object(found, f"task.json: {'.'.join(names)}")
        return dict(found)

    def items(self, *names: str) -> list[Mapping[str, Any]]:
        """A list of objects in the record. Raises BadValue."""
        found = self.part(*names[:-1]).get(names[-1]) or []
        where = f"task.json: {'.'.join(names)}"
        if not isinstance(found, list):
            raise BadValue(f"{where} is a list, not {type(found).__name__}")
        return [_object(item, where) for item in found]

    def member(self, place: object) -> str | None:
        """The file of the session that a path or URL in the record means; None where it means none."""
        if not isinstance(place, str) or not place:
            return None
        path = place.removeprefix("file://").replace("\\", "/")
        candidates = [path]
        if self._folder and path.startswith(f"{self._folder}/"):
            candidates.append(path[len(self._folder) + 1 :])
        elif f"/{self.id}/" in path:  # the cache was moved, or is linked to
            candidates.append(path.partition(f"/{self.id}/")[2])
        return next((name for name in candidates if name in self.members.sizes), None)

    def happenings(self) -> Iterator[Happening]:
        """The events of metrics.jsonl, as they lie there: in no order. Raises BadValue."""
        for where, event in self._events("metrics.jsonl"):
            kind = _KINDS.get(str(event.get("type")), str(event.get("type")))
            iteration = _whole(event.get("iter"), f"{where}: iter")
            if kind == "scalar" and iteration == SINGLE:
                kind = "single"
            yield Happening(
                kind,
                _text(event.get("metric")),
                _text(event.get("variant")),
                iteration,
                _time(event.get("timestamp"), where),
                _text(event.get("task")) if event.get("model_event") else "",
                event,
            )

    def console(self) -> Iterator[Said]:
        """The reports of log.jsonl. Raises BadValue."""
        for where, event in self._events("log.jsonl"):
            yield Said(
                _time(event.get("timestamp"), where),
                _level(event.get("level")),
                _text(event.get("worker")),
                _text(event.get("msg")),
            )

    def _events(self, name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        if name not in self.members.sizes:
            return
        count = number = 0
        with self.members.open(name) as file:
            while line := file.readline(LINE_MAX + 1):
                number += 1
                where = f"{self.members.where}: {name}, line {number}"
                if len(line) > LINE_MAX:
                    raise BadValue(f"{where} has more than {LINE_MAX} bytes")
                found = _parsed(line, where) if line.strip() else []
                listed = found if isinstance(found, list) else [found]
                count += len(listed)
                if count > EVENTS_MAX:
                    raise BadValue(f"{where}: there are more than {EVENTS_MAX} events")
                for event in listed:
                    yield where, _object(event, where)


def figure(event: Happening, where: object) -> Any:
    """The figure of a plot. Raises BadValue."""
    text = event.raw.get("plot_str")
    what = f"{where}: the plot {event.title!r:.200} / {event.series!r:.200}"
    if isinstance(text, str):
        return _parsed(text.encode("utf-8", "surrogatepass"), what)
    return {} if text is None else text


def number(event: Happening, where: object) -> float:
    """The value of a scalar. Raises BadValue."""
    value = event.raw.get("value")
    try:
        return math.nan if value is None else float(value)
    except (TypeError, ValueError, OverflowError):
        raise BadValue(f"{where}: {event.title!r:.200}: {value!r:.80} is no number") from None


def numbers(event: Happening, where: object) -> list[float]:
    """The values of a vector. Raises BadValue."""
    values = event.raw.get("values") or []
    if isinstance(values, list) and all(isinstance(v, int | float) for v in values):
        return values
    raise BadValue(f"{where}: the vector {event.title!r:.200} is no list of numbers")


def _parsed(data: bytes, where: str) -> Any:
    """JSON as Python writes it, which has NaN and lone surrogates in it. Raises BadValue."""
    try:
        found = orjson.loads(data)
    except ValueError:
        try:
            found = json.loads(data, parse_int=_short)
        except (ValueError, RecursionError, OverflowError) as error:
            raise BadValue(f"{where} cannot be read as JSON: {error}") from None
    _check_depth(found, where)
    return found


def _short(digits: str) -> int | float:
    if len(digits) > _DIGITS_MAX:
        raise ValueError(f"a number of {len(digits)} digits")
    value = int(digits)
    return value if -(2**63) <= value < 2**63 else float(value)


def _check_depth(value: Any, where: str) -> None:
    level, depth = [value], 0
    while level := [
        inner
        for each in level
        if isinstance(each, dict | list)
        for inner in (each.values() if isinstance(each, dict) else each)
        if isinstance(inner, dict | list)
    ]:
        depth += 1
        if depth >= DEPTH_MAX:
            raise BadValue(
                f"{where} has lists or objects {DEPTH_MAX} deep in each other, which nothing needs"
            )


def _object(value: Any, where: str) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    raise BadValue(
        f"{where} is not an object but {type(value).__name__}: it is no offline session of ClearML"
    )


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _whole(value: object, where: str) -> int:
    if value is None:
        return 0
    if isinstance(value, int | float) and math.isfinite(value) and value == int(value) and abs(value) < 2**62:
        return int(value)
    raise BadValue(f"{where} is {value!r:.80}: a whole number of 62 bits is expected")


def _time(value: object, where: str) -> int:
    if value is None:
        return 0
    if isinstance(value, int | float) and math.isfinite(value) and 0 <= value < _TIME_MAX:
        return int(value * 1000)
    raise BadValue(f"{where}: the timestamp {value!r:.80} is no number of milliseconds since 1970")


def _level(value: object) -> int:
    if isinstance(value, int) and 0 <= value <= 1000:
        return value
    return _LEVELS.get(str(value).lower(), 20)
