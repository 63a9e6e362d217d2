"""`tracker console`: what a run has printed, and with --follow what it goes on to print, wherever it runs.

Reads heads and journals, and never asks the run for anything. What was left out as a secret was never recorded.
"""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from objstore import journal
from tracker import deltas, reported
from tracker.cli import candidates, render
from tracker.cli.command import Call, Command, find_task, warn_damaged
from tracker.errors import CorruptRecord
from tracker.events import LEVELS
from tracker.reported import Line
from tracker.state import Fold

if TYPE_CHECKING:
    from tracker.events import Text
    from tracker.workspace import Workspace

_INTERVAL = 0.25  # seconds between two looks at the journals
_SILENCE = (
    10.0  # seconds without a line after which the whole task is read again, to see whether it still runs
)


@click.command(
    "console",
    cls=Command,
    examples=[
        ("console 3f2a91", "all that a run has printed"),
        ("console 3f2a91 --follow", "and what it goes on to print, until it ends"),
        ("console 3f2a91 --tail 20 --follow", "from its last twenty lines on"),
    ],
)
@click.argument("task", metavar="TASK", shell_complete=candidates.tasks)
@click.option("--follow", is_flag=True, help="Go on until the run ends, or Ctrl-C.")
@click.option("--tail", type=click.IntRange(min=0), metavar="N", help="The last N lines only.")
def console(call: Call, task: str, follow: bool, tail: int | None) -> None:
    """Print what a run has printed and logged, in the order of time; what looks like a secret was left out of it."""
    if follow and call.json:
        raise click.UsageError("--follow has no end that a JSON document could have: leave --json out")
    workspace = call.open()
    reel = Reel(workspace, find_task(workspace, task))
    lines = reel.rest()
    shown = lines if tail is None else lines[max(0, len(lines) - tail) :]
    if call.json:
        record = {
            "id": reel.key,
            "status": reel.status,
            "lines": [{"time": render.iso(x.time), "stream": x.stream, "text": x.text} for x in shown],
        }
        call.screen.document("console", record)
    else:
        _print(shown)
    if follow:
        _follow(reel)
        render.say(f"task {reel.key} is {reel.status}")
    warn_damaged(workspace)


def _follow(reel: Reel) -> None:
    quiet = time.monotonic()
    while reel.alive:
        _wait(_INTERVAL)
        lines = reel.more()
        now = time.monotonic()
        if lines:
            quiet = now
        if not reel.writing or now - quiet >= _SILENCE:
            quiet = now
            lines += reel.rest()
        _print(lines)


def _print(lines: Sequence[Line]) -> None:
    if lines:
        sys.stdout.write("".join(f"{render.escape(line.text, chr(9))}\n" for line in lines))
    sys.stdout.flush()


def _wait(seconds: float) -> None:
    """Sleep, but no longer than somebody reads what is printed. Raises BrokenPipeError when nobody does any more."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
    except (AttributeError, OSError, ValueError):  # no such call on this system, or no descriptor
        time.sleep(seconds)
        return
    if poll.poll(seconds * 1000):
        raise BrokenPipeError


class Reel:
    """A task's console, unrolled: `rest` reads the whole task, `more` only what its journals have got since.

    Both give each line once. alive: whether the run went on when the whole task was read last; writing: whether any
    journal was being written when they were looked at last.
    """

    def __init__(self, workspace: Workspace, key: str) -> None:
        self.key = key
        self.alive = self.writing = True
        self.status = ""
        self._workspace = workspace
        self._given: dict[str, int] = {}  # per writer how many of its lines
        self._read: dict[str, int] = {}  # per writer the number of its last event

    def rest(self) -> list[Line]:
        """What was not given yet of all that the task has, in the order of time."""
        thing = self._workspace.thing(self.key)
        found: list[Line] = []
        for segment in thing.state.reports:
            lines = reported.lines_of(segment, lambda ref: self._workspace.read(thing, ref))
            found += lines[self._given.get(segment.writer, 0) :]
            self._given[segment.writer] = max(len(lines), self._given.get(segment.writer, 0))
        for segment in thing.state.segments:
            self._read[segment.writer] = max(segment.last, self._read.get(segment.writer, 0))
        self.alive, self.status = thing.alive, str(thing.state.get("status", "created"))
        return sorted(found, key=lambda line: line.time)

    def more(self) -> list[Line]:
        """What was not given yet of what the journals hold, in the order of time."""
        found: list[Line] = []
        sources = deltas.journals(self._workspace.root, self.key)
        self.writing = False
        for source in sources:
            alive = journal.liveness(source.folder) != "dead"
            folded = Fold(source.writer)
            with suppress(CorruptRecord, OSError):  # `rest` says so at the end
                folded.add_all(journal.read(source.folder, self._read.get(source.writer, 0)))
            found += [_line(text) for text in folded.texts]
            self._given[source.writer] = self._given.get(source.writer, 0) + len(folded.texts)
            self._read[source.writer] = max(folded.last, self._read.get(source.writer, 0))
            self.writing = self.writing or (alive and not folded.ended)
        return sorted(found, key=lambda line: line.time)


def _line(text: Text) -> Line:
    level = LEVELS.get(text.stream, 20) if text.level is None else text.level
    return Line(text.time, text.stream, text.message, level)
