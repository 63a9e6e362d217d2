"""A 256 MiB file, half random and half fp32 noise: stored, stored again, read back. Prints one JSON object."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from objstore import files
from objstore.store import Store
from tests.benchmarks import reference

SIZE = 256 << 20


def milliseconds(action: object, *arguments: object) -> tuple[float, object]:
    """How long a call takes, and its result."""
    began = time.perf_counter()
    result = action(*arguments)  # type: ignore[operator]  # any function
    return (time.perf_counter() - began) * 1000, result


def put(store: Store, path: Path) -> object:
    """Store a file, durable on return."""
    with store.begin() as transaction:
        return files.put_file(transaction, path)[0]


def make(path: Path) -> None:
    """Write the file in pieces, so that its making does not count as memory."""
    source = np.random.default_rng(1)
    with path.open("wb") as file:
        for _ in range(16):
            file.write(source.bytes(SIZE // 32))
            file.write(source.standard_normal(SIZE // 128, dtype=np.float32).tobytes())


def main() -> None:
    """Measure and print; with the argument `peak`, only store the file, so that memory is the store's own."""
    path = Path("weights.bin")
    store = Store.create(Path(".tracker"))
    if sys.argv[1:] == ["peak"]:
        put(store, path)
        # Not getrusage: there a process inherits the peak of the one that started it.
        peak = next(
            line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")
        )
        print(int(peak.split()[1]) / 1024)
        return
    make(path)
    os.sync()
    reference_ms, _ = milliseconds(reference.store, path, Path("reference.out"))
    first, blob = milliseconds(put, store, path)
    again, _ = milliseconds(put, store, path)
    stored = sum(pack.stat().st_size for pack in (store.root / "packs").rglob("*.pack"))
    read, _ = milliseconds(Store.open(Path(".tracker")).get, blob, Path("copy.bin"))
    found = {
        "reference_ms": reference_ms,
        "first_ms": first,
        "again_ms": again,
        "read_ms": read,
        "stored_ratio": stored / SIZE,
        "peak_mib": _peak(),
    }
    print(json.dumps(found))


def _peak() -> float:
    with tempfile.TemporaryDirectory(dir=".") as folder:
        os.link("weights.bin", f"{folder}/weights.bin")
        command = [sys.executable, __file__, "peak"]
        return float(subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE).stdout)


if __name__ == "__main__":
    main()
