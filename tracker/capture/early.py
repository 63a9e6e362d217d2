"""What has to be watched before `Task.init`: parsers that a run again gives stored values, jobs under way by then.

It records nothing. argparse has a tap of its own, since its arguments have to be known later too; a command of click is
still running when the task begins, and absl keeps its flags.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tracker.capture.imports import when_imported


def watch(stored: Callable[[str], Mapping[str, str]], *, replays: bool) -> None:
    """From now on hydra's jobs and what jsonargparse parses are known; in a run again all take what is stored."""

    def hydra(_: object) -> None:
        from tracker.capture import hydra_

        hydra_.watch(lambda: stored(hydra_.SECTION))

    def click(_: object) -> None:
        from tracker.capture import click_

        click_.watch(lambda: stored(click_.SECTION))

    def absl(_: object) -> None:
        from tracker.capture import absl_

        absl_.watch(lambda: stored(absl_.SECTION))

    def jsonargparse(_: object) -> None:
        from tracker.capture import jsonargparse_

        jsonargparse_.watch(lambda: stored(jsonargparse_.SECTION))

    when_imported("jsonargparse", jsonargparse)
    when_imported("hydra._internal.hydra", hydra)
    if replays:
        when_imported("click", click)
        when_imported("absl.flags", absl)
