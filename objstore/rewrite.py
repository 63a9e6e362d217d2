"""Writes what is still needed of a pack into a new one. The old pack is left for its caller to set aside."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from objstore import columns, layout
from objstore.columns import Column, header_of, offsets_of
from objstore.errors import Corrupt
from objstore.frame import HEADER_SIZE
from objstore.ids import ObjectId
from objstore.inventory import PackFile
from objstore.pack import FrameEntry, ObjectEntry, PackWriter, check_frame, objects_in, open_frame
from objstore.publish import encode_group, move_into_place, temporary


def rewrite(root: Path, file: PackFile, needed: Column) -> tuple[str, int, bytes]:
    """Write the objects of a pack that are `needed`, a truth per row of its footer, into a new one.

    Returns its id, its size and its footer. Frames of which all is needed are copied as they are. Every byte is checked
    first: what is damaged stays where it is. Durable on return.

    Raises FileNotFoundError, Corrupt, Unsupported, OSError.
    """
    frames, objects = columns.read(root / file.name, file.id)
    order = np.lexsort((objects["offset"], objects["frame"]))
    starts = np.searchsorted(objects["frame"][order], np.arange(len(frames) + 1))
    offsets = offsets_of(frames)
    fd = os.open(root / file.name, os.O_RDONLY | os.O_CLOEXEC)
    writer: PackWriter | None = None
    try:
        writer = PackWriter(temporary(root))
        for number in np.unique(objects["frame"][needed]).tolist():
            inside = order[starts[number] : starts[number + 1]]
            entry = FrameEntry(
                header_of(frames[number]),
                int(frames["objects"][number]),
                int(frames["xxh3"][number]),
                frames["pin"][number].tobytes(),
                int(offsets[number]),
            )
            _copy(writer, fd, entry, _members(objects[inside], number), needed[inside])
        pack_id, footer = writer.finish()
        size = writer.path.stat().st_size
        move_into_place(root, writer.path, layout.pack_path(pack_id))
    except BaseException:
        if writer is not None:
            writer.discard()
        raise
    finally:
        os.close(fd)
    return pack_id, size, footer.encode()


def _members(rows: Column, frame: int) -> list[ObjectEntry]:
    return [
        ObjectEntry(ObjectId(row["id"].tobytes()), frame, int(row["offset"]), int(row["size"]))
        for row in rows
    ]


def _copy(writer: PackWriter, fd: int, entry: FrameEntry, members: list[ObjectEntry], needed: Column) -> None:
    data = os.pread(fd, entry.size, entry.offset)
    if needed.all() and _touch(members):
        check_frame(entry, data, members)
        writer.add(entry.header, data[HEADER_SIZE:], [(member.id, member.size) for member in members])
        return
    group = []
    contents = objects_in(entry, members, open_frame(entry, data, members))
    for (member, content, fault), wanted in zip(contents, needed.tolist(), strict=True):
        if wanted and fault:
            raise Corrupt(f"object {member.id} {fault}: run fsck --heal")
        if wanted:
            group.append((member.id, content))
    for header, stored, inside in encode_group(entry.header.kind, group):
        writer.add(header, stored, inside)


def _touch(members: list[ObjectEntry]) -> bool:
    """Whether the objects lie one after another from the first byte on, as a pack's writer takes for granted."""
    at = 0
    for member in members:
        if member.offset != at:
            return False
        at += member.size
    return True
