"""Scalars of several graphs, some of them sharing one, and values without an iteration."""

from __future__ import annotations

from clearml import Logger, Task

task = Task.init(project_name="examples", task_name="scalar reporting")
logger = task.get_logger()
for step in range(100):
    logger.report_scalar(title="together", series="up", value=step / 2, iteration=step)
    logger.report_scalar("together", "down", iteration=step, value=-step)
    Logger.current_logger().report_scalar("alone", "up", value=float(step), iteration=step)
logger.report_single_value(name="area", value=486)
logger.report_single_value("height", 305.95)
logger.flush()
print("scalars are reported")
