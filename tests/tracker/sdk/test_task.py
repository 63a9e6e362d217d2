"""Task: ClearML's names, signatures and shapes; what is refused, and that a refusal costs nothing else."""

from __future__ import annotations

import inspect
import json
import re
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tracker
from objstore.store import Store
from tests.scripts import QUIET, Scripts
from tracker import Task
from tracker.errors import BadValue, TaskNotFound, UsageError
from tracker.sdk.artifacts import Artifact
from tracker.sdk.logger import Logger
from tracker.sdk.models import InputModel, Model, OutputModel, TaskModels
from tracker.sdk.types import TaskTypes

Reopen = Callable[[Task], Task]
Start = Callable[..., Task]

BY_ID = "task_id=None, project_name=None, task_name=None, tags=None, allow_archived=True, task_filter=None"
SIGNATURES = {
    Task.init: "project_name=None, task_name=None, task_type='training', tags=None, reuse_last_task_id=True, "
    "continue_last_task=False, output_uri=None, auto_connect_arg_parser=True, auto_connect_frameworks=True, "
    "auto_resource_monitoring=True, auto_connect_streams=True, deferred_init=False",
    Task.current_task: "",
    Task.get_task: BY_ID,
    Task.get_tasks: BY_ID.replace("task_id", "task_ids"),
    Task.close: "self",
    Task.flush: "self, wait_for_uploads=False",
    Task.reload: "self",
    Task.get_status: "self",
    Task.get_project_name: "self",
    Task.get_last_iteration: "self",
    Task.set_parameters: "self, *args, **kwargs",
    Task.set_parameter: "self, name, value, description=None, value_type=None",
    Task.set_parameters_as_dict: "self, dictionary",
    Task.get_parameters: "self, backwards_compatibility=True, cast=False",
    Task.get_parameter: "self, name, default=None, cast=False",
    Task.connect: "self, mutable, name=None, ignore_remote_overrides=False",
    Task.add_tags: "self, tags",
    Task.get_tags: "self",
    Task.set_progress: "self, progress",
    Task.get_progress: "self",
    Task.get_logger: "self",
    Task.get_reported_scalars: "self, max_samples=0, x_axis='iter'",
    Task.get_last_scalar_metrics: "self",
    Task.get_reported_single_values: "self",
    Task.get_reported_single_value: "self, name",
    Task.get_reported_console_output: "self, number_of_reports=1",
    Task.upload_artifact: "self, name, artifact_object, metadata=None, delete_after_upload=False, auto_pickle=None, "
    "preview=None, wait_on_upload=False, extension_name=None, serialization_function=None, retries=0, sort_keys=True",
    Artifact.get: "self, force_download=False, deserialization_function=None, block_unsafe_artifacts=False",
    Artifact.get_local_copy: "self, extract_archive=True, raise_on_error=False, force_download=False",
    OutputModel: "task=None, config_text=None, config_dict=None, label_enumeration=None, name=None, tags=None, "
    "comment=None, framework=None, base_model_id=None",
    OutputModel.update_weights: "self, weights_filename=None, upload_uri=None, target_filename=None, "
    "auto_delete_file=True, register_uri=None, iteration=None, update_comment=True, is_package=False, "
    "async_enable=True",
    Model.get_weights: "self, raise_on_error=False, force_download=False, extract_archive=False",
    Model.get_local_copy: "self, extract_archive=None, raise_on_error=False, force_download=False",
    Logger.current_logger: "",
    Logger.report_scalar: "self, title, series, value, iteration=None",
    Logger.report_single_value: "self, name, value",
    Logger.report_text: "self, msg, level=20, print_console=True",
    Logger.report_confusion_matrix: "self, title, series, matrix, iteration=None, xaxis=None, yaxis=None, "
    "xlabels=None, ylabels=None, yaxis_reversed=False, comment=None, extra_layout=None",
    Logger.report_plotly: "self, title, series, figure, iteration=None",
    Logger.flush: "self, wait=False",
}


def plain(member: Callable[..., object]) -> str:
    """A signature without types, and without our own keyword-only additions."""
    parameters = [
        p.replace(annotation=p.empty, default=getattr(p.default, "value", p.default))
        for p in inspect.signature(member).parameters.values()
        if p.kind is not p.KEYWORD_ONLY
    ]
    return str(inspect.Signature(parameters))[1:-1]


@pytest.mark.parametrize("member", SIGNATURES, ids=lambda member: member.__qualname__)
def test_signature_is_clearmls(member: Callable[..., object]) -> None:
    """Names, order and defaults: a script that was written for ClearML passes its arguments as it did."""
    assert plain(member) == SIGNATURES[member]


def test_package_exports_clearmls_names() -> None:
    """All of them are there, also those that are imported when they are needed."""
    for name in tracker.__all__:
        assert getattr(tracker, name) is not None
    assert issubclass(UsageError, RuntimeError)
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        tracker.Nothing  # noqa: B018  reading it is what is tested
    with pytest.raises(UsageError, match=r"use Task\.init"):
        Task()


# A run and what is read of it


def test_shapes_of_a_task(start: Start, reopened: Reopen) -> None:
    """While it runs, and as it is read afterwards."""
    task = start("sdk/deep er", "my run", task_type=TaskTypes.testing, tags=["b", "a"])
    task.add_tags("c d")
    task.set_progress(7)
    for found in (task, reopened(task)):
        assert len(found.id) == 32
        assert int(found.id, 16) >= 0
        assert (found.name, found.get_project_name(), found.task_type) == ("my run", "sdk/deep er", "testing")
        assert found.task_type == TaskTypes.testing
        assert found.get_tags() == ["a", "b", "c", "d"]
        assert found.comment.startswith("Auto-generated at ")
        assert f"{found.id}" in repr(found)
        assert isinstance(found.models, TaskModels)
        assert (len(found.models["input"]), len(found.models.output), len(found.artifacts)) == (0, 0, 0)
        assert (found.get_last_iteration(), found.get_reported_scalars(), found.get_parameters()) == (
            0,
            {},
            {},
        )
    assert (found.status, found.get_status_message(), found.get_progress()) == (
        "completed",
        ("completed", ""),
        100,
    )


def test_status_while_it_runs(task: Task) -> None:
    """In this process, and for a reader beside it."""
    assert (task.status, task.get_progress()) == ("in_progress", 0)
    (other,) = Task.get_tasks()
    assert (other.id, other.status) == (task.id, "in_progress")
    assert other is not task


def test_second_init_is_the_same_task_or_an_error(start: Start) -> None:
    """What is given has to fit; after close comes a new one."""
    task = start("sdk", "run", tags=["x"])
    assert Task.init() is Task.init("sdk") is Task.init(task_name="run") is Task.current_task() is task
    for given in (("other", None, None), (None, "other", None), (None, None, "testing")):
        with pytest.raises(UsageError, match="close it first"):
            Task.init(*given)
    task.close()
    task.close()
    assert Task.current_task() is None
    assert Logger.current_logger() is None
    assert start("other", "next").id != task.id


def test_names_that_are_not_given_are_found(tmp_path: Path) -> None:
    """The repository's and the script's; those that would be too short are lengthened."""
    (tmp_path / "ab" / ".git").mkdir(parents=True)
    scripts = Scripts(tmp_path / "ab")
    source = "import runpy, sys\nrunpy.run_path('a.py', run_name='__main__')"
    (tmp_path / "ab" / "a.py").write_text(f"from tracker import Task\nTask.init({QUIET})")
    scripts.run(source)
    (tmp_path / "ab" / ".git" / "config").write_text(
        '[core]\n\tbare = false\n[remote "origin"]\n\turl = git@example.com:team/vision.git\n'
    )
    scripts.run(f"from tracker import Task\nTask.init({QUIET})")
    found = scripts.ask("answer = [[t.get_project_name(), t.name] for t in Task.get_tasks()]")
    assert found == [["vision", "script2"], ["ab-project", "a-task"]]


HOSTILE = [
    "../../x",
    "..",
    "/etc/passwd",
    "A/b",
    "a/B",
    "🐈‍⬛ émoji",
    "n" * 4096,
    "CON",
    "con",
    "aux.txt",
    "trailing dot.",
    "...",
    "-rf",
    "a:b*c?",
    "back\\slash",
    "<script>alert(1)</script>",
    "[bold]x[/bold]",
    "%s{0}$HOME`id`",
]


def test_hostile_names_are_stored_safely(tmp_path: Path) -> None:
    """As project and as name: each comes back as it was, no file is made outside, and no path is one that some system
    cannot hold.
    """
    (tmp_path / "inside").mkdir()
    scripts = Scripts(tmp_path / "inside")
    scripts.run(
        f"""
        import json, sys
        from tracker import Task, OutputModel
        for name in json.loads(sys.argv[1]):
            long = name if len(name) > 2 else name + "/x"
            task = Task.init(long, long, tags=[name], {QUIET})
            task.set_parameter(f"{{name}}/{{name}}", name)
            task.get_logger().report_scalar(name, name, 1.0, 1)
            task.get_logger().report_single_value(name, 1.0)
            task.upload_artifact(name, "text of " + name[:20])
            OutputModel(name=long).update_weights(register_uri="https://example.com/" + name)
            task.close()
        """,
        json.dumps(HOSTILE),
    )
    found = scripts.ask(
        """
        answer = [[t.get_project_name(), t.name, t.get_tags(), list(t.get_parameters().items()),
                   [[a, list(b)] for a, b in t.get_reported_scalars().items()], list(t.get_reported_single_values()),
                   [[n, a.get()] for n, a in t.artifacts.items()], [m.name for m in t.models["output"]],
                   t.artifacts[t.get_tags()[0]].get_local_copy()]
                  for t in Task.get_tasks()]
        """
    )
    assert len(found) == len(HOSTILE)
    for name, (*shown, path) in zip(reversed(HOSTILE), found, strict=True):
        long = name if len(name) > 2 else name + "/x"
        key = f"{name}/{name}"
        value = [
            long,
            long,
            [name],
            [[key, name]],
            [[name, [name]]],
            [name],
            [[name, "text of " + name[:20]]],
            [long],
        ]
        assert shown == value
        assert Path(path).resolve().is_relative_to(scripts.store.resolve())
    assert {path.name for path in tmp_path.iterdir()} == {"inside"}
    for path in scripts.store.rglob("*"):
        assert len(path.name.encode()) <= 255
        if "cache" not in path.relative_to(scripts.store).parts:
            assert path.name.isascii()
            assert not set(path.name) & set('<>:"\\|?*')
            assert path.name.split(".")[0].lower() not in ("con", "aux")
            assert not path.name.endswith(".")
    assert Store.open(scripts.store).fsck().clean


def test_projects_that_differ_in_case_only_are_two(start: Start) -> None:
    """Though their labels below refs/ may be one."""
    ids = {}
    for project in ("A/b", "a/B", "a/b"):
        task = start(project, "run")
        ids[project] = task.id
        task.close()
    for project, key in ids.items():
        assert [t.id for t in Task.get_tasks(project_name=project)] == [key]


@pytest.mark.parametrize(
    "name", ["", "ab", "  ab  ", "a\x00bc", "a\nbc", "a\x7fbc", "abc\udcff", "x" * 70_000]
)
def test_bad_names_are_refused_with_the_rule(start: Start, name: str) -> None:
    """At once, and before anything is made."""
    for given in ((name, "run"), ("sdk", name)):
        with pytest.raises(BadValue, match=r"3 characters or more|control characters|or fewer"):
            start(*given)
    assert Task.current_task() is None
    assert not Path(".tracker").exists()
    task = start()
    with pytest.raises(BadValue, match="the model name"):
        OutputModel(name=name)
    assert task.status == "in_progress"


# Wrong arguments


def wrong_calls(task: Task) -> dict[str, tuple[Callable[[], object], str]]:
    """Calls that have to raise, and what the message has to say."""
    log = task.get_logger()
    nothing: Any = None
    text: Any = "abc"
    empty: Any = ""
    number: Any = 5
    part: Any = 1.5
    names: Any = ["status"]
    return {
        "value": (lambda: log.report_scalar("t", "s", text, 1), "t/s: 'abc' is no number"),
        "value None": (lambda: log.report_scalar("t", "s", nothing, 1), "t/s: None is no number"),
        "value huge": (lambda: log.report_scalar("t", "s", 10**400, 1), "too large"),
        "title": (lambda: log.report_scalar(nothing, "s", 1.0, 1), "title must be text, not NoneType"),
        "series": (lambda: log.report_scalar("t", number, 1.0, 1), "series must be text, not int"),
        "iteration": (lambda: log.report_scalar("t", "s", 1.0, part), "1.5: a whole number"),
        "iteration text": (lambda: log.report_scalar("t", "s", 1.0, text), "'abc': a whole number"),
        "iteration empty": (lambda: log.report_scalar("t", "s", 1.0, empty), "'': a whole number"),
        "iteration huge": (lambda: log.report_scalar("t", "s", 1.0, 2**70), "a whole number of 64 bits"),
        "single name": (lambda: log.report_single_value(nothing, 1.0), "name must be text"),
        "single value": (lambda: log.report_single_value("n", text), "is no number"),
        "figure": (
            lambda: log.report_plotly("t", "s", 5, 1),
            "a plotly Figure or a dict is expected, not int",
        ),
        "figure title": (lambda: log.report_plotly(nothing, "s", {}, 1), "title must be text"),
        "figure iteration": (lambda: log.report_plotly("t", "s", {}, part), "a whole number"),
        "figure iteration huge": (lambda: log.report_plotly("t", "s", {}, 2**63), "a whole number"),
        "matrix None": (lambda: log.report_confusion_matrix("t", "s", None), "two dimensions"),
        "matrix flat": (lambda: log.report_confusion_matrix("t", "s", [1, 2]), "two dimensions"),
        "matrix empty": (lambda: log.report_confusion_matrix("t", "s", []), "two dimensions"),
        "matrix hollow": (lambda: log.report_confusion_matrix("t", "s", [[], []]), "two dimensions"),
        "matrix ragged": (lambda: log.report_confusion_matrix("t", "s", [[1, 2], [3]]), "rows of one length"),
        "matrix of text": (
            lambda: log.report_confusion_matrix("t", "s", [["a"], ["b"]]),
            "must hold numbers",
        ),
        "matrix text": (lambda: log.report_confusion_matrix("t", "s", "ab"), "two dimensions"),
        "matrix deep": (lambda: log.report_confusion_matrix("t", "s", [[[1]]]), "two dimensions"),
        "matrix iteration": (lambda: log.report_confusion_matrix("t", "s", [[1]], text), "a whole number"),
        "tags": (lambda: task.add_tags(number), "tags are a text or a list of texts, not 5"),
        "tag": (lambda: task.add_tags(["a", nothing]), "tags are a text or a list of texts"),
        "parameter name": (lambda: task.set_parameter(nothing, 1), "needs a name, not None"),
        "parameter empty": (lambda: task.set_parameter("  ", 1), "needs a name"),
        "parameters": (lambda: task.set_parameters(5), "a dict or pairs"),
        "parameter pairs": (lambda: task.set_parameters([1, 2]), "a dict or pairs"),
        "connect": (lambda: task.connect(5), "connect takes a dict, .*not int"),
        "artifact name": (lambda: task.upload_artifact(nothing, "x"), "an artifact needs a name, not None"),
        "artifact empty": (lambda: task.upload_artifact(" ", "x"), "an artifact needs a name"),
        "artifact file": (lambda: task.upload_artifact("a", Path("/nowhere/at/all")), "/nowhere/at/all"),
        "artifact pickle": (lambda: task.upload_artifact("a", object(), auto_pickle=False), "auto_pickle"),
        "artifact lambda": (lambda: task.upload_artifact("a", lambda: 1), "cannot be pickled"),
        "artifact write": (lambda: task.artifacts.__setitem__("a", 1), "read-only: use upload_artifact"),
        "weights none": (lambda: OutputModel().update_weights(), "exactly one of"),
        "weights both": (lambda: OutputModel().update_weights("w", register_uri="u"), "exactly one of"),
        "weights file": (
            lambda: OutputModel().update_weights("/nowhere/w.pt"),
            "/nowhere/w.pt does not exist",
        ),
        "input model": (lambda: InputModel(), "needs a model_id"),
        "unknown model": (lambda: Model("00" * 16), "could not be found"),
        "x axis": (
            lambda: task.get_reported_scalars(x_axis="steps"),
            "iter, timestamp, iso_time is expected",
        ),
        "max samples": (lambda: task.get_reported_scalars(max_samples=text), "max_samples"),
        "task id": (lambda: Task.get_task(task_id="nothing"), 'Task ID "nothing" could not be found'),
        "task id type": (lambda: Task.get_task(task_id=number), "a task's id is text, not int"),
        "task ids": (lambda: Task.get_tasks(task_ids=[number]), "task_ids is .5.: a text or a list"),
        "project": (lambda: Task.get_task(project_name="nowhere"), 'Project "nowhere" could not be found'),
        "project type": (lambda: Task.get_tasks(project_name=number), "project_name is 5"),
        "filter key": (
            lambda: Task.get_tasks(task_filter={"sttus": ["x"]}),
            "task_filter has sttus: it takes id, status",
        ),
        "filter value": (lambda: Task.get_tasks(task_filter={"status": 5}), "task_filter's status is 5"),
        "filter type": (lambda: Task.get_tasks(task_filter=names), "task_filter is a dict, not list"),
        "regex": (lambda: Task.get_tasks(task_name="("), r"'\(' is not a regular expression"),
        "regex type": (lambda: Task.get_tasks(task_name=number), "5 is not a regular expression"),
        "filter regex": (lambda: Task.get_tasks(task_filter={"name": "["}), "is not a regular expression"),
        "task type": (lambda: Task.init(task_type="trainnig"), "one of training, testing"),
    }


def test_wrong_arguments_raise_at_once_and_cost_nothing_else(task: Task, reopened: Reopen) -> None:
    """With what was expected; every call before and after each of them is kept."""
    count = 0

    def report() -> None:
        nonlocal count
        count += 1
        task.get_logger().report_scalar("good", "s", float(count), count)
        task.set_parameter(f"good/{count}", count)
        task.add_tags(f"good{count}")

    calls = wrong_calls(task)
    for name, (call, message) in calls.items():
        report()
        with pytest.raises((ValueError, TypeError, OverflowError, UsageError)) as caught:
            call()
        assert re.search(message, str(caught.value)), f"{name}: {caught.value}"
    report()
    found = reopened(task)
    total = len(calls) + 1
    assert found.get_reported_scalars() == {
        "good": {
            "s": {"name": "s", "x": list(range(1, total + 1)), "y": [float(n) for n in range(1, total + 1)]}
        }
    }
    assert len(found.get_parameters()) == len(found.get_tags()) == total
    assert (len(found.artifacts), len(found.models["output"])) == (0, 0)
    assert found.get_reported_single_values() == {}


def test_wrong_arguments_of_init_leave_no_task(start: Start) -> None:
    """The next call, with right ones, is the first."""
    for wrong in ({"task_type": "trainnig"}, {"tags": 5}, {"tags": [None]}, {"project": 5}, {"name": b"run"}):
        with pytest.raises(BadValue):
            start(**wrong)
    assert Task.current_task() is None
    assert not Path(".tracker").exists()
    start()
    assert len(Task.get_tasks()) == 1


def test_wrong_progress_is_a_warning(task: Task, said: Callable[[], list[str]]) -> None:
    """As in ClearML: nothing changes."""
    task.set_progress(40)
    wrong: Any
    for wrong in (-1, 101, 1.5, "50", None):
        task.set_progress(wrong)
        (line,) = said()
        assert line.endswith("a whole number from 0 to 100 is expected")
        assert task.get_progress() == 40
    task.set_progress(True)
    assert task.get_progress() == 1


# Others


def test_task_of_another_process_is_edited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tags, parameters, progress and artifacts of a task that does not run here; a logger it has none."""
    monkeypatch.chdir(tmp_path)
    found = Task.create("sdk", "draft")
    found.add_tags(["late"])
    found.set_parameter("late", 1)
    found.upload_artifact("late", {"a": 1})
    found.connect({"lr": 0.1}, "Late")
    again = Task.get_tasks()[0]
    assert again.get_tags() == ["late"]
    assert again.get_parameters(cast=True) == {"General/late": 1, "Late/lr": 0.1}
    assert again.artifacts["late"].get() == {"a": 1}
    assert again.status == "created"
    with pytest.raises(UsageError, match="does not run in this process"):
        found.get_logger()
    found.close()
    assert not found.mark_failed()
    assert Task.get_tasks()[0].status == "created"


def test_edit_beside_a_running_task_is_seen_there_after_reload(task: Task) -> None:
    """Also what its child processes and other ranks have set; and the run's own end is still its own."""
    (other,) = Task.get_tasks()
    other.add_tags("from outside")
    assert task.get_tags() == []
    task.reload()
    assert task.get_tags() == ["from", "outside"]
    task.set_parameter("after", 1)
    task.close()
    (found,) = Task.get_tasks()
    assert (found.get_tags(), found.status, list(found.get_parameters())) == (
        ["from", "outside"],
        "completed",
        ["General/after"],
    )


def test_reading_while_threads_write_is_safe(task: Task) -> None:
    """Captures set keys in the background while the script reads its own task."""
    stop = threading.Event()

    def write() -> None:
        n = 0
        while not stop.is_set():
            n += 1
            task.set_key(f"runtime/{n}", n)

    thread = threading.Thread(target=write)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # let threads take turns in the midst of everything
    thread.start()
    try:
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            task.get_parameters()
            task.get_tags()
            assert task.name == "run"
    finally:
        sys.setswitchinterval(interval)
        stop.set()
        thread.join()


def test_model_is_no_task(task: Task) -> None:
    """An id of something else is an id of no task."""
    model = OutputModel(name="weights")
    model.update_weights(register_uri="https://example.com/w.pt")
    with pytest.raises(TaskNotFound, match="it is the id of a model"):
        Task.get_task(task_id=model.id)
    assert [t.id for t in Task.get_tasks()] == [task.id]


def test_closing_costs_little(start: Start) -> None:
    """A thousand points and nothing to upload: well under half a second, the disk's own time included."""
    task = start()
    for i in range(1000):
        task.get_logger().report_scalar("t", "s", float(i), i)
    began = time.monotonic()
    task.close()
    assert (
        time.monotonic() - began < 5
    )  # a bound that only a wait could break; the benchmarks have the figure


def test_deferred_init_is_accepted_and_done_at_once(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it returns is the task, and it is in the store."""
    monkeypatch.setenv("CLEARML_DEFERRED_TASK_INIT", "1")
    task = start("sdk", "run", deferred_init=True)
    assert type(task) is Task
    assert [found.id for found in Task.get_tasks(project_name="sdk", task_name="^run$")] == [task.id]
