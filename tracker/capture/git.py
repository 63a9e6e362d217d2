"""Records which code runs: the entry script's repository, commit and uncommitted changes, or the script's own text; of
a notebook the cells that were run.

It reads in a background thread and writes nothing into the repository. Untracked files are counted, not recorded.
"""

from __future__ import annotations

import os
import re
import sys

from tracker.capture.background import Job
from tracker.capture.cells import Cells, current_cells
from tracker.capture.entry import Entry, current_entry
from tracker.capture.protocol import Guard, Recorder, Undo
from tracker.capture.worktree import LARGEST_FILE, Worktree, read_worktree

LARGEST_INLINE = 64 << 10
"""Bytes of a diff that are part of the task's state; a larger one is an object that the state refers to."""


class GitCapture:
    """Sets the key `script` once, some 0.1 s after install: repository (the remote's URL without credentials),
    branch, version_num (the commit), diff (text, or {"$ref": ...} where it is over 64 KiB or no UTF-8), working_dir
    (relative to the repository), entry_point (relative to that, or "-m module"), binary ("python3.11"), untracked (a
    count), left_out (paths), where a changed file is too large for the diff, and redacted (true), where a secret was
    left out of the diff, which may not apply then. In a notebook the diff is the script that its cells make, set again
    after each cell; changes of other files of its repository are in uncommitted (text or {"$ref": ...})."""

    name = "git"
    module = None

    def __init__(self) -> None:
        self._job: Job[_Script] | None = None

    def install(self, recorder: Recorder) -> Undo:
        """Begins to read; the undo waits for that, at most ten seconds."""
        entry = current_entry()
        cells = current_cells() if entry.script is None else None
        if cells is not None:
            return self._follow(recorder, entry, cells)
        self._job = job = Job(
            Guard(self.name),
            lambda: _describe(entry),
            lambda script: recorder.set("script", script.value(recorder)),
        )
        job.start()

        def undo() -> None:
            job.end()

        return undo

    def _follow(self, recorder: Recorder, entry: Entry, cells: Cells) -> Undo:
        """Keeps the record up with a notebook's cells; one that closes the task is in it, too."""
        guard = Guard(self.name)
        notebook = _Notebook(recorder, cells)
        self._job = job = Job(guard, lambda: _describe_notebook(entry, cells.name), notebook.place)
        stop = cells.watch(lambda: guard.run(notebook.refresh))
        job.start()

        def undo() -> None:
            stop()
            job.end()
            guard.run(notebook.refresh)

        return undo

    def wait(self, timeout: float) -> bool:
        """Whether the key was set within `timeout` seconds."""
        return self._job is None or self._job.wait(timeout)


class _Notebook:
    """The record of a notebook, whose text grows."""

    def __init__(self, recorder: Recorder, cells: Cells) -> None:
        self._recorder = recorder
        self._cells = cells
        self._place: dict[str, object] | None = None
        self._text = ""

    def place(self, script: _Script) -> None:
        """Where the notebook is, as soon as that is known; the record begins with it."""
        found = script.value(self._recorder)
        changes = found.pop("diff")
        self._place = {**found, **({"uncommitted": changes} if changes else {})}
        self.refresh()

    def refresh(self) -> None:
        """Record the cells, where there are new ones."""
        text = self._cells.text()
        if self._place is not None and text != self._text:
            self._text = text
            record = _Script(self._place, text.encode("utf-8", "replace")).value(self._recorder)
            self._recorder.set("script", record)


class _Script:
    """The record, but for its diff, which is only stored when it is known that somebody still wants it."""

    def __init__(self, record: dict[str, object], diff: bytes) -> None:
        self._record = record
        self._diff = diff

    def value(self, recorder: Recorder) -> dict[str, object]:
        data, record = recorder.redacted(self._diff), self._record
        if data != self._diff:
            record = {**record, "redacted": True}
        try:
            diff: object = data.decode() if len(data) <= LARGEST_INLINE else {"$ref": recorder.attach(data)}
        except UnicodeDecodeError:
            diff = {"$ref": recorder.attach(data)}
        return {**record, "diff": diff}


def _describe_notebook(entry: Entry, name: str) -> _Script:
    """Where a notebook runs: it stands for a script of its name in the working folder, which has no file there."""
    record = {**_empty(), "entry_point": f"{name}.py"}
    worktree = read_worktree(entry.folder)
    if worktree is None or worktree.commit is None:
        return _Script(record, b"")
    record["working_dir"] = os.path.relpath(entry.folder, worktree.root).replace(os.sep, "/")
    return _in_worktree(record, worktree)


def _empty() -> dict[str, object]:
    return {
        "repository": "",
        "branch": "",
        "version_num": "",
        "working_dir": ".",
        "entry_point": "",
        "binary": f"python{sys.version_info.major}.{sys.version_info.minor}",
        "untracked": 0,
    }


def _describe(entry: Entry) -> _Script:
    record = _empty()
    if entry.script is None:
        return _Script(record, b"")
    worktree = read_worktree(os.path.dirname(entry.script))
    if worktree is None or worktree.commit is None:
        record["entry_point"] = f"-m {entry.module}" if entry.module else os.path.basename(entry.script)
        if os.path.getsize(entry.script) > LARGEST_FILE:  # an archive that holds more than a script
            record["left_out"] = [os.path.basename(entry.script)]
            return _Script(record, b"")
        return _Script(record, _script_text(entry.script))
    record["working_dir"], record["entry_point"] = _places(entry, worktree)
    return _in_worktree(record, worktree)


def _in_worktree(record: dict[str, object], worktree: Worktree) -> _Script:
    record.update(
        repository=without_credentials(worktree.url),
        branch=worktree.branch,
        version_num=worktree.commit,
        untracked=worktree.untracked,
    )
    if worktree.left_out:
        record["left_out"] = [os.fsencode(path).decode("utf-8", "replace") for path in worktree.left_out]
    return _Script(record, worktree.patch)


def _places(entry: Entry, worktree: Worktree) -> tuple[str, str]:
    """The working folder relative to the repository and the entry point relative to that: where the script was
    started, if that is inside, else where it lies."""
    assert entry.script is not None
    folder = entry.folder
    if os.path.commonpath([worktree.root, folder]) != worktree.root:
        folder = os.path.dirname(entry.script) if entry.module is None else worktree.root
    working_dir = os.path.relpath(folder, worktree.root).replace(os.sep, "/")
    if entry.module is not None:
        return working_dir, f"-m {entry.module}"
    return working_dir, os.path.relpath(entry.script, folder).replace(os.sep, "/")


def _script_text(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


_AUTHORITY = re.compile(r"^([a-z][a-z0-9+.-]*)://([^/?#]*)@", re.IGNORECASE)


def without_credentials(url: str) -> str:
    """A remote's URL without passwords and tokens: of http(s) no user at all, nor a query; of ssh the user stays."""
    found = _AUTHORITY.match(url)  # up to the last @ before the path: a password may hold one
    scheme = url.partition("://")[0].lower()
    if scheme in ("http", "https"):
        url = url.partition("?")[0].partition("#")[0]
        return f"{found[1]}://{url[found.end() :]}" if found else url
    if found:
        return f"{found[1]}://{found[2].partition(':')[0]}@{url[found.end() :]}"
    return url
