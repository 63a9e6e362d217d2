"""Opens a store's folder and wires its parts. What writes is imported by what writes: most processes only read."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from objstore import layout
from objstore.errors import Ambiguous, InvalidName, NotFound, ReadOnly, StoreError
from objstore.heads import Heads
from objstore.ids import Kind, ObjectId
from objstore.objects import Objects
from objstore.reading import open_regular
from objstore.records import format_bytes, read_format

if TYPE_CHECKING:
    from objstore.bundle import Bundle, Made, Received
    from objstore.fsck import Progress as Inspected
    from objstore.fsck import Report
    from objstore.gc import GcReport, Roots
    from objstore.graph import Node
    from objstore.heal import Healed, Origin
    from objstore.publish import Transaction
    from objstore.remotes import Source, Target
    from objstore.repack import Tidied
    from objstore.sync import Progress, PullResult, PushResult


class Store:
    """A folder of packs and heads. It can be moved, copied, mounted read-only or united with another at any time."""

    def __init__(self, root: Path, *, read_only: bool, may_delete: bool = True) -> None:
        self.root = root
        self.read_only = read_only
        self.may_delete = may_delete and not read_only  # by its `format`; what deletes has to ask
        self.objects = Objects(root, keep=not read_only)
        self.heads = Heads(root)

    @classmethod
    def open(cls, root: Path) -> Store:
        """Open an existing store. Raises NotFound, Corrupt, Unsupported; read-only where this user may not write."""
        try:
            with os.fdopen(open_regular(root / layout.FORMAT_FILE), "rb") as file:
                data = file.read(layout.FORMAT_MAX + 1)
        except (FileNotFoundError, NotADirectoryError) as error:
            what = (
                f"it has no file named {layout.FORMAT_FILE}" if root.is_dir() else "there is no such folder"
            )
            raise NotFound(f"{root} is not a store: {what}") from error
        allowed = read_format(data, root)
        read_only = not allowed.write or not os.access(root, os.W_OK)
        return cls(root, read_only=read_only, may_delete=allowed.delete)

    @classmethod
    def create(cls, root: Path, template: Path | None = None) -> Store:
        """Make a store at `root` from a complete copy of `template` in one rename, or open the one that is there.

        Any number of processes may do so at once: one of them makes it. Raises InvalidName where something else is
        in the way, OSError where the parent folder cannot be written.
        """
        if not (root / layout.FORMAT_FILE).exists():
            from objstore.publish import fsync_folder

            part = root.with_name(f"{root.name}.{secrets.token_hex(4)}.part")
            try:
                fill(part, template)
                os.rename(part, root)
                fsync_folder(root.parent)
            except (OSError, StoreError):
                shutil.rmtree(part, ignore_errors=True)
                if not (root / layout.FORMAT_FILE).exists():
                    if root.exists():
                        raise InvalidName(
                            f"{root} is there already and is no store: name another folder"
                        ) from None
                    raise
        return cls.open(root)

    def begin(self) -> Transaction:
        """A transaction; `with store.begin() as tx:` publishes at the end of the block. Raises ReadOnly."""
        self._check_writable()
        from objstore.publish import Transaction

        return Transaction(self.root, self.objects)

    def resolve(self, prefix: str) -> tuple[Kind, ObjectId]:
        """The one object whose id begins with `prefix`, 6 digits or more. Raises NotFound, Ambiguous, InvalidName."""
        if len(prefix) < layout.PREFIX_MIN or not set(prefix) <= set("0123456789abcdef") or len(prefix) > 64:
            raise InvalidName(
                f"{prefix!r} is no id: give {layout.PREFIX_MIN} to 64 of the digits 0-9 and a-f"
            )
        hits = self.objects.resolve(prefix)
        if not hits:
            self.objects.refresh()
            hits = self.objects.resolve(prefix)
        if not hits:
            raise NotFound(f"no object's id begins with {prefix}")
        if len(hits) > 1:
            raise Ambiguous(prefix, [str(object_id) for _, object_id in hits])
        return hits[0]

    def get(self, object_id: ObjectId, target: Path, progress: Progress | None = None) -> None:
        """Write a blob to the file, or a tree to the new folder, `target`: whole and verified or not at all."""
        from objstore import files

        if self.objects.kind(object_id) is Kind.TREE:
            files.checkout(self.objects, object_id, target, progress)
        else:
            files.get_file(self.objects, object_id, target, progress)

    def push(
        self, remote: Target, keys: Collection[str] | None = None, progress: Progress | None = None
    ) -> PushResult:
        """Put living heads (all, or of `keys`) on a remote, with all they reach; see `objstore.sync.push`."""
        from objstore.sync import push

        return push(self.root, self.objects, self.heads, remote, keys=keys, progress=progress)

    def pull(
        self,
        remote: Source,
        keys: Collection[str] | None = None,
        progress: Progress | None = None,
        *,
        without: Collection[ObjectId] = (),
    ) -> PullResult:
        """Bring a remote's living heads (all, or of `keys`) here, with all they reach; see `objstore.sync.pull`."""
        self._check_writable()
        from objstore.sync import pull

        return pull(
            self.root, self.objects, self.heads, remote, keys=keys, without=without, progress=progress
        )

    def clone(self, remote: Source, progress: Progress | None = None) -> PullResult:
        """Fill this new store from a remote. Raises NotFound where that holds no store; else as `pull`."""
        self._check_writable()
        from objstore.sync import clone

        return clone(self.root, self.objects, self.heads, remote, progress=progress)

    def bundle(
        self,
        out: Path,
        keys: Collection[str] | None = None,
        since: Source | None = None,
        *,
        split: int | None = None,
        force: bool = False,
        progress: Progress | None = None,
    ) -> Made | None:
        """Write living heads (all, or of `keys`) into one file, with all they reach; see `objstore.bundle.create`."""
        from objstore.bundle import create

        return create(
            self.root,
            self.objects,
            self.heads,
            out,
            keys=keys,
            since=since,
            split=split,
            force=force,
            progress=progress,
        )

    def unbundle(
        self, bundle: Bundle, progress: Progress | None = None, *, without: Collection[ObjectId] = ()
    ) -> Received:
        """Take everything in that a bundle holds, or nothing; see `objstore.bundle.unbundle`."""
        self._check_writable()
        from objstore.bundle import unbundle

        return unbundle(self.root, self.objects, self.heads, bundle, progress, without=without)

    def fsck(
        self, level: str = "content", *, roots: Iterable[Node] = (), progress: Inspected | None = None
    ) -> Report:
        """Check the store; see `objstore.fsck`."""
        from objstore.fsck import Level, check

        return check(self.root, Level(level), roots=roots, progress=progress)

    def heal(
        self,
        sources: Sequence[Origin] = (),
        *,
        unite: bool = False,
        roots: Iterable[Node] = (),
        progress: Inspected | None = None,
    ) -> Healed:
        """Repair what is damaged or missing; see `objstore.heal`."""
        self._check_writable()
        from objstore.heal import heal

        return heal(self.root, sources, unite=unite, roots=roots, progress=progress)

    def tidy(self, limit: float | None = None) -> Tidied:
        """Fold heads and merge packs as far as it is due, for `limit` seconds at most; see `objstore.repack`.

        Does nothing in a store that is read-only, or has features for which nothing may be removed. Raises OSError.
        """
        from objstore.repack import Tidied, tidy

        if not self.may_delete:
            return Tidied()
        return tidy(self.root, self.objects, self.heads, limit=limit)

    def gc(
        self, roots: Roots = tuple, *, grace: float = layout.GRACE, now: bool = False, dry_run: bool = False
    ) -> GcReport:
        """Set aside, and later delete, what nothing needs; see `objstore.gc.collect`. Raises ReadOnly, OSError."""
        if not dry_run:
            self._check_writable()
        from objstore.gc import collect

        return collect(self.root, roots=roots, grace=grace, now=now, dry_run=dry_run)

    def publish_bytes(self, name: str, data: bytes) -> None:
        """Write a small file under its final name, whole or not at all, and durable on return."""
        from objstore.publish import publish_bytes

        publish_bytes(self.root, name, data)

    def close(self) -> None:
        """Close open files; the store can still be used."""
        self.objects.close()

    def _check_writable(self) -> None:
        if self.read_only:
            raise ReadOnly(f"{self.root} cannot be written by this user or this version")


def fill(folder: Path, template: Path | None) -> None:
    """Write a fresh store into a new folder. Durable but for its settings: a store without `format` is none."""
    from objstore.publish import publish_bytes

    if template is not None:
        try:
            shutil.copytree(template, folder, ignore=shutil.ignore_patterns(".gitkeep"))
        except shutil.Error as error:  # an OSError that says nothing of its own: only what befell each file
            raise StoreError(f"{folder}: it could not be made: {error.args[0][0][-1]}") from error
    folder.mkdir(exist_ok=True)
    for name in layout.FOLDERS:
        (folder / name).mkdir(exist_ok=True)
    publish_bytes(folder, layout.FORMAT_FILE, format_bytes())
