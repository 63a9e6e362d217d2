"""`tracker which`: what in the store has a file's content, by its hash, whatever it is called there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from objstore.errors import NotFound, StoreError
from objstore.ids import ObjectId
from tracker import layout
from tracker.cli import render
from tracker.cli.command import Call, Command
from tracker.cli.render import Column
from tracker.records import Ref

if TYPE_CHECKING:
    from tracker.reader import Thing
    from tracker.workspace import Workspace

_HASH_SHORT = 12
_NOTHING = 3  # exit code: there is none


@click.command(
    "which",
    cls=Command,
    examples=[
        ("which model.pt", "the runs that made or used this very file"),
        ("which data/ --json", "a folder, for a program"),
    ],
)
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
def which(call: Call, file: Path) -> int:
    """Find the tasks, artifacts and models that hold a file's content, or a folder's; names and times do not matter.

    Exit code 3 when none does.
    """
    from tracker.sdk.identify import content_id

    if not file.exists():
        raise NotFound(f"{file} is not there")
    workspace = call.open()
    digest = content_id(file)
    found = sorted(_holders(workspace, digest), key=lambda each: (each["kind"], each["task"], each["name"]))
    if call.json:
        call.screen.document("which", {"file": str(file), "hash": digest, "found": found})
    elif found:
        columns = [
            Column("what"),
            Column("name", least=12),
            Column("task", style="dim"),
            Column("of", least=12),
            Column("in it", least=8, drop=1),
        ]
        short = _HASH_SHORT if call.screen.people else 64
        rows = [[e["kind"], e["name"], (e["task"] or "-")[:short], e["task_name"], e["path"]] for e in found]
        call.screen.table(columns, rows)
    if not found:
        is_there = workspace.store.objects.has(ObjectId.parse(digest))
        known = "in the store, but nothing that is current names it" if is_there else "not in this store"
        render.say(f"{file} ({digest}) is {known}")
    return 0 if found else _NOTHING


def _holders(workspace: Workspace, digest: str) -> Iterator[dict[str, Any]]:
    """What names the content: an artifact, a model's weights, or a folder of either, with the path in it."""
    things = workspace.things()
    inside = _Inside(workspace, digest)
    for thing in things.values():
        if thing.state.get("deleted"):
            continue
        for kind, name, record in _contents(thing):
            ref = Ref.parse(record["$ref"]) if "$ref" in record else None
            paths = [""] if digest == (ref.id if ref else record.get("hash")) else []
            if ref is not None and ref.kind == "tree" and not paths:
                paths = inside.paths(ObjectId.parse(ref.id))
            for path in paths:
                maker = thing.key if thing.state.kind == layout.TASK else str(thing.state.get("task", ""))
                task = things.get(maker)
                yield {
                    "kind": kind,
                    "name": name,
                    "id": thing.key,
                    "task": maker,
                    "task_name": str(task.state.get("name", "")) if task else "",
                    "path": path,
                }


def _contents(thing: Thing) -> Iterator[tuple[str, str, dict[str, Any]]]:
    if thing.state.kind == layout.TASK:
        for name, record in thing.state.section("artifact").items():
            yield "artifact", name, record
    elif thing.state.kind == layout.MODEL and thing.state.get("weights"):
        yield "model", str(thing.state.get("name", "")), thing.state.get("weights")


class _Inside:
    """Where content is in folders; a folder that many artifacts share is looked into once."""

    def __init__(self, workspace: Workspace, digest: str) -> None:
        self._objects = workspace.store.objects
        self._digest = ObjectId.parse(digest)
        self._known: dict[ObjectId, list[str]] = {}
        self._there = self._objects.has(self._digest)  # what no pack has is in no folder

    def paths(self, tree: ObjectId) -> list[str]:
        """The paths in a folder that have the content; of a damaged one none."""
        if not self._there:
            return []
        if tree not in self._known:
            try:
                self._known[tree] = list(self._look(tree))
            except StoreError:
                self._known[tree] = []
        return self._known[tree]

    def _look(self, tree: ObjectId) -> Iterator[str]:
        from objstore.files import list_tree
        from objstore.records import Mode

        for entry in list_tree(self._objects, tree):
            if entry.id == self._digest and entry.mode is not Mode.LINK:
                yield entry.name
            elif entry.mode is Mode.TREE:
                yield from (f"{entry.name}/{path}" for path in self.paths(entry.id))
