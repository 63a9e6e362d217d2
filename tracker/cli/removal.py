"""`tracker rm` and `tracker restore`: tasks deleted, and brought back."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from objstore.errors import Ambiguous, InvalidName, NotFound
from tracker import layout
from tracker.cli import candidates, render
from tracker.cli.command import Call, Command, find_task
from tracker.cli.render import escape, joined, plural, size

if TYPE_CHECKING:
    from objstore.remotes import Source
    from tracker.reader import Thing
    from tracker.removal import Removal
    from tracker.workspace import Workspace


def ask(question: str, *, yes: bool) -> bool:
    """Whether to go on. Raises UsageError where nobody can be asked."""
    if yes:
        return True
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} Nobody can be asked here: say --yes")
    return click.confirm(escape(question), err=True)


@click.command(
    "rm",
    cls=Command,
    examples=[
        ("rm 3f2a91", "say what would go, and ask"),
        ("rm 3f2a91 7c00de --yes", "two tasks, without asking"),
    ],
)
@click.argument("ids", metavar="ID...", nargs=-1, required=True, shell_complete=candidates.tasks)
@click.option("--yes", is_flag=True, help="Do not ask.")
def rm(call: Call, ids: tuple[str, ...], yes: bool) -> int:
    """Delete tasks with their output models. Hidden at once; `tracker gc` frees their room; until then `restore` helps.

    A model that another task has as input stays, until that task is deleted, too. The id of a model deletes it, if its
    task is deleted and no other has it as input. What was deleted elsewhere is deleted here, too, so that its room is
    freed.
    """
    from tracker import removal

    workspace = call.open()
    with call.progress("looking for what goes along"):
        found = removal.foresee(workspace, [_to_delete(workspace, prefix) for prefix in ids])
    if not ask(f"Delete {_what(found)}, and free {size(found.size)}?", yes=yes):
        return 1
    with call.progress("deleting"):
        removal.delete(workspace, found.things)
    if call.json:
        record = {
            "deleted": [thing.key for thing in found.things],
            "kept": [thing.key for thing in found.kept],
            "bytes": found.size,
        }
        call.screen.document("rm", record)
        return 0
    render.say(
        f"deleted {_what(found)}: `tracker gc` frees {size(found.size)} in time, and `tracker gc --grace 0s` "
        "at once, when run twice"
    )
    for thing in found.kept:
        render.say(f"model {thing.key} stays: another task has it as input")
    return 0


@click.command(
    "restore",
    cls=Command,
    examples=[
        ("restore 3f2a91", "as it was when it was deleted"),
        ("restore 3f2a91 52e75d81", "as it was at one of its commits, see `tracker log`"),
        ("restore 3f2a91 --from backup", "its content is gone here: fetch it from a remote"),
    ],
)
@click.argument("task", metavar="TASK", shell_complete=candidates.tasks)
@click.argument("commit", metavar="[COMMIT]", required=False)
@click.option(
    "--from",
    "origins",
    multiple=True,
    metavar="REMOTE|FOLDER|BUNDLE",
    help="Where to fetch what is no longer in the store or its trash. May be given again.",
)
def restore(call: Call, task: str, commit: str | None, origins: tuple[str, ...]) -> None:
    """Bring back a deleted task with its models, out of the store, its trash, or what --from names.

    With COMMIT: make a task what it was then, be it deleted or not. What it is now stays in its history.

    What --from names only has to have the content: whether the task is deleted there, too, does not matter.
    """
    from tracker import removal

    workspace = call.open()
    key = _deleted(workspace, task)
    sources = [_source(workspace, name) for name in origins]
    deleted = bool(workspace.thing(key).state.get("deleted"))
    with call.progress("restoring"):
        back = (
            [key] if commit is not None and not deleted else removal.restore(workspace, key, sources, commit)
        )
    if commit is not None:
        commit = removal.revert(workspace, key, commit)
    things = workspace.things()
    if call.json:
        call.screen.document("restore", {"restored": back, **({"commit": commit} if commit else {})})
    elif commit is not None:
        render.say(f"restored {_name(things[key])} as it was at {commit[:12]}")
    else:
        render.say(f"restored {_count([things[each] for each in back])}: {_name(things[key])}")


def _source(workspace: Workspace, name: str) -> Source:
    from tracker import remotes
    from tracker.cli.fsck import origin

    found = origin(workspace.root, name, remotes.configured(workspace.root))
    if isinstance(found, Path):
        raise NotFound(f"{name} is no store and no bundle: a task cannot be restored from it")
    return found


def _to_delete(workspace: Workspace, prefix: str) -> str:
    """The task, or else the model, that a prefix stands for, be it one that was deleted elsewhere."""
    from tracker import removal

    try:
        return find_task(workspace, prefix)
    except NotFound:
        hidden = removal.unconfirmed(workspace)
        shown = [thing for thing in workspace.things().values() if not thing.state.get("deleted")]
        keys = {
            thing.key
            for thing in (*hidden, *shown)
            if thing.key.startswith(prefix) and thing.state.kind in (layout.TASK, layout.MODEL)
        }
        if len(keys) > 1:
            raise Ambiguous(prefix, sorted(keys)) from None
        if not keys:
            raise
        return keys.pop()


def _deleted(workspace: Workspace, prefix: str) -> str:
    """The deleted task that a prefix stands for; one that is not deleted, where there is no other."""
    if not layout.TASK or len(prefix) < 6 or not set(prefix) <= set("0123456789abcdef"):
        raise InvalidName(f"{prefix!r} is no task id: give 6 to 32 of the digits 0-9 and a-f")
    things = [thing for key, thing in workspace.things().items() if key.startswith(prefix)]
    gone = [thing.key for thing in things if thing.state.get("deleted")]
    if len(gone) > 1:
        raise Ambiguous(prefix, gone)
    return gone[0] if gone else find_task(workspace, prefix)


def _what(found: Removal) -> str:
    tasks = [thing for thing in found.things if thing.state.kind == layout.TASK]
    names = _name(tasks[0]) if len(tasks) == 1 else ""
    return f"{_count(found.things)}{f' ({names})' if names else ''}"


def _count(things: tuple[Thing, ...] | list[Thing]) -> str:
    counts = {kind: sum(thing.state.kind == kind for thing in things) for kind in layout.KINDS}
    return joined([plural(count, kind) for kind, count in counts.items() if count])


def _name(thing: Thing) -> str:
    return f"{thing.state.get('project', '')} / {thing.state.get('name', '')}"
