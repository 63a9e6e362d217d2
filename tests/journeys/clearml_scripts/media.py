"""Media that lie elsewhere, and one that is here."""

from __future__ import annotations

from pathlib import Path

from clearml import Logger, Task

task = Task.init(project_name="examples", task_name="audio and video reporting")
Path("sample.mp3").write_bytes(b"ID3" + b"\0" * 100)
logger = Logger.current_logger()
logger.report_media("video", "flowers", iteration=1, url="https://example.invalid/flowers.mp4")
logger.report_media("audio", "pink panther", iteration=1, url="https://example.invalid/panther.wav")
logger.report_media("audio", "tada", iteration=1, local_path="sample.mp3")
