"""1 GiB, half random and half float32 noise: stored, its second version stored, read back. Prints one JSON object.

Arguments: `peak` to store the file only and print the peak memory of that; a number for another size in MiB.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from objstore import files
from objstore.store import Store
from tests.benchmarks import reference

MIB = 1 << 20
REGIONS = 20
INSERTED = 1000


def milliseconds(action: Callable[..., object], *arguments: object) -> tuple[float, object]:
    """How long a call takes, and its result."""
    began = time.perf_counter()
    result = action(*arguments)
    return (time.perf_counter() - began) * 1000, result


def put(store: Store, path: Path) -> object:
    """Store a file, durable on return."""
    with store.begin() as transaction:
        return files.put_file(transaction, path)[0]


def stored(store: Store) -> int:
    """Bytes of all packs."""
    return sum(pack.stat().st_size for pack in (store.root / "packs").rglob("*.pack"))


def make(path: Path, size: int) -> None:
    """Write the file in pieces, so that its making does not count as memory."""
    source = np.random.default_rng(1)
    with path.open("wb") as file:
        for _ in range(16):
            file.write(source.bytes(size // 32))
            file.write(source.standard_normal(size // 128, dtype=np.float32).tobytes())


def change(path: Path, target: Path) -> int:
    """Write a second version: 1 % changed in 20 regions, and 1,000 bytes inserted; returns the bytes that differ."""
    data = bytearray(path.read_bytes())
    noise = random.Random(2)
    each = len(data) // 100 // REGIONS
    for _ in range(REGIONS):
        at = noise.randrange(len(data) - each)
        data[at : at + each] = noise.randbytes(each)
    middle = len(data) // 2
    target.write_bytes(data[:middle] + noise.randbytes(INSERTED) + data[middle:])
    return each * REGIONS + INSERTED


def main() -> None:
    """Measure and print."""
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
    size = int(sys.argv[1]) * MIB if sys.argv[1:] else 1024 * MIB
    make(path, size)
    os.sync()
    reference_ms, _ = milliseconds(reference.store, path, Path("reference.out"))
    os.sync()
    first, blob = milliseconds(put, store, path)
    before = stored(store)
    os.sync()
    read, _ = milliseconds(Store.open(store.root).get, blob, Path("copy.bin"))
    Path("copy.bin").unlink()
    changed = change(path, Path("second.bin"))
    os.sync()
    second, _ = milliseconds(put, Store.open(store.root), Path("second.bin"))
    found = {
        "reference_ms": reference_ms,
        "first_ms": first,
        "first_ratio": first / reference_ms,
        "stored_ratio": before / size,
        "read_gb_s": size / 1e6 / read,
        "second_gb_s": size / 1e6 / second,
        "second_ratio": (stored(store) - before) / changed,
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
