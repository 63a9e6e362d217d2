"""512 MiB, half random and half fp32 noise, and small objects, checked at each level. Prints one JSON object."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from objstore import files
from objstore.fsck import Level, check
from objstore.ids import Kind
from objstore.records import Commit, Mode, TreeEntry
from objstore.store import Store

SIZE = 512 << 20
SMALL = 20_000  # objects of 300 bytes
STORE = Path(".tracker")


def make() -> None:
    """A large file, a folder of small ones, and a head that reaches them."""
    source = np.random.default_rng(1)
    with Path("weights.bin").open("wb") as file:
        for _ in range(32):
            file.write(source.bytes(SIZE // 64))
            file.write(source.standard_normal(SIZE // 256, dtype=np.float32).tobytes())
    store = Store.create(STORE)
    with store.begin() as transaction:
        large, size = files.put_file(transaction, Path("weights.bin"))
        entries = [TreeEntry("large", Mode.FILE, large, size)]
        for number in range(SMALL):
            data = source.bytes(150).hex().encode()
            entries.append(TreeEntry(f"{number:05d}", Mode.FILE, transaction.put(Kind.BLOB, data), len(data)))
        tree, _ = files.put_tree(transaction, sorted(entries, key=lambda entry: entry.name))
        transaction.commit(Commit("a" * 32, ("task", "p", "n"), (), 1, 1, tree, {"w": 1}))


def main() -> None:
    """Measure and print; with a level as argument, only check and print the seconds and the peak memory in MiB."""
    if len(sys.argv) > 1:
        began = time.perf_counter()
        assert check(STORE, Level(sys.argv[1])).clean
        seconds = time.perf_counter() - began
        lines = Path("/proc/self/status").read_text().splitlines()
        peak = next(line for line in lines if line.startswith("VmHWM"))
        print(json.dumps([seconds, int(peak.split()[1]) / 1024]))
        return
    make()
    os.sync()
    size = sum(path.stat().st_size for path in STORE.rglob("*.pack"))
    found = {}
    for level in Level:
        command = [sys.executable, __file__, level.value]
        seconds, peak = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        found[f"{level.value}_ms"] = seconds * 1000
        found[f"{level.value}_gb_per_s"] = size / seconds / 1e9
        found[f"{level.value}_peak_mib"] = peak
    print(json.dumps(found))


if __name__ == "__main__":
    main()
