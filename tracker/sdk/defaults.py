"""What Task.init takes where it is given nothing: names from the repository and the script, the store from here."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tracker import names
from tracker.notice import say
from tracker.workspace import Workspace


def project_name() -> str:
    """The name of the repository that the script is in, else `Untitled`."""
    path = script()
    folder = (path.parent if path else Path.cwd()).absolute()
    for above in (folder, *folder.parents):
        if os.path.exists(above / ".git"):
            return names.default_name("project", _remote_name(above) or above.name)
    return "Untitled"


def task_name() -> str:
    """The stem of the script's file name, the notebook's name, else `interactive`."""
    from tracker.capture.cells import current_cells

    cells = current_cells() if not hasattr(sys.modules.get("__main__"), "__file__") else None
    if cells is not None:
        return names.default_name("task", cells.name)
    path = script()
    return names.default_name("task", path.stem) if path else "interactive"


def script() -> Path | None:
    """The file that this process runs, if it runs one."""
    main = sys.modules.get("__main__")
    name = getattr(main, "__file__", None) or (
        sys.argv[0] if sys.argv and sys.argv[0] not in ("", "-c", "-m") else None
    )
    return Path(name) if name else None


def workspace() -> Workspace:
    """The store for this process's runs, made if there is none; a warning where a stand-in has to serve."""
    found = Workspace.open_or_create()
    if found.fallback_for == found.root:
        say(f"{found.root} cannot be written, and nothing else either: this run is not recorded")
    elif found.fallback_for is not None:
        say(
            f"{found.fallback_for} cannot be written; the run is recorded in {found.root} until "
            "`tracker recover` adopts it"
        )
    return found


def _remote_name(root: Path) -> str | None:
    """The last part of origin's URL without `.git`, read from the repository's own config file."""
    try:
        lines = (root / ".git" / "config").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    inside = False
    for line in map(str.strip, lines):
        if line.startswith("["):
            inside = line == '[remote "origin"]'
        elif inside and line.partition("=")[0].strip() == "url":
            return line.partition("=")[2].strip().rstrip("/").rpartition("/")[2].removesuffix(".git") or None
    return None
