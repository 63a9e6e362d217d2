"""What reaches what: the edges of an object, and everything below a set of roots. Reads only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from objstore import layout
from objstore.errors import NotFound, StoreError
from objstore.ids import Kind, ObjectId
from objstore.objects import Objects
from objstore.records import ChunkList, Commit, Tree

Node = tuple[Kind, ObjectId]


def edges(objects: Objects, node: Node) -> list[Node]:
    """What an object names: a commit its state and parents, a tree its entries, a large blob its chunks and pages.

    A parent that `cut` allows to be absent is left out when it is. A commit that deletes names nothing: of what is
    deleted, only the commit that says so is kept. Raises NotFound, Corrupt.
    """
    kind, object_id = node
    if kind is Kind.BLOB:
        return _chunks(objects, object_id)
    return named_by(kind, objects.read(object_id, kind, limit=layout.RECORD_MAX), objects.has)


def named_by(kind: Kind, data: bytes, has: Callable[[ObjectId], bool]) -> list[Node]:
    """What a record names, by its bytes; `has` is asked for parents that may be absent. Raises Corrupt, Unsupported."""
    if kind is Kind.TREE:
        return [(entry.mode.kind, entry.id) for entry in Tree.decode(data).entries]
    if kind is Kind.CHUNKS:
        return items(ChunkList.decode(data))
    commit = Commit.decode(data)
    if commit.deleted:
        return []
    parents = [p for p in commit.parents if not commit.cut or has(p)]
    return [(Kind.TREE, commit.state), *((Kind.COMMIT, p) for p in parents)]


def closure(objects: Objects, roots: Iterable[Node], missing: list[Node] | None = None) -> Iterator[Node]:
    """Every object that the roots reach, they themselves first, each once, parents before what they name.

    With `missing`, objects that are absent or damaged are appended to it and the walk goes on; otherwise the error
    is raised.
    """
    stack, seen = list(roots), set[Node]()
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        try:
            if not objects.has(node[1]):
                raise NotFound(f"object {node[1]} is not in this store")
            below = edges(objects, node)
        except StoreError:
            if missing is None:
                raise
            missing.append(node)
            continue
        yield node
        stack += reversed(below)


def _chunks(objects: Objects, blob_id: ObjectId) -> list[Node]:
    lists = objects.lists(blob_id)
    return list(dict.fromkeys(node for chunk_list in lists for node in items(chunk_list)))


def items(chunk_list: ChunkList) -> list[Node]:
    """The chunks that a list names, or its pages."""
    kind = Kind.CHUNKS if chunk_list.level else Kind.BLOB
    return [(kind, item) for item, _ in chunk_list.items]
