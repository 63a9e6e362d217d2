"""Stored values for a run again whose script parses its command line before `Task.init`. It records nothing.

argparse has a tap of its own, since its arguments have to be known later too; a command of click is still running when
the task begins, and absl keeps its flags.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tracker.capture.imports import when_imported


def replay(stored: Callable[[str], Mapping[str, str]]) -> None:
    """From now on, click and absl take what is stored in a section."""

    def click(_: object) -> None:
        from tracker.capture import click_

        click_.watch(lambda: stored(click_.SECTION))

    def absl(_: object) -> None:
        from tracker.capture import absl_

        absl_.watch(lambda: stored(absl_.SECTION))

    when_imported("click", click)
    when_imported("absl.flags", absl)
