"""`tracker demo`: records real runs, reads and copies them; each step is a new process, shown as one types it.

Opens no store itself: whatever it claims was done by the scripts and commands that it shows.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from tracker.package_data import examples_dir

TRAIN: Final = "train_digits.py"
SCORE: Final = "score_model.py"
NEEDED: Final = ("joblib", "pandas", "sklearn")  # what the two scripts import; the extra `demo` installs them
SWEEP: Final = tuple((hidden, rate) for hidden in (8, 32, 64) for rate in ("0.001", "0.01"))
EDIT: Final = ("default=15)", "default=18)")  # the change that stays uncommitted: more epochs

_DISTRIBUTIONS: Final = {"joblib": "joblib", "pandas": "pandas", "sklearn": "scikit-learn"}

# Variables that would tie the demo's runs to a store, a task or a cluster job that it does not own.
FOREIGN: Final = ("TRACKER_", "CLEARML_", "SLURM_", "TORCHELASTIC_")

TASK_PREFIX: Final = 8  # digits of an id as a person would copy them; six are enough for a store of this size
HASH_PREFIX: Final = 12


class DemoFailed(click.ClickException):
    """A step did not do what it should; the text says which one, and what it printed."""


class FolderTaken(DemoFailed):
    """The folder to work in holds something already."""

    exit_code = 5


def run_demo(workdir: Path | None, echo: Callable[[str], None]) -> None:
    """Run the whole demo in `workdir` (made, or empty; None: a new temporary folder, which is kept).

    Everything for the reader goes through `echo`, some lines a call. Raises DemoFailed (exit code 1) when
    scikit-learn is missing, when the folder is not empty, and when a step fails or disagrees with the record.
    """
    started = time.monotonic()
    _require_scripts_imports()
    root = _empty_folder(workdir)
    project, laptop = root / "digits", root / "laptop"
    _make_project(project)

    echo(f"Working in {root}, which is kept. No server, no account, no network.")
    shell = _Shell(echo, project)
    _train(shell)
    model = _read_back(shell)
    _copy_to(shell, laptop, model)
    seconds = time.monotonic() - started
    echo(f"\nDone in {seconds:.0f} s: {len(SWEEP)} runs, two copies of them, and the same model in each.")
    echo(_next())


def _next() -> str:
    """What to do now; with the environment to do it in, where `tracker` on this terminal's PATH is not this one."""
    here = Path(sys.executable).parent
    found = shutil.which("tracker")
    known = found is not None and Path(found).resolve().parent == here.resolve()
    activate = "" if known else f"    $ . {shlex.quote(str(here / 'activate'))}\n"
    return _NEXT.format(activate=activate)


_NEXT: Final = """
Now your own script. Put these two lines near its top

    from tracker import Task
    task = Task.init(project_name="my project", task_name="first run")

and then, in its folder:

{activate}    $ python my_script.py
    $ tracker ls
    $ tracker show ID        # the id that the first command printed; its first six digits are enough
"""


@dataclass(frozen=True, slots=True)
class _Model:
    """The best run's model: the hash it was recorded under, and the bytes that came back for it."""

    hash: str
    content: bytes


@dataclass(slots=True)
class _Shell:
    """Runs commands in one folder and shows them; `tracker` and `python` are this installation's own."""

    echo: Callable[[str], None]
    folder: Path

    def enter(self, folder: Path) -> None:
        """Go to another folder, and show it."""
        self.echo(f"\n$ cd {os.path.relpath(folder, self.folder)}")
        self.folder = folder

    def show(self, *command: str, last: int | None = None) -> str:
        """Run a command, show it with all it printed (or the `last` lines), and return that text."""
        self.echo(f"\n$ {shlex.join(command)}")
        color = {"FORCE_COLOR": "1"} if sys.stdout.isatty() and "NO_COLOR" not in os.environ else {}
        done = self._run(command, stderr=subprocess.STDOUT, **color)
        lines = done.stdout.rstrip().splitlines()
        if lines:
            self.echo("\n".join(lines if last is None else lines[-last:]))
        return done.stdout

    def ask(self, *command: str) -> Any:
        """Run a command with --json, show nothing, and return what it answered."""
        done = self._run((*command, "--json"), stderr=subprocess.PIPE)
        try:
            return json.loads(done.stdout)
        except ValueError as error:
            raise DemoFailed(
                f"{shlex.join(command)} --json printed no JSON ({error}):\n{done.stdout}"
            ) from None

    def _run(self, command: tuple[str, ...], stderr: int, **extra: str) -> subprocess.CompletedProcess[str]:
        programs = {"tracker": (sys.executable, "-m", "tracker"), "python": (sys.executable,)}
        done = subprocess.run(
            [*programs[command[0]], *command[1:]],
            cwd=self.folder,
            env=_environment() | extra,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            encoding="utf-8",
            errors="replace",
        )
        if done.returncode != 0:
            printed = f"{done.stdout}{done.stderr or ''}".rstrip()
            raise DemoFailed(
                f"`{shlex.join(command)}` in {self.folder} ended with exit code {done.returncode}:\n{printed}"
            )
        return done


def _environment() -> dict[str, str]:
    """This process's variables less the foreign ones; texts in UTF-8 and as wide as this terminal."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    return own | {"PYTHONIOENCODING": "utf-8", "COLUMNS": str(shutil.get_terminal_size((110, 24)).columns)}


def _require_scripts_imports() -> None:
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise DemoFailed(
            f"the demo needs {', '.join(missing)}: pip install {' '.join(_DISTRIBUTIONS[name] for name in missing)}"
        )


def _empty_folder(workdir: Path | None) -> Path:
    if workdir is None:
        return Path(tempfile.mkdtemp(prefix="tracker-demo-")).resolve()
    if workdir.exists() and not workdir.is_dir():
        raise FolderTaken(f"{workdir} is no folder: name an empty one, or one that is not there yet")
    if workdir.exists() and any(workdir.iterdir()):
        raise FolderTaken(f"{workdir} is not empty: name an empty folder, or one that is not there yet")
    workdir.mkdir(parents=True, exist_ok=True)
    return workdir.resolve()


def _make_project(folder: Path) -> None:
    """A git repository with the two scripts in its one commit, and one change since."""
    import pygit2

    folder.mkdir()
    for name in (TRAIN, SCORE):
        shutil.copyfile(examples_dir() / name, folder / name)
    (folder / ".gitignore").write_text("*.npz\n*.joblib\n", encoding="utf-8")

    repository = pygit2.init_repository(str(folder), initial_head="main")
    repository.index.add_all()
    repository.index.write()
    author = pygit2.Signature("tracker demo", "demo@example.org")
    tree = repository.index.write_tree()
    repository.create_commit(
        "refs/heads/main", author, author, "Train and score a model of the digits", tree, []
    )

    script = folder / TRAIN
    committed = script.read_text(encoding="utf-8")
    edited = committed.replace(*EDIT)
    if edited == committed:
        raise DemoFailed(f"{examples_dir() / TRAIN} has no {EDIT[0]!r} to change")
    script.write_text(edited, encoding="utf-8")


def _train(shell: _Shell) -> None:
    shell.echo(
        f"\n== 1. Record {len(SWEEP)} training runs on scikit-learn's 1,797 images of handwritten digits\n"
        f"digits/ is a git repository, and its {TRAIN} has an uncommitted change. The first run is shown\n"
        "in full, of the others the last line."
    )
    for number, (hidden, rate) in enumerate(SWEEP):
        shell.show("python", TRAIN, "--hidden", str(hidden), "--lr", rate, last=1 if number else None)


def _read_back(shell: _Shell) -> _Model:
    """Show the table, the best run, how it differs from the worst, and its model, scored again."""
    shell.echo("\n== 2. Read them")
    by_accuracy = ("tracker", "ls", "--sort", "-test_accuracy")
    tasks = shell.ask(*by_accuracy)["tasks"]
    if len(tasks) != len(SWEEP):
        raise DemoFailed(f"{len(SWEEP)} runs were recorded and `tracker ls` lists {len(tasks)}")
    shell.show(*by_accuracy)
    best, worst = tasks[0], tasks[-1]
    shell.show("tracker", "show", best["id"][:TASK_PREFIX])
    shell.show("tracker", "diff", best["id"][:TASK_PREFIX], worst["id"][:TASK_PREFIX])

    shell.echo("\n== 3. Fetch the best model by its hash, and score it on the images it never saw")
    content_hash = shell.ask("tracker", "show", best["id"])["task"]["models"]["output"][0]["hash"]
    shell.show("tracker", "get", content_hash[:HASH_PREFIX], "-o", "best.joblib")
    scored = float(shell.show("python", SCORE, "best.joblib", "digits.npz").split()[-1])
    recorded = best["singles"]["test_accuracy"]
    if scored != recorded:
        raise DemoFailed(f"the model that was fetched scores {scored}, its run recorded {recorded}")
    shell.echo(f"The run recorded {recorded}: the same.")
    return _Model(content_hash, (shell.folder / "best.joblib").read_bytes())


def _copy_to(shell: _Shell, laptop: Path, model: _Model) -> None:
    """Push to a second store, clone that, check the clone, and fetch the model from it."""
    shell.echo("\n== 4. Copy everything to a second store, and from there into an empty place")
    shell.show("tracker", "remote", "add", "backup", "../backup")
    shell.show("tracker", "push", "backup")
    shell.show("tracker", "clone", "../backup", os.path.relpath(laptop, shell.folder))
    shell.enter(laptop)
    shell.show("tracker", "fsck")
    shell.show("tracker", "get", model.hash[:HASH_PREFIX], "-o", "best.joblib")
    if (laptop / "best.joblib").read_bytes() != model.content:
        raise DemoFailed(f"the clone in {laptop} gave other bytes than the first store for {model.hash}")
    shell.echo("Byte for byte the model that was scored above.")
