"""Task, identity: what it is called, where it stands, its tags and its progress."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from tracker import names
from tracker.errors import BadValue, TaskNotFound, WrongKind
from tracker.sdk import current
from tracker.sdk.identity import to_run
from tracker.sdk.task.core import Core

if TYPE_CHECKING:
    from pathlib import Path

    from tracker.workspace import Workspace


class Identity(Core):
    """Names, project, type, comment, tags, progress."""

    # --- what it is called -------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """What people call it; to set it renames the task."""
        return str(self._state.get("name", ""))

    @name.setter
    def name(self, name: str) -> None:
        self.set_name(name)

    def set_name(self, name: str) -> None:
        """Rename the task; its id, and so its history and whatever refers to it, stay. Raises BadValue."""
        self._set_all({"name": names.check_name("task", name)})

    def rename(self, new_name: str) -> bool:
        """The same; True."""
        self.set_name(new_name)
        return True

    @property
    def comment(self) -> str:
        """Free text; to set it is set_comment."""
        return str(self._state.get("comment", ""))

    @comment.setter
    def comment(self, comment: str) -> None:
        self.set_comment(comment)

    def set_comment(self, comment: str) -> None:
        """Replace the free text. Raises BadValue."""
        if not isinstance(comment, str):
            raise BadValue(f"a comment is text, not {type(comment).__name__}")
        self._set_all({"comment": comment})

    @property
    def task_type(self) -> str:
        """training, testing, …"""
        return str(self._state.get("type", ""))

    def set_task_type(self, task_type: str) -> None:
        """Change what the task is for. Raises BadValue that lists the types."""
        from tracker.sdk.types import TaskTypes

        self._set_all({"type": TaskTypes.parse(task_type)})

    @property
    def parent(self) -> str | None:
        """The id of the task that it came from, None where there is none."""
        value = self._state.get("parent")
        return None if value is None else str(value)

    def set_parent(self, parent: str | Core | None) -> None:
        """Say which task it came from: a Task, an id, or None. Raises BadValue for itself, TaskNotFound."""
        key = parent.id if isinstance(parent, Core) else parent
        if key == self._key:
            raise BadValue(f"task {self._key} cannot be its own parent")
        if key is not None:
            self._workspace.thing(key)
        self._set_all({"parent": key})

    # --- where it stands ---------------------------------------------------------------------------------------------

    @property
    def project(self) -> str:
        """The id of its project, which is made of the project's name."""
        return project_id(self.get_project_name())

    def get_project_name(self) -> str:
        """The name of its project."""
        return str(self._state.get("project", ""))

    def set_project(self, project_id: str | None = None, project_name: str | None = None) -> bool:
        """Move the task to a project that exists, by id or name; False where there is none."""
        name = project_named(self._workspace, project_id, project_name)
        if name is None:
            return False
        self._set_all({"project": name})
        return True

    def move_to_project(
        self,
        new_project_id: str | None = None,
        new_project_name: str | None = None,
        system_tags: Iterable[str] | None = None,
    ) -> bool:
        """Move the task to a project, which need not exist yet where a name is given. Raises BadValue, TaskNotFound."""
        if new_project_name is not None:
            name: str | None = names.check_name("project", new_project_name)
        else:
            name = project_named(self._workspace, new_project_id, None)
        if name is None:
            raise TaskNotFound(f'Project "{new_project_id}" could not be found in {self._workspace.root}')
        self._set_all({"project": name})
        return True

    @classmethod
    def get_project_id(cls, project_name: str, search_hidden: bool = True) -> str | None:
        """The id of a project of this name, None where no task is in it."""
        return project_id(project_name) if project_name in _projects(_opened()) else None

    @classmethod
    def get_projects(cls, **query: Any) -> list[SimpleNamespace]:
        """The projects that tasks are in, each with `id`, `name` and `basename`, by name.

        `name` is a regular expression that is searched. Raises BadValue for another query.
        """
        import re

        if query.keys() - {"name"}:
            raise BadValue(f"get_projects takes name, not {', '.join(sorted(query.keys() - {'name'}))}")
        pattern = re.compile(str(query.get("name") or ""))
        return [
            SimpleNamespace(id=project_id(name), name=name, basename=name.rpartition("/")[2])
            for name in _projects(_opened())
            if pattern.search(name)
        ]

    def get_output_log_web_page(self) -> str:
        """Where a browser shows the task; at `TRACKER_WEB_HOST`, once `tracker ui` serves it."""
        named = os.environ.get("TRACKER_WEB_HOST") or os.environ.get("CLEARML_WEB_HOST")
        host = (named or "http://localhost:8080").rstrip("/")
        return f"{host}/projects/{self.project}/tasks/{self._key}/output/log"

    # --- whose it is -------------------------------------------------------------------------------------------------

    def is_main_task(self) -> bool:
        """Whether it is the task that this process records."""
        main = current.get()
        return main is not None and main.id == self._key

    is_current_task = is_main_task

    @staticmethod
    def running_locally() -> bool:
        """Whether this process was not started to run a task that was there before."""
        main = current.get()
        return not main.replays if main is not None else to_run() is None

    @property
    def last_worker(self) -> str:
        """The machine that it ran on last."""
        return str(self._state.get("host", ""))

    @property
    def cache_dir(self) -> Path:
        """A folder of its own below the store's cache, for whatever may be lost."""
        folder = self._workspace.root / "cache" / "tasks" / self._key
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def data(self) -> SimpleNamespace:
        """The task's record with attributes, as ClearML's server has it. A copy: to change it changes nothing."""
        from tracker.sdk import record

        return record.of(self._key, self._state)

    # --- tags --------------------------------------------------------------------------------------------------------

    def add_tags(self, tags: str | Iterable[str]) -> None:
        """Add tags; a text is split at spaces."""
        self._set_all({f"tag/{tag}": True for tag in tags_of(tags)})

    def remove_tags(self, tags: str | Iterable[str]) -> None:
        """Remove tags; a text is split at spaces, and what is not there does not matter."""
        have = self._state.section("tag")
        self._set_all({f"tag/{tag}": None for tag in tags_of(tags) if tag in have})

    def set_tags(self, tags: Iterable[str]) -> None:
        """Replace all tags by these. Raises WrongKind for a text."""
        self._replace("tag", tags)

    def get_tags(self) -> list[str]:
        """Sorted."""
        return list(self._state.section("tag"))

    def get_system_tags(self) -> list[str]:
        """Sorted: archived, development, hidden, …"""
        return list(self._state.section("system_tag"))

    def set_system_tags(self, tags: Iterable[str]) -> None:
        """Replace all system tags by these. Raises WrongKind for a text."""
        self._replace("system_tag", tags)

    def _replace(self, section: str, tags: Iterable[str]) -> None:
        if isinstance(tags, str) or not isinstance(tags, Iterable):
            raise WrongKind(f"tags are a list of texts, not {tags!r}")
        wanted = tags_of(tags)
        gone: Mapping[str, Any] = {f"{section}/{tag}": None for tag in self._state.section(section)}
        self._set_all({**gone, **{f"{section}/{tag}": True for tag in wanted}})

    # --- progress ----------------------------------------------------------------------------------------------------

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


def tags_of(tags: str | Iterable[str] | None) -> list[str]:
    """Tags from a text split at spaces, or from a list of texts. Raises BadValue."""
    if tags is None:
        return []
    texts = tags.split(" ") if isinstance(tags, str) else tags
    found = list(texts) if isinstance(texts, Iterable) else [texts]
    if not all(isinstance(tag, str) for tag in found):
        raise BadValue(f"tags are a text or a list of texts, not {tags!r}")
    return [tag for tag in found if tag]


def project_id(name: str) -> str:
    """The id of a project: 32 hex digits made of its name, the same in every store; a renamed project has another."""
    from hashlib import blake2b

    return blake2b(
        name.encode("utf-8", "surrogatepass"), digest_size=16, person=b"tracker project"
    ).hexdigest()


def project_named(workspace: Workspace, key: str | None, name: str | None) -> str | None:
    """The name of the project that has this id or this name, None where no task is in one."""
    return next((each for each in _projects(workspace) if each == name or project_id(each) == key), None)


def _projects(workspace: Workspace) -> list[str]:
    """The names of all projects, those above others too, sorted."""
    found = {str(thing.state.get("project", "")) for thing in workspace.tasks().values()}
    above = {name[:at] for name in found for at, letter in enumerate(name) if letter == "/"}
    return sorted(name for name in found | above if name)


def _opened() -> Workspace:
    from tracker.workspace import Workspace

    task = current.get()
    return task.workspace if task else Workspace.open()
