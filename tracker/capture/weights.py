"""What the captures of frameworks that save and load weights share: which file it was, and whether it is wanted."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

from tracker.capture.protocol import Guard, Recorder, Undo
from tracker.capture.replaced import replace

FrameworkOf = Callable[[tuple[Any, ...]], str]
"""The framework's name, by the arguments of the call."""


class Weights:
    """The calls of one framework that write a file of weights, or read one, as models of the task.

    patterns: of file names or paths, `*` and `?` as in a shell; None: all. Only paths are looked at: of an open file
    nobody can tell when it is complete.
    """

    def __init__(self, recorder: Recorder, guard: Guard, patterns: Sequence[str] | None = None) -> None:
        self._recorder = recorder
        self._guard = guard
        self._patterns = patterns

    def saves(self, owner: Any, name: str, at: int, keyword: str, framework: FrameworkOf) -> Undo:
        """Record what `owner.name` has written to the path at a position, or of a keyword; returns the undo."""
        return replace(owner, name, partial(self._after, self._recorder.saved, at, keyword, framework))

    def loads(self, owner: Any, name: str, at: int, keyword: str, framework: FrameworkOf) -> Undo:
        """The same for what it has read."""
        return replace(owner, name, partial(self._after, self._recorder.loaded, at, keyword, framework))

    def _after(
        self,
        tell: Callable[[str, str], None],
        at: int,
        keyword: str,
        framework: FrameworkOf,
        original: Callable[..., Any],
    ) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            done = original(*args, **kwargs)
            given = args[at] if len(args) > at else kwargs.get(keyword)
            self._guard.run(self._tell, tell, given, framework, args)
            return done

        return call

    def _tell(
        self, tell: Callable[[str, str], None], given: object, framework: FrameworkOf, args: tuple[Any, ...]
    ) -> None:
        if isinstance(given, str | os.PathLike):
            path = os.fsdecode(given)
            if os.path.exists(path) and self._wants(path):
                tell(path, framework(args))

    def _wants(self, path: str) -> bool:
        names = (path, os.path.basename(path))
        return self._patterns is None or any(fnmatchcase(n, p) for n in names for p in self._patterns)
