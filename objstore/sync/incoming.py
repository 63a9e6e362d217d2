"""Pull: what the remote's living heads reach and this store lacks, fetched by ranges, checked, and then published.

Nothing that a remote sends is trusted: a frame is published once its bytes and all its objects hash right, a chunk
list once its chunks make up its blob, a head once everything that it reaches is here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final

from objstore import layout
from objstore.errors import Corrupt, NotFound, StoreError, Unsupported
from objstore.frame import HEADER_SIZE, Encoding, FrameHeader, decode
from objstore.graph import Node
from objstore.heads import Head, Heads, living
from objstore.ids import Hasher, IdTable, Kind, ObjectId
from objstore.objects import Objects, Proving
from objstore.pack import Frames, ObjectEntry
from objstore.publish import encode_group
from objstore.records import ChunkList, Commit
from objstore.remotes import Source
from objstore.sync.claims import note_proved, proved
from objstore.sync.frames import check, needs
from objstore.sync.library import Library, Place
from objstore.sync.shown import Progress, Shown, is_sound, look
from objstore.sync.stage import Stage, publish_heads

_SMALL: Final = 1 * layout.MIB  # bytes of a pack that is fetched whole: a second request would take longer
_SHARE: Final = 0.5  # of a larger pack that must be of use for it to be fetched whole
_GAP: Final = 256 * layout.KIB  # bytes fetched in vain rather than ask again
_RANGE_MAX: Final = (
    layout.PACK_TARGET + layout.RECORD_MAX
)  # bytes in one request and so in memory: any pack of ours
_ALONE: Final = 8 * layout.MIB  # bytes out of one pack that get a pack of their own here; less is joined
_LOOKS: Final = 3  # at a remote whose heads are folded into tables before they can be fetched
_MANY: Final = 256  # heads; to walk fewer again at the next push costs less than to read every footer now
_ABSENT_MAX: Final = 16_384  # objects that are known to be absent before they are fetched: 4 MB
_UNREADABLE: Final = (Corrupt, NotFound, Unsupported)
_LISTS_MAX: Final = (
    64 * layout.MIB
)  # bytes of chunk lists that are held before anything is known to need them


@dataclass(frozen=True, slots=True)
class PullResult:
    """What a pull did: heads that are new here; objects and bytes fetched; packs made; heads that the remote had lost.

    damaged: files of the remote that were wrong, each with what was wrong; what was needed of them was elsewhere.
    """

    heads: tuple[Head, ...]
    objects: int
    bytes: int
    packs: int
    rolled_back: tuple[Head, ...]
    damaged: tuple[tuple[str, str], ...]


def clone(
    root: Path, objects: Objects, heads: Heads, remote: Source, *, progress: Progress | None = None
) -> PullResult:
    """Pull everything into the new, empty store at `root`. Raises NotFound where no store is; else as `pull`."""
    shown = look(root, remote)
    if shown.empty and not shown.format:
        raise NotFound(f"{remote.url} holds no store: nothing was ever pushed there")
    return _pull(root, objects, heads, shown, None, progress)


def fetch(
    root: Path,
    objects: Objects,
    remote: Source,
    nodes: Collection[Node],
    *,
    exact: bool = False,
    progress: Progress | None = None,
) -> PullResult:
    """Bring objects into the store at `root`, with everything they reach, from whatever packs the remote has.

    exact: no frame that nothing asks for comes along, though it would cost no further request. No head is touched, and
    what the remote lacks is passed over: ask the store again what is there. Raises RemoteError as `pull`.
    """
    shown = look(root, remote)
    stage = Stage(root)
    work = _Fetch(objects, stage, shown, greedy=False, exact=exact, progress=progress)
    try:
        try:
            work.run_from(list(nodes))
        finally:
            packs = stage.publish(objects)
    finally:
        stage.remove()
    damaged = {**shown.damaged, **work.library.damaged}
    return PullResult((), work.objects, work.bytes, packs, (), tuple(sorted(damaged.items())))


def pull(
    root: Path,
    objects: Objects,
    heads: Heads,
    remote: Source,
    *,
    keys: Collection[str] | None = None,
    exact: bool = False,
    without: Collection[ObjectId] = (),
    progress: Progress | None = None,
) -> PullResult:
    """Bring the remote's living heads (all, or of `keys`) into the store at `root`, with everything they reach.

    exact: nothing that they do not reach comes along, though it would cost no further request. keys that the remote
    does not have are passed over; without: objects that were purged here, so that neither they nor any content that no
    head reaches comes along; progress(bytes fetched, bytes to fetch as known so far). Raises RemoteError when
    the remote fails: what was checked by then stays, without a head, and is not fetched again.
    Raises Corrupt when something needed is damaged or missing there: heads that do not need it are pulled all the
    same, nothing that is wrong is, and the error names both.
    """
    return _pull(root, objects, heads, look(root, remote), keys, progress, exact=exact, without=without)


@dataclass(frozen=True, slots=True)
class Received:
    """What a `receive` did: as PullResult; or, where nothing was published, what is missing here and there.

    lacking: heads that cannot be complete; missing: objects that nobody has; damaged: files that were wrong.
    """

    heads: tuple[Head, ...]
    objects: int
    bytes: int
    packs: int
    lacking: tuple[Head, ...]
    missing: tuple[ObjectId, ...]
    damaged: tuple[tuple[str, str], ...]


def receive(
    root: Path,
    objects: Objects,
    heads: Heads,
    shown: Shown,
    *,
    without: Collection[ObjectId] = (),
    progress: Progress | None = None,
) -> Received:
    """Bring all living heads that are shown into the store at `root`, as `pull` does, but all of it or nothing."""
    objects.refresh()
    wanted = new_heads(shown, heads)
    stage = Stage(root)
    fetch = _Fetch(objects, stage, shown, greedy=True, without=without, progress=progress)
    try:
        ready = fetch.run(wanted) if wanted else []
        damaged = tuple(sorted({**shown.damaged, **fetch.library.damaged}.items()))
        if damaged or len(ready) < len(wanted):
            whole = {head.id for head in ready}
            lacking = tuple(head for head in wanted if head.id not in whole)
            return Received((), 0, fetch.bytes, 0, lacking, tuple(sorted(fetch.missing)), damaged)
        fetch.forget()
        packs = stage.publish(objects)
    finally:
        stage.remove()
    publish_heads(root, ready)
    return Received(tuple(ready), fetch.objects, fetch.bytes, packs, (), (), ())


def new_heads(shown: Shown, heads: Heads) -> list[Head]:
    """The heads that live there and that nothing here covers."""
    return list(_wanted(shown, heads, None))


def _pull(
    root: Path,
    objects: Objects,
    heads: Heads,
    shown: Shown,
    keys: Collection[str] | None,
    progress: Progress | None,
    *,
    exact: bool = False,
    without: Collection[ObjectId] = (),
) -> PullResult:
    objects.refresh()
    wanted = list(_wanted(shown, heads, keys))
    for _ in range(_LOOKS):
        if not shown.vanished:
            break
        shown = look(root, shown.remote)
        wanted = list(_wanted(shown, heads, keys))
    if not wanted:
        shown.remember(head for several in heads.live().values() for head in several)
        _refuse(shown, {}, 0, 0)
        return PullResult((), 0, 0, 0, shown.rolled_back, tuple(sorted(shown.damaged.items())))
    stage = Stage(root)
    fetch = _Fetch(
        objects, stage, shown, greedy=keys is None, exact=exact, without=without, progress=progress
    )
    try:
        try:
            ready = fetch.run(wanted)
        finally:
            # After an error too: what is whole and checked is not fetched again.
            packs = stage.publish(objects)
    finally:
        stage.remove()
    publish_heads(root, ready)
    shown.remember(chain(ready, *heads.live().values()))
    _refuse(shown, fetch.wrong(), len(wanted), len(ready))
    if len(wanted) > _MANY and fetch.is_claimed():
        note_proved(shown, proved(shown) | {h.id for h in wanted})
    damaged = {**shown.damaged, **fetch.library.damaged}
    return PullResult(
        tuple(ready), fetch.objects, fetch.bytes, packs, shown.rolled_back, tuple(sorted(damaged.items()))
    )


def _wanted(shown: Shown, heads: Heads, keys: Collection[str] | None) -> Iterator[Head]:
    """The heads that live there and that nothing here covers."""
    here = {key: [head for head in several if is_sound(head)] for key, several in heads.all().items()}
    for key in sorted(shown.keys):
        mine = here.get(key, [])
        known = {head.id for head in mine}
        if (keys is None or key in keys) and not shown.ids(key) <= known:
            try:
                found = living([*mine, *shown.of(key)])
            except Corrupt as error:
                shown.damaged[f"{layout.REFS}, heads of {key}"] = str(error)
            else:
                yield from (head for head in found if head.id not in known)


def _refuse(shown: Shown, wrong: dict[str, str], wanted: int, ready: int) -> None:
    """Raise Corrupt when the remote could not give what its heads reach, or some of its heads cannot be read.

    Damage that took nothing away, since another copy was sound, is no error.
    """
    packs = {where for where in shown.damaged if where.startswith(f"{layout.PACKS}/")}
    if ready == wanted and len(packs) == len(shown.damaged):
        return
    named = {**{where: what for where, what in shown.damaged.items() if where not in packs}, **wrong}
    what = "; ".join(f"{where}: {why}" for where, why in list(named.items())[:8])
    raise Corrupt(
        f"{shown.remote.url} is damaged: {what}. {ready} of {wanted} new heads were pulled, nothing of what is wrong; "
        "push again from a store that has the rest, or remove the damaged files there"
    )


@dataclass(frozen=True, slots=True)
class _List:
    """A chunk list as fetched: not to be published before it is proved."""

    place: Place
    header: FrameHeader
    stored: bytes
    size: int

    @property
    def top(self) -> ChunkList:
        return ChunkList.decode(decode(self.header, self.stored))


class _Fetch:
    """Walks from heads to all they reach, and fetches into the stage what is not here.

    greedy: fetch a whole pack when half of it is new, since all of it is probably wanted. without: objects that are not
    wanted though they lie beside others; where there are any, no blob is taken that was not asked for. `missing` is
    what no sound copy was found of.
    """

    def __init__(
        self,
        objects: Objects,
        stage: Stage,
        shown: Shown,
        *,
        greedy: bool,
        exact: bool = False,
        without: Collection[ObjectId] = (),
        progress: Progress | None,
    ) -> None:
        self._objects = objects
        self._stage = stage
        self._shown = shown
        self._greedy = greedy
        self._exact = exact
        self._without = frozenset(without)
        self._asked: frozenset[ObjectId] = (
            frozenset()
        )  # what the frames that are on their way are fetched for
        self._progress = progress
        self.library = Library(shown, objects.pack_ids())
        self._seen = IdTable()
        self._lists: dict[ObjectId, _List] = {}
        self._lists_size = 0
        self._unproved: set[ObjectId] = set()
        # Out of what was fetched: however much lies here, it is no reason to believe what comes from elsewhere.
        self._proving = Proving(lambda: self.bytes, layout.SPARSE_FOREIGN_MAX)
        self.missing: set[ObjectId] = set()
        self.objects = 0
        self.bytes = 0
        self._expected = 0

    def run(self, wanted: list[Head]) -> list[Head]:
        """Fetch what the heads reach; returns those of which everything is here or in the stage."""
        self.run_from([(Kind.COMMIT, head.id) for head in wanted])
        return [head for head in wanted if self._is_complete(head)] if self.missing else wanted

    def run_from(self, frontier: list[Node]) -> None:
        """Fetch what these objects reach, they themselves first."""
        while frontier:
            stack = frontier[::-1]
            while stack:
                if absent := self._walk(stack):
                    self._get(absent)
                    stack += [node for node in reversed(absent) if node[1] not in self.missing]
            frontier = self._prove()
        self._lists.clear()

    def forget(self) -> None:
        """Let go of what the remote has and of what was seen, which takes as much memory as to publish what came."""
        del self.library, self._seen

    def wrong(self) -> dict[str, str]:
        """The remote's files that were found wrong, and what is nowhere, each with what is wrong."""
        nowhere = "no sound pack holds it"
        lost = {f"object {object_id}": nowhere for object_id in sorted(self.missing)[:4]}
        packs = {w: why for w, why in self._shown.damaged.items() if w.startswith(f"{layout.PACKS}/")}
        return {**self.library.damaged, **packs, **lost}

    def is_claimed(self) -> bool:
        """Whether all that the heads reach lies in packs that tables of the remote claim."""
        return all(self.library.is_claimed(object_id) for object_id in self._seen)

    # --- walking -------------------------------------------------------------------------------------------------

    def _walk(self, stack: list[Node]) -> list[Node]:
        """Go on from these nodes as far as what is here reaches; returns those that are not here, each once.

        Takes from the stack what it has been at; where many are not here, it leaves the rest.
        """
        absent = dict[Node, None]()
        while stack and len(absent) < _ABSENT_MAX:
            node = stack.pop()
            if node[1] in self._seen or node[1] in self._unproved or node[1] in self.missing:
                continue
            below = self._below(node)
            if below is None:
                absent[node] = None
                continue
            if node[1] not in self._unproved:
                self._seen.add(node[1])
            stack += reversed(below)
        return list(absent)

    def _below(self, node: Node) -> list[Node] | None:
        """What an object names, or None when no readable copy is here."""
        kind, object_id = node
        for source in (self._objects, self._stage.objects):
            if source.has(object_id):
                try:
                    return self._needs(source, node)
                except _UNREADABLE:
                    continue  # damaged here: a copy from the remote heals it
        if kind is Kind.BLOB and object_id in self._lists:
            self._unproved.add(object_id)
            top = self._lists[object_id].top
            return [(Kind.CHUNKS if top.level else Kind.BLOB, item) for item, _ in top.items]
        return None

    def _needs(self, source: Objects, node: Node) -> list[Node]:
        if node[0] is not Kind.COMMIT:
            return needs(source, node)
        commit = Commit.decode(source.read(node[1], Kind.COMMIT, limit=layout.RECORD_MAX))
        if commit.deleted:
            return []
        # History that was cut off may be absent everywhere; what is left of it there still comes along.
        parents = [
            p for p in commit.parents if not commit.cut or self._has(p) or self.library.find(p) is not None
        ]
        return [(Kind.TREE, commit.state), *((Kind.COMMIT, parent) for parent in parents)]

    def _has(self, object_id: ObjectId) -> bool:
        return self._objects.has(object_id) or self._stage.objects.has(object_id) or object_id in self._lists

    def _is_complete(self, head: Head) -> bool:
        stack, seen = [(Kind.COMMIT, head.id)], IdTable()
        while stack:
            node = stack.pop()
            if node[1] in seen:
                continue
            seen.add(node[1])
            below = self._below(node)
            if below is None:
                return False
            stack += below
        return True

    # --- fetching ------------------------------------------------------------------------------------------------

    def _get(self, absent: list[Node]) -> None:
        """Fetch a copy of each node, or note it as missing; after one that is damaged the next round finds another."""
        if self._without:
            self._asked = frozenset(object_id for _, object_id in absent)
        wanted: dict[str, set[int]] = {}
        for _, object_id in absent:
            place = self.library.find(object_id)
            if place is None:
                self.missing.add(object_id)
            else:
                wanted.setdefault(place[0], set()).add(place[1])
        chosen = {pack_id: self._choose(pack_id, numbers) for pack_id, numbers in wanted.items()}
        self._expected += sum(
            _size(self.library.footers[pack_id].frames, numbers) for pack_id, numbers in chosen.items()
        )
        for pack_id, numbers in chosen.items():
            self._fetch(pack_id, numbers, wanted[pack_id])
        self._stage.finish()

    def _choose(self, pack_id: str, wanted: set[int]) -> list[int]:
        """The frames to fetch from a pack: the wanted ones, or all that hold something new where those are many."""
        if self._exact:
            return sorted(wanted)
        frames = self.library.footers[pack_id].frames
        new = [n for n in range(len(frames)) if n in wanted or self._is_new((pack_id, n))]
        whole, useful = frames.size, _size(frames, new if self._greedy else wanted)
        return new if whole <= _SMALL or useful >= whole * _SHARE else sorted(wanted)

    def _is_new(self, place: Place) -> bool:
        return self.library.is_sound(place) and not all(self._has(e.id) for e in self.library.inside(place))

    def _fetch(self, pack_id: str, numbers: list[int], wanted: set[int]) -> None:
        frames, name = self.library.footers[pack_id].frames, layout.pack_path(pack_id)
        alone = _size(frames, numbers) >= _ALONE
        if alone:
            self._stage.finish()
        for run in _runs(frames, numbers):
            start, end = frames.span(run[0])[0], frames.span(run[-1])[1]
            try:
                data = self._shown.remote.get_range(name, start, end - start)
            except NotFound:
                self.library.spoil_pack(pack_id, "it is not there")
                return
            self.bytes += len(data)
            for number in run:
                first, last = frames.span(number)
                self._take((pack_id, number), data[first - start : last - start], number in wanted, alone)
            self._report()
        if alone:
            self._stage.finish()

    def _take(self, place: Place, data: bytes, wanted: bool, alone: bool) -> None:
        """Check a frame and put it on the stage; a chunk list is held until its chunks have come."""
        frame, inside = self.library.frame(place), self.library.inside(place)
        try:
            raw = check(frame, inside, data)
        except StoreError as error:
            self.library.spoil(place, f"the frame at byte {frame.offset}: {error}")
            return
        stored, first = data[HEADER_SIZE:], inside[0]
        if not all(self._may_come(frame.header.kind, entry.id) for entry in inside):
            self._take_some(frame.header.kind, inside, raw)
            return
        if frame.header.encoding is Encoding.LIST:
            if wanted or self._lists_size < _LISTS_MAX:
                self._lists[first.id] = _List(place, frame.header, stored, first.size)
                self._lists_size += len(stored)
            return
        limit = _RANGE_MAX if alone else layout.PACK_TARGET
        self._stage.add(frame.header, stored, [(entry.id, entry.size) for entry in inside], limit)
        self.objects += len(inside)

    def _may_come(self, kind: Kind, object_id: ObjectId) -> bool:
        """Whether an object may be kept that lies in a frame that was fetched: what was purged has parts, which only
        its chunk list knew.
        """
        if not self._without or object_id in self._asked:
            return True
        return kind is not Kind.BLOB and object_id not in self._without

    def _take_some(self, kind: Kind, inside: list[ObjectEntry], raw: bytes) -> None:
        """Put on the stage what of a frame may come, encoded anew."""
        group = [
            (entry.id, raw[entry.offset : entry.offset + entry.size])
            for entry in inside
            if self._may_come(kind, entry.id)
        ]
        for header, stored, members in encode_group(kind, group) if group else ():
            self._stage.add(header, bytes(stored), members)
        self.objects += len(group)

    def _report(self) -> None:
        if self._progress is not None:
            self._progress(self.bytes, max(self._expected, self.bytes))

    # --- chunk lists ---------------------------------------------------------------------------------------------

    def _prove(self) -> list[Node]:
        """Stage the lists that make up their blobs; returns the blobs of the others, to look for another copy."""
        wrong: list[Node] = []
        for object_id in sorted(self._unproved):
            found = self._lists.pop(object_id)
            self._lists_size -= len(found.stored)
            try:
                self._check_whole(object_id, found.top)
            except StoreError as error:
                self.library.spoil(found.place, f"the chunk list of {object_id}: {error}")
                wrong.append((Kind.BLOB, object_id))
                continue
            self._seen.add(object_id)
            self._stage.add(found.header, found.stored, [(object_id, found.size)])
            self._objects.trust_list(object_id, decode(found.header, found.stored))
            self.objects += 1
        self._unproved.clear()
        self._stage.finish()
        return wrong

    def _check_whole(self, object_id: ObjectId, top: ChunkList) -> None:
        self._proving.begin(object_id, top.size)
        whole = Hasher(threads=2)
        for chunk_id, size in self._chunks(top):
            self._proving.chunk(object_id, size, self._frame_of(chunk_id))
            data = self._read(chunk_id, Kind.BLOB, layout.CHUNK_MAX)
            if len(data) != size:
                raise Corrupt(f"chunk {chunk_id} is not as long as the list says")
            whole.update(data)
        if whole.id() != object_id:
            raise Corrupt("its chunks do not make up that content")

    def _chunks(self, top: ChunkList) -> Iterator[tuple[ObjectId, int]]:
        if top.level == 0:
            yield from top.items
            return
        for page_id, size in top.items:
            page = ChunkList.decode(self._read(page_id, Kind.CHUNKS, layout.RECORD_MAX))
            if page.level != 0 or page.size != size:
                raise Corrupt(f"its page {page_id} is not what the list says")
            yield from page.items

    def _frame_of(self, chunk_id: ObjectId) -> tuple[str, int] | None:
        places = self._stage.objects.locate(chunk_id) or self._objects.locate(chunk_id)
        return (places[0].pack_id, places[0].at) if places else None

    def _read(self, object_id: ObjectId, kind: Kind, limit: int) -> bytes:
        failure: StoreError = NotFound(f"{object_id} is missing")
        for source in (self._stage.objects, self._objects):
            if any(not place.is_list for place in source.locate(object_id)):  # a chunk is never a list itself
                try:
                    return source.read(object_id, kind, limit=limit)
                except StoreError as error:
                    failure = error
        raise failure


def _size(frames: Frames, numbers: Collection[int]) -> int:
    return sum(end - start for start, end in map(frames.span, numbers))


def _runs(frames: Frames, numbers: list[int]) -> Iterator[list[int]]:
    """Frames to fetch, as runs that are near enough to be one request each, and small enough to be held in memory."""
    run: list[int] = []
    first = last = 0
    for number in numbers:
        start, end = frames.span(number)
        if run and (start - last > _GAP or end - first > _RANGE_MAX):
            yield run
            run = []
        if not run:
            first = start
        last = end
        run.append(number)
    if run:
        yield run
