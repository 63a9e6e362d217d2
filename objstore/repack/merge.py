"""One pack out of several: what they hold, none of it twice. Frames that come in have been checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from objstore import layout
from objstore.frame import Encoding
from objstore.ids import Kind, ObjectId
from objstore.pack import Footer, FrameEntry, ObjectEntry, PackWriter
from objstore.publish import encode_group

_SMALL_FRAME: Final = (
    layout.GROUP_RAW_MAX // 2
)  # bytes of content; larger frames gain nothing by being regrouped


@dataclass(frozen=True, slots=True)
class Checked:
    """A frame that is sound: its entry, its objects in their order, its payload, and of a small one its content."""

    frame: FrameEntry
    members: list[ObjectEntry]
    stored: bytes
    raw: bytes


class Merge:
    """One pack of what several hold: small objects in groups of their kind, larger frames as they were, none twice."""

    def __init__(self, path: Path) -> None:
        self.writer = PackWriter(path)
        self._seen: set[tuple[Kind, ObjectId]] = set()
        self._lists: set[tuple[ObjectId, bytes]] = set()
        self._groups: dict[Kind, list[tuple[ObjectId, bytes]]] = {}

    def add(self, frames: list[Checked]) -> None:
        """Take in the frames of one pack."""
        for checked in frames:
            kind, members = checked.frame.header.kind, checked.members
            if checked.frame.header.encoding is Encoding.LIST:
                if (members[0].id, checked.stored) not in self._lists:
                    self._lists.add((members[0].id, checked.stored))
                    self._copy(checked)
            elif all((kind, entry.id) in self._seen for entry in members):
                continue
            elif is_small(checked.frame):
                for entry in members:
                    self._add(kind, entry.id, checked.raw[entry.offset : entry.offset + entry.size])
            else:
                self._seen.update((kind, entry.id) for entry in members)
                self._copy(checked)

    def finish(self) -> tuple[str, Footer]:
        """Write what is left, durably; returns the pack's id and footer."""
        for kind in list(self._groups):
            self._flush(kind)
        return self.writer.finish()

    def _copy(self, checked: Checked) -> None:
        inside = [(entry.id, entry.size) for entry in checked.members]
        self.writer.add(checked.frame.header, checked.stored, inside)

    def _add(self, kind: Kind, object_id: ObjectId, raw: bytes) -> None:
        if (kind, object_id) in self._seen:
            return
        self._seen.add((kind, object_id))
        group = self._groups.setdefault(kind, [])
        if sum(len(r) for _, r in group) + len(raw) > layout.GROUP_RAW_MAX:
            self._flush(kind)
            group = self._groups.setdefault(kind, [])
        group.append((object_id, raw))

    def _flush(self, kind: Kind) -> None:
        for header, stored, members in encode_group(kind, self._groups.pop(kind)):
            self.writer.add(header, stored, members)


def content_size(frame: FrameEntry) -> int:
    """The bytes of memory that a frame's content takes, at most."""
    return layout.RECORD_MAX if frame.header.encoding is Encoding.LIST else frame.header.raw_size


def is_small(frame: FrameEntry) -> bool:
    """Whether the objects of a frame are put into groups anew, since they gain by it."""
    return frame.header.encoding is not Encoding.LIST and frame.header.raw_size < _SMALL_FRAME
