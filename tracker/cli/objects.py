"""`tracker get` and `tracker cat`: content out of the store, by task and name or by hash; verified first."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from objstore import files
from objstore import layout as store_layout
from objstore.errors import Ambiguous, Conflict, Corrupt, InvalidName, NotFound, StoreError
from objstore.ids import Kind, ObjectId
from tracker import aliases, layout, pages
from tracker.cli import candidates, documents, render
from tracker.cli.command import Call, Command
from tracker.cli.page import page_of, print_items, print_shown
from tracker.cli.render import Column, size
from tracker.errors import UsageError
from tracker.pages import Item
from tracker.purged import day
from tracker.reported import exhibits

if TYPE_CHECKING:
    from objstore.records import TreeEntry
    from tracker.reader import Thing
    from tracker.workspace import Workspace

_TEXT_MAX = 64 << 20  # bytes of a blob that are put into one JSON document
_TYPED = "ID|HASH[:NAME]"


@dataclass(frozen=True, slots=True)
class Found:
    """One object. file: what to call it, empty where nothing tells; held: its bytes, where only a journal has them."""

    id: str
    kind: Kind
    file: str = ""
    held: bytes | None = None

    @property
    def is_folder(self) -> bool:
        """Whether it becomes a folder."""
        return self.kind is Kind.TREE


class NameMissing(UsageError):
    """A task was named, but not which of the things that it has."""


@click.command(
    "get",
    cls=Command,
    examples=[
        ("get 3f2a91", "what this task has (and exit code 2)"),
        ("get 3f2a91:dataset -o data.npz", "an artifact by task and name"),
        ("get 3f2a91:model", "an output model, under its own file name"),
        (
            "get 3f2a91:samples/epoch@9",
            "a plot, table, image or media file by title/series, here of iteration 9",
        ),
        ("get 8c1fa2b49d77 -o best.joblib", "any object by its hash"),
        ("get 8c1fa2b49d77:sub/file.txt -o -", "a file out of a folder, to stdout"),
    ],
)
@click.argument("what", metavar=_TYPED, shell_complete=candidates.tasks)
@click.option(
    "-o",
    "--output",
    metavar="PATH",
    help="Where to: a file, or for a folder a new folder; - is stdout. Default: its own name, here.",
)
def get(call: Call, what: str, output: str | None) -> None:
    """Fetch an artifact, a model, a plot, table or sample, or any object. It appears whole and verified, or not."""
    workspace = call.open()
    try:
        found = resolve(workspace, what)
    except NameMissing:
        if output != "-":  # else it would be taken for the content
            _list(call, workspace, what)
        raise
    if output == "-":
        if found.is_folder:
            raise click.UsageError("a folder cannot go to stdout: name a new folder with -o")
        with _named(what):
            _stream(workspace, found)
        return
    target = _target(found, output)
    with _named(what), call.progress("fetching:") as progress:
        _write(workspace, found, target, progress)
    written = target.stat().st_size if not found.is_folder else _tree_size(workspace, found)
    if call.json:
        record = {
            "hash": found.id,
            "kind": found.kind.name.lower(),
            "size": written,
            "path": os.fspath(target),
        }
        call.screen.document("get", record)
    else:
        render.say(
            f"{target}{'/' if found.is_folder else ''}  {size(written)}, {found.kind.name.lower()} {found.id}"
        )


@click.command(
    "cat",
    cls=Command,
    examples=[
        ("cat 8c1fa2b49d77", "the bytes of a blob"),
        ("cat 3f2a91:config", "an artifact, by task and name"),
        ("cat 3f2a91", "the record of a task, as JSON"),
    ],
)
@click.argument("what", metavar="HASH|ID[:NAME]", shell_complete=candidates.tasks)
def cat(call: Call, what: str) -> None:
    """Print an object: a blob's bytes, a tree's entries, a commit or the record of a task or model as JSON."""
    workspace = call.open()
    if ":" not in what and not _is_held(workspace, what):
        target = aliases.target(workspace, what) if aliases.is_alias(what) else workspace.resolve(what)
        if isinstance(target, str):
            _print_record(call, target, workspace.thing(target).state.encode())
            return
    found = resolve(workspace, what)
    if found.kind is Kind.COMMIT:
        _print_record(call, found.id, workspace.store.objects.read(ObjectId.parse(found.id), Kind.COMMIT))
    elif found.kind is Kind.BLOB:
        with _named(what):
            _print_blob(call, workspace, found)
    else:
        with _named(what):
            _print_entries(call, workspace, found)


@contextmanager
def _named(what: str) -> Iterator[None]:
    """Let an error of stored bytes say what was asked for, and what can be done about it."""
    try:
        yield
    except (Corrupt, NotFound) as error:
        text = str(error).removesuffix(": run fsck").removesuffix(": run fsck --heal")
        advice = "`tracker fsck` names all that is, and `tracker fsck --heal` looks for sound copies"
        raise type(error)(f"{what} is damaged or missing here: {text}: {advice}") from error


# --- finding ---------------------------------------------------------------------------------------------------------


def resolve(workspace: Workspace, what: str) -> Found:
    """The object that `ID|HASH[:NAME]` stands for. Raises NotFound, Ambiguous, InvalidName, NameMissing."""
    prefix, _, name = what.partition(":")
    if aliases.is_alias(prefix):
        prefix = aliases.target(workspace, prefix)
    if _is_held(workspace, prefix):
        return Found(prefix, Kind.BLOB, held=workspace.find_content(prefix))
    target = workspace.resolve(prefix)
    if not isinstance(target, str):
        kind, object_id = target
        return _inside(workspace, Found(str(object_id), kind), name) if name else Found(str(object_id), kind)
    things = workspace.things()
    thing = things[target]
    if thing.state.kind == layout.MODEL:
        if name and (reported := _reported(thing, name)):
            return reported
        item = pages.weights(str(thing.state.get("name", "")), thing.key, thing.state)
        return _inside(workspace, _of_item(thing, item), name) if name else _of_item(thing, item)
    if not name:
        raise NameMissing(f"name what to get: tracker get {prefix}:NAME -o PATH")
    try:
        item, rest = _choose(thing, things, name)
    except NotFound:
        if reported := _reported(thing, name):
            return reported
        raise
    owner = things.get(item.id, thing)
    found = _of_item(owner, item)
    return _inside(workspace, found, rest) if rest else found


def _is_held(workspace: Workspace, text: str) -> bool:
    """Whether `text` is the full hash of something that no pack, only the journal of a run, has."""
    if not store_layout.is_hex_id(text) or workspace.store.objects.has(ObjectId.parse(text)):
        return False
    return workspace.find_content(text) is not None


def _choose(thing: Thing, things: dict[str, Thing], name: str) -> tuple[Item, str]:
    """The artifact or output model of a name, and what is left of the name when that is a path into a folder."""
    page = page_of(thing, things)
    items = [*page.artifacts, *page.outputs]
    names = [*(item.name for item in items), *dict.fromkeys(each.newest.name for each in page.shown)]
    hits = [item for item in items if item.name == name] or [
        item for item in page.outputs if item.id in things and things[item.id].state.get("name") == name
    ]
    if len({item.hash or item.url for item in hits}) > 1:
        raise Ambiguous(name, [item.hash or item.url for item in hits])
    if hits:
        return hits[0], ""
    for item in sorted(items, key=lambda each: -len(each.name)):
        if item.kind == "tree" and name.startswith(f"{item.name}/"):
            return item, name[len(item.name) + 1 :]
    has = f"it has {', '.join(names)}" if names else "it has none at all"
    raise NotFound(f"task {thing.key} has no artifact or output model named {name!r}: {has}")


def _reported(thing: Thing, name: str) -> Found | None:
    """The newest plot, table or sample of "title/series", or with "@N" behind it that of iteration N; None without one.

    Raises NotFound where only a URL was registered.
    """
    found = [each for each in exhibits(thing.state) if name in (each.name, f"{each.name}@{each.iteration}")]
    if not found:
        return None
    each = pages.newest_of(found)
    if each.ref is None:
        raise NotFound(f"{name!r} is only registered, at {each.url}: fetch it from there")
    return Found(each.ref.id, Kind.BLOB, each.own_name, thing.content.get(each.ref.id))


def _of_item(thing: Thing, item: Item) -> Found:
    if item.purged:
        raise NotFound(f"{item.name!r} was purged on {day(item.purged)}: its content is gone for good")
    if not item.hash:
        where = f"only registered, at {item.url}: fetch it from there" if item.url else "not in this store"
        raise NotFound(f"{item.name!r} is {where}")
    kind = Kind.TREE if item.kind == "tree" else Kind.BLOB
    return Found(item.hash, kind, item.own_name, thing.content.get(item.hash))


def _inside(workspace: Workspace, found: Found, path: str) -> Found:
    """What a path names in a folder. Raises NotFound."""
    from objstore.files import list_tree

    for part in path.strip("/").split("/"):
        if not found.is_folder:
            raise NotFound(f"{found.id} is a {found.kind.name.lower()}, no folder with {part!r} in it")
        entries = {
            entry.name: entry for entry in list_tree(workspace.store.objects, ObjectId.parse(found.id))
        }
        if part not in entries:
            near = ", ".join(sorted(entries)[:8]) or "nothing"
            raise NotFound(
                f"folder {found.id} has no {part!r}: it has {near}{', …' if len(entries) > 8 else ''}"
            )
        found = Found(str(entries[part].id), entries[part].mode.kind, part)
    return found


def _list(call: Call, workspace: Workspace, what: str) -> None:
    """What a task has that could be fetched."""
    things = workspace.things()
    key = workspace.resolve(what.partition(":")[0])
    page = page_of(things[str(key)], things)
    if call.json:
        models = {"output": list(map(documents.of_model, page.outputs))}
        artifacts = list(map(documents.of_artifact, page.artifacts))
        reports = list(map(documents.of_shown, page.shown))
        found = {"task": key, "artifacts": artifacts, "models": models, "reports": reports}
        call.screen.document("get", found)
        return
    print_items(call.screen, "Artifacts", page.artifacts)
    print_items(call.screen, "Output models", page.outputs)
    print_shown(call.screen, page.shown)
    if not page.artifacts and not page.outputs and not page.shown:
        render.say(f"task {key} has no artifact and no output model")


# --- writing ---------------------------------------------------------------------------------------------------------


def _target(found: Found, output: str | None) -> Path:
    """Where to write. Raises Conflict rather than replace something that was not named, or a folder."""
    from tracker.codecs.protocol import file_name

    own = file_name(Path(found.file).name) if found.file else ""
    if output is None:
        if not own:
            raise click.UsageError("an object has no name of its own: say where to with -o PATH")
        target = Path(own)
        if os.path.lexists(target):
            raise Conflict(f"{target} is there already: name a place with -o PATH")
        return target
    target = Path(output)
    if target.is_dir():
        target /= own or found.id
    if found.is_folder and os.path.lexists(target):
        raise Conflict(f"{target} is there already: name a new folder with -o PATH")
    if target.is_dir():
        raise Conflict(f"{target} is a folder: name a file with -o PATH")
    if not target.parent.is_dir():
        raise NotFound(f"{target.parent} is not there: make it first")
    files.check_target(target)
    return target


def _write(workspace: Workspace, found: Found, target: Path, progress: render.Progress) -> None:
    if found.kind not in (Kind.BLOB, Kind.TREE):
        raise click.UsageError(f"{found.id} is a {found.kind.name.lower()}: `tracker cat` prints it")
    if found.held is not None:
        part = target.with_name(f".{secrets.token_hex(8)}.part")
        try:
            part.write_bytes(found.held)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        return
    try:
        workspace.store.get(ObjectId.parse(found.id), target, progress)
    except InvalidName as error:  # of a name inside the folder, not of what was typed
        raise StoreError(f"folder {found.id} cannot be written here: {error}") from error


def _stream(workspace: Workspace, found: Found) -> None:
    """A blob's bytes to stdout, none before all are known to be right."""
    out = sys.stdout.buffer
    if found.kind is not Kind.BLOB:
        raise click.UsageError(f"{found.id} is a {found.kind.name.lower()}: `tracker cat` prints it")
    if found.held is not None:
        out.write(found.held)
    else:
        objects, object_id = workspace.store.objects, ObjectId.parse(found.id)
        if objects.is_list(object_id):
            for _ in objects.stream(object_id):
                pass  # a large file is only known to be whole at its end: read it once to check, once to give
        for piece in objects.stream(object_id):
            out.write(piece)
    out.flush()


def _tree_size(workspace: Workspace, found: Found) -> int:
    return sum(entry.size for entry in _entries(workspace, found))


def _entries(workspace: Workspace, found: Found) -> list[TreeEntry]:
    from objstore.files import list_tree

    return list_tree(workspace.store.objects, ObjectId.parse(found.id))


# --- printing --------------------------------------------------------------------------------------------------------


def _print_record(call: Call, name: str, data: bytes) -> None:
    import orjson

    record = orjson.loads(data)
    if call.json:
        call.screen.document("cat", {"id": name, "record": record})
    else:
        call.screen.line(render.json_text(record, indent=True, sort=True))


def _print_blob(call: Call, workspace: Workspace, found: Found) -> None:
    if call.json:
        call.screen.document("cat", _blob_record(workspace, found))
        return
    if sys.stdout.isatty() and not _is_shown_safely(workspace, found):
        raise StoreError(
            f"{found.id} has bytes that a terminal would obey: tracker get {found.id[:12]} -o FILE, or pipe it"
        )
    _stream(workspace, found)


def _blob_record(workspace: Workspace, found: Found) -> dict[str, Any]:
    data = _content(workspace, found)
    record: dict[str, Any] = {"id": found.id, "kind": "blob", "size": len(data)}
    try:
        return {**record, "text": data.decode()}
    except UnicodeDecodeError:
        from base64 import b64encode

        return {**record, "base64": b64encode(data).decode()}


def _content(workspace: Workspace, found: Found) -> bytes:
    if found.held is not None:
        return found.held
    object_id = ObjectId.parse(found.id)
    if workspace.store.objects.size(object_id) > _TEXT_MAX:
        raise StoreError(f"{found.id} is too large for a JSON document: tracker get {found.id[:12]} -o FILE")
    return workspace.store.objects.read(object_id)


def _is_shown_safely(workspace: Workspace, found: Found) -> bool:
    pieces = (
        [found.held] if found.held is not None else workspace.store.objects.stream(ObjectId.parse(found.id))
    )
    from codecs import getincrementaldecoder

    decoder = getincrementaldecoder("utf-8")()
    try:
        return (
            all(render.is_harmless(decoder.decode(piece)) for piece in pieces)
            and decoder.decode(b"", True) == ""
        )
    except UnicodeDecodeError:
        return False


def _print_entries(call: Call, workspace: Workspace, found: Found) -> None:
    """The entries of a tree, or the chunks of a page of a large file's list."""
    if found.kind is Kind.CHUNKS:
        from objstore.records import ChunkList

        chunks = ChunkList.decode(workspace.store.objects.read(ObjectId.parse(found.id), Kind.CHUNKS))
        rows = [["chunk", str(object_id), str(count), ""] for object_id, count in chunks.items]
    else:
        rows = [[e.mode.value, str(e.id), str(e.size), e.name] for e in _entries(workspace, found)]
    if call.json:
        entries = [{"mode": mode, "hash": i, "size": int(n), "name": name} for mode, i, n, name in rows]
        call.screen.document("cat", {"id": found.id, "kind": found.kind.name.lower(), "entries": entries})
    elif rows:
        columns = [
            Column("mode"),
            Column("hash", style="dim"),
            Column("size", right=True),
            Column("name", least=12),
        ]
        call.screen.table(columns, [list(row) for row in rows])
