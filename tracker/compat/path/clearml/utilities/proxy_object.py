"""What integrations use of ClearML's dicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def flatten_dictionary(a_dict: Mapping[str, Any], prefix: str = "", sep: str = "/") -> dict[str, Any]:
    """A nested dict as one whose keys are paths."""
    from tracker.sdk.parameters import nested

    return {f"{prefix}{key}".replace("/", sep): value for key, value in nested(a_dict).items()}
