"""Frames on their way between stores: which objects each holds and needs, and the full check before one goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from objstore.errors import Corrupt
from objstore.frame import HEADER_SIZE, Encoding, decode
from objstore.graph import Node, edges
from objstore.ids import Kind, hash_object
from objstore.objects import Objects
from objstore.pack import FrameEntry, ObjectEntry, check_frame
from objstore.records import ChunkList, Commit, Tree

_PARSERS: Final[dict[Kind, Callable[[bytes], object]]] = {
    Kind.TREE: Tree.decode,
    Kind.COMMIT: Commit.decode,
    Kind.CHUNKS: ChunkList.decode,
}


def check(frame: FrameEntry, inside: list[ObjectEntry], data: bytes) -> bytes:
    """Check all of a frame (header and payload in `data`) and of its objects; returns the content. Raises Corrupt.

    A chunk list is only checked to be one of the right length: what its chunks make up, its reader has to prove.
    """
    check_frame(frame, data, inside)
    raw = decode(frame.header, data[HEADER_SIZE:])
    if frame.header.encoding is Encoding.LIST:
        if ChunkList.decode(raw).size != inside[0].size:
            raise Corrupt(f"the chunk list of {inside[0].id} has not the length its frame says")
        return raw
    at = 0
    for entry in inside:
        if entry.offset != at:
            raise Corrupt(f"object {entry.id} overlaps another one")
        content = raw[at : at + entry.size]
        at += entry.size
        # A raw frame's only object was hashed with the frame.
        if frame.header.encoding is not Encoding.RAW and hash_object(frame.header.kind, content) != entry.id:
            raise Corrupt(f"the content of object {entry.id} is not what its id says")
        if parse := _PARSERS.get(frame.header.kind):
            parse(content)
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
