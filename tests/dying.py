"""A process that ends without a word at a step of its own choice, for tests of what it leaves."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

DIED: Final = 9  # its exit status


def dying(step: int, *names: str) -> None:
    """Let this process end at its `step`-th call of any of these functions of `os`."""
    left = step

    def wrap(call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **named: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                os._exit(DIED)
            return call(*args, **named)

        return counted

    for name in names:
        setattr(os, name, wrap(getattr(os, name)))
