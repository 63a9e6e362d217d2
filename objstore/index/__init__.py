"""Where each object is, without reading packs: what a store remembers of its own packs and lists, below `cache/`.

All of it is derived and a hint: it may be stale, damaged, half written or gone, and whoever uses it checks what it
says against the packs.
"""

from __future__ import annotations

from objstore.index.catalog import Catalog, Location, Row
from objstore.index.opened import OpenFile, guard, pack_files
from objstore.index.proofs import Proofs

__all__ = ["Catalog", "Location", "OpenFile", "Proofs", "Row", "guard", "pack_files"]
