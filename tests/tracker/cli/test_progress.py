"""Progress: on a terminal, where something takes long, and nowhere else; what it drew on is blank again at its end."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.commands import Cli
    from tests.tracker.cli.conftest import Sample

# Commands of a few milliseconds stand for those of minutes: what is waited for is no part of what is tested.
EAGER = """
import sys
from tracker.cli import render
render._QUIET = 0.0
from tracker.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def on_a_terminal(cli: Cli, *command: str) -> tuple[int, str, str]:
    """The exit code of a process whose stderr is a terminal, what it drew there, and its stdout, which is a pipe."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", *command],
        cwd=cli.folder,
        env=cli.environment(TERM="xterm"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=slave,
        text=True,
    )
    os.close(slave)
    parts = []
    with open(master, "rb", buffering=0) as terminal:
        while True:
            try:
                part = terminal.read(65536)
            except OSError:  # Linux says so when the other end is closed
                break
            if not part:
                break
            parts.append(part)
    out, _ = process.communicate(timeout=60)
    return process.returncode, b"".join(parts).decode(), out


def shown(text: str) -> str:
    """What is left on a terminal of 80 columns."""
    lines = []
    for line in text.replace("\r\n", "\n").split("\n"):
        screen = ""
        *overdrawn, last = line.split("\r")
        assert all(len(part) < 80 for part in overdrawn)  # else the terminal begins a new line
        for part in (*overdrawn, last):
            screen = part + screen[len(part) :]
        lines.append(screen.rstrip())
    return "\n".join(lines)


@pytest.fixture
def own(sample: Sample, tmp_path: Path) -> Cli:
    """The sample store with a remote."""
    shutil.copytree(sample.store, tmp_path / "own/.tracker")
    cli = sample.cli.at(tmp_path / "own")
    assert cli("remote", "add", "backup", "../backup").code == 0
    return cli


def test_each_command_that_may_take_long_has_progress_at_a_terminal_alone(own: Cli, sample: Sample) -> None:
    """Not beside a document, and not in a pipe."""
    best, worst = sample.ids["best"], sample.ids["worst"]
    commands = {
        "pushing to backup:": ["push"],
        "pulling from backup:": ["pull"],
        "cloning:": ["clone", "../backup", "../{}"],
        "bundling:": ["bundle", "create", "../{}.bundle"],
        "checking:": ["fsck"],
        "collecting what nothing needs": ["gc"],
        "fetching:": ["get", f"{best}:big", "-o", "../{}.bin"],
        "fetching: ": ["get", f"{best}:folder", "-o", "../{}.folder"],
        "deleting": ["rm", worst, "--yes"],
        "restoring": ["restore", worst],
    }
    for verb, command in commands.items():
        name = re.sub(r"\W", "", verb) + str(len(verb))
        here = [part.format(f"{name}-terminal") for part in command]
        code, drawn, out = on_a_terminal(own, EAGER, *here)
        assert code == 0, drawn
        assert f"\r{verb}" in drawn, verb
        assert verb not in shown(drawn), verb
        assert "\r" not in out
    for verb in ("pushing to backup:", "checking:", "fetching:"):
        name, command = re.sub(r"\W", "", verb), commands[verb]
        json_ = [part.format(f"{name}-json") for part in (*command, "--json")]
        code, drawn, _ = on_a_terminal(own, EAGER, *json_)
        assert code == 0, drawn
        assert verb.strip() not in drawn, verb
    done = own.run([sys.executable, "-c", EAGER, "fsck"])
    assert done.code == 0
    assert "checking" not in done.err


def test_a_session_that_is_taken_in_has_progress(cli: Cli, checkout: Path) -> None:
    """Even one that is refused leaves no trace of it on the line of the error."""
    assert cli("init", ".").code == 0
    (cli.folder / "session.zip").write_bytes(b"PK\x05\x06" + bytes(18))
    code, drawn, _ = on_a_terminal(cli, EAGER, "import", "clearml", "session.zip")
    assert code == 2
    assert "\rtaking in session.zip:" in drawn
    assert shown(drawn).startswith("tracker: ")


def test_bytes_have_a_bar_and_silence_a_clock(cli: Cli) -> None:
    """A step that tells nothing is drawn again all the same, and never wider than the terminal."""
    script = """
import time
from tracker.cli import render
render._QUIET = 0.0
with render.Progress("copying:") as progress:
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        progress(1 << 19, 1 << 20)
with render.Progress("x" * 200 + "\\x1b[31m") as progress:
    time.sleep(1.2)
"""
    code, drawn, _ = on_a_terminal(cli, script)
    assert code == 0
    assert f"\rcopying: [{'#' * 12}{'.' * 12}]  50%  512.0 KiB of 1.0 MiB" in drawn
    assert drawn.count("\rxxx") >= 2
    assert "\x1b" not in drawn
    assert shown(drawn).strip() == ""


def test_nothing_is_drawn_in_the_first_second(cli: Cli) -> None:
    """Most of what is asked for is done by then."""
    script = """
import time
from tracker.cli.render import Progress
with Progress("quick") as progress:
    progress.show("at once")
started = time.monotonic()
with Progress("slow") as progress:
    while time.monotonic() < started + 1.5:
        progress.show("step")
"""
    code, drawn, _ = on_a_terminal(cli, script)
    assert code == 0
    assert "quick" not in drawn
    assert "slow step" in drawn
