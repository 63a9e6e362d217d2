"""Every stored copy of every object of a store, and what names what, as columns of numbers: a million fit in memory.

Read from the packs themselves, each footer and record checked against its hash; never from a cache. Writes nothing.
What it cannot read it says, and never leaves out quietly: who deletes relies on it.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from objstore import columns, layout, trash
from objstore.columns import Column, header_of, offsets_of
from objstore.errors import Corrupt, StoreError, Unsupported
from objstore.frame import HEADER_SIZE, Encoding, decode
from objstore.ids import Kind, ObjectId, hash_bytes, hash_object
from objstore.records import ChunkList, Commit, Tree

_BATCH: Final = 1 << 16  # edges looked up at once
_TRIES: Final = 8  # listings until none shows a pack that is gone when it is opened


class Changed(StoreError):
    """A pack went while it was read: another process moves packs, so look again."""


@dataclass(frozen=True, slots=True)
class PackFile:
    """A pack where it lies. name: below the store; changed: the later of mtime and ctime, seconds since the epoch;
    epoch: when it was set aside, None where it lies in packs/.
    """

    id: str
    name: str
    size: int
    changed: float
    epoch: int | None = None


def pack_files(root: Path) -> list[PackFile]:
    """The packs of a store and those in its trash, one entry a file. Raises OSError where a folder cannot be listed."""
    # packs/ twice, around the trash: a pack that moves either way meanwhile is seen at one of its places.
    found = {file.name: file for file in _shelves(root, root / layout.PACKS, None)}
    for epoch in trash.epochs(root):
        for file in _shelves(root, root / layout.TRASH / str(epoch) / layout.PACKS, epoch):
            found[file.name] = file
    for file in _shelves(root, root / layout.PACKS, None):
        found[file.name] = file
    return list(found.values())


def _shelves(root: Path, base: Path, epoch: int | None) -> Iterator[PackFile]:
    for shelf in _listing(base):
        if not shelf.is_dir(follow_symlinks=False):
            continue
        for item in _listing(Path(shelf.path)):
            pack_id, hidden = layout.parse_pack_name(item.name), None
            if pack_id is None:
                pack_id = hidden = layout.parse_hidden_name(item.name)
            if pack_id is None or pack_id[:2] != shelf.name:
                continue
            with suppress(FileNotFoundError):
                status = item.stat(follow_symlinks=False)
                changed = max(status.st_mtime, status.st_ctime)
                aside = int(changed) if hidden and epoch is None else epoch
                name = os.path.relpath(item.path, root)
                yield PackFile(pack_id, name, status.st_size, changed, aside)


def _listing(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []


@dataclass(slots=True)
class _Records:
    """Where in one pack the objects lie that name others: its frames of trees, commits, pages and chunk lists."""

    frames: Column
    offsets: Column  # of each frame in the file
    starts: Column  # of each frame's rows, one more than frames
    rows: Column  # sorted by frame and offset
    numbers: Column  # of the objects in those rows


@dataclass(slots=True)
class Holding:
    """One pack and its rows in the columns of the inventory. gone: another process has deleted it since."""

    file: PackFile
    first: int
    last: int
    records: _Records | None
    gone: bool = False


@dataclass(slots=True)
class Inventory:
    """All copies, by row; all objects, by number in the order of their ids.

    numbers: per row the object's; weights: per row the bytes of its pack that it takes; damaged: packs that cannot be
    read, by name, with why; those in the trash are left out.
    """

    root: Path
    holdings: list[Holding]
    ids: Column
    numbers: Column
    weights: Column
    damaged: dict[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, root: Path, *, with_trash: bool = False) -> Inventory:
        """Read the footers of all packs, one copy of each. Raises OSError, Unsupported; Changed where it never ends."""
        loaded: dict[str, tuple[PackFile, Column, Column]] = {}
        for _ in range(_TRIES):
            damaged: dict[str, str] = {}
            moved = False
            files = _one_each(pack_files(root), with_trash=with_trash)
            for file in files:
                if file.id not in loaded:
                    try:
                        loaded[file.id] = (file, *columns.read(root / file.name, file.id))
                    except FileNotFoundError:
                        moved = True  # or deleted: the next listing tells
                    except Corrupt as error:
                        damaged[file.name] = str(error)
            if not moved:
                parts = [(file, *loaded.pop(file.id)[1:]) for file in files if file.id in loaded]
                return cls._of(root, parts, {n: w for n, w in damaged.items() if n.startswith(layout.PACKS)})
        raise Changed("packs come and go faster than they can be listed: try again")

    @classmethod
    def _of(
        cls, root: Path, parts: list[tuple[PackFile, Column, Column]], damaged: dict[str, str]
    ) -> Inventory:
        ids, numbers = _numbered([objects["id"] for _, _, objects in parts])
        weights, holdings, first = [], [], 0
        parts.reverse()
        while parts:  # each let go of as soon as it is used
            file, frames, objects = parts.pop()
            last = first + len(objects)
            weights.append(_weights(frames, objects))
            holdings.append(Holding(file, first, last, _records(frames, objects, numbers[first:last])))
            first = last
        joined = np.concatenate(weights) if weights else np.zeros(0, np.float32)
        return cls(root, holdings, ids, numbers, joined, damaged)

    @property
    def count(self) -> int:
        """How many objects there are."""
        return len(self.ids)

    def find(self, ids: Iterable[bytes]) -> Column:
        """The numbers of objects; -1 for one that no pack has."""
        keys = np.frombuffer(b"".join(ids), ">u8").reshape(-1, 4).astype(np.uint64)
        if not self.count:
            return np.full(len(keys), -1, np.int64)
        first = self.ids[:, 0]
        at = np.searchsorted(first, keys[:, 0])
        while True:
            inside = np.minimum(at, self.count - 1)
            same = (self.ids[inside] == keys).all(axis=1) & (at < self.count)
            # Ids that begin alike follow one another: all but never, unless somebody made them so.
            step = ~same & (at < self.count) & (first[inside] == keys[:, 0])
            if not step.any():
                return np.where(same, at, -1)
            at = at + step

    def id(self, number: int) -> ObjectId:
        """The id of an object."""
        return ObjectId(self.ids[number].astype(">u8").tobytes())

    def has(self, holdings: Iterable[Holding]) -> Column:
        """Per object, whether one of these packs has it."""
        found = np.zeros(self.count, np.bool_)
        for holding in holdings:
            found[self.of(holding)] = True
        return found

    def packs(self) -> list[Holding]:
        """Those in packs/."""
        return [holding for holding in self.holdings if holding.file.epoch is None and not holding.gone]

    def aside(self) -> list[Holding]:
        """Those in the trash, what was set aside last first."""
        found = [holding for holding in self.holdings if holding.file.epoch is not None and not holding.gone]
        return sorted(found, key=lambda holding: -(holding.file.epoch or 0))

    def of(self, holding: Holding) -> Column:
        """The numbers of the objects in a pack, one for each copy."""
        return self.numbers[holding.first : holding.last]

    def dead(self, holding: Holding, needed: Column) -> int:
        """The bytes of a pack that objects take which are not among those `needed`, a truth per number."""
        weights = self.weights[holding.first : holding.last]
        return int(weights[~needed[self.of(holding)]].sum(dtype=np.float64))


def _one_each(files: list[PackFile], *, with_trash: bool) -> list[PackFile]:
    """One file a pack: that in packs/, else the one that was set aside last."""
    chosen: dict[str, PackFile] = {}
    for file in sorted(files, key=lambda f: (f.epoch is None, f.epoch or 0)):
        if file.epoch is None or with_trash:
            chosen[file.id] = file
    return list(chosen.values())


def _numbered(parts: list[Column]) -> tuple[Column, Column]:
    """The distinct ids, sorted, as four big-endian words each; and per row the number of its id among them."""
    if not parts:
        return np.zeros((0, 4), np.uint64), np.zeros(0, np.int32)
    ids = np.empty((sum(map(len, parts)), 4), np.uint64)
    at = 0
    for part in parts:
        ids[at : at + len(part)] = part
        at += len(part)
    order = np.lexsort((ids[:, 3], ids[:, 2], ids[:, 1], ids[:, 0])).astype(np.int32)
    ids = ids[order]
    fresh = np.ones(len(ids), np.bool_)
    fresh[1:] = (ids[1:] != ids[:-1]).any(axis=1)
    numbers = np.empty(len(ids), np.int32)
    numbers[order] = np.cumsum(fresh, dtype=np.int32) - 1
    return (ids if fresh.all() else ids[fresh]), numbers


def _weights(frames: Column, objects: Column) -> Column:
    """The bytes of the file that each object takes: its share of its frame, and its rows in the footer."""
    whole = frames["stored"] + np.float64(HEADER_SIZE + columns.FRAME_SIZE)
    empty = frames["raw"] == 0
    a_byte = np.where(empty, 0, whole / np.maximum(frames["raw"], 1))
    each = np.where(empty, whole / np.maximum(frames["objects"], 1), 0) + columns.OBJECT_SIZE
    number = objects["frame"]
    weights: Column = (a_byte[number] * objects["size"] + each[number]).astype(np.float32)
    return weights


def _records(frames: Column, objects: Column, numbers: Column) -> _Records | None:
    """What of a pack has to be read to know what its objects name; None where that is nothing."""
    wanted = (frames["kind"] != Kind.BLOB) | (frames["encoding"] == Encoding.LIST)
    if not wanted.any():
        return None
    offsets = offsets_of(frames)
    inside = np.flatnonzero(wanted[objects["frame"]])
    order = inside[np.lexsort((objects["offset"][inside], objects["frame"][inside]))]
    chosen = np.flatnonzero(wanted)
    starts = np.searchsorted(objects["frame"][order], np.append(chosen, len(frames)))
    return _Records(frames[chosen].copy(), offsets[chosen], starts, objects[order], numbers[order].copy())


class Links:
    """What names what: the edges of `docs/format.md`, of all objects of an inventory.

    absent: per object the ids that it names, that no pack has, and that may not be absent; damaged: objects without a
    sound copy of what they name, with why. Raises OSError.
    """

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self.absent: dict[int, list[ObjectId]] = {}
        self.damaged: dict[int, str] = {}
        self.commits = 0
        self._read = np.zeros(inventory.count, np.bool_)  # objects of which a sound copy was read
        self._sources, self._targets = array("i"), array("i")
        self._waiting: list[tuple[int, bytes, bool]] = []
        self._lists: dict[int, list[list[ObjectId]]] = {}  # per large blob, what each of its lists names
        for holding in inventory.holdings:
            if holding.records is not None:
                self._pack(holding, holding.records)
        self._flush()
        self._large()
        for number in [n for n in self.damaged if self._read[n]]:
            del self.damaged[number]
        self._close()

    def reach(self, starts: Column, seen: Column | None = None) -> Column:
        """Per object, whether it is among `starts` (numbers), reached from them, or was `seen`."""
        found = np.zeros(self._inventory.count, np.bool_) if seen is None else seen
        front = starts[~found[starts]]
        while len(front):
            front = np.unique(front)
            found[front] = True
            front = self._below(front)
            front = front[~found[front]]
        return found

    def naming(self, targets: Column) -> Column:
        """The numbers of what names one of `targets` directly."""
        at = np.flatnonzero(np.isin(self._edges, targets))
        found: Column = np.unique(np.searchsorted(self._starts, at, side="right") - 1)
        return found

    def names_others(self, numbers: Column) -> Column:
        """For each of these, whether it names an object that is here."""
        found: Column = self._starts[numbers + 1] > self._starts[numbers]
        return found

    def reached(self, starts: Column, mark: Column, value: int) -> Column:
        """The numbers of what is reached from `starts`, each once; `mark` becomes `value` there and was so nowhere."""
        found, front = [], np.unique(starts)
        while len(front):
            mark[front] = value
            found.append(front)
            front = self._below(front)
            front = np.unique(front[mark[front] != value])
        return np.concatenate(found) if found else np.zeros(0, np.int64)

    def _below(self, front: Column) -> Column:
        begin, counts = self._starts[front], self._starts[front + 1] - self._starts[front]
        total = int(counts.sum())
        steps = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)
        below: Column = self._edges[np.repeat(begin, counts) + steps]
        return below

    def _close(self) -> None:
        sources = np.frombuffer(self._sources, np.int32) if self._sources else np.zeros(0, np.int32)
        targets = np.frombuffer(self._targets, np.int32) if self._targets else np.zeros(0, np.int32)
        self._edges = targets[np.argsort(sources, kind="stable")]
        self._starts = np.zeros(self._inventory.count + 1, np.int64)
        self._starts[1:] = np.cumsum(np.bincount(sources, minlength=self._inventory.count))
        self._sources, self._targets = array("i"), array("i")

    # --- reading records -------------------------------------------------------------------------------------------

    def _pack(self, holding: Holding, records: _Records) -> None:
        file = holding.file
        fd = _opened(self._inventory.root, file)
        if fd is None:
            holding.gone = True
            self.damaged.update((number, f"{file.name} is gone") for number in records.numbers.tolist())
            return
        try:
            for place, frame in enumerate(records.frames):
                inside = slice(int(records.starts[place]), int(records.starts[place + 1]))
                numbers = records.numbers[inside]
                if frame["encoding"] != Encoding.LIST and self._read[numbers].all():
                    continue
                try:
                    raw = _frame(fd, frame, int(records.offsets[place]))
                except Corrupt as error:
                    self.damaged.update((int(n), f"{file.name}: {error}") for n in numbers)
                    continue
                self._frame(file, frame, raw, records.rows[inside], numbers)
        finally:
            os.close(fd)

    def _frame(self, file: PackFile, frame: Column, raw: bytes, rows: Column, numbers: Column) -> None:
        kind = Kind(int(frame["kind"]))
        for number, offset, size in zip(
            numbers.tolist(), rows["offset"].tolist(), rows["size"].tolist(), strict=True
        ):
            try:
                if kind is Kind.BLOB:
                    self._list(number, raw, size)
                elif not self._read[number]:
                    self._record(kind, number, raw[offset : offset + size])
            except (Corrupt, Unsupported) as error:
                self.damaged[number] = f"{file.name}: {error}"
        if len(self._waiting) >= _BATCH:
            self._flush()

    def _record(self, kind: Kind, number: int, content: bytes) -> None:
        object_id = self._inventory.id(number)
        if hash_object(kind, content) != object_id:
            raise Corrupt(f"{kind.name.lower()} {object_id} is not what its id says")
        if kind is Kind.TREE:
            self._waiting += [(number, entry.id, False) for entry in Tree.decode(content).entries]
        elif kind is Kind.CHUNKS:
            self._waiting += [(number, item, False) for item, _ in ChunkList.decode(content).items]
        else:
            self.commits += 1
            commit = Commit.decode(content)
            if not commit.deleted:  # else of all it names nothing is kept
                self._waiting.append((number, commit.state, False))
                self._waiting += [(number, parent, bool(commit.cut)) for parent in commit.parents]
        self._read[number] = True

    def _list(self, number: int, raw: bytes, size: int) -> None:
        top = ChunkList.decode(raw)
        if top.size != size:
            raise Corrupt(f"the chunk list of {self._inventory.id(number)} has not the length its frame says")
        self._lists.setdefault(number, []).append([item for item, _ in top.items])

    def _large(self) -> None:
        """The edges of large blobs: to the items of all their lists. A copy that is whole excuses what others lack."""
        copies = np.bincount(self._inventory.numbers, minlength=self._inventory.count)
        for number, listed in self._list_copies().items():
            tops = self._lists.get(number, [])
            found = [self._inventory.find(top) for top in tops]
            whole = copies[number] > listed or any((f >= 0).all() for f in found)
            for top, each in zip(tops, found, strict=True):
                self._add(number, top, each, optional=whole)
            self._read[number] |= whole or bool(tops)

    def _list_copies(self) -> dict[int, int]:
        """How many copies of each large blob are chunk lists."""
        found: dict[int, int] = {}
        for holding in self._inventory.holdings:
            if (records := holding.records) is not None:
                listed = (records.frames["encoding"] == Encoding.LIST) & (records.frames["kind"] == Kind.BLOB)
                for number in records.numbers[np.repeat(listed, np.diff(records.starts))].tolist():
                    found[number] = found.get(number, 0) + 1
        return found

    def _flush(self) -> None:
        if not self._waiting:
            return
        sources, ids, optional = zip(*self._waiting, strict=True)
        self._waiting = []
        found = self._inventory.find(ids)
        there = found >= 0
        self._sources.frombytes(np.array(sources, np.int32)[there].tobytes())
        self._targets.frombytes(found[there].astype(np.int32).tobytes())
        for place in np.flatnonzero(~there).tolist():
            if not optional[place]:
                self.absent.setdefault(sources[place], []).append(ObjectId(ids[place]))

    def _add(self, number: int, ids: list[ObjectId], found: Column, *, optional: bool) -> None:
        there = found[found >= 0]
        self._sources.extend([number] * len(there))
        self._targets.frombytes(there.astype(np.int32).tobytes())
        if not optional:
            gone = [ids[place] for place in np.flatnonzero(found < 0).tolist()]
            if gone:
                self.absent.setdefault(number, []).extend(gone)


def _opened(root: Path, file: PackFile) -> int | None:
    """A descriptor of a pack, wherever it has been moved since the listing; None where it is gone."""
    name = layout.pack_path(file.id)
    for path in (root / file.name, root / name, *trash.find(root, name)):
        with suppress(FileNotFoundError):
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    return None


def _frame(fd: int, frame: Column, offset: int) -> bytes:
    """The content of a frame that names objects, checked by its pin; one without is checked by its object's id."""
    header = header_of(frame)
    data = os.pread(fd, HEADER_SIZE + header.stored_size, offset)
    if data[:HEADER_SIZE] != header.pack() or len(data) != HEADER_SIZE + header.stored_size:
        raise Corrupt(f"the frame at byte {offset} is not what the footer says")
    payload = data[HEADER_SIZE:]
    if header.encoding is not Encoding.RAW and hash_bytes(payload) != frame["pin"].tobytes():
        raise Corrupt(f"the frame at byte {offset} is damaged")
    return decode(header, payload)
