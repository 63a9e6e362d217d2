"""`tracker models`: the models of a store, or one in full by its id, its weights' hash or an alias."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from objstore.errors import Ambiguous, NotFound
from tracker import aliases, index
from tracker.cli import candidates, render
from tracker.cli.command import Call, Command, find_task, warn_damaged
from tracker.cli.render import Column, escape
from tracker.errors import TaskNotFound

if TYPE_CHECKING:
    from tracker.reader import Thing
    from tracker.records import State
    from tracker.workspace import Workspace

_HASH_SHORT = 12


@click.command(
    "models",
    cls=Command,
    examples=[
        ("models", "all models, newest first"),
        ("models resnet --tag prod", "those with resnet in name, project or tag, tagged prod"),
        ("models best@prod", "what an alias stands for, in full"),
        ("models df095b65c54d", "the newest with these weights, by their hash"),
    ],
)
@click.argument("words", nargs=-1, metavar="[WORD]...")
@click.option("--project", metavar="NAME", help="Only this project and those below it.")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="Only with this tag; -TAG: without it.")
@click.option("--framework", metavar="NAME", help="Only of this framework.")
@click.option(
    "--task", metavar="ID", shell_complete=candidates.tasks, help="Only those that this task made or used."
)
@click.option("--published", is_flag=True, help="Only published ones.")
@click.option("--archived", is_flag=True, help="Archived ones, too.")
@click.option("--limit", type=click.IntRange(min=0), metavar="N", help="The first N only.")
def models(
    call: Call,
    words: Sequence[str],
    project: str | None,
    tags: Sequence[str],
    framework: str | None,
    task: str | None,
    published: bool,
    archived: bool,
    limit: int | None,
) -> None:
    """List models. Each WORD has to be in a model's name, project or a tag, or begin its id or its weights' hash.

    A single WORD that is the id or hash of one, the beginning of it, or an alias, shows that model in full.
    """
    from tracker.sdk.models import queries

    workspace = call.open()
    if len(words) == 1 and _show(call, workspace, words[0]):
        return
    wanted = queries.Wanted(tags=tuple(tag for tag in tags if tag.startswith("-")), archived=archived)
    linked = _linked(workspace, task)
    found = [
        thing
        for thing in queries.find(workspace, wanted)
        if (not published or thing.state.get("published"))
        and (framework is None or str(thing.state.get("framework", "")).casefold() == framework.casefold())
        and (linked is None or thing.key in linked)
        and _in_project(thing.state, project)
        and all(tag in thing.state.section("tag") for tag in tags if not tag.startswith("-"))
        and all(_has_word(thing, word) for word in words)
    ]
    shown = found[:limit]
    named = _names(workspace)
    if call.json:
        documents = [_document(thing, named) for thing in shown]
        call.screen.document("models", {"models": documents, "total": len(found)})
    elif shown:
        _print(call, shown, named)
    if not found:
        render.say("no model fits")
    elif len(shown) < len(found):
        render.say(f"{len(shown)} of {render.plural(len(found), 'model')}")
    warn_damaged(workspace)


def _show(call: Call, workspace: Workspace, word: str) -> bool:
    """Show the model that a word stands for; whether there is one."""
    from tracker.sdk.models import model

    try:
        thing = workspace.thing(model.find(workspace, word))
    except (TaskNotFound, NotFound, Ambiguous):
        if aliases.is_alias(word):
            raise
        return False  # then it is a word to look for
    record = _document(thing, _names(workspace))
    if call.json:
        call.screen.document("models", {"models": [record], "total": 1})
        return True
    users = [t for t in workspace.tasks().values() if t.state.get(f"model/input/{thing.key}") is not None]
    record["used by"] = ", ".join(user.key[:_HASH_SHORT] for user in users)
    for name, value in record.items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else value
        if isinstance(value, Mapping):
            text = ", ".join(f"{key}={item}" for key, item in value.items())
        if name == "size":
            text = render.size(int(value))
        if text not in ("", None, False):
            call.screen.line((f"{name:<10} ", "dim"), escape(str(text)))
    return True


def _linked(workspace: Workspace, task: str | None) -> set[str] | None:
    if task is None:
        return None
    state = workspace.thing(find_task(workspace, task)).state
    return {*state.section("model/output"), *state.section("model/input")}


def _in_project(state: State, project: str | None) -> bool:
    have = str(state.get("project", ""))
    return project is None or have == project or have.startswith(f"{project}/")


def _has_word(thing: Thing, word: str) -> bool:
    from tracker.sdk.models.model import weights_hash

    state = thing.state
    texts = (str(state.get("name", "")), str(state.get("project", "")), *state.section("tag"))
    return (
        thing.key.startswith(word)
        or weights_hash(thing).startswith(word)
        or any(word.casefold() in text.casefold() for text in texts)
    )


def _names(workspace: Workspace) -> dict[str, list[str]]:
    """The aliases of each model."""
    found: dict[str, list[str]] = {}
    for name, key in aliases.all_of(workspace).items():
        found.setdefault(key, []).append(name)
    return found


def _document(thing: Thing, named: Mapping[str, list[str]]) -> dict[str, Any]:
    """A model as JSON has it; hash is null where it is not known."""
    from tracker.sdk.models.model import created, weights_hash

    state, weights = thing.state, thing.state.get("weights") or {}
    size = weights.get("size", 0)
    if "$ref" in weights:
        size = int(str(weights["$ref"]).rpartition(":")[2])
    return {
        "id": thing.key,
        "name": str(state.get("name", "")),
        "project": str(state.get("project", "")),
        "framework": str(state.get("framework", "")),
        "task": str(state.get("task", "")) or None,
        "created": render.iso(created(thing)),
        "hash": weights_hash(thing) or None,
        "stored": "$ref" in weights,
        "size": size,
        "file": str(weights.get("file", "")),
        "url": weights.get("url"),
        "tags": list(state.section("tag")),
        "aliases": named.get(thing.key, []),
        "published": bool(state.get("published")),
        "archived": bool(state.get("system_tag/archived")),
        "comment": str(state.get("comment", "")),
        "metadata": {key: str(item["value"]) for key, item in state.section("meta").items()},
    }


def _print(call: Call, things: Sequence[Thing], named: Mapping[str, list[str]]) -> None:
    screen = call.screen
    length = index.short_length(thing.key for thing in things)
    columns = [
        Column("id", style="dim"),
        Column("name", least=16),
        Column("project", least=10, drop=2, style="dim"),
        Column("framework", least=8, drop=1),
        Column("size", right=True),
        Column("hash", style="dim"),
        Column("task", style="dim", drop=3),
        Column("aliases and tags", least=8, drop=4),
    ]
    rows = []
    for thing in things:
        record = _document(thing, named)
        short = screen.people
        digest, task = record["hash"] or "-", record["task"] or "-"
        rows.append(
            [
                thing.key[:length] if short else thing.key,
                record["name"],
                record["project"],
                record["framework"] or "-",
                render.size(record["size"]),
                digest[:_HASH_SHORT] if short else digest,
                task[:_HASH_SHORT] if short else task,
                " ".join([*record["aliases"], *record["tags"]]),
            ]
        )
    screen.table(columns, rows)
