"""Offline sessions. Every run here is one: what is offline elsewhere is a file that is carried to another store."""

from __future__ import annotations

from pathlib import Path

from tracker.notice import say


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
