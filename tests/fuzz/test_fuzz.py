"""Every parser takes any bytes: it returns or refuses, in a second and 64 MiB, and raises only what it declares."""

from __future__ import annotations

import struct

import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzz import limits
from tests.fuzz.limits import TooCostly, watched
from tests.fuzz.mutations import hostile
from tests.fuzz.targets import TARGETS

# Inputs that once were answered by an error that nobody had declared, by what was raised.
FOUND = [
    ("console", b"\0"),  # JSONDecodeError
    ("console", b"[1]\n"),  # ValueError
    ("journal of events", struct.pack("<I", 4) + b"\x02abc"),  # struct.error: a scalar that is too short
    (
        "state",  # TypeError, where the history of a task is shown
        (
            b'{"keys":{},"kind":"task","segments":[{"attempt":1,"console":"0","first":1,"last":2,"plots":[],'
            b'"scalars":[],"writer":"w"}],"v":1}'
        ),
    ),
    (
        "state",  # KeyError, from the SDK's getters
        (
            b'{"keys":{},"kind":"task","segments":[{"attempt":1,"console":[],"first":1,"last":2,"plots":[],'
            b'"scalars":[{}],"writer":"w"}],"v":1}'
        ),
    ),
]


@pytest.mark.parametrize(("name", "data"), FOUND)
def test_what_was_found_stays_mended(name: str, data: bytes) -> None:
    """By luck no second time."""
    watched(TARGETS[name].run, data)


@pytest.mark.parametrize("name", TARGETS)
def test_valid_input_is_read_within_the_limits(name: str) -> None:
    """The seeds, from which all else is made, are no errors' matter; nor is nothing at all."""
    for seed in (*TARGETS[name].seeds(), b""):
        watched(TARGETS[name].run, seed)


@pytest.mark.parametrize("name", TARGETS)
def test_hostile_input_is_read_or_refused(name: str) -> None:
    """Noise, and valid input that was changed."""
    found = TARGETS[name]

    @settings(
        max_examples=found.examples,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        database=None,
    )
    @given(hostile(found.seeds()))
    def tried(data: bytes) -> None:
        watched(found.run, data)

    tried()


def test_what_costs_too_much_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The watch itself: a hundred MiB, and a loop that takes longer than it may."""
    with pytest.raises(TooCostly, match=r"0 bytes took .* 1\d\d MiB"):
        watched(lambda data: [bytearray(100 << 20)].clear(), b"")
    monkeypatch.setattr(limits, "SECONDS_MAX", 0.01)
    with pytest.raises(TooCostly, match="0 bytes took"):
        watched(lambda data: [None for _ in range(2_000_000)].clear(), b"")
