"""`tracker edit`, `rename`, `mv`, `archive`: what a task was made of, what it is called and where it stands.

Each change is a commit of its own on top of what was: ids, history and references stay. All of a command line is
checked before the first change is made. What a task has made is not changed here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from objstore.errors import InvalidName, NotFound
from tracker import names
from tracker.cli import candidates, render
from tracker.cli.command import Call, Command, find_task
from tracker.cli.render import plural
from tracker.errors import BadValue

if TYPE_CHECKING:
    from tracker.records import State
    from tracker.workspace import Workspace

_ID_SHORT = 12
_TYPED = (
    "int",
    "float",
    "bool",
    "list",
    "tuple",
    "dict",
)  # types of parameters that not every text has a value of


# --- edit ------------------------------------------------------------------------------------------------------------


@click.command(
    "edit",
    cls=Command,
    examples=[
        ("edit 3f2a91 --param Args/lr=0.01", "change a parameter of a draft; its type stays"),
        ("edit 3f2a91 --copy --param Args/lr=0.01", "of a task that is over: change a draft copy of it"),
        ("edit 3f2a91 --comment 'the baseline'", "describe a task, over or not"),
        ("edit 3f2a91 --property owner=ada", "set a user property"),
        ("edit 3f2a91 --config model=model.yaml", "replace a configuration object by a file's text"),
    ],
)
@click.argument("task", metavar="TASK", shell_complete=candidates.tasks)
@click.option(
    "--param",
    "params",
    multiple=True,
    metavar="SECTION/NAME=VALUE",
    help="Set a parameter. May be given again.",
)
@click.option("--remove", "gone", multiple=True, metavar="SECTION/NAME", help="Take a parameter away.")
@click.option("--property", "properties", multiple=True, metavar="NAME=VALUE", help="Set a user property.")
@click.option(
    "--config",
    "configs",
    multiple=True,
    metavar="NAME=FILE",
    help="Set a configuration object to a file's text.",
)
@click.option("--comment", metavar="TEXT", help="Replace the comment.")
@click.option("--copy", is_flag=True, help="Make a draft copy, change that, and print its id.")
def edit(
    call: Call,
    task: str,
    params: Sequence[str],
    gone: Sequence[str],
    properties: Sequence[str],
    configs: Sequence[str],
    comment: str | None,
    copy: bool,
) -> None:
    """Change a task's parameters, configuration, user properties and comment: all of it, or nothing.

    What a task was made of stays as it was once it is over: --copy makes a draft like it, and changes that.
    """
    workspace = call.open()
    key = find_task(workspace, task)
    state = workspace.thing(key).state
    asked: dict[str, Any] = {**_params(state, params), **_removed(state, gone), **_properties(properties)}
    texts = {
        f"config/{name}": _config(state, name, Path(file)) for name, file in map(_pair("--config"), configs)
    }
    if comment is not None:
        asked["comment"] = comment
    if not asked and not texts and not copy:
        raise click.UsageError(
            "nothing to change was given: --param, --remove, --property, --config or --comment"
        )
    if not copy:
        _check_open(
            key, state, [name for name, value in asked.items() if value != state.get(name)] + list(texts)
        )
    asked |= {name: _stored(workspace, record) for name, record in texts.items()}
    changes = {name: value for name, value in asked.items() if value != state.get(name)}
    if copy:
        from tracker.sdk import creation

        source, key = key, creation.clone(workspace, key, None, None, None, None, changes)
        after = workspace.thing(key).state
    elif changes:
        source, after = "", workspace.edit(key, changes)
    else:
        source, after = "", state
    _tell(call, key, source, state, after, changes)


def _tell(call: Call, key: str, source: str, before: State, after: State, changes: Mapping[str, Any]) -> None:
    if call.json:
        record = {"id": key, "copy_of": source or None, "changed": sorted(changes)}
        call.screen.document("edit", record)
    elif source:
        call.screen.line(key)
    for name in sorted(changes):
        if after.get(name) != changes[name]:
            render.say(f"tracker: warning: {_called(name)} looks like a secret, and is kept as [redacted …]")
        if not call.json:
            render.say(f"{_called(name)}: {_shown(before.get(name))} -> {_shown(after.get(name))}")
    if not call.json and not changes and not source:
        render.say("nothing changes: it is so already")


def _check_open(key: str, state: State, keys: Iterable[str]) -> None:
    """Raise BadValue where the task's status keeps any of these keys as they are."""
    from tracker import statuses

    status = str(state.get("status", "created"))
    kept = statuses.refused(status, keys)
    if kept:
        reset = f", and in Python Task.get_task('{key}').reset() makes it a draft again"
        raise BadValue(
            f"task {key} is {status}: {', '.join(sorted(map(_called, kept)))} cannot be changed any more: "
            f"`tracker edit {key[:_ID_SHORT]} --copy …` changes a draft copy of it"
            f"{'' if status == 'published' else reset}"
        )


def _pair(option: str) -> Any:
    """What splits NAME=VALUE at the first =. Raises UsageError that names the option."""

    def split(text: str) -> tuple[str, str]:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise click.UsageError(f"{option} {text!r}: NAME=VALUE is expected")
        return name.strip(), value

    return split


def _params(state: State, given: Iterable[str]) -> dict[str, Any]:
    from tracker.sdk import parameters

    found: dict[str, Any] = {}
    for name, value in map(_pair("--param"), given):
        key = _param_key(state, name)
        before = state.get(key) or {}
        kind = str(before.get("type") or "")
        if value and kind.split("/")[0] in _TYPED and isinstance(parameters.cast(value, kind), str):
            raise BadValue(f"parameter {name!r} is of type {kind}: {value!r} is none")
        found[key] = parameters.record(value, before)
    return found


def _removed(state: State, given: Iterable[str]) -> dict[str, Any]:
    keys = {name: _param_key(state, name) for name in given}
    for name, key in keys.items():
        if state.get(key) is None:
            raise NotFound(f"there is no parameter {name!r}{_near(state, name)}")
    return dict.fromkeys(keys.values(), None)


def _param_key(state: State, name: str) -> str:
    """The key of a parameter by its full name. Raises BadValue for one without its section."""
    from tracker.sdk import parameters

    if "/" not in name.strip("/"):
        raise BadValue(f"parameter {name!r}: give its section, too, as in Args/{name}{_near(state, name)}")
    return parameters.key_of(name)


def _near(state: State, name: str) -> str:
    """Which parameters may have been meant, as the end of a sentence."""
    from difflib import get_close_matches

    last = name.rpartition("/")[2]
    known = list(state.section("param"))
    near = [each for each in known if each.rpartition("/")[2] == last] or get_close_matches(name, known, 3)
    return f": did you mean {', '.join(near)}?" if near else ""


def _properties(given: Iterable[str]) -> dict[str, Any]:
    from tracker.sdk import parameters

    found = parameters.properties(dict(map(_pair("--property"), given)))
    return {f"param/{parameters.PROPERTIES}/{name}": record for name, record in found.items()}


def _config(state: State, name: str, path: Path) -> dict[str, Any]:
    """The record of a configuration object with a file's text, its type and description kept.

    Raises BadValue for what is no text, or no dict or list where the object is one; OSError.
    """
    from tracker.sdk import configuration

    before = state.get(f"config/{name}") or {}
    kind = before.get("type") or path.suffix.removeprefix(".") or "file"
    try:
        text = path.read_bytes().decode("utf-8")  # line ends included
    except ValueError as error:
        raise BadValue(f"{path} is no text in UTF-8: {error}") from error
    wanted = {"dictionary": dict, "list": list}.get(kind)
    if wanted is not None and not isinstance(configuration.parse(text, kind, name), wanted):
        raise BadValue(f"configuration {name!r} is a {kind}: {path} holds something else")
    return {"value": text, "type": kind, "description": before.get("description")}


def _stored(workspace: Workspace, record: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration's record as the store has it: a long text is an object of its own, free of secrets, too."""
    from tracker.redaction import redact_bytes
    from tracker.sdk.execution import text_or_ref

    text = str(record["value"])
    if workspace.config.redact:
        text = redact_bytes(text.encode()).decode()
    return {**record, "value": text_or_ref(text, workspace.attach)}


def _called(key: str) -> str:
    """What people call a key of a task's record."""
    return key.removeprefix("param/")


def _shown(value: Any) -> str:
    """A value on a line of its own."""
    text = value.get("value") if isinstance(value, Mapping) else value
    if text is None:
        return "(none)"
    if isinstance(text, Mapping):
        return "(a long text)"
    short = str(text)
    return short if len(short) <= 60 else f"{short[:59]}…"


# --- names and places ------------------------------------------------------------------------------------------------


@click.command(
    "rename",
    cls=Command,
    examples=[("rename 3f2a91 'resnet, cosine schedule'", "its id, history and what refers to it stay")],
)
@click.argument("task", metavar="TASK", shell_complete=candidates.tasks)
@click.argument("name")
def rename(call: Call, task: str, name: str) -> None:
    """Call a task something else. Its id stays, and so do its history, its aliases and whatever refers to it."""
    wanted = names.check_name("task", name)
    workspace = call.open()
    key = find_task(workspace, task)
    before = str(workspace.thing(key).state.get("name", ""))
    if wanted != before:
        workspace.edit(key, {"name": wanted})
    if call.json:
        call.screen.document("rename", {"id": key, "name": wanted, "before": before})
    else:
        render.say(
            f"task {key}: {before} -> {wanted}" if wanted != before else "nothing changes: it is so already"
        )


@click.command(
    "mv",
    cls=Command,
    examples=[
        ("mv 3f2a91 7c00de vision/kept", "two tasks into a project, which need not exist yet"),
        ("mv vision/digits archive/digits", "a project: its tasks, and those of all projects below it"),
    ],
)
@click.argument("what", metavar="TASK|PROJECT...", nargs=-1, required=True, shell_complete=candidates.places)
@click.argument("project", metavar="PROJECT", shell_complete=candidates.projects)
def mv(call: Call, what: Sequence[str], project: str) -> None:
    """Move tasks to a project, or all tasks of a project; what is in projects below it keeps its place there.

    A task's id stays, and so do its history, its aliases and whatever refers to it.
    """
    target = names.check_name("project", project.strip("/"))
    workspace = call.open()
    wanted: dict[str, str] = {}
    for text in what:
        wanted |= _places(workspace, text, target)
    before = {key: str(workspace.thing(key).state.get("project", "")) for key in wanted}
    moved = {key: place for key, place in wanted.items() if place != before[key]}
    for key, place in moved.items():
        workspace.edit(key, {"project": place})
    if call.json:
        rows = [{"id": key, "from": before[key], "to": place} for key, place in moved.items()]
        call.screen.document("mv", {"moved": rows, "unchanged": [key for key in wanted if key not in moved]})
        return
    for key in [key for key in wanted if key not in moved]:
        render.say(f"task {key} is in {before[key]} already")
    if moved:
        render.say(f"moved {plural(len(moved), 'task')} to {target}")


def _places(workspace: Workspace, text: str, target: str) -> dict[str, str]:
    """Where the task, or else the tasks of the project, that a text stands for are to go, by id."""
    try:
        return {find_task(workspace, text): target}
    except (NotFound, InvalidName):
        source, found = text.strip("/"), {}
        for key, thing in workspace.tasks().items():
            below = str(thing.state.get("project", ""))
            if source and (below == source or below.startswith(f"{source}/")):
                found[key] = names.check_name("project", target + below[len(source) :])
        if not found:
            raise
        return found


@click.command(
    "archive",
    cls=Command,
    examples=[
        ("archive 3f2a91 7c00de", "put two tasks away"),
        ("archive 3f2a91 --undo", "bring one back"),
    ],
)
@click.argument("ids", metavar="TASK...", nargs=-1, required=True, shell_complete=candidates.tasks)
@click.option("--undo", is_flag=True, help="Bring them back.")
def archive(call: Call, ids: Sequence[str], undo: bool) -> None:
    """Put tasks away, or bring them back. They get the system tag `archived`, and keep all that they have."""
    workspace = call.open()
    keys = list(dict.fromkeys(find_task(workspace, prefix) for prefix in ids))
    wanted = None if undo else True
    changed = [key for key in keys if workspace.thing(key).state.get("system_tag/archived") != wanted]
    for key in changed:
        workspace.edit(key, {"system_tag/archived": wanted})
    if call.json:
        rest = [key for key in keys if key not in changed]
        call.screen.document("archive", {"archived": not undo, "changed": changed, "unchanged": rest})
        return
    verb = "brought back" if undo else "archived"
    state = "is not archived" if undo else "is archived already"
    for key in keys:
        render.say(f"{verb} task {key}" if key in changed else f"task {key} {state}")
