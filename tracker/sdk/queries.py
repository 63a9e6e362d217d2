"""Finding tasks: by id, project, name, tags, status. One place decides what fits and in which order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from tracker import layout
from tracker.errors import BadValue, TaskNotFound
from tracker.records import State
from tracker.workspace import Workspace

if TYPE_CHECKING:
    from tracker.reader import Thing
    from tracker.sdk.task import Task

_FILTERS: Final = ("id", "status", "type", "tags", "system_tags", "project", "name")


def get_task(
    cls: type[Task],
    task_id: str | None,
    project: str | None,
    name: str | None,
    tags: Sequence[str] | None,
    allow_archived: bool,
    task_filter: Mapping[str, Any] | None,
) -> Task | None:
    """One task; see Task.get_task."""
    projects, labels, wanted = (
        _listed("project_name", project or ()),
        _listed("tags", tags or ()),
        _checked(task_filter),
    )
    workspace = _workspace()
    if task_id:
        return _by_id(cls, workspace, task_id)
    tasks = workspace.tasks()
    if project is not None and project not in {t.state.get("project") for t in tasks.values()}:
        raise TaskNotFound(f'Project "{project}" could not be found in {workspace.root}')
    fitting = _fitting(tasks, projects, labels, wanted)
    fitting = [t for t in fitting if name is None or t.state.get("name") == name]
    current = [t for t in fitting if not _archived(t)]
    fitting = current or (fitting if allow_archived else [])
    return cls._make(workspace, fitting[0].key, thing=fitting[0]) if fitting else None


def get_tasks(
    cls: type[Task],
    task_ids: str | Sequence[str] | None,
    project: str | Sequence[str] | None,
    name: str | None,
    tags: Sequence[str] | None,
    allow_archived: bool,
    task_filter: Mapping[str, Any] | None,
) -> list[Task]:
    """Tasks; see Task.get_tasks."""
    projects, labels, wanted = (
        _listed("project_name", project or ()),
        _listed("tags", tags or ()),
        _checked(task_filter),
    )
    pattern = None if name is None else _pattern(name)
    keys = _listed("task_ids", task_ids or ())
    workspace = _workspace()
    if keys:
        return [_by_id(cls, workspace, key) for key in keys]
    found = _fitting(workspace.tasks(), projects, labels, wanted)
    if pattern is not None:
        found = [t for t in found if pattern.search(str(t.state.get("name", "")))]
    if not allow_archived:
        found = [t for t in found if not _archived(t)]
    return [cls._make(workspace, t.key, thing=t) for t in found]


def _by_id(cls: type[Task], workspace: Workspace, key: object) -> Task:
    if not isinstance(key, str):
        raise BadValue(f"a task's id is text, not {type(key).__name__}")
    thing = workspace.thing(key)
    if thing.state.kind != layout.TASK:
        raise TaskNotFound(f'Task ID "{key}" could not be found: it is the id of a {thing.state.kind}')
    return cls._make(workspace, key, thing=thing)


def _workspace() -> Workspace:
    from tracker.sdk import current

    task = current.get()
    workspace = task.workspace if task else Workspace.open()
    workspace.recover()
    return workspace


def _fitting(
    tasks: Mapping[str, Thing], projects: list[str], tags: list[str], wanted: Mapping[str, list[str]]
) -> list[Thing]:
    found = [
        t
        for t in tasks.values()
        if (not projects or t.state.get("project") in projects)
        and _has_tags(t.state, "tag", tags)
        and _fits(t, wanted)
    ]
    return sorted(found, key=lambda t: (-t.state.updated, t.key))


def _checked(task_filter: Mapping[str, Any] | None) -> dict[str, list[str]]:
    """A filter with a list of texts for each of its keys; what is empty does not filter. Raises BadValue."""
    if not isinstance(task_filter, Mapping | None):
        raise BadValue(f"task_filter is a dict, not {type(task_filter).__name__}")
    wanted = dict(task_filter or {})
    unknown = sorted(wanted.keys() - set(_FILTERS))
    if unknown:
        raise BadValue(f"task_filter has {', '.join(unknown)}: it takes {', '.join(_FILTERS)}")
    found = {
        key: _listed(f"task_filter's {key}", value) for key, value in wanted.items() if value is not None
    }
    for pattern in found.get("name", ()):
        _pattern(pattern)
    return {key: values for key, values in found.items() if values}


def _listed(what: str, value: Any) -> list[str]:
    """One text or several as a list. Raises BadValue."""
    values = [value] if isinstance(value, str) or not isinstance(value, Iterable) else list(value)
    if not all(isinstance(v, str) for v in values):
        raise BadValue(f"{what} is {value!r}: a text or a list of texts is expected")
    return values


def _fits(thing: Thing, wanted: Mapping[str, list[str]]) -> bool:
    state = thing.state
    for key, values in wanted.items():
        if key == "name":
            fits = any(_pattern(v).search(str(state.get("name", ""))) for v in values)
        elif key in ("tags", "system_tags"):
            fits = _has_tags(state, "tag" if key == "tags" else "system_tag", values)
        else:
            have = thing.key if key == "id" else state.get(key)
            fits = str(have) in values
        if not fits:
            return False
    return True


def _has_tags(state: State, prefix: str, tags: list[str]) -> bool:
    """Whether any of the tags is there, and none of those that begin with a dash."""
    if not tags:
        return True
    have = state.section(prefix)
    wanted = [tag for tag in tags if not tag.startswith("-")]
    unwanted = [tag[1:] for tag in tags if tag.startswith("-")]
    return (not wanted or any(tag in have for tag in wanted)) and not any(tag in have for tag in unwanted)


def _archived(thing: Thing) -> bool:
    return "archived" in thing.state.section("system_tag")


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except (re.error, TypeError) as error:
        raise BadValue(f"{text!r} is not a regular expression: {error}") from error
