"""Removes an object for good that should never have been recorded: from the history of all that refers to it, then
from the packs, the trash, the journals and the caches of a store.

Refuses what is running, and what is no content of its own: commits, states, pieces of large files. A purge that was
interrupted is finished by the next one. It leaves a note of hash and time, which travels with every push and pull.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from objstore import files, journal, trash
from objstore import layout as store_layout
from objstore.errors import Ambiguous, Conflict, InvalidName, NotFound, ReadOnly, StoreError
from objstore.heads import Head
from objstore.ids import Kind, ObjectId
from objstore.records import Commit, Mode, TreeEntry
from tracker import layout, roots, seal
from tracker.deltas import Journal, fold, journals
from tracker.errors import CorruptRecord, TaskNotFound, UsageError
from tracker.projection import places
from tracker.purged import Note, key_of, mark_of
from tracker.reader import read_state, united_covers
from tracker.records import Entry, Ref, Segment, State, references
from tracker.state import merge

if TYPE_CHECKING:
    from objstore.gc import Erased, Relations
    from tracker.workspace import Workspace

_PREFIX_MIN: Final = 6
_STATE_ENTRIES: Final = 2  # of a state's tree: its record, and the objects that it refers to


@dataclass(frozen=True, slots=True)
class User:
    """A task or model whose history refers to the object, and where: keys of its state, plots, the console."""

    key: str
    kind: str
    name: str
    places: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a purge would do. note: of an earlier one; held: whether any of its bytes are still in the store.

    above: folders that lead to it; gone: its id and those of what tells of its content; below: those of its parts,
    which go where nothing else has them; urls: copies elsewhere, which stay.
    """

    id: str
    kind: Kind
    size: int
    users: tuple[User, ...]
    above: frozenset[str]
    gone: frozenset[str]
    below: frozenset[ObjectId]
    urls: tuple[str, ...]
    held: bool
    note: Note | None


# --- what it would do ------------------------------------------------------------------------------------------------


def resolve(workspace: Workspace, relations: Relations, text: str) -> str:
    """The hash that a text begins. Raises NotFound, Ambiguous, InvalidName, UsageError for the id of a task."""
    if not (_PREFIX_MIN <= len(text) <= 64 and set(text) <= set("0123456789abcdef")):
        raise InvalidName(f"{text!r} is no hash: give 6 to 64 of the digits 0-9 and a-f")
    things = workspace.things()
    found = {str(each) for each in relations.resolve(text)}
    found |= {each for each in workspace.purges() if each.startswith(text)}
    found |= {each for thing in things.values() for each in thing.content if each.startswith(text)}
    if len(found) > 1:
        raise Ambiguous(text, sorted(found))
    named = [thing for key, thing in things.items() if key.startswith(text)]
    if not found and named:
        kind = named[0].state.kind
        raise UsageError(
            f"{named[0].key} is a {kind}, not content: `tracker rm` deletes it, and `tracker show` has the hashes of "
            "what it refers to"
        )
    if not found:
        raise NotFound(f"nothing in this store has a hash that begins with {text}")
    return found.pop()


def foresee(workspace: Workspace, text: str) -> Plan:
    """What purging an object would take.

    Raises Conflict where what is running has it, UsageError for what is no content of its own; as `resolve`; Corrupt
    where packs are damaged.
    """
    from objstore.gc import Relations

    relations = Relations(workspace.root)
    object_id = resolve(workspace, relations, text)
    known = workspace.purged(object_id)
    survey = _Survey(workspace, relations, ObjectId.parse(object_id), known)
    return survey.plan()


class _Survey:
    """Everything that leads to one object."""

    def __init__(
        self, workspace: Workspace, relations: Relations, object_id: ObjectId, note: Note | None
    ) -> None:
        self._workspace = workspace
        self._objects = workspace.store.objects
        self._relations = relations
        self._id = object_id
        self._note = note

    def plan(self) -> Plan:
        held = self._relations.has(self._id)
        kind = self._objects.kind(self._id) if held else Kind.BLOB
        above, commits, lists = self._climb() if held else (set(), [], [])
        self._refuse_parts(kind, above, commits, lists)
        cleaner = Cleaner(
            frozenset(map(str, (self._id, *above))), str(self._id), 0, _nothing, lambda ref: str(ref)
        )
        users: dict[str, set[str]] = {}
        records: set[str] = set()
        for tree in above:
            for record, state in self._states(tree):
                cleaner.places.clear()
                cleaner.state(state)
                records.add(record)
                for key in {commit.key for commit in commits if commit.state == tree}:
                    users.setdefault(key, set()).update(cleaner.places)
        found = [self._user(key, places) for key, places in sorted(users.items())]
        self._refuse_running(users.keys(), cleaner.hit)
        gone = {str(self._id), *records, *cleaner.siblings, *(self._note.gone if self._note else ())}
        left = any(self._relations.has(ObjectId.parse(each)) for each in gone)
        size = self._objects.size(self._id) if held and kind is Kind.BLOB else 0
        return Plan(
            str(self._id),
            kind,
            size,
            tuple(found),
            frozenset(map(str, above)),
            frozenset(gone),
            frozenset(self._relations.below([self._id])),
            tuple(sorted(cleaner.urls)),
            left,
            self._note,
        )

    def _climb(self) -> tuple[set[ObjectId], list[Commit], list[ObjectId]]:
        """The folders that lead to the object, the commits whose states do, and large files that it is a piece of."""
        above, lists = set[ObjectId](), list[ObjectId]()
        named: dict[ObjectId, Commit] = {}
        front = [self._id]
        while front:
            namers, front = self._relations.namers(front), []
            for each in namers:
                kind = self._objects.kind(each)
                if kind is Kind.COMMIT:
                    named[each] = Commit.decode(self._objects.read(each, Kind.COMMIT))
                elif kind is not Kind.TREE:
                    lists.append(each)
                elif each not in above:
                    above.add(each)
                    front.append(each)
        states = {*above, self._id}
        # Of what was deleted the state is no edge, but its record tells as much as any.
        heads = (head for several in self._workspace.store.heads.live().values() for head in several)
        deleted = [head.commit for head in heads if head.commit.deleted]
        return above, [commit for commit in (*named.values(), *deleted) if commit.state in states], lists

    def _refuse_parts(
        self, kind: Kind, above: Collection[ObjectId], commits: list[Commit], lists: list[ObjectId]
    ) -> None:
        """Raise UsageError for what is no content that somebody recorded."""
        if kind is Kind.COMMIT:
            raise UsageError(
                f"{self._id} is a commit, a state in a history: `tracker log` tells what it changed"
            )
        if any(commit.state == self._id for commit in commits):
            raise UsageError(
                f"{self._id} is the state of a task or model, not content: purge what it refers to"
            )
        if lists or kind is Kind.CHUNKS:
            of = f" of {lists[0]}" if lists else ""
            raise UsageError(f"{self._id} is a piece{of}, a larger file: purge that")
        for commit in commits:
            for entry in files.list_tree(self._objects, commit.state):
                if entry.id == self._id and entry.name in ("record", "objects"):
                    raise UsageError(
                        f"{self._id} is the record of a state of {commit.key}, not content: purge what it refers to"
                    )

    def _states(self, tree: ObjectId) -> Iterator[tuple[str, State]]:
        """The id of the record in a tree, and the state, where it is that of a state, and still there.

        Not those of commits only: of what deletes, and is no head any more, nothing but the commit itself is reached.
        """
        entries = files.list_tree(self._objects, tree)
        for entry in entries:
            if entry.name == "record" and len(entries) <= _STATE_ENTRIES and self._relations.has(entry.id):
                with suppress(CorruptRecord):  # a user's own file of that name
                    yield str(entry.id), State.decode(self._objects.read(entry.id, limit=layout.STATE_MAX))

    def _user(self, key: str, places: Iterable[str]) -> User:
        with suppress(TaskNotFound, StoreError, CorruptRecord):
            state = self._workspace.thing(key).state
            name = f"{state.get('project', '')} / {state.get('name', '')}"
            return User(key, state.kind, name, tuple(sorted(places)))
        return User(key, layout.TASK, "", tuple(sorted(places)))

    def _refuse_running(self, keys: Collection[str], hit: frozenset[str]) -> None:
        """Raise Conflict where a process is recording that has the object, or could bring it back."""
        for thing in self._workspace.things().values():
            if thing.alive and (
                thing.key in keys
                or str(self._id) in thing.content
                or any(Ref.parse(text).id in hit for text in thing.state.references())
            ):
                raise Conflict(f"task {thing.key} is running and has it: end it first")


def _nothing(_: bytes) -> str:
    return str(Ref("blob", "0" * 64, 0))


# --- states without it -----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Cleaner:
    """Takes references to an object out of states, and what tells of its content: previews, tables beside figures.

    hit: ids of the object and of what leads to it; put: stores what stands in its place; folder: the "$ref" of a folder
    without it. places, siblings, urls: what was met on the way.
    """

    hit: frozenset[str]
    target: str
    time: int
    put: Callable[[bytes], str]
    folder: Callable[[Ref], str]
    places: set[str] = field(default_factory=set)
    siblings: set[str] = field(default_factory=set)
    urls: set[str] = field(default_factory=set)

    def state(self, state: State) -> State:
        """The same state without the object; the very same where nothing refers to it."""
        keys = {name: self._entry(name, entry) for name, entry in state.keys.items()}
        segments = tuple(map(self._segment, state.segments))
        changed = any(keys[name] is not entry for name, entry in state.keys.items())
        if not changed and all(new is old for new, old in zip(segments, state.segments, strict=True)):
            return state
        return replace(state, keys=keys, segments=segments)

    @property
    def mark(self) -> str:
        """What stands in its place."""
        return mark_of(self.target, self.time)

    def _hits(self, value: object) -> bool:
        return any(Ref.parse(text).id in self.hit for text in references(value))

    def _entry(self, name: str, entry: Entry) -> Entry:
        if not self._hits(entry.value):
            return entry
        self.places.add(name)
        return replace(entry, value=self._value(entry.value))

    def _value(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            if isinstance(value.get("$ref"), str):
                return self._object(value)
            return {key: self._value(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._value(item) for item in value]
        return value

    def _object(self, value: Mapping[str, Any]) -> Any:
        """What refers to an object: an artifact, weights, a text, a folder."""
        ref = Ref.parse(value["$ref"])
        rest = {key: item for key, item in value.items() if key != "$ref"}
        if ref.id == self.target:
            if not rest:
                return self.mark
            self._note_siblings(rest)
            kept = {key: item for key, item in rest.items() if key not in ("preview", "mac", "url", "hash")}
            return {**kept, "purged": self.time, "hash": self.target, "size": ref.size}
        if ref.id in self.hit:  # a folder that it lies in
            if rest.get("url"):
                self.urls.add(str(rest["url"]))
            return {**value, "$ref": self.folder(ref)}
        if self._hits(rest):  # a preview of something else is the object itself
            return {**value, **{key: self._value(item) for key, item in rest.items()}}
        return value

    def _note_siblings(self, rest: Mapping[str, Any]) -> None:
        self.siblings.update(Ref.parse(text).id for text in references(rest))
        if rest.get("url"):
            self.urls.add(str(rest["url"]))

    def _segment(self, segment: Segment) -> Segment:
        if not self._hits(segment.record()):
            return segment
        scalars = tuple(chunk for chunk in segment.scalars if not self._hits(chunk))
        if len(scalars) < len(segment.scalars):
            self.places.add("scalars")
        return replace(
            segment,
            scalars=scalars,
            console=tuple(map(self._console, segment.console)),
            plots=tuple(map(self._plot, segment.plots)),
            samples=tuple(map(self._sample, segment.samples)),
        )

    def _console(self, chunk: Mapping[str, Any]) -> Mapping[str, Any]:
        if not self._hits(chunk):
            return chunk
        self.places.add("console")
        line = orjson.dumps([self.time, "stdout", self.mark])
        return {**chunk, "$ref": self.put(line + b"\n"), "lines": 1}

    def _plot(self, plot: Mapping[str, Any]) -> Mapping[str, Any]:
        """A figure, and a table or picture beside it, show the same: both go."""
        if not self._hits(plot):
            return plot
        self.places.add(f"plot {plot['title']}/{plot['series']}")
        self.siblings.update(Ref.parse(text).id for text in references(plot))
        figure = {"data": [], "layout": {"title": {"text": self.mark}}}
        kept = {key: item for key, item in plot.items() if key not in ("kind", "content")}
        return {**kept, "$ref": self.put(orjson.dumps(figure, option=orjson.OPT_SORT_KEYS))}

    def _sample(self, sample: Mapping[str, Any]) -> Mapping[str, Any]:
        if not self._hits(sample):
            return sample
        self.places.add(f"sample {sample['title']}/{sample['series']}")
        text = {
            "$ref": self.put(f"{self.mark}\n".encode()),
            "file": "purged.txt",
            "content_type": "text/plain",
        }
        return {**sample, "content": text, "kind": "media"}


# --- doing it --------------------------------------------------------------------------------------------------------


def purge(workspace: Workspace, plan: Plan) -> Erased:
    """Remove what was foreseen, for good. Raises ReadOnly; Conflict where it came to be referred to again meanwhile;
    StoreError, OSError: then to run it again goes on where it was.
    """
    if not workspace.store.may_delete:
        raise ReadOnly(f"{workspace.root} cannot be written by this user or this version: nothing was purged")
    from objstore.gc import erase

    note = _put_note(workspace, plan)  # first: it says what is to go, should this be interrupted
    for key in _keys_of(workspace, plan):
        _rewrite(workspace, key, plan, note.time)
    _remove_journals(workspace, plan)
    _remove_copies(workspace, plan)
    ids = [*plan.below, *map(ObjectId.parse, sorted(note.gone))]
    done = erase(workspace.root, ids, roots=lambda: roots.of_journals(workspace.store))
    workspace.store.objects.refresh()
    if ObjectId.parse(plan.id) in done.needed:
        raise Conflict(f"{plan.id} came to be referred to again meanwhile: purge it again")
    _remove_copies(workspace, plan)  # what a reader made meanwhile
    return done


def _put_note(workspace: Workspace, plan: Plan) -> Note:
    known = plan.note
    stamp = known.time if known else time.time_ns() // 1000
    lacking = plan.gone - (known.gone if known else frozenset())
    if known is None or lacking:
        changes = {
            "object": plan.id,
            "time": stamp,
            "name": plan.id,
            **{f"gone/{each}": True for each in lacking},
        }
        workspace.edit(key_of(plan.id), changes, kind=layout.PURGE, new=known is None)
    return Note(plan.id, stamp, plan.gone | (known.gone if known else frozenset()))


def _keys_of(workspace: Workspace, plan: Plan) -> list[str]:
    live = workspace.store.heads.live()
    return [user.key for user in plan.users if user.key in live]


def _rewrite(workspace: Workspace, key: str, plan: Plan, stamp: int) -> None:
    """Commit the history of a task or model anew, without the object, and a new state on top that says so."""
    store = workspace.store
    heads = store.heads.of(key)
    confirmed = trash.confirmed(store.root)
    with store.begin() as transaction:
        cleaner = _cleaner(workspace, transaction, plan, stamp)
        fresh = _History(workspace, transaction, cleaner).rewritten(heads)
        if all(new.id == old.id for new, old in zip(fresh, heads, strict=True)):
            return
        before = merge(read_state(store, head.commit) for head in heads)
        clean = merge(cleaner.state(read_state(store, head.commit)) for head in heads)
        writer = secrets.token_hex(layout.WRITER_SIZE // 2)
        now = max(time.time_ns() // 1000, 1 + before.stamp)
        changed = {
            name: Entry(entry.value, now, writer)
            for name, entry in clean.keys.items()
            if entry.value != before.keys[name].value
        }
        changed[f"purged/{plan.id}"] = Entry(stamp, now, writer)  # what `tracker log` shows of this step
        state = merge([clean, State(clean.kind, changed)])
        # One event of a new writer: without it an edit made elsewhere, on top of the old history, would cover this.
        covers = {**united_covers(heads), writer: 1}
        commit = seal.commit_state(store, transaction, key, state, fresh, covers)
    if all(str(head.id) in confirmed for head in heads) and state.get("deleted"):
        trash.confirm(store.root, [str(commit)])


def _cleaner(workspace: Workspace, transaction: Any, plan: Plan, stamp: int) -> Cleaner:
    def put(data: bytes) -> str:
        return str(Ref("blob", str(transaction.put_bytes(data)), len(data)))

    def folder(ref: Ref) -> str:
        tree, size = _folder_without(workspace, transaction, ObjectId.parse(ref.id), plan, stamp)
        return str(Ref("tree", str(tree), size))

    return Cleaner(frozenset((plan.id, *plan.above)), plan.id, stamp, put, folder)


def _folder_without(
    workspace: Workspace, transaction: Any, tree: ObjectId, plan: Plan, stamp: int
) -> tuple[ObjectId, int]:
    """A folder with a line of text in the place of the object, and its size."""
    entries = []
    for entry in files.list_tree(workspace.store.objects, tree):
        if str(entry.id) == plan.id:
            text = f"{mark_of(plan.id, stamp)}\n".encode()
            entries.append(TreeEntry(entry.name, Mode.FILE, transaction.put_bytes(text), len(text)))
        elif str(entry.id) in plan.above:
            below, size = _folder_without(workspace, transaction, entry.id, plan, stamp)
            entries.append(TreeEntry(entry.name, entry.mode, below, size))
        else:
            entries.append(entry)
    return files.put_tree(transaction, entries)


class _History:
    """The commits that heads reach, each made anew where its state, or a parent, was."""

    def __init__(self, workspace: Workspace, transaction: Any, cleaner: Cleaner) -> None:
        self._store = workspace.store
        self._transaction = transaction
        self._cleaner = cleaner

    def rewritten(self, heads: Iterable[Head]) -> list[Head]:
        """The heads as they are now; none of them is published."""
        heads = list(heads)
        commits = self._reached(heads)
        anew: dict[ObjectId, ObjectId] = {}
        made: dict[ObjectId, Commit] = {}
        for each in sorted(commits, key=lambda i: commits[i].generation):
            commit = self._clean(commits[each], anew)
            if commit is not commits[each]:
                anew[each] = self._transaction.put(Kind.COMMIT, commit.encode())
                made[each] = commit
        return [
            Head(head.key, anew[head.id], made[head.id].encode(), head.where) if head.id in anew else head
            for head in heads
        ]

    def _reached(self, heads: list[Head]) -> dict[ObjectId, Commit]:
        found = {head.id: head.commit for head in heads}
        waiting = list(found.values())
        while waiting:
            for parent in waiting.pop().parents:
                if parent not in found:
                    with suppress(NotFound):  # history that was cut off
                        found[parent] = Commit.decode(self._store.objects.read(parent, Kind.COMMIT))
                        waiting.append(found[parent])
        return found

    def _clean(self, commit: Commit, anew: Mapping[ObjectId, ObjectId]) -> Commit:
        parents = tuple(sorted(anew.get(parent, parent) for parent in commit.parents))
        tree = commit.state
        with suppress(NotFound):  # of what was deleted only the commit is sure to be there
            state = read_state(self._store, replace(commit, deleted=False))
            clean = self._cleaner.state(state)
            if clean is not state:
                tree = seal.put_state(self._transaction, clean)
        if tree == commit.state and set(parents) == set(commit.parents):
            return commit
        return replace(commit, parents=parents, state=tree)


# --- journals and copies ---------------------------------------------------------------------------------------------


def _remove_journals(workspace: Workspace, plan: Plan) -> None:
    """Delete the journals of what refers to it, and those that have its content; all that is in them is sealed.

    Raises Conflict where one is still written to, or holds what could not be sealed.
    """
    keys = {user.key for user in plan.users}
    for source, lies_in_trash in _journals(workspace.root):
        folded = fold(source, 0)
        if source.key not in keys and plan.gone.isdisjoint(folded.blobs):
            continue
        if not lies_in_trash:
            covered = united_covers(workspace.store.heads.of(source.key)).get(source.writer, 0)
            if journal.liveness(source.folder) != "dead" and not folded.ended:
                raise Conflict(f"task {source.key} is running and has it: end it first")
            if folded.broken or fold(source, covered).last:
                raise Conflict(
                    f"a journal of task {source.key} is not sealed yet: run `tracker recover` first"
                )
        gone = workspace.root / store_layout.TMP / secrets.token_hex(16)
        with suppress(FileNotFoundError):
            source.folder.rename(gone)
            shutil.rmtree(gone)
        with suppress(OSError):
            source.folder.parent.rmdir()


def _journals(root: Path) -> Iterator[tuple[Journal, bool]]:
    """All journals, and whether each lies in the trash."""
    yield from ((source, False) for source in journals(root))
    for epoch in trash.epochs(root):
        base = root / store_layout.TRASH / str(epoch)
        yield from ((source, True) for source in journals(base))


def _remove_copies(workspace: Workspace, plan: Plan) -> None:
    """Delete what caches hold of it: copies for `get_local_copy`, and the tables that queries are answered from."""
    for each in (*plan.gone, *plan.above):
        shutil.rmtree(workspace.root / store_layout.CACHE / "files" / each[:32], ignore_errors=True)
    places.remove(workspace.root, os.environ)
