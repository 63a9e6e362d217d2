"""InputModel: a model that a task uses, of this store or from elsewhere. What is known already is not doubled."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tracker import layout, names
from tracker.errors import BadValue, TaskNotFound
from tracker.sdk.models import queries, weights
from tracker.sdk.models.callbacks import Operation, WeightsFileHandler, WeightsInfo
from tracker.sdk.models.model import PACKAGE, Model, open_workspace

if TYPE_CHECKING:
    from tracker.sdk.task import Task
    from tracker.workspace import Workspace


class InputModel(Model):
    """A model by id, hash or alias, or the newest of a name, project and tags. Raises TaskNotFound for none."""

    def __init__(
        self,
        model_id: str | None = None,
        name: str | None = None,
        project: str | None = None,
        tags: Sequence[str] | None = None,
        only_published: bool = False,
        *,
        workspace: Workspace | None = None,
    ) -> None:
        if model_id:
            super().__init__(model_id, workspace=workspace)
            return
        if not name and not project and not tags:
            raise BadValue("InputModel needs a model_id, or a name, project or tags to look for")
        self._workspace = workspace or open_workspace()
        wanted = queries.Wanted(project, name, tuple(tags or ()), only_published)
        found = queries.find(self._workspace, wanted)
        if not found:
            raise TaskNotFound(
                f"no model of name {name!r}, project {project!r}, tags {tags!r} is in the store"
            )
        self._id = found[0].key

    def connect(self, task: Task, name: str | None = None, ignore_remote_overrides: bool = False) -> None:
        """Link the model to a task as its input, by its name unless another is given."""
        task.link_model("input", self.id, name or self.name)

    @classmethod
    def import_model(
        cls,
        weights_url: str,
        config_text: str | None = None,
        config_dict: Mapping[str, Any] | None = None,
        label_enumeration: Mapping[str, int] | None = None,
        name: str | None = None,
        project: str | None = None,
        tags: Sequence[str] | None = None,
        comment: str | None = None,
        is_package: bool = False,
        create_as_published: bool = False,
        framework: str | None = None,
    ) -> InputModel:
        """The model that has these weights, by content or place; else a new one that registers them where they lie."""
        from tracker.storage import normalised

        workspace, url = open_workspace(), normalised(weights_url)
        content = queries.content_of(url)
        known = queries.by_weights(workspace, url, content)
        if known is not None:
            return cls(known.key, workspace=workspace)
        file = PurePosixPath(urlsplit(url).path).name or "weights"
        values: dict[str, Any] = {
            **_described(config_text, config_dict, label_enumeration, tags),
            "name": names.check_name("model", name)
            if name is not None
            else names.default_name("model", PurePosixPath(file).stem),
            "project": project or "",
            "comment": comment or "",
            "framework": framework or weights.framework_of(file),
            "weights": {"url": url, "file": file, **weights.measured(url, content)},
        }
        if create_as_published:
            values["published"] = time.time_ns() // 1000
        if is_package:
            values[f"system_tag/{PACKAGE}"] = True
        return cls._record(workspace, values)

    @classmethod
    def load_model(cls, weights_url: str, load_archived: bool = False) -> InputModel | None:
        """The model that has these weights, by content or place; None where there is none, or only an archived one."""
        from tracker.storage import normalised

        workspace, url = open_workspace(), normalised(weights_url)
        known = queries.by_weights(workspace, url, queries.content_of(url))
        if known is None or (known.state.get("system_tag/archived") and not load_archived):
            return None
        return cls(known.key, workspace=workspace)

    @classmethod
    def empty(
        cls,
        config_text: str | None = None,
        config_dict: Mapping[str, Any] | None = None,
        label_enumeration: Mapping[str, int] | None = None,
    ) -> InputModel:
        """A model without weights: a design and labels."""
        values = _described(config_text, config_dict, label_enumeration, None)
        return cls._record(open_workspace(), {**values, "name": "Empty model", "project": ""})

    @classmethod
    def _record(cls, workspace: Workspace, values: Mapping[str, Any]) -> InputModel:
        key = secrets.token_hex(16)
        workspace.edit(key, {**values, "created": time.time_ns() // 1000}, kind=layout.MODEL, new=True)
        return cls(key, workspace=workspace)


def loaded(task: Task, path: str, name: str | None = None, framework: str | None = None) -> InputModel | None:
    """Link as input what a framework has loaded from a file: the model of the task that made it, else a new one.

    None where a callback of WeightsFileHandler leaves it out.
    """
    info = WeightsFileHandler.before(
        Operation.load, WeightsInfo(None, PurePosixPath(path).name, path, path, framework or "", task)
    )
    if info is None:
        return None
    info.model = found = InputModel.import_model(str(info.local_model_path), framework=info.framework or None)
    found.connect(task, name or PurePosixPath(path).stem)
    WeightsFileHandler.after(Operation.load, info)
    return found


def _described(
    config_text: str | None,
    config_dict: Mapping[str, Any] | None,
    labels: Mapping[str, int] | None,
    tags: Sequence[str] | None,
) -> dict[str, Any]:
    """The keys of a design, labels and tags. Raises BadValue."""
    found: dict[str, Any] = {f"tag/{tag}": True for tag in tags or ()}
    if config_text is not None or config_dict is not None:
        found["config"] = weights.design(config_text, config_dict)
    if labels:
        found["labels"] = weights.checked_labels(labels)
    return found
