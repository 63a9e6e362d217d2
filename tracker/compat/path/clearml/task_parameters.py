"""ClearML's declared parameters."""

from __future__ import annotations

from tracker.compat.names import finder

_NAMES = ("TaskParameters", "param", "percent_param", "range_validator")
__getattr__ = finder("clearml.task_parameters", dict.fromkeys(_NAMES, "tracker.sdk.task_parameters"))
