"""Commits without a head: of heads that were lost, or never written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from objstore import layout
from objstore.errors import StoreError
from objstore.heads import Head, Heads, living
from objstore.ids import Kind, ObjectId
from objstore.objects import Objects
from objstore.records import Commit


def headless(root: Path, objects: Objects, more: Iterable[Head] = ()) -> list[Head]:
    """The commits in packs, and those of `more`, that no head covers: of heads that were lost or never written.

    Only those that live among all commits of their key: a commit of a running task, or an old one, that another
    covers was no head any more, and that of a deletion covers all that was deleted.
    """
    live = Heads(root).live()
    found: dict[str, list[Head]] = {}
    for head in (*more, *_commits(objects, {h.id for heads in live.values() for h in heads})):
        now = live.get(head.key, [])
        alive = living([*now, *found.get(head.key, ()), head])
        found[head.key] = [h for h in alive if h not in now]
    return [head for key in sorted(found) for head in found[key]]


def _commits(objects: Objects, known: set[ObjectId]) -> Iterator[Head]:
    for pack_id in sorted(objects.pack_ids()):
        try:
            footer = objects.footer(pack_id)
        except (StoreError, OSError):
            continue  # merged away meanwhile, or told with its pack
        entries = [e for e in footer.objects if footer.kind(e) is Kind.COMMIT and e.id not in known]
        for entry in sorted(entries, key=lambda e: (e.frame, e.offset)):
            with suppress(StoreError):
                raw = objects.read(entry.id, Kind.COMMIT, limit=layout.RECORD_MAX)
                yield Head(Commit.decode(raw).key, entry.id, raw, layout.pack_path(pack_id))
