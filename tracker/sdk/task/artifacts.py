"""Task, artifacts and models: what it made and what it used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tracker import layout
from tracker.errors import BadValue, TaskNotFound
from tracker.sdk.task.core import Core

if TYPE_CHECKING:
    from tracker.sdk.artifacts import Artifacts
    from tracker.sdk.models import TaskModels


class Outputs(Core):
    """Artifacts, and models as input and output."""

    def upload_artifact(
        self,
        name: str,
        artifact_object: Any,
        metadata: Mapping[str, Any] | None = None,
        delete_after_upload: bool = False,
        auto_pickle: bool | None = None,
        preview: Any = None,
        wait_on_upload: bool = False,
        extension_name: str | None = None,
        serialization_function: Any = None,
        retries: int = 0,
        sort_keys: bool = True,
    ) -> bool:
        """Store a file, folder or value under `name`, which replaces an earlier one; True once it is kept.

        Raises BadValue for a name that is no text, a file that is not there, or a value that only a pickle could hold
        when `auto_pickle` is False; False when the store could not be written.
        """
        from tracker.sdk import uploads

        if not isinstance(name, str) or not name.strip():
            raise BadValue(f"an artifact needs a name, not {name!r}")
        options = uploads.Options(
            metadata,
            delete_after_upload,
            auto_pickle,
            preview,
            extension_name,
            serialization_function,
            sort_keys,
        )
        return uploads.upload(self, name, artifact_object, options)

    @property
    def artifacts(self) -> Artifacts:
        """The task's artifacts by name, read-only."""
        from tracker.sdk.artifacts import Artifacts

        return Artifacts(self._workspace, self._key, self._state.section("artifact"))

    @property
    def models(self) -> TaskModels:
        """`models['input']` and `models['output']`."""
        from tracker.sdk import models

        return models.linked(self._workspace, self._fresh().state if self._run else self._state)

    def get_models(self) -> TaskModels:
        """The same."""
        return self.models

    def write_model(self, model_id: str, values: Mapping[str, Any]) -> None:
        """Record a model's keys."""
        if self._run is not None:
            for key, value in values.items():
                self._run.recorder.set(key, value, of=model_id)
        else:
            self._workspace.edit(model_id, values, kind=layout.MODEL, new=not self._has(model_id))

    def _has(self, key: str) -> bool:
        try:
            self._workspace.thing(key)
        except TaskNotFound:
            return False
        return True

    def link_model(self, direction: str, model_id: str, name: str) -> None:
        """Link a model as input or output."""
        self.set_key(f"model/{direction}/{model_id}", {"name": name})
