"""What has been fetched and checked, in packs in the store's tmp/ that only this pull reads, until it is published."""

from __future__ import annotations

import shutil
from pathlib import Path

from objstore import layout
from objstore.frame import HEADER_SIZE, FrameHeader
from objstore.heads import Head, Table, batches
from objstore.ids import ObjectId, hash_bytes
from objstore.objects import Objects
from objstore.pack import PackWriter
from objstore.publish import move_into_place, publish_files, temporary

_LOOSE_MAX = 64  # heads that become files of their own; more become one table


class Stage:
    """Takes checked frames; `objects` reads those of finished packs."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folder = temporary(root)
        self._writer: PackWriter | None = None
        self.objects = Objects(self._folder)  # its index goes with the folder
        self._packs: list[str] = []

    def add(
        self,
        header: FrameHeader,
        stored: bytes,
        inside: list[tuple[ObjectId, int]],
        limit: int = layout.PACK_TARGET,
    ) -> None:
        """Take a frame that has been checked; what it holds can be read after `finish`."""
        if self._writer is not None and (
            self._writer.size + HEADER_SIZE + len(stored) > limit or self._writer.footer_full
        ):
            self.finish()
        if self._writer is None:
            self._folder.mkdir(exist_ok=True)
            self._writer = PackWriter(self._folder / "pack")
        self._writer.add(header, stored, inside)

    def finish(self) -> None:
        """End the pack that is being written."""
        if self._writer is None:
            return
        writer, self._writer = self._writer, None
        try:
            pack_id, footer = writer.finish()
            target = self._folder / layout.pack_path(pack_id)
            target.parent.mkdir(parents=True, exist_ok=True)
            writer.path.rename(target)
        finally:
            writer.discard()
        self.objects.add(pack_id, footer)
        self._packs.append(pack_id)

    def publish(self, objects: Objects) -> int:
        """Move the finished packs into the store, durably and in the order they were made; returns how many.

        So the chunks of a list are there before it is.
        """
        self.objects.close()
        for pack_id in self._packs:
            name, footer = layout.pack_path(pack_id), self.objects.footer(pack_id)
            move_into_place(self._root, self._folder / name, name)
            objects.add(pack_id, footer)
        return len(self._packs)

    def remove(self) -> None:
        """Throw away what has not been published."""
        if self._writer is not None:
            self._writer.discard()
        self.objects.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def publish_heads(root: Path, heads: list[Head]) -> None:
    """Make heads visible, their objects being durable: as files, or many as one table."""
    if len(heads) <= _LOOSE_MAX:
        names = [layout.head_path(layout.label(h.commit.path), h.key, str(h.id)) for h in heads]
        publish_files(root, [(name, head.raw) for name, head in zip(names, heads, strict=True)])
        return
    tables = [Table(tuple(batch)).encode() for batch in batches(heads)]
    publish_files(root, [(layout.table_path(hash_bytes(data).hex()), data) for data in tables])
