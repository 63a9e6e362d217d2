"""Images out of arrays, floats and whole numbers, with and without colour, out of PIL and out of a file."""

from __future__ import annotations

import numpy as np
from clearml import Logger, Task
from PIL import Image

task = Task.init(project_name="examples", task_name="image reporting")
logger = Logger.current_logger()
rows = np.linspace(0, 1, 64 * 64).reshape(64, 64)
logger.report_image("image", "float grey", iteration=0, image=rows)
logger.report_image("image", "grey", iteration=0, image=(rows * 255).astype(np.uint8))
logger.report_image("image", "colour", iteration=0, image=np.zeros((64, 64, 3), dtype=np.uint8))
picture = Image.new("RGB", (32, 16), "red")
logger.report_image("image", "PIL", iteration=0, image=picture)
picture.save("picture.png")
logger.report_image("image", "file", iteration=0, local_path="picture.png")
logger.flush()
