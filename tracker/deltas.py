"""One writer's journal -> what it adds: a partial state, and the content it refers to, through a `put` of the caller's.

Who calls decides whether that content goes into a pack or stays in memory. Nothing is written here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from objstore import journal
from objstore import layout as store_layout
from objstore.reading import open_regular
from tracker import events, layout
from tracker.errors import CorruptRecord
from tracker.records import Entry, Ref, Segment, State, newest, recoverer, references
from tracker.state import Fold, join_keys

if TYPE_CHECKING:
    from tracker import scalars


Put = Callable[[bytes], str]  # stores content, returns its "$ref"
Before = Callable[[str | None], State | None]  # a model's id, or None for the task -> its state so far

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
    _name_series(source, folded, after)
    return folded


def _name_series(source: Journal, folded: Fold, after: int) -> None:
    """Tell a fold of the events beyond `after` what its series are, where they were declared earlier."""
    if after and any(number not in folded.series for number in _numbers(folded)):
        earlier = _declared(source, after)
        used = _numbers(folded)
        folded.series = {**earlier.series, **folded.series}
        folded.owners |= {number: of for number, of in earlier.owners.items() if number in used}


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


def _declared(source: Journal, until: int) -> Fold:
    """What a writer said with its events up to `until`, but for scalars, console and content."""
    earlier = Fold(source.writer)
    for record in journal.read(source.folder):
        if record.number > until:
            break
        if record.kind == events.DOCUMENT:
            earlier.add_all((record,))
    return earlier


def model_keys(source: Journal, folded: Fold, after: int, covered: Callable[[str], int]) -> None:
    """Add to a fold what the events up to `after` said and reported of the models in it whose heads lack some of them.

    A model's head is written only when the model changes, so a lower cover may be all there is; or a copy that was cut
    short has brought the task's head without the model's. `covered`: a model's id -> number of the last event that its
    heads cover.
    """
    covers = {of: covered(of) for of in _models(folded)}
    behind = {of: least for of, least in covers.items() if least < after}
    earlier = _earlier(source, behind, after)
    for of in behind:
        if keys := earlier.keys.get(of):
            folded.keys[of] = join_keys(keys, folded.keys.get(of, {}))
        if of in reported(earlier):
            _recount(source, folded, of, covers.pop(of))
    for of in reported(folded) & covers.keys():
        if covers[of] != after:  # greater where the end of a process kept the task's own head from following
            _recount(source, folded, of, covers[of])


def _earlier(source: Journal, behind: Mapping[str, int], after: int) -> Fold:
    """The documents up to event `after` beyond what each of the models that are behind has."""
    earlier = Fold(source.writer)
    for record in journal.read(source.folder, min(behind.values())) if behind else ():
        if record.number > after:
            break
        if record.kind == events.DOCUMENT:
            earlier.add_all((record,))
    return earlier


def _models(folded: Fold) -> list[str]:
    """The models that a fold says or reports something of."""
    return sorted({of for of in folded.keys if of is not None} | reported(folded))


def reported(folded: Fold) -> set[str]:
    """The models that a fold has reports, or declarations, of."""
    plots, samples = (p.of for p in folded.plots), (s.of for s in folded.samples)
    return {of for of in (*plots, *samples, *folded.owners.values()) if of is not None}


def _recount(source: Journal, folded: Fold, of: str, least: int) -> None:
    """Let a fold's reports of a model be those of the events beyond `least`: what its heads do not have yet."""
    later = Fold(source.writer)
    later.add_all(takewhile(lambda record: record.number <= folded.last, journal.read(source.folder, least)))
    _name_series(source, later, least)
    folded.series = {**later.series, **folded.series}
    folded.owners = {**later.owners, **folded.owners}
    size = events.SERIES_NUMBER.size
    own = {events.SERIES_NUMBER.pack(number) for number, owner in folded.owners.items() if owner == of}
    folded.scalars = [each for each in folded.scalars if each[:size] not in own] + [
        each for each in later.scalars if each[:size] in own
    ]
    folded.plots = [p for p in folded.plots if p.of != of] + [p for p in later.plots if p.of == of]
    folded.samples = [s for s in folded.samples if s.of != of] + [s for s in later.samples if s.of == of]
    folded.blobs = {**later.blobs, **folded.blobs}


def deltas(folded: Fold, put: Put, before: Before | None = None) -> dict[str | None, Delta]:
    """What a fold adds, per head (None: the task; else a model's id). Content goes through `put`.

    `before`: gives the state of each that covers all events up to the fold's first, None where there is none.
    """
    parts = _segments(folded, put)
    covers = {folded.writer: folded.last}
    found: dict[str | None, Delta] = {}
    for of in (*_models(folded), None):
        state = before(of) if before and of in parts else None
        known = (each for each in (state.segments if state else ()) if each.writer == folded.writer)
        segments = (next((each.extended(parts[of]) for each in known), parts[of]),) if of in parts else ()
        kind = layout.TASK if of is None else layout.MODEL
        found[of] = Delta(State(kind, folded.keys.get(of, {}), segments), covers)
    _put_blobs(folded, found.values(), put)
    return found


def _segments(folded: Fold, put: Put) -> dict[str | None, Segment]:
    """What was reported of the task, and of each model that anything was reported of."""
    series = _series(folded)
    return {
        of: Segment(
            folded.writer,
            folded.attempt,
            folded.last,
            folded.time,
            tuple(_scalars(series.get(of, []), put)),
            tuple(_console(folded, put)) if of is None else (),
            tuple(_plots(folded, of, put)),
            samples=newest([_sample(each) for each in folded.samples if each.of == of]),
        )
        for of in (None, *sorted(reported(folded)))
    }


def _put_blobs(folded: Fold, found: Iterable[Delta], put: Put) -> None:
    """Store the content that the events brought along, but for that of samples which later ones have replaced."""
    dropped = {Ref.parse(text).id for sample in folded.samples for text in references(sample.content)}
    if dropped:
        dropped -= {Ref.parse(text).id for delta in found for text in delta.state.references()}
    for object_id, blob in folded.blobs.items():
        if object_id not in dropped:
            put(blob)


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


def _scalars(listed: list[scalars.Series], put: Put) -> Iterator[dict[str, Any]]:
    group: list[scalars.Series] = []
    points = names = 0
    for series in _pieces(listed):
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


def _pieces(listed: list[scalars.Series]) -> Iterator[scalars.Series]:
    """The series, those that are too long for one object in several parts."""
    for series in listed:
        for start in range(0, len(series.steps), _POINTS_MAX):
            part = slice(start, start + _POINTS_MAX)
            columns = (series.steps[part], series.times[part], series.values[part])
            yield type(series)(series.title, series.series, *columns)


def _series(folded: Fold) -> dict[str | None, list[scalars.Series]]:
    """A fold's scalars by whose they are and by series, in the order of their first points, and of reporting."""
    if not folded.scalars:
        return {}
    if len(folded.scalars) <= _SHORT_RUN and sys.byteorder == "little":
        return _short_series(folded)
    import numpy as np

    from tracker.scalars import Series

    points = np.frombuffer(b"".join(folded.scalars), np.dtype(events.SCALAR_FIELDS))
    points = points[np.argsort(points["series"], kind="stable")]
    numbers, starts = np.unique(points["series"], return_index=True)
    # A rolled run declares its series again, under new numbers.
    parts: dict[tuple[str | None, tuple[str, str]], list[Any]] = {}
    for number, part in zip(numbers.tolist(), np.split(points, starts[1:]), strict=True):
        if number in folded.series:
            parts.setdefault((folded.owners.get(number), folded.series[number]), []).append(part)
    found: dict[str | None, list[Series]] = {}
    for (of, name), pieces in parts.items():
        part = np.concatenate(pieces)
        series = Series(*name, part["step"].copy(), part["time"].copy(), part["value"].copy())
        found.setdefault(of, []).append(series)
    return found


def _short_series(folded: Fold) -> dict[str | None, list[scalars.Series]]:
    """The same without numpy, whose import would take longer than all else at the end of a short run."""
    from array import array

    from tracker.scalars import Series

    found: dict[str | None, dict[tuple[str, str], Series]] = {}
    for number, step, time_, value in events.SCALAR_FORMAT.iter_unpack(b"".join(folded.scalars)):
        name = folded.series.get(number)
        if name is None:
            continue
        owned = found.setdefault(folded.owners.get(number), {})
        if name not in owned:
            owned[name] = Series(*name, array("q"), array("q"), array("d"))
        owned[name].steps.append(step)
        owned[name].times.append(time_)
        owned[name].values.append(value)
    return {of: list(owned.values()) for of, owned in found.items()}


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
        level = () if text.level is None else (text.level,)
        lines.append(orjson.dumps([text.time, text.stream, text.message, *level]))
        size += len(lines[-1])
        if size >= _CONSOLE_CHUNK:
            yield {"$ref": put(b"\n".join(lines) + b"\n"), "lines": len(lines)}
            lines, size = [], 0
    if lines:
        yield {"$ref": put(b"\n".join(lines) + b"\n"), "lines": len(lines)}


def _plots(folded: Fold, of: str | None, put: Put) -> Iterator[dict[str, Any]]:
    for plot in folded.plots:
        if plot.of != of:
            continue
        yield {
            "$ref": figure_ref(plot) or put(orjson.dumps(plot.figure, option=orjson.OPT_SORT_KEYS)),
            "title": plot.title,
            "series": plot.series,
            "iteration": plot.iteration,
            "time": plot.time,
            **({"kind": plot.kind, "content": dict(plot.content)} if plot.content is not None else {}),
        }


def figure_ref(plot: events.Plot) -> str:
    """Where the figure of a plot is; "" where it is in the event itself."""
    is_ref = isinstance(plot.figure, dict) and plot.figure.keys() == {"$ref"}
    return str(plot.figure["$ref"]) if is_ref else ""


def _sample(sample: events.Sample) -> dict[str, Any]:
    return {
        "title": sample.title,
        "series": sample.series,
        "iteration": sample.iteration,
        "time": sample.time,
        "kind": sample.kind,
        "content": dict(sample.content),
        "history": sample.history,
    }


def why_dead(source: Journal) -> str:
    """For people: what a dead writer's journal says of it. Not for living ones: closing the file would drop a lock."""
    try:
        with os.fdopen(open_regular(source.folder / "alive"), "rb") as file:
            owner = orjson.loads(file.read())
        return f"process {owner['pid']} on {owner['host']} ended without closing"
    except (OSError, ValueError, KeyError, TypeError):
        return "its process ended without closing"
