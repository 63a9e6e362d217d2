"""Tasks that are made without being run: an empty draft, one for code that lies elsewhere, the copy of another.

It records what it is told. A repository's URL is never contacted, and no code is run.
"""

from __future__ import annotations

import difflib
import os
import secrets
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tracker import names
from tracker.errors import BadValue, WrongKind
from tracker.sdk import parameters
from tracker.sdk.run import user_and_host
from tracker.sdk.types import TaskTypes

if TYPE_CHECKING:
    from tracker.records import State
    from tracker.workspace import Workspace

_INIT: Final = ("from tracker import Task", '(__name__ != "__main__") or Task.init()')
_OWN_PACKAGE: Final = "dottracker"
# What a copy does not take over: what the run made, when it ran, and what only its own history means.
_NOT_COPIED: Final = frozenset(
    (
        *(
            "status",
            "status_reason",
            "status_message",
            "created",
            "started",
            "completed",
            "published",
            "progress",
        ),
        *(
            "user",
            "host",
            "cut",
            "deleted",
            "queue",
            "initial_iteration",
            "comment",
            "name",
            "parent",
            "project",
        ),
        *("system_tag/development", "system_tag/archived"),
    )
)
_NOT_COPIED_BELOW: Final = (
    *("artifact/", "model/output/", "single/", "runtime/", "health/"),
    *("attempt/", "hidden/", "queue/"),
)


@dataclass(frozen=True, slots=True)
class Code:
    """What a draft is to run. See Task.create."""

    repo: str | None = None
    branch: str | None = None
    commit: str | None = None
    script: str | None = None
    module: str | None = None
    working_directory: str | None = None
    binary: str | None = None
    packages: bool | Sequence[str] | None = None
    requirements_file: str | os.PathLike[str] | None = None
    add_task_init_call: bool = True
    force_single_script_file: bool = False
    detect_repository: bool = True

    def check(self) -> None:
        """Raises BadValue for what contradicts itself or is not there."""
        if self.script and self.module:
            raise BadValue("script and module are both given: a task runs one of them")
        if self.requirements_file is not None and not Path(self.requirements_file).is_file():
            raise BadValue(f"requirements_file {os.fspath(self.requirements_file)!r} is no file")


def create(workspace: Workspace, project: str, name: str, kind: str, keys: Mapping[str, Any]) -> str:
    """Make a draft with these keys besides; returns its id."""
    user, host = user_and_host()
    key = secrets.token_hex(16)
    own = {
        "status": "created",
        "name": name,
        "project": project,
        "type": kind,
        "created": time.time_ns() // 1000,
        "user": user,
        "host": host,
    }
    workspace.edit(key, {**keys, **own}, new=True)
    return key


def execution(
    code: Code,
    docker: str | None = None,
    docker_args: str | None = None,
    docker_setup: str | Sequence[str] | None = None,
    arguments: Sequence[tuple[str, Any]] | None = None,
) -> dict[str, Any]:
    """The keys of a draft that say what it runs, in what, and with which arguments. Raises BadValue."""
    code.check()
    keys: dict[str, Any] = {}
    if code.repo or code.script or code.module:
        keys["script"] = _script(code)
    if packages := _packages(code):
        keys["packages"] = packages
    if docker or docker_args or docker_setup:
        setup = docker_setup if isinstance(docker_setup, str) else "\n".join(docker_setup or ())
        keys["container"] = {
            "image": docker or "",
            "arguments": docker_args or "",
            "setup_shell_script": setup,
        }
    for pair in arguments or ():
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise BadValue(f"argparse_args are pairs of a name and a value, not {pair!r}")
        keys[parameters.key_of(f"Args/{pair[0]}")] = parameters.record(pair[1], None, None)
    return keys


def copied(source_key: str, state: State, **given: str | None) -> dict[str, Any]:
    """The keys of a copy: what the task was to run, none of what it has made. given: comment, parent."""
    kept = {
        key: entry.value
        for key, entry in state.keys.items()
        if entry.value is not None and key not in _NOT_COPIED and not key.startswith(_NOT_COPIED_BELOW)
    }
    comment = given.get("comment")
    parent = given.get("parent") or state.get("parent") or source_key
    return {**kept, "comment": state.get("comment", "") if comment is None else comment, "parent": parent}


def clone(
    workspace: Workspace,
    key: str,
    name: str | None,
    comment: str | None,
    parent: str | None,
    project: str | None,
    changes: Mapping[str, Any] | None = None,
) -> str:
    """Copy a task as a draft, with these keys changed; returns the new id. Raises TaskNotFound, BadValue."""
    from tracker.sdk.task.identity import project_named

    state = workspace.thing(key).state
    where = str(state.get("project", ""))
    if project is not None:
        where = project_named(workspace, project, None) or names.check_name("project", project)
    called = f"Clone Of {state.get('name', '')}" if name is None else names.check_name("task", name)
    keys = {**copied(key, state, comment=comment, parent=parent), **(changes or {})}
    return create(workspace, where, called, str(state.get("type", TaskTypes.training.value)), keys)


def source_of(given: object) -> str:
    """The id of a task that is given as Task or id. Raises WrongKind."""
    from tracker.sdk.task.core import Core

    if isinstance(given, Core):
        return given.id
    if isinstance(given, str):
        return given
    raise WrongKind(f"a Task or a task's id is expected, not {given!r}")


# --- code ------------------------------------------------------------------------------------------------------------


def _script(code: Code) -> dict[str, Any]:
    entry = _entry_point(code)
    record: dict[str, Any] = {
        "repository": code.repo or "",
        "branch": code.branch or "",
        "version_num": code.commit or "",
        "diff": "",
        "working_dir": code.working_directory or ".",
        "entry_point": entry,
        "binary": code.binary or ("/bin/bash" if entry.endswith(".sh") else "python3"),
        "untracked": 0,
    }
    local = _local_folder(code)
    if local is not None and code.detect_repository and not code.force_single_script_file:
        _detect(record, local, code)
    text = _text(local, code)
    if text is not None and not record["repository"]:
        record.update(diff=_with_init(text) if code.add_task_init_call else text, working_dir=".")
        record["entry_point"] = os.path.basename(code.script or entry)
    elif code.add_task_init_call and entry.endswith(".py"):
        path = os.path.normpath(os.path.join(record["working_dir"], record["entry_point"])).replace(
            os.sep, "/"
        )
        record["diff"] += _patch(path, text)
    return record


def _entry_point(code: Code) -> str:
    if not code.module:
        return (code.script or "").replace(os.sep, "/")
    module, *rest = shlex.split(code.module)
    return shlex.join(["-m", module.removeprefix("-m").strip() or rest.pop(0), *rest])


def _local_folder(code: Code) -> Path | None:
    """The folder on this machine that the code is in; None where a URL names it."""
    if code.repo:
        return Path(code.repo) if os.path.isdir(code.repo) else None
    folder = Path(code.working_directory or ".")
    if code.script and not (folder / code.script).is_file() and Path(code.script).is_file():
        return Path(code.script).parent
    return folder if folder.is_dir() else None


def _detect(record: dict[str, Any], folder: Path, code: Code) -> None:
    """What git knows of a local folder. A branch or commit that was asked for leaves uncommitted changes out."""
    from tracker.capture.git import without_credentials
    from tracker.capture.worktree import read_worktree

    found = read_worktree(str(folder))
    if found is None or found.commit is None:
        if code.repo:
            raise BadValue(
                f"repo {code.repo!r} is a folder without a git commit: give a URL, or a script alone"
            )
        return
    if not found.url:
        return  # nobody else could fetch it
    record["repository"] = without_credentials(found.url)
    if not (code.branch or code.commit):
        record.update(
            branch=found.branch, version_num=found.commit, diff=found.patch.decode("utf-8", "replace")
        )
    if code.script and not code.repo:
        script = os.path.realpath(folder / code.script if (folder / code.script).is_file() else code.script)
        base = os.path.realpath(code.working_directory or folder)
        record["working_dir"] = os.path.relpath(base, found.root).replace(os.sep, "/")
        record["entry_point"] = os.path.relpath(script, base).replace(os.sep, "/")


def _text(folder: Path | None, code: Code) -> str | None:
    """The script's text, where it is on this machine."""
    if folder is None or not code.script:
        return None
    for path in (
        folder / (code.working_directory or ".") / code.script,
        folder / code.script,
        Path(code.script),
    ):
        if path.is_file():
            return path.read_text(encoding="utf-8", errors="replace")
    return None


def _with_init(text: str) -> str:
    """A script that begins a task: the call comes after what Python wants to stand first."""
    if "Task.init(" in text:
        return text
    lines = text.splitlines(keepends=True)
    at = _first_free(lines)
    return "".join([*lines[:at], *(f"{line}\n" for line in _INIT), *lines[at:]])


def _first_free(lines: Sequence[str]) -> int:
    import ast

    try:
        body = ast.parse("".join(lines)).body
    except (SyntaxError, ValueError):
        return 0
    at = 0
    for number, node in enumerate(body):
        docstring = number == 0 and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        future = isinstance(node, ast.ImportFrom) and node.module == "__future__"
        if not (docstring or future):
            break
        at = node.end_lineno or at
    if at == 0:  # an interpreter line and an encoding stay where they are looked for
        at = next((n for n, line in enumerate(lines[:2]) if not line.startswith("#")), min(2, len(lines)))
    return at


def _patch(path: str, text: str | None) -> str:
    """The same as a patch of a file; of one that is not here it begins the first line, without context."""
    if text is None:
        return f"--- a/{path}\n+++ b/{path}\n@@ -0,0 +1,{len(_INIT)} @@\n" + "".join(
            f"+{line}\n" for line in _INIT
        )
    after = _with_init(text)
    before, new = text.splitlines(keepends=True), after.splitlines(keepends=True)
    return "".join(difflib.unified_diff(before, new, f"a/{path}", f"b/{path}"))


def _packages(code: Code) -> str:
    listed: list[str] = []
    if code.requirements_file is not None:
        listed = Path(code.requirements_file).read_text(encoding="utf-8").splitlines()
    elif isinstance(code.packages, Sequence) and not isinstance(code.packages, str):
        listed = [str(package) for package in code.packages]
    elif code.packages is not None and not isinstance(code.packages, bool):
        raise BadValue(f"packages are a list of requirements, not {code.packages!r}")
    if listed and code.add_task_init_call and not any(line.startswith(_OWN_PACKAGE) for line in listed):
        listed.append(_OWN_PACKAGE)
    return "\n".join(listed)
