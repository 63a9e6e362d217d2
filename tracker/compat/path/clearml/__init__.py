"""ClearML's names, for scripts that import them: each is the one of `tracker`."""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from typing import Any

import tracker  # the command line is watched from here on, as ClearML does
from tracker.compat.names import finder

__version__ = "2.1.12"  # whose API this is: integrations compare it
__all__ = [
    "InputModel",
    "Logger",
    "Model",
    "OutputModel",
    "StorageManager",
    "Task",
    "TaskTypes",
    "UsageError",
]

_MODULES = (
    *("automation", "binding", "cli", "errors", "logger", "model", "storage", "task", "task_parameters"),
    "utilities",
)
_TRACKER = (*__all__, "Dataset", "PipelineController", "PipelineDecorator")
__getattr__ = finder(
    "clearml",
    dict.fromkeys(_TRACKER, "tracker"),
    f"use one of {', '.join(__all__)}, which are tracker's",
    _MODULES,
)


class _Missing(MetaPathFinder):
    """Asked last: says what there is where a module is not."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        if fullname.startswith("clearml."):
            raise ModuleNotFoundError(
                f"{fullname} is not here: there are clearml and, below it, {', '.join(_MODULES)}; "
                "docs/clearml-compat.md lists more",
                name=fullname,
            )


if not any(type(each).__name__ == "_Missing" for each in sys.meta_path):
    sys.meta_path.append(_Missing())
_ = tracker
