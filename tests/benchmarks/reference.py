"""The yardstick for byte workloads: BLAKE3 + zstd-1 + write of 4 MiB blocks, a thread a core, one fsync at the end."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import zstandard
from blake3 import blake3

BLOCK = 4 << 20


def encode(block: bytes) -> bytes:
    """Hash and compress one block."""
    blake3(block).digest()
    return zstandard.ZstdCompressor(level=1).compress(block)


def store(path: Path, target: Path) -> int:
    """Write a file's blocks, compressed, to `target`; returns the bytes written."""
    threads = os.cpu_count() or 1
    written = 0
    with (
        path.open("rb", buffering=0) as source,
        target.open("wb") as out,
        ThreadPoolExecutor(threads) as pool,
    ):
        waiting = []
        while block := source.read(BLOCK):
            waiting.append(pool.submit(encode, block))
            if len(waiting) > 2 * threads:
                written += out.write(waiting.pop(0).result())
        for future in waiting:
            written += out.write(future.result())
        out.flush()
        os.fsync(out.fileno())
    return written
