"""Text by every way that it takes: printed, to stderr, through logging, to the logger, as a sample."""

from __future__ import annotations

import logging
import sys
from io import StringIO

from clearml import Logger, Task

task = Task.init(project_name="examples", task_name="text reporting")
print("This is standard output")
print("This is standard error", file=sys.stderr)
print("This is standard error", "of several parts", sep=" / ", file=sys.stderr)
logging.basicConfig(level=logging.INFO)
logging.info("This is an info message")
Logger.current_logger().report_text("This is reported text", level=logging.DEBUG, print_console=False)
Logger.current_logger().report_text("This is text, reported and shown", print_console=True)
words = StringIO("the first line\nthe second line\n")
Logger.current_logger().report_media(
    title="text title", series="text series", iteration=1, stream=words, file_extension=".txt"
)
