"""Notebooks: cells in a real kernel, as Jupyter sends them. The kernel outlives every end of a task."""

from __future__ import annotations

import ast
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pygit2
import pytest

from tests.scripts import CHECKOUT, QUIET, Scripts
from tracker.capture.cells import as_python

pytest.importorskip("ipykernel")
pytest.importorskip("jupyter_client")

_PATIENCE = 60.0  # seconds for a cell


@dataclass
class Shown:
    """What a cell has shown: text of streams, results by their media types, the name of its error."""

    out: str = ""
    err: str = ""
    data: list[dict[str, str]] = field(default_factory=list)
    error: str = ""


class Kernel:
    """A kernel of this Python in a folder of its own."""

    def __init__(self, folder: Path, **environment: str) -> None:
        from jupyter_client.manager import KernelManager

        variables = {"PYTHONPATH": str(CHECKOUT), "IPYTHONDIR": str(folder / ".ipython"), **environment}
        self.folder = folder
        self._sockets = (
            tempfile.mkdtemp()
        )  # ports of TCP may be taken meanwhile; pytest's paths are too long for these
        self.manager = KernelManager(transport="ipc", ip=f"{self._sockets}/k")
        spec = self.manager.kernel_spec
        assert spec is not None
        spec.argv = [sys.executable, "-W", "ignore", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        self.manager.start_kernel(cwd=str(folder), env={**os.environ, **variables})
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=_PATIENCE)

    def send(self, cell: str) -> str:
        """Have a cell run; returns what its messages are marked with."""
        sent: str = self.client.execute(cell)
        return sent

    def result(self, sent: str, until: str = "") -> Shown:
        """What a cell shows until its end, or until a text is among it."""
        shown = Shown()
        while True:
            message: dict[str, Any] = self.client.get_iopub_msg(timeout=_PATIENCE)
            kind, content = message["msg_type"], message["content"]
            if message["parent_header"].get("msg_id") != sent:
                continue
            if kind == "stream":
                if content["name"] == "stdout":
                    shown.out += content["text"]
                else:
                    shown.err += content["text"]
                if until and until in shown.out:
                    return shown
            elif kind in ("execute_result", "display_data"):
                shown.data.append(content["data"])
            elif kind == "error":
                shown.error = content["ename"]
            elif kind == "status" and content["execution_state"] == "idle":
                return shown

    def run(self, cell: str) -> Shown:
        """Run a cell to its end."""
        return self.result(self.send(cell))

    def value(self, expression: str) -> Any:
        """A value of the kernel's, by its text; nothing of the asking is in the notebook's history or output."""
        sent = self.client.execute("", silent=True, user_expressions={"asked": expression})
        while True:
            reply = self.client.get_shell_msg(timeout=_PATIENCE)
            if reply["parent_header"].get("msg_id") == sent:
                found = reply["content"]["user_expressions"]["asked"]
                assert found["status"] == "ok", found
                return ast.literal_eval(found["data"]["text/plain"])

    def end(self) -> None:
        """Shut it down as Jupyter does."""
        if self.manager.is_alive():
            self.manager.shutdown_kernel()
        self.client.stop_channels()
        self.manager.cleanup_resources()
        shutil.rmtree(self._sockets, ignore_errors=True)


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Kernel]:
    """A fresh kernel, whose notebook is called `my work`."""
    started = Kernel(tmp_path, JPY_SESSION_NAME=f"{tmp_path}/my work.ipynb")
    try:
        yield started
    finally:
        started.end()


def test_the_cells_are_the_tasks_code_and_their_output_its_console(kernel: Kernel) -> None:
    """In order, from the kernel's start to the cell that closes; magics and failures as comments; it is a script."""
    kernel.run("x = 1\n%matplotlib inline")
    kernel.run("1/0")
    assert kernel.run("from tracker import Task\ntask = Task.init('notebooks')").error == ""
    shown = kernel.run("print('said by a cell')\nimport sys\nprint('a warning', file=sys.stderr)\nx + 1")
    assert (shown.out, shown.error) == ("said by a cell\n", "")
    assert "a warning\n" in shown.err  # our own line about the new task may come with it
    assert shown.data[0]["text/plain"] == "2"
    kernel.run("broken(")
    kernel.run("task.get_logger().report_scalar('loss', 'train', x, 0)")
    so_far = kernel.value("Task.get_task(task_id=task.id).data.script.diff")
    assert "report_scalar" in so_far  # a kernel that is killed now has left its cells
    assert kernel.run("task.close()").error == ""
    kernel.run("print('after the end')")
    name, status, script, diff, console = kernel.value(
        "(lambda t: [t.name, t.status, t.get_script(), t.data.script.diff, t.get_reported_console_output(10)])"
        "(Task.get_task(task_id=task.id))"
    )
    assert (name, status, script["entry_point"]) == ("my work", "completed", "my work.py")
    assert diff.split("\n\n") == [
        "# %% [1]\nx = 1\n# %matplotlib inline",
        "# %% [2] failed: ZeroDivisionError\n# 1/0",
        "# %% [3]\nfrom tracker import Task\ntask = Task.init('notebooks')",
        "# %% [4]\nprint('said by a cell')\nimport sys\nprint('a warning', file=sys.stderr)\nx + 1",
        "# %% [5] failed: SyntaxError\n# broken(",
        "# %% [6]\ntask.get_logger().report_scalar('loss', 'train', x, 0)",
        "# %% [7]\ntask.close()\n",
    ]
    assert console == ["said by a cell", "a warning"]
    again = Scripts(kernel.folder).run(diff)
    assert again.out == "said by a cell\n"


def test_several_tasks_one_after_another_in_one_kernel(kernel: Kernel) -> None:
    """However each of them ends, the kernel goes on, cells print as before, and the next task begins."""
    kernel.run("from tracker import Task\nids = []")
    ways = {
        "close()": "completed",
        "mark_stopped()": "stopped",
        "mark_failed()": "failed",
        "completed()": "completed",
    }
    for number, way in enumerate(ways):
        shown = kernel.run(
            f"task = Task.init('notebooks', 'task {number}')\nids.append(task.id)\nprint('in it')"
        )
        assert (shown.out, shown.error) == ("in it\n", "")
        assert kernel.run(f"task.{way};").error == ""
        assert kernel.run("print('between')").out == "between\n"
    found = kernel.value("[[t.status, t.get_reported_console_output(9)] for t in map(Task.get_task, ids)]")
    assert found == [[status, ["in it"]] for status in ways.values()]
    assert kernel.value("type(__import__('sys').stdout).__name__") == "OutStream"


def test_an_interrupted_cell_and_an_exit_end_neither_task_nor_kernel(kernel: Kernel) -> None:
    """Ctrl-C, `sys.exit` and an exception end the cell; the task goes on, and is completed when it is closed."""
    kernel.run("from tracker import Task\ntask = Task.init('notebooks', 'interrupted')")
    sent = kernel.send("import time\nprint('training', flush=True)\nfor _ in range(600): time.sleep(0.1)")
    kernel.result(sent, until="training")
    kernel.manager.interrupt_kernel()
    assert kernel.result(sent).error == "KeyboardInterrupt"
    assert kernel.run("import sys\nsys.exit(3)").error == "SystemExit"
    assert kernel.run("raise ValueError").error == "ValueError"
    assert kernel.value("[task.status, Task.current_task() is task]") == ["in_progress", True]
    kernel.run("task.get_logger().report_scalar('loss', 'train', 1.0, 0)\ntask.close()")
    assert kernel.value("[task.status, task.get_status_message()[1]]") == ["completed", ""]
    diff = kernel.value("task.data.script.diff")
    assert "# %% [2]\nimport time\n" in diff  # it has done what it could: what follows may rest on it
    assert "# %% [3] failed: SystemExit\n# import sys\n# sys.exit(3)\n" in diff


def test_a_notebook_in_a_repository_has_its_commit_too(tmp_path: Path) -> None:
    """The cells are the code; what is changed in other files is kept beside them."""
    repository = pygit2.init_repository(str(tmp_path), initial_head="main")
    (tmp_path / "helper.py").write_text("x = 1\n")
    (tmp_path / "work").mkdir()
    repository.index.add("helper.py")
    who = pygit2.Signature("a", "a@example.org")
    commit = repository.create_commit("HEAD", who, who, "begin", repository.index.write_tree(), [])
    repository.index.write()
    (tmp_path / "helper.py").write_text("x = 2\n")
    kernel = Kernel(tmp_path / "work")
    try:
        kernel.run("from tracker import Task\ntask = Task.init(task_name='in a repository')\ntask.close()")
        script = kernel.value("dict(task.get_record('script'))")
    finally:
        kernel.end()
    assert (script["version_num"], script["branch"]) == (str(commit), "main")
    assert (script["working_dir"], script["entry_point"]) == ("work", "notebook.py")
    assert script["diff"].startswith("# %% [1]\nfrom tracker import Task\n")
    assert "-x = 1\n+x = 2\n" in script["uncommitted"]


def test_a_task_that_is_aborted_from_elsewhere_ends_the_cell_alone(kernel: Kernel) -> None:
    """The cell that trains is interrupted; the kernel goes on, and the next task begins."""
    kernel.run(f"from tracker import Task\ntask = Task.init('notebooks', 'aborted', {QUIET})\nx = 'kept'")
    key = kernel.value("task.id")
    sent = kernel.send("import time\nprint('training', flush=True)\nfor _ in range(600): time.sleep(0.1)")
    kernel.result(sent, until="training")
    assert Scripts(kernel.folder).ask(f"answer = Task.get_task({key!r}).mark_stop_request()") is True
    assert kernel.result(sent).error == "KeyboardInterrupt"
    assert kernel.value("[x, task.status, Task.current_task()]") == ["kept", "stopped", None]
    assert kernel.run(f"following = Task.init('notebooks', 'following', {QUIET})").error == ""
    assert kernel.value("following.status") == "in_progress"


@pytest.mark.parametrize(("how", "status"), [("shutdown", "completed"), ("kill", "stopped")])
def test_the_end_of_the_kernel_ends_the_task(kernel: Kernel, how: str, status: str) -> None:
    """Shut down: completed; killed: aborted. The cells are there in both cases."""
    kernel.run("from tracker import Task\ntask = Task.init('notebooks', 'open')\nprint('said')")
    kernel.run("y = 2")
    kernel.value("task.data.script.diff")  # the code has been looked at by now
    deadline = time.monotonic() + _PATIENCE
    while "y = 2" not in kernel.value("str(task.data.script.diff)") and time.monotonic() < deadline:
        time.sleep(0.1)
    kernel.manager.shutdown_kernel(now=how == "kill")
    found = Scripts(kernel.folder).ask(
        "t, = Task.get_tasks(); answer = [t.status, t.data.script.diff, t.get_reported_console_output()]"
    )
    assert (found[0], found[2]) == (status, ["said"])
    assert "y = 2\n" in found[1]


def test_figures_are_shown_as_without_a_task(kernel: Kernel) -> None:
    """`%matplotlib inline` before or after Task.init: a picture for the cell, and for `plt.show()`."""
    pytest.importorskip("matplotlib")
    kernel.run("%matplotlib inline\nfrom tracker import Task\ntask = Task.init('notebooks', 'figures')")
    for cell in ("import matplotlib.pyplot as plt\nplt.plot([1, 2]);", "plt.plot([2, 1]); plt.show()"):
        shown = kernel.run(cell)
        assert ["image/png" in data for data in shown.data] == [True], shown
    kernel.run("task.close()")
    assert [("image/png" in data) for data in kernel.run("%matplotlib inline\nplt.plot([1]);").data] == [True]


HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>"


def test_what_a_cell_shows_of_tasks_is_escaped_html(kernel: Kernel) -> None:
    """Task, artifacts, models, answers: tables without a tag, script, colour or link that is not the program's own."""
    kernel.run(f"from tracker import *\nevil = {HOSTILE!r}")
    made = kernel.run(
        f"""
        task = Task.init("project " + evil, "name " + evil, tags=["tag " + evil], {QUIET})
        task.set_parameter("Args/" + evil, evil)
        task.get_logger().report_scalar(evil, evil, 0.25, 0)
        task.get_logger().report_single_value(evil, 0.5)
        task.upload_artifact(evil, {{evil: evil}}, metadata={{evil: evil}})
        open("weights.bin", "wb").write(b"w")
        model = OutputModel(task=task, name=evil * 2, framework=evil, comment=evil, label_enumeration={{evil: 1}})
        _ = model.update_weights("weights.bin")
        """.replace("\n        ", "\n")
    )
    assert made.error == ""
    for cell, holds in {
        "task": ("in_progress", "Args/&lt;script&gt;", "0.25", "0.5", "dict"),
        "Task.get_task(task_id=task.id)": ("in_progress", "project &lt;script&gt;"),
        "task.artifacts": ("&lt;script&gt;", "dict"),
        "task.artifacts[evil]": ("bytes", "&lt;script&gt;"),
        "task.models": ("output", "&lt;script&gt;"),
        "task.models['output']": ("&lt;script&gt;",),
        "task.models['output'][-1]": ("labels", "&lt;script&gt;"),
        "model": ("labels", "&lt;script&gt;"),
        "__import__('tracker').query()": ("&lt;script&gt;", "0.25"),
    }.items():
        shown = kernel.run(cell)
        assert shown.data, (cell, shown)
        page = shown.data[0]["text/html"]
        assert page.startswith('<div class="tex2jax_ignore mathjax_ignore">'), cell
        tags = {tag.partition(" ")[0] for tag in re.findall(r"<(/?[^>]*)>", page)}
        assert {tag.lstrip("/") for tag in tags} <= {
            "div",
            "b",
            "table",
            "thead",
            "tbody",
            "tr",
            "th",
            "td",
            "br",
            "p",
        }
        assert not re.search(r"<[^>]*(on\w+=|href|src=|color|background)", page), cell
        assert all(text in page for text in holds), (cell, page)
        assert len(page) < 20_000


def test_a_task_that_is_gone_is_shown_too(kernel: Kernel) -> None:
    """By its id, in one line, not as an error."""
    kernel.run(f"from tracker import Task\ntask = Task.init('notebooks', 'gone', {QUIET})\ntask.close()")
    kernel.run("held = Task.get_task(task_id=task.id)\nimport shutil\nshutil.rmtree('.tracker/refs')")
    kernel.run("shutil.rmtree('.tracker/refs.packed', ignore_errors=True)")
    shown = kernel.run("held")
    assert shown.error == ""
    assert shown.data


@pytest.mark.parametrize(
    ("cell", "script"),
    [
        ("a = 1", "a = 1"),
        ("%matplotlib inline\na = 1", "# %matplotlib inline\na = 1"),
        ("if a:\n    !ls\nb = !pwd", "if a:\n    pass  # !ls\n# b = !pwd"),
        ("print?\na = 1  # why?", "# print?\na = 1  # why?"),
        ("%%time\n%load_ext x\na = 1", "# %%time\n# %load_ext x\na = 1"),
        ("%%bash\nls a", "# %%bash\n# ls a"),
        ('q = """\n%s?\n!x\n""" % 1', 'q = """\n%s?\n!x\n""" % 1'),
        ("await something()", "await something()"),
        ("a = (", "# a = ("),
    ],
)
def test_what_only_ipython_understands_becomes_a_comment(cell: str, script: str) -> None:
    """And nothing that Python understands does."""
    assert as_python(cell) == script
