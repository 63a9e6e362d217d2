"""Regular files, opened and read at an offset: whatever else bears a file's name is refused and never waited for."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from objstore.errors import Corrupt


def open_regular(path: Path) -> int:
    """A descriptor to read a regular file. Raises Corrupt for anything else, OSError."""
    # Not blocking: a pipe that bears a pack's name would wait for a writer for ever.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise Corrupt(f"{path} is no regular file")
    return fd


def read_at(fd: int, offset: int, size: int) -> bytes:
    """`size` bytes of a file, fewer where it ends before. Raises OSError."""
    data = os.pread(fd, size, offset)
    if len(data) == size or not data:
        return data
    parts = [data]
    while (missing := size - sum(map(len, parts))) and (
        more := os.pread(fd, missing, offset + size - missing)
    ):
        parts.append(more)
    return b"".join(parts)
