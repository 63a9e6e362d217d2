import random

from tracker import Task

task = Task.init(project_name="quickstart", task_name="random walk")
params = task.connect({"steps": 100, "scale": 0.5, "seed": 1})
logger = task.get_logger()

position, path, rng = 0.0, [], random.Random(params["seed"])
for step in range(params["steps"]):
    position += rng.gauss(0.0, params["scale"])
    path.append(position)
    logger.report_scalar(title="walk", series="position", value=position, iteration=step)

logger.report_single_value("end", position)
task.upload_artifact("path", {"positions": path})
task.close()
