"""A million small objects through transactions of 50,000, each durable when it ends. Prints one JSON object."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from objstore.ids import Kind
from objstore.store import Store

BATCH = 50_000
TEXT = b'{"name":"metric %d","value":%d,"more":"some text that repeats, as records do","n":%d}'


def main() -> None:
    """Measure and print; an argument gives another number of objects."""
    count = int(sys.argv[1]) if sys.argv[1:] else 1_000_000
    store = Store.create(Path(".tracker"))
    began = time.perf_counter()
    for first in range(0, count, BATCH):
        with store.begin() as transaction:
            for number in range(first, first + BATCH):
                transaction.put(Kind.BLOB, TEXT % (number, number * number, first))
    seconds = time.perf_counter() - began
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(line for line in status if line.startswith("VmHWM"))
    print(json.dumps({"per_s": count / seconds, "peak_mib": int(peak.split()[1]) / 1024}))


if __name__ == "__main__":
    main()
