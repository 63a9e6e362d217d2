"""`tracker ls`, by real processes on a real store."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.commands import Cli
    from tests.tracker.cli.conftest import Sample


def listed(sample: Sample, *arguments: str) -> list[str]:
    """The labels of the tasks that `ls` lists, in its order."""
    labels = {key: label for label, key in sample.ids.items()}
    return [labels[task["id"]] for task in sample.cli("ls", "--json", *arguments).json["tasks"]]


def test_json_has_the_whole_row_of_each_task(sample: Sample) -> None:
    """`tracker.ls/1`, as promised to programs."""
    document = sample.cli("ls", "--json", "--tag", "winner").json
    assert document.keys() == {"schema", "tasks", "total"}
    assert (document["schema"], document["total"]) == ("tracker.ls/1", 1)
    (task,) = document["tasks"]
    times = {task.pop("created"), task.pop("updated")}
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00", time) for time in times)
    assert task == {
        "id": sample.ids["best"],
        "name": "lr 0.1",
        "project": "vision/digits",
        "status": "completed",
        "type": "training",
        "tags": ["sweep", "winner"],
        "iteration": 11,
        "metrics": {
            "accuracy/test": {"last": 0.9, "min": 0.0, "max": 0.9, "count": 12},
            "loss/train": {"last": 0.1 / 12, "min": 0.1 / 12, "max": 0.1, "count": 12},
        },
        "singles": {"f1": 0.9},
        "params": {"General/hidden": "64", "General/lr": "0.1"},
    }


def test_numbers_that_json_lacks_are_spelled(sample: Sample) -> None:
    """NaN and infinities."""
    tasks: dict[str, Any] = {task["id"]: task for task in sample.cli("ls", "--json").json["tasks"]}
    assert tasks[sample.ids["failed"]]["singles"] == {"f1": "nan"}
    assert tasks[sample.ids["hostile"]]["singles"] == {"f1": "-inf"}


def test_what_is_asked_for_is_listed(sample: Sample) -> None:
    """All filters have to fit; each option may be given again. See tests/tracker/test_index.py for their rules."""
    assert set(listed(sample, "--project", "vision", "--status", "failed", "--status", "completed")) == {
        "best",
        "worst",
        "failed",
        "long",
    }
    assert listed(sample, "DIGITS", "lr", "--tag", "sweep", "--tag", "-old") == ["best"]
    assert "worst" in listed(sample, sample.ids["worst"][:8])


def test_the_last_changed_task_comes_first(sample: Sample) -> None:
    """`best` was tagged after all the others had been recorded."""
    assert listed(sample)[0] == "best"


def test_tasks_are_sorted_by_a_value_whose_name_may_begin_with_a_dash_for_descending(sample: Sample) -> None:
    """NaN, and what has no such value, comes last."""
    assert listed(sample, "--sort", "-accuracy/test")[:2] == ["best", "worst"]
    assert listed(sample, "--sort", "f1") == ["hostile", "long", "worst", "best", "failed"]


def test_an_unknown_sort_key_offers_near_names(sample: Sample) -> None:
    """Rather than a table in some other order."""
    done = sample.cli("ls", "--sort", "-accuracy")
    assert (done.code, done.out) == (2, "")
    assert done.err == "tracker: no task has a value named 'accuracy': did you mean accuracy/test?\n"


def test_a_limit_is_told(sample: Sample) -> None:
    """`total` counts what fits the filter; a person is told on stderr."""
    document = sample.cli("ls", "--json", "--limit", "2").json
    assert (len(document["tasks"]), document["total"]) == (2, 5)
    done = sample.cli("ls", "--limit", "2")
    assert len(done.out.splitlines()) == 3
    assert done.err == "2 of 5 tasks\n"


def test_a_pipe_gets_whole_ids_and_names_on_lines_that_grep_finds(sample: Sample) -> None:
    """One line a task, nothing cut, no colour, no lines drawn, nothing that a terminal would obey."""
    done = sample.cli("ls")
    lines = done.out.splitlines()
    assert (done.code, done.err, len(lines)) == (0, "", 6)
    columns = lines[0].split()
    assert columns[:5] == ["id", "name", "project", "status", "f1"]
    assert "accuracy/test" in columns[5:-2]  # two of the five tasks have it
    assert columns[-2:] == ["age", "tags"]
    for label, key in sample.ids.items():
        (line,) = [line for line in lines if line.startswith(key)]
        assert ("n" * 4096 in line) is (label == "long")
    assert "evil \\u202e name \\x9b31m 😀 [red]" in done.out
    assert "\\x1b[31mred\\x1b]0;title\\x07\\nnext\\u2028line" in done.out
    assert not any(c in done.out for c in "\x1b\x9b\u202e\u2028\x07│┃")


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_a_person_gets_a_table_of_the_terminals_width(sample: Sample, width: int) -> None:
    """The column that is sorted by is always there; others give way."""
    out = sample.cli("ls", "--sort", "-f1", FORCE_COLOR="1", NO_COLOR="1", COLUMNS=str(width)).out
    lines = out.splitlines()
    assert len(lines) == 6
    assert max(len(line.rstrip()) for line in lines) <= width
    assert "↓ f1" in lines[0]
    assert "tags" not in lines[0] if width == 40 else width < 120 or "tags" in lines[0]
    assert lines[1].startswith(sample.ids["best"][:8] + "  lr")


def test_an_empty_store_says_how_to_fill_it(cli: Cli) -> None:
    """And is no error."""
    cli("init")
    done = cli("ls")
    assert (done.code, done.out) == (0, "")
    assert "run a script that calls Task.init" in done.err
    assert cli("ls", "--json", "--sort", "-f1").json == {"schema": "tracker.ls/1", "tasks": [], "total": 0}


@pytest.mark.parametrize(
    ("query", "expected"),
    {
        "tags:sweep -tags:old": {"best"},
        "tags:winner or status:failed": {"best", "failed"},
        "params.General/lr<0.05 accuracy/test.max>0.4": {"worst"},
        "General/lr>=0.1 -(project:vision/digits or name:~^n{9})": {"failed"},
        "project=vision": set(),
        "project:vision metrics.f1:nan": {"failed"},
        "f1<0.5": {"hostile", "long"},
        "created>2020-01-01 -created>-30d": set(),
    }.items(),
)
def test_queries(sample: Sample, query: str, expected: set[str]) -> None:
    """The grammar of docs/queries.md; more of it in tests/tracker/filters."""
    assert set(listed(sample, query)) == expected
    ids = sample.cli("query", query).out.split()
    assert {label for label, key in sample.ids.items() if key in ids} == expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-tags:old tags:sweep"], {"best"}),
        (["-tags:old", "tags:sweep"], {"best"}),
        (["tags:sweep", "-General/lr<0.05"], {"best"}),
        (["-metrics.'accuracy/test' > 0.8", "tags:sweep"], {"worst"}),
        (["-(tags:sweep or status:failed or project:hostile)", "--limit", "9"], {"long"}),
        (["--sort", "-General/lr", "--tag", "-old", "-f1:nan", "tags:sweep"], {"best"}),
        (["--tag", "-no:such", "tags:sweep"], {"best", "worst"}),
        (["--", "-tags:old tags:sweep"], {"best"}),
    ],
)
def test_a_query_may_begin_with_a_negation(sample: Sample, arguments: list[str], expected: set[str]) -> None:
    """A dash before a field, a group or quotes is no option, wherever it stands."""
    assert set(listed(sample, *arguments)) == expected


@pytest.mark.parametrize(
    "misspelt", ["--optoin", "--tags:old", "--limt=3", "-tags", "-x", "-x:1", "-lr", "--sort=", "-jo=f"]
)
def test_a_misspelt_option_is_no_query(sample: Sample, misspelt: str) -> None:
    """It is an error of usage, and nothing is listed."""
    done = sample.cli("ls", misspelt, "tags:sweep")
    assert (done.code, done.out) == (2, "")


def test_a_bad_query_shows_the_place_and_near_names(sample: Sample) -> None:
    """On three lines; what would harm a terminal is spelled out, and the carets stand where it is."""
    done = sample.cli("ls", "tags:x params.General/l<1")
    assert (done.code, done.out) == (2, "")
    said, shown, carets = done.err.splitlines()
    assert said.startswith("tracker: no task has a parameter 'General/l': did you mean General/lr, ")
    assert (shown, carets) == ("  tags:x params.General/l<1", "         ^^^^^^^^^^^^^^^^")
    done = sample.cli("ls", "name:\x1b[31m created>\x1b")
    assert done.err.splitlines()[1:] == [
        "  name:\\x1b[31m created>\\x1b",
        "                        ^^^^",
    ]
    assert sample.cli("ls", "-tags>old").err.splitlines()[1:] == ["  -tags>old", "   ^^^^"]


def test_columns_pages_and_several_keys(sample: Sample) -> None:
    """Times whole, numbers as they are shown in other tables."""
    asked = ("ls", "--columns", "name,General/lr,metrics.f1", "--sort", "status", "--sort", "-General/lr")
    done = sample.cli(*asked, "--limit", "2", "--offset", "1", "tags:sweep or project=vision/other -name:nn")
    assert [line.split() for line in done.out.splitlines()] == [
        ["name", "General/lr", "metrics.f1"],
        ["lr", "0.001", "0.001", "0.5"],
        ["no", "luck", "1", "nan"],
    ]
    document = sample.cli("ls", "tags:winner", "--json", "--columns", "id,tags,progress,f1").json
    row = {"id": sample.ids["best"], "tags": ["sweep", "winner"], "progress": 100, "f1": 0.9}
    assert document == {"schema": "tracker.ls/1", "tasks": [row], "total": 1}
    assert sample.cli("ls", "--columns", ",").code == 2
    assert "did you mean name" in sample.cli("ls", "--columns", "nam").err


def test_forms_for_other_programs(sample: Sample, tmp_path: Path) -> None:
    """CSV as its RFC has it, and files of pyarrow."""
    import csv
    import io

    import pyarrow.ipc
    import pyarrow.parquet

    columns = ("--columns", "id,name,tags,created,metrics.f1", "--sort", "f1")
    rows = list(csv.DictReader(io.StringIO(sample.cli("ls", "--format", "csv", *columns).out)))
    assert [row["id"] for row in rows] == [
        sample.ids[n] for n in ("hostile", "long", "worst", "best", "failed")
    ]
    assert (rows[0]["metrics.f1"], rows[4]["metrics.f1"], rows[3]["tags"]) == ("-inf", "nan", "sweep winner")
    assert rows[0]["name"] == "evil \u202e name \x9b31m \U0001f600 [red]"  # whole: it goes to a program
    for form in ("parquet", "arrow"):
        path = tmp_path / form
        assert sample.cli("ls", "--format", form, "-o", str(path), *columns).code == 0
        read = pyarrow.parquet.read_table if form == "parquet" else pyarrow.ipc.open_file
        found = read(path)
        table = found if form == "parquet" else found.read_all()
        assert table.column_names == ["id", "name", "tags", "created", "metrics.f1"]
        assert table.column("id").to_pylist() == [row["id"] for row in rows]
    path = tmp_path / "tasks.json"
    assert sample.cli("ls", "--format", "json", "-o", str(path)).out == ""
    assert json.loads(path.read_text())["total"] == 5


def test_the_raw_form_prints_ids_or_columns_and_nothing_else(sample: Sample) -> None:
    """For xargs, cut and awk: a line a task, harmless whatever its name is."""
    assert sample.cli("query", "tags:sweep", "--sort", "name").out.split() == [
        sample.ids["worst"],
        sample.ids["best"],
    ]
    done = sample.cli("query", "project:hostile", "--columns", "status,name,f1")
    assert done.out == "completed\tevil \\u202e name \\x9b31m \U0001f600 [red]\t-inf\n"
    assert (sample.cli("query", "tags:nothing").out, sample.cli("query", "tags:nothing").code) == ("", 0)
