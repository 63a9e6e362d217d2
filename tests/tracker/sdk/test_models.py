"""Models: weights by their hash, a record of their own, and the link from the task."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from blake3 import blake3

from objstore.store import Store
from tracker import Task
from tracker.errors import BadValue
from tracker.sdk.models import InputModel, Model, OutputModel

Reopen = Callable[[Task], Task]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A small file of weights."""
    path = tmp_path / "net.pt"
    path.write_bytes(b"weights")
    return path


@pytest.mark.parametrize("size", [0, 7, (1 << 20) + 1, 9_000_000])
def test_weights_come_back(task: Task, reopened: Reopen, tmp_path: Path, size: int) -> None:
    """By the hash of their bytes, from the running task, from a reader, from the stored task; the file stays."""
    path = tmp_path / "net.pt"
    path.write_bytes(os.urandom(size))
    model = OutputModel(name="my net", tags=["a"], label_enumeration={"cat": 0}, comment="hello")
    url = model.update_weights(str(path), iteration=3)
    digest = blake3(path.read_bytes()).hexdigest()
    assert url == model.url == f"tracker://{digest}/net.pt"
    for found in (task, Task.get_tasks()[0], reopened(task)):
        (stored,) = found.models["output"]
        assert (stored.id, stored.name, stored.hash, stored.size) == (model.id, "my net", digest, size)
        assert (stored.framework, stored.task, stored.project) == ("PyTorch", task.id, "sdk")
        assert (stored.tags, stored.labels, stored.comment) == (
            ["a"],
            {"cat": 0},
            "hello\nsnapshot net.pt stored",
        )
        copy = stored.get_weights()
        assert copy is not None
        assert Path(copy).name == "net.pt"
        assert Path(copy).read_bytes() == path.read_bytes()
        assert stored.get_local_copy() == copy
    assert Model(model.id).hash == digest
    assert Store.open(task.workspace.root).fsck().clean


def test_names_and_order_of_a_tasks_models(task: Task, reopened: Reopen, tmp_path: Path) -> None:
    """A list in the order of making that takes names too."""
    for n in ("b", "a", "c"):
        (tmp_path / f"{n}.pkl").write_text(n)
        OutputModel().update_weights(tmp_path / f"{n}.pkl")
    models = reopened(task).models.output
    assert models.keys() == ["b", "a", "c"]
    assert [m.name for m in models] == ["run"] * 3
    assert models["a"].hash == models[1].hash == blake3(b"a").hexdigest()
    assert models[-1].hash == blake3(b"c").hexdigest()
    assert [m.hash for m in models[:2]] == [blake3(b"b").hexdigest(), blake3(b"a").hexdigest()]
    assert (len(models), models.get("nothing"), models[0].framework) == (3, None, "ScikitLearn")
    with pytest.raises(KeyError, match="no model 'd': there are b, a, c"):
        models["d"]
    with pytest.raises(IndexError):
        models[3]
    with pytest.raises(KeyError, match="input and output"):
        task.models["inputs"]


def test_later_weights_replace_earlier_ones(task: Task, reopened: Reopen, weights: Path) -> None:
    """One model, its newest file; the comment says so once."""
    model = OutputModel(name="net")
    model.update_weights(weights)
    weights.write_bytes(b"better")
    model.update_weights(weights, target_filename="best.onnx")
    (stored,) = reopened(task).models.output
    assert (stored.hash, stored.url) == (blake3(b"better").hexdigest(), f"tracker://{stored.hash}/best.onnx")
    assert stored.comment.count("snapshot") == 1


def test_folder_of_weights(task: Task, reopened: Reopen, tmp_path: Path) -> None:
    """Comes back as a folder."""
    (tmp_path / "model" / "shards").mkdir(parents=True)
    (tmp_path / "model" / "shards" / "1.bin").write_bytes(b"1")
    OutputModel(name="big").update_weights(tmp_path / "model")
    (stored,) = reopened(task).models.output
    copy = stored.get_weights()
    assert copy is not None
    assert (Path(copy) / "shards" / "1.bin").read_bytes() == b"1"


def test_registered_weights_have_a_place_only(task: Task, reopened: Reopen) -> None:
    """They are not fetched."""
    assert OutputModel(name="far").update_weights(register_uri="s3://bucket/net.pt") == "s3://bucket/net.pt"
    (stored,) = reopened(task).models.output
    assert (stored.url, stored.hash, stored.framework) == ("s3://bucket/net.pt", "", "PyTorch")
    assert stored.get_weights() is None
    with pytest.raises(BadValue, match="no weights in the store"):
        stored.get_weights(raise_on_error=True)


def test_model_is_recorded_with_its_first_weights(task: Task, weights: Path) -> None:
    """Made and never filled, it is nothing; filled after the run, it is the task's all the same."""
    OutputModel(name="never filled")
    model = OutputModel(name="late")
    assert len(task.models.output) == 0
    task.close()
    model.update_weights(weights)
    (found,) = Task.get_tasks()
    assert [m.name for m in found.models.output] == ["late"]
    assert found.status == "completed"


def test_model_needs_a_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A running one, or one that is given."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadValue, match=r"call Task\.init first"):
        OutputModel()


def test_input_model_is_linked(task: Task, reopened: Reopen, weights: Path) -> None:
    """One task's output is another's input."""
    model = OutputModel(name="net")
    model.update_weights(weights)
    InputModel(model.id).connect(task, "base")
    found = reopened(task).models
    assert (found.input.keys(), found["input"]["base"].id) == (["base"], model.id)
    assert list(found) == ["input", "output"]


def test_weights_that_cannot_be_read_cost_one_warning(
    task: Task, weights: Path, said: Callable[[], list[str]], tmp_path: Path
) -> None:
    """A folder with something in it that is no file: the run goes on."""
    (tmp_path / "model").mkdir()
    os.mkfifo(tmp_path / "model" / "pipe")
    assert OutputModel(name="broken").update_weights(tmp_path / "model") == ""
    (line,) = said()
    assert line.startswith("tracker: the weights model were not stored: ")
    assert len(task.models.output) == 0
    assert OutputModel(name="sound").update_weights(weights) != ""
