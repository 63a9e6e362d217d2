"""What a search tries out: two parameters, and what they give."""

from __future__ import annotations

from clearml import Task

task = Task.init("examples", "base task")
parameters = task.connect({"batch_size": 64, "lr": 0.1})
task.get_logger().report_scalar("score", "validation", value=parameters["lr"] * 2, iteration=0)
