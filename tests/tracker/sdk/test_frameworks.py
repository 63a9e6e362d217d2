"""What frameworks do by themselves, as the task keeps it: models, figures, and what the script says besides."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import matplotlib as mpl
import numpy as np
import pytest

from tests.tracker.sdk.conftest import Start
from tracker import OutputModel, Task
from tracker.errors import BadValue
from tracker.sdk.models import WeightsFileHandler
from tracker.sdk.switches import captures

mpl.use("agg")
from matplotlib import pyplot as plt


def names(task: Task, kind: str = "output") -> list[str]:
    """The names of a task's models."""
    return [each.name for each in task.models[kind]]


def begun(start: Start, **frameworks: Any) -> Task:
    """A task that watches frameworks."""
    return start(auto_connect_frameworks={"detect_repository": False, **frameworks})


def test_a_file_that_is_saved_again_is_one_model(start: Start, tmp_path: Path) -> None:
    """With the weights of the last time; another file is another."""
    task = begun(start)
    for value in (1, 2):
        joblib.dump([value], tmp_path / "a.pkl")
    joblib.dump([3], tmp_path / "b.pkl")
    assert names(task) == ["run - a", "run - b"]
    assert joblib.load(str(task.models["output"][0].get_weights())) == [2]
    assert (tmp_path / "a.pkl").exists()


def test_a_file_that_is_given_to_a_model_is_that_model(start: Start, tmp_path: Path) -> None:
    """Not a second one; saved again, it is the model's new weights; and so it is read back when all is over."""
    task = begun(start)
    joblib.dump([1], tmp_path / "a.pkl")
    mine = OutputModel(task, name="my own", framework="Mine", tags=["best"])
    mine.update_weights(tmp_path / "a.pkl", auto_delete_file=False)
    assert names(task) == ["my own"]
    joblib.dump([2], tmp_path / "a.pkl")
    task.close()
    (model,) = task.models["output"]
    assert (model.name, model.framework, model.tags) == ("my own", "Mine", ["best"])
    assert joblib.load(str(model.get_weights())) == [2]


def test_what_is_read_is_an_input_once(start: Start, tmp_path: Path) -> None:
    """As long as it is the same; of a task that made it, it is that model."""
    first = begun(start, joblib=True)
    joblib.dump([1], tmp_path / "a.pkl")
    (made,) = (each.id for each in first.models["output"])
    first.close()
    task = start(name="reader", auto_connect_frameworks={"detect_repository": False})
    told: list[object] = []
    handle = WeightsFileHandler.add_post_callback(lambda operation, info: told.append(operation))
    try:
        for _ in range(3):
            joblib.load(tmp_path / "a.pkl")
    finally:
        WeightsFileHandler.remove_post_callback(handle)
    assert told == ["load"]
    assert [each.id for each in task.models["input"]] == [made]
    assert names(task) == []


def test_callbacks_see_what_frameworks_save_and_may_leave_it_out(start: Start, tmp_path: Path) -> None:
    """With the operation, the path and the framework."""
    task = begun(start)
    seen = []

    def before(operation: Any, info: Any) -> Any:
        seen.append((str(operation), Path(info.local_model_path).name, info.framework))
        return None

    handle = WeightsFileHandler.add_pre_callback(before)
    try:
        joblib.dump([1], tmp_path / "a.pkl")
        joblib.load(tmp_path / "a.pkl")
    finally:
        WeightsFileHandler.remove_pre_callback(handle)
    assert seen == [("save", "a.pkl", "ScikitLearn"), ("load", "a.pkl", "ScikitLearn")]
    assert (names(task), names(task, "input")) == ([], [])


@pytest.mark.parametrize(
    "off", [{"joblib": False}, {"scikit": False}, {"joblib": "*.joblib"}, {"joblib": []}]
)
def test_frameworks_are_switched_off_by_name_or_by_file(
    start: Start, tmp_path: Path, off: dict[str, Any]
) -> None:
    """Either of joblib's two names does; a pattern takes what it matches only."""
    task = begun(start, **off)
    joblib.dump([1], tmp_path / "a.pkl")
    assert names(task) == []


@pytest.mark.parametrize("choice", [{"matplotlib": "*.png"}, {"tensorboard": ["x"]}, {"joblib": [1]}])
def test_choices_that_mean_nothing_are_refused(choice: dict[str, Any]) -> None:
    """With the key in the message."""
    with pytest.raises(BadValue, match=rf"auto_connect_frameworks\['{next(iter(choice))}'\]"):
        captures(True, choice, True)


def test_figures_come_at_the_last_iteration_and_twice_only_when_they_changed(start: Start) -> None:
    """A title that is used again there gets a number; in the next iteration it is free again."""
    plt.close("all")
    task = begun(start)
    logger = task.get_logger()
    for step in (3, 4):
        logger.report_scalar("loss", "train", 1.0, step)
        for values in ([1, 2], [2, 1]):
            plt.plot(values)
            plt.title("drawn")
            plt.show()
            plt.show()
            plt.close()
    found = [(each.title, each.series, each.iteration) for each in task.plots()]
    assert sorted(found) == [(title, "plot", step) for title in ("drawn", "drawn/1") for step in (3, 4)]


def test_an_integration_may_switch_matplotlib_off(start: Start) -> None:
    """For the running task; given a task, nothing changes."""
    from tracker.sdk import frameworks

    plt.close("all")
    task = begun(start)
    plt.plot([1, 2])
    plt.title("before")
    plt.show()
    frameworks.switch_off("matplotlib")
    plt.title("after")
    plt.show()
    plt.close()
    assert [each.title for each in task.plots()] == ["before"]


def test_a_figure_that_cannot_be_drawn_costs_the_script_nothing(
    start: Start, said: Callable[[], list[str]], tmp_path: Path
) -> None:
    """The file that the script saved is there; the task is sound."""
    plt.close("all")
    task = begun(start)
    figure = plt.figure()
    plt.imshow(np.eye(3))
    figure.savefig(tmp_path / "f.png")
    figure.canvas.print_figure = lambda *_, **__: 1 / 0  # type: ignore[method-assign] # it breaks
    plt.show()
    plt.close()
    assert (tmp_path / "f.png").exists()
    task.close()
    assert task.status == "completed"
