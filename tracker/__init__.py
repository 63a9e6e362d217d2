"""An experiment tracker without a server: ClearML's Task API over a content-addressed store in plain files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracker.capture.argparse_ import tap
from tracker.sdk.task import Task

if TYPE_CHECKING:
    from tracker.errors import UsageError
    from tracker.sdk.logger import Logger
    from tracker.sdk.models import InputModel, Model, OutputModel
    from tracker.sdk.queries import query
    from tracker.sdk.types import TaskTypes

__version__ = "0.1.0"
__all__ = [
    "InputModel",
    "Logger",
    "Model",
    "OutputModel",
    "Task",
    "TaskTypes",
    "UsageError",
    "__version__",
    "query",
]

# Arguments may be parsed before Task.init: the command line is watched from the import on.
tap()

_LAZY = {
    "InputModel": "tracker.sdk.models",
    "Logger": "tracker.sdk.logger",
    "Model": "tracker.sdk.models",
    "OutputModel": "tracker.sdk.models",
    "TaskTypes": "tracker.sdk.types",
    "UsageError": "tracker.errors",
    "query": "tracker.sdk.queries",
}


def __getattr__(name: str) -> object:
    """Names that a script may not need are imported when it does."""
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
