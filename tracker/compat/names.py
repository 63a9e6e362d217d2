"""Names of ClearML's modules, each found when it is asked for. What is not here says so, by ImportError."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from importlib import import_module
from pathlib import Path
from typing import Final

# A folder with nothing in it but a package `clearml`, for the module search path: so child processes find it, too.
FOLDER: Final = Path(__file__).parent / "path"


def finder(
    module: str, table: Mapping[str, str], hint: str = "", modules: Collection[str] = ()
) -> Callable[[str], object]:
    """The `__getattr__` of a module: `table` says for each name in which module it is here.

    modules: those below it, which in ClearML are there without being imported.
    """

    def find(name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)  # Python's own questions
        if name in modules:
            return import_module(f"{module}.{name}")
        place = table.get(name)
        try:
            if place is not None:
                return getattr(import_module(place), name)
        except (ImportError, AttributeError):
            pass
        known = ", ".join(sorted(table)) or "nothing"
        raise ImportError(
            f"{module}.{name} is not here: {hint or f'{module} has {known}'}; docs/clearml-compat.md lists all"
        )

    return find
