"""Records the runs that the tests of the command line read; prints their ids by label as its last line.

Run in the folder of a git repository, as a copy: it is the script whose commit and changes are recorded.
"""

from __future__ import annotations

import json
import math
import os
import sys
from pathlib import Path

from tracker import Task
from tracker.sdk.models import OutputModel

HOSTILE_NAME = "evil \u202e name \x9b31m \U0001f600 [red]"
HOSTILE_TEXT = "\x1b[31mred\x1b]0;title\x07\nnext\u2028line"


def record(project: str, name: str, tags: list[str], params: dict[str, object], f1: float) -> Task:
    """A task that has begun, with what all of them have."""
    task = Task.init(project, name, tags=tags)
    task.connect(params)
    task.get_logger().report_single_value("f1", f1)
    return task


def digits(name: str, lr: float, tags: list[str], f1: float) -> str:
    """A run with one of everything."""
    task = record("vision/digits", name, tags, {"lr": lr, "hidden": 64}, f1)
    for step in range(12):
        print(f"epoch {step}")
        task.get_logger().report_scalar("loss", "train", lr / (step + 1), iteration=step)
        task.get_logger().report_scalar("accuracy", "test", f1 * step / 11, iteration=step)
    task.get_logger().report_confusion_matrix("confusion", "test", [[1, 2], [3, 4]], iteration=11)
    task.upload_artifact("dataset", {"images": 1797})
    folder = Path("files/sub")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "file.txt").write_text("in a folder\n")
    task.upload_artifact("folder", "files")
    task.upload_artifact("big", Path("big.bin"))
    Path("model.bin").write_bytes(name.encode() * 400)
    OutputModel(task=task).update_weights("model.bin")
    task.close()
    return task.id


def hostile() -> str:
    """A run whose every text would do something to a terminal."""
    task = record(f"hostile/{HOSTILE_NAME}", HOSTILE_NAME, [HOSTILE_TEXT], {"text": HOSTILE_TEXT}, -math.inf)
    task.get_logger().report_scalar(HOSTILE_TEXT, HOSTILE_TEXT, math.nan, iteration=0)
    task.get_logger().report_text(HOSTILE_TEXT, print_console=False)
    task.upload_artifact(HOSTILE_TEXT, HOSTILE_TEXT)
    task.close()
    return task.id


def failed() -> str:
    """A run that failed."""
    task = record("vision/other", "no luck", [], {"lr": 1}, math.nan)
    task.mark_failed(status_reason="it was Monday")
    return task.id


def long() -> str:
    """A run with the longest name that somebody would think of."""
    task = record("vision/other", "n" * 4096, [], {"lr": 2}, 0.1)
    task.close()
    return task.id


def main() -> None:
    """Record them all, then edit one."""
    Path("big.bin").write_bytes(os.urandom(9 << 20))
    ids = {
        "best": digits("lr 0.1", 0.1, ["sweep"], 0.9),
        "worst": digits("lr 0.001", 0.001, ["sweep", "old"], 0.5),
        "hostile": hostile(),
        "failed": failed(),
        "long": long(),
    }
    best = Task.get_task(ids["best"])
    assert best is not None
    best.add_tags(["winner"])
    sys.stdout.write("\n" + json.dumps(ids) + "\n")


if __name__ == "__main__":
    main()
