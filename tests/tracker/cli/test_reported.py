"""Plots, tables, images and media on the command line: listed as what they are, and written out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.scripts import QUIET

if TYPE_CHECKING:
    from tests.commands import Cli

SCRIPT = f"""
import io
from tracker import OutputModel, Task
task = Task.init("cli", "reports", {QUIET})
log = task.get_logger()
log.report_matrix("confusion", "test", [[1, float("nan")]], 1)
log.report_matrix("confusion", "test", [[3, 4]], 2)
log.report_line_plot("lines", {{"name": "n", "data": [[1, 2]]}}, "x", "y")
log.report_table("errors", "\\x1b[2Jworst", 3, [["id"], [4]])
for step in (1, 2):
    log.report_media("heard", "sound", step, stream=io.BytesIO(b"sound %d" % step), file_extension=".wav")
log.report_image("seen", "elsewhere", 1, url="https://example.org/x.png")
task.upload_artifact("heard/sound", {{"an": "artifact"}})
model = OutputModel(task, name="a model")
model.report_table("of", "model", 1, [["x"], [1]])
print(task.id, model.id)
"""


@pytest.fixture
def ids(cli: Cli) -> tuple[str, str]:
    """A task and its model, recorded in the folder of the commands."""
    task, model = cli.python(SCRIPT).out.split()
    return task, model


def test_show_lists_what_was_reported(cli: Cli, ids: tuple[str, str]) -> None:
    """The newest of each name with its kind, iteration, count and size; names are escaped."""
    lines = [line.split() for line in cli("show", ids[0]).out.splitlines()]
    at = lines.index(["Plots", "and", "samples"])
    assert lines[at + 1] == ["name", "kind", "iteration", "count", "size", "hash", "file"]
    rows = {line[0]: line[1:4] for line in lines[at + 2 : at + 7]}
    assert rows == {
        "confusion/test": ["plot", "2", "2"],
        "errors/\\x1b[2Jworst": ["table", "3", "1"],
        "heard/sound": ["media", "2", "2"],
        "lines": ["plot", "0", "1"],
        "seen/elsewhere": ["image", "1", "1"],
    }
    assert lines[at + 6][-1] == "https://example.org/x.png"


def test_json_has_hash_figure_and_file(cli: Cli, ids: tuple[str, str]) -> None:
    """For programs; the table's figure can be had by its hash."""
    task = cli("show", ids[0], "--json").json["task"]
    assert task["plots"] == {"confusion/test": 2, "lines/": 1, "errors/\x1b[2Jworst": 1}
    found = {each["title"]: each for each in task["reports"]}
    assert (found["heard"]["kind"], found["heard"]["size"], found["heard"]["count"]) == ("media", 7, 2)
    assert (found["seen"]["hash"], found["seen"]["url"]) == (None, "https://example.org/x.png")
    figure = json.loads(cli("cat", found["errors"]["figure"]).out)
    assert figure["data"][0]["type"] == "table"


def test_content_is_written_out(cli: Cli, ids: tuple[str, str]) -> None:
    """The newest, or that of an iteration; an artifact of the same name comes first; a model's own too."""
    task, model = ids
    assert json.loads(cli("cat", f"{task}:confusion/test").out)["data"][0]["z"] == [[3, 4]]
    assert json.loads(cli("cat", f"{task}:confusion/test@1").out)["data"][0]["z"] == [[1, "nan"]]
    assert json.loads(cli("get", f"{task}:heard/sound", "-o", "-").out) == {"an": "artifact"}
    assert cli("get", f"{task}:heard/sound@1", "-o", "-").out == "sound 1"
    assert cli("get", f"{task}:heard/sound@2").code == 0
    assert (Path(cli.folder) / "heard_sound_00000001.wav").read_bytes() == b"sound 2"
    assert json.loads(cli("cat", f"{task}:errors/\x1b[2Jworst").out) == {"rows": [["id"], [4]]}
    assert json.loads(cli("cat", f"{model}:of/model").out) == {"rows": [["x"], [1]]}


def test_what_cannot_be_had_says_why(cli: Cli, ids: tuple[str, str]) -> None:
    """A mere URL, an unknown name."""
    done = cli("get", f"{ids[0]}:seen/elsewhere")
    assert (done.code, "only registered, at https://example.org/x.png" in done.err) == (3, True)
    done = cli("get", f"{ids[0]}:nothing")
    assert done.code == 3
    assert "it has heard/sound, a model, confusion/test" in done.err
