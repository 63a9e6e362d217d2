"""Which family takes a value: the order is ClearML's. Turns whatever a parser raises into one error, with the name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from tracker.codecs import files, image, mapping, numpy_, pandas_, pickle_, protocol, text
from tracker.codecs.protocol import Codec, Encoded, Request, Stored, Unfit, cut_preview, media_type, shown
from tracker.errors import BadValue, CorruptRecord, TrackerError

# Only the first that fits is asked: a text that names a file is the file, and what nobody takes is pickled.
ORDER: Final[tuple[Codec, ...]] = (numpy_, pandas_, image, mapping, files, text, pickle_)


def encode(
    name: str,
    value: Any,
    *,
    extension_name: str | None = None,
    serialization_function: Callable[[Any], bytes | bytearray] | None = None,
    auto_pickle: bool = True,
    sort_keys: bool = True,
    preview: object = None,
) -> Encoded:
    """The value made ready for the store: same value, same bytes (of a pickle: as far as pickle does).

    `extension_name` may lack its dot. `preview`: None makes one, False leaves it out, anything else is shown as text.
    Raises BadValue for a file that is not there, and for what only a pickle could hold when `auto_pickle` is off.
    """
    extension = extension_name or ""
    if extension and not extension.startswith("."):
        extension = "." + extension
    request = Request(name, extension, sort_keys)
    if serialization_function:
        encoded = _serialised(value, request, serialization_function)
    elif extension == ".pkl":
        encoded = pickle_.encode(value, request)
    else:
        encoded = _by_class(value, request, auto_pickle)
    if preview is None:
        return replace(encoded, preview=cut_preview(encoded.preview))
    return replace(encoded, preview="" if preview is False else cut_preview(str(preview)))


def decode(
    type: str,
    source: bytes | Path,
    *,
    file_name: str = "",
    name: str = "",
    content_type: str = "",
    allow_pickle: bool = False,
) -> object:
    """The value of an artifact of that type; of one without a value ("custom", "archive", unknown) the source itself.

    `file_name` tells the format where a type has several (a Path's own name if not given).
    Raises UnsafeArtifact rather than unpickle unless `allow_pickle`; CorruptRecord, with the name, for content that
    cannot be read; ModuleNotFoundError where the library for it is not installed.
    """
    if not file_name and isinstance(source, Path):
        file_name = source.name
    stored = Stored(source, type, file_name, name, content_type, allow_pickle)
    codec = next((codec for codec in ORDER if type in codec.types), None)
    if codec is None:
        return source
    try:
        return codec.decode(stored)
    except (TrackerError, ModuleNotFoundError):
        raise
    except Exception as error:  # five libraries parse here, and on hostile bytes they raise anything
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's fault or a missing file, which is not the content's
        where = source if isinstance(source, Path) else f"{len(source)} bytes"
        raise CorruptRecord(
            f"artifact {name!r} ({where}) cannot be read as {type}: {error.__class__.__name__}: {error}"
        ) from error


def _serialised(value: Any, request: Request, function: Callable[[Any], bytes | bytearray]) -> Encoded:
    """The bytes of the caller's own function."""
    data = function(value)
    if not isinstance(data, (bytes, bytearray)):
        raise BadValue(f"serialization_function returned {data.__class__.__name__}: it has to return bytes")
    target = protocol.file_name(request.name, request.extension)
    return Encoded("custom", target, media_type(target), shown(value), bytes(data))


def _by_class(value: Any, request: Request, auto_pickle: bool) -> Encoded:
    """The first family whose class it is, else, and where that family cannot hold the value exactly, a pickle."""
    codec = next(codec for codec in ORDER if codec.fits(value))
    notice = ""
    if codec is not pickle_:
        try:
            return codec.encode(value, request)
        except Unfit as unfit:
            if not auto_pickle:
                raise BadValue(
                    f"artifact {request.name!r} needs a pickle and auto_pickle is off: {unfit}"
                ) from unfit
            notice = f"artifact {request.name!r} is stored as a pickle: {unfit}"
    elif not auto_pickle and value is not None and value != "":
        raise BadValue(
            f"artifact {request.name!r} is a {value.__class__.__name__}, which only a pickle can hold, and auto_pickle "
            "is off: pass auto_pickle=True or a serialization_function"
        )
    return replace(pickle_.encode(value, request), notice=notice)
