"""Dicts as .json or .yaml that people can read. Refuses what would not come back: colliding keys, values JSON has not.

As in JSON, keys that are numbers come back as text and tuples as lists. NaN and infinities are written as Python and
ClearML do (`NaN`, `Infinity`), so they come back; strict JSON parsers, such as browsers, refuse such a file.
"""

from __future__ import annotations

from typing import Any, Final

from tracker.codecs.protocol import Encoded, Request, Stored, Unfit, chosen, file_name

types: Final = ("dict", "JSON")  # the second is what old versions of ClearML wrote


def fits(value: object) -> bool:
    """Whether it is a dict."""
    return isinstance(value, dict)


def encode(value: dict[Any, Any], request: Request) -> Encoded:
    """The text as UTF-8, indented by 4, with sorted keys unless asked otherwise."""
    extension, notice = chosen(request, "dict", (".json", ".yaml"))
    if extension == ".yaml":
        try:
            text = _yaml(value, request.sort_keys)
            return _encoded(request, ".yaml", "application/yaml", text, notice)
        except ModuleNotFoundError:
            notice = f"dict artifact {request.name!r} is stored as .json: PyYAML is not installed"
    text = _json(value, request.sort_keys)
    if _has_other_keys(value) and not notice:
        notice = f"dict artifact {request.name!r} has keys that are no text; in JSON they become text"
    return _encoded(request, ".json", "application/json", text, notice)


def decode(stored: Stored) -> object:
    """What the text says, by the safe parsers."""
    if stored.has_extension(".yaml", ".yml") or stored.content_type == "application/yaml":
        import yaml

        return yaml.safe_load(stored.read())
    import json

    return json.loads(stored.read())


def _encoded(request: Request, extension: str, media: str, text: str, notice: str) -> Encoded:
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        raise Unfit(f"it holds text that UTF-8 cannot: {error}") from error
    return Encoded("dict", file_name(request.name, extension), media, text, data, notice=notice)


def _json(value: dict[Any, Any], sort_keys: bool) -> str:
    import json

    try:
        return json.dumps(value, indent=4, sort_keys=sort_keys, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise Unfit(f"JSON cannot hold it: {error}") from error


def _has_other_keys(value: object) -> bool:
    """Whether a key is no text. Raises Unfit where two, such as 1 and "1", are spelled alike: one would be lost."""
    found = False
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            waiting.extend(part.values())
            if any(not isinstance(key, str) for key in part):
                found = True
                if len({_spelling(key) for key in part}) < len(part):
                    raise Unfit("two of its keys are spelled alike in JSON")
        elif isinstance(part, (list, tuple)):
            waiting.extend(part)
    return found


def _spelling(key: object) -> str:
    """The key as json spells it."""
    import json

    return key if isinstance(key, str) else json.dumps(key)


def _yaml(value: dict[Any, Any], sort_keys: bool) -> str:
    """Plain YAML that the safe loader reads; tags that name Python classes are never written."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Knows subclasses of dict too, as JSON does."""

    Dumper.add_multi_representer(dict, yaml.SafeDumper.represent_dict)
    try:
        for readable in (True, False):
            text = str(
                yaml.dump(
                    value, Dumper=Dumper, sort_keys=sort_keys, indent=4, width=110, allow_unicode=readable
                )
            )
            # PyYAML writes these as they are, and reads them as line ends or not at all.
            if not any(mark in text for mark in "\x85\u2028\u2029\ufeff"):
                break
    except (yaml.YAMLError, TypeError, ValueError, RecursionError) as error:
        raise Unfit(f"YAML cannot hold it: {error}") from error
    return text
