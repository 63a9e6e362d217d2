"""Settings changed in their file: comments stay, wrong ones are refused, a table is made where one is needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracker import config, settings
from tracker.errors import BadValue


def test_comments_order_and_unknown_parts_stay(tmp_path: Path) -> None:
    """A file that somebody keeps by hand is still theirs."""
    path = tmp_path / "config.toml"
    text = "# mine\nstrict = true # why\n\n[remote.x]\nurl = '../x'\n"
    path.write_text(text)
    assert settings.set_value(path, "close_timeout", "3", users=False) == 3.0
    assert settings.set_value(path, "models.store", "register", users=False) == "register"
    assert settings.set_value(path, "log_environment", "A,B*", users=False) == ("A", "B*")
    assert settings.set_value(path, "strict", "no", users=False) is False
    found = config.load(tmp_path, {})
    assert (found.close_timeout, found.models_store, found.log_environment, found.strict) == (
        3.0,
        "register",
        ("A", "B*"),
        False,
    )
    for key in ("close_timeout", "models.store", "log_environment"):
        assert settings.unset(path, key, users=False)
        assert not settings.unset(path, key, users=False)
    kept = path.read_text()
    assert "# mine\nstrict = false # why\n" in kept
    assert "[remote.x]\nurl = '../x'\n" in kept
    assert config.load(tmp_path, {}) == config.Config()
    assert [each.name for each in tmp_path.iterdir()] == ["config.toml"]


@pytest.mark.parametrize(
    ("key", "value", "what"),
    [
        ("clos_timeout", "1", "did you mean close_timeout"),
        ("strict", "perhaps", "strict cannot be 'perhaps': it must be true or false"),
        ("allow_pickle", "true", "add --user"),
        ("vcs_branch", "x", "it is the variable TRACKER_VCS_BRANCH"),
    ],
)
def test_what_cannot_be_set_is_said(tmp_path: Path, key: str, value: str, what: str) -> None:
    """And nothing is written."""
    with pytest.raises(BadValue, match=what):
        settings.set_value(tmp_path / "config.toml", key, value, users=False)
    assert not list(tmp_path.iterdir())


def test_users_file_is_made_with_its_folder(tmp_path: Path) -> None:
    """And may hold what a store's may not."""
    path = tmp_path / "tracker" / "config.toml"
    assert settings.set_value(path, "allow_pickle", "yes", users=True) is True
    assert config.load(None, {"XDG_CONFIG_HOME": str(tmp_path)}).allow_pickle is True


def test_damaged_file_is_left_alone(tmp_path: Path) -> None:
    """It is named, and not written over."""
    path = tmp_path / "config.toml"
    path.write_text("strict = ")
    with pytest.raises(BadValue, match="not valid TOML"):
        settings.set_value(path, "strict", "true", users=False)
    assert path.read_text() == "strict = "
