"""All targets: importing this fills the registry."""

from __future__ import annotations

from tests.fuzz import experiments, stores
from tests.fuzz.registry import TARGETS

__all__ = ["TARGETS", "experiments", "stores"]
