"""A process that heals a store and kills itself at the nth change of a file: `heal_child.py STORE REMOTE N`."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from objstore.heal import heal
from objstore.remotes.folder import FolderRemote

CHANGES = ("os.rename", "os.link", "os.mkdir", "os.remove", "os.truncate")


def main(store: str, remote: str, number: str) -> None:
    """Heal; when it gets to its end before the nth change, print how many there were."""
    left = int(number)

    def on_event(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        writes = (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        )
        if (event in CHANGES or writes) and store in str(arguments[0]):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(on_event)
    heal(Path(store), [FolderRemote(remote)], unite=True)
    print(int(number) - left)


main(*sys.argv[1:])
