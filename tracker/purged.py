"""What was purged: the note that a purge leaves, and the words for it. Reads states; opens nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Final

from blake3 import blake3

from tracker.records import State

_CONTEXT: Final = "tracker purge v1"


@dataclass(frozen=True, slots=True)
class Note:
    """What is known of a purged object: its hash, when it was purged (microseconds since the epoch), and the ids of
    what told of its content and went with it.
    """

    id: str
    time: int
    gone: frozenset[str]

    @property
    def text(self) -> str:
        """For people: that it was, and when."""
        return f"{self.id} was purged on {day(self.time)}: its content is gone for good"


def key_of(object_id: str) -> str:
    """The key of the note about an object: made of its hash, so that two places that purge it say the same."""
    return blake3(object_id.encode(), derive_key_context=_CONTEXT).hexdigest()[:32]


def note_of(state: State) -> Note:
    """The note that a state holds."""
    return Note(str(state.get("object", "")), int(state.get("time", 0)), frozenset(state.section("gone")))


def day(stamp: int) -> str:
    """The day of a time in microseconds since the epoch, in UTC."""
    return datetime.fromtimestamp(stamp / 1_000_000, timezone.utc).strftime("%Y-%m-%d")


def mark_of(object_id: str, stamp: int) -> str:
    """The text that stands in the place of what was purged."""
    return f"[purged {day(stamp)}: {object_id}]"
