"""What a journal adds is cut into objects of bounded size: a reader of any of them knows what it will cost."""

from __future__ import annotations

import pytest

from tracker import deltas, events, scalars
from tracker.events import Declare, Scalar
from tracker.records import State
from tracker.state import Fold


class Record:
    """A record as the journal gives it."""

    attempt = 1

    def __init__(self, number: int, event: events.Event) -> None:
        self.number = number
        self.kind, self.payload = events.encode(event)


def stored(found: list[events.Event]) -> tuple[State, dict[str, bytes]]:
    """The state that events add up to, and the content it refers to."""
    content: dict[str, bytes] = {}

    def put(data: bytes) -> str:
        content[ref := f"blob:{len(content):064x}:{len(data)}"] = data
        return ref

    folded = Fold("w").add_all(Record(number, event) for number, event in enumerate(found, 1))
    return deltas.deltas(folded, put)[None].state, content


@pytest.mark.parametrize("points", [1, 99, 100, 101, 250])
def test_a_long_series_is_several_objects(points: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every point once and in order, whatever part it lies in; the parts' summaries are of those parts."""
    monkeypatch.setattr(deltas, "_POINTS_MAX", 100)
    made: list[events.Event] = [Declare(1, "loss", "train")]
    made += [Scalar(1, n, n, float(n)) for n in range(points)]
    state, content = stored(made)
    chunks = state.segments[0].scalars
    pieces = [piece for chunk in chunks for piece in scalars.decode(content[chunk["$ref"]])]
    assert [step for piece in pieces for step in piece.steps] == list(range(points))
    assert all(len(piece.steps) <= 100 for piece in pieces)
    assert sum(summary["count"] for chunk in chunks for _, _, summary in chunk["series"]) == points


@pytest.mark.parametrize(("limit", "value"), [("_SERIES_CHUNK", 3), ("_NAMES_CHUNK", 40)])
def test_many_series_are_several_objects(limit: str, value: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """By their number, and by the length of their names: the header of each stays below what a reader accepts."""
    monkeypatch.setattr(deltas, limit, value)
    made: list[events.Event] = []
    for number in range(10):
        made += [Declare(number, f"title {number}", "series"), Scalar(number, 1, 1, float(number))]
    state, content = stored(made)
    chunks = state.segments[0].scalars
    assert [len(chunk["series"]) for chunk in chunks] in ([3, 3, 3, 1], [2] * 5)
    values = [float(piece.values[0]) for c in chunks for piece in scalars.decode(content[c["$ref"]])]
    assert values == [float(number) for number in range(10)]


def test_the_most_series_that_are_written_together_are_read() -> None:
    """As many as share an object, each in a group of its own, whose header is the longest."""
    made: list[events.Event] = []
    for number in range(2500):
        made.append(Declare(number, "a title of some length", f"series {number}"))
        made += [Scalar(number, n, n, 0.5) for n in range(128)]
    state, content = stored(made)
    found = [piece for c in state.segments[0].scalars for piece in scalars.decode(content[c["$ref"]])]
    assert len({piece.series for piece in found}) == 2500
