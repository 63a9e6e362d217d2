"""What a task, project or model may be called. The name is content: no path is ever made of it whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tracker import layout
from tracker.errors import BadValue


def check_name(what: str, name: object) -> str:
    """Return `name` without white space around it, if it may name a task, project or model (`what`, for the message).

    Raises BadValue: not text, under 3 characters, too long, or with control characters or lone surrogates.
    """
    if not isinstance(name, str):
        raise BadValue(f"the {what} name must be text, not {type(name).__name__}")
    bare = name.strip()
    if len(bare) < layout.NAME_MIN:
        raise BadValue(f"the {what} name {name!r} is too short: {layout.NAME_MIN} characters or more")
    if len(bare) > layout.NAME_MAX:
        raise BadValue(f"the {what} name has {len(bare)} characters: {layout.NAME_MAX} or fewer")
    if not all(map(_printable, bare)):
        raise BadValue(f"the {what} name {name!r} has control characters: leave them out")
    return bare


def without_surrogates(value: Any) -> Any:
    """A JSON value with what is no character, such as the undecodable bytes of a file name, spelled out."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Mapping):
        return {without_surrogates(k): without_surrogates(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [without_surrogates(item) for item in value]
    return value


def default_name(what: str, name: str) -> str:
    """A name that was found, not given: made long enough rather than refused."""
    bare = "".join(filter(_printable, name)).strip()
    return bare if len(bare) >= layout.NAME_MIN else f"{bare}-{what}".lstrip("-")


def _printable(character: str) -> bool:
    code = ord(character)
    return not (code < 32 or code == 127 or 0xD800 <= code <= 0xDFFF)
