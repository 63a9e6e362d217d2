"""Push, pull and clone between a store and any remote, by the same code for all of them.

Files are only ever added, packs before the heads that need them, so a sync that was cut short has done no harm and is
simply run again. Nothing that a remote sends is published before every byte of it has been checked.
"""

from __future__ import annotations

from objstore.sync.incoming import PullResult, clone, fetch, pull
from objstore.sync.outgoing import PushResult, push
from objstore.sync.shown import Progress

__all__ = ["Progress", "PullResult", "PushResult", "clone", "fetch", "pull", "push"]
