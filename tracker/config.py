"""One frozen Config, resolved once: argument, then environment, then the store's config.toml, then the user's."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from objstore import layout as store_layout
from tracker import layout
from tracker.errors import BadValue

_TRUE = frozenset(("1", "true", "yes", "y", "on", "t"))
_FALSE = frozenset(("0", "false", "no", "n", "off", "f", ""))


class Garbled(BadValue):
    """A settings file that is no TOML: cut short, perhaps, which nobody meant. A wrong value is somebody's mistake."""


@dataclass(frozen=True)
class Config:
    """Settings. strict: faults of the environment raise instead of warn; close_timeout: seconds to wait at exit for
    what is still being stored; allow_pickle: load pickled artifacts without being asked; force_read: read files that
    are stored again, though they look unchanged; task_reuse_hours (`task.reuse_hours` in a file): how long after its
    end a task without outputs is begun anew by the next run of its project, name and type.
    """

    strict: bool = False
    close_timeout: float = 10.0
    allow_pickle: bool = False
    force_read: bool = False
    task_reuse_hours: float = 72.0


def load(store: Path | None, environment: Mapping[str, str] = os.environ) -> Config:
    """The settings for a store. Raises BadValue that names the file or variable and what it must be."""
    config = Config()
    for path in (user_config(environment), store / "config.toml" if store else None):
        if path is not None and path.is_file():
            config = _apply(config, _read(path), str(path))
    found = {
        f.name: environment[name]
        for f in fields(Config)
        if (name := f"TRACKER_{f.name.upper()}") in environment
    }
    return _apply(config, found, "the environment (TRACKER_…)")


def user_config(environment: Mapping[str, str] = os.environ) -> Path | None:
    """The user's own settings file, if there is a home to look in."""
    base = environment.get("XDG_CONFIG_HOME") or _home(environment, ".config")
    return Path(base) / "tracker" / "config.toml" if base else None


def store_in(folder: Path) -> Path:
    """`folder`, or the .tracker in it where that is a store and `folder` itself is none."""
    inside = folder / layout.STORE
    is_store = (folder / store_layout.FORMAT_FILE).is_file()
    return inside if not is_store and (inside / store_layout.FORMAT_FILE).is_file() else folder


def state_home(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Where runs go whose own store cannot be written."""
    base = environment.get("XDG_STATE_HOME") or _home(environment, ".local/state")
    return Path(base) / "tracker" if base else None


def _home(environment: Mapping[str, str], below: str) -> str | None:
    home = environment.get("HOME") or environment.get("USERPROFILE")
    return f"{home}/{below}" if home else None


def _read(path: Path) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return _flat(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Garbled(f"{path} is not valid TOML: {error}") from error
    except OSError:
        return {}


def _flat(found: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a table under `table_setting`."""
    flat: dict[str, Any] = {}
    for name, value in found.items():
        flat.update(
            {f"{name}_{key}": each for key, each in value.items()}
            if isinstance(value, dict)
            else {name: value}
        )
    return flat


def _apply(config: Config, found: Mapping[str, Any], where: str) -> Config:
    changes: dict[str, Any] = {}
    for field in fields(Config):
        if field.name in found:
            changes[field.name] = _cast(
                found[field.name], type(getattr(config, field.name)), field.name, where
            )
    return replace(config, **changes) if changes else config


def _cast(value: Any, kind: type, name: str, where: str) -> Any:
    if kind is bool:
        if isinstance(value, bool):
            return value
        text = str(value).strip().lower()
        if text in _TRUE or text in _FALSE:
            return text in _TRUE
        raise BadValue(f"{name} in {where} is {value!r}: it must be true or false")
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 <= number < math.inf:
        raise BadValue(f"{name} in {where} is {value!r}: it must be a number, 0 or more")
    return number
