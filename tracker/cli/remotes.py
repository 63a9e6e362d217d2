"""`tracker remote`, `push`, `pull`, `clone`: stores shared with other places."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from objstore import layout as store_layout
from objstore.errors import Conflict, Corrupt, NotFound
from tracker import config, layout, purging, remotes
from tracker.cli import candidates, render
from tracker.cli.command import Call, Command
from tracker.cli.render import Column, plural
from tracker.cli.transfer import counts, summary, tell_held

if TYPE_CHECKING:
    from objstore.heads import Head
    from objstore.sync import PullResult, PushResult


@click.group("remote", invoke_without_command=True)
@click.pass_context
def remote(context: click.Context) -> None:
    """Name the stores to share with. They stand in the store's config.toml; the first one is the default."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@remote.command(
    "add",
    cls=Command,
    examples=[
        ("remote add backup ../backup", "a folder beside this one: the pair can be moved"),
        ("remote add share /mnt/lab/digits", "a folder on a mounted share"),
    ],
)
@click.argument("name")
@click.argument("url")
def add(call: Call, name: str, url: str) -> None:
    """Name a folder as a remote, and make it if there is none. NAME: letters a-z, digits, - and _."""
    root = call.open_as_it_is().root
    kept = remotes.add(root, name, url)
    if call.json:
        call.screen.document("remote.add", {"name": name, "url": kept})
    else:
        render.say(f"{name} is {remotes.open_remote(root, kept).url}")


@remote.command("list", cls=Command, examples=[("remote list", "all remotes, the default one first")])
def list_(call: Call) -> None:
    """List the remotes, the default one first."""
    root = call.open_as_it_is().root
    known = remotes.configured(root)
    if call.json:
        call.screen.document(
            "remote.list", {"remotes": [{"name": n, "url": url} for n, url in known.items()]}
        )
    elif known:
        call.screen.table([Column("name"), Column("url")], [[name, url] for name, url in known.items()])
    else:
        render.say("no remote yet: tracker remote add NAME FOLDER")


@click.command(
    "push",
    cls=Command,
    examples=[
        ("push", "to the default remote, the first one that was added"),
        ("push backup", "to another one"),
    ],
)
@click.argument("name", metavar="[REMOTE]", required=False, shell_complete=candidates.remotes)
def push(call: Call, name: str | None) -> None:
    """Copy to a remote whatever it lacks of this store's tasks and models. Only adds. What still runs stays here."""
    workspace = call.open()
    chosen, url = remotes.choose(workspace.root, name)
    purging.refuse_push(workspace)
    with call.progress(f"pushing to {chosen}:") as progress:
        done = workspace.store.push(remotes.open_remote(workspace.root, url), progress=progress)
    _tell_lost(chosen, done.rolled_back, "they are put there again")
    running = sum(thing.alive for thing in workspace.tasks().values())
    if call.json:
        call.screen.document("push", {"remote": chosen, **_counts(done), "running": running})
        return
    render.say(f"pushed to {chosen}: {summary(done)}")
    if running:
        render.say(f"{plural(running, 'task')} still running: push again when done")


@click.command(
    "pull",
    cls=Command,
    examples=[
        ("pull", "from the default remote, the first one that was added"),
        ("pull backup", "from another one"),
    ],
)
@click.argument("name", metavar="[REMOTE]", required=False, shell_complete=candidates.remotes)
def pull(call: Call, name: str | None) -> None:
    """Copy from a remote whatever this store lacks. Every byte is checked before it is used; nothing here is lost."""
    workspace = call.open()
    chosen, url = remotes.choose(workspace.root, name)
    with call.progress(f"pulling from {chosen}:") as progress:
        done = workspace.store.pull(
            remotes.open_remote(workspace.root, url), progress=progress, without=purging.unwanted(workspace)
        )
    _tell_lost(chosen, done.rolled_back, "`tracker push` puts back what this store has of them")
    _tell_damaged(chosen, done.damaged)
    tell_held(workspace)
    if call.json:
        call.screen.document("pull", {"remote": chosen, **_counts(done)})
        return
    render.say(f"pulled from {chosen}: {summary(done)}")


@click.command(
    "clone",
    cls=Command,
    examples=[
        ("clone ../backup laptop", "into laptop/.tracker"),
        ("clone /mnt/lab/digits", "into digits/.tracker"),
    ],
)
@click.argument("url")
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
def clone(call: Call, url: str, folder: Path | None) -> None:
    """Copy a store into DIR/.tracker, with the one that it came from as its remote `origin`.

    DIR is the last part of the URL where it is not given.
    """
    from objstore.store import Store
    from tracker.package_data import template_dir

    source = config.store_in(remotes.parse(url))
    root = call.store or (folder or _folder_of(source)) / layout.STORE
    if root.is_dir() and any(root.iterdir()):
        raise Conflict(f"{root} is there already: name another folder, or pull into it with `tracker pull`")
    if not remotes.is_store(source):
        raise NotFound(f"{source} holds no store to clone: check the path")
    _refuse_headless(source)
    root.parent.mkdir(parents=True, exist_ok=True)
    try:
        store = Store.create(root, template_dir())
        kept = remotes.add(root, remotes.ORIGIN, url if "://" in url else os.fspath(source))
        with call.progress("cloning:") as progress:
            done = store.clone(remotes.open_remote(root, kept), progress=progress)
    except BaseException:
        if remotes.ORIGIN in remotes.configured(root):
            again = f"`tracker pull --store {shlex.quote(str(root))}` goes on where this stopped"
            render.say(f"tracker: {root} is not complete: {again}")
        else:
            shutil.rmtree(root, ignore_errors=True)  # nothing came yet, and a pull would not know where from
        raise
    _tell_damaged(remotes.ORIGIN, done.damaged)
    if call.json:
        call.screen.document("clone", {"store": os.fspath(root), "remote": kept, **_counts(done)})
    elif done.heads:
        render.say(f"cloned into {root}: {summary(done)}")
    else:
        render.say(f"cloned into {root}: {source} is empty so far")


def _refuse_headless(source: Path) -> None:
    """Raise Corrupt for a store that has lost its heads: a clone would be empty, and look as if all were well."""
    from objstore.fsck import headless
    from objstore.objects import Objects

    names = (*source.glob(f"{store_layout.REFS}/*/*"), *source.glob(f"{store_layout.TABLES}/*"))
    if any(not path.name.startswith(".") for path in names):
        return
    objects = Objects(source, keep=False)
    try:
        lost = len(headless(source, objects))
    finally:
        objects.close()
    if lost:
        raise Corrupt(
            f"{source} has {plural(lost, 'commit')} in packs and not one head, so nothing can be cloned: its head "
            f"files are lost, or were not copied yet: `tracker fsck --heal --store {shlex.quote(str(source))}` "
            "finds them again"
        )


def _folder_of(source: Path) -> Path:
    """What to call the clone of a store: the last part of its path, or of the project's that it lies in."""
    named = source.absolute()
    return Path(named.parent.name if named.name == layout.STORE else named.name)


# --- what was done ---------------------------------------------------------------------------------------------------


def _counts(done: PushResult | PullResult) -> dict[str, Any]:
    return {
        **counts(done.heads),
        "objects": done.objects,
        "bytes": done.bytes,
        "packs": done.packs,
        "rolled_back": [list(head.commit.path) for head in done.rolled_back],
    }


def _tell_lost(name: str, lost: Sequence[Head], what_now: str) -> None:
    for head in lost:
        render.say(
            f"tracker: warning: {name} has lost {' / '.join(head.commit.path)} ({head.key}): {what_now}"
        )


def _tell_damaged(name: str, damaged: Iterable[tuple[str, str]]) -> None:
    for where, what in damaged:
        render.say(f"tracker: warning: {name}: {where} is damaged there: {what}")
