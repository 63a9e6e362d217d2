"""What the families of codecs have in common: the request, the two results, and the rules for previews and file names.

Knows no family. What a family cannot hold exactly it refuses with `Unfit`; the registry decides what happens then.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, Protocol

from tracker.errors import BadValue, CorruptRecord, UnsafeArtifact

PREVIEW_MAX: Final = 64 << 10  # bytes of UTF-8, ClearML's; the notice comes on top
INFLATED_MAX: Final = 16 << 30  # bytes that a compressed artifact may become in memory: 16 GiB
FILE_NAME_MAX: Final = 200  # bytes of UTF-8; file systems take 255, and a temporary suffix must fit too

Kind = Literal["bytes", "file", "tree", "list", "url"]


class Unfit(ValueError):
    """A value that the family cannot hold exactly; the text completes "… because"."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the caller asked for beside the value. `extension` is "" or begins with a dot."""

    name: str
    extension: str = ""
    sort_keys: bool = True


@dataclass(frozen=True, slots=True)
class Encoded:
    """A value made ready for the store.

    payload, by `kind`: "bytes" bytes; "file" the Path of a file; "tree" the Path of a folder; "list" a sorted list of
    (relative POSIX name, Path of a file); "url" the str of a place that is only registered.
    `notice` is a warning for the user ("" if none): an extension that does not apply, a fallback.
    """

    type: str
    file_name: str
    content_type: str
    preview: str
    payload: bytes | Path | str | Sequence[tuple[str, Path]] = field(repr=False)
    kind: Kind = "bytes"
    notice: str = ""


@dataclass(frozen=True, slots=True)
class Stored:
    """An artifact's content on its way back: `source` is its bytes, or the Path of the file or folder that has them."""

    source: bytes | Path
    type: str
    file_name: str
    name: str = ""
    content_type: str = ""
    allow_pickle: bool = False

    def has_extension(self, *extensions: str) -> bool:
        """Whether the file name ends in one of these; case does not matter."""
        return self.file_name.lower().endswith(extensions)

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """The content as a seekable binary stream."""
        if isinstance(self.source, Path):
            with self.source.open("rb") as file:
                yield file
        else:
            yield io.BytesIO(self.source)

    def read(self) -> bytes:
        """The whole content."""
        return self.source.read_bytes() if isinstance(self.source, Path) else self.source

    @contextmanager
    def inflated(self) -> Iterator[io.BufferedReader]:
        """The content out of gzip. Raises CorruptRecord in the middle of a stream that grows beyond INFLATED_MAX."""
        import gzip

        with self.open() as file, gzip.GzipFile(fileobj=file) as stream:
            yield io.BufferedReader(_Capped(stream, INFLATED_MAX))

    def require_trust(self) -> None:
        """Raises UnsafeArtifact unless the caller allowed unpickling."""
        if not self.allow_pickle:
            raise UnsafeArtifact(
                f"artifact {self.name or self.file_name!r} is a pickle: reading it runs whatever code it brings along. "
                "If you trust where it comes from, pass allow_pickle=True; its file can be had without reading it"
            )


class Codec(Protocol):
    """One family: a module with these members. `types` are the artifact types that it reads."""

    @property
    def types(self) -> tuple[str, ...]:
        """The values of `Encoded.type` that `decode` is for."""

    def fits(self, value: object) -> bool:
        """Whether values of this class are the family's. Imports nothing heavy: who has an array has numpy loaded."""

    def encode(self, value: Any, request: Request) -> Encoded:
        """The value made ready, previewed in full length. Raises Unfit."""

    def decode(self, stored: Stored) -> object:
        """The value again. Raises UnsafeArtifact, CorruptRecord, or whatever the parser of the format raises."""


class _Capped(io.RawIOBase):
    """A stream that ends in an error once more than `most` bytes came out of it."""

    def __init__(self, stream: BinaryIO | io.BufferedIOBase, most: int) -> None:
        self._stream = stream
        self._left = most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        data = self._stream.read(len(view))
        self._left -= len(data)
        if self._left < 0:
            raise CorruptRecord(
                "the content unpacks to more than it may: take the file itself with get_local_copy()"
            )
        view[: len(data)] = data
        return len(data)


def gzipped(data: bytes) -> bytes:
    """The gzip of some bytes, without time and file name: equal bytes in, equal bytes out."""
    import gzip

    buffer = io.BytesIO()
    # Not gzip.compress: its header byte for the operating system differs between versions of Python.
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, compresslevel=6, mtime=0) as stream:
        stream.write(data)
    return buffer.getvalue()


def pickled(value: object) -> bytes:
    """The pickle of a value, of a protocol that all supported Pythons read. Raises BadValue for what has none.

    A set of texts has another order in each process, so its bytes differ; all else that Python itself brings is stable.
    """
    import pickle

    try:
        return pickle.dumps(value, protocol=5)
    except Exception as error:  # __reduce__ is the user's code and may raise anything
        raise BadValue(
            f"a {value.__class__.__name__} cannot be pickled ({error}): pass a serialization_function"
        ) from error


def cut_preview(text: str) -> str:
    """The text, or its first PREVIEW_MAX bytes under a notice; never half a character, and always valid UTF-8."""
    data = text[: PREVIEW_MAX + 1].encode("utf-8", "replace")
    if len(data) <= PREVIEW_MAX and len(text) <= PREVIEW_MAX:
        return data.decode()
    notice = f"# full preview too large to store, storing first {PREVIEW_MAX >> 10}kb\n"
    return notice + data[:PREVIEW_MAX].decode("utf-8", "ignore")


def shown(value: object) -> str:
    """The value's repr, or "" where that fails: a preview is not worth an error."""
    try:
        return str(repr(value))
    except Exception:  # noqa: BLE001 - __repr__ is the user's code and may raise anything
        return ""


def chosen(request: Request, family: str, extensions: Sequence[str]) -> tuple[str, str]:
    """(extension, notice): the asked one if the family has it, else its first with a notice that lists all."""
    if not request.extension:
        return extensions[0], ""
    if request.extension in extensions:
        return request.extension, ""
    return extensions[0], (
        f"{family} artifact {request.name!r} cannot have the extension {request.extension}: "
        f"it has {extensions[0]} now, and can have {', '.join(extensions)}"
    )


def file_name(name: str, extension: str = "") -> str:
    """A name that every file system can hold, as like the artifact's as can be; slashes are spelled as ClearML does."""
    spelled = name.replace("/", ".slash.").replace("\\", ".slash.")
    spelled = "".join(f"0x{ord(c):02x}" if c < " " or c in '<>:"|?*\x7f' else c for c in spelled)
    data = spelled.encode("utf-8", "replace")[: FILE_NAME_MAX - len(extension.encode())]
    spelled = data.decode("utf-8", "ignore")
    if not spelled.strip(". "):
        spelled = "artifact" + spelled.strip()
    return spelled + extension


def media_type(name: str) -> str:
    """The media type that a file name suggests."""
    import mimetypes

    return mimetypes.guess_type(name)[0] or "application/octet-stream"
