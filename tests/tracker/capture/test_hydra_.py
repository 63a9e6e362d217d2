"""Overrides of hydra's jobs: what is recorded, what comes back, and when a task ends."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hydra._internal.callbacks import Callbacks
from hydra._internal.hydra import Hydra
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig, OmegaConf

from tracker.capture.hydra_ import HydraCapture, merged, watch

if TYPE_CHECKING:
    from tests.tracker.capture.conftest import Memory


def config(*overrides: str) -> DictConfig:
    """A job's configuration, as hydra hands it to its callbacks."""
    return OmegaConf.create({"lr": 0.1, "hydra": {"overrides": {"task": list(overrides)}}})


def job(problem: Exception | None = None) -> JobReturn:
    """How a job ended."""
    ended = JobReturn()
    ended.return_value = problem
    ended.status = JobStatus.COMPLETED if problem is None else JobStatus.FAILED
    return ended


def names(recorder: Memory) -> dict[str, object]:
    """What was recorded, by name."""
    return {key.removeprefix("param/Hydra/"): record["value"] for key, record in recorder.state.items()}  # type: ignore[index] # a dict


def test_the_job_that_runs_when_the_task_begins_is_recorded_and_ends_it(recorder: Memory) -> None:
    """With what it raised; a job afterwards is another task's."""
    early = watch(dict)
    undo = HydraCapture().install(recorder)
    undo()
    assert names(recorder) == {}
    callbacks = Callbacks()
    running = config("lr=1", "+a.b=x=y", "~gone")
    callbacks.on_job_start(config=running, task_function=print)
    undo = HydraCapture().install(recorder)
    assert "hydra" in running
    assert names(recorder) == {"lr": "1", "a.b": "x=y", "~gone": ""}
    assert recorder.configurations == {"OmegaConf": ("lr: 0.1\n", "OmegaConf YAML")}
    problem = ValueError("no")
    callbacks.on_job_end(config=config(), job_return=job(problem))
    assert recorder.ended == [problem]
    undo()
    early()


def test_a_task_that_began_before_a_job_outlives_it(recorder: Memory) -> None:
    """All its jobs are recorded in it."""
    undo = HydraCapture().install(recorder)
    callbacks = Callbacks()
    for each in ("lr=1", "lr=2"):
        callbacks.on_job_start(config=config(each), task_function=print)
        callbacks.on_job_end(config=config(), job_return=job())
    undo()
    assert (names(recorder), recorder.ended) == ({"lr": "2"}, [])


@pytest.mark.parametrize(
    ("given", "stored", "expected"),
    [
        (["lr=1", "x=2"], {"lr": "5"}, ["x=2", "++lr=5"]),
        (["db=a", "+log=b"], {"db": "c", "log": "d"}, ["db=c", "+log=d"]),
        (["lr=1"], {"~gone": "", "lr": "1"}, ["~gone", "++lr=1"]),
        ([], {"text": "a=b"}, ["++text=a=b"]),
    ],
)
def test_stored_overrides_take_the_place_of_those_given(
    given: list[str], stored: dict[str, str], expected: list[str]
) -> None:
    """Values are forced, groups are chosen as they were."""
    assert merged(given, stored, lambda name: name in ("db", "log")) == expected


def test_hydra_is_as_it_was(recorder: Memory, tmp_path: Path) -> None:
    """The very functions, once the capture is out."""
    before = (Callbacks.on_job_start, Callbacks.on_job_end, Hydra.run, Hydra.multirun)
    undo = HydraCapture().install(recorder)
    assert Callbacks.on_job_start is not before[0]
    undo()
    assert (Callbacks.on_job_start, Callbacks.on_job_end, Hydra.run, Hydra.multirun) == before
