"""`tracker purge`: content that should never have been recorded, removed for good, here and on remotes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from objstore.errors import NotFound
from tracker.cli import render
from tracker.cli.command import Call, Command
from tracker.cli.removal import ask
from tracker.cli.render import plural, size
from tracker.purged import day

if TYPE_CHECKING:
    from collections.abc import Sequence

    from objstore.gc import Erased
    from tracker.purge import Plan
    from tracker.workspace import Workspace


@dataclass(frozen=True, slots=True)
class _Place:
    """A store, what it is called (empty: this one), and what is to go there; None where it does not have it."""

    name: str
    workspace: Workspace
    plan: Plan | None


@click.command(
    "purge",
    cls=Command,
    examples=[
        ("purge 8c1fa2b49d77 --dry-run", "what would go, and what refers to it"),
        ("purge 8c1fa2b49d77", "here: say what would go, and ask"),
        ("purge 8c1fa2b49d77 --all-remotes --yes", "here and on every remote, without asking"),
    ],
)
@click.argument("hash_", metavar="HASH")
@click.option(
    "--remote", "names", multiple=True, metavar="NAME", help="On this remote, too. May be given again."
)
@click.option("--all-remotes", is_flag=True, help="On all remotes, too.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def purge(call: Call, hash_: str, names: tuple[str, ...], all_remotes: bool, dry_run: bool, yes: bool) -> int:
    """Remove content for good that should never have been recorded: a secret in an artifact, a plot, the console.

    It goes from the history of every task and model that refers to it, from packs, trash and caches; the states that
    had it say since when it is gone, and get new commit ids. What else they hold stays. `tracker show ID` has the
    hashes. Nothing brings it back. Change the secret all the same: who has copied the store has it.
    """
    from tracker import purging

    workspace = call.open()
    places = _places(workspace, hash_, purging.chosen(workspace, names, all_remotes=all_remotes))
    told = [_told(place) for place in places]
    if call.json and dry_run:
        call.screen.document("purge", {"hash": _hash(places), "dry_run": True, "stores": told})
        return 0
    if not call.json:
        _tell_plan(places)
    if dry_run:
        return 0
    if not any(place.plan and (place.plan.held or place.plan.note is None) for place in places):
        return _tell_done(call, places, told, [])
    if not ask(f"Purge {_hash(places)} for good?", yes=yes):
        return 1
    done = [
        purging.purge(place.workspace, place.plan, workspace, place.name) for place in places if place.plan
    ]
    return _tell_done(call, places, told, done)


def _places(workspace: Workspace, hash_: str, others: Sequence[tuple[str, Workspace]]) -> list[_Place]:
    """All stores that are to lose it, each opened and looked at before any is touched. Raises NotFound."""
    from tracker import purge as purges

    found = []
    missing: NotFound | None = None
    for name, each in [("", workspace), *others]:
        try:
            plan = purges.foresee(each, hash_)
        except NotFound as error:
            missing = missing or error
            found.append(_Place(name, each, None))
        else:
            found.append(_Place(name, each, plan))
            hash_ = plan.id  # an abbreviation means the same everywhere
    if missing and not any(place.plan for place in found):
        raise missing
    return found


def _hash(places: Sequence[_Place]) -> str:
    return next(place.plan.id for place in places if place.plan)


def _told(place: _Place) -> dict[str, Any]:
    """A store as documents have it."""
    plan = place.plan
    return {
        "remote": place.name or None,
        "held": bool(plan and plan.held),
        "size": plan.size if plan else 0,
        "users": [
            {"id": user.key, "kind": user.kind, "name": user.name, "places": list(user.places)}
            for user in (plan.users if plan else ())
        ],
        "urls": list(plan.urls) if plan else [],
    }


def _tell_plan(places: Sequence[_Place]) -> None:
    for place in places:
        where = f"on {place.name}" if place.name else "here"
        plan = place.plan
        if plan is None or not plan.held:
            before = f": it was purged on {day(plan.note.time)}" if plan and plan.note else ""
            render.say(f"{_hash(places)} is not {where}{before}")
            continue
        render.say(f"{plan.kind.name.lower()} {plan.id}, {size(plan.size)}, {where}, is referred to by")
        for user in plan.users:
            render.say(f"  {user.kind} {user.key}  {user.name}  ({', '.join(user.places)})")
        if not plan.users:
            render.say("  nothing")
        for url in plan.urls:
            render.say(f"  a copy lies at {url}: remove that yourself")


def _tell_done(
    call: Call, places: Sequence[_Place], told: list[dict[str, Any]], done: Sequence[Erased]
) -> int:
    found = [place for place in places if place.plan]
    if call.json:
        record = {
            "hash": _hash(places),
            "dry_run": False,
            "stores": told,
            "files": sum(each.deleted.files for each in done),
            "bytes": sum(each.deleted.size for each in done),
        }
        call.screen.document("purge", record)
        return 0
    for place, each in zip(found, done, strict=False):
        where = f"on {place.name}" if place.name else "here"
        render.say(
            f"purged {where}: {plural(each.deleted.files, 'file')} deleted, {size(each.deleted.size)}, "
            f"{plural(each.written.files, 'pack')} written anew"
        )
        if each.unfinished:
            render.say(
                f"tracker: warning: {plural(each.unfinished, 'unfinished file')} of other processes stay {where} in "
                "tmp/: purge again in an hour, should they be leftovers"
            )
    if done and len(places) == 1 and _has_remotes(places[0].workspace):
        render.say("remotes were not touched: `tracker purge HASH --all-remotes` purges it there, too")
    return 0


def _has_remotes(workspace: Workspace) -> bool:
    from tracker import remotes

    return bool(remotes.configured(workspace.root))
