"""What was started: the script or module of this process, and where. Reads no file and keeps nothing."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """How this process was started.

    `script`: the real absolute path of the file that runs, None for -c, standard input and interactive use.
    `module`: the module's name after -m, None otherwise. `folder`: the real path of the working directory.
    """

    script: str | None
    module: str | None
    folder: str


def current_entry() -> Entry:
    """The entry of this process, as it is now: take it before the script can change its folder."""
    try:
        folder = os.path.realpath(os.getcwd())
    except OSError:  # the folder has been deleted
        folder = os.path.sep
    main = vars(sys.modules.get("__main__", object)).copy()
    file = _existing(main.get("__file__"), folder)
    started = _existing(sys.argv[0] if sys.argv else None, folder)
    module = _module(main)
    if module is not None and started is not None and started != file:
        # A launcher that was started by -m (cProfile, coverage, pdb) has put its target's name in its own place.
        return Entry(started, None, folder)
    if file is None and main.get("__file__") is not None:
        file = started  # a zipped application: its file is the archive
    return Entry(file, module if file is not None else None, folder)


def _module(main: dict[str, object]) -> str | None:
    name = getattr(main.get("__spec__"), "name", None)
    if not isinstance(name, str) or name == "__main__":  # a folder or archive that is run has this name
        return None
    return name.removesuffix(".__main__")


def _existing(path: object, folder: str) -> str | None:
    if not isinstance(path, str) or not path:
        return None
    path = os.path.realpath(os.path.join(folder, path))
    return path if os.path.isfile(path) else None
