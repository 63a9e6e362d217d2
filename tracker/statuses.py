"""What a task's status may become, what may be edited in each, and the keys that a change of status sets. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, Final

from tracker.errors import BadValue


class TaskStatus(str, Enum):
    """Every status there is. They compare equal to their text."""

    created = "created"
    queued = "queued"
    in_progress = "in_progress"
    stopped = "stopped"
    published = "published"
    publishing = "publishing"
    closed = "closed"
    failed = "failed"
    completed = "completed"
    unknown = "unknown"

    def __str__(self) -> str:
        return self.value

    @classmethod
    def parse(cls, value: object) -> str:
        """The text of a status. Raises BadValue that lists them."""
        try:
            return cls(str(value)).value
        except ValueError as error:
            raise BadValue(
                f"status {value!r}: one of {', '.join(s.value for s in cls)} is expected"
            ) from error


_NEXT: Final[Mapping[str, frozenset[str]]] = {
    "created": frozenset(("queued", "in_progress")),
    "queued": frozenset(("created", "in_progress", "stopped")),
    "in_progress": frozenset(("stopped", "failed", "created", "completed")),
    "stopped": frozenset(
        ("closed", "created", "failed", "queued", "in_progress", "published", "publishing", "completed")
    ),
    "closed": frozenset(("created", "failed", "published", "publishing", "stopped")),
    "failed": frozenset(("created", "stopped", "published", "queued")),
    "completed": frozenset(("published", "in_progress", "created")),
    "publishing": frozenset(("published",)),
    "published": frozenset(),
}
FINAL: Final = frozenset(("completed", "failed", "stopped", "published", "closed"))
_OPEN: Final = frozenset(("created", "in_progress"))
# What people go on saying about a task that is over: how it is called, filed and described, not what it did.
_ALWAYS: Final = frozenset(("name", "project", "comment", "progress"))
_ALWAYS_BELOW: Final = ("tag/", "system_tag/", "param/properties/", "runtime/", "health/")
_OUTCOME: Final = frozenset(("progress", "initial_iteration", "published"))
_OUTCOME_BELOW: Final = ("artifact/", "model/output/", "single/", "runtime/", "health/")
_OUTPUTS: Final = ("artifact/", "model/")


def may_follow(after: str, before: str) -> bool:
    """Whether a task of status `before` may become `after`; the same status is always fine."""
    return after == before or after in _NEXT.get(before, frozenset())


def refused(status: str, keys: Iterable[str]) -> list[str]:
    """Those of the keys that a task of this status keeps as they are."""
    if status in _OPEN:
        return []
    # Weights may be stored after their run has ended, and would else belong to nobody.
    always = _ALWAYS_BELOW if status == "published" else (*_ALWAYS_BELOW, "model/")
    return [key for key in keys if key not in _ALWAYS and not key.startswith(always)]


def are_outputs(keys: Iterable[str]) -> bool:
    """Whether all of these keys name artifacts or models."""
    return all(key.startswith(_OUTPUTS) for key in keys)


def outcome(keys: Iterable[str]) -> list[str]:
    """Those of the keys that a run has made of the task: what a reset takes away."""
    return [key for key in keys if key in _OUTCOME or key.startswith(_OUTCOME_BELOW)]


def change(status: str, now: int, reason: str = "", message: str = "") -> dict[str, Any]:
    """The keys that give a task a status at `now`, in microseconds since the epoch; the status itself comes last."""
    keys: dict[str, Any] = {"status_reason": reason, "status_message": message}
    if status == "in_progress":
        keys.update(started=now, completed=None)
    elif status in ("created", "queued"):
        keys.update(started=None, completed=None)
    elif status == "published":
        keys.update(published=now)
    else:
        keys.update(completed=now)
    if status == "completed":
        keys["progress"] = 100
    return {**keys, "status": status}
