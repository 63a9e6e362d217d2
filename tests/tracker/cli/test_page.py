"""`tracker show`, by real processes on a real store."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.tracker.cli.conftest import Sample


def test_json_has_all_of_a_task(sample: Sample) -> None:
    """`tracker.show/1`: the row of `ls`, and more."""
    document = sample.cli("show", sample.ids["best"], "--json").json
    assert document.keys() == {"schema", "task"}
    assert document["schema"] == "tracker.show/1"
    task = document["task"]
    row = sample.cli("ls", "--json", "--tag", "winner").json["tasks"][0]
    assert {key: task[key] for key in row} == row

    script = task["script"]
    assert (script["branch"], script["entry_point"], script["diff_hash"]) == ("main", "train.py", None)
    assert len(script["commit"]) == 40
    assert script["diff"].endswith("+# a change\n")

    artifacts = {each["name"]: each for each in task["artifacts"]}
    assert artifacts.keys() == {"dataset", "folder", "big"}
    assert artifacts["big"]["size"] == 9 << 20
    assert artifacts["dataset"]["file"] == "dataset.json"
    assert all(len(each["hash"]) == 64 for each in artifacts.values())
    (model,) = task["models"]["output"]
    assert (model["name"], model["file"], model["size"]) == ("model", "model.bin", 2400)
    assert task["models"]["input"] == []

    assert task["console_tail"][-1] == "epoch 11"
    assert len(task["console_tail"]) == 10
    assert task["plots"] == {"confusion/test": 1}
    assert task["history"][0]["added"] == ["tag/winner"]
    assert (task["progress"], task["health"], task["status_reason"]) == (100, {}, "")


def test_the_page_shows_every_part_of_a_run(sample: Sample) -> None:
    """In a pipe: whole hashes, and nothing cut."""
    done = sample.cli("show", sample.ids["best"][:7], "--lines", "2")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0] == "lr 0.1  completed"
    for title in (
        "Parameters",
        "Metrics",
        "Single values",
        "Plots and samples",
        "Artifacts",
        "Output models",
    ):
        assert title in lines
    assert "  General/hidden  64" in lines
    assert "  changes  uncommitted, 1 file, +1 -0 lines" in lines
    assert lines[-4:] == ["Console  last 2 lines", "  epoch 10", "  epoch 11", "History  2 commits"]
    model = sample.best["models"]["output"][0]
    assert f"  model  -     2.3 KiB  {model['hash']}  model.bin" in lines
    assert any(line.endswith("  files/") for line in lines)


def test_the_id_of_a_model_is_no_task(sample: Sample) -> None:
    """The error says how to see it."""
    model = sample.best["models"]["output"][0]["id"]
    done = sample.cli("show", model[:8])
    assert (done.code, done.err) == (
        3,
        f"tracker: {model} is a model, no task: `tracker models {model[:8]}` shows it\n",
    )
    assert sample.cli("models", model[:8], "--json").json["models"][0]["id"] == model
    assert sample.cli("cat", model[:8]).json["kind"] == "model"


def test_a_failed_run_says_why(sample: Sample) -> None:
    """Beside its status."""
    out = sample.cli("show", sample.ids["failed"]).out
    assert out.startswith("no luck  failed\n")
    assert "it was Monday" in out


def test_hostile_texts_are_spelled_out_everywhere(sample: Sample) -> None:
    """Name, project, tag, parameter, series, artifact, file, console: none is obeyed, on a terminal neither."""
    for changes in ({}, {"FORCE_COLOR": "1", "NO_COLOR": "1", "COLUMNS": "100"}):
        out = sample.cli("show", sample.ids["hostile"], **changes).out
        assert out.startswith("evil \\u202e name \\x9b31m 😀 [red]  completed\n")
        assert "tags     \\x1b[31mred\\x1b]0;title\\x07\\nnext\\u2028line\n" in out
        assert "  General/text  \\x1b[31mred" in out
        assert not any(c in out for c in "\x1b\x9b\u202e\u2028\x07")


def test_json_gives_hostile_texts_back_as_they_were(sample: Sample) -> None:
    """Spelled by JSON's own rules: the bytes on the terminal are harmless, the texts are whole."""
    done = sample.cli("show", sample.ids["hostile"], "--json")
    assert not any(c in done.out for c in "\x1b\x9b\u202e\u2028\x07")
    assert done.json["task"]["tags"] == ["\x1b[31mred\x1b]0;title\x07\nnext\u2028line"]
    assert done.json["task"]["name"] == "evil \u202e name \x9b31m \U0001f600 [red]"
