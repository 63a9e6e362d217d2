"""Puts a wrapper in the place of a library's function, and takes it out again. It knows no library."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

from tracker.capture.protocol import Undo

Around = Callable[[Callable[..., Any]], Callable[..., Any]]
"""What makes a function's wrapper of the function."""


def replace(owner: Any, name: str, around: Around) -> Undo:
    """Puts `around(original)` in the place of a module's or class's function until it is undone.

    Where the script has taken the function by its name before (`from joblib import dump`), that name is replaced, too.
    Who has taken the wrapper away keeps it: after the undo it is the original.
    """
    original = getattr(owner, name)
    recording: list[Callable[..., Any]] = [around(original)]

    @wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return (recording[0] if recording else original)(*args, **kwargs)

    script = sys.modules.get("__main__")
    places = [(owner, name)] + [(script, each) for each, value in vars(script).items() if value is original]
    for place, each in places:
        setattr(place, each, wrapper)

    def undo() -> None:
        recording.clear()
        for place, each in places:
            if getattr(place, each, None) is wrapper:
                setattr(place, each, original)

    return undo


def all_of(undos: list[Undo]) -> Undo:
    """One undo of several, last first."""

    def undo() -> None:
        while undos:
            undos.pop()()

    return undo
