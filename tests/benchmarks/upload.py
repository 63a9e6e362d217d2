"""Room on disk while 1 GiB is logged: a file, an array, a folder, weights with a destination. Prints one JSON object.

Samples the blocks of the store, the temporary folder, the home and its caches each 5 ms: at their peak they may take no
more than what is stored in the end, and 64 MiB. The copy at the destination is what was asked for, and not counted.
"""

from __future__ import annotations

import json
import os
import resource
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

SIZE = int(os.environ.get("SIZE", str(1 << 30)))


def used(folders: list[Path]) -> int:
    """The bytes of blocks that files below these folders take."""
    total = 0
    waiting = [os.fspath(folder) for folder in folders]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as found:
                for entry in found:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_blocks * 512
        except OSError:  # removed meanwhile
            continue
    return total


@contextmanager
def peak(folders: list[Path]) -> Iterator[Callable[[], int]]:
    """Watches folders; tells the most that they took together."""
    most, ended = used(folders), threading.Event()

    def watch() -> None:
        nonlocal most
        while not ended.wait(0.005):
            most = max(most, used(folders))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield lambda: most
    finally:
        ended.set()
        thread.join()


def write(path: Path, size: int, seed: int) -> Path:
    """A file, half random and half float32 noise."""
    source = np.random.default_rng(seed)
    with path.open("wb") as file:
        for _ in range(8):
            file.write(source.bytes(size // 16))
            file.write(source.standard_normal(size // 64, dtype=np.float32).tobytes())
    return path


def main() -> None:
    """Log a quarter of the size four times, each in its own way."""
    here = Path.cwd()
    for name in ("temporary", "sources", "home", "work"):
        (here / name).mkdir()
    os.environ.update(HOME=str(here / "home"), TMPDIR=str(here / "temporary"))
    tempfile.tempdir = None
    os.chdir(here / "work")
    sources, quarter = here / "sources", SIZE // 4
    write(sources / "file.bin", quarter, 1)
    write(sources / "net.pt", quarter, 2)
    (sources / "folder").mkdir()
    for n in range(16):
        write(sources / "folder" / f"{n}.bin", quarter // 16, 3 + n)
    array = np.random.default_rng(99).standard_normal(quarter // 8)

    from tracker import OutputModel, Task

    quiet = {"detect_repository": False}
    task = Task.init("bench", "upload", auto_connect_frameworks=quiet, auto_connect_streams=False)
    watched = [here / "work", here / "temporary", here / "home"]
    before = used(watched)
    with peak(watched) as most:
        start = time.perf_counter()
        task.upload_artifact("file", sources / "file.bin")
        task.upload_artifact("array", array)
        task.upload_artifact("folder", sources / "folder")
        OutputModel().update_weights(sources / "net.pt", upload_uri=str(here / "destination"))
        task.close()
        seconds = time.perf_counter() - start
    after = used(watched)
    found = {
        "stored_mib": (after - before) / 2**20,
        "over_mib": (most() - max(before, after)) / 2**20,
        "seconds": seconds,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
