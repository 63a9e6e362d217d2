"""One check of a store, from its files to what its heads reach."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from objstore import layout
from objstore.errors import Corrupt, NotFound, StoreError, Unsupported
from objstore.frame import Encoding
from objstore.fsck.journals import unread_events
from objstore.fsck.lost import headless
from objstore.fsck.names import is_as_named, strangers
from objstore.fsck.report import (
    ACCESS,
    EVENTS,
    HEAL,
    MOVE,
    UPDATE,
    Damage,
    Level,
    Problem,
    Progress,
    Report,
    nowhere,
)
from objstore.fsck.walk import IdSet, Walk
from objstore.graph import Node
from objstore.heads import Head, Heads, Table
from objstore.ids import Kind, ObjectId
from objstore.objects import Location, Objects, Proving, check_claim, pack_files
from objstore.pack import check_length, footer_bytes
from objstore.reading import open_regular
from objstore.scrub import Contents, Fault, Scrubber

_NAMED: Final = 8  # faults of one pack that are named one by one: a torn disk makes thousands
_LOOKS: Final = 3  # walks, while what was missing turns out to have come meanwhile
_HEADLESS: Final = "is in a pack without a head"
_NO_HEADS: Final = (
    "there is not one head, though packs hold commits: heads were lost, and with them what is stored"
)


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
        self._progress = progress or nowhere
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
        proving = Proving(self.objects.stored_bytes, layout.SPARSE_MAX)
        for number, object_id in enumerate(sorted(self._lists), 1):
            for place in self.objects.locate(object_id):
                if place.is_list and not self.damage.has(place):
                    self._check_list(place, proving)
            self._progress("large files", number, len(self._lists))

    def _check_list(self, place: Location, proving: Proving) -> None:
        object_id = place.entry.id
        try:
            proving.begin(object_id, place.entry.size)
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


def _contents(fd: int, pack_id: str) -> Contents:
    """What an open pack holds. Raises Corrupt where its footer does not hash to its id, or does not fit the file."""
    footer, size = footer_bytes(fd, pack_id)
    contents = Contents(footer)
    check_length(pack_id, contents.size, len(footer), size)
    return contents


def _unreadable(head: Head) -> str:
    """Why the commit of a head cannot be read; "" when it can."""
    try:
        head.commit  # noqa: B018  reading it is the check
    except StoreError as error:
        return str(error)
    return ""
