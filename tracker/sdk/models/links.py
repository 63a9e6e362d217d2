"""The models that a task links to, as ClearML shows them: lists that take names, too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, overload

from tracker.sdk.models.model import Model

if TYPE_CHECKING:
    from tracker.records import State
    from tracker.workspace import Workspace


class ModelList(Sequence[Model]):
    """A task's input or output models in the order of their making; also by entry name."""

    def __init__(self, items: Sequence[tuple[str, Model]]) -> None:
        self._items = list(items)

    @overload
    def __getitem__(self, key: int | str) -> Model: ...

    @overload
    def __getitem__(self, key: slice) -> list[Model]: ...

    def __getitem__(self, key: int | str | slice) -> Model | list[Model]:
        if isinstance(key, str):
            for name, model in self._items:
                if name == key:
                    return model
            raise KeyError(f"no model {key!r}: there are {', '.join(self.keys()) or 'none'}")
        found = self._items[key]
        return [model for _, model in found] if isinstance(found, list) else found[1]

    def get(self, key: str, default: Model | None = None) -> Model | None:
        """The model of an entry name."""
        return next((model for name, model in self._items if name == key), default)

    def keys(self) -> list[str]:
        """The entry names."""
        return [name for name, _ in self._items]

    def __iter__(self) -> Iterator[Model]:
        return iter([model for _, model in self._items])

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return repr([model for _, model in self._items])

    def _repr_html_(self) -> str:
        from tracker.sdk import glance

        return glance.of_models({"": self})


class TaskModels(Mapping[str, ModelList]):
    """`models['input']` and `models['output']`, also as attributes."""

    def __init__(self, input: ModelList, output: ModelList) -> None:
        self.input = input
        self.output = output

    def __getitem__(self, key: str) -> ModelList:
        if key not in ("input", "output"):
            raise KeyError(f"{key!r}: a task has input and output models")
        return self.input if key == "input" else self.output

    def __iter__(self) -> Iterator[str]:
        return iter(("input", "output"))

    def __len__(self) -> int:
        return 2

    def __repr__(self) -> str:
        return repr(dict(self))

    def _repr_html_(self) -> str:
        from tracker.sdk import glance

        return glance.of_models(self)


def linked(workspace: Workspace, state: State, task: str = "") -> TaskModels:
    """The models that a task's state links to, in the order of their making, else of linking."""

    def listed(direction: str) -> ModelList:
        found = entries(state, direction)
        return ModelList([(name, Model._of(workspace, key, task)) for key, name in found])

    return TaskModels(listed("input"), listed("output"))


def entries(state: State, direction: str) -> list[tuple[str, str]]:
    """(id, entry name) of a task's models."""
    start = f"model/{direction}/"
    links = [
        (int(e.value.get("created") or e.stamp), k[len(start) :], str(e.value["name"]))
        for k, e in state.keys.items()
        if k.startswith(start) and e.value is not None
    ]
    return [(key, name) for _, key, name in sorted(links)]
