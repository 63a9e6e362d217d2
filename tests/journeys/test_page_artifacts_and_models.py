"""The Task page's examples of artifacts, models and upload destinations, run as a user would; their claims hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scripts import QUIET, Scripts

MAKE = f"""
from pathlib import Path
import numpy as np
import pandas as pd
from PIL import Image
from tracker import OutputModel, Task

task = Task.init(project_name="myProject", task_name="myTask", {QUIET})
Path("path/to/folder").mkdir(parents=True)
Path("path/to/preprocess_data.csv").write_text("a,b\\n1,2\\n")
Path("path/to/folder/inner.txt").write_text("inner")
task.upload_artifact(name="data", artifact_object="path/to/preprocess_data.csv")
task.upload_artifact(name="folder", artifact_object="path/to/folder")
person_dict = {{"name": "Erik", "age": 30}}
task.upload_artifact(name="person dictionary json", artifact_object=person_dict)
task.upload_artifact(name="person dictionary yaml", artifact_object=person_dict, extension_name="yaml")
task.upload_artifact("frame", pd.DataFrame({{"a": [1]}}))
task.upload_artifact("array", np.eye(2))
task.upload_artifact("image", Image.new("RGB", (2, 2)))

Path("path/to/model").write_bytes(b"weights")
output_model = OutputModel(task=task, framework="PyTorch")
Path("snapshot.pt").write_bytes(b"a snapshot")
output_model.update_weights("snapshot.pt")
task.update_output_model(model_path="path/to/model")
answer = task.id
task.close()
import json
print(json.dumps(answer))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Scripts, str]:
    """A folder in which the examples that make things have run, and the id of their task."""
    pytest.importorskip("pandas")
    pytest.importorskip("PIL")
    pytest.importorskip("yaml")
    scripts = Scripts(tmp_path_factory.mktemp("page"))
    ended = scripts.run(MAKE)
    assert ended.warnings == []
    return scripts, str(ended.value)


def test_artifacts_are_reached_from_another_script(made: tuple[Scripts, str]) -> None:
    """By the task's id and the artifact's name, as a path and as objects, in the formats that the page names."""
    scripts, task = made
    found = scripts.ask(f"""
        preprocess_task = Task.get_task(task_id={task!r})
        local_csv = preprocess_task.artifacts['data'].get_local_copy()
        a = preprocess_task.artifacts
        files = {{name: artifact.get_local_copy().rpartition("/")[2] for name, artifact in a.items()}}
        folder = sorted(p.name for p in a["folder"].get().iterdir())
        answer = [open(local_csv).read(), files, folder, a["person dictionary json"].get(),
                  a["person dictionary yaml"].get(), a["frame"].get()["a"].tolist(), a["array"].get().tolist(),
                  a["image"].get().size]
    """)
    text, files, folder, first, second, frame, array, image = found
    assert text == "a,b\n1,2\n"
    assert folder == ["inner.txt"]
    assert first == second == {"name": "Erik", "age": 30}
    assert (frame, array, image) == ([1], [[1.0, 0.0], [0.0, 1.0]], [2, 2])
    assert {name: Path(file).suffix for name, file in files.items()} == {
        "data": ".csv",
        "folder": "",
        "person dictionary json": ".json",
        "person dictionary yaml": ".yaml",
        "frame": ".gz",
        "array": ".npz",
        "image": ".png",
    }


def test_models_are_reached_from_another_script(made: tuple[Scripts, str]) -> None:
    """The last snapshot by its place, and the page's own lines; the local file of update_output_model is gone."""
    scripts, task = made
    found = scripts.ask(f"""
        prev_task = Task.get_task(task_id={task!r})
        last_snapshot = prev_task.models['output'][-1]
        local_weights_path = last_snapshot.get_local_copy()
        first = prev_task.models['output'][0]
        answer = [open(local_weights_path, "rb").read().decode(), first.framework, first.name]
    """)
    assert found == ["weights", "PyTorch", "myTask"]
    assert not (scripts.folder / "path/to/model").exists()
    assert (scripts.folder / "snapshot.pt").exists()


def test_model_that_is_loaded_points_to_the_task_that_trained_it(made: tuple[Scripts, str]) -> None:
    """The lineage of every used model, in a new run."""
    scripts, task = made
    found = scripts.ask(f"""
        from tracker.sdk.models.inputs import loaded
        new = Task.init("myProject", "next", {QUIET})
        loaded(new, "snapshot.pt", framework="PyTorch")
        answer = [new.models["input"][-1].task, list(new.models["input"].keys())]
        new.close()
    """)
    assert found == [task, ["snapshot"]]


def test_all_models_of_a_task_are_stored_at_its_destination(tmp_path: Path) -> None:
    """`output_uri` in Task.init, here a folder; or for all tasks by the settings."""
    scripts = Scripts(tmp_path)
    source = f"""
        from pathlib import Path
        from tracker import OutputModel, Task
        task = Task.init(project_name='examples', task_name='storing model', OUTPUT {QUIET})
        Path("net.pt").write_bytes(b"weights")
        OutputModel(task=task).update_weights("net.pt")
        print(repr(task.id).replace("'", '"'))
    """
    given = scripts.run(source.replace("OUTPUT", f"output_uri={str(tmp_path / 'models')!r},")).value
    by_default = scripts.run(
        source.replace("OUTPUT", ""), TRACKER_DEFAULT_OUTPUT_URI=str(tmp_path / "models")
    ).value
    for task in (given, by_default):
        copy = tmp_path / "models" / "examples" / f"storing model.{task}" / "models" / "net.pt"
        assert copy.read_bytes() == b"weights"
