"""A task's record in the shape of ClearML's server, with attributes. Reading only."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tracker.records import State

_SCRIPT = ("repository", "branch", "version_num", "diff", "working_dir", "entry_point", "binary")
_CONTAINER = ("image", "arguments", "setup_shell_script")


def of(key: str, state: State) -> SimpleNamespace:
    """The record of a task; what it does not have is None or empty. Times in microseconds since the epoch."""
    from tracker.sdk.task.identity import project_id

    script = _namespace(state.get("script", {}), _SCRIPT)
    script.requirements = {"pip": str(state.get("packages", ""))}
    artifacts = [SimpleNamespace(key=name, **dict(item)) for name, item in state.section("artifact").items()]
    return SimpleNamespace(
        id=key,
        name=state.get("name"),
        type=state.get("type"),
        status=state.get("status", "created"),
        status_reason=state.get("status_reason"),
        status_message=state.get("status_message"),
        comment=state.get("comment"),
        user=state.get("user"),
        parent=state.get("parent"),
        project=project_id(str(state.get("project", ""))),
        tags=list(state.section("tag")),
        system_tags=list(state.section("system_tag")),
        created=state.get("created"),
        started=state.get("started"),
        completed=state.get("completed"),
        published=state.get("published"),
        last_update=state.updated,
        hyperparams=_hyperparams(state),
        script=script,
        container=_namespace(state.get("container", {}), _CONTAINER),
        execution=SimpleNamespace(artifacts=artifacts, queue=state.get("queue")),
        runtime={"progress": state.get("progress"), **state.section("runtime")},
    )


def _hyperparams(state: State) -> dict[str, dict[str, SimpleNamespace]]:
    found: dict[str, dict[str, SimpleNamespace]] = {}
    for full, item in state.section("param").items():
        section, _, name = full.partition("/")
        one = {field: item.get(field) for field in ("value", "type", "description")}
        found.setdefault(section, {})[name] = SimpleNamespace(section=section, name=name, **one)
    return found


def _namespace(value: Mapping[str, Any], fields: tuple[str, ...]) -> SimpleNamespace:
    return SimpleNamespace(**{field: value.get(field) for field in fields})
