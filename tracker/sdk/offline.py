"""Offline sessions. Every run here is one: what is offline elsewhere is a file that is carried to another store."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from objstore.errors import StoreError
from tracker import config
from tracker.errors import TrackerError, UsageError
from tracker.notice import say
from tracker.sdk import current

if TYPE_CHECKING:
    from tracker.workspace import Workspace

_VARIABLES = ("TRACKER_OFFLINE_MODE", "CLEARML_OFFLINE_MODE", "TRAINS_OFFLINE_MODE")
_OFF = ("", "0", "f", "false", "n", "no", "off")
_asked: bool | None = None  # what set_offline was told last


def is_on() -> bool:
    """Whether the tasks that this process begins leave a session behind."""
    if _asked is not None:
        return _asked
    told = next((os.environ[name] for name in _VARIABLES if name in os.environ), "")
    return told.strip().lower() not in _OFF


def switch(on: bool) -> None:
    """See Task.set_offline. Raises UsageError."""
    global _asked
    if not on and is_on() and current.get() is not None:
        raise UsageError(
            "a task of this process is offline and still open: close it before set_offline(False)"
        )
    _asked = bool(on)


def folder_of(key: str) -> Path | None:
    """Where the session of a task is left; its zip lies beside it. None where there is no home to leave it in."""
    cache = os.environ.get("CLEARML_CACHE_DIR")
    base = Path(cache).expanduser() if cache else config.state_home()
    return base / "offline" / key if base else None


def leave(workspace: Workspace, key: str) -> None:
    """Write the session of a task that has ended. Never raises: the task itself is in the store."""
    folder = folder_of(key)
    try:
        if folder is None:
            raise OSError("there is no home folder; CLEARML_CACHE_DIR names a place for sessions")
        from tracker import seal
        from tracker.sessions import own
        from tracker.workspace import Workspace

        found = Workspace.open(workspace.root)
        try:
            seal.seal(found.store, key)
            say(f"offline session stored in {own.write(found, key, folder)}")
        finally:
            found.store.close()
    except (OSError, StoreError, TrackerError) as error:
        say(f"the offline session of task {key} was not written: {error}")


def take_in(where: str | Path, previous: str | None, iteration_offset: int, *, again: bool) -> str:
    """See Task.import_offline_session."""
    from tracker.sdk import defaults
    from tracker.sessions import import_session

    done = import_session(defaults.workspace(), where, previous or None, iteration_offset, again=again)
    for what, count in (done.left_out or {}).items():
        say(f"left out of {where}: {count} {what}")
    if done.known:
        say(f"{where} is here already, as task {done.key}; again=True takes it in once more")
    return done.key
