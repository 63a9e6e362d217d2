"""Journal -> objects -> head: what a writer's events add up to becomes a commit.

Sealing only makes durable what every reader folds anyway. Sealing twice, or by two processes at once, gives the same
state.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from objstore import files, journal, trash
from objstore import layout as store_layout
from objstore.errors import StoreError
from objstore.heads import Head
from objstore.ids import ObjectId
from objstore.records import Commit, Mode, TreeEntry
from objstore.store import Store
from tracker import layout
from tracker.deltas import Delta, Journal, Put, deltas, fold, journals, lost, model_keys
from tracker.reader import Reader, aborts, read_state, united_covers
from tracker.records import Ref, State, recovered
from tracker.state import Fold, merge

_DAY = 86_400.0  # seconds that a dead writer's journal stays after it was sealed


def seal(store: Store, key: str, *, own: str | None = None, rolling: bool = False) -> bool:
    """Seal the journals of a task whose writers have ended or are dead, and `own`; whether there was anything to do.

    `rolling`: the run goes on, and no later commit shall name this one as its parent.
    Raises OSError when the disk refuses; the journals stay, and whoever comes next seals them.
    """
    sources = journals(store.root, key)
    reader = Reader(store)
    heads = store.heads.of(key) if sources else []

    def before(of: str | None) -> State | None:
        known = heads if of is None else store.heads.of(of)
        return merge(map(reader.state, known)) if known else None

    added: dict[str, list[Delta]] = {}
    done: list[tuple[Journal, Fold]] = []
    going_on = State(layout.TASK)
    with store.begin() as transaction:
        put = _putter(transaction.put_bytes)
        for source in sources:
            dead = source.writer != own and journal.liveness(source.folder) == "dead"
            folded = _folded(store, source, heads)
            if not (dead or folded.ended or source.writer == own):
                going_on = merge((going_on, State(layout.TASK, folded.keys.get(None, {}))))
                continue
            done.append((source, folded))
            if folded.last:
                for of, delta in deltas(folded, put, before).items():
                    added.setdefault(of or key, []).append(delta)
        gone = [source for source, _ in done if source.writer != own]
        if gone:
            added.setdefault(key, [])  # the owner may have died after all that it wrote was sealed
        # The task's own head comes last: it covers the events from which the others are made.
        staged = [_stage(reader, transaction, k, new, rolling) for k, new in added.items() if k != key]
        if key in added:
            staged.append(_stage(reader, transaction, key, added[key], rolling, gone, going_on))
    for source, folded in done:
        if folded.ended:
            _remove(store, source)
        elif source.writer != own and not folded.broken:
            _set_aside(store, source)
    return any(staged)


def _folded(store: Store, source: Journal, heads: Iterable[Head]) -> Fold:
    """A journal's events that the task's `heads` do not cover, and what the heads of its models lack."""
    after = united_covers(heads).get(source.writer, 0)
    folded = fold(source, after)
    model_keys(source, folded, after, lambda of: united_covers(store.heads.of(of)).get(source.writer, 0))
    return folded


def _stage(
    reader: Reader,
    transaction: Any,
    key: str,
    new: list[Delta],
    rolling: bool,
    gone: Iterable[Journal] = (),
    going_on: State | None = None,
) -> bool:
    """Stage what is new of one thing on top of its heads; whether there was anything.

    gone: the task's writers that ended or died; going_on: what those say that did not, and are not sealed here.
    """
    store = reader.store
    heads = store.heads.of(key)
    states = [*(reader.state(h) for h in heads), *(d.state for d in new)]
    if not states:
        return False
    state, covers = merge(states), united_covers(heads)
    for delta in new:
        for writer, number in delta.covers.items():
            covers[writer] = max(number, covers.get(writer, 0))
    entries = aborts(merge((state, going_on)) if going_on else state, gone)
    if entries:
        state = merge((state, State(state.kind, entries)))
        speaker = next(iter(entries.values())).writer
        # Not how often somebody spoke for it: of two that did, the one that knew more of its events shall count.
        covers[speaker] = covers[recovered(speaker)]
    if new or entries:
        commit_state(store, transaction, key, state, heads, covers, rolling=rolling)
    return bool(new or entries)


def commit_state(
    store: Store,
    transaction: Any,
    key: str,
    state: State,
    heads: Iterable[Head],
    covers: Mapping[str, int],
    path: tuple[str, ...] | None = None,
    *,
    rolling: bool = False,
) -> ObjectId:
    """Stage a state as the new head of `key`, with `heads` as what it follows; returns the commit's id.

    `path` is what people call it, where the state alone does not know.
    """
    commits = [(h.id, h.commit) for h in heads]
    parents = {p for i, c in commits for p in (c.parents if c.rolling else (i,))}
    commit = Commit(
        key=key,
        path=path or path_of(state),
        parents=tuple(sorted(parents)),
        generation=1 + max((c.generation for _, c in commits), default=0),
        stamp=max([state.stamp, *(c.stamp for _, c in commits)]),
        state=put_state(transaction, state),
        covers=dict(sorted(covers.items())),
        cut=max([int(state.get("cut", 0)), *(c.cut for _, c in commits)]),
        deleted=bool(state.get("deleted", False)),
        rolling=rolling,
    )
    commit_id: ObjectId = transaction.commit(commit)
    return commit_id


def put_state(transaction: Any, state: State) -> ObjectId:
    """Store a state as a tree: its record, and beside it every object that the record refers to, so gc sees them."""
    record = state.encode()
    if len(record) > layout.STATE_MAX:  # nobody could read it back: the journal is a better place for it
        raise StoreError(f"a state of {len(record)} bytes is over the limit of {layout.STATE_MAX}")
    entries = [TreeEntry("record", Mode.FILE, transaction.put_bytes(record), len(record))]
    below = []
    for text in sorted(set(state.references())):
        ref = Ref.parse(text)
        mode = Mode.TREE if ref.kind == "tree" else Mode.FILE
        below.append(TreeEntry(ref.id, mode, ObjectId.parse(ref.id), ref.size))
    if below:
        tree, size = files.put_tree(transaction, below)
        entries.append(TreeEntry("objects", Mode.TREE, tree, size))
    return files.put_tree(transaction, entries)[0]


def path_of(state: State) -> tuple[str, str, str]:
    """The display path of a state: kind, project, name."""
    return state.kind, str(state.get("project", "")), str(state.get("name", ""))


def _putter(store_bytes: Callable[[bytes], ObjectId]) -> Put:
    def put(data: bytes) -> str:
        return str(Ref("blob", str(store_bytes(data)), len(data)))

    return put


def _remove(store: Store, source: Journal) -> None:
    """Remove a journal whose writer has closed it and whose events are all durable in a head."""
    gone = store.root / store_layout.TMP / secrets.token_hex(16)
    try:
        source.folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)
        source.folder.parent.rmdir()
    except OSError:
        return  # another process removed it, or the task has other writers


def _set_aside(store: Store, source: Journal) -> None:
    """Move a dead writer's journal to the trash once nothing has changed in it for a day.

    A writer that lives after all finds it there, and moves it back (see Recorder).
    """
    try:
        unchanged = time.time() - max(item.stat().st_mtime for item in os.scandir(source.folder))
        if unchanged < _DAY or _lost(store, source):  # what is damaged waits for somebody who is told
            return
        trash.set_aside(store.root, layout.live_path(source.key, source.writer), int(time.time()))
        source.folder.parent.rmdir()
    except (OSError, ValueError):
        return


def set_damaged_aside(store: Store, key: str) -> dict[str, str]:
    """Move journals of dead writers that cannot be read to their end to the trash, where all that can be is sealed.

    Returns what was moved, by its path below the store, and what of it cannot be read. Raises OSError.
    """
    moved = {}
    for source in journals(store.root, key):
        if journal.liveness(source.folder) != "dead":
            continue  # what it still writes may matter, though nobody can read it yet
        if _folded(store, source, store.heads.of(key)).last:
            continue  # not all of it is sealed
        if what := _lost(store, source):
            where = layout.live_path(key, source.writer)
            trash.set_aside(store.root, where, int(time.time()))
            moved[where] = what
    if moved:
        with suppress(OSError):  # the task has other writers
            (store.root / store_layout.LIVE / key).rmdir()
    return moved


def is_damaged(store: Store, source: Journal) -> bool:
    """Whether a journal cannot be read to its end. Raises OSError."""
    return bool(_lost(store, source))


def _lost(store: Store, source: Journal) -> str:
    covered = united_covers(store.heads.of(source.key)).get(source.writer, 0)
    return lost(source, fold(source, covered), covered)


def owner_gone(store: Store, key: str) -> bool:
    """Whether the process whose exit decides the run's status has been there and is no more."""
    seen = any("status" in read_state(store, head.commit).keys for head in store.heads.of(key))
    for source in journals(store.root, key):
        folded = fold(source, 0)
        if "status" in folded.keys.get(None, {}):
            seen = True
            if not folded.ended and journal.liveness(source.folder) != "dead":
                return False
    return seen
