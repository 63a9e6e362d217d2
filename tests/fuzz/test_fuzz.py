"""Every parser takes any bytes: it returns or refuses, in a second and 64 MiB, and raises only what it declares."""

from __future__ import annotations

import struct

import orjson
import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzz import limits
from tests.fuzz.limits import TooCostly, watched
from tests.fuzz.mutations import hostile
from tests.fuzz.targets import TARGETS
from tracker.records import Segment, State


def foreign(**parts: object) -> bytes:
    """The record of a task whose one segment no version of this program has made."""
    segment = {**Segment("w", 1, 2, 1).record(), **parts}
    return orjson.dumps({"v": 1, "kind": "task", "keys": {}, "segments": [segment]})


# Inputs that once were answered by an error that nobody had declared, by what was raised.
FOUND = [
    ("console", b"\0"),  # JSONDecodeError
    ("console", b"[1]\n"),  # ValueError
    ("journal of events", struct.pack("<I", 4) + b"\x02abc"),  # struct.error: a scalar that is too short
    ("state", foreign(console="0")),  # TypeError, where the history of a task is shown
    ("state", foreign(scalars=[{}])),  # KeyError, from the SDK's getters
]


def test_foreign_records_come_as_far_as_those_who_show_them() -> None:
    """Else the inputs below would be refused at the door, and show nothing."""
    assert list(map(str, State.decode(foreign(console="0")).segments[0].console)) == ["0"]


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
