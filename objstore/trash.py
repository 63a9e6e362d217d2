"""What is set aside before it is deleted: `trash/<seconds since 1970>/` holds files under the names they had.

The only way out of a store. Moving a file there and back is one rename each; who deletes is `gc` alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from objstore import layout


def set_aside(root: Path, name: str, epoch: int) -> bool:
    """Move the file or folder `name` (relative to the store) to the trash; whether it was there. Raises OSError.

    Not durable on return: after a power cut it may be back, which harms nobody.
    """
    target = root / layout.TRASH / str(epoch) / name
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.rename(root / name, target)
    except FileNotFoundError:
        return False
    return True


def find(root: Path, name: str) -> Iterator[Path]:
    """Where the trash holds `name`, what was set aside last first."""
    for epoch in reversed(epochs(root)):
        path = root / layout.TRASH / str(epoch) / name
        if os.path.lexists(path):
            yield path


def put_back(root: Path, name: str) -> bool:
    """Move `name` back to where it was, unless it is there; whether it is there now. Raises OSError.

    Durable once its folder is synced, which is left to the caller.
    """
    target = root / name
    if os.path.lexists(target):
        return True
    for path in find(root, name):
        target.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # another process was faster: it put it back, or deleted it
            os.rename(path, target)
            return True
    return os.path.lexists(target)


def epochs(root: Path) -> list[int]:
    """The times at which something was set aside, in seconds since 1970, oldest first."""
    with suppress(FileNotFoundError, NotADirectoryError):
        return sorted(int(name) for name in os.listdir(root / layout.TRASH) if name.isdecimal())
    return []
