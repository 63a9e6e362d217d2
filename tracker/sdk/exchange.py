"""A task's record in ClearML's layout, there and back: what export_task gives and import_task takes."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from tracker import names
from tracker.errors import BadValue
from tracker.records import State
from tracker.sdk.types import TaskTypes

if TYPE_CHECKING:
    from tracker.workspace import Workspace

Attach = Callable[[bytes], str]
_PLAIN: Final = ("name", "type", "comment", "parent")
_CODE: Final = ("repository", "branch", "version_num", "diff", "working_dir", "entry_point", "binary")


class Requirements(dict[str, Any]):
    """Requirements by installer, as a dict and as attributes."""

    def __init__(self, pip: Any = None, conda: Any = None, orig_pip: Any = None) -> None:
        super().__init__(pip=pip, conda=conda, orig_pip=orig_pip)

    @property
    def pip(self) -> Any:
        """A requirements text."""
        return self["pip"]

    @property
    def conda(self) -> Any:
        """None: no run here is described so."""
        return self["conda"]

    @property
    def orig_pip(self) -> Any:
        """What was asked for before an agent installed it."""
        return self["orig_pip"]


def document(key: str, state: State, read: Callable[[str], str]) -> dict[str, Any]:
    """A state's editable fields. `read` gives the text behind a "$ref"."""
    hyperparams: dict[str, dict[str, Any]] = {}
    for full, record in state.section("param").items():
        section, _, name = full.partition("/")
        hyperparams.setdefault(section, {})[name] = {"section": section, "name": name, **record}
    script = state.get("script", {})
    code = {name: _text(script.get(name, ""), read) for name in _CODE}
    return {
        "id": key,
        **{name: state.get(name, "") for name in _PLAIN},
        "project_name": state.get("project", ""),
        "status": state.get("status", "created"),
        "created": state.get("created", 0),
        "tags": list(state.section("tag")),
        "system_tags": list(state.section("system_tag")),
        "script": {**code, "requirements": {"pip": state.get("packages", "")}},
        "hyperparams": hyperparams,
        "configuration": {
            name: {"name": name, **record, "value": _text(record["value"], read)}
            for name, record in state.section("config").items()
        },
        "execution": {"model_labels": dict(state.get("labels", {}))},
        "container": dict(state.get("container", {})),
        "session_api_version": "2.9",
    }


def _text(value: Any, read: Callable[[str], str]) -> str:
    return read(value["$ref"]) if isinstance(value, Mapping) and "$ref" in value else str(value)


def keys(record: Mapping[str, Any], attach: Attach, before: State | None = None) -> dict[str, Any]:
    """The keys that a record sets. before: the state whose unnamed parts stay. Raises BadValue for no record."""
    if not isinstance(record, Mapping):
        raise BadValue(f"a task's record is a dict, as export_task gives it, not {type(record).__name__}")
    found: dict[str, Any] = {name: str(record[name] or "") for name in _PLAIN if record.get(name) is not None}
    if "type" in found:
        found["type"] = TaskTypes.parse(found["type"])
    for section, members in _part(record, "hyperparams").items():
        for name, one in _part(members, None).items():
            found[f"param/{section}/{name}"] = _valued(one, f"hyperparams.{section}.{name}")
    for name, one in _part(record, "configuration").items():
        found[f"config/{name}"] = _valued(one, f"configuration.{name}", attach)
    found.update({f"tag/{tag}": True for tag in record.get("tags") or ()})
    found.update(_code(record, attach, before))
    labels = _part(_part(record, "execution"), "model_labels")
    if labels:
        found["labels"] = {**(before.get("labels", {}) if before else {}), **labels}
    box = _part(record, "container")
    if box:
        found["container"] = {**(before.get("container", {}) if before else {}), **box}
    return found


def _code(record: Mapping[str, Any], attach: Attach, before: State | None) -> dict[str, Any]:
    from tracker.sdk.execution import text_or_ref

    script = _part(record, "script")
    given = {name: str(script[name] or "") for name in _CODE if name in script}
    found: dict[str, Any] = {}
    if given:
        code: dict[str, Any] = {**(before.get("script", {}) if before else {}), **given}
        if "diff" in given:
            code["diff"] = text_or_ref(given["diff"], attach)
        found["script"] = code
    pip = _part(script, "requirements").get("pip")
    if pip is not None:
        found["packages"] = pip if isinstance(pip, str) else "\n".join(map(str, pip))
    return found


def _part(record: Any, name: str | None) -> Mapping[str, Any]:
    found = record if name is None else record.get(name)
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise BadValue(f"{name or 'a section'} of a task's record is a dict, not {type(found).__name__}")
    return found


def _valued(one: Any, where: str, attach: Attach | None = None) -> dict[str, Any]:
    from tracker.sdk.execution import text_or_ref

    if not isinstance(one, Mapping) or not isinstance(one.get("value", ""), str):
        raise BadValue(f"{where} of a task's record needs a value that is text")
    value = one.get("value", "")
    return {
        "value": value if attach is None else text_or_ref(value, attach),
        "type": one.get("type"),
        "description": one.get("description"),
    }


def replaced(state: State, record: Mapping[str, Any]) -> set[str]:
    """The keys that a record stands in for as a whole: of the parts that it has."""
    parts = {"hyperparams": "param/", "configuration": "config/", "tags": "tag/"}
    starts = tuple(start for part, start in parts.items() if part in record)
    return {key for key in state.keys if starts and key.startswith(starts) and state.get(key) is not None}


def create(workspace: Workspace, record: Mapping[str, Any]) -> str:
    """A new task of a record, a draft; returns its id. Raises BadValue."""
    values = keys(record, workspace.attach)
    values["project"] = names.check_name("project", str(record.get("project_name") or ""))
    values["name"] = names.check_name("task", str(record.get("name") or ""))
    values.setdefault("type", TaskTypes.training.value)
    key = secrets.token_hex(16)
    workspace.edit(key, {**values, "status": "created", "created": time.time_ns() // 1000}, new=True)
    return key
