"""Task.init's `auto_connect_*` arguments in all their shapes -> the captures to install. It installs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from tracker.errors import BadValue

if TYPE_CHECKING:
    from tracker.capture import Capture

STREAMS: Final = ("stdout", "stderr")


def captures(parser: Any, frameworks: Any, streams: Any) -> list[str | Capture]:
    """What to install, by name or, where only a part of it is wanted, as an object. Raises BadValue.

    parser: whether, or which arguments (`"*"`: all others; True unless it says False); frameworks: False or an empty
    dict for none, else by name, what is not named is on; streams: whether, or which, what is not named is off.
    """
    chosen: list[str | Capture] = [
        *(("git", "packages") if _detects(_switch("auto_connect_frameworks", frameworks)) else ()),
        *_arguments(_switch("auto_connect_arg_parser", parser)),
        *_streams(_switch("auto_connect_streams", streams)),
    ]
    return chosen


def _switch(what: str, value: Any) -> Any:
    if value is None or isinstance(value, bool | Mapping):
        return value
    raise BadValue(f"{what} is {value!r}: True, False or a dict is expected")


def _detects(frameworks: Any) -> bool:
    """Whether repository and packages are looked at: with frameworks off they still are, as in ClearML."""
    return not isinstance(frameworks, Mapping) or bool(frameworks.get("detect_repository", True))


def _arguments(parser: Any) -> list[str | Capture]:
    if not isinstance(parser, Mapping):
        return ["argparse"] if parser or parser is None else []
    if not parser:
        return []
    from tracker.capture.argparse_ import ArgparseCapture

    return [ArgparseCapture({str(name): bool(on) for name, on in parser.items()})]


def _streams(streams: Any) -> list[str | Capture]:
    if not isinstance(streams, Mapping):
        return ["console"] if streams or streams is None else []
    wanted = tuple(name for name in STREAMS if streams.get(name, False))
    if wanted == STREAMS:
        return ["console"]
    if not wanted:
        return []
    from tracker.capture.console import ConsoleCapture

    return [ConsoleCapture(wanted)]
