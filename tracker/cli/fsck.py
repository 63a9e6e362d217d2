"""`tracker fsck`: what is wrong with a store, what it touches, and with --heal the way back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from objstore.errors import NotFound, ReadOnly, StoreError
from tracker.cli import render
from tracker.cli.command import Call, Command
from tracker.cli.render import escape, plural, size
from tracker.errors import TrackerError

if TYPE_CHECKING:
    from objstore.fsck import Problem, Report
    from objstore.heal import Healed, Origin
    from objstore.ids import Kind, ObjectId
    from tracker.workspace import Workspace

_INTEGRITY = 4
_LEVELS = ("index", "checksums", "content", "reachable")
_SHOWN_MOST = 100  # problems printed; --json has them all
_QUIET_SECONDS = 1.0  # before progress is shown

Touch = dict[str, Any]  # kind, project, name, artifacts


@click.command(
    "fsck",
    cls=Command,
    examples=[
        ("fsck", "exit code 4 when anything is wrong"),
        ("fsck --level checksums", "as fast as the disk: are the bytes still those that were written?"),
        ("fsck --level reachable", "is everything there that tasks and models refer to?"),
        ("fsck --heal", "repair from packs, trash and all remotes"),
        (
            "fsck --heal --from /mnt/backup --from model.pt",
            "repair from another store, and a file of your own",
        ),
    ],
)
@click.option(
    "--level",
    type=click.Choice(_LEVELS),
    help="index: names, sizes, footers, heads. checksums: and all stored bytes. content: and all objects by their ids "
    "(the default). reachable: index, and whether all that heads refer to is there.",
)
@click.option("--heal", is_flag=True, help="Repair what is damaged or missing; nothing is deleted.")
@click.option(
    "--from",
    "origins",
    multiple=True,
    metavar="REMOTE|FILE|FOLDER",
    help="Where to look for what is missing, instead of all remotes: a remote's name, a store, a bundle, or files of "
    "your own. May be given again.",
)
def fsck(call: Call, level: str | None, heal: bool, origins: tuple[str, ...]) -> int:
    """Decode and hash all that is stored, follow all that tasks and models refer to, and name what a fault touches.

    Reads only, unless --heal is given: then sound objects of damaged files are saved, what is missing is fetched and
    checked, and damaged files go to the trash.
    """
    if origins and not heal:
        raise click.UsageError("--from says where to heal from: give --heal with it")
    if heal and level:
        raise click.UsageError("--heal checks everything: leave --level out")
    workspace = call.open_as_it_is()
    if heal:
        return _heal(call, workspace, origins)
    with render.Progress("checking:", _QUIET_SECONDS) as progress:
        report = workspace.store.fsck(level or "content", roots=_roots(workspace), progress=_Stages(progress))
    problems = _told(workspace, report)
    if call.json:
        call.screen.document("fsck", {"level": level or "content", **_record(report, problems)})
    else:
        _print_problems(call.screen, problems)
        _print_sum(call.screen, report, problems)
    return _INTEGRITY if problems else 0


def _roots(workspace: Workspace) -> list[tuple[Kind, ObjectId]]:
    """What the journals of running tasks refer to, as far as they can be read."""
    from tracker import roots

    try:
        return roots.readable(workspace.store)[0]
    except (StoreError, TrackerError, OSError):
        return []  # the check itself names the journal


class _Stages:
    """Progress by what is done, on one line."""

    def __init__(self, shown: render.Progress) -> None:
        self._shown = shown

    def __call__(self, what: str, done: int, total: int) -> None:
        if what.startswith("bytes"):
            self._shown.show(f"{what[5:].strip()} {size(done)} of {size(total)}".strip())
        else:
            self._shown.show(f"{what} {done:,}" + (f" of {total:,}" if total else ""))


# --- healing ---------------------------------------------------------------------------------------------------------


def _heal(call: Call, workspace: Workspace, origins: Sequence[str]) -> int:
    if workspace.store.read_only:
        raise ReadOnly(f"{workspace.root} cannot be written by this user or this version: nothing was healed")
    sources, failed = _sources(workspace.root, origins)
    with render.Progress("healing:", _QUIET_SECONDS) as progress:
        healed = workspace.store.heal(
            sources, unite=bool(origins), roots=_roots(workspace), progress=_Stages(progress)
        )
    failed = {**failed, **healed.failed}
    problems = _told(workspace, healed.report)
    if call.json:
        call.screen.document("fsck", _healed_record(healed, failed, problems))
    else:
        _print_problems(call.screen, problems)
        _print_healed(call.screen, healed)
        _print_sum(call.screen, healed.report, problems)
    for name, what in failed.items():
        render.say(f"tracker: warning: {name} could not be used: {what}")
    return _INTEGRITY if problems else 0


def _sources(root: Path, origins: Sequence[str]) -> tuple[list[Origin], dict[str, str]]:
    """What the names stand for, or all remotes; and why some of these cannot be opened."""
    from tracker import remotes

    known = remotes.configured(root)
    if origins:
        return [origin(root, name, known) for name in origins], {}
    found: list[Origin] = []
    failed = {}
    for name, url in known.items():
        try:
            found.append(remotes.open_remote(root, url))
        except (StoreError, TrackerError, OSError) as error:
            failed[name] = str(error)
    return found, failed


def origin(root: Path, name: str, known: Mapping[str, str]) -> Origin:
    """What a name given with --from stands for: a remote, a store, a bundle, else a file or folder. Raises NotFound."""
    from objstore.remotes.folder import FolderRemote
    from tracker import config, remotes

    if name in known:
        return remotes.open_remote(root, known[name])
    path = Path(name)
    if path.is_dir():
        inside = config.store_in(path)
        return FolderRemote(inside) if remotes.is_store(inside) else path
    if path.is_file():
        return _bundle(path) or path
    folder = remotes.parse(name)
    if not folder.is_dir():
        raise NotFound(
            f"{name} is no remote of this store, and no file or folder: `tracker remote list` names them"
        )
    return FolderRemote(folder)


def _bundle(path: Path) -> Origin | None:
    """The store in a bundle, or None for any other file. Raises Corrupt, Unsupported, NotFound, RemoteError."""
    from objstore.bundle import Bundle

    return Bundle.open([path]) if Bundle.begins(path) else None


# --- what is told ----------------------------------------------------------------------------------------------------


def _told(workspace: Workspace, report: Report) -> list[dict[str, Any]]:
    """All problems as records; then tasks and models that are what their hashes say and still cannot be read."""
    touched = {path for problem in report.problems for path in problem.touches}
    workspace.store.objects.refresh()
    things = workspace.things()
    heads = workspace.store.heads
    live = heads.sound(head for few in heads.live().values() for head in few)
    paths = {head.key: head.commit.path for head in live}
    refs = {path: dict[str, str]() for path in touched}
    for key, thing in things.items():
        if paths.get(key) in refs:
            refs[paths[key]].update(_references(thing.state.keys))
    told = [_problem(problem, refs) for problem in report.problems]
    for key, what in workspace.damaged.items():
        if key in paths and paths[key] not in touched:
            told.append(
                {"where": key, "what": what, "advice": "look at it with `tracker log`", "touches": []}
            )
    return told


def _references(keys: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(object id, what it is) of the artifacts and weights that a state names."""
    from tracker.records import Ref

    for key, entry in keys.items():
        ref = entry.value.get("$ref") if isinstance(entry.value, dict) else None
        if isinstance(ref, str) and (key.startswith("artifact/") or key == "weights"):
            yield Ref.parse(ref).id, key.removeprefix("artifact/")


def _problem(problem: Problem, refs: Mapping[tuple[str, ...], Mapping[str, str]]) -> dict[str, Any]:
    through = {str(object_id) for object_id in problem.through}
    touches = [
        {
            **dict(zip(("kind", "project", "name"), (*path, "", "", ""), strict=False)),
            "artifacts": sorted({name for ref, name in refs[path].items() if ref in through}),
        }
        for path in problem.touches
    ]
    return {"where": problem.where, "what": problem.what, "advice": problem.advice, "touches": touches}


def _record(report: Report, problems: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "clean": not problems,
        "packs": report.packs,
        "objects": report.objects,
        "bytes": report.size,
        "heads": report.heads,
        "problems": problems,
    }


def _healed_record(
    healed: Healed, failed: Mapping[str, str], problems: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "level": "content",
        **_record(healed.report, problems),
        "healed": {
            "saved": healed.saved,
            "fetched": dict(healed.fetched),
            "heads": [
                dict(zip(("kind", "project", "name"), h.commit.path, strict=False)) for h in healed.heads
            ],
            "aside": list(healed.aside),
            "dropped": list(healed.dropped),
            "failed": dict(failed),
        },
    }


def _print_problems(screen: render.Screen, problems: list[dict[str, Any]]) -> None:
    for problem in problems[:_SHOWN_MOST]:
        screen.line(("damaged", "red"), f"  {escape(problem['where'])}: {escape(problem['what'])}")
        for touch in problem["touches"]:
            named = " / ".join(touch[part] for part in ("kind", "project", "name") if touch[part])
            artifacts = f": {', '.join(touch['artifacts'])}" if touch["artifacts"] else ""
            screen.line(f"         in {escape(named + artifacts)}")
    if len(problems) > _SHOWN_MOST:
        screen.line(f"         and {len(problems) - _SHOWN_MOST} more: --json lists them all")
    for advice in dict.fromkeys(problem["advice"] for problem in problems if problem["advice"]):
        render.say(advice)


def _print_healed(screen: render.Screen, healed: Healed) -> None:
    if healed.saved:
        screen.line(f"saved    {plural(healed.saved, 'object')} out of damaged files")
    for name, count in healed.fetched.items():
        screen.line(f"fetched  {plural(count, 'object')} from {escape(name)}")
    for head in healed.heads:
        screen.line(f"restored {escape(' / '.join(head.commit.path))}")
    if healed.dropped:
        screen.line(f"dropped  {plural(len(healed.dropped), 'damaged object')} that nothing refers to")
    if healed.aside:
        screen.line(
            f"aside    {plural(len(healed.aside), 'damaged file')}, kept in trash/ until gc empties it"
        )


def _print_sum(screen: render.Screen, report: Report, problems: list[dict[str, Any]]) -> None:
    checked = (
        f"{plural(report.packs, 'pack')}, {plural(report.objects, 'object')}, {size(report.size)}, "
        f"{plural(report.heads, 'head')} checked"
    )
    if problems:
        screen.line((plural(len(problems), "problem"), "red"), f": {checked}")
    else:
        screen.line(("clean", "green"), f": {checked}")
