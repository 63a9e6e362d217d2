"""OutputModel: a model that a task makes. Its weights are in the store before its record names them."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracker import layout, names
from tracker.errors import BadValue
from tracker.records import Entry, Ref, State
from tracker.sdk.models import weights
from tracker.sdk.models.callbacks import Operation, WeightsFileHandler, WeightsInfo
from tracker.sdk.models.model import PACKAGE, Model
from tracker.sdk.sink import Sink

if TYPE_CHECKING:
    from tracker.sdk.task import Task


class OutputModel(Model):
    """A model that a task makes. It is recorded with its first weights, or its first edit.

    Raises BadValue without a task and without a current one, and for a name under three characters.
    """

    _default_upload_uri: str | None = None
    by_framework = False  # made by the save of a framework, and nobody has claimed its file yet

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
        self._recorded = False
        self._entry = ""
        self._upload_uri: str | None = None
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
            self._values["labels"] = weights.checked_labels(label_enumeration)
        if config_text is not None or config_dict is not None:
            self._values["config"] = weights.design(config_text, config_dict)
        if base_model_id:
            self._values["parent"] = base_model_id

    # --- weights -----------------------------------------------------------------------------------------------------

    def update_weights(
        self,
        weights_filename: str | Path | None = None,
        upload_uri: str | bool | None = None,
        target_filename: str | None = None,
        auto_delete_file: bool = True,
        register_uri: str | None = None,
        iteration: int | None = None,
        update_comment: bool = True,
        is_package: bool = False,
        async_enable: bool = True,
        *,
        delete_always: bool = False,
    ) -> str:
        """Store a weights file or folder, or register a URL; returns the model's url.

        Exactly one of `weights_filename` and `register_uri`. On return the content is durable in the store; a copy goes
        to `upload_uri`, else to the task's destination, in the background unless `async_enable` is False, and the url
        is that copy's. Where there is a destination, or with `delete_always`, `auto_delete_file` deletes the local
        file once the store has the content, or the destination where the store only registers it. Raises BadValue, also
        for a published model; "" when the store could not be written, or a callback of WeightsFileHandler left it out.
        """
        self._check_open()
        if (weights_filename is None) == (register_uri is None):
            raise BadValue("give exactly one of weights_filename and register_uri")
        if register_uri is not None:
            self._register(register_uri, target_filename, iteration, is_package)
            return self.url
        path = Path(str(weights_filename))
        if not path.exists():
            raise BadValue(f"{path} does not exist: save the weights before update_weights")
        info = self._announced(path, target_filename or path.name)
        if info is None:
            return ""
        path = self._chosen(info, path)
        self._take_over(path)
        marks = {path: weights.mark(path)}
        found = weights.keep(self._task, path)
        if found is None:
            return ""
        home = self._destination(upload_uri)
        self._set_weights(
            {**found, "file": info.upload_filename},
            iteration,
            update_comment,
            is_package or path.is_dir(),
        )
        delete = auto_delete_file and (home or delete_always)
        url = self._finish(home, marks if delete else {}, async_enable)
        WeightsFileHandler.after(Operation.save, info)
        return url

    def update_weights_package(
        self,
        weights_filenames: Sequence[str | Path] | None = None,
        weights_path: str | Path | None = None,
        upload_uri: str | bool | None = None,
        target_filename: str | None = None,
        auto_delete_file: bool = True,
        iteration: int | None = None,
        async_enable: bool = True,
    ) -> str:
        """Store several files, or all of a folder or wildcard, as one package; returns the model's url.

        Exactly one of `weights_filenames` and `weights_path`; the rest as in `update_weights`.
        """
        self._check_open()
        if (weights_filenames is None) == (weights_path is None):
            raise BadValue("give exactly one of weights_filenames and weights_path")
        if weights_path is not None and Path(weights_path).is_dir():
            return self.update_weights(
                weights_path,
                upload_uri,
                target_filename,
                auto_delete_file,
                None,
                iteration,
                True,
                True,
                async_enable,
            )
        paths = list(map(Path, weights_filenames or _matching(str(weights_path))))
        missing = [str(path) for path in paths if not path.is_file()]
        if missing or not paths:
            raise BadValue(
                f"a package needs files: {', '.join(missing) or weights_path or 'none'} is not there"
            )
        info = self._announced(weights.common_folder(paths), target_filename or f"{self.name}.zip")
        if info is None:
            return ""
        marks = {path: weights.mark(path) for path in paths}
        found = weights.keep_files(self._task, paths)
        if found is None:
            return ""
        home = self._destination(upload_uri)
        self._set_weights({**found, "file": info.upload_filename}, iteration, True, True)
        url = self._finish(home, marks if auto_delete_file and home else {}, async_enable)
        WeightsFileHandler.after(Operation.save, info)
        return url

    # --- design ------------------------------------------------------------------------------------------------------

    def update_design(
        self, config_text: str | None = None, config_dict: Mapping[str, Any] | None = None
    ) -> bool:
        """Record another design: text, or a dict; True. Raises BadValue, also for a published model."""
        self._check_open()
        self._edit({"config": weights.design(config_text, config_dict)})
        return True

    def update_labels(self, labels: Mapping[str, int]) -> bool:
        """Record other labels, a dict of text to whole numbers; True. Raises BadValue, also for a published model."""
        self._check_open()
        self._edit({"labels": weights.checked_labels(labels)})
        return True

    @property
    def config_text(self) -> str:
        """The design as text."""
        return super().config_text

    @config_text.setter
    def config_text(self, value: str) -> None:
        self.update_design(config_text=value)

    @property
    def config_dict(self) -> dict[str, Any]:
        """The design as a dict."""
        return super().config_dict

    @config_dict.setter
    def config_dict(self, value: Mapping[str, Any]) -> None:
        self.update_design(config_dict=value)

    @property
    def labels(self) -> dict[str, int]:
        """Label to number."""
        return super().labels

    @labels.setter
    def labels(self, value: Mapping[str, int]) -> None:
        self.update_labels(value)

    @property
    def framework(self) -> str:
        """The framework that writes the weights."""
        return super().framework

    @framework.setter
    def framework(self, value: str) -> None:
        self._edit({"framework": str(value)})

    # --- where it belongs --------------------------------------------------------------------------------------------

    def connect(self, task: Task, name: str | None = None, **_: Any) -> None:
        """Link the model to a task as its output, under a name. Raises BadValue for another task than its own."""
        if task.id != self._task.id:
            raise BadValue(
                f"model {self.id} is an output of task {self._task.id}, and cannot be one of {task.id}"
            )
        self._entry = name or self.name
        self._edit({})

    @property
    def upload_storage_uri(self) -> str | None:
        """Where copies of the weights go besides the store; None: nowhere."""
        return self._destination(None) or None

    def set_upload_destination(self, uri: str) -> None:
        """Have copies of the weights go there. Raises BadValue for what cannot be written."""
        self._upload_uri = self._destination(uri)

    @classmethod
    def set_default_upload_uri(cls, output_uri: str | None) -> None:
        """Have copies of all models' weights go there that have no destination of their own."""
        cls._default_upload_uri = output_uri

    @classmethod
    def wait_for_uploads(cls, timeout: float | None = None, max_num_uploads: int | None = None) -> None:
        """Wait for the copies of the running task, `timeout` seconds at most without progress."""
        from tracker.sdk import current

        task = current.get()
        if task is not None:
            task.deliveries.wait(timeout)

    # --- within ------------------------------------------------------------------------------------------------------

    def _announced(self, path: Path, file: str) -> WeightsInfo | None:
        """What the script's callbacks have to say to weights that are to be stored; None where they are left out."""
        info = WeightsInfo(self, file, str(path), str(path), self.framework, self._task)
        found = WeightsFileHandler.before(Operation.save, info)
        if found is not None and found.framework != self.framework:
            self._values["framework"] = str(found.framework)
        return found

    def _take_over(self, path: Path) -> None:
        """Be the model of this file: what a framework's save has made of it becomes this one, not a second one."""
        run = self._task._run
        if run is None:
            return
        where = os.path.abspath(path)
        other = run.weights.get(where)
        if other is not None and other.by_framework and not self._recorded and not other.published:
            self._id, self._recorded = other._id, True
            self._edit(dict(self._values))
        run.weights[where] = self

    def _chosen(self, info: WeightsInfo, given: Path) -> Path:
        """The path that is stored: the one that a callback named, if it is there."""
        path = Path(str(info.local_model_path))
        if path.exists():
            return path
        self._task.fault(f"{path}, which a weights callback named, does not exist: passed over", None)
        return given

    def _check_open(self) -> None:
        if self.published:
            raise BadValue(f"model {self.id} is published: make a new OutputModel")

    def _destination(self, given: str | bool | None) -> str:
        """Where copies go: what is given, the model's, the class's, else the task's destination; "" for nowhere."""
        from tracker.sdk import deliveries

        chosen = given if given is not None else self._upload_uri or self._default_upload_uri
        if chosen is None or chosen is True:
            return self._task.destination or (self._workspace.config.default_output_uri if chosen else "")
        return str(chosen) if chosen == self._upload_uri else deliveries.destination(self._task, chosen, "")

    def _register(self, url: str, file: str | None, iteration: int | None, is_package: bool) -> None:
        found: dict[str, Any] = {"url": url, "file": file or url.rstrip("/").rpartition("/")[2]}
        self._set_weights(found, iteration, True, is_package)

    def _set_weights(
        self, found: dict[str, Any], iteration: int | None, update_comment: bool, is_package: bool
    ) -> None:
        file = str(found["file"])
        if iteration is not None:
            found["iteration"] = iteration
        if not self._values.get("framework"):
            self._values["framework"] = weights.framework_of(file)
        if update_comment and "snapshot" not in str(self._values.get("comment")):
            self._values["comment"] = f"{self._values['comment']}\nsnapshot {file} stored".lstrip()
        self._values[f"system_tag/{PACKAGE}"] = True if is_package else None
        self._values["weights"] = found
        self._edit({})

    def _finish(self, home: str, marks: Mapping[Path, object], in_background: bool) -> str:
        """Delete the local files once they may go, and have the copy made; returns the url, or what it will be."""
        if "$ref" in self._values["weights"]:
            if marks:
                weights.discard(self._task, marks)
            marks = {}
        return self._deliver(home, marks, in_background) if home else self.url

    def _deliver(self, home: str, marks: Mapping[Path, object], in_background: bool) -> str:
        from tracker.sdk import deliveries
        from tracker.storage import naming

        sent = self._values["weights"]
        is_tree = str(sent.get("$ref", "")).startswith("tree:")
        file = f"{str(sent['file']).removesuffix('.zip')}.zip" if is_tree else str(sent["file"])
        folder = naming.task_folder(self._task.get_project_name(), self._task.name, self._task.id)
        url = f"{home}/{naming.model_name(folder, file)}"

        def done() -> None:
            if self._values["weights"] is sent:  # else newer weights took their place meanwhile
                self._values["weights"] = {**sent, "url": naming.public(url)}
                self._edit({})
            if marks:
                weights.discard(self._task, marks)

        read, size = self._content(sent)
        delivery = deliveries.Delivery(url, f"the weights {file}", read, size, done)
        if in_background and self._task.runs_here:
            self._task.deliveries.send(delivery)
            return naming.public(url)
        self._task.deliveries.deliver(delivery)
        return self.url

    def _content(self, sent: Mapping[str, Any]) -> tuple[Callable[[], Iterator[bytes]], int | None]:
        """What is copied: out of the store, or of weights that are only registered the local file."""
        from tracker.sdk import deliveries
        from tracker.storage import archives, transfer
        from tracker.storage.registry import local_path

        if "$ref" in sent:
            return deliveries.contents(self._task, Ref.parse(sent["$ref"]))
        path = local_path(str(sent["url"]))
        if path.is_dir():
            return lambda: archives.zipped(archives.files_of(path)), None
        return lambda: transfer.reading(path), path.stat().st_size

    def _reporting_task(self) -> Task:
        return self._task

    @property
    def _sink(self) -> Sink:
        if not self._recorded:
            self._edit({})
        return super()._sink

    def _edit(self, changes: Mapping[str, Any]) -> None:
        """Record the model, or what has changed of it, and link it to its task."""
        self._values.update(changes)
        self._task.write_model(self._id, dict(changes) if self._recorded and changes else self._values)
        self._recorded = True
        entry = self._entry or Path((self._values.get("weights") or {}).get("file", "")).stem or self.name
        self._task.link_model("output", self._id, entry, self._values["created"])

    @property
    def _state(self) -> State:
        return State(layout.MODEL, {k: Entry(v, 0, "") for k, v in self._values.items()})


def _matching(wildcard: str) -> list[Path]:
    path = Path(wildcard)
    return sorted(each for each in path.parent.glob(path.name) if each.is_file()) if path.name else []
