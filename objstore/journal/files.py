"""What a journal asks of the system: to allocate and map a file, to write all of something, to make it durable."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from mmap import mmap
from typing import Final

_FIRST_TOUCH: Final = 16 << 10  # bytes; enough for a run of a few events
_MADV_POPULATE_WRITE: Final = 23  # Linux 5.14; the mmap module does not name it
CREATE: Final = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)


def map_new(fd: int, size: int) -> tuple[mmap | None, int]:
    """Allocate and map a new file, and tell how far the map is ready; (None, 0) where that cannot be done.

    Raises OSError when there is no room for it.
    """
    try:
        _allocate(fd, size)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EINVAL):
            return None, 0
        raise
    try:
        area = mmap(fd, size)
        return area, fault_in(area, 0, _FIRST_TOUCH)
    except OSError:
        return None, 0


def _allocate(fd: int, size: int) -> None:
    """Give a file its blocks now: a store into a map that finds the disk full is a SIGBUS, and ends the process."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, 0, size)
        return
    zeros = bytes(min(size, 1 << 20))
    for start in range(0, size, len(zeros)):
        write_all(fd, zeros[: size - start], start)


def fault_in(area: mmap, start: int, end: int) -> int:
    """Make the pages of a map writable now from `start`, where a page begins, to `end`; returns where that ends.

    Raises OSError where a store would be a SIGBUS.
    """
    if sys.platform == "linux":
        end = min(end, len(area))
        try:
            area.madvise(_MADV_POPULATE_WRITE, start, end - start)
        except OSError as error:
            if error.errno == errno.EFAULT:
                raise
        else:
            return end
    return len(area)  # page by page, as they are touched


if sys.platform == "win32":

    def pwrite(fd: int, data: bytes, at: int) -> int:
        """`os.pwrite`, for the one writer of a file."""
        os.lseek(fd, at, os.SEEK_SET)
        return os.write(fd, data)

else:
    pwrite = os.pwrite


def write_all(fd: int, data: bytes, at: int) -> None:
    """Write all of `data` at a place. Raises OSError, with a part of it written, where there is no room."""
    done = pwrite(fd, data, at)
    while done < len(data):  # a full disk takes a part, and only then says that it is full
        done += pwrite(fd, data[done:], at + done)


def retire(area: mmap | None, fd: int, used: int) -> None:
    """Close a segment behind its last record."""
    if area is not None:
        area.close()
    if fd >= 0:
        with suppress(OSError):  # zeros end the records as well as the end of the file does
            os.ftruncate(fd, used)
        os.close(fd)


def fsync(path: str) -> None:
    """Make a file or folder durable. Raises OSError."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
