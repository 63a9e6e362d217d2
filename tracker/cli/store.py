"""`tracker init`, `recover`, `demo`: the store as a whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from objstore.errors import ReadOnly, StoreError
from objstore.layout import FORMAT_FILE
from tracker import layout
from tracker.cli import render
from tracker.cli.command import Call, Command
from tracker.cli.render import escape
from tracker.errors import TrackerError

if TYPE_CHECKING:
    from tracker.adoption import Adopted
    from tracker.workspace import Workspace


@click.command(
    "init",
    cls=Command,
    examples=[
        ("init", "in the root of the git repository, else here"),
        ("init runs", "in runs/.tracker"),
    ],
)
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
def init(call: Call, folder: Path | None) -> None:
    """Make an empty store in DIR/.tracker. One that is there is left as it is. (The first Task.init makes one, too.)"""
    from objstore.store import Store
    from tracker.package_data import template_dir

    root = _new_root(call.store, folder)
    there = (root / FORMAT_FILE).is_file()
    root.parent.mkdir(parents=True, exist_ok=True)
    Store.create(root, template_dir())
    if call.json:
        call.screen.document("init", {"store": os.fspath(root), "created": not there})
    else:
        render.say(f"{root} is there already" if there else f"made {root}")


def _new_root(named: Path | None, folder: Path | None) -> Path:
    from tracker import config, workspace

    if named is not None:
        return named
    if folder is not None:
        return folder / layout.STORE
    by_environment = os.environ.get("TRACKER_DIR")
    return config.store_in(Path(by_environment)) if by_environment else workspace.default_root(Path.cwd())


# --- recover ---------------------------------------------------------------------------------------------------------


@click.command(
    "recover",
    cls=Command,
    examples=[("recover", "seal what killed runs have left, and adopt runs recorded beside the store")],
)
def recover(call: Call) -> int:
    """Seal what dead runs have left, and adopt the runs that were recorded in the user's state folder meanwhile.

    A dead run's journal that is damaged is sealed as far as it can be read, and set aside. The state folder is where a
    run goes that could not write the store. Its stand-in is removed once all of it is here.
    """
    workspace = call.open_as_it_is()
    if workspace.store.read_only:
        raise ReadOnly(
            f"{workspace.root} cannot be written by this user or this version: nothing was recovered"
        )
    sealed, aside, failed = _seal(workspace)
    adopted = _adopt(workspace, failed)
    workspace.tidy(None)
    if call.json:
        call.screen.document("recover", _recovered(sealed, aside, adopted, failed))
    else:
        _print_recovered(call.screen, workspace, sealed, aside, adopted)
    for where, what in failed.items():
        render.say(f"tracker: {where}: {what}")
    return 1 if failed else 0


def _seal(workspace: Workspace) -> tuple[list[str], dict[str, str], dict[str, str]]:
    """The tasks that were sealed; damaged journals that were set aside, and why; what went wrong with others."""
    from tracker import deltas, seal

    sealed: list[str] = []
    aside: dict[str, str] = {}
    failed: dict[str, str] = {}
    for key in sorted({journal.key for journal in deltas.journals(workspace.root)}):
        try:
            if seal.seal(workspace.store, key):
                sealed.append(key)
            aside |= seal.set_damaged_aside(workspace.store, key)
        except (OSError, StoreError, TrackerError) as error:
            failed[f"task {key}"] = f"cannot be sealed: {error}"
    return sealed, aside, failed


def _adopt(workspace: Workspace, failed: dict[str, str]) -> list[Adopted]:
    from tracker.adoption import adopt
    from tracker.workspace import stand_ins

    adopted = []
    for stand_in in stand_ins(workspace.root):
        try:
            adopted.append(adopt(workspace.store, stand_in))
        except (OSError, StoreError, TrackerError) as error:
            failed[os.fspath(stand_in)] = f"cannot be adopted: {error}"
    return adopted


def _recovered(
    sealed: list[str], aside: dict[str, str], adopted: list[Adopted], failed: dict[str, str]
) -> dict[str, Any]:
    stand_ins = [
        {
            "store": os.fspath(each.stand_in),
            "ids": each.keys,
            "removed": not each.kept,
            "kept_because": each.kept or None,
        }
        for each in adopted
    ]
    return {"sealed": sealed, "aside": aside, "adopted": stand_ins, "failed": failed}


def _print_recovered(
    screen: render.Screen,
    workspace: Workspace,
    sealed: list[str],
    aside: dict[str, str],
    adopted: list[Adopted],
) -> None:
    things = workspace.things()

    def named(key: str) -> str:
        state = things[key].state if key in things else None
        return (
            f"{state.kind} {key}  {state.get('name', '')}  {state.get('status', '')}".rstrip()
            if state
            else key
        )

    for key in sealed:
        screen.line(f"sealed   {escape(named(key))}")
    for where, what in aside.items():
        screen.line(f"aside    {escape(where)}: {escape(what)}")
    if aside:
        render.say(
            "what can be read of damaged journals is sealed; they are kept in trash/ until gc empties it"
        )
    for each in adopted:
        for key in each.keys:
            screen.line(f"adopted  {escape(named(key))}")
        if each.kept:
            render.say(f"{each.stand_in} stays: {each.kept}")
    if not sealed and not aside and not any(each.keys for each in adopted):
        render.say("nothing to recover")


# --- demo ------------------------------------------------------------------------------------------------------------


@click.command(
    "demo",
    cls=Command,
    store=False,
    examples=[
        ("demo", "in a new temporary folder, which is kept"),
        ("demo --dir look", "in the folder look/"),
    ],
)
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A new or empty folder to work in.",
)
def demo(call: Call, folder: Path | None) -> None:
    """Record real training runs on scikit-learn's digits, then show, compare, fetch and copy them: two minutes."""
    from tracker.cli.demo import run_demo

    if not call.json:
        run_demo(folder, click.echo)
        return
    if folder is None:
        from tempfile import mkdtemp

        folder = Path(mkdtemp(prefix="tracker-demo-"))
    run_demo(folder, lambda text: click.echo(text, err=True))
    call.screen.document("demo", {"dir": os.fspath(folder.resolve())})
