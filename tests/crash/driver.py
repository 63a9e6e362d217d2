"""Does one operation over and over, each time with another fault of a system call, by strace; prints a line for each.

Arguments: an empty folder, the operation, the fault (`KILL` or an error's name), and `all` or how many cases, which are
then drawn by a seed. strace counts calls by thread, and the n-th call of the first thread to make it is the one.
"""

from __future__ import annotations

import collections
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.crash import steps

CHANGING: Final = (
    *("openat", "creat", "write", "pwrite64", "pwritev", "ftruncate", "fallocate", "close"),
    *("rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat", "unlink", "unlinkat"),
    *("mkdir", "mkdirat", "rmdir", "fsync", "fdatasync", "syncfs", "utimensat"),
)
REFUSING: Final = ("write", "fsync", "close", "rename", "mkdir", "openat")


def forked(action: Callable[[], Any], before: Callable[[int], None] = lambda pid: None) -> tuple[int, bytes]:
    """Run an action in a fork, once `before` has been called with its pid; returns (status, what it wrote)."""
    out, into = os.pipe()
    wait, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(into, 1)
        os.close(go)
        os.read(wait, 1)
        try:
            action()
        except BaseException as error:  # noqa: BLE001  a fork must not go on as its parent
            os.write(1, f"crash: {error!r}\n".encode())
        os._exit(0)
    os.close(into)
    os.close(wait)
    before(pid)
    os.close(go)
    with os.fdopen(out, "rb") as pipe:
        data = pipe.read()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), data


class Strace:
    """Attaches strace to a process that waits."""

    def __init__(self, log: Path, *options: str) -> None:
        self._command = ["strace", "-f", "-qq", "-o", str(log), *options]
        self._running: subprocess.Popen[bytes] | None = None

    def attach(self, pid: int) -> None:
        """Return when the process is traced."""
        self._running = subprocess.Popen([*self._command, "-p", str(pid)], stderr=subprocess.PIPE)
        status = Path(f"/proc/{pid}/status")
        while re.search(r"TracerPid:\t0\n", status.read_text()):
            if self._running.poll() is not None:
                assert self._running.stderr is not None
                os.kill(pid, signal.SIGKILL)
                raise SystemExit(f"no tracing: {self._running.stderr.read().decode()}")
            time.sleep(0.001)

    def end(self) -> None:
        """Wait until it has gone."""
        if self._running is not None:
            self._running.communicate()


def tell(text: str) -> None:
    """Write a line to standard output; once more where that very call was the one to be refused."""
    with suppress(OSError):
        os.write(1, f"{text}\n".encode())
        return
    os.write(1, f"{text}\n".encode())


def do(root: Path, operation: str) -> None:
    """The operation, telling by standard output."""
    tell(steps.run(root, operation, lambda text: tell(f"acked {text}")))


def judge(root: Path, operation: str, acked: list[str]) -> list[str]:
    """What a new process finds wrong."""
    _, out = forked(lambda: os.write(1, json.dumps(steps.wrong(root, operation, acked)).encode()))
    try:
        return list(json.loads(out))
    except json.JSONDecodeError:
        return [out.decode()]


def case(model: Path, root: Path, operation: str, tracing: Strace) -> dict[str, Any]:
    """One fault: what the caller was told, what was wrong then, and after the operation was done again."""
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(model, root)
    status, out = forked(lambda: do(root, operation), tracing.attach)
    tracing.end()
    lines = out.decode().splitlines()
    acked = [line.removeprefix("acked ") for line in lines if line.startswith("acked ")]
    told = next((line for line in lines if not line.startswith("acked ")), "")
    after_fault = judge(root, operation, acked)
    _, again = forked(lambda: do(root, operation))
    acked += [
        line.removeprefix("acked ") for line in again.decode().splitlines() if line.startswith("acked ")
    ]
    after_all = judge(root, operation, acked)
    ended = again.decode().splitlines()[-1] if again else ""
    return {"status": status, "told": told, "wrong": after_fault, "again": ended, "then": after_all}


def calls(model: Path, folder: Path, operation: str) -> dict[str, list[int]]:
    """Which calls of each name change something, by their number in the thread, in an operation without faults.

    Of openat those that may write, of close those of what was opened so.
    """
    log = folder / "calls"
    found = case(model, folder / "traced", operation, Strace(log, "-e", f"trace={','.join(CHANGING)}"))
    assert (found["told"], found["wrong"]) == ("done", []), found
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    numbers: dict[str, set[int]] = collections.defaultdict(set)
    written: set[str] = set()
    for thread, name, rest in re.findall(r"^(\d+) +(\w+)\((.*)$", log.read_text(), re.MULTILINE):
        counts[thread, name] += 1
        if name == "openat":
            if not re.search("O_CREAT|O_WRONLY|O_RDWR", rest):
                written.discard(rest.rsplit("= ", 1)[-1])
                continue
            written.add(rest.rsplit("= ", 1)[-1])
        elif name == "close" and rest.split(")")[0] not in written:
            continue
        numbers[name].add(counts[thread, name])
    return {name: sorted(found) for name, found in numbers.items()}


def main() -> None:
    """Run the cases."""
    folder, operation, fault, how_many = Path(sys.argv[1]), *sys.argv[2:]
    steps.shrink()
    model = folder / "model"
    steps.prepare(model, operation)
    shutil.copytree(model, folder / "warm")
    steps.run(
        folder / "warm", operation, lambda text: None
    )  # whatever is imported late is there for every fork
    steps.wrong(folder / "warm", operation, [])
    changing = calls(model, folder, operation)
    wanted = [name for name in changing if fault == "KILL" or name in REFUSING]
    cases = [(name, number) for name in sorted(wanted) for number in changing[name]]
    if how_many != "all":
        cases = random.Random(f"{operation} {fault}").sample(cases, min(int(how_many), len(cases)))
    print(
        json.dumps({"cases": len(cases), "calls": {name: len(changing[name]) for name in wanted}}), flush=True
    )
    what = "signal=KILL" if fault == "KILL" else f"error={fault}"
    for name, number in cases:
        tracing = Strace(
            Path("/dev/null"), "-e", f"trace={name}", "-e", f"inject={name}:{what}:when={number}"
        )
        found = case(model, folder / "store", operation, tracing)
        print(json.dumps({"call": name, "number": number, **found}), flush=True)


if __name__ == "__main__":
    main()
