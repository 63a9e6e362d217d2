"""Completion in a shell: what a key suggests, that it never fails or prints an error, and that a real bash takes it."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.commands import Cli, Done
    from tests.tracker.cli.conftest import Sample

SHELLS = ("bash", "zsh", "fish")


def asked(cli: Cli, *words: str, shell: str = "zsh") -> Done:
    """What a shell is answered when a key is pressed behind the last of the words."""
    line = " ".join(("tracker", *words))
    variables = {"COMP_WORDS": line, "COMP_CWORD": words[-1] if shell == "fish" else str(len(words))}
    return cli(_TRACKER_COMPLETE=f"{shell}_complete", **variables)


def suggested(cli: Cli, *words: str) -> list[str]:
    """The suggestions, without what they are."""
    done = asked(cli, *words)
    assert (done.code, done.err) == (0, "")
    return done.out.splitlines()[1::3]


@pytest.fixture
def own(sample: Sample, tmp_path: Path) -> Cli:
    """The sample store, to be changed."""
    shutil.copytree(sample.store, tmp_path / ".tracker")
    return sample.cli.at(tmp_path)


def test_ids_are_suggested_by_their_beginning_and_by_names(sample: Sample) -> None:
    """With the name beside them; for all commands that take one, and in the store that is named."""
    best = sample.ids["best"]
    for command in ("show", "log", "diff", "get", "cat", "rm", "restore", "tag", "edit", "rename", "console"):
        assert suggested(sample.cli, command, best[:4]) == [best[:8]], command
    assert suggested(sample.cli, "show", best[:12]) == [best[:12]]
    assert suggested(sample.cli, "archive", sample.ids["worst"], best[:4]) == [best[:8]]
    assert suggested(sample.cli, "models", "--task", best[:4]) == [best[:8]]
    assert suggested(sample.cli, "show", "NO") == [sample.ids["failed"][:8]]
    assert set(suggested(sample.cli, "show", '""')) == {key[:8] for key in sample.ids.values()}
    elsewhere = sample.cli.at(sample.folder.parent)
    assert suggested(elsewhere, "--store", str(sample.store), "show", best[:4]) == [best[:8]]
    assert suggested(elsewhere, "show", "--store", str(sample.store), best[:4]) == [best[:8]]
    for shell in ("zsh", "fish"):
        out = asked(sample.cli, "show", best[:4], shell=shell).out
        assert best[:8] in out
        assert "lr 0.1 (vision/digits, completed)" in out


def test_projects_remotes_and_tags_are_suggested(own: Cli, sample: Sample) -> None:
    """Projects above others, too; where tasks are moved, both tasks and projects."""
    assert suggested(own, "ls", "--project", "vis") == ["vision", "vision/digits", "vision/other"]
    assert suggested(own, "mv", sample.ids["best"], "vision/d") == ["vision/digits"]
    assert suggested(own, "mv", sample.ids["best"][:5]) == [sample.ids["best"][:8]]
    assert suggested(own, "push", '""') == []
    assert own("remote", "add", "backup", "../backup").code == 0
    assert suggested(own, "push", '""') == suggested(own, "pull", "ba") == ["backup"]
    assert suggested(own, "ls", "--tag", "w") == ["winner"]
    assert suggested(own, "arch") == ["archive"]
    assert "--follow" in suggested(own, "console", "--")


def test_what_a_shell_would_expand_or_a_terminal_obey_is_not_suggested(sample: Sample) -> None:
    """Bash splits at spaces and expands stars; the hostile project has worse."""
    script = """
from tracker.workspace import Workspace
for n, project in enumerate(("with space", "with*star", "with$(id)", "with:colon", "with\\nline")):
    Workspace.open().edit(f"{n:032x}", {"name": "x", "project": project}, new=True)
"""
    found = asked(sample.cli, "ls", "--project", "host").out
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", found)
    assert "hostile" in found
    folder = sample.folder.parent / "expanding"
    folder.mkdir()
    cli = sample.cli.at(folder)
    assert cli("init", ".").code == 0
    assert cli.python(script).code == 0
    assert suggested(cli, "ls", "--project", "wit") == [
        "with space",
        "with$(id)",
        "with*star",
        "with:colon",
    ]
    assert asked(cli, "ls", "--project", "wit", shell="bash").out == "plain,with\\\\ space\n"


@pytest.mark.parametrize("shell", SHELLS)
def test_a_key_never_fails_and_prints_no_error(cli: Cli, shell: str) -> None:
    """Without a store, with one that is none, that is damaged or of the future, and with a line that makes no sense."""
    lines = [
        ("show", "ab"),
        ("ls", "--project", "a"),
        ("push", "a"),
        ("nonsense", "a"),
        ("show", "--limit", "x"),
    ]

    def all_are_silent() -> None:
        for words in lines:
            done = asked(cli, *words, shell=shell)
            assert (done.code, done.err, done.out.strip()) == (0, "", ""), words

    all_are_silent()
    assert not (cli.folder / ".tracker").exists()
    if shell != "zsh":
        return
    assert asked(cli, "show", "--store", "nowhere", "ab", shell=shell).err == ""
    assert cli("init", ".").code == 0
    all_are_silent()
    (cli.folder / ".tracker/config.toml").write_text("= garbled")
    all_are_silent()
    (cli.folder / ".tracker/format").write_bytes(b"\0")
    all_are_silent()


def test_a_store_that_takes_long_to_read_suggests_nothing(sample: Sample, own: Cli) -> None:
    """The next `ls` reads it, and from then on a key has its answer."""
    script = """
import os, sys
from tracker.cli import candidates
candidates._PATIENCE = 1e-6
from tracker.cli.main import main
sys.exit(main([]))
"""
    shutil.rmtree(own.folder / ".tracker/cache", ignore_errors=True)
    variables = {"_TRACKER_COMPLETE": "bash_complete", "COMP_WORDS": "tracker show ", "COMP_CWORD": "2"}
    done = own.python(script, **variables)
    assert (done.code, done.out.strip(), done.err) == (0, "", "")
    assert own("ls", "--json").json["total"] == len(sample.ids)
    assert len(own(**variables).out.split()) == len(sample.ids)


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_what_the_shell_takes(cli: Cli, shell: str) -> None:
    """Checked by the shell itself where it is there."""
    done = cli("completion", shell)
    assert (done.code, done.err) == (0, "")
    assert f"_TRACKER_COMPLETE={shell}_complete" in done.out
    if shutil.which(shell):
        checked = subprocess.run([shell, "-n", "/dev/stdin"], input=done.out, text=True, capture_output=True)
        assert (checked.returncode, checked.stderr) == (0, "")
    assert cli("completion", "tcsh").code == 2


@pytest.fixture
def bash(sample: Sample, tmp_path: Path) -> Cli:
    """The sample store, with `tracker` on the PATH."""
    if shutil.which("bash") is None:
        pytest.skip("there is no bash here")
    program = tmp_path / "tracker"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m tracker "$@"\n')
    program.chmod(0o755)
    return sample.cli


def test_a_real_bash_completes_commands_ids_and_projects(bash: Cli, sample: Sample, tmp_path: Path) -> None:
    """At a prompt on a terminal: a tab is pressed, and what stands in the line then is run."""
    best = sample.ids["best"]
    environment = {
        **bash.environment(TERM="dumb", PS1="ready> ", INPUTRC="/dev/null", HISTFILE=""),
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
    }
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(sample.folder)
        os.execvpe("bash", ["bash", "--norc", "--noprofile", "-i"], environment)

    seen = ""

    def until(text: str) -> None:
        nonlocal seen
        while text not in seen:
            assert select.select([fd], [], [], 60)[0], seen
            seen += os.read(fd, 65536).decode(errors="replace")
        seen = seen.partition(text)[2]

    try:
        until("ready> ")
        os.write(
            fd, b"bind 'set enable-bracketed-paste off'; eval \"$(tracker completion bash)\"; echo so'me'\n"
        )
        until("some")
        until("ready> ")
        os.write(fd, b"tracker conso\t")
        until("console ")
        os.write(fd, f"{best[:5]}\t".encode())
        until(best[:8])
        os.write(fd, b"--tail 1\n")
        until("epoch 11")
        os.write(fd, b"tracker ls --project vision/dig\t")
        until("vision/digits")
        os.write(fd, b"--json | cut -c1-24\n")
        until("tracker.ls/1")
    finally:
        os.write(fd, b"\x03exit\n")
        os.close(fd)
        os.waitpid(pid, 0)


def test_a_key_is_answered_in_the_time_of_a_short_command(sample: Sample) -> None:
    """Not timed: it loads nothing of what a table, an array or a repository needs."""
    script = """
import sys
from tracker.cli.main import main
main([])
print(*sys.modules)
"""
    done = sample.cli.python(
        script, _TRACKER_COMPLETE="bash_complete", COMP_WORDS="tracker show ab", COMP_CWORD="2"
    )
    assert not {"rich", "numpy", "pandas", "pygit2", "logging"} & set(done.out.split())
