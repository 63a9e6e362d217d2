"""The `auto_connect_*` arguments of Task.init in all their shapes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.scripts import Scripts
from tracker.errors import BadValue
from tracker.sdk.switches import FRAMEWORKS, captures

SOURCE = """
import argparse, sys
from tracker import Task
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1)
parser.add_argument("--counter", type=int, default=0)
parser.parse_args()
task = Task.init("switches", "run", auto_connect_frameworks={{"detect_repository": False}}, {options})
print("to stdout")
print("to stderr", file=sys.stderr)
"""


def recorded(folder: Path, options: str) -> tuple[list[str], list[str]]:
    """Names of arguments and lines of the console that a run with these switches has left."""
    scripts = Scripts(folder)
    scripts.run(SOURCE.format(options=options))
    names, lines = scripts.ask(
        "t, = Task.get_tasks(); answer = [sorted(t.get_parameters()), t.get_reported_console_output(9)]"
    )
    return [name.removeprefix("Args/") for name in names], [line for line in lines if line.startswith("to ")]


@pytest.mark.parametrize(
    ("switch", "expected"),
    [
        ("True", ["counter", "lr"]),
        ("False", []),
        ("{}", []),
        ("{'counter': False}", ["lr"]),
        ("{'lr': True, '*': False}", ["lr"]),
    ],
)
def test_arguments_are_chosen(tmp_path: Path, switch: str, expected: list[str]) -> None:
    """What is not named is recorded, unless "*" says otherwise; an empty dict is none."""
    assert recorded(tmp_path, f"auto_connect_arg_parser={switch}")[0] == expected


@pytest.mark.parametrize(
    ("switch", "expected"),
    [
        ("True", ["to stdout", "to stderr"]),
        ("False", []),
        ("{}", []),
        ("{'stdout': True}", ["to stdout"]),
        ("{'stderr': True, 'logging': True}", ["to stderr"]),
    ],
)
def test_streams_are_chosen(tmp_path: Path, switch: str, expected: list[str]) -> None:
    """What is not named is left out."""
    assert recorded(tmp_path, f"auto_connect_streams={switch}")[1] == expected


def test_frameworks_may_be_named_that_nobody_knows() -> None:
    """A script may name what a later version hooks; a pattern of files is fine, too."""
    named = {"pytorch": "*.pt", "tensorboard": {"report_hparams": False}, "from the future": True}
    chosen = [each if isinstance(each, str) else each.name for each in captures(False, named, False)]
    assert chosen == captures(False, True, False)
    assert chosen[:2] == ["git", "packages"]
    assert "git" not in captures(False, {"detect_repository": False}, False)
    assert captures(False, {"detect_repository": False, **off()}, False) == []
    assert captures(False, False, False) == captures(False, {"detect_repository": True, **off()}, False)


def off() -> dict[str, bool]:
    """Each framework switched off."""
    return {key: False for keys in FRAMEWORKS.values() for key in keys}


@pytest.mark.parametrize("wrong", ["stdout", 5, ["lr"]])
def test_wrong_switches_are_named(wrong: Any) -> None:
    """Each with what is expected."""
    for position, what in enumerate(
        ("auto_connect_arg_parser", "auto_connect_frameworks", "auto_connect_streams")
    ):
        given: list[Any] = [True, True, True]
        given[position] = wrong
        with pytest.raises(BadValue, match=f"{what} is .* True, False or a dict"):
            captures(*given)
