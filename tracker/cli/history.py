"""`tracker log`: the history of a task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from objstore.errors import NotFound, StoreError
from objstore.ids import Kind, ObjectId
from objstore.records import Commit
from tracker import history, reader
from tracker.cli import candidates, documents, render
from tracker.cli.command import Call, Command, find_task, warn_damaged
from tracker.cli.render import Cell, Column, plural
from tracker.errors import CorruptRecord
from tracker.history import Step
from tracker.records import State
from tracker.state import merge

if TYPE_CHECKING:
    from tracker.reader import Thing
    from tracker.workspace import Workspace

_HASH_SHORT = 12
_NAMED_MOST = 4  # keys of one step that are named, not counted
_SORTS = {  # how a key begins -> what one of them is called; all others are fields
    "param/": "parameter",
    "artifact/": "artifact",
    "model/output/": "output model",
    "model/input/": "input model",
    "single/": "single value",
    "tag/": "tag",
    "purged/": "purge",
}


@click.command(
    "log",
    cls=Command,
    examples=[
        ("log 3f2a91", "the commits of a task, newest first"),
        ("log 3f2a91 --json", "with the keys that each of them changed"),
    ],
)
@click.argument("id_", metavar="ID", shell_complete=candidates.tasks)
def log(call: Call, id_: str) -> None:
    """Show the history of a task: its commits, newest first, and what each changed. `tracker cat COMMIT` shows one."""
    workspace = call.open()
    key = find_task(workspace, id_)
    damaged: dict[str, str] = {}
    found = steps(workspace, workspace.things()[key], damaged)
    if call.json:
        call.screen.document("log", {"id": key, "commits": [documents.of_step(step) for step in found]})
    else:
        columns = [
            Column("commit", style="dim"),
            Column("when"),
            Column("writers", right=True),
            Column("status"),
            Column("what changed", least=20, wrap=True),
        ]
        length = _HASH_SHORT if call.screen.people else 64
        call.screen.table(columns, [_cells(step, length) for step in found])
        if any(step.absent for step in found):
            render.say("what came before is not in this store")
    warn_damaged(workspace, damaged)


def steps(workspace: Workspace, thing: Thing, damaged: dict[str, str]) -> list[Step]:
    """A task's history; first what is not sealed yet, if anything. What is wrong with a commit goes to `damaged`."""
    store = workspace.store

    def read_commit(commit_id: ObjectId) -> Commit | None:
        try:
            return Commit.decode(store.objects.read(commit_id, Kind.COMMIT))
        except NotFound:
            return None
        except StoreError as error:
            damaged[f"commit {commit_id}"] = str(error)
            return None

    def read_state(commit: Commit) -> State:
        try:
            return reader.read_state(store, commit)
        except StoreError as error:
            raise CorruptRecord(str(error)) from error

    found = history.history([(head.id, head.commit) for head in thing.heads], read_commit, read_state)
    sealed = [read_state(head.commit) for head in thing.heads]
    waiting = history.unsealed(merge(sealed) if sealed else State(thing.state.kind), thing.state)
    return [waiting, *found] if waiting else found


def _cells(step: Step, length: int) -> list[Cell]:
    return [
        step.commit[:length] or "(not sealed)",
        render.when(step.time),
        str(step.writers) if step.commit else "-",
        (step.status, render.STATUS_STYLES.get(step.status, "")),
        f"cannot be read: {step.error}" if step.error else _summary(step),
    ]


def _summary(step: Step) -> str:
    """What a step changed, in words."""
    groups = [("+", step.added), ("~", step.changed), ("-", step.removed)]
    few = sum(len(keys) for _, keys in groups) <= _NAMED_MOST
    parts = [f"{mark} {', '.join(_named(keys) if few else _counted(keys))}" for mark, keys in groups if keys]
    counts = ((step.points, "point"), (step.lines, "console line"), (step.plots, "plot"))
    parts += [plural(count, noun) for count, noun in counts if count > 0]
    return "; ".join(parts) or "nothing: histories were joined"


def _named(keys: Iterable[str]) -> list[str]:
    return [f"{noun} {rest}" if noun else rest for noun, rest in map(_sort, keys)]


def _counted(keys: Iterable[str]) -> list[str]:
    counts = Counter(_sort(key)[0] for key in keys)
    return [plural(counts[noun], noun or "field") for noun in (*_SORTS.values(), "") if counts[noun]]


def _sort(key: str) -> tuple[str, str]:
    """(what such a key is called, the rest of it)."""
    for start, noun in _SORTS.items():
        if key.startswith(start):
            return noun, key[len(start) :]
    return "", key
