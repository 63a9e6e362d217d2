"""Run by test_repack_kill.py: for each store that it is told of, forks a process that waits for a word and tidies it.

Says the fork's process id, waits for a line, lets it begin, and says how it ended. Forks, since to start Python anew
for each of hundreds of deaths would take minutes.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from objstore import layout, repack  # noqa: F401  imported before the forks
from objstore.store import Store


def shrink() -> None:
    """Make a few small files as good as many: all that tidying does happens to four runs."""
    limits = {"LOOSE_MAX": 0, "MERGE_COUNT": 2, "SETTLE": -60.0, "WAITING_MAX": 0}
    for name, value in limits.items():
        setattr(layout, name, value)


def main() -> None:
    """Serve until the input ends."""
    shrink()
    for line in sys.stdin:
        ready, go = os.pipe()
        if (child := os.fork()) == 0:
            os.read(ready, 1)
            Store.open(Path(line.strip())).tidy()
            os._exit(0)
        print(child, flush=True)
        sys.stdin.readline()
        os.write(go, b"x")
        os.close(go)
        os.close(ready)
        print(os.waitpid(child, 0)[1], flush=True)


if __name__ == "__main__":
    main()
