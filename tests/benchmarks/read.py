"""Reading back: 1 GiB to a file, and random megabytes of a sparse 100 GB one. Prints one JSON object."""

from __future__ import annotations

import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from objstore import files, layout
from objstore.frame import encode, encode_list
from objstore.ids import Hasher, Kind, ObjectId, hash_object
from objstore.pack import PackWriter
from objstore.records import ChunkList, pages
from objstore.store import Store

SIZE = int(os.environ.get("SIZE", str(1 << 30)))
SPARSE = int(os.environ.get("SPARSE", str(100 * 10**9)))
RANGES = 40


def make(path: Path) -> None:
    """Write a file, half random and half fp32 noise."""
    source = np.random.default_rng(1)
    with path.open("wb") as file:
        for _ in range(16):
            file.write(source.bytes(SIZE // 32))
            file.write(source.standard_normal(SIZE // 128, dtype=np.float32).tobytes())


def plant(root: Path, frames: list[tuple[Kind, list[bytes]]], top: ChunkList, blob: ObjectId) -> None:
    """Write a pack of these frames, and one with the list."""
    for listed in (False, True):
        writer = PackWriter(root / "tmp" / "pack")
        if listed:
            header, stored = encode_list(top.encode(), top.size)
            writer.add(header, stored, [(blob, top.size)])
        else:
            for kind, members in frames:
                header, found = encode(kind, b"".join(members))
                writer.add(header, found, [(hash_object(kind, raw), len(raw)) for raw in members])
        pack_id, _ = writer.finish()
        path = root / layout.pack_path(pack_id)
        path.parent.mkdir(exist_ok=True)
        writer.path.rename(path)


def sparse(store: Store) -> ObjectId:
    """A blob of 100 GB: two megabytes of noise in each gigabyte, the rest a hole; its list is taken on trust.

    Nothing could hash 100 GB here in the time a benchmark may take, so its id is that of its list.
    """
    hole = bytes(layout.CHUNK_MAX)
    hole_id = hash_object(Kind.BLOB, hole)
    frames: list[tuple[Kind, list[bytes]]] = [(Kind.BLOB, [hole])]
    items: list[tuple[ObjectId, int]] = []
    source = random.Random(1)
    for _ in range(SPARSE // 10**9):
        items += [(hole_id, len(hole))] * ((10**9 - 2 * layout.MIB) // len(hole))
        for _ in range(2):
            noise = source.randbytes(layout.MIB)
            members = [noise[at : at + layout.CHUNK_AVG] for at in range(0, layout.MIB, layout.CHUNK_AVG)]
            frames += [(Kind.BLOB, [member]) for member in members]
            items += [(hash_object(Kind.BLOB, member), len(member)) for member in members]
    parts = [ChunkList(0, tuple(p)) for p in pages(items, (i for i, _ in items), layout.LIST_PAGE_MAX)]
    frames += [(Kind.CHUNKS, [page.encode()]) for page in parts]
    top = ChunkList(1, tuple((hash_object(Kind.CHUNKS, page.encode()), page.size) for page in parts))
    blob = hash_object(Kind.BLOB, top.encode())
    plant(store.root, frames, top, blob)
    store.objects.trust_list(blob, top.encode())
    return blob


def ranges(root: Path, blob: ObjectId) -> dict[str, float]:
    """Random megabytes, each read by a store that was just opened, and all by one."""
    reads = {True: 0, False: 0}  # of packs; of the index in cache/
    calls = os.pread, os.preadv

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def read(fd: int, *rest: Any) -> Any:
            reads[os.readlink(f"/proc/self/fd/{fd}").endswith(".pack")] += 1
            return call(fd, *rest)

        return read

    source = random.Random(2)
    took: list[float] = []
    packs: list[int] = []
    index: list[int] = []
    for _ in range(RANGES):
        objects = Store.open(root).objects
        # Half of them where there is something.
        offset = source.randrange(SPARSE // 10**9) * 10**9
        offset = (
            offset - 2 * layout.MIB if source.random() < 0.5 and offset else offset + source.randrange(10**9)
        )
        objects.refresh()
        os.pread, os.preadv = counted(calls[0]), counted(calls[1])
        reads.update({True: 0, False: 0})
        began = time.perf_counter()
        data = objects.read_range(blob, offset, layout.MIB)
        took.append((time.perf_counter() - began) * 1e3)
        os.pread, os.preadv = calls
        assert len(data) == layout.MIB
        packs.append(reads[True])
        index.append(reads[False])
    return {
        "range_ms": statistics.median(took),
        "range_worst_ms": max(took),
        "range_reads": max(packs),
        "range_index_reads": max(index),
    }


def peak() -> float:
    """The most memory this process has held, in MiB. Not getrusage: there a child begins with its parent's peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) / 1024


def back(root: Path, blob: ObjectId) -> dict[str, float]:
    """Read the large file back, to a name that is free: what it takes to drop a file is not measured."""
    Path("copy.bin").unlink(missing_ok=True)
    began = time.perf_counter()
    Store.open(root).get(blob, Path("copy.bin"))
    return {"s": time.perf_counter() - began, "mib": peak()}


def plain(path: Path) -> float:
    """Seconds to copy a file block by block, as the yardstick of reading it back."""
    Path("plain.bin").unlink(missing_ok=True)
    began = time.perf_counter()
    with path.open("rb", buffering=0) as source, Path("plain.bin").open("wb", buffering=0) as out:
        while block := source.read(4 * layout.MIB):
            out.write(block)
    return time.perf_counter() - began


def new_process(what: str, root: Path, blob: ObjectId) -> dict[str, float]:
    """Run this script in a new process."""
    command = [sys.executable, __file__, what, str(root), str(blob)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return found


def main() -> None:
    """Measure and print."""
    if len(sys.argv) == 4:
        action = {"back": back, "ranges": ranges}[sys.argv[1]]
        print(json.dumps(action(Path(sys.argv[2]), ObjectId.parse(sys.argv[3]))))
        return
    path, root = Path("large.bin"), Path("read.store")
    make(path)
    store = Store.create(root)
    with store.begin() as transaction:
        blob, _ = files.put_file(transaction, path)
    (root / "cache" / "proofs").unlink(missing_ok=True)
    os.sync()
    unproved = new_process("back", root, blob)
    again, copied = [], []
    for _ in range(3):
        again.append(new_process("back", root, blob))
        copied.append(plain(path))
    whole = Hasher()
    with Path("copy.bin").open("rb") as file:
        while part := file.read(layout.MIB):
            whole.update(part)
    assert whole.id() == blob
    found = {
        "unproved_gb_per_s": SIZE / unproved["s"] / 1e9,
        "proved_gb_per_s": SIZE / statistics.median(one["s"] for one in again) / 1e9,
        "plain_copy_gb_per_s": SIZE / statistics.median(copied) / 1e9,
        "peak_mib": max(one["mib"] for one in (unproved, *again)),
    }
    found |= new_process("ranges", root, sparse(store))
    for made in (path, Path("copy.bin"), Path("plain.bin")):
        made.unlink()
    shutil.rmtree(root)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
