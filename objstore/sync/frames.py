"""Frames on their way between stores: which objects each holds and needs, and the full check before one goes on."""

from __future__ import annotations

from objstore.graph import Node, edges
from objstore.ids import Kind
from objstore.objects import Objects
from objstore.pack import FrameEntry, ObjectEntry, check_content
from objstore.records import check_record


def check(frame: FrameEntry, inside: list[ObjectEntry], data: bytes) -> bytes:
    """Check all of a frame (header and payload in `data`) and of its objects; returns the content. Raises Corrupt.

    A chunk list is only checked to be one of the right length: what its chunks make up, its reader has to prove.
    """
    raw = check_content(frame, data, inside)
    for entry in inside if frame.header.kind is not Kind.BLOB else ():
        check_record(frame.header.kind, raw[entry.offset : entry.offset + entry.size])
    return raw


def needs(objects: Objects, node: Node) -> list[Node]:
    """What an object names, as `graph.edges`; a blob that has a copy stored whole needs no chunks.

    Raises NotFound, Corrupt.
    """
    kind, object_id = node
    objects.kind(object_id)  # looks for new packs before it says NotFound
    if kind is Kind.BLOB and not all(place.is_list for place in objects.locate(object_id)):
        return []
    return edges(objects, node)
