"""Task types and statuses, as ClearML names them. They compare equal to their text."""

from __future__ import annotations

from enum import Enum

from tracker.errors import BadValue


class TaskTypes(str, Enum):
    """What a task is for."""

    training = "training"
    testing = "testing"
    inference = "inference"
    data_processing = "data_processing"
    application = "application"
    monitor = "monitor"
    controller = "controller"
    optimizer = "optimizer"
    service = "service"
    qc = "qc"
    custom = "custom"

    def __str__(self) -> str:
        return self.value

    @classmethod
    def parse(cls, value: object) -> str:
        """The text of a type; None is training. Raises BadValue that lists the types."""
        if value is None:
            return cls.training.value
        try:
            return cls(str(value)).value
        except ValueError as error:
            raise BadValue(
                f"task type {value!r}: one of {', '.join(t.value for t in cls)} is expected"
            ) from error
