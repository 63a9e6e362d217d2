"""`tracker config`: what holds, where it comes from, and changing it, by real processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def here(tmp_path: Path, cli: Any) -> Any:
    """The command line in a folder with an empty store, and a home of its own."""
    found = cli.at(tmp_path)
    assert found("init").code == 0
    return found


def test_value_and_origin_follow_what_was_set(here: Any, tmp_path: Path) -> None:
    """A file or a variable by name."""
    assert here("config", "get", "close_timeout").out == "10.0\n"
    assert here("config", "set", "close_timeout", "3").code == 0
    toml = tmp_path / ".tracker" / "config.toml"
    assert here("config", "get", "close_timeout", "--show-origin").out == f"3.0  {toml}\n"
    listed = here("config", "--show-origin", "--json", TRACKER_STRICT="1").json
    rows = {each["key"]: (each["value"], each["origin"]) for each in listed["settings"]}
    assert (listed["schema"], rows["strict"], rows["close_timeout"]) == (
        "tracker.config/1",
        (True, "TRACKER_STRICT"),
        (3.0, str(toml)),
    )
    assert here("config", "unset", "close_timeout").code == 0
    assert here("config", "unset", "close_timeout").code == 3
    assert here("config", "get", "close_timeout", "--json").json["origin"] == "default"


def test_users_settings_hold_everywhere_and_a_variable_wins(here: Any, tmp_path: Path) -> None:
    """Also outside of any store; who loses to a variable is told."""
    home = {"XDG_CONFIG_HOME": str(tmp_path / "home")}
    done = here("config", "set", "--user", "allow_pickle", "true", **home, TRACKER_ALLOW_PICKLE="0")
    assert (done.code, "TRACKER_ALLOW_PICKLE says otherwise" in done.err) == (0, True)
    (tmp_path / "outside").mkdir()
    assert here("config", "get", "allow_pickle", **home).out == "true\n"
    assert here("config", "set", "allow_pickle", "true").code == 2


def test_a_store_named_by_a_relative_path_does_not_overrule_itself(here: Any) -> None:
    """What was set in its file is what holds: there is nothing to warn of."""
    done = here("--store", ".", "config", "set", "close_timeout", "3")
    assert (done.code, "warning" in done.err) == (0, False)
    assert here("--store", ".", "config", "get", "close_timeout").out == "3.0\n"


def test_store_from_elsewhere_is_named_where_it_has_no_say(here: Any, tmp_path: Path) -> None:
    """Nobody should wonder why it does not count."""
    (tmp_path / ".tracker" / "config.toml").write_text("allow_pickle = true\n")
    done = here("config", "--json")
    assert {each["key"]: each["value"] for each in done.json["settings"]}["allow_pickle"] is False
    assert "allow_pickle in" in done.err
    assert "has no say" in done.err
