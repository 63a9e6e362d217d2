"""PIL images as .png or any file type that Pillow writes. Never opens EPS: Pillow would start Ghostscript for it."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tracker.codecs.protocol import Encoded, Request, Stored, Unfit, chosen, file_name, media_type, shown

if TYPE_CHECKING:
    from PIL import Image as Pillow

types: Final = ("image",)

_PROGRAMS: Final = frozenset({"EPS"})  # formats whose content is a program for another program
# For a name without a known extension: what browsers and scanners make, each read by Pillow itself.
_PLAIN: Final = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP")


def fits(value: object) -> bool:
    """Whether it is a PIL image."""
    pillow = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(value, pillow.Image)


def encode(value: Pillow.Image, request: Request) -> Encoded:
    """The file that Pillow writes; where a type cannot hold the image's mode, .png or .tiff with a notice."""
    from PIL import Image

    formats = {ending: name for ending, name in Image.registered_extensions().items() if name in Image.SAVE}
    extension, notice = chosen(request, "image", (".png", *sorted(formats.keys() - {".png"})))
    refusal: Exception | None = None
    for candidate in dict.fromkeys((extension, ".png", ".tiff")):
        buffer = io.BytesIO()
        try:
            value.save(buffer, format=formats[candidate])
        except (OSError, ValueError, KeyError) as error:
            refusal = error
            continue
        if refusal is not None:
            notice = (
                f"image artifact {request.name!r} is stored as {candidate}, {extension} failed: {refusal}"
            )
        target = file_name(request.name, candidate)
        return Encoded("image", target, media_type(target), _preview(value), buffer.getvalue(), notice=notice)
    raise Unfit(f"no image file holds mode {value.mode}: {refusal}")


def decode(stored: Stored) -> Pillow.Image | bytes | Path:
    """The image, fully loaded; of a type that Pillow writes but does not read (PDF) the source itself."""
    from PIL import Image

    name = Image.registered_extensions().get(Path(stored.file_name).suffix.lower())
    if name is not None and (name not in Image.OPEN or name in _PROGRAMS):
        return stored.source
    # Only the named format: otherwise a hostile ".png" could be any of forty.
    with stored.open() as file:
        image = Image.open(file, formats=_PLAIN if name is None else (name,))
        image.load()
    return image


def _preview(value: Pillow.Image) -> str:
    """The repr without the address, which would differ each time."""
    return shown(value)[1:].partition(" at 0x")[0]
