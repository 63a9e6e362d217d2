"""Waiting for the import of a module, without taking part in it."""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import logging
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from importlib.machinery import BuiltinImporter, ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tracker.capture.imports import when_imported


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to import from, where modules' names begin with `awaited`; it checks that the finders are restored."""
    monkeypatch.syspath_prepend(str(tmp_path))
    finders, content, importing = sys.meta_path, list(sys.meta_path), builtins.__import__
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("awaited")]:
        del sys.modules[name]
    assert sys.meta_path is finders
    assert sys.meta_path == content
    assert builtins.__import__ is importing


def test_a_module_that_is_there_calls_back_at_once(folder: Path) -> None:
    """Frameworks imported before Task.init are found, too."""
    seen: list[ModuleType] = []
    undo = when_imported("json", seen.append)
    assert seen == [importlib.import_module("json")]
    undo()


def test_an_import_calls_back_once_with_the_executed_module(folder: Path) -> None:
    """The callback patches what the module defines, so all of that has to be there."""
    (folder / "awaited.py").write_text("first = 1\nlast = 2\n")
    seen: list[tuple[str, int]] = []
    undo = when_imported("awaited", lambda module: seen.append((module.__name__, module.last)))
    module = importlib.import_module("awaited")
    importlib.reload(module)
    undo()
    assert seen == [("awaited", 2)]


def test_a_module_keeps_its_own_loader_and_spec(folder: Path) -> None:
    """What inspect, pickle and importlib.resources read of a module is what it would be without us."""
    (folder / "awaited.py").write_text("loader_while_running = __loader__, __spec__.loader\n")
    undo = when_imported("awaited", lambda module: None)
    module: Any = importlib.import_module("awaited")
    undo()
    assert type(module.__loader__) is SourceFileLoader
    assert module.__spec__.loader is module.__loader__
    assert module.loader_while_running == (module.__loader__, module.__loader__)
    assert importlib.util.find_spec("awaited") is module.__spec__


def test_asking_for_a_spec_is_no_import(folder: Path) -> None:
    """`importlib.util.find_spec("torch")` is how libraries ask whether torch is installed."""
    (folder / "awaited.py").write_text("raise AssertionError('imported')\n")
    seen: list[ModuleType] = []
    undo = when_imported("awaited", seen.append)
    spec = importlib.util.find_spec("awaited")
    undo()
    assert spec is not None
    assert isinstance(spec.loader, SourceFileLoader)
    assert spec.loader.get_filename("awaited") == str(folder / "awaited.py")
    assert seen == []


def test_packages_submodules_archives_and_namespaces_call_back(folder: Path) -> None:
    """Whatever way a module is found and loaded."""
    (folder / "awaited_package").mkdir()
    (folder / "awaited_package" / "__init__.py").write_text("")
    (folder / "awaited_package" / "inner.py").write_text("value = 3\n")
    (folder / "awaited_space").mkdir()
    with zipfile.ZipFile(folder / "archive.zip", "w") as archive:
        archive.writestr("awaited_zipped.py", "value = 4\n")
    sys.path.insert(0, str(folder / "archive.zip"))
    seen: list[str] = []
    done = threading.Event()
    names = ["awaited_package", "awaited_package.inner", "awaited_zipped"]
    undos = [when_imported(name, lambda module: seen.append(module.__name__)) for name in names]
    undos.append(when_imported("awaited_space", lambda module: done.set()))
    try:
        for name in [*names[1:], "awaited_space"]:
            importlib.import_module(name)
        assert done.wait(5)  # a namespace has no loader to listen to: it is told of from a thread
    finally:
        sys.path.remove(str(folder / "archive.zip"))
        for undo in undos:
            undo()
    assert seen == names


def test_a_builtin_module_calls_back(folder: Path) -> None:
    """Its loader is a class, not an instance."""
    name = next(
        name for name in ("_xxsubinterpreters", "_crypt", "xxsubtype", "_symtable") if _is_fresh(name)
    )
    seen: list[str] = []
    undo = when_imported(name, lambda module: seen.append(module.__name__))
    module: Any = importlib.import_module(name)
    undo()
    assert seen == [name]
    assert module.__spec__.loader is BuiltinImporter
    assert module.__loader__ is BuiltinImporter
    del sys.modules[name]


def _is_fresh(name: str) -> bool:
    return name in sys.builtin_module_names and name not in sys.modules


def test_a_failed_import_calls_nothing_and_the_next_one_does(folder: Path) -> None:
    """The user sees the error as it is; a second try is one more chance."""
    (folder / "awaited.py").write_text("raise RuntimeError('of the module')\n")
    seen: list[ModuleType] = []
    undo = when_imported("awaited", seen.append)
    with pytest.raises(RuntimeError, match="of the module"):
        importlib.import_module("awaited")
    assert seen == []
    # Of another length: bytecode of the same second and length would count as this one's.
    (folder / "awaited.py").write_text("value = 'and now one that can be imported, and is longer'\n")
    importlib.invalidate_caches()
    importlib.import_module("awaited")
    undo()
    assert len(seen) == 1


def test_a_module_that_is_not_there_fails_as_it_would(folder: Path) -> None:
    """Same type, name and text as without a wait."""
    with pytest.raises(ModuleNotFoundError) as plain:
        importlib.import_module("awaited_nowhere")
    undo = when_imported("awaited_nowhere", lambda module: None)
    with pytest.raises(ModuleNotFoundError) as watched:
        importlib.import_module("awaited_nowhere")
    undo()
    assert str(watched.value) == str(plain.value)
    assert watched.value.name == "awaited_nowhere"


def test_a_fault_of_the_callback_does_not_reach_the_import(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The module is imported, the other callbacks are called."""
    (folder / "awaited.py").write_text("value = 1\n")
    seen: list[ModuleType] = []
    undos = [when_imported("awaited", lambda module: 1 // 0), when_imported("awaited", seen.append)]
    with caplog.at_level(logging.WARNING, logger="tracker"):
        importlib.import_module("awaited")
    for undo in undos:
        undo()
    assert len(seen) == 1
    assert "ZeroDivisionError" in caplog.text


def test_a_callback_may_import_and_wait_itself(folder: Path) -> None:
    """Patching a framework needs imports of its parts, which others may wait for."""
    (folder / "awaited.py").write_text("import awaited_other\n")
    (folder / "awaited_other.py").write_text("import awaited\n")
    (folder / "awaited_third.py").write_text("")
    seen: list[str] = []

    def note(module: ModuleType) -> None:
        seen.append(module.__name__)
        if module.__name__ == "awaited":
            when_imported("awaited_third", note)
            importlib.import_module("awaited_third")

    for name in ("awaited", "awaited_other"):
        when_imported(name, note)
    importlib.import_module("awaited")
    assert seen == ["awaited_other", "awaited", "awaited_third"]


def test_a_module_that_replaces_itself_is_handed_out_replaced(folder: Path) -> None:
    """Lazy packages put an object of their own into sys.modules."""
    (folder / "awaited.py").write_text(
        "import sys, types\nsys.modules[__name__] = types.SimpleNamespace(own=1)\n"
    )
    seen: list[Any] = []
    when_imported("awaited", seen.append)
    assert importlib.import_module("awaited") is seen[0]


def test_an_undone_wait_is_not_called(folder: Path) -> None:
    """Also when another wait for the same module remains."""
    (folder / "awaited.py").write_text("")
    seen: list[str] = []
    undo = when_imported("awaited", lambda module: seen.append("undone"))
    when_imported("awaited", lambda module: seen.append("kept"))
    undo()
    undo()
    importlib.import_module("awaited")
    assert seen == ["kept"]


def test_an_import_does_not_fail_where_no_thread_is_to_be_had(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A namespace is followed by a thread; without one it is imported all the same."""

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    (folder / "awaited_space").mkdir()
    monkeypatch.setattr(threading.Thread, "start", refuse)
    undo = when_imported("awaited_space", lambda module: None)
    assert importlib.import_module("awaited_space").__name__ == "awaited_space"
    undo()


def test_a_callback_may_undo_the_next_one(folder: Path) -> None:
    """Both have been waiting for the same module, and it is there."""
    (folder / "awaited.py").write_text("")
    seen: list[str] = []
    undos: list[Callable[[], None]] = []
    when_imported("awaited", lambda module: undos[0]())
    undos.append(when_imported("awaited", lambda module: seen.append("undone")))
    importlib.import_module("awaited")
    assert seen == []


def test_an_import_under_way_in_another_thread_calls_back_when_it_is_done(folder: Path) -> None:
    """A half-initialized module must be neither patched nor missed."""
    (folder / "awaited.py").write_text("import time\nearly = 1\ntime.sleep(0.3)\nlate = 2\n")
    importing = threading.Thread(target=importlib.import_module, args=("awaited",))
    importing.start()
    while "awaited" not in sys.modules or not hasattr(sys.modules["awaited"], "early"):
        time.sleep(0.005)
    seen: list[bool] = []
    called = threading.Event()

    def note(module: ModuleType) -> None:
        seen.append(hasattr(module, "late"))
        called.set()

    when_imported("awaited", note)
    importing.join()
    assert called.wait(5)
    assert seen == [True]
    _join_followers()


def test_a_failing_import_under_way_is_not_started_again(folder: Path) -> None:
    """Waiting for a module never loads it, not even a second time."""
    (folder / "awaited.py").write_text(
        "import time, builtins\n"
        "builtins.awaited_runs = getattr(builtins, 'awaited_runs', 0) + 1\n"
        "time.sleep(0.3)\n"
        "raise RuntimeError\n"
    )

    def fail() -> None:
        with pytest.raises(RuntimeError):
            importlib.import_module("awaited")

    importing = threading.Thread(target=fail)
    importing.start()
    while not hasattr(builtins, "awaited_runs"):
        time.sleep(0.005)
    seen: list[ModuleType] = []
    undo = when_imported("awaited", seen.append)
    importing.join()
    _join_followers()
    undo()
    runs = vars(builtins).pop("awaited_runs")
    assert (runs, seen) == (1, [])


def _join_followers() -> None:
    for thread in threading.enumerate():
        if thread.name.startswith("tracker-await-"):
            thread.join(5)


def test_many_threads_importing_and_waiting_call_back_once_each(folder: Path) -> None:
    """No lost and no doubled callback, and no import that fails by the finder's coming and going."""
    names = [f"awaited_{number}" for number in range(40)]
    for name in names:
        (folder / f"{name}.py").write_text("import time\ntime.sleep(0.001)\n")
    seen: list[str] = []
    faults: list[Exception] = []

    def work(offset: int) -> None:
        try:
            for number in range(len(names)):
                name = names[(number + offset) % len(names)]
                when_imported(name, lambda module: seen.append(module.__name__))
                importlib.import_module(name)
        except Exception as fault:  # noqa: BLE001 - the test tells of any
            faults.append(fault)

    threads = [threading.Thread(target=work, args=(offset,)) for offset in range(0, 40, 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    _join_followers()
    assert faults == []
    assert sorted(seen) == sorted(names * 4)


def test_finders_that_come_and_go_meanwhile_stay(folder: Path) -> None:
    """Those of pytest and of the user are not lost when ours leaves."""

    class Finder:
        def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
            return None

    finder: Any = Finder()
    finders = sys.meta_path
    undo = when_imported("awaited", lambda module: None)
    sys.meta_path.insert(0, finder)
    undo()
    assert sys.meta_path is finders
    assert sys.meta_path.count(finder) == 1
    sys.meta_path.remove(finder)
