"""Pages as samples: three of files, one of a stream, one of a URL."""

from __future__ import annotations

import io
from pathlib import Path

from clearml import Task

task = Task.init("examples", "html reporting")
logger = task.get_logger()
for number in range(3):
    page = Path(f"page{number}.html")
    page.write_text(f"<html><body>{number}</body></html>")
    logger.report_media("html", f"page {number}", iteration=number, local_path=str(page))
logger.report_media("html", "stream", iteration=0, stream=io.StringIO("<p>s</p>"), file_extension=".html")
logger.report_media("html", "url", iteration=0, url="https://example.invalid/index.html")
