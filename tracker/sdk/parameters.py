"""Parameters as ClearML has them: flat keys `Section/name`, values as text with a type beside them. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
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
            found = structured(text)
            return tuple(found) if kind.startswith("tuple") and isinstance(found, list) else found
    except ValueError:
        return text
    return text


def structured(text: str) -> Any:
    """A text as JSON, else as YAML where the extra is installed, else as Python writes it. Raises ValueError."""
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        import yaml

        return yaml.safe_load(text)
    except ImportError:
        pass
    except yaml.YAMLError as error:
        raise ValueError(f"{text!r} is neither JSON nor YAML") from error
    from ast import literal_eval

    try:
        return literal_eval(text)
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise ValueError(f"{text!r} is neither JSON nor a Python value") from error


def like(default: Any, text: str, kind: str | None) -> Any:
    """A stored text as a value of a default's type, after ClearML's table; `kind`: its stored type.

    int, float, str as Python reads them; bool: a number other than zero, or "true"; containers as JSON or YAML; an Enum
    by its member's name; None: by the stored type. "" is None, but for a text. Raises ValueError.
    """
    if isinstance(default, Enum):
        try:
            return type(default)[text]
        except KeyError:
            members = ", ".join(type(default).__members__)
            raise ValueError(f"it must be one of {members}") from None
    if isinstance(default, str):
        return text
    if text == "":
        return None
    if isinstance(default, bool):
        return _truth(text)
    if isinstance(default, int):
        return int(text)
    if isinstance(default, float):
        return float(text)
    if isinstance(default, list | tuple | dict):
        return _container_like(default, text)
    return cast(text, kind)


def _truth(text: str) -> bool:
    try:
        return bool(float(text))
    except ValueError:
        return text.strip().lower() == "true"


def _container_like(default: Any, text: str) -> Any:
    found = structured(text)
    if isinstance(default, dict):
        if not isinstance(found, dict):
            raise ValueError("it must be a dict")
        return found
    if not isinstance(found, list | tuple):
        raise ValueError("it must be a list")
    return tuple(found) if isinstance(default, tuple) else list(found)


def refill(
    values: dict[Any, Any],
    stored: Mapping[str, Mapping[str, Any]],
    refused: Callable[[str, str], object],
    prefix: str = "",
) -> None:
    """Write a section's stored values into the dict that has their defaults, nested ones in place.

    A value that says what the default is leaves the very default. `refused(name, why)` is told of each that does not
    fit, whose default stays.
    """
    for key, default in list(values.items()):
        name = f"{prefix}{key}"
        if isinstance(default, dict) and default:
            refill(default, stored, refused, f"{name}/")
        elif name in stored and stored[name]["value"] != encode(default):
            try:
                values[key] = like(default, str(stored[name]["value"]), stored[name].get("type"))
            except ValueError as error:
                refused(name, str(error))


def split(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Flat keys as nested dicts, split at each slash; behind a value the rest of a key stays whole."""
    found: dict[str, Any] = {}
    for name, value in sorted(flat.items()):
        level, parts = found, name.split("/")
        while len(parts) > 1 and isinstance(level.setdefault(parts[0], {}), dict):
            level = level[parts.pop(0)]
        level["/".join(parts)] = value
    return found


class NoSection(BadValue, IndexError):
    """A parameter was named without its section, where only the full name will do."""


def properties(*given: Any, **named: Any) -> dict[str, dict[str, str | None]]:
    """User properties as records by name, of dicts with `name` and `value`, of plain dicts, of (name, value) pairs, of
    lists of these, and of keywords. Raises BadValue for anything else.
    """
    found: dict[str, dict[str, str | None]] = {}
    for item in given:
        if isinstance(item, Mapping):
            if "name" in item and "value" in item:
                found[str(item["name"])] = _property(item)
            else:
                found.update({str(name): _property(value) for name, value in item.items()})
        elif isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str):
            found[item[0]] = _property(item[1])
        elif isinstance(item, Iterable) and not isinstance(item, str | bytes):
            found.update(properties(*item))
        else:
            raise BadValue(f"a property is a dict with name and value, or a pair (name, value), not {item!r}")
    found.update({name: _property(value) for name, value in named.items()})
    for name in found:
        if not name.strip("/ "):
            raise BadValue(f"a property needs a name, not {name!r}")
    return found


def _property(value: Any) -> dict[str, str | None]:
    told = value if isinstance(value, Mapping) and "value" in value else {"value": value}
    kind, description = told.get("type"), told.get("description")
    return {
        "value": encode(told["value"]),
        "type": None if kind is None else str(kind),
        "description": None if description is None else str(description),
    }


def key_of(name: str) -> str:
    """The state's key of a parameter: `lr` is `General/lr`, the section ends at the first slash."""
    if not isinstance(name, str) or not name.strip("/ "):
        raise BadValue(f"a parameter needs a name, not {name!r}")
    section, slash, rest = name.partition("/")
    return f"param/{section}/{rest}" if slash else f"param/{DEFAULT_SECTION}/{name}"


class Arguments:
    """Values of any kind into a section, by `put`, as integrations hand them over."""

    def __init__(self, put: Callable[[Mapping[str, Any]], None]) -> None:
        self._put = put

    def copy_from_dict(self, dictionary: Mapping[str, Any], prefix: str | None = None) -> None:
        """Add or change the parameters of a flat dict in the section `prefix`; what is of no plain type as its text."""
        section = (prefix or DEFAULT_SECTION).rstrip("/")
        self._put({f"{section}/{k}": v if acceptable(v) else str(v) for k, v in dictionary.items()})


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
    value: Any,
    before: Mapping[str, Any] | None = None,
    description: str | None = None,
    kind: str | None = None,
) -> dict[str, Any]:
    """What is stored for a parameter; its first type and description stay. kind: its type, if not the value's own."""
    before = before or {}
    kind = before.get("type") or kind or type_of(value)
    told = before.get("description") or description
    return {"value": encode(value), "type": kind, "description": told}


def read(state: State, *, typed: bool = False) -> dict[str, Any]:
    """All parameters of a state, `Section/name` to text, or to typed values."""
    found = {}
    for name, item in state.section("param").items():
        found[name] = cast(item["value"], item.get("type")) if typed else item["value"]
    return found
