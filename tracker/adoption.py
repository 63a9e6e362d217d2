"""Takes in what was recorded beside a store: the stand-ins below the user's state folder, made while it refused writes.

Removes a stand-in only when all that it holds has arrived.
"""

from __future__ import annotations

import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from objstore.errors import StoreError
from objstore.heads import living
from objstore.journal import liveness
from objstore.remotes.folder import FolderRemote
from objstore.store import Store
from tracker import deltas, seal
from tracker.errors import TrackerError


@dataclass(frozen=True, slots=True)
class Adopted:
    """What became of one stand-in: the ids whose newest state is here now that was not before; whether it was removed.

    kept: why it was not removed; empty when it was.
    """

    stand_in: Path
    keys: tuple[str, ...]
    kept: str = ""


def adopt(store: Store, stand_in: Path) -> Adopted:
    """Pull a stand-in into `store`, then remove it if nothing is left in it that is not here.

    Raises what `Store.open` and `Store.pull` raise; the stand-in is untouched then.
    """
    source = Store.open(stand_in)
    failed = _seal(source)
    pulled = store.pull(FolderRemote(stand_in))
    keys = tuple(sorted({head.key for head in pulled.heads}))
    kept = failed or _left(store, source)
    source.close()
    return Adopted(stand_in, keys, kept or _remove(store, stand_in))


def _seal(source: Store) -> str:
    """Seal what has ended there; why that failed, if it did."""
    if source.read_only:
        return "it cannot be written"
    for key in sorted({journal.key for journal in deltas.journals(source.root)}):
        try:
            seal.seal(source, key)
        except (OSError, StoreError, TrackerError) as error:
            return f"task {key} cannot be sealed: {error}"
    return ""


def _left(store: Store, source: Store) -> str:
    """What of `source` is not in `store`, in words; empty when everything is."""
    for journal in deltas.journals(source.root):
        if liveness(journal.folder) == "dead":
            if seal.is_damaged(source, journal):
                return f"a journal in it is damaged: `tracker --store {source.root} recover` sets it aside"
            return "the journal of a run that died stays for a day, in case its process lives after all"
        return "a run is still recorded there"
    here = store.heads.live()
    there = {key: source.heads.sound(heads) for key, heads in source.heads.live().items()}
    if source.heads.damaged:
        return f"{next(iter(source.heads.damaged))} in it is damaged"
    for key, heads in there.items():
        known = {head.id for head in here.get(key, ())}
        if {head.id for head in living([*heads, *here.get(key, ())])} != known:
            return f"the newest state of {key} has not arrived"
    return ""


def _remove(store: Store, stand_in: Path) -> str:
    """Remove the stand-in; why not, if a run has come to it meanwhile."""
    folder = stand_in.parent
    aside = folder.with_name(f"{folder.name}.{secrets.token_hex(4)}.adopted")
    folder.rename(aside)  # from here on a new run makes a new stand-in
    left = _left(store, Store.open(aside / stand_in.name))
    if left:
        if not folder.exists():
            aside.rename(folder)
        return left
    shutil.rmtree(aside, ignore_errors=True)
    return ""
