"""A pack's footer as columns of numbers: for a million objects, of which `pack.Footer` would make as many tuples.

Checked as that one is, but for what a frame's header says of sizes, which is checked as it is read. Needs numpy.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from objstore import layout
from objstore.errors import Corrupt
from objstore.frame import HEADER_SIZE, Encoding, FrameHeader
from objstore.pack import check_length, footer_bytes, footer_counts
from objstore.reading import open_regular

Column = NDArray[Any]

# As in docs/format.md, "Packs": the same bytes as objstore.pack's, here a whole column at a time.
_FRAME: Final = np.dtype(
    [
        ("kind", "u1"),
        ("encoding", "u1"),
        ("first", "u1"),
        ("second", "u1"),
        ("objects", "<u4"),
        ("raw", "<u8"),
        ("stored", "<u8"),
        ("xxh3", "<u8"),
        ("pin", "V32"),
    ]
)
_OBJECT: Final = np.dtype([("id", ">u8", (4,)), ("frame", "<u4"), ("offset", "<u4"), ("size", "<u8")])
_SLICE: Final = 65_536  # rows worked on at a time: 5 MB
_HEAD: Final = 16  # bytes of a footer before its frames
FRAME_SIZE: Final = _FRAME.itemsize  # bytes of a footer for a frame
OBJECT_SIZE: Final = _OBJECT.itemsize  # and for an object


def parse(footer: bytes) -> tuple[Column, Column]:
    """A footer as (frames, objects), a row each, over its own bytes. Raises Corrupt or Unsupported."""
    n_frames, n_objects = footer_counts(footer)
    frames = np.frombuffer(footer, _FRAME, n_frames, _HEAD)
    objects = np.frombuffer(footer, _OBJECT, n_objects, _HEAD + n_frames * FRAME_SIZE)
    _check_frames(frames)
    _check_objects(frames, objects)
    return frames, objects


def read(path: Path, pack_id: str) -> tuple[Column, Column]:
    """What `parse` gives, of a pack's file. Raises FileNotFoundError, Corrupt, Unsupported, OSError."""
    fd = open_regular(path)
    try:
        footer, size = footer_bytes(fd, pack_id)
    finally:
        os.close(fd)
    frames, objects = parse(footer)
    check_length(pack_id, frames_size(frames), len(footer), size)
    return frames, objects


def frames_size(frames: Column) -> int:
    """The bytes that frames take in their pack."""
    return int(frames["stored"].sum()) + HEADER_SIZE * len(frames)


def offsets_of(frames: Column) -> Column:
    """Where each frame begins in its pack."""
    offsets = np.zeros(len(frames), np.int64)
    offsets[1:] = np.cumsum(frames["stored"][:-1].astype(np.int64) + HEADER_SIZE)
    return offsets


def header_of(frame: Column) -> FrameHeader:
    """The header that a row stands for. Raises Corrupt, Unsupported."""
    parameters = (int(frame["first"]), int(frame["second"]))
    return FrameHeader.of(
        int(frame["kind"]), int(frame["encoding"]), parameters, int(frame["raw"]), int(frame["stored"])
    )


def _check_frames(frames: Column) -> None:
    if not len(frames):
        return
    for first in np.unique(np.ascontiguousarray(frames[["kind", "encoding", "first", "second"]])).tolist():
        FrameHeader.of(first[0], first[1], (first[2], first[3]), 1, 1)  # known, whatever the sizes
    is_list, is_raw = frames["encoding"] == Encoding.LIST, frames["encoding"] == Encoding.RAW
    if (
        (frames["stored"] > layout.RECORD_MAX + layout.KIB).any()
        or (frames["raw"] > np.where(is_list, layout.RAW_MAX, layout.BLOB_MAX * 2)).any()
        or (is_raw & (frames["raw"] != frames["stored"])).any()
    ):
        raise Corrupt("a frame claims an impossible size")
    unpinned = frames["pin"] == np.void(bytes(32))
    if (is_raw != unpinned).any():
        raise Corrupt("a frame is pinned in the wrong way")
    if ((frames["objects"] == 0) | ((frames["objects"] != 1) & (is_raw | is_list))).any():
        raise Corrupt("a frame holds an impossible number of objects")


def _check_objects(frames: Column, objects: Column) -> None:
    counts = np.zeros(len(frames), np.int64)
    filled = np.zeros(len(frames))  # exact up to 2**53, and no frame may hold more than 2**50
    for at in range(0, len(objects), _SLICE):
        part = objects[max(at - 1, 0) : at + _SLICE]  # with the one before, for the order
        if not _in_order(part):
            raise Corrupt("a pack footer's objects are not in order")
        part = part[1:] if at else part
        if (part["frame"] >= len(frames)).any() or (part["size"] > layout.RAW_MAX).any():
            raise Corrupt("an object lies outside its frame")
        of = part["frame"]
        if (part["offset"] + part["size"] > frames["raw"][of]).any():
            raise Corrupt("an object lies outside its frame")
        counts += np.bincount(of, minlength=len(frames))
        filled += np.bincount(of, part["size"].astype(np.float64), len(frames))
    if (counts != frames["objects"]).any() or (filled != frames["raw"].astype(np.float64)).any():
        raise Corrupt("a frame's objects do not fill it")


def _in_order(objects: Column) -> bool:
    equal = np.ones(max(len(objects) - 1, 0), bool)
    wrong = np.zeros(len(equal), bool)
    for values in (*objects["id"].T, objects["frame"], objects["offset"]):
        before, after = values[:-1], values[1:]
        wrong |= equal & (before > after)
        equal &= before == after
        if not equal.any():
            break
    return not wrong.any()
