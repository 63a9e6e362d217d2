"""Which points count where a task was started more than once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from tracker import attempts, scalars
from tracker.index import last_iteration, summaries
from tracker.records import Entry, Ref, Segment, State
from tracker.scalars import Series

Steps = Mapping[str, list[int]]


class Made:
    """A state of several attempts, and the content of its series."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}
        self.segments: list[Segment] = []
        self.keys: dict[str, Entry] = {}

    def attempt(self, number: int, began: int, **more: Any) -> None:
        """Say that an attempt begins."""
        self.keys[f"attempt/{number}"] = Entry({"reason": "resume", **more}, began, "w")

    def writer(self, name: str, attempt: int, heard: int, steps: Steps) -> Segment:
        """A writer that has reported its number as the value of each step."""
        made = [
            Series(
                "t",
                series,
                np.array(at, "<i8"),
                np.arange(len(at), dtype="<i8"),
                np.full(len(at), len(self.segments), "<f8"),
            )
            for series, at in steps.items()
        ]
        data = scalars.encode(made)
        ref = str(Ref("blob", f"{len(self.content):064x}", len(data)))
        self.content[ref] = data
        chunk = {"$ref": ref, "series": [[s.title, s.series, dict(scalars.summarise(s))] for s in made]}
        self.segments.append(Segment(name, attempt, 1, heard, (chunk,)))
        return self.segments[-1]

    @property
    def state(self) -> State:
        """All of it."""
        return State("task", self.keys, tuple(self.segments))

    def shown(self) -> dict[str, list[tuple[int, float]]]:
        """Step and value of what counts, by series."""
        found: dict[str, list[tuple[int, float]]] = {}
        cuts = attempts.Cuts(self.state)
        for segment in self.segments:
            for chunk in segment.scalars:
                pieces = iter(scalars.decode(self.content[chunk["$ref"]]))
                for piece in attempts.visible(segment, cuts, pieces):
                    points = zip(piece.steps.tolist(), piece.values.tolist(), strict=True)
                    found.setdefault(piece.series, []).extend(points)
        return found

    def read(self, ref: Ref) -> bytes:
        """Content."""
        return self.content[str(ref)]


@pytest.fixture
def made() -> Made:
    """Two attempts: the second began at time 100."""
    made = Made()
    made.attempt(1, 1)
    made.attempt(2, 100)
    return made


def test_what_a_resumed_run_repeats_counts_once(made: Made) -> None:
    """Crashed at 212, resumed at 201: each step once, from whom reported it last; what came before stays."""
    made.writer("a", 1, 50, {"loss": list(range(213))})
    made.writer("b", 2, 150, {"loss": list(range(201, 230))})
    expected = [*((n, 0.0) for n in range(201)), *((n, 1.0) for n in range(201, 230))]
    assert made.shown() == {"loss": expected}


def test_series_that_is_not_repeated_stays(made: Made) -> None:
    """Of a series that the later attempt has not reported nothing says that it is superseded."""
    made.writer("a", 1, 50, {"loss": [1, 2, 3], "val": [1, 3]})
    made.writer("b", 2, 150, {"loss": [2]})
    assert made.shown()["val"] == [(1, 0.0), (3, 0.0)]


def test_step_that_was_named_holds_for_all_series() -> None:
    """`continue_last_task=2`, before anything was reported."""
    made = Made()
    made.attempt(1, 1)
    made.attempt(2, 100, **{"from": 2})
    made.writer("a", 1, 50, {"loss": [1, 2, 3], "val": [3]})
    assert made.shown() == {"loss": [(1, 0.0)]}


def test_rank_that_came_before_the_first_one_had_begun_is_of_its_attempt(made: Made) -> None:
    """It took itself for one of the attempt before; what it reports is not hidden, and hides nothing."""
    made.writer("a", 1, 50, {"loss": [0, 1, 2, 3]})
    made.writer("early rank", 1, 160, {"loss": [0, 2, 3]})
    made.writer("b", 2, 150, {"loss": [2]})
    assert made.shown() == {"loss": [(0, 0.0), (1, 0.0), (0, 1.0), (2, 1.0), (3, 1.0), (2, 2.0)]}


def test_summary_of_a_piece_that_is_hidden_in_part(made: Made) -> None:
    """Exact where the points may be read; else the last iteration is right, at least."""
    made.writer("a", 1, 50, {"loss": [1, 2, 3, 9]})
    made.writer("b", 2, 150, {"loss": [3]})
    exact = summaries(made.state, made.read)["t", "loss"]
    assert (exact["count"], exact["max_step"], exact["max"]) == (3, 3, 1.0)
    assert last_iteration(made.state) == 3
    made.writer("c", 1, 50, {"loss": [7, 8]})
    assert summaries(made.state, made.read)["t", "loss"] == exact


def test_single_attempt_costs_nothing(made: Made) -> None:
    """As almost all tasks have: a step that goes back hides nothing."""
    del made.keys["attempt/2"]
    segment = made.writer("a", 1, 50, {"loss": [5, 1, 0]})
    assert attempts.Cuts(made.state).of(segment, ("t", "loss")) is None
    assert made.shown() == {"loss": [(5, 0.0), (1, 0.0), (0, 0.0)]}


def test_process_that_joined_takes_nobodys_place(made: Made) -> None:
    """Many processes under one id, of which none knows that it is a rank: all that they report counts."""
    made.keys["attempt/2"] = Entry({"reason": "join"}, 100, "w")
    made.writer("a", 1, 50, {"loss": [0, 8, 16]})
    made.writer("b", 2, 150, {"loss": [1, 9, 17]})
    assert [step for step, _ in made.shown()["loss"]] == [0, 8, 16, 1, 9, 17]
