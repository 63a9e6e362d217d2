"""docs/cli.md says what the program does: no command, option or JSON member of it is left out or made up."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from tracker.cli.commands import COMMANDS, tracker

if TYPE_CHECKING:
    from tests.commands import Cli
    from tests.tracker.cli.conftest import Sample


@pytest.fixture
def text(checkout: Path) -> str:
    """The page."""
    return (checkout / "docs/cli.md").read_text(encoding="utf-8")


def leaves() -> dict[str, click.Command]:
    """All commands by their whole name, `remote add` among them."""
    context = click.Context(tracker)
    found: dict[str, click.Command] = {}
    for name in COMMANDS:
        command = tracker.get_command(context, name)
        assert command is not None
        below = getattr(command, "commands", None)
        found |= {f"{name} {each}": c for each, c in below.items()} if below else {name: command}
    return found


def test_every_command_has_a_section_with_an_example(text: str) -> None:
    """And each option of its own is named there."""
    sections = {
        match[1]: match[2] for match in re.finditer(r"(?ms)^### `tracker ([^`]*)`\n(.*?)(?=^##|\Z)", text)
    }
    for name, command in leaves().items():
        section = next((body for title, body in sections.items() if re.match(rf"{name}( |$)", title)), None)
        assert section is not None, f"no section for {name}"
        assert f"$ tracker {name}" in section
        for option in command.params:
            if isinstance(option, click.Option) and option.name not in ("json", "store", "debug"):
                assert f"`{option.opts[-1]}" in section, f"{name} {option.opts}"


def test_every_command_line_on_the_page_can_be_typed(text: str) -> None:
    """The parser takes it; nothing is run."""
    lines = re.findall(r"(?m)^\$ tracker (.*)$", text)
    assert len(lines) >= len(COMMANDS)
    commands = leaves()
    for line in lines:
        words = shlex.split(line.partition("|")[0], comments=True)
        name = " ".join(words[:2]) if " ".join(words[:2]) in commands else words[0]
        command = commands.get(name) or tracker.get_command(click.Context(tracker), name)
        assert command is not None
        command.make_context(name, words[len(name.split()) :])


def test_the_json_members_on_the_page_are_those_of_the_documents(text: str, sample: Sample) -> None:
    """All of a task's members are named."""
    for document in (
        sample.best,
        sample.cli("diff", sample.ids["best"], sample.ids["worst"], "--json").json,
        sample.cli("log", sample.ids["best"], "--json").json["commits"][0],
    ):
        for member in document:
            assert f"`{member}`" in text, member


RUN = """
from tracker import Task
task = Task.init("demo/digits", "64 units, lr 0.01")
print("epoch 18  loss 0.0202  train 0.9958  validation 0.9700")
print("test accuracy 0.9867")
task.close()
"""
MAKE = """
from tracker.sdk import parameters
from tracker.workspace import Workspace
values = {"Args/lr": 0.01, "Args/hidden": 64}
keys = {parameters.key_of(name): parameters.record(value) for name, value in values.items()}
name, project = "64 units, lr 0.01", "demo/digits"
own = {"status": "created", "type": "training", "name": name, "project": project}
Workspace.open().edit("5f0b621cf509f92324eadf045a1c393e", {**keys, **own}, new=True)
"""


def test_the_examples_of_verbs_that_change_and_follow_print_what_the_page_says(text: str, cli: Cli) -> None:
    """In the order of the page; the id of a copy is another one each time."""
    assert cli("init", ".").code == 0
    assert cli.python(MAKE).code == 0
    done = cli.python(RUN, TRACKER_RUN_TASK="5f0b621cf509f92324eadf045a1c393e")
    assert done.code == 0, done.err
    made = "c41f9a73d2205be8846e1b90fa3375d6"
    sections = re.findall(r"(?ms)^### `tracker (?:console|edit|rename|mv|archive) .*?(?=^##)", text)
    assert len(sections) == 5
    blocks = re.findall(r"(?ms)^```console\n(.*?)^```$", "".join(sections))
    real = made
    for line, expected in re.findall(r"(?ms)^\$ tracker (.*?)\n(.*?)(?=^\$ |\Z)", "".join(blocks)):
        done = cli(*shlex.split(line.replace(made[:8], real[:8])))
        if "--copy" in line and done.code == 0:
            real = done.out.strip()
        assert (done.out + done.err).replace(real, made) == expected, line
