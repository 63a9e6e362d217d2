"""A task that is to be run again: its arguments for a script that parses them before `Task.init`, and a simulation."""

from __future__ import annotations

import os

from objstore.errors import NotFound
from tracker.errors import UsageError
from tracker.redaction import is_redacted
from tracker.sdk import current, identity

_read: dict[tuple[str, str], dict[str, str]] = {}


def arguments(section: str) -> dict[str, str]:
    """Name to stored text of a section of arguments; nothing where a running task tells them itself, or tells none.

    Nothing, too, where there is no such task: to say so is the business of `Task.init`. Raises BadValue for a bad id.
    """
    key = identity.to_run()
    task = current.get()
    if (
        key is None
        or (task is not None and not task.replays_arguments)
        or (task is None and current.ordinal())
    ):
        return {}
    if (key, section) not in _read:
        _read[key, section] = _stored(key, section)
    return _read[key, section]


def _stored(key: str, section: str) -> dict[str, str]:
    from tracker import layout
    from tracker.records import State
    from tracker.workspace import Workspace

    try:
        state = State(layout.TASK, Workspace.open().known(key))
    except NotFound:
        return {}
    stored = {name: str(record["value"]) for name, record in state.section(f"param/{section}").items()}
    return {name: text for name, text in stored.items() if not is_redacted(text)}


def simulate(key: str, *, reset: bool) -> None:
    """Make this process, and those it starts, run the task again. Raises UsageError, TaskNotFound."""
    if current.get() is not None:
        raise UsageError(
            "debug_simulate_remote_task has to be called before Task.init, or after the task is closed"
        )
    from tracker import state
    from tracker.workspace import Workspace

    workspace = Workspace.open()
    thing = workspace.thing(key)
    if reset:
        workspace.edit(key, {**state.attempt(thing.state, "reset", hide=True), "status": "created"})
    for each in [each for each in _read if each[0] == key]:
        del _read[each]
    current.begin_anew()
    os.environ[identity.RUN_TASK] = key
