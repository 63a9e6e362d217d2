"""The seed of a run: 1337 unless asked otherwise, for what is imported by then."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tracker import Task
from tracker.errors import BadValue
from tracker.sdk import seed

Start = Callable[..., Task]


@pytest.fixture(autouse=True)
def default_seed() -> Iterator[None]:
    """Each test begins and ends with the default."""
    seed.choose(True)
    yield
    seed.choose(True)


def drawn() -> tuple[float, float]:
    """What random and numpy give next."""
    return random.random(), float(np.random.random())


def test_runs_draw_the_same_numbers(start: Start) -> None:
    """By default, and by a seed of their own; a second Task.init that returns the main task seeds nothing."""
    assert Task.get_random_seed() == 1337
    start()
    first = drawn()
    Task.init()
    assert drawn() != first
    Task.current_task().close()  # type: ignore[union-attr]
    start(name="second")
    assert drawn() == first
    random.seed(1337)
    np.random.seed(1337)
    assert drawn() == first


@pytest.mark.parametrize("chosen", [7, -1, 1 << 40])
def test_seed_is_chosen_before(start: Start, chosen: int) -> None:
    """Any whole number: numpy takes 32 bits of it."""
    Task.set_random_seed(chosen)
    assert Task.get_random_seed() == chosen
    start()
    expected = drawn()
    random.seed(chosen & 0xFFFFFFFF)
    np.random.seed(chosen & 0xFFFFFFFF)
    assert drawn() == expected


@pytest.mark.parametrize("off", [None, False])
def test_none_leaves_all_alone(start: Start, off: Any) -> None:
    """Nothing is seeded."""
    Task.set_random_seed(off)
    assert Task.get_random_seed() is None
    random.seed(5)
    expected = random.random()
    random.seed(5)
    start()
    assert random.random() == expected


def test_frameworks_are_seeded_where_they_are_imported(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is broken costs nothing."""
    given: list[tuple[str, int]] = []

    def broken(_: int) -> None:
        raise RuntimeError("half imported")

    torch = ModuleType("torch")
    vars(torch).update(
        manual_seed=lambda n: given.append(("torch", n)), cuda=SimpleNamespace(manual_seed_all=broken)
    )
    tensorflow = ModuleType("tensorflow")
    vars(tensorflow).update(random=SimpleNamespace(set_seed=lambda n: given.append(("tensorflow", n))))
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "tensorflow", tensorflow)
    start()
    assert given == [("torch", 1337), ("tensorflow", 1337)]


def test_wrong_seed_is_refused() -> None:
    """And what was chosen stays."""
    with pytest.raises(BadValue, match="a whole number"):
        Task.set_random_seed("7")  # type: ignore[arg-type]
    assert Task.get_random_seed() == 1337
