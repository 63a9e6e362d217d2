"""Text: character for character, line ends included."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.codecs import decode, encode
from tracker.errors import CorruptRecord

ANY = st.text(st.characters(), min_size=1).map(lambda text: "text: " + text)


@given(ANY)
def test_any_text_comes_back(text: str) -> None:
    """Every kind of line end, NUL and half surrogates too."""
    encoded = encode("a", text)
    assert (encoded.type, encoded.file_name, encoded.content_type) == ("string", "a.txt", "text/plain")
    assert isinstance(encoded.payload, bytes)
    assert decode("string", encoded.payload, file_name="a.txt") == text


@given(ANY)
def test_any_preview_is_valid_unicode(text: str) -> None:
    """It goes into records that are UTF-8."""
    encode("a", text).preview.encode()


def test_another_extension_is_replaced_with_a_notice() -> None:
    """ClearML knows .txt only."""
    encoded = encode("a", "# title", extension_name=".md")
    assert encoded.file_name == "a.txt"
    assert ".md" in encoded.notice


def test_bytes_that_are_no_text_are_corrupt() -> None:
    """A broken file is not shown as something else."""
    with pytest.raises(CorruptRecord, match="artifact 'a'"):
        decode("string", b"\xff", file_name="a.txt", name="a")
