"""`clearml-task`: a draft of a script or repository, with the arguments of ClearML's command; or a session taken in.

It runs nothing. Queues are not here, so what asks for one is refused.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tracker.errors import BadValue, TrackerError, UsageError

if TYPE_CHECKING:
    from tracker import Task

USAGE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line, sys.argv's by default; returns the exit code."""
    import click

    from objstore.errors import StoreError

    given = _parser().parse_args(arguments)
    try:
        said = _imported(given) if given.import_offline_session else _made(given)
    except (TrackerError, StoreError, OSError) as error:
        click.echo(f"clearml-task: {error}", err=True)
        return USAGE
    click.echo(said)
    return 0


def _parser() -> ArgumentParser:
    parser = ArgumentParser("clearml-task", description="Make a draft of a script. It is not run.")
    parser.add_argument("--project", help="the draft's project")
    parser.add_argument("--name", help="the draft's name")
    parser.add_argument("--tags", nargs="*", default=[], help="its tags")
    parser.add_argument("--task-type", help="what it is for; training by default")
    parser.add_argument("--base-task-id", help="begin with the record of this task")
    code = parser.add_argument_group("what it runs")
    code.add_argument("--repo", help="URL of a repository, which is not contacted")
    code.add_argument("--folder", help="a folder on this machine instead, whose repository is asked")
    code.add_argument("--branch", help="its branch or tag")
    code.add_argument("--commit", help="its commit")
    code.add_argument("--script", help="the entry point, relative to the working directory")
    code.add_argument("--module", help="a module to run instead, with its arguments")
    code.add_argument("--cwd", help="the working directory, relative to the repository")
    code.add_argument("--binary", help="the interpreter")
    code.add_argument("--args", nargs="*", default=[], metavar="NAME=VALUE", help="arguments, without dashes")
    code.add_argument("--skip-task-init", action="store_true", help="add no call of Task.init to the script")
    code.add_argument(
        "--skip-repo-detection", action="store_true", help="do not ask git about a local script"
    )
    needs = parser.add_argument_group("what it needs")
    needs.add_argument("--requirements", help="a requirements file")
    needs.add_argument("--packages", nargs="*", help="requirements, such as 'tqdm>=4'")
    needs.add_argument("--docker", help="a container image")
    needs.add_argument("--docker_args", "--docker-args", help="arguments of the container")
    needs.add_argument(
        "--docker_bash_setup_script",
        "--docker-bash-setup-script",
        help="shell lines, or a file of them, to run in it first",
    )
    needs.add_argument("--output-uri", help="where copies of its artifacts and models go")
    needs.add_argument("--queue", help="refused: there are no queues here")
    parser.add_argument(
        "--import-offline-session", metavar="ZIP", help="take in a session instead of making a draft"
    )
    return parser


def _imported(given: Namespace) -> str:
    from tracker import Task

    session = given.import_offline_session
    return f"{session}: taken in as task {Task.import_offline_session(session)}"


def _made(given: Namespace) -> str:
    if given.queue:
        raise UsageError(
            f"there is no queue {given.queue!r}: queues are not here yet. Leave --queue out for a draft, and run it "
            "with TRACKER_RUN_TASK=ID python SCRIPT"
        )
    if not given.name:
        raise BadValue("a draft needs a name: give --name")
    if not (given.script or given.module or given.base_task_id):
        raise BadValue("a draft needs something to run: give --script, --module or --base-task-id")
    if given.repo and given.folder:
        raise BadValue("--repo and --folder are both given: the code is in one of them")
    task = _draft(given)
    if given.tags:
        task.add_tags(given.tags)
    if given.output_uri:
        task.output_uri = given.output_uri
    return f"task {task.id} is made, as a draft: TRACKER_RUN_TASK={task.id} python {given.script or 'SCRIPT'}"


def _draft(given: Namespace) -> Task:
    from tracker import Task

    setup = given.docker_bash_setup_script
    return Task.create(
        project_name=given.project,
        task_name=given.name,
        task_type=given.task_type,
        repo=given.repo or given.folder,
        branch=given.branch,
        commit=given.commit,
        script=given.script,
        working_directory=given.cwd,
        packages=given.packages or None,
        requirements_file=given.requirements,
        docker=given.docker,
        docker_args=given.docker_args,
        docker_bash_setup_script=Path(setup).read_text() if setup and Path(setup).is_file() else setup,
        argparse_args=[_pair(text) for text in given.args],
        base_task_id=given.base_task_id,
        add_task_init_call=not given.skip_task_init,
        binary=given.binary,
        module=given.module,
        detect_repository=not given.skip_repo_detection,
    )


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise BadValue(f"--args {text!r}: NAME=VALUE is expected")
    return name.lstrip("-"), value
