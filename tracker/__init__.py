"""An experiment tracker without a server: ClearML's Task API over a content-addressed store in plain files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tracker.capture import early
from tracker.capture.argparse_ import tap

if TYPE_CHECKING:
    from tracker.errors import UsageError
    from tracker.sdk.absent import Dataset, PipelineController, PipelineDecorator
    from tracker.sdk.artifacts import artifact
    from tracker.sdk.logger import Logger
    from tracker.sdk.models import InputModel, Model, OutputModel
    from tracker.sdk.queries import query
    from tracker.sdk.storage import StorageManager
    from tracker.sdk.task import Task
    from tracker.sdk.types import TaskTypes

__version__ = "0.1.0"
__all__ = [
    "Dataset",
    "InputModel",
    "Logger",
    "Model",
    "OutputModel",
    "PipelineController",
    "PipelineDecorator",
    "StorageManager",
    "Task",
    "TaskTypes",
    "UsageError",
    "__version__",
    "artifact",
    "query",
]


def _runs_again() -> bool:
    return "TRACKER_RUN_TASK" in os.environ or "CLEARML_TASK_ID" in os.environ


def _stored_arguments(section: str = "Args") -> dict[str, str]:
    """What a task that this process was started to run again has as arguments, until `Task.init` knows it."""
    if not _runs_again():
        return {}
    from tracker.sdk import replay

    return replay.arguments(section)


# Arguments may be parsed before Task.init: the command line is watched from the import on.
tap(early=_stored_arguments)
early.watch(_stored_arguments, replays=_runs_again())

_LAZY = {
    "InputModel": "tracker.sdk.models",
    "Logger": "tracker.sdk.logger",
    "Model": "tracker.sdk.models",
    "OutputModel": "tracker.sdk.models",
    "StorageManager": "tracker.sdk.storage",
    "Task": "tracker.sdk.task",
    "TaskTypes": "tracker.sdk.types",
    "UsageError": "tracker.errors",
    "artifact": "tracker.sdk.artifacts",
    # Only to be imported: to use one is an error that says what to use instead.
    "Dataset": "tracker.sdk.absent",
    "PipelineController": "tracker.sdk.absent",
    "PipelineDecorator": "tracker.sdk.absent",
    "query": "tracker.sdk.queries",
}


def __getattr__(name: str) -> object:
    """What is asked for is imported then: the command line, which imports this package too, asks for none of it."""
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
