"""Statuses: which may follow which, and what may be edited in each."""

from __future__ import annotations

import pytest

from tracker import statuses
from tracker.errors import BadValue
from tracker.statuses import TaskStatus

LEGAL = """
created: queued in_progress
queued: created in_progress stopped
in_progress: stopped failed created completed
stopped: closed created failed queued in_progress published publishing completed
closed: created failed published publishing stopped
failed: created stopped published queued
completed: published in_progress created
publishing: published
published:
unknown:
"""


def test_transitions_are_clearmls() -> None:
    """Each pair of the table, and the same status again."""
    for line in LEGAL.strip().splitlines():
        before, _, after = line.partition(":")
        allowed = {str(s) for s in TaskStatus if statuses.may_follow(str(s), before)}
        assert allowed == {before, *after.split()}, before


@pytest.mark.parametrize("status", ["queued", "completed", "failed", "stopped", "published", "closed"])
def test_what_a_run_was_made_of_stays_when_it_is_over(status: str) -> None:
    """How it is called and filed may change always."""
    free = ["name", "project", "comment", "progress", "tag/a", "system_tag/archived", "param/properties/x"]
    bound = [
        "param/General/lr",
        "script",
        "packages",
        "container",
        "output_uri",
        "artifact/a",
        "type",
        "parent",
    ]
    assert statuses.refused(status, [*free, *bound]) == bound
    assert statuses.refused("created", bound) == statuses.refused("in_progress", bound) == []


def test_late_models_are_taken_until_the_task_is_published() -> None:
    """Weights that were stored after the end of their run belong to it."""
    assert statuses.refused("completed", ["model/output/x"]) == []
    assert statuses.refused("published", ["model/output/x"]) == ["model/output/x"]


def test_statuses_equal_their_text() -> None:
    """As ClearML's do."""
    assert TaskStatus.stopped == "stopped"
    assert str(TaskStatus.in_progress) == TaskStatus.parse("in_progress") == "in_progress"
    with pytest.raises(BadValue, match="one of created, queued"):
        TaskStatus.parse("over")
