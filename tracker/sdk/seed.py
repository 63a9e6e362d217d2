"""The seed that Task.init gives to the random generators that are imported by then. It imports none of them."""

from __future__ import annotations

import sys
from typing import Final

from tracker.errors import BadValue

DEFAULT: Final = 1337
_MASK: Final = 0xFFFFFFFF  # what numpy and tensorflow take
_seed: int | None = DEFAULT


def choose(seed: object) -> None:
    """The seed from the next Task.init on; None and False: none; True: the default. Raises BadValue."""
    global _seed
    if seed is True:
        _seed = DEFAULT
    elif seed is None or seed is False:
        _seed = None
    elif isinstance(seed, int):
        _seed = seed
    else:
        raise BadValue(f"a random seed is a whole number, None for none, or True for {DEFAULT}; not {seed!r}")


def chosen() -> int | None:
    """The seed, None where none is set."""
    return _seed


def sow() -> None:
    """Seed random, numpy, torch and tensorflow, those of them that are imported. Never raises."""
    if _seed is None:
        return
    seed = _seed & _MASK
    for module, path in (
        ("random", ("seed",)),
        ("numpy", ("random", "seed")),
        ("torch", ("manual_seed",)),
        ("torch", ("cuda", "manual_seed_all")),
        ("tensorflow", ("random", "set_seed")),
    ):
        found: object = sys.modules.get(module)
        for name in path:
            found = getattr(found, name, None)
        if callable(found):
            try:
                found(seed)
            except Exception:  # noqa: BLE001 - a half-imported or broken library is not ours to report
                continue
