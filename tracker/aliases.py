"""Aliases: names such as best@prod that stand for a task or model until they are moved. Each is a thing of its own.

The key is made of the name, so that two places that give one alias mean the same thing, and the later one counts.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from blake3 import blake3

from objstore.errors import NotFound
from tracker import layout
from tracker.errors import BadValue, TaskNotFound

if TYPE_CHECKING:
    from tracker.reader import Thing
    from tracker.workspace import Workspace

_NAME: Final = re.compile(r"[^@\s/:][^@:\x00-\x1f\x7f]{0,199}@[\w.+-]{1,100}")
_CONTEXT: Final = "tracker alias v1"


def is_alias(text: str) -> bool:
    """Whether a text has the form of an alias, NAME@LABEL."""
    return _NAME.fullmatch(text) is not None


def key_of(name: str) -> str:
    """The key of an alias. Raises BadValue for what has not the form of one."""
    if not is_alias(name):
        raise BadValue(f"{name!r} is no alias: NAME@LABEL is expected, such as best@prod")
    return blake3(name.encode(), derive_key_context=_CONTEXT).hexdigest()[:32]


def put(workspace: Workspace, name: str, target: Thing) -> None:
    """Let an alias stand for a task or model from now on; what it stood for stays in its history. Raises BadValue."""
    changes = {
        "name": name,
        "project": str(target.state.get("project", "")),
        "target": {"kind": target.state.kind, "id": target.key},
        "deleted": None,
    }
    key = key_of(name)
    workspace.edit(key, changes, kind=layout.ALIAS, new=not _is_known(workspace, key))


def remove(workspace: Workspace, name: str) -> None:
    """Let an alias stand for nothing. Raises NotFound."""
    target(workspace, name)
    workspace.edit(key_of(name), {"target": None}, kind=layout.ALIAS)


def target(workspace: Workspace, name: str) -> str:
    """The id of what an alias stands for. Raises NotFound, BadValue."""
    try:
        state = workspace.thing(key_of(name)).state
    except TaskNotFound:
        state = None
    found = state.get("target") if state is not None else None
    if not found:
        raise NotFound(f"there is no alias {name}: `tracker tag ID {name}` makes it")
    return str(found["id"])


def all_of(workspace: Workspace) -> dict[str, str]:
    """Every alias that stands for something, and the id of what, sorted by name."""
    found = {
        str(thing.state.get("name")): str(thing.state.get("target")["id"])
        for thing in workspace.things().values()
        if thing.state.kind == layout.ALIAS and thing.state.get("target") and not thing.state.get("deleted")
    }
    return dict(sorted(found.items()))


def _is_known(workspace: Workspace, key: str) -> bool:
    try:
        workspace.thing(key)
    except TaskNotFound:
        return False
    return True
