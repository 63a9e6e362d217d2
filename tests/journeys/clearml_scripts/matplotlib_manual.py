"""Figures of matplotlib that the script reports itself."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from clearml import Logger, Task

task = Task.init("examples", "matplotlib by hand", auto_connect_frameworks={"matplotlib": False})
plt.figure()
plt.scatter(np.random.rand(10), np.random.rand(10))
Logger.current_logger().report_matplotlib_figure("manual", "just a plot", iteration=0, figure=plt)
axes = plt.figure().subplots(1, 2)
axes[0].plot([1, 2])
axes[1].imshow(np.eye(5))
Logger.current_logger().report_matplotlib_figure("manual", "two axes", iteration=0, figure=plt.gcf())
plt.figure()
plt.plot([3, 2, 1])
Logger.current_logger().report_matplotlib_figure(
    "manual", "picture", iteration=0, figure=plt, report_interactive=False
)
plt.figure()
plt.imshow(np.zeros((4, 4)))
Logger.current_logger().report_matplotlib_figure("sample", "s", iteration=0, figure=plt, report_image=True)
