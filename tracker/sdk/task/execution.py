"""Task, execution: the code, packages and container that it needs to be run again, and its record as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tracker.errors import BadValue
from tracker.notice import say
from tracker.sdk.task.parameters import Parameters

if TYPE_CHECKING:
    from pathlib import Path

    from tracker.sdk.exchange import Requirements

_PATIENCE = 300.0  # seconds that a reader waits for what is still being found out about the code


class Execution(Parameters):
    """Script, requirements, container; export and import."""

    # --- code --------------------------------------------------------------------------------------------------------

    def get_script(self) -> dict[str, str]:
        """`working_dir`, `entry_point`, `branch`, `repository`."""
        found = self._script()
        return {
            name: str(found.get(name, "")) for name in ("working_dir", "entry_point", "branch", "repository")
        }

    def set_script(
        self,
        repository: str | None = None,
        branch: str | None = None,
        commit: str | None = None,
        diff: str | None = None,
        working_dir: str | None = None,
        entry_point: str | None = None,
        binary: str | None = None,
    ) -> None:
        """Change what is recorded of the code: None leaves a field, "" clears it."""
        from tracker.sdk.execution import text_or_ref

        given: dict[str, Any] = {
            "repository": repository,
            "branch": branch,
            "version_num": commit,
            "diff": None if diff is None else text_or_ref(diff, self.attach),
            "working_dir": working_dir,
            "entry_point": entry_point,
            "binary": binary,
        }
        changed = {**self._script(), **{name: value for name, value in given.items() if value is not None}}
        self._decide("script", changed)

    def set_repo(self, repo: str | None = None, branch: str | None = None, commit: str | None = None) -> None:
        """The same for the repository alone. Nothing where the task is run again: its code is there already."""
        if not self.replays:
            self.set_script(repository=repo, branch=branch, commit=commit)

    def _script(self) -> dict[str, Any]:
        self._wait_for_captures()
        return dict(self._state.get("script", {}))

    def _wait_for_captures(self) -> None:
        if self._run is not None:
            self._run.captures.wait(_PATIENCE)

    def _decide(self, key: str, value: Any) -> None:
        """Set a key that captures propose, too: from now on what they find out does not count."""
        if self._run is not None:
            self._run.captures.decide(key)
        self.set_key(key, value)

    # --- packages ----------------------------------------------------------------------------------------------------

    @classmethod
    def add_requirements(cls, package_name: str, package_version: str | None = None) -> None:
        """Have a package, or all of a requirements file, listed by the tasks that begin from now on.

        `1.2` is `== 1.2`, a version with an operator stays as it is, None is whatever is installed.
        """
        from tracker.sdk import execution

        _warn_if_late("add_requirements")
        execution.wish(str(package_name), package_version)

    @classmethod
    def ignore_requirements(cls, name: str) -> None:
        """Leave a package out of what the tasks that begin from now on list."""
        from tracker.sdk import execution

        _warn_if_late("ignore_requirements")
        execution.wishes.ignored.add(name)

    @classmethod
    def force_requirements_env_freeze(
        cls, force: bool = True, requirements_file: str | Path | None = None
    ) -> None:
        """List all installed packages, or what a requirements file says, instead of those that the run uses.

        Raises BadValue for a file that is not there.
        """
        from pathlib import Path

        from tracker.sdk import execution

        _warn_if_late("force_requirements_env_freeze")
        path = Path(requirements_file).absolute() if requirements_file and force else None
        if path is not None and not path.is_file():
            raise BadValue(f"{path} is no file: force_requirements_env_freeze needs a requirements file")
        execution.wishes.freeze, execution.wishes.file = bool(force), path

    @classmethod
    def force_store_standalone_script(cls, force: bool = True) -> None:
        """Record the script's text instead of its repository, for the tasks that begin from now on."""
        from tracker.sdk import execution

        _warn_if_late("force_store_standalone_script")
        execution.wishes.standalone = bool(force)

    def set_packages(self, packages: str | Path | Iterable[str]) -> None:
        """List these packages: a text, a requirements file or a list of lines. Nothing where the task is run again."""
        from tracker.sdk import execution

        text = execution.as_text(packages)
        if not self.replays:
            self._decide("packages", text)

    def get_requirements(self) -> Requirements:
        """A dict whose `pip`, `conda` and `orig_pip` are attributes, too; None where there are none."""
        from tracker.sdk.exchange import Requirements

        self._wait_for_captures()
        return Requirements(pip=self._state.get("packages"))

    # --- container ---------------------------------------------------------------------------------------------------

    def set_base_docker(
        self,
        docker_cmd: str | None = None,
        docker_image: str | None = None,
        docker_arguments: str | Iterable[str] | None = None,
        docker_setup_bash_script: str | Iterable[str] | None = None,
    ) -> None:
        """The container to run in: None leaves a part, "" clears it. `docker_cmd` is an image with its arguments.

        Nothing where the task is run again: it runs already.
        """
        from tracker.sdk.execution import container

        if not self.replays:
            before = self._state.get("container", {})
            changed = container(before, docker_cmd, docker_image, docker_arguments, docker_setup_bash_script)
            self.set_key("container", changed)

    def get_base_docker(self) -> str:
        """The image and its arguments in one text; empty where none was set."""
        found: Mapping[str, str] = self._state.get("container", {})
        return f"{found.get('image', '')} {found.get('arguments', '')}".strip()

    # --- the record --------------------------------------------------------------------------------------------------

    def export_task(self) -> dict[str, Any]:
        """The task's editable fields as ClearML lays them out: without what was reported, and without its outputs."""
        from tracker.sdk import exchange

        self._wait_for_captures()
        return exchange.document(self.id, self._state, self._read_ref)

    def _read_ref(self, ref: str) -> str:
        from tracker.records import Ref

        return self._workspace.read(self._fresh(), Ref.parse(ref)).decode("utf-8", "replace")

    def update_task(self, task_data: Mapping[str, Any]) -> bool:
        """Change what an exported record has fields for; what it does not name stays. True."""
        self._take_record(task_data, merge=True)
        return True

    def _take_record(self, task_data: Mapping[str, Any], *, merge: bool) -> None:
        from tracker.sdk import exchange

        changes = exchange.keys(task_data, self.attach, self._state if merge else None)
        if not merge:
            gone = exchange.replaced(self._state, task_data)
            changes = {**dict.fromkeys(gone - changes.keys()), **changes}
        for key in ("script", "packages"):
            if key in changes and self._run is not None:
                self._run.captures.decide(key)
        self._set_all(changes)

    # --- run again ---------------------------------------------------------------------------------------------------

    @classmethod
    def debug_simulate_remote_task(cls, task_id: str, reset_task: bool = False) -> None:
        """Make this process run a task again, as an agent would: the next `Task.init` returns it.

        reset_task: what it has reported before is hidden. Raises UsageError after `Task.init`, TaskNotFound (a
        ValueError) for an unknown id.
        """
        from tracker.sdk import replay

        replay.simulate(task_id, reset=reset_task)


def _warn_if_late(name: str) -> None:
    from tracker.sdk import current

    if current.get() is not None:
        say(f"Task.{name} does nothing for a task that runs already: call it before Task.init")
