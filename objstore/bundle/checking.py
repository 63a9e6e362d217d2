"""Checks a bundle without any store: every byte, every frame and object, and that what is not in it is named.

Reads only, one frame after another; holds the index of what the bundle has, and never a pack.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from objstore import layout
from objstore.bundle.form import Entry, Prerequisite, Sort
from objstore.bundle.source import Bundle
from objstore.errors import Corrupt, Unsupported
from objstore.graph import Node, items, named_by
from objstore.heads import Head
from objstore.ids import Hasher, IdTable, Kind, ObjectId, hash_bytes, hash_object
from objstore.objects import Proving
from objstore.pack import Footer, Members, ObjectEntry, open_frame, trailer_size
from objstore.records import ChunkList
from objstore.sync import Progress
from objstore.sync.frames import check
from objstore.sync.library import Library, Place

_FRAMES_KEPT: Final = 8  # decoded frames that are kept: neighbours are read one after another
_NAMED_MOST: Final = 8


@dataclass(frozen=True, slots=True)
class Report:
    """A bundle that is sound. bytes: of its files; needs: objects it rests on, which are not in it.

    unproved: large files whose chunks are partly among these: what they make up is proved when they are taken in.
    """

    id: str
    stamp: int
    since: str | None
    parts: int
    bytes: int
    packs: int
    objects: int
    heads: tuple[Head, ...]
    needs: int
    named: tuple[Prerequisite, ...]
    unproved: int


def verify(bundle: Bundle, progress: Progress | None = None) -> Report:
    """Check all of a bundle. Raises Corrupt or Unsupported, which name what is wrong; RemoteError."""
    size = bundle.parts.lead.content
    bundle.check(None if progress is None else lambda done, _: progress(done, 2 * size))
    heads = bundle.heads()
    objects = 0
    for entry in bundle.index.entries:
        _check_entry(bundle, entry)
        if entry.sort is Sort.PACK:
            objects += _check_pack(bundle, entry)
        if progress is not None:
            progress(size + entry.offset + entry.size, 2 * size)
    walk = Walk(bundle)
    outside = walk.outside(heads, lambda _: False)
    named = {object_id for object_id, _, _ in bundle.index.needs()}
    if missing := [str(object_id) for object_id in outside if object_id not in named]:
        raise Corrupt(
            f"{bundle.where} is not whole: {len(missing)} objects are neither in it nor named as needed, "
            f"{', '.join(missing[:_NAMED_MOST])}: make it again"
        )
    unproved = sum(not walk.prove(place) for place in walk.lists)
    info = bundle.index.info
    counts = (len(bundle.parts.paths), bundle.size, _count(bundle, Sort.PACK), objects)
    return Report(bundle.id, info.stamp, info.since, *counts, tuple(heads), len(named), info.named, unproved)


def _count(bundle: Bundle, sort: Sort) -> int:
    return sum(entry.sort is sort for entry in bundle.index.entries)


def _check_entry(bundle: Bundle, entry: Entry) -> None:
    """A format and a table are pinned by their hash; tables were parsed when the bundle was looked at."""
    if entry.sort is Sort.FORMAT and hash_bytes(bundle.get(entry.name, layout.FORMAT_MAX)).hex() != entry.id:
        raise Corrupt(f"{bundle.where}: its format is not what its index says")


def _check_pack(bundle: Bundle, entry: Entry) -> int:
    """Check every frame of a pack, and every object; returns how many these are."""
    where = f"{bundle.where}: pack {entry.id}"
    data = bundle.footer(entry.id)
    try:
        if hash_bytes(data).hex() != entry.id:
            raise Corrupt("its footer is not the one that its name stands for")
        footer = Footer.decode(data)
        if footer.frames_size + len(data) + trailer_size() != entry.size:
            raise Corrupt("its length is not what its footer says")
        for frame, inside in zip(footer.frames, Members(footer), strict=True):
            check(frame, inside, bundle.parts.read(entry.offset + frame.offset, frame.size))
    except (Corrupt, Unsupported) as error:
        raise type(error)(f"{where}: {error}") from error
    return len(footer.objects)


class Walk:
    """From heads to what they reach, in a bundle alone. `lists` are the chunk lists that were met."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._where = bundle.where
        self._library = Library(bundle.shown, ())
        self._frames: OrderedDict[Place, bytes] = OrderedDict()
        self.lists: list[Place] = []
        self._proving = Proving(lambda: bundle.size, layout.SPARSE_FOREIGN_MAX)

    def outside(self, heads: Iterable[Head], here: Callable[[ObjectId], bool]) -> dict[ObjectId, Kind]:
        """What the heads need that is neither in the bundle nor `here`. Raises Corrupt."""
        stack: list[Node] = [(Kind.COMMIT, head.id) for head in heads]
        seen = IdTable()
        outside: dict[ObjectId, Kind] = {}
        while stack:
            kind, object_id = stack.pop()
            if object_id in seen:
                continue
            seen.add(object_id)
            if here(object_id):
                continue
            place = self._library.find(object_id)
            if place is None:
                outside[object_id] = kind
                continue
            stack += reversed(self._below(place, kind, object_id))
        return outside

    def prove(self, place: Place) -> bool:
        """Whether the chunks of a list make up its blob; False where some are not in the bundle. Raises Corrupt."""
        blob = self._library.inside(place)[0]
        if not self._has_all(place):
            return False
        try:
            self._proving.begin(blob.id, blob.size)
            return self._prove(place, blob)
        except Corrupt as error:
            raise Corrupt(f"{self._where}: {error}") from error

    def _prove(self, place: Place, blob: ObjectEntry) -> bool:
        whole = Hasher(threads=2)
        for chunk_id, size in self._chunks(place):
            at = self._library.find(chunk_id)
            self._proving.chunk(blob.id, size, at)
            data = b"" if at is None or self._is_list(at) else self._object(at, chunk_id)
            if len(data) != size:
                raise Corrupt(f"chunk {chunk_id} of {blob.id} is not what the list says")
            whole.update(data)
        if whole.id() != blob.id:
            raise Corrupt(f"the chunk list of {blob.id} does not make up that content")
        return True

    def _has_all(self, place: Place) -> bool:
        """Whether the bundle has all pages and chunks of a list. Each page is read once, however often it is named."""
        top = self._list(place)
        pages = [top]
        if top.level:
            ids = dict.fromkeys(page_id for page_id, _ in top.items)
            if any(self._library.find(page_id) is None for page_id in ids):
                return False
            pages = [self._page(page_id) for page_id in ids]
        return all(self._library.find(chunk_id) is not None for page in pages for chunk_id, _ in page.items)

    def _chunks(self, place: Place) -> Iterator[tuple[ObjectId, int]]:
        top = self._list(place)
        if top.level == 0:
            yield from top.items
            return
        for page_id, size in top.items:
            page = self._page(page_id)
            if page.level != 0 or page.size != size:
                raise Corrupt(f"{self._where}: page {page_id} is not what the list says")
            yield from page.items

    def _page(self, page_id: ObjectId) -> ChunkList:
        place = self._library.find(page_id)
        if place is None or self._library.kind(place) is not Kind.CHUNKS:
            raise Corrupt(f"{self._where}: {page_id} is no page of a chunk list")
        return ChunkList.decode(self._object(place, page_id))

    def _list(self, place: Place) -> ChunkList:
        return ChunkList.decode(self._content(place))

    def _below(self, place: Place, kind: Kind, object_id: ObjectId) -> list[Node]:
        """What an object names, as `graph.edges`. Raises Corrupt."""
        if self._library.kind(place) is not kind:
            raise Corrupt(f"{self._where}: object {object_id} is not the {kind.name.lower()} it is named as")
        if kind is Kind.BLOB:
            if not self._is_list(place):
                return []
            self.lists.append(place)
            return items(self._list(place))
        data = self._object(place, object_id)
        return named_by(kind, data, lambda parent: self._library.find(parent) is not None)

    def _is_list(self, place: Place) -> bool:
        return self._library.is_list(place)

    def _object(self, place: Place, object_id: ObjectId) -> bytes:
        """An object's content, checked against its id."""
        rows = self._library.footers[place[0]].objects
        entry = rows[bisect_left(rows, (object_id, place[1]), key=lambda row: (row.id, row.frame))]
        data = self._content(place)[entry.offset : entry.offset + entry.size]
        if hash_object(self._library.kind(place), data) != object_id:
            raise Corrupt(f"{self._where}: the content of object {object_id} is not what its id says")
        return data

    def _content(self, place: Place) -> bytes:
        """What a frame holds, its stored bytes checked; of a list, the list's own bytes."""
        if place in self._frames:
            self._frames.move_to_end(place)
            return self._frames[place]
        frame = self._library.frame(place)
        data = self._bundle.get_range(layout.pack_path(place[0]), frame.offset, frame.size)
        try:
            raw = open_frame(frame, data, self._library.inside(place))
        except (Corrupt, Unsupported) as error:
            raise type(error)(f"{self._where}: pack {place[0]}: {error}") from error
        self._frames[place] = raw
        if len(self._frames) > _FRAMES_KEPT:
            self._frames.popitem(last=False)
        return raw
