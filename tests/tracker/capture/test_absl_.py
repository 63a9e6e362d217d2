"""Flags of absl as they were parsed, and as a replayed run gets them back."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
from absl import flags

from tracker.capture.absl_ import SECTION, AbslCapture

if TYPE_CHECKING:
    from tests.tracker.capture.conftest import Memory


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> flags.FlagValues:
    """Flags of the test's own, in the place of the global ones."""
    values = flags.FlagValues()  # type: ignore[no-untyped-call] # absl has it so
    flags.DEFINE_string("text", None, "a text", flag_values=values)
    flags.DEFINE_integer("number", 3, "a number", flag_values=values, lower_bound=0)
    flags.DEFINE_multi_integer("several", [1], "numbers", flag_values=values)
    flags.DEFINE_enum("one_of", "a", ["a", "b"], "a choice", flag_values=values)
    monkeypatch.setattr(flags, "FLAGS", values)
    return values


def stored(recorder: Memory, **values: str) -> Memory:
    """A recorder that replays them."""
    recorder.stored, recorder.section = values, SECTION
    return recorder


def values_of(recorder: Memory) -> dict[str, Any]:
    """What was recorded, by name."""
    found: dict[str, Any] = {}
    for key, record in recorder.state.items():
        assert isinstance(record, dict)
        found[key.removeprefix(f"param/{SECTION}/")] = record["value"]
    return found


def test_flags_that_were_parsed_before_are_recorded(recorder: Memory, parsed: flags.FlagValues) -> None:
    """And those of each parse from then on."""
    parsed(["x", "--number", "5", "--several", "1", "--several", "2"])
    undo = AbslCapture().install(recorder)
    assert values_of(recorder) == {"text": "", "number": "5", "several": "[1, 2]", "one_of": "a"}
    assert recorder.state[f"param/{SECTION}/number"] == {
        "value": "5",
        "type": "int",
        "description": "a number",
    }
    parsed(["x", "--text", "new"])
    undo()
    assert values_of(recorder)["text"] == "new"
    parsed(["x", "--text", "after"])
    assert values_of(recorder)["text"] == "new"


def test_stored_values_come_back_with_their_types(recorder: Memory, parsed: flags.FlagValues) -> None:
    """Where the command line does not say otherwise."""
    again = stored(recorder, text="t", number="7", several="[4, 5]", one_of="b", gone="x")
    undo = AbslCapture().install(again)
    parsed(["x", "--one_of", "a"])
    undo()
    found = (parsed.text, parsed.number, parsed.several, parsed.one_of)
    assert found == ("t", 7, [4, 5], "a")
    assert values_of(again)["number"] == "7"


def test_a_stored_value_that_is_refused_is_passed_over(
    recorder: Memory, parsed: flags.FlagValues, caplog: pytest.LogCaptureFixture
) -> None:
    """With a warning that names it; the others count."""
    undo = AbslCapture().install(stored(recorder, number="-1", one_of="b", text=""))
    with caplog.at_level(logging.WARNING, "tracker"):
        parsed(["x"])
    undo()
    assert (parsed.number, parsed.one_of, parsed.text) == (3, "b", None)
    (warning,) = [each.message for each in caplog.records]
    assert "'-1' of flag number is not used" in warning


def test_other_flag_values_are_left_alone(recorder: Memory, parsed: flags.FlagValues) -> None:
    """A library's own, say."""
    other = flags.FlagValues()  # type: ignore[no-untyped-call] # absl has it so
    flags.DEFINE_string("theirs", "x", "", flag_values=other)
    undo = AbslCapture().install(stored(recorder, theirs="y"))
    other(["x"])
    undo()
    assert (other.theirs, recorder.state) == ("x", {})
