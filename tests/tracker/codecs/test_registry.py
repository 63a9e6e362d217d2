"""The dispatch: the order of the families, the caller's own functions, previews, and equal bytes in every process."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from tracker.codecs import decode, encode
from tracker.codecs.protocol import FILE_NAME_MAX, PREVIEW_MAX, file_name

ROOT = Path(__file__).parent.parent.parent.parent

DIGESTS = """
import hashlib, io, sys
import numpy as np
from tracker.codecs import encode
values = [
    (np.arange(1000).reshape(10, 100), None), (np.linspace(0, 1, 50), ".csv.gz"),
    ({name: [1.5, None] for name in "zebra"}, None), ({name: 1 for name in "zebra"}, ".yaml"),
    ("some text", None), ([1, {"a": 2}, "x"], None), (None, None),
]
try:
    import pandas as pd
    frame = pd.DataFrame({"a": np.arange(50), "b": ["x", "y"] * 25})
    values += [(frame, extension) for extension in (None, ".parquet", ".feather", ".pickle")]
except ImportError:
    pass
try:
    from PIL import Image
    values += [(Image.new("RGB", (9, 9), (1, 2, 3)), extension) for extension in (None, ".jpg", ".tiff")]
except ImportError:
    pass
for value, extension in values:
    encoded = encode("name", value, extension_name=extension)
    print(encoded.file_name, hashlib.sha256(encoded.payload).hexdigest())
"""


def run(code: str, **environment: str) -> str:
    """What a fresh interpreter prints for it."""
    inherited = {key: value for key, value in os.environ.items() if key != "PYTHONHASHSEED"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=ROOT, env=inherited | environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_two_processes_write_the_same_bytes() -> None:
    """Neither time, time zone nor hash seed shows in what is stored."""
    first = run(DIGESTS, PYTHONHASHSEED="1", TZ="UTC")
    assert len(first.splitlines()) >= 7
    assert run(DIGESTS, PYTHONHASHSEED="2", TZ="Asia/Tokyo") == first


def test_known_bytes_have_not_changed() -> None:
    """Another encoding of an old value would store it twice; where no library compresses, the bytes are pinned."""
    np = pytest.importorskip("numpy", reason="numpy is not installed")
    sums = {
        "npz": np.arange(6, dtype="<i8").reshape(2, 3),
        "json": {"b": [1, 2.5, None], "a": "ü"},
        "txt": "text\r\n",
    }
    digests = {}
    for name, value in sums.items():
        payload = encode("golden", value).payload
        assert isinstance(payload, bytes)
        digests[name] = hashlib.sha256(payload).hexdigest()[:16]
    assert digests == {"npz": "e8fa4c3fb0141f47", "json": "3a95a70b9da4a057", "txt": "7830b26b0ee6f35d"}


def test_storing_a_dict_and_a_text_imports_nothing_heavy() -> None:
    """Who has no array needs no numpy, and nobody's import pays for the families he does not use."""
    code = """
import sys
from tracker.codecs import decode, encode
encode("a", {"x": 1}), encode("a", "text"), encode("a", 5)
print(sorted({"numpy", "pandas", "PIL", "yaml", "pyarrow", "zipfile"} & set(sys.modules)))
"""
    assert run(code).strip() == "[]"


def test_a_serialization_function_comes_before_every_family() -> None:
    """Its bytes are stored as they are, under the artifact's name with the extension."""
    encoded = encode(
        "a/b", {"x": 1}, extension_name=".csv", serialization_function=lambda value: repr(value).encode()
    )
    assert (encoded.type, encoded.payload, encoded.file_name) == ("custom", b"{'x': 1}", "a.slash.b.csv")
    assert (encoded.content_type, encoded.preview) == ("text/csv", "{'x': 1}")
    assert (
        encode("a", 1, serialization_function=lambda _: bytearray(b"x")).content_type
        == "application/octet-stream"
    )


def test_a_serialization_function_has_to_return_bytes() -> None:
    """A text would need an encoding that nobody chose; and its own errors are its caller's."""
    with pytest.raises(ValueError, match="returned str"):
        encode("a", 1, serialization_function=cast("Any", lambda _: "text"))
    with pytest.raises(ZeroDivisionError):
        encode("a", 1, serialization_function=lambda value: bytes(value // 0))


@pytest.mark.parametrize("value", [{"x": 1}, "text", [1], 5])
def test_a_preview_can_be_given_or_left_out(value: Any) -> None:
    """The caller's wins, whatever its class."""
    assert encode("a", value, preview="mine").preview == "mine"
    assert encode("a", value, preview=7).preview == "7"
    assert encode("a", value, preview=False).preview == ""


@pytest.mark.parametrize("character", ["x", "ü", "漢", "😀"])
def test_a_preview_is_cut_at_64_kib_under_a_notice(character: str) -> None:
    """Bytes of UTF-8 count, no character is halved, and one byte less is not cut."""
    width = len(character.encode())
    fitting = character * (PREVIEW_MAX // width)
    assert encode("a", fitting).preview == fitting
    cut = encode("a", fitting + character).preview
    assert cut == "# full preview too large to store, storing first 64kb\n" + fitting
    assert encode("a", 1, preview=fitting + character).preview == cut


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain", "plain.x"),
        ("a/b\\c", "a.slash.b.slash.c.x"),
        ("../../etc/passwd", "...slash....slash.etc.slash.passwd.x"),
        ("nul\0tab\t", "nul0x00tab0x09.x"),
        ('c:"<>|?*', "c0x3a0x220x3c0x3e0x7c0x3f0x2a.x"),
        ("..", "artifact...x"),
        ("", "artifact.x"),
        ("half \ud800", "half ?.x"),
    ],
)
def test_a_file_name_is_safe_on_every_file_system(name: str, expected: str) -> None:
    """No folder, no NUL, no character that some system refuses."""
    assert file_name(name, ".x") == expected


@pytest.mark.parametrize("name", ["x" * 1000, "漢" * 1000])
def test_a_long_name_is_cut_between_characters(name: str) -> None:
    """The extension stays."""
    result = file_name(name, ".csv.gz")
    assert result.endswith(name[0] + ".csv.gz")
    assert FILE_NAME_MAX - 3 < len(result.encode()) <= FILE_NAME_MAX


def test_a_missing_file_is_a_missing_file(tmp_path: Path) -> None:
    """The disk's faults are not reported as corruption."""
    with pytest.raises(FileNotFoundError, match="absent"):
        decode("dict", tmp_path / "absent.json")
