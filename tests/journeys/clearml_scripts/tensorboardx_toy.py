"""What a SummaryWriter is told, by tensorboardX."""

from __future__ import annotations

import numpy as np
from clearml import Task
from tensorboardX import SummaryWriter

task = Task.init(project_name="examples", task_name="tensorboardX toy")
writer = SummaryWriter("runs/a")
for step in range(10):
    writer.add_scalar("train/loss", 1 / (step + 1), step)
    writer.add_scalar("a/b/c", step, step)
    writer.add_scalar("plain", step, step)
    writer.add_scalars("group", {"x": step, "y": -step}, step)
writer.add_image("picture", np.zeros((3, 8, 8), dtype=np.uint8), 3)
writer.add_image("t/u/v/w", np.ones((3, 8, 8), dtype=np.uint8), 4)
writer.add_text("words", "some text", 5)
for step in range(6):
    writer.add_histogram("weights/layer", np.arange(100), step)
writer.add_hparams({"lr": 0.1, "optimizer": "adam", "nesterov": True}, {"accuracy": 0.9})
writer.close()
other = SummaryWriter("runs/b")
other.add_scalar("plain", 3.0, 11)
other.close()
