"""A user's training script, as mypy --strict sees it: every public class, and what the important calls give."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from typing_extensions import assert_type

import tracker
from tracker import InputModel, Logger, Model, OutputModel, StorageManager, Task, TaskTypes, UsageError
from tracker.frames import Result
from tracker.sdk.artifacts import Artifact, Artifacts
from tracker.sdk.models.links import ModelList, TaskModels
from tracker.sdk.task_parameters import TaskParameters, param


class Parameters(TaskParameters):
    """Parameters as a class."""

    rate = param(type=float, range=(0.0, 1.0), desc="learning rate")


def record() -> Task:
    """Make a task and report to it."""
    task = Task.init(
        project_name="examples",
        task_name="typed",
        task_type=TaskTypes.training,
        tags=["typed"],
        reuse_last_task_id=False,
        continue_last_task=0,
        output_uri=None,
        auto_connect_frameworks={"matplotlib": True, "detect_repository": False},
        auto_connect_streams=True,
    )
    assert_type(task, Task)
    assert_type(Task.current_task(), Task | None)
    parser = argparse.ArgumentParser()
    task.connect(parser)
    task.connect({"lr": 0.1}, name="Model")
    task.connect(Parameters())
    task.set_parameters({"Args/epochs": 7, "lr": 0.5})
    task.set_parameter("decay", 0.001)
    assert_type(task.get_parameters(), dict[str, Any])
    task.connect_configuration({"stages": [1, 2]}, name="plan")
    task.set_user_properties({"name": "backbone", "value": "great"}, owner="me")
    task.add_tags(["a"])
    task.set_progress(50)
    assert_type(task.get_progress(), int | None)
    assert_type(task.id, str)
    assert_type(task.status, str)

    logger = task.get_logger()
    assert_type(logger, Logger)
    assert_type(Logger.current_logger(), Logger | None)
    logger.report_scalar("loss", "train", value=0.5, iteration=1)
    logger.report_single_value("accuracy", 0.9)
    logger.report_histogram("h", "s", values=np.arange(3), iteration=1)
    logger.report_table("t", "s", iteration=1, table_plot=pd.DataFrame({"a": [1]}))
    logger.report_image("i", "s", iteration=1, image=np.zeros((2, 2, 3), dtype=np.uint8))
    logger.report_text("said")

    assert_type(task.upload_artifact("settings", {"a": 1}, extension_name="yaml"), bool)
    task.upload_artifact("file", Path("data.csv"), wait_on_upload=True)
    model = OutputModel(task=task, name="net", framework="PyTorch")
    assert_type(model.update_weights("net.pt", iteration=3), str)
    task.update_output_model("net.pt", name="net")
    task.close()
    return task


def read(key: str) -> Iterator[float]:
    """Find tasks and what they have made."""
    task = Task.get_task(task_id=key)
    assert_type(task, Task)
    assert_type(Task.get_task(project_name="examples", task_name="typed"), Task | None)
    found = Task.get_tasks(tags=["a", "-b"], task_filter={"status": ["completed"]})
    assert_type(found, list[Task])
    assert_type(Task.clone(task, name="copy"), Task)
    assert_type(Task.create(project_name="examples", task_name="draft"), Task)
    assert_type(task.artifacts, Artifacts)
    assert_type(task.artifacts["settings"], Artifact)
    assert_type(task.artifacts["settings"].get_local_copy(), str | None)
    assert_type(task.models, TaskModels)
    assert_type(task.models["output"], ModelList)
    last = task.models["output"][-1]
    assert_type(last, Model)
    assert_type(task.models["output"]["net"], Model)
    assert_type(task.models.output[:2], list[Model])
    assert_type(last.get_local_copy(), str | None)
    assert_type(last.labels, dict[str, int])
    assert_type(task.get_reported_single_values(), dict[str, float])
    for value in task.scalars("loss", "train").values:
        yield float(value)
    InputModel(last.id).connect(task)
    assert_type(Model.query_models(tags=["best"]), list[Model])
    assert_type(StorageManager.get_local_copy("file:///data.csv"), str | None)
    assert_type(tracker.artifact(task.artifacts["settings"].hash), Artifact)


def ask() -> pd.DataFrame:
    """Ask for many at once."""
    result = tracker.query("tags:prod metrics.val/acc>0.9", sort="-metrics.val/acc", limit=10)
    assert_type(result, Result)
    assert_type(result[0], dict[str, Any])
    assert_type(result[:2], list[dict[str, Any]])
    assert_type(result.ids, list[str])
    try:
        return result.to_pandas()
    except UsageError as error:
        raise SystemExit(str(error)) from error
