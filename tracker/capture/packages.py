"""Records which installed packages the run uses: those imported so far, and those that the entry script names.

It looks into the folders of `sys.path` itself: importlib.metadata takes 15 ms to import and 60 ms to map the names
of as many packages. Nothing is imported, and no lazy module is woken.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property

from tracker.capture.background import Job, import_undisturbed
from tracker.capture.entry import current_entry
from tracker.capture.protocol import Guard, Recorder, Undo

_OWN = frozenset(
    {"blake3", "cffi", "filelock", "objstore", "orjson", "pyfastcdc", "pygit2"}
    | {"tomli", "tomlkit", "tracker", "xxhash", "zstandard"}
)
"""What the tracker loads for itself; a package of these is listed only where the entry script names it."""

_HINTS = {
    "attr": "attrs", "bs4": "beautifulsoup4", "cv2": "opencv_python", "dateutil": "python_dateutil",
    "dotenv": "python_dotenv", "git": "gitpython", "hydra": "hydra_core", "objstore": "dottracker",
    "PIL": "pillow", "pkg_resources": "setuptools", "pl_bolts": "lightning_bolts", "skimage": "scikit_image",
    "sklearn": "scikit_learn", "tracker": "dottracker", "umap": "umap_learn", "yaml": "pyyaml",
}  # fmt: skip
"""Packages whose names differ from what is imported: looked at first, and believed only if they hold the module."""


class PackagesCapture:
    """Sets the key `packages` to the text of a requirements file, in ClearML's form: "# Python <version>", an empty
    line, "name == version" lines in order, and the script's own modules in a comment. Set in the background after
    install, and at the undo again where more has been imported by then."""

    name = "packages"
    module = None

    def __init__(self) -> None:
        self._job: Job[str] | None = None

    def install(self, recorder: Recorder) -> Undo:
        """Begins to read; the undo waits for that, at most ten seconds."""
        entry = current_entry()
        guard = Guard(self.name)
        listing = _Listing(entry.script)
        self._job = job = Job(guard, listing.text, lambda text: recorder.set("packages", text))
        job.start()

        def refresh() -> None:
            before, now = listing.last, listing.text()
            if now != before:
                recorder.set("packages", now)

        def undo() -> None:
            if not job.ended and job.end() and listing.is_outdated():
                guard.run(refresh)

        return undo

    def wait(self, timeout: float) -> bool:
        """Whether the key was set within `timeout` seconds."""
        return self._job is None or self._job.wait(timeout)


class _Listing:
    """The text for one script, and the one made last."""

    def __init__(self, script: str | None) -> None:
        self._script = script
        self._named: frozenset[str] | None = None
        self._files: dict[str, tuple[str, ...]] = {}
        self._environment = _Environment()
        self.last = ""

    def is_outdated(self) -> bool:
        """Whether other packages have been imported since the text was made."""
        return _imported_files() != self._files

    def text(self) -> str:
        """The requirements as of now."""
        if self._named is None:
            self._named = _named_by(self._script)
        self._files = files = _imported_files()
        found: set[_Distribution] = set()
        local: set[str] = set()
        for name in (files.keys() | self._named) - (_OWN - self._named):
            owners = self._environment.owners(name, files.get(name, ()))
            found.update(owners)
            if not owners and self._is_local(name, files.get(name, ())):
                local.add(name)
        lines = [f"# Python {' '.join(sys.version.split())}", ""]
        lines += [f"{one.name} == {one.version}" for one in sorted(found, key=_Distribution.order)]
        if local:
            lines += ["", f"# Local modules: {', '.join(sorted(local))}"]
        self.last = "\n".join(lines) + "\n"
        return self.last

    def _is_local(self, name: str, files: Iterable[str]) -> bool:
        if any(self._environment.site_of(file) is None for file in files):
            return True
        beside = os.path.join(os.path.dirname(self._script), name) if self._script else name
        return os.path.isfile(f"{beside}.py") or os.path.isdir(beside)


@dataclass(frozen=True, slots=True)
class _Distribution:
    name: str
    version: str

    def order(self) -> tuple[str, str]:
        return self.name.lower(), self.version


def _is_of_interest(top: str) -> bool:
    return top not in sys.stdlib_module_names and not top.startswith("_") and top not in _NO_PACKAGES


_NO_PACKAGES = frozenset({"sitecustomize", "usercustomize", ""})


def _imported_files() -> dict[str, tuple[str, ...]]:
    """The file of each imported top-level module; of a namespace package, one file of each package inside it."""
    files: dict[str, dict[str, str]] = {}
    for name, module in tuple(sys.modules.items()):
        top, _, rest = name.partition(".")
        file = _file(module) if _is_of_interest(top) else None
        if file is not None:
            files.setdefault(top, {}).setdefault(rest.partition(".")[0], file)
    return {top: (inner[""],) if "" in inner else tuple(inner.values()) for top, inner in files.items()}


def _file(module: object) -> str | None:
    """`module.__file__`, past `__getattr__` and `__getattribute__`: those of lazy modules import on any touch."""
    try:
        file = object.__getattribute__(module, "__dict__").get("__file__")
    except AttributeError:
        return None
    return file if isinstance(file, str) else None


def _named_by(script: str | None) -> frozenset[str]:
    """The top-level modules that a script imports anywhere in it, also where it has not come to that yet."""
    import_undisturbed("ast")
    import ast

    try:
        with open(script or os.devnull, "rb") as file:
            tree = ast.parse(file.read())
    except (OSError, SyntaxError, ValueError):
        return frozenset()
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    return frozenset(name for name in names if _is_of_interest(name))


class _Environment:
    """The folders of `sys.path` that packages are installed in."""

    def __init__(self) -> None:
        self._sites: dict[str, _Site | None] = {}

    def owners(self, name: str, files: Collection[str]) -> set[_Distribution]:
        """The distributions that hold files of a module; of one not imported, the first that offers its name."""
        found: set[_Distribution | None] = set()
        for file in files:
            site = self.site_of(file)
            if site is not None:
                found.add(site.owner(name, os.path.relpath(file, site.folder).replace(os.sep, "/")))
        if not files:
            found.add(next((one for site in self._all() if (one := site.owner(name, None))), None))
        return {one for one in found if one is not None}

    def site_of(self, file: str) -> _Site | None:
        """The innermost installation folder that a file lies in."""
        inside = [site for site in self._all() if file.startswith(site.folder + os.sep)]
        return max(inside, key=lambda site: len(site.folder), default=None)

    def _all(self) -> list[_Site]:
        for folder in sys.path:
            if folder not in self._sites:
                self._sites[folder] = _site(folder)
        return [site for site in self._sites.values() if site is not None]


def _site(folder: str) -> _Site | None:
    """A source folder that has been made importable, or is the script's own, is none: nothing tells how to install
    what is in it."""
    if os.path.basename(folder) not in ("site-packages", "dist-packages") and not _holds_installations(
        folder
    ):
        return None
    try:
        infos = [name for name in os.listdir(folder) if name.endswith((".dist-info", ".egg-info"))]
    except OSError:
        return None
    return _Site(os.path.abspath(folder), infos)


def _holds_installations(folder: str) -> bool:
    """Whether pip has been told to install into this folder (`--target`)."""
    try:
        with os.scandir(folder or ".") as entries:
            return any(
                entry.name.endswith(".dist-info") for _, entry in zip(range(10_000), entries, strict=False)
            )
    except OSError:
        return False


class _Site:
    """One folder of installed packages, by their `*.dist-info` and `*.egg-info`."""

    def __init__(self, folder: str, infos: Iterable[str]) -> None:
        self.folder = folder
        self._infos: dict[str, list[_Info]] = {}
        for name in infos:
            info = _Info(os.path.join(folder, name))
            self._infos.setdefault(_normal(name.partition("-")[0]), []).append(info)

    def owner(self, module: str, file: str | None) -> _Distribution | None:
        """The distribution that holds a top-level module, or exactly a file of it (relative, with slashes)."""
        for name in (_normal(module), _HINTS.get(module, "")):
            for info in self._infos.get(name, ()):
                if info.holds(module, file):
                    return info.distribution
        for info in self._by_module.get(module, ()):
            if info.holds(module, file):
                return info.distribution
        return None

    @cached_property
    def _by_module(self) -> dict[str, list[_Info]]:
        """Reads every list of files: 0.2 ms per package."""
        owners: dict[str, list[_Info]] = {}
        for info in [info for same in self._infos.values() for info in same]:
            for module in info.modules():
                owners.setdefault(module, []).append(info)
        return owners


class _Info:
    """One installed distribution, by the folder (or the old kind of file) that describes it."""

    def __init__(self, path: str) -> None:
        self._path = path

    def holds(self, module: str, file: str | None) -> bool:
        """Whether the list of files has `file`, or, where that is not given or there is no list, the module."""
        listed = self._read("RECORD")
        if file is not None and listed:
            return f"\n{file}," in f"\n{listed}"
        return module in self.modules()

    def modules(self) -> set[str]:
        """The names of the top-level modules; where nothing tells them, the distribution's own."""
        tops = {line.partition("/")[0].partition(",")[0] for line in self._read("RECORD").splitlines()}
        tops = {top.partition(".")[0] for top in tops if not top.endswith((".dist-info", ".pth"))}
        tops.update(self._read("top_level.txt").split())
        return tops - {"", "__pycache__"} or {_normal(os.path.basename(self._path).partition("-")[0])}

    @cached_property
    def distribution(self) -> _Distribution:
        """Name and version, from the first lines of the description."""
        text = self._read("METADATA") or self._read("PKG-INFO") or self._read("")
        found: dict[str, str] = {}
        for line in text.splitlines():
            if not line:
                break
            field, _, value = line.partition(":")
            found[field.lower()] = value.strip()
        stem = os.path.basename(self._path).rpartition(".")[0].split("-")
        return _Distribution(found.get("name", stem[0]), found.get("version", "".join(stem[1:2])))

    def _read(self, name: str) -> str:
        try:
            path = os.path.join(self._path, name) if name else self._path
            with open(path, encoding="utf-8", errors="replace") as file:
                return file.read()
        except OSError:
            return ""


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "_", name).lower()
