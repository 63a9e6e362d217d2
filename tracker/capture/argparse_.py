"""Records the arguments that argparse has parsed, as parameters of the section Args; a replayed run gets them back.

It never imports argparse, never changes what a parser returns or how it exits, and leaves no parser changed.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from tracker.capture.imports import when_imported
from tracker.capture.protocol import Guard, Recorder, Undo, log_fault

if TYPE_CHECKING:
    from argparse import Action, ArgumentParser

SECTION = "Args"

_Parameter = dict[str, "str | None"]
"""The value of a parameter's key: "value" (as typed, else str(default); "" for None), "type", "description"."""

_SUPPRESS = "==SUPPRESS=="  # argparse.SUPPRESS, known without importing it


def tap(early: Callable[[], dict[str, str]] | None = None) -> Undo:
    """Watches argparse from now on, so that arguments parsed before a recorder exists are known to it later.

    early: asked at each parse for stored values that are the defaults, before a recorder can tell them.
    Costs nothing until argparse is imported. Watching ends when every tap has been undone; what was learned is
    forgotten then.
    """
    _tap.early = early or _tap.early
    return _tap.open()


class ArgparseCapture:
    """Sets `param/Args/<dest>` for every argument of every parser, those parsed before install included.

    wanted: which arguments, by name; those that are not named as "*" has it, which is True where it is not said;
    only: the one parser that is recorded, instead of all.
    """

    name = "argparse"
    module: str | None = "argparse"

    def __init__(
        self, wanted: Mapping[str, bool] | None = None, *, only: ArgumentParser | None = None
    ) -> None:
        self._wanted = dict(wanted or {})
        self._only = only

    def _wants(self, name: str) -> bool:
        return self._wanted.get(name, self._wanted.get("*", True))

    def install(self, recorder: Recorder) -> Undo:
        """Records what is known and what is parsed from now on; makes the recorder's overrides defaults."""
        close = tap()
        guard = Guard(self.name)

        def emit(parameters: dict[str, _Parameter]) -> None:
            for name, parameter in parameters.items():
                if self._wants(name):
                    recorder.set(f"param/{SECTION}/{name}", parameter)

        stored = recorder.overrides(SECTION) or {}
        values = {name: text for name, text in stored.items() if self._wants(name)}
        listener = _Listener(guard, emit, values, self._only)
        _tap.listeners.append(listener)
        guard.run(emit, dict(_tap.known if self._only is None else _tap.seen.get(self._only, {})))

        def undo() -> None:
            if listener in _tap.listeners:
                _tap.listeners.remove(listener)
            close()

        return undo


class _Listener:
    """One recorder's ear, and what it wants to replay."""

    def __init__(
        self,
        guard: Guard,
        emit: Callable[[dict[str, _Parameter]], None],
        overrides: dict[str, str],
        only: ArgumentParser | None,
    ) -> None:
        self.guard = guard
        self.emit = emit
        self.overrides = overrides
        self.only = only

    def hears(self, parser: ArgumentParser) -> bool:
        """Whether it wants to know of what this parser parses."""
        return self.only is None or self.only is parser


class _Run:
    """One parse from outside: the parser called, those of its sub-commands, and the texts that were converted."""

    def __init__(self, parser: ArgumentParser) -> None:
        self.parsers = [parser]
        self.typed: list[tuple[Action, str, object]] = []


class _Tap:
    """The patch of argparse, and what has been learned by it."""

    def __init__(self) -> None:
        self.known: dict[str, _Parameter] = {}
        self.seen: WeakKeyDictionary[ArgumentParser, dict[str, _Parameter]] = WeakKeyDictionary()
        self.early: Callable[[], dict[str, str]] | None = None
        self.listeners: list[_Listener] = []
        self._opened = 0
        self._undos: list[Undo] = []
        self._guard = Guard("argparse")
        self._local = threading.local()

    def open(self) -> Undo:
        self._opened += 1
        if self._opened == 1:
            self._guard = Guard("argparse")
            self._undos.append(when_imported("argparse", self._patch))
        opened = [True]

        def close() -> None:
            if opened:
                opened.clear()
                self._opened -= 1
                if self._opened == 0:
                    self._close()

        return close

    def _close(self) -> None:
        while self._undos:
            self._undos.pop()()
        self.known.clear()
        self.seen.clear()
        self.early = None

    def _patch(self, argparse: ModuleType) -> None:
        parser_class: type[ArgumentParser] = argparse.ArgumentParser
        # In newer versions the second does not call the first; the third tells an argument as it was typed.
        for name in ("parse_known_args", "parse_known_intermixed_args"):
            self._replace(parser_class, name, self._watching)
        self._replace(parser_class, "_get_value", self._noting)

    def _replace(
        self, owner: type, name: str, around: Callable[[Callable[..., Any]], Callable[..., Any]]
    ) -> None:
        original = owner.__dict__.get(name)
        if original is None:
            return
        ours = wraps(original)(around(original))
        setattr(owner, name, ours)

        def undo() -> None:
            if (
                owner.__dict__.get(name) is ours
            ):  # else somebody has wrapped ours, which passes all through now
                setattr(owner, name, original)

        self._undos.append(undo)

    def _watching(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def parse(parser: ArgumentParser, args: Any = None, namespace: Any = None) -> Any:
            outer: _Run | None = getattr(self._local, "run", None)
            if not self._opened:
                return original(parser, args, namespace)
            if outer is not None:  # a sub-command's parser, called by its parent's action
                outer.parsers.append(parser)
                with self._overridden(parser):
                    return original(parser, self._with_subcommand(parser, args), namespace)
            run = self._local.run = _Run(parser)
            try:
                with self._overridden(parser):
                    result = original(parser, self._with_subcommand(parser, args), namespace)
            finally:
                self._local.run = None
            self._guard.run(self._learn, run, result[0])
            return result

        return parse

    def _noting(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def get_value(parser: ArgumentParser, action: Action, text: str) -> Any:
            value = original(parser, action, text)
            run: _Run | None = getattr(self._local, "run", None)
            if run is not None:
                run.typed.append((action, text, value))
            return value

        return get_value

    def _learn(self, run: _Run, namespace: object) -> None:
        parameters = _parameters(run, namespace)
        changed = {name: one for name, one in parameters.items() if self.known.get(name) != one}
        self.known.update(changed)
        self.seen.setdefault(run.parsers[0], {}).update(parameters)
        for listener in tuple(self.listeners):
            if listener.hears(run.parsers[0]):
                listener.guard.run(listener.emit, changed if listener.only is None else parameters)

    def _overrides(self) -> dict[str, str]:
        run: _Run | None = getattr(self._local, "run", None)
        overrides: dict[str, str] = {}
        if self.early is not None:
            overrides.update(self._guard.run(self.early) or {})
        for listener in tuple(self.listeners):
            if run is None or listener.hears(run.parsers[0]):
                overrides.update(listener.overrides)
        return overrides

    @contextmanager
    def _overridden(self, parser: ArgumentParser) -> Iterator[None]:
        """For one parse: the stored values are the defaults, and nothing that has one is required."""
        overrides = self._overrides()
        if not overrides:
            yield
            return
        saved: list[tuple[object, str, object]] = []
        try:
            self._guard.run(_apply, parser, overrides, saved)
            yield
        finally:
            for owner, name, value in reversed(saved):
                setattr(owner, name, value)

    def _with_subcommand(self, parser: ArgumentParser, args: Any) -> Any:
        """Without any arguments, the stored sub-command is the one to run."""
        overrides = self._overrides()
        given = sys.argv[1:] if args is None else args
        if not overrides or len(given) > 0:
            return args
        for action in parser._actions:
            command = overrides.get(action.dest, "")
            if _is_subparsers(action) and command in (action.choices or ()):
                return [command]
        return args


_tap = _Tap()


def _parameters(run: _Run, namespace: object) -> dict[str, _Parameter]:
    found: dict[str, _Parameter] = {}
    parsers = list({id(parser): parser for parser in run.parsers}.values())
    unnamed = 0
    for parser in parsers:
        for action in parser._actions:
            if action.dest == _SUPPRESS and _is_subparsers(action):
                unnamed += 1
                name = _title(parser) or f"subparser{unnamed}"
                chosen = _chosen(action, parsers)
                found[f"/{name}"] = {"value": chosen, "type": "str", "description": _help(action)}
            elif action.dest != _SUPPRESS and hasattr(namespace, action.dest):
                texts = {id(result): text for of, text, result in run.typed if of is action}
                parameter = _parameter(action, getattr(namespace, action.dest), texts)
                # A sub-command may have an argument of its parent's name: what was typed tells whose value it is.
                if parameter is not None and (texts or action.dest not in found):
                    found[action.dest] = parameter
    set_by_code = getattr(namespace, "__dict__", {})  # set_defaults(), and what actions have added
    for name, value in set_by_code.items():
        if name not in found and type(value) in (str, int, float, bool, list):
            found[name] = {"value": _text(value), "type": type(value).__name__, "description": None}
    return found


def _title(parser: ArgumentParser) -> str | None:
    """The title that was given to the parser's sub-commands."""
    group = parser._subparsers
    return None if group is None or group is parser._positionals else group.title


def _is_subparsers(action: Action) -> bool:
    import argparse

    return isinstance(action, argparse._SubParsersAction)


def _chosen(action: Action, parsers: Iterable[ArgumentParser]) -> str:
    """The name of the sub-command whose parser took part; "" where none did."""
    taking_part = {id(parser) for parser in parsers}
    choices: dict[str, ArgumentParser] = dict(action.choices or {})
    return next((name for name, parser in choices.items() if id(parser) in taking_part), "")


def _parameter(action: Action, value: object, texts: dict[int, str]) -> _Parameter | None:
    """The record of one argument; None for a function, unless one was named on the command line. `texts`: what was
    typed, by the id() of what it was converted to."""
    text = texts.get(id(value))
    if text is None:
        if isinstance(value, FunctionType | BuiltinFunctionType | MethodType):
            return None
        if isinstance(value, str) and value == _SUPPRESS:
            return None
        text = _text(value, texts)
    return {"value": text, "type": _type(action, value), "description": _help(action)}


def _text(value: object, texts: dict[int, str] | None = None) -> str:
    """A value as text: "" for None, a list of plain values as Python writes it, of others as they were typed."""
    if value is None:
        return ""
    if isinstance(value, list | tuple) and texts:
        value = [one if isinstance(one, _PLAIN) else texts.get(id(one), one) for one in value]
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - one object that cannot be shown must not cost the other arguments
        return f"<{type(value).__name__}>"


_PLAIN = (str, int, float, bool, list, tuple, type(None))


def _type(action: Action, value: object) -> str | None:
    if action.type is not None:
        kind: Any = action.type
        return kind if isinstance(kind, str) else getattr(kind, "__name__", type(kind).__name__)
    if value is None:
        import argparse

        return "str" if isinstance(action, argparse._StoreAction) else None
    return type(value).__name__


def _help(action: Action) -> str | None:
    return None if action.help is None or action.help == _SUPPRESS else str(action.help)


def _apply(
    parser: ArgumentParser, overrides: dict[str, str], saved: list[tuple[object, str, object]]
) -> None:
    """Makes stored values the parser's defaults and lifts its requirements, noting in `saved` what to put back."""

    def change(owner: object, name: str, value: object) -> None:
        saved.append((owner, name, getattr(owner, name)))
        setattr(owner, name, value)

    for action in parser._actions:
        text = overrides.get(action.dest)
        if text is None or _is_subparsers(action):
            continue
        try:
            value = _cast(parser, action, text)
        except Exception as fault:  # noqa: BLE001 - a type function of the user's may raise anything
            log_fault(f"The stored value {text!r} of argument {action.dest} is not used", fault)
            continue
        change(action, "default", value)
        if action.required:
            change(action, "required", False)
    for group in parser._mutually_exclusive_groups:
        if group.required and any(action.dest in overrides for action in group._group_actions):
            change(group, "required", False)


def _cast(parser: ArgumentParser, action: Action, text: str) -> object:
    """A stored text as the action would have it; a text that says what the default is gives that very default."""
    if text == _text(action.default):
        return action.default
    if text == "":
        return "" if isinstance(action.default, str) else None
    if _is_list(action):
        return [
            one if action.type is None and not isinstance(one, str) else _one(parser, action, str(one))
            for one in _as_list(text)
        ]
    if action.nargs == 0:
        return _constant(action, text)
    if action.type is None and action.default is not None:
        return _like(action.default, text)
    return _one(parser, action, text)


def _is_list(action: Action) -> bool:
    import argparse

    return action.nargs not in (None, "?", 0) or isinstance(
        action, argparse._AppendAction | argparse._AppendConstAction
    )


def _constant(action: Action, text: str) -> object:
    """Of an option without an argument: true or false, the constant it stores, or how often it was given."""
    if isinstance(action.const, bool) or type(action).__name__ == "BooleanOptionalAction":
        return _as_bool(text)
    return action.const if text == _text(action.const) else int(text)


def _one(parser: ArgumentParser, action: Action, text: str) -> object:
    return parser._get_value(action, text)  # the parser's own conversion, its registry included


def _as_bool(text: str) -> bool:
    word = text.strip().lower()
    if word in ("true", "yes", "y", "t", "on", "1", "1.0"):
        return True
    if word in ("false", "no", "n", "f", "off", "0", "0.0"):
        return False
    raise ValueError(f"{text!r} is neither true nor false")


def _as_list(text: str) -> list[object]:
    import ast

    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        inner = text.strip().removeprefix("[").removesuffix("]")
        return [part.strip() for part in inner.split(",") if part.strip()]
    return list(value) if isinstance(value, list | tuple) else [value]


def _like(default: object, text: str) -> object:
    """A text as a value of a default's type; as it is, where that type is none that has a plain text."""
    if isinstance(default, bool):
        return _as_bool(text)
    if isinstance(default, int | float):
        return type(default)(text)
    if isinstance(default, list | tuple):
        return type(default)(_as_list(text))
    return text
