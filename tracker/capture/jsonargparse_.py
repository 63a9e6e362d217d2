"""Records what jsonargparse has parsed, Lightning's command line for one, as Args; a run again gets it back.

Names are dotted, as they are typed. A parser that is given a dict, a file or an environment is not looked at.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tracker.capture.protocol import Guard, Recorder, Undo
from tracker.capture.replaced import replace

SECTION = "Args"

_Parameters = dict[str, dict[str, "str | None"]]


class JsonargparseCapture:
    """Sets `param/Args/<dotted name>` for every value of each parser, those parsed before install included.

    wanted: which, by name, as in `ArgparseCapture`.
    """

    name = "jsonargparse"
    module: str | None = "jsonargparse"

    def __init__(self, wanted: Mapping[str, bool] | None = None) -> None:
        self._wanted = dict(wanted or {})

    def _wants(self, name: str) -> bool:
        return self._wanted.get(name, self._wanted.get("*", True))

    def install(self, recorder: Recorder) -> Undo:
        """Records what is known and what is parsed from now on."""
        guard = Guard(self.name)
        found = recorder.overrides(SECTION) or {}
        stored = {name: text for name, text in found.items() if self._wants(name)}

        def tell(parameters: _Parameters) -> None:
            for name, parameter in parameters.items():
                if self._wants(name):
                    recorder.set(f"param/{SECTION}/{name}", parameter)

        undo = watch(lambda: stored, lambda parameters: guard.run(tell, parameters))
        guard.run(tell, dict(_known))
        return undo


_known: _Parameters = {}
"""What has been parsed in this process."""

_local = threading.local()


def watch(
    stored: Callable[[], Mapping[str, str]], tell: Callable[[_Parameters], object] = lambda parameters: None
) -> Undo:
    """Have parsers take stored values behind those typed, and what was parsed be told, from now on."""
    guard = Guard("jsonargparse")

    def around(original: Callable[..., Any]) -> Callable[..., Any]:
        def parse_args(parser: Any, args: Any = None, *others: Any, **kwargs: Any) -> Any:
            if getattr(_local, "parses", False):  # a command's parser, called by the one it belongs to
                return original(parser, args, *others, **kwargs)
            values = guard.run(stored) or {}
            typed = list(sys.argv[1:] if args is None else args)
            chosen = guard.run(arguments, parser, values, typed) if values else None
            _local.parses = True
            try:
                result = original(parser, args if chosen is None else chosen, *others, **kwargs)
            finally:
                _local.parses = False
            parameters = guard.run(_parameters, parser, result)
            if parameters:
                _known.update(parameters)
                tell(parameters)
            return result

        return parse_args

    return replace(sys.modules["jsonargparse"].ArgumentParser, "parse_args", around)


def arguments(parser: Any, stored: Mapping[str, str], typed: list[str]) -> list[str]:
    """A command line of stored values, followed by what was typed, which wins.

    Where nothing was typed, the stored command is the one that runs, with its own values.
    """
    commands: Mapping[str, Any] = getattr(_subcommands(parser), "choices", None) or {}
    command = stored.get(getattr(_subcommands(parser), "dest", ""), "")
    line = list(_options(parser, stored, positional=not typed))
    if typed or command not in commands:
        return [*line, *typed]
    start = f"{command}."
    inner = {name.removeprefix(start): text for name, text in stored.items() if name.startswith(start)}
    return [*line, command, *arguments(commands[command], inner, [])]


def _options(parser: Any, stored: Mapping[str, str], *, positional: bool) -> Iterator[str]:
    known = {action.dest: action for action in parser._actions}
    for name, text in stored.items():
        action = known.get(name) or next((a for d, a in known.items() if name.startswith(f"{d}.")), None)
        if action is None or action is _subcommands(parser):
            continue
        if action.option_strings:
            yield f"--{name}={text or 'null'}"
        elif positional:
            yield text


def _subcommands(parser: Any) -> Any:
    return getattr(parser, "_subcommands_action", None)


def _parameters(parser: Any, result: Any) -> _Parameters:
    given = result if hasattr(result, "as_flat") else sys.modules["jsonargparse"].dict_to_namespace(result)
    return {
        name: {"value": _text(value), "type": _type(name, parser, value), "description": _help(parser, name)}
        for name, value in vars(given.as_flat()).items()
        if not name.rpartition(".")[2].startswith("__") and not _is_file(value)
    }


def _is_file(value: object) -> bool:
    """Whether it is a configuration file that was read: what it says is among the values."""
    return isinstance(value, list) and bool(value) and all(hasattr(each, "relative") for each in value)


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, list | dict | tuple):
        return json.dumps(value, default=str)
    return str(value)


def _type(name: str, parser: Any, value: object) -> str:
    if name == getattr(_subcommands(parser), "dest", None):
        return "jsonargparse.Command"
    return "jsonargparse_path" if isinstance(value, Path) else type(value).__name__


def _help(parser: Any, name: str) -> str | None:
    action = next((each for each in parser._actions if each.dest == name), None)
    text = getattr(action, "help", None)
    return text if isinstance(text, str) else None
