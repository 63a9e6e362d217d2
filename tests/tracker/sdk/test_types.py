"""Task types: equal to their text, and refused with the list."""

from __future__ import annotations

import pytest

from tracker.errors import BadValue
from tracker.sdk.types import TaskTypes

CLEARML = (
    "training testing inference data_processing application monitor controller optimizer service qc custom"
)


def test_types_are_clearmls() -> None:
    """In its order; each is its own text."""
    assert [str(t) for t in TaskTypes] == CLEARML.split()
    assert TaskTypes.training == "training"
    assert TaskTypes.parse(None) == "training"
    assert TaskTypes.parse("qc") == TaskTypes.parse(TaskTypes.qc) == "qc"


@pytest.mark.parametrize("wrong", ["", "Training", "trainnig", 5, True])
def test_unknown_type_is_refused_with_the_list(wrong: object) -> None:
    """At once."""
    with pytest.raises(BadValue, match=r"one of training, testing, .*, custom is expected"):
        TaskTypes.parse(wrong)
