"""Settings: which source wins, and that a wrong value is named with its place."""

from __future__ import annotations

import tempfile
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


def test_unknown_settings_are_left_to_later_versions(tmp_path: Path) -> None:
    """A store that a newer version made can be opened."""
    assert config.load(settings(tmp_path, "from_the_future = 1\n[table]\nx = 2"), {}) == Config()


def test_template_shows_the_defaults(checkout: Path) -> None:
    """The commented settings of a fresh store are real ones, with their real defaults."""
    text = (checkout / ".tracker-template" / "config.toml").read_text(encoding="utf-8")
    shown = [
        line[2:] for line in text.splitlines() if line.startswith("# ") and " = " in line and line[-1] != "."
    ]
    assert len(shown) == 5
    for line in shown:
        name, _, value = line.partition(" = ")
        assert str(getattr(Config(), name.replace(".", "_"))).lower().removesuffix(
            ".0"
        ) == value.removesuffix(".0")


def test_setting_of_a_table_is_named_by_both() -> None:
    """As a dotted key, below a header, or in a variable."""
    for text in ("task.reuse_hours = 1.5", "[task]\nreuse_hours = 1.5"):
        with tempfile.TemporaryDirectory() as folder:
            assert config.load(settings(Path(folder), text), {}).task_reuse_hours == 1.5
    assert config.load(None, {"TRACKER_TASK_REUSE_HOURS": "0"}).task_reuse_hours == 0


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
