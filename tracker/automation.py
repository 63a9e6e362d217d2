"""The names of ClearML's automation, so that scripts can import them; using one says why it is not here.

Submodules, such as that of optuna, are not there: scripts import them in a `try`.
"""

from __future__ import annotations


def __getattr__(name: str) -> object:
    from tracker.sdk.absent import AUTOMATION

    if name in AUTOMATION:
        return AUTOMATION[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    from tracker.sdk.absent import AUTOMATION

    return sorted(AUTOMATION)
