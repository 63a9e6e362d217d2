"""One collection: rounds of a look at everything, of a plan that follows from it, and of what is done about it."""

from __future__ import annotations

import errno
import math
import os
import secrets
import shutil
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np

from objstore import layout, trash
from objstore.columns import Column
from objstore.disclaim import Claims, disclaim, footer_of
from objstore.errors import ReadOnly, StoreError
from objstore.gc.needed import Missing, Refused, check_format, check_sound, few, guarded, living_heads, reach
from objstore.gc.report import Amount, GcReport
from objstore.gc.rescue import bring_back, packs_to_rescue
from objstore.graph import Node
from objstore.heads import Head
from objstore.ids import Kind
from objstore.inventory import Changed, Holding, Inventory, Links, PackFile, pack_files
from objstore.lastcopy import last_copies
from objstore.leftovers import Item, clock, in_trash, remove_empty, remove_old, sweep
from objstore.rewrite import rewrite

Roots = Callable[[], Iterable[Node]]

_TRIES: Final = 10  # rounds that begin anew because other processes moved packs meanwhile
_PATIENCE: Final = 2.0  # seconds in which a writer whose head is there ends what it has begun
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)


def collect(
    root: Path,
    *,
    roots: Roots = tuple,
    grace: float = layout.GRACE,
    now: bool = False,
    dry_run: bool = False,
) -> GcReport:
    """Set aside what neither living heads nor `roots` reach, and delete what was set aside before the grace.

    roots: asked once a round for more objects that are needed; what it raises is passed on, and nothing was touched.
    grace: seconds for which what nothing names is kept, with all that it names; and again in the trash. now: delete
    without waiting in the trash, on a disk where not one byte can be written. Raises ReadOnly, OSError.
    """
    if not dry_run and not os.access(root, os.W_OK):
        raise ReadOnly(f"{root} cannot be written by this user: nothing was collected")
    damage: dict[str, None] = {}
    wish = _Wish(root, roots, grace, 0 if now else grace, now, dry_run, damage)
    try:
        check_format(root)
        report = _settled(wish if not now or dry_run else replace(wish, rewrites=False))
        if now and not dry_run:
            # What was set aside may have come to be needed since the roots were read: a second look tells. By then
            # there is room to rewrite what is dead in part.
            report = _joined(report, _settled(wish))
            if report.waiting.files or report.problems:
                report = _joined(report, _settled(wish))
    except Refused as refusal:
        return GcReport(refused=str(refusal))
    return replace(report, problems=(*damage, *report.problems))


@dataclass(frozen=True, slots=True)
class _Wish:
    """What was asked for. trash_grace: seconds; rewrites: whether packs that are dead in part are written anew.

    damage: takes what was found damaged on the way, in any round, as texts.
    """

    root: Path
    roots: Roots
    grace: float
    trash_grace: float
    now: bool
    dry_run: bool
    damage: dict[str, None]
    rewrites: bool = True


def _settled(wish: _Wish) -> GcReport:
    """One round; begun anew where other processes moved packs while it looked, before it had changed anything."""
    missing, since = "", 0.0
    for attempt in range(_TRIES):
        try:
            return _Round(wish).run()
        except Changed:
            continue
        except Missing as error:
            # A head may come just now, and its writer put again what a collector took, or take its head back: lost is
            # what stays so for longer than that takes.
            if str(error) != missing:
                missing, since = str(error), time.monotonic()
            elif time.monotonic() - since >= _PATIENCE:
                raise
            time.sleep(0.01 * 2**attempt)
    raise Refused("other processes moved packs again and again: run it later")


def _joined(first: GcReport, then: GcReport) -> GcReport:
    return GcReport(
        kept=then.kept,
        aside=then.waiting,  # of what the first set aside, the second has deleted all that it still could
        rewritten=first.rewritten + then.rewritten,
        put_back=first.put_back + then.put_back,
        deleted=first.deleted + then.deleted,
        waiting=then.waiting,
        swept=first.swept + then.swept,
        problems=then.problems,
    )


@dataclass(slots=True)
class _Plan:
    """What a round is to do. rescued: packs in the trash that are needed; in_part: those that are dead in part."""

    inventory: Inventory
    needed: Column
    heads: list[Head]
    claims: Claims
    roots: frozenset[Node]
    kept: list[PackFile] = field(default_factory=list)
    aside: list[PackFile] = field(default_factory=list)
    in_part: list[Holding] = field(default_factory=list)
    rescued: list[PackFile] = field(default_factory=list)


class _Round:
    """One look at everything, and what follows from it."""

    def __init__(self, wish: _Wish) -> None:
        self._wish = wish
        self._root = wish.root
        self._problems: list[str] = []
        self._kept: list[int] = []
        self._aside: list[int] = []
        self._rewritten: list[int] = []

    def run(self) -> GcReport:
        self._clock = clock(self._root, dry_run=self._wish.dry_run)
        # Before the roots are read. What comes later, or is put back meanwhile, is no concern of this round.
        files = guarded(pack_files, self._root)
        self._listed = {file.name: file.changed for file in files}
        lying = guarded(in_trash, self._root)
        plan = self._plan()
        stay = self._last_copies(plan, {file.name: file for file in files}, filter(self._is_over, lying))
        rescued = {file.name for file in plan.rescued}
        left = [item for item in lying if item.name not in rescued]
        old = [item for item in left if self._is_over(item) and item.name not in stay]
        waiting = [item.size for item in left if not self._is_over(item) or item.name in stay]
        self._kept += [file.size for file in plan.kept]
        if self._wish.dry_run:
            return self._foreseen(plan, old, waiting)
        put_back = [bring_back(self._root, file) for file in plan.rescued]  # first, and durably
        claimed = plan.claims.packs()
        # What nobody claims first: that may make the room for a table.
        deleted = [i.size for i in old if _pack_id(i.name) not in claimed and self._delete(i)]
        held = self._disclaim(plan, claimed)
        for item in (i for i in old if _pack_id(i.name) in claimed):
            if _pack_id(item.name) in held:
                waiting.append(item.size)
            elif self._delete(item):
                deleted.append(item.size)
        swept = sweep(self._root, self._clock, layout.GRACE_NOW if self._wish.now else layout.STALE)
        remove_empty(self._root, math.inf if self._wish.now else self._clock - layout.GRACE_NOW)
        for file in plan.aside:
            if file.id in held:
                self._kept.append(file.size)
            else:
                self._set_aside(file)
        for holding in plan.in_part:
            if holding.file.id not in claimed:
                self._finish(plan, holding, self._rewrite(plan, holding))
        put_back += self._look_again(plan.roots) if self._aside else []
        self._forget({str(head.id) for head in plan.heads})
        return GcReport(
            kept=Amount.of([*self._kept, *put_back]),
            aside=Amount.of(self._aside),
            rewritten=Amount.of(self._rewritten),
            put_back=Amount.of(put_back),
            deleted=Amount.of(deleted),
            waiting=Amount.of([*waiting, *self._aside]),
            swept=Amount.of(swept),
            problems=tuple(self._problems),
        )

    def _is_over(self, item: Item) -> bool:
        return max(0.0, self._clock - item.since) >= self._wish.trash_grace

    def _last_copies(self, plan: _Plan, files: dict[str, PackFile], old: Iterable[Item]) -> set[str]:
        """Rescue what holds the only sound copy of what is needed; returns the names of what cannot be judged.

        Only footers and records were read so far: of content, a footer's word is taken until the last copy goes.
        """
        rescued = {file.name for file in plan.rescued}
        doomed = [files[item.name] for item in old if item.name in files and item.name not in rescued]
        back = {file.id for file in plan.rescued}
        staying = [h for h in plan.inventory.holdings if h.file.epoch is None or h.file.id in back]
        found = last_copies(plan.inventory, plan.needed, staying, doomed)
        stay = set()
        there = {holding.file.id for holding in plan.inventory.packs()}
        for file, ids in found.sound:
            what = f"{file.name} holds the only sound copy of {few([str(i) for i in ids])}"
            if file.id in there:  # damaged itself: who repairs it knows to leave of it what is sound
                stay.add(file.name)
            else:
                plan.rescued.append(file)
                what += ", and was put back"
            self._wish.damage[f"{what}: run fsck --heal"] = None
        for file, ids in found.damaged:
            stay.add(file.name)
            text = f"{file.name} and every other copy of {few([str(i) for i in ids])} are damaged: run fsck --heal"
            self._wish.damage[text] = None
        return stay - {file.name for file in plan.rescued}

    def _look_again(self, before: frozenset[Node]) -> list[int]:
        """Put back what is needed by roots that came since they were read; the bytes of each pack.

        A writer looks for its packs once its head is there. One that looked before they went relies on this: whoever
        comes last, writer or collector, sees what the other has done.
        """
        for _ in range(_TRIES):
            with suppress(Changed):
                heads, _ = guarded(living_heads, self._root)
                now = frozenset([*((Kind.COMMIT, head.id) for head in heads), *self._wish.roots()])
                return (
                    [] if now <= before else [bring_back(self._root, file) for file in self._plan().rescued]
                )
        raise Changed("other processes moved packs again and again")

    def _foreseen(self, plan: _Plan, old: list[Item], waiting: list[int]) -> GcReport:
        aside = [file.size for file in plan.aside]
        put_back = [file.size for file in plan.rescued]
        dead = [plan.inventory.dead(holding, plan.needed) for holding in plan.in_part]
        kept = [holding.file.size - size for holding, size in zip(plan.in_part, dead, strict=True)]
        deleted = [item.size for item in old]
        return GcReport(
            kept=Amount.of([*self._kept, *put_back, *kept]),
            aside=Amount.of(aside),
            rewritten=Amount.of(dead),
            put_back=Amount.of(put_back),
            deleted=Amount.of([*deleted, *aside] if self._wish.now else deleted),
            waiting=Amount() if self._wish.now else Amount.of([*waiting, *aside]),
            problems=tuple(self._problems),
        )

    # --- marking ---------------------------------------------------------------------------------------------------

    def _plan(self) -> _Plan:
        more = list(self._wish.roots())
        heads, tables = guarded(living_heads, self._root)
        confirmed = guarded(trash.confirmed, self._root)
        inventory = guarded(lambda root: Inventory.load(root, with_trash=True), self._root)
        for name, what in inventory.damaged.items():
            raise Refused(f"{name} cannot be read: {what}: run fsck --heal")
        links = guarded(lambda _: Links(inventory), self._root)
        if links.commits and not heads:
            raise Missing(
                "packs hold commits, but there is no head at all: were refs/ and refs.packed/ lost?"
            )
        strict = [*((Kind.COMMIT, head.id) for head in heads), *more]
        needed = reach(inventory, links, strict, heads)
        needed = links.reach(self._spared(inventory, heads, confirmed), needed)
        if (needed & ~inventory.has([*inventory.packs(), *inventory.aside()])).any():
            raise Changed("a pack that is needed was moved or deleted since it was listed")
        check_sound(inventory, links, needed)
        rescued = packs_to_rescue(inventory, needed)
        plan = _Plan(inventory, needed, heads, Claims.of(tables), frozenset(strict), rescued=rescued)
        for holding in inventory.packs():
            self._judge(plan, holding)
        return plan

    def _spared(self, inventory: Inventory, heads: list[Head], confirmed: Collection[str]) -> Column:
        """What is kept with all that it names, where that is there: what is young, and what was deleted elsewhere."""
        ids = []
        for head in heads:
            if head.commit.deleted and str(head.id) not in confirmed:
                ids += [head.commit.state, *head.commit.parents]
        found = inventory.find(ids)
        young = [inventory.of(holding) for holding in inventory.packs() if self._is_young(holding.file)]
        return np.concatenate([found[found >= 0], *young])

    def _is_young(self, file: PackFile) -> bool:
        # By the later of both: a copier may bring an old mtime along, and a touch or a rename makes it young again.
        return max(0.0, self._clock - file.changed) < self._wish.grace

    def _judge(self, plan: _Plan, holding: Holding) -> None:
        file = holding.file
        alive = plan.needed[plan.inventory.of(holding)]
        if (
            self._listed.get(file.name) != file.changed
            or self._is_young(file)
            or (len(alive) and alive.all())
        ):
            plan.kept.append(file)
        elif not alive.any():
            plan.aside.append(file)
        elif self._wish.rewrites and plan.inventory.dead(holding, plan.needed) >= self._worth(file):
            plan.in_part.append(holding)
        else:
            plan.kept.append(file)

    def _worth(self, file: PackFile) -> float:
        """The dead bytes for which a pack is written anew."""
        return 1 if self._wish.now or not self._wish.grace else layout.DEAD_SHARE * file.size

    # --- sweeping --------------------------------------------------------------------------------------------------

    def _delete(self, item: Item) -> bool:
        """Delete for good; whether it was still there. A journal goes in one step: its writer may move it back."""
        path = self._root / item.name
        try:
            if not item.is_folder:
                path.unlink()
                return True
            gone = self._root / layout.TMP / secrets.token_hex(16)
            os.rename(path, gone)
            shutil.rmtree(gone, ignore_errors=True)
        except FileNotFoundError:
            return False
        except OSError as error:
            self._problems.append(f"{item.name} cannot be deleted: {error}")
            return False
        return True

    def _set_aside(self, file: PackFile) -> bool:
        """Whether the pack is out of the way now. One that was touched since the listing is what a writer relies on."""
        try:
            status = (self._root / file.name).stat()
            if max(status.st_mtime, status.st_ctime) != file.changed:
                self._kept.append(file.size)
                return False
            self._hide(file)
        except FileNotFoundError:
            return False  # another gc was faster
        except OSError as error:
            self._kept.append(file.size)
            hint = ": gc --now needs no room" if error.errno in _NO_ROOM and not self._wish.now else ""
            self._problems.append(f"{file.name} cannot be set aside: {error}{hint}")
            return False
        self._aside.append(file.size)
        return True

    def _hide(self, file: PackFile) -> None:
        try:
            trash.set_aside(self._root, file.name, int(self._clock))
        except OSError as error:
            if error.errno not in _NO_ROOM or not self._wish.now:
                raise
            # No room for the trash's folders: under a name that no reader takes for a pack's, as long as the old one.
            path = self._root / file.name
            os.rename(path, path.with_name(f".{path.name}"))

    def _forget(self, alive: set[str]) -> None:
        """Forget that deletions were confirmed whose commits are no heads any more; a new one may not be one yet."""
        for name in trash.confirmed(self._root) - alive:
            remove_old(self._root / layout.TRASH / "confirmed" / name, self._clock - layout.GRACE_NOW)

    def _rewrite(self, plan: _Plan, holding: Holding) -> tuple[str, bytes] | None:
        """The id and footer of a new pack with what is needed of an old one; None where that is left as it is."""
        file = holding.file
        try:
            pack_id, size, footer = rewrite(self._root, file, plan.needed[plan.inventory.of(holding)])
        except FileNotFoundError:
            return None
        except (StoreError, OSError) as error:
            self._kept.append(file.size)
            self._problems.append(f"{file.name} cannot be rewritten: {error}")
            return None
        self._kept.append(size)
        return pack_id, footer

    def _finish(self, plan: _Plan, holding: Holding, made: tuple[str, bytes] | None) -> None:
        """Set a pack aside that was written anew."""
        if made is not None and self._set_aside(holding.file):
            self._rewritten.append(plan.inventory.dead(holding, plan.needed))

    # --- claims, where the store is a remote, too ------------------------------------------------------------------

    def _disclaim(self, plan: _Plan, claimed: set[str]) -> set[str]:
        """Let no table claim what is to go, of the packs that one claims; returns those that have to stay all the same.

        Those that are dead in part are written anew before, and what replaces them is claimed instead.
        """
        parts = [holding for holding in plan.in_part if holding.file.id in claimed]
        made = [(holding, self._rewrite(plan, holding)) for holding in parts]
        anew = {new[0]: new[1] for _, new in made if new is not None}
        here = {holding.file.id for holding in plan.inventory.packs()} | {f.id for f in plan.rescued}
        leave = (
            {h.file.id for h, new in made if new is not None} | {f.id for f in plan.aside} | (claimed - here)
        )
        leave = {pack_id for pack_id in leave & claimed if pack_id not in anew}
        held = set[str]()
        try:
            taken = anew | self._returned(plan, leave)
            if leave or taken:
                held = disclaim(self._root, plan.claims, plan.heads, leave, taken, self._clock)
        except (StoreError, OSError) as error:
            held = leave
            what = few([layout.pack_path(pack_id) for pack_id in sorted(leave)]) or "what was put back"
            self._problems.append(
                f"claims stay as they are, and so do {what}: no table can be written: {error}"
            )
        for holding, new in made:
            if holding.file.id in held:
                self._kept.append(holding.file.size)
            else:
                self._finish(plan, holding, new)
        return held

    def _returned(self, plan: _Plan, leave: set[str]) -> dict[str, bytes]:
        """The footers of packs that were given up once, and are in packs/ and needed now."""
        given_up = plan.claims.given_up()
        staying = {file.id for file in (*plan.kept, *plan.rescued)} & given_up
        if not staying:
            return {}
        needed = [
            h
            for h in plan.inventory.holdings
            if h.file.id in staying and plan.needed[plan.inventory.of(h)].any()
        ]
        return {h.file.id: footer_of(self._root, h.file.id) for h in needed if h.file.id not in leave}


def _pack_id(name: str) -> str | None:
    """The id of the pack that a file in the trash is."""
    base = name.rpartition("/")[2]
    return layout.parse_pack_name(base) or layout.parse_hidden_name(base)
