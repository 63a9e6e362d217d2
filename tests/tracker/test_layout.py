"""The tracker's own paths and limits, where something else relies on them."""

from __future__ import annotations

from objstore import layout as store_layout
from objstore.journal import BEAT_SECONDS, SILENCE_SECONDS
from tracker import layout


def test_journals_lie_below_the_task() -> None:
    """live/<task>/<writer>: one folder for each writing process."""
    assert layout.live_path("ab" * 16, "cd" * 8) == f"{store_layout.LIVE}/{'ab' * 16}/{'cd' * 8}"


def test_limits_agree_with_the_stores() -> None:
    """A writer's id fits a journal's header; an inline artifact is one blob; the heart beats before it is missed."""
    assert layout.WRITER_SIZE <= 16
    assert layout.INLINE_MAX <= store_layout.BLOB_MAX
    assert layout.HEARTBEAT <= BEAT_SECONDS < SILENCE_SECONDS
