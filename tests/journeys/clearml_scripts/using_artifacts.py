"""One task leaves a file, the next one in the same process finds it by its name."""

from __future__ import annotations

import json
from pathlib import Path

from clearml import Task

Path("sample.json").write_text(json.dumps({"answer": 42}))
first = Task.init("examples", "create artifact")
first.upload_artifact(name="data file", artifact_object="sample.json", wait_on_upload=True)
first.close()

second = Task.init("examples", "use artifact from another task")
found = Task.get_task(project_name="examples", task_name="create artifact")
print("artifacts:", list(found.artifacts))
local = found.artifacts["data file"].get_local_copy()
with open(local) as file:
    print("read", json.load(file))
assert json.loads(Path(found.artifacts["data file"].get()).read_text()) == {"answer": 42}
