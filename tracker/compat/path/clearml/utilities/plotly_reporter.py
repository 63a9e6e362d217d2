"""SeriesInfo: one line of a line plot."""

from __future__ import annotations

from tracker import Logger


def __getattr__(name: str) -> object:
    if name == "SeriesInfo" and hasattr(Logger, name):
        return getattr(Logger, name)
    if name.startswith("__"):
        raise AttributeError(name)
    raise ImportError(
        f"clearml.utilities.plotly_reporter.{name} is not here: use Logger.report_plotly with a figure"
    )
