"""Whether a journal's writer lives: a file that is open and locked as long as it does, and a heartbeat."""

from __future__ import annotations

import errno
import os
import struct
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Literal

from objstore.errors import Conflict
from objstore.journal.files import CREATE, write_all
from objstore.journal.form import ALIVE

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from pathlib import Path

BEAT_SECONDS: Final = 30.0  # how often `beat` is to be called
SILENCE_SECONDS: Final = 600.0  # without a heartbeat, after which a writer on another host is taken for dead
BIRTH_SECONDS: Final = 60.0  # in which a writer that has made its folder says who it is, if it lives
_ALIVE_MAX: Final = 4096  # bytes of the alive file that are looked at

# struct flock in native layout, and which of its five fields is l_type.
_FLOCK: Final[dict[str, tuple[str, int]]] = {"linux": ("hhqqi", 0), "darwin": ("qqihh", 3)}

# POSIX drops all of a process's locks on a file when that process closes any descriptor of it. So this
# process never opens an alive file of its own a second time: it knows them by (device, inode), whatever path
# they are asked for by.
_own: set[tuple[int, int]] = set()
_own_guard = threading.RLock()


def _forget_own() -> None:
    """In a forked child: the alive files are the parent's, and a thread that is not here may hold the guard."""
    global _own_guard
    _own_guard = threading.RLock()
    _own.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_own)


class Alive:
    """The file by which others see that a writer lives: open, and locked, from the first append to the end."""

    __slots__ = ("_fd", "_folder", "_key", "_path", "_written")

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = os.path.join(folder, ALIVE)
        self._fd = -1
        self._key = (0, 0)
        self._written = False

    @property
    def claimed(self) -> bool:
        """Whether the file is open here."""
        return self._fd >= 0

    def claim(self) -> None:
        """Create and lock the file, and say in it who writes; after an OSError, go on where that stopped."""
        if self._written:
            return
        with _own_guard:
            if self._fd < 0:
                try:
                    self._fd = os.open(self._path, CREATE | os.O_EXCL, 0o666)
                except FileExistsError:
                    raise belongs_to_another(self._folder) from None
                status = os.fstat(self._fd)
                self._key = (status.st_dev, status.st_ino)
                _own.add(self._key)
        write_all(self._fd, _introduction(locked=_lock(self._fd)), 0)
        self._written = True

    def beat(self) -> None:
        """Move its time on, where it is claimed."""
        if self._fd >= 0:
            os.utime(self._path)  # with no times given, a network file system takes those of its server

    def close(self) -> None:
        """Let go of the file and its lock."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with _own_guard:
                try:
                    os.close(fd)
                finally:
                    _own.discard(self._key)


def belongs_to_another(folder: Path) -> Conflict:
    """The error for a folder that somebody writes in already."""
    return Conflict(f"{folder} is another writer's journal: give this writer a folder of its own")


def _introduction(*, locked: bool) -> bytes:
    import json

    host, boot = _whereabouts()
    fields = {"host": host, "boot": boot, "pid": os.getpid(), "started": time.time(), "locked": locked}
    return json.dumps(fields).encode()


def _lock(fd: int) -> bool:
    """Whether the file is now locked; on some file systems nothing can be: there the heartbeat has to do."""
    if sys.platform == "win32":
        return False
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def liveness(folder: Path, now: float | None = None) -> Literal["alive", "dead", "unknown"]:
    """Whether the writer of a journal still lives.

    A lock that is held is alive. One that is free is dead on the writer's own host, whatever has booted
    since; elsewhere, or where nothing can be locked, ten minutes without a heartbeat are dead, and less is
    unknown. A folder whose alive file is absent or empty is dead when it has not changed for a minute. `now`,
    in seconds since the epoch by the clock of the folder's file system, is asked of that file system when it
    is not given. Neither the alive file nor its times are changed, and read access is enough.
    """
    with _own_guard:
        try:
            path = os.path.join(folder, ALIVE)
            status = os.stat(path)
            if (status.st_dev, status.st_ino) in _own:
                return "alive"
            # Not blocking: a pipe of that name would wait for a writer for ever; like this it reads as empty.
            fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        except FileNotFoundError:
            return _never_introduced(folder, now)
        except OSError:
            return "unknown"
        try:
            held = _is_locked(fd)
            introduction = os.read(fd, _ALIVE_MAX)
        except OSError:
            return "unknown"
        finally:
            os.close(fd)
    if held:
        return "alive"
    if not introduction:
        return _never_introduced(folder, now)
    host, boot, locked = _introduced(introduction)
    here, this_boot = _whereabouts()
    rebooted = bool(boot and this_boot) and boot != this_boot
    if host == here and (rebooted or (locked and held is False)):
        return "dead"
    return "dead" if _clock(folder, now) - status.st_mtime > SILENCE_SECONDS else "unknown"


def _never_introduced(folder: Path, now: float | None) -> Literal["dead", "unknown"]:
    """The verdict on a writer that died, or still is, between making its folder and saying who it is."""
    try:
        changed = os.stat(folder).st_mtime
    except OSError:
        return "unknown"
    # Not by the file system's clock: asking it would itself change the folder.
    return "dead" if (time.time() if now is None else now) - changed > BIRTH_SECONDS else "unknown"


def _is_locked(fd: int) -> bool | None:
    """Whether another process holds the lock; None where that cannot be told."""
    if sys.platform == "win32":
        return None
    try:
        if sys.platform not in _FLOCK:
            fcntl.lockf(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)  # closing the file gives it back
            return False
        layout, kind = _FLOCK[sys.platform]
        fields = [0] * 5  # the whole file, from its start
        fields[kind] = fcntl.F_WRLCK
        # F_GETLK only asks: it works on a read-only file, and cannot get in the way of the writer.
        answer = fcntl.fcntl(fd, fcntl.F_GETLK, struct.pack(layout, *fields))
        return bool(struct.unpack(layout, answer)[kind] != fcntl.F_UNLCK)
    except OSError as error:
        return True if error.errno in (errno.EACCES, errno.EAGAIN) else None


def _introduced(data: bytes) -> tuple[object, object, bool]:
    """Host, boot and whether a lock was taken, by an alive file; of a damaged one nothing is believed."""
    import json

    try:
        fields = json.loads(data)
        return fields["host"], fields["boot"], fields["locked"] is True
    except (ValueError, KeyError, TypeError, RecursionError):
        return None, None, False


def _whereabouts() -> tuple[str, str]:
    """This host's name, and an id of its boot ("" where the system has none that a file tells)."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = file.read().strip()
    except OSError:
        boot = ""
    if hasattr(os, "uname"):
        return os.uname().nodename, boot
    return os.environ.get("COMPUTERNAME", ""), boot


def _clock(folder: Path, now: float | None) -> float:
    """The time by which the file system stamps its files; this host's where nothing can be written."""
    if now is not None:
        return now
    path = os.path.join(folder, f".clock.{os.getpid()}.{time.monotonic_ns()}")
    try:
        fd = os.open(path, CREATE | os.O_EXCL, 0o666)
    except OSError:
        return time.time()
    try:
        return os.fstat(fd).st_mtime
    finally:
        os.close(fd)
        with suppress(OSError):
            os.unlink(path)
