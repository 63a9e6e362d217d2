"""A process that writes a journal and is killed for it; told by its arguments how. Acknowledges on stdout."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from objstore.journal import JournalWriter


def payload_of(number: int) -> bytes:
    """The payload of a record in these tests: it tells its number, and its length varies."""
    return number.to_bytes(8, "little") + bytes([number % 251]) * (number * 37 % 400)


def acknowledge(number: int) -> None:
    """Tell the test that this append has returned."""
    os.write(1, number.to_bytes(8, "little"))


def write_until_killed(folder: Path, *, mapped: bool) -> None:
    """Append and acknowledge; segments are small, so that many kills fall into the opening of one."""
    writer = JournalWriter(folder, "child", segment_size=8192, mapped=mapped)
    number = 0
    while True:
        number = writer.append(1 + number % 255, payload_of(number + 1))
        acknowledge(number)


def write_across_a_fork(folder: Path) -> None:
    """Append in the parent, then in a forked child to a journal of its own, then in the parent again; then wait."""
    writer = JournalWriter(folder, "parent")
    writer.append(1, payload_of(1))
    child = os.fork()
    if child == 0:
        writer.abandon()
        own = JournalWriter(folder.with_name("forked"), "forked")
        own.append(1, payload_of(1))
        own.close()
        try:
            writer.append(1, b"not from here")
        except ValueError:
            os._exit(0)
        os._exit(1)
    _, status = os.waitpid(child, 0)
    writer.append(1, payload_of(2))
    acknowledge(os.waitstatus_to_exitcode(status))
    sys.stdin.read()


if __name__ == "__main__":
    mode, target = sys.argv[1], Path(sys.argv[2])
    if mode == "fork":
        write_across_a_fork(target)
    else:
        write_until_killed(target, mapped=mode == "mapped")
