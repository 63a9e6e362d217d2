"""pandas DataFrames as .csv.gz, .parquet, .feather or .pickle. What .parquet and .feather refuse becomes .csv.gz."""

from __future__ import annotations

import io
import re
import sys
from typing import TYPE_CHECKING, Any, Final, cast

from tracker.codecs.protocol import (
    INFLATED_MAX,
    Encoded,
    Request,
    Stored,
    Unfit,
    chosen,
    file_name,
    gzipped,
    pickled,
    shown,
)
from tracker.errors import CorruptRecord

if TYPE_CHECKING:
    import pandas as pd

# The second is ClearML's for registered frames, which are watched and stored again when they change.
types: Final = ("pandas", "data-audit-table")

_CELLS_FREE: Final = 1 << 26  # cells that a parquet file of any size may have: 512 MiB of numbers
_CELLS_RATIO: Final = 4096  # cells for each byte of a larger one; columns that never change have as many

_EXTENSIONS: Final = (".csv.gz", ".parquet", ".feather", ".pickle")


def fits(value: object) -> bool:
    """Whether it is a DataFrame."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, pandas.DataFrame)


def encode(value: pd.DataFrame, request: Request) -> Encoded:
    """The frame with its index. Types of columns survive in .parquet, .feather and .pickle only."""
    import pandas as pd

    if not request.extension and (
        isinstance(value.index, pd.MultiIndex) or isinstance(value.columns, pd.MultiIndex)
    ):
        raise Unfit(
            "a frame with several levels of rows or columns does not survive csv (extension_name='.parquet' may do)"
        )
    extension, notice = chosen(request, "pandas", _EXTENSIONS)
    if extension == ".pickle":
        return _encoded(value, request, ".pickle", "application/pickle", pickled(value), notice)
    if extension != ".csv.gz":
        try:
            data = _parquet(value) if extension == ".parquet" else _feather(value)
            return _encoded(value, request, extension, f"application/{extension[1:]}", data, notice)
        except Exception as error:  # noqa: BLE001 - no pyarrow, or any of its complaints; ClearML falls back as well
            notice = f"pandas artifact {request.name!r} is stored as .csv.gz, {extension} failed: {error}"
    return _encoded(value, request, ".csv.gz", "text/csv", gzipped(_csv(value)), notice)


def decode(stored: Stored) -> pd.DataFrame:
    """The frame; from csv as pandas guesses its types, the first column as index."""
    import pandas as pd

    if stored.has_extension(".parquet", ".feather"):
        return _from_arrow(stored)
    if stored.has_extension(".pickle", ".pkl"):
        stored.require_trust()
        with stored.open() as file:
            return cast("pd.DataFrame", pd.read_pickle(file, compression=None))
    with stored.open() if stored.has_extension(".csv") else stored.inflated() as stream:
        # low_memory would guess types block by block.
        options: dict[str, Any] = {"index_col": 0, "low_memory": False}
        if _version(pd.__version__) < (3, 1):  # until then the default parser was off by a bit now and then
            options["float_precision"] = "round_trip"
        return cast("pd.DataFrame", pd.read_csv(stream, **options))


def _encoded(value: Any, request: Request, extension: str, media: str, data: bytes, notice: str) -> Encoded:
    return Encoded("pandas", file_name(request.name, extension), media, shown(value), data, notice=notice)


def _csv(value: pd.DataFrame) -> bytes:
    try:
        return value.to_csv(lineterminator="\n").encode()
    except UnicodeEncodeError as error:
        raise Unfit(f"it holds text that UTF-8 cannot: {error}") from error


def _parquet(value: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    value.to_parquet(buffer, engine="pyarrow")
    return buffer.getvalue()


def _feather(value: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    value.to_feather(buffer)
    return buffer.getvalue()


def _version(text: str) -> tuple[int, ...]:
    """The leading numbers of a version, for comparison."""
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def _from_arrow(stored: Stored) -> pd.DataFrame:
    """Through pyarrow's own reader, because pandas' does not validate, and unchecked offsets read beyond a buffer."""
    import pyarrow
    from pyarrow import feather, parquet

    if _version(pyarrow.__version__) < (14, 0, 1):
        raise ModuleNotFoundError(
            f"pyarrow {pyarrow.__version__} runs code that a file brings along (CVE-2023-47248): install a later one"
        )
    # Arrow's own file: its threads, which read ahead, sometimes crash where they have to call Python's.
    content = pyarrow.BufferReader(stored.source) if isinstance(stored.source, bytes) else None
    with content or pyarrow.OSFile(str(stored.source)) as file:
        if stored.has_extension(".feather"):
            table = feather.read_table(file, memory_map=False)
        else:
            source = parquet.ParquetFile(file)
            cells = source.metadata.num_rows * max(1, source.metadata.num_columns)
            # A cell is a byte or more, and run lengths make a small file of many.
            if cells > min(INFLATED_MAX, max(_CELLS_FREE, file.size() * _CELLS_RATIO)):
                raise CorruptRecord(f"the frame has {cells} cells: take the file with get_local_copy()")
            table = source.read()
    table.validate(full=True)
    return cast("pd.DataFrame", table.to_pandas())
