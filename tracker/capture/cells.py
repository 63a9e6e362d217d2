"""The cells that an IPython kernel or prompt has run, as the text of one script. It runs none, and changes none."""

from __future__ import annotations

import ast
import os
import re
import sys
import warnings
from collections.abc import Callable
from typing import Any, Final

from tracker.capture.protocol import Undo

_MAGIC: Final = re.compile(r"^(\s*)((?:[\w.,\s\[\]]+=\s*)?[%!].*|[^#\s].*\?\s*)$")
"""A line that IPython alone understands: `%magic`, `!command`, `x = !command`, `name?`."""

_RUNS_ITS_CELL: Final = ("%%time", "%%capture")
"""Magics of a whole cell after which the cell runs as it would without them."""


class Cells:
    """What was run in this process so far, in order, from the kernel's start on: cells build on those before them."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._failed: dict[int, str] = {}

    @property
    def name(self) -> str:
        """The notebook's name without its ending, where the server or the editor tells it; else `notebook`."""
        told = self._shell.user_ns.get("__vsc_ipynb_file__") or os.environ.get("JPY_SESSION_NAME")
        stem = os.path.basename(str(told or "")).removesuffix(".ipynb")
        return stem or "notebook"

    def text(self) -> str:
        """The script: each cell after a line `# %% [number]`; what is no Python, and cells that failed, as comments.

        A cell that was interrupted counts as run. Cells that were run with `silent` leave no trace, as in IPython.
        """
        parts = []
        for number, cell in enumerate(self._history()):
            if number and cell.strip():
                why = self._why(number)
                body = _commented(cell) if why else as_python(cell)
                parts.append(f"# %% [{number}]{f' failed: {why}' if why else ''}\n{body.rstrip()}\n")
        return "\n".join(parts)

    def watch(self, changed: Callable[[], None]) -> Undo:
        """Call `changed` after each cell from now on."""

        def ran(result: Any) -> None:
            self._note(result)
            changed()

        self._shell.events.register("post_run_cell", ran)

        def undo() -> None:
            if ran in self._shell.events.callbacks["post_run_cell"]:
                self._shell.events.unregister("post_run_cell", ran)

        return undo

    def _history(self) -> list[str]:
        return [str(cell) for cell in self._shell.history_manager.input_hist_raw]

    def _note(self, result: Any) -> None:
        error = result.error_before_exec or result.error_in_exec
        if error is not None and result.execution_count is not None:
            self._failed[result.execution_count] = type(error).__name__

    def _why(self, number: int) -> str:
        """What a cell failed with. Of those before the task began IPython knows it, from version 9 on."""
        known = getattr(self._shell.history_manager, "exceptions", {}).get(number) or {}
        why = self._failed.get(number) or str(known.get("ename", ""))
        return "" if why == "KeyboardInterrupt" else why


def current_cells() -> Cells | None:
    """The cells of this process, where it is a notebook's kernel or an IPython prompt; else None."""
    if "IPython" not in sys.modules:
        return None
    shell = getattr(sys.modules["IPython"], "get_ipython", lambda: None)()
    return None if shell is None else Cells(shell)


def as_python(cell: str) -> str:
    """A cell as Python: what only IPython understands becomes a comment, and what stays is as it was typed."""
    if cell.lstrip().startswith("%%"):
        magic, _, rest = cell.lstrip().partition("\n")
        return f"# {magic}\n{as_python(rest)}" if magic.split()[0] in _RUNS_ITS_CELL else _commented(cell)
    if _is_python(cell):
        return cell
    lines = [_MAGIC.sub(_without_magic, line) for line in cell.splitlines()]
    found = "\n".join(lines)
    return found if _is_python(found) else _commented(cell)


def _without_magic(found: re.Match[str]) -> str:
    if found[2].rstrip().endswith("?") and _is_python(found[2]):
        return found[0]  # what asks is a comment
    # Inside a block there may be nothing else in it.
    return f"{found[1]}pass  # {found[2]}" if found[1] else f"# {found[2]}"


def _commented(cell: str) -> str:
    return "\n".join(f"# {line}".rstrip() for line in cell.splitlines())


def _is_python(text: str) -> bool:
    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    try:
        with warnings.catch_warnings():  # they were shown when the cell ran
            warnings.simplefilter("ignore")
            compile(text, "<cell>", "exec", flags, dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
