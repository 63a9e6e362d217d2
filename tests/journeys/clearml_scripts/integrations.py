"""What other projects' callbacks touch: modules that nobody imported, switches, arguments, callbacks of weights."""

from __future__ import annotations

import os
from pathlib import Path

import clearml
import numpy as np
from clearml import Logger, OutputModel, Task
from clearml.binding.frameworks import WeightsFileHandler
from clearml.binding.frameworks.pytorch_bind import PatchPyTorchModelIO
from clearml.binding.frameworks.tensorflow_bind import WeightsGradientHistHelper
from clearml.binding.matplotlib_bind import PatchedMatplotlib
from clearml.storage.manager import StorageManager

assert hasattr(clearml, "__version__")
assert (clearml.model.OutputModel, clearml.task.Task, clearml.logger.Logger) == (OutputModel, Task, Logger)
assert clearml.StorageManager is StorageManager

# A trainer's callback, as in transformers.
assert Task.running_locally()
assert Task.current_task() is None
task = Task.init(
    project_name=os.getenv("CLEARML_PROJECT", "examples"),
    task_name=os.getenv("CLEARML_TASK", "Trainer"),
    auto_connect_frameworks={"tensorboard": False, "pytorch": False},
    output_uri=True,
)
settings = {"lr": 0.1, "fsdp": {"min": 1}, "device": Path("cuda"), "nothing": None}
flat = clearml.utilities.proxy_object.flatten_dictionary(settings)
task._arguments.copy_from_dict(flat, prefix="Transformers")
task.set_parameter(name="Transformers/_ignore_", value=True, value_type=bool, description="whether")
task.set_configuration_object(
    name="Model Configuration", config_dict={"layers": 2}, description="of number 1"
)
Path("checkpoint-1").mkdir()
Path("checkpoint-1/model.bin").write_bytes(b"one")
models = []
for step in (1, 2):
    Path("checkpoint-1/model.bin").write_bytes(b"step %d" % step)
    model = OutputModel(task=task, name=f"checkpoint-{step}")
    model.connect(task=task, name=f"checkpoint-{step}")
    model.update_weights_package(
        weights_path="checkpoint-1",
        target_filename=f"checkpoint-{step}",
        iteration=step,
        auto_delete_file=False,
    )
    models.append(model)
clearml.model.Model.remove(models[0], delete_weights_file=True, force=True, raise_on_errors=True)

# A detector's callbacks, as in ultralytics.
PatchPyTorchModelIO.update_current_task(None)
PatchedMatplotlib.update_current_task(None)
task.connect({"imgsz": 640}, name="General")
task.get_logger().report_scalar("train", "box_loss", 0.5, iteration=1)
task.get_logger().report_single_value("mAP", 0.9)
Path("best.pt").write_bytes(b"best")
task.update_output_model(model_path="best.pt", model_name="best", auto_delete_file=False)

# A saver, as in ignite: it names the file, and the model once it is there.
WeightsGradientHistHelper(logger=task.get_logger(), report_freq=1).add_histogram(
    title="weights", series="layer", step=3, hist_data=np.arange(100)
)


def before(action, info):
    if action != WeightsFileHandler.CallbackType.save:
        return info
    assert action in ("load", "save")
    assert "local_model_path" in info.__dict__
    info.upload_filename = "slot_0" + os.path.splitext(info.upload_filename)[1]
    info.local_model_id = f"slot:{info.upload_filename}"
    return info


def after(action, info):
    info.model.name = f"{info.task.name}: last.pt"
    info.model.comment = "with metadata"
    return info


handles = WeightsFileHandler.add_pre_callback(before), WeightsFileHandler.add_post_callback(after)
try:
    OutputModel(task).update_weights("best.pt")
finally:
    WeightsFileHandler.remove_pre_callback(handles[0])
    WeightsFileHandler.remove_post_callback(handles[1])
