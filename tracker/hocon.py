"""HOCON, the form of clearml.conf: read by pyhocon where the extra `hocon` is installed.

The parser below it warns of its own old names, which says nothing about what is read: under `python -W error` such a
warning would make every valid text a broken one.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any


def parse(text: str, beside: Path | None = None) -> Any:
    """A HOCON text as dicts, lists and plain values; the files it includes are looked for in the folder `beside`.

    Raises ImportError without the extra, and for broken text whatever pyhocon raises.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from pyhocon import ConfigFactory, ConfigTree

        found = ConfigFactory.parse_string(text, str(beside) if beside is not None else None)
    return found.as_plain_ordered_dict() if isinstance(found, ConfigTree) else found


def is_installed() -> bool:
    """Whether the extra that reads it is there."""
    from importlib.util import find_spec

    return find_spec("pyhocon") is not None
