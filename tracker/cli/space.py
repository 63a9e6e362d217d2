"""`tracker gc` and `tracker du`: room freed, and what takes it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from tracker import layout
from tracker.cli import render
from tracker.cli.command import Call, Command, warn_damaged
from tracker.cli.removal import ask
from tracker.cli.render import Cell, Column, escape, plural, size

if TYPE_CHECKING:
    from objstore.gc import Amount, GcReport
    from objstore.graph import Node
    from objstore.store import Store
    from objstore.usage import Share, Usage
    from tracker.reader import Thing
    from tracker.workspace import Workspace

_INTEGRITY = 4
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_SAFE = 86_400  # seconds of grace below which a deletion is asked about: what is running may not have its head yet

# (project, task id, artifact), as far as the table goes; a thing that no task made stands under its own id
Place = tuple[str, str, str]


class _Span(click.ParamType[float]):
    """A time span, as `14d`, in seconds."""

    name = "span"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        match = re.fullmatch(r"(\d{1,6})([smhdw])", value)
        if match is None:
            self.fail(f"{value!r} is no time span: a number and one of s, m, h, d, w, as in 14d", param, ctx)
        return float(int(match[1]) * _UNITS[match[2]])


@click.command(
    "gc",
    cls=Command,
    examples=[
        ("gc --dry-run", "what would go, and how many bytes"),
        ("gc --grace 0s --yes", "twice: what was deleted just now is gone"),
        ("gc --now", "the disk is full: delete without the trash"),
    ],
)
@click.option("--dry-run", is_flag=True, help="Say what would go; write nothing.")
@click.option(
    "--grace",
    type=_Span(),
    metavar="SPAN",
    help="How long what nothing needs is kept, and again in the trash. Default: 14d; with --now 1h, and no trash.",
)
@click.option("--now", is_flag=True, help="Delete without waiting in the trash. Works on a full disk.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def gc(call: Call, dry_run: bool, grace: float | None, now: bool, yes: bool) -> int:
    """Free the room of what nothing needs any more.

    What no task, model or running process needs, and is older than the grace, goes to the trash; after the grace a
    later run deletes it. If something needed is missing, or cannot be followed, nothing is changed: exit code 4.
    """
    from objstore.layout import GRACE, GRACE_NOW
    from tracker import roots

    workspace = call.open_as_it_is()
    span = (GRACE_NOW if now else GRACE) if grace is None else grace
    store = workspace.store

    def collect(*, dry: bool) -> GcReport:
        with call.progress("looking for what nothing needs" if dry else "collecting what nothing needs"):
            return store.gc(lambda: roots.of_journals(store), grace=span, now=now, dry_run=dry)

    if not dry_run and not yes and (now or span < _SAFE):
        foreseen = collect(dry=True)
        changes = foreseen.deleted + foreseen.aside + foreseen.rewritten
        question = f"Delete {_amount(foreseen.deleted)} for good, and set {_amount(foreseen.aside)} aside?"
        if changes.files and not foreseen.refused and not ask(question, yes=False):
            return 1
    report = collect(dry=dry_run)
    if not (dry_run or report.refused):
        workspace.tidy(None)
    if call.json:
        call.screen.document("gc", {"dry_run": dry_run, **_record(report)})
    else:
        _print(call.screen, report, dry_run=dry_run)
        if not report.refused and not dry_run:
            _say_what_waits(report, _young(store, report), span)
            _name_hidden(workspace)  # to read states may write an index
    for problem in report.problems:
        render.say(f"tracker: {problem}")
    return _INTEGRITY if report.refused else 1 if report.problems else 0


def _record(report: GcReport) -> dict[str, Any]:
    names = ("kept", "aside", "rewritten", "put_back", "deleted", "waiting", "swept")
    amounts: dict[str, Amount] = {name: getattr(report, name) for name in names}
    return {
        **{name: {"files": amount.files, "bytes": amount.size} for name, amount in amounts.items()},
        "refused": report.refused or None,
        "problems": list(report.problems),
    }


def _print(screen: render.Screen, report: GcReport, *, dry_run: bool) -> None:
    if report.refused:
        screen.line(("nothing was touched", "red"), f": {escape(report.refused)}")
        return
    verbs = [
        (report.deleted, "would delete" if dry_run else "deleted", ""),
        (report.aside, "would set aside" if dry_run else "set aside", ""),
        (report.rewritten, "would rewrite" if dry_run else "rewrote", " dead"),
        (report.put_back, "would put back" if dry_run else "put back", ", which something needs"),
        (report.swept, "swept", " of leftovers"),
    ]
    parts = [f"{verb} {_amount(amount)}{more}" for amount, verb, more in verbs if amount.files]
    rest = [f"{_amount(report.kept)} kept"]
    if report.waiting.files:
        rest.append(f"{_amount(report.waiting)} in the trash")
    screen.line("; ".join([*(parts or ["nothing to do"]), ", ".join(rest)]))


def _amount(amount: Amount) -> str:
    return f"{plural(amount.files, 'file')}, {size(amount.size)}" if amount.files else "nothing"


def _young(store: Store, report: GcReport) -> Amount | None:
    """What nothing needs, and only the grace keeps. That takes another look at all: only where nothing was done."""
    from tracker import roots

    if report.aside.files or report.rewritten.files or report.deleted.files or report.put_back.files:
        return None
    foreseen = store.gc(lambda: roots.of_journals(store), grace=0, dry_run=True)
    return foreseen.aside + foreseen.rewritten


def _say_what_waits(report: GcReport, young: Amount | None, span: float) -> None:
    """What a run has left, since its time has not come, and how to have it gone at once."""
    if young is not None and young.files and span:
        render.say(
            f"{size(young.size)} that nothing needs {'is' if young.files == 1 else 'are'} younger than the grace: "
            "`tracker gc --grace 0s`, run twice, frees that at once"
        )
    elif report.waiting.files:
        render.say(
            f"{size(report.waiting.size)} in the trash is deleted after the grace: the next `tracker gc --grace 0s` "
            "does it at once"
        )


def _name_hidden(workspace: Workspace) -> None:
    from tracker import removal

    found = {thing.key: thing for thing in removal.unconfirmed(workspace)}
    kinds = (layout.TASK, layout.MODEL)
    hidden = [  # a model goes with its task
        thing
        for thing in found.values()
        if thing.state.kind in kinds and str(thing.state.get("task", "")) not in found
    ]
    for thing in hidden[:3]:
        render.say(
            f"{thing.state.kind} {thing.key} was deleted elsewhere and keeps its room here: "
            f"`tracker rm {thing.key[:12]}` frees it"
        )
    if len(hidden) > 3:
        render.say(f"… and {len(hidden) - 3} more: `tracker du --by task --json` names them")


# --- du --------------------------------------------------------------------------------------------------------------


@click.command(
    "du",
    cls=Command,
    examples=[("du", "by project"), ("du --by artifact --limit 10", "the ten largest artifacts")],
)
@click.option(
    "--by", type=click.Choice(["project", "task", "artifact"]), default="project", help="What a row is."
)
@click.option("--limit", type=click.IntRange(min=0), metavar="N", help="Show the first N rows only.")
def du(call: Call, by: str, limit: int | None) -> None:
    """Show what takes how much room, as stored: what goes with a row (unique), and what others need, too (shared).

    By project and task: all that their tasks and the tasks' models need, history and all. By artifact: the artifacts
    and models as they stand now.
    """
    from objstore.usage import measure
    from tracker import roots

    workspace = call.open_as_it_is()
    things = workspace.things()
    groups = _artifacts(things) if by == "artifact" else _tasks(things, by_project=by == "project")
    everything = roots.of_heads(workspace.store, (head for thing in things.values() for head in thing.heads))
    named, lost = roots.readable(workspace.store)
    everything += named
    with call.progress("measuring"):
        usage = measure(workspace.root, groups, roots=everything)
    rows = sorted(usage.shares.items(), key=lambda item: (-item[1].unique, -item[1].size, item[0]))
    shown = rows if limit is None else rows[:limit]
    if call.json:
        call.screen.document("du", _usage_record(usage, shown, things))
    else:
        _print_usage(call.screen, usage, shown, by, things)
    cut = {layout.live_path(source.key, source.writer): what for source, what in lost.items()}
    warn_damaged(workspace, {**usage.damaged, **cut})


def _tasks(things: dict[str, Thing], *, by_project: bool) -> dict[Place, list[Node]]:
    """By project or task what it needs: its heads, those of the models that it made, and what it is about to name."""
    from objstore.ids import Kind
    from tracker import roots

    groups: dict[Place, list[Node]] = {}
    for thing in things.values():
        if thing.state.get("deleted"):
            continue
        maker = things.get(str(thing.state.get("task", "")), thing)
        owner = thing if maker.state.get("deleted") else maker
        project = str(owner.state.get("project", ""))
        place = (project, "", "") if by_project else (project, owner.key, "")
        texts = [text for text in thing.state.references() if text.split(":")[1] not in thing.content]
        below = [roots.of_ref(text) for text in texts] if thing.alive or not thing.heads else []
        groups.setdefault(place, []).extend([*((Kind.COMMIT, head.id) for head in thing.heads), *below])
    return groups


def _artifacts(things: dict[str, Thing]) -> dict[Place, list[Node]]:
    from tracker import roots

    groups: dict[Place, list[Node]] = {}
    for thing in things.values():
        if thing.state.get("deleted"):
            continue
        project = str(thing.state.get("project", ""))
        values = thing.state.section("artifact")
        if thing.state.kind == layout.MODEL:
            values = {str(thing.state.get("name", "")): thing.state.get("weights")}
        for name, value in values.items():
            text = value.get("$ref") if isinstance(value, dict) else None
            if isinstance(text, str) and text.split(":")[1] not in thing.content:
                groups[project, thing.key, name] = [roots.of_ref(text)]
    return groups


def _usage_record(
    usage: Usage[Place], rows: list[tuple[Place, Share]], things: dict[str, Thing]
) -> dict[str, Any]:
    return {
        "rows": [
            {
                "project": project,
                "id": key or None,
                "kind": things[key].state.kind if key else None,
                "name": str(things[key].state.get("name", "")) if key else None,
                "artifact": artifact or None,
                "bytes": share.size,
                "unique": share.unique,
                "shared": share.shared,
                "objects": share.objects,
            }
            for (project, key, artifact), share in rows
        ],
        "total": len(usage.shares),
        "packs": usage.packs,
        "bytes": usage.size,
        "dead": usage.dead,
        "trash": usage.trash,
        "absent": usage.absent,
    }


def _print_usage(
    screen: render.Screen,
    usage: Usage[Place],
    rows: list[tuple[Place, Share]],
    by: str,
    things: dict[str, Thing],
) -> None:
    columns = [Column("unique", right=True), Column("shared", right=True, style="dim")]
    columns += [Column("id", style="dim"), Column("name", least=16)] if by != "project" else []
    columns += [Column("artifact", least=12)] if by == "artifact" else []
    columns.append(Column("project", least=12))
    cells: list[list[Cell]] = []
    for (project, key, artifact), share in rows:
        line: list[Cell] = [size(share.unique), size(share.shared)]
        if by != "project":
            line += [key[:12] if screen.people else key, str(things[key].state.get("name", ""))]
        if by == "artifact":
            line.append(artifact)
        cells.append([*line, project])
    if cells:
        screen.table(columns, cells)
    more = [f"{size(usage.dead)} that nothing needs"] if usage.dead else []
    more += [f"{size(usage.trash)} in the trash"] if usage.trash else []
    screen.line(", ".join([f"{plural(usage.packs, 'pack')}, {size(usage.size)}", *more]))
