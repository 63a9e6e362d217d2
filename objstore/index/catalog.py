"""Which packs a store has and where each object lies in them, in little memory and without reading their footers twice.

What is new and little is a plain dict; the rest are segments in `cache/index`, or in memory where that cannot be
written. Whatever in them turns out to be wrong is dropped and read from the packs' own footers; nothing here is an
error to a caller.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from heapq import merge
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from objstore import layout
from objstore.errors import Corrupt, StoreError
from objstore.frame import HEADER_SIZE, Encoding
from objstore.ids import Kind, ObjectId
from objstore.index.opened import OpenFile, guard, pack_files
from objstore.index.segment import PLACE, Broken, Segment, word
from objstore.pack import Footer, ObjectEntry, check_length, footer_bytes, footer_counts, trailer_size

if TYPE_CHECKING:
    from objstore.index.build import Rows

_FLUSH_ROWS: Final = 32_768  # rows in the dict before they become a segment: 10 MB
_ALONE_ROWS: Final = 32_768  # rows of a pack just published that become a segment at once
_KEEP_ROWS: Final = (
    8_192  # rows, or packs, read from footers that are worth a segment: numpy must be imported for it
)
_KEEP_PACKS: Final = 128
_HEAVY_ROWS: Final = 8_192  # rows of one footer, or of many read at once, from which numpy is the faster way
_LIGHT_ROWS: Final = 64  # rows of a footer that are parsed faster without numpy
_BATCH_ROWS: Final = 262_144  # rows that become one segment when many footers are read: 19 MB
_RATIO: Final = 3  # a segment is merged with those that together have a third of its rows
_DROPS_MAX: Final = 3  # segments found broken before no more are written: then it is the disk
_SIZE: Final = (1 << 32) - 1
_OFFSET: Final = (1 << 48) - 1


@dataclass(frozen=True, slots=True)
class Location:
    """One stored copy of an object; `is_list` when it is stored as a chunk list.

    at: where its frame begins in the pack; stored: bytes of the frame's payload; xxh3: of its header and payload;
    aside: the pack lies in the trash.
    """

    pack_id: str
    entry: ObjectEntry
    kind: Kind
    is_list: bool
    at: int
    stored: int
    xxh3: int
    aside: bool = False


class Row(NamedTuple):
    """One stored copy of an object; stored: its share of the bytes of its frame, by size."""

    id: ObjectId
    kind: Kind
    is_list: bool
    size: int
    stored: int
    pack_id: str
    frame: int


class _Recent:
    """Rows in a dict: id -> the places of all its rows, one after another."""

    __slots__ = ("count", "dead", "live", "packs", "rows")

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes] = {}
        self.packs: list[tuple[str, int]] = []
        self.live = bytearray()
        self.dead = False  # whether rows of packs that are gone are among them
        self.count = 0

    def take(self, pack_id: str, footer: Footer, size: int) -> int:
        """Add a pack's rows; returns its number. They count once that is set in `live`."""
        number = len(self.packs)
        self.packs.append((pack_id, size))
        self.live.append(0)
        frames = [
            (
                f.header.stored_size,
                f.header.kind << 56 | f.header.encoding << 48 | f.offset,
                0 if f.header.encoding is Encoding.LIST else f.header.raw_size << 32,
                f.xxh3,
            )
            for f in footer.frames
        ]
        rows, pack = self.rows, PLACE.pack
        for object_id, frame, offset, length in footer.objects.rows():
            stored, where, raw, xxh3 = frames[frame]
            place = pack(number, frame, offset, stored, where, raw | length, xxh3)
            before = rows.get(object_id)
            rows[object_id] = place if before is None else before + place
        self.count += len(footer.objects)
        return number

    def find(self, object_id: bytes) -> list[bytes]:
        places = self.rows.get(object_id)
        if places is None:
            return []
        return [places[at : at + PLACE.size] for at in range(0, len(places), PLACE.size)]


_Holder = _Recent | Segment


class _Again(Exception):
    """What is known of packs has just changed: look again."""


class Catalog:
    """The index of one store. keep: whether it may write below `cache/`; trust: whether it believes what is there.

    Finding takes no lock: what it looks at is replaced whole, never emptied. What changes it holds `guard()`.
    """

    def __init__(self, root: Path, *, keep: bool, trust: bool = True) -> None:
        self._root = root
        self._trust = trust
        self._folder = root / layout.INDEX
        self._keep = keep
        self._recent = _Recent()
        self._segments: tuple[Segment, ...] = ()
        self._owner: dict[str, tuple[_Holder, int]] = {}  # the packs there are, and who has their rows
        self.listed: frozenset[str] = frozenset()  # the packs that the last look saw by name
        self._refused: set[str] = set()  # names of segment files that are of no use
        self._distrusted: set[str] = set()  # packs of which only the footer is believed
        self._drops = 0
        self._forgotten = 0  # how often a pack was: who finds nothing meanwhile has to look again
        self.damaged: dict[str, str] = {}  # relative path -> what is wrong with it

    # --- packs -------------------------------------------------------------------------------------------------------

    def packs(self) -> Collection[str]:
        """The packs that were readable when they were looked at."""
        return self._owner.keys()

    def refresh(self) -> None:
        """Look for packs that came or went since the last look."""
        with guard():
            present = set(pack_files(self._root))
            self.damaged = {}
            for gone in self._owner.keys() - present:
                self.forget(gone)
            self._take(present - self._owner.keys())
            self.listed = frozenset(present)

    def is_settled(self) -> bool:
        """Whether every pack of the last listing was there to be opened: else packs are being merged away just now."""
        return all(i in self._owner or layout.pack_path(i) in self.damaged for i in self.listed)

    def add(self, pack_id: str, footer: Footer) -> None:
        """Take a pack that was just published."""
        with guard():
            if pack_id not in self._owner:
                data = footer.encode()
                size = footer.frames_size + len(data) + trailer_size()
                if len(footer.objects) >= _ALONE_ROWS:  # in the dict they would take 35 MB for a moment
                    batch = _Batch(self._add_segment)
                    batch.add(pack_id, data, size)
                    batch.finish()
                    return
                self._own(pack_id, self._recent, self._recent.take(pack_id, footer, size))
                if self._recent.count >= _FLUSH_ROWS:
                    self._flush()

    def learn(self, pack_id: str, path: Path) -> None:
        """Take a pack that lies at `path`, outside of packs/, if it is one."""
        with guard():
            if pack_id not in self._owner:
                self._read([(pack_id, path)])

    def forget(self, pack_id: str) -> None:
        """Leave out a pack that is gone."""
        with guard():
            if pack_id in self._owner:
                self._forgotten += 1
                holder, number = self._owner.pop(pack_id)
                holder.live[number] = 0
                if isinstance(holder, _Recent):
                    holder.dead = True

    def doubt(self, place: Location) -> None:
        """Read the footer of a pack whose rows came from the cache, since a copy in it was not as they say.

        A segment that said something else than the footer is dropped.
        """
        with guard():
            holder, _ = self._owner.get(place.pack_id, (None, 0))
            if place.pack_id in self._distrusted or not isinstance(holder, Segment) or holder.path is None:
                return
            self._distrusted.add(place.pack_id)
            truth = Catalog(
                self._root, keep=False, trust=False
            )  # apart: a flush here would take the lie along
            truth.learn(place.pack_id, self._root / layout.pack_path(place.pack_id))
            if place.pack_id not in truth.packs():
                self._distrust(place.pack_id)
            elif place not in truth.find(place.entry.id):
                self._drop(holder)

    def close(self) -> None:
        """Close files; they are opened again when they are needed."""
        for segment in self._segments:
            segment.close()

    # --- objects -----------------------------------------------------------------------------------------------------

    def has(self, object_id: ObjectId) -> bool:
        """Whether a pack that is here holds the object."""
        while True:
            try:
                forgotten = self._forgotten
                recent = self._recent  # before the segments, into which its rows go
                places = recent.rows.get(object_id)
                if places is not None and (not recent.dead or _any_live(recent, places)):
                    return True
                number = int.from_bytes(object_id[:8], "big")
                for segment in self._segments:
                    for place in segment.find(object_id, number):
                        if self._counts(segment, int.from_bytes(place[:4], sys.byteorder)):
                            return True
                if forgotten == self._forgotten:
                    return False
            except Broken as error:
                self._drop(error.segment)
            except _Again:
                continue

    def find(self, object_id: ObjectId) -> list[Location]:
        """Every known copy of an object."""
        while True:
            try:
                found: list[Location] = []
                forgotten = self._forgotten
                recent = self._recent  # before the segments, into which its rows go
                if object_id in recent.rows:
                    found += self._locations(object_id, recent, recent.find(object_id))
                number = word(object_id)
                for segment in self._segments:
                    if places := segment.find(object_id, number):
                        found += self._locations(object_id, segment, places)
                if not found and forgotten != self._forgotten:
                    continue
                # While recent rows become a segment, a copy may be seen in both.
                return found if len(found) < 2 else list({(p.pack_id, p.entry): p for p in found}.values())
            except Broken as error:
                self._drop(error.segment)
            except _Again:
                continue

    def holder(self, object_id: ObjectId) -> tuple[str, bool] | None:
        """A pack with a copy of the object, and whether that is a chunk list: what is asked of very many at once."""
        while True:
            try:
                forgotten = self._forgotten
                recent = self._recent  # before the segments, into which its rows go
                if object_id in recent.rows and (found := self._first(recent, recent.find(object_id))):
                    return found
                number = word(object_id)
                for segment in self._segments:
                    places = segment.find(object_id, number)
                    if places and (found := self._first(segment, places)):
                        return found
                if forgotten == self._forgotten:
                    return None
            except Broken as error:
                self._drop(error.segment)
            except _Again:
                continue

    def _first(self, holder: _Holder, places: list[bytes]) -> tuple[str, bool] | None:
        for place in places:
            number, _, _, _, where, _, _ = PLACE.unpack(place)
            if self._counts(holder, number):
                return holder.packs[number][0], where >> 48 & 255 == Encoding.LIST
        return None

    def resolve(self, prefix: str) -> list[tuple[Kind, ObjectId]]:
        """The objects whose hex id begins with `prefix`, sorted."""
        low, high = int(f"{prefix[:16]:0<16}", 16), int(f"{prefix[:16]:f<16}", 16)
        even = bytes.fromhex(prefix[: len(prefix) // 2 * 2])
        while True:
            try:
                found: dict[bytes, Kind] = {}
                for holder, rows in self._runs(low, high, even):
                    for object_id, place in rows:
                        if object_id.startswith(even) and object_id.hex().startswith(prefix):
                            number, _, _, _, where, _, _ = PLACE.unpack(place)
                            if self._counts(holder, number):
                                found[object_id] = Kind(where >> 56)
                return [(found[i], ObjectId(i)) for i in sorted(found)]
            except Broken as error:
                self._drop(error.segment)
            except _Again:
                continue

    def rows(self) -> Iterator[Row]:
        """Every copy of every object, sorted by id; of each segment only a few blocks are in memory."""
        start = 0
        while True:
            try:
                for object_id, copies in self._copies(start):
                    yield from copies
                    start = int.from_bytes(object_id, "big") + 1
                return
            except Broken as error:
                self._drop(error.segment)
            except _Again:
                continue

    def _copies(self, start: int) -> Iterator[tuple[bytes, list[Row]]]:
        """Per id from the number `start` on, its copies."""
        if start >> 256:
            return
        least = start.to_bytes(32, "big")
        runs = [_tagged(holder, rows) for holder, rows in self._runs(word(least), (1 << 64) - 1)]
        current, copies = b"", dict[tuple[str, int, int], Row]()
        for object_id, place, holder in merge(*runs, key=lambda row: row[0]):
            if object_id != current:
                if copies:
                    yield current, list(copies.values())
                current, copies = object_id, {}
            number, frame, offset, stored, where, size, _ = PLACE.unpack(place)
            if object_id >= least and self._counts(holder, number):
                row = _row(object_id, holder.packs[number][0], frame, stored, where, size)
                copies[row.pack_id, frame, offset] = row
        if copies:
            yield current, list(copies.values())

    def _runs(
        self, low: int, high: int, prefix: bytes = b""
    ) -> list[tuple[_Holder, Iterable[tuple[bytes, bytes]]]]:
        """Per holder, the sorted (id, place) of its rows with words from `low` to `high` and this prefix, and more."""
        with guard():
            recent, segments = self._recent, self._segments
            keys = sorted(key for key in recent.rows if key.startswith(prefix))
        newest = [(bytes(key), place) for key in keys for place in recent.find(key)]
        return [(recent, newest), *((segment, segment.scan(low, high)) for segment in segments)]

    def _locations(self, object_id: ObjectId, holder: _Holder, places: list[bytes]) -> list[Location]:
        found = []
        for place in places:
            number, frame, offset, stored, where, size, xxh3 = PLACE.unpack(place)
            if self._counts(holder, number):
                is_list = where >> 48 & 255 == Encoding.LIST
                entry = ObjectEntry(object_id, frame, offset, size if is_list else size & _SIZE)
                kind = Kind(where >> 56)
                pack_id = holder.packs[number][0]
                found.append(Location(pack_id, entry, kind, is_list, where & _OFFSET, stored, xxh3))
        return found

    def _counts(self, holder: _Holder, number: int) -> bool:
        """Whether a pack's rows are to be believed. Raises Broken, _Again."""
        if number >= len(holder.live):
            assert isinstance(holder, Segment)
            raise Broken(holder, f"{holder.path} names a pack that it has not")
        live = holder.live[number]
        if live != 1:
            return live == 2
        assert isinstance(holder, Segment)
        return self._is_there(holder, number)

    def _is_there(self, segment: Segment, number: int) -> bool:
        """Look at a pack of which only the cache has told: it must be as long as it was. Raises _Again."""
        pack = segment.packs[number]
        try:
            size = os.stat(self._root / layout.pack_path(pack.id)).st_size
        except OSError:
            self.forget(pack.id)
            return False
        with guard():
            if size != pack.size:
                self._distrust(pack.id)
                raise _Again
            if segment.live[number]:
                segment.live[number] = 2
            return True

    # --- taking packs in; under the guard ----------------------------------------------------------------------------

    def _take(self, new: set[str]) -> None:
        if new:
            new = new - self._adopt(new)
            self._read([(pack_id, self._root / layout.pack_path(pack_id)) for pack_id in sorted(new)])

    def _own(self, pack_id: str, holder: _Holder, number: int) -> None:
        holder.live[number] = 2
        self._owner[pack_id] = (holder, number)

    def _distrust(self, pack_id: str) -> None:
        self._distrusted.add(pack_id)
        self.forget(pack_id)
        self._read([(pack_id, self._root / layout.pack_path(pack_id))])

    def _drop(self, segment: Segment) -> None:
        """Throw a segment away, and find its packs' rows elsewhere."""
        with guard():
            if segment not in self._segments:
                return  # another thread has
            self._segments = tuple(s for s in self._segments if s is not segment)
            lost = {pack_id for pack_id, (holder, _) in self._owner.items() if holder is segment}
            self._forgotten += 1
            for pack_id in lost:
                del self._owner[pack_id]
            self._discard(segment)
            self._drops += 1
            self._keep = self._keep and self._drops < _DROPS_MAX
            self._take(lost & set(pack_files(self._root)))

    def _discard(self, segment: Segment) -> None:
        if segment.path is not None:
            self._refused.add(segment.path.name)
            self._unlink(segment.path)

    def _unlink(self, path: Path) -> None:
        if self._keep:
            with suppress(OSError):
                path.unlink()

    def _adopt(self, new: set[str]) -> set[str]:
        """Take from the cache what it knows of these packs; returns those that it knows."""
        nothing_yet = not self._owner
        left = new - self._distrusted
        for segment in sorted(self._load(), key=lambda s: -s.rows):
            mine = [n for n, pack in enumerate(segment.packs) if pack.id in left]
            if not mine:
                assert segment.path is not None
                self._refused.add(segment.path.name)
                if (
                    nothing_yet
                ):  # else it may be the greater one, which has just replaced some of those in use here
                    self._unlink(segment.path)
                continue
            self._segments = (*self._segments, segment)
            for number in mine:
                segment.live[number] = 1
                self._owner[segment.packs[number].id] = (segment, number)
            left -= {segment.packs[number].id for number in mine}
        return new & self._owner.keys()

    def _load(self) -> list[Segment]:
        """The segments in the cache that are not in use yet."""
        known = self._refused | {s.path.name for s in self._segments if s.path is not None}
        found: dict[str, Segment] = {}
        for _ in range(2):  # again when one vanished: what it was merged into came before that
            vanished = False
            for name in self._names() - known - found.keys():
                try:
                    found[name] = Segment.load(self._folder / name)
                except FileNotFoundError:
                    vanished = True
                except (Corrupt, OSError) as error:
                    self._refused.add(name)
                    if isinstance(error, Corrupt):
                        self._unlink(self._folder / name)
            if not vanished:
                break
        return list(found.values())

    def _names(self) -> set[str]:
        if not self._trust:
            return set()
        try:
            return {name for name in os.listdir(self._folder) if name.endswith(layout.SEGMENT_SUFFIX)}
        except OSError:
            return set()

    def _read(self, packs: Sequence[tuple[str, Path]]) -> None:
        """Take packs in from their footers, those that cannot be read into `damaged`."""
        batch, rows = _Batch(self._add_segment), 0
        for pack_id, path in packs:
            try:
                file = OpenFile(path)  # by a descriptor of its own: most packs are never read any further
                footer, size = footer_bytes(file.fd, pack_id)
                del file
                count = sum(footer_counts(footer))
                rows += count
                if count >= _HEAVY_ROWS or (rows >= _HEAVY_ROWS and count >= _LIGHT_ROWS):
                    batch.add(pack_id, footer, size)
                else:
                    parsed = Footer.decode(footer)
                    check_length(pack_id, parsed.frames_size, len(footer), size)
                    self._own(pack_id, self._recent, self._recent.take(pack_id, parsed, size))
                    if self._recent.count >= _FLUSH_ROWS:
                        self._flush()
            except FileNotFoundError:
                continue
            except (StoreError, OSError) as error:
                if (
                    getattr(error, "errno", None) != errno.ESTALE
                ):  # which means gone, on a network file system
                    self.damaged[layout.pack_path(pack_id)] = str(error)
        batch.finish()
        worth_keeping = self._recent.count >= _KEEP_ROWS or len(self._recent.packs) >= _KEEP_PACKS
        if packs and self._keep and worth_keeping:
            self._flush()

    # --- segments; under the guard -----------------------------------------------------------------------------------

    def _flush(self) -> None:
        """Make a segment of what is in the dict."""
        recent = self._recent
        packs, (numbers,) = _renumber([recent])
        if packs:
            from objstore.index import build

            rows = build.recent_rows(recent.rows, numbers)
            self._install(self._make(packs, lambda: [rows], len(rows)), ())
        self._recent = _Recent()  # last: who looks into it first must find its rows in the segment
        self._merge()

    def _add_segment(
        self, packs: Sequence[tuple[str, int]], runs: Callable[[], Iterable[Rows]], most: int
    ) -> None:
        self._install(self._make(packs, runs, most), ())
        self._merge()

    def _make(
        self, packs: Sequence[tuple[str, int]], runs: Callable[[], Iterable[Rows]], most: int
    ) -> Segment:
        from objstore.index import build

        if self._keep:
            try:
                return build.in_file(self._folder, packs, runs, most)
            except OSError:
                self._keep = False  # the disk is full or may not be written: the next process tries again
        return build.in_memory(packs, runs, most)

    def _install(self, segment: Segment, replaced: Sequence[Segment]) -> None:
        for number, pack in enumerate(segment.packs):
            before = self._owner.get(pack.id)
            segment.live[number] = before[0].live[before[1]] if before is not None else 2
            self._owner[pack.id] = (segment, number)
        kept = [s for s in self._segments if s not in replaced]
        self._segments = tuple(sorted([*kept, segment], key=lambda s: -s.rows))
        for old in replaced:
            if old.path is not None and (segment.path is None or old.path.name != segment.path.name):
                self._discard(old)

    def _merge(self) -> None:
        """Merge small segments, so that each has some times the rows of all that are smaller together.

        One of whose rows more than half are of packs that are gone is written anew.
        """
        for empty in [s for s in self._segments if not s.useful]:
            self._segments = tuple(s for s in self._segments if s is not empty)
            self._discard(empty)
        chosen = self._to_merge([s for s in self._segments if self._keep or s.path is None])
        if not chosen:
            return
        from objstore.index import build

        packs, numbers = _renumber(chosen)
        rows = sum(segment.useful for segment in chosen)
        write = partial(build.in_file, self._folder) if self._keep else build.in_memory
        try:
            merged = write(packs, lambda: build.merged_rows(chosen, numbers), rows)
        except OSError:
            self._keep = False
        except Broken as error:
            self._drop(error.segment)
        else:
            self._install(merged, chosen)

    def _to_merge(self, segments: Sequence[Segment]) -> Sequence[Segment]:
        total = start = 0
        for at in range(len(segments) - 1, -1, -1):
            useful = segments[at].useful
            if total and useful > _RATIO * total:
                break
            total, start = total + useful, at
        if len(segments) - start > 1:
            return segments[start:]
        return [s for s in segments if s.useful * 2 < s.rows][:1]


class _Batch:
    """Footers with many rows, which become segments of their own, several together where they are not that large."""

    def __init__(self, make: Callable[[Sequence[tuple[str, int]], Callable[[], Iterable[Rows]], int], None]):
        self._make = make
        self._packs: list[tuple[str, int]] = []
        self._rows: list[Rows] = []
        self._count = 0

    def add(self, pack_id: str, footer: bytes, size: int) -> None:
        """Raises Corrupt, Unsupported."""
        from objstore import columns
        from objstore.index import build

        frames, objects = columns.parse(footer)
        check_length(pack_id, columns.frames_size(frames), len(footer), size)
        if len(objects) >= _BATCH_ROWS:
            self._make([(pack_id, size)], lambda: build.footer_rows(frames, objects, 0), len(objects))
            return
        self._rows += list(build.footer_rows(frames, objects, len(self._packs)))
        self._packs.append((pack_id, size))
        self._count += len(objects)
        if self._count >= _BATCH_ROWS:
            self.finish()

    def finish(self) -> None:
        """Make a segment of what is left."""
        packs, parts = self._packs, self._rows
        self._packs, self._rows, self._count = [], [], 0
        if packs:
            from objstore.index import build

            rows = build.join(parts)
            self._make(packs, lambda: [rows], len(rows))


def _renumber(holders: Sequence[_Holder]) -> tuple[list[tuple[str, int]], list[list[int]]]:
    """The packs of several holders that count, as (id, bytes), and per holder the new number of each pack, or -1."""
    packs: list[tuple[str, int]] = []
    numbers: list[list[int]] = []
    for holder in holders:
        numbers.append([])
        for pack, live in zip(holder.packs, holder.live, strict=True):
            numbers[-1].append(len(packs) if live else -1)
            if live:
                packs.append((str(pack[0]), int(pack[1])))
    return packs, numbers


def _any_live(recent: _Recent, places: bytes) -> bool:
    return any(
        recent.live[int.from_bytes(places[at : at + 4], sys.byteorder)]
        for at in range(0, len(places), PLACE.size)
    )


def _tagged(holder: _Holder, rows: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes, _Holder]]:
    return ((object_id, place, holder) for object_id, place in rows)


def _row(object_id: bytes, pack_id: str, frame: int, stored: int, where: int, size: int) -> Row:
    is_list = where >> 48 & 255 == Encoding.LIST
    share, whole = stored + HEADER_SIZE, size >> 32
    if not is_list:
        size &= _SIZE
        share = share * size // whole if whole else share
    return Row(ObjectId(object_id), Kind(where >> 56), is_list, size, share, pack_id, frame)
