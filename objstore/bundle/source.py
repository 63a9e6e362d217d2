"""An open bundle: what it says of itself, and its files as those of a remote that can only be read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from objstore import layout
from objstore.bundle.form import LEAD_MAGIC, Entry, Index, Sort
from objstore.bundle.parts import Parts
from objstore.errors import Corrupt, NotFound, RemoteError, StoreError
from objstore.heads import Head, table_sizes
from objstore.pack import parse_trailer, trailer_size
from objstore.remotes import Listed, check_name, check_prefix, check_range
from objstore.sync import Progress
from objstore.sync.shown import Shown, look


class Bundle:
    """The bundle in one file, or in parts that are given in any order or lie beside one another.

    A remote to pull from (`objstore.remotes.Source`). `id` is the hash of its index, and so of all that it holds.
    """

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.id = parts.lead.bundle.hex()
        self.where = str(parts.paths[0])
        self.url = f"bundle:{self.where}#{self.id[:12]}"
        lead = parts.lead
        try:
            self.index = Index.decode(parts.read(lead.content - lead.index, lead.index), lead)
        except StoreError as error:
            parts.check()  # names the part that is damaged, where it is that
            raise type(error)(f"{self.where}: {error}") from error
        self._entries = {entry.name: entry for entry in self.index.entries}

    @classmethod
    def open(cls, given: Sequence[Path]) -> Bundle:
        """Read the leads and the index. Raises NotFound, Corrupt, Unsupported, RemoteError."""
        return cls(Parts.find(given))

    @staticmethod
    def begins(path: Path) -> bool:
        """Whether a file begins as a bundle, or a part of one, does. Raises OSError."""
        with path.open("rb") as file:
            return file.read(len(LEAD_MAGIC)) == LEAD_MAGIC

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return self.parts.size

    def check(self, progress: Progress | None = None) -> None:
        """Hash all of its bytes. Raises Corrupt, which names the damaged parts."""
        self.parts.check(progress)

    @cached_property
    def shown(self) -> Shown:
        """Its heads and packs, as a remote's. Raises Corrupt unless its tables claim its packs and nothing else."""
        self._refuse_many_heads()
        shown = look(None, self)
        for where, what in shown.damaged.items():
            raise Corrupt(f"{self.where}: {where} is damaged: {what}")
        packs = {entry.id: entry.size for entry in self.index.entries if entry.sort is Sort.PACK}
        claimed = shown.claimed()
        covers = any(table.covers for table in shown.tables.values())
        if covers or packs.keys() != claimed.keys():
            raise Corrupt(f"{self.where}: its tables do not claim the packs that are in it, and these only")
        return shown

    def _refuse_many_heads(self) -> None:
        """Raise Corrupt for more heads than a bundle may hold, before any is read."""
        count, size = 0, 0
        for entry in self.index.entries:
            if entry.sort is Sort.TABLE:
                start = self.parts.read(entry.offset, min(entry.size, layout.KIB))
                more = table_sizes(start, f"{self.where}: table {entry.id}")
                count, size = count + more[0], size + more[1]
        if count != self.index.info.heads or count > layout.BUNDLE_HEADS_COUNT_MAX:
            raise Corrupt(f"{self.where}: its tables claim {count} heads, and it {self.index.info.heads}")
        if size > layout.BUNDLE_HEADS_MAX:
            raise Corrupt(f"{self.where}: its tables claim {size} bytes of heads: over the limit")

    def heads(self) -> list[Head]:
        """The heads it holds, by key. Raises Corrupt for one that is not what its id says."""
        found = [head for key in sorted(self.shown.keys) for head in self.shown.of(key)]
        for where, what in self.shown.damaged.items():
            raise Corrupt(f"{self.where}: {where}: {what}")
        return found

    def footer(self, pack_id: str) -> bytes:
        """The bytes of a pack's footer, as the pack itself has it. Raises Corrupt."""
        entry = self._entries[layout.pack_path(pack_id)]
        end = trailer_size()
        if entry.size < end:
            raise Corrupt(f"{self.where}: pack {pack_id} is cut short")
        length = parse_trailer(self.parts.read(entry.offset + entry.size - end, end))
        if length + end > entry.size:
            raise Corrupt(f"{self.where}: pack {pack_id} is cut short")
        return self.parts.read(entry.offset + entry.size - end - length, length)

    def close(self) -> None:
        """Close the file that is open."""
        self.parts.close()

    # --- as a remote -------------------------------------------------------------------------------------------------

    def list(self, prefix: str) -> Iterator[Listed]:
        """See `objstore.remotes.Lists`."""
        check_prefix(prefix)
        return iter([Listed(n, e.size) for n, e in self._entries.items() if n.startswith(prefix)])

    def get(self, name: str, limit: int = layout.TABLE_MAX) -> bytes:
        """See `objstore.remotes.Gets`."""
        entry = self._entry(name)
        if entry.size > limit:
            raise RemoteError(f"{self.url}: {name} has {entry.size} bytes, more than the {limit} expected")
        return self.parts.read(entry.offset, entry.size)

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """See `objstore.remotes.Ranges`."""
        check_range(offset, length)
        entry = self._entry(name)
        return self.parts.read(entry.offset + offset, max(0, min(length, entry.size - offset)))

    def _entry(self, name: str) -> Entry:
        entry = self._entries.get(check_name(name))
        if entry is None:
            raise NotFound(f"{self.url} has no {name}")
        return entry
