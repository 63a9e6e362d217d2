"""One frozen Config, resolved once; its fields are the table of all settings: what each means, where it may be set.

The greater wins: the environment as TRACKER_…, the environment as CLEARML_…, the store's config.toml, the user's own,
clearml.conf, the default. Writes nothing: see `settings`.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from objstore import layout as store_layout
from tracker import hocon, layout
from tracker.errors import BadValue

_TRUE = frozenset(("1", "true", "yes", "y", "on", "t"))
_FALSE = frozenset(("0", "false", "no", "n", "off", "f", ""))


class Garbled(BadValue):
    """A settings file that cannot be parsed: cut short, perhaps, which nobody meant. A wrong value is a mistake."""


# --- how a value is read, from a file or a variable. Each says with ValueError what it must be -----------------------


def _flag(value: Any) -> bool:
    text = str(value).strip().lower() if isinstance(value, str | int) else None
    if text not in _TRUE | _FALSE:
        raise ValueError("true or false")
    return text in _TRUE


def _number(value: Any) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 <= number < math.inf:
        raise ValueError("a number, 0 or more")
    return number


def _whole(value: Any) -> int | None:
    if value == "":
        return None
    try:
        if isinstance(value, bool | float):
            raise TypeError
        return int(value)
    except (TypeError, ValueError):
        raise ValueError("a whole number") from None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("text")
    return value


def _text_if_given(value: Any) -> str | None:
    return _text(value)


def _words(value: Any) -> tuple[str, ...]:
    given = value.split(",") if isinstance(value, str) else value
    if not isinstance(given, list) or not all(isinstance(word, str) for word in given):
        raise ValueError("a list of texts, in a variable separated by commas")
    return tuple(word.strip() for word in given if word.strip())


def _one_of(*choices: str) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if value not in choices:
            raise ValueError(f"one of {', '.join(choices)}")
        return str(value)

    return parse


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table.

    key: in a config.toml; variable: in the environment; clearml: the same under ClearML's name; conf: its path below
    `sdk` in a clearml.conf; places: "any", "user" (a store's own config.toml can only switch it off: it may have come
    from elsewhere) or "environment" (no file at all).
    """

    name: str
    default: Any
    parse: Callable[[Any], Any]
    meaning: str
    key: str
    variable: str
    clearml: str = ""
    conf: str = ""
    places: str = "any"


def _setting(
    default: Any,
    parse: Callable[[Any], Any],
    meaning: str,
    *,
    clearml: str = "",
    conf: str = "",
    key: str = "",
    places: str = "any",
) -> Any:
    about = {
        "parse": parse,
        "meaning": meaning,
        "clearml": clearml,
        "conf": conf,
        "key": key,
        "places": places,
    }
    return field(default=default, metadata=about)


@dataclass(frozen=True, slots=True)
class Config:
    """The settings, as resolved. Each field's meaning stands beside it; `settings()` lists them."""

    strict: bool = _setting(False, _flag, "Raise where recording fails, instead of one warning.")
    close_timeout: float = _setting(
        10.0, _number, "Seconds that the end of a script waits for what is still being stored."
    )
    allow_pickle: bool = _setting(
        False, _flag, "Load pickled artifacts without being asked, whoever made them.", places="user"
    )
    force_read: bool = _setting(False, _flag, "Read files that are stored again, though they look unchanged.")
    redact: bool = _setting(True, _flag, "Leave out what looks like a secret of what is recorded.")
    block_pickled_artifacts: bool = _setting(
        False,
        _flag,
        "Load no pickle at all, one's own neither.",
        clearml="CLEARML_BLOCK_PICKLED_ARTIFACTS",
        conf="storage.block_pickled_artifacts",
    )
    auto_pickle: bool = _setting(
        True,
        _flag,
        "Pickle an artifact that nothing else can hold.",
        conf="development.artifacts.auto_pickle",
    )
    default_output_uri: str = _setting(
        "",
        _text,
        "Where copies of artifacts and weights go besides the store.",
        clearml="CLEARML_DEFAULT_OUTPUT_URI",
        conf="development.default_output_uri",
    )
    models_store: str = _setting(
        "content",
        _one_of("content", "register"),
        "Keep weights in the store (content), or only their place (register).",
        key="models.store",
    )
    models_max_size: float = _setting(
        0.0,
        _number,
        "Bytes above which weights are registered only; 0: no limit.",
        key="models.max_size",
    )
    task_reuse_hours: float = _setting(
        72.0,
        _number,
        "How long after its end a task without outputs is begun anew by the next run of its name.",
        key="task.reuse_hours",
        conf="development.task_reuse_time_window_in_hours",
    )
    task_no_reuse: bool = _setting(
        False,
        _flag,
        "Every run is a new task.",
        clearml="CLEARML_TASK_NO_REUSE",
        places="environment",
    )
    set_iteration_offset: int | None = _setting(
        None,
        _whole,
        "Added to the iterations of a continued task, instead of what follows its last one.",
        clearml="CLEARML_SET_ITERATION_OFFSET",
        places="environment",
    )
    deferred_task_init: bool = _setting(
        False,
        _flag,
        "Accepted, without effect: `Task.init` takes milliseconds, and returns the task itself.",
        clearml="CLEARML_DEFERRED_TASK_INIT",
        places="environment",
    )
    log_stdout: bool = _setting(
        True,
        _flag,
        "Record what is printed. `auto_connect_streams` of a script can switch it off, not on.",
        conf="development.worker.log_stdout",
    )
    log_environment: tuple[str, ...] = _setting(
        (),
        _words,
        "Variables that are recorded as parameters of the section Environment: names, `PREFIX*`, `*SUFFIX`, `*`.",
        clearml="CLEARML_LOG_ENVIRONMENT",
        conf="development.log_os_environments",
    )
    store_uncommitted_code_diff: bool = _setting(
        True,
        _flag,
        "Record the uncommitted changes of the repository.",
        conf="development.store_uncommitted_code_diff",
    )
    detect_with_pip_freeze: bool = _setting(
        False,
        _flag,
        "Record all installed packages, not only those that the run uses.",
        conf="development.detect_with_pip_freeze",
    )
    docker_image: str = _setting(
        "",
        _text,
        "The container image that a new task asks for.",
        clearml="CLEARML_DOCKER_IMAGE",
        places="environment",
    )
    docker_bash_script: str = _setting(
        "",
        _text,
        "The shell lines that prepare that container.",
        clearml="CLEARML_DOCKER_BASH_SCRIPT",
        places="environment",
    )
    vcs_repo_url: str | None = _setting(
        None,
        _text_if_given,
        "Recorded as the repository, instead of what is found.",
        clearml="CLEARML_VCS_REPO_URL",
        places="environment",
    )
    vcs_branch: str | None = _setting(
        None,
        _text_if_given,
        "Recorded as its branch.",
        clearml="CLEARML_VCS_BRANCH",
        places="environment",
    )
    vcs_commit_id: str | None = _setting(
        None,
        _text_if_given,
        "Recorded as its commit.",
        clearml="CLEARML_VCS_COMMIT_ID",
        places="environment",
    )
    vcs_work_dir: str | None = _setting(
        None,
        _text_if_given,
        "Recorded as the working folder in it.",
        clearml="CLEARML_VCS_WORK_DIR",
        places="environment",
    )
    vcs_entry_point: str | None = _setting(
        None,
        _text_if_given,
        "Recorded as what was started.",
        clearml="CLEARML_VCS_ENTRY_POINT",
        places="environment",
    )
    vcs_diff: str | None = _setting(
        None,
        _text_if_given,
        "Recorded as the uncommitted changes: base64, empty for none.",
        clearml="CLEARML_VCS_DIFF",
        places="environment",
    )


def settings() -> tuple[Setting, ...]:
    """All settings, in the order of their fields."""
    return tuple(
        Setting(
            each.name,
            each.default,
            each.metadata["parse"],
            each.metadata["meaning"],
            each.metadata["key"] or each.name,
            f"TRACKER_{each.name.upper()}",
            each.metadata["clearml"],
            each.metadata["conf"],
            each.metadata["places"],
        )
        for each in fields(Config)
    )


# --- resolving -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Found:
    """A setting's value and where it comes from: a file, a variable, or "default"; refused: places that had no say."""

    value: Any
    origin: str = "default"
    refused: tuple[str, ...] = ()


def load(store: Path | None, environment: Mapping[str, str] = os.environ) -> Config:
    """The settings for a store. Raises BadValue that names the file or variable and what it must be."""
    return Config(**{name: found.value for name, found in resolve(store, environment).items()})


def resolve(store: Path | None, environment: Mapping[str, str] = os.environ) -> dict[str, Found]:
    """The same, by name and with origins. Raises BadValue."""
    table = settings()
    found = {each.name: Found(each.default) for each in table}
    conf = clearml_conf(environment)
    if conf is not None:
        _take(found, _of_conf(_read_conf(conf), table), str(conf))
    for path, is_users in ((user_config(environment), True), (store and store / "config.toml", False)):
        if path is not None and path.is_file():
            _take(found, _of_file(_read(path), table), str(path), strangers=not is_users)
    for setting in table:
        for variable in (setting.clearml, setting.variable):
            if variable and variable in environment:
                value = _parsed(setting, environment[variable], f"the environment ({variable})")
                found[setting.name] = Found(value, variable)
    return found


def _take(
    found: dict[str, Found], given: Iterable[tuple[Setting, Any]], origin: str, *, strangers: bool = False
) -> None:
    for setting, raw in given:
        value = _parsed(setting, raw, origin)
        before = found[setting.name]
        if strangers and setting.places == "user" and value:
            found[setting.name] = Found(before.value, before.origin, (*before.refused, origin))
        else:
            found[setting.name] = Found(value, origin)


def _parsed(setting: Setting, raw: Any, where: str) -> Any:
    try:
        return setting.parse(raw)
    except ValueError as error:
        raise BadValue(f"{setting.key} in {where} is {raw!r}: it must be {error}") from None


def _of_file(tables: Mapping[str, Any], table: Iterable[Setting]) -> list[tuple[Setting, Any]]:
    """What a config.toml says of each setting; what it says besides is left to later versions."""
    given = []
    for setting in table:
        raw = _at(tables, setting.key)
        if raw is not None and setting.places != "environment":
            given.append((setting, raw))
    return given


def _of_conf(tree: Mapping[str, Any], table: Iterable[Setting]) -> list[tuple[Setting, Any]]:
    """What a clearml.conf says; an empty text or null there means that nothing is said."""
    given = []
    for setting in table:
        raw = _at(tree, f"sdk.{setting.conf}") if setting.conf else None
        if raw not in (None, ""):
            given.append((setting, raw))
    return given


def _at(tree: Mapping[str, Any], path: str) -> Any:
    value: Any = tree
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


# --- places ----------------------------------------------------------------------------------------------------------


def user_config(environment: Mapping[str, str] = os.environ) -> Path | None:
    """The user's own settings file, if there is a home to look in."""
    base = environment.get("XDG_CONFIG_HOME") or _home(environment, ".config")
    return Path(base) / "tracker" / "config.toml" if base else None


def clearml_conf(environment: Mapping[str, str] = os.environ) -> Path | None:
    """ClearML's settings, if there are any: as TRACKER_CONFIG_FILE or CLEARML_CONFIG_FILE says, else ~/clearml.conf."""
    named = environment.get("TRACKER_CONFIG_FILE") or environment.get("CLEARML_CONFIG_FILE")
    path = named or _home(environment, "clearml.conf")
    return Path(path).expanduser() if path and os.path.isfile(os.path.expanduser(path)) else None


def store_in(folder: Path) -> Path:
    """`folder`, or the .tracker in it where that is a store and `folder` itself is none."""
    inside = folder / layout.STORE
    is_store = (folder / store_layout.FORMAT_FILE).is_file()
    return inside if not is_store and (inside / store_layout.FORMAT_FILE).is_file() else folder


def state_home(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Where runs go whose own store cannot be written."""
    base = environment.get("XDG_STATE_HOME") or _home(environment, ".local/state")
    return Path(base) / "tracker" if base else None


def cache_home(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Where this user keeps what can be made again."""
    base = environment.get("XDG_CACHE_HOME") or _home(environment, ".cache")
    return Path(base) / "tracker" if base else None


def _home(environment: Mapping[str, str], below: str) -> str | None:
    home = environment.get("HOME") or environment.get("USERPROFILE")
    return f"{home}/{below}" if home else None


def _read(path: Path) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Garbled(f"{path} is not valid TOML: {error}") from error
    except OSError:
        return {}


def _read_conf(path: Path) -> Mapping[str, Any]:
    """A clearml.conf; nothing where the extra that reads it is not installed, which `tracker config` says."""
    try:
        tree = hocon.parse(path.read_text(encoding="utf-8"), path.parent)
    except (ImportError, OSError):
        return {}
    except Exception as error:  # pyparsing's, pyhocon's, and what broken text brings about in them
        raise Garbled(f"{path} is not valid HOCON: {error}") from error
    if not isinstance(tree, Mapping):
        raise Garbled(f"{path} is a HOCON list: settings are names and values")
    return tree
