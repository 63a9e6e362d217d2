"""One look at a store's files: heads folded, packs merged, and what that has made superfluous set aside and deleted."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from xxhash import xxh3_64_intdigest

from objstore import layout, trash
from objstore.disclaim import publish_table
from objstore.errors import Corrupt, StoreError
from objstore.frame import HEADER_SIZE, Encoding
from objstore.heads import Head, Heads, PackedHeads, Table, covers, living
from objstore.ids import ObjectId
from objstore.objects import Location, Objects
from objstore.pack import Members, ObjectEntry, check_content, read_footer
from objstore.publish import fsync_folder, move_into_place, temporary
from objstore.reading import open_regular
from objstore.repack.merge import Checked, Merge, content_size, is_small
from objstore.repack.note import Note, alone, file_system_now

_HEADS_RATE: Final = 20 * layout.MIB  # bytes of heads that are folded a second, about
_PACKS_RATE: Final = 100 * layout.MIB  # bytes of packs that are merged a second, about


@dataclass(frozen=True, slots=True)
class Tidied:
    """What was done: heads put into a table, packs merged, files that became superfluous and left."""

    folded: int = 0
    merged: int = 0
    removed: int = 0


def tidy(root: Path, objects: Objects, heads: Heads, *, limit: float | None = None) -> Tidied:
    """Fold and merge what is due in the store at `root`, and remove what that has made superfluous.

    limit: seconds, about; what takes longer is left for another time. Without one, everything is looked at. With one,
    a store that has not grown since the last time costs a listing of its heads. Nothing is done while another process
    does it. Raises OSError when the disk refuses; nothing is lost then, and the next call goes on.
    """
    note = Note.read(root)
    if limit is not None and not _is_due(note, objects, heads):
        return Tidied()
    with alone(root) as nobody_else:
        if not nobody_else:
            return Tidied()
        work = _Tidying(root, objects, heads, note, limit)
        try:
            return work.run()
        finally:
            work.note.write(root)


def _is_due(note: Note, objects: Objects, heads: Heads) -> bool:
    return (
        heads.count_loose() > layout.LOOSE_MAX
        or len(objects.pack_ids()) >= note.packs + layout.MERGE_COUNT
        or 0 < note.again <= time.time()
    )


class _Tidying:
    def __init__(self, root: Path, objects: Objects, heads: Heads, note: Note, limit: float | None) -> None:
        self.note = note
        self._root = root
        self._objects = objects
        self._heads = heads
        self._thorough = limit is None
        self._end = time.monotonic() + (1e9 if limit is None else limit)
        self._now = file_system_now(root)
        self._sound: dict[tuple[str, int], dict[ObjectId, bytes]] = {}  # frames, see `_held`
        self._stored: dict[tuple[str, int], bool] = {}  # frames, see `_is_stored`
        self._inside: dict[str, Members] = {}
        self._sizes: dict[str, int] = {}
        self._marks: dict[str, list[int]] = {}
        self._claimed: set[str] = set()

    def run(self) -> Tidied:
        folded, removed = self._fold()
        self._objects.refresh()
        self._look()
        merged = self._merge_tiers()
        removed += self._remove_packs() + self._remove_tables() + self._purge()
        self.note.packs = len(self._sizes)
        self.note.again = time.time() + layout.SETTLE if self.note.waiting or self.note.aside else 0.0
        return Tidied(folded, merged, removed)

    def _room(self, rate: int) -> float:
        """How many bytes there is time for, at `rate` a second."""
        return (self._end - time.monotonic()) * rate

    def _age(self, name: str) -> float:
        """Seconds that a file has been where it is; 0 when it is gone. By ctime too: a copier keeps an old mtime."""
        try:
            status = (self._root / name).stat()
        except OSError:
            return 0.0
        return self._now - max(status.st_mtime, status.st_ctime)

    # --- heads -----------------------------------------------------------------------------------------------------

    def _fold(self) -> tuple[int, int]:
        """Put the head files into a table when they are many; returns (heads folded, dead heads removed)."""
        loose: dict[str, list[Head]] = {}
        for head in self._heads.sound(self._heads.loose()):
            loose.setdefault(head.key, []).append(head)
        tables = self._heads.uncovered()
        if sum(map(len, loose.values())) <= layout.LOOSE_MAX:
            return 0, self._remove_dead(loose, tables)
        kept: list[Head] = []
        gone: list[Head] = []
        size, fresh = 0, False
        for key, several in loose.items():
            packed = [head for table in tables.values() for head in table.packed().of(key)]
            with suppress(Corrupt):  # more diverged than anybody could fold: left as they are
                alive = self._alive([*several, *packed])
                more = sum(len(head.raw) for head in alive)
                if size + more > layout.HEADS_MAX:
                    continue  # for another table, another time
                size += more
                kept += alive
                gone += several
                fresh = fresh or not {head.id for head in alive} <= {head.id for head in packed}
        if fresh:
            self._write_table(kept, tables)
        else:
            # In tables already: whoever wrote them died before this, or may not remove the files.
            fsync_folder(self._root / layout.TABLES)
        for head in gone:
            # At once: who lists refs/ before refs.packed/ has seen the file or will see the table.
            with suppress(OSError):
                (self._root / head.where).unlink()
        return len(gone), 0

    def _write_table(self, kept: list[Head], tables: dict[str, Table]) -> None:
        absorbed = self._absorbed(tables, kept)
        if absorbed:
            kept = self._united(kept, [tables[table_id].packed() for table_id in absorbed])
        under = {c for table_id in absorbed for c in tables[table_id].covers} & self._heads.table_ids()
        publish_table(self._root, Table(tuple(kept), covers=tuple({*absorbed, *under})))

    def _alive(self, heads: list[Head]) -> list[Head]:
        """The living of one key's heads, and those that cannot be read: they are carried along as they are."""
        if len(heads) == 1:
            return heads
        sound = self._heads.sound(heads)
        unread = [head for head in heads if not any(head is other for other in sound)]
        return [*living(sound), *unread]

    def _united(self, kept: list[Head], tables: list[PackedHeads]) -> list[Head]:
        """The living of some heads and of those in some tables: what is dropped is covered by what is kept."""
        found: dict[str, dict[ObjectId, Head]] = {}
        for head in (*kept, *(head for table in tables for head in table)):
            found.setdefault(head.key, {})[head.id] = head
        united: list[Head] = []
        for heads in found.values():
            try:
                united += self._alive(list(heads.values()))
            except Corrupt:
                united += heads.values()
        return united

    def _absorbed(self, tables: dict[str, Table], kept: list[Head]) -> list[str]:
        """The tables that a table of `kept` takes over: small ones that claim no packs, here or on a remote."""
        raw = sum(len(head.raw) for head in kept)
        found: list[str] = []
        sizes = {
            t: table.packed().size for t, table in tables.items() if not table.packs and not table.dropped
        }
        for table_id in sorted(sizes, key=lambda t: (sizes[t], t)):
            if sizes[table_id] > min(layout.ABSORB * raw, self._room(_HEADS_RATE), layout.HEADS_MAX - raw):
                break
            with suppress(Corrupt):  # a lying writer's: left alone
                tables[table_id].packed().unpack()
                found.append(table_id)
                raw += sizes[table_id]
        return found

    def _remove_dead(self, loose: dict[str, list[Head]], tables: dict[str, Table]) -> int:
        """Remove the head files that have been dead for an hour."""
        removed = 0
        for key, several in loose.items():
            packed = [head for table in tables.values() for head in table.packed().of(key)]
            if len(several) + len(packed) < 2:
                continue
            with suppress(Corrupt):
                alive = living(self._heads.sound([*several, *packed]))
                for head in several:
                    if head.id not in {a.id for a in alive} and self._is_long_dead(head, alive):
                        with suppress(OSError):
                            (self._root / head.where).unlink()
                            removed += 1
        return removed

    def _is_long_dead(self, head: Head, alive: list[Head]) -> bool:
        """Whether what killed a head has been there for an hour: a listing that races with an update must see one."""
        killers = (a for a in alive if covers(a.commit.covers, head.commit.covers))
        return any(self._age(killer.where) >= layout.SETTLE for killer in killers)

    def _remove_tables(self) -> int:
        """Set aside the tables that others have covered for an hour, and more of them than may wait."""
        tables = self._heads.uncovered()
        covered = {c: self._age(layout.table_path(t)) for t, table in tables.items() for c in table.covers}
        waiting = sorted(self._heads.table_ids() & covered.keys(), key=lambda t: -covered[t])
        removed = 0
        for table_id in _due(waiting, covered):
            name = layout.table_path(table_id)
            with suppress(OSError, StoreError):
                # A damaged one is left alone.
                Table.decode((self._root / name).read_bytes(), table_id, lazy=True)
                removed += self._set_aside(name)
        return removed

    # --- merging packs ---------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Note which packs there are, which are claimed, and which wait to be removed."""
        tables = self._heads.uncovered()
        self._claimed = {pack_id for table in tables.values() for pack_id in table.packs}
        for pack_id in self._objects.pack_ids():
            self._measure(pack_id)
        self._put_back()
        waiting, marks = self.note.waiting.items(), self.note.alone.items()
        self.note.waiting = {p: since for p, since in waiting if p in self._sizes and p not in self._claimed}
        self.note.alone = {p: mark for p, mark in marks if self._marks.get(p) == mark}
        if self._thorough:
            self._wait(pack_id for pack_id in list(self._candidates()) if self._is_redundant(pack_id))

    def _wait(self, packs: Iterable[str]) -> None:
        self.note.waiting.update(dict.fromkeys(packs, self._now))

    def _measure(self, pack_id: str) -> None:
        with suppress(OSError):
            status = (self._root / layout.pack_path(pack_id)).stat()
            self._sizes[pack_id] = status.st_size

            self._marks[pack_id] = [status.st_size, status.st_mtime_ns]

    def _put_back(self) -> None:
        """Put claimed packs back that lie in the trash: a push may have claimed one that was on its way there."""
        for pack_id in self._claimed - self._sizes.keys():
            name = layout.pack_path(pack_id)
            with suppress(OSError):
                if trash.put_back(self._root, name):
                    fsync_folder((self._root / name).parent)
                    self._objects.refresh()
                    self._measure(pack_id)

    def _merge_tiers(self) -> int:
        merged = 0
        tried: set[int] = set()
        while (tier := self._fullest(tried)) is not None:
            count = self._merge_some(tier)
            merged += count
            if not count:
                tried.add(tier)
        return merged

    def _fullest(self, tried: set[int]) -> int | None:
        """The lowest tier that has packs enough for a merge."""
        counts = Counter(_tier(self._sizes[pack_id]) for pack_id in self._candidates())
        full = [tier for tier, n in counts.items() if n >= layout.MERGE_COUNT and tier not in tried]
        return min(full, default=None)

    def _candidates(self) -> Iterator[str]:
        left_out = self._claimed | self.note.waiting.keys() | self.note.alone.keys()
        for pack_id, size in self._sizes.items():
            if size < layout.MERGE_MAX and pack_id not in left_out:
                yield pack_id

    def _merge_some(self, tier: int) -> int:
        """Merge packs of one tier; returns how many became one, 0 when they are too few or time is short."""
        packs = sorted(p for p in self._candidates() if _tier(self._sizes[p]) == tier)
        superfluous = {p for p in packs if self._is_redundant(p)}
        self._wait(superfluous)
        packs = [p for p in packs if p not in superfluous]
        if len(packs) < layout.MERGE_COUNT:
            return 0
        packs = self._portion(packs)
        while len(packs) > 1 and sum(self._sizes[p] for p in packs) < self._room(_PACKS_RATE):
            left = self._merge(packs)
            if not left:
                self._wait(packs)
                return len(packs)
            self.note.alone.update({p: self._marks[p] for p in left})
            packs = [p for p in packs if p not in left]
        return 0

    def _portion(self, packs: list[str]) -> list[str]:
        """As many of `packs` as one merge takes, two at least."""
        portion: list[str] = []
        size = objects = 0
        for pack_id in packs[: layout.MERGE_MOST]:
            if len(portion) > 1 and (size >= layout.MERGE_STOP or objects >= layout.MERGE_OBJECTS):
                break
            portion.append(pack_id)
            size += self._sizes[pack_id]
            with suppress(StoreError, OSError):
                objects += len(self._objects.footer(pack_id).objects)
        return portion

    def _merge(self, packs: list[str]) -> list[str]:
        """Publish one pack of all that `packs` hold; if some of them are in the way, do nothing and return these."""
        merge = Merge(temporary(self._root))
        left: list[str] = []
        try:
            for pack_id in packs:
                try:
                    frames = self._checked(pack_id)
                except (StoreError, OSError):
                    left.append(pack_id)  # damaged, or not ours to read, or another process has merged it
                else:
                    merge.add(frames)
            pack_id, footer = merge.finish()
            size = merge.writer.path.stat().st_size
            # A pack is excused by greater ones only, so that two never excuse each other.
            left += [p for p in packs if (self._sizes[p], p) >= (size, pack_id) and p not in left]
            if not left:
                move_into_place(self._root, merge.writer.path, layout.pack_path(pack_id))
                self._objects.add(pack_id, footer)
                self._measure(pack_id)
        finally:
            merge.writer.discard()
        return left

    def _checked(self, pack_id: str) -> list[Checked]:
        """The frames of a pack, each checked with all that it holds. Raises NotFound, Corrupt, Unsupported, OSError."""
        footer = self._objects.footer(pack_id)
        if sum(content_size(frame) for frame in footer.frames) > layout.MERGE_RAW_MAX:
            raise Corrupt(f"pack {pack_id} holds more than is decoded to merge it")
        inside = Members(footer)
        with _opened(self._root / layout.pack_path(pack_id)) as fd:
            found = []
            for frame, members in zip(footer.frames, inside, strict=True):
                data = os.pread(fd, frame.size, frame.offset)
                raw = check_content(frame, data, members)
                found.append(Checked(frame, members, data[HEADER_SIZE:], raw if is_small(frame) else b""))
        return found

    # --- removing packs --------------------------------------------------------------------------------------------

    def _is_redundant(self, pack_id: str) -> bool:
        """Whether each object of a pack has a copy in a greater one, by their footers."""
        return self._excuses(pack_id) is not None

    def _excuses(self, pack_id: str) -> dict[ObjectEntry, list[Location]] | None:
        """For each object of a pack its copies in greater ones; None when one has none."""
        try:
            footer = self._objects.footer(pack_id)
        except (StoreError, OSError):
            return None
        found = {}
        mine = (self._sizes[pack_id], pack_id)
        for entry in footer.objects:
            header = footer.frames[entry.frame].header
            copies = [
                place
                for place in self._objects.locate(entry.id)
                if (self._sizes.get(place.pack_id, 0), place.pack_id) > mine
                and place.kind is header.kind
                and (header.encoding is Encoding.LIST or not place.is_list)
            ]
            if not copies:
                return None
            found[entry] = copies
        return found

    def _remove_packs(self) -> int:
        """Set aside the packs that others have made redundant for an hour, and more of them than may wait."""
        ages = {pack_id: self._now - since for pack_id, since in self.note.waiting.items()}
        removed = 0
        for pack_id in _due(sorted(ages, key=lambda p: (-ages[p], p)), ages):
            if self._room(_PACKS_RATE) < self._sizes[pack_id]:
                break
            del self.note.waiting[pack_id]
            with suppress(OSError, StoreError):
                if not self._is_replaced(pack_id):
                    self.note.alone[pack_id] = self._marks[pack_id]
                elif self._set_aside(layout.pack_path(pack_id)):
                    removed += 1
                    del self._sizes[pack_id]
        if removed:
            self._objects.refresh()
        return removed

    def _is_replaced(self, pack_id: str) -> bool:
        """Whether each object of a pack was read back, whole and right, from a greater one."""
        excuses = self._excuses(pack_id)
        if excuses is None:
            return False
        for entry, copies in excuses.items():
            mine = None
            for place in copies:
                if place.is_list:  # another list of chunks would have to be proved: only the same one will do
                    mine = mine or self._held(pack_id, entry.frame).get(entry.id)
                    if (
                        mine is not None
                        and self._held(place.pack_id, place.entry.frame).get(entry.id) == mine
                    ):
                        break
                elif entry.id in self._held(place.pack_id, place.entry.frame):
                    break
            else:
                return False
        return True

    def _held(self, pack_id: str, number: int) -> dict[ObjectId, bytes]:
        """The objects in a frame as read from the disk and checked, a chunk list with its bytes; none if damaged."""
        key = (pack_id, number)
        if key not in self._sound:
            self._sound[key] = {}
            with suppress(StoreError, OSError):
                footer = self._objects.footer(pack_id)
                frame = footer.frames[number]
                if pack_id not in self._inside:
                    self._inside[pack_id] = Members(footer)
                members = self._inside[pack_id][number]
                with _opened(self._root / layout.pack_path(pack_id)) as fd:
                    raw = check_content(frame, os.pread(fd, frame.size, frame.offset), members)
                kept = raw if frame.header.encoding is Encoding.LIST else b""
                self._sound[key] = dict.fromkeys([entry.id for entry in members], kept)
        return self._sound[key]

    def _set_aside(self, name: str) -> int:
        epoch = int(self._now)
        if not trash.set_aside(self._root, name, epoch):
            return 0
        self.note.aside.append(f"{epoch}/{name}")
        return 1

    def _purge(self) -> int:
        """Delete what was set aside here an hour ago, or more than may wait, and is still superfluous.

        What is not any more, or cannot be told, is left to gc and its grace.
        """
        ages = {name: self._now - int(name.partition("/")[0]) for name in self.note.aside}
        due = set(_due(sorted(ages, key=lambda name: -ages[name]), ages))
        self.note.aside = [name for name in self.note.aside if name not in due]
        removed = 0
        for name in due:
            path = self._root / layout.TRASH / name
            with suppress(OSError, StoreError):
                if self._is_superfluous(path):
                    path.unlink()
                    removed += 1
                    for folder in list(path.parents)[: name.count("/")]:
                        folder.rmdir()
        return removed

    def _is_superfluous(self, path: Path) -> bool:
        pack_id, table_id = layout.parse_pack_name(path.name), layout.parse_table_name(path.name)
        if table_id is not None:
            return any(table_id in table.covers for table in self._heads.uncovered().values())
        assert pack_id is not None
        with _opened(path) as fd:
            footer = read_footer(fd, pack_id)
        return all(
            any(
                (not place.is_list or footer.frames[entry.frame].header.encoding is Encoding.LIST)
                and self._is_stored(place.pack_id, place.entry.frame)
                for place in self._objects.locate(entry.id)
            )
            for entry in footer.objects
        )

    def _is_stored(self, pack_id: str, number: int) -> bool:
        """Whether a frame is still on the disk as its pack's footer says: an hour ago its content was, too."""
        key = (pack_id, number)
        if key not in self._stored:
            self._stored[key] = False
            with suppress(StoreError, OSError), _opened(self._root / layout.pack_path(pack_id)) as fd:
                frame = self._objects.footer(pack_id).frames[number]
                data = os.pread(fd, frame.size, frame.offset)
                self._stored[key] = len(data) == frame.size and xxh3_64_intdigest(data) == frame.xxh3
        return self._stored[key]


def _tier(size: int) -> int:
    """Packs of one tier differ in size by less than 16 times."""
    return (size.bit_length() - 1) // 4


def _due(waiting: list[str], ages: dict[str, float]) -> list[str]:
    """Of what waits, oldest first: what has waited for an hour, and all but the youngest few."""
    extra = len(waiting) - layout.WAITING_MAX
    return [name for n, name in enumerate(waiting) if n < extra or ages[name] >= layout.SETTLE]


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    fd = open_regular(path)
    try:
        yield fd
    finally:
        os.close(fd)
