"""numpy arrays as .npz (exact) or .csv.gz (numbers only). Object arrays are refused: numpy can only pickle them."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast

from tracker.codecs.protocol import (
    INFLATED_MAX,
    Encoded,
    Request,
    Stored,
    Unfit,
    chosen,
    file_name,
    gzipped,
    shown,
)
from tracker.errors import CorruptRecord

if TYPE_CHECKING:
    from numpy.typing import NDArray

types: Final = ("numpy",)

_EXACT_INTEGER: Final = 2**53  # the greatest up to which a float64, which csv is read as, has all integers


def fits(value: object) -> bool:
    """Whether it is an ndarray."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray)


def encode(value: NDArray[Any], request: Request) -> Encoded:
    """A zip of one stored .npy named like the artifact; or text of at most two dimensions, which is read as float64.

    Byte order and memory order are kept in .npz. What csv cannot hold becomes .npz with a notice.
    """
    import numpy as np

    if value.dtype.hasobject or value.dtype.kind == "T":
        raise Unfit(f"numpy can only pickle arrays of {value.dtype}")
    if isinstance(value, np.ma.MaskedArray):
        raise Unfit(".npz would lose its mask")
    extension, notice = chosen(request, "numpy", (".npz", ".csv.gz"))
    if extension == ".csv.gz":
        if lost := _lost_in_csv(value):
            notice = f"numpy artifact {request.name!r} is stored as .npz: .csv.gz cannot hold {lost}"
        else:
            target = file_name(request.name, ".csv.gz")
            return Encoded("numpy", target, "text/csv", shown(value), gzipped(_csv(value)), notice=notice)
    target = file_name(request.name, ".npz")
    return Encoded(
        "numpy", target, "application/numpy", shown(value), _npz(value, request.name), notice=notice
    )


def decode(stored: Stored) -> NDArray[Any]:
    """The array. Of a foreign .npz with several members the one named like the artifact."""
    import numpy as np

    if stored.has_extension(".csv.gz"):
        with stored.inflated() as stream:
            if not stream.peek(1):  # numpy would only warn
                raise CorruptRecord(f"artifact {stored.name!r} is an empty text")
            return np.loadtxt(stream, delimiter=",")
    with stored.open() as file:
        _check_sizes(file)
        try:
            with np.load(file, allow_pickle=stored.allow_pickle) as members:
                only = members.files[0] if len(members.files) == 1 else stored.name
                return cast("NDArray[Any]", members[only])
        except ValueError as error:
            if "Object arrays cannot be loaded" in str(error):
                stored.require_trust()
            raise


def _lost_in_csv(value: NDArray[Any]) -> str:
    """What a text of float64 could not give back, in words; "" if nothing."""
    if value.ndim not in (1, 2) or not value.size:
        return f"an array of shape {value.shape}"
    if value.dtype.kind not in "biuf" or value.dtype.itemsize > 8:
        return f"{value.dtype}"
    if value.dtype.kind in "iu" and (value.max() > _EXACT_INTEGER or value.min() < -_EXACT_INTEGER):
        return "integers beyond 2^53 exactly"
    return ""


def _csv(value: NDArray[Any]) -> bytes:
    import numpy as np

    buffer = io.BytesIO()
    whole = value.dtype.kind in "biu"
    np.savetxt(
        buffer, value.astype(np.int64) if whole else value, fmt="%d" if whole else "%.18e", delimiter=","
    )
    return buffer.getvalue()


def _npz(value: NDArray[Any], name: str) -> bytes:
    """Not np.savez: its time stamps make the bytes differ. Stored plain: compressing is up to the store."""
    import zipfile

    import numpy as np

    member = zipfile.ZipInfo(_member_name(name), date_time=(1980, 1, 1, 0, 0, 0))
    member.create_system = 3  # else the platform's
    # A bound on it, so that only what is near 2 GiB gets zip64 headers: Python 3.10 writes those in its own way.
    member.file_size = value.nbytes + (64 << 10)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        with archive.open(member, "w") as file:
            np.lib.format.write_array(file, np.asarray(value), allow_pickle=False)
    return buffer.getvalue()


def _member_name(name: str) -> str:
    """What zipfile takes whole: it would cut at a NUL, and fail on half a surrogate pair."""
    return name.encode("utf-8", "replace").decode().replace("\0", "") + ".npy"


def _check_sizes(file: BinaryIO) -> None:
    """A compressed member may not become more than INFLATED_MAX; a stored one is no larger than the file."""
    import zipfile

    with zipfile.ZipFile(file) as archive:
        size = sum(
            member.file_size for member in archive.infolist() if member.compress_type != zipfile.ZIP_STORED
        )
    if size > INFLATED_MAX:
        raise CorruptRecord(
            f"the .npz unpacks to {size} bytes, more than {INFLATED_MAX}: take the file with get_local_copy()"
        )
    file.seek(0)
