"""Head files and head tables: which commits are the newest of their key, and which packs a remote claims.

A head file is the raw bytes of one commit, named by key and commit id. A table is one immutable file of many heads
and pack footers, named by the hash of its bytes.
"""

from __future__ import annotations

from objstore.heads.folder import Heads, LiveHeads
from objstore.heads.head import Head, covers, living
from objstore.heads.table import PackedHeads, Table, batches, latest, table_sizes, uncovered

__all__ = [
    "Head",
    "Heads",
    "LiveHeads",
    "PackedHeads",
    "Table",
    "batches",
    "covers",
    "latest",
    "living",
    "table_sizes",
    "uncovered",
]
