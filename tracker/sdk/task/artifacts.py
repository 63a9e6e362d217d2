"""Task, artifacts and models: what it made and what it used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tracker import layout
from tracker.errors import BadValue, TaskNotFound, UsageError
from tracker.sdk.task.core import Core

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from tracker.sdk.artifacts import Artifacts
    from tracker.sdk.deliveries import Deliveries
    from tracker.sdk.models import Model, TaskModels
    from tracker.sdk.registered import Registered


class Outputs(Core):
    """Artifacts, and models as input and output."""

    _registered: Registered | None = None
    _deliveries: Deliveries | None = None
    _destination: str | None = None  # as it was given here: a record may have it without the password in it

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

        _check_artifact_name(name)
        if name in self.get_registered_artifacts():
            raise BadValue(
                f"artifact {name!r} is a registered DataFrame: unregister_artifact first, or another name"
            )
        options = uploads.Options(
            metadata,
            delete_after_upload,
            auto_pickle,
            preview,
            extension_name,
            serialization_function,
            sort_keys,
            wait=wait_on_upload,
            tries=1 + max(0, retries),
        )
        return uploads.upload(self, name, artifact_object, options)

    @property
    def output_uri(self) -> str | None:
        """Where copies of artifacts and weights go besides the store; None: nowhere.

        Set to a path or URL, True (the configured default) or None. Raises BadValue for what cannot be written.
        """
        known = self._destination
        return (str(self._state.get("output_uri", "")) if known is None else known) or None

    @output_uri.setter
    def output_uri(self, value: Any) -> None:
        from tracker.sdk import deliveries
        from tracker.storage import naming

        default = self._workspace.config.default_output_uri
        self._destination = deliveries.destination(self, value, default) if value else ""
        self.set_key("output_uri", naming.public(self._destination))

    storage_uri = output_uri

    @property
    def destination(self) -> str:
        """Where copies go from here: what was said here, or for the run. What a record from elsewhere names may be
        anybody's bucket, and gets nothing that is added later.
        """
        if self._destination is None and not self.runs_here:
            return ""
        return self.output_uri or ""

    @property
    def deliveries(self) -> Deliveries:
        """The task's copies under way to its destination."""
        from tracker.sdk.deliveries import Deliveries

        if self._deliveries is None:
            self._deliveries = Deliveries(self)
            if self._run is not None:
                self._run.before_end(self._deliveries.close)
        return self._deliveries

    def wait_for_uploads(self) -> bool:
        """Wait until all copies are at the destination, or have failed; whether they have."""
        return self._deliveries is None or self._deliveries.wait()

    def count(self, what: str) -> None:
        """Add one to the task's health counter `what`; that of a task that does not run is left alone."""
        if self._run is not None:
            self._run.recorder.count(what)

    def register_artifact(
        self,
        name: str,
        artifact: pd.DataFrame,
        metadata: Mapping[str, Any] | None = None,
        uniqueness_columns: bool | Sequence[str] = True,
    ) -> None:
        """Store a DataFrame now, and again whenever it has changed: looked at every 300 s, and when the task closes.

        Its preview tells how many rows are unique over `uniqueness_columns` (True: all). Raises BadValue for what is
        no DataFrame and for the name of an uploaded artifact, UsageError where the task does not run here.
        """
        from tracker.sdk import registered

        _check_artifact_name(name)
        if self._run is None:
            raise UsageError(
                f"task {self._key} does not run in this process: upload_artifact stores a frame as it is"
            )
        known = self._state.section("artifact").get(name)
        if known is not None and known.get("type") != registered.TYPE:
            raise BadValue(f"artifact {name!r} was uploaded: register the DataFrame under another name")
        if self._registered is None:
            self._registered = registered.Registered(self)
            self._run.before_end(self._registered.close)
        self._registered.add(name, artifact, metadata, uniqueness_columns)

    def unregister_artifact(self, name: str) -> None:
        """Watch a registered DataFrame no longer; what was stored of it stays."""
        if self._registered is not None:
            self._registered.remove(name)

    def get_registered_artifacts(self) -> dict[str, pd.DataFrame]:
        """The registered DataFrames themselves, by name."""
        return self._registered.frames() if self._registered is not None else {}

    def delete_artifacts(
        self,
        artifact_names: str | Sequence[str],
        raise_on_errors: bool = True,
        delete_from_storage: bool = True,
        silent_on_errors: bool = False,
    ) -> bool:
        """Remove artifacts, and with `delete_from_storage` their copies at the output destination; whether all went.

        History keeps them until `gc` is told otherwise. Raises BadValue for a name that is not there, unless
        `raise_on_errors` is False; then a warning, unless `silent_on_errors`.
        """
        from tracker.sdk import uploads

        names = [artifact_names] if isinstance(artifact_names, str) else list(artifact_names)
        return uploads.delete(self, names, raise_on_errors, delete_from_storage, silent_on_errors)

    @property
    def artifacts(self) -> Artifacts:
        """The task's artifacts by name, read-only."""
        from tracker.sdk.artifacts import Artifacts

        return Artifacts(self._workspace, self._key, self._state.section("artifact"))

    @property
    def models(self) -> TaskModels:
        """`models['input']` and `models['output']`."""
        from tracker.sdk import models

        return models.linked(self._workspace, self._fresh().state if self._run else self._state, self._key)

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

    def link_model(self, direction: str, model_id: str, name: str, created: int | None = None) -> None:
        """Link a model as input or output. created: its place among the others, microseconds since the epoch."""
        link = {"name": name} if created is None else {"name": name, "created": created}
        if self.get_record(f"model/{direction}/{model_id}") != link:
            self.set_key(f"model/{direction}/{model_id}", link)

    @property
    def input_models_id(self) -> dict[str, str]:
        """Entry name to id of the models that it uses."""
        from tracker.sdk.models.links import entries

        return {name: key for key, name in entries(self._state, "input")}

    @property
    def output_models_id(self) -> dict[str, str]:
        """Entry name to id of the models that it made."""
        from tracker.sdk.models.links import entries

        return {name: key for key, name in entries(self._state, "output")}

    def update_output_model(
        self,
        model_path: str | Path,
        name: str | None = None,
        comment: str | None = None,
        tags: Sequence[str] | None = None,
        model_name: str | None = None,
        iteration: int | None = None,
        auto_delete_file: bool = True,
    ) -> str:
        """Store weights as a new output model, then delete the local file unless `auto_delete_file` is False.

        Returns its url. The model is called `model_name`, else "TASK - name", else as the task. Raises BadValue for a
        file that is not there; "" when the store could not be written, and then the file stays.
        """
        from tracker.sdk.models import OutputModel

        own = str(self.get_record("name"))
        model = OutputModel(
            task=self,  # type: ignore[arg-type]  # every Outputs is a Task
            name=model_name or (f"{own} - {name}" if name else own),
            tags=tags,
            comment=comment,
        )
        return model.update_weights(
            model_path, iteration=iteration, auto_delete_file=auto_delete_file, delete_always=True
        )

    def set_input_model(
        self,
        model_id: str | None = None,
        model_name: str | None = None,
        update_task_design: bool = True,
        update_task_labels: bool = True,
        name: str | None = None,
    ) -> None:
        """Link a model, by id or by its own name, as an input under `name`; its design and labels become the task's.

        Raises TaskNotFound for a model that is not there.
        """
        from tracker.sdk.models import InputModel

        model = InputModel(model_id, name=model_name, workspace=self._workspace)
        self.link_model("input", model.id, name or model.name)
        for wanted, setter, value in (
            (update_task_design, "set_model_config", model.config_text),
            (update_task_labels, "set_model_label_enumeration", model.labels),
        ):
            if wanted and value:
                getattr(self, setter, lambda _: None)(value)  # of another chapter of Task, which may lack it

    def remove_input_models(self, models_to_remove: Sequence[str | Model]) -> None:
        """Unlink input models, by id or as models; others stay."""
        for model in models_to_remove:
            key = model if isinstance(model, str) else model.id
            if self.get_record(f"model/input/{key}") is not None:
                self.set_key(f"model/input/{key}", None)


def _check_artifact_name(name: object) -> None:
    if not isinstance(name, str) or not name.strip():
        raise BadValue(f"an artifact needs a name, not {name!r}")
