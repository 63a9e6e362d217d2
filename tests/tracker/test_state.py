"""Fold and merge: a join whatever the order, and nothing of a writer's events left out or counted twice."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore.journal import Record
from tracker import events
from tracker.errors import CorruptRecord
from tracker.events import Blob, Declare, End, Event, Plot, Scalar, SetKey, Text
from tracker.records import Entry, Segment, State
from tracker.state import Fold, attempt, join_segments, merge

# Few values, so that equal keys, stamps, writers and ranges meet all the time.
stamps = st.integers(0, 3)
writers = st.sampled_from(["a", "b", "a.r"])
scalars = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["x", "1", "in_progress"])
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("pq"), inner)
)
entries = st.builds(Entry, values, stamps, writers)
keys = st.dictionaries(st.sampled_from(["name", "status", "tag/x", "of a later version"]), entries)
extras = st.dictionaries(st.sampled_from(["future", "later"]), values, max_size=2)


@st.composite
def segments(draw: st.DrawFn) -> Segment:
    """A writer's reports up to some event, cut into objects in one way or another."""
    last = draw(st.integers(1, 6))
    told = draw(st.integers(0, 1))
    chunk = ({"$ref": f"blob:{told:064x}:{last}"},)
    return Segment(draw(writers), draw(st.integers(1, 2)), last, last, chunk, (), (), draw(extras))


states = st.builds(
    lambda keys, segments, extra: merge([State("task", keys, (), extra), State("task", {}, tuple(segments))]),
    keys,
    st.lists(segments(), max_size=5),
    extras,
)


@given(states, states)
def test_merge_is_commutative(a: State, b: State) -> None:
    """Two readers that list heads in different orders see one state, to the byte."""
    assert merge([a, b]).encode() == merge([b, a]).encode()


@given(states, states, states)
def test_merge_is_associative(a: State, b: State, c: State) -> None:
    """It does not matter who folded which heads before."""
    assert merge([merge([a, b]), c]).encode() == merge([a, merge([b, c])]).encode()


@given(states)
def test_merge_is_idempotent(a: State) -> None:
    """A head that comes twice, from two remotes, counts once."""
    assert merge([a, a]).encode() == merge([a]).encode() == a.encode()


@given(st.lists(states, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_what_was_merged_before_adds_nothing(parts: list[State], random: Any) -> None:
    """An old head that a copy brings back changes nothing."""
    whole = merge(parts)
    assert merge([whole, random.choice(parts)]).encode() == whole.encode()


@given(states, states)
def test_per_key_the_later_stamp_wins(a: State, b: State) -> None:
    """Then the greater writer; a removal is a value as any other."""
    joined = merge([a, b])
    assert joined.keys.keys() == a.keys.keys() | b.keys.keys()
    for key, entry in joined.keys.items():
        given_ = [state.keys[key] for state in (a, b) if key in state.keys]
        assert entry in given_
        assert (entry.stamp, entry.writer) == max((e.stamp, e.writer) for e in given_)


@given(states, states)
def test_no_event_is_lost_in_a_merge(a: State, b: State) -> None:
    """Each number of each writer that some segment held, one still holds, and only one."""
    joined = merge([a, b])
    assert len({segment.writer for segment in joined.segments}) == len(joined.segments)
    assert _numbers(joined.segments) == _numbers((*a.segments, *b.segments))


def _numbers(segments: Iterable[Segment]) -> set[tuple[str, int]]:
    return {(s.writer, n) for s in segments for n in range(1, s.last + 1)}


def test_segment_sealed_twice_counts_once() -> None:
    """A writer taken for dead at event 3 that lived on to 7: the longer segment replaces the shorter."""
    short, long, other = Segment("w", 1, 3), Segment("w", 1, 7), Segment("v", 1, 3)
    assert join_segments([short, long, other, long]) == (other, long)
    assert join_segments([long, short]) == (long,)


def test_removal_beats_an_older_value_and_loses_to_a_newer() -> None:
    """None is how a key is removed; the entry stays, so that an old value cannot come back."""
    old, removed, new = (
        State("task", {"tag/x": Entry(v, s, "w")}) for v, s in ((True, 1), (None, 2), (True, 3))
    )
    assert merge([removed, old]).section("tag") == {}
    assert "tag/x" in merge([removed, old]).keys
    assert merge([removed, old, new]).section("tag") == {"x": True}


def test_writer_that_lives_after_all_overrules_its_recovery() -> None:
    """`.r` speaks just after the last event that was found, and so before anything that the writer says later."""
    said = State("task", {"status": Entry("in_progress", 100, "w")})
    recovered = State("task", {"status": Entry("stopped", 101, "w.r")})
    closed = State("task", {"status": Entry("completed", 102, "w")})
    for order in itertools.permutations([said, recovered, closed]):
        assert merge(order).get("status") == "completed"
    assert merge([recovered, said]).get("status") == "stopped"


def test_fields_of_a_later_version_are_kept_from_either_side() -> None:
    """And where both have one, the same of the two whoever merges."""
    a, b = State("task", extra={"x": 1, "both": 1}), State("task", extra={"y": 2, "both": 2})
    for order in ([a, b], [b, a]):
        assert merge(order).extra == {"x": 1, "y": 2, "both": 2}


def test_an_attempt_is_one_more_than_all_that_began() -> None:
    """Whatever else a later version puts there; and only a reset hides what is known."""
    begun = {f"attempt/{n}": Entry({"reason": "init"}, 1, "w") for n in (1, 3, "x", "²")}
    state = State("task", begun, (Segment("w", 3, 5), Segment("v", 1, 2)))
    assert attempt(state, "resume") == {"attempt/4": {"reason": "resume"}}
    assert attempt(state, "reset", hide=True) == {
        "attempt/4": {"reason": "reset"},
        "hidden/w": 4,
        "hidden/v": 4,
    }
    assert attempt(State("task"), "init") == {"attempt/1": {"reason": "init"}}


def test_different_kinds_are_not_merged() -> None:
    """A task and a model under one key is damage, and said so."""
    with pytest.raises(CorruptRecord, match="a task and a model cannot be merged"):
        merge([State("task"), State("model")])
    with pytest.raises(TypeError):
        merge([])


# Folding


def records(*given: Event, first: int = 1) -> list[Record]:
    """Events as the journal gives them."""
    return [Record(n, *_kind_and_payload(event)) for n, event in enumerate(given, first)]


def _kind_and_payload(event: Event) -> tuple[int, int, bytes]:
    kind, payload = events.encode(event)
    return kind, 1, payload


def test_fold_adds_up_what_a_writer_wrote() -> None:
    """Keys by thing, scalars raw and in order, the rest as events; and whether the writer has closed."""
    point = Scalar(1, 5, 1000, 0.5)
    fold = Fold("w").add_all(
        records(
            SetKey("name", "run", 10),
            Declare(1, "loss", "train"),
            point,
            SetKey("name", "weights", 12, "ab" * 16),
            Text("stdout", 13, "hello"),
            Plot("p", "q", 3, 14, {"data": []}),
            Blob("cd" * 32, b"bytes"),
        )
    )
    assert (fold.first, fold.last, fold.attempt, fold.ended, fold.unread) == (1, 7, 1, False, 0)
    assert fold.keys == {
        None: {"name": Entry("run", 10, "w")},
        "ab" * 16: {"name": Entry("weights", 12, "w")},
    }
    assert fold.series == {1: ("loss", "train")}
    assert fold.scalars == [events.encode(point)[1]]
    assert [text.message for text in fold.texts] == ["hello"]
    assert [plot.iteration for plot in fold.plots] == [3]
    assert fold.blobs == {"cd" * 32: b"bytes"}
    assert fold.add_all(records(End(), first=8)).ended


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 9), st.integers(0, 4)), max_size=8),
    st.integers(0, 8),
)
def test_fold_in_two_parts_is_the_fold_of_the_whole(sets: list[tuple[str, int, int]], cut: int) -> None:
    """Sealing a run half-way and again at its end gives what sealing it once gives."""
    stream = records(*(SetKey(key, value, stamp) for key, value, stamp in sets))
    whole = Fold("w").add_all(stream)
    parts = Fold("w").add_all(stream[:cut]).add_all(stream[cut:])
    assert (whole.keys, whole.first, whole.last) == (parts.keys, parts.first, parts.last)
    split = [State("task", Fold("w").add_all(p).keys.get(None, {})) for p in (stream[:cut], stream[cut:])]
    assert merge(split).keys == whole.keys.get(None, {})


@given(st.permutations([SetKey("k", value, stamp) for stamp, value in enumerate("abc")]))
def test_greatest_stamp_wins_within_a_writer_too(sets: list[SetKey]) -> None:
    """Threads may write in another order than they took their stamps."""
    assert Fold("w").add_all(records(*sets)).keys[None]["k"].value == "c"


def test_records_of_a_later_version_are_counted_and_passed_over() -> None:
    """An unknown kind, and a document of an unknown type: what is known is folded all the same."""
    later = [Record(1, 9, 1, b"?"), Record(2, events.DOCUMENT, 1, b'{"type":"hologram"}')]
    fold = Fold("w").add_all([*later, *records(SetKey("name", "run", 1), first=3)])
    assert (fold.unread, fold.last) == (2, 3)
    assert fold.keys[None]["name"].value == "run"


def test_fold_stops_before_an_event_that_cannot_be_read() -> None:
    """What came before it stays folded, and `last` says how far that is."""
    fold = Fold("w")
    with pytest.raises(CorruptRecord):
        fold.add_all(
            [
                *records(SetKey("name", "run", 1)),
                Record(2, events.DOCUMENT, 1, b"{"),
                *records(End(), first=3),
            ]
        )
    assert (fold.last, fold.ended) == (1, False)


def test_time_is_that_of_the_last_report() -> None:
    """Of keys, console, plots and scalars: that is when the writer was last heard of."""
    assert Fold("w").time == 0
    for event in (SetKey("k", 1, 70), Text("log", 70, ""), Plot("t", "s", 0, 70, {}), Scalar(1, 0, 70, 0.0)):
        assert Fold("w").add_all(records(SetKey("a", 1, 5), event)).time == 70
