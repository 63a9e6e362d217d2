"""`tracker diff`, by real processes on a real store."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.tracker.cli.conftest import Sample


def test_json_has_what_differs_and_nothing_else(sample: Sample) -> None:
    """`tracker.diff/1`: the same script, packages and dataset are not in it."""
    document = sample.cli("diff", sample.ids["best"], sample.ids["worst"], "--json").json
    assert document["schema"] == "tracker.diff/1"
    assert document["left"] == {"id": sample.ids["best"], "name": "lr 0.1"}
    assert document["same"] is False
    assert document["params"] == {"General/lr": {"left": "0.1", "right": "0.001"}}
    assert document["tags"] == {"left": ["winner"], "right": ["old"]}
    assert document["metrics"].keys() == {"accuracy/test", "loss/train"}
    assert document["metrics"]["accuracy/test"]["right"] == {"last": 0.5, "min": 0.0, "max": 0.5, "count": 12}
    assert document["singles"] == {"f1": {"left": 0.9, "right": 0.5}}
    assert document["models"].keys() == {"model"}
    assert document["models"]["model"]["left"]["hash"] != document["models"]["model"]["right"]["hash"]
    for nothing in ("fields", "script", "packages", "artifacts"):
        assert document[nothing] == {}
    assert document["script_diff"] == ""


def test_what_only_one_side_has_is_null_on_the_other(sample: Sample) -> None:
    """Artifacts, say, of a run that made none."""
    document = sample.cli("diff", sample.ids["best"], sample.ids["failed"], "--json").json
    assert document["artifacts"]["dataset"]["right"] is None
    assert document["artifacts"]["dataset"]["left"]["file"] == "dataset.json"
    assert document["fields"]["status"] == {"left": "completed", "right": "failed"}


def test_a_person_reads_it_in_sections(sample: Sample) -> None:
    """Left, right, and the change of each value."""
    done = sample.cli("diff", sample.ids["best"], sample.ids["worst"])
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0] == f"- {sample.ids['best']}  lr 0.1  (vision/digits)"
    assert lines[1] == f"+ {sample.ids['worst']}  lr 0.001  (vision/digits)"
    titles = [line for line in lines[2:] if not line.startswith(" ")]
    assert titles == ["Parameters", "Tags", "Values", "Output models"]
    assert "  General/lr  0.1   0.001" in lines
    assert "  - winner" in lines
    assert any(line.split() == ["accuracy/test", "0.9", "0.5", "-0.4"] for line in lines)


def test_a_task_does_not_differ_from_itself(sample: Sample) -> None:
    """NaN included, which differs from itself elsewhere."""
    for label in ("best", "failed", "hostile"):
        assert sample.cli("diff", sample.ids[label], sample.ids[label], "--json").json["same"] is True
    assert "nothing that is compared differs" in sample.cli("diff", *[sample.ids["best"]] * 2).out
