"""One writer's journal -> what it adds: a partial state, and the content it refers to, through a `put` of the caller's.

Who calls decides whether that content goes into a pack or stays in memory. Nothing is written here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from objstore import journal
from objstore import layout as store_layout
from tracker import events, layout
from tracker.errors import CorruptRecord
from tracker.records import Entry, Segment, State, recoverer
from tracker.state import Fold, join_keys

if TYPE_CHECKING:
    from tracker import scalars


Put = Callable[[bytes], str]  # stores content, returns its "$ref"

_CONSOLE_CHUNK = 1 << 20  # bytes of console text in one object

_SHORT_RUN = 2048  # points of a run up to which numpy is not worth its import

_POINTS_CHUNK = 1 << 16  # points in one object of several series; a longer series has one of its own
_POINTS_MAX = 1 << 20  # points in one object: 24 MiB to whoever reads it
_SERIES_CHUNK = 2048  # series in one object, and
_NAMES_CHUNK = 1 << 19  # characters of their names: its header stays below what readers accept


@dataclass(frozen=True, slots=True)
class Journal:
    """One writer's journal folder."""

    key: str
    writer: str
    folder: Path


@dataclass(frozen=True, slots=True)
class Delta:
    """What one journal adds to one head: a partial state and what it covers."""

    state: State
    covers: Mapping[str, int]


def journals(root: Path, key: str | None = None) -> list[Journal]:
    """The journals in a store, of one task or of all, sorted."""
    base = root / store_layout.LIVE
    keys = [key] if key is not None else _folders(base)
    return [Journal(k, w, base / k / w) for k in keys if store_layout.is_key(k) for w in _folders(base / k)]


def _folders(base: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(base) if entry.is_dir(follow_symlinks=False))
    except (FileNotFoundError, NotADirectoryError):
        return []


def fold(source: Journal, after: int) -> Fold:
    """A journal's events beyond number `after`, folded up to the first that cannot be read; series declared earlier are
    known.
    """
    folded = Fold(source.writer)
    try:
        folded.add_all(journal.read(source.folder, after))
    except CorruptRecord as error:
        folded.broken = f"event {folded.last + 1}: {error}"
    if after and any(number not in folded.series for number in _numbers(folded)):
        folded.series = {**_declared(source, after), **folded.series}
    return folded


def lost(source: Journal, folded: Fold, covered: int) -> str:
    """What cannot be read of a journal, folded from event `covered` on, up to which a head has it; "" where all can.

    Damage is: an event that is whole and makes no sense; a record with the wrong checksum that was written to its end,
    or behind which others lie; a segment that is missing or not read. A record at the very end that was cut short, as a
    writer leaves it that is killed in an append, is none: the call that wrote it never returned.
    """
    from objstore.fsck import unread_events

    return folded.broken or unread_events(source.folder, covered)


def _numbers(folded: Fold) -> set[int]:
    """The series numbers that a fold's scalars bear."""
    size = events.SERIES_NUMBER.size
    return {events.SERIES_NUMBER.unpack(head)[0] for head in {scalar[:size] for scalar in folded.scalars}}


def _declared(source: Journal, until: int) -> dict[int, tuple[str, str]]:
    """The series that a writer declared with its events up to `until`."""
    earlier = Fold(source.writer)
    for record in journal.read(source.folder):
        if record.number > until:
            break
        if record.kind == events.DOCUMENT:
            earlier.add_all((record,))
    return earlier.series


def model_keys(source: Journal, folded: Fold, after: int, covered: Callable[[str], int]) -> None:
    """Add to a fold what the events up to `after` said of the models in it whose heads do not cover as much.

    A model's head is written only when the model changes, so a lower cover may be all there is; or a copy that was cut
    short has brought the task's head without the model's. `covered`: a model's id -> number of the last event that its
    heads cover.
    """
    behind = {of: least for of in folded.keys if of is not None and (least := covered(of)) < after}
    if not behind:
        return
    earlier = Fold(source.writer)
    for record in journal.read(source.folder, min(behind.values())):
        if record.number > after:
            break
        if record.kind == events.DOCUMENT:
            earlier.add_all((record,))
    for of in behind:
        folded.keys[of] = join_keys(earlier.keys.get(of, {}), folded.keys[of])


def deltas(folded: Fold, put: Put, before: State | None = None) -> dict[str | None, Delta]:
    """What a fold adds, per head (None: the task; else a model's id). Content goes through `put`.

    `before`: the task's state that covers all events up to the fold's first.
    """
    for blob in folded.blobs.values():
        put(blob)
    covers = {folded.writer: folded.last}
    segment = Segment(
        folded.writer,
        folded.attempt,
        folded.last,
        folded.time,
        tuple(_scalars(folded, put)),
        tuple(_console(folded, put)),
        tuple(_plots(folded, put)),
    )
    known = (each for each in (before.segments if before else ()) if each.writer == folded.writer)
    whole = next((each.extended(segment) for each in known), segment)
    found: dict[str | None, Delta] = {}
    for of, keys in folded.keys.items():
        if of is not None:
            found[of] = Delta(State(layout.MODEL, keys), covers)
    found[None] = Delta(State(layout.TASK, folded.keys.get(None, {}), (whole,)), covers)
    return found


def aborted(state: State, writer: str, reason: str) -> dict[str, Entry]:
    """The status of a task that its owner `writer`, which is gone, left running; nothing where it is not the owner.

    Each key is stamped like the last word that the writer said about it, or about its status, which it so beats; what
    the writer says later, because it lives after all, beats it in turn. Whoever has the same events says the same.
    """
    status, speaker = state.keys.get("status"), recoverer(writer)
    if status is None or (status.value, status.writer) not in (("in_progress", writer), ("stopped", speaker)):
        return {}
    last = max([status.stamp, *(s.time for s in state.segments if s.writer == writer)])
    values = {"status": "stopped", "status_reason": f"aborted: {reason}", "completed": last}
    found = {}
    for key, value in values.items():
        known = state.keys.get(key, status)
        own = known if known.writer in (writer, speaker) else status
        entry = Entry(value, max(own.stamp, status.stamp), speaker)
        if key not in state.keys or entry.beats(known):
            found[key] = entry
    # That it is said in other words is no news.
    return found if status.writer == writer or "completed" in found else {}


def overruled(state: State, source: Journal) -> State:
    """The state without what others took for the end of a writer that lives: what it said itself counts again."""
    speaker = recoverer(source.writer)
    wrong = {key for key, entry in state.keys.items() if entry.writer == speaker}
    if not wrong:
        return state
    own = Fold(source.writer)
    for record in journal.read(source.folder):
        if record.kind == events.DOCUMENT:
            own.add_all((record,))
    said = {key: entry for key, entry in own.keys.get(None, {}).items() if key in wrong}
    kept = {key: entry for key, entry in state.keys.items() if key not in wrong}
    return replace(state, keys={**kept, **said})


def _scalars(folded: Fold, put: Put) -> Iterator[dict[str, Any]]:
    if not folded.scalars:
        return
    group: list[scalars.Series] = []
    points = names = 0
    for series in _pieces(folded):
        name = len(series.title) + len(series.series)
        crowded = len(group) >= _SERIES_CHUNK or names + name > _NAMES_CHUNK or _follows(group, series)
        if group and (crowded or points + len(series.steps) > _POINTS_CHUNK):
            yield _scalar_chunk(group, put)
            group, points, names = [], 0, 0
        group.append(series)
        points, names = points + len(series.steps), names + name
    if group:
        yield _scalar_chunk(group, put)


def _follows(group: list[scalars.Series], series: scalars.Series) -> bool:
    """Whether `series` is another part of the last one of a group: one object names a series once."""
    return bool(group) and (group[-1].title, group[-1].series) == (series.title, series.series)


def _pieces(folded: Fold) -> Iterator[scalars.Series]:
    """A fold's series, those that are too long for one object in several parts."""
    for series in _series(folded):
        for start in range(0, len(series.steps), _POINTS_MAX):
            part = slice(start, start + _POINTS_MAX)
            columns = (series.steps[part], series.times[part], series.values[part])
            yield type(series)(series.title, series.series, *columns)


def _series(folded: Fold) -> list[scalars.Series]:
    """A fold's scalars by series, in the order of their first points; within one, in the order of reporting."""
    if len(folded.scalars) <= _SHORT_RUN and sys.byteorder == "little":
        return _short_series(folded)
    import numpy as np

    from tracker.scalars import Series

    points = np.frombuffer(b"".join(folded.scalars), np.dtype(events.SCALAR_FIELDS))
    points = points[np.argsort(points["series"], kind="stable")]
    numbers, starts = np.unique(points["series"], return_index=True)
    parts: dict[tuple[str, str], list[Any]] = {}  # a rolled run declares its series again, under new numbers
    for number, part in zip(numbers, np.split(points, starts[1:]), strict=True):
        if int(number) in folded.series:
            parts.setdefault(folded.series[int(number)], []).append(part)
    joined = {name: np.concatenate(pieces) for name, pieces in parts.items()}
    return [
        Series(*name, part["step"].copy(), part["time"].copy(), part["value"].copy())
        for name, part in joined.items()
    ]


def _short_series(folded: Fold) -> list[scalars.Series]:
    """The same without numpy, whose import would take longer than all else at the end of a short run."""
    from array import array

    from tracker.scalars import Series

    found: dict[tuple[str, str], Series] = {}
    for number, step, time_, value in events.SCALAR_FORMAT.iter_unpack(b"".join(folded.scalars)):
        name = folded.series.get(number)
        if name is None:
            continue
        if name not in found:
            found[name] = Series(*name, array("q"), array("q"), array("d"))
        found[name].steps.append(step)
        found[name].times.append(time_)
        found[name].values.append(value)
    return list(found.values())


def _scalar_chunk(group: list[Any], put: Put) -> dict[str, Any]:
    from tracker import scalars

    return {
        "$ref": put(scalars.encode(group)),
        "series": [[s.title, s.series, dict(scalars.summarise(s))] for s in group],
    }


def _console(folded: Fold, put: Put) -> Iterator[dict[str, Any]]:
    lines: list[bytes] = []
    size = 0
    for text in folded.texts:
        lines.append(orjson.dumps([text.time, text.stream, text.message]))
        size += len(lines[-1])
        if size >= _CONSOLE_CHUNK:
            yield {"$ref": put(b"\n".join(lines) + b"\n"), "lines": len(lines)}
            lines, size = [], 0
    if lines:
        yield {"$ref": put(b"\n".join(lines) + b"\n"), "lines": len(lines)}


def _plots(folded: Fold, put: Put) -> Iterator[dict[str, Any]]:
    for plot in folded.plots:
        figure = orjson.dumps(plot.figure, option=orjson.OPT_SORT_KEYS)
        yield {
            "$ref": put(figure),
            "title": plot.title,
            "series": plot.series,
            "iteration": plot.iteration,
            "time": plot.time,
        }


def why_dead(source: Journal) -> str:
    """For people: what a dead writer's journal says of it. Not for living ones: closing the file would drop a lock."""
    try:
        owner = orjson.loads((source.folder / "alive").read_bytes())
        return f"process {owner['pid']} on {owner['host']} ended without closing"
    except (OSError, ValueError, KeyError, TypeError):
        return "its process ended without closing"
