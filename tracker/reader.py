"""Everything in a store as it stands: heads united, journals folded on top in memory. Writes nothing.

So a run that goes on, was killed, or waits to be sealed reads like any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import reduce

from objstore import journal
from objstore.errors import NotFound, StoreError
from objstore.heads import Head
from objstore.ids import Kind, ObjectId, hash_object
from objstore.records import Commit
from objstore.store import Store
from tracker import layout
from tracker.deltas import Journal, Put, aborted, deltas, fold, journals, model_keys, overruled, why_dead
from tracker.errors import CorruptRecord
from tracker.records import Entry, Ref, State
from tracker.state import Fold, deletion, merge


@dataclass(frozen=True)
class Thing:
    """A task, model, alias or pin as it stands: its heads united, and its journals folded on top in memory.

    alive: whether a writer still runs; content: what is not in the store yet, by id.
    """

    key: str
    state: State
    heads: tuple[Head, ...] = ()
    alive: bool = False
    content: Mapping[str, bytes] = field(default_factory=dict)


def read_state(store: Store, commit: Commit) -> State:
    """The state that a commit names. Raises NotFound, Corrupt, CorruptRecord.

    Of what was deleted only the commit is sure to be there: what it says of itself then has to do.
    """
    try:
        return _stored_state(store, commit)
    except NotFound:
        if not commit.deleted:
            raise
    kind, project, name = (*commit.path, "", "", "")[:3]
    keys = {"project": Entry(project, 0, ""), "name": Entry(name, 0, "")}
    stamp = commit.cut or commit.stamp  # a deletion cuts off all that came before it: `cut` is its own stamp
    deleted = {key: Entry(value, stamp, "") for key, value in deletion(stamp).items()}
    return State(kind if kind in layout.KINDS else layout.TASK, {**keys, **deleted})


def _stored_state(store: Store, commit: Commit) -> State:
    from objstore import files

    for entry in files.list_tree(store.objects, commit.state):
        if entry.name == "record":
            return State.decode(store.objects.read(entry.id, limit=layout.STATE_MAX))
    raise CorruptRecord(f"the state {commit.state} of {commit.key} has no record")


class Reader:
    """Everything in a store as it stands now. Keeps what cannot change: the states of commits."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._states: dict[ObjectId, State] = {}
        self.damaged: dict[str, str] = {}  # what cannot be read, and why

    def things(self) -> dict[str, Thing]:
        """All tasks, models, aliases and pins by key."""
        # Journals first: one that is sealed meanwhile is then found in its head.
        waiting: dict[str, list[Journal]] = {}
        for source in journals(self.store.root):
            waiting.setdefault(source.key, []).append(source)
        heads = self.store.heads.live()
        found = self.sealed(heads)
        for key, sources in waiting.items():
            found.update(self.with_journals(found, heads.get(key, []), key, sources))
        return found

    def thing(self, key: str, maker: str = "") -> Thing:
        """One of them. Raises NotFound. maker: the task of a model that only its journal may know; saves a search."""
        sources = journals(self.store.root, key)
        heads = self.store.heads.of(key)
        found = self.sealed({key: heads} if heads else {})
        maker = str(found[key].state.get("task") or "") if key in found else maker
        if not sources and maker:  # a model, which the journals of its task may have changed
            sources, heads = journals(self.store.root, maker), self.store.heads.of(maker)
            found.update(self.sealed({maker: heads} if heads else {}))
            found.update(self.with_journals(found, heads, maker, sources))
        elif sources:
            found.update(self.with_journals(found, heads, key, sources))
        if key not in found and not sources:
            found = self.things()  # a model that only a running task's journal knows
        if key not in found:
            raise NotFound(f"nothing has the id {key}")
        return found[key]

    def state(self, head: Head) -> State:
        """The state of one commit."""
        if head.id not in self._states:
            try:
                self._states[head.id] = _stored_state(self.store, head.commit)
            except NotFound:
                return read_state(self.store, head.commit)  # not kept: a restore or a copy may bring the rest
        return self._states[head.id]

    def sealed(self, heads: Mapping[str, list[Head]]) -> dict[str, Thing]:
        """The things that have these heads, without what journals add; those that cannot be read are noted."""
        found = {}
        for key, alive in heads.items():
            try:
                found[key] = Thing(key, merge(self.state(h) for h in alive), tuple(alive))
            except (StoreError, CorruptRecord) as error:
                self.damaged[key] = str(error)
        return found

    def with_journals(
        self, sealed: Mapping[str, Thing], heads: list[Head], key: str, sources: list[Journal]
    ) -> dict[str, Thing]:
        """What a task's journals make of things in `sealed`, by key."""
        fresh: dict[str, Thing] = {}
        while True:
            found = self._on_top(sealed, heads, key, sources)
            if all(source.folder.exists() for source in sources):
                return {**fresh, **found}
            # One was sealed, and removed while it was read: its head is there now.
            sources, alive = journals(self.store.root, key), self.store.heads.live()
            sealed, heads = self.sealed(alive), alive.get(key, [])
            fresh = {k: t for k, t in sealed.items() if k == key or t.state.get("task") == key}

    def _on_top(
        self, sealed: Mapping[str, Thing], heads: list[Head], key: str, sources: list[Journal]
    ) -> dict[str, Thing]:
        found: dict[str, Thing] = {}
        gone: list[Journal] = []
        living: dict[Journal, bool] = {}  # and whether that is certain

        def before(of: str | None) -> State | None:
            return sealed[of or key].state if (of or key) in sealed else None

        covered = united_covers(heads)
        for source in sources:
            # Asked before the journal is read: what a dead writer wrote until then is all there is.
            signs = journal.liveness(source.folder)
            folded = self._fold(source, covered.get(source.writer, 0), sealed)
            if signs == "dead" or folded.ended:
                gone.append(source)
            else:
                living[source] = signs == "alive"
            content: dict[str, bytes] = {}
            if folded.last:
                for of, delta in deltas(folded, _into(content), before).items():
                    known = found.get(of or key) or sealed.get(of or key)
                    found[of or key] = _joined(known, of or key, delta.state, content)
        thing = found.get(key) or sealed.get(key)
        if thing is not None:
            state = reduce(overruled, (s for s, certain in living.items() if certain), thing.state)
            if entries := aborts(state, gone):
                state = merge((state, State(state.kind, entries)))
            found[key] = replace(thing, state=state, alive=bool(living))
        return found

    def _fold(self, source: Journal, after: int, sealed: Mapping[str, Thing]) -> Fold:
        where = layout.live_path(source.key, source.writer)

        def covered(model: str) -> int:
            heads = sealed[model].heads if model in sealed else ()
            return united_covers(heads).get(source.writer, 0)

        try:
            folded = fold(source, after)
            model_keys(source, folded, after, covered)
        except OSError as error:  # another user's, say
            self.damaged[where] = str(error)
            return Fold(source.writer)
        if folded.broken:
            self.damaged[where] = folded.broken
        return folded


def _joined(thing: Thing | None, key: str, state: State, content: Mapping[str, bytes]) -> Thing:
    if thing is None:
        return Thing(key, state, (), False, content)
    return Thing(key, merge((thing.state, state)), thing.heads, thing.alive, {**thing.content, **content})


def aborts(state: State, gone: Iterable[Journal]) -> dict[str, Entry]:
    """What `aborted` says of the one writer among `gone` that owned the run; nothing if none did."""
    return next((e for source in gone if (e := aborted(state, source.writer, why_dead(source)))), {})


def _into(content: dict[str, bytes]) -> Put:
    def put(data: bytes) -> str:
        object_id = str(hash_object(Kind.BLOB, data))
        content[object_id] = data
        return str(Ref("blob", object_id, len(data)))

    return put


def united_covers(heads: Iterable[Head]) -> dict[str, int]:
    """Per writer the greatest number that any of the heads covers."""
    found: dict[str, int] = {}
    for head in heads:
        for writer, number in head.commit.covers.items():
            found[writer] = max(number, found.get(writer, 0))
    return found
