"""Parameters as ClearML has them: flat keys `Section/name`, values as text with a type beside them. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, Final

from tracker.errors import BadValue
from tracker.records import State

_DEPTH_MAX: Final = 50  # of containers in containers
DEFAULT_SECTION: Final = "General"
PROPERTIES: Final = "properties"
_BASIC: Final = (str, int, float, bool, list, tuple, dict, type(None), Enum)


def encode(value: Any) -> str:
    """A value as the text that is stored: None is "", containers are JSON, an Enum is its member's name."""
    if value is None:
        return ""
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, list | tuple | dict):
        try:
            return json.dumps(value)
        except (TypeError, ValueError):
            return str(value)
    return str(value)


def type_of(value: Any) -> str | None:
    """The name of a value's type; of a list of one type `list/int`. None for None."""
    if value is None:
        return None
    if isinstance(value, list | tuple | dict):
        name = "dict" if isinstance(value, dict) else type(value).__name__
        items = {type(v).__name__ for v in (value.values() if isinstance(value, dict) else value)}
        return f"{name}/{items.pop()}" if len(items) == 1 else name
    return type(value).__name__


def cast(text: str, kind: str | None) -> Any:
    """A stored text as its type; the text itself where it does not fit."""
    if text == "" and kind is None:
        return None
    try:
        if kind == "int":
            return int(text)
        if kind == "float":
            return float(text)
        if kind == "bool":
            return {"true": True, "false": False}.get(text.lower(), text)
        if kind is not None and kind.split("/")[0] in ("list", "tuple", "dict"):
            found = json.loads(text)
            return tuple(found) if kind.startswith("tuple") else found
    except ValueError:
        return text
    return text


def key_of(name: str) -> str:
    """The state's key of a parameter: `lr` is `General/lr`, the section ends at the first slash."""
    if not isinstance(name, str) or not name.strip("/ "):
        raise BadValue(f"a parameter needs a name, not {name!r}")
    section, slash, rest = name.partition("/")
    return f"param/{section}/{rest}" if slash else f"param/{DEFAULT_SECTION}/{name}"


def flatten(*given: Any, **named: Any) -> dict[str, Any]:
    """Dicts and iterables of pairs as one flat dict. Raises BadValue for anything else."""
    found: dict[str, Any] = {}
    for item in (*given, named):
        if isinstance(item, Mapping):
            found.update(item)
        elif isinstance(item, Iterable) and not isinstance(item, str | bytes):
            try:
                found.update(dict(item))
            except (TypeError, ValueError) as error:
                raise BadValue(f"parameters are a dict or pairs of (name, value), not {item!r}") from error
        else:
            raise BadValue(f"parameters are a dict or pairs of (name, value), not {type(item).__name__}")
    return found


def nested(mapping: Mapping[Any, Any], prefix: str = "", depth: int = 0) -> dict[str, Any]:
    """A nested dict as one of flat keys joined with `/`. An empty dict stays a value. Raises BadValue for a cycle."""
    if depth > _DEPTH_MAX:
        raise BadValue(f"parameters are nested deeper than {_DEPTH_MAX}, or hold themselves: {prefix[:40]}…")
    found: dict[str, Any] = {}
    for key, value in mapping.items():
        name = f"{prefix}/{key}" if prefix else str(key)
        if isinstance(value, Mapping) and value:
            found.update(nested(value, name, depth + 1))
        else:
            found[name] = value
    return found


def acceptable(value: Any, depth: int = 0) -> bool:
    """Whether a value can be a parameter: a basic one, or a container of such that does not hold itself."""
    if isinstance(value, dict | list | tuple):
        inside = (*value.keys(), *value.values()) if isinstance(value, dict) else value
        return depth < _DEPTH_MAX and all(acceptable(item, depth + 1) for item in inside)
    return isinstance(value, _BASIC)


def record(
    value: Any, before: Mapping[str, Any] | None = None, description: str | None = None
) -> dict[str, Any]:
    """What is stored for a parameter; its first type and description stay."""
    before = before or {}
    kind = before.get("type") or type_of(value)
    told = before.get("description") or description
    return {"value": encode(value), "type": kind, "description": told}


def read(state: State, *, typed: bool = False) -> dict[str, Any]:
    """All parameters of a state, `Section/name` to text, or to typed values."""
    found = {}
    for name, item in state.section("param").items():
        found[name] = cast(item["value"], item.get("type")) if typed else item["value"]
    return found
