"""Checks a store: its files against their names, stored bytes against what pins them, objects against their ids, and
heads for what they reach. Reads only; what is wrong is named, with the heads that it touches and what to do.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final

from objstore import journal, layout
from objstore.errors import Corrupt, NotFound, StoreError, Unsupported
from objstore.frame import Encoding
from objstore.graph import Node, edges
from objstore.heads import Head, Heads, Table, living
from objstore.ids import Kind, ObjectId, hash_bytes, hash_object
from objstore.objects import Location, Objects, check_claim, pack_files
from objstore.pack import check_length, footer_bytes
from objstore.reading import open_regular
from objstore.records import Commit
from objstore.scrub import Contents, Fault, Scrubber

Progress = Callable[[str, int, int], None]  # (what is done, how much of it, of how much; 0: not known)

_NAMED: Final = 8  # faults of one pack that are named one by one: a torn disk makes thousands
_LOOKS: Final = 3  # walks, while what was missing turns out to have come meanwhile
_STEP: Final = 1000  # objects between two calls of progress

_HEADLESS: Final = "is in a pack without a head"
_NO_HEADS: Final = (
    "there is not one head, though packs hold commits: heads were lost, and with them what is stored"
)
_MISSING: Final = "is missing, though a head or a journal refers to it"

HEAL: Final = (
    "run `fsck --heal`: it takes sound copies from other packs, the trash, remotes or your own files"
)
UPDATE: Final = "update this program: a newer version wrote it"
MOVE: Final = "move it out of the store, or give it back the name it had"
ACCESS: Final = "see to the disk, or to who may read it: nothing is known to be damaged yet"
EVENTS: Final = "seal what can be read with `tracker recover`: what lies behind the damage is nowhere else"


class Level(str, Enum):
    """How much is checked; each includes INDEX, and CONTENT is everything.

    INDEX: names, sizes, footers, heads, tables and journals. REACHABLE: that what living heads reach is there; trees
    and commits are read, other objects only looked up. CHECKSUMS: all stored bytes, by their fast checksum. CONTENT:
    all objects, decoded and hashed, and what heads reach.
    """

    INDEX = "index"
    CHECKSUMS = "checksums"
    CONTENT = "content"
    REACHABLE = "reachable"

    @property
    def _reads_packs(self) -> bool:
        return self in (Level.CHECKSUMS, Level.CONTENT)

    @property
    def _follows_heads(self) -> bool:
        return self in (Level.REACHABLE, Level.CONTENT)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: the file or object, what, the (kind, group, name) of the things it touches, what to do.

    through: the objects by which their heads reach it, for who wants to name more closely what it touches; keys: of
    the things, in the order of `touches`.
    """

    where: str
    what: str
    touches: tuple[tuple[str, ...], ...] = ()
    advice: str = ""
    through: frozenset[ObjectId] = frozenset()
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """What was checked, and what is wrong with it. objects: of readable packs, each once; size: bytes of the packs.

    notes: what may be wrong, or only the rest of work that was interrupted: commits without a head.
    """

    packs: int
    objects: int
    size: int
    heads: int
    problems: tuple[Problem, ...]
    notes: tuple[Problem, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def check(
    root: Path,
    level: Level = Level.CONTENT,
    *,
    roots: Iterable[Node] = (),
    progress: Progress | None = None,
) -> Report:
    """Check the store at `root`. Packs that come and go meanwhile are no problem.

    roots: objects that are needed besides those that heads reach, with all that they reach: journals refer to them.
    """
    inspection = Inspection(root, level, roots=roots, progress=progress)
    try:
        return inspection.run()
    finally:
        inspection.objects.close()


@dataclass
class Damage:
    """What is to be repaired; paths are relative to the store.

    packs: files that are no sound pack, and why; heads: head files and tables that are not what their names say; lost:
    objects that heads reach and of which no sound copy is here, and why; faulty: damaged frames as (pack id, frame),
    and single objects that lie as (pack id, frame, object id).
    """

    packs: dict[str, str] = field(default_factory=dict)
    heads: dict[str, str] = field(default_factory=dict)
    lost: dict[Node, str] = field(default_factory=dict)
    faulty: set[tuple[str, int] | tuple[str, int, ObjectId]] = field(default_factory=set)
    suspects: dict[ObjectId, tuple[Kind, str]] = field(
        default_factory=dict
    )  # those with a damaged copy, and why

    def has(self, place: Location) -> bool:
        """Whether this copy is damaged."""
        frame = (place.pack_id, place.entry.frame)
        return frame in self.faulty or (*frame, place.entry.id) in self.faulty

    def sound(self, objects: Objects, object_id: ObjectId) -> list[Location]:
        """The copies of an object that are not known to be damaged."""
        places = objects.locate(object_id)
        return places if object_id not in self.suspects else [p for p in places if not self.has(p)]


class Inspection:
    """One check: `run` makes it, then `damage` says what is to be repaired and `sound` which packs are without a fault.

    trusted: packs that an earlier check has found sound, which are not read again.
    """

    def __init__(
        self,
        root: Path,
        level: Level,
        *,
        objects: Objects | None = None,
        roots: Iterable[Node] = (),
        trusted: frozenset[str] = frozenset(),
        progress: Progress | None = None,
    ) -> None:
        # What a cache remembers is what is to be checked.
        self.objects = objects or Objects(root, keep=False, trust=False)
        self.heads = Heads(root)
        self.damage = Damage()
        self.sound: set[str] = set()
        self._root = root
        self._level = level
        self._roots = list(roots)
        self._trusted = trusted
        self._progress = progress or _nowhere
        self._ids = IdSet()
        self._lists: set[ObjectId] = set()
        self._problems: list[Problem] = []
        self._notes: list[Problem] = []
        self._packs = 0
        self._size = 0
        self._done = 0
        self._total = 0

    def run(self) -> Report:
        """Check all that the level says."""
        live = self._check_heads()
        self._check_packs()
        if self._level is Level.CONTENT:
            self._check_lists()
        self._check_journals()
        self._check_names()
        if self._level._follows_heads or self._problems:
            self._follow(live)
        self._check_headless(live)
        return Report(
            self._packs, len(self._ids), self._size, len(live), tuple(self._problems), tuple(self._notes)
        )

    # --- packs -------------------------------------------------------------------------------------------------------

    def _check_packs(self) -> None:
        self.objects.refresh()  # before the ids are collected: to build an index takes memory, too
        checked: set[str] = set()
        with Scrubber(content=self._level is Level.CONTENT) as scrubber:
            while found := set(pack_files(self._root)) - checked:
                self._total += sum(map(self._bytes, found))
                for pack_id in sorted(found):
                    self._check_pack(scrubber, pack_id)
                checked |= found  # more may have come meanwhile: what took over the objects of one that went
        self.objects.refresh()

    def _bytes(self, pack_id: str) -> int:
        with suppress(OSError):
            return (self._root / layout.pack_path(pack_id)).stat().st_size
        return 0

    def _check_pack(self, scrubber: Scrubber, pack_id: str) -> None:
        where = layout.pack_path(pack_id)
        try:
            fd = open_regular(self._root / where)
        except FileNotFoundError:
            if os.path.islink(self._root / where):
                self._pack_is_damaged(where, "is a link to nothing")
            return  # else merged or collected since it was listed: whether anything is missing is seen from the heads
        except Corrupt:
            self._pack_is_damaged(where, "is no regular file")
            return
        except OSError as error:
            self._note(where, f"cannot be opened: {error.strerror}", ACCESS)
            return
        try:
            self._check_open(scrubber, pack_id, fd)
        except OSError as error:
            if os.path.lexists(self._root / where):  # else the server no longer knows what was opened here
                self._pack_is_damaged(where, f"cannot be read: {error.strerror}")
        finally:
            os.close(fd)

    def _check_open(self, scrubber: Scrubber, pack_id: str, fd: int) -> None:
        where = layout.pack_path(pack_id)
        size = os.fstat(fd).st_size
        try:
            contents = _contents(fd, pack_id)
        except Unsupported as error:
            self._note(where, str(error), UPDATE)
            return
        except StoreError as error:
            self._pack_is_damaged(where, str(error))
            return
        self._packs += 1
        self._size += size
        self._count(contents)
        faults: list[Fault] = []
        if self._level._reads_packs and pack_id not in self._trusted:
            faults = list(scrubber.faults(fd, contents, self._step))
        else:
            self._step(size)
        if faults:
            self._take_faults(pack_id, faults)
        else:
            self.sound.add(pack_id)

    def _count(self, contents: Contents) -> None:
        for object_id in contents.ids():
            self._ids.add(object_id)
        for number, frame in enumerate(contents.frames):
            if frame.header.encoding is Encoding.LIST:
                self._lists.add(contents.inside(number)[0].id)

    def _step(self, size: int) -> None:
        self._done += size
        self._progress("bytes", self._done, self._total)

    def _note(self, where: str, what: str, advice: str) -> None:
        self._problems.append(Problem(where, what, (), advice))

    def _pack_is_damaged(self, where: str, what: str) -> None:
        self.damage.packs[where] = what
        self._note(where, what, HEAL)

    def _take_faults(self, pack_id: str, faults: list[Fault]) -> None:
        where = layout.pack_path(pack_id)
        for fault in faults[:_NAMED]:
            what = f"the frame at byte {fault.offset}: {fault.what}"
            self._note(where, what, UPDATE if fault.alien else HEAL)
        if len(faults) > _NAMED:
            self._note(where, f"{len(faults) - _NAMED} more of its frames or objects are damaged", HEAL)
        for fault in faults:
            self._take_fault(pack_id, fault)

    def _take_fault(self, pack_id: str, fault: Fault) -> None:
        if not fault.alien:
            self.damage.packs.setdefault(layout.pack_path(pack_id), fault.what)
        frame = (pack_id, fault.frame)
        self.damage.faulty.add((*frame, fault.ids[0]) if fault.lone else frame)
        self.damage.suspects.update(dict.fromkeys(fault.ids, (fault.kind, fault.what)))

    # --- chunk lists -------------------------------------------------------------------------------------------------

    def _check_lists(self) -> None:
        """Prove every copy of every chunk list, not only those that readers happen to use."""
        for number, object_id in enumerate(sorted(self._lists), 1):
            for place in self.objects.locate(object_id):
                if place.is_list and not self.damage.has(place):
                    self._check_list(place)
            self._progress("large files", number, len(self._lists))

    def _check_list(self, place: Location) -> None:
        object_id = place.entry.id
        try:
            self.objects.prove(place)
        except StoreError as error:
            if place not in self.objects.locate(object_id) or not self._is_complete(place):
                return  # its pack was merged away; or a chunk is missing, which counts where a head reaches it
            self._note(layout.pack_path(place.pack_id), f"object {object_id}: {error}", HEAL)
            self._take_fault(place.pack_id, Fault(place.entry.frame, 0, str(error), Kind.BLOB, (object_id,)))
            self.sound.discard(place.pack_id)

    def _is_complete(self, place: Location) -> bool:
        """Whether sound copies of all chunks of a list are here, so that what is wrong is wrong with the list."""
        try:
            check_claim(place.entry.size, self.objects.stored_bytes)
            return all(self.damage.sound(self.objects, i) for i, _ in self.objects.chunks(place))
        except NotFound:
            return False
        except StoreError:
            return True

    # --- heads and journals ------------------------------------------------------------------------------------------

    def _check_heads(self) -> list[Head]:
        """The living heads. Dead ones, and tables that another one covers, are checked like them."""
        live = [head for heads in self.heads.live().values() for head in heads]
        damaged = dict(self.heads.damaged)
        tables = self.heads.tables().values()
        # Made anew from the tables, so that the commits of a hundred thousand heads are not kept.
        damaged |= {head.where: what for head in self._every(tables) if (what := _unreadable(head))}
        damaged |= self.heads.damaged
        for where, what in sorted(damaged.items()):
            if is_as_named(self._root / where):
                self._note(where, what, UPDATE)
            else:
                self.damage.heads[where] = what
                self._note(where, what, HEAL)
        return [head for head in live if head.where not in damaged or not _unreadable(head)]

    def _every(self, tables: Iterable[Table]) -> Iterator[Head]:
        yield from Heads(self._root).loose()
        for table in tables:
            yield from table.heads

    def _check_headless(self, live: list[Head]) -> None:
        """Tell commits that no head covers: one is what a writer leaves that dies before its head, all are a loss."""
        none = not live and not self.heads.damaged and not self.damage.heads
        if not none and not self._level._follows_heads:
            return
        lost = headless(self._root, self.objects)
        if lost:  # a writer may have been just between its pack and its head
            still = {head.id for head in headless(self._root, self.objects)}
            lost = [head for head in lost if head.id in still]
        if none and lost and self._had_heads(lost):
            things = sorted({(head.commit.path, head.key) for head in lost})
            touches, keys = tuple(path for path, _ in things), tuple(key for _, key in things)
            self._problems.append(Problem(layout.REFS, _NO_HEADS, touches, HEAL, keys=keys))
            return
        walk = Walk(self.objects, self.damage, self._progress)
        for head in lost:
            walk.descend((Kind.COMMIT, head.id))
            whole = not walk.reaches_hurt((Kind.COMMIT, head.id))
            what = _HEADLESS if whole else f"{_HEADLESS}, and not all that it reaches is here"
            self._notes.append(
                Problem(f"commit {head.id}", what, (head.commit.path,), HEAL, keys=(head.key,))
            )

    def _had_heads(self, lost: list[Head]) -> bool:
        """Whether a store without heads had some: else its very first writer died between its pack and its head.

        That one leaves commits of one pack, none of them a later one of its key; and it makes no folder go.
        """
        # What a journal is still there of is sealed anew from it.
        lost = [head for head in lost if not (self._root / layout.LIVE / head.key).is_dir()]
        several = len({head.where for head in lost}) > 1
        later = any(head.commit.generation > 1 for head in lost)
        return bool(lost) and (several or later or not (self._root / layout.REFS).is_dir())

    def _check_journals(self) -> None:
        for folder in sorted(self._root.glob(f"{layout.LIVE}/*/*/")):
            where = folder.relative_to(self._root).as_posix()
            heads = self.heads.of(folder.parent.name)
            covered = max((head.commit.covers.get(folder.name, 0) for head in heads), default=0)
            try:
                what = unread_events(folder, covered)
            except OSError as error:
                self._note(where, f"cannot be read: {error.strerror}", ACCESS)
                continue
            if what:
                self._note(where, what, EVENTS)

    # --- names -------------------------------------------------------------------------------------------------------

    def _check_names(self) -> None:
        """Files where a pack, head or table belongs whose name is not that of one: a damaged name hides what it had."""
        for base in (*layout.UNION, layout.LIVE, layout.TMP):
            path = self._root / base
            if os.path.lexists(path) and not path.is_dir():
                self._note(base, "is no folder: nothing can be stored or read there", "move the file away")
        for where in strangers(self._root):
            self._note(where, "is no name of a pack, head or table: nothing reads it", MOVE)

    # --- what heads reach --------------------------------------------------------------------------------------------

    def _follow(self, live: list[Head]) -> None:
        for _ in range(_LOOKS):
            walk = Walk(self.objects, self.damage, self._progress)
            walk.follow(live)
            for root in self._roots:
                walk.descend(root)
            self.objects.refresh()
            if not any(self.damage.sound(self.objects, object_id) for _, object_id in walk.absent):
                break
        self.damage.lost = walk.hurt
        for node, what in walk.hurt.items():
            things, through = walk.above(node)
            touches, keys = tuple(path for path, _ in things), tuple(key for _, key in things)
            where = f"{node[0].name.lower()} {node[1]}"
            self._problems.append(Problem(where, what, touches, HEAL, through, keys))


def headless(root: Path, objects: Objects, more: Iterable[Head] = ()) -> list[Head]:
    """The commits in packs, and those of `more`, that no head covers: of heads that were lost or never written.

    Only those that live among all commits of their key: a commit of a running task, or an old one, that another
    covers was no head any more, and that of a deletion covers all that was deleted.
    """
    live = Heads(root).live()
    found: dict[str, list[Head]] = {}
    for head in (*more, *_commits(objects, {h.id for heads in live.values() for h in heads})):
        now = live.get(head.key, [])
        alive = living([*now, *found.get(head.key, ()), head])
        found[head.key] = [h for h in alive if h not in now]
    return [head for key in sorted(found) for head in found[key]]


def _commits(objects: Objects, known: set[ObjectId]) -> Iterator[Head]:
    for pack_id in sorted(objects.pack_ids()):
        try:
            footer = objects.footer(pack_id)
        except (StoreError, OSError):
            continue  # merged away meanwhile, or told with its pack
        entries = [e for e in footer.objects if footer.kind(e) is Kind.COMMIT and e.id not in known]
        for entry in sorted(entries, key=lambda e: (e.frame, e.offset)):
            with suppress(StoreError):
                raw = objects.read(entry.id, Kind.COMMIT, limit=layout.RECORD_MAX)
                yield Head(Commit.decode(raw).key, entry.id, raw, layout.pack_path(pack_id))


class Walk:
    """From heads to all they reach, each object once. Keeps what is `hurt`, and what leads there, nothing else."""

    def __init__(self, objects: Objects, damage: Damage, progress: Progress | None = None) -> None:
        self.hurt: dict[Node, str] = {}  # what is missing or damaged, and why
        self.absent: set[Node] = set()  # those of them of which no copy is here
        self._objects = objects
        self._damage = damage
        self._progress = progress or _nowhere
        self._seen = {kind: IdSet() for kind in Kind}
        self._count = 0
        self._named: dict[
            Node, list[Node | Head]
        ] = {}  # of what is hurt or reaches something hurt: who names it

    def follow(self, heads: list[Head]) -> None:
        """Walk from these heads; what was walked already is not walked again."""
        for head in heads:
            root = (Kind.COMMIT, head.id)
            self.descend(root)
            if root in self._named:
                self._named[root].append(head)

    def descend(self, root: Node) -> None:
        """Walk from one object."""
        stack = [(root, iter(below), below)] if (below := self._enter(root)) is not None else []
        while stack:
            node, left, children = stack[-1]
            for child in left:
                if (below := self._enter(child)) is not None:
                    stack.append((child, iter(below), below))
                    break
            else:
                stack.pop()
                self._leave(node, children)

    def reaches_hurt(self, root: Node) -> bool:
        """Whether something hurt was found at or below an object that was walked."""
        return root in self._named

    def above(self, node: Node) -> tuple[list[tuple[tuple[str, ...], str]], frozenset[ObjectId]]:
        """The (path, key) of the things whose heads reach a hurt object, and the objects in between."""
        things: set[tuple[tuple[str, ...], str]] = set()
        stack, seen = [node], {node}
        while stack:
            for above in self._named.get(stack.pop(), ()):
                if isinstance(above, Head):
                    things.add((above.commit.path, above.key))
                elif above not in seen:
                    seen.add(above)
                    stack.append(above)
        return sorted(things), frozenset(object_id for _, object_id in seen)

    def _enter(self, node: Node) -> list[Node] | None:
        """What an object names; None when there is nothing to go on with."""
        kind, object_id = node
        if not self._seen[kind].add(object_id):
            return None
        self._count += 1
        if self._count % _STEP == 0:
            self._progress("objects", self._count, 0)
        below, why = self._below(node)
        if why:
            self.hurt[node] = why
            self._named[node] = []
            return None
        return below

    def _leave(self, node: Node, children: list[Node]) -> None:
        # All below is walked by now: nothing reaches itself, since an id holds the hash of what it names.
        for child in dict.fromkeys(children):
            if child in self._named:
                self._named[child].append(node)
                self._named.setdefault(node, [])

    def _below(self, node: Node) -> tuple[list[Node], str]:
        kind, object_id = node
        places = self._damage.sound(self._objects, object_id)
        if not places and object_id in self._damage.suspects:
            return [], self._damage.suspects[object_id][1]
        if not places:
            self.absent.add(node)
            return [], _MISSING
        try:
            if kind is Kind.BLOB and self._is_whole(places):
                return [], ""
            return edges(self._objects, node), ""
        except NotFound:
            self.absent.add(node)
            return [], _MISSING
        except StoreError:
            what = kind.name.lower()
            return [], f"cannot be read as a {what}, though it is referred to as one"

    def _is_whole(self, places: list[Location]) -> bool:
        """Whether one of several copies of a blob needs nothing that is not here: then no other matters."""
        if any(place.kind is Kind.BLOB and not place.is_list for place in places):
            return True
        for place in places if len(places) > 1 else ():
            with suppress(StoreError):
                if all(self._damage.sound(self._objects, i) for i, _ in self._objects.chunks(place)):
                    return True
        return False


class IdSet:
    """A set of object ids in 40 bytes each, where Python's own takes 150: a store may hold millions."""

    __slots__ = ("_shelves", "_size")

    _TAIL: Final = 30  # bytes of an id behind the two that choose its shelf

    def __init__(self) -> None:
        self._shelves: dict[bytes, bytearray] = {}
        self._size = 0

    def add(self, object_id: bytes) -> bool:
        """Take an id in; whether it is new."""
        shelf, tail = self._shelves.get(object_id[:2]), object_id[2:]
        if shelf is None:
            self._shelves[object_id[:2]] = bytearray(tail)
        elif self._is_on(shelf, tail):
            return False
        else:
            shelf += tail
        self._size += 1
        return True

    def __contains__(self, object_id: bytes) -> bool:
        shelf = self._shelves.get(object_id[:2])
        return shelf is not None and self._is_on(shelf, object_id[2:])

    def __len__(self) -> int:
        return self._size

    def _is_on(self, shelf: bytearray, tail: bytes) -> bool:
        at = shelf.find(tail)
        while at % self._TAIL and at > 0:  # the end of one id and the beginning of the next
            at = shelf.find(tail, at + 1)
        return at >= 0


def _contents(fd: int, pack_id: str) -> Contents:
    """What an open pack holds. Raises Corrupt where its footer does not hash to its id, or does not fit the file."""
    footer, size = footer_bytes(fd, pack_id)
    contents = Contents(footer)
    check_length(pack_id, contents.size, len(footer), size)
    return contents


# --- files -----------------------------------------------------------------------------------------------------------


def strangers(root: Path) -> Iterator[str]:
    """Files in the shared folders whose names are those of no pack, head or table; paths relative to the store."""
    for base in layout.UNION:
        for folder, folders, names in os.walk(root / base):
            folders.sort()
            place = Path(folder).relative_to(root).parts
            for name in sorted(names):
                if not name.startswith(".") and not _has_place((*place, name)):
                    yield "/".join((*place, name))


def _has_place(parts: tuple[str, ...]) -> bool:
    base, name = parts[0], parts[-1]
    if base == layout.TABLES:
        return len(parts) == 2 and layout.parse_table_name(name) is not None
    if base == layout.REFS:
        return len(parts) == 3 and layout.parse_head_name(name) is not None
    pack_id = layout.parse_pack_name(name)
    return len(parts) == 3 and pack_id is not None and parts[1] == pack_id[:2]


def _unreadable(head: Head) -> str:
    """Why the commit of a head cannot be read; "" when it can."""
    try:
        head.commit  # noqa: B018  reading it is the check
    except StoreError as error:
        return str(error)
    return ""


def is_as_named(path: Path) -> bool:
    """Whether a head file or table holds the bytes that its name stands for, so that only reading them fails."""
    head, table_id = layout.parse_head_name(path.name), layout.parse_table_name(path.name)
    try:
        fd = open_regular(path)
    except (OSError, StoreError):
        return False
    with os.fdopen(fd, "rb") as file:
        try:
            if head is not None:
                raw = file.read(layout.RECORD_MAX + 1)
                return hash_object(Kind.COMMIT, raw) == ObjectId.parse(head[1])
            size = os.fstat(fd).st_size
            return size <= layout.TABLE_MAX and hash_bytes(file.read()).hex() == table_id
        except OSError:
            return False


# --- journals --------------------------------------------------------------------------------------------------------


def unread_events(folder: Path, covered: int) -> str:
    """What is lost of a journal of which events up to number `covered` are sealed; "" where nothing is.

    A record at the end that was cut short when its writer died was never acknowledged: that is no loss.
    """
    found = journal.scan(folder)
    if found.last < covered:
        return _beyond_damage(folder, covered)
    inner = [(first, last) for first, last in found.missing if first > 1]
    if not found.unread and not inner and not (found.torn and journal.goes_on(folder)):
        return ""
    if journal.scan(folder).last > found.last or not folder.exists():
        return ""  # its writer was just writing, or it was sealed and removed
    parts = [f"{found.records} events can be read"]
    if found.torn:
        parts.append(f"{found.torn} bytes behind them cannot")
    if inner:
        parts.append("segments are missing: " + ", ".join(f"{first} to {last}" for first, last in inner))
    if found.unread:
        parts.append("segments that cannot be read: " + ", ".join(map(str, found.unread)))
    return "; ".join(parts)


def _beyond_damage(folder: Path, covered: int) -> str:
    """What is lost where the damage lies among events that are sealed: later ones, which nothing leads to any more."""
    last = max((record.number for record in journal.read(folder, covered)), default=covered)
    if not journal.holds(folder, last) or any(journal.read(folder, last)):
        return ""  # what cannot be read is sealed, or its writer was just writing
    return f"events from {last + 1} on cannot be read, for damage before them"


def _nowhere(what: str, done: int, total: int) -> None:
    """Progress that nobody wants to see."""
