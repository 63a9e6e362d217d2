"""The power goes: a file system on a loop device is shut down without its log, mounted again, and holds what it must.

Takes root on Linux, and mkfs for the file system; elsewhere these tests are skipped. What was acknowledged is there;
a store that leaves out its fsyncs fails the same test.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from tests.crash import steps

HERE = Path(__file__).parent

GOING_DOWN = 0x8004587D  # the ioctl of XFS, ext4 and others: shut down
NO_LOG_FLUSH = 2  # what was not on the disk yet is lost
SIZES = {"ext4": 64, "xfs": 320}  # MiB; XFS makes none smaller than 300


class Disk:
    """A file system in a file, whose power can be cut."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.image, self.mounted, self.kind = folder / "disk", folder / "mounted", kind
        self.mounted.mkdir()

    def format(self) -> None:
        """A new file system, or a skip where none can be made."""
        if sys.platform != "linux" or os.geteuid() != 0 or shutil.which(f"mkfs.{self.kind}") is None:
            pytest.skip(f"it takes root on Linux and mkfs.{self.kind}")
        with self.image.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, SIZES[self.kind] << 20)
        subprocess.run([f"mkfs.{self.kind}", "-q", str(self.image)], check=True, capture_output=True)

    def mount(self) -> None:
        """Mount it, replaying what its log has."""
        done = subprocess.run(
            ["mount", "-o", "loop", str(self.image), str(self.mounted)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")

    def cut(self) -> None:
        """Cut the power: nothing more reaches the disk."""
        fd = os.open(self.mounted, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, GOING_DOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(fd)

    def unmount(self) -> None:
        """Unmount it, if it is; a file system that was shut down cannot even be asked."""
        for _ in range(100):
            done = subprocess.run(["umount", str(self.mounted)], capture_output=True, text=True, check=False)
            if done.returncode == 0 or "not mounted" in done.stderr:
                return
            time.sleep(0.02)
        raise AssertionError(done.stderr)


@contextmanager
def disk(folder: Path, kind: str) -> Iterator[Disk]:
    """A fresh disk, mounted."""
    folder.mkdir(parents=True, exist_ok=True)
    made = Disk(folder, kind)
    made.format()
    made.mount()
    try:
        yield made
    finally:
        made.unmount()
        made.image.unlink()


def started(root: Path, operation: str, *options: str) -> subprocess.Popen[str]:
    """A process that will do an operation when it is told."""
    return subprocess.Popen(
        [sys.executable, str(HERE / "steps.py"), str(root), operation, *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(HERE.parent.parent)},
    )


def until(stream: IO[Any], acks: int) -> list[str]:
    """What was acknowledged by the time that `acks` things were; fewer at the end."""
    acked: list[str] = []
    while len(acked) < acks and (line := stream.readline()):
        if line.startswith("acked "):
            acked.append(line.removeprefix("acked ").strip())
    return acked


def after_a_cut(folder: Path, kind: str, operation: str, acks: int, delay: float, *options: str) -> list[str]:
    """What is wrong when the power went `delay` seconds after the `acks`-th acknowledgement."""
    with disk(folder, kind) as under:
        root = under.mounted / "store"
        steps.prepare(root, operation)
        subprocess.run(["sync", "-f", str(under.mounted)], check=True)
        process = started(root, operation, *options)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("go\n")
        process.stdin.flush()
        acked = until(process.stdout, acks)
        time.sleep(delay)
        under.cut()
        process.communicate(timeout=60)
        under.unmount()
        under.mount()
        found = steps.wrong(root, operation, acked)
        if not options:
            again: list[str] = []
            assert steps.run(root, operation, again.append) == "done"
            found += steps.wrong(root, operation, acked + again)
        return found


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits of steps.py, for this test only."""
    from objstore import layout

    before = dict(vars(layout))
    steps.shrink()
    changed = {name: value for name, value in before.items() if vars(layout)[name] is not value}
    for name, value in vars(layout).copy().items():
        if name in changed:
            setattr(layout, name, before[name])
            monkeypatch.setattr(layout, name, value)


@pytest.mark.parametrize("kind", list(SIZES))
@pytest.mark.parametrize("operation", list(steps.OPERATIONS))
def test_what_was_acknowledged_survives_a_power_cut(tmp_path: Path, kind: str, operation: str) -> None:
    """Right after each acknowledgement, and a little later, in the middle of what follows."""
    for number, (acks, delay) in enumerate([(0, 0.02), (1, 0.0), (2, 0.0), (2, 0.01), (3, 0.0)]):
        assert after_a_cut(tmp_path / str(number), kind, operation, acks, delay) == []


@pytest.mark.parametrize("kind", list(SIZES))
def test_without_fsync_a_power_cut_loses_what_was_acknowledged(tmp_path: Path, kind: str) -> None:
    """So that the test above shows something."""
    assert after_a_cut(tmp_path, kind, "put", 3, 0.0, "nosync") != []


@pytest.mark.exhaustive
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("kind", list(SIZES))
@pytest.mark.parametrize("operation", list(steps.OPERATIONS))
def test_power_cuts_at_many_moments_lose_nothing(tmp_path: Path, kind: str, operation: str) -> None:
    """Forty moments, half a millisecond apart from one another, after each number of acknowledgements."""
    for acks in range(4):
        for turn in range(10):
            assert after_a_cut(tmp_path / f"{acks}-{turn}", kind, operation, acks, turn * 0.002) == []
