"""Numbers as ClearML's report methods take them -> the plotly figure that shows them. Pure: nothing is stored here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tracker.errors import BadValue

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.generic]

_NUMBERS: Final = "biuf"  # numpy's kinds of dtypes that are numbers
MODES: Final = ("group", "stack", "relative")


class SeriesInfo(NamedTuple):
    """One line of `report_line_plot`: its name, its points as n rows of x and y, and a text for each point."""

    name: str
    data: Any
    labels: Sequence[str] | None = None


class Axes(NamedTuple):
    """What is written at a figure's axes."""

    x: str | None = None
    y: str | None = None
    z: str | None = None


def histogram(
    name: str,
    values: Any,
    axes: Axes,
    labels: Sequence[str] | str | None,
    xlabels: Sequence[str] | None,
    mode: str | None,
    data_args: Mapping[str, Any] | None,
    extra_layout: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Bars; a trace for each row of a matrix. Raises AssertionError for an unknown mode, as ClearML does."""
    mode = mode or "group"
    assert mode in MODES, f"mode {mode!r}: one of {', '.join(MODES)} is expected"
    rows = numbers("values", values, (1, 2))
    names = _labels(labels)
    traces = []
    for n, row in enumerate(rows if rows.ndim == 2 else [rows]):
        trace: dict[str, Any] = {"type": "bar", "y": row}
        if names is not None and n < len(names):
            trace["name"] = names[n]
        if xlabels is not None:
            trace["x"] = _labels(xlabels)
        traces.append({**trace, **(data_args or {})})
    return _figure(traces, _flat_layout(name, axes, barmode=mode), extra_layout)


def scatter2d(
    name: str,
    points: Any,
    axes: Axes,
    labels: Sequence[str] | None,
    mode: str,
    extra_layout: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Points in a plane: n rows of x and y."""
    trace = _trace2d(name, points, labels, mode)
    return _figure([trace], _flat_layout(name, axes), extra_layout)


def lines(
    name: str,
    series: Any,
    axes: Axes,
    mode: str,
    reverse_xaxis: bool,
    extra_layout: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Several lines in one plane. `series`: SeriesInfo or dicts of its members, one or a list."""
    if isinstance(series, SeriesInfo | Mapping) or hasattr(series, "data"):
        series = [series]
    traces = [_trace2d(str(each.name), each.data, each.labels, mode) for each in map(_info, series)]
    layout = _flat_layout(name, axes)
    if reverse_xaxis:
        layout["xaxis"]["autorange"] = "reversed"
    return _figure(traces, layout, extra_layout)


def scatter3d(
    name: str,
    points: Any,
    axes: Axes,
    labels: Sequence[str] | None,
    mode: str,
    fill: bool,
    extra_layout: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Points in space: n rows of x, y and z, or a list of such arrays, each a trace of its own."""
    names = _labels(labels)
    groups = _groups(points)
    traces = []
    for n, group in enumerate(groups):
        x, y, z = columns("scatter", group, 3)
        trace: dict[str, Any] = {"type": "scatter3d", "mode": mode, "name": name, "x": x, "y": y, "z": z}
        if len(groups) > 1:
            trace["name"] = names[n] if names is not None and n < len(names) else f"{name} {n}"
        elif names is not None:
            trace["text"] = names
        if fill:
            trace["surfaceaxis"] = 1
        traces.append(trace)
    return _figure(traces, _space_layout(name, axes), extra_layout)


def heatmap(
    name: str,
    matrix: Any,
    axes: Axes,
    xlabels: Sequence[str] | None,
    ylabels: Sequence[str] | None,
    yaxis_reversed: bool,
    extra_layout: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """A matrix with its numbers in its cells; `texttemplate` in `extra_layout` says how they are written."""
    rest = dict(extra_layout or {})
    trace: dict[str, Any] = {
        "type": "heatmap",
        "z": table("matrix", matrix),
        "texttemplate": rest.pop("texttemplate", "%{z}"),
    }
    if xlabels is not None:
        trace["x"] = _labels(xlabels)
    if ylabels is not None:
        trace["y"] = _labels(ylabels)
    layout = _flat_layout(name, axes)
    if yaxis_reversed:
        layout["yaxis"]["autorange"] = "reversed"
    return _figure([trace], layout, rest)


def surface(
    name: str,
    matrix: Any,
    axes: Axes,
    xlabels: Sequence[str] | None,
    ylabels: Sequence[str] | None,
    camera: Sequence[float] | None,
    extra_layout: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """A matrix as heights over a plane. `camera`: from where one looks at it, (1, 1, 1) where not given."""
    layout = _space_layout(name, axes)
    for axis, given in (("xaxis", xlabels), ("yaxis", ylabels)):
        if (texts := _labels(given)) is not None:
            layout["scene"][axis] |= {"tickvals": list(range(len(texts))), "ticktext": texts}
    eye = tuple(float(part) for part in camera) if camera is not None else (1.0, 1.0, 1.0)
    if len(eye) != 3:
        raise BadValue(f"camera {camera!r}: three numbers are expected, x, y and z")
    layout["scene"]["camera"] = {"eye": dict(zip("xyz", eye, strict=True))}
    trace = {"type": "surface", "z": table("matrix", matrix), "showscale": True}
    return _figure([trace], layout, extra_layout)


def picture(name: str, url: str, width: int, height: int) -> dict[str, Any]:
    """A figure that is only a picture, which fills it."""
    hidden = {"visible": False, "range": [0, 1]}
    image = {
        "source": url,
        "xref": "x",
        "yref": "y",
        "x": 0,
        "y": 1,
        "sizex": 1,
        "sizey": 1,
        "sizing": "contain",
        "layer": "below",
    }
    layout = {
        "title": {"text": name},
        "images": [image],
        "xaxis": hidden,
        "yaxis": hidden,
        "width": width,
        "height": height,
        "margin": {"l": 0, "r": 0, "t": 40, "b": 0},
    }
    return {"data": [], "layout": layout}


def titled(figure: Any, name: str) -> dict[str, Any]:
    """A plotly figure as a dict, its layout's title replaced by the series, as ClearML does."""
    found = dict(figure) if isinstance(figure, Mapping) else figure.to_plotly_json()
    layout: Any = found.get("layout")
    if hasattr(layout, "to_plotly_json"):
        layout = layout.to_plotly_json()
    found["layout"] = {**(layout if isinstance(layout, Mapping) else {}), "title": {"text": name}}
    return found


# --- parts -----------------------------------------------------------------------------------------------------------


def numbers(what: str, value: Any, dimensions: Sequence[int]) -> NDArray[Any]:
    """Numbers of any library as an array of one of these dimensions. Raises BadValue, for texts and ragged rows too."""
    import numpy as np

    try:
        found = _array(value)
        if found.ndim not in dimensions:
            words = " or ".join(("no", "one", "two")[n] for n in dimensions)
            raise BadValue(f"the {what} must have {words} dimensions, and not shape {found.shape}")
        if found.dtype.kind not in _NUMBERS:
            found = np.array([float(cell) for cell in found.ravel().tolist()]).reshape(found.shape)
    except BadValue:
        raise
    except (TypeError, ValueError) as error:
        raise BadValue(f"the {what} must hold numbers, in rows of one length: {error}") from error
    return found


def table(what: str, value: Any) -> NDArray[Any]:
    """A matrix with at least one number. Raises BadValue."""
    found = numbers(what, value, (2,))
    if not found.size:
        raise BadValue(
            f"the {what} must have two dimensions with numbers in them, and not shape {found.shape}"
        )
    return found


def columns(what: str, value: Any, count: int) -> list[NDArray[Any]]:
    """The columns of n rows of `count` values each. Raises BadValue."""
    try:
        found = _array(value)
    except (TypeError, ValueError) as error:
        raise BadValue(f"the {what} must have rows of one length: {error}") from error
    if not found.size:
        found = found.reshape(0, count)
    if found.ndim != 2 or found.shape[1] != count:
        raise BadValue(f"the {what} must be n rows of {count} numbers, not of shape {found.shape}")
    return [found[:, n] for n in range(count)]


def _array(value: Any) -> NDArray[Any]:
    import numpy as np

    for name in ("detach", "cpu", "to_numpy"):  # a tensor, which may be on a device; a frame
        convert = getattr(value, name, None)
        if callable(convert):
            value = convert()
    return np.asarray(value)


def _groups(points: Any) -> list[Any]:
    """The arrays of a list of arrays; else the one array that it is."""
    if isinstance(points, list | tuple) and points:
        first = points[0]
        if hasattr(first, "shape") and len(first.shape) == 2:
            return list(points)
        if isinstance(first, list | tuple) and first and isinstance(first[0], list | tuple):
            return list(points)
    return [points]


def _info(series: Any) -> SeriesInfo:
    if isinstance(series, Mapping):
        unknown = sorted(series.keys() - set(SeriesInfo._fields))
        if unknown or "name" not in series or "data" not in series:
            raise BadValue(f"a series has name, data and labels, not {', '.join(map(str, series))}")
        return SeriesInfo(**series)
    if not hasattr(series, "name") or not hasattr(series, "data"):
        raise BadValue(f"a series is a SeriesInfo or a dict, not {type(series).__name__}")
    return SeriesInfo(series.name, series.data, getattr(series, "labels", None))


def _trace2d(name: str, points: Any, labels: Sequence[str] | None, mode: str) -> dict[str, Any]:
    x, y = columns("scatter", points, 2)
    trace: dict[str, Any] = {"type": "scatter", "mode": mode, "name": name, "x": x, "y": y}
    if labels is not None:
        trace["text"] = _labels(labels)
    return trace


def _labels(given: Sequence[str] | str | None) -> list[str] | None:
    if given is None:
        return None
    return [given] if isinstance(given, str) else [str(label) for label in given]


def _axis(text: str | None) -> dict[str, Any]:
    return {"title": {"text": text or ""}}


def _flat_layout(name: str, axes: Axes, **more: Any) -> dict[str, Any]:
    return {"title": {"text": name}, "xaxis": _axis(axes.x), "yaxis": _axis(axes.y), **more}


def _space_layout(name: str, axes: Axes) -> dict[str, Any]:
    scene = {"xaxis": _axis(axes.x), "yaxis": _axis(axes.y), "zaxis": _axis(axes.z)}
    return {"title": {"text": name}, "scene": scene}


def _figure(
    traces: list[dict[str, Any]], layout: dict[str, Any], extra: Mapping[str, Any] | None
) -> dict[str, Any]:
    return {"data": traces, "layout": merged(layout, extra or {})}


def merged(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    """`b` on top of `a`, dicts in both member by member: a range of an axis leaves the title it has."""
    found = dict(a)
    for key, value in b.items():
        mine = found.get(key)
        both = isinstance(mine, Mapping) and isinstance(value, Mapping)
        found[key] = merged(mine, value) if both else value  # type: ignore[arg-type]  # both are mappings
    return found
