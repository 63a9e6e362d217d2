"""All objects in a store's packs, found by id or prefix and read verified. Writes only below `cache/`."""

from __future__ import annotations

import os
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import cache
from itertools import accumulate, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from xxhash import xxh3_64_intdigest

from objstore import layout, trash
from objstore.errors import Corrupt, Lost, NotFound, StoreError
from objstore.frame import HEADER_SIZE, Encoding, FrameHeader, decode
from objstore.ids import Hasher, Kind, ObjectId, hash_object
from objstore.index import Catalog, Location, OpenFile, Proofs, Row, guard, pack_files
from objstore.index.proofs import proof_of
from objstore.pack import Footer, read_footer
from objstore.records import ChunkList, ListMap
from objstore.scratch import Scratch

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

__all__ = ["Location", "Objects", "Row", "pack_files"]

_OPEN_MAX = 16  # packs kept open at once
_FRAMES_KEPT: Final = (
    16 * layout.MIB
)  # bytes of decoded frames kept: neighbours are often read one after another
_MAPS_KEPT: Final = 4  # chunk lists and pages kept for ranges, of up to 1.3 MB each but for the longest lists
_FOOTERS_KEPT: Final = 262_144  # frames and objects in the footers kept: 16 MB
_PAGES_AHEAD: Final = 3  # pages of a chunk list that are read at once for a range, where it needs as many
_BATCH: Final = 4 * layout.MIB  # bytes of a large object that are read at once
_scratch: Final = Scratch(_BATCH + 2 * layout.FRAME_RAW_MAX)
_THREADS: Final = 2
_TRIES: Final = 32  # looks for an object whose packs are merged away meanwhile
_AHEAD: Final = 2 * _THREADS  # batches read ahead of the one that is given out
_POOL_MIN: Final = 8 * layout.MIB  # bytes to read from which threads are worth their start


class _Piece(NamedTuple):
    """A chunk to read; place: the copy to try first; content: of a hole in a sparse file, which need not be read."""

    id: ObjectId
    size: int
    place: Location | None
    content: bytes | None = None


class Objects:
    """The union of a store's packs. Safe to use beside writers, whose packs are found when an object is missed and
    looked for again when they have vanished; by several threads; and after a fork.

    keep: whether what is learnt of packs and lists may be written below `cache/`; trust: whether what is there counts.
    """

    def __init__(self, root: Path, *, keep: bool = True, trust: bool = True) -> None:
        self._root = root
        self._index = Catalog(root, keep=keep, trust=trust)
        self._trash = Catalog(root, keep=False)
        self._trashed: set[tuple[int, str]] = set()  # packs in the trash that were read: (epoch, pack id)
        self._proofs = Proofs(root, keep=keep, trust=trust)
        self._open: OrderedDict[str, OpenFile] = OrderedDict()
        self._frames: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._scrubbed: dict[tuple[str, int], bool] = {}  # frames, by (pack id, offset), that were looked at
        self._frames_size = 0
        self._maps: OrderedDict[object, ListMap] = OrderedDict()
        self._footers: OrderedDict[str, Footer] = OrderedDict()
        self._scanned = False

    # --- which packs there are -----------------------------------------------------------------------------------

    @property
    def damaged(self) -> dict[str, str]:
        """The packs that cannot be read: path below the store -> what is wrong."""
        return self._index.damaged

    def pack_ids(self) -> frozenset[str]:
        """The packs that can be read, as far as is known: one that was damaged since is found out when it is read."""
        self._look()
        with guard():
            return frozenset(self._index.packs())

    def footer(self, pack_id: str) -> Footer:
        """What one pack holds, read from the pack. Raises NotFound where it is gone, Corrupt, Unsupported, OSError."""
        with guard():
            if pack_id in self._footers:
                self._footers.move_to_end(pack_id)
                return self._footers[pack_id]
        try:
            file = OpenFile(self._root / layout.pack_path(pack_id))
        except FileNotFoundError as error:
            raise NotFound(f"pack {pack_id} is not in this store") from error
        footer = read_footer(file.fd, pack_id)
        with guard():
            self._footers[pack_id] = footer
            while len(self._footers) > 1 and sum(map(_weight, self._footers.values())) > _FOOTERS_KEPT:
                self._footers.popitem(last=False)
        return footer

    def footers(self) -> Iterator[tuple[str, Footer]]:
        """The packs with what they hold, one at a time, sorted by id; those that vanish meanwhile are left out."""
        for pack_id in sorted(self.pack_ids()):
            with suppress(NotFound):
                yield pack_id, self.footer(pack_id)

    def rows(self) -> Iterator[Row]:
        """Every copy of every object, sorted by id, without holding them all in memory."""
        self._look()
        return self._index.rows()

    def refresh(self) -> None:
        """Look for packs that came or went since the last look."""
        with guard():
            self._index.refresh()
            here = self._index.packs()
            for gone in self._footers.keys() - here:
                del self._footers[gone]
            # One that comes back, out of the trash say, is looked at anew: it need not be what it was.
            for gone in self._open.keys() - here:
                del self._open[gone]
            for key in [
                key for key in list(self._scrubbed) if key[0] not in here
            ]:  # others add to it meanwhile
                del self._scrubbed[key]
            self._scanned = True

    def add(self, pack_id: str, footer: Footer) -> None:
        """Take a pack that was just published into the index."""
        self._index.add(pack_id, footer)
        with guard():
            if self._open.pop(pack_id, None) is not None:
                self._frames.clear()  # written anew: the file that was there may be damaged
                self._frames_size = 0
            for key in [key for key in self._scrubbed if key[0] == pack_id]:
                del self._scrubbed[key]

    def _look(self) -> None:
        if not self._scanned:
            self.refresh()

    def _look_again(self, places: Iterable[Location]) -> None:
        """Open the packs of these copies anew: they may have been merged away, or replaced by sound ones, or the index
        has told a lie about them.
        """
        with guard():
            for place in places:
                self._open.pop(place.pack_id, None)
                self._footers.pop(place.pack_id, None)
                self._index.doubt(place)
            self._frames.clear()
            self._frames_size = 0
            self._scrubbed.clear()
            self._maps.clear()
            self.refresh()

    def _has_lost(self, places: Iterable[Location]) -> bool:
        """Whether a pack of these copies was gone at the last look."""
        return not self.pack_ids() >= {place.pack_id for place in places if not place.aside}

    def close(self) -> None:
        """Close the files that are open; the object can still be used."""
        with guard():
            self._open.clear()
            self._index.close()

    # --- finding -------------------------------------------------------------------------------------------------

    def locate(self, object_id: ObjectId) -> list[Location]:
        """Every known copy of an object, without looking for new packs."""
        self._look()
        return self._index.find(object_id)

    def holder(self, object_id: ObjectId) -> tuple[str, bool] | None:
        """A pack with a copy of the object, and whether that is a chunk list; None where no pack has one."""
        self._look()
        return self._index.holder(object_id)

    def has(self, object_id: ObjectId) -> bool:
        """Whether a readable pack holds the object."""
        if not self._scanned:
            self.refresh()
        return self._index.has(object_id)

    def sound(self, object_id: ObjectId) -> str | None:
        """A pack with a copy of the object whose stored bytes have their checksum, looked at once; None without one."""
        for place in self.locate(object_id):
            key = (place.pack_id, place.at)
            good = self._scrubbed.get(key)
            if good is None:
                good = self._scrubbed[key] = self._scrub(place)
            if good:
                return place.pack_id
        return None

    def _scrub(self, place: Location) -> bool:
        data = _scratch.take(HEADER_SIZE + place.stored)
        try:
            file = self._file(place)
            return os.preadv(file.fd, [data], place.at) == len(data) and xxh3_64_intdigest(data) == place.xxh3
        except (StoreError, OSError):
            return False

    def complete(self, object_id: ObjectId) -> bool:
        """Whether a copy of the blob is here with all chunks that it names; by ids, without reading content."""
        for place in self.locate(object_id):
            try:
                top = self.list_of(place)
                # Pages first, of the packs alone: to read one falls back to the trash.
                if top is None or (
                    all(self.has(item) for item, _ in top.items)
                    and (top.level == 0 or all(self.has(chunk_id) for chunk_id, _ in self.chunks(place)))
                ):
                    return True
            except StoreError:
                continue  # its list, or a page of that, is damaged or gone
        return False

    def resolve(self, prefix: str) -> list[tuple[Kind, ObjectId]]:
        """The objects whose hex id begins with `prefix`, sorted; chunks of large files among them."""
        self._look()
        return self._index.resolve(prefix)

    def _copies(self, object_id: ObjectId) -> list[Location]:
        if found := self.locate(object_id):
            return found
        before: frozenset[str] | None = None
        for _ in range(_TRIES):
            self.refresh()
            if found := self.locate(object_id):
                return found
            # A listing that began before a merged pack came and ended after its inputs went shows neither: so on, until
            # two listings are alike, and all that they show could be opened.
            if before == (before := self._index.listed) and self._index.is_settled():
                break
        found = self._set_aside(object_id)
        if not found:
            if self.damaged:  # it may well have been in one of those
                count = len(self.damaged)
                packs = "1 pack is" if count == 1 else f"{count} packs are"
                raise Lost(f"object {object_id} is in no readable pack, and {packs} damaged: run fsck")
            raise NotFound(f"object {object_id} is not in this store")
        return found

    def _set_aside(self, object_id: ObjectId) -> list[Location]:
        """The copies of an object in packs that gc has moved to the trash: good enough to be read."""
        with guard():
            for epoch in reversed(trash.epochs(self._root)):
                base = self._root / layout.TRASH / str(epoch)
                for pack_id in pack_files(base):
                    if (epoch, pack_id) not in self._trashed:
                        self._trashed.add((epoch, pack_id))
                        self._trash.learn(pack_id, base / layout.pack_path(pack_id))
            for place in self._trash.find(object_id):
                if not os.path.exists(self._path(replace(place, aside=True))):
                    self._trash.forget(place.pack_id)
            return self._known_aside(object_id)

    def _known_aside(self, object_id: ObjectId) -> list[Location]:
        return [replace(place, aside=True) for place in self._trash.find(object_id)]

    # --- reading -------------------------------------------------------------------------------------------------

    def size(self, object_id: ObjectId) -> int:
        """Bytes of an object's content. Raises NotFound."""
        return self._copies(object_id)[0].entry.size

    def kind(self, object_id: ObjectId) -> Kind:
        """What an object is. Raises NotFound."""
        return self._copies(object_id)[0].kind

    def read(self, object_id: ObjectId, kind: Kind = Kind.BLOB, *, limit: int | None = None) -> bytes:
        """An object's whole content, checked against its id. Raises NotFound, Corrupt.

        For content that may be large use `stream`; `limit` is the most bytes that are accepted.
        """
        parts, size = [], 0
        for part in self.stream(object_id, kind):
            size += len(part)
            if limit is not None and size > limit:
                raise Corrupt(f"object {object_id} has more than the {limit} bytes expected here")
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def stream(self, object_id: ObjectId, kind: Kind = Kind.BLOB) -> Iterator[bytes]:
        """An object's content in pieces of at most 16 MiB; Corrupt comes at the end when the whole is not `object_id`.

        Who writes the pieces somewhere must show them to nobody before the iterator is exhausted. Of several copies
        one that is sound is used, at last one in the trash; NotFound and Corrupt mean that there is none. A large
        object is read ahead by two threads.
        """
        found = self._sound(object_id, kind)
        if isinstance(found, bytes):
            yield found
        else:
            yield from self._whole(found)

    def read_range(self, object_id: ObjectId, offset: int, length: int) -> bytes:
        """`length` bytes at `offset` of a blob, fewer at its end. Raises NotFound, Corrupt.

        Each chunk is checked by its id; a list that nobody has proved yet is read whole first, once.
        """
        found = self._sound(object_id, Kind.BLOB)
        if isinstance(found, bytes):
            return found[offset : offset + length]
        self.prove(found)
        end = min(offset + length, found.entry.size)
        skipped, chunks = self._overlap(found, offset, end)
        data = b"".join(self._contents(found, chunks, end - offset))
        return data[max(offset - skipped, 0) : max(end - skipped, 0)]

    def _sound(self, object_id: ObjectId, kind: Kind, *, lists: bool = True) -> bytes | Location:
        """The content of a copy that is good, or where that is a chunk list, its place. Raises NotFound, Corrupt."""
        for tries in range(_TRIES):
            places = self._copies(object_id)
            try:
                return self._pick(object_id, kind, places, lists=lists)
            except Corrupt:
                self._look_again(places)
                # Once more in any case; and again while packs are merged away faster than they can be opened.
                if tries and not self._has_lost(places):
                    break
        if not (places := self._set_aside(object_id)):
            places = self._copies(object_id)
        return self._pick(object_id, kind, places, lists=lists)

    def _pick(
        self, object_id: ObjectId, kind: Kind, places: list[Location], *, lists: bool
    ) -> bytes | Location:
        failures: list[StoreError] = []
        candidates: dict[bytes, Location] = {}
        for place in sorted(places, key=lambda p: p.is_list):  # what is whole needs no proof
            try:
                _check_kind(place, kind)
                if not place.is_list:
                    return self._checked(place)
                if not lists:
                    raise Corrupt(f"chunk {object_id} is itself stored as chunks")
                candidates.setdefault(self._proof(place), place)
            except StoreError as error:
                failures.append(error)
        if len(candidates) == 1:
            return candidates.popitem()[1]
        for place in candidates.values():  # they differ: which is true must be known before a byte is given
            try:
                self.prove(place)
            except StoreError as error:
                failures.append(error)
            else:
                return place
        raise next(
            (e for e in failures if isinstance(e, Corrupt)),
            Corrupt(f"object {object_id} cannot be read: {failures[0]}"),
        ) from failures[0]

    def _checked(self, place: Location) -> bytes:
        data = self._content(place)
        if hash_object(place.kind, data) != place.entry.id:
            raise Corrupt(f"pack {place.pack_id}: the content of {place.entry.id} is not what its id says")
        return data

    # --- chunk lists ---------------------------------------------------------------------------------------------

    def _whole(self, place: Location) -> Iterator[bytes]:
        proof = self._proof(place)
        contents = self._contents(place, self.chunks(place), place.entry.size)
        if proof in self._proofs:  # then that each chunk is what its id says is enough
            yield from contents
            return
        whole = Hasher()
        for data in contents:
            whole.update(data)
            yield data
        if whole.id() != place.entry.id:
            raise Corrupt(
                f"pack {place.pack_id}: the chunk list of {place.entry.id} does not make up that content"
            )
        self._proofs.add(proof)

    def _chunk(self, whole: Location, chunk_id: ObjectId, size: int) -> bytes:
        try:
            data = self._sound(chunk_id, Kind.BLOB, lists=False)
        except NotFound as error:
            raise NotFound(f"{error}: it is a chunk of {whole.entry.id}") from error
        assert isinstance(data, bytes)
        if len(data) != size:
            raise Corrupt(f"a chunk of {whole.entry.id} is not as long as its list says")
        return data

    def _proof(self, place: Location) -> bytes:
        self._top_map(place)
        return proof_of(place.entry.id, self._content(place))

    def prove(self, place: Location) -> None:
        """Read all that one copy's chunk list names, unless that was done before. Raises NotFound, Corrupt."""
        if self._proof(place) not in self._proofs:
            check_claim(place.entry.size, self.stored_bytes)
            for _ in self._whole(place):
                pass

    def stored_bytes(self) -> int:
        """Bytes of the packs' files, of those that can be asked for them."""
        sizes = 0
        for pack_id in pack_files(self._root):
            with suppress(OSError):
                sizes += (self._root / layout.pack_path(pack_id)).stat().st_size
        return sizes

    def trust_list(self, blob_id: ObjectId, encoded: bytes) -> None:
        """Note that the caller has hashed the whole of what this chunk list, a top one, names, and it is the blob."""
        self._proofs.add(proof_of(blob_id, encoded))

    def lists(self, object_id: ObjectId) -> list[ChunkList]:
        """The top chunk lists of all copies of a blob, none when it is stored whole. Raises NotFound, Corrupt.

        A damaged copy is left out where another can be read.
        """
        for tries in range(_TRIES):
            places = self._copies(object_id)
            try:
                return self._lists(places)
            except Corrupt:
                self._look_again(places)
                if tries and not self._has_lost(places):
                    break
        return self._lists(self._copies(object_id))

    def _lists(self, places: list[Location]) -> list[ChunkList]:
        found: list[ChunkList | None] = []
        failures: list[StoreError] = []
        for place in places:
            try:
                _check_kind(place, Kind.BLOB)
                found.append(self.list_of(place))
            except StoreError as error:
                failures.append(error)
        if not found:
            raise failures[0]
        return [top for top in found if top is not None]

    def list_of(self, place: Location) -> ChunkList | None:
        """The top chunk list of one copy of a blob, or None where that copy is stored whole. Raises Corrupt."""
        if not place.is_list:
            return None
        self._top_map(place)
        return ChunkList.decode(self._content(place))

    def chunks(self, place: Location) -> Iterator[tuple[ObjectId, int]]:
        """The (id, bytes) of the chunks of a copy stored as a list, page by page. Raises NotFound, Corrupt."""
        top = self.list_of(place)
        if top is None:
            yield place.entry.id, place.entry.size
        elif top.level == 0:
            yield from top.items
        else:
            for page_id, size in top.items:
                page = ChunkList.decode(self.read(page_id, Kind.CHUNKS, limit=layout.RECORD_MAX))
                _check_page(place, page, size)
                yield from page.items

    def _overlap(self, place: Location, offset: int, end: int) -> tuple[int, list[tuple[ObjectId, int]]]:
        """The chunks of a list that have bytes from `offset` to `end`, and how many bytes come before the first."""
        top = self._top_map(place)
        at, items = top.between(offset, end)
        if top.level == 0:
            return at, items
        skipped, chunks = at, list[tuple[ObjectId, int]]()
        self._read_ahead([page_id for page_id, _ in items[:_PAGES_AHEAD]])
        for page_id, size in items:
            before, inside = self._page_map(place, page_id, size).between(max(offset - at, 0), end - at)
            skipped = skipped if chunks else at + before
            chunks += inside
            at += size
        return skipped, chunks

    def _read_ahead(self, page_ids: list[ObjectId]) -> None:
        """Read pages that are neighbours at once, into the frames that are kept; what fails is read again alone."""
        unread = [page_id for page_id in page_ids if page_id not in self._maps]
        places = [places[0] for places in map(self.locate, unread) if places]
        if len(places) > 1:
            with suppress(StoreError):
                for run in _runs([[_Piece(place.entry.id, place.entry.size, place)] for place in places]):
                    for _ in self._fetch_run(run):
                        pass

    def _top_map(self, place: Location) -> ListMap:
        found = self._map((place.pack_id, place.at), lambda: self._content(place))
        if found.size != place.entry.size:
            raise Corrupt(f"the chunk list of {place.entry.id} has not the length its frame says")
        return found

    def _page_map(self, place: Location, page_id: ObjectId, size: int) -> ListMap:
        found = self._map(page_id, lambda: self.read(page_id, Kind.CHUNKS, limit=layout.RECORD_MAX))
        _check_page(place, found, size)
        return found

    def _map(self, key: object, read: Callable[[], bytes]) -> ListMap:
        with guard():
            found = self._maps.get(key)
        if found is None:
            found = ListMap(read())
        with guard():
            self._maps[key] = found
            self._maps.move_to_end(key)
            if len(self._maps) > _MAPS_KEPT:
                self._maps.popitem(last=False)
        return found

    def is_list(self, object_id: ObjectId) -> bool:
        """Whether the object's first copy is stored as a chunk list."""
        return self._copies(object_id)[0].is_list

    # --- many chunks -----------------------------------------------------------------------------------------------

    def _contents(
        self, whole: Location, chunks: Iterable[tuple[ObjectId, int]], size: int
    ) -> Iterator[bytes]:
        """The content of chunks of one object, `size` bytes in all, each checked. Raises NotFound, Corrupt."""
        batches = self._batches(chunks)
        if size < _POOL_MIN:
            for batch in batches:
                yield from self._given(whole, batch, self._fetch(batch))
            return
        process, pool = os.getpid(), _pool()
        waiting: deque[tuple[list[_Piece], Future[list[bytes] | None] | None]] = deque()

        def result() -> Iterator[bytes]:
            batch, future = waiting.popleft()
            if future is None or os.getpid() != process:  # a child of a fork has no such threads
                return self._given(whole, batch, self._fetch(batch))
            return self._given(whole, batch, future.result())

        try:
            for batch in batches:
                future = None
                if pool is not None and os.getpid() == process:
                    with suppress(RuntimeError):  # the interpreter has begun to end since
                        future = pool.submit(self._fetch, batch)
                waiting.append((batch, future))
                if len(waiting) > _AHEAD:
                    yield from result()
            while waiting:
                yield from result()
        finally:
            if pool is not None and os.getpid() == process:
                pool.shutdown(cancel_futures=True)

    def _batches(self, chunks: Iterable[tuple[ObjectId, int]]) -> Iterator[list[_Piece]]:
        """Chunks to be read at once, with the copies to try first. Ends between frames where that is near."""
        batch: list[_Piece] = []
        size, last = 0, None
        for chunk_id, length in chunks:
            hole = _hole(chunk_id, length)
            if hole is not None:
                if size >= _BATCH:
                    yield batch
                    batch, size = [], 0
                batch.append(_Piece(chunk_id, length, None, hole))
                size += length
                continue
            place = self._near(chunk_id, last)
            new = place is None or last is None or (place.pack_id, place.at) != (last.pack_id, last.at)
            if batch and size >= (_BATCH if new else 2 * _BATCH):
                yield batch
                batch, size = [], 0
            batch.append(_Piece(chunk_id, length, place))
            size += max(length, place.stored if new and place is not None else 0)
            last = place
        if batch:
            yield batch

    def _near(self, chunk_id: ObjectId, last: Location | None) -> Location | None:
        """A copy of a chunk: where the one before was read, if it is there too."""
        if last is not None and last.entry.id == chunk_id:
            return last
        copies = self.locate(chunk_id) or self._known_aside(chunk_id)
        found = [place for place in copies if not place.is_list and place.kind is Kind.BLOB]
        if len(found) > 1 and last is not None:
            return next((place for place in found if place.pack_id == last.pack_id), found[0])
        return found[0] if found else None

    def _given(self, whole: Location, batch: list[_Piece], found: list[bytes] | None) -> Iterator[bytes]:
        if found is not None:
            yield from found
            return
        for piece in batch:  # one by one, looking for other copies of those that are not as they should be
            yield self._chunk(whole, piece.id, piece.size)

    def _fetch(self, batch: list[_Piece]) -> list[bytes] | None:
        """The contents of these chunks, or None where one is not at its place or not what its id says."""
        contents: list[bytes] = []
        try:
            for is_hole, pieces in groupby(batch, key=lambda piece: piece.content is not None):
                if is_hole:
                    contents += [piece.content for piece in pieces if piece.content is not None]
                else:
                    for run in _runs([list(frame) for _, frame in groupby(pieces, key=_frame_of)]):
                        contents += self._fetch_run(run)
        except StoreError:
            return None
        return contents

    def _fetch_run(self, run: list[list[_Piece]]) -> Iterator[bytes]:
        places = [_place(pieces[0]) for pieces in run]
        start, data = places[0].at, memoryview(b"")
        kept = self._kept_frame(places[0]) if len(run) == 1 else None
        if kept is None:
            data = self._pread(places[0], places[-1].at + HEADER_SIZE + places[-1].stored - start)
        for place, pieces in zip(places, run, strict=True):
            raw = kept
            if raw is None:
                at = place.at - start
                raw = _decoded(place, data[at : at + HEADER_SIZE + place.stored])
            view, found = memoryview(raw), []
            for piece in pieces:
                entry = _place(piece).entry
                content = view[entry.offset : entry.offset + entry.size]
                if len(content) != piece.size or hash_object(place.kind, content) != piece.id:
                    raise Corrupt(f"object {piece.id} is not what its id says")
                found.append((entry.offset, content))
            ends = accumulate(len(content) for _, content in found)
            if [offset for offset, _ in found] + [len(raw)] == [0, *ends]:
                yield raw  # all of it, in its order: not copied, and nobody will soon ask for it again
            else:
                self._keep_frame(place, raw)
                yield from (bytes(content) for _, content in found)

    # --- frames --------------------------------------------------------------------------------------------------

    def _content(self, place: Location) -> bytes:
        """The bytes of one copy, decoded and not yet checked against the id; of a list, the list's own bytes."""
        raw = self._frame(place)
        if place.is_list:
            return raw
        return raw[place.entry.offset : place.entry.offset + place.entry.size]

    def _frame(self, place: Location) -> bytes:
        raw = self._kept_frame(place)
        if raw is None:
            raw = self._keep_frame(place, _decoded(place, self._pread(place, HEADER_SIZE + place.stored)))
        return raw

    def _kept_frame(self, place: Location) -> bytes | None:
        key = (place.pack_id, place.at)
        with guard():
            if key in self._frames:
                self._frames.move_to_end(key)
                return self._frames[key]
        return None

    def _keep_frame(self, place: Location, raw: bytes) -> bytes:
        key = (place.pack_id, place.at)
        if len(raw) <= layout.FRAME_RAW_MAX:
            with guard():
                self._frames_size += len(raw) - len(self._frames.pop(key, b""))
                self._frames[key] = raw
                while self._frames_size > _FRAMES_KEPT:
                    self._frames_size -= len(self._frames.popitem(last=False)[1])
        return raw

    def _pread(self, place: Location, size: int) -> memoryview:
        """Bytes of a pack from where a copy's frame begins, until this thread reads the next. Raises Corrupt."""
        data = _scratch.take(size)
        try:
            file = self._file(place)  # held until it has been read, whoever closes it meanwhile
            return data[: os.preadv(file.fd, [data], place.at)]
        except OSError as error:
            raise Corrupt(f"pack {place.pack_id} cannot be read: {error}") from error

    def _file(self, place: Location) -> OpenFile:
        with guard():
            file = self._open.get(place.pack_id)
            if file is None:
                file = self._open[place.pack_id] = OpenFile(self._path(place))
                if len(self._open) > _OPEN_MAX:
                    self._open.popitem(last=False)
            self._open.move_to_end(place.pack_id)
            return file

    def _path(self, place: Location) -> Path:
        name = layout.pack_path(place.pack_id)
        return next(trash.find(self._root, name), self._root / name) if place.aside else self._root / name


def _pool() -> ThreadPoolExecutor | None:
    """Threads to read ahead; none at the interpreter's end, where it refuses what their import does."""
    with suppress(RuntimeError):
        from concurrent.futures import ThreadPoolExecutor

        return ThreadPoolExecutor(_THREADS)
    return None


def _decoded(place: Location, data: memoryview) -> bytes:
    """The content of a frame, if it is the one that the index says is there. Raises Corrupt, Unsupported."""
    header = FrameHeader.parse(data)
    if (
        (header.kind, header.stored_size) != (place.kind, place.stored)
        or (header.encoding is Encoding.LIST) != place.is_list
        or len(data) != HEADER_SIZE + place.stored
    ):
        raise Corrupt(f"pack {place.pack_id}: the frame at byte {place.at} is not what the footer says")
    # What is stored raw is checked by its object's id alone.
    if header.encoding is not Encoding.RAW and xxh3_64_intdigest(data) != place.xxh3:
        raise Corrupt(f"pack {place.pack_id}: the frame at byte {place.at} is damaged")
    return decode(header, data[HEADER_SIZE:])


@cache
def _largest_hole() -> tuple[ObjectId, bytes]:
    data = bytes(layout.CHUNK_MAX)
    return hash_object(Kind.BLOB, data), data


def _hole(chunk_id: ObjectId, size: int) -> bytes | None:
    """The content of a chunk that is known by its id: of nothing but zeros, as the cutter leaves them."""
    if size == layout.CHUNK_MAX and chunk_id == _largest_hole()[0]:
        return _largest_hole()[1]
    return None


def _place(piece: _Piece) -> Location:
    if piece.place is None:
        raise NotFound(f"object {piece.id} is not in this store")
    return piece.place


def _frame_of(piece: _Piece) -> tuple[str, int]:
    place = _place(piece)
    return place.pack_id, place.at


def _runs(groups: list[list[_Piece]]) -> list[list[list[_Piece]]]:
    """Chunks by frame, and frames by read: those that touch, in the order of the file, up to some bytes."""
    runs: list[list[list[_Piece]]] = []
    end: tuple[str, int] | None = None
    for pieces in groups:
        place = _place(pieces[0])
        if (place.pack_id, place.at) == end and place.at - _place(runs[-1][0][0]).at < _BATCH:
            runs[-1].append(pieces)
        else:
            runs.append([pieces])
        end = place.pack_id, place.at + HEADER_SIZE + place.stored
    return runs


def _weight(footer: Footer) -> int:
    return len(footer.frames) + len(footer.objects)


class Proving:
    """The work of proving chunk lists, all together: bounded by the bytes that are stored, or by some that are free.

    stored: bytes they were made of, as known by now; free: bytes that may be read whatever that is.
    """

    def __init__(self, stored: Callable[[], int], free: int) -> None:
        self._stored = stored
        self._allowed = self._free = free
        self._done = 0
        self._frame: tuple[str, int] | None = None

    def begin(self, object_id: ObjectId, size: int) -> None:
        """Count all that a list claims, before it is read. Raises Corrupt."""
        self._count(size, f"the chunk list of {object_id} claims {size} bytes")

    def chunk(self, object_id: ObjectId, size: int, frame: tuple[str, int] | None) -> None:
        """Count what a chunk costs beyond its bytes: to find it, and to decode a frame that may be much longer.

        frame: where it lies (pack id, and what tells its frame from others), None where that is not known. Raises
        Corrupt.
        """
        more = max(0, layout.CHUNK_MIN - size)
        if frame != self._frame:
            self._frame, more = frame, more + 2 * layout.BLOB_MAX
        if more:
            self._count(more, f"the chunk list of {object_id} names its chunks one by one all over the place")

    def _count(self, size: int, what: str) -> None:
        if self._done + size > self._allowed:
            self._allowed = max(self._free, layout.RATIO_MAX * self._stored())
            if self._done + size > self._allowed:
                raise Corrupt(f"{what}, out of so few stored that it was not read")
        self._done += size


def check_claim(size: int, stored: Callable[[], int]) -> None:
    """Raise Corrupt where a chunk list claims so many bytes, out of so few stored, that nobody could read them all."""
    if size > layout.SPARSE_MAX and size > layout.RATIO_MAX * (there := stored()):
        raise Corrupt(
            f"a chunk list claims {size} bytes, and the store has {there}: it was not read; if it is yours, get it"
        )


def _check_page(place: Location, page: ChunkList | ListMap, size: int) -> None:
    if page.level != 0 or page.size != size:
        raise Corrupt(f"a page of the chunk list of {place.entry.id} is not what the list says")


def _check_kind(place: Location, kind: Kind) -> None:
    if place.kind is not kind:
        raise Corrupt(f"object {place.entry.id} is a {place.kind.name.lower()}, not a {kind.name.lower()}")
