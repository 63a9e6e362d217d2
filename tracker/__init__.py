"""An experiment tracker without a server: ClearML's Task API over a content-addressed store in plain files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracker.capture.argparse_ import tap
from tracker.sdk.task import Task

if TYPE_CHECKING:
    from tracker.errors import UsageError
    from tracker.sdk.artifacts import artifact
    from tracker.sdk.logger import Logger
    from tracker.sdk.models import InputModel, Model, OutputModel
    from tracker.sdk.storage import StorageManager
    from tracker.sdk.types import TaskTypes

__version__ = "0.1.0"
__all__ = [
    "InputModel",
    "Logger",
    "Model",
    "OutputModel",
    "StorageManager",
    "Task",
    "TaskTypes",
    "UsageError",
    "__version__",
    "artifact",
]

# Arguments may be parsed before Task.init: the command line is watched from the import on.
tap()

_LAZY = {
    "InputModel": "tracker.sdk.models",
    "Logger": "tracker.sdk.logger",
    "Model": "tracker.sdk.models",
    "OutputModel": "tracker.sdk.models",
    "StorageManager": "tracker.sdk.storage",
    "TaskTypes": "tracker.sdk.types",
    "UsageError": "tracker.errors",
    "artifact": "tracker.sdk.artifacts",
}


def __getattr__(name: str) -> object:
    """Names that a script may not need are imported when it does."""
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
