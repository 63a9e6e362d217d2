"""Settings: which source wins, and that a wrong value is named with its place."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tracker import config
from tracker.config import Config
from tracker.errors import BadValue


def settings(folder: Path, text: str) -> Path:
    """A folder with a config.toml."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.toml").write_text(text, encoding="utf-8")
    return folder


def test_nothing_set_gives_the_defaults(tmp_path: Path) -> None:
    """Warn and go on; ten seconds for what is pending; no pickle unasked."""
    assert config.load(None, {}) == Config() == Config(strict=False, close_timeout=10.0, allow_pickle=False)
    assert config.load(tmp_path, {"HOME": str(tmp_path)}) == Config()


def test_environment_beats_store_beats_user(tmp_path: Path) -> None:
    """Each source overrides only what it names."""
    user = {"HOME": str(tmp_path)}
    settings(tmp_path / ".config" / "tracker", "strict = true\nclose_timeout = 1\nallow_pickle = true")
    store = settings(tmp_path / "store", "close_timeout = 2.5\nallow_pickle = false")
    assert config.load(None, user) == Config(True, 1.0, True)
    assert config.load(store, {**user, "TRACKER_MODELS_STORE": "register"}).models_store == "register"
    assert config.load(store, user) == Config(True, 2.5, False)
    assert config.load(store, {**user, "TRACKER_CLOSE_TIMEOUT": "3", "TRACKER_STRICT": "no"}) == Config(
        False, 3.0, False
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("1", True), ("YES", True), ("on", True), ("0", False), ("Off", False), ("", False)],
)
def test_words_for_true_and_false(text: str, value: bool) -> None:
    """As shells and people write them."""
    assert config.load(None, {"TRACKER_STRICT": text}).strict is value


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("strict = 'perhaps'", "strict .* 'perhaps': it must be true or false"),
        ("strict = [1]", r"strict .* \[1\]: it must be true or false"),
        ("close_timeout = 'soon'", "close_timeout .* 'soon': it must be a number"),
        ("close_timeout = true", "close_timeout .* True: it must be a number"),
        ("close_timeout = nan", "close_timeout .* nan: it must be a number"),
        ("close_timeout = inf", "close_timeout .* inf: it must be a number"),
        ("close_timeout = -1", "close_timeout .* -1: it must be a number"),
        ("strict = ", "not valid TOML"),
    ],
)
def test_wrong_value_is_named_with_its_file(tmp_path: Path, line: str, what: str) -> None:
    """Nobody should have to look for the file that a message means."""
    settings(tmp_path, line)
    with pytest.raises(BadValue, match=what) as caught:
        config.load(tmp_path, {})
    assert str(tmp_path / "config.toml") in str(caught.value)


def test_wrong_variable_is_named() -> None:
    """The message says that it comes from the environment."""
    with pytest.raises(BadValue, match="close_timeout in the environment"):
        config.load(None, {"TRACKER_CLOSE_TIMEOUT": "soon"})


def test_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    """Bytes that are no UTF-8."""
    tmp_path.joinpath("config.toml").write_bytes(b"strict = \xff")
    with pytest.raises(BadValue, match="not valid TOML"):
        config.load(tmp_path, {})


def test_a_store_cannot_switch_on_what_runs_code(tmp_path: Path) -> None:
    """Its config.toml may have come with a copy from elsewhere: it may forbid, and only the user may allow."""
    user = {"HOME": str(tmp_path)}
    store = settings(tmp_path / "store", "allow_pickle = true")
    assert config.load(store, user).allow_pickle is False
    found = config.resolve(store, user)["allow_pickle"]
    assert (found.value, found.origin, found.refused) == (False, "default", (str(store / "config.toml"),))
    assert config.load(store, {**user, "TRACKER_ALLOW_PICKLE": "1"}).allow_pickle is True
    settings(tmp_path / ".config" / "tracker", "allow_pickle = true")
    assert config.load(store, user).allow_pickle is True
    settings(tmp_path / "store", "allow_pickle = false")
    assert config.load(store, user).allow_pickle is False


def test_clearmls_variables_count_and_ours_beat_them() -> None:
    """Under either name; a bad one is named by the name it was given."""
    both = {"CLEARML_DEFAULT_OUTPUT_URI": "s3://theirs", "TRACKER_DEFAULT_OUTPUT_URI": "s3://ours"}
    assert (
        config.load(None, {"CLEARML_DEFAULT_OUTPUT_URI": "s3://theirs"}).default_output_uri == "s3://theirs"
    )
    assert config.load(None, both).default_output_uri == "s3://ours"
    assert config.load(None, {"CLEARML_SET_ITERATION_OFFSET": "7"}).set_iteration_offset == 7
    assert config.load(None, {"CLEARML_LOG_ENVIRONMENT": "A, B*"}).log_environment == ("A", "B*")
    with pytest.raises(
        BadValue, match=r"task_no_reuse in the environment \(CLEARML_TASK_NO_REUSE\) is 'perhaps'"
    ):
        config.load(None, {"CLEARML_TASK_NO_REUSE": "perhaps"})


def test_variable_that_stands_in_no_file_is_ignored_there(tmp_path: Path) -> None:
    """What describes one process must not be said of all."""
    assert config.load(settings(tmp_path, "vcs_branch = 'x'"), {}).vcs_branch is None


CONF = """
sdk {
    # as ClearML writes it
    development {
        default_output_uri: "s3://conf"
        task_reuse_time_window_in_hours = 24
        log_os_environments: ["AWS_*", HOSTNAME]
        worker { log_stdout: no }
        artifacts.auto_pickle: ""
    }
    storage.block_pickled_artifacts: true
}
api.credentials { access_key: "x" }
"""


def test_clearml_conf_is_the_last_word_but_the_default(tmp_path: Path) -> None:
    """HOCON, in the home or where a variable names it; an empty text says nothing."""
    pytest.importorskip("pyhocon")
    (tmp_path / "clearml.conf").write_text(CONF)
    found = config.load(None, {"HOME": str(tmp_path)})
    assert found.default_output_uri == "s3://conf"
    assert found.task_reuse_hours == 24.0
    assert found.log_environment == ("AWS_*", "HOSTNAME")
    assert (found.log_stdout, found.block_pickled_artifacts, found.auto_pickle) == (False, True, True)
    settings(tmp_path / ".config" / "tracker", "default_output_uri = 's3://user'\n[task]\nreuse_hours = 1")
    found = config.load(None, {"HOME": str(tmp_path)})
    assert (found.default_output_uri, found.task_reuse_hours) == ("s3://user", 1.0)
    other = {"HOME": "/nowhere", "CLEARML_CONFIG_FILE": str(tmp_path / "clearml.conf")}
    assert config.resolve(None, other)["log_stdout"].origin == str(tmp_path / "clearml.conf")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("sdk { ", "not valid HOCON"),
        ("[1, 2]", "a HOCON list"),
        ("sdk.development.worker.log_stdout: perhaps", "log_stdout .*'perhaps': it must"),
    ],
)
def test_wrong_clearml_conf_is_named(tmp_path: Path, text: str, what: str) -> None:
    """As any other file."""
    pytest.importorskip("pyhocon")
    (tmp_path / "clearml.conf").write_text(text)
    with pytest.raises(BadValue, match=what) as caught:
        config.load(None, {"HOME": str(tmp_path)})
    assert str(tmp_path / "clearml.conf") in str(caught.value)


def test_absent_clearml_conf_costs_no_import(tmp_path: Path) -> None:
    """To import pyhocon takes 0.2 s."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from tracker import config; config.load(None); print('pyhocon' in sys.modules)",
        ],
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "False\n"


def test_every_setting_is_on_the_page(checkout: Path) -> None:
    """docs/configuration.md has exactly the table that the code makes."""
    page = (checkout / "docs" / "configuration.md").read_text(encoding="utf-8")
    section = page.partition("## All of them")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    assert rows == [row(each) for each in config.settings()]


def row(setting: config.Setting) -> str:
    """A setting as the page shows it."""
    variables = [f"`{name}`" for name in (setting.variable, setting.clearml) if name]
    where = {"any": "any", "user": "user's file, variable", "environment": "variable"}[setting.places]
    default = {None: "", (): "none"}.get(
        setting.default, f"`{str(setting.default).lower()}`" if setting.default != "" else ""
    )
    cells = [
        f"`{setting.key}`",
        default,
        setting.meaning,
        ", ".join(variables),
        f"`{setting.conf}`" if setting.conf else "",
        where,
    ]
    return f"| {' | '.join(cells)} |"


def test_unknown_settings_are_left_to_later_versions(tmp_path: Path) -> None:
    """A store that a newer version made can be opened."""
    assert config.load(settings(tmp_path, "from_the_future = 1\n[table]\nx = 2"), {}) == Config()


def test_folders_follow_xdg() -> None:
    """XDG's variables, else its defaults below the home; nothing without a home."""
    xdg = {"XDG_CONFIG_HOME": "/c", "XDG_STATE_HOME": "/s", "HOME": "/h"}
    assert (config.user_config(xdg), config.state_home(xdg)) == (
        Path("/c/tracker/config.toml"),
        Path("/s/tracker"),
    )
    home = {"HOME": "/h"}
    assert config.user_config(home) == Path("/h/.config/tracker/config.toml")
    assert config.state_home(home) == Path("/h/.local/state/tracker")
    assert config.user_config({}) is config.state_home({}) is None
