"""All objects in a store's packs, found by id or prefix and read verified. Writes nothing."""

from __future__ import annotations

import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from xxhash import xxh3_64_intdigest

from objstore import layout
from objstore.errors import Corrupt, Lost, NotFound, StoreError
from objstore.frame import HEADER_SIZE, Encoding, decode
from objstore.ids import Hasher, Kind, ObjectId, hash_bytes, hash_object
from objstore.pack import Footer, ObjectEntry, read_footer
from objstore.records import ChunkList

_OPEN_MAX = 16  # packs kept open at once
_FRAMES_KEPT = 8  # decoded frames kept: neighbours are often read one after another

# One for all stores, since a fork must find it free: a thread that is not in the child may hold the parent's.
_guard = threading.RLock()


def _free_guard() -> None:
    global _guard
    _guard = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_free_guard)


@dataclass(frozen=True, slots=True)
class Location:
    """One stored copy of an object; `is_list` when it is stored as a chunk list."""

    pack_id: str
    entry: ObjectEntry
    kind: Kind
    is_list: bool


class _OpenFile:
    """A descriptor that lasts as long as somebody reads by it: closed too early, its number may be another file's."""

    __slots__ = ("fd",)

    def __init__(self, path: Path) -> None:
        # Not blocking: a pipe that bears a pack's name would wait for a writer for ever.
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
        if not stat.S_ISREG(os.fstat(self.fd).st_mode):
            raise Corrupt(f"{path} is no regular file")

    def __del__(self) -> None:
        if hasattr(self, "fd"):  # opening may have failed
            os.close(self.fd)


class Objects:
    """The union of a store's packs. Safe to use beside writers, whose packs are found when an object is missed and
    looked for again when they have vanished; and by several threads.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._packs: dict[str, Footer] = {}
        self._index: dict[bytes, tuple[tuple[str, int], ...]] = {}  # id -> (pack id, row in its footer)
        self._open: OrderedDict[str, _OpenFile] = OrderedDict()
        self._frames: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._proved: set[bytes] = set()  # chunk lists, by `_proof`, whose whole content had the right hash
        self._scrubbed: dict[
            tuple[str, int], bool
        ] = {}  # frames, by (pack id, number), whose checksum was looked at
        self._scanned = False
        self.damaged: dict[str, str] = {}  # relative path -> what is wrong with it

    # --- which packs there are -----------------------------------------------------------------------------------

    def packs(self) -> dict[str, Footer]:
        """The readable packs by id."""
        if not self._scanned:
            self.refresh()
        return self._packs

    def pack_ids(self) -> frozenset[str]:
        """The readable packs."""
        return frozenset(self.packs())

    def footer(self, pack_id: str) -> Footer:
        """What one pack holds. Raises NotFound where no readable pack has this id."""
        try:
            return self.packs()[pack_id]
        except KeyError as error:
            raise NotFound(f"pack {pack_id} is not in this store") from error

    def refresh(self) -> None:
        """Look for packs that came or went since the last look."""
        with _guard:
            present = set(pack_files(self._root))
            self.damaged = {}
            for gone in self._packs.keys() - present:
                self._forget(gone)
            for pack_id in present - self._packs.keys():
                try:
                    # By a descriptor of its own: most packs are never read any further.
                    file = _OpenFile(self._root / layout.pack_path(pack_id))
                    self.add(pack_id, read_footer(file.fd, pack_id))
                except FileNotFoundError:
                    continue
                except (StoreError, OSError) as error:
                    self.damaged[layout.pack_path(pack_id)] = str(error)
            self._scanned = True

    def add(self, pack_id: str, footer: Footer) -> None:
        """Take a pack that was just published into the index."""
        with _guard:
            if pack_id in self._packs:  # written anew, perhaps because the file that was there is damaged
                self._open.pop(pack_id, None)
                self._frames.clear()
                self._scrubbed.clear()
                return
            self._packs[pack_id] = footer
            for row, entry in enumerate(footer.objects):
                key = bytes(entry.id)
                self._index[key] = (*self._index.get(key, ()), (pack_id, row))

    def _forget(self, pack_id: str) -> None:
        self._open.pop(pack_id, None)
        for entry in self._packs.pop(pack_id).objects:
            key = bytes(entry.id)
            left = tuple(place for place in self._index.get(key, ()) if place[0] != pack_id)
            if left:
                self._index[key] = left
            else:
                self._index.pop(key, None)

    def _look_again(self, places: list[Location]) -> None:
        """Open the packs of these copies anew: they may have been merged away, or replaced by sound ones."""
        with _guard:
            for place in places:
                self._open.pop(place.pack_id, None)
            self._frames.clear()
            self.refresh()

    def close(self) -> None:
        """Close the packs that are open; the object can still be used."""
        with _guard:
            self._open.clear()

    # --- finding -------------------------------------------------------------------------------------------------

    def locate(self, object_id: ObjectId) -> list[Location]:
        """Every known copy of an object, without looking at the disk again."""
        if not self._scanned:
            self.refresh()
        found = []
        for pack_id, row in self._index.get(bytes(object_id), ()):
            footer = self._packs.get(pack_id)
            if footer is not None:  # else another thread has just found it gone
                entry = footer.objects[row]
                header = footer.frames[entry.frame].header
                found.append(Location(pack_id, entry, header.kind, header.encoding is Encoding.LIST))
        return found

    def has(self, object_id: ObjectId) -> bool:
        """Whether a readable pack holds the object."""
        return bool(self.locate(object_id))

    def sound(self, object_id: ObjectId) -> str | None:
        """A pack with a copy of the object whose stored bytes have their checksum, looked at once; None without one."""
        for place in self.locate(object_id):
            key = (place.pack_id, place.entry.frame)
            good = self._scrubbed.get(key)
            if good is None:
                good = self._scrubbed[key] = self._scrub(place)
            if good:
                return place.pack_id
        return None

    def _scrub(self, place: Location) -> bool:
        try:
            frame = self.footer(place.pack_id).frames[place.entry.frame]
            data = _scratch(frame.size)
            size = os.preadv(self._file(place.pack_id).fd, [data], frame.offset)
        except (StoreError, OSError):
            return False
        sound = size == frame.size and xxh3_64_intdigest(data) == frame.xxh3
        return sound and data[:HEADER_SIZE] == frame.header.pack()

    def trust_list(self, blob_id: ObjectId, encoded: bytes) -> None:
        """Note that a chunk list, of these bytes, makes up that blob: its writer has hashed the whole."""
        self._proved.add(hash_bytes(blob_id + encoded))

    def complete(self, object_id: ObjectId) -> bool:
        """Whether a copy of the blob is here with all chunks that it names; by ids, without reading content."""
        for place in self.locate(object_id):
            try:
                if all(self.has(chunk_id) for chunk_id, _ in self.chunks(place)):
                    return True
            except StoreError:
                continue  # its list, or a page of that, is damaged or gone
        return False

    def resolve(self, prefix: str) -> list[tuple[Kind, ObjectId]]:
        """The objects whose hex id begins with `prefix`, sorted; chunks of large files among them."""
        if not self._scanned:
            self.refresh()
        even = bytes.fromhex(prefix[: len(prefix) // 2 * 2])
        with _guard:
            hits = sorted(i for i in self._index if i.startswith(even) and i.hex().startswith(prefix))
        places = [(ObjectId(i), self.locate(ObjectId(i))) for i in hits]
        return [(found[0].kind, object_id) for object_id, found in places if found]

    def _copies(self, object_id: ObjectId) -> list[Location]:
        found = self.locate(object_id)
        for _ in range(2):
            # Twice: a listing that began before a merged pack came and ended after its inputs went shows neither.
            if found:
                return found
            self.refresh()
            found = self.locate(object_id)
        if not found:
            if self.damaged:  # it may well have been in one of those
                count = len(self.damaged)
                packs = "1 pack is" if count == 1 else f"{count} packs are"
                raise Lost(f"object {object_id} is in no readable pack, and {packs} damaged: run fsck")
            raise NotFound(f"object {object_id} is not in this store")
        return found

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
        one that is sound is used; NotFound and Corrupt mean that there is none.
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
        parts, at = [], 0
        for chunk_id, size in self.chunks(found):
            if at >= offset + length:
                break
            if at + size > offset:
                data = self._chunk(found, chunk_id, size)
                parts.append(data[max(0, offset - at) : offset + length - at])
            at += size
        return b"".join(parts)

    def _sound(self, object_id: ObjectId, kind: Kind, *, lists: bool = True) -> bytes | Location:
        """The content of a copy that is good, or where that is a chunk list, its place. Raises NotFound, Corrupt."""
        places = self._copies(object_id)
        try:
            return self._pick(object_id, kind, places, lists=lists)
        except Corrupt:
            self._look_again(places)
        return self._pick(object_id, kind, self._copies(object_id), lists=lists)

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
        for (
            place
        ) in candidates.values():  # they differ: which one is true must be known before a byte is given
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
        object_id = place.entry.id
        whole = Hasher(threads=2)
        for chunk_id, size in self.chunks(place):
            data = self._chunk(place, chunk_id, size)
            whole.update(data)
            yield data
        if whole.id() != object_id:
            raise Corrupt(
                f"pack {place.pack_id}: the chunk list of {object_id} does not make up that content"
            )
        self._proved.add(self._proof(place))

    def _chunk(self, place: Location, chunk_id: ObjectId, size: int) -> bytes:
        try:
            data = self._sound(chunk_id, Kind.BLOB, lists=False)
        except NotFound as error:
            raise NotFound(f"{error}: it is a chunk of {place.entry.id}") from error
        assert isinstance(data, bytes)
        if len(data) != size:
            raise Corrupt(f"a chunk of {place.entry.id} is not as long as its list says")
        return data

    def _proof(self, place: Location) -> bytes:
        """What stands for "this list makes up that object", whichever pack it was read from."""
        self.list_of(place)
        return hash_bytes(place.entry.id + self._content(place))

    def prove(self, place: Location) -> None:
        """Read all that one copy's chunk list names, unless that was done before. Raises NotFound, Corrupt."""
        if self._proof(place) not in self._proved:
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

    def lists(self, object_id: ObjectId) -> list[ChunkList]:
        """The top chunk lists of all copies of a blob, none when it is stored whole. Raises NotFound, Corrupt.

        A damaged copy is left out where another can be read.
        """
        places = self._copies(object_id)
        try:
            return self._lists(places)
        except Corrupt:
            self._look_again(places)
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
        top = ChunkList.decode(self._content(place))
        if top.size != place.entry.size:
            raise Corrupt(f"the chunk list of {place.entry.id} has not the length its frame says")
        return top

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
                if page.level != 0 or page.size != size:
                    raise Corrupt(f"a page of the chunk list of {place.entry.id} is not what the list says")
                yield from page.items

    def is_list(self, object_id: ObjectId) -> bool:
        """Whether the object's first copy is stored as a chunk list."""
        return self._copies(object_id)[0].is_list

    # --- frames --------------------------------------------------------------------------------------------------

    def _content(self, place: Location) -> bytes:
        """The bytes of one copy, decoded and not yet checked against the id; of a list, the list's own bytes."""
        raw = self._frame(place.pack_id, place.entry.frame)
        if place.is_list:
            return raw
        return raw[place.entry.offset : place.entry.offset + place.entry.size]

    def _frame(self, pack_id: str, number: int) -> bytes:
        key = (pack_id, number)
        with _guard:
            if key in self._frames:
                self._frames.move_to_end(key)
                return self._frames[key]
            footer = self._packs.get(pack_id)
        if footer is None:
            raise Corrupt(f"pack {pack_id} is gone")
        entry = footer.frames[number]
        try:
            data = os.pread(self._file(pack_id).fd, entry.size, entry.offset)
        except OSError as error:
            raise Corrupt(f"pack {pack_id} cannot be read: {error}") from error
        payload = data[HEADER_SIZE:]
        if data[:HEADER_SIZE] != entry.header.pack() or len(data) != entry.size:
            raise Corrupt(f"pack {pack_id}: the frame at byte {entry.offset} is not what the footer says")
        if entry.header.encoding is not Encoding.RAW and hash_bytes(payload) != entry.pin:
            raise Corrupt(f"pack {pack_id}: the frame at byte {entry.offset} is damaged")
        raw = decode(entry.header, payload)
        if len(raw) <= layout.FRAME_RAW_MAX:
            with _guard:
                self._frames[key] = raw
                if len(self._frames) > _FRAMES_KEPT:
                    self._frames.popitem(last=False)
        return raw

    def _file(self, pack_id: str) -> _OpenFile:
        with _guard:
            file = self._open.get(pack_id)
            if file is None:
                file = self._open[pack_id] = _OpenFile(self._root / layout.pack_path(pack_id))
                if len(self._open) > _OPEN_MAX:
                    self._open.popitem(last=False)
            self._open.move_to_end(pack_id)
            return file


class _Scratch(threading.local):
    """A buffer of each thread for bytes that are only looked at: fresh memory costs a fault a page."""

    def __init__(self) -> None:
        self.buffer = memoryview(bytearray(layout.FRAME_RAW_MAX + layout.KIB))


_local = _Scratch()


def _scratch(size: int) -> memoryview:
    return _local.buffer[:size] if size <= len(_local.buffer) else memoryview(bytearray(size))


def check_claim(size: int, stored: Callable[[], int]) -> None:
    """Raise Corrupt where a chunk list claims so many bytes, out of so few stored, that nobody could read them all."""
    if size > layout.SPARSE_MAX and size > layout.RATIO_MAX * (there := stored()):
        raise Corrupt(
            f"a chunk list claims {size} bytes, and the store has {there}: it was not read; if it is yours, get it"
        )


def _check_kind(place: Location, kind: Kind) -> None:
    if place.kind is not kind:
        raise Corrupt(f"object {place.entry.id} is a {place.kind.name.lower()}, not a {kind.name.lower()}")


def pack_files(root: Path) -> Iterator[str]:
    """The ids in the names of a store's pack files, in no order."""
    base = root / layout.PACKS
    try:
        shelves = os.listdir(base)
    except (FileNotFoundError, NotADirectoryError):  # fsck names the latter
        return
    for shelf in shelves:
        try:
            names = os.listdir(base / shelf)
        except (NotADirectoryError, FileNotFoundError):
            continue
        for name in names:
            pack_id = layout.parse_pack_name(name)
            if pack_id is not None and pack_id[:2] == shelf:
                yield pack_id
