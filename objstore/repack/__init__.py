"""Keeps the files of a store few: many head files become a table, many small packs become one larger pack.

Works beside readers and writers. Adds first; what that makes superfluous goes only after it is durable and was read
back. Never touches a damaged file, a pack of 8 MiB or more, or a pack that a table claims.
"""

from __future__ import annotations

from objstore.repack.tidying import Tidied, tidy

__all__ = ["Tidied", "tidy"]
