"""Arrays and PIL images -> the bytes of an image file. Opens no file and shows nothing."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any, Final

from tracker.errors import BadValue

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image as Pillow

QUALITY: Final = 87  # of a JPEG, ClearML's
_JPEG: Final = ("L", "RGB", "CMYK")  # modes that a JPEG holds as they are
_PNG: Final = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")  # likewise a PNG


def encode(image: Any) -> tuple[bytes, str]:
    """The file of an image, and its extension: .jpeg of quality 87; .png for what a JPEG cannot hold.

    An array is (h, w), (h, w, 1), (h, w, 2) grey with alpha, (h, w, 3), (h, w, 4), or the same with the channels first.
    Floats up to 1 are scaled by 255; what lies outside of 0 to 255 is cut off; grey uint16 keeps its 16 bits.
    Raises BadValue for what is neither an ndarray nor a PIL image, and for any other shape.
    """
    pillow = sys.modules.get("PIL.Image")
    if pillow is not None and isinstance(image, pillow.Image):
        return _file(image)
    numpy = sys.modules.get("numpy")
    if numpy is None or not isinstance(image, numpy.ndarray):
        raise BadValue(f"an image is a numpy array or a PIL image, not a {type(image).__name__}")
    return _file(_from_array(image))


def _from_array(array: NDArray[Any]) -> Pillow.Image:
    import numpy as np
    from PIL import Image

    shaped = _shaped(array)
    if shaped.dtype == np.uint16 and shaped.ndim == 2 and shaped.size and shaped.max() > 255:
        return Image.fromarray(np.ascontiguousarray(shaped))
    return Image.fromarray(np.ascontiguousarray(_bytes(shaped)))


def _shaped(array: NDArray[Any]) -> NDArray[Any]:
    """The array as (h, w) or (h, w, 2 to 4)."""
    import numpy as np

    shape = array.shape
    if array.ndim == 3 and shape[2] not in (1, 2, 3, 4) and shape[0] in (1, 3, 4):
        array = np.moveaxis(array, 0, 2)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    whole = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (2, 3, 4))
    if not whole or not array.size:
        raise BadValue(f"an array of shape {shape} is no image: (height, width) or (height, width, 1 to 4)")
    return array


def _bytes(array: NDArray[Any]) -> NDArray[Any]:
    """The array as uint8."""
    import numpy as np

    kind = array.dtype.kind
    if array.dtype == np.uint8:
        return array
    if kind == "b":
        return np.asarray(np.where(array, np.uint8(255), np.uint8(0)))
    if kind in "iu":
        return np.asarray(np.clip(array, 0, 255).astype(np.uint8))
    if kind != "f":
        raise BadValue(f"an array of {array.dtype} is no image: numbers or booleans are expected")
    values = np.nan_to_num(array.astype(np.float64, copy=False), nan=0.0, posinf=np.inf, neginf=-np.inf)
    finite = values[np.isfinite(values)]
    if not finite.size or finite.max() <= 1.0:
        values = values * 255.0
    return np.asarray(np.rint(np.clip(values, 0.0, 255.0)).astype(np.uint8))


def _file(image: Pillow.Image) -> tuple[bytes, str]:
    buffer = io.BytesIO()
    transparent = "transparency" in image.info
    if (
        image.mode in _JPEG and not transparent and max(image.size) <= 65_535
    ):  # as long as a JPEG's side may be
        image.save(buffer, "JPEG", quality=QUALITY)
        return buffer.getvalue(), ".jpeg"
    held = image if image.mode in _PNG else image.convert("RGBA" if "a" in image.mode.lower() else "RGB")
    held.save(buffer, "PNG")
    return buffer.getvalue(), ".png"
