"""Changes settings in a config.toml, whose comments, order and unknown parts stay as they are. Reads nothing else."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracker import config
from tracker.errors import BadValue

if TYPE_CHECKING:
    from tomlkit import TOMLDocument


def named(key: str) -> config.Setting:
    """The setting of that key, as in a file or with the dots as `_`. Raises BadValue with the near names."""
    table = config.settings()
    for each in table:
        if key in (each.key, each.name):
            return each
    from difflib import get_close_matches

    near = get_close_matches(key, [each.key for each in table], 3, 0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else "`tracker config` lists them"
    raise BadValue(f"there is no setting {key!r}: {hint}")


def set_value(path: Path, key: str, text: str, *, users: bool) -> Any:
    """Set one setting in a file, made if it is not there; returns the value. users: it is the user's own file.

    Raises BadValue for a wrong value, and for a setting that has no say there.
    """
    setting = named(key)
    _check_place(setting, users)
    try:
        value = setting.parse(text)
    except ValueError as error:
        raise BadValue(f"{setting.key} cannot be {text!r}: it must be {error}") from None
    if setting.places == "user" and not users and value:
        raise BadValue(
            f"{setting.key} counts in your own settings only, since a store may come from elsewhere: add --user"
        )
    written = list(value) if isinstance(value, tuple) else value

    def change(document: TOMLDocument) -> bool:
        *tables, last = setting.key.split(".")
        _table(document, tables, path)[last] = written
        return True

    _rewrite(path, change)
    return value


def unset(path: Path, key: str, *, users: bool) -> bool:
    """Remove one setting from a file; whether it was there. Raises BadValue."""
    setting = named(key)
    _check_place(setting, users)
    if not path.exists():
        return False

    def change(document: TOMLDocument) -> bool:
        *tables, last = setting.key.split(".")
        found: Any = document
        for name in tables:
            found = found.get(name, {})
        return found.pop(last, None) is not None

    return _rewrite(path, change)


def _check_place(setting: config.Setting, users: bool) -> None:
    if setting.places == "environment":
        raise BadValue(f"{setting.key} stands in no file: it is the variable {setting.variable}")


def _table(document: TOMLDocument, names: list[str], path: Path) -> Any:
    import tomlkit

    found: Any = document
    for name in names:
        if name not in found:
            found[name] = tomlkit.table()
        found = found[name]
        if not isinstance(found, dict):
            raise BadValue(f"{path}: {name} is no table: write [{name}]")
    return found


def _rewrite(path: Path, change: Callable[[TOMLDocument], bool]) -> bool:
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        document = tomlkit.parse(text)
    except (TOMLKitError, UnicodeDecodeError) as error:
        raise config.Garbled(f"{path} is not valid TOML: {error}") from error
    if not change(document):
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        part.write_text(tomlkit.dumps(document), encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return True
