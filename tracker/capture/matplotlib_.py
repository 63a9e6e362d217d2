"""Figures as they are shown, or saved to a file, are plots of the task. It draws nothing itself, and closes nothing."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from tracker.capture.imports import when_imported
from tracker.capture.protocol import Guard, Recorder, Undo
from tracker.capture.replaced import all_of, replace


class MatplotlibCapture:
    """`plt.show`, `Figure.show` and `Figure.savefig` to a path; figures of `plt.imshow` are debug samples.

    A figure that looks as it did when it was last reported is not reported again.
    """

    name = "matplotlib"
    module: str | None = "matplotlib.figure"

    def __init__(self) -> None:
        self._guard = Guard(self.name)
        self._pictures: WeakSet[Any] = WeakSet()
        self._names: WeakKeyDictionary[Any, str] = WeakKeyDictionary()
        self._untitled = itertools.count()

    def install(self, recorder: Recorder) -> Undo:
        """Watches the class now, and pyplot once it is there."""
        figure = sys.modules["matplotlib.figure"].Figure
        undos = [
            replace(figure, "show", lambda original: self._before(original, lambda *a: a[:1], recorder)),
            replace(figure, "savefig", lambda original: self._saved(original, recorder)),
        ]
        undos.append(
            when_imported("matplotlib.pyplot", lambda pyplot: undos.extend(self._pyplot(pyplot, recorder)))
        )
        return all_of(undos)

    def _pyplot(self, pyplot: Any, recorder: Recorder) -> list[Undo]:
        return [
            replace(pyplot, "show", lambda original: self._before(original, _open_figures, recorder)),
            replace(pyplot, "imshow", lambda original: self._image(original, pyplot)),
        ]

    def _before(
        self, original: Callable[..., Any], figures: Callable[..., Iterable[Any]], recorder: Recorder
    ) -> Callable[..., Any]:
        def show(*args: Any, **kwargs: Any) -> Any:
            # Before: where it waits for the windows to be closed, the figures are gone afterwards.
            for figure in self._guard.run(figures, *args) or ():
                self._guard.run(self._report, figure, recorder)
            return original(*args, **kwargs)

        return show

    def _saved(self, original: Callable[..., Any], recorder: Recorder) -> Callable[..., Any]:
        def savefig(figure: Any, fname: Any = None, *args: Any, **kwargs: Any) -> Any:
            done = original(figure, fname, *args, **kwargs)
            if isinstance(fname, str | os.PathLike):
                self._guard.run(self._report, figure, recorder)
            return done

        return savefig

    def _image(self, original: Callable[..., Any], pyplot: Any) -> Callable[..., Any]:
        def imshow(*args: Any, **kwargs: Any) -> Any:
            done = original(*args, **kwargs)
            self._guard.run(lambda: self._pictures.add(pyplot.gcf()))
            return done

        return imshow

    def _report(self, figure: Any, recorder: Recorder) -> None:
        recorder.figure(self._title(figure), figure, sample=figure in self._pictures)

    def _title(self, figure: Any) -> str:
        """The figure's own title, else the first of its axes', else a number that it keeps."""
        above = getattr(figure, "_suptitle", None)  # get_suptitle() is there since 3.8
        titles = [above.get_text() if above is not None else "", *(axes.get_title() for axes in figure.axes)]
        for title in titles:
            if title.strip():
                return str(title)
        if figure not in self._names:
            self._names[figure] = f"untitled {next(self._untitled) % 100:02d}"
        return self._names[figure]


def _open_figures(*_: object) -> list[Any]:
    """Those that pyplot holds, oldest first."""
    managers = sys.modules["matplotlib._pylab_helpers"].Gcf.get_all_fig_managers()
    return [manager.canvas.figure for manager in managers]
