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
from tracker.cli.transfer import tell_held
from tracker.errors import TrackerError

if TYPE_CHECKING:
    from objstore.fsck import Problem, Report
    from objstore.heal import Healed, Origin
    from objstore.ids import Kind, ObjectId
    from tracker.workspace import Workspace

_INTEGRITY = 4
_LEVELS = ("index", "checksums", "content", "reachable")
_SHOWN_MOST = 50  # lines of each sort that are printed; --json has them all
_NAMES = ("project", "name")

Touch = dict[str, Any]  # id, kind, project, name, artifacts


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
    with call.progress("checking:") as progress:
        report = workspace.store.fsck(level or "content", roots=_roots(workspace), progress=_Stages(progress))
    problems = _told(workspace, report)
    if call.json:
        call.screen.document("fsck", {"level": level or "content", **_record(report, problems)})
    else:
        _print_problems(call.screen, problems)
        _print_notes(call.screen, report)
        _print_sum(call.screen, report, problems)
    tell_held(workspace)
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
    with call.progress("healing:") as progress:
        healed = workspace.store.heal(
            sources, unite=bool(origins), roots=_roots(workspace), progress=_Stages(progress)
        )
    failed = {**failed, **healed.failed}
    problems = _told(workspace, healed.report)
    if call.json:
        call.screen.document("fsck", _healed_record(healed, failed, problems))
    else:
        _print_problems(call.screen, problems)
        _print_healed(call.screen, healed, elsewhere=bool(origins))
        _print_notes(call.screen, healed.report)
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
    touched = {key for problem in report.problems for key in problem.keys}
    workspace.store.objects.refresh()
    things = workspace.things()
    heads = workspace.store.heads
    live = heads.sound(head for few in heads.live().values() for head in few)
    known = {head.key: head.commit.path for head in live}
    paths = {key: (t.state.kind, *(str(t.state.get(n, "")) for n in _NAMES)) for key, t in things.items()}
    users: dict[str, list[tuple[str, str]]] = {}
    for key, thing in things.items() if report.problems else ():
        for object_id, name in _references(thing.state.keys):
            users.setdefault(object_id, []).append((key, name))
    told = [_problem(problem, users, {**paths, **known}) for problem in report.problems]
    for key, what in workspace.damaged.items():
        if key in known and key not in touched:
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


def _problem(
    problem: Problem,
    users: Mapping[str, Sequence[tuple[str, str]]],
    paths: Mapping[str, tuple[str, ...]],
) -> dict[str, Any]:
    """A problem with the things that it touches: those whose heads reach it, and those that only journals know."""
    artifacts: dict[str, set[str]] = {key: set() for key in problem.keys}
    for object_id in problem.through:
        for key, name in users.get(str(object_id), ()):
            artifacts.setdefault(key, set()).add(name)
    named = {**paths, **dict(zip(problem.keys, problem.touches, strict=True))}
    touches = [
        {"id": key, **_path(named.get(key, ())), "artifacts": sorted(names)}
        for key, names in artifacts.items()
    ]
    touches.sort(key=_by_name)
    return {
        "where": problem.where,
        "what": render.pasteable(problem.what),
        "advice": render.pasteable(problem.advice),
        "touches": touches,
    }


def _path(path: Sequence[str]) -> dict[str, str]:
    return dict(zip(("kind", *_NAMES), (*path, "", "", ""), strict=False))


def _by_name(touch: Touch) -> tuple[str, ...]:
    return tuple(touch[part] for part in ("kind", *_NAMES, "id"))


def _record(report: Report, problems: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "clean": not problems,
        "packs": report.packs,
        "objects": report.objects,
        "bytes": report.size,
        "heads": report.heads,
        "problems": problems,
        "notes": [_problem(note, {}, {}) for note in report.notes],
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
                {"id": h.key, **_path(h.commit.path), "deleted": h.commit.deleted} for h in healed.heads
            ],
            "aside": list(healed.aside),
            "dropped": list(healed.dropped),
            "failed": dict(failed),
        },
    }


def _print_problems(screen: render.Screen, problems: list[dict[str, Any]]) -> None:
    """First what is lost of which task, then where the damage is, then what to do."""
    touched: dict[str, Touch] = {}
    for touch in (touch for problem in problems for touch in problem["touches"]):
        known = touched.setdefault(touch["id"], {**touch, "artifacts": []})
        known["artifacts"] = sorted({*known["artifacts"], *touch["artifacts"]})
    if touched:
        screen.line(("lost or damaged, in whole or in part:", "red"))
        _print_touched(screen, list(touched.values()))
    groups = _grouped(problems)
    for where, more, what in groups[:_SHOWN_MOST]:
        others = f" and {plural(more, 'other object')}" if more else ""
        screen.line(("damaged", "red"), f"  {escape(where)}{others}: {escape(what)}")
    _print_rest(screen, len(groups))
    for advice in dict.fromkeys(problem["advice"] for problem in problems if problem["advice"]):
        render.say(advice)


def _grouped(problems: list[dict[str, Any]]) -> list[tuple[str, int, str]]:
    """(where, how many more, what): objects of the same things of which the same is wrong are one."""
    groups: dict[Any, list[str]] = {}
    for number, problem in enumerate(problems):
        touches = tuple((touch["id"], *touch["artifacts"]) for touch in problem["touches"])
        groups.setdefault((problem["what"], touches or number), []).append(problem["where"])
    return [(places[0], len(places) - 1, what) for (what, _), places in groups.items()]


def _print_touched(screen: render.Screen, touched: list[Touch]) -> None:
    from tracker.index import short_length

    length = short_length(touch["id"] for touch in touched)
    for touch in sorted(touched, key=_by_name)[:_SHOWN_MOST]:
        named = " / ".join(touch[part] for part in _NAMES if touch[part])
        artifacts = f": {', '.join(touch['artifacts'])}" if touch["artifacts"] else ""
        text = f"{touch['kind']} {touch['id'][:length]}  {named}{artifacts}"
        screen.line(f"         {escape(text.strip())}")
    _print_rest(screen, len(touched))


def _print_rest(screen: render.Screen, count: int) -> None:
    if count > _SHOWN_MOST:
        screen.line(f"         and {count - _SHOWN_MOST} more: --json lists them all")


def _print_notes(screen: render.Screen, report: Report) -> None:
    """Commits without a head, which take nothing from what is checked."""
    if not report.notes:
        return
    count = len(report.notes)
    lack = "commit is in a pack" if count == 1 else "commits are in packs"
    makes = "makes it a head" if count == 1 else "makes them heads"
    screen.line(
        ("note", "yellow"),
        f"     {count} {lack} without a head: interrupted work, or lost head files; `tracker fsck --heal` {makes}",
    )
    notes = [_problem(note, {}, {}) for note in report.notes]
    _print_touched(screen, [touch for note in notes for touch in note["touches"]])


def _print_healed(screen: render.Screen, healed: Healed, *, elsewhere: bool) -> None:
    if healed.saved:
        screen.line(f"saved    {plural(healed.saved, 'object')} out of damaged files")
    for name, count in healed.fetched.items():
        screen.line(f"fetched  {plural(count, 'object')} from {escape(name)}")
    for head in healed.heads:
        again = (
            "restored" if not head.commit.deleted else "deleted there:" if elsewhere else "deleted before:"
        )
        screen.line(f"{again} {escape(' / '.join(head.commit.path))}")
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
