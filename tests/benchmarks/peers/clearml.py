"""ClearML, offline. Its reporting process is off: a fork that hangs, in a git repository, more often than not."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

_SETTINGS = tempfile.NamedTemporaryFile("w", suffix=".conf")  # noqa: SIM115  gone with the process
_SETTINGS.write("sdk.development.report_use_subprocess: false\n")
_SETTINGS.flush()
os.environ["CLEARML_CONFIG_FILE"] = _SETTINGS.name
os.environ["CLEARML_CACHE_DIR"] = str(Path("store").absolute())  # where sessions are, too

from clearml import Task  # noqa: E402  it reads its settings when it is imported


def start() -> tuple[Callable[[str, float, int], object], Callable[[], object]]:
    """Begin a run; returns report(series, value, step) and close()."""
    Task.set_offline(offline_mode=True)
    task = Task.init("bench", "run")
    return partial(task.get_logger().report_scalar, "loss"), task.close


def read(series: str) -> int:
    """Not offered."""
    raise NotImplementedError("an offline session is read by a server")
