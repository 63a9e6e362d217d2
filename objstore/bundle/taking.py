"""Takes a bundle in: all of it is checked in the store's tmp/, then published, packs before heads; or nothing is."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Final

from objstore.bundle.checking import Walk
from objstore.bundle.form import Prerequisite
from objstore.bundle.source import Bundle
from objstore.errors import Corrupt, NotFound
from objstore.heads import Heads
from objstore.ids import ObjectId
from objstore.objects import Objects
from objstore.sync import Progress
from objstore.sync.incoming import Received, new_heads, receive

_NAMED_MOST: Final = 8


def unbundle(
    root: Path,
    objects: Objects,
    heads: Heads,
    bundle: Bundle,
    progress: Progress | None = None,
    *,
    without: Collection[ObjectId] = (),
) -> Received:
    """Bring everything a bundle holds into the store at `root`; what is there already is not read; without: as `pull`.

    Raises NotFound, which names what is missing here, where the bundle rests on what this store lacks; Corrupt or
    Unsupported for anything wrong with the bundle. Then nothing is published.
    """
    size = bundle.parts.lead.content
    bundle.check(None if progress is None else lambda done, _: progress(done, 2 * size))
    bundle.heads()
    if missing := lacking(objects, heads, bundle):
        raise NotFound(_what_is_missing(bundle, missing))
    done = receive(
        root,
        objects,
        heads,
        bundle.shown,
        without=without,
        progress=None if progress is None else lambda done, _: progress(min(size + done, 2 * size), 2 * size),
    )
    if done.damaged:
        what = "; ".join(f"{where}: {why}" for where, why in done.damaged[:_NAMED_MOST])
        raise Corrupt(f"{bundle.where} is damaged, so nothing of it was published: {what}")
    if done.lacking:
        raise NotFound(_what_is_missing(bundle, dict.fromkeys(done.missing)))
    return done


def lacking(objects: Objects, heads: Heads, bundle: Bundle) -> dict[ObjectId, Prerequisite | None]:
    """What the heads in a bundle that are new here rest on, and this store lacks; each with a head that reaches it."""
    objects.refresh()
    outside = Walk(bundle).outside(new_heads(bundle.shown, heads), objects.has)
    if not outside:
        return {}
    holders = {object_id: holder for object_id, _, holder in bundle.index.needs() if object_id in outside}
    return {object_id: holders.get(object_id) for object_id in outside}


def _what_is_missing(bundle: Bundle, missing: dict[ObjectId, Prerequisite | None]) -> str:
    named = list(dict.fromkeys(holder for holder in missing.values() if holder is not None))
    nameless = [object_id for object_id, holder in missing.items() if holder is None]
    texts = [*map(str, named), *(f"a task that it does not name ({object_id})" for object_id in nameless)]
    more = f" and {len(texts) - _NAMED_MOST} more" if len(texts) > _NAMED_MOST else ""
    count = "1 object" if len(missing) == 1 else f"{len(missing)} objects"
    since = bundle.index.info.since
    first = f"bundle {since[:12]}, since which it was made" if since else "what it was made since"
    return (
        f"{bundle.where} rests on what this store lacks, so nothing of it was published: {count} of "
        f"{', '.join(texts[:_NAMED_MOST])}{more}: take in {first}, or make a bundle without --since"
    )
