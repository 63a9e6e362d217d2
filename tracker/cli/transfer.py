"""What went from store to store, in words and in numbers: said alike by push, pull, clone and bundles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tracker import layout
from tracker.cli import render
from tracker.cli.render import plural, size
from tracker.purged import day

if TYPE_CHECKING:
    from objstore.bundle import Made, Received
    from objstore.heads import Head
    from objstore.sync import PullResult, PushResult
    from tracker.workspace import Workspace


def summary(done: PushResult | PullResult | Made | Received, mark: str = "") -> str:
    """`2 tasks and 1 model: 14 objects, 3 MiB`; `mark` stands behind the things."""
    if not done.heads:
        return "nothing new"
    return f"{_things_of(done.heads)}{mark}: {plural(done.objects, 'object')}, {size(done.bytes)}"


def counts(heads: Sequence[Head]) -> dict[str, int]:
    """How many tasks, models and heads, as documents name them."""
    kinds = _kinds_of(heads)
    return {"tasks": kinds[layout.TASK], "models": kinds[layout.MODEL], "heads": len(heads)}


def _things_of(heads: Iterable[Head]) -> str:
    kinds = sorted(_kinds_of(heads).items(), reverse=True)
    return render.joined([plural(count, kind or "thing") for kind, count in kinds])


def _kinds_of(heads: Iterable[Head]) -> Counter[str]:
    """How many things of each kind: several heads may be of one."""
    return Counter(
        kind for kind, _ in {(head.commit.path[0] if head.commit.path else "", head.key) for head in heads}
    )


def tell_held(workspace: Workspace) -> None:
    """Say on stderr what was purged, and is in the store all the same."""
    from tracker import purging

    for object_id, note in purging.held(workspace).items():
        render.say(
            f"tracker: warning: {object_id} was purged on {day(note.time)}, and its content is in this store: "
            f"`tracker purge {object_id[:12]}` removes it here"
        )
