"""Models: weights in the store, a record of their own, and a link from the task that made or used them."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from objstore import files
from objstore.errors import StoreError
from tracker import layout, names
from tracker.errors import BadValue
from tracker.records import Ref, State
from tracker.sdk import artifacts
from tracker.sdk.model_reports import ModelReports
from tracker.sdk.sink import Sink

if TYPE_CHECKING:
    from tracker.sdk.task import Task
    from tracker.workspace import Workspace

_FRAMEWORKS = {
    ".pt": "PyTorch",
    ".pth": "PyTorch",
    ".pkl": "ScikitLearn",
    ".joblib": "ScikitLearn",
    ".h5": "Keras",
    ".keras": "Keras",
    ".onnx": "ONNX",
    ".cbm": "CatBoost",
    ".model": "MXNet",
}


class Model(ModelReports):
    """A model by its id: read, and reported on."""

    def __init__(self, model_id: str, *, workspace: Workspace | None = None) -> None:
        from tracker.workspace import Workspace

        self._workspace = workspace or Workspace.open()
        self._id = model_id
        self._workspace.thing(model_id)  # raises for an id that nothing has

    @property
    def id(self) -> str:
        """32 hex digits."""
        return self._id

    @property
    def name(self) -> str:
        """What people call it."""
        return str(self._state.get("name", ""))

    @property
    def project(self) -> str:
        """The name of its project."""
        return str(self._state.get("project", ""))

    @property
    def task(self) -> str:
        """The id of the task that made it."""
        return str(self._state.get("task", ""))

    @property
    def framework(self) -> str:
        """The framework that wrote the weights."""
        return str(self._state.get("framework", ""))

    @property
    def comment(self) -> str:
        """Free text."""
        return str(self._state.get("comment", ""))

    @property
    def tags(self) -> list[str]:
        """Sorted."""
        return list(self._state.section("tag"))

    @property
    def labels(self) -> dict[str, int]:
        """Label to number."""
        return dict(self._state.get("labels", {}))

    @property
    def hash(self) -> str:
        """The weights' object id: BLAKE3 of the file, or a folder's tree id; empty where there are none."""
        ref = self._ref()
        return ref.id if ref else ""

    @property
    def size(self) -> int:
        """Bytes of weights."""
        ref = self._ref()
        return ref.size if ref else 0

    @property
    def url(self) -> str:
        """Where the weights are: `tracker://HASH/FILE`, or the URL that was registered."""
        weights = self._state.get("weights", {})
        return str(
            weights.get("url") or (f"tracker://{self.hash}/{weights.get('file', '')}" if weights else "")
        )

    def get_weights(
        self, raise_on_error: bool = False, force_download: bool = False, extract_archive: bool = False
    ) -> str | None:
        """A verified local copy of the weights; returns its path, or None where there are none.

        A folder comes as a folder. Raises NotFound, Corrupt.
        """
        ref = self._ref()
        if ref is None:
            if raise_on_error:
                raise BadValue(f"model {self.id} has no weights in the store")
            return None
        name = str(self._state.get("weights")["file"])
        thing = self._workspace.thing(self._id)
        return str(artifacts.local_copy(self._workspace, thing, ref, name, fresh=force_download))

    def get_local_copy(
        self, extract_archive: bool | None = None, raise_on_error: bool = False, force_download: bool = False
    ) -> str | None:
        """The same."""
        return self.get_weights(raise_on_error, force_download)

    @property
    def _state(self) -> State:
        return self._workspace.thing(self._id).state

    def _ref(self) -> Ref | None:
        weights = self._state.get("weights") or {}
        return Ref.parse(weights["$ref"]) if "$ref" in weights else None

    def __repr__(self) -> str:
        return f"{type(self).__name__}(id={self.id}, name={self.name!r})"


class OutputModel(Model):
    """A model that a task makes. It is recorded with its first weights, or its first edit.

    Raises BadValue without a task and without a current one, and for a name under three characters.
    """

    def __init__(
        self,
        task: Task | None = None,
        config_text: str | None = None,
        config_dict: Mapping[str, Any] | None = None,
        label_enumeration: Mapping[str, int] | None = None,
        name: str | None = None,
        tags: Sequence[str] | None = None,
        comment: str | None = None,
        framework: str | None = None,
        base_model_id: str | None = None,
    ) -> None:
        from tracker.sdk.task import Task

        owner = task or Task.current_task()
        if owner is None:
            raise BadValue("OutputModel needs a task: pass task=, or call Task.init first")
        self._task = owner
        self._workspace = owner.workspace
        self._id = secrets.token_hex(16)
        self._published = False
        chosen = names.check_name("model", name) if name is not None else owner.name
        self._values: dict[str, Any] = {
            "name": chosen,
            "project": owner.get_project_name(),
            "task": owner.id,
            "comment": comment if comment is not None else f"Created by task id: {owner.id}",
            "framework": framework or "",
            "created": time.time_ns() // 1000,
            **{f"tag/{tag}": True for tag in tags or ()},
        }
        if label_enumeration:
            self._values["labels"] = dict(label_enumeration)
        if config_text is not None or config_dict is not None:
            self._values["config"] = config_text if config_text is not None else dict(config_dict or {})
        if base_model_id:
            self._values["parent"] = base_model_id

    def update_weights(
        self,
        weights_filename: str | Path | None = None,
        upload_uri: str | None = None,
        target_filename: str | None = None,
        auto_delete_file: bool = True,
        register_uri: str | None = None,
        iteration: int | None = None,
        update_comment: bool = True,
        is_package: bool = False,
        async_enable: bool = True,
    ) -> str:
        """Store a weights file or folder, or register a URL; returns the model's url.

        Exactly one of `weights_filename` and `register_uri`. On return the content is durable. The file is kept:
        `auto_delete_file` applies where `upload_uri` moves it elsewhere. Raises BadValue; "" when the store could
        not be written.
        """
        if (weights_filename is None) == (register_uri is None):
            raise BadValue("give exactly one of weights_filename and register_uri")
        if register_uri is not None:
            weights: dict[str, Any] = {"url": register_uri, "file": register_uri.rpartition("/")[2]}
        else:
            path = Path(str(weights_filename))
            if not path.exists():
                raise BadValue(f"{path} does not exist: save the weights before update_weights")
            stored = self._store(path)
            if stored is None:
                return ""
            weights = {"$ref": stored, "file": target_filename or path.name}
        if iteration is not None:
            weights["iteration"] = iteration
        if not self._values.get("framework"):
            self._values["framework"] = _FRAMEWORKS.get(Path(weights["file"]).suffix, "")
        if update_comment and "snapshot" not in str(self._values.get("comment")):
            self._values["comment"] = f"{self._values['comment']}\nsnapshot {weights['file']} stored".lstrip()
        self._values["weights"] = weights
        self._publish()
        return self.url

    def _store(self, path: Path) -> str | None:
        force = self._workspace.config.force_read

        def put() -> str:
            if path.is_dir():
                return self._workspace.store_with(lambda tx: files.put_folder(tx, path, force=force), "tree")
            if path.stat().st_size <= layout.INLINE_MAX:
                return self._task.attach(path.read_bytes())
            return self._workspace.store_with(lambda tx: files.put_file(tx, path, force=force))

        try:
            return put()
        except (OSError, StoreError) as error:
            self._task.fault(f"the weights {path.name} were not stored: {error}", error)
            return None

    def _reporting_task(self) -> Task:
        return self._task

    @property
    def _sink(self) -> Sink:
        if not self._published:
            self._publish()
        return super()._sink

    def _publish(self) -> None:
        self._published = True
        self._task.write_model(self._id, self._values)
        self._task.link_model(
            "output", self._id, Path(self._values.get("weights", {}).get("file", "")).stem or self.name
        )

    @property
    def _state(self) -> State:
        from tracker.records import Entry

        return State(layout.MODEL, {k: Entry(v, 0, "") for k, v in self._values.items()})


class InputModel(Model):
    """A model that a task uses."""

    def __init__(self, model_id: str | None = None, *, workspace: Workspace | None = None) -> None:
        if not model_id:
            raise BadValue("InputModel needs a model_id")
        super().__init__(model_id, workspace=workspace)

    def connect(self, task: Task, name: str | None = None) -> None:
        """Link the model to a task as its input."""
        task.link_model("input", self.id, name or self.name)


class ModelList(Sequence[Model]):
    """A task's input or output models in the order of their making; also by entry name."""

    def __init__(self, items: Sequence[tuple[str, Model]]) -> None:
        self._items = list(items)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            for name, model in self._items:
                if name == key:
                    return model
            raise KeyError(f"no model {key!r}: there are {', '.join(self.keys()) or 'none'}")
        found = self._items[key]
        return [model for _, model in found] if isinstance(found, list) else found[1]

    def get(self, key: str, default: Model | None = None) -> Model | None:
        """The model of an entry name."""
        return next((model for name, model in self._items if name == key), default)

    def keys(self) -> list[str]:
        """The entry names."""
        return [name for name, _ in self._items]

    def __iter__(self) -> Iterator[Model]:
        return iter([model for _, model in self._items])

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return repr([model for _, model in self._items])


class TaskModels(Mapping[str, ModelList]):
    """`models['input']` and `models['output']`, also as attributes."""

    def __init__(self, input: ModelList, output: ModelList) -> None:
        self.input = input
        self.output = output

    def __getitem__(self, key: str) -> ModelList:
        if key not in ("input", "output"):
            raise KeyError(f"{key!r}: a task has input and output models")
        return self.input if key == "input" else self.output

    def __iter__(self) -> Iterator[str]:
        return iter(("input", "output"))

    def __len__(self) -> int:
        return 2


def linked(workspace: Workspace, state: State) -> TaskModels:
    """The models that a task's state links to, each list in the order in which they were linked."""

    def listed(direction: str) -> ModelList:
        start = f"model/{direction}/"
        entries = [(e.stamp, k[len(start) :], e.value) for k, e in state.keys.items() if k.startswith(start)]
        found = [(str(v["name"]), key) for _, key, v in sorted(entries, key=lambda e: e[:2]) if v is not None]
        return ModelList([(name, Model(key, workspace=workspace)) for name, key in found])

    return TaskModels(listed("input"), listed("output"))
