"""DataFrames: readable csv by default, exact in parquet, feather and pickle, and never unpickled unasked."""

from __future__ import annotations

import gzip
import io
import sys
from typing import Any

import numpy as np
import pytest

from tracker.codecs import decode, encode, pandas_, protocol
from tracker.errors import CorruptRecord, UnsafeArtifact

pd = pytest.importorskip("pandas", reason="pandas is not installed")

PLAIN = pd.DataFrame({"a": [1, 2], "b": [0.1, float("nan")], "s": ["x", 'ü, "y"\nz']}, index=["r1", "r2"])
LEVELS = pd.DataFrame({"a": [1, 2]}, index=pd.MultiIndex.from_tuples([(1, "x"), (2, "y")], names=["n", "s"]))
FRAMES = {
    "plain": PLAIN,
    "levels of rows": LEVELS,
    "levels of columns": LEVELS.T,
    "datetime": pd.DataFrame({"d": pd.to_datetime(["2020-01-01", None])}),
    "time zone": pd.DataFrame({"d": pd.to_datetime(["2020-01-01"]).tz_localize("Europe/Berlin")}),
    "datetime index": pd.DataFrame({"a": [1.5]}, index=pd.to_datetime(["2020-01-01"])),
    "category": pd.DataFrame({"c": pd.Categorical(["a", "b", "a"])}),
    "nullable": pd.DataFrame({"i": pd.array([1, None], dtype="Int64")}),
    "no rows": pd.DataFrame({"a": [], "b": []}),
    "nothing": pd.DataFrame(),
    "columns are numbers": pd.DataFrame({0: [1.0], 7: [2.0]}),
}


def again(value: Any, *, allow_pickle: bool = False, **options: Any) -> Any:
    """The frame after a round trip."""
    encoded = encode("a", value, **options)
    assert isinstance(encoded.payload, bytes)
    return decode(
        encoded.type, encoded.payload, file_name=encoded.file_name, name="a", allow_pickle=allow_pickle
    )


def test_a_plain_frame_is_a_compressed_csv_and_comes_back() -> None:
    """The default: text with the index in front, quoted where needed."""
    encoded = encode("a", PLAIN)
    assert (encoded.type, encoded.file_name, encoded.content_type) == ("pandas", "a.csv.gz", "text/csv")
    assert isinstance(encoded.payload, bytes)
    assert gzip.decompress(encoded.payload).decode() == ',a,b,s\nr1,1,0.1,x\nr2,2,,"ü, ""y""\nz"\n'
    assert encoded.preview == repr(PLAIN)
    pd.testing.assert_frame_equal(again(PLAIN), PLAIN)


def test_csv_keeps_every_float_to_the_bit() -> None:
    """The parser is the exact one, whatever the version of pandas."""
    values = np.random.default_rng(0).integers(0, 2**63, 5000).view(np.float64)
    frame = pd.DataFrame({"v": values[np.isfinite(values)]})
    assert again(frame)["v"].to_numpy().tobytes() == frame["v"].to_numpy().tobytes()


@pytest.mark.parametrize("name", ["datetime", "no rows", "nothing", "columns are numbers"])
def test_csv_of_an_awkward_frame_keeps_shape_and_text(name: str) -> None:
    """Types are guessed again, but no row, column or cell is lost."""
    frame = FRAMES[name]
    result = again(frame)
    assert result.shape == frame.shape
    assert [str(column) for column in result.columns] == [str(column) for column in frame.columns]


@pytest.mark.parametrize("name", list(FRAMES))
@pytest.mark.parametrize("extension", [".parquet", ".feather", "pickle"])
def test_typed_formats_keep_the_frame_exactly(name: str, extension: str) -> None:
    """Types, indexes and empty frames survive, with or without the dot."""
    if extension != "pickle":
        pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    encoded = encode("a", FRAMES[name], extension_name=extension)
    assert (encoded.file_name, encoded.notice) == (f"a.{extension.lstrip('.')}", "")
    pd.testing.assert_frame_equal(
        again(FRAMES[name], extension_name=extension, allow_pickle=True), FRAMES[name]
    )


@pytest.mark.parametrize("name", ["levels of rows", "levels of columns"])
def test_several_levels_without_an_extension_are_pickled_or_refused(name: str) -> None:
    """As in ClearML: csv would tear the levels apart."""
    encoded = encode("a", FRAMES[name])
    assert (encoded.type, encoded.file_name) == ("pickle", "a.pkl")
    assert "extension_name='.parquet'" in encoded.notice
    with pytest.raises(ValueError, match="auto_pickle is off"):
        encode("a", FRAMES[name], auto_pickle=False)
    assert encode("a", FRAMES[name], extension_name=".csv.gz").type == "pandas"


@pytest.mark.parametrize("extension", [".parquet", ".feather"])
def test_what_arrow_refuses_becomes_csv_with_a_notice(
    extension: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Columns of mixed values, and an environment without pyarrow, cost the format and not the data."""
    mixed = pd.DataFrame({"o": [{1: 2}, "x"]})
    encoded = encode("a", mixed, extension_name=extension)
    assert (encoded.file_name, encoded.content_type) == ("a.csv.gz", "text/csv")
    assert f"{extension} failed" in encoded.notice
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert encode("a", PLAIN, extension_name=extension).file_name == "a.csv.gz"


def test_a_pickled_frame_is_read_only_when_allowed() -> None:
    """Its type says pandas, but reading it would run its code all the same."""
    encoded = encode("a", PLAIN, extension_name=".pickle")
    assert (encoded.type, encoded.content_type) == ("pandas", "application/pickle")
    assert isinstance(encoded.payload, bytes)
    with pytest.raises(UnsafeArtifact, match="allow_pickle=True"):
        decode("pandas", encoded.payload, file_name="a.pickle", name="a")
    with pytest.raises(UnsafeArtifact):
        decode("pandas", encoded.payload, file_name="A.PICKLE", name="a")


def test_text_that_is_not_unicode_is_pickled() -> None:
    """Half a surrogate pair has no UTF-8."""
    assert encode("a", pd.DataFrame({"s": pd.Series(["\ud800"], dtype=object)})).type == "pickle"


def test_a_registered_frame_is_read_alike() -> None:
    """ClearML's type for watched frames is csv as well."""
    payload = encode("a", PLAIN).payload
    assert isinstance(payload, bytes)
    result = decode("data-audit-table", payload, file_name="a.csv.gz")
    pd.testing.assert_frame_equal(result, PLAIN)


@pytest.mark.parametrize(
    "data", [b"", b"PAR1", b"ARROW1", b"\x1f\x8b\x08", protocol.gzipped(b'"'), bytes(100)]
)
@pytest.mark.parametrize("extension", [".csv.gz", ".parquet", ".feather"])
def test_hostile_bytes_are_corrupt_and_nothing_else(data: bytes, extension: str) -> None:
    """No parser's own exception gets out, and the text names the artifact."""
    if extension != ".csv.gz":
        pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    with pytest.raises(CorruptRecord, match="artifact 'a'"):
        decode("pandas", data, file_name="x" + extension, name="a")


@pytest.mark.parametrize("extension", [".parquet", ".feather"])
def test_a_damaged_arrow_file_gives_a_frame_or_corrupt_record(extension: str) -> None:
    """Flipped bytes may change numbers; they must not reach beyond a buffer or raise anything else."""
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    encoded = encode("a", FRAMES["category"], extension_name=extension)
    assert isinstance(encoded.payload, bytes)
    outcomes = set()
    for position in range(0, len(encoded.payload), 11):
        data = bytearray(encoded.payload)
        data[position] ^= 0x55
        try:
            outcomes.add(type(decode("pandas", bytes(data), file_name="x" + extension, name="a")).__name__)
        except CorruptRecord:
            outcomes.add("CorruptRecord")
    assert outcomes == {"DataFrame", "CorruptRecord"}


@pytest.mark.parametrize("extension", [".csv.gz", ".parquet"])
def test_a_frame_that_grows_beyond_the_bound_is_stopped(
    extension: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run lengths and gzip make small files of large frames."""
    if extension == ".parquet":
        pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    encoded = encode("a", pd.DataFrame({"a": np.zeros(20_000)}), extension_name=extension)
    assert isinstance(encoded.payload, bytes)
    monkeypatch.setattr(protocol, "INFLATED_MAX", 10_000)
    monkeypatch.setattr(pandas_, "INFLATED_MAX", 10_000)
    with pytest.raises(CorruptRecord, match=r"get_local_copy\(\)"):
        decode("pandas", encoded.payload, file_name=encoded.file_name)


def test_an_uncompressed_csv_of_someone_else_is_read() -> None:
    """Imported stores may hold one."""
    buffer = io.BytesIO()
    PLAIN.to_csv(buffer)
    pd.testing.assert_frame_equal(decode("pandas", buffer.getvalue(), file_name="a.csv"), PLAIN)
