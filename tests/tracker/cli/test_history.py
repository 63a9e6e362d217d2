"""`tracker log`, by real processes on a real store."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.tracker.cli.conftest import Sample


def test_json_has_every_commit_and_the_keys_it_changed(sample: Sample) -> None:
    """`tracker.log/1`: newest first, each with its parents."""
    document = sample.cli("log", sample.ids["best"], "--json").json
    assert (document["schema"], document["id"]) == ("tracker.log/1", sample.ids["best"])
    tagged, recorded = document["commits"]
    assert tagged["parents"] == [recorded["commit"]]
    assert (tagged["added"], tagged["changed"], tagged["removed"]) == (["tag/winner"], [], [])
    assert (tagged["points"], recorded["points"], recorded["console_lines"]) == (0, 24, 12)
    assert (recorded["writers"], tagged["writers"]) == (1, 2)
    assert recorded["parents"] == []
    assert {"param/General/lr", "artifact/dataset", "status"} <= set(recorded["added"])
    assert recorded["time"] < tagged["time"]
    assert recorded["status"] == tagged["status"] == "completed"


def test_a_person_reads_what_each_commit_changed(sample: Sample) -> None:
    """Few keys are named, many are counted."""
    done = sample.cli("log", sample.ids["best"])
    header, tagged, recorded = done.out.splitlines()
    assert header.split() == ["commit", "when", "writers", "status", "what", "changed"]
    assert tagged.endswith("completed  + tag winner")
    assert "+ 2 parameters, 3 artifacts, 1 output model, 1 single value, 1 tag, " in recorded
    assert recorded.endswith("24 points; 12 console lines; 1 plot")


def test_a_commit_can_be_printed_by_the_id_that_log_shows(sample: Sample) -> None:
    """As JSON, and so can the record before the last edit be found."""
    commit = sample.cli("log", sample.ids["best"], "--json").json["commits"][1]["commit"]
    record = sample.cli("cat", commit[:12]).json
    assert record["key"] == sample.ids["best"]
    assert record["path"] == ["task", "vision/digits", "lr 0.1"]
