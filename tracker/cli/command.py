"""What all commands have in common: --json, --store, --debug, examples in their help, and opening the store.

A command is a function of a `Call` and its own arguments; what it returns is the exit code, None for 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from objstore.errors import Corrupt, NotFound, StoreError
from tracker import layout
from tracker.errors import TrackerError

if TYPE_CHECKING:
    from tracker.cli.render import Progress, Screen
    from tracker.workspace import Workspace

_NAMED_MOST = 10  # damaged things that are named one by one

Examples = Sequence[tuple[str, str]]  # (what follows `tracker`, what it does)


@dataclass(frozen=True, slots=True)
class Call:
    """How a command was called: the store that was named, whether JSON is wanted, and what stdout is."""

    store: Path | None
    json: bool
    screen: Screen

    def open(self) -> Workspace:
        """The workspace, once what dead runs have left in it is sealed. Raises NotFound, Corrupt, Unsupported."""
        workspace = self.open_as_it_is()
        try:
            workspace.recover()
        except (StoreError, TrackerError, OSError) as error:
            from tracker.cli.render import say

            say(f"tracker: warning: what a run has left cannot be sealed: {error}")
        return workspace

    def progress(self, verb: str) -> Progress:
        """What shows a person at a terminal how far something is."""
        from tracker.cli.render import Progress

        return Progress(verb, wanted=not self.json)

    def open_as_it_is(self) -> Workspace:
        """The workspace, with nothing done to it."""
        from tracker.workspace import Workspace

        if self.store is None:
            return Workspace.open()
        from tracker.config import store_in

        return Workspace.open(store_in(self.store))


def find_task(workspace: Workspace, prefix: str) -> str:
    """The id of the task that an id, its beginning or an alias means.

    Raises NotFound, Ambiguous, InvalidName, Corrupt.
    """
    from tracker import aliases

    if aliases.is_alias(prefix):
        prefix = aliases.target(workspace, prefix)
    try:
        return workspace.resolve_task(prefix)
    except NotFound:
        for key, thing in workspace.things().items():
            if key.startswith(prefix) and thing.state.kind != layout.TASK:
                verb = "models" if thing.state.kind == layout.MODEL else "cat"
                raise NotFound(
                    f"{key} is a {thing.state.kind}, no task: `tracker {verb} {prefix}` shows it"
                ) from None
            if key.startswith(prefix):
                raise NotFound(
                    f"task {key} was deleted: `tracker restore {prefix}` brings it back, if it is still there"
                ) from None
        for where, what in workspace.damaged.items():
            if where.startswith(prefix):
                raise Corrupt(f"task {where} is damaged: {what}: run `tracker fsck`") from None
        raise


def warn_damaged(workspace: Workspace, more: Mapping[str, str] | None = None) -> None:
    """Name on stderr what could not be read, and so is not in the output."""
    from tracker.cli.render import say

    damaged = {**workspace.damaged, **(more or {})}
    for where, what in list(damaged.items())[:_NAMED_MOST]:
        say(f"tracker: warning: {where} is damaged and left out: {what}")
    if len(damaged) > _NAMED_MOST:
        say(f"tracker: warning: … and {len(damaged) - _NAMED_MOST} more: `tracker fsck` names them all")


def shared_options(*, store: bool = True) -> list[click.Parameter]:
    """The options that every command has, and that may stand before the command, too."""
    folder = click.Option(
        ["--store"],
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="The store, if not the nearest .tracker upwards.",
    )
    return [
        *([folder] if store else []),
        click.Option(["--json"], is_flag=True, help="Print one JSON document."),
        click.Option(["--debug"], is_flag=True, help="Show the traceback of an error."),
    ]


class Command(click.Command):
    """A command with the shared options and with examples; its function gets a Call as `call`."""

    def __init__(self, *given: Any, examples: Examples = (), store: bool = True, **named: Any) -> None:
        super().__init__(*given, **named)
        self.params += shared_options(store=store)
        self.examples = examples

    def invoke(self, ctx: click.Context) -> Any:
        """Run the function; returns the exit code."""
        from tracker.cli.render import screen

        outer = ctx.find_root().params
        shared = {name: ctx.params.pop(name, None) or outer.get(name) for name in ("store", "json", "debug")}
        ctx.params["call"] = Call(shared["store"], bool(shared["json"]), screen())
        return super().invoke(ctx)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The examples, at the end of the help."""
        write_examples(formatter, self.examples)


def write_examples(formatter: click.HelpFormatter, examples: Examples) -> None:
    """A section of commands to type, each with what it does."""
    if examples:
        with formatter.section("Examples"):
            formatter.write_dl([(f"tracker {line}", what) for line, what in examples], col_max=44)
