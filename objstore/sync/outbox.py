"""Frames in, packs and at last one table out: the only part of a push that puts anything on a remote."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from objstore import layout
from objstore.frame import HEADER_SIZE, FrameHeader
from objstore.heads import Head, Table, batches, latest
from objstore.ids import ObjectId, hash_bytes
from objstore.pack import PackWriter
from objstore.publish import temporary
from objstore.records import format_bytes
from objstore.remotes import Target
from objstore.sync.shown import Shown, alive, is_sound

_ABSORB: Final = 4  # a table takes over those up to this many times its size, so that few stay alive
_PENDING: Final = "pending"  # a note in the cache, from a push's first pack until its table


class Outbox:
    """Frames in, packs out: each is put when it is full. `packs` are those put, with their footers."""

    def __init__(self, folder: Path, shown: Shown, remote: Target) -> None:
        self._folder = folder
        self._shown = shown
        self._remote = remote
        self._writer: PackWriter | None = None
        self.packs: dict[str, bytes] = {}
        self.bytes = 0

    def __enter__(self) -> Outbox:
        return self

    def __exit__(self, *error: object) -> None:
        if self._writer is not None:
            self._writer.discard()

    def add(
        self, header: FrameHeader, stored: bytes | memoryview, inside: list[tuple[ObjectId, int]]
    ) -> None:
        """Take a frame."""
        if self._writer is not None and (
            self._writer.size + HEADER_SIZE + len(stored) > layout.PACK_TARGET or self._writer.footer_full
        ):
            self.finish()
        if self._writer is None:
            self._writer = PackWriter(self._folder / "pack")
        self._writer.add(header, stored, inside)

    def finish(self) -> None:
        """Put what has been taken and not yet put."""
        if self._writer is None:
            return
        writer, self._writer = self._writer, None
        try:
            pack_id, footer = writer.finish()
            self.put(pack_id, footer.encode(), writer.path)
        finally:
            writer.discard()

    def put(self, pack_id: str, footer: bytes, path: Path) -> None:
        """Put a pack. Until the table is there a note says that such packs may be found again."""
        self._put_format()
        if not self.packs:
            self._shown.cache.write(_PENDING, b"")
        size = path.stat().st_size
        self._remote.put(layout.pack_path(pack_id), path)
        self._shown.cache.write(f"footers/{pack_id}", footer)
        self.packs[pack_id] = footer
        self.bytes += size

    def claim(self, packs: dict[str, bytes], heads: list[Head]) -> None:
        """Put the table that makes packs and heads visible, all at once; heads beyond what one can hold follow."""
        first, *more = list(batches(heads)) or [[]]
        if packs or first:
            self._put_format()
            self._put_table(_merge(self._shown, Table(tuple(first), packs)))
        for batch in more:
            self._put_table(Table(tuple(batch)))
        self._shown.cache.remove(_PENDING)

    def _put_table(self, table: Table) -> None:
        data = table.encode()
        table_id = hash_bytes(data).hex()
        self._remote.put(layout.table_path(table_id), data)
        self._shown.cache.write(f"tables/{table_id}", data)

    def _put_format(self) -> None:
        if not self._shown.format:
            self._shown.format = format_bytes()
            self._remote.put(layout.FORMAT_FILE, self._shown.format)
            self._shown.cache.write(layout.FORMAT_FILE, self._shown.format)


def has_pending(shown: Shown) -> bool:
    """Whether a push from here was cut short, so that packs may lie there that no table claims."""
    return shown.cache.read(_PENDING) is not None


def _merge(shown: Shown, fresh: Table) -> Table:
    """A table with what `fresh` says and what the smaller tables there say, which it covers.

    It covers what those cover, too: a covered table may be deleted before the ones that it covers.
    """
    absorbed = _absorbed(shown, fresh)
    if not absorbed:
        return fresh
    tables = [fresh, *(shown.tables[t] for t in absorbed)]
    packs = {pack_id: footer for table in tables for pack_id, footer in table.packs.items()}
    dropped = {p: since for table in tables for p, since in table.dropped.items() if p not in packs}
    heads: dict[str, dict[ObjectId, Head]] = {}
    for table in tables:
        for head in table.heads:
            heads.setdefault(head.key, {})[head.id] = head
    kept = [head for several in heads.values() for head in alive(several) if is_sound(head)]
    return Table(tuple(kept), packs, tuple({*absorbed, *shown.covered}), latest(dropped))


def _absorbed(shown: Shown, fresh: Table) -> list[str]:
    size, raw, found = len(fresh.encode()), sum(len(h.raw) for h in fresh.heads), []
    for table_id in sorted(shown.tables, key=lambda t: (shown.sizes[t], t)):
        bytes_of_heads = sum(len(h.raw) for h in shown.tables[table_id].heads)
        fits = (
            size + shown.sizes[table_id] <= layout.TABLE_MAX // 2 and raw + bytes_of_heads <= layout.HEADS_MAX
        )
        if fits and shown.sizes[table_id] <= _ABSORB * size:
            found.append(table_id)
            size, raw = size + shown.sizes[table_id], raw + bytes_of_heads
    return found


@contextmanager
def workplace(root: Path) -> Iterator[Path]:
    """A folder for packs under way: in the store's tmp/, or the system's when the store cannot be written."""
    try:
        folder = temporary(root)
        folder.mkdir()
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix="objstore-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
