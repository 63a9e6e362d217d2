"""Commands of click as they were called, and as a replayed run gets their values back."""

from __future__ import annotations

import enum
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest
from click.testing import CliRunner

from tracker.capture.click_ import ClickCapture
from tracker.cli.commands import tracker as own_cli

if TYPE_CHECKING:
    from tests.tracker.capture.conftest import Memory

Replay = Callable[[dict[str, str]], "Memory"]


class Colour(enum.Enum):
    """What a choice may be of."""

    RED = "r"


@click.command()
@click.argument("data", nargs=2, type=int)
@click.option("--lr", type=float, default=0.1, show_default=True, help="learning rate")
@click.option("--fast/--slow", default=False)
@click.option("-v", "--verbose", count=True)
@click.option("--out", type=click.File("w"))
@click.option("--name", prompt=True)
@click.option("--colour", type=click.Choice([each.name for each in Colour]), default="RED")
def train(**values: Any) -> None:
    """Print what was given."""
    out = values.pop("out")
    click.echo(f"{sorted(values.items())} {out and out.name}")


@click.group(chain=True)
@click.option("--seed", default=1)
def chain(seed: int) -> None:
    """Commands one after another."""
    click.echo(f"seed {seed}")


@chain.command()
@click.option("--x", default=1)
def one(x: int) -> None:
    """The first."""
    click.echo(f"one {x}")


@chain.command()
def two() -> None:
    """The second."""
    click.echo("two")


@click.group()
def outer() -> None:
    """A group with a group in it."""


@outer.group()
@click.option("--url", default="sqlite")
def db(url: str) -> None:
    """The inner group."""


@db.command()
@click.option("--to", default="head")
def migrate(to: str) -> None:
    """Its command."""
    click.echo(f"to {to}")


def called(recorder: Memory, command: click.Command, *arguments: str, **wanted: bool) -> str:
    """What a command prints while the capture is in."""
    undo = ClickCapture(wanted).install(recorder)
    try:
        done = CliRunner().invoke(command, arguments)
    finally:
        undo()
    assert done.exit_code == 0, done.output
    return done.output


def test_one_command_has_its_options_by_name(recorder: Memory) -> None:
    """With type and help; files by their name, None as nothing."""
    called(recorder, train, "1", "2", "--lr", "0.5", "-vv", "--name", "a", "--out", "-", "--fast")
    assert recorder.values() == {
        "data": "(1, 2)",
        "lr": "0.5",
        "fast": "True",
        "verbose": "2",
        "out": "<stdout>",
        "name": "a",
        "colour": "RED",
    }
    assert recorder.args()["lr"] == {"value": "0.5", "type": "FLOAT", "description": "learning rate"}


def test_stored_values_are_defaults_and_nothing_is_asked(replaying: Replay) -> None:
    """Arguments, options of several values, switches and counts; the command line wins; a None stays one."""
    stored = {
        "data": "(3, 4)",
        "lr": "0.25",
        "fast": "True",
        "verbose": "3",
        "out": "",
        "name": "b",
        "colour": "RED",
    }
    said = called(replaying(stored), train)
    assert said == (
        "[('colour', 'RED'), ('data', (3, 4)), ('fast', True), ('lr', 0.25), ('name', 'b'), ('verbose', 3)] None\n"
    )
    assert "('lr', 1.0)" in called(replaying(stored), train, "--lr", "1")
    asked = CliRunner().invoke(train, ["1", "2"], input="typed\n")
    assert "('name', 'typed')" in asked.output


def test_nothing_is_lost_of_a_value_that_is_false(recorder: Memory) -> None:
    """Zero and False are values; a choice of an enumeration is its name."""

    @click.command()
    @click.option("--lr", default=0.0)
    @click.option("--fast", is_flag=True)
    @click.option("--colour", type=click.Tuple([click.UNPROCESSED]), default=None)
    @click.pass_context
    def command(context: click.Context, /, **_: object) -> None:
        context.params["colour"] = Colour.RED
        ClickCapture().install(recorder)()

    assert CliRunner().invoke(command, []).exit_code == 0
    assert recorder.values() == {"lr": "0.0", "fast": "False", "colour": "RED"}


def test_of_a_group_that_runs_one_command_the_first_is_taken(replaying: Replay) -> None:
    """However many are stored as those that ran."""

    @click.group()
    def group() -> None:
        pass

    for name in ("a", "b"):
        group.command(name)(lambda name=name: click.echo(name))
    assert called(replaying({"a": "True", "b": "True"}), group) == "a\n"


def test_commands_are_told_by_whether_they_ran(recorder: Memory, replaying: Replay) -> None:
    """Several may; stored, they run again without being named."""
    assert called(recorder, chain, "one", "--x", "5", "two") == "seed 1\none 5\ntwo\n"
    assert recorder.values() == {"chain/seed": "1", "one": "True", "one/x": "5", "two": "True"}
    stored = {"chain/seed": "7", "one": "False", "two": "True"}
    assert called(replaying(stored), chain) == "seed 7\ntwo\n"


def test_groups_within_groups(recorder: Memory, replaying: Replay) -> None:
    """By the path of their names, there and back."""
    called(recorder, outer, "db", "--url", "pg", "migrate", "--to", "3")
    assert recorder.values() == {"db": "True", "db/url": "pg", "db/migrate": "True", "db/migrate/to": "3"}
    assert called(replaying({"db": "True", "db/migrate": "True", "db/migrate/to": "9"}), outer) == "to 9\n"


def test_a_command_that_runs_when_the_task_begins_is_recorded(recorder: Memory) -> None:
    """With those above it."""
    undos = []

    @db.command("late")
    @click.option("--n", default=1)
    def late(n: int) -> None:
        undos.append(ClickCapture().install(recorder))

    done = CliRunner().invoke(outer, ["db", "late", "--n", "4"])
    for undo in undos:
        undo()
    del db.commands["late"]
    assert done.exit_code == 0
    assert recorder.values() == {
        "db": "True",
        "db/url": "sqlite",
        "db/migrate": "False",
        "db/late": "True",
        "db/late/n": "4",
    }


@pytest.mark.parametrize(
    ("wanted", "names"),
    [({"x": False}, ["chain/seed", "one", "two"]), ({"one/x": True, "*": False}, ["one/x"])],
)
def test_parameters_are_chosen_by_name(recorder: Memory, wanted: dict[str, bool], names: list[str]) -> None:
    """By the option's, or by the whole; what is not wanted does not come back either."""
    called(recorder, chain, "one", "two", **wanted)
    assert sorted(recorder.values()) == names
    recorder.stored = {"one": "True", "one/x": "9"}
    assert called(recorder, chain, "one", **wanted) == f"seed 1\none {9 if '*' in wanted else 1}\n"


def test_commands_of_this_program_are_no_ones_run(replaying: Replay, tmp_path: Path) -> None:
    """Neither recorded nor changed by what is stored."""
    recorder = replaying({"demo": "True", "ls": "True", "ls/limit": "1"})
    done = called(recorder, own_cli, "ls", "--help")
    assert "Usage:" in done
    assert recorder.state == {}


def test_click_is_as_it_was(recorder: Memory) -> None:
    """The very functions, once the capture is out."""
    before = (click.Command.parse_args, click.Group.parse_args)
    undo = ClickCapture().install(recorder)
    assert click.Command.parse_args is not before[0]
    undo()
    assert (click.Command.parse_args, click.Group.parse_args) == before


def test_a_stored_value_that_does_not_fit_is_clicks_error(replaying: Replay) -> None:
    """With the parameter's name, as if it had been typed."""
    undo = ClickCapture().install(replaying({"one": "True", "one/x": "many"}))
    done = CliRunner().invoke(chain, ["one"])
    undo()
    assert (done.exit_code, "--x" in done.output, "'many'" in done.output) == (2, True, True)
