"""The targets by name. A target takes any bytes, and lets only errors pass that its parser declares.

A new format is added by one decorated function, in `stores`, in `experiments`, or in a file of its own that `targets`
imports:

    @target("bundle", seeds=lambda: [a_valid_bundle()])
    def bundle(data: bytes) -> None:
        with declared():
            read_bundle(data)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from objstore.errors import StoreError
from tracker.errors import TrackerError

GOLDEN = Path(__file__).parents[1] / "golden"
Run = Callable[[bytes], None]
Seeds = Callable[[], list[bytes]]


@dataclass(frozen=True, slots=True)
class Target:
    """One parser. seeds: valid inputs, from which others are made; examples: how many `make test` tries."""

    name: str
    run: Run
    seeds: Seeds
    examples: int


TARGETS: dict[str, Target] = {}


def target(name: str, seeds: Seeds, *, examples: int = 100) -> Callable[[Run], Run]:
    """Register a function under a name."""

    def register(run: Run) -> Run:
        assert name not in TARGETS, f"two targets are named {name}"
        TARGETS[name] = Target(name, run, seeds, examples)
        return run

    return register


@contextmanager
def declared() -> Iterator[None]:
    """Lets a parser refuse its input: by an error of the store's or the tracker's tree, and no other."""
    try:
        yield
    except (StoreError, TrackerError):
        return


def golden(*names: str) -> list[bytes]:
    """Files of tests/golden/."""
    return [(GOLDEN / name).read_bytes() for name in names]
