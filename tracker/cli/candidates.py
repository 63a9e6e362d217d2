"""What a key pressed in the middle of a command may stand for: ids, projects, remotes, tags, models.

Quick, and silent: where there is no store, or it cannot be read or not at once, there is nothing to suggest. Prints
nothing and changes nothing of what is recorded.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stderr
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from tracker.index import Row
    from tracker.workspace import Workspace

Suggest = Callable[
    ["Workspace", str], Iterable[tuple[str, str]]
]  # what was typed so far -> (text, what it is)
Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

_PATIENCE: Final = 2.0  # seconds after which a key does nothing
_MOST: Final = 200  # suggestions; nobody reads more
_ID_SHORT: Final = 8
# The script that click gives to bash lets bash split and expand what it is told, and bash cuts words at some of these.
_PLAIN: Final = re.compile(r"[\w/.,+%~^ -]+")


class _Late(BaseException):
    """The store takes too long to read. Ends whatever is done, as Ctrl-C does."""


@contextmanager
def _soon() -> Iterator[None]:
    """Raise _Late in whatever has not ended in time: a store may be large, slow, or locked by who makes its index."""

    def ring(*_: object) -> None:
        raise _Late

    if not hasattr(signal, "setitimer"):
        yield
        return
    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, _PATIENCE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _suggesting(suggest: Suggest) -> Complete:
    """A function for click that opens the store that the command line means, and never fails."""

    @wraps(suggest)
    def complete(context: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
        with open(os.devnull, "w") as nowhere, redirect_stderr(nowhere):
            try:
                with _soon():
                    found = list(suggest(_opened(context), typed))
            except (Exception, _Late):  # noqa: BLE001  a key that is pressed too early is no error
                return []
        return [item for each in found[:_MOST] if (item := _item(*each)) is not None]

    return complete


def _opened(context: click.Context) -> Workspace:
    from tracker.config import store_in
    from tracker.workspace import Workspace

    named = context.params.get("store") or context.find_root().params.get("store")
    return Workspace.open(store_in(Path(named)) if named else None)


def _item(text: str, what: str) -> CompletionItem | None:
    """A suggestion as the shell takes it; None for what it, or a terminal, would not leave as it is."""
    from tracker.cli.render import escape

    if escape(text) != text:
        return None
    if os.environ.get("_TRACKER_COMPLETE", "").startswith("bash"):
        if not _PLAIN.fullmatch(text):
            return None
        text = text.replace(" ", "\\\\ ")  # twice: its `read` takes one away
    return CompletionItem(text, help=escape(what) or None)


# --- what there is ---------------------------------------------------------------------------------------------------


def _tasks(workspace: Workspace, typed: str) -> list[tuple[str, str]]:
    return _by_id(workspace, typed) or _by_name(workspace, typed)


def _by_id(workspace: Workspace, typed: str) -> list[tuple[str, str]]:
    return _described(workspace, (row for row in _rows(workspace) if row.id.startswith(typed)), len(typed))


def _by_name(workspace: Workspace, typed: str) -> list[tuple[str, str]]:
    """The ids of tasks whose names hold what was typed."""
    hits = (row for row in _rows(workspace) if typed.casefold() in row.name.casefold())
    found = _described(workspace, hits)
    # A shell puts what all suggestions begin with in place of a word that none of them begins with.
    return [] if len(found) > 1 and len({text[0] for text, _ in found}) == 1 else found


def _described(workspace: Workspace, rows: Iterable[Row], least: int = 0) -> list[tuple[str, str]]:
    rows = list(rows)
    length = max(least, workspace.projection.short_length((row.id for row in rows), _ID_SHORT))
    return [(row.id[:length], f"{row.name} ({row.project}, {row.status})") for row in rows]


def _rows(workspace: Workspace) -> list[Row]:
    from tracker.filters.fields import Field
    from tracker.filters.terms import ALL, Order
    from tracker.projection import Query

    return workspace.projection.find(Query(ALL, [Order(Field("", "updated"), down=True)], limit=2000)).rows


def _projects(workspace: Workspace, typed: str) -> list[tuple[str, str]]:
    known = workspace.projection.projects()
    every = known | {name[:at] for name in known for at, letter in enumerate(name) if letter == "/"}
    return [(name, "") for name in sorted(every) if name and name.startswith(typed)]


def _places(workspace: Workspace, typed: str) -> list[tuple[str, str]]:
    found = [*_projects(workspace, typed), *_by_id(workspace, typed)]
    return found or _by_name(workspace, typed)


def _remotes(workspace: Workspace, typed: str) -> list[tuple[str, str]]:
    from tracker.remotes import configured

    return [(name, url) for name, url in configured(workspace.root).items() if name.startswith(typed)]


def _tags(workspace: Workspace, typed: str) -> list[tuple[str, str]]:
    minus, bare = typed[:1] == "-", typed.removeprefix("-")
    found = {tag for row in _rows(workspace) for tag in row.tags if tag.startswith(bare)}
    return [(f"-{tag}" if minus else tag, "") for tag in sorted(found)]


tasks: Final = _suggesting(_tasks)
projects: Final = _suggesting(_projects)
places: Final = _suggesting(_places)
remotes: Final = _suggesting(_remotes)
tags: Final = _suggesting(_tags)
