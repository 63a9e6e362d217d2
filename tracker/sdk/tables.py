"""Tables as `report_table` takes them -> the file that keeps them, and the figure that shows them; and back to a frame.

A DataFrame is kept as .parquet where pyarrow is there, else as .csv.gz; rows as .json; a csv file as it is.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tracker import codecs
from tracker.errors import BadValue

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Table:
    """A table made ready: its file, and the header and columns that are shown of it."""

    data: bytes
    file: str
    content_type: str
    header: list[Any]
    columns: list[list[Any]]


def of(name: str, given: Any) -> Table:
    """A DataFrame, or rows of which the first is the header. Raises BadValue."""
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(given, pandas.DataFrame):
        return _of_frame(name, given)
    if hasattr(given, "tolist"):
        given = given.tolist()
    is_rows = isinstance(given, Sequence) and not isinstance(given, str | bytes)
    if not is_rows or not all(isinstance(row, Sequence) and not isinstance(row, str) for row in given):
        raise BadValue(
            f"a table is a DataFrame, or rows of which the first is the header, not a {type(given).__name__}"
        )
    return _of_rows(name, [list(row) for row in given])


def of_csv(name: str, place: str | Path) -> Table:
    """A csv file, by its path or its URL; the first column is the index. Raises OSError."""
    from tracker.codecs.protocol import file_name

    data = _read(place)
    import pandas as pd

    try:
        frame = pd.read_csv(io.BytesIO(data), index_col=[0])
    except ValueError as error:  # pandas' own errors of parsing are ValueErrors, too
        raise BadValue(f"{place} cannot be read as csv: {error}") from error
    header, columns = _shown(frame)
    return Table(data, file_name(name, ".csv"), "text/csv", header, columns)


def _read(place: str | Path) -> bytes:
    from urllib.parse import urlsplit
    from urllib.request import url2pathname, urlopen

    parts = urlsplit(str(place))
    if parts.scheme in ("http", "https"):
        with urlopen(str(place), timeout=30) as answer:
            return bytes(answer.read())
    return Path(url2pathname(parts.path) if parts.scheme == "file" else place).expanduser().read_bytes()


def figure(
    title: str, table: Table, layout: Mapping[str, Any] | None, extra_data: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The table as plotly shows one. `layout` and `extra_data` are members of the layout and of the trace."""
    trace = {
        "type": "table",
        "header": {"values": [[name] for name in table.header], "align": "left"},
        "cells": {"values": table.columns, "align": "left"},
    }
    return {"data": [{**trace, **(extra_data or {})}], "layout": {"title": {"text": title}, **(layout or {})}}


def frame(data: bytes, file: str) -> pd.DataFrame:
    """A stored table as a DataFrame. Raises CorruptRecord, ModuleNotFoundError without pandas."""
    import pandas as pd

    if file.endswith(".json"):
        found = rows(data)
        columns: Any = found[0] if found else None
        return cast("pd.DataFrame", pd.DataFrame(found[1:], columns=columns))
    decoded = codecs.decode("pandas", data, file_name=file, name=file)
    return cast("pd.DataFrame", decoded)


def rows(data: bytes) -> list[list[Any]]:
    """A table that was reported as rows, as these rows. Raises CorruptRecord."""
    from tracker.errors import CorruptRecord

    try:
        return [list(row) for row in json.loads(data)["rows"]]
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptRecord(f"a table cannot be read: {error!r}") from error


def _of_frame(name: str, given: pd.DataFrame) -> Table:
    extension = ".parquet" if _has_arrow() else ".csv.gz"
    encoded = codecs.encode(name, given, extension_name=extension, auto_pickle=False, preview=False)
    header, columns = _shown(given)
    data = encoded.payload
    assert isinstance(data, bytes)
    return Table(data, encoded.file_name, encoded.content_type, header, columns)


def _has_arrow() -> bool:
    from importlib.util import find_spec

    return find_spec("pyarrow") is not None


def _of_rows(name: str, given: list[list[Any]]) -> Table:
    from tracker.codecs.protocol import file_name

    width = max(map(len, given), default=0)
    if any(len(row) != width for row in given):
        raise BadValue("the rows of a table must have one length")
    text = json.dumps({"rows": given}, ensure_ascii=False, default=_plain)
    plain = json.loads(text)["rows"]
    header = plain[0] if plain else []
    columns = [["nan" if row[n] is None else row[n] for row in plain[1:]] for n in range(width)]
    data = text.encode("utf-8", "backslashreplace")
    return Table(data, file_name(name, ".json"), "application/json", header, columns)


def _plain(value: Any) -> Any:
    for method in ("item", "isoformat", "tolist"):
        convert = getattr(value, method, None)
        if callable(convert):
            return convert()
    return str(value)


def _shown(given: pd.DataFrame) -> tuple[list[Any], list[list[Any]]]:
    """Header and columns as plotly takes them: the index in front unless it only counts, what is missing as "nan"."""
    import pandas as pd

    if not isinstance(given.index, pd.RangeIndex):
        names = [str(n if n is not None else "") for n in given.index.names]
        index = [given.index.get_level_values(n) for n in range(given.index.nlevels)]
    else:
        names, index = [], []
    header = [*names, *map(_heading, given.columns)]
    listed = [*index, *(given.iloc[:, n] for n in range(given.shape[1]))]
    return header, [_cells(column) for column in listed]


def _heading(name: object) -> str:
    """A column's name; of several levels all of them."""
    return " / ".join(map(str, name)) if isinstance(name, tuple) else str(name)


def _cells(column: Any) -> list[Any]:
    import pandas as pd

    missing = pd.isna(column).tolist()
    return [
        "nan" if gone is True else cell if isinstance(cell, str | int | float) else str(cell)
        for cell, gone in zip(column.tolist(), missing, strict=True)
    ]
