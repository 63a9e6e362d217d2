"""What jsonargparse has parsed, and as a replayed run gets it back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonargparse import ArgumentParser

from tracker.capture import jsonargparse_
from tracker.capture.jsonargparse_ import JsonargparseCapture

if TYPE_CHECKING:
    from tests.tracker.capture.conftest import Memory

Replay = Callable[[dict[str, str]], "Memory"]


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was parsed before a test."""
    monkeypatch.setattr(jsonargparse_, "_known", {})


@pytest.fixture
def parser() -> Iterator[ArgumentParser]:
    """An option of each kind, and a positional argument."""
    parser = ArgumentParser()
    parser.add_argument("data", type=int)
    parser.add_argument("--model.lr", type=float, default=0.1, help="learning rate")
    parser.add_argument("--layers", type=list[int], default=[8])
    parser.add_argument("--config", action="config")
    before = ArgumentParser.parse_args
    yield parser
    assert ArgumentParser.parse_args is before


def parsed(recorder: Memory, parser: ArgumentParser, *typed: str, **wanted: bool) -> Any:
    """What a parser returns while the capture is in."""
    undo = JsonargparseCapture(wanted).install(recorder)
    try:
        return parser.parse_args(list(typed))
    finally:
        undo()


def test_values_have_dotted_names(recorder: Memory, parser: ArgumentParser, tmp_path: Path) -> None:
    """Those of a file among them, the file itself not; with type and help."""
    (tmp_path / "c.yaml").write_text("model:\n  lr: 0.5\n")
    parsed(recorder, parser, "7", "--config", str(tmp_path / "c.yaml"))
    assert recorder.values() == {"data": "7", "model.lr": "0.5", "layers": "[8]"}
    assert recorder.args()["model.lr"] == {"value": "0.5", "type": "float", "description": "learning rate"}


def test_stored_values_come_back_and_what_is_typed_wins(replaying: Replay, parser: ArgumentParser) -> None:
    """A positional argument where nothing is typed."""
    stored = {"data": "3", "model.lr": "0.25", "layers": "[4, 5]", "gone": "x"}
    found = parsed(replaying(stored), parser)
    assert (found.data, found.model.lr, found.layers) == (3, 0.25, [4, 5])
    found = parsed(replaying(stored), parser, "9", "--model.lr", "1")
    assert (found.data, found.model.lr, found.layers) == (9, 1.0, [4, 5])


def test_parameters_are_chosen_by_name(recorder: Memory, parser: ArgumentParser) -> None:
    """What is not named as "*" says."""
    parsed(recorder, parser, "7", **{"model.lr": True, "*": False})
    assert list(recorder.values()) == ["model.lr"]


def test_what_was_parsed_before_is_recorded(recorder: Memory, parser: ArgumentParser) -> None:
    """By the tap that `import tracker` sets; here one of the test's own."""
    undo = jsonargparse_.watch(dict)
    parser.parse_args(["7"])
    undo()
    JsonargparseCapture().install(recorder)()
    assert recorder.values()["data"] == "7"
