"""Figures that are shown or saved, and nothing else."""

from __future__ import annotations

import io

import matplotlib.pyplot as plt
import numpy as np
from clearml import Logger, Task

task = Task.init(project_name="examples", task_name="matplotlib automatic")
plt.plot([1, 2, 3])
plt.show()  # without a title
plt.title("named")
plt.show()  # the same figure, which looks different now
plt.show()  # and now it does not
plt.close()

Logger.current_logger().report_scalar("loss", "train", 0.5, iteration=7)
figure, axes = plt.subplots(1, 2)
figure.suptitle("two axes")
axes[0].bar([1, 2], [3, 4])
figure.savefig("two.png")
figure.savefig(io.BytesIO(), format="png")
plt.close()

plt.imshow(np.eye(8))
plt.title("an image")
plt.savefig("image.png")
plt.close()

by_hand = plt.figure()
plt.plot([3, 1])
plt.title("by hand")
Logger.current_logger().report_matplotlib_figure("manual", "series", figure=by_hand, iteration=7)
plt.show()
