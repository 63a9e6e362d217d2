"""matplotlib figures -> a picture, or plotly's own conversion of them. Converts nothing by itself."""

from __future__ import annotations

import io
import warnings
from typing import Any
from weakref import WeakSet

from tracker.errors import BadValue

by_hand: WeakSet[Any] = WeakSet()
"""Figures that the script has reported itself: no capture reports them again."""


def figure_of(given: Any) -> Any:
    """The figure: a Figure itself, of pyplot its current one, of an axes the one it is in. Raises BadValue."""
    if callable(getattr(given, "gcf", None)):
        given = given.gcf()
    elif not hasattr(given, "savefig") and hasattr(given, "get_figure"):
        given = given.get_figure()
    if not callable(getattr(given, "savefig", None)):
        raise BadValue(f"a matplotlib Figure or pyplot is expected, not {type(given).__name__}")
    return given


def png(figure: Any, dpi: float | str = "figure") -> tuple[bytes, int, int]:
    """The figure as the bytes of a PNG, its width and height in pixels."""
    buffer = io.BytesIO()
    # Figure.savefig is what people replace to see every figure; the canvas's own method is what it calls.
    figure.canvas.print_figure(buffer, format="png", dpi=dpi, facecolor=figure.get_facecolor())
    data = buffer.getvalue()
    return (
        data,
        int.from_bytes(data[16:20], "big"),
        int.from_bytes(data[20:24], "big"),
    )  # of PNG's first chunk


def converted(figure: Any) -> Any:
    """What plotly's converter makes of a figure with one axes; None where it is not there, fails, or loses a part."""
    if len(figure.axes) != 1:
        return None
    (axes,) = figure.axes
    if axes.images or axes.tables or axes.name != "rectilinear":
        return None
    try:
        from plotly.matplotlylib import Exporter, PlotlyRenderer
    except ImportError:
        return None
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            renderer = PlotlyRenderer()
            # What plotly.tools.mpl_to_plotly does, but for closing the user's figure.
            Exporter(renderer, close_mpl=False).run(figure)
            found = renderer.plotly_fig
        except Exception:  # noqa: BLE001 - it lags behind matplotlib, and then raises anything; the picture remains
            return None
    # What it cannot convert it leaves out, with a warning.
    lost = any(issubclass(each.category, UserWarning) for each in said)
    return found if len(found.data) and not lost else None
