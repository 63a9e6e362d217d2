"""`clearml-task`: makes a draft of a script."""

from __future__ import annotations

from tracker.compat.clearml_task import main

__all__ = ["main"]
