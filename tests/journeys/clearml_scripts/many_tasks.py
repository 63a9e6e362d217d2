"""Several tasks, one after another, in one process."""

from __future__ import annotations

from clearml import Task

for number in range(3):
    task = Task.init(
        project_name="examples", task_name=f"same process, number {number}", auto_connect_frameworks=False
    )
    print(f"printed by number {number}")
    task.get_logger().report_text(f"reported by number {number}")
    task.get_logger().report_scalar("n", "n", value=number, iteration=number)
    task.close()
    assert Task.current_task() is None
