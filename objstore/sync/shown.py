"""What a remote shows: the heads and the packs that its tables and loose heads name, by one listing and a local cache.

Nothing that a remote says is believed before it hashes to its name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from objstore import layout
from objstore.errors import Corrupt, InvalidName, NotFound, RemoteError, StoreError, Unsupported
from objstore.heads import Head, Table, living
from objstore.ids import ObjectId, hash_bytes
from objstore.pack import Footer, parse_trailer, trailer_size
from objstore.records import check_format
from objstore.remotes import Source, check_name
from objstore.sync.cache import Cache

Progress = Callable[[int, int], None]  # (bytes done, bytes expected by now)

_TRIES = 3  # listings, when tables vanish between being listed and being read
_TAIL = 64 * layout.KIB  # bytes read at a pack's end: most footers are shorter, and so cost one request


class Shown:
    """One look at a remote. `tables` are those that none covers; `rolled_back` what was seen earlier and is gone.

    `damaged` says of a remote's file what is wrong with it; what it would have shown is left out.
    """

    def __init__(self, remote: Source, cache: Cache, listed: dict[str, int]) -> None:
        self.remote = remote
        self.cache = cache
        self.format = b""  # the content of its `format` file; empty when it has none
        self.writable = True
        self.damaged: dict[str, str] = {}
        self.vanished = False  # whether a head was gone when it was fetched, so that another look shows more
        self.tables: dict[str, Table] = {}
        self.covered: set[str] = set()  # of the listed tables
        self.sizes: dict[str, int] = {}  # of the listed tables, in bytes
        self._loose: dict[str, dict[ObjectId, tuple[str, int]]] = {}  # key -> commit id -> (name, bytes)
        self._unread: set[str] = set()
        for name, size in listed.items():
            self._sort(name, size)
        self._read_tables()
        self._packed = self._index()
        self._fetched: dict[ObjectId, Head] = {}
        self._before = self._seen()
        self.rolled_back = tuple(self._find_rolled_back())

    def _sort(self, name: str, size: int) -> None:
        folder, _, base = name.rpartition("/")
        table_id, head = layout.parse_table_name(base), layout.parse_head_name(base)
        if folder == layout.TABLES and table_id is not None:
            self.sizes[table_id] = size
        elif head is not None and folder.startswith(f"{layout.REFS}/") and folder.count("/") == 1:
            try:
                check_name(name)
            except InvalidName as error:
                self.damaged[name] = str(error)
                return
            self._loose.setdefault(head[0], {})[ObjectId.parse(head[1])] = (name, size)

    # --- tables --------------------------------------------------------------------------------------------------

    def _read_tables(self) -> None:
        """Read known tables first, then large ones: so most of those that are covered need not be read at all."""
        kept = set(self.cache.names("tables"))
        for table_id in sorted(self.sizes, key=lambda t: (t not in kept, -self.sizes[t], t)):
            if table_id not in self.covered and (table := self._table(table_id)) is not None:
                self.tables[table_id] = table
                self.covered.update(table.covers)
        self.tables = {t: table for t, table in self.tables.items() if t not in self.covered}
        self.covered &= self.sizes.keys()
        self.cache.keep("tables", self.tables)
        self._disbelieve()

    def _disbelieve(self) -> None:
        """Pass over claims that another table gives up, unless the pack is there: who put one of them did not know."""
        dropped = {pack_id for table in self.tables.values() for pack_id in table.dropped}
        doubtful = {p for table in self.tables.values() for p in table.packs.keys() & dropped}
        if not doubtful:
            return
        there = {listed.name for listed in self.remote.list(f"{layout.PACKS}/")}
        false = {pack_id for pack_id in doubtful if layout.pack_path(pack_id) not in there}
        for table_id, table in self.tables.items():
            packs = {pack_id: footer for pack_id, footer in table.packs.items() if pack_id not in false}
            self.tables[table_id] = replace(table, packs=packs)

    def _table(self, table_id: str) -> Table | None:
        note, where = f"tables/{table_id}", layout.table_path(table_id)
        if (data := self.cache.read(note)) is not None:
            try:
                return Table.decode(data, table_id)
            except StoreError:
                self.cache.remove(note)
        try:
            if self.sizes[table_id] > layout.TABLE_MAX:
                raise Corrupt(f"it has {self.sizes[table_id]} bytes, more than any table may")
            data = self.remote.get(where, layout.TABLE_MAX)
            table = Table.decode(data, table_id)
        except Corrupt as error:
            self.damaged[where] = str(error)
            self._unread.add(where)
            return None
        self.cache.write(note, data)
        return table

    def refuse_damage(self) -> None:
        """Raise Corrupt when a table cannot be read: whoever adds to a remote has to know all that is claimed there."""
        for where in sorted(self._unread):
            raise Corrupt(
                f"{self.remote.url}: {where} is damaged ({self.damaged[where]}): remove it there and push again, "
                "then what only it claimed is put again by the stores that have it"
            )

    # --- heads ---------------------------------------------------------------------------------------------------

    def _index(self) -> dict[str, dict[ObjectId, Head]]:
        found: dict[str, dict[ObjectId, Head]] = {}
        for table in self.tables.values():
            for head in table.heads:
                found.setdefault(head.key, {})[head.id] = head
        return found

    @property
    def empty(self) -> bool:
        """Whether it shows no table and no head."""
        return not self.sizes and not self._loose

    @property
    def unclaimed(self) -> bool:
        """Whether there may be packs that no table claims: a copier brought files, not only pushes."""
        heads_only = any(table.heads and not table.packs for table in self.tables.values())
        return bool(self._loose) or not self.tables or heads_only

    @property
    def keys(self) -> Collection[str]:
        """The keys that have a head there."""
        return self._packed.keys() | self._loose.keys()

    def ids(self, key: str) -> set[ObjectId]:
        """The heads of a key, by name only: dead and damaged ones too."""
        return self._packed.get(key, {}).keys() | self._loose.get(key, {}).keys()

    def all_ids(self) -> set[ObjectId]:
        """The heads of all keys, by name only."""
        return {commit_id for key in self.keys for commit_id in self.ids(key)}

    def in_table(self, head: Head) -> bool:
        """Whether a table names the head."""
        return head.id in self._packed.get(head.key, {})

    def of(self, key: str) -> list[Head]:
        """The sound heads of a key, dead ones too. Loose ones are fetched when they are first asked for.

        One that is not what its name says is noted as damage, and no longer shown.
        """
        packed, loose = self._packed.get(key, {}), self._loose.get(key, {})
        for head in list(packed.values()):
            if not is_sound(head):
                self.damaged[f"{head.where}, head of {key}"] = f"it does not hold the commit {head.id}"
                del packed[head.id]
        fetched = [self._fetch(key, i) for i in list(loose) if i not in packed]
        return [*packed.values(), *(head for head in fetched if head is not None)]

    def _fetch(self, key: str, commit_id: ObjectId) -> Head | None:
        if commit_id in self._fetched:
            return self._fetched[commit_id]
        name, size = self._loose[key][commit_id]
        note = f"heads/{commit_id}"
        head = Head(key, commit_id, self.cache.read(note) or b"", name)
        try:
            if not is_sound(head) and size <= layout.RECORD_MAX:
                head = Head(key, commit_id, self.remote.get(name, layout.RECORD_MAX), name)
        except NotFound:
            self.vanished = True  # folded into a table since the listing: the next look shows it there
            return None
        if not is_sound(head):
            self.damaged[name] = f"it does not hold the commit {commit_id} of {key}"
            del self._loose[key][commit_id]
            return None
        self.cache.write(note, head.raw)
        self._fetched[commit_id] = head
        return head

    def outlives(self, head: Head) -> bool:
        """Whether another head of the same key that is shown covers `head`, as far as that can be told."""
        try:
            return head.id not in {h.id for h in living([head, *self.of(head.key)])}
        except Corrupt as error:
            self.damaged[f"{layout.REFS}, heads of {head.key}"] = str(error)
            return False

    # --- what was seen before --------------------------------------------------------------------------------------

    def _seen(self) -> tuple[Head, ...]:
        data = self.cache.read("seen")
        if data is None:
            return ()
        try:
            return tuple(Table.decode(data, hash_bytes(data).hex()).heads)
        except (StoreError, ValueError):
            return ()

    def _find_rolled_back(self) -> Iterator[Head]:
        for head in self._before:
            if head.id not in self.ids(head.key) and is_sound(head) and not self.outlives(head):
                yield head

    def remember(self, local: Iterable[Head], put: Iterable[Head] = ()) -> None:
        """Note the heads that live there, for the next look to miss one that is gone then.

        local: heads of this store, which stand for loose ones there that were not fetched; put: heads just put there.
        """
        now: dict[str, dict[ObjectId, Head]] = {}
        packed = (head for heads in self._packed.values() for head in heads.values())
        same = (head for head in local if head.id in self._loose.get(head.key, ()))
        still = (head for head in self._before if head.id in self.ids(head.key))
        for head in (*packed, *self._fetched.values(), *same, *still, *self.rolled_back, *put):
            now.setdefault(head.key, {})[head.id] = head
        known = [head for heads in now.values() for head in alive(heads)]
        if {(h.key, h.id) for h in known} != {(h.key, h.id) for h in self._before}:
            self._note_seen(known)
            self.cache.keep("heads", (str(i) for heads in self._loose.values() for i in heads))

    def _note_seen(self, known: list[Head]) -> None:
        try:
            self.cache.write("seen", Table(tuple(known)).encode())
        except StoreError:
            self.cache.remove("seen")  # more heads than one note holds: a rollback of so many shows by itself

    # --- packs ---------------------------------------------------------------------------------------------------

    def claimed(self) -> dict[str, bytes]:
        """The packs that tables claim, by id, with their footers' bytes; those of the smallest tables first."""
        found: dict[str, bytes] = {}
        for table_id in sorted(self.tables, key=lambda t: self.sizes[t]):
            for pack_id, footer in self.tables[table_id].packs.items():
                if pack_id not in found and hash_bytes(footer).hex() == pack_id:
                    found[pack_id] = footer
        return found

    def footer(self, pack_id: str, data: bytes) -> Footer | None:
        """The parsed footer of a claimed pack; None, and noted as damage, where it cannot be read."""
        try:
            return Footer.decode(data)
        except StoreError as error:
            self.damaged[layout.pack_path(pack_id)] = str(error)
            return None

    def others(self, known: Collection[str] = ()) -> Iterator[tuple[str, bytes]]:
        """The packs that lie there and that no table claims, nor has given up, with their footers' bytes.

        Those in `known` are left out. One listing, and one or two ranged reads for each footer never read before.
        """
        present: list[str] = []
        dropped = (pack_id for table in self.tables.values() for pack_id in table.dropped)
        passed = {*self.claimed(), *dropped, *known}
        for listed in self.remote.list(f"{layout.PACKS}/"):
            pack_id = layout.parse_pack_name(listed.name.rpartition("/")[2])
            if pack_id is None or listed.name != layout.pack_path(pack_id) or pack_id in passed:
                continue
            try:
                footer = self._other(pack_id, listed.size)
            except NotFound:
                continue  # merged or deleted since the listing
            except (Corrupt, Unsupported) as error:
                self.damaged[listed.name] = str(error)
                continue
            present.append(pack_id)
            yield pack_id, footer
        self.cache.keep("footers", present)

    def _other(self, pack_id: str, size: int) -> bytes:
        note = f"footers/{pack_id}"
        data = self.cache.read(note)
        if data is None or hash_bytes(data).hex() != pack_id:
            data = read_footer(self.remote, pack_id, size)
            self.cache.write(note, data)
        if Footer.decode(data).frames_size + len(data) + trailer_size() != size:
            raise Corrupt(f"it is {size} bytes long, which is not what its footer says")
        return data


def read_footer(remote: Source, pack_id: str, size: int) -> bytes:
    """The footer of a pack of `size` bytes, by ranged reads. Raises NotFound, Corrupt."""
    name, end = layout.pack_path(pack_id), trailer_size()
    tail = remote.get_range(name, max(0, size - _TAIL), min(size, _TAIL))
    length = parse_trailer(tail[-end:])
    if length + end > size:
        raise Corrupt("it is cut short")
    if length + end > len(tail):
        tail = remote.get_range(name, size - length - end, length + end)
    data = tail[-length - end : -end]
    if hash_bytes(data).hex() != pack_id:
        raise Corrupt("its footer is not the one that its name stands for")
    return data


def look(root: Path | None, remote: Source) -> Shown:
    """List the remote and read what is new; without a store (root None) remember nothing of it.

    Raises RemoteError, Unsupported, Corrupt.

    At first contact the remote's `format` is read as well. A remote that showed heads before and now holds not even
    that file is taken for a disk that is not mounted: RemoteError.
    """
    cache = Cache(root, remote.url)
    for _ in range(_TRIES):
        listed = {entry.name: entry.size for entry in remote.list(layout.REFS)}
        try:
            shown = Shown(remote, cache, listed)
        except NotFound:
            continue  # a table was merged away since it was listed
        _read_format(shown)
        return shown
    raise RemoteError(f"{remote.url}: tables vanish between being listed and being read: try again later")


def _read_format(shown: Shown) -> None:
    """Take the remote's `format` from the cache, else from the remote, which may have none."""
    known = shown.cache.read(layout.FORMAT_FILE)
    if known is not None and not shown.empty:
        try:
            shown.writable = check_format(known, shown.remote.url) if known else True
            shown.format = known
            return
        except StoreError:
            pass  # the note is damaged, or from another version of this program: asked for again
    try:
        data = shown.remote.get(layout.FORMAT_FILE, layout.FORMAT_MAX)
        shown.writable = check_format(data, shown.remote.url)
    except NotFound:
        if shown.empty and shown.rolled_back:
            raise RemoteError(
                f"{shown.remote.url} is empty, but showed {len(shown.rolled_back)} heads when it was last seen: is it "
                f"mounted? If it was emptied on purpose, remove {shown.cache.folder}"
            ) from None
        data = b""  # a plain copy of packs/, refs/ and refs.packed/ has none
    shown.format = data
    if not shown.empty:
        shown.cache.write(layout.FORMAT_FILE, data)


def is_sound(head: Head) -> bool:
    """Whether the head's bytes are those of its id and key."""
    try:
        head.commit  # noqa: B018  reading it is the check
    except StoreError:
        return False
    return True


def alive(heads: dict[ObjectId, Head]) -> list[Head]:
    """The living of one key's heads, all of them where there are too many to tell; a single one is not even parsed."""
    found = list(heads.values())
    if len(found) == 1:
        return found
    found = list(filter(is_sound, found))
    try:
        return living(found)
    except Corrupt:
        return found
