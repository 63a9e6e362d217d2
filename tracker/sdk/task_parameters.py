"""Parameters as a class: TaskParameters with `param` fields that have a type, a range and a description.

Stands alone: what is here knows no task but the one that it is connected to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from tracker.sdk import parameters

Validator = Callable[[Any, Any, Any], object]
"""Called with the object, its field and the new value; raises ValueError for one that is refused."""


class _Connects(Protocol):
    def connect(self, mutable: Any, name: str | None = None) -> Any: ...


class Field:
    """One parameter of a class, as a descriptor: it casts and checks whatever is assigned."""

    def __init__(
        self, default: Any, type: type | None, validators: tuple[Validator, ...], desc: str | None
    ) -> None:
        self.default = default
        self.type = type
        self.desc = desc
        self.name = ""
        self._validators = validators

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type) -> Any:
        return self if instance is None else instance.__dict__.get(self.name, self.default)

    def __set__(self, instance: Any, value: Any) -> None:
        if value is not None:
            if self.type is not None and not isinstance(value, self.type):
                value = self._cast(value)
            for validate in self._validators:
                validate(instance, self, value)
        instance.__dict__[self.name] = value

    def _cast(self, value: Any) -> Any:
        try:
            if isinstance(value, str) and self.type is not None and self.type is not str:
                return parameters.like(self.type(), value, None)
            return self.type(value) if self.type is not None else value
        except (TypeError, ValueError) as error:
            raise ValueError(f"{self.name} is {value!r}: {error}") from error


def param(
    validator: Validator | None = None,
    range: tuple[Any, Any] | None = None,
    type: type | None = None,
    desc: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    *,
    default: Any = None,
) -> Any:
    """A field of a TaskParameters. range: least and greatest value; type: what values are cast to."""
    validators = [validator] if validator is not None else []
    if range is not None:
        validators.append(range_validator(*range))
    return Field(default, type, tuple(validators), desc)


def percent_param(desc: str | None = None, *, default: Any = None) -> Any:
    """A field that holds a fraction: a float from 0 to 1."""
    return param(range=(0, 1), type=float, desc=desc, default=default)


def range_validator(min_value: Any, max_value: Any) -> Validator:
    """Refuses what is less than `min_value` or greater than `max_value`."""

    def validate(instance: Any, field: Any, value: Any) -> None:
        if not min_value <= value <= max_value:
            raise ValueError(f"{field.name} is {value!r}: it must be from {min_value} to {max_value}")

    return validate


class TaskParameters:
    """The base of a class of parameters. Its values are given by name, or in the order of its fields."""

    def __init__(self, *given: Any, **named: Any) -> None:
        names = list(self._fields())
        if len(given) > len(names):
            raise TypeError(f"{type(self).__name__} has {len(names)} parameters, not {len(given)}")
        values = dict(zip(names, given, strict=False))
        for name in named:
            if name not in names or name in values:
                raise TypeError(f"{type(self).__name__} has no further parameter {name!r}")
        for name, field in self._fields().items():
            setattr(self, name, {**values, **named}.get(name, field.default))

    @classmethod
    def _fields(cls) -> dict[str, Field]:
        return {
            name: value
            for each in reversed(cls.__mro__)
            for name, value in vars(each).items()
            if isinstance(value, Field)
        }

    def to_dict(self) -> dict[str, Any]:
        """Name to value."""
        return {name: getattr(self, name) for name in self._fields()}

    def update_from_dict(self, source_dict: Mapping[str, Any]) -> None:
        """Set some of the parameters. Raises ValueError for one that there is not, before any is set, and for one out
        of its range.
        """
        self._check_known(source_dict)
        for name, value in source_dict.items():
            setattr(self, name, value)

    def update_from_stored(self, stored: Mapping[str, Mapping[str, Any]]) -> None:
        """The same from parameters as a task has them. Raises ValueError."""
        self._check_known(stored)
        values = self.to_dict()
        for name, one in stored.items():
            field = self._fields()[name]
            default = values[name] if values[name] is not None or field.type is None else field.type()
            values[name] = parameters.like(default, str(one["value"]), one.get("type"))
        self.update_from_dict(values)

    def _check_known(self, names: Mapping[str, Any]) -> None:
        unknown = [name for name in names if name not in self._fields()]
        if unknown:
            raise ValueError(
                f"{type(self).__name__} has no parameter {unknown[0]!r}: it has {', '.join(self._fields())}"
            )

    def connect(self, task: _Connects, name: str | None = None) -> Any:
        """`task.connect` of this."""
        return task.connect(self, name=name)
