"""Task, parameters: set, read and connected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tracker.errors import BadValue
from tracker.sdk.task.core import Core


class Parameters(Core):
    """Hyperparameters, and the objects they are kept in."""

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
