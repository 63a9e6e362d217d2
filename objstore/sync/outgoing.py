"""Push: what a remote lacks, as packs of up to 64 MiB, then one table that claims them and names the heads.

Only what the pushed heads reach is sent, whatever else lies in the same packs here: that may be another task's, or
deleted.
"""

from __future__ import annotations

import os
import time
from array import array
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from objstore import layout
from objstore.errors import Corrupt, NotFound, ReadOnly, StoreError
from objstore.frame import HEADER_SIZE, FrameHeader
from objstore.graph import Node
from objstore.heads import Head, Heads
from objstore.ids import IdTable, Kind, ObjectId
from objstore.objects import Location, Objects
from objstore.pack import Footer, Members, ObjectEntry
from objstore.publish import encode_group
from objstore.records import Commit
from objstore.remotes import Target
from objstore.sync.claims import Claims, note_proved, proved
from objstore.sync.frames import check, needs
from objstore.sync.outbox import Outbox, has_pending, workplace
from objstore.sync.shown import Progress, Shown, look

_WHOLE_MIN: Final = 8 * layout.MIB  # bytes of a local pack that is sent as it is; smaller ones are joined
_WHOLE_SHARE: Final = 0.9  # of such a pack's bytes that must be missing there
_FRAME_SHARE: Final = 0.5  # of a frame's content that must be missing there for it to be copied as it is
_LISTING_MAX: Final = 86_400.0  # seconds: a gc of the remote may give up what was claimed before that
_STEP: Final = 1 * layout.MIB  # bytes between two reports of progress
_NAMED: Final = 3  # tasks that an error names


@dataclass(frozen=True, slots=True)
class PushResult:
    """What a push did: heads newly shown there; objects, bytes and packs sent; heads that the remote had lost.

    damaged: files of heads here that cannot be read and so were passed over, each with what is wrong.
    """

    heads: tuple[Head, ...]
    objects: int
    bytes: int
    packs: int
    rolled_back: tuple[Head, ...]
    damaged: tuple[tuple[str, str], ...]


def clock() -> float:
    """Seconds that pass while the machine sleeps, too."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_REALTIME))


def push(
    root: Path,
    objects: Objects,
    heads: Heads,
    remote: Target,
    *,
    keys: Collection[str] | None = None,
    progress: Progress | None = None,
    now: Callable[[], float] = clock,
) -> PushResult:
    """Put the living heads of the store at `root` (all, or of `keys`) on the remote, with everything they reach.

    keys without a head are passed over; progress(bytes of content sent, bytes to send). Only adds: an interrupted push
    has put packs that nobody claims yet, and the next one goes on from there. Raises RemoteError; Corrupt for a table
    that is damaged there; ReadOnly when the remote has features that this version may not write: then no head of this
    push is shown. Raises Corrupt for an object that is damaged here, and NotFound for one that neither side has, once
    the heads that do not need it are there.
    """
    spoilt: dict[ObjectId, _Spoilt] = {}
    while True:
        found = _push(root, objects, heads, remote, keys, spoilt, progress, now)
        if isinstance(found, PushResult):
            break
        spoilt |= found
    if spoilt:
        raise _left_out(spoilt, len(found.heads))
    return found


@dataclass(frozen=True, slots=True)
class _Spoilt:
    """A head that cannot be pushed, and why."""

    head: Head
    error: StoreError


def _left_out(spoilt: dict[ObjectId, _Spoilt], pushed: int) -> StoreError:
    """What is raised for heads that could not be pushed: of the sort of the first one's error."""
    errors = [each.error for each in spoilt.values()]
    paths = sorted({" / ".join(each.head.commit.path) for each in spoilt.values()})
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    rest = "the rest was" if pushed else "there was nothing else to push"
    return type(errors[0])(f"{', '.join(paths[:_NAMED])}{more} not pushed, {rest}: {errors[0]}")


def _push(
    root: Path,
    objects: Objects,
    heads: Heads,
    remote: Target,
    keys: Collection[str] | None,
    without: Collection[ObjectId],
    progress: Progress | None,
    now: Callable[[], float],
) -> PushResult | dict[ObjectId, _Spoilt]:
    """Push all heads but `without`; else, having shown none of them, those that turn out to need what is lost here."""
    started = now()
    objects.refresh()
    shown = look(root, remote)
    shown.refuse_damage()
    mine = [h for key, several in heads.live().items() if keys is None or key in keys for h in several]
    known = proved(shown)
    fresh = heads.sound(h for h in mine if h.id not in known)
    damaged = tuple(sorted(heads.damaged.items()))
    todo = [h for h in fresh if h.id not in without and not shown.outlives(h)]
    if not todo:
        shown.remember(mine)
        return PushResult((), 0, 0, 0, shown.rolled_back, damaged)
    if not shown.writable:
        raise ReadOnly(
            f"{remote.url} has features that this version does not know: update this program to push there"
        )
    plan = _Plan(objects, shown)
    plan.walk(todo)
    if plan.lost:
        return plan.spoilt(todo)
    with workplace(root) as folder, Outbox(folder, shown, remote) as outbox:
        _Packing(root, objects, plan, outbox, progress).run()
    if plan.lost:
        return plan.spoilt(todo)  # what was sent meanwhile is adopted by the next try
    if now() - started > _LISTING_MAX:
        return _push(root, objects, heads, remote, keys, without, progress, now)
    packs = {**plan.adopted, **outbox.packs}
    outbox.claim(packs, [h for h in todo if not shown.in_table(h)])
    new = tuple(h for h in todo if h.id not in shown.ids(h.key))
    shown.remember(mine, new)
    note_proved(shown, known | {h.id for h in todo}, packs)
    return PushResult(new, len(plan.missing), outbox.bytes, len(outbox.packs), shown.rolled_back, damaged)


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export did: objects, bytes and packs sent; what these name, or the heads are, and does not lie there."""

    objects: int
    bytes: int
    packs: int
    rests_on: dict[ObjectId, Kind]


def export(
    root: Path,
    objects: Objects,
    todo: list[Head],
    shown: Shown,
    held: Collection[ObjectId],
    remote: Target,
    *,
    progress: Progress | None = None,
) -> Exported:
    """Put heads on an empty remote with what they reach, less what another one shows and the objects in `held`.

    Its one table claims the packs put there, and nothing else. Raises as `push`, and then no head is shown.
    """
    plan = _Plan(objects, shown, held)
    plan.walk(todo)
    with workplace(root) as folder, Outbox(folder, look(None, remote), remote) as outbox:
        _Packing(root, objects, plan, outbox, progress).run()
        plan.refuse_lost()
        outbox.claim(outbox.packs, todo)
    return Exported(len(plan.missing), outbox.bytes, len(outbox.packs), plan.rests_on())


class _Plan:
    """What the pushed heads reach, and what of it the remote lacks, in the order of a walk from the heads.

    held: objects that lie there, with all that they reach, whatever it shows.
    """

    def __init__(self, objects: Objects, shown: Shown, held: Collection[ObjectId] = ()) -> None:
        self._objects = objects
        self._url = shown.remote.url
        self.there = Claims(shown)
        if shown.unclaimed or has_pending(shown):
            self.there.add_unclaimed(shown)
        self.there.hold(held)
        self._named: dict[ObjectId, Kind] = {}  # there, and named by what is missing, or a head
        self.reached = IdTable()
        self.kinds = bytearray()  # per number in `reached`
        self.missing = array("I")  # numbers in `reached`
        self.lacking = bytearray()  # per number in `reached`, whether it is among the missing
        self.adopted: dict[str, bytes] = {}  # packs that lie there unclaimed and are needed: their footers
        # What is to be sent and cannot be: NotFound where neither side has it, Corrupt where it is damaged here.
        self.lost: dict[ObjectId, StoreError] = {}

    def walk(self, todo: list[Head]) -> None:
        """Visit all that the heads reach; what is lost is noted, and what it names stays unknown."""
        stack = [(Kind.COMMIT, h.id) for h in reversed(todo)]
        self._name(stack)
        while stack:
            kind, object_id = stack.pop()
            number = self.reached.add(object_id)
            if number < len(self.kinds):
                continue
            self.kinds.append(kind)
            self.lacking.append(False)
            if kind is Kind.BLOB and self.there.is_whole(object_id):
                continue  # with its content: if it is a list of chunks here, that list is not needed
            below = self._below(kind, object_id)
            if object_id in self.lost:
                continue
            if object_id not in self.there or (
                kind is Kind.BLOB and any(i not in self.there for _, i in below)
            ):
                self.missing.append(number)
                self.lacking[number] = True
                self._name(self._required(kind, object_id, below))
            stack += reversed(below)
        self.adopted = self.there.relied_on(self.reached)

    def refuse_lost(self) -> None:
        """Raise the error of what is lost, if anything is."""
        for error in self.lost.values():
            raise error

    def spoilt(self, todo: list[Head]) -> dict[ObjectId, _Spoilt]:
        """The heads that reach what is lost, by id: what names it is spoilt, and what names that."""
        named_by: dict[ObjectId, list[ObjectId]] = {}
        for number, kind in enumerate(self.kinds):
            object_id = self.reached.id(number)
            for _, below in self._below(Kind(kind), object_id):
                named_by.setdefault(below, []).append(object_id)
        why = dict(self.lost)
        stack = list(why)
        while stack:
            object_id = stack.pop()
            for above in named_by.get(object_id, ()):
                if above not in why:
                    why[above] = why[object_id]
                    stack.append(above)
        return {h.id: _Spoilt(h, why[h.id]) for h in todo if h.id in why}

    def rests_on(self) -> dict[ObjectId, Kind]:
        """What lies there, and has to, since what is missing there names it."""
        return {i: kind for i, kind in self._named.items() if not self._is_missing(i)}

    def _is_missing(self, object_id: ObjectId) -> bool:
        number = self.reached.find(object_id)
        return number >= 0 and bool(self.lacking[number])

    def _name(self, nodes: list[Node]) -> None:
        self._named.update((i, kind) for kind, i in nodes if i in self.there)

    def _required(self, kind: Kind, object_id: ObjectId, below: list[Node]) -> list[Node]:
        """Less the parents of a commit whose history is cut, which may be absent anywhere."""
        if kind is Kind.COMMIT and Commit.decode(self._objects.read(object_id, kind)).cut:
            return [node for node in below if node[0] is not Kind.COMMIT]
        return below

    def _below(self, kind: Kind, object_id: ObjectId) -> list[Node]:
        if object_id in self.lost:
            return []
        try:
            return needs(self._objects, (kind, object_id))
        except NotFound:
            if object_id not in self.there:  # else a partial clone builds on what it never fetched
                self.lost[object_id] = NotFound(
                    f"object {object_id} is neither in this store nor at {self._url}: pull it from where it is, or run "
                    "fsck to see what needs it"
                )
        except Corrupt as error:
            self.lost[object_id] = _damaged(object_id, error)
        return []


class _Packing:
    """Turns what is missing into frames for the outbox. Each byte is checked against its object's id on the way."""

    def __init__(
        self, root: Path, objects: Objects, plan: _Plan, outbox: Outbox, progress: Progress | None
    ) -> None:
        self._root = root
        self._objects = objects
        self._plan = plan
        self._outbox = outbox
        self._ids = plan.reached
        self._left = bytearray(plan.lacking)  # per number of an id, whether it is still to be sent
        self._count = len(plan.missing)
        self._packs: dict[str, tuple[Footer, Members]] = {}
        self._group: list[tuple[ObjectId, bytes]] = []
        self._group_kind = Kind.BLOB
        self._progress = progress
        self._done, self._told = 0, 0
        self._expected = 0 if progress is None else sum(map(self._weight, self._missing()))

    def run(self) -> None:
        """Whole packs first, then records, then blobs: a reader finds all records in few neighbouring frames."""
        places = (place for object_id in self._missing() for place in self._objects.locate(object_id))
        for pack_id in dict.fromkeys(place.pack_id for place in places):
            if self._is_whole(pack_id):
                self._send_whole(pack_id)
        for blobs in (False, True):
            for number in self._plan.missing:
                kind = Kind(self._plan.kinds[number])
                if (kind is Kind.BLOB) is blobs and self._left[number]:
                    object_id = self._ids.id(number)
                    try:
                        self._send(object_id, kind)
                    except Corrupt as error:
                        self._plan.lost[object_id] = error
            self._flush()
        self._outbox.finish()

    # --- whole packs ---------------------------------------------------------------------------------------------

    def _is_whole(self, pack_id: str) -> bool:
        """Whether a pack is large, nearly all of it is missing there, and all of it may go there."""
        try:
            footer, inside = self._pack(pack_id)
        except (StoreError, OSError):
            return False  # gone or damaged: its objects are sent from where they still are
        if footer.frames_size < _WHOLE_MIN or not all(self._may_go(entry) for entry in footer.objects):
            return False
        lacking = sum(
            f.size
            for f, ins in zip(footer.frames, inside, strict=True)
            if any(self._is_left(e.id) for e in ins)
        )
        return lacking >= footer.frames_size * _WHOLE_SHARE

    def _send_whole(self, pack_id: str) -> None:
        """Send a pack as it is; one that turns out to be damaged is left to be sent object by object."""
        path = self._root / layout.pack_path(pack_id)
        try:
            footer, members = self._pack(pack_id)
            with path.open("rb") as file:
                for frame, inside in zip(footer.frames, members, strict=True):
                    check(frame, inside, file.read(frame.size))
        except (StoreError, OSError):
            return
        try:
            self._outbox.put(pack_id, footer.encode(), path)
        except FileNotFoundError:
            return  # merged away since it was checked
        for entry in footer.objects:
            self._sent(entry.id)

    # --- frames and objects ----------------------------------------------------------------------------------------

    def _send(self, object_id: ObjectId, kind: Kind) -> None:
        failure: Exception | None = None
        places = self._objects.locate(object_id)
        for place in places:
            try:
                data = self._checked(place) if place.is_list or self._is_worth_copying(place) else None
            except (StoreError, OSError) as error:
                failure = error
            else:
                if data is not None:
                    self._copy(place, data)
                    return
        if failure is not None and all(place.is_list for place in places):
            raise _damaged(object_id, failure)
        try:
            raw = self._objects.read(object_id, kind)
        except (Corrupt, NotFound) as error:
            raise _damaged(object_id, error) from error
        self._add(object_id, kind, raw)

    def _is_worth_copying(self, place: Location) -> bool:
        inside = self._pack(place.pack_id)[1][place.entry.frame]
        missing = sum(entry.size for entry in inside if self._is_left(entry.id))
        whole = sum(entry.size for entry in inside)
        return missing >= whole * _FRAME_SHARE and all(self._may_go(entry) for entry in inside)

    def _checked(self, place: Location) -> bytes:
        """The stored bytes of the frame that holds this copy, all of it checked. Raises Corrupt, OSError."""
        footer, members = self._pack(place.pack_id)
        frame = footer.frames[place.entry.frame]
        fd = os.open(self._root / layout.pack_path(place.pack_id), os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = os.pread(fd, frame.size, frame.offset)
        finally:
            os.close(fd)
        check(frame, members[place.entry.frame], data)
        return data

    def _copy(self, place: Location, data: bytes) -> None:
        header = FrameHeader.parse(data)
        inside = self._pack(place.pack_id)[1][place.entry.frame]
        self._outbox.add(header, data[HEADER_SIZE:], [(entry.id, entry.size) for entry in inside])
        for entry in inside:
            self._sent(entry.id)

    def _add(self, object_id: ObjectId, kind: Kind, raw: bytes) -> None:
        """Encode again, neighbours together, what lies here in a frame with objects that are not to be sent."""
        limit = layout.FRAME_RAW_MAX if len(raw) >= layout.CHUNK_MIN else layout.GROUP_RAW_MAX
        if self._group_kind is not kind or sum(len(r) for _, r in self._group) + len(raw) > limit:
            self._flush()
        self._group_kind = kind
        self._group.append((object_id, raw))
        self._sent(object_id)

    def _flush(self) -> None:
        group, self._group = self._group, []
        for header, stored, inside in encode_group(self._group_kind, group) if group else ():
            self._outbox.add(header, stored, inside)

    # --- bookkeeping ---------------------------------------------------------------------------------------------

    def _may_go(self, entry: ObjectEntry) -> bool:
        """Whether a pushed head reaches the object, or it is there already: else it is nobody's business there."""
        return entry.id in self._plan.reached or entry.id in self._plan.there

    def _missing(self) -> Iterator[ObjectId]:
        return map(self._ids.id, self._plan.missing)

    def _is_left(self, object_id: ObjectId) -> bool:
        number = self._ids.find(object_id)
        return number >= 0 and bool(self._left[number])

    def _pack(self, pack_id: str) -> tuple[Footer, Members]:
        if pack_id not in self._packs:
            footer = self._objects.footer(pack_id)
            self._packs[pack_id] = footer, Members(footer)
        return self._packs[pack_id]

    def _weight(self, object_id: ObjectId) -> int:
        places = self._objects.locate(object_id)  # none: it can be read from the trash only
        return 0 if not places or places[0].is_list else places[0].entry.size

    def _sent(self, object_id: ObjectId) -> None:
        number = self._ids.find(object_id)
        if number < 0 or not self._left[number]:
            return
        self._left[number] = False
        self._count -= 1
        if self._progress is not None:
            self._done += self._weight(object_id)
            if not self._count:
                self._done = self._expected
            if self._done >= self._told + _STEP or not self._count:
                self._told = self._done
                self._progress(self._done, self._expected)


def _damaged(object_id: ObjectId, error: Exception | None) -> Corrupt:
    return Corrupt(
        f"object {object_id} is damaged in this store, so what needs it is not pushed: run fsck ({error})"
    )
