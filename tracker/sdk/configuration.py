"""Configuration objects: dicts and lists as JSON, which is valid HOCON; files as the text they hold.

Written as JSON because a text in HOCON does not always come back as it was: pyhocon takes dots in keys for nesting, and
reads a thousand keys in a second.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tracker import hocon
from tracker.errors import BadValue
from tracker.redaction import is_purged, is_redacted
from tracker.sdk.connect import TrackedDict, takes_stored
from tracker.sdk.execution import text_or_ref

if TYPE_CHECKING:
    from tracker.sdk.task.parameters import Parameters

GENERAL: Final = "General"
IGNORE: Final = "_ignore_remote_overrides_config_"
_INCLUDE: Final = re.compile(r"\binclude\s+(\"|(required|url|file|package|classpath)\s*\()")


def text_of(value: Mapping[str, Any] | list[Any]) -> str:
    """A dict or list as JSON. What JSON has no form for is its text, an Enum its name. Raises BadValue for a cycle."""
    try:
        return json.dumps(_plain_keys(value), indent=2, ensure_ascii=False, default=_plain)
    except (ValueError, RecursionError) as error:
        raise BadValue(f"this configuration cannot be recorded: {error}") from None


def _plain_keys(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain_keys(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain_keys(item) for item in value]
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.name
    item = getattr(value, "item", None)  # a numpy number
    return item() if callable(item) and getattr(value, "shape", None) == () else str(value)


def parse(text: str, kind: str | None, name: str) -> Any:
    """A stored text as a dict or list. Raises BadValue that names it."""
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return _parse_yaml(text) if kind in ("yaml", "yml") else _parse_hocon(text)
    except ImportError as error:
        extra = "yaml" if error.name == "yaml" else "hocon"
        raise BadValue(
            f"configuration {name!r} is not JSON: pip install 'dottracker[{extra}]' to have it read"
        ) from None
    except Exception as error:  # the parsers' own, of every kind
        raise BadValue(f"configuration {name!r} cannot be read: {error}") from error


def _parse_yaml(text: str) -> Any:
    import yaml

    return yaml.safe_load(text)


def _parse_hocon(text: str) -> Any:
    if _INCLUDE.search(text):
        raise ValueError("it has an `include`, which could name any file or URL: write what it stands for")
    return hocon.parse(text)


# --- of a task -------------------------------------------------------------------------------------------------------


def store(task: Parameters, name: str, text: str, kind: str | None, description: str | None) -> None:
    """Record a text under a name; its first description stays where no new one is given. Raises BadValue."""
    if not isinstance(name, str) or not name.strip():
        raise BadValue(f"a configuration object needs a name, not {name!r}")
    before = task._state.get(f"config/{name}", {})
    record = {
        "value": text_or_ref(text, task.attach),
        "type": kind if kind is not None else before.get("type"),
        "description": description if description is not None else before.get("description"),
    }
    if record != before:
        task.set_key(f"config/{name}", record)


def text(task: Parameters, name: str) -> str | None:
    """The stored text of that name."""
    record = task._state.get(f"config/{name}")
    if record is None:
        return None
    value = record["value"]
    if isinstance(value, Mapping):
        from tracker.records import Ref

        return task.workspace.read(task._fresh(), Ref.parse(value["$ref"])).decode("utf-8", "replace")
    return str(value)


def parsed(task: Parameters, name: str) -> Any:
    """The stored object of that name as a dict or list."""
    found = text(task, name)
    return None if found is None else parse(found, task._state.get(f"config/{name}").get("type"), name)


def connect(task: Parameters, given: Any, name: str, description: str | None, ignore: bool) -> Any:
    """Record an object; where the task is run again fill it with what is stored first. Raises BadValue."""
    if not isinstance(given, dict | list | str | Path):
        raise BadValue(f"a configuration is a dict, a list or a file's path, not {type(given).__name__}")
    stored = text(task, name) if takes_stored(task, f"{name}/{IGNORE}", ignore) else None
    if stored is None and task.replays and not ignore:
        task.fault(f"the task has no configuration {name!r}: the script's own is used and recorded", None)
    if isinstance(given, dict):
        return _connect_dict(task, given, name, description, stored)
    if isinstance(given, list):
        if stored is not None:
            given[:] = _of(_parsed_for(task, name, stored, given), list, name)
        else:
            store(task, name, text_of(given), "list", description)
        return given
    return _connect_file(task, given, name, description, stored)


def _connect_dict(
    task: Parameters, given: dict[Any, Any], name: str, description: str | None, stored: str | None
) -> TrackedDict:
    run = task._run

    def changed(values: Mapping[Any, Any]) -> None:
        if task._run is run:
            store(task, name, text_of(values), "dictionary", None)

    if stored is not None:
        found = _of(_parsed_for(task, name, stored, given), dict, name)
        given.clear()
        given.update(found)
    else:
        store(task, name, text_of(given), "dictionary", description)
    return TrackedDict(given, changed)


def _parsed_for(task: Parameters, name: str, stored: str, own: Any) -> Any:
    """A stored text as an object, the script's own values in the place of secrets that were left out."""
    if is_purged(stored):
        return own.copy()
    found = parse(stored, task._state.get(f"config/{name}").get("type"), name)
    return _with_own(found, own.copy()) if is_redacted(stored) else found


def _with_own(stored: Any, own: Any) -> Any:
    """The stored object; where a value of it was redacted the script's own, and no such key where it has none."""
    if isinstance(stored, dict):
        known = own if isinstance(own, Mapping) else {}
        kept = {key: item for key, item in stored.items() if key in known or not _is_marked(item)}
        return {key: _with_own(item, known.get(key)) for key, item in kept.items()}
    return own if _is_marked(stored) else stored


def _is_marked(value: Any) -> bool:
    """Whether a value is a text whose secret was left out, or a list that holds one: places in lists mean nothing."""
    return is_redacted(json.dumps(value, default=str) if isinstance(value, list) else value)


def _of(found: Any, kind: type, name: str) -> Any:
    if not isinstance(found, kind):
        raise BadValue(
            f"configuration {name!r} holds a {type(found).__name__}, where a {kind.__name__} is expected"
        )
    return found


def _connect_file(
    task: Parameters, given: str | Path, name: str, description: str | None, stored: str | None
) -> str | Path:
    path = Path(given)
    if stored is None:
        try:
            content = path.read_bytes().decode("utf-8")  # line ends included
        except (OSError, ValueError) as error:
            raise BadValue(f"configuration {name!r}: {given} cannot be read as text: {error}") from error
        store(task, name, content, path.suffix.removeprefix(".") or "file", description)
        return given
    if is_redacted(stored):
        task.fault(
            f"configuration {name!r} is stored without its secrets: the script's own {given} is used", None
        )
        return given
    descriptor, made = tempfile.mkstemp(prefix="clearml_task_config_", suffix=path.suffix)
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
        file.write(stored)
    return type(given)(made) if isinstance(given, str) else Path(made)
