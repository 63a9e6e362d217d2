"""Names of ClearML that scripts import from where they are defined there."""

from __future__ import annotations

from tracker.compat.names import finder

__getattr__ = finder("clearml.storage.manager", dict.fromkeys(("StorageManager",), "tracker"))
