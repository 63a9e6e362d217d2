"""`tracker bundle`: tasks in a file, or in parts of limited size, for the way to where no network goes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from objstore import layout as store_layout
from objstore.errors import NotFound
from tracker import purging, remotes
from tracker.cli import render
from tracker.cli.command import Call, Command, find_task
from tracker.cli.main import NOT_FOUND
from tracker.cli.render import Column, escape, plural, size
from tracker.cli.transfer import counts, summary, tell_held

if TYPE_CHECKING:
    from objstore.bundle import Bundle, Prerequisite, Report
    from objstore.remotes import Source
    from tracker.workspace import Workspace

_UNITS: Final = {
    "": 1,
    "b": 1,
    **{f"{prefix}b": 1000**n for n, prefix in enumerate("kmgt", 1)},
    **{f"{prefix}ib": 1024**n for n, prefix in enumerate("kmgt", 1)},
}
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?) ?([a-z]*)", re.IGNORECASE)
_NAMED_MOST: Final = 10
_MODELS: Final = ("model/input/", "model/output/")

_files = click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))


def _size(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    """The bytes that a number with a unit stands for: 700MB, 4.7GB, 4GiB."""
    if value is None:
        return None
    match = _SIZE.fullmatch(value)
    unit = _UNITS.get(match[2].lower()) if match else None
    if match is None or unit is None:
        raise click.BadParameter(
            f"{value!r} is no size: give a number and B, kB, MB, GB, TB (of 1000) or KiB, MiB, GiB, TiB (of 1024), "
            "such as 700MB or 4GiB"
        )
    count = int(float(match[1]) * unit)
    if count < store_layout.BUNDLE_PART_MIN:
        raise click.BadParameter(
            f"{value!r} is too small for a part: {store_layout.BUNDLE_PART_MIN} bytes at least"
        )
    return count


@click.group("bundle", invoke_without_command=True)
@click.pass_context
def bundle(context: click.Context) -> None:
    """Carry tasks in a file, or in several of limited size, to where no network goes."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@bundle.command(
    "create",
    cls=Command,
    examples=[
        ("bundle create all.bundle", "everything"),
        ("bundle create new.bundle --since all.bundle", "what is new since then"),
        ("bundle create best.bundle --tasks 3f2a91", "one task, with its models"),
        ("bundle create all.bundle --split 700MB", "all.bundle.001, all.bundle.002, …"),
    ],
)
@click.argument("out", type=click.Path(path_type=Path))
@click.argument(
    "more", metavar="", nargs=-1
)  # tasks behind the first one of --tasks, as that option's help says
@click.option("--since", metavar="BUNDLE|REMOTE", help="Leave out what this bundle or remote holds.")
@click.option(
    "--tasks", multiple=True, metavar="TASK...", help="Only these tasks, with the models they name."
)
@click.option("--split", callback=_size, metavar="SIZE", help="Into files of at most SIZE: 700MB, 4GiB.")
@click.option("--force", is_flag=True, help="Replace OUT where it is there already.")
def create(
    call: Call,
    out: Path,
    more: tuple[str, ...],
    since: str | None,
    tasks: tuple[str, ...],
    split: int | None,
    force: bool,
) -> None:
    """Write tasks and models into the file OUT, with all that they hold. What still runs stays here."""
    if more and not tasks:
        raise click.UsageError(f"one file is made, and {more[0]!r} is a second: name tasks after --tasks")
    if os.fspath(out) == "-":
        raise click.UsageError(
            "a bundle is written to a file, since its beginning says what its end holds: name one"
        )
    if out.name in ("", ".."):
        raise click.UsageError(f"'{out}' is a folder: name a file in it")
    workspace = call.open()
    keys = _keys(workspace, [*tasks, *more]) if tasks else None
    with call.progress("bundling:") as progress:
        done = workspace.store.bundle(
            out, keys, _since(workspace.root, since), split=split, force=force, progress=progress
        )
    running = sum(thing.alive for key, thing in workspace.tasks().items() if keys is None or key in keys)
    for where, what in done.damaged if done else ():
        render.say(f"tracker: warning: {where} is damaged and left out: {what}")
    if call.json:
        record = {
            "id": done.id if done else None,
            "files": [os.fspath(path) for path in done.paths] if done else [],
            **counts(done.heads if done else ()),
            "deleted": sum(head.commit.deleted for head in done.heads) if done else 0,
            "objects": done.objects if done else 0,
            "packs": done.packs if done else 0,
            "bytes": done.bytes if done else 0,
            "needs": done.needs if done else 0,
            "prerequisites": [_prerequisite(each) for each in done.named] if done else [],
            "running": running,
        }
        call.screen.document("bundle.create", record)
        return
    if done is None:
        render.say(f"nothing is newer than {since}: no bundle was made")
    else:
        names = str(done.paths[0]) if len(done.paths) == 1 else f"{done.paths[0]} to {done.paths[-1].name}"
        gone = sum(head.commit.deleted for head in done.heads)
        mark = f" ({gone} of them deleted)" if gone else ""
        render.say(f"{names}: {summary(done, mark)}")
        if done.needs:
            render.say(
                f"it rests on {plural(done.needs, 'object')} that {since} holds, of {_named(done.named)}"
            )
    if running:
        render.say(f"{plural(running, 'task')} still running: make another when done")


def _keys(workspace: Workspace, tasks: Sequence[str]) -> set[str]:
    """The ids of tasks, and of the models that they name."""
    found = {find_task(workspace, task) for task in tasks}
    for key in list(found):
        for name in workspace.thing(key).state.keys:
            found.update(name.removeprefix(prefix) for prefix in _MODELS if name.startswith(prefix))
    return found


def _since(root: Path, name: str | None) -> Source | None:
    """The bundle or remote that is meant. A remote's name goes first: a file of that name is ./NAME."""
    if name is None:
        return None
    known = remotes.configured(root)
    if name in known:
        return remotes.open_remote(root, known[name])
    path = Path(name)
    if path.exists() or path.with_name(f"{path.name}.001").exists():
        return _open([path])
    raise NotFound(
        f"{name!r} is neither a bundle nor a remote: give a bundle's path, or one of the remotes "
        f"{', '.join(known) or '(there is none yet)'}"
    )


def _open(files: Sequence[Path]) -> Bundle:
    from objstore.bundle import Bundle

    return Bundle.open(files)


@bundle.command(
    "verify",
    cls=Command,
    examples=[("bundle verify all.bundle.*", "needs no store; exit code 4 when anything is wrong")],
)
@_files
def verify(call: Call, files: tuple[Path, ...]) -> int:
    """Check every byte of a bundle, and say what it rests on and whether this store, if there is one, has that.

    The parts of a split bundle are given in any order; those that lie beside a given one are found.
    """
    from objstore.bundle import lacking
    from objstore.bundle import verify as check

    opened = _open(files)
    with call.progress("checking:") as progress:
        report = check(opened, progress)
    workspace = _store_around(call)
    missing = None
    if workspace is not None:
        missing = lacking(workspace.store.objects, workspace.store.heads, opened)
    if call.json:
        record = {
            **_described(opened),
            **counts(report.heads),
            "packs": report.packs,
            "objects": report.objects,
            "unproved": report.unproved,
            "missing": None if missing is None else [str(object_id) for object_id in missing],
        }
        call.screen.document("bundle.verify", record)
    else:
        _print_report(call.screen, report, None if missing is None else len(missing))
    return NOT_FOUND if missing else 0


def _store_around(call: Call) -> Workspace | None:
    """The store that was named, or that is found; None where there is none."""
    try:
        return call.open_as_it_is()
    except NotFound:
        if call.store is not None:
            raise
        return None


def _print_report(screen: render.Screen, report: Report, missing: int | None) -> None:
    checked = (
        f"{plural(report.packs, 'pack')}, {plural(report.objects, 'object')}, {size(report.bytes)}, "
        f"{plural(len(report.heads), 'head')} checked"
    )
    screen.line(("sound", "green"), f": {checked}")
    if not report.needs:
        screen.line("it rests on nothing: any store can take it in")
        return
    first = f", so bundle {report.since[:12]} is taken in first" if report.since else ""
    screen.line(f"it rests on {plural(report.needs, 'object')} of {escape(_named(report.named))}{first}")
    if report.unproved:
        screen.line(f"{plural(report.unproved, 'large file')} will be checked as a whole with these")
    if missing:
        screen.line((plural(missing, "object"), "red"), " of these are not in this store")
    elif missing is not None:
        screen.line("this store has what it takes")


@bundle.command(
    "unbundle",
    cls=Command,
    examples=[
        ("bundle unbundle all.bundle", "into the store that is found from here"),
        ("bundle unbundle /media/*/all.bundle.*", "a split one, from several media"),
    ],
)
@_files
def unbundle(call: Call, files: tuple[Path, ...]) -> None:
    """Take in what a bundle holds. All of it is checked first; then all of it is there, or nothing.

    The parts of a split bundle are given in any order; those that lie beside a given one are found.
    """
    workspace = call.open()
    opened = _open(files)
    with call.progress("unbundling:") as progress:
        done = workspace.store.unbundle(opened, progress, without=purging.unwanted(workspace))
    tell_held(workspace)
    if call.json:
        record = {"objects": done.objects, "bytes": done.bytes, "packs": done.packs}
        call.screen.document("bundle.unbundle", {"id": opened.id, **counts(done.heads), **record})
        return
    render.say(f"taken from {files[0]}: {summary(done)}")


@bundle.command(
    "list",
    cls=Command,
    examples=[("bundle list all.bundle", "what is in it; needs no store")],
)
@_files
def list_(call: Call, files: tuple[Path, ...]) -> None:
    """List what is in a bundle, by what it says: only `verify` checks that. Needs no store."""
    opened = _open(files)
    heads = opened.heads()
    if call.json:
        rows = [
            {
                "id": head.key,
                "commit": str(head.id),
                **_path(head.commit.path),
                "deleted": head.commit.deleted,
            }
            for head in heads
        ]
        call.screen.document("bundle.list", {**_described(opened), "heads": rows})
        return
    columns = [Column("id"), Column("kind"), Column("project", least=12), Column("name", least=12)]
    short = 8 if call.screen.people else 32
    shown = [[head.key[:short], *_path(head.commit.path).values()] for head in heads]
    if any(head.commit.deleted for head in heads):
        columns.append(Column("", least=7, style="yellow"))
        shown = [[*row, "deleted" if h.commit.deleted else ""] for row, h in zip(shown, heads, strict=True)]
    call.screen.table(columns, [list(row) for row in shown])
    index = opened.index
    render.say(f"bundle {opened.id[:12]}, made {render.when(index.info.stamp)}, {size(opened.size)}")
    if index.info.named:
        render.say(f"it rests on {_named(index.info.named)}")


# --- what is in it ---------------------------------------------------------------------------------------------------


def _described(opened: Bundle) -> dict[str, Any]:
    info = opened.index.info
    return {
        "id": opened.id,
        "created": render.iso(info.stamp),
        "since": info.since,
        "files": [os.fspath(path) for path in opened.parts.paths],
        "bytes": opened.size,
        "needs": sum(1 for _ in opened.index.needs()),
        "prerequisites": [_prerequisite(each) for each in info.named],
    }


def _prerequisite(each: Prerequisite) -> dict[str, str]:
    return {"id": each.key, "commit": str(each.commit), **_path(each.path)}


def _path(path: Iterable[str]) -> dict[str, str]:
    return dict(zip(("kind", "project", "name"), (*path, "", "", ""), strict=False))


def _named(named: Sequence[Prerequisite]) -> str:
    shown = [str(each) for each in named[:_NAMED_MOST]]
    if len(named) > _NAMED_MOST:
        shown.append(f"{len(named) - _NAMED_MOST} more")
    return render.joined(shown) if shown else "what it does not name"
