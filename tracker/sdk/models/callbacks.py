"""WeightsFileHandler: what a script wants called before and after weights are stored, or loaded by a framework.

A callback that raises is warned about and passed over: it never costs the run, nor its weights.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from tracker.sdk.models.model import Model
    from tracker.sdk.task import Task


class Operation(str, Enum):
    """What is done with the weights. They compare equal to their text."""

    save = "save"
    load = "load"

    def __str__(self) -> str:
        return self.value


@dataclass  # without slots: callbacks that people have look into its __dict__
class WeightsInfo:
    """Weights that are about to be stored or were loaded. What a pre callback changes of it is what is done.

    model: the OutputModel or InputModel, None before a load; upload_filename: what the file is called in the store;
    local_model_path: the file or folder, of several files the folder that has them all; local_model_id: that path, as
    the script gave it.
    """

    model: Model | None
    upload_filename: str
    local_model_path: str
    local_model_id: str
    framework: str
    task: Task


Callback = Callable[[Operation, WeightsInfo], WeightsInfo | None]


class WeightsFileHandler:
    """Callbacks of this process, by handle. While one runs, what it stores itself calls none."""

    CallbackType = Operation
    ModelInfo = WeightsInfo

    _pre: ClassVar[dict[int, Callback]] = {}
    _post: ClassVar[dict[int, Callback]] = {}
    _handles: ClassVar[Iterator[int]] = itertools.count(1)
    _busy: ClassVar[threading.local] = threading.local()

    @classmethod
    def add_pre_callback(cls, callback_function: Callback) -> int:
        """Have `callback_function(operation, model_info)` called before weights are stored; returns its handle.

        operation is "save" or "load". It returns the ModelInfo to go on with, or None to leave these weights out.
        """
        return cls._add(cls._pre, callback_function)

    @classmethod
    def add_post_callback(cls, callback_function: Callback) -> int:
        """Have `callback_function(operation, model_info)` called once the weights are stored; returns its handle."""
        return cls._add(cls._post, callback_function)

    @classmethod
    def remove_pre_callback(cls, handle: int) -> bool:
        """Forget a callback; whether there was one of that handle."""
        return cls._pre.pop(handle, None) is not None

    @classmethod
    def remove_post_callback(cls, handle: int) -> bool:
        """Forget a callback; whether there was one of that handle."""
        return cls._post.pop(handle, None) is not None

    @classmethod
    def before(cls, operation: Operation, info: WeightsInfo) -> WeightsInfo | None:
        """What the pre callbacks make of it, in the order of their adding; None where one of them leaves it out."""
        with cls._calls(cls._pre) as calls:
            for call in calls:
                try:
                    found = call(operation, info)
                except Exception as error:  # noqa: BLE001 - it is the script's, and must not cost it its weights
                    cls._warn(call, info, error)
                    continue
                if found is None:
                    return None
                info = found
        return info

    @classmethod
    def after(cls, operation: Operation, info: WeightsInfo) -> None:
        """Tell the post callbacks."""
        with cls._calls(cls._post) as calls:
            for call in calls:
                try:
                    info = call(operation, info) or info
                except Exception as error:  # noqa: BLE001 - see before
                    cls._warn(call, info, error)

    @classmethod
    def _add(cls, calls: dict[int, Callback], call: Callback) -> int:
        handle = next(cls._handles)
        calls[handle] = call
        return handle

    @classmethod
    @contextmanager
    def _calls(cls, calls: dict[int, Callback]) -> Iterator[tuple[Callback, ...]]:
        """Those that are called now: none from within one of them, which would never end."""
        if getattr(cls._busy, "now", False):
            yield ()
            return
        cls._busy.now = True
        try:
            yield tuple(calls.values())
        finally:
            cls._busy.now = False

    @classmethod
    def _warn(cls, call: Callback, info: WeightsInfo, error: Exception) -> None:
        name = getattr(call, "__name__", repr(call))
        info.task.fault(f"the weights callback {name} failed and was passed over: {error!r}", None)
