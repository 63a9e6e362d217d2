"""The entry point: runs a command line, and turns every exception into one line on stderr and an exit code.

Imports what it needs when it needs it: `tracker --version` loads no parser, `tracker --help` no command.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from typing import Final

OK: Final = 0
ERROR: Final = 1
USAGE: Final = 2
NOT_FOUND: Final = 3
INTEGRITY: Final = 4
CONFLICT: Final = 5
NETWORK: Final = 6
INTERRUPTED: Final = 130

_GARBAGE: Final = 50_000  # objects between two searches for garbage: imports make many, and all of them stay


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line, sys.argv's by default; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given or os.environ.get("TRACKER_DEBUG", "") not in ("", "0")
    _make_writable()
    if arguments is None:  # the process is ours
        gc.set_threshold(_GARBAGE)
    try:
        if given == ["--version"]:
            from tracker import __version__

            sys.stdout.write(f"tracker {__version__}\n")
            return OK
        code = _complete() if "_TRACKER_COMPLETE" in os.environ else _run(given)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read us has had enough. Python would complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except KeyboardInterrupt:
        sys.stderr.write("tracker: interrupted\n")
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001  the one place where exceptions become text
        if debug:
            from traceback import print_exception

            print_exception(error)
        return _report(error)
    return code


def _run(given: list[str]) -> int:
    import click

    from tracker.cli.commands import tracker

    try:
        with tracker.make_context("tracker", given) as ctx:
            code = tracker.invoke(ctx)
            if ctx.invoked_subcommand is None:
                sys.stdout.write(tracker.get_help(ctx) + "\n")
    except click.exceptions.Exit as end:
        return end.exit_code
    return code if isinstance(code, int) else OK


def _complete() -> int:
    """What the shell asks for when a key is pressed in the middle of a command."""
    from click.shell_completion import shell_complete

    from tracker.cli.commands import tracker

    wish = os.environ["_TRACKER_COMPLETE"]
    try:
        return shell_complete(tracker, {}, "tracker", "_TRACKER_COMPLETE", wish)
    except (Exception, KeyboardInterrupt):  # noqa: BLE001  a line on stderr would be printed into what is being typed
        return OK


def _make_writable() -> None:
    """Let no name be unprintable, whatever the terminal's encoding, and no closed stream be an error."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  as long as the process
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _report(error: Exception) -> int:
    """Print an error as one line; returns its exit code."""
    import click

    from tracker.cli.render import escape, pasteable
    from tracker.filters.grammar import BadQuery

    keep = ""
    if isinstance(error, click.UsageError):
        where = error.ctx.command_path if error.ctx else "tracker"
        text = f"{error.format_message().rstrip('.')} (see `{where} --help`)"
    elif isinstance(error, click.ClickException):
        text, keep = error.format_message(), "\n"  # the demo's: it quotes what a failed step has printed
    elif isinstance(error, BadQuery):
        text, keep = error.pointed(escape), "\n"
    else:
        text = pasteable(_sentence(error))
    sys.stderr.write(f"tracker: {escape(text, keep)}\n")
    return exit_code(error)


def _sentence(error: Exception) -> str:
    from objstore.errors import StoreError
    from tracker.errors import TrackerError

    if isinstance(error, StoreError | TrackerError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror
    return f"internal error: {type(error).__name__}: {error}: run it again with --debug and report what it prints"


def exit_code(error: Exception) -> int:
    """The exit code that stands for an error. RemoteError and RecordingFault are OSErrors, too, so order matters."""
    import click

    from objstore import errors as store
    from tracker import errors

    codes: tuple[tuple[type[Exception] | tuple[type[Exception], ...], int], ...] = (
        (click.UsageError, USAGE),
        (
            (store.Corrupt, errors.CorruptRecord),
            INTEGRITY,
        ),  # before NotFound: what a damaged pack held is both
        ((store.NotFound, errors.TaskNotFound), NOT_FOUND),
        ((store.Conflict, FileExistsError), CONFLICT),
        (store.RemoteError, NETWORK),
        ((store.Ambiguous, store.InvalidName, errors.BadValue, errors.UsageError), USAGE),
    )
    return next((code for kinds, code in codes if isinstance(error, kinds)), ERROR)
