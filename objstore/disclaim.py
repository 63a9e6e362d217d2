"""Which packs the tables of a store claim, and a new table where some of them are to go: a claim is given up before.

Only adds a table. Whoever pushes into the folder believes what uncovered tables claim, so that no pack that one of them
claims may go before a table that covers it is durable.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from objstore import layout
from objstore.errors import Corrupt
from objstore.heads import Head, Heads, Table, batches, latest, uncovered
from objstore.ids import hash_bytes
from objstore.pack import footer_bytes
from objstore.publish import publish_bytes

_MICROSECONDS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Claims:
    """What the tables said when they were read. tables: those that none covers; known: the ids of all of them."""

    tables: Mapping[str, Table]
    known: frozenset[str]

    @classmethod
    def of(cls, tables: Mapping[str, Table]) -> Claims:
        """Those of all tables of a store, covered ones among them."""
        return cls(uncovered(tables), frozenset(tables))

    def packs(self) -> set[str]:
        """The packs that are claimed."""
        return {pack_id for table in self.tables.values() for pack_id in table.packs}

    def given_up(self) -> set[str]:
        """The packs that were claimed once."""
        return {pack_id for table in self.tables.values() for pack_id in table.dropped} - self.packs()


def disclaim(
    root: Path,
    claims: Claims,
    heads: Collection[Head],
    gone: Collection[str],
    taken: Mapping[str, bytes],
    now: float,
) -> set[str]:
    """Claim no longer the packs `gone`, and claim those in `taken` (id to footer); durable on return.

    heads: all living heads of the store, read no earlier than the tables; now: seconds since 1970. Returns the packs of
    `gone` that a table claims all the same, since it came meanwhile: they stay. Raises OSError, StoreError; nothing has
    changed then.
    """
    late = _claimed_since(root, claims.known)
    leave = set(gone) - late
    stale = leave | taken.keys()
    affected = {
        table_id: table
        for table_id, table in claims.tables.items()
        if not leave.isdisjoint(table.packs) or not stale.isdisjoint(table.dropped)
    }
    if not affected:
        return set(gone) & late
    packs = {pack_id: footer for table in affected.values() for pack_id, footer in table.packs.items()}
    dropped = {pack_id: since for table in affected.values() for pack_id, since in table.dropped.items()}
    dropped |= dict.fromkeys(leave, int(now * _MICROSECONDS))
    packs = {pack_id: footer for pack_id, footer in packs.items() if pack_id not in leave} | dict(taken)
    dropped = {pack_id: since for pack_id, since in dropped.items() if pack_id not in packs}
    keys = {name[:16] for table in affected.values() for name in table.packed().names()}
    *more, last = list(batches(head for head in heads if bytes.fromhex(head.key) in keys)) or [[]]
    under = {c for table in affected.values() for c in table.covers} & Heads(root).table_ids()
    fresh = [
        publish_table(root, Table(tuple(batch))) for batch in more
    ]  # before anything that holds them is covered
    table = Table(tuple(last), packs, tuple({*affected, *under} - {*fresh}), latest(dropped))
    fresh.append(publish_table(root, table))
    return set(gone) & (late | _claimed_since(root, claims.known.union(fresh)))


def footer_of(root: Path, pack_id: str) -> bytes:
    """The footer of a pack in packs/, as a table holds it. Raises OSError, Corrupt."""
    fd = os.open(root / layout.pack_path(pack_id), os.O_RDONLY | os.O_CLOEXEC)
    try:
        return footer_bytes(fd, pack_id)[0]
    finally:
        os.close(fd)


def _claimed_since(root: Path, known: Collection[str]) -> set[str]:
    """The packs that tables claim which were not there before."""
    heads = Heads(root)
    if heads.table_ids() <= set(known):
        return set()
    return {
        pack_id
        for table_id, table in heads.uncovered().items()
        if table_id not in known
        for pack_id in table.packs
    }


def publish_table(root: Path, table: Table) -> str:
    """Write a table, durably, and read it back; returns its id. Raises Corrupt, OSError."""
    data = table.encode()
    table_id = hash_bytes(data).hex()
    name = layout.table_path(table_id)
    publish_bytes(root, name, data)
    if len(Table.decode((root / name).read_bytes(), table_id).heads) != len(table.packed()):
        raise Corrupt(f"{name} does not hold what was written: check this machine's disk and memory")
    return table_id
