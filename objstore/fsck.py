"""Checks a whole store: every stored byte against what pins it, every object against its id, every head for what it
reaches. Reads only; what is wrong is named, with the heads that it touches.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from objstore import layout
from objstore.errors import NotFound, StoreError
from objstore.frame import HEADER_SIZE, Encoding, decode
from objstore.graph import Node, closure, edges
from objstore.heads import Head, Heads
from objstore.ids import Kind, ObjectId, hash_object
from objstore.objects import Objects
from objstore.pack import FrameEntry, ObjectEntry, check_frame
from objstore.records import ChunkList, Commit, Tree


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: the file or object, what, and the (kind, group, name) of the heads that it touches."""

    where: str
    what: str
    touches: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """What was checked, and what is wrong with it."""

    packs: int
    objects: int
    size: int
    heads: int
    problems: tuple[Problem, ...]

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def check(root: Path) -> Report:
    """Decode and hash everything in the store at `root`, and walk all that its living heads reach."""
    return _Check(root).run()


class _Check:
    def __init__(self, root: Path) -> None:
        self._root = root
        self._objects = Objects(root, keep=False)
        self._heads = Heads(root)
        self._good: set[ObjectId] = set()  # objects with a copy that is sound
        self._bad: dict[ObjectId, str] = {}  # objects with one that is not, and why
        self._broken: set[tuple[str, int]] = set()  # frames, as (file, offset), of which all is said already
        self._problems: list[Problem] = []
        self._packs = 0
        self._size = 0

    def run(self) -> Report:
        live = self._heads.sound(head for heads in self._heads.live().values() for head in heads)
        checked: set[str] = set()
        while found := sorted(self._objects.pack_ids() - checked):
            for pack_id in found:  # more may come while these are read
                self._pack(pack_id)
            checked.update(found)
        self._lists()
        for object_id in self._bad.keys() & self._good:
            del self._bad[object_id]
        self._reach(live)
        damaged = {**self._objects.damaged, **self._heads.damaged}
        self._problems += [Problem(where, what) for where, what in sorted(damaged.items())]
        self._strangers()
        self._objects.close()
        count = len(self._good | self._bad.keys())
        return Report(self._packs, count, self._size, len(live), tuple(self._problems))

    # --- stored bytes --------------------------------------------------------------------------------------------

    def _pack(self, pack_id: str) -> None:
        try:
            footer = self._objects.footer(pack_id)
        except NotFound:
            self._objects.refresh()  # merged away since the listing; the pack that took its objects is found now
            return
        except (StoreError, OSError) as error:
            self._problems.append(Problem(layout.pack_path(pack_id), str(error)))
            return
        members: list[list[ObjectEntry]] = [[] for _ in footer.frames]
        for entry in footer.objects:
            members[entry.frame].append(entry)
        where = layout.pack_path(pack_id)
        try:
            with (self._root / where).open("rb") as file:
                self._packs += 1
                self._size += os.fstat(file.fileno()).st_size
                for frame, inside in zip(footer.frames, members, strict=True):
                    inside.sort(key=lambda entry: (entry.offset, entry.size))  # an empty one comes first
                    self._frame(where, frame, inside, file.read(frame.size))
        except FileNotFoundError:
            self._objects.refresh()  # merged away since the listing; the pack that took its objects is found now
        except OSError as error:
            self._problems.append(Problem(where, f"cannot be read: {error}"))

    def _frame(self, where: str, frame: FrameEntry, members: list[ObjectEntry], data: bytes) -> None:
        try:
            check_frame(frame, data, members)
            raw = decode(frame.header, data[HEADER_SIZE:])
        except StoreError as error:
            self._problems.append(Problem(where, f"the frame at byte {frame.offset}: {error}"))
            self._bad.update((entry.id, str(error)) for entry in members)
            self._broken.add((where, frame.offset))
            return
        if frame.header.encoding is Encoding.LIST:
            return  # proved by `_lists`, once all packs are known
        at = 0
        for entry in members:
            content = raw[entry.offset : entry.offset + entry.size]
            try:
                if hash_object(frame.header.kind, content) != entry.id or entry.offset != at:
                    raise StoreError("its content is not what its id says")
                _parse(frame.header.kind, content)
            except StoreError as error:
                self._object_damaged(where, entry.id, str(error))
            else:
                self._good.add(entry.id)
            at += entry.size

    def _object_damaged(self, where: str, object_id: ObjectId, what: str) -> None:
        self._problems.append(Problem(where, f"object {object_id}: {what}"))
        self._bad[object_id] = what

    def _lists(self) -> None:
        for object_id in sorted(self._large()):
            for place in self._objects.locate(object_id):
                where = layout.pack_path(place.pack_id)
                if not place.is_list or (where, place.at) in self._broken:
                    continue
                try:
                    self._objects.prove(place)
                except StoreError as error:
                    self._object_damaged(where, object_id, str(error))
                else:
                    self._good.add(object_id)

    def _large(self) -> set[ObjectId]:
        return {row.id for row in self._objects.rows() if row.is_list}

    # --- what heads reach ------------------------------------------------------------------------------------------

    def _reach(self, live: list[Head]) -> None:
        missing: list[Node] = []
        hurt = [n for n in closure(self._objects, _roots(live), missing) if n[1] in self._bad]
        hurt += missing
        touched = self._touched(live) if hurt else {}
        for node in hurt:
            kind, object_id = node
            what = self._bad.get(object_id) or self._missing(kind, object_id)
            self._problems.append(Problem(f"{kind.name.lower()} {object_id}", what, _above(node, touched)))

    def _missing(self, kind: Kind, object_id: ObjectId) -> str:
        if self._objects.has(object_id):
            return f"cannot be read as a {kind.name.lower()}, though a head reaches it as one"
        return "is missing, though a head reaches it"

    def _touched(self, live: list[Head]) -> dict[Node, list[Node | Head]]:
        """For each object that heads reach, what names it: objects, and heads."""
        named: dict[Node, list[Node | Head]] = {}
        for head in live:
            named.setdefault((Kind.COMMIT, head.id), []).append(head)
        for node in closure(self._objects, _roots(live), []):
            for below in edges(self._objects, node):
                named.setdefault(below, []).append(node)
        return named

    # --- files that nobody reads -----------------------------------------------------------------------------------

    def _strangers(self) -> None:
        """Files where a pack, head or table belongs whose name is not that of one: a damaged name hides what it had."""
        for base in (*layout.UNION, layout.LIVE, layout.TMP):
            path = self._root / base
            if os.path.lexists(path) and not path.is_dir():
                self._problems.append(Problem(base, "is no folder: nothing can be stored or read there"))
        for base in layout.UNION:
            for folder, _, names in os.walk(self._root / base):
                place = Path(folder).relative_to(self._root).parts
                for name in sorted(names):
                    if not name.startswith(".") and not _has_place((*place, name)):
                        where = "/".join((*place, name))
                        self._problems.append(
                            Problem(where, "is no name of a pack, head or table: nothing reads it")
                        )


def _roots(live: list[Head]) -> list[Node]:
    return [(Kind.COMMIT, head.id) for head in live]


def _above(node: Node, named: Mapping[Node, list[Node | Head]]) -> tuple[tuple[str, ...], ...]:
    """The paths of the heads that reach a node."""
    found: set[tuple[str, ...]] = set()
    stack, seen = [node], {node}
    while stack:
        for above in named.get(stack.pop(), ()):
            if isinstance(above, Head):
                found.add(above.commit.path)
            elif above not in seen:
                seen.add(above)
                stack.append(above)
    return tuple(sorted(found))


def _has_place(parts: tuple[str, ...]) -> bool:
    base, name = parts[0], parts[-1]
    if base == layout.TABLES:
        return len(parts) == 2 and layout.parse_table_name(name) is not None
    if base == layout.REFS:
        return len(parts) == 3 and layout.parse_head_name(name) is not None
    pack_id = layout.parse_pack_name(name)
    return len(parts) == 3 and pack_id is not None and parts[1] == pack_id[:2]


def _parse(kind: Kind, content: bytes) -> None:
    """Raise Corrupt for a record that cannot be read."""
    if kind is Kind.TREE:
        Tree.decode(content)
    elif kind is Kind.COMMIT:
        Commit.decode(content)
    elif kind is Kind.CHUNKS:
        ChunkList.decode(content)
