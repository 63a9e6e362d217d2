"""Scripts that import `clearml`, run unchanged by `tracker run --clearml` in real processes: what each leaves.

They make the calls of ClearML's own examples that need no network; which those are, and which are left out and why, is
the list in docs/clearml-compat.md.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.commands import Cli
from tracker import Task

SCRIPTS = Path(__file__).parent / "clearml_scripts"


class Examples:
    """Runs the scripts in one folder, and so into one store."""

    def __init__(self, folder: Path, checkout: Path) -> None:
        self.cli = Cli(folder, checkout)
        self.said = ""

    def again(self, task: Task, name: str, **changes: str) -> Task:
        """Run a script again with some of the task's parameters changed, and nothing on the command line."""
        copy = Task.clone(task, name="again")
        copy.update_parameters({key.replace("__", "/"): value for key, value in changes.items()})
        done = self.cli("run", "--clearml", f"{name}.py", TRACKER_RUN_TASK=copy.id)
        assert done.code == 0, done.err
        self.said = done.out
        found = Task.get_task(task_id=copy.id)
        assert found is not None
        return found

    def run(self, name: str, *arguments: str) -> Task:
        """Run a script to its end, without an error of it or a warning of ours; returns the task it made last."""
        shutil.copy(SCRIPTS / f"{name}.py", self.cli.folder)
        done = self.cli("run", "--clearml", f"{name}.py", *arguments, MPLBACKEND="agg")
        assert done.code == 0, done.err
        ours = [line for line in done.err.splitlines() if line.startswith("tracker:")]
        assert [line for line in ours if "task id=" not in line] == []
        self.said = done.out
        (key,) = [line.partition("id=")[2].split()[0] for line in ours if "created new task id=" in line][-1:]
        task = Task.get_task(task_id=key)
        assert task is not None
        state = (task.status, task.get_progress(), bool(task.get_script()["entry_point"]))
        assert state == ("completed", 100, True)
        return task


@pytest.fixture
def examples(tmp_path: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Examples:
    """An empty folder, in which this process reads what the scripts have recorded."""
    monkeypatch.chdir(tmp_path)
    return Examples(tmp_path, checkout)


def section(task: Task, name: str) -> dict[str, Any]:
    """The parameters of a section, as they are kept: text."""
    found = task.get_parameters() or {}
    return {key.partition("/")[2]: value for key, value in found.items() if key.startswith(f"{name}/")}


def shown(task: Task) -> dict[str, str]:
    """The media of a task: `title/series` to what it is."""
    return {f"{each.title}/{each.series}": each.kind for each in task.samples()}


def plotted(task: Task) -> set[str]:
    """The plots of a task: `title/series`."""
    return {f"{each.title}/{each.series}" for each in task.plots()}


def test_scalars(examples: Examples) -> None:
    """Every point of each graph, and single values apart from them."""
    task = examples.run("scalars")
    found = task.get_reported_scalars()
    assert {title: sorted(series) for title, series in found.items()} == {
        "together": ["down", "up"],
        "alone": ["up"],
    }
    assert found["together"]["down"]["x"] == list(range(100))
    assert found["together"]["down"]["y"] == [-float(step) for step in range(100)]
    assert task.get_reported_single_values() == {"area": 486, "height": 305.95}
    assert task.console() == ["scalars are reported"]


def test_plots(examples: Examples) -> None:
    """Surfaces and clouds; bars, matrices, lines and tables, which come back as tables."""
    assert plotted(examples.run("plots_3d")) == {"surface/hill", "cloud/points"}
    task = examples.run("plots_2d")
    assert plotted(task) == {
        *("bars/one", "bars/rows", "confused/ignored", "matrix/m", "dots/xy", "lines/"),
        *("table/frame", "table/csv", "table/rows"),
    }
    assert task.plots("table", "frame")[0].frame()["word"].tolist() == ["a", "b"]


def test_images_and_media(examples: Examples) -> None:
    """Five pictures of five kinds; what lies at a URL stays there, unfetched; a file's content is stored."""
    task = examples.run("images")
    assert shown(task) == dict.fromkeys(
        ("image/float grey", "image/grey", "image/colour", "image/PIL", "image/file"), "image"
    )
    task = examples.run("media")
    assert shown(task) == dict.fromkeys(("video/flowers", "audio/pink panther", "audio/tada"), "media")
    (tada,) = task.samples("audio", "tada")
    assert Path(str(tada.get_local_copy())).read_bytes().startswith(b"ID3")
    urls = {each["url"] for each in task.get_debug_samples("video", "flowers")}
    assert urls == {"https://example.invalid/flowers.mp4"}


def test_text(examples: Examples) -> None:
    """What is printed, what goes to stderr, what is logged and reported; text as a sample is a file."""
    task = examples.run("text")
    said = "\n".join(task.console())
    for line in ("standard output", "standard error", "of several parts", "an info message"):
        assert line in said
    assert ("This is reported text" in said, "This is reported text" in examples.said) == (True, False)
    (sample,) = task.samples("text title", "text series")
    assert Path(str(sample.get_local_copy())).read_text() == "the first line\nthe second line\n"


def test_figures_and_pages(examples: Examples) -> None:
    """Of plotly, of matplotlib, and HTML as media."""
    assert plotted(examples.run("plotly_figure")) == {"flowers/sepal"}
    task = examples.run("matplotlib_manual")
    assert plotted(task) == {"manual/just a plot", "manual/two axes", "manual/picture"}
    assert shown(task) == {"sample/s": "image"}
    task = examples.run("html")
    names = ("html/page 0", "html/page 1", "html/page 2", "html/stream", "html/url")
    assert shown(task) == dict.fromkeys(names, "media")


def test_hyper_parameters(examples: Examples) -> None:
    """Arguments, a dict that changes once connected, objects, declared parameters, properties, configuration."""
    task = examples.run("hyper_parameters", "--argparser_int_value", "4")
    assert section(task, "Args") == {
        "argparser_int_value": "4",
        "argparser_disabled": "False",
        "argparser_str_value": "a string",
    }
    assert section(task, "General") == {
        "list": "[1, 2, 3]",
        "dict/a": "1",
        "dict/b": "2",
        "tuple": "[1, 2, 3]",
        "int": "3",
        "float": "9.9",
        "string": "my string",
        "color": "RED",
        "nothing": "",
        "new_param": "this is new",
    }
    assert section(task, "declared") == {"iterations": "200", "part": "0.25"}
    assert section(task, "plain object") == {"width": "3", "kind": "wide"}
    properties = task.get_user_properties(value_only=True)
    assert properties == {"custom1": "great", "custom2": "True", "custom3": "7", "custom4": "last"}
    settings = task.get_configuration_object_as_dict("settings")
    assert settings == {"value": 13.37, "dict": {"sub_value": "string", "sub_integer": 11}}


def test_click(examples: Examples) -> None:
    """The command that ran, its options and the group's; run again, they are its defaults, but for what is secret."""
    arguments = (
        "--what-to-print",
        "abc",
        "hello",
        "--count",
        "2",
        "--name",
        "Bob",
        "--tag",
        "x",
        "--tag",
        "y",
    )
    task = examples.run("click_commands", *arguments)
    assert section(task, "Args") == {
        "cli/what_to_print": "abc",
        "hello": "True",
        "hello/count": "2",
        "hello/name": "Bob",
        "hello/password": "[redacted secret]",
        "hello/tag": "('x', 'y')",
        "runserver": "False",
    }
    examples.again(task, "click_commands", Args__hello__name="Eve", Args__hello__count="1")
    assert examples.said == "first abc\nhello Eve ['x', 'y'] hunter22\n"
    edited = {"Args__hello": "False", "Args__runserver": "True", "Args__runserver__port": "8080"}
    again = examples.again(task, "click_commands", **edited)
    assert examples.said == "first abc\nruns at 8080\n"
    assert section(again, "Args")["runserver"] == "True"


def test_jsonargparse(examples: Examples) -> None:
    """Dotted names, and the command; run again without a word, all of it comes back, with its types."""
    task = examples.run("jsonargparse_nested", "--arg1.opt1", "x", "fit", "--steps", "[1,2]")
    assert section(task, "Args") == {
        "arg1.opt1": "x",
        "arg1.opt2": "3",
        "nothing": "",
        "subcommand": "fit",
        "fit.steps": "[1, 2]",
        "fit.fast": "False",
    }
    examples.again(task, "jsonargparse_nested", **{"Args__arg1.opt2": "5", "Args__fit.fast": "True"})
    assert examples.said == "x 6 None fit [1, 2] True\n"


def test_absl(examples: Examples) -> None:
    """Every flag, absl's own among them; run again, they have the stored values, of their types."""
    task = examples.run("absl_flags", "--echo", "hi", "--echo3", "9", "--words", "p,q")
    found = section(task, "TF_DEFINE")
    own = {name: found[name] for name in ("echo", "echo3", "loud", "words")}
    assert own == {"echo": "hi", "echo3": "9", "loud": "False", "words": "['p', 'q']"}
    assert "stderrthreshold" in found
    edited = {"TF_DEFINE__echo3": "20", "TF_DEFINE__loud": "True", "TF_DEFINE__words": "['z']"}
    examples.again(task, "absl_flags", **edited)
    assert examples.said == "hi 21 True ['z']\n"


def test_hydra(examples: Examples) -> None:
    """Overrides and all of the configuration; a sweep is a task for each job; run again, one is that job alone."""
    (examples.cli.folder / "conf" / "db").mkdir(parents=True)
    (examples.cli.folder / "conf" / "config.yaml").write_text(
        "defaults:\n  - db: mysql\nlr: 0.1\nname: ${db.kind}\n"
    )
    for kind in ("mysql", "pg"):
        (examples.cli.folder / "conf" / "db" / f"{kind}.yaml").write_text(f"kind: {kind}\n")
    task = examples.run("hydra_app", "db=pg", "lr=0.5", "+more=1")
    assert section(task, "Hydra") == {"db": "pg", "lr": "0.5", "more": "1"}
    assert (
        task.get_configuration_object("OmegaConf") == "db:\n  kind: pg\nlr: 0.5\nname: ${db.kind}\nmore: 1\n"
    )
    examples.again(task, "hydra_app", Hydra__lr="0.7", Hydra__db="mysql")
    assert examples.said == "mysql 0.7 1\n"
    last = examples.run("hydra_app", "--multirun", "lr=1,2")
    tasks = Task.get_tasks(project_name="examples", task_name="hydra app")
    assert sorted(section(each, "Hydra").get("lr", "") for each in tasks) == ["0.5", "1", "2"]
    assert {each.status for each in tasks} == {"completed"}
    examples.again(last, "hydra_app")
    assert examples.said == f"mysql {section(last, 'Hydra')['lr']} 0\n"
    broken = examples.cli("run", "--clearml", "hydra_app.py", "lr=boom")
    assert broken.code == 1
    failed = Task.get_tasks(project_name="examples", task_filter={"status": ["failed"]})
    assert [each.get_status_message() for each in failed] == [("failed", "ValueError: too much")]


def test_config_files(examples: Examples) -> None:
    """Kept as text, and handed to the script to read."""
    task = examples.run("config_files")
    assert task.get_configuration_object("json config file") == '{"sample": 1}'
    assert task.get_configuration_object("yaml config file") == "sample:\n  deep: [1, 2]\n"
    assert examples.said.splitlines()[-2:] == ["json {'sample': 1}", "yaml {'sample': {'deep': [1, 2]}}"]


def test_artifacts(examples: Examples) -> None:
    """Each kind as what it was; the watched table as it was at the end."""
    task = examples.run("artifacts")
    kinds = {name: artifact.type for name, artifact in task.artifacts.items()}
    assert kinds == {
        "train": "data-audit-table",
        "Pandas": "pandas",
        "local file": "custom",
        "dictionary": "dict",
        "Numpy Eye": "numpy",
        "pillow_image": "image",
        "local folder": "archive",
        "wildcard jpegs": "archive",
    }
    train = task.artifacts["train"]
    assert train.metadata == {"counting": "legs", "max legs": "69"}
    assert train.get()["num_legs"].tolist() == [2, 3, 8, 0, 4]
    assert task.artifacts["Pandas"].get()["num_legs"].tolist() == [2, 4, 8, 0, 4]
    assert task.artifacts["Numpy Eye"].get().sum() == 100
    jpegs = task.artifacts["wildcard jpegs"].get_local_copy()
    assert sorted(each.name for each in Path(str(jpegs)).rglob("*.jpg")) == ["dancing.jpg", "picasso.jpg"]
    assert (Path(str(task.artifacts["local folder"].get())) / "sample.json").is_file()


def test_artifacts_of_another_task_of_the_process(examples: Examples) -> None:
    """Found by project and name the moment the task before is closed."""
    task = examples.run("using_artifacts")
    assert task.name == "use artifact from another task"
    assert examples.said.splitlines() == ["artifacts: ['data file']", "read {'answer': 42}"]


def test_sklearn_with_joblib(examples: Examples) -> None:
    """The file that joblib wrote is an output model, read again it is the same one; the figure is shown."""
    task = examples.run("sklearn_joblib")
    (model,) = task.models["output"]
    assert (model.name, model.framework) == ("sklearn with joblib - model", "ScikitLearn")
    assert [each.id for each in task.models["input"]] == [model.id]
    kept = Path(str(model.get_weights())).read_bytes()
    assert kept == (examples.cli.folder / "model.pkl").read_bytes()
    assert plotted(task) == {"untitled 00/plot"}


def test_xgboost_metrics(examples: Examples) -> None:
    """Every round of each evaluation set, of a second training under a name of its own, and the booster's file."""
    task = examples.run("xgboost_metrics")
    found = task.get_reported_scalars()
    assert {title: list(series) for title, series in found.items()} == {
        "train": ["rmse"],
        "test": ["rmse"],
        "validation_0 - 1": ["rmse"],
    }
    assert found["train"]["rmse"]["x"] == list(range(100))
    assert found["train"]["rmse"]["y"][0] > 10 * found["train"]["rmse"]["y"][-1] > 0
    assert [(each.name, each.framework) for each in task.models["output"]] == [
        ("xgboost metrics - best_model", "XGBoost")
    ]


def test_matplotlib_by_itself(examples: Examples) -> None:
    """Each figure as it looked, once; an image as a sample; what the script reports itself only as it did."""
    task = examples.run("matplotlib_automatic")
    assert {(each.title, each.series, each.iteration, each.kind) for each in task.plots()} == {
        ("untitled 00", "plot", 0, "plot"),
        ("named", "plot", 0, "plot"),
        ("two axes", "plot image", 7, "picture"),
        ("manual", "series", 7, "plot"),
    }
    assert len(task.plots()) == 4
    assert shown(task) == {"an image/plot image": "image"}


def test_tensorboardx(examples: Examples) -> None:
    """Scalars by the parts of their tags and by writer; pictures, text, bars and hyper-parameters."""
    task = examples.run("tensorboardx_toy")
    found = task.get_reported_scalars()
    assert {title: sorted(series) for title, series in found.items()} == {
        "train": ["loss"],
        "a_b": ["c"],
        "plain": ["b: plain", "plain"],
        "group": ["group", "y: group"],
        "accuracy": ["accuracy"],
    }
    assert found["group"]["y: group"]["y"] == [-float(step) for step in range(10)]
    assert found["plain"]["b: plain"] == {"x": [11], "y": [3.0], "name": "b: plain"}
    assert shown(task) == {"Images/picture": "image", "t/u_v_w": "image", "words/text_summary": "media"}
    (words,) = task.samples("words", "text_summary")
    assert words.read() == b"some text"
    assert [each.iteration for each in task.plots("weights", "layer")] == [0, 1, 2, 3, 4]
    assert section(task, "TB_hparams") == {"lr": "0.1", "optimizer": "adam", "nesterov": "True"}


def test_models(examples: Examples) -> None:
    """Labels and a URL on the one; numbers, a table and a line on the other, which are its own."""
    task = examples.run("model_reporting")
    (model,) = task.models["output"]
    assert model.get_reported_scalars()["loss"]["train"]["y"] == [0.5, 0.25]
    assert model.get_reported_single_values() == {"best": 0.25}
    assert {each.title for each in model.plots()} == {"words", "line"}
    (used,) = task.models["input"]
    assert (used.url, used.framework) == ("https://example.invalid/models/model.onnx", "PyTorch")
    assert used.labels == {"background": 0, "cat": 1, "dog": 2, "bird": 3}
    assert task.get_reported_scalars() == {}


def test_many_tasks_in_one_process(examples: Examples) -> None:
    """Each with its own lines and points, and none of the others'."""
    examples.run("many_tasks")
    for number in range(3):
        task = Task.get_task(project_name="examples", task_name=f"same process, number {number}")
        assert task is not None
        said = [line for line in task.console() if "number" in line]
        assert [line.rpartition("by ")[2] for line in said] == [f"number {number}"] * 2
        assert task.get_reported_scalars()["n"]["n"]["x"] == [number]


def test_random_search(examples: Examples) -> None:
    """Drafts with values of their own, children of the task that they are copies of."""
    base = examples.run("base_task")
    search = examples.run("random_search")
    assert search.task_type == "optimizer"
    drafts = Task.get_tasks(task_filter={"parent": base.id, "status": ["created"]})
    assert sorted(draft.name for draft in drafts) == ["base task 0", "base task 1", "base task 2"]
    assert len({draft.get_parameter("General/lr") for draft in drafts}) == 3
    assert all(draft.get_parameter("General/batch_size") in ("32", "64") for draft in drafts)


def test_subprocesses(examples: Examples) -> None:
    """One task of two processes: what both print, report and connect, without the argument that was left out."""
    task = examples.run("subprocesses")
    assert len(Task.get_tasks(project_name="examples")) == 1
    assert section(task, "Args") == {"num_workers": "1"}
    assert section(task, "General") == {"args_1": "some value 1", "args_0": "some value 0"}
    assert f"worker sees task {task.id}" in examples.said
    assert {"number of workers: 1", "number of workers: 0"} <= set(task.console())
    assert set(task.get_reported_scalars()["workers"]) == {"left 1", "left 0"}


def test_integrations(examples: Examples) -> None:
    """What callbacks of transformers, ultralytics and ignite ask for is there, and recorded."""
    task = examples.run("integrations")
    assert section(task, "Transformers") == {
        "lr": "0.1",
        "fsdp/min": "1",
        "device": "cuda",
        "nothing": "",
        "_ignore_": "True",
    }
    assert section(task, "General") == {"imgsz": "640"}
    assert task.get_configuration_object_as_dict("Model Configuration") == {"layers": 2}
    second, best, last = task.models["output"]
    assert (second.name, best.name, last.name) == ("checkpoint-2", "best", "Trainer: last.pt")
    assert (last.comment, last.url.rpartition("/")[2]) == ("with metadata", "slot_0.pt")
    assert (Path(str(second.get_local_copy())) / "model.bin").read_bytes() == b"step 2"
    assert plotted(task) == {"weights/layer"}


def test_the_record_is_one_that_the_command_line_shows(examples: Examples) -> None:
    """What a script recorded through ClearML's names is a task as any other."""
    task = examples.run("scalars")
    rows: list[Mapping[str, Any]] = examples.cli("ls", "metrics.alone/up>98", "--json").json["tasks"]
    assert [row["id"] for row in rows] == [task.id]
    json.dumps(rows)
