"""What a task needs to be run again: its code, packages and container, and what was wished for them before it began.

Finds nothing out itself: captures propose, and what is here adjusts or overrules it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracker.errors import BadValue
from tracker.redaction import is_redacted

if TYPE_CHECKING:
    from tracker.capture import Capture
    from tracker.config import Config
    from tracker.sdk.task.execution import Execution

ENVIRONMENT = "Environment"
_LARGEST_INLINE = 64 << 10  # bytes of a text that are part of the task's record, as for a captured diff


@dataclass
class Wishes:
    """What a script has asked for before `Task.init`: of this process, for its next tasks too.

    added: package to version, as it was given; freeze: all installed packages; file: a requirements file to be taken as
    it is; standalone: the script's text instead of the repository.
    """

    added: dict[str, str | None] = field(default_factory=dict)
    ignored: set[str] = field(default_factory=set)
    freeze: bool = False
    file: Path | None = None
    standalone: bool = False


wishes = Wishes()


# --- at the start of a run -------------------------------------------------------------------------------------------


def wanted(captures: Iterable[str | Capture], config: Config) -> list[str | Capture]:
    """Of the captures those that the settings allow."""
    return [each for each in captures if getattr(each, "name", each) != "console" or config.log_stdout]


def begin(task: Execution) -> None:
    """Record the environment that was asked for, or put it back where the task is run again; and the container."""
    run = task._run
    if run is None:
        return
    config = task.workspace.config
    if task.replays:
        stored = task._state.section(f"param/{ENVIRONMENT}")
        values = {name: str(record["value"]) for name, record in stored.items()}
        os.environ.update({name: text for name, text in values.items() if not is_redacted(text)})
    elif run.identity.owner:
        chosen = _matching(config.log_environment)
        if chosen:
            task.set_parameters_as_dict({ENVIRONMENT: chosen})
        if config.docker_image or config.docker_bash_script:
            task.set_base_docker(
                docker_image=config.docker_image, docker_setup_bash_script=config.docker_bash_script
            )
    run.captures.adjust = adjuster(config, run.recorder.attach)


def _matching(patterns: Iterable[str]) -> dict[str, str]:
    """The variables that patterns ask for; `*` leaves out those of this program and of ClearML."""
    from fnmatch import fnmatchcase

    found = {}
    for pattern in patterns:
        for name, value in os.environ.items():
            own = name.startswith(("TRACKER_", "CLEARML_", "TRAINS_"))
            if fnmatchcase(name, pattern) and not (pattern == "*" and own):
                found[name] = value
    return found


def adjuster(config: Config, attach: Callable[[bytes], str]) -> Callable[[str, Any], Any]:
    """What makes of a capture's `script` and `packages` what was wished for."""

    def adjust(key: str, value: Any) -> Any:
        if key == "script" and isinstance(value, dict):
            return _script(value, config, attach)
        if key == "packages" and isinstance(value, str):
            return packages(value, wishes, freeze=config.detect_with_pip_freeze)
        return value

    return adjust


def _script(found: Mapping[str, Any], config: Config, attach: Callable[[bytes], str]) -> dict[str, Any]:
    record = dict(found)
    if wishes.standalone:
        record.update(_standalone(attach))
    elif record.get("version_num") and not config.store_uncommitted_code_diff:
        record["diff"] = ""
    told = {
        "repository": config.vcs_repo_url,
        "branch": config.vcs_branch,
        "version_num": config.vcs_commit_id,
        "working_dir": config.vcs_work_dir,
        "entry_point": config.vcs_entry_point,
    }
    record.update({name: value for name, value in told.items() if value is not None})
    if config.vcs_diff is not None:
        record["diff"] = text_or_ref(_decoded(config.vcs_diff), attach)
    return record


def _standalone(attach: Callable[[bytes], str]) -> dict[str, Any]:
    from tracker.capture.entry import current_entry

    script = current_entry().script
    if script is None:
        return {}
    text = Path(script).read_text(encoding="utf-8", errors="replace")
    return {
        "repository": "",
        "branch": "",
        "version_num": "",
        "working_dir": ".",
        "entry_point": Path(script).name,
        "diff": text_or_ref(text, attach),
    }


def _decoded(text: str) -> str:
    from base64 import b64decode

    try:
        return b64decode(text, validate=True).decode("utf-8", "replace")
    except ValueError:
        return text  # ClearML's own documentation has it both ways


def text_or_ref(text: str, attach: Callable[[bytes], str]) -> str | dict[str, str]:
    """A text as a record has it: a long one is an object, since every table and every edit reads the record."""
    data = text.encode("utf-8", "replace")
    return text if len(data) <= _LARGEST_INLINE else {"$ref": attach(data)}


# --- requirements ----------------------------------------------------------------------------------------------------

_NAME = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")


def packages(found: str, wishes: Wishes, *, freeze: bool = False) -> str:
    """A requirements text after what was wished for: packages added, left out, all of them, or a file's text."""
    if wishes.file is not None:
        return wishes.file.read_text(encoding="utf-8", errors="replace")
    lines = found.splitlines()
    if freeze or wishes.freeze:
        header = [line for line in lines[:1] if line.startswith("#")]
        lines = [*header, "", *_frozen()]
    ignored = {_normal(name) for name in wishes.ignored}
    lines = [line for line in lines if _named(line) not in ignored]
    for name, version in wishes.added.items():
        line = requirement(name, version)
        if version is None and any(_named(each) == _normal(name) for each in lines):
            continue
        lines = _inserted([each for each in lines if _named(each) != _normal(name)], line)
    return "\n".join(lines).rstrip("\n") + "\n"


def requirement(name: str, version: str | None) -> str:
    """`1.2` is `name == 1.2`; a version with an operator stays as it is; None is whatever is installed."""
    if version is None:
        from importlib.metadata import PackageNotFoundError
        from importlib.metadata import version as installed

        try:
            version = installed(name)
        except (PackageNotFoundError, ValueError):
            return name
    version = str(version).strip()
    if not version:
        return name
    return f"{name} == {version}" if version[0].isalnum() else f"{name} {version}"


def wish(name: str, version: str | None) -> None:
    """Ask for one package, or for all in a requirements file."""
    path = Path(name)
    if not path.is_file():
        wishes.added[name] = version
        return
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        match = _NAME.match(line.partition("#")[0])
        if match:
            wishes.added[match[1]] = line.partition("#")[0].strip()[match.end() :].strip()


def as_text(given: str | Path | Iterable[str]) -> str:
    """Packages given as a text, as the path of a requirements file, or as a list of lines. Raises BadValue."""
    if isinstance(given, str | Path):
        path = Path(given)
        if "\n" not in str(given) and os.path.isfile(path):
            return path.read_text(encoding="utf-8", errors="replace")
        return str(given)
    lines = list(given) if isinstance(given, Iterable) else None
    if lines is None or not all(isinstance(line, str) for line in lines):
        raise BadValue(f"packages are a text, a requirements file or a list of lines, not {given!r}")
    return "\n".join(lines)


def _frozen() -> list[str]:
    from importlib.metadata import distributions

    found = {str(each.metadata["Name"]): each.version for each in distributions() if each.metadata["Name"]}
    return [f"{name} == {found[name]}" for name in sorted(found, key=str.lower)]


def _named(line: str) -> str | None:
    match = None if line.lstrip().startswith(("#", "-")) else _NAME.match(line)
    return _normal(match[1]) if match else None


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _inserted(lines: list[str], line: str) -> list[str]:
    """A line among the packages, in order, before what comes after them."""
    at = [number for number, each in enumerate(lines) if _named(each) is not None]
    after = [number for number in at if (_named(lines[number]) or "") < (_named(line) or "")]
    if after:
        place = after[-1] + 1
    elif at:
        place = at[0]
    else:
        place = min(2, len(lines))
    return [*lines[:place], line, *lines[place:]]


# --- container -------------------------------------------------------------------------------------------------------


def container(
    before: Mapping[str, Any],
    command: str | None,
    image: str | None,
    arguments: str | Iterable[str] | None,
    script: str | Iterable[str] | None,
) -> dict[str, str]:
    """A container after an edit: None leaves a part, "" clears it; `command` is an image and its arguments in one."""
    if command is not None:
        image, _, arguments = command.strip().partition(" ")
    given = {
        "image": image,
        "arguments": arguments if isinstance(arguments, str | None) else " ".join(arguments),
        "setup_shell_script": script if isinstance(script, str | None) else "\n".join(script),
    }
    empty = {"image": "", "arguments": "", "setup_shell_script": ""}
    return {**empty, **before, **{name: value for name, value in given.items() if value is not None}}
