"""Task.init's `auto_connect_*` arguments in all their shapes -> the captures to install. It installs nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from tracker.errors import BadValue

if TYPE_CHECKING:
    from tracker.capture import Capture

FRAMEWORKS: Final = {
    "absl": ("tfdefines",),
    "hydra": ("hydra",),
    "joblib": ("joblib", "scikit"),
    "matplotlib": ("matplotlib",),
    "xgboost": ("xgboost",),
    "lightgbm": ("lightgbm",),
    "pytorch": ("pytorch",),
    "tensorboard": ("tensorboard",),
    "tensorboardX": ("tensorboard",),
}
"""The captures of frameworks, and ClearML's keys in `auto_connect_frameworks` that have to be on for each."""
STREAMS: Final = ("stdout", "stderr")


def captures(parser: Any, frameworks: Any, streams: Any) -> list[str | Capture]:
    """What to install, by name or, where only a part of it is wanted, as an object. Raises BadValue.

    parser: whether, or which arguments (`"*"`: all others; True unless it says False); frameworks: False or an empty
    dict for none, else by name, what is not named is on; streams: whether, or which, what is not named is off.
    """
    chosen: list[str | Capture] = [
        *(("git", "packages") if _detects(_switch("auto_connect_frameworks", frameworks)) else ()),
        *_frameworks(frameworks),
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


def _frameworks(frameworks: Any) -> Iterator[str | Capture]:
    """Those that are not switched off; with patterns of files or other choices, as objects."""
    if frameworks is not None and not frameworks:
        return
    said: Mapping[str, Any] = frameworks if isinstance(frameworks, Mapping) else {}
    for name, keys in FRAMEWORKS.items():
        choices = [said[key] for key in keys if said.get(key) is not None]
        if not all(choice or isinstance(choice, Mapping) for choice in choices):
            continue
        particular = [choice for choice in choices if not isinstance(choice, bool | int)]
        yield _particular(name, keys[0], particular[0]) if particular else name


def _particular(name: str, key: str, choice: Any) -> str | Capture:
    from importlib import import_module

    from tracker.capture import CAPTURES

    module, _, kind = CAPTURES[name][1].partition(":")
    capture: Any = getattr(import_module(module), kind)
    if key == "tensorboard" and isinstance(choice, Mapping):
        return cast("Capture", capture(hparams=bool(choice.get("report_hparams", True))))
    patterns = [choice] if isinstance(choice, str) else list(choice)
    if key in ("tensorboard", "matplotlib", "tfdefines", "hydra") or not all(
        isinstance(each, str) for each in patterns
    ):
        raise BadValue(
            f"auto_connect_frameworks[{key!r}] is {choice!r}: True or False is expected, or patterns of files"
        )
    return cast("Capture", capture(patterns))


def _arguments(parser: Any) -> list[str | Capture]:
    if not isinstance(parser, Mapping):
        return ["argparse", "click", "jsonargparse"] if parser or parser is None else []
    if not parser:
        return []
    from tracker.capture.argparse_ import ArgparseCapture
    from tracker.capture.click_ import ClickCapture
    from tracker.capture.jsonargparse_ import JsonargparseCapture

    wanted = {str(name): bool(on) for name, on in parser.items()}
    return [ArgparseCapture(wanted), ClickCapture(wanted), JsonargparseCapture(wanted)]


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
