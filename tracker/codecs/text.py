"""Text as .txt, character for character: line ends are not touched. An empty text is no text here, as in ClearML."""

from __future__ import annotations

import re
from typing import Final

from tracker.codecs.protocol import Encoded, Request, Stored, chosen, file_name

_PATH: Final = re.compile(
    r"[\w./\\~-]*[/\\][\w./\\-]+|[\w-]+\.(csv|json|npy|npz|parquet|pkl|pt|pth|txt|yaml|yml|zip)"
)

types: Final = ("string",)


def fits(value: object) -> bool:
    """Whether it is a text of one character or more."""
    return isinstance(value, str) and value != ""


def encode(value: str, request: Request) -> Encoded:
    """UTF-8; half of a surrogate pair is kept as the three bytes that only this decoder takes back."""
    _, notice = chosen(request, "string", (".txt",))
    if not notice and _PATH.fullmatch(value):
        notice = f"artifact {request.name!r} is stored as the text {value!r}: no file of that name is here"
    data = value.encode("utf-8", "surrogatepass")
    return Encoded("string", file_name(request.name, ".txt"), "text/plain", value, data, notice=notice)


def decode(stored: Stored) -> str:
    """The text."""
    return stored.read().decode("utf-8", "surrogatepass")
