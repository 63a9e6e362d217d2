"""`tracker run`: a script, in this Python, with what it needs to run unchanged."""

from __future__ import annotations

import os
import sys

import click

from tracker.cli.command import Call, Command


@click.command(
    "run",
    cls=Command,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    examples=[
        ("run --clearml train.py --lr 0.1", "a script that imports clearml, unchanged"),
        ("run --clearml clearml-task --import-offline-session run.zip", "ClearML's own command"),
    ],
)
@click.option("--clearml", is_flag=True, help="Let `import clearml` mean this program.")
@click.argument("script", type=click.Path())
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run(call: Call, clearml: bool, script: str, arguments: tuple[str, ...]) -> None:
    """Run a Python script with its arguments. Its exit code is that of the command; options stand before SCRIPT.

    A task is recorded where the script calls Task.init. With --clearml, SCRIPT may be clearml-task.
    """
    environment = dict(os.environ)
    if clearml:
        from tracker.compat.clearml import search_path

        environment["PYTHONPATH"] = search_path(environment.get("PYTHONPATH", ""))
    if call.store is not None:
        environment["TRACKER_DIR"] = str(call.store.absolute())
    command = [script, *arguments]
    if clearml and script == "clearml-task":
        session = _clearml_task.main(list(arguments), prog_name=script, standalone_mode=False)
        command = ["-m", "tracker", "import", "clearml", str(session)]
    os.execve(sys.executable, [sys.executable, *command], environment)


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.option("--import-offline-session", "session", metavar="ZIP")
@click.argument("others", nargs=-1, type=click.UNPROCESSED)
def _clearml_task(session: str | None, others: tuple[str, ...]) -> str:
    """Take the arguments of ClearML's command of this name; what it does with queues and repositories is not here."""
    if others or session is None:
        raise click.UsageError(
            f"clearml-task {' '.join(others)}".rstrip() + ": only --import-offline-session ZIP is there; "
            "Task.create makes a draft of code that lies elsewhere"
        )
    return session
