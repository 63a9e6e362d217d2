"""Makes a bundle: a push to a remote that holds nothing, whose files go one after another into the bundle's.

With `since`, what another bundle or a remote holds is left out, and named: the bundle rests on it.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from objstore import layout
from objstore.bundle.form import Entry, Index, Info, Prerequisite, Sort
from objstore.bundle.parts import PartsWriter
from objstore.bundle.source import Bundle
from objstore.errors import NotFound, StoreError
from objstore.graph import Node, closure, edges
from objstore.heads import Head, Heads
from objstore.ids import Kind, ObjectId, hash_bytes
from objstore.objects import Objects
from objstore.records import Commit
from objstore.remotes import Listed, Source, check_name
from objstore.sync import Progress
from objstore.sync.outgoing import export
from objstore.sync.shown import look


@dataclass(frozen=True, slots=True)
class Made:
    """A bundle that was made: its files, its id, and what is in it. bytes: of all files.

    needs: objects that were left out and that it rests on; named: the heads that hold them.
    damaged: files of heads here that cannot be read and so were passed over, each with what is wrong.
    """

    paths: tuple[Path, ...]
    id: str
    heads: tuple[Head, ...]
    objects: int
    packs: int
    bytes: int
    needs: int
    named: tuple[Prerequisite, ...]
    damaged: tuple[tuple[str, str], ...]


def create(
    root: Path,
    objects: Objects,
    heads: Heads,
    out: Path,
    *,
    keys: Collection[str] | None = None,
    since: Source | None = None,
    split: int | None = None,
    force: bool = False,
    stamp: int | None = None,
    progress: Progress | None = None,
) -> Made | None:
    """Write the living heads (all, or of `keys`) with all they reach into `out`, or into parts of `split` bytes.

    since: a bundle or a remote whose heads and objects are left out; None where nothing is newer. stamp: microseconds
    since 1970, now if not given. Raises NotFound where there is no head, or an object is nowhere; Corrupt for an
    object that is damaged here; Conflict where `out` is there and not `force`; StoreError where it cannot be written.
    An error leaves nothing behind.
    """
    objects.refresh()
    mine = [h for key, several in heads.live().items() if keys is None or key in keys for h in several]
    damaged = tuple(sorted(heads.damaged.items()))
    if not mine:
        raise NotFound(f"{root} holds nothing to bundle: no task or model of it has been sealed yet")
    there = _There(root, objects, since)
    todo = [head for head in mine if not there.has(head)]
    if not todo:
        return None
    _refuse_many(todo)
    with PartsWriter(out, split, force=force) as writer:
        target = _Target(writer)
        done = export(root, objects, todo, there.shown, there.held, target, progress=progress)
        if len(done.rests_on) > layout.BUNDLE_ROWS_MAX:
            raise StoreError(
                f"this bundle would rest on {len(done.rests_on)} objects, more than the {layout.BUNDLE_ROWS_MAX} "
                "that it can name: make one without --since"
            )
        named, holders = _holders(objects, done.rests_on, there.heads({head.key for head in todo}))
        bundle = since.id if isinstance(since, Bundle) else None
        info = Info(time.time_ns() // 1000 if stamp is None else stamp, len(todo), bundle, named)
        needs = {i: (kind, holders.get(i)) for i, kind in done.rests_on.items()}
        index = Index.of(info, target.entries, needs, there.known()).encode()
        paths = writer.finish(index)
    size = sum(path.stat().st_size for path in paths)
    counts = (tuple(todo), done.objects, done.packs, size, len(needs))
    return Made(tuple(paths), hash_bytes(index).hex(), *counts, named, damaged)


def _refuse_many(todo: Sequence[Head]) -> None:
    size = sum(len(head.raw) for head in todo)
    if len(todo) > layout.BUNDLE_HEADS_COUNT_MAX or size > layout.BUNDLE_HEADS_MAX:
        raise StoreError(
            f"{len(todo)} heads of {size} bytes are more than one bundle holds: make several, with --tasks or --since"
        )


class _There:
    """What whoever is to read the bundle has already: what `since` shows, and what that in turn rests on."""

    def __init__(self, root: Path, objects: Objects, since: Source | None) -> None:
        self._objects = objects
        before = since.index if isinstance(since, Bundle) else None
        self._before: list[tuple[str, ObjectId]] = [] if before is None else list(before.known())
        self._ids = {commit_id for _, commit_id in self._before}
        self.held: set[ObjectId] = set()
        if since is None:
            self.shown = look(None, _Nothing())
        elif isinstance(since, Bundle):
            self.shown = since.shown
            needs = [(kind, object_id) for object_id, kind, _ in since.index.needs()]
            roots = chain(needs, ((Kind.COMMIT, i) for i in self._ids))
            # As far as it is in this store: what is not cannot be reached from here either.
            self.held.update(object_id for _, object_id in closure(objects, roots, missing=[]))
        else:
            self.shown = look(root, since)

    def has(self, head: Head) -> bool:
        """Whether the head is there, or one that covers it."""
        shown = self.shown
        return head.id in self._ids or head.id in shown.ids(head.key) or shown.outlives(head)

    def known(self) -> Iterable[tuple[str, ObjectId]]:
        """The heads there, as many as one index can hold."""
        found = chain(((key, i) for key in self.shown.keys for i in self.shown.ids(key)), self._before)
        return [each for each, _ in zip(found, range(layout.BUNDLE_ROWS_MAX), strict=False)]

    def heads(self, keys: Collection[str]) -> Iterator[tuple[str, ObjectId]]:
        """The heads there that are in this store, those of `keys` first."""
        found = [each for each in self.known() if self._objects.has(each[1])]
        yield from sorted(found, key=lambda each: (each[0] not in keys, each))


def _holders(
    objects: Objects, needed: dict[ObjectId, Kind], heads: Iterator[tuple[str, ObjectId]]
) -> tuple[tuple[Prerequisite, ...], dict[ObjectId, int]]:
    """Which heads reach what is needed: as few as are found in their order; and per object the number of one."""
    named: list[Prerequisite] = []
    holders: dict[ObjectId, int] = {}
    seen: set[ObjectId] = set()
    size = 0
    for key, commit_id in heads:
        if len(holders) == len(needed) or len(named) == layout.BUNDLE_NAMED_MAX:
            break
        reached = _reach(objects, commit_id, seen)
        mine = [i for i in reached if i in needed and i not in holders]
        if not mine:
            continue
        path = _path(objects, commit_id)
        size += 256 + 6 * sum(len(part) for part in path)  # bytes of JSON, at most
        if size > layout.BUNDLE_INFO_MAX:
            break
        holders.update(dict.fromkeys(mine, len(named)))
        named.append(Prerequisite(key, commit_id, path))
    return tuple(named), holders


def _reach(objects: Objects, commit_id: ObjectId, seen: set[ObjectId]) -> Iterator[ObjectId]:
    """What a commit reaches in this store, less what was seen before, and adds it to that."""
    stack: list[Node] = [(Kind.COMMIT, commit_id)]
    while stack:
        node = stack.pop()
        if node[1] in seen:
            continue
        seen.add(node[1])
        yield node[1]
        with suppress(
            StoreError
        ):  # what is absent or damaged here holds nothing that could be sent from here
            stack += edges(objects, node)


def _path(objects: Objects, commit_id: ObjectId) -> tuple[str, ...]:
    try:
        return Commit.decode(objects.read(commit_id, Kind.COMMIT, limit=layout.RECORD_MAX)).path
    except StoreError:
        return ()


class _Nothing:
    """A remote that holds nothing."""

    url = "a new bundle"

    def list(self, prefix: str) -> Iterator[Listed]:
        return iter(())

    def get(self, name: str, limit: int = layout.TABLE_MAX) -> bytes:
        raise NotFound(f"a new bundle has no {name}")

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        raise NotFound(f"a new bundle has no {name}")


class _Target(_Nothing):
    """A remote that appends what is put to a bundle; `entries` says what lies where."""

    def __init__(self, writer: PartsWriter) -> None:
        self._writer = writer
        self.entries: list[Entry] = []

    def put(self, name: str, source: bytes | Path) -> None:
        """See `objstore.remotes.Puts`; a bundle that is not finished is read by nobody."""
        base = check_name(name).rpartition("/")[2]
        offset = self._writer.size
        if isinstance(source, bytes):
            self._writer.write(source)
        else:
            self._writer.copy(source)
        size = self._writer.size - offset
        if pack_id := layout.parse_pack_name(base):
            self.entries.append(Entry(Sort.PACK, pack_id, offset, size))
        elif table_id := layout.parse_table_name(base):
            self.entries.append(Entry(Sort.TABLE, table_id, offset, size))
        else:
            assert isinstance(source, bytes)
            self.entries.append(Entry(Sort.FORMAT, hash_bytes(source).hex(), offset, size))
