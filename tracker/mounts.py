"""Which file system a path is on: what it can do decides how a journal and an index are written."""

from __future__ import annotations

import os
from pathlib import Path


def file_system(path: Path) -> str:
    """The type of the file system that holds `path`, such as ext4 or nfs4; "" where the system does not tell."""
    try:
        device = os.stat(path).st_dev
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                mount, _, rest = line.partition(" - ")
                if mount.split()[2] == f"{os.major(device)}:{os.minor(device)}":
                    return rest.split()[0]
    except (OSError, IndexError):
        return ""
    return ""
