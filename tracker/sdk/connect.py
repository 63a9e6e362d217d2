"""A connected dict: what is written to it later is recorded too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Changed = Callable[[Mapping[Any, Any]], None]


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
