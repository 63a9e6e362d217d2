"""ClearML's layout at a destination: <dest>/<project>/<task name>.<id>/artifacts|models/…. Pure."""

from __future__ import annotations

from typing import Final

_SPELLED: Final = frozenset("#\"';?:@&=+$,%!\\<>|*")  # ClearML's, and those that some file system cannot hold


def public(url: str) -> str:
    """A URL without a user and password in it, as it may be recorded."""
    scheme, mark, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{mark}{host.rpartition('@')[2]}{slash}{path}" if scheme != "file" else url


def escaped(name: str) -> str:
    """A name as one part of a URL's path: `/` is `.slash.`, what URLs and file systems obey is `0xNN`."""
    spelled = "".join(
        f"0x{ord(c):02x}" if c in _SPELLED or ord(c) < 32 or ord(c) == 127 else c
        for c in name.replace("/", ".slash.")
    )
    if not spelled.strip("."):  # "", "." and ".." would be other places
        return "".join(f"0x{ord(c):02x}" for c in spelled) or "0x"
    return spelled


def task_folder(project: str, name: str, key: str) -> str:
    """A task's folder below a destination; a project's parts are folders."""
    parts = [escaped(part) for part in project.split("/") if part]
    return "/".join([*parts, f"{escaped(name)}.{key}"])


def artifact_name(folder: str, name: str, file: str) -> str:
    """An artifact's file below a destination."""
    return f"{folder}/artifacts/{escaped(name)}/{escaped(file)}"


def is_copy(url: str, key: str, *parts: str) -> bool:
    """Whether a URL has the end that copies of this task have: a record from elsewhere may name any file at all."""
    return url.endswith(f".{key}/{'/'.join(map(escaped, parts))}")


def model_name(folder: str, file: str) -> str:
    """A weights file below a destination."""
    return f"{folder}/models/{escaped(file)}"
