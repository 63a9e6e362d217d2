"""Records the parameters of click's commands in the section Args; a replayed run gets them back as its defaults.

What a command is given, how it exits and what it prints stays as it is. This program's own commands are no one's run.
"""

from __future__ import annotations

import sys
from ast import literal_eval
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any

from tracker.capture.protocol import Guard, Recorder, Undo
from tracker.capture.replaced import all_of, replace
from tracker.redaction import redact_named

if TYPE_CHECKING:
    import click

SECTION = "Args"

Stored = Callable[[], Mapping[str, str]]
"""Asked at each parse: the stored values by name, none where nothing is replayed."""


class ClickCapture:
    """Sets `param/Args/<name>`: of one command the option's name, of several `<command>/<option>`, and for each command
    whether it is the one that runs.

    wanted: which, by whole name or by that of the option, as in `ArgparseCapture`.
    """

    name = "click"
    module: str | None = "click"

    def __init__(self, wanted: Mapping[str, bool] | None = None) -> None:
        self._wanted = dict(wanted or {})

    def install(self, recorder: Recorder) -> Undo:
        """Records the command that runs now, if one does, and each that is parsed from now on."""
        guard = Guard(self.name)
        stored = {
            name: text for name, text in (recorder.overrides(SECTION) or {}).items() if self._wants(name)
        }

        def tell(context: click.Context) -> None:
            for name, parameter in _parameters(context):
                if self._wants(name):
                    recorder.set(f"param/{SECTION}/{name}", parameter)

        undo = watch(lambda: stored, lambda context: guard.run(tell, context))
        running: Any = sys.modules["click"].get_current_context(silent=True)
        for context in reversed(list(_upwards(running))):
            guard.run(tell, context)
        return undo

    def _wants(self, name: str) -> bool:
        told = self._wanted.get(name, self._wanted.get(name.rpartition("/")[2]))
        return told if told is not None else self._wanted.get("*", True)


def watch(stored: Stored, tell: Callable[[click.Context], object] = lambda context: None) -> Undo:
    """Have commands take stored values as their defaults, and what was parsed be told, from now on.

    Where nothing is on the command line, the stored command of a group is the one that runs.
    """
    guard = Guard("click")
    core: Any = sys.modules["click"].core

    def parsing(original: Callable[..., Any]) -> Callable[..., Any]:
        def parse_args(command: click.Command, context: click.Context, args: list[str]) -> Any:
            if _is_own(context):
                return original(command, context, args)
            options: list[Any] = [each for each in command.params if getattr(each, "prompt", None)]
            prompts = [each.prompt for each in options]
            try:
                guard.run(_apply, context, guard.run(stored) or {})
                rest = original(command, context, args)
            finally:
                for option, prompt in zip(options, prompts, strict=True):
                    option.prompt = prompt
            tell(context)
            return rest

        return parse_args

    def choosing(original: Callable[..., Any]) -> Callable[..., Any]:
        def parse_args(group: click.Group, context: click.Context, args: list[str]) -> Any:
            if not args and not _is_own(context):
                args = guard.run(_command, group, context, guard.run(stored) or {}) or args
            return original(group, context, args)

        return parse_args

    return all_of([replace(core.Command, "parse_args", parsing), replace(core.Group, "parse_args", choosing)])


def _is_own(context: click.Context) -> bool:
    return type(context.find_root().command).__module__.partition(".")[0] == "tracker"


def _upwards(context: click.Context | None) -> Iterator[click.Context]:
    while context is not None:
        yield context
        context = context.parent


def _prefix(context: click.Context) -> str:
    """What a command's parameters are called before their names: the commands above it, without the outermost."""
    path = [str(each.command.name) for each in _upwards(context)][::-1]
    if context.parent is not None:
        path = path[1:]
    elif not hasattr(context.command, "list_commands"):
        path = []  # it is the only one
    return "".join(f"{name}/" for name in path)


def _below(context: click.Context) -> str:
    """The same for the commands of a group."""
    return _prefix(context) if context.parent is not None else ""


def _parameters(context: click.Context) -> Iterator[tuple[str, dict[str, str | None]]]:
    command: Any = context.command
    if context.parent is not None:
        yield _prefix(context)[:-1], _chosen("True", command)
    if hasattr(command, "list_commands"):
        for name in command.list_commands(context):
            yield f"{_below(context)}{name}", _chosen("False", command.get_command(context, name))
    for parameter in command.params:
        if parameter.name in context.params:
            yield f"{_prefix(context)}{parameter.name}", _parameter(parameter, context.params[parameter.name])


def _chosen(value: str, command: Any) -> dict[str, str | None]:
    return {"value": value, "type": "click.Command", "description": getattr(command, "help", None)}


def _parameter(parameter: Any, value: object) -> dict[str, str | None]:
    text = _text(value)
    if getattr(parameter, "hide_input", False) and text:
        text = redact_named("password", text)
    return {"value": text, "type": repr(parameter.type), "description": getattr(parameter, "help", None)}


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, Enum):
        return value.name
    name = getattr(value, "name", None) if hasattr(value, "read") or hasattr(value, "open") else None
    return str(value if name is None else name)


def _apply(context: click.Context, stored: Mapping[str, str]) -> None:
    """Make stored values the defaults of one command, and have none of those asked for."""
    found: dict[str, Any] = {}
    parameters: list[Any] = context.command.params
    for parameter in parameters:
        text = stored.get(f"{_prefix(context)}{parameter.name}")
        if text and parameter.name:
            several = getattr(parameter, "multiple", False) or parameter.nargs != 1
            found[parameter.name] = literal_eval(text) if several else text
            if hasattr(parameter, "prompt"):
                parameter.prompt = None
    if found:
        context.default_map = {**(context.default_map or {}), **found}


def _command(group: click.Group, context: click.Context, stored: Mapping[str, str]) -> list[str]:
    return [
        name
        for name in group.list_commands(context)
        if stored.get(f"{_below(context)}{name}", "").lower() == "true"
    ][: None if group.chain else 1]
