"""Which objects are needed, and by what: the roots that a collector starts from, and that room is counted by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

from objstore import trash
from objstore.ids import Kind, ObjectId
from tracker.deltas import Journal, figure_ref, fold, journals, lost, model_keys
from tracker.errors import CorruptRecord
from tracker.reader import united_covers
from tracker.records import Ref, references
from tracker.state import Fold

if TYPE_CHECKING:
    from objstore.graph import Node
    from objstore.heads import Head
    from objstore.store import Store


def of_ref(text: str) -> Node:
    """The object of a "$ref". Raises CorruptRecord."""
    ref = Ref.parse(text)
    return Kind.TREE if ref.kind == "tree" else Kind.BLOB, ObjectId.parse(ref.id)


def of_heads(store: Store, heads: Iterable[Head]) -> list[Node]:
    """Living heads; and what those keep that delete, but whose deletion was not asked for here: that may be absent."""
    confirmed = trash.confirmed(store.root)
    found: list[Node] = []
    for head in heads:
        found.append((Kind.COMMIT, head.id))
        if head.commit.deleted and str(head.id) not in confirmed:
            found += [(Kind.TREE, head.commit.state), *((Kind.COMMIT, p) for p in head.commit.parents)]
    return found


def of_journals(store: Store) -> list[Node]:
    """What events refer to that no head covers yet, but for content that the journals hold themselves.

    Raises CorruptRecord where a journal cannot be read to its end, OSError: then nobody knows what its task needs.
    What is a journal's end, and what damage, `deltas.lost` tells: a record that a dying writer has left half written
    is no damage, as far as the format can tell.
    """
    found, damaged = readable(store)
    for source, what in damaged.items():
        raise CorruptRecord(
            f"a journal of task {source.key} cannot be read to its end, so what it needs is not known: {what}. Once "
            "its process has ended, `tracker recover` seals what can be read, and sets the journal aside"
        )
    return found


def readable(store: Store) -> tuple[list[Node], dict[Journal, str]]:
    """The same of what can be read of the journals; and those of which something cannot, with what. Raises OSError."""
    found: list[Node] = []
    damaged: dict[Journal, str] = {}
    # Journals first: one that is sealed meanwhile is then found in its head.
    sources = journals(store.root)
    heads = store.heads.live() if sources else {}
    for source in sources:
        covered = partial(_covered, heads, source.writer)
        try:
            folded = fold(source, covered(source.key))
            model_keys(source, folded, covered(source.key), covered)
            what = lost(source, folded, covered(source.key))
        except FileNotFoundError:
            continue  # sealed and removed
        if what:
            damaged[source] = what
        values = (entry.value for keys in folded.keys.values() for entry in keys.values())
        nodes = map(of_ref, (*_references(values), *_reports(folded)))
        found += [node for node in nodes if str(node[1]) not in folded.blobs]
    return found, damaged


def _covered(heads: Mapping[str, Iterable[Head]], writer: str, key: str) -> int:
    return united_covers(heads.get(key, ())).get(writer, 0)


def _reports(folded: Fold) -> Iterator[str]:
    """What reports refer to."""
    for plot in folded.plots:
        yield from references([plot.content, {"$ref": figure_ref(plot) or None}])
    for sample in folded.samples:
        yield from references(sample.content)


def _references(values: Iterable[object]) -> Iterator[str]:
    for value in values:
        yield from references(value)
