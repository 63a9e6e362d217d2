"""Journals: one folder per writing process, where every event lies before the call that reports it returns.

A returned append survives SIGKILL. Nothing is made durable unless asked, nothing is repaired or rewritten, no
folder is shared by two writers, and a reader yields no record that fails a check. What a payload means is not
known here.
"""

from __future__ import annotations

from objstore.journal.alive import BEAT_SECONDS, BIRTH_SECONDS, SILENCE_SECONDS, liveness
from objstore.journal.form import PAYLOAD_MAX, Record
from objstore.journal.reading import Summary, goes_on, holds, read, scan
from objstore.journal.writing import FIRST_SEGMENT_SIZE, SEGMENT_SIZE, JournalWriter

__all__ = [
    "BEAT_SECONDS",
    "BIRTH_SECONDS",
    "FIRST_SEGMENT_SIZE",
    "PAYLOAD_MAX",
    "SEGMENT_SIZE",
    "SILENCE_SECONDS",
    "JournalWriter",
    "Record",
    "Summary",
    "goes_on",
    "holds",
    "liveness",
    "read",
    "scan",
]
