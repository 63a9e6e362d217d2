"""Where the files that ship with the package are: a store's template, the example scripts. Reads none of them.

Their source is `.tracker-template/` and `docs/examples/` of the checkout; a wheel holds both in `tracker/`.
"""

from __future__ import annotations

from pathlib import Path


def template_dir() -> Path:
    """The folder that a fresh `.tracker/` is a copy of, less the `.gitkeep` files in its empty folders.

    Raises FileNotFoundError when the installation has lost it.
    """
    return _folder("_template", ".tracker-template")


def examples_dir() -> Path:
    """The folder of example scripts that `tracker demo` runs.

    Raises FileNotFoundError when the installation has lost it.
    """
    return _folder("_examples", "docs/examples")


def _folder(packaged: str, source: str) -> Path:
    """The packaged folder, else, in an editable installation, its source in the checkout."""
    package = Path(__file__).resolve().parent
    for folder in (package / packaged, package.parent / source):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"{package / packaged} is missing: install dottracker again")
