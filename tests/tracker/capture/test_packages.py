"""The packages of a run, held against importlib.metadata and against small installations made by hand."""

from __future__ import annotations

import importlib.metadata
import re
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tracker.capture.packages import PackagesCapture

if TYPE_CHECKING:
    from tests.tracker.capture.conftest import Memory, Ran, RunScript

START = 'from rec import record\nundo = record("packages")\n'
Site = Callable[..., Path]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Lays an installed distribution into `site-packages`, as pip would: `site("Name", "1.0", {"mod.py": ""})`."""
    folder = tmp_path / "site-packages"

    def install(
        name: str,
        version: str,
        files: dict[str, str],
        info: str | None = None,
        extra: str = "",
        tops: str = "",
    ) -> Path:
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        description = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{extra}\nName: body\n"
        kind = info or f"{re.sub('[-_.]+', '_', name)}-{version}.dist-info"
        if kind.endswith(".file.egg-info"):
            (folder / kind.replace(".file", "")).write_text(description)
            return folder
        (folder / kind).mkdir(parents=True)
        (folder / kind / ("METADATA" if kind.endswith(".dist-info") else "PKG-INFO")).write_text(description)
        if tops:
            (folder / kind / "top_level.txt").write_text(tops)
        elif kind.endswith(".dist-info"):
            lines = [f"{path},sha256=x,1\n" for path in files]
            (folder / kind / "RECORD").write_text(
                "".join([*lines, f"{kind}/RECORD,,\n", "../../bin/tool,,\n"])
            )
        return folder

    return install


@pytest.fixture
def run(tmp_path: Path, run_script: RunScript) -> Callable[[str], Ran]:
    """Runs a script that sees the hand-made `site-packages`."""

    def start(script: str) -> Ran:
        path = tmp_path / "train.py"
        path.write_text(f"import sys; sys.path.append({str(tmp_path / 'site-packages')!r})\n{START}{script}")
        ran = run_script("train.py", cwd=tmp_path)
        assert ran.code == 0, ran.err.decode()
        return ran

    return start


def listed(ran: Ran) -> list[str]:
    """The lines of the record, but for its header."""
    assert ran.record is not None
    text = ran.record.state["packages"]
    assert isinstance(text, str)
    header, empty, *lines = text.split("\n")
    assert header == "# Python " + " ".join(sys.version.split())
    assert empty == ""
    assert lines.pop() == ""
    return lines


def packages(ran: Ran) -> list[str]:
    """The packages of the record, without the comment on local modules."""
    lines = listed(ran)
    return lines[: lines.index("")] if "" in lines else lines


def test_imported_packages_are_listed_with_their_versions(run: Callable[[str], Ran]) -> None:
    """By the names that pip knows them by, in order; of the standard library nothing."""
    ran = run("import numpy, dateutil, click, json, xml.dom\n")
    lines = listed(ran)
    expected = {name: importlib.metadata.version(name) for name in ("click", "numpy", "python-dateutil")}
    assert [line for line in lines if line.partition(" ")[0] in expected] == [
        f"{name} == {version}" for name, version in expected.items()
    ]
    assert not [line for line in lines if line.startswith(("json", "xml"))]


def test_names_and_versions_are_those_of_importlib_metadata(run: Callable[[str], Ran]) -> None:
    """Of a real environment: packages, single files and C extensions."""
    known = importlib.metadata.packages_distributions()
    modules = [
        "_pytest",
        "attr",
        "click",
        "dateutil",
        "hypothesis",
        "iniconfig",
        "numpy",
        "pygments",
        "six",
        "typing_extensions",
    ]
    names = {known[module][0] for module in modules if not module.startswith("_") and module in known}
    expected = {
        f"{importlib.metadata.metadata(name)['Name']} == {importlib.metadata.version(name)}" for name in names
    }
    assert len(expected) >= 3
    tries = "".join(f"try: import {module}\nexcept ImportError: pass\n" for module in modules)
    assert expected <= set(packages(run(tries)))


def test_a_module_of_another_name_is_found(site: Site, run: Callable[[str], Ran]) -> None:
    """By the list of files, whether a module is a package, a file or a library."""
    site("Some.Thing-Else", "1.0", {"odd_name/__init__.py": ""})
    site("single", "2.0.post1", {"one_file.py": ""})
    site("unused", "3.0", {"unused/__init__.py": ""})
    assert packages(run("import odd_name, one_file\n")) == ["single == 2.0.post1", "Some.Thing-Else == 1.0"]


def test_a_package_that_merely_has_the_name_is_not_taken(site: Site, run: Callable[[str], Ran]) -> None:
    """`attr` is a module of attrs; the distribution named attr is another thing."""
    site("attrs", "23.1", {"attr/__init__.py": "", "attrs/__init__.py": ""})
    site("attr", "0.3", {"attr_other.py": ""})
    site("bs4", "9.9", {"nothing.py": ""})
    site("BeautifulSoup4", "6.0", {"bs4/__init__.py": ""})
    assert packages(run("import attr, bs4\n")) == ["attrs == 23.1", "BeautifulSoup4 == 6.0"]


def test_of_a_shared_namespace_only_what_is_imported_counts(site: Site, run: Callable[[str], Ran]) -> None:
    """`google` belongs to a dozen distributions."""
    site("ns-storage", "1.0", {"ns/cloud_storage/__init__.py": ""})
    site("ns-protobuf", "2.0", {"ns/protobuf/__init__.py": "", "ns/protobuf/message.py": ""})
    site("ns-auth", "3.0", {"ns/auth/__init__.py": ""})
    assert packages(run("import ns.protobuf.message, ns.auth\n")) == ["ns-auth == 3.0", "ns-protobuf == 2.0"]


@pytest.mark.parametrize("kind", ["Old_Name-1.5-py3.11.egg-info", "old_name-1.5.dist-info"])
def test_installations_without_a_list_of_files_are_found(
    site: Site, run: Callable[[str], Ran], kind: str
) -> None:
    """As Debian, conda and old versions of pip leave them, with top_level.txt."""
    site("Old.Name", "1.5", {"oldie/__init__.py": ""}, info=kind, tops="oldie\nother\n")
    assert packages(run("import oldie\n")) == ["Old.Name == 1.5"]


def test_an_installation_described_by_one_file_is_found(site: Site, run: Callable[[str], Ran]) -> None:
    """The oldest tools left no folder; the name is all there is to go by."""
    site("SimPle", "0.9", {"simple.py": ""}, info="simple-0.9.file.egg-info")
    assert packages(run("import simple\n")) == ["SimPle == 0.9"]


def test_a_description_that_cannot_be_read_leaves_the_folders_name(
    site: Site, run: Callable[[str], Ran]
) -> None:
    """A broken installation still has a version in its name."""
    folder = site("torn", "4.2", {"torn.py": ""})
    (folder / "torn-4.2.dist-info" / "METADATA").unlink()
    assert packages(run("import torn\n")) == ["torn == 4.2"]


def test_own_modules_are_a_comment(tmp_path: Path, site: Site, run: Callable[[str], Ran]) -> None:
    """No pip could not install them; a reader sees what the script stands on."""
    site("real", "1.0", {"real.py": ""})
    (tmp_path / "mymodel").mkdir()
    (tmp_path / "mymodel" / "__init__.py").write_text("")
    (tmp_path / "mydata.py").write_text("")
    (tmp_path / "later_on.py").write_text("")
    lines = listed(run("import real, mymodel, mydata\ndef f():\n    import later_on\n"))
    assert lines == ["real == 1.0", "", "# Local modules: later_on, mydata, mymodel, rec"]


def test_a_checkout_installed_for_editing_is_the_users_own_module(
    tmp_path: Path, site: Site, run: Callable[[str], Ran]
) -> None:
    """There is no version of it that pip could fetch."""
    source = tmp_path / "source"
    (source / "proj").mkdir(parents=True)
    (source / "proj" / "__init__.py").write_text("")
    (source / "proj.egg-info").mkdir()
    (source / "proj.egg-info" / "PKG-INFO").write_text("Name: proj\nVersion: 0.0\n")
    (source / "proj.egg-info" / "top_level.txt").write_text("proj\n")
    site("proj", "0.0", {"__editable__proj.pth": str(source)})
    lines = listed(run(f"sys.path.append({str(source)!r})\nimport proj\n"))
    assert lines == ["", "# Local modules: proj, rec"]


def test_imports_named_by_the_script_count_before_they_happen(site: Site, run: Callable[[str], Ran]) -> None:
    """A branch that this run did not take may be the next one's; what is not installed is not listed."""
    for name in ("top", "inner", "fromed", "sibling"):
        site(name, "1.0", {f"{name}/__init__.py": ""})
    site("Other-Name", "1.0", {"differently_named.py": ""})
    lines = listed(
        run(
            "if False: import top.sub as x, nowhere_installed\n"
            "def f():\n    from fromed.a import b\n    import differently_named\n"
            "class A:\n    def g(self):\n        import inner\n"
            "try:\n    from . import relative\n    from .sibling import x\nexcept ImportError: pass\n"
        )
    )
    assert lines == [
        "fromed == 1.0",
        "inner == 1.0",
        "Other-Name == 1.0",
        "top == 1.0",
        "",
        "# Local modules: rec",
    ]


def test_what_the_tracker_itself_needs_is_not_the_users(run: Callable[[str], Ran]) -> None:
    """Unless the script names it, too."""
    assert not [line for line in listed(run("import rec\n")) if line.startswith(("pygit2", "cffi", "orjson"))]
    lines = listed(run("import pygit2\n"))
    assert f"pygit2 == {importlib.metadata.version('pygit2')}" in lines


@pytest.mark.parametrize(
    ("later", "sets", "lines"),
    [
        ("'la' + 'te'", 1, ["early == 1.0", "late == 1.0", "ns-one == 1.0"]),
        (
            "'n' + 's.two'",
            1,
            ["early == 1.0", "ns-one == 1.0", "ns-two == 2.0"],
        ),  # another part of a namespace
        ("'wave'", 0, ["early == 1.0", "ns-one == 1.0"]),
        ("'zstandard'", 0, ["early == 1.0", "ns-one == 1.0"]),  # imported, but not the user's
    ],
)
def test_the_list_is_made_at_once_and_again_when_more_was_imported(
    site: Site, run_script: RunScript, tmp_path: Path, later: str, sets: int, lines: list[str]
) -> None:
    """A run that is killed has a list; one that ends has the whole one; what says nothing new is not set."""
    site("early", "1.0", {"early.py": ""})
    site("late", "1.0", {"late.py": ""})
    site("ns-one", "1.0", {"ns/one/__init__.py": ""})
    folder = site("ns-two", "2.0", {"ns/two/__init__.py": ""})
    (tmp_path / "train.py").write_text(
        f"import sys; sys.path.append({str(folder)!r})\n"
        "import early, ns.one, rec\n"
        "undo = rec.record('packages')\n"
        "assert undo.wait(10)\n"
        "first = rec.recorder.state['packages']\n"
        "assert 'early == 1.0' in first and 'ns-one == 1.0' in first\n"
        "assert 'late' not in first and 'two' not in first\n"
        "sets = []\n"
        "keep = rec.recorder.set\n"
        "rec.recorder.set = lambda key, value: (sets.append(key), keep(key, value))\n"
        f"__import__({later})\n"
        "undo()\n"
        f"assert sets == ['packages'] * {sets}, sets\n"
    )
    ran = run_script("train.py", cwd=tmp_path)
    assert ran.code == 0, ran.err.decode()
    assert packages(ran) == lines


def test_packages_in_a_folder_of_the_users_choice_are_found(
    tmp_path: Path, site: Site, run: Callable[[str], Ran]
) -> None:
    """`pip install --target libs`, and PYTHONPATH."""
    site("chosen", "3.0", {"chosen.py": ""}).rename(tmp_path / "libs")
    lines = listed(run(f"sys.path.append({str(tmp_path / 'libs')!r})\nimport chosen\n"))
    assert lines == ["chosen == 3.0", "", "# Local modules: rec"]


def test_lazy_modules_are_not_woken(tmp_path: Path, run_script: RunScript) -> None:
    """A look at an attribute would import a framework, print a warning, or fail."""
    (tmp_path / "lazy.py").write_text("print('woken')\n")
    (tmp_path / "train.py").write_text(
        "import importlib.util, sys, types\n"
        "spec = importlib.util.find_spec('lazy')\n"
        "spec.loader = importlib.util.LazyLoader(spec.loader)\n"
        "module = importlib.util.module_from_spec(spec)\n"
        "sys.modules['lazy'] = module\n"
        "spec.loader.exec_module(module)\n"
        "class Trap:\n"
        "    def __getattribute__(self, name): print('woken by', name)\n"
        "sys.modules['trap'] = Trap()\n"
        "sys.modules['nothing'] = None\n"
        "sys.modules['number'] = 3\n"
        "class Slotted: __slots__ = ()\n"
        "sys.modules['slotted'] = Slotted()\n"
        "sys.modules['strange'] = types.ModuleType('strange')\n"
        "sys.modules['strange'].__file__ = 3\n"
        "from rec import record\n"
        "undo = record('packages')\n"
        "assert undo.wait(10)\n"
        "undo()\n"
    )
    ran = run_script("train.py", cwd=tmp_path)
    assert (ran.code, ran.out, ran.err) == (0, b"", b"")
    assert ran.record is not None
    assert "packages" in ran.record.state


def test_a_script_that_cannot_be_parsed_is_no_fault(tmp_path: Path, run_script: RunScript) -> None:
    """An archive, another version's syntax, or a file that has gone meanwhile."""
    (tmp_path / "train.py").write_text(START + "import numpy, os\nos.unlink(__file__)\n")
    assert [line for line in listed(run_script("train.py", cwd=tmp_path)) if line.startswith("numpy ==")]
    ran = run_script("-c", START + "import numpy\n", cwd=tmp_path)
    assert [line for line in listed(ran) if line.startswith("numpy ==")]


def test_the_list_is_made_off_the_callers_thread(recorder: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install returns at once; a wait has an end; after the undo nothing is set."""
    from tracker.capture import packages

    go = threading.Event()

    def slow(script: str | None) -> frozenset[str]:
        go.wait(20)
        return frozenset()

    monkeypatch.setattr(packages, "_named_by", slow)
    capture = PackagesCapture()
    begun = time.monotonic()
    undo = capture.install(recorder)
    assert not capture.wait(0.05)
    undo()
    assert time.monotonic() - begun < 5
    go.set()
    assert capture.wait(5)
    assert recorder.state == {}


def test_modules_may_come_and_go_while_the_list_is_made(recorder: Memory) -> None:
    """Threads of the user's import all the time."""
    stop = threading.Event()

    def churn() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            module: Any = type(sys)(f"churn{number % 50}")
            sys.modules[module.__name__] = module
            sys.modules.pop(f"churn{(number + 25) % 50}", None)

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(20):
            recorder.state.clear()
            PackagesCapture().install(recorder)()
            assert "packages" in recorder.state
    finally:
        stop.set()
        thread.join()
        for number in range(50):
            sys.modules.pop(f"churn{number}", None)
