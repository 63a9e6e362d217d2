"""Runs that another program recorded offline, taken into the store as tasks. Fetches nothing."""

from __future__ import annotations

from tracker.sessions.importing import import_session
from tracker.sessions.target import Imported

__all__ = ["Imported", "import_session"]
