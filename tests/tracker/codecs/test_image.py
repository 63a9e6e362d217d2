"""Images: pixels come back, names choose the format, and no content chooses a program."""

from __future__ import annotations

import io
from typing import Any

import pytest

from tracker.codecs import decode, encode
from tracker.errors import CorruptRecord

Image = pytest.importorskip("PIL.Image", reason="pillow is not installed")

SIZE = (5, 3)


def picture(mode: str) -> Any:
    """An image with some different pixels."""
    bands = len(Image.new(mode, SIZE).getbands())
    data = bytes(range(SIZE[0] * SIZE[1] * bands))
    return Image.new("F", SIZE, 0.1) if mode == "F" else Image.frombytes(mode, SIZE, data)


def again(value: Any, **options: Any) -> Any:
    """The image after a round trip."""
    encoded = encode("a", value, **options)
    assert isinstance(encoded.payload, bytes)
    return decode(encoded.type, encoded.payload, file_name=encoded.file_name, name="a")


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
@pytest.mark.parametrize("extension", [None, ".png", ".tiff"])
def test_lossless_formats_give_the_pixels_back(mode: str, extension: str | None) -> None:
    """Mode, size and every pixel."""
    result = again(picture(mode), extension_name=extension)
    assert (result.mode, result.size, result.tobytes()) == (mode, SIZE, picture(mode).tobytes())


def test_the_default_is_png_and_the_preview_has_no_address() -> None:
    """The same image gives the same record each time."""
    encoded = encode("a", picture("RGB"))
    assert (encoded.type, encoded.file_name, encoded.content_type) == ("image", "a.png", "image/png")
    assert encoded.preview == "PIL.Image.Image image mode=RGB size=5x3"


def test_any_extension_that_pillow_writes_will_do() -> None:
    """With or without the dot."""
    encoded = encode("a", picture("RGB"), extension_name="jpg")
    assert (encoded.file_name, encoded.content_type, encoded.notice) == ("a.jpg", "image/jpeg", "")
    assert again(picture("RGB"), extension_name="jpg").size == SIZE
    assert ".xyz" in encode("a", picture("RGB"), extension_name=".xyz").notice


@pytest.mark.parametrize(
    ("mode", "extension", "stored"),
    [("RGBA", ".jpg", ".png"), ("F", None, ".tiff"), ("CMYK", ".png", ".tiff")],
)
def test_a_mode_that_the_format_lacks_changes_the_format(
    mode: str, extension: str | None, stored: str
) -> None:
    """The pixels matter more than the name."""
    encoded = encode("a", picture(mode), extension_name=extension)
    assert encoded.file_name == "a" + stored
    assert "failed" in encoded.notice
    assert again(picture(mode), extension_name=extension).tobytes() == picture(mode).tobytes()


def test_a_mode_that_no_format_has_is_pickled() -> None:
    """HSV has no file."""
    assert encode("a", Image.new("HSV", SIZE)).type == "pickle"


def eps() -> bytes:
    """A file for which Pillow would start Ghostscript."""
    buffer = io.BytesIO()
    picture("RGB").save(buffer, "EPS")
    return buffer.getvalue()


def test_eps_is_not_opened_under_any_name() -> None:
    """Under its own name the bytes come back; in disguise it is no image."""
    assert decode("image", eps(), file_name="a.eps") == eps()
    for name in ("a.png", "a.unknown", "a"):
        with pytest.raises(CorruptRecord, match="artifact 'a'"):
            decode("image", eps(), file_name=name, name="a")


def test_a_format_that_is_only_written_gives_its_bytes() -> None:
    """Pillow makes PDFs and reads none."""
    encoded = encode("a", picture("RGB"), extension_name=".pdf")
    assert again(picture("RGB"), extension_name=".pdf")[:4] == b"%PDF"
    assert encoded.content_type == "application/pdf"


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\n", bytes(64)])
def test_hostile_bytes_are_corrupt_and_nothing_else(data: bytes) -> None:
    """Cut short, empty, or something else."""
    with pytest.raises(CorruptRecord, match="artifact 'a'"):
        decode("image", data, file_name="a.png", name="a")


def test_a_truncated_image_is_noticed_at_once() -> None:
    """The pixels are loaded here, not at first use."""
    payload = encode("a", Image.effect_noise((64, 64), 50)).payload
    assert isinstance(payload, bytes)
    with pytest.raises(CorruptRecord):
        decode("image", payload[: len(payload) // 2], file_name="a.png", name="a")
