"""Starting, stopping and failing: what every command has in common."""

from __future__ import annotations

import os
import pty
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tracker import __version__
from tracker.cli.commands import COMMANDS, tracker
from tracker.cli.main import exit_code

if TYPE_CHECKING:
    from tests.commands import Cli
    from tests.tracker.cli.conftest import Sample


def loaded(cli: Cli, *arguments: str) -> set[str]:
    """The modules that a command imports."""
    script = f"import sys; from tracker.cli.main import main; main({list(arguments)!r}); print(*sys.modules)"
    return set(cli.python(script).out.splitlines()[-1].split())


def test_the_version_is_printed_without_loading_what_reads_a_store(cli: Cli) -> None:
    """Start-up is what a person waits for at each command."""
    assert cli("--version").out == f"tracker {__version__}\n"
    heavy = {
        "click",
        "rich",
        "numpy",
        "pygit2",
        "zstandard",
        "objstore.store",
        "tracker.workspace",
        "logging",
    }
    assert not heavy & loaded(cli, "--version")


def test_help_lists_all_commands_and_loads_none_of_them(cli: Cli) -> None:
    """The one-line helps stand in a table, so that no command's imports are paid for."""
    out = cli("--help").out
    assert all(re.search(rf"^  {name} ", out, re.MULTILINE) for name in COMMANDS)
    assert cli().out == out
    modules = loaded(cli, "--help")
    assert not {"rich", "numpy", "objstore.store", "tracker.workspace"} & modules
    assert not {f"tracker.cli.{listed.module}" for listed in COMMANDS.values()} & modules


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help_with_examples(name: str) -> None:
    """Examples are whole command lines."""
    context = tracker.make_context("tracker", [], resilient_parsing=True)
    command = tracker.get_command(context, name)
    assert command is not None
    commands = list(getattr(command, "commands", {}).values()) or [command]
    for each in commands:
        text = each.get_help(each.make_context(name, [], parent=context, resilient_parsing=True))
        assert "Examples:\n  tracker " in text
        assert "--json" in text
        assert ("--store DIR" in text) is (name != "demo")


def test_options_of_all_commands_may_stand_before_or_after_the_command(sample: Sample, cli: Cli) -> None:
    """`tracker --store X ls --json` and `tracker ls --json --store X` are one; the store's parent will do, too."""
    after = cli("ls", "--json", "--store", str(sample.store))
    assert after.code == 0
    assert cli("--json", "--store", str(sample.folder), "ls").json["total"] == after.json["total"] == 5


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["lss"], 2, "there is no command 'lss': did you mean ls? (see `tracker --help`)"),
        (["ls", "--sotr", "x"], 2, "(see `tracker ls --help`)"),
        (["show"], 2, "Missing argument 'ID' (see `tracker show --help`)"),
        (["ls", "--status", "fine"], 2, "'fine' is not one of"),
        (["ls", "--limit", "-1"], 2, "--limit"),
        (["show", "xyz"], 2, "'xyz' is no task id: give 6 to 32 of the digits 0-9 and a-f"),
        (["show", "0" * 32], 3, "no task's id begins with 000"),
        (["get", "0" * 64, "-o", "x"], 3, "no object's id begins with 000"),
        (["ls", "--store", "nowhere"], 3, "nowhere is not a store"),
        (["push", "nowhere"], 3, "this store has no remote yet: tracker remote add NAME FOLDER"),
        (["remote", "add", "Big", "x"], 2, "'Big' cannot name a remote"),
        (
            ["remote", "add", "cloud", "s3://bucket/x"],
            2,
            "s3://… is not supported by this version, which has folders only",
        ),
        (["clone", "nowhere"], 3, "nowhere holds no store to clone: check the path"),
    ],
)
def test_an_error_is_one_line_with_a_way_out_and_its_exit_code(
    sample: Sample, arguments: list[str], code: int, text: str
) -> None:
    """Nothing on stdout, one line on stderr."""
    done = sample.cli(*arguments)
    assert (done.code, done.out) == (code, "")
    assert done.err.startswith("tracker: ")
    assert done.err.count("\n") == 1
    assert text in done.err


def test_an_ambiguous_prefix_names_its_candidates(sample: Sample, tmp_path: Path) -> None:
    """Two tasks whose ids begin alike cannot be had from nature, so two heads are made of one another's bytes."""
    shutil.copytree(sample.store, tmp_path / ".tracker")
    first = sample.ids["best"]
    twin = first[:8] + "0" * 24
    script = f"""
from tracker.workspace import Workspace
workspace = Workspace.open()
workspace.edit({twin!r}, {{"name": "twin", "project": "vision/digits"}}, new=True)
"""
    cli = sample.cli.at(tmp_path)
    assert cli.python(script).code == 0
    done = cli("show", first[:6])
    assert done.code == 2
    assert first in done.err
    assert twin in done.err
    assert done.err.endswith("give more characters\n")
    assert cli("show", first).code == 0


def test_without_a_store_the_error_says_how_to_make_one(cli: Cli) -> None:
    """Nothing is made in passing."""
    done = cli("ls")
    assert done.code == 3
    assert "run `tracker init`" in done.err
    assert not (cli.folder / ".tracker").exists()


def test_the_traceback_is_shown_on_demand_only(cli: Cli) -> None:
    """By option or variable; the exit code stays."""
    assert "Traceback" not in cli("ls").err
    for done in (cli("ls", "--debug"), cli("ls", TRACKER_DEBUG="1")):
        assert done.code == 3
        assert "Traceback (most recent call last)" in done.err


def test_every_family_of_errors_has_its_exit_code() -> None:
    """Also those that are two things at once: a RemoteError is an OSError, too."""
    from objstore import errors as store
    from tracker import errors

    assert exit_code(store.NotFound("x")) == exit_code(errors.TaskNotFound("x")) == 3
    assert exit_code(store.Corrupt("x")) == exit_code(errors.CorruptRecord("x")) == 4
    assert exit_code(store.Conflict("x")) == exit_code(FileExistsError("x")) == 5
    assert exit_code(store.RemoteError("x")) == 6
    assert exit_code(store.Ambiguous("x", [])) == exit_code(store.InvalidName("x")) == 2
    assert exit_code(errors.BadValue("x")) == exit_code(errors.UsageError("x")) == 2
    assert (
        exit_code(store.ReadOnly("x"))
        == exit_code(PermissionError("x"))
        == exit_code(ZeroDivisionError())
        == 1
    )


def test_a_pipe_that_is_closed_early_ends_the_command_silently(sample: Sample) -> None:
    """As in `tracker cat … | head -1`: nine MiB do not fit the pipe, and nobody reads them."""
    for line in (f"cat {sample.ids['best']}:big", "ls"):
        script = f'{" ".join(sample.cli.command())} {line} | head -c 1 >/dev/null; echo "${{PIPESTATUS[0]}}"'
        done = sample.cli.run(["bash", "-c", script])
        assert (done.out, done.err) == ("0\n", "")


def test_interrupted_by_the_user_is_exit_code_130(sample: Sample) -> None:
    """While it waits for somebody to read what it has printed."""
    read, write = os.pipe()
    with open(read, "rb"):
        process = subprocess.Popen(
            sample.cli.command("cat", f"{sample.ids['best']}:big"),
            cwd=sample.folder,
            env=sample.cli.environment(),
            stdout=write,
            stderr=subprocess.PIPE,
        )
        os.close(write)
        os.read(read, 1)  # it has begun to print
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err == b"tracker: interrupted\n"


def test_what_cannot_be_encoded_is_spelled_and_not_an_error(sample: Sample) -> None:
    """A terminal that knows no emoji gets its number."""
    done = sample.cli("ls", "hostile", PYTHONIOENCODING="ascii")
    assert done.code == 0
    assert "\\U0001f600" in done.out


def on_a_terminal(sample: Sample, *arguments: str, **changes: str) -> str:
    """What a command prints on a terminal of 80 columns."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        sample.cli.command(*arguments),
        cwd=sample.folder,
        env=sample.cli.environment(TERM="xterm-256color", COLUMNS="80", **changes),
        stdin=subprocess.DEVNULL,
        stdout=slave,
        stderr=subprocess.DEVNULL,
    )
    os.close(slave)
    parts = []
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:  # Linux says so when the other end is closed
            break
        if not part:
            break
        parts.append(part)
    os.close(master)
    assert process.wait(timeout=30) == 0
    return b"".join(parts).decode().replace("\r\n", "\n")


def test_a_terminal_gets_colours_and_short_ids_that_fit_its_width(sample: Sample) -> None:
    """A pipe gets neither, see test_listing."""
    text = on_a_terminal(sample, "ls")
    assert "\x1b[32mcompleted\x1b[0m" in text
    bare = re.sub("\x1b\\[[0-9;]*m", "", text)
    assert sample.ids["best"][:8] in bare
    assert sample.ids["best"] not in bare
    assert max(map(len, bare.splitlines())) <= 80


@pytest.mark.parametrize("changes", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_colours_are_left_out_when_they_are_not_wanted(sample: Sample, changes: dict[str, str]) -> None:
    """No escape sequence at all, in a table as on a page."""
    environment = {"TERM": "xterm"} | changes
    for arguments in (["ls"], ["show", sample.ids["best"]]):
        process = pty_environment(sample, arguments, environment)
        assert "\x1b" not in process


def pty_environment(sample: Sample, arguments: list[str], environment: dict[str, str]) -> str:
    """As `on_a_terminal`, with another TERM."""
    cli = sample.cli
    script = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)"
    done = cli.run([cli.command()[0], "-c", script, *cli.command(*arguments)], **environment)
    assert done.code == 0, done.err
    return done.out
