"""What the library says to the person at the terminal: one line on the real stderr, past any capture."""

from __future__ import annotations

import sys


def say(message: str) -> None:
    """Write a line. Never raises: a closed terminal is no reason to stop a run."""
    stream = sys.__stderr__ or sys.stderr
    try:
        stream.write(f"tracker: {message}\n")
        stream.flush()
    except (OSError, ValueError, AttributeError):
        return
