"""Histogram, confusion matrix, scatter, lines, tables: what a logger draws in two dimensions."""

from __future__ import annotations

import numpy as np
import pandas as pd
from clearml import Task
from clearml.utilities.plotly_reporter import SeriesInfo

task = Task.init("examples", "2D plots")
logger = task.get_logger()
logger.report_histogram("bars", "one", iteration=2, values=np.arange(5), xaxis="class", yaxis="count")
logger.report_histogram("bars", "rows", iteration=2, values=[[1, 2], [3, 4]], labels=["a", "b"], mode="stack")
logger.report_confusion_matrix("confused", "ignored", iteration=2, matrix=np.eye(3), xaxis="said", yaxis="is")
logger.report_matrix("matrix", "m", iteration=2, matrix=np.ones((2, 2)))
logger.report_scatter2d("dots", "xy", iteration=2, scatter=np.random.rand(5, 2), mode="markers")
logger.report_line_plot(
    title="lines",
    series=[
        SeriesInfo(name="first", data=np.array([[0, 1], [1, 2]])),
        SeriesInfo("second", [[0, 3], [1, 1]]),
    ],
    xaxis="x",
    yaxis="y",
    iteration=2,
)
frame = pd.DataFrame({"n": [1, 2], "word": ["a", "b"]}, index=["r1", "r2"])
logger.report_table("table", "frame", iteration=2, table_plot=frame)
frame.to_csv("frame.csv")
logger.report_table("table", "csv", iteration=2, csv="frame.csv")
logger.report_table("table", "rows", iteration=2, table_plot=[["h1", "h2"], [1, 2]])
