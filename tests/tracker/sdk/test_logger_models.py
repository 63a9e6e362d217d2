"""Reports of models: they belong to the model, whichever task makes them and whenever it is sealed."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.scripts import QUIET, Scripts
from tracker import InputModel, Model, OutputModel, Task, UsageError
from tracker import seal as sealing

Reopen = Callable[[Task], Task]


def roll(task: Task) -> None:
    """Seal what a running task has reported so far, as a long run does by itself."""
    recorder = task.recorder
    assert recorder is not None
    recorder._seal_so_far(
        lambda writer: sealing.seal(task.workspace.store, task.id, own=writer, rolling=True)
    )


def test_reports_belong_to_the_model(task: Task, reopened: Reopen) -> None:
    """Each method of a logger that is about numbers and pictures; the task has none of it."""
    model = OutputModel(task, name="a model")
    model.report_scalar("t", "s", 1.5, 3)
    model.report_scalar("t", "s", float("nan"), 4)
    task.get_logger().report_scalar("t", "s", 9.0, 9)
    model.report_single_value("accuracy", 0.5)
    model.report_histogram("h", "s", [1, 2])
    model.report_vector("v", "s", [1, 2])
    model.report_table("table", "s", table_plot=[["a"], [1]])
    model.report_line_plot("line", {"name": "n", "data": [[1, 2]]}, "x", "y")
    model.report_scatter2d("2d", "s", [[1, 2]])
    model.report_scatter3d("3d", "s", [[1, 2, 3]])
    model.report_confusion_matrix("c", "s", [[1]])
    model.report_matrix("m", "s", [[1]])
    model.report_surface("su", "s", [[1]])
    model.report_plotly("p", "s", {"data": []})
    model.report_image("i", "s", 1, image=np.zeros((2, 2), np.uint8))
    model.report_media("me", "s", 1, stream=io.BytesIO(b"x"), file_extension="x")

    def check(found: Task, model: Model) -> None:
        series = model.get_reported_scalars()["t"]["s"]
        assert (series["x"], str(series["y"])) == ([3, 4], "[1.5, nan]")
        assert model.get_last_iteration() == 4
        assert model.get_reported_single_values() == {"accuracy": 0.5}
        assert model.get_last_scalar_metrics()["Summary"]["accuracy"]["last"] == 0.5
        titles = {"h", "v", "table", "line", "2d", "3d", "c", "m", "su", "p"}
        assert {plot.title for plot in model.plots()} == titles
        assert model.plots("table")[0].rows() == [["a"], [1]]
        assert {sample.title: len(sample.read()) > 0 for sample in model.samples()} == {"i": True, "me": True}
        assert found.get_reported_scalars()["t"]["s"]["y"] == [9.0]
        assert (found.plots(), found.samples(), found.get_reported_single_values()) == ([], [], {})

    check(task, model)
    stored = reopened(task)
    check(stored, stored.models["output"][-1])
    assert stored.models["output"].keys() == ["a model"]


def test_a_long_run_is_sealed_again_and_again(task: Task, reopened: Reopen) -> None:
    """Neither a point nor a plot is lost or doubled, whichever of two models had news in between."""
    first, second = (OutputModel(task, name=f"model {n}") for n in range(2))
    for step in range(6):
        first.report_scalar("t", "s", step, step)
        first.report_matrix("m", "s", [[step]], step)
        if step % 3 == 0:
            second.report_scalar("t", "s", step, step)
            second.report_image("i", "s", step, image=np.full((2, 2), step, np.uint8), max_image_history=1)
        task.get_logger().report_scalar("t", "s", -step, step)
        roll(task)
        assert first.get_reported_scalars()["t"]["s"]["x"] == list(range(step + 1))
    stored = reopened(task)
    for model, steps in zip(stored.models["output"], (list(range(6)), [0, 3]), strict=True):
        assert model.get_reported_scalars()["t"]["s"]["x"] == steps
        assert model.scalars("t", "s").steps.tolist() == steps
    one, two = stored.models["output"]
    assert [plot.iteration for plot in one.plots()] == list(range(6))
    assert [sample.iteration for sample in two.samples()] == [3]


def test_a_model_is_ahead_of_its_task_where_the_end_came_in_between(task: Task, reopened: Reopen) -> None:
    """Its head was written, that of the task was not: what is sealed again is not counted twice."""
    model = OutputModel(task, name="a model")
    model.report_scalar("t", "s", 0.0, 0)
    model.report_matrix("m", "s", [[0]], 0)
    roll(task)
    store = task.workspace.store
    before = {head.id: (store.root / "refs").rglob(f"*.{head.id}") for head in store.heads.of(task.id)}
    kept = {path: path.read_bytes() for paths in before.values() for path in paths}
    model.report_scalar("t", "s", 1.0, 1)
    model.report_matrix("m", "s", [[1]], 1)
    roll(task)
    for head in store.heads.of(task.id):
        for path in (store.root / "refs").rglob(f"*.{head.id}"):
            path.unlink()
    for path, data in kept.items():
        path.write_bytes(data)
    model.report_scalar("t", "s", 2.0, 2)
    for found in (model, reopened(task).models["output"][0]):
        assert found.scalars("t", "s").steps.tolist() == [0, 1, 2]
        assert [plot.iteration for plot in found.plots()] == [0, 1]


@pytest.mark.parametrize("more", [[0, 1, 2], [0, 1]], ids=["with a report", "with a key"])
def test_a_model_is_behind_its_task_where_a_copy_was_cut_short(
    task: Task, reopened: Reopen, more: list[int]
) -> None:
    """Its newest head is missing: the journal has what it said, whatever is said of it next."""
    model = OutputModel(task, name="a model")
    model.report_scalar("t", "s", 0.0, 0)
    roll(task)
    store = task.workspace.store
    kept = {path: path.read_bytes() for path in (store.root / "refs").rglob("*") if path.is_file()}
    model.report_scalar("t", "s", 1.0, 1)
    model.report_matrix("m", "s", [[1]], 1)
    roll(task)
    for head in store.heads.of(model.id):
        for path in (store.root / "refs").rglob(f"*.{head.id}"):
            path.unlink()
    for path, data in kept.items():
        if not path.exists() and model.id in path.name:
            path.write_bytes(data)
    if len(more) == 3:
        model.report_scalar("t", "s", 2.0, 2)
    else:
        model.report_single_value("accuracy", 0.5)
    for found in (model, reopened(task).models["output"][0]):
        assert found.scalars("t", "s").steps.tolist() == more
        assert [plot.iteration for plot in found.plots()] == [1]


def test_another_task_reports_on_a_model_that_it_uses(
    task: Task, start: Callable[..., Task], reopened: Reopen
) -> None:
    """Both tasks' reports are the model's."""
    model = OutputModel(task, name="a model")
    model.report_scalar("t", "train", 1.0, 1)
    reopened(task)
    second = start(name="evaluation")
    used = InputModel(model.id)
    used.connect(second)
    used.report_scalar("t", "test", 2.0, 1)
    second.close()
    scalars = Model(model.id).get_reported_scalars()["t"]
    assert {name: series["y"] for name, series in scalars.items()} == {"train": [1.0], "test": [2.0]}
    assert second.get_reported_scalars() == {}


def test_without_a_running_task_nothing_can_be_reported(task: Task, reopened: Reopen) -> None:
    """The error says what is needed."""
    model = OutputModel(task, name="a model")
    model.report_scalar("t", "s", 1.0)
    reopened(task)
    for found in (model, Model(model.id)):
        with pytest.raises(UsageError, match=r"needs? a task that runs"):
            found.report_scalar("t", "s", 2.0)


def test_a_forked_child_reports_too(tmp_path: Path) -> None:
    """Into a journal of its own, as with scalars of the task."""
    scripts = Scripts(tmp_path)
    scripts.run(
        f"""
        import os
        import numpy as np
        from tracker import OutputModel, Task
        task = Task.init("sdk", "forks", {QUIET})
        log, model = task.get_logger(), OutputModel(task, name="a model")
        model.report_scalar("t", "parent", 1.0, 1)
        if os.fork() == 0:
            model.report_scalar("t", "child", 2.0, 1)
            log.report_image("i", "child", 1, image=np.zeros((2, 2), np.uint8))
            log.report_matrix("m", "child", [[1]])
            os._exit(0)
        os.wait()
        log.report_matrix("m", "parent", [[1]])
        """
    )
    found: Any = scripts.ask(
        """
        task, = Task.get_tasks()
        model, = task.models["output"]
        answer = [
            {name: series["y"] for name, series in model.get_reported_scalars()["t"].items()},
            [plot.series for plot in task.plots()],
            [sample.series for sample in task.samples()],
        ]
        """
    )
    assert found == [{"parent": [1.0], "child": [2.0]}, ["child", "parent"], ["child"]]
