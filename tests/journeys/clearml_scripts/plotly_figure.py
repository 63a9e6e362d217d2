"""A figure of plotly."""

from __future__ import annotations

import pandas as pd
import plotly.express as px
from clearml import Task

task = Task.init("examples", "plotly reporting")
frame = pd.DataFrame({"width": [1.0, 2.0], "length": [3.0, 4.0], "kind": ["a", "b"]})
figure = px.scatter(frame, x="width", y="length", color="kind")
task.get_logger().report_plotly(title="flowers", series="sepal", iteration=0, figure=figure)
