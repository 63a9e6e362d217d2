"""A model with labels that is only registered; then one that reports for itself."""

from __future__ import annotations

import pandas as pd
from clearml import InputModel, OutputModel, Task

task = Task.init(project_name="examples", task_name="model reporting")
model = OutputModel(task=task, label_enumeration={"background": 0, "cat": 1, "dog": 2}, framework="PyTorch")
model.update_labels({"background": 0, "cat": 1, "dog": 2, "bird": 3})
model.update_weights(register_uri="https://example.invalid/models/model.onnx")
identity = model.id
task.close()

task = Task.init(project_name="examples", task_name="model reporting on its own")
mine = OutputModel(task=task, name="measured")
mine.report_scalar(title="loss", series="train", value=0.5, iteration=0)
mine.report_scalar(title="loss", series="train", value=0.25, iteration=1)
mine.report_single_value("best", 0.25)
mine.report_table("words", "all", iteration=0, table_plot=pd.DataFrame({"a": [1]}))
mine.report_line_plot("line", [{"name": "l", "data": [[0, 0], [1, 1]]}], "x", "y", iteration=0)
again = InputModel(model_id=identity)
task.connect(again)
print("labels", again.labels)
