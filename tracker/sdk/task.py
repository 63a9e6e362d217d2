"""Task: ClearML's names. Each body is one call to a part: run, parameters, artifacts, models, queries."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tracker import layout, names
from tracker.errors import BadValue, RecordingFault, TaskNotFound, UsageError
from tracker.notice import say
from tracker.sdk import current
from tracker.sdk.types import TaskTypes

# The rest is imported where it is used: `import tracker` has to cost next to nothing.
if TYPE_CHECKING:
    from tracker.reader import Thing
    from tracker.records import State
    from tracker.sdk import identity
    from tracker.sdk.artifacts import Artifacts
    from tracker.sdk.logger import Logger
    from tracker.sdk.models import TaskModels
    from tracker.sdk.run import Run
    from tracker.workspace import Workspace

_CAPTURES = ("git", "packages", "argparse", "console")


class Task:
    """A task, running in this process or read from the store. Made by `Task.init` and `Task.get_task` only."""

    def __init__(self, *given: Any, **named: Any) -> None:
        raise UsageError("Task() is not called directly: use Task.init, Task.get_task or Task.get_tasks")

    _workspace: Workspace
    _key: str
    _run: Run | None
    _thing: Thing | None
    _logger: Logger | None

    @classmethod
    def _make(
        cls, workspace: Workspace, key: str, run: Run | None = None, thing: Thing | None = None
    ) -> Task:
        task = object.__new__(cls)
        task._workspace, task._key, task._run, task._thing, task._logger = workspace, key, run, thing, None
        return task

    # --- creation ----------------------------------------------------------------------------------------------------

    @classmethod
    def init(
        cls,
        project_name: str | None = None,
        task_name: str | None = None,
        task_type: str | None = TaskTypes.training,
        tags: Sequence[str] | None = None,
        reuse_last_task_id: bool | str = True,
        continue_last_task: bool | str | int = False,
        output_uri: str | bool | None = None,
        auto_connect_arg_parser: bool | Mapping[str, bool] = True,
        auto_connect_frameworks: bool | Mapping[str, Any] = True,
        auto_resource_monitoring: bool | Mapping[str, Any] = True,
        auto_connect_streams: bool | Mapping[str, bool] = True,
        deferred_init: bool = False,
    ) -> Task:
        """Start recording this process as a task, or return the main task when there is one that fits.

        The project is the repository's name and the task's name the script's where none is given. Processes of one
        run (forks, subprocesses, ranks of torchrun and srun) get the same task. Raises BadValue for names under three
        characters and unknown types, UsageError when the main task is another one.
        """
        kind = TaskTypes.parse(task_type)
        project = names.check_name("project", project_name) if project_name is not None else None
        name = names.check_name("task", task_name) if task_name is not None else None
        found_tags = _tags(tags)
        with current.lock:
            main = current.get()
            if main is not None:
                return main._again(project, name, kind)
            captures = _captures(auto_connect_arg_parser, auto_connect_frameworks, auto_connect_streams)
            return cls._start(project, name, kind, found_tags, captures)

    @classmethod
    def _start(
        cls, project: str | None, name: str | None, kind: str, tags: list[str], captures: list[str]
    ) -> Task:
        from tracker.sdk import defaults, identity
        from tracker.sdk.run import Run, first_keys

        project = project or defaults.project_name()
        name = name or defaults.task_name()
        workspace = defaults.workspace()
        who = identity.of_process(project, name, current.ordinal())
        run = Run(workspace, who)
        task = cls._make(workspace, who.key, run)
        run.begin(first_keys(who, project, name, kind, tags))
        current.put(task)
        run.capture(captures if who.owner else [c for c in captures if c == "console"])
        if who.owner:
            verb = "continuing task id" if run.resumed else "created new task id"
            say(f"{verb}={who.key} ({project} / {name})")
        return task

    def _again(self, project: str | None, name: str | None, kind: str) -> Task:
        for what, given, have in (
            ("project", project, self.get_project_name()),
            ("name", name, self.name),
            ("type", kind if kind != TaskTypes.training else None, self.task_type),
        ):
            if given is not None and given != have:
                raise UsageError(
                    f"this process records task {self._key} already, whose {what} is {have!r}, not {given!r}: "
                    "close it first"
                )
        return self

    @classmethod
    def current_task(cls) -> Task | None:
        """The main task of this process, or of the process that started it; None without one."""
        with current.lock:
            task = current.get()
            if task is None and not current.ordinal():
                from tracker.sdk import identity

                who = identity.inherited()
                if who is not None and not who.owner:
                    return cls._join(who)
            return task

    @classmethod
    def _join(cls, who: identity.Identity) -> Task:
        from tracker.sdk import defaults
        from tracker.sdk.run import Run

        workspace = defaults.workspace()
        run = Run(workspace, who)
        task = cls._make(workspace, who.key, run)
        run.begin([])
        current.put(task)
        return task

    # --- finding -----------------------------------------------------------------------------------------------------

    @classmethod
    def get_task(
        cls,
        task_id: str | None = None,
        project_name: str | None = None,
        task_name: str | None = None,
        tags: Sequence[str] | None = None,
        allow_archived: bool = True,
        task_filter: Mapping[str, Any] | None = None,
    ) -> Task | None:
        """A task by id, or the last changed one of exact project, name and tags; None when none fits.

        Raises TaskNotFound (a ValueError) for an unknown id or project.
        """
        from tracker.sdk import queries

        return queries.get_task(cls, task_id, project_name, task_name, tags, allow_archived, task_filter)

    @classmethod
    def get_tasks(
        cls,
        task_ids: str | Sequence[str] | None = None,
        project_name: str | Sequence[str] | None = None,
        task_name: str | None = None,
        tags: Sequence[str] | None = None,
        allow_archived: bool = True,
        task_filter: Mapping[str, Any] | None = None,
    ) -> list[Task]:
        """The tasks that fit, last changed first; ids come in the order given.

        `project_name` is exact, `task_name` a regular expression that is searched, `task_filter` takes `status`,
        `type`, `tags`, `project`, `name`, `id`. Raises TaskNotFound for an unknown id, BadValue for a bad filter.
        """
        from tracker.sdk import queries

        return queries.get_tasks(cls, task_ids, project_name, task_name, tags, allow_archived, task_filter)

    # --- identity ----------------------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """32 hex digits."""
        return self._key

    task_id = id

    @property
    def name(self) -> str:
        """What people call it."""
        return str(self._state.get("name", ""))

    @property
    def task_type(self) -> str:
        """training, testing, …"""
        return str(self._state.get("type", ""))

    @property
    def comment(self) -> str:
        """Free text."""
        return str(self._state.get("comment", ""))

    @property
    def status(self) -> str:
        """created, queued, in_progress, stopped, failed, completed, published; asked of the store each time."""
        return self.get_status()

    def get_status(self) -> str:
        """The same."""
        if self._run is None or not self._run.identity.owner:  # else nobody knows it better
            self.reload()
        return str(self._state.get("status", "created"))

    def get_status_message(self) -> tuple[str, str]:
        """(status, message)."""
        return self.get_status(), str(self._state.get("status_message", ""))

    def get_project_name(self) -> str:
        """The name of its project."""
        return str(self._state.get("project", ""))

    def reload(self) -> None:
        """Read what others have changed meanwhile."""
        if self._run is not None:
            self._run.recorder.learn(self._workspace.known(self._key))
        else:
            self._thing = self._workspace.thing(self._key)

    @property
    def _state(self) -> State:
        if self._run is not None:
            from tracker.records import State

            return State(layout.TASK, self._run.recorder.snapshot())
        if self._thing is None:
            self._thing = self._workspace.thing(self._key)
        return self._thing.state

    @property
    def workspace(self) -> Workspace:
        """The store that the task is in, opened."""
        return self._workspace

    # --- ending ------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End the task as completed and seal it; the next `Task.init` makes a new one. A second call does nothing."""
        self._end("completed")

    def mark_completed(self, ignore_errors: bool = True, status_message: str | None = None) -> None:
        """End a running task as completed."""
        self._end("completed", "", status_message or "")

    def mark_failed(
        self, ignore_errors: bool = True, status_reason: str | None = None, status_message: str | None = None
    ) -> None:
        """End a running task as failed."""
        self._end("failed", status_reason or "", status_message or "")

    def mark_stopped(self, force: bool = False, status_message: str | None = None) -> None:
        """End a running task as stopped."""
        self._end("stopped", "", status_message or "")

    def _end(self, status: str, reason: str = "", message: str = "") -> None:
        from tracker.sdk.exits import Outcome

        run = self._run
        if run is None:
            return
        try:
            run.finish(Outcome(status, reason, message))
        finally:
            with current.lock:
                if current.get() is self:
                    current.put(None)
            self._run, self._thing = None, None

    def flush(self, wait_for_uploads: bool = False) -> bool:
        """True: a call that has returned is already kept."""
        return True

    # --- parameters --------------------------------------------------------------------------------------------------

    def set_parameters(self, *args: Any, **kwargs: Any) -> None:
        """Replace all parameters, user properties excepted, by those of dicts, pairs and keywords."""
        from tracker.sdk import parameters

        given = parameters.flatten(*args, **kwargs)
        keep = {parameters.key_of(str(name)) for name in given}
        for name in self._state.section("param"):
            if f"param/{name}" not in keep and not name.startswith(f"{parameters.PROPERTIES}/"):
                self.set_key(f"param/{name}", None)
        self._set_parameters(given)

    def set_parameters_as_dict(self, dictionary: Mapping[str, Any]) -> None:
        """Add parameters from a nested dict."""
        from tracker.sdk import parameters

        self._set_parameters(parameters.nested(dictionary))

    def set_parameter(
        self, name: str, value: Any, description: str | None = None, value_type: Any = None
    ) -> None:
        """Add or change one parameter. Its first type and description stay."""
        if not isinstance(name, str):
            raise BadValue(f"a parameter needs a name, not {name!r}")
        self._set_parameters({name: value}, description)

    def _set_parameters(self, given: Mapping[str, Any], description: str | None = None) -> None:
        from tracker.sdk import parameters

        state, changes = self._state, {}
        for name, value in given.items():
            key = parameters.key_of(str(name))
            if parameters.acceptable(value):
                changes[key] = parameters.record(value, state.get(key), description)
            else:
                self.fault(f"parameter {name!r} of type {type(value).__name__} was left out", None)
        self._set_all(changes)

    def get_parameters(self, backwards_compatibility: bool = True, cast: bool = False) -> dict[str, Any]:
        """`Section/name` to text, or with `cast` to values of the stored types."""
        from tracker.sdk import parameters

        return parameters.read(self._state, typed=cast)

    def get_parameter(self, name: str, default: Any = None, cast: bool = False) -> Any:
        """One parameter by its full name `Section/name`."""
        return self.get_parameters(cast=cast).get(name, default)

    def connect(self, mutable: Any, name: str | None = None, ignore_remote_overrides: bool = False) -> Any:
        """Record a dict's items as parameters of section `name` (General); later writes to what it returns too.

        Raises BadValue for what is not a dict.
        """
        from tracker.sdk import parameters
        from tracker.sdk.connect import TrackedDict

        if not isinstance(mutable, dict):
            raise BadValue(f"connect takes a dict, not {type(mutable).__name__}")
        section = name or parameters.DEFAULT_SECTION
        run = self._run

        def changed(values: Mapping[Any, Any]) -> None:
            if self._run is run:  # what a script does with its dict after the run is no part of it
                self._connected(section, values)

        parameters.nested(mutable)  # refuses one that holds itself
        tracked = TrackedDict(mutable, changed)
        changed(tracked)
        return tracked

    def _connected(self, section: str, values: Mapping[Any, Any]) -> None:
        from tracker.sdk import parameters

        self._set_parameters({f"{section}/{k}": v for k, v in parameters.nested(values).items()})

    # --- tags and progress -------------------------------------------------------------------------------------------

    def add_tags(self, tags: str | Iterable[str]) -> None:
        """Add tags; a text is split at spaces."""
        self._set_all({f"tag/{tag}": True for tag in _tags(tags)})

    def get_tags(self) -> list[str]:
        """Sorted."""
        return list(self._state.section("tag"))

    def set_progress(self, progress: int) -> None:
        """A whole number from 0 to 100; anything else changes nothing and warns."""
        if not isinstance(progress, int) or not 0 <= progress <= 100:
            self.fault(f"progress {progress!r} was ignored: a whole number from 0 to 100 is expected", None)
            return
        self.set_key("progress", int(progress))

    def get_progress(self) -> int | None:
        """The last progress, None if there is none."""
        value = self._state.get("progress")
        return None if value is None else int(value)

    # --- reports -----------------------------------------------------------------------------------------------------

    def get_logger(self) -> Logger:
        """The logger of this task. Raises UsageError for a task that does not run in this process."""
        from tracker.sdk.logger import Logger

        if self._logger is None:
            if self._run is None:
                raise UsageError(
                    f"task {self._key} does not run in this process: nothing can be reported to it"
                )
            self._logger = Logger(self, self._run.recorder)
        return self._logger

    @property
    def logger(self) -> Logger:
        """The same."""
        return self.get_logger()

    @property
    def captures_console(self) -> bool:
        """Whether what is printed is recorded."""
        return self._run is not None and "console" in self._run.captured

    def get_last_iteration(self) -> int:
        """The greatest iteration reported; 0 if there is none."""
        from tracker.sdk import reports

        return reports.last_iteration(self._fresh().state)

    def get_reported_scalars(
        self, max_samples: int = 0, x_axis: str = "iter"
    ) -> dict[str, dict[str, dict[str, Any]]]:
        """`{title: {series: {"name", "x": [...], "y": [...]}}}`, single values left out.

        x_axis: iter, timestamp (milliseconds) or iso_time, else BadValue. Of points with one iteration the last counts.
        `max_samples` > 0 keeps that many a series, spread evenly; 0 keeps all.
        """
        from tracker.sdk import reports

        return reports.scalars(self._workspace, self._fresh(), max_samples, x_axis)

    def get_last_scalar_metrics(self) -> dict[str, dict[str, dict[str, float]]]:
        """`{title: {series: {"last", "min", "max"}}}`, with the single values under `Summary`."""
        from tracker.sdk import reports

        return reports.last_metrics(self._fresh().state)

    def get_reported_single_values(self) -> dict[str, float]:
        """Name to value."""
        from tracker.sdk import reports

        return reports.single_values(self._state)

    def get_reported_single_value(self, name: str) -> float | None:
        """One single value; None if there is none of that name."""
        return self.get_reported_single_values().get(name)

    def get_reported_console_output(self, number_of_reports: int = 1) -> list[str]:
        """The last lines of the console, oldest first."""
        from tracker.sdk import reports

        if not isinstance(number_of_reports, int) or number_of_reports < 0:
            raise BadValue(f"number_of_reports {number_of_reports!r}: a whole number is expected")
        lines = reports.console(self._workspace, self._fresh())
        return lines[max(0, len(lines) - number_of_reports) :]

    def _fresh(self) -> Thing:
        return self._workspace.thing(self._key)

    # --- artifacts and models ----------------------------------------------------------------------------------------

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

    def attach(self, data: bytes) -> str:
        """Store content for this task; returns its "$ref". Raises OSError."""
        return self._run.recorder.attach(data) if self._run else self._workspace.attach(data)

    def sync(self) -> bool:
        """Make all that was recorded so far durable; whether that worked."""
        return self._run is None or self._run.recorder.sync()

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

    # --- writing -----------------------------------------------------------------------------------------------------

    def set_key(self, key: str, value: Any) -> None:
        """Set one key of the task's record; None removes it."""
        self._set_all({key: value})

    def _set_all(self, changes: Mapping[str, Any]) -> None:
        if self._run is not None:
            for key, value in changes.items():
                self._run.recorder.set(key, value)
        elif changes:
            self._workspace.edit(self._key, changes)
            self._thing = None

    def fault(self, message: str, error: Exception | None) -> None:
        """Something was not recorded: one warning, of a full disk one in all; or with `strict` the error."""
        if error is not None and self._workspace.config.strict:
            raise error if isinstance(error, RecordingFault) else RecordingFault(message) from error
        if self._run is None:
            say(message)
        else:
            from objstore.errors import ReadOnly

            refused = isinstance(error, RecordingFault | ReadOnly) or getattr(error, "errno", 0) in _REFUSALS
            self._run.recorder.warn("fault" if refused else message, message)

    def __repr__(self) -> str:
        return f"<Task {self._key} {self.get_project_name()!r} / {self.name!r}>"


# What a store says that can take nothing now; the errors of a file that is to be stored are others.
_REFUSALS = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EROFS)


def _tags(tags: str | Iterable[str] | None) -> list[str]:
    if tags is None:
        return []
    texts = tags.split(" ") if isinstance(tags, str) else tags
    found = list(texts) if isinstance(texts, Iterable) else [texts]
    if not all(isinstance(tag, str) for tag in found):
        raise BadValue(f"tags are a text or a list of texts, not {tags!r}")
    return [tag for tag in found if tag]


def _captures(parser: Any, frameworks: Any, streams: Any) -> list[str]:
    """The captures to install, after Task.init's switches."""
    chosen = set(_CAPTURES)
    if not parser:
        chosen.discard("argparse")
    if isinstance(frameworks, Mapping) and not frameworks.get("detect_repository", True):
        chosen -= {"git", "packages"}
    if not streams or (isinstance(streams, Mapping) and not any(streams.values())):
        chosen.discard("console")
    return sorted(chosen)
