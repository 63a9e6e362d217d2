"""Finding tasks under ClearML's names: what is asked becomes terms, and the projection answers.

Nothing is decided here but which rules a call adds to those it is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from tracker import layout
from tracker.errors import BadValue, TaskNotFound
from tracker.filters import algebra, fields, patterns, task_filter
from tracker.filters.fields import Field
from tracker.filters.grammar import parse, parse_sort
from tracker.filters.task_filter import Asked
from tracker.filters.terms import Compare, Match, Not, Term, together
from tracker.notice import say
from tracker.projection import Facts, Query
from tracker.workspace import Workspace

if TYPE_CHECKING:
    from tracker.frames import Result
    from tracker.sdk.task import Task

_MOST: Final = 500  # tasks that get_tasks makes, as ClearML's does
_NAME: Final = Field("", "name")
_TAGS: Final = Field("", "tags")


def query(
    text: str = "",
    *,
    sort: str | Sequence[str] = "-updated",
    limit: int | None = None,
    offset: int = 0,
    columns: Sequence[str] = (),
) -> Result:
    """The tasks that fit a query in the grammar of `tracker ls` (docs/queries.md), as a table that becomes any frame.

    sort: keys like `-metrics.val/acc`, the first counts most; columns: their names, all that the tasks have by default.
    Raises BadQuery, whose text shows the place, BadValue for a sort key that no task has.
    """
    from tracker.frames import Result

    for name, value in (("offset", offset), ("limit", 0 if limit is None else limit)):
        if not isinstance(value, int) or value < 0:
            raise BadValue(f"{name} is {value!r}: a whole number, 0 or more, is expected")
    term = parse(text)
    orders = [parse_sort(key) for key in ([sort] if isinstance(sort, str) else sort)]
    return Result(
        _workspace().projection.find(Query(term, orders, offset, limit, text=text)),
        [columns] if isinstance(columns, str) else columns,
    )


def get_task(
    cls: type[Task],
    task_id: str | None,
    project: str | None,
    name: str | None,
    tags: Sequence[str] | None,
    allow_archived: bool,
    rules: Mapping[str, Any] | None,
) -> Task | None:
    """One task; see Task.get_task."""
    projects, labels, wanted = _listed("project_name", project), _tags(tags), _checked(rules)
    workspace = _workspace()
    if task_id:
        return _by_id(cls, workspace, task_id)
    if project is not None and not _known(workspace, projects, wanted.include_subprojects):
        raise TaskNotFound(f'Project "{project}" could not be found in {workspace.root}')
    terms = [task_filter.projects(projects, below=wanted.include_subprojects), labels, wanted.term]
    if name is not None:
        terms.append(Compare(_NAME, "=", name))
    keys, total = _newest(workspace, [*terms, Not(task_filter.archived())], wanted)
    if not keys and allow_archived:
        keys, total = _newest(workspace, terms, wanted)
    if total > 1:
        say(f"{total} tasks fit; the first of them, {keys[0]}, is taken: give its id for another")
    return cls._make(workspace, keys[0]) if keys else None


def get_tasks(
    cls: type[Task],
    task_ids: str | Sequence[str] | None,
    project: str | Sequence[str] | None,
    name: str | None,
    tags: Sequence[str] | None,
    allow_archived: bool,
    rules: Mapping[str, Any] | None,
) -> list[Task]:
    """Tasks; see Task.get_tasks."""
    term, wanted = _rules(project, name, tags, rules)
    keys = _listed("task_ids", task_ids)
    workspace = _workspace()
    if keys:
        return [_by_id(cls, workspace, key) for key in keys]
    if not _some_known(workspace, _listed("project_name", project), wanted.include_subprojects):
        return []
    terms = [term] if allow_archived else [term, Not(task_filter.archived())]
    found, total = workspace.projection.ids(_page(terms, wanted, _MOST))
    if wanted.page_size is None and total > _MOST:
        say(
            f"the first {_MOST} of {total} tasks are given: page and page_size in task_filter give others, "
            "Task.query_tasks all ids"
        )
    return [cls._make(workspace, key) for key in found]


def query_tasks(
    project: str | Sequence[str] | None,
    name: str | None,
    tags: Sequence[str] | None,
    more: Sequence[str] | None,
    rules: Mapping[str, Any] | None,
) -> list[str] | list[dict[str, Any]]:
    """Ids, or dicts of fields; see Task.query_tasks."""
    term, wanted = _rules(project, name, tags, rules)
    names = _listed("additional_return_fields", more)
    workspace = _workspace()
    if not _some_known(workspace, _listed("project_name", project), wanted.include_subprojects):
        return []
    asked = _page([term], wanted, None)
    if not names:
        return workspace.projection.ids(asked)[0]
    return [
        {"id": each.row.id, **{name: returned(workspace, each, name) for name in names}}
        for each in workspace.projection.find(asked).facts
    ]


def returned(workspace: Workspace, each: Facts, name: str) -> Any:
    """A field by ClearML's name: a text, a number, a time in UTC, a list, a dict; None where a task has none."""
    from tracker.frames import time_of, value_of

    head, _, rest = name.partition(".")
    if head == "hyperparams":
        return _hyperparams(each, rest)
    if name == "runtime":
        return dict(each.runtime)
    if name.startswith("models."):
        linked = each.models.get(rest, {})
        return [{"model": key, "name": link} for key, link in linked.items()]
    try:
        of = task_filter.field_of(
            name, lambda: [*each.row.metrics, *(f"Summary/{n}" for n in each.row.singles)]
        )
    except BadValue:
        return _walked(workspace.thing(each.row.id).state.get(head), rest)
    value = value_of(each, of)
    return time_of(value) if of.sort == fields.TIME and value is not None else value


def _hyperparams(each: Facts, rest: str) -> Any:
    sections: dict[str, dict[str, str]] = {}
    for path, text in each.row.params.items():
        section, _, name = path.partition("/")
        sections.setdefault(section, {})[name] = text
    section, dot, name = rest.partition(".")
    if not rest:
        return sections
    if not dot:
        return sections.get(section)
    found = sections.get(section, {})
    return found.get(name, found.get(name.removesuffix(".value")))


def _walked(value: Any, rest: str) -> Any:
    for part in rest.split(".") if rest else ():
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _rules(
    project: str | Sequence[str] | None,
    name: str | None,
    tags: Sequence[str] | None,
    rules: Mapping[str, Any] | None,
) -> tuple[Term, Asked]:
    """What get_tasks and query_tasks ask for alike."""
    wanted = _checked(rules)
    terms = [
        task_filter.projects(_listed("project_name", project), below=wanted.include_subprojects),
        _tags(tags),
        wanted.term,
    ]
    if name is not None:
        patterns.check(name)
        terms.append(Match(_NAME, name))
    if not wanted.search_hidden:
        terms.append(task_filter.hidden())
    return together(terms), wanted


def _newest(workspace: Workspace, terms: Iterable[Term], wanted: Asked) -> tuple[list[str], int]:
    return workspace.projection.ids(Query(together(terms), wanted.order, limit=1))


def _page(terms: Iterable[Term], wanted: Asked, most: int | None) -> Query:
    size = most if wanted.page_size is None else wanted.page_size
    return Query(together(terms), wanted.order, wanted.page * (wanted.page_size or 0), size)


def _known(workspace: Workspace, names: Iterable[str], below: bool) -> bool:
    return not _unknown(workspace, names, below)


def _some_known(workspace: Workspace, names: Sequence[str], below: bool) -> bool:
    """Whether any of these projects is there, or none is asked for; those that are not are named."""
    plain = [name for name in names if not name.startswith(("-", "__$"))]
    unknown = _unknown(workspace, plain, below)
    if unknown:
        from tracker.filters.fields import near

        for name in unknown:
            close = near(name, workspace.projection.projects(), 3)
            say(f"there is no project {name!r}" + (f": did you mean {', '.join(close)}?" if close else ""))
    return len(unknown) < len(plain) or not plain


def _unknown(workspace: Workspace, names: Iterable[str], below: bool) -> list[str]:
    if not (wanted := list(names)):
        return []
    known = workspace.projection.projects()
    return [n for n in wanted if n not in known and not (below and any(k.startswith(f"{n}/") for k in known))]


def _tags(tags: Sequence[str] | None) -> Term:
    values = [tags] if isinstance(tags, str) else list(tags) if isinstance(tags, Iterable) else tags
    return algebra.combine("tags", [] if values is None else _iterated("tags", values), _TAGS)


def _iterated(what: str, values: Any) -> list[Any]:
    if not isinstance(values, list):
        raise BadValue(f"{what} is {values!r}: a text or a list of texts is expected")
    return values


def _checked(rules: Mapping[str, Any] | None) -> Asked:
    """The rules of a task_filter. The names of metrics are looked up only where a rule needs them."""

    def names() -> list[str]:
        from tracker.projection.schema import METRIC, SINGLE

        projection = _workspace().projection
        return [*projection.names(METRIC), *(f"Summary/{name}" for name in projection.names(SINGLE))]

    return task_filter.parse(rules, names)


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


def _listed(what: str, value: Any) -> list[str]:
    """One text or several as a list; None as an empty one. Raises BadValue."""
    if value is None:
        return []
    values = [value] if isinstance(value, str) or not isinstance(value, Iterable) else list(value)
    if not all(isinstance(v, str) for v in values):
        raise BadValue(f"{what} is {value!r}: a text or a list of texts is expected")
    return values


def by_name(cls: type[Task], name: str) -> Task | None:
    """The task of a name that changed last; see Task.get_by_name."""
    return get_task(cls, None, None, name, None, True, None)


def get_all(cls: type[Task], rules: Mapping[str, Any]) -> list[Task]:
    """Tasks by the rules of a task_filter; see Task.get_all."""
    return get_tasks(
        cls, None, None, None, None, True, {"page_size": 10**9, **rules} if "page" not in rules else rules
    )
