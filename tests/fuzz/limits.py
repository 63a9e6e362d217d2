"""What one input may cost a parser, and the measure of it."""

from __future__ import annotations

import time
import tracemalloc
from typing import Final

from tests.fuzz.registry import Run

MEMORY_MAX: Final = 64 << 20  # bytes beyond the input, as Python, numpy and orjson ask for them
SECONDS_MAX: Final = 1.0  # of this thread's own time, which a busy machine does not stretch


class TooCostly(Exception):
    """A parser took more for one input than any may."""


def watched(run: Run, data: bytes) -> None:
    """Run a target on one input. Raises TooCostly, and whatever the target lets pass.

    Time is measured without the tracing of memory, which makes Python several times as slow.
    """
    if (seconds := _seconds(run, data)) > SECONDS_MAX:
        seconds = _seconds(run, data)  # the first time may have had modules to import
    tracemalloc.start()
    try:
        run(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    if seconds > SECONDS_MAX or peak > MEMORY_MAX:
        raise TooCostly(f"{len(data)} bytes took {seconds:.1f} s and {peak / 2**20:.0f} MiB")


def _seconds(run: Run, data: bytes) -> float:
    started = time.thread_time()
    run(data)
    return time.thread_time() - started
