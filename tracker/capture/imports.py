"""Calls back once a module has been imported: at once, or by a finder on `sys.meta_path`.

It refuses to patch `builtins.__import__`, and to import anything itself: waiting for a module never loads it.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from tracker.capture.protocol import Guard, Undo


def when_imported(module: str, callback: Callable[[ModuleType], object]) -> Undo:
    """Calls `callback(module)` once: now where the module is there, else right after its import, in the importing
    thread. (Where the import is under way at this moment, in a thread of its own as soon as it is done.)

    A failed import calls nothing and leaves the wait in place. An exception of the callback is logged, and never
    reaches the import. The returned undo ends the wait.
    """
    wait = _Wait(callback)
    with _lock:
        _waiting.setdefault(module, []).append(wait)
    loaded = sys.modules.get(module)
    if loaded is None:
        _finder.enter()
    elif _is_initializing(loaded):
        _await_in_thread(module)
    else:
        _notify(module)

    def undo() -> None:
        wait.undone = True
        with _lock:
            waits = _waiting.get(module, [])
            if wait in waits:
                waits.remove(wait)
            if not waits:
                _waiting.pop(module, None)
        _finder.leave_if_idle()

    return undo


class _Wait:
    """One callback, until it has been undone."""

    __slots__ = ("callback", "undone")

    def __init__(self, callback: Callable[[ModuleType], object]) -> None:
        self.callback = callback
        self.undone = False


_lock = threading.Lock()
_waiting: dict[str, list[_Wait]] = {}
_refused: set[tuple[int, str]] = set()
"""(thread, module): threads that wait for the end of another's import and must not start one of their own."""


def _renew_lock() -> None:
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    # Another thread of the parent may have held it; the child would wait for ever at its next import.
    os.register_at_fork(after_in_child=_renew_lock)


def _is_initializing(module: ModuleType) -> bool:
    return bool(getattr(getattr(module, "__spec__", None), "_initializing", False))


def _notify(name: str) -> None:
    with _lock:
        waits = _waiting.pop(name, [])
    _finder.leave_if_idle()
    module = sys.modules.get(name)  # a module may have put another object in its own place
    if module is not None:
        for wait in waits:
            if not wait.undone:  # by a callback before it
                Guard(f"imports of {name}").run(wait.callback, module)


def _await_in_thread(name: str) -> None:
    """For an import that is already past the finders: its end shows in the module's own lock."""

    def follow() -> None:
        from importlib import import_module

        me = (threading.get_ident(), name)
        _refused.add(me)
        _finder.enter()  # it refuses this thread's import, should the other one fail
        try:
            import_module(name)  # returns once the import that is under way has ended
        except ImportError:
            return
        finally:
            _refused.discard(me)
            _finder.leave_if_idle()
        _notify(name)

    with suppress(RuntimeError):  # no further thread is to be had; the user's import must not fail for that
        threading.Thread(target=follow, name=f"tracker-await-{name}", daemon=True).start()


class _Finder:
    """Finds nothing itself: it asks the finders behind it, and stands in for the loader of a module waited for."""

    def __init__(self) -> None:
        self._before: list[Any] | None = None
        self._during: list[Any] | None = None

    def enter(self) -> None:
        """Goes to the front of `sys.meta_path`. The list is replaced, never changed: an import that is going
        through it in another thread would skip a finder when one before it leaves."""
        with _lock:
            if self not in sys.meta_path:
                self._before = sys.meta_path
                self._during = [self, *sys.meta_path]
                sys.meta_path = self._during

    def leave_if_idle(self) -> None:
        with _lock:
            if _waiting or _refused or self not in sys.meta_path:
                return
            rest = [finder for finder in sys.meta_path if finder is not self]
            if self._before is not None and sys.meta_path is self._during:
                if self._before != rest:
                    self._before[:] = rest
                rest = self._before
            sys.meta_path = rest
            self._before = self._during = None

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if _refused and (threading.get_ident(), name) in _refused:
            raise ModuleNotFoundError(f"the import of {name} has failed in another thread", name=name)
        if name not in _waiting:
            return None
        spec = self._ask_the_others(name, path, target)
        if spec is None:
            return None
        if spec.loader is None or not hasattr(spec.loader, "exec_module"):
            _await_in_thread(name)  # a namespace package, or a loader of the old kind
        else:
            spec.loader = _Notifying(spec.loader, name)  # type: ignore[assignment] # it passes for the loader
        return spec

    def _ask_the_others(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None
    ) -> ModuleSpec | None:
        finders = list(sys.meta_path)
        if self in finders:
            del finders[: finders.index(self) + 1]  # those before have been asked already
        for finder in finders:
            find_spec = getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = None if find_spec is None else find_spec(name, path, target)
            if spec is not None:
                return spec
        return None


_finder = _Finder()


class _Notifying:
    """Passes for a module's loader until that has executed the module; then only the loader itself is left."""

    def __init__(self, loader: Any, name: str) -> None:
        self._tracker_loader = loader
        self._tracker_name = name

    @property  # type: ignore[misc] # so that isinstance() sees the loader's type
    def __class__(self) -> type:
        return type(self._tracker_loader)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_tracker_"):  # a copy that has not been filled yet
            raise AttributeError(name)
        return getattr(self._tracker_loader, name)

    def exec_module(self, module: ModuleType) -> None:
        """Gives the module its own loader back, runs it, and tells those who wait."""
        loader = self._tracker_loader
        for owner, name in ((module.__spec__, "loader"), (module, "__loader__")):
            if getattr(owner, name, None) is self:
                setattr(owner, name, loader)
        loader.exec_module(module)
        _notify(self._tracker_name)
