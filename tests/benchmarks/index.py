"""A store of one million small objects: opened, searched and listed by new processes. Prints one JSON object."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from objstore import layout
from objstore.frame import Encoding, FrameHeader
from objstore.ids import Kind, ObjectId, hash_object
from objstore.pack import PackWriter
from objstore.store import Store
from objstore.zstd import compress

OBJECTS = int(os.environ.get("OBJECTS", "1000000"))
GROUP = 256  # objects a frame
PACK = 62_500  # objects a pack
LOOKUPS = 20_000


def content(number: int) -> bytes:
    """What the object of this number holds."""
    return b'{"n":%d,"text":"one of many"}' % number


def make(root: Path) -> tuple[float, float]:
    """Write the packs; returns the seconds that took, and those of the index's part in it."""
    store = Store.create(root)
    began, adding = time.perf_counter(), 0.0
    for start in range(0, OBJECTS, PACK):
        writer = PackWriter(root / "tmp" / "pack")
        for first in range(start, min(start + PACK, OBJECTS), GROUP):
            raws = [content(n) for n in range(first, min(first + GROUP, start + PACK, OBJECTS))]
            stored = compress(b"".join(raws), 1)
            header = FrameHeader(Kind.BLOB, Encoding.ZSTD, (0, 0), sum(map(len, raws)), len(stored))
            writer.add(header, stored, [(hash_object(Kind.BLOB, raw), len(raw)) for raw in raws])
        pack_id, footer = writer.finish()
        path = root / layout.pack_path(pack_id)
        path.parent.mkdir(exist_ok=True)
        writer.path.rename(path)
        at = time.perf_counter()
        store.objects.add(pack_id, footer)
        adding += time.perf_counter() - at
    return time.perf_counter() - began, adding


def resident() -> float:
    """MiB of memory this process holds, and the most it ever held."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("VmRSS"))) / 1024


def microseconds(action: Callable[[ObjectId], object], ids: list[ObjectId]) -> list[float]:
    """How long a call takes for each id."""
    found = []
    for object_id in ids:
        began = time.perf_counter()
        action(object_id)
        found.append((time.perf_counter() - began) * 1e6)
    return found


def probe(root: Path) -> dict[str, float]:
    """What a new process sees."""
    began = time.perf_counter()
    store = Store.open(root)
    store.objects.has(ObjectId(bytes(32)))
    opened = (time.perf_counter() - began) * 1e3
    few = [hash_object(Kind.BLOB, content(n * 997 % OBJECTS)) for n in range(10)]
    assert all(store.objects.locate(i) for i in few)
    rest = resident()
    ids = [hash_object(Kind.BLOB, content(n * 7919 % OBJECTS)) for n in range(LOOKUPS)]
    absent = [hash_object(Kind.BLOB, b"absent %d" % n) for n in range(LOOKUPS)]
    locate, has = microseconds(store.objects.locate, ids), microseconds(store.objects.has, ids)
    missed, read = microseconds(store.objects.has, absent), microseconds(store.objects.read, ids[:2000])
    resolve = [microseconds(lambda i: store.resolve(str(i)[:12]), [i])[0] / 1e3 for i in ids[:20]]
    return {
        "open_ms": opened,
        "rest_mib": rest,
        "locate_us": statistics.median(locate),
        "locate_p99_us": statistics.quantiles(locate, n=100)[98],
        "has_us": statistics.median(has),
        "has_not_us": statistics.median(missed),
        "read_us": statistics.median(read),
        "resolve_ms": statistics.median(resolve),
    }


def new_process(what: str, root: Path) -> dict[str, float]:
    """Run this script in a new process."""
    command = [sys.executable, __file__, what, str(root)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    found: dict[str, float] = json.loads(output)
    return found


def main() -> None:
    """Measure and print."""
    if len(sys.argv) == 3 and sys.argv[1] == "probe":
        print(json.dumps(probe(Path(sys.argv[2]))))
        return
    if len(sys.argv) == 3 and sys.argv[1] == "rows":
        began = time.perf_counter()
        count = sum(1 for _ in Store.open(Path(sys.argv[2])).objects.rows())
        print(json.dumps({"rows": count, "seconds": time.perf_counter() - began, "mib": resident()}))
        return
    root = Path("million.store")
    written, adding = make(root)
    found = new_process("probe", root)
    rows = new_process("rows", root)
    assert rows["rows"] == OBJECTS
    shutil.rmtree(root / "cache")
    cold = new_process("probe", root)
    segments = [path.stat().st_size for path in (root / layout.INDEX).iterdir()]
    found |= {
        "objects": OBJECTS,
        "write_per_s": OBJECTS / written,
        "add_us": adding / OBJECTS * 1e6,
        "rows_s": rows["seconds"],
        "rows_mib": rows["mib"],
        "rebuild_ms": cold["open_ms"],
        "rebuild_rest_mib": cold["rest_mib"],
        "segments": len(segments),
        "segment_mib": sum(segments) / layout.MIB,
    }
    shutil.rmtree(root)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
