"""WeightsFileHandler: what a script has called before and after weights are stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tracker import Task
from tracker.sdk.models import OutputModel, WeightsFileHandler
from tracker.sdk.models.callbacks import WeightsInfo
from tracker.sdk.models.inputs import loaded


@pytest.fixture(autouse=True)
def no_callbacks_are_left() -> Iterator[None]:
    """They are the process's."""
    yield
    WeightsFileHandler._pre.clear()
    WeightsFileHandler._post.clear()


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A small file of weights."""
    path = tmp_path / "net.pt"
    path.write_bytes(b"weights")
    return path


def stored(task: Task) -> list[str]:
    """The files of the task's output models."""
    return [str(model._state.get("weights")["file"]) for model in task.models["output"]]


def test_they_are_told_what_is_stored_and_once_it_is(task: Task, weights: Path) -> None:
    """In the order of their adding; until they are removed."""
    said: list[Any] = []

    def before(operation: str, info: WeightsInfo) -> WeightsInfo:
        there = bool(task.models["output"])
        said.append(("pre", operation == "save", Path(info.local_model_path).name, info.task is task, there))
        return info

    def after(operation: str, info: WeightsInfo) -> WeightsInfo:
        said.append(("post", str(operation), info.model, [model.hash for model in task.models["output"]]))
        return info

    handles = [WeightsFileHandler.add_pre_callback(before), WeightsFileHandler.add_post_callback(after)]
    model = OutputModel(task)
    model.update_weights(weights)
    assert said == [("pre", True, "net.pt", True, False), ("post", "save", model, [model.hash])]
    assert WeightsFileHandler.remove_pre_callback(handles[0]) is True
    assert WeightsFileHandler.remove_post_callback(handles[1]) is True
    assert WeightsFileHandler.remove_pre_callback(handles[0]) is False
    assert WeightsFileHandler.remove_post_callback(handles[0]) is False
    task.update_output_model(weights, auto_delete_file=False)
    assert len(said) == 2


def test_none_leaves_the_weights_out(task: Task, weights: Path) -> None:
    """Nothing is stored or deleted, later callbacks are not asked, and the model is not recorded."""
    said: list[str] = []
    WeightsFileHandler.add_pre_callback(lambda operation, info: None)
    WeightsFileHandler.add_pre_callback(lambda operation, info: said.append("asked"))
    WeightsFileHandler.add_post_callback(lambda operation, info: said.append("told"))
    assert task.update_output_model(weights) == ""
    assert OutputModel(task).update_weights_package([weights]) == ""
    assert loaded(task, str(weights)) is None
    assert (weights.exists(), said, len(task.models["output"]), len(task.models["input"])) == (True, [], 0, 0)


def test_what_they_change_is_what_is_done(task: Task, weights: Path, tmp_path: Path) -> None:
    """The file, its name, the framework."""
    small = tmp_path / "small.pt"
    small.write_bytes(b"small")

    def change(operation: str, info: WeightsInfo) -> WeightsInfo:
        info.upload_filename, info.framework = f"{operation}-best.pt", "Mine"
        if info.local_model_path == str(weights):
            info.local_model_path = str(small)
        return info

    WeightsFileHandler.add_pre_callback(change)
    model = OutputModel(task)
    model.update_weights(weights)
    assert (stored(task), model.framework) == (["save-best.pt"], "Mine")
    assert Path(str(model.get_weights())).read_bytes() == b"small"
    OutputModel(task).update_weights_package([weights, small])
    assert stored(task) == ["save-best.pt", "save-best.pt"]


def test_one_that_fails_costs_a_warning(task: Task, weights: Path, said: Callable[[], list[str]]) -> None:
    """The weights are stored as if it had not been; and so are they where it names a file that is not there."""

    def fails(operation: str, info: WeightsInfo) -> WeightsInfo:
        raise RuntimeError("no")

    def misleads(operation: str, info: WeightsInfo) -> WeightsInfo:
        info.local_model_path += ".gone"
        return info

    WeightsFileHandler.add_pre_callback(fails)
    WeightsFileHandler.add_pre_callback(misleads)
    WeightsFileHandler.add_post_callback(fails)
    model = OutputModel(task)
    model.update_weights(weights)
    assert Path(str(model.get_weights())).read_bytes() == b"weights"
    warnings = "\n".join(said())
    assert "the weights callback fails failed" in warnings
    assert "net.pt.gone, which a weights callback named, does not exist" in warnings


def test_what_one_stores_itself_calls_none(task: Task, weights: Path) -> None:
    """Else it would call itself without end; afterwards they are called again."""
    count = []

    def instead(operation: str, info: WeightsInfo) -> None:
        count.append(operation)
        OutputModel(task, name="by hand").update_weights(info.local_model_path, auto_delete_file=False)

    WeightsFileHandler.add_pre_callback(instead)
    for _ in range(2):
        OutputModel(task, name="by itself").update_weights(weights)
    assert (len(count), [model.name for model in task.models["output"]]) == (2, ["by hand", "by hand"])


def test_loading_has_callbacks_too(task: Task, weights: Path) -> None:
    """What a framework has loaded is linked, unless one leaves it out."""
    said: list[Any] = []

    def tell(operation: str, info: WeightsInfo) -> WeightsInfo:
        said.append((operation, info.model))
        return info

    WeightsFileHandler.add_pre_callback(tell)
    WeightsFileHandler.add_post_callback(tell)
    model = loaded(task, str(weights))
    assert said == [("load", None), ("load", model)]
