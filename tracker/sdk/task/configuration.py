"""Task, configuration: texts with a name that a script is configured by, label enumeration, the model's design."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tracker.errors import BadValue
from tracker.sdk.task.parameters import Parameters


class Configuration(Parameters):
    """Configuration objects."""

    def connect_configuration(
        self,
        configuration: Any,
        name: str | None = None,
        description: str | None = None,
        ignore_remote_overrides: bool = False,
    ) -> Any:
        """Record a dict, a list or a file's text under `name` (General); returns what the script should go on with.

        Of a dict one like it that records later writes, of a list that very list, of a path (str or Path) the path.
        Where the task is run again, dict and list get the stored content first, and a path is that of a new file with
        the stored text. Raises BadValue for a file that cannot be read as text, and for anything else.
        """
        from tracker.sdk import configuration as objects

        return objects.connect(
            self, configuration, name or objects.GENERAL, description, ignore_remote_overrides
        )

    def set_configuration_object(
        self,
        name: str,
        config_text: str | None = None,
        description: str | None = None,
        config_type: str | None = None,
        config_dict: Mapping[str, Any] | list[Any] | None = None,
    ) -> None:
        """Set one from a text or from a dict or list: exactly one of them, else BadValue."""
        from tracker.sdk import configuration as objects

        if (config_text is None) == (config_dict is None):
            raise BadValue("give exactly one of config_text and config_dict")
        text = config_text if config_dict is None else objects.text_of(config_dict)
        kind = config_type or ("dictionary" if config_dict is not None else None)
        objects.store(self, name, str(text), kind, description)

    def get_configuration_object(self, name: str) -> str | None:
        """Its text; None where there is none of that name."""
        from tracker.sdk import configuration as objects

        return objects.text(self, name)

    def get_configuration_object_as_dict(self, name: str) -> Any:
        """It parsed, a dict or a list: JSON, YAML by its type, else HOCON. None where there is none.

        Raises BadValue for a text that is none of these.
        """
        from tracker.sdk import configuration as objects

        return objects.parsed(self, name)

    def get_configuration_objects(self) -> dict[str, str]:
        """Name to text."""
        return {name: self.get_configuration_object(name) or "" for name in self._state.section("config")}

    # --- labels and model --------------------------------------------------------------------------------------------

    def connect_label_enumeration(
        self, enumeration: dict[str, int], ignore_remote_overrides: bool = False
    ) -> dict[str, int]:
        """Record which label has which number; where the task is run again the dict gets the stored ones. Returns it.

        Raises BadValue for what is not text to whole numbers.
        """
        from tracker.sdk import connect

        _check_labels(enumeration)
        stored = self.get_labels_enumeration()
        if connect.takes_stored(self, f"labels/{connect.IGNORE}", ignore_remote_overrides) and stored:
            enumeration.clear()
            enumeration.update(stored)
        else:
            self.set_model_label_enumeration(enumeration)
        return enumeration

    def set_model_label_enumeration(self, enumeration: Mapping[str, int] | None = None) -> None:
        """Record which label has which number, in place of what was there. Raises BadValue."""
        _check_labels(enumeration or {})
        self.set_key("labels", dict(enumeration or {}))

    def get_labels_enumeration(self) -> dict[str, int]:
        """Label to number."""
        return dict(self._state.get("labels", {}))

    def get_num_of_classes(self) -> int:
        """One more than the greatest number of a label; 0 without labels."""
        return max(self.get_labels_enumeration().values(), default=-1) + 1

    def set_model_config(
        self, config_text: str | None = None, config_dict: Mapping[str, Any] | None = None
    ) -> None:
        """The model's design, kept as the configuration object General: exactly one of text and dict."""
        from tracker.sdk import configuration as objects

        self.set_configuration_object(objects.GENERAL, config_text, config_dict=config_dict)

    def get_model_config_text(self) -> str:
        """Its text; empty where there is none."""
        from tracker.sdk import configuration as objects

        return self.get_configuration_object(objects.GENERAL) or ""

    def get_model_design(self) -> str:
        """The same."""
        return self.get_model_config_text()

    def get_model_config_dict(self) -> dict[str, Any]:
        """It parsed; empty where there is none."""
        from tracker.sdk import configuration as objects

        return dict(objects.parsed(self, objects.GENERAL) or {})


def _check_labels(enumeration: object) -> None:
    if not isinstance(enumeration, Mapping) or not all(
        isinstance(label, str) and isinstance(number, int) for label, number in enumeration.items()
    ):
        raise BadValue(f"a label enumeration is a dict of texts to whole numbers, not {enumeration!r}")
