"""`tracker import`: runs that other programs have recorded."""

from __future__ import annotations

from pathlib import Path

import click

from tracker.cli import candidates, render
from tracker.cli.command import Call, Command, find_task


@click.group("import", invoke_without_command=True)
@click.pass_context
def import_(context: click.Context) -> None:
    """Take in runs that other programs have recorded."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@import_.command(
    "clearml",
    cls=Command,
    examples=[
        ("import clearml offline-cb1b45105b.zip", "a session that ClearML left when it was offline"),
        ("import clearml run.zip --task 3f2a91 --iteration-offset 1000", "as the continuation of a task"),
    ],
)
@click.argument("session", metavar="ZIP|FOLDER", type=click.Path(path_type=Path))
@click.option(
    "--task",
    metavar="TASK",
    shell_complete=candidates.tasks,
    help="Continue this task instead of making one.",
)
@click.option(
    "--iteration-offset", default=0, metavar="N", help="Add N to each iteration, but not to single values."
)
@click.option("--again", is_flag=True, help="Take it in once more, though it is here already.")
def clearml(call: Call, session: Path, task: str | None, iteration_offset: int, again: bool) -> None:
    """Take in the session of an offline run of ClearML: parameters, scalars, plots, console, artifacts and models.

    It becomes a completed task. Times stay what they were. The same session again, or its folder after its zip, is the
    same task, and nothing is done. What is damaged or hostile is refused as a whole.
    """
    from tracker.sessions import import_session

    workspace = call.open()
    previous = find_task(workspace, task) if task is not None else None
    with call.progress(f"taking in {session.name}:"):
        done = import_session(workspace, session, previous, iteration_offset, again=again)
    if call.json:
        record = {
            "id": done.key,
            "session": done.session,
            "known": done.known,
            "left_out": dict(done.left_out or {}),
        }
        call.screen.document("import.clearml", record)
        return
    for what, count in (done.left_out or {}).items():
        render.say(f"tracker: warning: left out: {count} {what}")
    if done.known:
        render.say(f"{session} is here already, as task {done.key}; --again takes it in once more")
    else:
        render.say(f"{session}: taken in as task {done.key}")
