"""Artifacts of every kind, and a DataFrame that is watched while it changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from clearml import Task
from PIL import Image

folder = Path("data_samples")
folder.mkdir()
for name in ("dancing.jpg", "picasso.jpg"):
    Image.new("RGB", (8, 8), "blue").save(folder / name)
(folder / "sample.json").write_text('{"k": 1}')

task = Task.init(project_name="examples", task_name="artifacts")
frame = pd.DataFrame(
    {"num_legs": [2, 4, 8, 0], "num_wings": [2, 0, 0, 0], "num_specimen_seen": [10, 2, 1, 8]},
    index=["falcon", "dog", "spider", "fish"],
)
task.register_artifact("train", frame, metadata={"counting": "legs", "max legs": "69"})
frame.loc["cat"] = [4, 0, 3]
task.upload_artifact("Pandas", artifact_object=frame)
task.upload_artifact("local file", artifact_object=str(folder / "dancing.jpg"))
task.upload_artifact("dictionary", frame.to_dict())
task.upload_artifact("Numpy Eye", np.eye(100, 100))
task.upload_artifact("pillow_image", Image.open(folder / "dancing.jpg"))
task.upload_artifact("local folder", artifact_object=str(folder))
task.upload_artifact("wildcard jpegs", artifact_object=str(folder / "*.jpg"))
sample = task.get_registered_artifacts()["train"].sample(frac=0.5, replace=True, random_state=1)
print(sample)
frame.loc["dog", "num_legs"] = 3
print("done", task.flush(wait_for_uploads=True))
