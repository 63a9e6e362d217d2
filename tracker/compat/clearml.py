"""`import tracker.compat.clearml`, and from then on `import clearml` means this program, in child processes, too."""

from __future__ import annotations

import os
import sys

from tracker.compat.names import FOLDER


def install() -> None:
    """Put the package `clearml` first on the search path. Raises ImportError where another one is loaded already."""
    loaded = sys.modules.get("clearml")
    place = getattr(loaded, "__file__", None) or ""
    if loaded is not None and not place.startswith(str(FOLDER)):
        raise ImportError(
            f"clearml is imported already, from {place}: import tracker.compat.clearml before it"
        )
    if str(FOLDER) not in sys.path:
        sys.path.insert(0, str(FOLDER))
    os.environ["PYTHONPATH"] = search_path(os.environ.get("PYTHONPATH", ""))


def search_path(before: str) -> str:
    """PYTHONPATH with the folder of the package `clearml` first."""
    parts = [part for part in before.split(os.pathsep) if part and part != str(FOLDER)]
    return os.pathsep.join((str(FOLDER), *parts))


install()
