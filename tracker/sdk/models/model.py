"""A model by its id, its weights' hash or an alias: what is known of it, its weights, the edits that any takes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from objstore.errors import Ambiguous, NotFound, StoreError
from tracker import aliases, layout, purged
from tracker.errors import BadValue, TaskNotFound, TrackerError
from tracker.records import Ref, State
from tracker.sdk import artifacts
from tracker.sdk.model_reports import ModelReports

if TYPE_CHECKING:
    from tracker.reader import Thing
    from tracker.sdk.task import Task
    from tracker.workspace import Workspace

PACKAGE = "package"  # the system tag of weights that are several files, as in ClearML
_ARCHIVED = "system_tag/archived"
_ID_SIZE = 32  # digits of an id
_PREFIX_MIN = 6  # digits of an id or hash that may stand for it


class Model(ModelReports):
    """A model by its id, by its weights' hash, by six or more first digits of one of them, or by an alias.

    Raises TaskNotFound for what no model has, Ambiguous for a prefix that several have.
    """

    def __init__(self, model_id: str, *, workspace: Workspace | None = None) -> None:
        self._workspace = workspace or open_workspace()
        self._id = find(self._workspace, model_id)

    _maker = ""

    @classmethod
    def _of(cls, workspace: Workspace, key: str, maker: str = "") -> Model:
        """A model that a task links to, whether its record is here or not. maker: the task that may have made it."""
        model = object.__new__(cls)
        model._workspace, model._id, model._maker = workspace, key, maker
        return model

    # --- what is known of it -----------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """32 hex digits."""
        return self._id

    @property
    def name(self) -> str:
        """What people call it."""
        return str(self._state.get("name", ""))

    @name.setter
    def name(self, value: str) -> None:
        from tracker import names

        self._edit({"name": names.check_name("model", value)})

    @property
    def project(self) -> str:
        """The name of its project."""
        return str(self._state.get("project", ""))

    @property
    def task(self) -> str:
        """The id of the task that made it; empty for one that was imported."""
        return str(self._state.get("task", ""))

    original_task = task

    @property
    def framework(self) -> str:
        """The framework that wrote the weights."""
        return str(self._state.get("framework", ""))

    @property
    def comment(self) -> str:
        """Free text."""
        return str(self._state.get("comment", ""))

    @comment.setter
    def comment(self, value: str) -> None:
        self._edit({"comment": str(value)})

    @property
    def tags(self) -> list[str]:
        """Sorted."""
        return list(self._state.section("tag"))

    @tags.setter
    def tags(self, value: Sequence[str]) -> None:
        wanted = [value] if isinstance(value, str) else list(value)
        gone = {f"tag/{tag}": None for tag in self.tags if tag not in wanted}
        self._edit({**gone, **{f"tag/{tag}": True for tag in wanted}})

    @property
    def system_tags(self) -> list[str]:
        """Sorted; `archived` and `package` have a meaning."""
        return list(self._state.section("system_tag"))

    @property
    def labels(self) -> dict[str, int]:
        """Label to number."""
        return dict(self._state.get("labels", {}))

    @property
    def config_text(self) -> str:
        """The design as text; one that was given as a dict as JSON."""
        config = self._state.get("config", "")
        if isinstance(config, str):
            return config
        import json

        return json.dumps(config, indent=4)

    @property
    def config_dict(self) -> dict[str, Any]:
        """The design as a dict; text is read as JSON, else as YAML. Raises BadValue for what is neither."""
        config = self._state.get("config", "")
        return dict(config) if isinstance(config, Mapping) else _parsed(str(config))

    @property
    def published(self) -> bool:
        """Whether it is final: its weights and design are not changed any more."""
        return bool(self._state.get("published"))

    @property
    def hash(self) -> str:
        """The weights' object id: BLAKE3 of the file, or a folder's tree id; empty where nobody has computed it."""
        ref = self._ref()
        return ref.id if ref else str(self._weights.get("hash", ""))

    @property
    def size(self) -> int:
        """Bytes of weights; 0 where it is not known."""
        ref = self._ref()
        return ref.size if ref else int(self._weights.get("size", 0))

    @property
    def url(self) -> str:
        """Where the weights are: the copy at an output destination, `tracker://HASH/FILE`, or the URL registered."""
        weights = self._weights
        return str(
            weights.get("url") or (f"tracker://{self.hash}/{weights.get('file', '')}" if weights else "")
        )

    # --- its weights -------------------------------------------------------------------------------------------------

    def get_weights(
        self, raise_on_error: bool = False, force_download: bool = False, extract_archive: bool = False
    ) -> str | None:
        """A verified local copy of the weights; returns its path, or None where there are none.

        A folder comes as a folder; a zip or tgz with `extract_archive` too. Registered weights are fetched, a local
        file is its own copy. Raises NotFound, Corrupt; with `raise_on_error` BadValue where there are none.
        """
        weights, ref = self._weights, self._ref()
        if weights.get("purged"):
            day = purged.day(weights["purged"])
            raise NotFound(f"the weights of model {self.id} were purged on {day}: they are gone for good")
        if ref is not None:
            thing = self._workspace.thing(self._id, self._maker)
            found = artifacts.local_copy(
                self._workspace, thing, ref, str(weights["file"]), fresh=force_download
            )
            path: str | None = str(found)
        elif weights:
            path = artifacts.fetched(
                f"the weights of model {self.id}", self.url, raise_on_error, force_download
            )
        elif raise_on_error:
            raise BadValue(f"model {self.id} has no weights")
        else:
            return None
        if not extract_archive or path is None:
            return path
        from tracker.storage import transfer

        return str(transfer.extracted(Path(path)))

    def get_local_copy(
        self, extract_archive: bool | None = None, raise_on_error: bool = False, force_download: bool = False
    ) -> str | None:
        """The same; a package is extracted unless asked otherwise."""
        extract = PACKAGE in self.system_tags if extract_archive is None else extract_archive
        return self.get_weights(raise_on_error, force_download, extract)

    def get_weights_package(
        self,
        return_path: bool = False,
        raise_on_error: bool = False,
        force_download: bool = False,
        extract_archive: bool = True,
    ) -> str | list[Path] | None:
        """The files of weights that are a package, or with `return_path` their folder; None where there are none.

        Raises BadValue for weights that are one file, with `raise_on_error`.
        """
        if PACKAGE not in self.system_tags:
            if raise_on_error:
                raise BadValue(f"the weights of model {self.id} are no package: get_weights() has them")
            return None
        path = self.get_weights(raise_on_error, force_download, extract_archive)
        if path is None or return_path or not Path(path).is_dir():
            return path if path is None or return_path else [Path(path)]
        return sorted(each for each in Path(path).rglob("*") if each.is_file())

    # --- edits -------------------------------------------------------------------------------------------------------

    def publish(self) -> None:
        """Make it final."""
        self._edit({"published": time.time_ns() // 1000})

    def archive(self) -> None:
        """Hide it from queries that do not ask for archived ones."""
        self._edit({_ARCHIVED: True})

    def unarchive(self) -> None:
        """Undo that."""
        self._edit({_ARCHIVED: None})

    def set_metadata(self, key: str, value: Any, v_type: str | None = None) -> bool:
        """Keep a value under a key, as text of a type (that of the value); True."""
        self._edit({f"meta/{key}": _meta(value, v_type)})
        return True

    def get_metadata(self, key: str) -> str | None:
        """A value as text; None where there is none."""
        found = self._state.get(f"meta/{key}")
        return None if found is None else str(found["value"])

    def get_metadata_casted(self, key: str) -> Any:
        """A value of its type; None where there is none."""
        from tracker.sdk import parameters

        found = self._state.get(f"meta/{key}")
        return None if found is None else parameters.cast(str(found["value"]), found.get("type"))

    def get_all_metadata(self) -> dict[str, dict[str, str]]:
        """`{key: {"key", "value", "type"}}`, all as text."""
        return {
            key: {"key": key, "value": str(item["value"]), "type": str(item.get("type") or "")}
            for key, item in self._state.section("meta").items()
        }

    def get_all_metadata_casted(self) -> dict[str, Any]:
        """`{key: value}`, each of its type."""
        return {key: self.get_metadata_casted(key) for key in self._state.section("meta")}

    def set_all_metadata(self, metadata: Mapping[str, Any], replace: bool = True) -> bool:
        """Keep `{key: {"value", "type"}}` or `{key: value}`; `replace` removes all other keys. True."""
        gone = {f"meta/{key}": None for key in self._state.section("meta")} if replace else {}
        given = {
            f"meta/{key}": _meta(item["value"], item.get("type"))
            if isinstance(item, Mapping) and "value" in item
            else _meta(item, None)
            for key, item in metadata.items()
        }
        self._edit({**gone, **given})
        return True

    # --- all models --------------------------------------------------------------------------------------------------

    @classmethod
    def query_models(
        cls,
        project_name: str | None = None,
        model_name: str | None = None,
        tags: Sequence[str] | None = None,
        only_published: bool = False,
        include_archived: bool = False,
        max_results: int | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> list[Model]:
        """The models that fit, newest first. Names are exact; any of the tags, and none that has a dash in front."""
        from tracker.sdk.models import queries

        wanted = queries.Wanted(
            project_name, model_name, tuple(tags or ()), only_published, include_archived, metadata or {}
        )
        workspace = open_workspace()
        return [Model._of(workspace, thing.key) for thing in queries.find(workspace, wanted)[:max_results]]

    @classmethod
    def remove(
        cls,
        model: Model | str,
        delete_weights_file: bool = True,
        force: bool = False,
        raise_on_errors: bool = False,
    ) -> bool:
        """Delete a model, and the copy of its weights at an output destination; whether that was done.

        What a task uses as input, and what is published, needs `force`. The store frees the room with `tracker gc`.
        """
        from tracker.sdk.models import queries

        try:
            found = Model(model) if isinstance(model, str) else model
            queries.remove(found._workspace, found.id, copies=delete_weights_file, force=force)
        except (TrackerError, StoreError, OSError) as error:
            if raise_on_errors:
                raise
            from tracker.notice import say

            say(f"a model was not deleted: {error}")
            return False
        return True

    # --- within ------------------------------------------------------------------------------------------------------

    @property
    def _state(self) -> State:
        return self._workspace.thing(self._id, self._maker).state

    @property
    def _weights(self) -> dict[str, Any]:
        return dict(self._state.get("weights") or {})

    def _ref(self) -> Ref | None:
        weights = self._weights
        return Ref.parse(weights["$ref"]) if "$ref" in weights else None

    def _edit(self, changes: Mapping[str, Any]) -> None:
        """Set keys of the record: by the journal of the task that made it, where that runs here."""
        task = _runs_here(self.task)
        if task is not None:
            task.write_model(self._id, changes)
        else:
            self._workspace.edit(self._id, changes, kind=layout.MODEL)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(id={self.id}, name={self.name!r})"

    def _repr_html_(self) -> str:
        from tracker.sdk import glance

        return glance.of_model(self)


def open_workspace() -> Workspace:
    """The store of the running task, else the one of this folder."""
    from tracker.sdk import current
    from tracker.workspace import Workspace

    task = current.get()
    return task.workspace if task else Workspace.open()


def find(workspace: Workspace, text: object) -> str:
    """The id of the model that a text stands for; see Model. Raises TaskNotFound, Ambiguous, BadValue."""
    if not isinstance(text, str) or not text:
        raise BadValue(f"a model's id is text, not {text!r}")
    if aliases.is_alias(text):
        text = aliases.target(workspace, text)
    if len(text) != _ID_SIZE:
        return _by_prefix(workspace, text)
    try:
        thing = workspace.thing(text)
    except TaskNotFound:
        return _by_prefix(workspace, text)
    if thing.state.get("deleted"):
        raise TaskNotFound(f'Model ID "{text}" could not be found: it was deleted')
    if thing.state.kind != layout.MODEL:
        raise TaskNotFound(f'Model ID "{text}" could not be found: it is the id of a {thing.state.kind}')
    return text


def _by_prefix(workspace: Workspace, text: str) -> str:
    if len(text) < _PREFIX_MIN:
        raise TaskNotFound(f'Model ID "{text}" could not be found in {workspace.root}')
    models = [
        thing
        for thing in workspace.things().values()
        if thing.state.kind == layout.MODEL and not thing.state.get("deleted")
    ]
    keys = [thing.key for thing in models if thing.key.startswith(text)]
    held = [thing for thing in models if weights_hash(thing).startswith(text)]
    hashes = sorted({weights_hash(thing) for thing in held})
    if len(keys) + len(hashes) > 1:
        raise Ambiguous(text, [*keys, *hashes])
    if not keys and not held:
        raise TaskNotFound(
            f'Model ID "{text}" could not be found in {workspace.root}: no weights have that hash'
        )
    return keys[0] if keys else max(held, key=lambda thing: (created(thing), thing.key)).key


def weights_hash(thing: Thing) -> str:
    """The content id of a model's weights; empty where it is not known."""
    weights = thing.state.get("weights") or {}
    return Ref.parse(weights["$ref"]).id if "$ref" in weights else str(weights.get("hash", ""))


def created(thing: Thing) -> int:
    """When a model was made, microseconds since the epoch."""
    return int(thing.state.get("created") or 0)


def _runs_here(task_id: str) -> Task | None:
    from tracker.sdk import current

    task = current.get()
    return task if task is not None and task.id == task_id and task.runs_here else None


def _meta(value: Any, kind: str | None) -> dict[str, Any]:
    from tracker.sdk import parameters

    return {"value": parameters.encode(value), "type": kind or parameters.type_of(value)}


def _parsed(text: str) -> dict[str, Any]:
    import json

    if not text.strip():
        return {}
    try:
        found = json.loads(text)
    except ValueError:
        try:
            import yaml

            found = yaml.safe_load(text)
        except (ModuleNotFoundError, ValueError) as error:
            raise BadValue(f"the design is no JSON: {error}: config_text has it as it is") from error
        except yaml.YAMLError as error:
            raise BadValue(
                f"the design is neither JSON nor YAML: {error}: config_text has it as it is"
            ) from error
    if not isinstance(found, dict):
        raise BadValue(f"the design is a {type(found).__name__}, no dict: config_text has it as it is")
    return found
