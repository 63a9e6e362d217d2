"""A surface and a cloud of points."""

from __future__ import annotations

import numpy as np
from clearml import Task

task = Task.init(project_name="examples", task_name="3D plots")
logger = task.get_logger()
logger.report_surface(
    "surface",
    "hill",
    iteration=1,
    matrix=np.random.rand(10, 12),
    xaxis="width",
    yaxis="depth",
    zaxis="height",
    camera=(1.2, 1.2, 0.8),
)
logger.report_scatter3d(
    "cloud",
    "points",
    iteration=1,
    scatter=np.random.rand(20, 3),
    xaxis="x",
    yaxis="y",
    zaxis="z",
    labels=["p%d" % n for n in range(20)],
)
