"""Artifacts: values into the store and back, by name."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from objstore import files
from objstore.errors import Ambiguous, NotFound, StoreError
from objstore.ids import Kind, ObjectId
from objstore.records import Mode, TreeEntry
from tracker import layout, trust
from tracker.errors import BadValue, CorruptRecord, UsageError
from tracker.reader import Thing
from tracker.records import Ref, State
from tracker.sdk.identify import hash_file

if TYPE_CHECKING:
    from tracker.codecs import Encoded
    from tracker.storage import archives
    from tracker.workspace import Workspace


_PREFIX_MIN = 6  # digits of a hash that may stand for it


class Artifact:
    """One artifact of a task. `hash` is the object id: BLAKE3 of the bytes, or the tree id of a folder."""

    def __init__(self, workspace: Workspace, task: str, name: str, record: Mapping[str, Any]) -> None:
        self._workspace = workspace
        self._task = task
        self._record = record
        self._value: Any = None
        self._loaded = False
        self._ref = Ref.parse(record["$ref"]) if "$ref" in record else None
        self.name = name

    @property
    def type(self) -> str:
        """What sort of value it is: numpy, pandas, dict, string, pickle, custom, archive, image."""
        return str(self._record["type"])

    @property
    def file(self) -> str:
        """What its file is called."""
        return str(self._record.get("file", ""))

    @property
    def mode(self) -> str:
        """`output`, as ClearML has it."""
        return "output"

    @property
    def hash(self) -> str:
        """Its object id, 64 hex digits, also once it was purged; empty for a URL that is only registered."""
        return self._ref.id if self._ref else str(self._record.get("hash", ""))

    @property
    def purged(self) -> datetime | None:
        """When its content was removed for good, in UTC; None where it was not."""
        stamp = self._record.get("purged")
        return None if stamp is None else datetime.fromtimestamp(stamp / 1_000_000, timezone.utc)

    @property
    def sha256(self) -> str:
        """SHA-256 of the file, or of the zip that a folder makes, as ClearML has it; reads all of it each time."""
        from hashlib import sha256

        self._check_there()
        found = sha256()
        if self._ref is None:
            return ""
        if self._ref.kind == "tree":
            for part in zip_of(self._workspace, self._ref):
                found.update(part)
        else:
            for part in pieces(self._workspace, self._thing(), self._ref):
                found.update(part)
        return found.hexdigest()

    @property
    def size(self) -> int:
        """Bytes of content."""
        return self._ref.size if self._ref else 0

    @property
    def url(self) -> str:
        """Where it is: `tracker://HASH/FILE`, or the URL that was registered."""
        return str(self._record.get("url") or f"tracker://{self.hash}/{self._record.get('file', '')}")

    @property
    def timestamp(self) -> datetime:
        """When it was stored, in UTC."""
        return datetime.fromtimestamp(self._record["timestamp"], timezone.utc)

    @property
    def metadata(self) -> dict[str, str]:
        """The caller's own key-value pairs."""
        return dict(self._record.get("metadata") or {})

    @property
    def preview(self) -> str:
        """The beginning of the content, for people."""
        preview = self._record.get("preview") or ""
        if isinstance(preview, Mapping):  # a long one is an object of its own
            return self._workspace.read(self._thing(), Ref.parse(preview["$ref"])).decode("utf-8", "replace")
        return str(preview)

    def get(
        self,
        force_download: bool = False,
        deserialization_function: Callable[[bytes], Any] | None = None,
        block_unsafe_artifacts: bool = False,
        *,
        allow_pickle: bool | None = None,
    ) -> Any:
        """The value again; of a plain file or folder its local path. Kept after the first call.

        `deserialization_function` makes the value of the content's bytes. Raises UnsafeArtifact for a pickle that this
        user did not record, unless `allow_pickle`; with `block_unsafe_artifacts` for every pickle.
        """
        if deserialization_function is not None:
            return deserialization_function(self._bytes())
        if block_unsafe_artifacts or (
            allow_pickle is None and self._workspace.config.block_pickled_artifacts
        ):
            allow_pickle = False
        if not self._loaded or force_download:
            self._value, self._loaded = self._load(allow_pickle), True
        return self._value

    def _load(self, allow_pickle: bool | None) -> Any:
        from tracker import codecs

        if self.type in ("custom", "archive") or self._ref is None or self._ref.kind == "tree":
            return Path(str(self.get_local_copy(raise_on_error=True)))
        if allow_pickle is None:
            mac = self._record.get("mac")
            allow_pickle = self._workspace.config.allow_pickle or trust.trusted(self._task, self.hash, mac)
        try:
            return codecs.decode(
                self.type,
                self._bytes(),
                file_name=str(self._record.get("file", "")),
                name=self.name,
                content_type=str(self._record.get("content_type", "")),
                allow_pickle=allow_pickle,
            )
        except CorruptRecord as error:
            raise CorruptRecord(f"{error}; its file, as it is stored: {self.get_local_copy()}") from error

    def _check_there(self) -> None:
        if self.purged is not None:
            day = f"{self.purged:%Y-%m-%d}"
            raise NotFound(f"artifact {self.name!r} was purged on {day}: its content is gone for good")

    def _bytes(self) -> bytes:
        self._check_there()
        if self._ref is None:
            return Path(str(self.get_local_copy(raise_on_error=True))).read_bytes()
        if self._ref.kind == "tree":
            raise BadValue(
                f"artifact {self.name!r} is a folder, and has no bytes of its own: get_local_copy()"
            )
        return self._workspace.read(self._thing(), self._ref)

    def _thing(self) -> Thing:
        if not self._task:  # an object that was found by its hash, and belongs to no task
            return Thing("", State(layout.TASK))
        return self._workspace.thing(self._task)

    def get_local_copy(
        self, extract_archive: bool = True, raise_on_error: bool = False, force_download: bool = False
    ) -> str | None:
        """A verified copy of the content in the store's cache folder; returns its path, None for a registered URL.

        A folder comes as a folder, or with `extract_archive=False` as a zip that is the same every time; one that is a
        zip in the store, since ClearML made it so, is unpacked. Raises NotFound, Corrupt. Change nothing in it: a copy
        that differs from its hash is made anew. What is only registered is fetched from its URL, with nothing to verify
        it by; where that fails, or a zip is hostile: a warning and None, or BadValue.
        """
        self._check_there()
        if self._ref is None:
            found = fetched(f"artifact {self.name!r}", self.url, raise_on_error, force_download)
            path = Path(found) if found is not None else None
        else:
            file_name = str(self._record.get("file") or self.name)
            path = local_copy(self._workspace, self._thing(), self._ref, file_name, fresh=force_download)
            if self._ref.kind == "tree" and not extract_archive:
                path = _zipped(self._workspace, self._ref, path)
        if path is not None and extract_archive and self.type == "archive" and path.is_file():
            path = self._unpacked(path, raise_on_error)
        return None if path is None else str(path)

    def _unpacked(self, path: Path, strict: bool) -> Path | None:
        """The folder in a zip; of a hostile or damaged one a warning and None, or BadValue."""
        from tracker.notice import say
        from tracker.storage import transfer

        try:
            return transfer.extracted(path)
        except (BadValue, OSError) as error:
            message = f"artifact {self.name!r} is not unpacked: {error}; extract_archive=False gives the file"
            if strict:
                raise BadValue(message) from error
            say(message)
            return None

    def __repr__(self) -> str:
        shown = {k: getattr(self, k) for k in ("name", "type", "size", "hash", "timestamp", "metadata")}
        return str(shown)

    def _repr_html_(self) -> str:
        from tracker.sdk import glance

        return glance.of_artifact(self)


class Artifacts(Mapping[str, Artifact]):
    """A task's artifacts by name, read-only."""

    def __init__(self, workspace: Workspace, task: str, records: Mapping[str, Mapping[str, Any]]) -> None:
        self._items = {name: Artifact(workspace, task, name, record) for name, record in records.items()}

    def __getitem__(self, name: str) -> Artifact:
        return self._items[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def _repr_html_(self) -> str:
        from tracker.sdk import glance

        return glance.of_artifacts(self)

    def __setitem__(self, name: str, value: object) -> None:
        raise UsageError("artifacts are read-only: use upload_artifact")

    def __repr__(self) -> str:
        return repr(self._items)


def artifact(hash: str) -> Artifact:
    """An artifact by its hash, or six or more of its first digits: of any task of the store, or any object in it.

    Where several tasks have it: one that this user recorded, else the newest. Raises NotFound, Ambiguous, InvalidName.
    """
    from tracker.sdk import current
    from tracker.workspace import Workspace

    task = current.get()
    workspace = task.workspace if task else Workspace.open()
    found: list[tuple[bool, int, str, str, Mapping[str, Any]]] = []
    for key, thing in workspace.tasks().items():
        for name, record in thing.state.section("artifact").items():
            object_id = Ref.parse(record["$ref"]).id if "$ref" in record else ""
            if object_id and object_id.startswith(hash):
                own = trust.trusted(key, object_id, record.get("mac"))
                found.append((own, int(record["timestamp"]), key, name, record))
    ids = sorted({Ref.parse(record["$ref"]).id for *_, record in found})
    if len(hash) < _PREFIX_MIN or not found:
        return _of_object(workspace, hash)
    if len(ids) > 1:
        raise Ambiguous(hash, ids)
    _, _, key, name, record = max(found, key=lambda each: each[:3])
    return Artifact(workspace, key, name, record)


def _of_object(workspace: Workspace, text: str) -> Artifact:
    """Any blob or folder of the store, as an artifact of no task."""
    target = workspace.resolve(text)
    if isinstance(target, str) or target[0] not in (Kind.BLOB, Kind.TREE):
        raise NotFound(
            f"{text} is no artifact, and no file or folder of the store: `tracker cat {text}` shows it"
        )
    kind, object_id = target
    size = workspace.store.objects.size(object_id) if kind is Kind.BLOB else 0
    if kind is Kind.TREE:
        size = sum(entry.size for entry in files.list_tree(workspace.store.objects, object_id))
    ref = Ref("tree" if kind is Kind.TREE else "blob", str(object_id), size)
    record = {"$ref": str(ref), "type": "archive" if kind is Kind.TREE else "custom", "timestamp": 0}
    return Artifact(workspace, "", str(object_id)[:12], {**record, "file": str(object_id)[:12]})


def pieces(workspace: Workspace, thing: Thing, ref: Ref) -> Iterator[bytes]:
    """A blob's content piece by piece, be it still in a journal. Raises NotFound, Corrupt."""
    held = thing.content.get(ref.id)
    if held is not None:
        yield held
    else:
        yield from workspace.store.objects.stream(ObjectId.parse(ref.id))


def fetched(what: str, url: str, strict: bool, fresh: bool) -> str | None:
    """A copy of what is only registered at a URL; if it cannot be had a warning and None, or BadValue."""
    from tracker.notice import say
    from tracker.storage import transfer

    try:
        return str(transfer.fetch(url, fresh=fresh))
    except (StoreError, BadValue, OSError, ModuleNotFoundError) as error:
        if strict:
            raise BadValue(f"{what} is only registered, at {url}, and cannot be fetched: {error}") from error
        say(f"{what} is only registered, at {url}, and cannot be fetched: {error}")
        return None


def zip_of(workspace: Workspace, ref: Ref) -> Iterator[bytes]:
    """A stored folder as a zip, piece by piece, out of the store. Links are left out. Raises NotFound, Corrupt."""
    from tracker.storage import archives

    return archives.zipped(_sources(workspace, ObjectId.parse(ref.id), ""))


def _sources(workspace: Workspace, tree: ObjectId, prefix: str) -> Iterator[archives.Source]:
    objects = workspace.store.objects
    for entry in files.list_tree(objects, tree):
        if entry.mode is Mode.TREE:
            yield from _sources(workspace, entry.id, f"{prefix}{entry.name}/")
        elif entry.mode is not Mode.LINK:
            yield (
                f"{prefix}{entry.name}",
                entry.mode is Mode.EXEC,
                entry.size,
                partial(objects.stream, entry.id),
            )


def local_copy(workspace: Workspace, thing: Thing, ref: Ref, file_name: str, *, fresh: bool = False) -> Path:
    """A verified copy of an object under `cache/files/`, named as the user named it."""
    from tracker.codecs.protocol import file_name as safe

    folder = _cache(workspace) / ref.id[:32]
    folder.mkdir(parents=True, exist_ok=True)
    if ref.kind == "tree":
        file_name = file_name.removesuffix(".zip")  # what a folder's record calls it, as ClearML does
    path = folder / safe(Path(file_name).name or "content")
    if not fresh and _matches(workspace, ref, path):
        return path
    if ref.kind == "tree":
        target = folder / secrets.token_hex(8)
        files.checkout(workspace.store.objects, ObjectId.parse(ref.id), target)
        _put_in_place(workspace, ref, target, path)
    elif ref.id in thing.content:
        part = path.with_name(f".{secrets.token_hex(8)}")
        part.write_bytes(thing.content[ref.id])
        part.replace(path)
    else:
        files.get_file(workspace.store.objects, ObjectId.parse(ref.id), path)
    return path


def _put_in_place(workspace: Workspace, ref: Ref, made: Path, path: Path) -> None:
    """Rename a folder to its name. What is there already stays if it is right: somebody may be reading it."""
    for _ in range(10):
        try:
            made.rename(path)
            return
        except OSError:
            if _matches(workspace, ref, path):
                shutil.rmtree(made)
                return
        aside = path.with_name(f".{secrets.token_hex(8)}")
        with suppress(FileNotFoundError):  # another process moved it first
            path.rename(aside)
            shutil.rmtree(aside) if aside.is_dir() and not aside.is_symlink() else aside.unlink()
    raise FileExistsError(f"{path} is in the way, and comes back as often as it is moved")


def _cache(workspace: Workspace) -> Path:
    if not workspace.store.read_only:
        return workspace.root / "cache" / "files"
    import tempfile

    return Path(tempfile.gettempdir()) / f"tracker-{secrets.token_hex(8)}"


def _matches(workspace: Workspace, ref: Ref, path: Path) -> bool:
    """Whether a copy is still what its hash says."""
    if path.is_symlink() or not path.exists():
        return False
    if ref.kind == "blob":
        return path.is_file() and str(hash_file(path)) == ref.id
    try:
        entries = files.list_tree(workspace.store.objects, ObjectId.parse(ref.id))
    except NotFound:
        return False
    names = {entry.name for entry in entries}
    if not path.is_dir() or {p.name for p in path.iterdir()} != names:
        return False
    checked = [e for e in entries if e.mode is not Mode.LINK]
    return all(_matches(workspace, Ref(_kind(e), str(e.id), e.size), path / e.name) for e in checked)


def _kind(entry: TreeEntry) -> str:
    return "tree" if entry.mode.kind is Kind.TREE else "blob"


def _zipped(workspace: Workspace, ref: Ref, folder: Path) -> Path:
    """A folder's zip, beside its copy."""
    target = folder.with_name(f"{folder.name}.zip")
    part = target.with_name(f".{secrets.token_hex(8)}")
    try:
        with part.open("xb") as file:
            for piece in zip_of(workspace, ref):
                file.write(piece)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return target


def store(workspace: Workspace, attach: Any, encoded: Encoded) -> dict[str, Any]:
    """Put an encoded value's content into the store; returns what the record says of where it is."""
    payload, force = encoded.payload, workspace.config.force_read
    if encoded.kind == "url":
        return {"url": str(payload)}
    if isinstance(payload, bytes):
        return {"$ref": attach(payload)}
    if encoded.kind == "file":
        path = Path(str(payload))
        if path.stat().st_size <= 1 << 20:
            return {"$ref": attach(path.read_bytes())}
        return {"$ref": workspace.store_with(lambda tx: files.put_file(tx, path, force=force))}
    if encoded.kind == "tree":
        folder = Path(str(payload))
        return {"$ref": workspace.store_with(lambda tx: files.put_folder(tx, folder, force=force), "tree")}
    return {"$ref": store_list(workspace, list(payload))}  # type: ignore[arg-type]  # kind "list"


def store_list(workspace: Workspace, pairs: list[tuple[str, Path]]) -> str:
    """Store files under relative names as one folder; returns its "$ref". Raises OSError, StoreError."""
    force = workspace.config.force_read
    return workspace.store_with(lambda tx: _put_list(tx, pairs, force), "tree")


def _put_list(transaction: Any, pairs: list[tuple[str, Path]], force: bool) -> tuple[ObjectId, int]:
    """Files under relative names as one tree."""
    entries: list[TreeEntry] = []
    below: dict[str, list[tuple[str, Path]]] = {}
    for name, path in pairs:
        first, slash, rest = name.partition("/")
        if slash:
            below.setdefault(first, []).append((rest, path))
        else:
            mode = Mode.EXEC if path.stat().st_mode & 0o111 else Mode.FILE
            entries.append(TreeEntry(first, mode, *files.put_file(transaction, path, force=force)))
    entries += [TreeEntry(n, Mode.TREE, *_put_list(transaction, inner, force)) for n, inner in below.items()]
    return files.put_tree(transaction, entries)
