"""PatchedMatplotlib, which integrations switch off before they report by themselves."""

from __future__ import annotations


class PatchedMatplotlib:
    """Nothing is patched here by that name."""

    @classmethod
    def update_current_task(cls, task: object, **_: object) -> None:
        """Nothing: what is captured is chosen in Task.init."""
