"""`tracker completion`: the script that lets a shell complete commands, options, ids, projects and remotes."""

from __future__ import annotations

import sys

import click

from tracker.cli.command import Call, Command

_SHELLS = ("bash", "zsh", "fish")


@click.command(
    "completion",
    cls=Command,
    examples=[
        ("completion bash >> ~/.bashrc", "for bash, from the next shell on"),
        ("completion fish > ~/.config/fish/completions/tracker.fish", "for fish"),
    ],
)
@click.argument("shell", type=click.Choice(_SHELLS))
def completion(call: Call, shell: str) -> None:
    """Print the script that completes commands, options, task ids, projects and remotes in a shell: bash, zsh or fish.

    `eval "$(tracker completion bash)"` has it at once.
    """
    from click.shell_completion import ShellComplete, get_completion_class

    from tracker.cli.commands import tracker

    kind = get_completion_class(shell)
    assert kind is not None  # the three are click's own
    # Not the bash class's own `source`, which runs bash to see how old it is, and prints to stderr.
    text = ShellComplete.source(kind(tracker, {}, "tracker", "_TRACKER_COMPLETE"))
    if call.json:
        call.screen.document("completion", {"shell": shell, "script": text})
    else:
        sys.stdout.write(text.strip("\n") + "\n")
