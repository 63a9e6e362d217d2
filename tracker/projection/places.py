"""Where a store's projection lies: in its cache/, unless that may not be written or is on a network."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from objstore import layout as store_layout
from tracker import config, layout
from tracker.mounts import file_system

NAME: Final = "index.sqlite"


def path_of(root: Path, *, read_only: bool, environment: Mapping[str, str] = os.environ) -> Path | None:
    """The file of the store at `root`; None where there is no place for one, and it is made in memory each time."""
    for folder in _folders(root, read_only=read_only, environment=environment):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = folder / NAME
            if (
                _is_local(folder)
                and os.access(folder, os.W_OK)
                and (not path.exists() or os.access(path, os.W_OK))
            ):
                return path
        except OSError:
            continue
    return None


def remove(root: Path, environment: Mapping[str, str] = os.environ) -> None:
    """Delete the projection of the store at `root` wherever it may lie; the next query makes it again."""
    for folder in _folders(root, read_only=False, environment=environment):
        for suffix in ("", "-wal", "-shm", "-journal"):
            with suppress(OSError):
                (folder / f"{NAME}{suffix}").unlink()


def _folders(root: Path, *, read_only: bool, environment: Mapping[str, str]) -> Iterator[Path]:
    if not read_only:
        yield root / store_layout.CACHE
    digest = hashlib.blake2b(os.fsencode(root.absolute()), digest_size=8).hexdigest()
    home = config.cache_home(environment)
    if home is not None:
        yield home / digest
    user = getattr(os, "getuid", lambda: 0)()
    with suppress(OSError):
        own = Path(tempfile.gettempdir()) / f"tracker-{user}"
        # Anybody may make a folder of that name there.
        if not os.path.lexists(own) or own.lstat().st_uid == user:
            yield own / "index" / digest


def _is_local(folder: Path) -> bool:
    """Whether the locks and the shared memory of SQLite work there: not between the machines of a network."""
    return file_system(folder).partition(".")[0] not in layout.NETWORK
