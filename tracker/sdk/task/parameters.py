"""Task, parameters: set, read and connected; and the user properties, which are a section of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tracker.errors import BadValue
from tracker.sdk.task.core import Core

if TYPE_CHECKING:
    from tracker.sdk import parameters


class Parameters(Core):
    """Hyperparameters, the objects they are kept in, and user properties."""

    # --- set ---------------------------------------------------------------------------------------------------------

    def set_parameters(self, *args: Any, **kwargs: Any) -> None:
        """Replace all parameters, user properties excepted, by those of dicts, pairs and keywords."""
        from tracker.sdk import parameters

        given = parameters.flatten(*args, **kwargs)
        keep = {parameters.key_of(str(name)) for name in given}
        for name in self._state.section("param"):
            if f"param/{name}" not in keep and not name.startswith(f"{parameters.PROPERTIES}/"):
                self.set_key(f"param/{name}", None)
        self._set_parameters(given)

    def update_parameters(self, *args: Any, **kwargs: Any) -> None:
        """Add or change those of dicts, pairs and keywords; the others stay."""
        from tracker.sdk import parameters

        self._set_parameters(parameters.flatten(*args, **kwargs))

    def set_parameters_as_dict(self, dictionary: Mapping[str, Any]) -> None:
        """Add or change parameters from a nested dict."""
        from tracker.sdk import parameters

        self._set_parameters(parameters.nested(dictionary))

    def set_parameter(
        self, name: str, value: Any, description: str | None = None, value_type: Any = None
    ) -> None:
        """Add or change one parameter. Its first type and description stay. value_type: a type, or its name."""
        if not isinstance(name, str):
            raise BadValue(f"a parameter needs a name, not {name!r}")
        kind = value_type.__name__ if isinstance(value_type, type) else value_type
        self._set_parameters({name: value}, description, None if kind is None else str(kind))

    def _set_parameters(
        self, given: Mapping[str, Any], description: str | None = None, kind: str | None = None
    ) -> None:
        from tracker.sdk import parameters

        state, changes = self._state, {}
        for name, value in given.items():
            key = parameters.key_of(str(name))
            before = state.get(key)
            if not parameters.acceptable(value):
                self.fault(f"parameter {name!r} of type {type(value).__name__} was left out", None)
            elif (record := parameters.record(value, before, description, kind)) != before:
                changes[key] = record
        self._set_all(changes)

    @property
    def _arguments(self) -> parameters.Arguments:
        """By this name of ClearML's own, transformers records what a trainer was given."""
        from tracker.sdk import parameters

        return parameters.Arguments(self._set_parameters)

    def delete_parameter(self, name: str, force: bool = False) -> bool:
        """Remove one parameter by its full name `Section/name`; whether it was there.

        Raises NoSection (an IndexError) for a name without its section.
        """
        from tracker.sdk import parameters

        if "/" not in str(name):
            raise parameters.NoSection(f"parameter {name!r}: give the full name, such as General/{name}")
        key = parameters.key_of(name)
        there = self._state.get(key) is not None
        if there:
            self.set_key(key, None)
        return there

    # --- read --------------------------------------------------------------------------------------------------------

    def get_parameters(self, backwards_compatibility: bool = True, cast: bool = False) -> dict[str, Any]:
        """`Section/name` to text, or with `cast` to values of the stored types."""
        from tracker.sdk import parameters

        return parameters.read(self._state, typed=cast)

    def get_parameters_as_dict(self, cast: bool = False) -> dict[str, Any]:
        """The same as nested dicts: a level for the section, and one for each slash in a name."""
        from tracker.sdk import parameters

        return parameters.split(self.get_parameters(cast=cast))

    def get_parameter(self, name: str, default: Any = None, cast: bool = False) -> Any:
        """One parameter by its full name `Section/name`."""
        return self.get_parameters(cast=cast).get(name, default)

    # --- connected ---------------------------------------------------------------------------------------------------

    def connect(self, mutable: Any, name: str | None = None, ignore_remote_overrides: bool = False) -> Any:
        """Record what an object holds as parameters of section `name` (General), and what is written to it later.

        A dict: returns one like it that reports writes to it, nested ones too. An object or class: its public plain
        attributes. An ArgumentParser: what it parses, as section Args. A TaskParameters: the whole section. A model: it
        is linked. Where the task is run again, its stored values are put into the object first, unless
        `ignore_remote_overrides`. Raises BadValue for anything else.
        """
        from tracker.sdk import connect

        return connect.connect(self, mutable, name, ignore_remote_overrides)

    @property
    def replays(self) -> bool:
        """Whether this process runs a task again that was there before, so that stored values go into the script."""
        return self._run is not None and self._run.identity.runs

    @property
    def replays_arguments(self) -> bool:
        """Whether they have to be told to a parser from outside of the captures, as in a rank that is not the first."""
        return self._run is not None and self._run.replays_arguments

    # --- user properties ---------------------------------------------------------------------------------------------

    def set_user_properties(self, *iterables: Any, **properties: Any) -> bool:
        """Add or change user properties: keywords, plain dicts, dicts with `name` and `value` (and `description`,
        `type`), pairs (name, value), and lists of these. Values are kept as text; True.
        """
        from tracker.sdk import parameters

        found = parameters.properties(*iterables, **properties)
        start = f"param/{parameters.PROPERTIES}"
        self._set_all({f"{start}/{name}": record for name, record in found.items()})
        return True

    def get_user_properties(self, value_only: bool = False) -> dict[str, Any]:
        """By name: `section`, `name`, `value`, `type`, `description`; or only the value, as text."""
        from tracker.sdk import parameters

        found = self._state.section(f"param/{parameters.PROPERTIES}")
        if value_only:
            return {name: record["value"] for name, record in found.items()}
        return {
            name: {"section": parameters.PROPERTIES, "name": name, **record} for name, record in found.items()
        }

    def delete_user_properties(self, *iterables: Iterable[Any]) -> bool:
        """Remove user properties, each named by (section, name), by a dict with `name`, or by its name; True.

        The section is `properties` for all of them. Names that are not there are passed over.
        """
        from tracker.sdk import parameters

        there = self._state.section(f"param/{parameters.PROPERTIES}")
        gone = {f"param/{parameters.PROPERTIES}/{n}": None for n in _names(iterables) if n in there}
        self._set_all(gone)
        return True


def _names(given: Iterable[Any]) -> list[str]:
    """The names of properties that are to go."""
    found: list[str] = []
    for item in given:
        if isinstance(item, str):
            found.append(item)
        elif isinstance(item, Mapping) and "name" in item:
            found.append(str(item["name"]))
        elif isinstance(item, tuple) and len(item) == 2 and all(isinstance(part, str) for part in item):
            found.append(item[1])
        elif isinstance(item, Iterable):
            found += _names(item)
        else:
            raise BadValue(f"a property is named by (section, name), not by {item!r}")
    return found
