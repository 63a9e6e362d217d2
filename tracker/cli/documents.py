"""What commands answer with --json: the parts of `tracker.ls/1`, `tracker.show/1`, `tracker.diff/1`, `tracker.log/1`.

Keys are snake_case, times ISO 8601 in UTC. A change that could break a reader gets a new number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

from tracker.cli.render import iso

# `ls` has a budget in milliseconds, and needs none of these.
if TYPE_CHECKING:
    from tracker.history import Step
    from tracker.index import Metric, Row
    from tracker.pages import Difference, Item, Page, Pair, Script, Shown

_T = TypeVar("_T")


def of_row(row: Row) -> dict[str, Any]:
    """A task as `ls` has it."""
    return {
        "id": row.id,
        "name": row.name,
        "project": row.project,
        "status": row.status,
        "type": row.type,
        "tags": row.tags,
        "created": iso(row.created),
        "updated": iso(row.updated),
        "iteration": row.iteration,
        "metrics": {name: asdict(metric) for name, metric in row.metrics.items()},
        "singles": row.singles,
        "params": row.params,
    }


def of_page(page: Page, console: Iterable[str], history: Iterable[Step]) -> dict[str, Any]:
    """A task as `show` has it: all of `ls`, and more."""
    return {
        **of_row(page.row),
        "comment": page.comment,
        "user": page.user,
        "host": page.host,
        "started": iso(page.started),
        "completed": iso(page.completed),
        "progress": page.row.progress,
        "status_reason": page.status_reason,
        "status_message": page.status_message,
        "script": of_script(page.script),
        "packages": page.packages,
        "artifacts": [of_artifact(item) for item in page.artifacts],
        "models": {
            "output": [of_model(item) for item in page.outputs],
            "input": [of_model(item) for item in page.inputs],
        },
        "plots": page.plots,
        "reports": [of_shown(each) for each in page.shown],
        "health": page.health,
        "history": [of_step(step) for step in history],
        "console_tail": list(console),
    }


def of_script(script: Script) -> dict[str, Any]:
    """The code. diff: null where it is an object of its own, `diff_hash`; without a commit it is the script's text."""
    return {
        "repository": script.repository,
        "branch": script.branch,
        "commit": script.commit,
        "working_dir": script.working_dir,
        "entry_point": script.entry_point,
        "binary": script.binary,
        "untracked": script.untracked,
        "left_out": script.left_out,
        "diff": script.patch,
        "diff_hash": script.patch_ref.id if script.patch_ref else None,
    }


def of_artifact(item: Item) -> dict[str, Any]:
    """An artifact; hash is null where only a URL was registered, or it was purged."""
    return {
        "name": item.name,
        "hash": item.hash or None,
        "type": item.type,
        "size": item.size,
        "file": item.file,
        "url": item.url or None,
        "purged": iso(item.purged) if item.purged else None,
    }


def of_shown(shown: Shown) -> dict[str, Any]:
    """The newest of the plots, tables or samples of one name, and how many there are; hash is null of a mere URL."""
    each = shown.newest
    return {
        "kind": each.kind,
        "title": each.title,
        "series": each.series,
        "iteration": each.iteration,
        "time": iso(each.time),
        "count": shown.count,
        "hash": each.ref.id if each.ref else None,
        "figure": each.figure.id if each.figure else None,
        "size": each.ref.size if each.ref else 0,
        "file": each.own_name,
        "url": each.url or None,
    }


def of_model(item: Item) -> dict[str, Any]:
    """A model that a task links to; hash is null where its weights are only registered, or not here."""
    return {
        "name": item.name,
        "id": item.id,
        "hash": item.hash or None,
        "size": item.size,
        "file": item.file,
        "url": item.url or None,
        "purged": iso(item.purged) if item.purged else None,
    }


def of_step(step: Step) -> dict[str, Any]:
    """A commit of a task's history; `commit` is null for what is not sealed yet."""
    return {
        "commit": step.commit or None,
        "time": iso(step.time),
        "generation": step.generation,
        "writers": step.writers,
        "status": step.status,
        "parents": step.parents,
        "absent_parents": step.absent,
        "deleted": step.deleted,
        "added": step.added,
        "changed": step.changed,
        "removed": step.removed,
        "points": step.points,
        "console_lines": step.lines,
        "plots": step.plots,
        "error": step.error or None,
    }


def of_difference(left: Page, right: Page, found: Difference) -> dict[str, Any]:
    """What differs: per name `{"left", "right"}`, null where that side has none."""
    return {
        "left": {"id": left.row.id, "name": left.row.name},
        "right": {"id": right.row.id, "name": right.row.name},
        "same": found.empty,
        "fields": _pairs(found.fields, str),
        "params": _pairs(found.params, str),
        "tags": {"left": found.tags[0], "right": found.tags[1]},
        "script": _pairs(found.script, str),
        "script_diff": found.patch,
        "packages": _pairs(found.packages, str),
        "metrics": _pairs(found.metrics, _of_metric),
        "singles": _pairs(found.singles, float),
        "artifacts": _pairs(found.artifacts, of_artifact),
        "models": _pairs(found.models, of_model),
    }


def _of_metric(metric: Metric) -> dict[str, Any]:
    return asdict(metric)


def _pairs(pairs: Mapping[str, Pair[_T]], shape: Callable[[_T], Any]) -> dict[str, Any]:
    return {
        name: {
            side: None if item is None else shape(item)
            for side, item in zip(("left", "right"), pair, strict=True)
        }
        for name, pair in pairs.items()
    }
