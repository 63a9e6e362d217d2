"""`tracker tag`: tags of tasks and models, and aliases that stand for one of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from objstore.errors import NotFound
from tracker import aliases, layout
from tracker.cli import candidates, render
from tracker.cli.command import Call, Command, find_task
from tracker.errors import TaskNotFound

if TYPE_CHECKING:
    from tracker.reader import Thing
    from tracker.workspace import Workspace


@click.command(
    "tag",
    cls=Command,
    examples=[
        ("tag 3f2a91 baseline", "tag a task, or a model, by its id"),
        ("tag 3f2a91 --remove draft", "take a tag away"),
        ("tag 8c1fa2 best@prod", "let an alias stand for it, until it is moved"),
        ("tag model best@prod", "for the newest model that is named best"),
        ("tag 3f2a91", "its tags and aliases"),
    ],
)
@click.argument("what", metavar="ID|HASH|ALIAS", shell_complete=candidates.tasks)
@click.argument("tags", nargs=-1, metavar="[TAG|NAME@LABEL]...", shell_complete=candidates.tags)
@click.option(
    "--remove", "gone", multiple=True, metavar="TAG|NAME@LABEL", help="Take it away. May be given again."
)
def tag(call: Call, what: str, tags: Sequence[str], gone: Sequence[str]) -> None:
    """Tag a task or a model, or let an alias stand for it. A model may be named by its weights' hash.

    An alias, NAME@LABEL, stands for one thing at a time: giving it again moves it. Wherever an id is expected, it may
    stand instead: `tracker get best@prod`.
    """
    workspace = call.open()
    thing = _named(workspace, what, tags) if what in ("task", "model") else _found(workspace, what)
    for name in gone:
        if aliases.is_alias(name):
            if aliases.target(workspace, name) != thing.key:
                raise NotFound(f"the alias {name} does not stand for {thing.key}")
            aliases.remove(workspace, name)
        elif name not in thing.state.section("tag"):
            raise NotFound(f"{thing.state.kind} {thing.key} has no tag {name!r}")
    plain = {name.strip() for name in tags if not aliases.is_alias(name)}
    changes: dict[str, bool | None] = {f"tag/{name}": None for name in gone if not aliases.is_alias(name)}
    changes.update({f"tag/{name}": True for name in plain if name})
    if changes:
        workspace.edit(thing.key, changes, kind=thing.state.kind)
    for name in tags:
        if aliases.is_alias(name):
            aliases.put(workspace, name, thing)
    _report(call, workspace, workspace.thing(thing.key))


def _found(workspace: Workspace, what: str) -> Thing:
    """The model, or else the task, that a text stands for. Raises NotFound, Ambiguous, InvalidName."""
    from tracker.sdk.models import model

    if aliases.is_alias(what):
        return workspace.thing(aliases.target(workspace, what))
    try:
        return workspace.thing(model.find(workspace, what))
    except TaskNotFound:
        return workspace.thing(find_task(workspace, what))


def _named(workspace: Workspace, kind: str, tags: Sequence[str]) -> Thing:
    """The newest thing of a kind that has the name in front of an alias's @. Raises NotFound."""
    if len(tags) != 1 or not aliases.is_alias(tags[0]):
        raise click.UsageError(f"`tracker tag {kind}` takes one alias: tracker tag {kind} NAME@LABEL")
    name = tags[0].rpartition("@")[0]
    found = [
        thing
        for thing in workspace.things().values()
        if thing.state.kind == (layout.TASK if kind == "task" else layout.MODEL)
        and thing.state.get("name") == name
        and not thing.state.get("deleted")
    ]
    if not found:
        raise NotFound(f"no {kind} is named {name!r}: name one by its id: tracker tag ID {tags[0]}")
    return max(found, key=lambda thing: (int(thing.state.get("created") or 0), thing.key))


def _report(call: Call, workspace: Workspace, thing: Thing) -> None:
    names = [name for name, key in aliases.all_of(workspace).items() if key == thing.key]
    tags = list(thing.state.section("tag"))
    if call.json:
        record = {"id": thing.key, "kind": thing.state.kind, "tags": tags, "aliases": names}
        call.screen.document("tag", record)
        return
    what = f"{thing.state.kind} {thing.key} ({thing.state.get('name', '')})"
    render.say(f"{what}: {', '.join([*names, *tags]) or 'no tags'}")
