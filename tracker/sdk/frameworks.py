"""What captures of frameworks hand on, as the script itself would report it. It knows no framework."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tracker.sdk.models.outputs import OutputModel
    from tracker.sdk.task import Task

_PICTURES: Final = (".png", ".gif", ".jpg", ".jpeg", ".webp", ".bmp")
_LOOK: Final = 30  # dots per inch of the picture by which it is told whether a figure has changed


def saved(task: Task, path: str, framework: str) -> None:
    """Weights that a framework has written are an output model; written again, they are its new weights.

    It is called `TASK - STEM`; the local file stays.
    """
    from pathlib import PurePath

    from tracker.sdk.models.outputs import OutputModel

    run = task._run
    if run is None:
        return
    where = os.path.abspath(path)
    model: OutputModel | None = run.weights.get(where)
    if model is None or model.published:
        model = OutputModel(task, name=f"{task.name} - {PurePath(path).stem}", framework=framework)
        model.by_framework = True
    model.update_weights(path, auto_delete_file=False)


def loaded(task: Task, path: str, framework: str) -> None:
    """Weights that a framework has read are an input model: once, as long as the file is the same."""
    from pathlib import Path

    from tracker.sdk.models import inputs, weights

    run = task._run
    where = os.path.abspath(path)
    now = weights.mark(Path(where))
    if run is not None and run.read.get(where) != now:
        inputs.loaded(task, where, framework=framework)
        run.read[where] = now


def sample(task: Task, title: str, series: str, data: bytes, extension: str, iteration: int) -> None:
    """A picture is an image among the debug samples, anything else a medium."""
    kind = "image" if extension in _PICTURES else "media"
    task.get_logger()._sample(title, series, iteration, kind, data, extension, None)


def chosen(name: str) -> bool:
    """A choice that the script has made on `Logger`."""
    from tracker.sdk.logger import Logger

    return bool(getattr(Logger, f"_{name}"))


def switch_off(name: str) -> None:
    """Take one capture of the running task out."""
    from tracker.sdk import current

    task = current.get()
    if task is not None and task._run is not None:
        task._run.captures.remove(name)


class Figures:
    """Figures of matplotlib that nobody reports by hand: each once for each way that it looks."""

    def __init__(self) -> None:
        self._looks: Any = None
        self._used: dict[str, int] = {}
        self._iteration = 0

    def report(self, task: Task, title: str, figure: Any, *, sample: bool) -> None:
        """At the last iteration reported; a title that is used again there gets a number."""
        from tracker.sdk import drawings

        if self._looks is None:
            from weakref import WeakKeyDictionary

            self._looks = WeakKeyDictionary()
        if figure in drawings.by_hand:
            return
        look = drawings.png(figure, _LOOK)[0]
        if self._looks.get(figure) == look:
            return
        self._looks[figure] = look
        run = task._run
        iteration = max(0, task.get_last_iteration() - (run.recorder.offset if run is not None else 0))
        task.get_logger()._draw(
            (self._numbered(title, iteration), "plot", iteration), figure, sample=sample, picture="plot image"
        )

    def _numbered(self, title: str, iteration: int) -> str:
        if iteration != self._iteration:
            self._iteration = iteration
            self._used.clear()
        number = self._used.get(title, 0)
        self._used[title] = number + 1
        return f"{title}/{number}" if number else title
