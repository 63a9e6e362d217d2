"""What is set aside before it is deleted: `trash/<seconds since 1970>/` holds files under the names they had.

The only way out of a store. Moving a file there and back is one rename each; who deletes is `gc`, and `repack` what it
has set aside itself. Beside that, `trash/confirmed/` names the commits whose deletion somebody has asked for at this
very place.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from objstore import layout

_CONFIRMED = f"{layout.TRASH}/confirmed"
_TRIES = 100  # renames into a folder that others remove while it is empty


def set_aside(root: Path, name: str, epoch: int) -> bool:
    """Move the file or folder `name` (relative to the store) to the trash; whether it was there. Raises OSError.

    Not durable on return: after a power cut it may be back, which harms nobody.
    """
    return move(root / name, root / layout.TRASH / str(epoch) / name)


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
        if move(path, target):  # else another process was faster: it put it back, or deleted it
            return True
    return os.path.lexists(target)


def epochs(root: Path) -> list[int]:
    """The times at which something was set aside, in seconds since 1970, oldest first."""
    with suppress(FileNotFoundError, NotADirectoryError):
        return sorted(int(name) for name in os.listdir(root / layout.TRASH) if name.isdecimal())
    return []


def confirm(root: Path, commits: Iterable[str]) -> None:
    """Note that these commits' deletions were asked for here, so that it may be freed what they cut off."""
    (root / _CONFIRMED).mkdir(parents=True, exist_ok=True)
    for commit in commits:
        (root / _CONFIRMED / commit).touch()


def confirmed(root: Path) -> frozenset[str]:
    """The ids of the commits whose deletions were asked for here. Raises OSError."""
    with suppress(FileNotFoundError):
        return frozenset(os.listdir(root / _CONFIRMED))
    return frozenset()


def forget(root: Path, commits: Iterable[str]) -> None:
    """Take back that deletions were asked for."""
    for commit in commits:
        (root / _CONFIRMED / commit).unlink(missing_ok=True)


def move(source: Path, target: Path) -> bool:
    """Rename, into a folder that is made where it is missing; whether `source` was there. Raises OSError."""
    for _ in range(_TRIES):
        target.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            os.rename(source, target)
            return True
        if not os.path.lexists(source):
            return False
        # Else the folder was still empty, and so another process has removed it.
    raise OSError(errno.ENOENT, "the folder of it vanishes again and again", str(target))
