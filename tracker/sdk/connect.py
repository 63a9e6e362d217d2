"""Connected objects: what they hold is recorded, later writes to a dict too; and where a task is run again, its stored
values are put into them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tracker.errors import BadValue
from tracker.redaction import is_redacted
from tracker.sdk import parameters

if TYPE_CHECKING:
    from tracker.sdk.task.parameters import Parameters
    from tracker.sdk.task_parameters import TaskParameters

Changed = Callable[[Mapping[Any, Any]], None]
IGNORE = "_ignore_remote_overrides_"


class TrackedDict(dict[Any, Any]):
    """A dict that reports itself after each write, nested ones included, but no deletions. Pickles as a dict."""

    def __init__(self, source: Mapping[Any, Any], changed: Changed) -> None:
        super().__init__()
        self._changed = changed
        for key, value in source.items():
            super().__setitem__(key, self._wrap(value))

    def _wrap(self, value: Any) -> Any:
        return TrackedDict(value, lambda _: self._changed(self)) if type(value) is dict else value

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, self._wrap(value))
        self._changed(self)

    def update(self, *given: Any, **named: Any) -> None:
        """As dict.update, reported once."""
        for key, value in dict(*given, **named).items():
            super().__setitem__(key, self._wrap(value))
        self._changed(self)

    def __ior__(self, other: Any) -> TrackedDict:  # type: ignore[misc]  # dict has two of different types
        self.update(other)
        return self

    def setdefault(self, key: Any, default: Any = None) -> Any:
        """As dict.setdefault, reported when it adds."""
        if key not in self:
            self[key] = default
        return self[key]

    def to_dict(self) -> dict[Any, Any]:
        """A plain dict of plain dicts."""
        return {k: v.to_dict() if isinstance(v, TrackedDict) else v for k, v in self.items()}

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (self.to_dict(),)


def connect(task: Parameters, mutable: Any, name: str | None, ignore: bool) -> Any:
    """Record an object, and where the task is run again fill it first; returns the one to go on with.

    ignore: keep the object's own values, and say so in the parameter `<section>/_ignore_remote_overrides_`, which may
    be edited. Raises BadValue for what has nothing to record.
    """
    section = name or parameters.DEFAULT_SECTION
    if isinstance(mutable, dict):
        return _connect_dict(task, mutable, section, ignore)
    argparse = sys.modules.get("argparse")  # nobody has a parser who did not import it
    if argparse is not None and isinstance(mutable, argparse.ArgumentParser):
        return _connect_parser(task, mutable)
    from tracker.sdk.models import Model
    from tracker.sdk.task_parameters import TaskParameters

    if isinstance(mutable, Model):
        return _connect_model(task, mutable, name, ignore)
    if isinstance(mutable, TaskParameters):
        return _connect_fields(task, mutable, section, ignore)
    return _connect_object(task, mutable, section, ignore)


def takes_stored(task: Parameters, switch: str, ignore: bool) -> bool:
    """Whether the task's values go into the object. switch: the parameter that says they do not, if it is there."""
    said = task.get_parameter(switch)
    if ignore and said is None:
        why = "True: this task's values do not go into the script when it is run again"
        task.set_parameter(switch, True, description=why)
    ignored = ignore if said is None else parameters.like(False, str(said), "bool")
    return task.replays and not ignored


def _stored(task: Parameters, section: str) -> dict[str, Any]:
    """The parameters of a section, but for those whose secrets were left out: the script keeps its own."""
    found = task._state.section(f"param/{section}")
    found.pop(IGNORE, None)
    return {name: record for name, record in found.items() if not is_redacted(record.get("value"))}


def _fill(task: Parameters, values: dict[Any, Any], section: str, stored: Mapping[str, Any]) -> None:
    def refused(name: str, why: str) -> None:
        text = stored[name]["value"]
        task.fault(
            f"the task's {section}/{name} = {text!r} is not used, the script's value stays: {why}", None
        )

    parameters.refill(values, stored, refused)


def _record(task: Parameters, section: str, values: Mapping[Any, Any], known: Mapping[str, Any] = {}) -> None:
    """Record values, but for those of which the task knows already."""
    given = parameters.nested(values)
    task._set_parameters({f"{section}/{name}": value for name, value in given.items() if name not in known})


def _connect_dict(task: Parameters, mutable: dict[Any, Any], section: str, ignore: bool) -> TrackedDict:
    run = task._run

    def changed(values: Mapping[Any, Any]) -> None:
        if task._run is run:  # what a script does with its dict after the run is no part of it
            _record(task, section, values)

    parameters.nested(mutable)  # refuses one that holds itself
    stored = _stored(task, section) if takes_stored(task, f"{section}/{IGNORE}", ignore) else {}
    _fill(task, mutable, section, stored)
    _record(task, section, mutable, stored)
    return TrackedDict(mutable, changed)


def _connect_object(task: Parameters, mutable: Any, section: str, ignore: bool) -> Any:
    values = _attributes(mutable)
    before = dict(values)
    stored = _stored(task, section) if takes_stored(task, f"{section}/{IGNORE}", ignore) else {}
    _fill(task, values, section, stored)
    for name, value in values.items():
        if value is not before[name]:
            setattr(mutable, name, value)
    _record(task, section, values, stored)
    return mutable


def _attributes(mutable: Any) -> dict[str, Any]:
    """The public plain attributes of an object, or of a class and its bases. Raises BadValue where none can be."""
    found: dict[str, Any] = {}
    if isinstance(mutable, type):
        for each in reversed(mutable.__mro__[:-1]):
            found.update(vars(each))
    elif hasattr(mutable, "__dict__"):
        found = dict(vars(mutable))
    else:
        raise BadValue(
            "connect takes a dict, an object or class with attributes, an ArgumentParser, a TaskParameters or a "
            f"model, not {type(mutable).__name__}"
        )
    return {n: v for n, v in found.items() if not n.startswith("_") and parameters.acceptable(v)}


def _connect_fields(task: Parameters, mutable: TaskParameters, section: str, ignore: bool) -> TaskParameters:
    """The section is the object: what is in one and not in the other goes, or is an error."""
    stored = _stored(task, section)
    if takes_stored(task, f"{section}/{IGNORE}", ignore) and stored:
        mutable.update_from_stored(stored)
        _record(task, section, mutable.to_dict(), stored)
        return mutable
    values = mutable.to_dict()
    for name in stored:
        if name not in parameters.nested(values):
            task.set_key(f"param/{section}/{name}", None)
    _record(task, section, values)
    return mutable


def _connect_parser(task: Parameters, parser: Any) -> Any:
    if task._run is not None:
        task._run.capture_parser(parser)
    return parser


def _connect_model(task: Parameters, model: Any, name: str | None, ignore: bool) -> Any:
    """Link a model; where the task is run again it is the input model of that name, or the only one, that is there."""
    from tracker.sdk import models

    if isinstance(model, models.InputModel) and takes_stored(
        task, f"{parameters.DEFAULT_SECTION}/{IGNORE}", ignore
    ):
        inputs = models.linked(task.workspace, task._fresh().state).input
        found = inputs.get(name or model.name) or (inputs[0] if len(inputs) == 1 else None)
        if found is not None:
            model._id = found.id
    model.connect(task, name)
    return model
