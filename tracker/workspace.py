"""The only place that opens things: finds or makes the store, reads what is in it, edits what is not running."""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from objstore import layout as store_layout
from objstore.errors import Ambiguous, InvalidName, NotFound, StoreError
from objstore.heads import Head
from objstore.ids import Kind, ObjectId
from objstore.store import Store
from tracker import config, deltas, layout, reader
from tracker.errors import RecordingFault, TaskNotFound, TrackerError
from tracker.names import without_surrogates
from tracker.notice import say
from tracker.package_data import template_dir
from tracker.purged import Note, key_of, note_of
from tracker.reader import Reader, Thing
from tracker.records import Entry, Ref, State
from tracker.state import merge

if TYPE_CHECKING:
    from tracker.projection import Projection

_PURGED = f'"path":["{layout.PURGE}",'.encode()  # in a commit of a note of a purge

Changes = (
    Mapping[str, Any] | Callable[[int], Mapping[str, Any]]
)  # keys and values; or these, of the edit's stamp


class Workspace:
    """An open store and its settings."""

    def __init__(self, store: Store, settings: config.Config, *, fallback_for: Path | None = None) -> None:
        self.store = store
        self.root = store.root
        self.config = settings
        self.fallback_for = fallback_for  # the store that this one stands in for, which could not be written
        self._reader = Reader(store)
        self._projection: Projection | None = None
        self._become_a_writer()

    # --- opening -----------------------------------------------------------------------------------------------------

    @classmethod
    def open(cls, root: Path | None = None) -> Workspace:
        """The store at `root`, else the one that `TRACKER_DIR` names, else the nearest upwards. Raises NotFound."""
        path = root or find(Path.cwd())
        path = path and path.absolute()  # the process may change its working directory
        if path is None:
            raise NotFound(
                f"no {layout.STORE} folder here or above {Path.cwd()}: run `tracker init`, or name one with --store"
            )
        return cls(Store.open(path), config.load(path))

    @classmethod
    def open_or_create(cls, root: Path | None = None) -> Workspace:
        """The same, made if there is none. Where it may not be written: a stand-in below the user's state folder.

        Never raises for what the environment does, unless `strict`: where nothing at all can be written, the
        store is one that refuses, and the recorder says so.
        """
        here = _here()
        path = (root or find(here) or default_root(here)).absolute()
        try:
            store = Store.create(path, template_dir())
            if not store.read_only:
                return cls(store, _settings(path))
            reason: Exception | str = "it is read-only"
        except (OSError, StoreError) as error:
            reason = error
        settings = _settings(path)
        if settings.strict:
            raise RecordingFault(f"{path} cannot be written: {reason}")
        return cls._stand_in(path, settings) or cls(Store(path, read_only=True), settings, fallback_for=path)

    @classmethod
    def _stand_in(cls, path: Path, settings: config.Config) -> Workspace | None:
        """A store below the user's state folder, else below the temporary one, in place of `path`."""
        for base in stand_in_folders():
            folder = base / hashlib.blake2b(os.fsencode(path.absolute()), digest_size=8).hexdigest()
            try:
                base.mkdir(mode=0o700, parents=True, exist_ok=True)
                if base not in stand_in_folders():
                    continue  # another user was faster
                folder.mkdir(exist_ok=True)
                origin = str(path.absolute())
                (folder / "origin").write_text(origin, encoding="utf-8", errors="surrogateescape")
                store = Store.create(folder / layout.STORE, template_dir())
            except (OSError, StoreError):
                continue
            if not store.read_only:
                return cls(store, settings, fallback_for=path)
        return None

    # --- reading -----------------------------------------------------------------------------------------------------

    def things(self) -> dict[str, Thing]:
        """All tasks, models, aliases and pins by id."""
        return self._reader.things()

    def tasks(self) -> dict[str, Thing]:
        """All tasks by id, deleted ones left out."""
        return {
            k: t
            for k, t in self.things().items()
            if t.state.kind == layout.TASK and not t.state.get("deleted")
        }

    @property
    def projection(self) -> Projection:
        """What is known of all tasks and models, as tables to be asked."""
        if self._projection is None:
            from tracker.projection import Projection

            self._projection = Projection(self._reader)
        return self._projection

    def thing(self, key: str, maker: str = "") -> Thing:
        """One task, model, alias or pin as it stands now; maker: of a model, where it is known. Raises TaskNotFound."""
        try:
            return self._reader.thing(key, maker)
        except NotFound as error:
            raise TaskNotFound(f'Task ID "{key}" could not be found in {self.root}') from error

    def known(self, key: str) -> Mapping[str, Entry]:
        """The keys of a task that may not be there yet."""
        try:
            return self._reader.thing(key).state.keys
        except NotFound:
            return {}

    def committed(self, key: str) -> Mapping[str, Entry]:
        """The keys of a task as its heads have them: what others have edited, not what is running says."""
        heads = self.store.heads.of(key)
        return merge(self._reader.state(head) for head in heads).keys if heads else {}

    @property
    def damaged(self) -> dict[str, str]:
        """What could not be read so far, and why: heads, tables, packs, states."""
        found = {**self._reader.damaged, **self.store.heads.damaged, **self.store.objects.damaged}
        return found if self._projection is None else {**self._projection.damaged, **found}

    def resolve(self, prefix: str) -> str | tuple[Kind, ObjectId]:
        """What an id or a unique prefix of 6 or more characters stands for: a key, or an object.

        Raises NotFound, Ambiguous (candidates of both sorts), InvalidName.
        """
        if not _is_prefix(prefix):
            return self.store.resolve(prefix)  # which says what is wrong with it
        keys = [key for key in self.things() if key.startswith(prefix)]
        if prefix in keys:
            return prefix
        hits = [str(object_id) for _, object_id in self.store.objects.resolve(prefix)]
        if len(keys) + len(hits) > 1:
            raise Ambiguous(prefix, [*keys, *hits])
        if keys:
            return keys[0]
        try:
            return self.store.resolve(prefix)
        except NotFound:
            for object_id, note in self.purges().items():
                if object_id.startswith(prefix):
                    raise NotFound(note.text) from None
            raise

    def resolve_task(self, prefix: str) -> str:
        """The one task whose id begins with `prefix`. Raises NotFound, Ambiguous, InvalidName."""
        keys = [key for key in self.tasks() if key.startswith(prefix)]
        if prefix in keys:
            return prefix
        if not _is_prefix(prefix) or len(prefix) > 32:
            raise InvalidName(f"{prefix!r} is no task id: give 6 to 32 of the digits 0-9 and a-f")
        if len(keys) > 1:
            raise Ambiguous(prefix, keys)
        if not keys:
            raise NotFound(f"no task's id begins with {prefix}: `tracker ls` lists them")
        return keys[0]

    def purges(self) -> dict[str, Note]:
        """What was purged, here or where this store was pulled from, by hash."""
        heads = self.store.heads.live()
        # By the raw bytes first: to parse the heads of 100,000 tasks takes seconds.
        named = {key: each for key, each in heads.items() if _PURGED in each[0].raw}
        chosen = {k: each for k, each in named.items() if each[0].commit.path[:1] == (layout.PURGE,)}
        found = (note_of(thing.state) for thing in self._reader.sealed(chosen).values())
        return {note.id: note for note in found}

    def purged(self, object_id: str) -> Note | None:
        """What is known of the purge of one object; None where it was not purged."""
        key = key_of(object_id)
        heads = self.store.heads.of(key)
        found = self._reader.sealed({key: heads} if heads else {})
        return note_of(found[key].state) if key in found else None

    def read(self, thing: Thing, ref: Ref) -> bytes:
        """The content of a blob that a thing refers to, be it still in a journal. Raises NotFound, Corrupt."""
        found = thing.content.get(ref.id)
        return found if found is not None else self.store.objects.read(ObjectId.parse(ref.id))

    def find_content(self, object_id: str) -> bytes | None:
        """Content that only a running task's journal holds so far, by id."""
        for thing in self.things().values():
            if object_id in thing.content:
                return thing.content[object_id]
        return None

    # --- changing ----------------------------------------------------------------------------------------------------

    def edit(
        self,
        key: str,
        changes: Changes,
        *,
        kind: str = layout.TASK,
        new: bool = False,
        onto: Sequence[Head] = (),
    ) -> State:
        """Set keys of a task (None removes one) and commit; returns the new state. Raises TaskNotFound, OSError.

        onto: commits that are no heads any more, and that the new one follows besides.
        """
        if os.getpid() != self._pid:
            self._become_a_writer()  # a forked child's edits are not its parent's
        with self._editing:
            heads = [] if new else [*self.store.heads.of(key), *onto]
            return self._edit(key, changes, kind, heads, new)

    def _become_a_writer(self) -> None:
        self._pid = os.getpid()
        self._writer = secrets.token_hex(layout.WRITER_SIZE // 2)
        self._edits = 0
        self._edited: dict[str, int] = {}  # per key the number of this writer's last edit
        # One edit after another: a head that covers this writer's second edit must hold its first.
        self._editing = threading.Lock()

    def _edit(self, key: str, changes: Changes, kind: str, heads: Sequence[Head], new: bool) -> State:
        if reader.united_covers(heads).get(self._writer, 0) < self._edited.get(key, 0):
            # The store was put back to an earlier state: a second edit that lacks the first must not cover it.
            self._writer, self._edited = secrets.token_hex(layout.WRITER_SIZE // 2), {}
        before = [self._reader.state(head) for head in heads]
        # The stamp has to beat what a running writer has set, so its journal counts too.
        known = [*before] if new else [*before, self.thing(key).state]
        stamp = max([time.time_ns() // 1000, *(1 + state.stamp for state in known)])
        self._edits += 1
        values = without_surrogates(changes(stamp) if callable(changes) else changes)
        if self.config.redact:
            from tracker.redaction import redact_value

            values = {name: redact_value(name, value) for name, value in values.items()}
        entries = {name: Entry(value, stamp, self._writer) for name, value in values.items()}
        state = merge([*before, State(kind, entries)])
        covers = {**reader.united_covers(heads), self._writer: self._edits}
        from tracker import seal  # most processes only read

        path = seal.path_of(merge([*known, state]))
        with self.store.begin() as transaction:
            seal.commit_state(self.store, transaction, key, state, heads, covers, path)
        with suppress(OSError):  # a run that goes on looks at its own folder, and then at what was edited
            os.utime(self.root / store_layout.LIVE / key)
        self._edited[key] = self._edits
        if self._edits % store_layout.MERGE_COUNT == 1:  # the first of a process, too: many make only one
            self.tidy()
        return state

    def attach(self, data: bytes) -> str:
        """Store content at once and durably; returns its "$ref"."""
        with self.store.begin() as transaction:
            object_id = transaction.put_bytes(data)
        return str(Ref("blob", str(object_id), len(data)))

    def store_with(self, put: Callable[[Any], tuple[ObjectId, int]], kind: str = "blob") -> str:
        """Run `put` in a transaction of its own; returns the "$ref" of what it stored."""
        with self.store.begin() as transaction:
            object_id, size = put(transaction)
        return str(Ref(kind, str(object_id), size))

    def recover(self) -> list[str]:
        """Seal what dead or closed writers have left; returns the ids of the tasks touched. Read-only: does nothing."""
        if self.store.read_only:
            return []
        done = []
        for key in sorted({source.key for source in deltas.journals(self.root)}):
            from tracker import seal  # most processes find nothing to seal

            try:
                if seal.seal(self.store, key):
                    done.append(key)
            except (OSError, StoreError, TrackerError):
                continue  # readers fold it in memory; the next one tries again
        self.tidy()
        return done

    def tidy(self, seconds: float | None = layout.TIDY) -> None:
        """Fold heads and merge packs where many have gathered, for about so long; None: as long as it takes.

        Never raises for what the environment does: what is not done is done by whoever comes next.
        """
        with suppress(OSError, StoreError):
            if seconds is None or len(self.store.objects.pack_ids()) >= store_layout.MERGE_COUNT:
                self.store.tidy(seconds)


def find(start: Path, environment: Mapping[str, str] = os.environ) -> Path | None:
    """The store that a process working in `start` means: `TRACKER_DIR`, else the nearest .tracker upwards.

    As with --store, what is named is a store, or a folder that has one in it as .tracker.
    """
    named = environment.get("TRACKER_DIR")
    if named:
        return config.store_in(Path(named))
    for folder in (start, *start.parents):
        if os.path.isfile(folder / layout.STORE / "format"):  # not Path's, which raises where it may not look
            return folder / layout.STORE
    return None


def _here() -> Path:
    """The working directory, or where it was before somebody removed it."""
    try:
        return Path.cwd()
    except OSError:
        return Path(os.environ.get("PWD") or os.sep)


def default_root(start: Path) -> Path:
    """Where a new store belongs: in the git root above `start`, else in `start`."""
    for folder in (start, *start.parents):
        if os.path.exists(folder / ".git"):
            return folder / layout.STORE
    return start / layout.STORE


def _settings(path: Path) -> config.Config:
    """A store's settings for recording: where they cannot be read, a warning and the defaults. A training goes on."""
    try:
        return config.load(path if os.path.isfile(path / "config.toml") else None)
    except config.Garbled as error:
        say(f"{error}; the run is recorded with the default settings")
        return config.Config()


def stand_in_folders() -> list[Path]:
    """Where stand-ins are made and looked for: the user's state folder, then this user's own in the temporary one."""
    state = config.state_home()
    found = [] if state is None else [state]
    user = getattr(os, "getuid", lambda: 0)()
    with suppress(OSError):  # there may be no temporary folder
        own = Path(tempfile.gettempdir()) / f"tracker-{user}"
        # Anybody may make a folder of that name there.
        if not os.path.lexists(own) or own.lstat().st_uid == user:
            found.append(own)
    return found


def stand_ins(root: Path) -> list[Path]:
    """The stores that stand in for `root`, or for the folder that it lies in and that was named instead."""
    origins = [origin for base in stand_in_folders() for origin in sorted(base.glob("*/origin"))]
    root = root.absolute()
    wanted = {str(root), *(str(folder) for folder in [root.parent] if config.store_in(folder) == root)}
    return [
        origin.parent / layout.STORE
        for origin in origins
        if origin.read_text(encoding="utf-8", errors="surrogateescape") in wanted
    ]


def _is_prefix(text: str) -> bool:
    return 6 <= len(text) <= 64 and set(text) <= set("0123456789abcdef")
