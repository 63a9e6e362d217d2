"""A session into the store: all of it in one transaction, or nothing. The same session gets the same id everywhere.

Never twice unless asked: its id is made of its content, and each task remembers the sessions that went into it.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from objstore.heads import Head
from tracker import events, layout, seal
from tracker.codecs.protocol import file_name, media_type
from tracker.errors import BadValue
from tracker.names import without_surrogates
from tracker.reader import united_covers
from tracker.records import Entry, Ref, State
from tracker.redaction import Lines, redact_bytes, redact_value
from tracker.scalars import number_to_json
from tracker.sessions import members, own, session
from tracker.sessions.gathering import Reports
from tracker.sessions.session import Happening, Session
from tracker.sessions.target import ORIGIN, OWN, Imported, continued, digest, next_attempt, taken
from tracker.state import merge

if TYPE_CHECKING:
    from tracker.workspace import Workspace

_INLINE: Final = 64 << 10  # bytes of a text that are part of the record itself, as for a captured diff
_CODE: Final = ("repository", "branch", "version_num", "working_dir", "entry_point", "binary")
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]+")
_STREAMS: Final = {20: "stdout", 40: "stderr"}


def import_session(
    workspace: Workspace,
    where: str | Path,
    previous: str | None = None,
    iteration_offset: int = 0,
    *,
    again: bool = False,
) -> Imported:
    """Take ClearML's offline session, a zip or folder, in as a completed task; or let it continue the task `previous`.

    A session of this program comes back as the task that it is, unless it shall continue another, be there once more,
    or have other iterations. iteration_offset is added to each iteration, but not to single values. A session that is
    here already is not taken again, unless `again`. Raises BadValue for what is no session, or hostile: nothing is
    written then. Raises TaskNotFound; UsageError for a task that still runs or is published, and for one that shall
    continue itself; OSError.
    """
    path = Path(where).expanduser()
    if (
        isinstance(iteration_offset, bool)
        or not isinstance(iteration_offset, int)
        or abs(iteration_offset) >= 2**62
    ):
        raise BadValue(f"iteration_offset {iteration_offset!r}: a whole number of 62 bits is expected")
    with members.opened(path) as files:
        if members.BUNDLE in files.sizes and "task.json" not in files.sizes:
            return own.take_in(workspace, files, previous, iteration_offset, again)
        found = Session(files)
        content = files.digest()
        if not again and (key := taken(workspace, found.id, content, digest(found.id, content))) is not None:
            return Imported(key, found.id, known=True)
        return _Import(workspace, found, content, previous, iteration_offset, again).run()


class _Import:
    """One session on its way into the store."""

    def __init__(
        self,
        workspace: Workspace,
        found: Session,
        content: str,
        previous: str | None,
        offset: int,
        again: bool,
    ) -> None:
        self.workspace, self.session, self.content, self.offset = workspace, found, content, offset
        salt = secrets.token_hex(16) if again else ""
        self.previous = previous
        self.key = previous or digest(found.id, content, *([salt] if salt else []))
        self.writer = digest(found.id, content, self.key, salt)[: layout.WRITER_SIZE]
        self.before: State | None = None
        self.heads: list[Head] = []
        if previous:
            self.before, self.heads = continued(workspace, previous)
        self.left_out: dict[str, int] = {}
        self.singles: dict[str, dict[str, Any]] = {}  # keys by whose they are
        self.reports: dict[str, Reports] = {"": Reports()}
        self.stored: dict[str, str] = {}
        self.started = self.ended = 0
        self.host = ""

    def run(self) -> Imported:
        """Do it."""
        store = self.workspace.store
        with store.begin() as transaction:
            self.transaction = transaction
            self._console()
            self._events()
            values = self._values()
            models = dict(self._models())
            stamp = self._stamp()
            links = {
                f"model/output/{k}": {"name": _stem(v) or str(v["name"])} for k, (_, v) in models.items()
            }
            numbers = {name: stamp + n for n, name in enumerate(links)}  # their order is that of their making
            self._commit({**values, **links}, numbers, stamp)
            for key, (offline_id, model) in models.items():
                self._commit_model(key, model, self.reports.pop(offline_id, Reports()), stamp)
        return Imported(self.key, self.session.id, left_out=self.left_out)

    def _stamp(self) -> int:
        """When all was said: the end of the session, so that no later edit is undone by importing it elsewhere."""
        now = time.time_ns() // 1000
        if self.before is None:
            return max(1, min(self.ended, now))
        return max(now, 1 + self.before.stamp)

    def _commit(self, values: Mapping[str, Any], numbers: Mapping[str, int], stamp: int) -> None:
        entries = self._entries(values, stamp, numbers)
        segment = self.reports[""].segment(self.writer, self._attempt(), self._put)
        state = State(layout.TASK, entries, (segment,))
        covers = {**united_covers(self.heads), self.writer: segment.last}
        whole = state if self.before is None else merge((self.before, state))
        seal.commit_state(self.workspace.store, self.transaction, self.key, whole, self.heads, covers)

    def _commit_model(self, key: str, values: Mapping[str, Any], reports: Reports, stamp: int) -> None:
        segments = () if reports.empty else (reports.segment(self.writer, self._attempt(), self._put),)
        state = State(layout.MODEL, self._entries(values, stamp), segments)
        covers = {self.writer: segments[0].last if segments else 1}
        seal.commit_state(self.workspace.store, self.transaction, key, state, [], covers)

    def _entries(
        self, values: Mapping[str, Any], stamp: int, numbers: Mapping[str, int] | None = None
    ) -> dict[str, Entry]:
        cleaned = without_surrogates(values)
        if self.workspace.config.redact:
            cleaned = {name: redact_value(name, value) for name, value in cleaned.items()}
        stamps = numbers or {}
        return {k: Entry(v, stamps.get(k, stamp), self.writer) for k, v in cleaned.items()}

    def _attempt(self) -> int:
        return next_attempt(self.before)

    # --- content -----------------------------------------------------------------------------------------------------

    def _put(self, data: bytes) -> str:
        return str(Ref("blob", str(self.transaction.put_bytes(data)), len(data)))

    def _text(self, text: str) -> str | dict[str, str]:
        """A text as a record has it: a long one is an object, since every table and every edit reads the record."""
        data = text.encode("utf-8", "backslashreplace")
        if len(data) <= _INLINE:
            return text
        return {"$ref": self._put(redact_bytes(data) if self.workspace.config.redact else data)}

    def _file(self, name: str) -> str:
        """The "$ref" of a file of the session, which is stored once."""
        if name not in self.stored:
            with self.session.members.open(name) as file:
                object_id, size = self.transaction.put_stream(file)
            self.stored[name] = str(Ref("blob", str(object_id), size))
        return self.stored[name]

    def _place(self, place: object) -> dict[str, Any] | None:
        """Where a path or URL of the session leads to: its content, or the URL; None for a path that leads nowhere."""
        name = self.session.member(place)
        if name is not None:
            return {"$ref": self._file(name)}
        if not isinstance(place, str) or not place:
            return None
        if place.startswith(("/", "file:")) or "://" not in place:
            self._leave("files that are not in the session")
        return {"url": place}

    def _leave(self, what: str) -> None:
        self.left_out[what] = self.left_out.get(what, 0) + 1

    def _seen(self, moment: int) -> int:
        if moment:
            self.started = min(self.started or moment, moment)
            self.ended = max(self.ended, moment)
        return moment

    # --- events ------------------------------------------------------------------------------------------------------

    def _console(self) -> None:
        lines: dict[str, Lines] = {}
        said = sorted(self.session.console(), key=lambda each: each.time)
        for each in said:
            self._seen(each.time)
            self.host = self.host or each.worker.partition(":")[0]
            stream = _STREAMS.get(each.level, "log")
            for line in each.text.removesuffix("\n").split("\n"):
                clean = (
                    lines.setdefault(stream, Lines()).redact(line) if self.workspace.config.redact else line
                )
                level = each.level if stream == "log" and each.level != logging.INFO else None
                self.reports[""].texts.append(events.Text(stream, each.time, clean, level))

    def _events(self) -> None:
        take: dict[str, Callable[[Happening, Reports], None]] = {
            "scalar": self._scalar,
            "single": self._single,
            "plot": self._plot,
            "sample": self._sample,
            "vector": self._vector,
        }
        known = {str(item.get("id")) for item in self.session.items("offline_output_models")}
        for each in self.session.happenings():
            self._seen(each.time)
            if each.kind not in take:
                self._leave(f"events of type {each.kind[:80]}")
            elif each.of and each.of not in known:
                self._leave("events of models that the session does not name")
            else:
                take[each.kind](each, self.reports.setdefault(each.of, Reports()))

    def _scalar(self, each: Happening, reports: Reports) -> None:
        value = session.number(each, self.session.members.where)
        reports.scalar(each.title, each.series, each.iteration + self.offset, each.time, value)

    def _single(self, each: Happening, reports: Reports) -> None:
        value = session.number(each, self.session.members.where)
        singles = self.singles.setdefault(each.of, {})
        before = singles.get(f"single/{each.series}")
        if before is None or before["time"] <= each.time:
            singles[f"single/{each.series}"] = {"value": number_to_json(value), "time": each.time}

    def _plot(self, each: Happening, reports: Reports) -> None:
        figure = session.figure(each, self.session.members.where)
        more: dict[str, Any] = {}
        if (content := self._pictures(figure)) is not None:
            more = {"kind": "picture", "content": content}
        elif (rows := _rows(figure)) is not None:
            file = file_name(f"{each.title}_{each.series}", ".json")
            place = {"$ref": self._put(orjson.dumps({"rows": rows}))}
            more = {"kind": "table", "content": {**place, "file": file, "content_type": "application/json"}}
        iteration = each.iteration + self.offset
        reports.plots.append((events.Plot(each.title, each.series, iteration, each.time, figure), more))

    def _vector(self, each: Happening, reports: Reports) -> None:
        values = session.numbers(each, self.session.members.where)
        trace = {"type": "bar", "name": each.series, "y": values}
        figure = {"data": [trace], "layout": {"title": {"text": each.title}}}
        iteration = each.iteration + self.offset
        reports.plots.append((events.Plot(each.title, each.series, iteration, each.time, figure), {}))

    def _pictures(self, figure: Any) -> dict[str, Any] | None:
        """Let a figure's pictures be those in the store; the first of them as a record names it."""
        found = None
        inside = figure.get("layout") if isinstance(figure, dict) else None
        images = inside.get("images") if isinstance(inside, dict) else None
        for image in images if isinstance(images, list) else []:
            name = self.session.member(image.get("source")) if isinstance(image, dict) else None
            if name is not None:
                content = self._content(name)
                image["source"] = f"tracker://{Ref.parse(content['$ref']).id}/{content['file']}"
                found = found or content
        return found

    def _content(self, name: str) -> dict[str, Any]:
        file = file_name(name.rpartition("/")[2])
        return {"$ref": self._file(name), "file": file, "content_type": media_type(file)}

    def _sample(self, each: Happening, reports: Reports) -> None:
        key = each.raw.get("key")
        name = self.session.member(each.raw.get("url")) or self.session.member(f"data/{key}")
        if name is not None:
            content = self._content(name)
        else:
            place = self._place(each.raw.get("url"))
            if place is None:
                return self._leave("samples without content")
            file = file_name(str(place["url"]).partition("?")[0].rpartition("/")[2])
            content = {**place, "file": file, "content_type": media_type(file)}
        kind = "image" if str(content["content_type"]).startswith("image/") else "media"
        reports.samples.append(
            {
                "title": each.title,
                "series": each.series,
                "iteration": each.iteration + self.offset,
                "time": each.time,
                "kind": kind,
                "content": content,
                "history": 0,
            }
        )
        return None

    # --- the record --------------------------------------------------------------------------------------------------

    def _values(self) -> dict[str, Any]:
        """The keys of the task."""
        record = self.session.record
        found: dict[str, Any] = {
            "name": _name(record.get("name")) or self.session.id,
            "project": _name(record.get("project_name")) or "Untitled",
            "type": str(record.get("type") or "training"),
            "comment": str(record.get("comment") or ""),
            **{f"tag/{tag}": True for tag in _listed(record, "tags")},
            **{f"system_tag/{tag}": True for tag in _listed(record, "system_tags")},
            **dict(self._parameters()),
            **dict(self._configurations()),
            **dict(self._artifacts()),
            **self._code(),
            **self.singles.get("", {}),
        }
        if labels := self.session.part("execution", "model_labels"):
            found["labels"] = dict(labels)
        if self.before is not None:
            found = {name: value for name, value in found.items() if name not in OWN}
        started = self.started or self.ended
        times = {"created": started, "started": started, "completed": self.ended}
        found.update({n: t for n, t in times.items() if t and (self.before is None or n not in OWN)})
        if self.host:
            found["host"] = self.host
        reason = "init" if self.before is None else "resume"
        raw = redact_bytes(self.session.raw) if self.workspace.config.redact else self.session.raw
        return {
            **found,
            "status": "completed",
            "status_reason": f"imported from ClearML's session {_name(self.session.id)}",
            f"attempt/{self._attempt()}": {"reason": reason},
            ORIGIN + self.content: {
                "system": "clearml",
                "id": self.session.id,
                "record": {"$ref": self._put(raw)},
            },
        }

    def _parameters(self) -> Iterator[tuple[str, Any]]:
        for section in self.session.part("hyperparams"):
            for name in (inside := self.session.part("hyperparams", section)):
                yield f"param/{section}/{name}", _valued(inside[name], f"hyperparams.{section}.{name}")

    def _configurations(self) -> Iterator[tuple[str, Any]]:
        for name, one in self.session.part("configuration").items():
            record = _valued(one, f"configuration.{name}")
            yield f"config/{name}", {**record, "value": self._text(record["value"])}

    def _code(self) -> dict[str, Any]:
        script = self.session.part("script")
        found: dict[str, Any] = {}
        if script:
            code = {name: str(script.get(name) or "") for name in _CODE}
            found["script"] = {**code, "diff": self._text(str(script.get("diff") or ""))}
        requirements = script.get("requirements")
        pip = requirements.get("pip") if isinstance(requirements, Mapping) else None
        if pip:
            found["packages"] = pip if isinstance(pip, str) else "\n".join(_listed({"pip": pip}, "pip"))
        image, _, arguments = str(self.session.part("execution").get("docker_cmd") or "").partition(" ")
        box = {"image": image, "arguments": arguments} if image else {}
        box.update({name: str(text) for name, text in self.session.part("container").items() if text})
        return {**found, "container": box} if box else found

    def _artifacts(self) -> Iterator[tuple[str, Any]]:
        for item in self.session.items("execution", "artifacts"):
            name, uri, about = str(item.get("key") or ""), item.get("uri"), item.get("type_data")
            place = self._place(uri)
            if not name or place is None:
                self._leave("artifacts without a name or a place")
                continue
            shown = about if isinstance(about, Mapping) else {}
            moment = item.get("timestamp")
            seconds = int(moment) if isinstance(moment, int | float) and 0 <= moment < 2**43 else 0
            self._seen(seconds * 1_000_000)
            yield (
                f"artifact/{name}",
                {
                    **place,
                    "type": str(item.get("type") or "custom"),
                    "file": file_name(str(uri).partition("?")[0].replace("\\", "/").rpartition("/")[2]),
                    "content_type": str(shown.get("content_type") or ""),
                    "preview": self._preview(str(shown.get("preview") or "")),
                    "metadata": _pairs(item.get("display_data")),
                    "timestamp": seconds,
                },
            )

    def _preview(self, text: str) -> str | dict[str, str]:
        data = text.encode("utf-8", "replace")
        return text if len(data) <= layout.PREVIEW_MAX else {"$ref": self._put(data)}

    # --- models ------------------------------------------------------------------------------------------------------

    def _models(self) -> Iterator[tuple[str, tuple[str, dict[str, Any]]]]:
        """The id of each model here, its id in the session, and its keys. Of one that was updated the last word."""
        for item in self.session.items("offline_output_models"):
            begun, weights = _members(item, "init"), _members(item, "weights")
            offline_id = str(item.get("id") or "")
            yield (
                digest(self.key, self.writer, offline_id),
                (offline_id, self._model(begun, weights, offline_id)),
            )

    def _model(self, begun: Mapping[str, Any], weights: Mapping[str, Any], offline_id: str) -> dict[str, Any]:
        task = self.before.get("project") if self.before else _name(self.session.record.get("project_name"))
        found: dict[str, Any] = {
            "name": _name(begun.get("name")) or _name(self.session.record.get("name")) or offline_id,
            "project": task or "Untitled",
            "task": self.key,
            "comment": str(begun.get("comment") or "").replace(self.session.id, self.key),
            "framework": str(begun.get("framework") or ""),
            "created": self.ended,
            **{f"tag/{tag}": True for tag in _listed(begun, "tags")},
            **self.singles.get(offline_id, {}),
        }
        if weights.get("is_package"):
            found["system_tag/package"] = True
        if labels := _members(begun, "label_enumeration"):
            found["labels"] = dict(labels)
        if design := _members(begun, "config_dict") or begun.get("config_text"):
            found["config"] = dict(design) if isinstance(design, Mapping) else str(design)
        source = weights.get("weights_filename") or weights.get("register_uri")
        place = self._place(source)
        if place is not None:
            file = str(weights.get("target_filename") or source).replace("\\", "/").rpartition("/")[2]
            iteration = weights.get("iteration")
            step = {"iteration": iteration + self.offset} if isinstance(iteration, int) else {}
            found["weights"] = {**place, "file": file_name(file), **step}
        return found


# --- parts of a record -----------------------------------------------------------------------------------------------


def _name(value: object) -> str:
    """A name as it may stand here: ClearML offline takes any, of two characters, too."""
    return _UNPRINTABLE.sub(" ", str(value or "")).strip()[: layout.NAME_MAX]


def _rows(figure: Any) -> list[list[Any]] | None:
    """The rows of a table that plotly draws, its header first; None for any other figure."""
    traces = figure.get("data") if isinstance(figure, dict) else None
    if not isinstance(traces, list) or len(traces) != 1 or not isinstance(traces[0], dict):
        return None
    header, cells = _members(traces[0], "header").get("values"), _members(traces[0], "cells").get("values")
    if traces[0].get("type") != "table" or not isinstance(header, list) or not isinstance(cells, list):
        return None
    if not all(isinstance(column, list) and len(column) == len(cells[0]) for column in cells):
        return None
    if len(header) != len(cells):
        return None
    names = [" / ".join(map(str, each)) if isinstance(each, list) else each for each in header]
    return [names, *([column[n] for column in cells] for n in range(len(cells[0]) if cells else 0))]


def _stem(model: Mapping[str, Any]) -> str:
    return Path(str(model.get("weights", {}).get("file", ""))).stem


def _members(item: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = item.get(name)
    return found if isinstance(found, Mapping) else {}


def _listed(item: Mapping[str, Any], name: str) -> list[str]:
    found = item.get(name)
    return [str(each) for each in found] if isinstance(found, list) else []


def _valued(one: Any, where: str) -> dict[str, Any]:
    if not isinstance(one, Mapping):
        raise BadValue(f"task.json: {where} is an object with a value, not {type(one).__name__}")
    value = one.get("value")
    return {
        "value": "" if value is None else str(value),
        "type": None if one.get("type") is None else str(one["type"]),
        "description": None if one.get("description") is None else str(one["description"]),
    }


def _pairs(listed: Any) -> dict[str, str]:
    rows = listed if isinstance(listed, list) else []
    return {str(row[0]): str(row[1]) for row in rows if isinstance(row, list) and len(row) == 2}
