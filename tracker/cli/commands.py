"""The commands by name, each loaded when it is asked for: `tracker --help` loads none of them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import import_module
from keyword import iskeyword
from typing import Any, Final

import click

from tracker.cli.command import Examples, shared_options, write_examples


@dataclass(frozen=True, slots=True)
class Listed:
    """A command before it is loaded: the section of the help that it is in, its module, what it does."""

    section: str
    module: str
    help: str


COMMANDS: Final = {
    "init": Listed("Begin", "store", "Make an empty store."),
    "demo": Listed("Begin", "store", "Record real training runs, then show, compare, fetch and copy them."),
    "run": Listed("Begin", "run", "Run a script, with --clearml one that imports clearml."),
    "ls": Listed("Read", "listing", "List tasks."),
    "query": Listed("Read", "listing", "Print the ids of the tasks that fit a query."),
    "show": Listed("Read", "page", "Show one task in full."),
    "diff": Listed("Read", "comparison", "Show what differs between two tasks."),
    "log": Listed("Read", "history", "Show the history of a task."),
    "console": Listed("Read", "console", "Print what a run has printed, and follow it."),
    "get": Listed(
        "Read", "objects", "Fetch an artifact, a model or an object, verified, into a file or folder."
    ),
    "cat": Listed("Read", "objects", "Print an object: a blob's bytes, a tree's entries, a record."),
    "models": Listed("Read", "models", "List models, or show one."),
    "which": Listed("Read", "which", "Find what holds a file's content."),
    "tag": Listed("Care", "tag", "Tag tasks and models, and give them aliases."),
    "edit": Listed("Care", "changes", "Change parameters, configuration, properties, comment."),
    "rename": Listed("Care", "changes", "Call a task something else."),
    "mv": Listed("Care", "changes", "Move tasks, or all of a project, to a project."),
    "archive": Listed("Care", "changes", "Put tasks away, or bring them back."),
    "remote": Listed("Share", "remotes", "Name the stores to share with."),
    "push": Listed("Share", "remotes", "Copy what a remote lacks to it."),
    "pull": Listed("Share", "remotes", "Copy from a remote what this store lacks."),
    "import": Listed("Share", "importing", "Take in runs that ClearML recorded offline."),
    "clone": Listed("Share", "remotes", "Copy a store into a new place."),
    "rm": Listed("Care", "removal", "Delete tasks."),
    "restore": Listed("Care", "removal", "Bring back a deleted task."),
    "purge": Listed("Care", "purge", "Remove content for good that should never have been recorded."),
    "gc": Listed("Care", "space", "Free the room of what nothing needs any more."),
    "du": Listed("Care", "space", "Show what takes how much room."),
    "fsck": Listed("Care", "fsck", "Check every byte of the store, and repair what is damaged."),
    "bundle": Listed("Share", "bundle", "Carry tasks in a file to where no network goes."),
    "config": Listed("Care", "settings", "Show and change settings."),
    "recover": Listed(
        "Care", "store", "Take in what dead runs, and runs that could not write here, have left."
    ),
    "completion": Listed("Begin", "completion", "Print what lets a shell complete commands and ids."),
}
EXAMPLES: Final[Examples] = (
    ("ls --sort -accuracy/test --limit 10", "the ten best runs"),
    ("show 3f2a91", "one of them, by the beginning of its id"),
    ("get 3f2a91:model -o model.pt", "its output model"),
)


class _Tracker(click.Group):
    """The commands of COMMANDS, each loaded when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"tracker.cli.{COMMANDS[cmd_name].module}")
        command: click.Command = getattr(module, f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in COMMANDS:
            from difflib import get_close_matches

            near = get_close_matches(args[0], COMMANDS, 1, 0.5)
            hint = f"did you mean {near[0]}?" if near else "`tracker --help` lists the commands"
            raise click.UsageError(f"there is no command {args[0]!r}: {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for section in dict.fromkeys(listed.section for listed in COMMANDS.values()):
            rows = [(name, listed.help) for name, listed in COMMANDS.items() if listed.section == section]
            with formatter.section(section):
                formatter.write_dl(rows, col_max=10)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_examples(formatter, EXAMPLES)


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from tracker import __version__

        sys.stdout.write(f"tracker {__version__}\n")
        ctx.exit()


tracker = _Tracker(
    "tracker",
    help="Runs, their files and their history in one folder, .tracker/, without a server.",
    params=[
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_print_version,
            help="Print the version.",
        ),
        *shared_options(),
    ],
    callback=lambda **_: None,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
