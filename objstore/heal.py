"""Repairs a store: what a damaged file still holds is saved into a new one, what is gone is fetched from elsewhere.

Adds first, then moves the damaged file to the trash. Nothing is deleted, no head is taken away, and nothing is taken in
that does not hash to its id. A repair that was interrupted is simply run again.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeAlias

from objstore import layout, trash
from objstore.chunker import Region
from objstore.containers import regions
from objstore.errors import ReadOnly, RemoteError, StoreError
from objstore.files import put_file
from objstore.fsck import (
    HEAL,
    Damage,
    Inspection,
    Level,
    Problem,
    Progress,
    Report,
    Walk,
    headless,
    is_as_named,
)
from objstore.graph import Node
from objstore.heads import Head, Heads
from objstore.ids import Kind, ObjectId, hash_bytes, hash_object
from objstore.large import LargeBlob, fill
from objstore.objects import Objects
from objstore.pack import PackWriter, footer_bytes, read_footer
from objstore.publish import Transaction, move_into_place, publish_pack, temporary
from objstore.reading import open_regular
from objstore.remotes import Source
from objstore.remotes.folder import FolderRemote
from objstore.salvage import Piece, heads_of_table, pieces
from objstore.scrub import Contents
from objstore.sync import fetch, pull
from objstore.sync.cache import Cache
from objstore.sync.stage import publish_heads

Origin: TypeAlias = "Source | Path"  # a remote; or a user's own file, or a folder of them

SEEK: Final = (
    "nothing that was asked has it: name a store, a bundle or files of your own that may: "
    "`fsck --heal --from PLACE`"
)

_ROUNDS: Final = 8  # in which sources are asked: one may have what another one's tree names
_TRASH: Final = "trash"  # what the trash is called among the sources
_ASIDE: Final = "damaged"  # the folder in trash/<epoch>/: what lies there is read by nobody


@dataclass(frozen=True, slots=True)
class Healed:
    """What was done, and what a check found afterwards.

    aside: files moved to the trash, by the names they had; saved: objects read out of damaged files; fetched: how many
    objects came from which source; heads: those that are heads again; dropped: objects that no head reaches and nothing
    has a sound copy of; failed: sources that could not be used, and why.
    """

    report: Report
    aside: tuple[str, ...]
    saved: int
    fetched: Mapping[str, int]
    heads: tuple[Head, ...]
    dropped: tuple[str, ...]
    failed: Mapping[str, str]


def heal(
    root: Path,
    sources: Sequence[Origin] = (),
    *,
    unite: bool = False,
    roots: Iterable[Node] = (),
    progress: Progress | None = None,
) -> Healed:
    """Repair the store at `root` from itself, its trash, and `sources` in their order; then check it again.

    roots: objects that are needed besides those that heads reach. unite: bring the heads of remotes among the sources
    that this store knows nothing of, too, as a pull does. Raises ReadOnly; StoreError when the disk refuses: what was
    healed by then stays, nothing is lost, and it can be run again.
    """
    if not os.access(root, os.W_OK):
        raise ReadOnly(f"{root} cannot be written by this user: `fsck` without --heal only reads")
    work = _Heal(root, sources, unite, list(roots), progress)
    try:
        return work.run()
    except RemoteError:
        raise
    except OSError as error:
        raise StoreError(
            f"healing {root} stopped: {error.strerror or error}. Nothing is lost, and what is healed stays: see to the "
            "disk, then run it again"
        ) from error
    finally:
        work.objects.close()


def source_name(source: Origin) -> str:
    """What to call a source in messages."""
    return os.fspath(source) if isinstance(source, Path) else source.url


class _Heal:
    def __init__(
        self, root: Path, sources: Sequence[Origin], unite: bool, roots: list[Node], progress: Progress | None
    ) -> None:
        self.objects = Objects(root, keep=False, trust=False)
        self._root = root
        self._sources = sources
        self._unite = unite
        self._roots = roots
        self._progress = progress or _nowhere
        self._damage = Damage()
        self._gone: set[str] = set()  # damaged packs whose sound objects lie elsewhere by now
        self._placed: set[str] = set()
        self._pool: Path | None = None  # a folder in tmp/, laid out like a store
        self._pooled: list[str] = []  # the damaged packs of which something is in it
        self._aside: list[str] = []
        self._saved = 0
        self._fetched: dict[str, int] = {}
        self._failed: dict[str, str] = {}
        self._epoch = 0

    def run(self) -> Healed:
        """Check, repair, check again."""
        before = Inspection(
            self._root, Level.CONTENT, objects=self.objects, roots=self._roots, progress=self._progress
        )
        before.run()
        self._damage = before.damage
        known = self._live()
        gone = self._save_packs()
        self._fetch([*((Kind.COMMIT, commit_id) for commit_id in known), *self._roots], gone)
        doubtful = self._restore_heads()
        self._empty_pool()
        self.objects.refresh()
        after = Inspection(
            self._root,
            Level.CONTENT,
            objects=self.objects,
            roots=self._roots,
            trusted=frozenset(before.sound),
            progress=self._progress,
        )
        report = after.run()
        problems = [*report.problems, *doubtful]
        told = tuple(replace(p, advice=SEEK) if p.advice == HEAL else p for p in problems)
        heads = tuple(head for commit_id, head in self._live().items() if commit_id not in known)
        fetched = {name: count for name, count in self._fetched.items() if count}
        doubts = {problem.where for problem in doubtful}
        notes = tuple(note for note in report.notes if note.where not in doubts)
        report = replace(report, problems=told, notes=notes)
        dropped = self._dropped(gone, report)
        return Healed(report, tuple(self._aside), self._saved, fetched, heads, dropped, self._failed)

    def _live(self) -> dict[ObjectId, Head]:
        return {head.id: head for heads in Heads(self._root).live().values() for head in heads}

    # --- damaged packs -----------------------------------------------------------------------------------------------

    def _save_packs(self) -> list[Node]:
        """Save what damaged packs still hold; returns the objects that were in them and are not here any more."""
        # First what is no file: over a folder none can be renamed.
        for number, where in enumerate(
            sorted(self._damage.packs, key=lambda w: ((self._root / w).is_file(), w)), 1
        ):
            self._save_pack(where)
            self._progress("damaged packs", number, len(self._damage.packs))
        self.objects.refresh()
        suspects = self._damage.suspects.items()
        return [(kind, object_id) for object_id, (kind, _) in suspects if not self.objects.has(object_id)]

    def _save_pack(self, where: str) -> None:
        pack_id = layout.parse_pack_name(Path(where).name)
        assert pack_id is not None
        if pack_id in self._placed:
            return  # it was found under another name, and has taken its place
        try:
            fd = open_regular(self._root / where)
        except (FileNotFoundError, StoreError):
            self._set_aside(where)  # a folder, say, or a link to nothing
            return
        try:
            replaced = self._save_sound(fd, pack_id)
        finally:
            os.close(fd)
        if not replaced and where not in self._pooled:
            self._set_aside(where)
        self._gone.add(pack_id)

    def _save_sound(self, fd: int, pack_id: str) -> bool:
        """Write what is sound and nowhere else into a new pack; whether that is this very pack again."""
        footer = self._footer(fd, pack_id)
        writer, pool = PackWriter(temporary(self._root)), PackWriter(temporary(self._root))
        fresh = 0
        try:
            for piece in pieces(fd, footer):
                if not piece.proved:
                    pool.add(piece.header, piece.stored, piece.inside)
                elif not piece.is_list or self._is_true(pack_id, piece):
                    writer.add(piece.header, piece.stored, piece.inside)
                    fresh += self._fresh(piece, pack_id)
            self._add_to_pool(pool, layout.pack_path(pack_id))
            return fresh > 0 and self._place(writer, pack_id)
        finally:
            self._saved += fresh
            writer.discard()
            pool.discard()

    def _add_to_pool(self, writer: PackWriter, where: str) -> None:
        """Keep what nothing proves beside the store: who looks for such an object by its id finds it there."""
        if writer.empty:
            return
        self._pool = self._pool or temporary(self._root)
        pack_id, _ = writer.finish()
        target = self._pool / layout.pack_path(pack_id)
        target.parent.mkdir(parents=True, exist_ok=True)
        writer.path.rename(target)
        self._pooled.append(where)

    def _footer(self, fd: int, pack_id: str) -> Contents | None:
        """The footer that a pack should have: its own, else as a table or an earlier look at a remote has it."""
        with suppress(StoreError, OSError):
            return Contents(footer_bytes(fd, pack_id)[0])
        for data in self._known_footers(pack_id):
            if hash_bytes(data).hex() == pack_id:
                with suppress(StoreError):
                    return Contents(data)
        return None

    def _known_footers(self, pack_id: str) -> Iterator[bytes]:
        for table in Heads(self._root).tables().values():
            if pack_id in table.packs:
                yield table.packs[pack_id]
        for path in self._root.glob(f"{layout.CACHE}/remotes/*/footers/{pack_id}"):
            with suppress(OSError):
                yield path.read_bytes()

    def _is_true(self, pack_id: str, piece: Piece) -> bool:
        """Whether nothing is known against a chunk list of a pack whose footer pins it."""
        copies = self.objects.locate(piece.inside[0][0])
        return not any(c.pack_id == pack_id and c.is_list and self._damage.has(c) for c in copies)

    def _fresh(self, piece: Piece, pack_id: str) -> int:
        """How many of its objects have no sound copy in another pack."""
        without = {*self._gone, pack_id}
        return sum(
            all(place.pack_id in without for place in self._damage.sound(self.objects, object_id))
            for object_id, _ in piece.inside
        )

    def _place(self, writer: PackWriter, old: str) -> bool:
        """Publish a pack of what was in pack `old`; whether it turns out to be that very pack, and takes its place."""
        pack_id, footer = writer.finish()
        where = layout.pack_path(pack_id)
        if where in self._damage.packs:
            self._link_aside(where)
        move_into_place(self._root, writer.path, where)
        self._placed.add(pack_id)
        self.objects.add(pack_id, footer)
        return pack_id == old

    def _empty_pool(self) -> None:
        """Set aside the packs whose objects were kept beside the store until it was known which of them are missing."""
        for where in self._pooled:
            fd = open_regular(self._root / where)
            try:
                read_footer(fd, Path(where).stem)  # else the right one has come in meanwhile
            except StoreError:
                self._set_aside(where)
            finally:
                os.close(fd)
        if self._pool is not None:
            shutil.rmtree(self._pool, ignore_errors=True)

    # --- into the trash ----------------------------------------------------------------------------------------------

    def _set_aside(self, where: str) -> None:
        """Move a damaged file out of the way, so that a right one can have its name."""
        target = self._target(where)
        with suppress(FileNotFoundError):
            os.rename(self._root / where, target)
            self._aside.append(where)

    def _link_aside(self, where: str) -> None:
        """Keep a file that is about to be written over, where the file system can give it a second name."""
        with suppress(OSError):
            os.link(self._root / where, self._target(where))
            self._aside.append(where)

    def _target(self, where: str) -> Path:
        self._epoch = self._epoch or self._clock()
        target = self._root / layout.TRASH / str(self._epoch) / _ASIDE / where
        while os.path.lexists(target):  # from an earlier run in the same second
            self._epoch += 1
            target = self._root / layout.TRASH / str(self._epoch) / _ASIDE / where
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def _clock(self) -> int:
        """Now, by the clock of the file system, which is the one that the trash is emptied by."""
        path = temporary(self._root)
        path.touch()
        try:
            return int(path.stat().st_mtime)
        finally:
            path.unlink()

    # --- what is missing ---------------------------------------------------------------------------------------------

    def _fetch(self, roots: list[Node], more: list[Node]) -> Walk:
        """Ask all sources for what is missing of `more`, and below `roots`; returns the last look at those."""
        for _ in range(_ROUNDS):
            walk = Walk(self.objects, Damage(), self._progress)
            for root in roots:
                walk.descend(root)
            missing = self._missing([*walk.hurt, *more])
            if not missing or not self._ask_all(missing):
                break
        return walk

    def _missing(self, nodes: Iterable[Node]) -> list[Node]:
        return [node for node in nodes if not self.objects.has(node[1])]

    def _ask_all(self, nodes: list[Node]) -> bool:
        """Ask each source for what those before it had not; whether any of it came."""
        self._save_commits(nodes)
        missing = self._missing(nodes)
        for own in self._own():
            missing = missing and self._missing(self._ask_own(own, missing))
        for source in self._sources:
            if missing:
                self._ask(source, missing)
                missing = self._missing(missing)
        return len(missing) < len(nodes)

    def _save_commits(self, nodes: list[Node]) -> None:
        """Store missing commits out of head files and tables, which hold them whole."""
        wanted = {object_id for kind, object_id in nodes if kind is Kind.COMMIT}
        heads = [head for several in Heads(self._root).live().values() for head in several] if wanted else []
        with Transaction(self._root, self.objects) as transaction:
            for head in heads:
                if head.id in wanted:
                    transaction.put(Kind.COMMIT, head.raw)
                    self._saved += 1

    def _own(self) -> Iterator[FolderRemote]:
        """What damaged packs gave unproved, then the trash: each of its folders is laid out like a store."""
        if self._pool is not None:
            yield FolderRemote(self._pool)
        for epoch in reversed(trash.epochs(self._root)):
            folder = self._root / layout.TRASH / str(epoch)
            if (folder / layout.PACKS).is_dir():
                yield FolderRemote(folder)

    def _ask_own(self, source: FolderRemote, nodes: list[Node]) -> list[Node]:
        try:
            count = fetch(self._root, self.objects, source, nodes, exact=True).objects
        except StoreError:
            return nodes  # it was emptied meanwhile
        finally:
            shutil.rmtree(Cache(self._root, source.url).folder, ignore_errors=True)
        if source.root == self._pool:
            self._saved += count
        elif count:
            self._fetched[_TRASH] = self._fetched.get(_TRASH, 0) + count
        return nodes

    def _ask(self, source: Origin, nodes: list[Node]) -> None:
        name = source_name(source)
        if name in self._failed:
            return
        try:
            if isinstance(source, Path):
                count = OwnFiles(self._root, self.objects, nodes).take(source)
            else:
                count = fetch(
                    self._root, self.objects, source, nodes, exact=True, progress=self._bytes
                ).objects
        except StoreError as error:
            self._failed[name] = str(error)
        else:
            self._fetched[name] = self._fetched.get(name, 0) + count

    def _bytes(self, done: int, total: int) -> None:
        self._progress("bytes fetched", done, total)

    def _dropped(self, gone: list[Node], report: Report) -> tuple[str, ...]:
        """What damaged packs held and nothing has a sound copy of, where no head reaches it: nobody misses it."""
        told = {problem.where for problem in report.problems}
        names = {f"{kind.name.lower()} {object_id}" for kind, object_id in self._missing(gone)}
        return tuple(sorted(names - told))

    # --- heads -------------------------------------------------------------------------------------------------------

    def _restore_heads(self) -> list[Problem]:
        """Make heads of the commits that were heads; returns those of which not everything is here."""
        read, names = self._damaged_heads()
        self._fetch([], [(Kind.COMMIT, commit_id) for _, commit_id in names])
        candidates = headless(self._root, self.objects, read)
        self._pull({head.key for head in candidates} | {key for key, _ in names})
        candidates = headless(self._root, self.objects, read)
        walk = self._fetch([(Kind.COMMIT, head.id) for head in candidates], [])
        whole = [head for head in candidates if not walk.reaches_hurt((Kind.COMMIT, head.id))]
        for head in whole:
            self._link_aside(layout.head_path(layout.label(head.commit.path), head.key, str(head.id)))
        publish_heads(self._root, whole)
        for where in sorted(self._damage.heads):
            self._replace_head(where)
        doubtful = [head for head in candidates if head not in whole]
        return [self._doubt(head) for head in doubtful]

    def _damaged_heads(self) -> tuple[list[Head], list[tuple[str, ObjectId]]]:
        """The heads that can be read out of damaged tables, and (key, commit id) of all others that are damaged."""
        heads: list[Head] = []
        names: list[tuple[str, ObjectId]] = []
        for where in sorted(self._damage.heads):
            if parsed := layout.parse_head_name(Path(where).name):
                names.append((parsed[0], ObjectId.parse(parsed[1])))
            elif (self._root / where).is_file():
                read, named = heads_of_table((self._root / where).read_bytes(), where)
                heads += read
                names += named
            if not (self._root / where).is_file():
                self._set_aside(where)  # a folder, say, over which no file can be renamed
        return heads, names

    def _pull(self, keys: set[str]) -> None:
        """Bring what remotes know of these keys, or all that they know."""
        for source in self._sources if keys or self._unite else ():
            if isinstance(source, Path) or source.url in self._failed:
                continue
            try:
                heads = Heads(self._root)
                done = pull(
                    self._root,
                    self.objects,
                    heads,
                    source,
                    keys=None if self._unite else keys,
                    exact=True,
                    progress=self._bytes,
                )
            except StoreError as error:
                self._failed[source.url] = str(error)
            else:
                self._fetched[source.url] = self._fetched.get(source.url, 0) + done.objects

    def _replace_head(self, where: str) -> None:
        """Set a damaged head or table aside once what it named is here: else its name is all that is left of it."""
        parsed = layout.parse_head_name(Path(where).name)
        if parsed is not None and not self.objects.has(ObjectId.parse(parsed[1])):
            return
        if not is_as_named(self._root / where):  # else it was written anew
            self._set_aside(where)

    def _doubt(self, head: Head) -> Problem:
        return Problem(
            f"commit {head.id}",
            "is newer than every head of its key, but not all that it reaches is here: it was not made a head",
            (head.commit.path,),
            SEEK,
            keys=(head.key,),
        )


class OwnFiles:
    """Takes missing blobs, and chunks of large ones, out of a user's files, which are cut as they were when stored.

    To the one who cuts it is a shelf on which everything stands but what is wanted.
    """

    def __init__(self, root: Path, objects: Objects, nodes: Iterable[Node]) -> None:
        self._root = root
        self._objects = objects
        self._wanted = {object_id for kind, object_id in nodes if kind is Kind.BLOB}

    def take(self, path: Path) -> int:
        """Store what is wanted of a file, or of all files in a folder; returns how many objects that were.

        Raises StoreError for a file that cannot be read, OSError when the store cannot be written.
        """
        before = len(self._wanted)
        for each in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
            if self._wanted:
                self._take_file(each)
                self._wanted = {object_id for object_id in self._wanted if not self._objects.has(object_id)}
        return before - len(self._wanted)

    def _take_file(self, path: Path) -> None:
        try:
            fd = open_regular(path)
        except (OSError, StoreError) as error:
            raise StoreError(f"{path} cannot be read: {error}") from error
        try:
            whole = self._take_chunks(_Readable(fd, path), regions(fd, os.fstat(fd).st_size))
        finally:
            os.close(fd)
        half = self._objects.has(whole) and not self._objects.complete(whole)
        if whole in self._wanted or half:
            with Transaction(self._root, self._objects) as transaction:
                put_file(transaction, path, force=True)

    def _take_chunks(self, source: _Readable, numbers: Sequence[Region]) -> ObjectId:
        """Store the wanted chunks of a large file; returns the id of the whole."""
        first = memoryview(bytearray(layout.BLOB_MAX + 1))
        size = fill(source, first)
        if size <= layout.BLOB_MAX:
            return hash_object(Kind.BLOB, first[:size])
        blob = LargeBlob(self)
        try:
            whole = blob.ingest(first, source, numbers)
            blob.finish()
        finally:
            blob.discard()
        return whole

    def has(self, object_id: ObjectId) -> bool:
        """See `objstore.large.Shelf`."""
        return object_id not in self._wanted

    def ends_when_failed(self) -> AbstractContextManager[None]:
        """See `objstore.large.Shelf`: what was written by then hashes right, and stays."""
        return nullcontext()

    def writer(self) -> PackWriter:
        """See `objstore.large.Shelf`."""
        return PackWriter(temporary(self._root))

    def finish(self, writer: PackWriter) -> None:
        """See `objstore.large.Shelf`."""
        publish_pack(self._root, self._objects, writer)


class _Readable:
    """A user's file: an error of its disk is none of the store's."""

    def __init__(self, fd: int, path: Path) -> None:
        self._fd, self._path = fd, path

    def readinto(self, buffer: memoryview, /) -> int:
        try:
            return os.readv(self._fd, [buffer])
        except OSError as error:
            raise StoreError(f"{self._path} cannot be read: {error.strerror}") from error


def _nowhere(what: str, done: int, total: int) -> None:
    """Progress that nobody wants to see."""
