"""Task: ClearML's names. Here it is made and found; each other chapter is a file beside this one.

Each body is one call to a part of `tracker.sdk`: run, parameters, artifacts, models, queries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, overload

from tracker import names
from tracker.errors import BadValue, UsageError
from tracker.notice import say
from tracker.sdk import current
from tracker.sdk.task.artifacts import Outputs
from tracker.sdk.task.configuration import Configuration
from tracker.sdk.task.execution import Execution
from tracker.sdk.task.identity import Identity, tags_of
from tracker.sdk.task.lifecycle import Lifecycle
from tracker.sdk.task.reports import Reports
from tracker.sdk.types import TaskTypes

if TYPE_CHECKING:
    from pathlib import Path

    from tracker.capture import Capture
    from tracker.sdk import earlier, identity

_VERBS: Final = {
    "init": "created new task id",
    "reuse": "overwriting (reusing) task id",
    "continue": "continuing previous task id",
    "resume": "continuing task id",
    "join": "continuing task id",
}


class Task(Identity, Lifecycle, Execution, Configuration, Outputs, Reports):
    """A task, running in this process or read from the store. Made by `Task.init` and `Task.get_task` only."""

    TaskTypes = TaskTypes

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
        run (forks, subprocesses, ranks of torchrun and srun) get the same task. The last task of that project, name
        and type is begun anew where it made no artifact and no model (`reuse_last_task_id`), or goes on
        (`continue_last_task`: True, its id, or the offset of its iterations). `deferred_init` is accepted, without
        effect: this takes some milliseconds. Raises BadValue for names under three characters and unknown types,
        TaskNotFound for a task to go on with, UsageError when the main task is another.
        """
        from tracker.sdk import earlier, switches

        kind = TaskTypes.parse(task_type)
        project = names.check_name("project", project_name) if project_name is not None else None
        name = names.check_name("task", task_name) if task_name is not None else None
        found_tags = tags_of(tags)
        asked = earlier.wish(reuse_last_task_id, continue_last_task)
        captures = switches.captures(auto_connect_arg_parser, auto_connect_frameworks, auto_connect_streams)
        with current.lock:
            main = current.get()
            if main is not None and main._asked_for:
                return main._attached(captures)
            if main is not None:
                return main._again(project, name, kind)
            return cls._start(project, name, kind, found_tags, asked, captures)._with_destination(output_uri)

    @classmethod
    def _start(
        cls,
        project: str | None,
        name: str | None,
        kind: str,
        tags: list[str],
        asked: earlier.Wish,
        captures: list[str | Capture],
    ) -> Task:
        from tracker.sdk import defaults, earlier, execution, seed
        from tracker.sdk.run import Run, first_keys

        project = project or defaults.project_name()
        name = name or defaults.task_name()
        workspace = defaults.workspace()
        with earlier.beginning(workspace, project, name, kind, asked, current.ordinal()) as begun:
            who = begun.identity
            run = Run(workspace, begun)
            task = cls._make(workspace, who.key, run)
            run.begin(first_keys(begun, project, name, kind, tags))
        current.put(task)
        execution.begin(task)
        seed.sow()
        run.captures.task = task
        run.capture(execution.wanted(captures, workspace.config))
        if who.owner:
            verb = "running task id" if who.runs else _VERBS[begun.reason]
            say(f"{verb}={who.key} ({task.get_project_name()} / {task.name})")
        return task

    def _with_destination(self, output_uri: str | bool | None) -> Task:
        """The task, once it is known where copies go. What cannot be written ends the run, and raises BadValue."""
        default = self._workspace.config.default_output_uri
        if (
            self._run is not None
            and self._run.identity.owner
            and (output_uri or (default and output_uri is None))
        ):
            try:
                self.output_uri = True if output_uri is None else output_uri
            except BadValue as error:
                self.mark_failed(status_reason=f"output_uri: {error}")
                raise
        return self

    @property
    def _asked_for(self) -> bool:
        """Whether this process has only asked for the current task so far, which its parent records."""
        return self._run is not None and self._run.asked_for

    def _attached(self, captures: list[str | Capture]) -> Task:
        """The task of a child process that asked for it before it called `Task.init`: as if it had not."""
        from tracker.sdk import execution

        assert self._run is not None  # see _asked_for
        self._run.asked_for = False
        execution.begin(self)
        self._run.captures.task = self
        self._run.capture(execution.wanted(captures, self._workspace.config))
        return self

    def _again(self, project: str | None, name: str | None, kind: str) -> Task:
        if self.replays:
            return self  # it may be a copy with another name than the script's
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
    def create(
        cls,
        project_name: str | None = None,
        task_name: str | None = None,
        task_type: str | None = None,
        repo: str | None = None,
        branch: str | None = None,
        commit: str | None = None,
        script: str | None = None,
        working_directory: str | None = None,
        packages: bool | Sequence[str] | None = None,
        requirements_file: str | None = None,
        docker: str | None = None,
        docker_args: str | None = None,
        docker_bash_setup_script: str | Sequence[str] | None = None,
        argparse_args: Sequence[tuple[str, Any]] | None = None,
        base_task_id: str | None = None,
        add_task_init_call: bool = True,
        force_single_script_file: bool = False,
        binary: str | None = None,
        module: str | None = None,
        detect_repository: bool = True,
    ) -> Task:
        """Make a draft without running anything: with names alone an empty one, else with what it is to run.

        `repo` is a URL, which is not contacted, or a folder, which git is asked about; the project is the main task's
        where none is given; `base_task_id` names a task whose record is the beginning. Raises BadValue.
        """
        from tracker.sdk import creation, defaults

        main = current.get()
        if project_name is None and main is None:
            raise BadValue("Task.create needs a project_name where no task runs")
        project = main.get_project_name() if project_name is None and main else project_name
        name = defaults.task_name() if task_name is None else task_name
        code = creation.Code(
            repo,
            branch,
            commit,
            script,
            module,
            working_directory,
            binary,
            packages,
            requirements_file,
            add_task_init_call,
            force_single_script_file,
            detect_repository,
        )
        kind = TaskTypes.parse(task_type)
        keys = creation.execution(code, docker, docker_args, docker_bash_setup_script, argparse_args)
        workspace = main.workspace if main else defaults.workspace()
        if base_task_id:
            base = creation.copied(base_task_id, workspace.thing(base_task_id).state)
            kind = kind if task_type is not None else str(base.get("type", kind))
            keys = {**base, **keys}
        checked = names.check_name("project", project), names.check_name("task", name)
        return cls._make(workspace, creation.create(workspace, *checked, kind, keys))

    @classmethod
    def clone(
        cls,
        source_task: Task | str | None = None,
        name: str | None = None,
        comment: str | None = None,
        parent: str | None = None,
        project: str | None = None,
    ) -> Task:
        """Copy a task as a draft: what it was to run, with its parameters, tags and input models; nothing it has made.

        It is called "Clone Of NAME" where no name is given; `project` is an id or a name. Raises WrongKind (an
        AssertionError) where `source_task` is neither Task nor id, TaskNotFound, BadValue.
        """
        from tracker.sdk import creation, defaults

        key = creation.source_of(source_task)
        main = current.get()
        workspace = (
            source_task.workspace if isinstance(source_task, Task) else main.workspace if main else None
        )
        workspace = workspace or defaults.workspace()
        made = creation.clone(workspace, key, name, comment, parent, project)
        return cls._make(workspace, made)

    @classmethod
    def set_random_seed(cls, random_seed: int | bool | None) -> None:
        """The seed that the next Task.init gives to random, numpy, torch and tensorflow, where those are imported.

        None and False: none; True: 1337, the default. Raises BadValue.
        """
        from tracker.sdk import seed

        seed.choose(random_seed)

    @classmethod
    def get_random_seed(cls) -> int | None:
        """That seed."""
        from tracker.sdk import seed

        return seed.chosen()

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
        from tracker.sdk import defaults, earlier
        from tracker.sdk.run import Run

        workspace = defaults.workspace()
        run = Run(workspace, earlier.joined(workspace, who))
        run.asked_for = True
        task = cls._make(workspace, who.key, run)
        run.begin([])
        current.put(task)
        return task

    # --- offline -----------------------------------------------------------------------------------------------------

    @classmethod
    def set_offline(cls, offline_mode: bool = False) -> None:
        """Let each task that begins from now on leave a session besides: a folder and a zip, to carry elsewhere.

        CLEARML_OFFLINE_MODE=1 does the same. Raises UsageError when it is turned off while a task is open.
        """
        from tracker.sdk import offline

        offline.switch(offline_mode)

    @classmethod
    def is_offline(cls) -> bool:
        """Whether tasks that begin now leave a session."""
        from tracker.sdk import offline

        return offline.is_on()

    def get_offline_mode_folder(self) -> Path | None:
        """The folder of this task's session, written when the task ends; None for a task that leaves none."""
        from tracker.sdk import offline

        return offline.folder_of(self._key) if self._run is not None and self._run.offline else None

    @classmethod
    def import_offline_session(
        cls,
        session_folder_zip: str | Path,
        previous_task_id: str | None = None,
        iteration_offset: int = 0,
        *,
        again: bool = False,
    ) -> str:
        """Take in an offline session, a zip or folder; returns the id of the task that holds it now.

        ClearML's own become a completed task, or continue `previous_task_id` with `iteration_offset` added to each
        iteration. One that is here already is not taken in a second time unless `again`. Raises ValueErrors for what is
        no session, is damaged or hostile (nothing is written then), or an unknown id.
        """
        from tracker.sdk import offline

        return offline.take_in(session_folder_zip, previous_task_id, iteration_offset, again=again)

    @classmethod
    def import_task(
        cls, task_data: Mapping[str, Any], target_task: Task | str | None = None, update: bool = False
    ) -> Task:
        """Make a task of an exported record, or put the record into `target_task`, a Task or an id.

        A new one has the record's `project_name` and `name`, and an id of its own. update: what the record does not
        name stays as it is, deep inside too. Raises BadValue for anything else.
        """
        from tracker.sdk import exchange

        if isinstance(target_task, str):
            target_task = cls.get_task(task_id=target_task)
        if target_task is None:
            from tracker.sdk import defaults

            workspace = defaults.workspace()
            return cls._make(workspace, exchange.create(workspace, task_data))
        if not isinstance(target_task, Task):
            raise BadValue(f"target_task is a Task or an id, not {target_task!r}")
        target_task._take_record(task_data, merge=update)
        return target_task

    # --- finding -----------------------------------------------------------------------------------------------------

    @overload
    @classmethod
    def get_task(
        cls,
        task_id: str,
        project_name: str | None = None,
        task_name: str | None = None,
        tags: Sequence[str] | None = None,
        allow_archived: bool = True,
        task_filter: Mapping[str, Any] | None = None,
    ) -> Task: ...

    @overload
    @classmethod
    def get_task(
        cls,
        task_id: None = None,
        project_name: str | None = None,
        task_name: str | None = None,
        tags: Sequence[str] | None = None,
        allow_archived: bool = True,
        task_filter: Mapping[str, Any] | None = None,
    ) -> Task | None: ...

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

        `project_name` is exact, `task_name` a regular expression that is searched, `tags` a list in the tag algebra;
        `task_filter` takes all of ClearML's keys (docs/queries.md). At most 500, and a line that says so; none that has
        the system tag `hidden`. Raises TaskNotFound for an unknown id, BadValue for a bad filter.
        """
        from tracker.sdk import queries

        return queries.get_tasks(cls, task_ids, project_name, task_name, tags, allow_archived, task_filter)

    @classmethod
    def query_tasks(
        cls,
        project_name: str | Sequence[str] | None = None,
        task_name: str | None = None,
        tags: Sequence[str] | None = None,
        additional_return_fields: Sequence[str] | None = None,
        task_filter: Mapping[str, Any] | None = None,
    ) -> list[str] | list[dict[str, Any]]:
        """The ids of all tasks that fit, asked as in `get_tasks`; or a dict a task of its id and the fields named.

        Fields are ClearML's, with dots: `last_update`, `script.repository`, `hyperparams.Args.lr`.
        """
        from tracker.sdk import queries

        return queries.query_tasks(project_name, task_name, tags, additional_return_fields, task_filter)

    @classmethod
    def get_all(cls, **rules: Any) -> list[Task]:
        """All tasks that fit the rules of a task_filter, given as keywords."""
        from tracker.sdk import queries

        return queries.get_all(cls, rules)

    @classmethod
    def get_by_name(cls, task_name: str) -> Task | None:
        """The task of exactly this name that was changed last; None when there is none. `get_task` does more."""
        from tracker.sdk import queries

        return queries.by_name(cls, task_name)

    def __repr__(self) -> str:
        return f"<Task {self._key} {self.get_project_name()!r} / {self.name!r}>"

    def _repr_html_(self) -> str:
        from tracker.sdk import glance

        return glance.of_task(self)
