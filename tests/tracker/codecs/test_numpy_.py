"""Arrays: exact in .npz whatever their layout, float64 in .csv.gz, and never unpickled unasked."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tracker.codecs import decode, encode, numpy_, protocol
from tracker.errors import CorruptRecord, UnsafeArtifact

ARRAYS: list[NDArray[Any]] = [
    np.arange(6).reshape(2, 3),
    np.array(3.5),
    np.arange(20, dtype=">i4")[::3],
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.zeros((0, 3), np.float16),
    np.array([(1, 2.0)], [("é", "i4"), ("b", ">f8")]),
    np.array(["2020-01-01", "NaT"], "M8[ns]"),
    np.array(["ab", "c"]),
    np.array([True, False]),
    np.array([1 + 2j, complex("nan")]),
    np.array([0x7FF0000000000001, 1 << 63], np.uint64).view(np.float64),
]


def again(value: NDArray[Any], name: str = "a/b", **options: Any) -> NDArray[Any]:
    """The array after a round trip."""
    encoded = encode(name, value, **options)
    assert isinstance(encoded.payload, bytes)
    result = decode(encoded.type, encoded.payload, file_name=encoded.file_name, name=name)
    assert isinstance(result, np.ndarray)
    return result


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype.str}{array.shape}")
def test_an_array_comes_back_bit_for_bit(array: NDArray[Any]) -> None:
    """Type, byte order, shape and every bit, of contiguous and other arrays."""
    result = again(array)
    assert (result.dtype, result.shape, result.tobytes()) == (array.dtype, array.shape, array.tobytes())


@pytest.mark.parametrize(
    "name", ["x", "a/b", "file", "x.npy", "ünï", "nul\0name", "half \ud800 pair", "../up"]
)
def test_any_name_of_an_artifact_will_do(name: str) -> None:
    """The name is the key in the .npz, as in ClearML, and it needs not be a file name."""
    assert again(np.arange(3), name).tolist() == [0, 1, 2]


def test_numpy_itself_reads_the_file_by_the_artifacts_name() -> None:
    """What is stored is a plain .npz of uncompressed members, without a time."""
    encoded = encode("weights", np.eye(2))
    assert (encoded.type, encoded.file_name, encoded.content_type) == (
        "numpy",
        "weights.npz",
        "application/numpy",
    )
    assert isinstance(encoded.payload, bytes)
    with np.load(io.BytesIO(encoded.payload), allow_pickle=False) as members:
        assert members["weights"].tolist() == [[1.0, 0.0], [0.0, 1.0]]
    (member,) = zipfile.ZipFile(io.BytesIO(encoded.payload)).infolist()
    assert (member.compress_type, member.date_time) == (zipfile.ZIP_STORED, (1980, 1, 1, 0, 0, 0))


@pytest.mark.parametrize(
    "array", [np.array([0.1, np.nan, -np.inf, 1e-310]), np.arange(6).reshape(3, 2), np.array([True, False])]
)
def test_csv_keeps_the_numbers_exactly_but_as_float64(array: NDArray[Any]) -> None:
    """Text has no types, so the numbers alone survive."""
    encoded = encode("a", array, extension_name=".csv.gz")
    assert (encoded.file_name, encoded.content_type, encoded.notice) == ("a.csv.gz", "text/csv", "")
    result = again(array, extension_name=".csv.gz")
    assert result.dtype == np.float64
    assert np.array_equal(result, array.astype(float), equal_nan=True)


@pytest.mark.parametrize(
    "array",
    [np.zeros((2, 2, 2)), np.array(1.0), np.zeros(0), np.array([1j]), np.array(["a"]), np.array([2**53 + 1])],
    ids=str,
)
def test_what_csv_would_spoil_is_stored_as_npz_with_a_notice(array: NDArray[Any]) -> None:
    """A wish for csv never costs data."""
    encoded = encode("a", array, extension_name="csv.gz")
    assert encoded.file_name == "a.npz"
    assert "csv.gz cannot hold" in encoded.notice
    assert np.array_equal(again(array, extension_name=".csv.gz"), array)


def test_an_unknown_extension_is_named_and_replaced() -> None:
    """As ClearML does: the default, and a warning that lists what there is."""
    encoded = encode("a", np.ones(2), extension_name=".mat")
    assert encoded.file_name == "a.npz"
    assert ".mat" in encoded.notice
    assert ".npz, .csv.gz" in encoded.notice


@pytest.mark.parametrize(
    "array",
    [
        np.array([{1: 2}], object),
        np.array([(1, "x")], [("a", int), ("b", object)]),
        np.ma.masked_less(np.arange(3), 1),
    ],
    ids=["object", "object field", "masked"],
)
def test_what_npz_cannot_hold_is_pickled_or_refused(array: NDArray[Any]) -> None:
    """Object arrays are pickles in disguise, and a mask would be lost."""
    encoded = encode("a", array)
    assert (encoded.type, encoded.file_name) == ("pickle", "a.pkl")
    assert "stored as a pickle" in encoded.notice
    with pytest.raises(ValueError, match="auto_pickle is off"):
        encode("a", array, auto_pickle=False)


class Canary:
    """Tells on whoever unpickles it."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (pytest.fail, ("a pickle was loaded",))


def npz(**members: Any) -> bytes:
    """A foreign file."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **members)
    return buffer.getvalue()


def test_an_object_array_in_a_foreign_file_is_not_unpickled() -> None:
    """The canary stays in its cage; with allow_pickle a harmless array is read."""
    with pytest.raises(UnsafeArtifact, match="allow_pickle=True"):
        decode("numpy", npz(a=np.array([Canary()], object)), file_name="a.npz", name="a")
    harmless = npz(a=np.array([None, 1], object))
    result = decode("numpy", harmless, file_name="a.npz", name="a", allow_pickle=True)
    assert isinstance(result, np.ndarray)
    assert result.tolist() == [None, 1]


def test_the_member_named_like_the_artifact_is_read() -> None:
    """A foreign file may have more arrays than one; guessing among them is no good."""
    data = npz(a=np.ones(1), b=np.zeros(1))
    result = decode("numpy", data, file_name="x.npz", name="b")
    assert isinstance(result, np.ndarray)
    assert result.tolist() == [0.0]
    with pytest.raises(CorruptRecord, match="'c'"):
        decode("numpy", data, file_name="x.npz", name="c")


def header_claiming(shape: tuple[int, ...], descr: str = "<f8") -> bytes:
    """An .npz whose .npy header promises more than there is."""
    text = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode().ljust(117) + b"\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(8))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04 but no more",
        pickle.dumps(Canary()),
        header_claiming((2**50,)),
        header_claiming((2**62, 2**62)),
        header_claiming((-1,)),
        header_claiming((1,), "(1000000000,1000000000)f8"),
        header_claiming((1,), "'os'.system"),
        npz(a=np.ones(9))[:-30],
        npz(),
    ],
)
@pytest.mark.parametrize("extension", [".npz", ".csv.gz"])
def test_hostile_bytes_are_corrupt_and_nothing_else(data: bytes, extension: str) -> None:
    """Neither memory nor another exception is to be had, and the text names the artifact."""
    with pytest.raises(CorruptRecord, match="artifact 'a'"):
        decode("numpy", data, file_name="x" + extension, name="a")


@pytest.mark.parametrize("extension", [".npz", ".csv.gz"])
def test_a_compression_bomb_is_stopped(
    extension: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What unpacks to more than the bound is refused, before or while it unpacks."""
    monkeypatch.setattr(protocol, "INFLATED_MAX", 10_000)
    monkeypatch.setattr(numpy_, "INFLATED_MAX", 10_000)
    bomb = tmp_path / f"bomb{extension}"
    bomb.write_bytes(npz(a=np.zeros(10_000)) if extension == ".npz" else protocol.gzipped(b"0\n" * 10_000))
    with pytest.raises(CorruptRecord, match="unpacks to"):
        decode("numpy", bomb)


def test_a_file_is_read_like_its_bytes(tmp_path: Path) -> None:
    """A Path needs no file name beside it."""
    payload = encode("a", np.arange(3)).payload
    assert isinstance(payload, bytes)
    (tmp_path / "some.npz").write_bytes(payload)
    result = decode("numpy", tmp_path / "some.npz", name="a")
    assert isinstance(result, np.ndarray)
    assert result.tolist() == [0, 1, 2]
